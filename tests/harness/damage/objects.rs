//! Whole objects of a small repository, damaged in every way we can think of.

use super::subject::{Judged, Subject, Verdict, is_told_at};
use crate::support::budget::Budget;
use crate::support::trees;
use crate::support::world::{Run, backup, check, open, open_keys, restore_to_memory};
use dedup_engine::error::Kind;
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::progress::Silent;
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What happens to one object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    Cut(usize),
    Prolonged(usize),
    Zeroed,
    ZerosInFront,
    ZerosAtTheEnd,
    Deleted,
    Copied(Name),
    Renamed(Name),
    Swapped(Name),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(len) => write!(f, "cut to {len} bytes"),
            Self::Prolonged(by) => write!(f, "{by} bytes longer"),
            Self::Zeroed => write!(f, "zeroed"),
            Self::ZerosInFront => write!(f, "zeros in front"),
            Self::ZerosAtTheEnd => write!(f, "zeros at the end"),
            Self::Deleted => write!(f, "deleted"),
            Self::Copied(other) => write!(f, "also stored as {other}"),
            Self::Renamed(other) => write!(f, "renamed to {other}"),
            Self::Swapped(other) => write!(f, "swapped with {other}"),
        }
    }
}

/// Another name of the same family that no object has.
fn other_name(name: &Name) -> Option<Name> {
    let changed = |id: ObjectId| {
        let mut bytes = *id.as_bytes();
        bytes[0] ^= 1;
        ObjectId::from_bytes(bytes)
    };
    let session = SessionId::from_bytes([0xAB; 16]);
    Some(match *name {
        Name::Config => return None,
        Name::Slot(id) => Name::slot(changed(id)),
        Name::Pack(id) => Name::pack(changed(id)),
        Name::Segment(id) => Name::segment(changed(id)),
        Name::Snapshot(id) => Name::snapshot(changed(id)),
        Name::Session(_, part) => Name::Session(session, part),
        Name::Condemned(_) => Name::condemned(3),
        Name::Generation(_) => Name::generation(3),
        Name::KeyChange(_) => Name::key_change(3),
        _ => return None,
    })
}

type Objects = Vec<(Name, Arc<[u8]>)>;
type Damages = Vec<(Name, Damage)>;

/// Returns the damages that every run of the tests tries, and those that only a full one tries all of: cuts at
/// every length, and swaps with every object of other families.
fn damages(objects: &Objects) -> (Damages, Damages) {
    let (mut usual, mut rest) = (Vec::new(), Vec::new());
    for (name, bytes) in objects {
        let few = [0, 27, 80, 81, bytes.len() / 2, bytes.len() - 1];
        for len in 0..bytes.len() {
            let damages = if few.contains(&len) { &mut usual } else { &mut rest };
            damages.push((*name, Damage::Cut(len)));
        }
        let zeros = [Damage::Zeroed, Damage::ZerosInFront, Damage::ZerosAtTheEnd];
        let longer = [Damage::Prolonged(1), Damage::Prolonged(bytes.len())];
        let names = other_name(name).map(|other| [Damage::Copied(other), Damage::Renamed(other)]);
        let of_one =
            zeros.into_iter().chain(longer).chain([Damage::Deleted]).chain(names.into_iter().flatten());
        usual.extend(of_one.map(|damage| (*name, damage)));
        for (other, theirs) in objects {
            if other > name && theirs != bytes {
                let damages = if other.family() == name.family() { &mut usual } else { &mut rest };
                damages.push((*name, Damage::Swapped(*other)));
            }
        }
    }
    (usual, rest)
}

/// Returns the damaged storage, and the objects one of which must be named.
fn damaged(storage: &MemoryStorage, name: Name, damage: Damage) -> (MemoryStorage, Vec<Name>) {
    let fork = storage.fork();
    let mut bytes = fork.get_all(&name, 1 << 30).unwrap();
    let (len, mut culprits) = (bytes.len(), vec![name]);
    match damage {
        Damage::Cut(len) => bytes.truncate(len),
        Damage::Prolonged(by) => bytes.resize(len + by, 0),
        Damage::Zeroed => bytes.fill(0),
        Damage::ZerosInFront => bytes[..16].fill(0),
        Damage::ZerosAtTheEnd => bytes[len - 16..].fill(0),
        Damage::Deleted => {}
        Damage::Copied(other) => {
            fork.overwrite(other, &bytes);
            culprits = vec![other];
        }
        Damage::Renamed(other) => {
            fork.overwrite(other, &bytes);
            culprits.push(other);
        }
        Damage::Swapped(other) => {
            let theirs = fork.get_all(&other, 1 << 30).unwrap();
            fork.overwrite(other, &bytes);
            bytes = theirs;
            culprits.push(other);
        }
    }
    fork.delete(&name).unwrap();
    if !matches!(damage, Damage::Deleted | Damage::Renamed(_)) {
        fork.overwrite(name, &bytes);
    }
    (fork, culprits)
}

#[test]
fn whole_objects_can_be_damaged() {
    let subject = Subject::new();
    let objects = subject.world.storage.objects();
    let (usual, rest) = damages(&objects);
    let (first, all) = (usual.len() as u64, (usual.len() + rest.len()) as u64);
    let budget = Budget::of("R5 damaged objects", first + 150, all);
    let mut counts: BTreeMap<(Family, Verdict), u32> = BTreeMap::new();
    budget.each(|case, random| {
        let (name, damage) = match (usual.get(case as usize), budget.cases() < all) {
            (Some(damage), _) => *damage,
            (None, true) => rest[random.below(rest.len() as u64) as usize],
            (None, false) => rest[(case - first) as usize],
        };
        let context = format!("{name} {damage}");
        let (storage, culprits) = damaged(&subject.world.storage, name, damage);
        let Judged { verdict, report, .. } = subject.judge(storage, &culprits, &context);
        *counts.entry((name.family(), verdict)).or_default() += 1;
        // What is there and is not what it should be is always noticed.
        let is_gone = matches!(damage, Damage::Deleted | Damage::Renamed(_));
        assert!(verdict != Verdict::Harmless || is_gone, "{context} goes unnoticed");
        let vital = matches!(name.family(), Family::Packs | Family::Snapshots | Family::Generations);
        let newest = name == Name::generation(2);
        assert!(verdict != Verdict::Harmless || !vital || newest, "{context} goes unnoticed");
        let len = objects.iter().find(|(other, _)| *other == name).unwrap().1.len();
        let edge = match damage {
            Damage::Cut(len) => Some(len),
            Damage::Prolonged(_) => Some(len),
            _ => None,
        };
        if let Some(edge) = edge.filter(|_| name.family() == Family::Packs) {
            assert!(is_told_at(&report, &name, edge as u64), "{context}: {:#?}", report.findings);
        }
    });
    for family in Family::ALL {
        let unused = matches!(family, Family::Log | Family::Epochs | Family::Parity | Family::Runs);
        let hit = counts.keys().any(|(hit, _)| *hit == family);
        assert!(unused || hit || budget.cases() < first, "no object of {family} was damaged");
    }
    let of = |verdict| counts.iter().filter(|(key, _)| key.1 == verdict).map(|(_, count)| count).sum::<u32>();
    budget.tell(&format!(
        "{} damages of {} objects ({} bytes, {all} possible): {} located, {} refused at opening, {} harmless",
        budget.cases(),
        objects.len(),
        subject.len(),
        of(Verdict::Located),
        of(Verdict::Refused),
        of(Verdict::Harmless),
    ));
}

/// After a damage, a new backup fails, or restores, or is at least known to be damaged.
#[test]
fn a_backup_over_damage_is_never_silently_wrong() {
    let subject = Subject::new();
    let tree = subject.world.scratch.path("tree");
    trees::write(&tree.join("sub/new"), b"something new", 123);
    let expected = {
        let world = subject.world.fork();
        let snapshot = world.backup(Run { tree: &tree, moment: 20 }).unwrap().snapshot.unwrap();
        restore_to_memory(&world.open().unwrap(), snapshot).unwrap().0
    };
    for (name, bytes) in subject.world.storage.objects() {
        for what in ["deleted", "zeros"] {
            let context = format!("{name} {what}");
            let world = subject.world.fork();
            match what {
                "deleted" => world.storage.delete(&name).unwrap(),
                _ => world.storage.overwrite(name, &vec![0; bytes.len()]),
            }
            let Ok(repo) = world.open() else { continue };
            let Ok(report) = backup(&repo, Run { tree: &tree, moment: 20 }) else { continue };
            let restored = restore_to_memory(&repo, report.snapshot.unwrap());
            let whole = restored.is_ok_and(|(files, report)| files == expected && report.problems_total == 0);
            let sound = check(&repo).is_ok_and(|report| report.is_sound());
            assert!(whole || !sound, "{context}: the new backup is not whole, and check finds nothing");
            if !whole {
                println!("{context}: a new backup relies on it all the same; check tells");
            }
        }
    }
}

#[test]
fn another_repository_is_refused() {
    let (ours, theirs) = (Subject::new(), Subject::new());
    let config = theirs.world.storage.get_all(&Name::config(), 1 << 20).unwrap();
    let storage = ours.world.storage.fork();
    storage.overwrite(Name::config(), &config);
    let error = open_keys(Arc::new(storage), &ours.world.unlock).err().unwrap();
    assert_eq!(error.kind(), Kind::WrongKey, "{error}");
    // With their slots as well it is their repository, which our key does not open.
    let storage = ours.world.storage.fork();
    for (name, bytes) in theirs.world.storage.objects() {
        if matches!(name.family(), Family::Config | Family::Keys) {
            storage.overwrite(name, &bytes);
        }
    }
    let storage = Arc::new(storage);
    let error = open_keys(storage.clone(), &ours.world.unlock).err().unwrap();
    assert_eq!(error.kind(), Kind::WrongKey, "{error}");
    // And with their key nothing of ours is believed.
    let error =
        open(storage, &theirs.world.unlock, &ours.world.other_index("theirs"), &Silent).err().unwrap();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
}
