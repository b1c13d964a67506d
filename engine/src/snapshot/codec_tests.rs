//! What readers of snapshots refuse. What is written and read back: `testing/written.rs`.

use super::*;
use crate::id::ChunkId;
use crate::map::Class;
use crate::snapshot::{Account, Dump, Form, Listing, Section};

fn root(class: Class, entries: u64) -> Root {
    let id = (entries > 0).then(|| ChunkId::from_bytes([7; 32]));
    Root { class, id, level: 0, entries, value_bytes: 100 * entries }
}

fn listing(section: Section) -> Listing {
    Listing { section, root: root(section.class(), 3), problems: root(section.class(), 1) }
}

fn dump(name: &str, section: Section, form: Form) -> Dump {
    let root = root(section.class(), 2);
    Dump { name: name.into(), section, kind: "sqlite".into(), form, root, bytes: 200, schema: Blob::EMPTY }
}

fn snapshot() -> Snapshot {
    let mut account = Account::new("mail");
    account.listings = Section::ALL.map(listing).to_vec();
    account.dumps = vec![dump("a", Section::Data, Form::Records), dump("b", Section::Secrets, Form::Listing)];
    Snapshot {
        session: SessionId::from_bytes([1; 16]),
        time: Time { secs: 0, nanos: 0 },
        utc_offset_minutes: 0,
        host: String::new(),
        user: String::new(),
        program: String::new(),
        tags: Vec::new(),
        comment: String::new(),
        parents: Vec::new(),
        accounts: vec![account],
        totals: Totals::default(),
        provenance: Provenance::default(),
    }
}

/// Changes the account, encodes the snapshot and says why it is refused; nothing if it is not.
fn refusal(change: impl FnOnce(&mut Account)) -> String {
    let mut snapshot = snapshot();
    change(&mut snapshot.accounts[0]);
    decode(&encode(&snapshot)).err().map_or(String::new(), |error| error.to_string())
}

#[test]
fn what_is_well_formed_is_read() {
    assert_eq!(decode(&encode(&snapshot())), Ok(snapshot()));
    assert_eq!(refusal(|account| account.dumps[1].bytes = u64::MAX), "", "sizes of a listing are for show");
}

#[test]
fn what_a_snapshot_was_made_from_is_an_extension() {
    let origin =
        |n: u8| Origin { repo: RepoId::from_bytes([n; 16]), snapshot: ObjectId::from_bytes([n; 32]) };
    for (copy_of, rewritten_from) in
        [(None, None), (Some(origin(1)), None), (Some(origin(1)), Some(origin(2)))]
    {
        let made = Snapshot { provenance: Provenance { copy_of, rewritten_from }, ..snapshot() };
        assert_eq!(decode(&encode(&made)), Ok(made));
    }
    let plain = encode(&snapshot());
    let extended = |extensions: &[u8]| decode(&[&plain[..plain.len() - 1], extensions].concat());
    let origin = [7; 48];
    assert!(extended(&[&[1, 4, 48], &origin[..]].concat()).unwrap().provenance.rewritten_from.is_some());
    // An even one that nobody knows yet is passed over, one of another length is refused.
    assert_eq!(extended(&[1, 6, 1, 9]), Ok(snapshot()));
    assert!(extended(&[&[1, 2, 47], &origin[..47]].concat()).is_err());
    assert!(extended(&[&[1, 2, 49], &origin[..], &[7]].concat()).is_err());
    assert!(extended(&[1, 3, 0]).is_err());
}

/// A root of another class would let a reader take open chunks for secret ones, or tell names to whoever holds
/// READ alone.
#[test]
fn roots_have_the_class_of_their_section() {
    for number in 0..3 {
        let other = |root: &mut Root| {
            root.class = if root.class == Class::Open { Class::Secrets } else { Class::Open };
        };
        for text in [
            refusal(|account| other(&mut account.listings[number].root)),
            refusal(|account| other(&mut account.listings[number].problems)),
            refusal(|account| account.listings[number].problems = other_empty(Section::ALL[number])),
        ] {
            assert!(text.contains("another class"), "{number}: {text}");
        }
    }
    for number in 0..2 {
        let text = refusal(|account| account.dumps[number].root = other_empty(account.dumps[number].section));
        assert!(text.contains("another class"), "{number}: {text}");
    }
}

fn other_empty(section: Section) -> Root {
    let classes = [Class::Open, Class::Secrets];
    Root::empty(classes.into_iter().find(|class| *class != section.class()).unwrap())
}

#[test]
fn sections_and_dumps_rise() {
    for text in [
        refusal(|account| account.listings.swap(0, 1)),
        refusal(|account| account.listings[1] = account.listings[0]),
    ] {
        assert!(text.contains("sections do not rise"), "{text}");
    }
    for text in
        [refusal(|account| account.dumps.swap(0, 1)), refusal(|account| account.dumps[1].name = "a".into())]
    {
        assert!(text.contains("dumps do not rise"), "{text}");
    }
    let text = refusal(|account| account.dumps[0].name.clear());
    assert!(text.contains("without a name"), "{text}");
}

#[test]
fn sizes_of_dumps_agree_with_their_roots() {
    for text in [
        refusal(|account| account.dumps[0].bytes = 199),
        refusal(|account| account.dumps[0].root = Root::empty(Class::Open)),
        refusal(|account| account.dumps[1].root = Root::empty(Class::Secrets)),
    ] {
        assert!(text.contains("bytes in a dump"), "{text}");
    }
}

/// Codes of forms and sections that nobody knows belong to newer programs.
#[test]
fn unknown_codes_are_refused() {
    let whole = encode(&snapshot());
    let at = whole.windows(7).position(|bytes| bytes == b"\x06sqlite").unwrap() + 7;
    for (code, name) in [(0, "form of a dump 0"), (3, "form of a dump 3")] {
        let mut changed = whole.clone();
        changed[at] = code;
        let text = decode(&changed).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
    let mut changed = whole.clone();
    changed[at - 8] = 4;
    let text = decode(&changed).unwrap_err().to_string();
    assert!(text.contains("section 4"), "{text}");
}
