//! Copies and rewriting, cut off after every storage call: a snapshot is there whole or not at all, and the next go ends it.

use super::calls::{copy_of, freeze};
use crate::engine::copying::how;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{Run, World, open, snapshots};
use crate::support::{Scratch, trees};
use dedup_engine::copy::{Copying, RewriteRequest, rewrite};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::fault::FaultStorage;
use std::sync::Arc;

fn copy(from: &Repository, to: &Repository, id: ObjectId) -> Option<ObjectId> {
    let report = Copying::begin(from, to).and_then(|mut copying| copying.copy(&id, &how(), &Silent));
    report.ok().map(|report| report.snapshot)
}

/// Cuts the second copy everywhere. The restart has the index that the dead run left, or none.
fn copies(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    let (tree, seed) = (scratch.dir("tree"), random.next());
    trees::build_small(&tree, seed);
    let (source, target) = (World::new(), World::new());
    let first = source.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let before = Arc::new(Tree::read(&tree));
    trees::change(&tree, seed);
    let second = source.backup(Run { tree: &tree, moment: 5 }).unwrap().snapshot.unwrap();
    let now = Arc::new(Tree::read(&tree));
    let from = source.open().unwrap();
    let mut oracle = Oracle::new(target.unlock.clone());
    oracle.commit(copy(&from, &target.open().unwrap(), first).unwrap(), &tree, before);

    let mut cut = 0;
    loop {
        let world = copy_of(&target);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let told = open(storage, &world.unlock, &world.index(), &Silent);
        let told = told.ok().and_then(|to| copy(&from, &to, second));
        let case = format!("copy, cut {cut}");
        // Again, before anything else is done: it is made once, whatever the dead one came to.
        let again = world.fork();
        let index = if cut % 2 == 0 { again.index() } else { again.other_index("lost") };
        let to = open(again.storage.clone(), &again.unlock, &index, &Silent).unwrap();
        let made = copy(&from, &to, second).unwrap_or_else(|| panic!("{case}: no way forward"));
        assert!(told.is_none_or(|told| told == made), "{case}: made twice");
        assert_eq!(snapshots(&to).len(), 2, "{case}");
        again.assert_restores(&to, made, Run { tree: &tree, moment: 0 }, &now);
        again.assert_sound(&to);

        let disturbed = Disturbed { tree: Some(now.clone()), told, ..Disturbed::default() };
        let index = if cut % 2 == 0 { world.index() } else { world.other_index("lost") };
        let found = Found { storage: world.storage.clone(), index: &index };
        oracle.judge(found, &disturbed, Run { tree: &tree, moment: 20 }, &case);
        if told.is_some() {
            assert!(cut > 15, "too little happens here to prove anything: {cut} calls");
            return cut;
        }
        cut += 1;
    }
}

/// Cuts rewriting everywhere.
fn rewrites(random: &mut Random) -> u64 {
    let scratch = Scratch::for_trees();
    let tree = scratch.dir("tree");
    trees::build_small(&tree, random.next());
    trees::write(&tree.join("goes"), &random.bytes(100_000), 1);
    trees::set_mtime(&tree, 1_000_000_000, 0);
    let world = World::new();
    let old = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    let mut oracle = Oracle::new(world.unlock.clone());
    oracle.commit(old, &tree, Arc::new(Tree::read(&tree)));
    std::fs::remove_file(tree.join("goes")).unwrap();
    trees::set_mtime(&tree, 1_000_000_000, 0);
    let without = Arc::new(Tree::read(&tree));
    let goes = |path: &StoredPath, _: bool| path.name() == b"goes";
    let act = |repo: &Repository| {
        let request = RewriteRequest { snapshot: old, goes: &goes, how: how() };
        rewrite(repo, &request, &Silent).ok().and_then(|report| report.snapshot)
    };
    let mut cut = 0;
    loop {
        let world = copy_of(&world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let told = open(storage, &world.unlock, &world.index(), &Silent).ok().and_then(|repo| act(&repo));
        let case = format!("rewrite, cut {cut}");
        let again = copy_of(&world);
        let repo = again.open().unwrap();
        let made = act(&repo).unwrap_or_else(|| panic!("{case}: no way forward"));
        assert!(told.is_none_or(|told| told == made), "{case}: made twice");
        assert_eq!(snapshots(&repo), [old, made], "{case}");
        drop(repo);
        let disturbed = Disturbed { tree: Some(without.clone()), told, ..Disturbed::default() };
        let index = if cut % 2 == 0 { world.index() } else { world.other_index("lost") };
        let found = Found { storage: world.storage.clone(), index: &index };
        oracle.judge(found, &disturbed, Run { tree: &tree, moment: 20 }, &case);
        if told.is_some() {
            assert!(cut > 10, "too little happens here to prove anything: {cut} calls");
            return cut;
        }
        cut += 1;
    }
}

#[test]
fn a_copy_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a copy", 16, copies);
}

#[test]
fn rewriting_can_be_cut_anywhere() {
    freeze("R1 storage freezes in rewriting", 16, rewrites);
}
