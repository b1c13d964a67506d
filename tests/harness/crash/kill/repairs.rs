//! Repairs that are killed: what they begin with, and of those of snapshots what must be there when they were done again.

use super::{Station, words};
use crate::cli::support::packs;
use crate::harness::crash::program::{id_in, restore};
use crate::support::Scratch;
use crate::support::compare::Tree;
use dedup_engine::id::ObjectId;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub(super) const PARITY_ADD: [&str; 4] = ["parity", "add", "--shards", "2"];

/// It makes a snapshot and forgets another one: whoever dies in between must not make a second.
pub(super) const SNAPSHOTS: [&str; 3] = ["repair", "snapshots", "--forget"];

/// Loses the data that the second snapshot added to what `one` has, gives them up, and returns what is left of it.
pub(super) fn hurt(at: &Station, one: &Station, second: ObjectId, tree: &Path) -> Arc<Tree> {
    let names = |at: &Station| -> BTreeSet<_> {
        let packs = packs(&at.path("repo"), 3).into_iter();
        packs.map(|path| path.file_name().unwrap().to_owned()).collect()
    };
    let before = names(one);
    let lost =
        packs(&at.path("repo"), 3).into_iter().filter(|path| !before.contains(path.file_name().unwrap()));
    lost.for_each(|path| std::fs::remove_file(path).unwrap());
    let given_up = at.run("key", &words(&["repair", "packs"]));
    assert_eq!(given_up.code, Some(6), "{}{}", given_up.out, given_up.err);

    let copy = Scratch::in_memory();
    let repaired = at.copy(&copy);
    repaired.run("key", &words(&SNAPSHOTS)).ok("repair snapshots");
    let [made] = snapshots(&repaired).difference(&snapshots(one)).copied().collect::<Vec<_>>()[..] else {
        panic!("one snapshot is made of {}", second.short());
    };
    assert_ne!(made, second);
    let out = Scratch::for_trees();
    repaired.run("key", &restore(made, tree, &out.path("out"))).ok("what is left");
    let left = Tree::read(&out.path("out"));
    assert!(left.0.len() > 10 && left.0.len() < Tree::read(tree).0.len(), "some of it is lost, not all");
    Arc::new(left)
}

fn snapshots(at: &Station) -> BTreeSet<ObjectId> {
    at.snapshots().iter().map(|one| id_in(&one["id"])).collect()
}

/// Returns what stands in the stead of the snapshot that lost something: exactly one, beside those that are whole.
#[track_caller]
pub(super) fn made_once<T>(at: &Station, whole: &[(ObjectId, T)], case: &str) -> ObjectId {
    let made: Vec<ObjectId> =
        snapshots(at).into_iter().filter(|id| whole.iter().all(|(known, _)| known != id)).collect();
    let [made] = made[..] else { panic!("{case}: there are {made:?} in the stead of one snapshot") };
    made
}

/// Adds parity; then a pack is lost and one damaged.
pub(super) fn lose_two(at: &Station) {
    at.run("key", &words(&PARITY_ADD)).ok("parity add");
    let packs = packs(&at.path("repo"), 3);
    std::fs::remove_file(&packs[0]).unwrap();
    std::fs::write(&packs[1], "rotten").unwrap();
}
