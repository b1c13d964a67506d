//! Copies into another repository and rewriting, killed: what they begin with, and what must be there when they were done again.

use super::{Station, words};
use crate::harness::crash::program::id_in;
use crate::support::compare::Tree;
use dedup_engine::id::ObjectId;
use std::path::Path;
use std::sync::Arc;

/// It makes two snapshots and forgets two others: whoever dies in between must not make more.
pub(super) const REWRITE: [&str; 5] = ["rewrite", "--all", "--exclude", GONE, "--forget"];
/// In the trees of both snapshots.
const GONE: &str = "more";

/// Returns the repository into which another one is copied: on the same machine, with its index folder and memory.
pub(super) fn target(of: &Station) -> Station {
    Station::with_index(of.path("other"), of.indexes().to_owned())
}

pub(super) fn copy(of: &Station) -> Vec<String> {
    let there = |name: &str| target(of).path(name).display().to_string();
    words(&["copy", "--to", &there("repo"), "--to-key-file", &there("key")])
}

/// What was copied in part hurts nobody; the same again copies the rest, each snapshot once, and those restore there.
#[track_caller]
pub(super) fn judge(at: &Station, copied: &[(ObjectId, Arc<Tree>)], tree: &Path, case: &str) {
    let target = target(at);
    target.run("key", &words(&["check", "--read-data"])).ok(&format!("{case}: the other, before"));
    at.run("key", &copy(at)).ok(&format!("{case}: again"));
    let copies = made_of(&target, "copy_of", copied, case);
    target.judge_by_program(&copies, tree, "key", &format!("{case}: the other"));
}

/// Returns what stands in the stead of snapshots that were rewritten: one for each, nothing else, and all but what was to go.
#[track_caller]
pub(super) fn rewritten(
    at: &Station,
    old: &[(ObjectId, Arc<Tree>)],
    case: &str,
) -> Vec<(ObjectId, Arc<Tree>)> {
    let but_what_goes = |tree: &Tree| {
        let mut tree = tree.clone();
        tree.0.remove(Path::new(GONE)).expect("something goes");
        Arc::new(tree)
    };
    let made = made_of(at, "rewritten_from", old, case);
    made.into_iter().map(|(id, tree)| (id, but_what_goes(&tree))).collect()
}

/// Returns what was made of each snapshot, exactly one, with what that one held.
#[track_caller]
fn made_of(
    at: &Station,
    origin: &str,
    old: &[(ObjectId, Arc<Tree>)],
    case: &str,
) -> Vec<(ObjectId, Arc<Tree>)> {
    let there = at.snapshots();
    assert_eq!(there.len(), old.len(), "{case}: {there:?}");
    let of = |old: &ObjectId| {
        let made = there.iter().find(|one| id_in(&one[origin]["snapshot_id"]) == *old);
        id_in(&made.unwrap_or_else(|| panic!("{case}: nothing was made of {}", old.short()))["id"])
    };
    old.iter().map(|(id, tree)| (of(id), tree.clone())).collect()
}
