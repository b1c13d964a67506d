//! Runs that are cut off.
//!
//! Pass 1 counts the calls of an undisturbed run. Pass 2 repeats it once per call, with storage frozen from
//! that call on, as for a process that died, and looks at what a restart finds: every snapshot from before
//! restores byte for byte, the interrupted one is absent or complete, and the next backup, check and restore
//! succeed without anybody's help.

use crate::support::compare::Tree;
use crate::support::world::{Run, World, backup, open, open_keys, snapshots};
use crate::support::{Scratch, copy_dir, trees};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::storage::fault::FaultStorage;
use std::path::PathBuf;
use std::sync::Arc;

/// What a repository holds: snapshots, and what each must restore to.
type Committed = Vec<(ObjectId, Tree)>;

/// Cuts `backup` of the tree after every storage call, with the index that `world` has.
///
/// The restart has an index that was lost, or the one that the dead run left behind.
fn cut_backup_everywhere(world: &World, tree: PathBuf, before: &Committed) -> u64 {
    let run = Run { tree: &tree, moment: 10 };
    let now = Tree::read(&tree);
    let undisturbed = copy_of(world);
    let counting = Arc::new(FaultStorage::new(undisturbed.storage.clone()));
    let repo = open(counting.clone(), &world.unlock, &undisturbed.index(), &Silent).unwrap();
    assert!(backup(&repo, run).unwrap().snapshot.is_some());
    let calls = counting.count();
    assert!(calls > 15, "too little happens here to prove anything: {calls} calls");

    for cut in 0..calls {
        let world = copy_of(world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let told = open(storage.clone(), &world.unlock, &world.index(), &Silent)
            .map(|repo| backup(&repo, run).ok().and_then(|report| report.snapshot));
        // Not asserted to fail: the last calls only look whether something newer has come.
        let told = told.ok().flatten();

        let repo = if cut % 2 == 0 { world.open().unwrap() } else { world.open_afresh() };
        for (id, tree) in before {
            world.assert_restores(&repo, *id, run, tree);
        }
        let new: Vec<_> =
            snapshots(&repo).into_iter().filter(|id| before.iter().all(|(old, _)| old != id)).collect();
        assert!(new.len() <= 1 && told.is_none_or(|id| new == [id]), "cut {cut}: told {told:?}, is {new:?}");
        new.iter().for_each(|id| world.assert_restores(&repo, *id, run, &now));
        world.assert_sound(&repo);

        let next = backup(&repo, Run { moment: 20, ..run });
        let next = next.unwrap_or_else(|error| panic!("no way forward after cut {cut}: {error}"));
        world.assert_restores(&repo, next.snapshot.unwrap(), run, &now);
        let report = world.assert_sound(&world.open_afresh());
        let left: Vec<_> = report.findings.iter().filter(|finding| finding.object == "packs").collect();
        assert!(left.is_empty(), "cut {cut}: {left:?}");
        assert_eq!(report.snapshots as usize, before.len() + new.len() + 1, "cut {cut}");
    }
    calls
}

/// Returns a copy of a world, its index too.
fn copy_of(world: &World) -> World {
    let copy = world.fork();
    if world.index().exists() {
        copy_dir(&world.index(), &copy.index());
    }
    copy
}

#[test]
fn the_first_backup_can_be_cut_anywhere() {
    let scratch = Scratch::new();
    trees::build_small(&scratch.dir("tree"), 7);
    cut_backup_everywhere(&World::new(), scratch.path("tree"), &Vec::new());
}

#[test]
fn the_second_backup_can_be_cut_anywhere() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    trees::build_small(&tree, 8);
    let world = World::new();
    let first = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let before = vec![(first, Tree::read(&tree))];
    trees::change(&tree, 8);
    cut_backup_everywhere(&world, tree, &before);
}

#[test]
fn init_can_be_cut_anywhere() {
    let undisturbed = World::without_repository();
    let counting = Arc::new(FaultStorage::new(undisturbed.storage.clone()));
    crate::support::world::create(counting.clone(), &undisturbed.unlock).unwrap();
    for cut in 0..counting.count() {
        let world = World::without_repository();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let made = crate::support::world::create(storage.clone(), &world.unlock).is_ok();
        match open_keys(world.storage.clone(), &world.unlock) {
            Ok(_) => {}
            Err(error) => {
                assert!(!made && error.kind() == Kind::NoRepository, "cut {cut}: {error}");
                drop(world.create().unwrap());
            }
        }
        // Whatever came of it, there is one repository now, and it works.
        let scratch = Scratch::new();
        let tree = scratch.dir("tree");
        trees::build_tiny(&tree, 1);
        let run = Run { tree: &tree, moment: 0 };
        let repo = world.open().unwrap();
        let snapshot = backup(&repo, run).unwrap().snapshot.unwrap();
        world.assert_restores(&repo, snapshot, run, &Tree::read(&tree));
        world.assert_sound(&repo);
    }
}
