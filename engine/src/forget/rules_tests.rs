//! Rules beside a naive model, and their promises one by one.

use super::*;
use crate::id::SessionId;
use crate::snapshot::{Account, Snapshot};
use proptest::prelude::*;

const NOW: Time = Time { secs: 1_800_000_000, nanos: 0 };

fn snapshot(n: u8, secs: i64, host: &str, states: &[(&str, State)]) -> Candidate {
    let account = |(module, state): &(&str, State)| Account { state: *state, ..Account::new(module) };
    let snapshot = Snapshot {
        session: SessionId::from_bytes([n; 16]),
        accounts: states.iter().map(account).collect(),
        ..Snapshot::bare(host, secs)
    };
    Candidate { id: ObjectId::from_bytes([n; 32]), snapshot, rank: None, is_suspect: false, is_pinned: false }
}

fn good(n: u8, secs: i64) -> Candidate {
    snapshot(n, secs, "web", &[("files", State::Complete)])
}

fn rules(period: Period, count: u32) -> Rules {
    let mut rules = Rules::default();
    rules.counts[Period::ALL.iter().position(|known| *known == period).unwrap()] = count;
    rules
}

fn kept(candidates: &[Candidate], rules: &Rules) -> Vec<u8> {
    let plan = plan(candidates, rules, NOW);
    let kept = plan.decisions.iter().filter(|one| !one.reasons.is_empty());
    let mut kept: Vec<u8> = kept.map(|one| one.id.as_bytes()[0]).collect();
    kept.sort_unstable();
    kept
}

#[test]
fn what_is_not_good_never_counts() {
    let day = 86_400;
    let broken = |n, at, state| snapshot(n, at, "web", &[("files", state)]);
    let all = [
        good(1, 0),
        broken(2, day, State::Warned),
        broken(3, 2 * day, State::Partial),
        broken(4, 3 * day, State::Failed),
        broken(5, 4 * day, State::Partial),
    ];
    assert_eq!(kept(&all, &rules(Period::Last, 1)), [2, 5], "the last good one, and the newest of all");
    assert_eq!(kept(&all[..4], &rules(Period::Daily, 9)), [1, 2, 4]);
    let mut suspect = all[..2].to_vec();
    suspect[1].is_suspect = true;
    assert_eq!(kept(&suspect, &rules(Period::Last, 1)), [1, 2]);
    assert_eq!(kept(&all[2..4], &rules(Period::Last, 1)), [4], "nothing good: the newest");
}

/// One broken module must neither fill the disk nor lose its last good state.
#[test]
fn a_broken_module_is_counted_for_itself() {
    let run = |n, at, db| snapshot(n, at, "web", &[("db", db), ("files", State::Complete)]);
    let all: Vec<Candidate> = (1..=20)
        .map(|n| run(n, i64::from(n) * 86_400, if n <= 2 { State::Complete } else { State::Partial }))
        .collect();
    assert_eq!(kept(&all, &rules(Period::Last, 3)), [1, 2, 18, 19, 20]);
    let whole =
        Rules { group_by: GroupBy { modules: false, ..GroupBy::default() }, ..rules(Period::Last, 3) };
    assert_eq!(kept(&all, &whole), [1, 2, 20]);
}

#[test]
fn the_last_good_one_stays_unless_that_is_allowed() {
    let all = [good(1, 0), good(2, 1), snapshot(3, 2, "db", &[("files", State::Complete)])];
    let tagged = Rules { tags: vec!["nobody".into()], ..Rules::default() };
    assert_eq!(kept(&all, &tagged), [2, 3]);
    assert_eq!(kept(&all, &Rules { allow_empty: true, ..tagged }), [0; 0]);
    let ids = |all: &[u8]| all.iter().map(|n| ObjectId::from_bytes([*n; 32])).collect();
    let may = |named: &[u8], allow| may_go(&all, &ids(named), GroupBy::default(), allow, NOW);
    assert!(may(&[1], false).is_ok() && may(&[2], false).is_ok());
    assert!(
        matches!(may(&[1, 2], false), Err(ForgetError::LastOne(group)) if group.host.as_deref() == Some("web"))
    );
    assert!(matches!(may(&[3], false), Err(ForgetError::LastOne(_))) && may(&[1, 2, 3], true).is_ok());
}

#[test]
fn pins_tags_and_slots_keep() {
    let mut all: Vec<Candidate> = (1..=6).map(|n| good(n, n.into())).collect();
    all[0].is_pinned = true;
    all[1].snapshot.tags = vec!["release".into()];
    all[2].snapshot.tags = vec!["rolling:monday".into()];
    all[3].snapshot.tags = vec!["rolling:monday".into()];
    let rules = Rules { tags: vec!["release".into()], ..rules(Period::Last, 1) };
    assert_eq!(kept(&all, &rules), [1, 2, 4, 6]);
    let pinned = [ObjectId::from_bytes([1; 32])].into();
    assert!(matches!(may_go(&all, &pinned, GroupBy::default(), true, NOW), Err(ForgetError::Pinned(_))));
}

/// Somebody who may only add snapshots adds some with chosen times. What was there before stays.
#[test]
fn chosen_times_do_not_push_out_what_is_good() {
    let week = 7 * 86_400;
    let mut all: Vec<Candidate> = (1..=4).map(|n| good(n, NOW.secs - (5 - i64::from(n)) * week)).collect();
    let mut later: Vec<Candidate> = (11..=14).map(|n| good(n, NOW.secs + i64::from(n) * week)).collect();
    all.append(&mut later);
    assert_eq!(kept(&all, &rules(Period::Weekly, 3)), [3, 4, 14], "the future is one week: this one");
    let odd = plan(&all, &rules(Period::Weekly, 3), NOW).oddities;
    assert_eq!(odd, [Oddity::Future { snapshots: 4 }]);
}

/// A clock that was set back: what was made on top of something comes after it, and so does what follows it in the log.
#[test]
fn order_is_not_the_clock_alone() {
    let mut all = [good(1, 1_000_000), good(2, 500), good(3, 950_000)];
    all[1].snapshot.parents = vec![all[0].id];
    assert_eq!(kept(&all, &rules(Period::Last, 1)), [2], "made on top of the one of the right clock");
    all[1].snapshot.parents.clear();
    assert_eq!(kept(&all, &rules(Period::Last, 1)), [1]);
    for (one, rank) in all.iter_mut().zip([4, 6, 5]) {
        one.rank = Some(rank);
    }
    assert_eq!(kept(&all, &rules(Period::Last, 1)), [2], "the log says so");
    assert_eq!(plan(&all, &rules(Period::Last, 1), NOW).oddities, [Oddity::OutOfOrder { snapshots: 1 }]);
}

#[test]
fn odd_growth_is_told() {
    let all: Vec<Candidate> = (1..=40).map(|n| good(n, NOW.secs - 40 + i64::from(n))).collect();
    let odd = plan(&all, &rules(Period::Hourly, 5), NOW).oddities;
    assert!(matches!(odd[0], Oddity::Burst { snapshots: 40, .. }), "{odd:?}");
    assert!(matches!(odd[1], Oddity::MostGo { forgotten, of: 40 } if forgotten >= 38), "{odd:?}");
    let daily: Vec<Candidate> = (1..=40).map(|n| good(n, NOW.secs - (40 - i64::from(n)) * 86_400)).collect();
    assert_eq!(plan(&daily, &rules(Period::Daily, 30), NOW).oddities, []);
}

/// What a person would do by hand: write down the periods that have a good snapshot, newest first, cross out all
/// but the first so many, and keep the newest snapshot of each that is left.
fn naive(candidates: &[Candidate], rules: &Rules) -> Vec<u8> {
    let group = |one: &Candidate| (one.snapshot.host.clone(), one.snapshot.accounts[0].module.clone());
    let is_good = |one: &Candidate| one.snapshot.is_good() && !one.is_suspect;
    let mut kept = BTreeSet::new();
    let groups: BTreeSet<_> = candidates.iter().map(group).collect();
    for name in groups {
        let mut all: Vec<&Candidate> = candidates.iter().filter(|one| group(one) == name).collect();
        all.sort_by_key(|one| (one.snapshot.time, one.id));
        let fitting: Vec<&&Candidate> = all.iter().filter(|one| is_good(one)).collect();
        let before = kept.clone();
        for (number, len) in [(2, 86_400), (1, 3600)] {
            let period = |one: &Candidate| one.snapshot.time.secs / len;
            let mut periods: Vec<i64> = fitting.iter().map(|one| period(one)).collect();
            periods.dedup();
            for wanted in periods.iter().rev().take(rules.counts[number] as usize) {
                let newest = fitting.iter().rfind(|one| period(one) == *wanted).unwrap();
                kept.insert(newest.id.as_bytes()[0]);
            }
        }
        for last in fitting.iter().rev().take(rules.counts[0] as usize) {
            kept.insert(last.id.as_bytes()[0]);
        }
        if let (Some(seconds), Some(newest)) = (rules.within[0], fitting.last()) {
            let young =
                |one: &Candidate| newest.snapshot.time.secs - one.snapshot.time.secs <= seconds as i64;
            kept.extend(fitting.iter().filter(|one| young(one)).map(|one| one.id.as_bytes()[0]));
        }
        kept.extend(all.iter().filter(|one| one.is_pinned).map(|one| one.id.as_bytes()[0]));
        let has_one = fitting.iter().any(|one| kept.contains(&one.id.as_bytes()[0]));
        debug_assert!(kept.is_superset(&before));
        if !has_one && !rules.allow_empty {
            kept.extend(fitting.last().map(|one| one.id.as_bytes()[0]));
        }
        if !rules.allow_empty {
            kept.extend(all.last().filter(|one| !is_good(one)).map(|one| one.id.as_bytes()[0]));
        }
    }
    kept.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn rules_keep_what_a_person_would(
        made in proptest::collection::vec((0..400i64, 0..2u8, 0..2u8, 0..8u8, 0..20u8), 0..40),
        counts in (0..4u32, 0..5u32, 0..6u32),
        within in proptest::option::of(0..900_000u64),
        allow_empty in any::<bool>(),
    ) {
        let states = [State::Complete, State::Complete, State::Warned, State::Partial, State::Failed];
        let all: Vec<Candidate> = made.iter().enumerate().map(|(n, (time, host, module, state, luck))| {
            let host = ["web", "db"][usize::from(*host)];
            let state = states[usize::from(*state) % states.len()];
            let module = ["app", "shop"][usize::from(*module)];
            let mut one = snapshot(n as u8, time * 2000, host, &[(module, state)]);
            one.is_pinned = *luck == 0;
            one.is_suspect = *luck == 1;
            one
        }).collect();
        let mut rules = Rules { allow_empty, ..Rules::default() };
        [rules.counts[0], rules.counts[1], rules.counts[2]] = [counts.0, counts.1, counts.2];
        rules.within[0] = within;
        prop_assert_eq!(kept(&all, &rules), naive(&all, &rules));
    }

    /// The order of the list given says nothing, and what a forget keeps, the same forget keeps again.
    #[test]
    fn rules_are_stable(
        made in proptest::collection::vec((0..400i64, 0..2u8, 0..6u8), 1..40),
        daily in 0..6u32, monthly in 0..3u32, turn in any::<usize>(),
    ) {
        let mut all: Vec<Candidate> = made.iter().enumerate().map(|(n, (time, host, state))| {
            let state = if *state == 0 { State::Partial } else { State::Complete };
            snapshot(n as u8, time * 7000, ["web", "db"][usize::from(*host)], &[("app", state)])
        }).collect();
        let mut rules = rules(Period::Daily, daily);
        rules.counts[4] = monthly;
        let first = kept(&all, &rules);
        let len = all.len();
        all.rotate_left(turn % len);
        prop_assert_eq!(&kept(&all, &rules), &first);
        all.retain(|one| first.contains(&one.id.as_bytes()[0]));
        prop_assert_eq!(kept(&all, &rules), first);
    }
}
