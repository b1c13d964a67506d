//! Every object of a small repository, damaged in every way we can think of.
//!
//! After each damage: the repository opens or says why not; `check` names the object, or everything still
//! restores; a restore never writes a byte that is not right, and says what it leaves out. Nothing panics.

use crate::support::trees;
use crate::support::world::{
    NO_KDF, Run, World, backup, check, open, open_keys, restore_to_memory, snapshots,
};
use dedup_engine::check::CheckReport;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::Silent;
use dedup_engine::repo::control::{Condemned, Generation};
use dedup_engine::repo::{Repository, hash_of};
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::BTreeMap;
use std::sync::Arc;

type Files = BTreeMap<StoredPath, Vec<u8>>;

/// A repository with an object at least of every kind that there is, and what its snapshots restore to.
struct Subject {
    world: World,
    expected: Vec<(ObjectId, Files)>,
}

impl Subject {
    fn new() -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        trees::build_tiny(&tree, 60);
        world.backup(Run { tree: &tree, moment: 0 }).unwrap();
        trees::write(&tree.join("one"), b"other words", 99);
        world.backup(Run { tree: &tree, moment: 10 }).unwrap();
        let repo = world.open().unwrap();
        for number in 1..=2 {
            let unlock = Unlock::new_key_file().unwrap().0;
            let slot = repo.add_slot(&unlock, &NO_KDF, "", true, number).unwrap();
            repo.remove_slot(&slot).unwrap();
            publish(&repo, number as u64);
        }
        repo.add_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "spare", true, 3).unwrap();
        let all = snapshots(&repo);
        assert_eq!(all.len(), 2);
        let expected = all.into_iter().map(|id| (id, restore_to_memory(&repo, id).unwrap().0)).collect();
        drop(repo);
        world.assert_sound(&world.open_afresh());
        Self { world, expected }
    }

    /// Restores every snapshot and refuses any wrong byte; returns whether all of them came back whole.
    fn restores(&self, repo: &Repository, context: &str) -> bool {
        let mut whole = true;
        for (id, expected) in &self.expected {
            let Ok((files, report)) = restore_to_memory(repo, *id) else {
                whole = false;
                continue;
            };
            for (path, bytes) in &files {
                assert!(expected.get(path) == Some(bytes), "{context}: {path:?} is restored wrong");
            }
            let missing = expected.len() - files.len();
            assert!(
                report.problems_total >= missing as u64,
                "{context}: {missing} missing, and nobody says so"
            );
            whole &= missing == 0 && report.problems_total == 0;
        }
        whole
    }

    /// Opens a damaged copy with an index made from it, and looks at everything.
    fn judge(&self, storage: MemoryStorage, culprits: &[Name], context: &str) -> Verdict {
        let storage = Arc::new(storage);
        let index = self.world.other_index("judged");
        // What the index is made from; of anything else it knows nothing.
        if matches!(culprits[0].family(), Family::Packs | Family::Segments | Family::Generations) {
            let _ = std::fs::remove_dir_all(&index);
        }
        let repo = match open(storage, &self.world.unlock, &index, &Silent) {
            Ok(repo) => repo,
            Err(error) => {
                let clear = [Kind::Integrity, Kind::TooNew, Kind::WrongKey, Kind::NoRepository];
                assert!(clear.contains(&error.kind()), "{context}: {error:?}");
                return Verdict::Refused;
            }
        };
        let whole = self.restores(&repo, context);
        match check(&repo) {
            Ok(report) if culprits.iter().any(|name| is_named(&report, name)) => Verdict::Named,
            Ok(report) => {
                let told = &report.findings;
                assert!(whole, "{context}: something is lost, and check tells of {told:#?}");
                Verdict::Harmless
            }
            Err(error) => {
                let named = culprits.iter().any(|name| error.to_string().contains(&name.to_string()));
                assert!(named, "{context}: {error}");
                Verdict::Named
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The repository does not open, and says why.
    Refused,
    /// The object is named.
    Named,
    /// Everything restores.
    Harmless,
}

fn is_named(report: &CheckReport, name: &Name) -> bool {
    let name = name.to_string();
    report.findings.iter().any(|finding| finding.object == name || finding.message.contains(&name))
}

fn publish(repo: &Repository, number: u64) {
    let set = Condemned {
        number,
        base: number - 1,
        session: Some(SessionId::from_bytes([9; 16])),
        packs: vec![ObjectId::from_bytes([9; 32])],
        ..Default::default()
    };
    repo.publish_condemned(&set).unwrap();
    let mut previous = ObjectId::from_bytes([0; 32]);
    let before = Name::generation(number.saturating_sub(1));
    if let Ok(stored) = repo.storage().get_all(&before, 1 << 20) {
        previous = hash_of(&stored);
    }
    let generation = Generation {
        number,
        condemned: number,
        previous,
        session: SessionId::from_bytes([9; 16]),
        packs: set.packs.clone(),
        segments: Vec::new(),
        snapshots: Vec::new(),
        parity: Vec::new(),
        retired: Vec::new(),
        public_key: [0; 32],
        signature: [0; 64],
    };
    repo.publish_generation(generation).unwrap();
}

/// Another name of the same family that no object has.
fn other_name(name: &Name) -> Option<Name> {
    let changed = |id: ObjectId| {
        let mut bytes = *id.as_bytes();
        bytes[31] ^= 1;
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

/// Returns every damage of one object: what it is called, and what is stored then.
fn damages(storage: &MemoryStorage, name: &Name, bytes: &[u8]) -> Vec<(String, MemoryStorage, Vec<Name>)> {
    let mut all = Vec::new();
    let mut put = |what: String, changed: Vec<u8>| {
        let fork = storage.fork();
        fork.overwrite(*name, &changed);
        all.push((what, fork, vec![*name]));
    };
    for len in [0, 27, 80, 81, bytes.len() / 2, bytes.len() - 1] {
        if len < bytes.len() {
            put(format!("cut to {len} bytes"), bytes[..len].to_vec());
        }
    }
    put("one byte longer".into(), [bytes, &[0]].concat());
    put("zeros".into(), vec![0; bytes.len()]);
    put("zeros at the front".into(), [&[0; 16], &bytes[16..]].concat());
    put("zeros at the end".into(), [&bytes[..bytes.len() - 16], &[0; 16]].concat());

    let fork = storage.fork();
    fork.delete(name).unwrap();
    all.push(("deleted".into(), fork, vec![*name]));
    if let Some(twin) = other_name(name) {
        let fork = storage.fork();
        fork.overwrite(twin, bytes);
        all.push(("also under another name".into(), fork, vec![twin]));
        let fork = storage.fork();
        fork.overwrite(twin, bytes);
        fork.delete(name).unwrap();
        all.push(("renamed".into(), fork, vec![twin, *name]));
    }
    for (other, others_bytes) in storage.objects() {
        let same_family = other.family() == name.family() && other > *name;
        if same_family && others_bytes[..] != *bytes {
            let fork = storage.fork();
            fork.overwrite(*name, &others_bytes);
            fork.overwrite(other, bytes);
            all.push((format!("swapped with {other}"), fork, vec![*name, other]));
        }
    }
    all
}

#[test]
fn whole_objects_can_be_damaged() {
    let subject = Subject::new();
    let objects = subject.world.storage.objects();
    let mut counts: BTreeMap<(Family, Verdict), u32> = BTreeMap::new();
    for (name, bytes) in &objects {
        for (what, storage, culprits) in damages(&subject.world.storage, name, bytes) {
            let context = format!("{name} {what}");
            let verdict = subject.judge(storage, &culprits, &context);
            *counts.entry((name.family(), verdict)).or_default() += 1;
            // What is there and is not what it should be is always noticed.
            let deleted = what == "deleted" || what == "renamed";
            assert!(verdict != Verdict::Harmless || deleted, "{context} goes unnoticed");
            let vital = matches!(name.family(), Family::Packs | Family::Snapshots | Family::Generations);
            let newest = *name == Name::generation(2);
            assert!(verdict != Verdict::Harmless || !vital || newest, "{context} goes unnoticed");
        }
    }
    println!("{counts:#?}");
    let families: Vec<Family> = objects.iter().map(|(name, _)| name.family()).collect();
    for family in Family::ALL {
        let unused = matches!(family, Family::Log | Family::Epochs | Family::Parity | Family::Runs);
        assert!(unused || families.contains(&family), "no object of {family} was damaged");
    }
}

/// Flips every `step`-th bit of every object, one at a time.
fn flip_bits(step: usize) {
    let subject = Subject::new();
    let objects = subject.world.storage.objects();
    let storage = Arc::new(FaultStorage::new(subject.world.storage.clone()));
    let repo = open(storage.clone(), &subject.world.unlock, &subject.world.index(), &Silent).unwrap();
    let (mut flips, mut harmless) = (0, 0);
    for (name, bytes) in &objects {
        for bit in (0..bytes.len() * 8).step_by(step) {
            let context = format!("{name}, bit {bit}");
            storage.reset();
            storage.corrupt(*name, (bit / 8) as u64, 1 << (bit % 8));
            if matches!(name.family(), Family::Config | Family::Keys) {
                match open_keys(storage.clone(), &subject.world.unlock) {
                    // The other slots open as they did.
                    Ok(_) => assert!(*name != Name::config(), "{context} goes unnoticed"),
                    Err(error) => {
                        let clear = [Kind::Integrity, Kind::TooNew, Kind::WrongKey, Kind::Refused];
                        assert!(clear.contains(&error.kind()), "{context}: {error:?}");
                    }
                }
            }
            match check(&repo) {
                Ok(report) => assert!(!report.is_sound() && is_named(&report, name), "{context}: {report:?}"),
                Err(error) => assert!(error.to_string().contains(&name.to_string()), "{context}: {error}"),
            }
            harmless += u32::from(subject.restores(&repo, &context));
            flips += 1;
        }
    }
    println!("{flips} bits flipped, each named by check; after {harmless} everything restored all the same");
    assert!(flips > 1000);
}

/// The step is odd, so that every bit of a byte has its turn.
#[test]
fn bits_can_flip() {
    flip_bits(11);
}

#[test]
#[ignore = "minutes: every single bit"]
fn every_bit_can_flip() {
    flip_bits(1);
}

/// The index is made from the damaged repository, so that nothing sound is remembered.
#[test]
fn bits_can_flip_before_the_index_is_made() {
    let subject = Subject::new();
    for (name, bytes) in subject.world.storage.objects() {
        for bit in (5..bytes.len() * 8).step_by(2203) {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let storage = subject.world.storage.fork();
            storage.overwrite(name, &changed);
            let context = format!("{name}, bit {bit}");
            let verdict = subject.judge(storage, &[name], &context);
            assert_ne!(verdict, Verdict::Harmless, "{context} goes unnoticed");
        }
    }
}

/// Two parts of the check found it, and both told.
#[test]
fn a_committed_snapshot_that_is_missing_is_told_once() {
    let subject = Subject::new();
    let name = Name::snapshot(subject.expected[0].0);
    let storage = subject.world.storage.fork();
    storage.delete(&name).unwrap();
    let index = subject.world.other_index("without a snapshot");
    let repo = open(Arc::new(storage), &subject.world.unlock, &index, &Silent).unwrap();
    let report = check(&repo).unwrap();
    let told: Vec<_> = report.findings.iter().filter(|found| found.object == name.to_string()).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].message.contains("missing, but sessions/"), "{}", told[0].message);
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
