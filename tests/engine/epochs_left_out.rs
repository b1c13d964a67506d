//! What those write who were left out of a key epoch, and still reach the storage.

use super::epochs::{STRANGER, added, full, rotate, slot_of};
use super::witness::{NOW, look, scene};
use crate::support::compare::Tree;
use crate::support::trees;
use crate::support::witness::Client;
use crate::support::world::{Run, World, backup, check, open, snapshots};
use dedup_engine::error::Kind;
use dedup_engine::id::{ChunkId, ObjectId};
use dedup_engine::log::{Act, Entry, Mark};
use dedup_engine::pack::PackKind;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Family, Name, Part, Put, Storage, StorageError};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

const KNOWN: &[u8] = b"what he knows that will be stored";
const RUBBISH: &[u8] = b"and what he puts there in advance";

/// A storage that hides key epochs: for who does not want to know, or should not.
pub struct Blind(pub Arc<MemoryStorage>);

impl Blind {
    fn name(name: &Name) -> Name {
        match name {
            Name::Epoch(number) => Name::epoch(number + 1_000_000),
            other => *other,
        }
    }
}

impl Storage for Blind {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.0.put(name, bytes)
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        self.0.get(&Self::name(name), range)
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.0.get_all(&Self::name(name), max)
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.0.len(&Self::name(name))
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.0.list(family, each, foreign)
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.0.delete(name)
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

fn blind(world: &World, client: &Client, index: &str) -> Repository {
    let storage = Arc::new(Blind(world.storage.clone()));
    let repo = open(storage, &client.unlock, &world.other_index(index), &Silent).unwrap();
    // What is known by then is not asked for again before a run ends.
    client.attach(&repo).ok();
    repo
}

/// Returns the name that a chunk of this content has in the repository.
fn name_of(world: &World, client: &Client, content: &[u8]) -> ChunkId {
    let copy = world.fork();
    let before = copy.storage.objects().len();
    let tree = copy.scratch.dir("tree");
    trees::write(&tree.join("file"), content, 3);
    let twin = client.twin();
    let repo = twin.open(copy.storage.clone()).unwrap();
    backup(&repo, Run { tree: &tree, moment: 9 }).unwrap();
    assert!(copy.storage.objects().len() > before);
    let old: BTreeSet<Name> = world.storage.objects().into_iter().map(|(name, _)| name).collect();
    let new = copy.storage.objects().into_iter().map(|(name, _)| name).filter(|name| !old.contains(name));
    let segments = new.filter(|name| name.family() == Family::Segments);
    let mut packs = segments.flat_map(|name| repo.read_segment(name.object_id().unwrap()).unwrap().packs);
    packs.find(|pack| pack.kind == PackKind::Data).unwrap().directory.chunks()[0].id
}

/// He holds DEDUPE and READ of before, and can still write to the storage: his snapshots, and rubbish under names that he
/// knows.
#[test]
fn what_those_left_out_write_counts_for_nothing() {
    let (world, one, two) = scene();
    let thief = added(&world, &one, "thief", full);
    let honest = one.backup(&world, 0);
    let chunk = name_of(&world, &thief, KNOWN);
    let his = blind(&world, &thief, "thief");
    look(&one, &world).remove_slot(&slot_of(&look(&one, &world), "thief")).unwrap();
    rotate(&one, &world, &["two"]);

    // A program of his own would not stop at what the log says; this one does, after it has committed.
    let tree = world.scratch.dir("his");
    trees::write(&tree.join("file"), b"an evil thing", 4);
    let error = backup(&his, Run { tree: &tree, moment: 5 }).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
    let ended = |name: &Name| matches!(name, Name::Session(_, Part::End));
    assert!(world.storage.objects().iter().filter(|(name, _)| ended(name)).count() > 1, "he committed");
    let forged: BTreeSet<ObjectId> = snapshots(&his).into_iter().filter(|id| *id != honest).collect();
    let forged = *forged.first().unwrap();
    let entry = Entry {
        number: 1,
        previous: Mark::NONE.id,
        time: NOW,
        host: "thief".into(),
        act: Act::Made(vec![forged]),
        live: 1,
        generation: Mark::NONE,
        retention: Mark::NONE,
        heads: Vec::new(),
        public_key: [0; 32],
        signature: [0; 64],
    };
    his.forge_entry(STRANGER, entry, true).unwrap();
    his.store_unverified(&[(chunk, RUBBISH)]).unwrap();

    // Who has not seen the epoch yet, and so has taken it up, gives it up.
    drop(blind(&world, &two, "two"));
    let again = world.scratch.dir("plan");
    trees::write(&again.join("file"), KNOWN, 6);
    for (client, index) in [(&two, "two"), (&one, "new")] {
        let world = world.fork_with_indexes();
        let repo = open(world.storage.clone(), &client.unlock, &world.other_index(index), &Silent).unwrap();
        let twin = client.twin();
        twin.attach(&repo).unwrap();
        assert_eq!(snapshots(&repo), [honest], "{index}");
        let id = backup(&repo, Run { tree: &again, moment: 7 }).unwrap().snapshot.unwrap();
        assert_eq!(snapshots(&repo), [honest, id], "{index}: not adopted either");
        world.assert_restores(&repo, id, Run { tree: &again, moment: 7 }, &Tree::read(&again));
        let report = check(&repo).unwrap();
        assert!(report.findings.iter().any(|found| found.message.contains("does not count")), "{report:?}");
        world.assert_restores(&world.open_afresh(), id, Run { tree: &again, moment: 7 }, &Tree::read(&again));
    }
}
