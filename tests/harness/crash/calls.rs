//! Runs that are cut off.
//!
//! Pass 1 counts the calls of an undisturbed run. Pass 2 repeats it once per call, with storage frozen from
//! that call on, as for a process that died, and looks at what a restart finds: every snapshot from before
//! restores byte for byte, the interrupted one is absent or complete, and the next backup, check and restore
//! succeed without anybody's help.

use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{NO_KDF, Run, World, backup, create, open, open_keys};
use crate::support::{Scratch, copy_dir, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::progress::Silent;
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::{Family, Storage};
use std::path::PathBuf;
use std::sync::Arc;

/// Cuts `backup` of the tree after every storage call, with the index that `world` has.
///
/// The restart has an index that was lost, or the one that the dead run left behind. Returns how many cuts there were.
fn cut_backup_everywhere(world: &World, tree: PathBuf, oracle: &Oracle) -> u64 {
    cut_backup_of(&world.unlock, world, tree, oracle)
}

/// The same with the key `writer`; what a restart finds is looked at with the world's.
fn cut_backup_of(writer: &Unlock, world: &World, tree: PathBuf, oracle: &Oracle) -> u64 {
    let run = Run { tree: &tree, moment: 10 };
    let now = Arc::new(Tree::read(&tree));
    let undisturbed = copy_of(world);
    let counting = Arc::new(FaultStorage::new(undisturbed.storage.clone()));
    let repo = open(counting.clone(), writer, &undisturbed.index(), &Silent).unwrap();
    assert!(backup(&repo, run).unwrap().snapshot.is_some());
    let calls = counting.count();
    assert!(calls > 15, "too little happens here to prove anything: {calls} calls");

    for cut in 0..calls {
        let world = copy_of(world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        // Not asserted to fail: the last calls only look whether something newer has come.
        let told = open(storage.clone(), writer, &world.index(), &Silent)
            .map(|repo| backup(&repo, run).ok().and_then(|report| report.snapshot));
        let disturbed =
            Disturbed { tree: Some(now.clone()), told: told.ok().flatten(), ..Disturbed::default() };
        let index = if cut % 2 == 0 { world.index() } else { world.other_index("lost") };
        let found = Found { storage: world.storage.clone(), index: &index };
        oracle.judge(found, &disturbed, Run { moment: 20, ..run }, &format!("cut {cut}"));
    }
    calls
}

/// Returns a copy of a world, its index too.
pub fn copy_of(world: &World) -> World {
    let copy = world.fork();
    if world.index().exists() {
        copy_dir(&world.index(), &copy.index());
    }
    copy
}

fn the_first_backup(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    trees::build_small(&scratch.dir("tree"), random.next());
    let world = World::new();
    cut_backup_everywhere(&world, scratch.path("tree"), &Oracle::new(world.unlock.clone()))
}

fn the_second_backup(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    let (tree, seed) = (scratch.dir("tree"), random.next());
    trees::build_small(&tree, seed);
    let world = World::new();
    let first = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let mut oracle = Oracle::new(world.unlock.clone());
    oracle.commit(first, &tree, Arc::new(Tree::read(&tree)));
    trees::change(&tree, seed);
    cut_backup_everywhere(&world, tree, &oracle)
}

/// The first two backups by a key that only writes, in a world in which somebody else has stored nothing yet.
fn backups_that_only_write(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    let (tree, seed) = (scratch.dir("tree"), random.next());
    trees::build_tiny(&tree, seed);
    let (world, writer) = (World::new(), Unlock::new_key_file().unwrap().0);
    world.open().unwrap().add_write_only_slot(&writer, &NO_KDF, "server", 5).unwrap();
    let mut oracle = Oracle::new(world.unlock.clone());
    let cuts = cut_backup_of(&writer, &world, tree.clone(), &oracle);
    let repo = open(world.storage.clone(), &writer, &world.index(), &Silent).unwrap();
    let first = backup(&repo, Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    drop(repo);
    oracle.commit(first, &tree, Arc::new(Tree::read(&tree)));
    trees::write(&tree.join("one"), &random.bytes(20_000), 21);
    trees::write(&tree.join("new"), &random.bytes(20_000), 22);
    cuts + cut_backup_of(&writer, &world, tree, &oracle)
}

fn init(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    let tree = scratch.dir("tree");
    trees::build_tiny(&tree, random.next());
    let undisturbed = World::without_repository();
    let counting = Arc::new(FaultStorage::new(undisturbed.storage.clone()));
    create(counting.clone(), &undisturbed.unlock).unwrap();
    for cut in 0..counting.count() {
        let world = World::without_repository();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let made = create(storage.clone(), &world.unlock).is_ok();
        match open_keys(world.storage.clone(), &world.unlock) {
            Ok(_) => {}
            Err(error) => {
                assert!(!made && error.kind() == Kind::NoRepository, "cut {cut}: {error}");
                drop(world.create().unwrap());
            }
        }
        // Whatever came of it, there is one repository now, and it works.
        let run = Run { tree: &tree, moment: 0 };
        let found = Found { storage: world.storage.clone(), index: &world.index() };
        Oracle::new(world.unlock.clone()).judge(found, &Disturbed::default(), run, &format!("cut {cut}"));
    }
    counting.count()
}

/// Runs a work with storage frozen after every call, for as many seeds as the budget has.
pub fn freeze(figure: &'static str, full: u64, work: fn(&mut Random) -> u64) {
    let budget = Budget::of(figure, 1, full);
    let mut cuts = 0;
    budget.each(|_, random| cuts += work(random));
    budget.tell(&format!("{cuts} cuts, 0 lost, 0 manual unlocks"));
}

/// Segments were lost that an index knows. Once an opening that was cut off between forgetting their packs and finding them again
/// left an index that never looked for them any more: what was stored was called missing.
fn opening_without_segments(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    let tree = scratch.dir("tree");
    trees::build_tiny(&tree, random.next());
    let world = World::new();
    let id = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let segments = world.storage.objects().into_iter().map(|(name, _)| name);
    let segments: Vec<_> = segments.filter(|name| name.family() == Family::Segments).collect();
    segments.iter().for_each(|name| world.storage.delete(name).unwrap());
    for cut in 0.. {
        let world = copy_of(&world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let done = open(storage, &world.unlock, &world.index(), &Silent).is_ok();
        let run = Run { tree: &tree, moment: 0 };
        world.assert_restores(&world.open().unwrap(), id, run, &Tree::read(&tree));
        if done {
            assert!(cut > 5, "too little happens here to prove anything: {cut} calls");
            return cut;
        }
    }
    0
}

#[test]
fn opening_without_segments_can_be_cut_anywhere() {
    freeze("R1 storage freezes in opening a repository that lost segments", 4, opening_without_segments);
}

#[test]
fn the_first_backup_can_be_cut_anywhere() {
    freeze("R1 storage freezes in the first backup", 16, the_first_backup);
}

#[test]
fn the_second_backup_can_be_cut_anywhere() {
    freeze("R1 storage freezes in the second backup", 16, the_second_backup);
}

#[test]
fn backups_that_only_write_can_be_cut_anywhere() {
    freeze("R1 storage freezes in backups by a key that only writes", 8, backups_that_only_write);
}

#[test]
fn init_can_be_cut_anywhere() {
    freeze("R1 storage freezes in init", 16, init);
}
