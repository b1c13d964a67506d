//! A client that may write stores rubbish under the name of a chunk: nobody restores it, and check tells.

use crate::support::compare::Tree;
use crate::support::trees;
use crate::support::world::{Run, World, backup, check, open_keys, restore_to, restore_to_memory};
use dedup_engine::id::{ChunkId, ObjectId};
use dedup_engine::pack::PackKind;
use dedup_engine::storage::{Family, Name, Storage};

const CONTENT: &[u8] = b"what the file really holds";
const RUBBISH: &[u8] = b"what somebody else claims!";

/// A repository with one file of one chunk; the chunk, and the pack that holds it.
fn scene() -> (World, ObjectId, ChunkId, ObjectId) {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), CONTENT, 7);
    let snapshot = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    let segments = world.storage.objects().into_iter().filter(|(name, _)| name.family() == Family::Segments);
    let segments = segments.map(|(name, _)| repo.read_segment(name.object_id().unwrap()).unwrap());
    let mut packs = segments.flat_map(|segment| segment.packs).filter(|pack| pack.kind == PackKind::Data);
    let pack = packs.next().unwrap();
    assert_eq!(pack.directory.chunks().len(), 1);
    (world, snapshot, pack.directory.chunks()[0].id, pack.id)
}

#[test]
fn a_good_copy_is_taken_instead_of_rubbish() {
    let (world, snapshot, chunk, _) = scene();
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    repo.store_unverified(&[(chunk, RUBBISH)]).unwrap();
    let tree = world.scratch.path("tree");
    for repo in [world.open_afresh(), world.open().unwrap()] {
        world.assert_restores(&repo, snapshot, Run { tree: &tree, moment: 0 }, &Tree::read(&tree));
        assert!(!check(&repo).unwrap().is_sound(), "check does not tell of the rubbish");
    }
}

#[test]
fn rubbish_alone_is_never_restored() {
    let (world, snapshot, chunk, pack) = scene();
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    repo.store_unverified(&[(chunk, RUBBISH)]).unwrap();
    world.storage.delete(&Name::pack(pack)).unwrap();
    let repo = world.open_afresh();
    let (files, report) = restore_to_memory(&repo, snapshot).unwrap();
    assert!(!files.values().any(|bytes| bytes == RUBBISH), "rubbish was restored");
    assert_eq!(report.damaged, 1, "{report:?}");
    let target = world.scratch.path("restored");
    let report = restore_to(&repo, snapshot, &world.scratch.path("tree"), &target).unwrap();
    assert!(report.problems_total == 1 && !target.join("file").exists(), "{report:?}");
    assert!(!check(&repo).unwrap().is_sound());
}

/// Deduplication asks for the name alone, so a later backup relies on the rubbish; but no reader is deceived.
#[test]
fn a_backup_that_relies_on_rubbish_restores_no_wrong_byte() {
    let (world, _, chunk, pack) = scene();
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    repo.store_unverified(&[(chunk, RUBBISH)]).unwrap();
    world.storage.delete(&Name::pack(pack)).unwrap();
    let tree = world.scratch.dir("other");
    trees::write(&tree.join("again"), CONTENT, 8);
    let repo = world.open_afresh();
    let snapshot = backup(&repo, Run { tree: &tree, moment: 10 }).unwrap().snapshot.unwrap();
    let (files, _) = restore_to_memory(&repo, snapshot).unwrap();
    assert!(!files.values().any(|bytes| bytes == RUBBISH), "rubbish was restored");
    assert!(!check(&repo).unwrap().is_sound());
}
