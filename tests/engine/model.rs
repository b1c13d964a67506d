//! Scripts of changes, backups, restores and mishaps, made up at random, beside plain copies: every snapshot
//! restores to what was there at its time.

use crate::support::compare::Tree;
use crate::support::pruned::{LATER, forget, prune_with};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, open, restore_to, snapshots};
use crate::support::{copy_dir, trees};
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::prune::PruneOptions;
use dedup_engine::storage::fault::FaultStorage;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

/// One step. Paths are few, so that steps meet the same ones again and again.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(u8, u16),
    ChangeInside(u8),
    Sparse(u8),
    Remove(u8),
    Rename(u8, u8),
    Chmod(u8, u16),
    HardLink(u8, u8),
    Symlink(u8, u8),
    MakeDirectory(u8),
    MoveDirectory(u8, u8),
    Backup,
    Restore(u8),
    RestoreOver(u8),
    Check,
    LoseIndex,
    KeepIndex,
    OldIndex,
    Interrupt(u8),
    Forget(u8),
    Undo,
    Prune(bool),
    InterruptPrune(u8),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    prop_oneof![
        6 => (any::<u8>(), any::<u16>()).prop_map(|(path, len)| Write(path, len)),
        2 => any::<u8>().prop_map(ChangeInside),
        1 => any::<u8>().prop_map(Sparse),
        2 => any::<u8>().prop_map(Remove),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Rename(from, to)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(path, mode)| Chmod(path, mode)),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| HardLink(from, to)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Symlink(from, to)),
        1 => any::<u8>().prop_map(MakeDirectory),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| MoveDirectory(from, to)),
        7 => Just(Backup),
        1 => any::<u8>().prop_map(Restore),
        1 => any::<u8>().prop_map(RestoreOver),
        1 => Just(Check),
        1 => Just(LoseIndex),
        1 => Just(KeepIndex),
        1 => Just(OldIndex),
        2 => any::<u8>().prop_map(Interrupt),
        2 => any::<u8>().prop_map(Forget),
        1 => Just(Undo),
        2 => any::<bool>().prop_map(Prune),
        1 => any::<u8>().prop_map(InterruptPrune),
    ]
}

struct Model {
    world: World,
    made: Vec<(ObjectId, Tree)>,
    /// What is forgotten and can be taken back.
    forgotten: Vec<(ObjectId, Tree)>,
    moment: i64,
    random: Random,
}

impl Model {
    fn new() -> Self {
        let world = World::new();
        for dir in 0..3 {
            world.scratch.dir(format!("tree/{dir}"));
        }
        Self { world, made: Vec::new(), forgotten: Vec::new(), moment: 0, random: Random::new(70) }
    }

    fn root(&self) -> PathBuf {
        self.world.scratch.path("tree")
    }

    fn path(&self, choice: u8) -> PathBuf {
        self.root().join(format!("{}/{}", choice % 3, choice / 3 % 4))
    }

    fn dir(&self, choice: u8) -> PathBuf {
        self.root().join(format!("{}", choice % 4))
    }

    /// Makes room for something new at a path.
    fn clear(&self, path: &PathBuf) {
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            let _ = fs::remove_file(path);
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }

    fn is_file(path: &PathBuf) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
    }

    fn take(&mut self, step: Step) {
        self.moment += 10;
        let moment = self.moment;
        match step {
            Step::Write(path, len) => {
                let path = self.path(path);
                self.clear(&path);
                let len = usize::from(len);
                let content = if len % 2 == 0 { self.random.bytes(len) } else { self.random.text(len) };
                trees::write(&path, &content, moment);
            }
            Step::ChangeInside(path) => {
                let path = self.path(path);
                if Self::is_file(&path) {
                    let mut content = fs::read(&path).unwrap();
                    if let Some(middle) = content.len().checked_div(2).filter(|_| !content.is_empty()) {
                        content[middle] ^= 0x55;
                    }
                    trees::write(&path, &content, moment);
                }
            }
            Step::Sparse(path) => {
                let path = self.path(path);
                self.clear(&path);
                trees::write_sparse(&path, &mut self.random, moment);
            }
            Step::Remove(path) => self.clear(&self.path(path)),
            Step::Rename(from, to) => {
                let (from, to) = (self.path(from), self.path(to));
                if from.symlink_metadata().is_ok() && from != to {
                    self.clear(&to);
                    fs::rename(from, to).unwrap();
                }
            }
            Step::Chmod(path, mode) => {
                let path = self.path(path);
                if Self::is_file(&path) {
                    fs::set_permissions(path, fs::Permissions::from_mode(u32::from(mode) & 0o7777)).unwrap();
                }
            }
            Step::HardLink(from, to) => {
                let (from, to) = (self.path(from), self.path(to));
                if Self::is_file(&from) && from != to {
                    self.clear(&to);
                    fs::hard_link(from, to).unwrap();
                }
            }
            Step::Symlink(from, to) => {
                let (from, to) = (self.path(from), self.path(to));
                self.clear(&to);
                symlink(from, &to).unwrap();
                trees::set_mtime(&to, moment, 0);
            }
            Step::MakeDirectory(path) => {
                let path = self.path(path);
                self.clear(&path);
                fs::create_dir(path).unwrap();
            }
            Step::MoveDirectory(from, to) => {
                let (from, to) = (self.dir(from), self.dir(to));
                if from.is_dir() && from != to {
                    self.clear(&to);
                    fs::rename(from, to).unwrap();
                }
            }
            Step::Backup => {
                let root = self.root();
                let report = self.world.backup(Run { tree: &root, moment }).unwrap();
                assert_eq!(report.problems, []);
                self.made.push((report.snapshot.unwrap(), Tree::read(&root)));
            }
            Step::Restore(which) => {
                if let Some((id, tree)) = self.chosen(which) {
                    let repo = self.world.open().unwrap();
                    self.world.assert_restores(&repo, id, Run { tree: &self.root(), moment }, &tree);
                }
            }
            Step::RestoreOver(which) => {
                if let Some((id, tree)) = self.chosen(which) {
                    self.restore_over(id, &tree);
                }
            }
            Step::Check => drop(self.world.assert_sound(&self.world.open().unwrap())),
            Step::LoseIndex => drop(fs::remove_dir_all(self.world.index())),
            Step::KeepIndex if self.world.index().exists() => {
                let _ = fs::remove_dir_all(self.world.other_index("kept"));
                copy_dir(&self.world.index(), &self.world.other_index("kept"));
            }
            Step::OldIndex if self.world.other_index("kept").exists() => {
                let _ = fs::remove_dir_all(self.world.index());
                copy_dir(&self.world.other_index("kept"), &self.world.index());
            }
            Step::KeepIndex | Step::OldIndex => {}
            Step::Interrupt(calls) => self.interrupt(u64::from(calls) % 40, moment),
            Step::Forget(which) => {
                if let Some((id, tree)) = self.chosen(which) {
                    forget(&self.world.open().unwrap(), &[id]);
                    self.made.retain(|(made, _)| *made != id);
                    self.forgotten.push((id, tree));
                }
            }
            Step::Undo => {
                let back = forget::take_back(&self.world.open().unwrap(), None, LATER).unwrap();
                self.made.extend(self.forgotten.drain(..).filter(|(id, _)| back.contains(id)));
                let order = snapshots(&self.world.open().unwrap());
                self.made.sort_by_key(|(id, _)| order.iter().position(|known| known == id));
            }
            Step::Prune(fence_all) => {
                let change = |options: &mut PruneOptions<'_>| {
                    (options.fence_all, options.allow_empty) = (fence_all, true);
                };
                let repo = self.world.open().unwrap();
                prune_with(&repo, change).unwrap();
                // One on which a run that may still live was made stays.
                let left = repo.catalog_with_forgotten().unwrap().0;
                self.forgotten.retain(|(id, _)| left.iter().any(|(known, _)| known == id));
            }
            Step::InterruptPrune(calls) => {
                let storage = Arc::new(FaultStorage::new(self.world.storage.clone()));
                storage.freeze_after(u64::from(calls));
                if let Ok(repo) = open(storage, &self.world.unlock, &self.world.index(), &Silent) {
                    let _ = prune_with(&repo, |options| options.allow_empty = true);
                }
            }
        }
    }

    fn chosen(&self, which: u8) -> Option<(ObjectId, Tree)> {
        let place = usize::from(which).checked_rem(self.made.len())?;
        self.made.get(place).cloned()
    }

    /// Restores over what an earlier restore left, and what was changed there: entries that the snapshot
    /// does not have stay, all others become as they were.
    fn restore_over(&self, id: ObjectId, tree: &Tree) {
        let (target, repo) = (self.world.scratch.path("over"), self.world.open().unwrap());
        let report = restore_to(&repo, id, &self.root(), &target).unwrap();
        let restored = Tree::read(&target);
        for (path, entry) in &tree.0 {
            let refused = report.problems.iter().any(|problem| {
                use std::os::unix::ffi::OsStrExt;
                let told = problem.path.to_slashes();
                path.components().next_back().is_some_and(|name| told.ends_with(name.as_os_str().as_bytes()))
            });
            let found = restored.0.get(path).map(|found| &found.holds);
            assert!(found == Some(&entry.holds) || refused, "{path:?}: {found:?} instead of {entry:?}");
        }
    }

    /// A backup dies after so many storage calls; it may have finished before.
    fn interrupt(&mut self, calls: u64, moment: i64) {
        let storage = Arc::new(FaultStorage::new(self.world.storage.clone()));
        storage.freeze_after(calls);
        let root = self.root();
        if let Ok(repo) = open(storage, &self.world.unlock, &self.world.index(), &Silent) {
            let _ = backup(&repo, Run { tree: &root, moment });
        }
        let repo = self.world.open().unwrap();
        let known = |id: &ObjectId| self.made.iter().any(|(made, _)| made == id);
        let new: Vec<_> = snapshots(&repo).into_iter().filter(|id| !known(id)).collect();
        assert!(new.len() <= 1);
        let tree = Tree::read(&root);
        self.made.extend(new.into_iter().map(|id| (id, tree.clone())));
    }

    /// In the end everything that was made is there, and is what it was.
    fn assert_all(&self) {
        let repo = self.world.open_afresh();
        self.world.assert_sound(&repo);
        assert_eq!(snapshots(&repo), self.made.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for (id, tree) in &self.made {
            self.world.assert_restores(&repo, *id, Run { tree: &self.root(), moment: 0 }, tree);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/engine/model.failures"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_snapshot_restores_to_what_was_there(steps in proptest::collection::vec(step(), 10..60)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.assert_all();
    }
}

/// The name of a hard-link group comes from the first path of the file. Names that were moved with a directory
/// kept it once, and when two others came to the old place, all four got the same: a restore made one file of
/// two, and nobody noticed.
#[test]
fn names_of_different_files_are_never_linked_together() {
    let mut model = Model::new();
    let root = model.root();
    trees::write(&root.join("0/x"), b"old", 1);
    fs::hard_link(root.join("0/x"), root.join("1/y")).unwrap();
    model.take(Step::Backup);
    // 1/y stays as it is, with the group that is named for 0/x.
    fs::rename(root.join("0"), root.join("3")).unwrap();
    fs::create_dir(root.join("0")).unwrap();
    // The same bytes: names with other content are not linked by a restore, whatever the listing says.
    trees::write(&root.join("0/x"), b"old", 2);
    fs::hard_link(root.join("0/x"), root.join("0/y")).unwrap();
    model.take(Step::Backup);
    model.assert_all();
}
