//! Choosing snapshots, beside small hand-made repositories.

use super::*;
use dedup_engine::id::SessionId;
use dedup_engine::snapshot::{Provenance, State, Totals};
use jiff::Timestamp;
use jiff::tz::TimeZone;

fn account_of(module: &str, state: State) -> Account {
    Account { state, ..Account::new(module) }
}

/// A snapshot whose id begins with `first` and whose time is `day` days after 1970.
fn snapshot(first: [u8; 2], day: i64, host: &str, tags: &[&str], state: State) -> (ObjectId, Snapshot) {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&first);
    let snapshot = Snapshot {
        session: SessionId::from_bytes([0; 16]),
        time: Time { secs: day * 86_400, nanos: 0 },
        utc_offset_minutes: 0,
        host: host.into(),
        user: "ann".into(),
        program: "dedup".into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        comment: String::new(),
        parents: Vec::new(),
        accounts: vec![account_of("files", state)],
        totals: Totals::default(),
        provenance: Provenance::default(),
    };
    (ObjectId::from_bytes(id), snapshot)
}

fn all() -> Vec<(ObjectId, Snapshot)> {
    vec![
        snapshot([0xab, 0x01], 1, "web", &["daily"], State::Complete),
        snapshot([0xab, 0x02], 2, "db", &["daily", "big"], State::Complete),
        snapshot([0xcd, 0x03], 3, "web", &["weekly"], State::Warned),
        snapshot([0xef, 0x04], 4, "web", &[], State::Partial),
    ]
}

fn now() -> Zoned {
    Timestamp::from_second(10 * 86_400).unwrap().to_zoned(TimeZone::UTC)
}

fn pick(text: &str, filter: &Filter) -> Result<(u8, Option<u8>), Failure> {
    let wanted = Selection::parse(text.as_ref()).unwrap().wanted;
    let chosen = choose(all(), &BTreeMap::new(), &wanted, filter, "web", &now())?;
    let passed_over: Vec<u8> = chosen.passed_over.iter().map(|(id, _)| id.as_bytes()[1]).collect();
    assert!(passed_over.len() < 2);
    Ok((chosen.id.as_bytes()[1], passed_over.first().copied()))
}

#[test]
fn the_words_are_parsed() {
    let parse = |text: &str| Selection::parse(text.as_ref());
    assert_eq!(parse("latest").unwrap(), Selection { wanted: Wanted::Latest, path: None });
    assert_eq!(parse("latest-any").unwrap().wanted, Wanted::LatestAny);
    let with_path = parse("1A2b:/home/ann/a:b").unwrap();
    assert_eq!(with_path.wanted, Wanted::Prefix("1a2b".into()));
    assert_eq!(with_path.path.unwrap().to_slashes(), b"home/ann/a:b");
    assert_eq!(parse("latest:").unwrap().path, Some(StoredPath::root()));
    assert!(Selection::parse(OsStr::from_bytes(b"latest:/\xff")).unwrap().path.is_some());
    for bad in ["", "newest", "12g4", ":/home", "latest:/a/../b", &"a".repeat(65)] {
        assert_eq!(parse(bad).unwrap_err().exit.code(), 2, "{bad}");
    }
}

#[test]
fn latest_is_the_newest_good_one_of_this_host_and_tells_what_it_passed_over() {
    let filter = Filter::default();
    assert_eq!(pick("latest", &filter).unwrap(), (3, Some(4)));
    assert_eq!(pick("latest-any", &filter).unwrap(), (4, None));
    let other = Filter { host: vec!["db".into()], ..Filter::default() };
    assert_eq!(pick("latest", &other).unwrap(), (2, None));
    let both =
        Filter { host: vec!["db".into(), "web".into()], tag: vec!["daily".into()], ..Filter::default() };
    assert_eq!(pick("latest", &both).unwrap(), (2, None));
    let first = Filter { tag: vec!["daily".into()], ..Filter::default() };
    assert_eq!(pick("latest", &first).unwrap(), (1, None));
}

/// A run whose snapshot turned out to be doubtful must not be what somebody restores without looking.
#[test]
fn latest_passes_over_suspects_and_says_why() {
    let newest = all().into_iter().map(|(id, _)| id).filter(|id| id.as_bytes()[1] == 3);
    let suspects = newest.map(|id| (id, "the database was not stopped".to_owned())).collect();
    let pick = |wanted| choose(all(), &suspects, &wanted, &Filter::default(), "web", &now()).unwrap();
    let chosen = pick(Wanted::Latest);
    let passed_over: Vec<_> =
        chosen.passed_over.iter().map(|(id, why)| (id.as_bytes()[1], &why[..])).collect();
    assert_eq!(chosen.id.as_bytes()[1], 1);
    assert_eq!(passed_over, [(4, "not complete"), (3, "suspect (the database was not stopped)")]);
    // Who names it gets it.
    assert_eq!(pick(Wanted::Prefix("cd".into())).id.as_bytes()[1], 3);
    assert!(pick(Wanted::LatestAny).passed_over.is_empty());
}

#[test]
fn what_is_missing_is_explained() {
    let nowhere = Filter { host: vec!["mail".into()], ..Filter::default() };
    let failure = pick("latest", &nowhere).unwrap_err();
    assert!(failure.message.contains("mail") && failure.hint.unwrap().contains("db, web"));
    let mail = Filter { module: Some("mail".into()), ..Filter::default() };
    assert_eq!(pick("latest", &mail).unwrap_err().message, "there is no snapshot of host web, module mail");
    let other = pick("ab01", &mail).unwrap_err();
    assert_eq!(other.message, "no snapshot that begins with ab01 is of module mail");
    let nobody =
        Filter { host: vec!["db".into(), "web".into()], tag: vec!["rare".into()], ..Filter::default() };
    let failure = pick("latest", &nobody).unwrap_err();
    assert_eq!(failure.message, "there is no snapshot of host db or web, tag rare");
    assert_eq!(failure.hint.unwrap(), "`dedup snapshots` lists what there is");
    let none =
        choose(Vec::new(), &BTreeMap::new(), &Wanted::Latest, &Filter::default(), "web", &now()).unwrap_err();
    assert!(none.message.contains("no snapshots yet"));
    let only_partial = vec![snapshot([1, 1], 1, "web", &[], State::Partial)];
    let failure = choose(only_partial, &BTreeMap::new(), &Wanted::Latest, &Filter::default(), "web", &now())
        .unwrap_err();
    assert!(failure.hint.unwrap().contains("latest-any"));
}

#[test]
fn a_prefix_must_be_unique_among_what_fits() {
    let filter = Filter::default();
    assert_eq!(pick("ef", &filter).unwrap(), (4, None));
    assert_eq!(pick("ab02", &filter).unwrap(), (2, None), "a prefix is not bound to this host");
    let failure = pick("ab", &filter).unwrap_err();
    assert_eq!(failure.exit.code(), 2);
    let hint = failure.hint.unwrap();
    assert!(hint.contains("ab01000000000000 (web") && hint.contains("ab02000000000000 (db"), "{hint}");
    let narrowed = Filter { host: vec!["db".into()], ..Filter::default() };
    assert_eq!(pick("ab", &narrowed).unwrap(), (2, None));
    assert_eq!(pick("77", &filter).unwrap_err().kind, "missing");
}

#[test]
fn filters_narrow() {
    let ids = |filter: &Filter| {
        filter.apply(all(), &now()).unwrap().iter().map(|(id, _)| id.as_bytes()[1]).collect::<Vec<_>>()
    };
    assert_eq!(ids(&Filter::default()), [1, 2, 3, 4]);
    assert_eq!(ids(&Filter { tag: vec!["daily".into(), "big".into()], ..Filter::default() }), [2]);
    assert_eq!(ids(&Filter { within: Some(Span::new().days(7)), ..Filter::default() }), [3, 4]);
    assert_eq!(ids(&Filter { module: Some("mysql".into()), ..Filter::default() }), [0u8; 0]);
    assert!(
        Filter { within: Some(Span::new().years(19_000)), ..Filter::default() }.apply(all(), &now()).is_err()
    );
}

#[test]
fn the_account_is_the_named_the_only_or_that_of_files() {
    let (_, mut snapshot) = snapshot([1, 1], 1, "web", &[], State::Complete);
    assert_eq!(account(&snapshot, None).unwrap().module, "files");
    snapshot.accounts.push(account_of("mysql", State::Complete));
    assert_eq!(account(&snapshot, None).unwrap().module, "files");
    assert_eq!(account(&snapshot, Some("mysql")).unwrap().module, "mysql");
    assert!(account(&snapshot, Some("redis")).unwrap_err().hint.unwrap().contains("files, mysql"));
    snapshot.accounts.remove(0);
    assert_eq!(account(&snapshot, None).unwrap().module, "mysql");
}
