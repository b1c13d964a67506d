//! What must be true of a repository, whatever happened to it: the expected state, kept beside it.
//!
//! *Nothing is lost* means: every snapshot that was committed before the fault restores exactly, bytes and
//! metadata; the interrupted one is absent or complete; and the next backup, check and restore succeed with
//! nobody's help. It is the same sentence for every part of the harness, so it stands here once.

use super::Scratch;
use super::compare::Tree;
use super::world::{Run, backup, check, open, restore_to, snapshots};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::Storage;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A snapshot that somebody was told is safe.
#[derive(Clone)]
struct Committed {
    snapshot: ObjectId,
    /// Where the tree was when it was backed up.
    base: PathBuf,
    tree: Arc<Tree>,
}

/// What is expected of a repository.
#[derive(Clone)]
pub struct Oracle {
    unlock: Unlock,
    committed: Vec<Committed>,
}

/// A run that was disturbed: what it was storing, and what it said.
#[derive(Clone, Default)]
pub struct Disturbed {
    /// The tree that it read, if it was a backup.
    pub tree: Option<Arc<Tree>>,
    /// The snapshot that it called done, if it did.
    pub told: Option<ObjectId>,
    /// Whether it may have been shown lists of objects as they were before: then it may have left alone what an
    /// earlier run left behind.
    pub saw_old_lists: bool,
}

/// A repository as a restart finds it.
pub struct Found<'a> {
    /// Its objects.
    pub storage: Arc<dyn Storage>,
    /// The folder of the index to open it with: the one left behind, or one that is not there.
    pub index: &'a Path,
}

impl Oracle {
    /// Starts with an empty repository that `unlock` opens.
    pub fn new(unlock: Unlock) -> Self {
        Self { unlock, committed: Vec::new() }
    }

    /// Notes that a snapshot of the tree at `base` was committed.
    pub fn commit(&mut self, snapshot: ObjectId, base: &Path, tree: Arc<Tree>) {
        self.committed.push(Committed { snapshot, base: base.to_owned(), tree });
    }

    /// Returns how many snapshots were committed.
    pub fn len(&self) -> usize {
        self.committed.len()
    }

    /// Judges what a restart finds after a fault, then makes the next backup, of `next`, and judges again with an
    /// index made anew. Returns the snapshot of the disturbed run, if it is there.
    #[track_caller]
    pub fn judge(
        &self,
        found: Found<'_>,
        disturbed: &Disturbed,
        next: Run<'_>,
        case: &str,
    ) -> Option<ObjectId> {
        let repo = self.open(&found, case);
        let new = self.assert_nothing_lost(&repo, disturbed, next.tree, case);
        let mut after = self.clone();
        if let (Some(id), Some(tree)) = (new, &disturbed.tree) {
            after.commit(id, next.tree, tree.clone());
        }
        let report = backup(&repo, next).unwrap_or_else(|error| panic!("{case}: no way forward: {error}"));
        assert_eq!(report.problems, [], "{case}: the next backup");
        let id = report.snapshot.unwrap();
        after.commit(id, next.tree, Arc::new(Tree::read(next.tree)));
        drop(repo);

        let scratch = Scratch::in_memory();
        let afresh = Found { storage: found.storage, index: &scratch.path("index") };
        let repo = after.open(&afresh, case);
        let last = after.committed.last().into_iter();
        last.for_each(|committed| assert_restores(&repo, committed, case));
        let report = assert_sound(&repo, case);
        assert_eq!(report.snapshots as usize, after.len(), "{case}: snapshots in the end");
        let left: Vec<_> = report.findings.iter().filter(|finding| finding.object == "packs").collect();
        assert!(left.is_empty(), "{case}: after the next backup packs are left over: {left:?}");
        new
    }

    /// Refuses the loss of a committed snapshot, half a disturbed one, and any damage. Returns the snapshot of
    /// the disturbed run, if it is there.
    #[track_caller]
    pub fn assert_nothing_lost(
        &self,
        repo: &Repository,
        disturbed: &Disturbed,
        base: &Path,
        case: &str,
    ) -> Option<ObjectId> {
        let known = |id: &ObjectId| self.committed.iter().any(|committed| committed.snapshot == *id);
        let there = snapshots(repo);
        for Committed { snapshot, .. } in &self.committed {
            assert!(there.contains(snapshot), "{case}: snapshot {} is lost", snapshot.short());
        }
        let new: Vec<ObjectId> = there.into_iter().filter(|id| !known(id)).collect();
        assert!(new.len() <= usize::from(disturbed.tree.is_some()), "{case}: nobody made {new:?}");
        let told_is_there = disturbed.told.is_none_or(|told| new.contains(&told));
        assert!(told_is_there, "{case}: told {:?}, there is {new:?}", disturbed.told);
        self.committed.iter().for_each(|committed| assert_restores(repo, committed, case));
        if let (Some(id), Some(tree)) = (new.first(), &disturbed.tree) {
            let whole = Committed { snapshot: *id, base: base.to_owned(), tree: tree.clone() };
            assert_restores(repo, &whole, &format!("{case}: the disturbed run"));
        }
        let report = assert_sound(repo, case);
        // The order of writing: what a snapshot needs is named before there is a snapshot.
        let unnamed = report.findings.iter().find(|finding| finding.object == "packs");
        assert!(
            new.is_empty() || unnamed.is_none() || disturbed.saw_old_lists,
            "{case}: a snapshot came before its segments: {unnamed:?}"
        );
        new.first().copied()
    }

    #[track_caller]
    fn open(&self, found: &Found<'_>, case: &str) -> Repository {
        open(found.storage.clone(), &self.unlock, found.index, &Silent)
            .unwrap_or_else(|error| panic!("{case}: it does not open: {error}"))
    }
}

#[track_caller]
fn assert_restores(repo: &Repository, committed: &Committed, case: &str) {
    let Committed { snapshot, base, tree } = committed;
    // A restore ends with a sync of the whole file system, which may be long where others write.
    let scratch = Scratch::for_trees();
    let target = scratch.path("restored");
    let report = restore_to(repo, *snapshot, base, &target)
        .unwrap_or_else(|error| panic!("{case}: snapshot {}: {error}", snapshot.short()));
    assert_eq!(report.problems, [], "{case}: restoring {}", snapshot.short());
    tree.assert_same(&Tree::read(&target), &format!("{case}: snapshot {}", snapshot.short()));
    fs::remove_dir_all(&target).unwrap();
}

#[track_caller]
fn assert_sound(repo: &Repository, case: &str) -> dedup_engine::check::CheckReport {
    let report = check(repo).unwrap_or_else(|error| panic!("{case}: check: {error}"));
    assert!(report.is_sound(), "{case}: {:#?}", report.findings);
    report
}
