//! A repository with three backups, and indexes of it as a machine may have kept them.

use crate::support::compare::Tree;
use crate::support::oracle::Oracle;
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, check, open, restore_to_memory};
use crate::support::{Scratch, copy_dir, trees};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::Silent;
use dedup_engine::storage::Storage;
use dedup_engine::storage::memory::MemoryStorage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a snapshot restores to, in memory.
type Files = BTreeMap<StoredPath, Vec<u8>>;

/// The repository as it was after one of the backups.
pub struct Stage {
    storage: MemoryStorage,
    oracle: Oracle,
    expected: Vec<(ObjectId, Files)>,
}

/// The repository after each backup, and the folders of indexes.
pub struct History {
    /// What was backed up, as it is now.
    pub tree: PathBuf,
    /// After the first, second and third backup.
    pub stages: Vec<Stage>,
    /// Indexes with their names: old and new, closed and cut off in the middle, and another repository's.
    pub images: Vec<(String, PathBuf)>,
    world: World,
    #[expect(dead_code, reason = "keeps the images")]
    kept: Scratch,
}

/// A copy of the repository of one stage, which a case may change.
pub struct Case<'a> {
    /// Its repository; its index is what the case makes of it.
    pub world: World,
    history: &'a History,
    stage: &'a Stage,
}

impl History {
    /// Makes it, from a seed.
    pub fn new(seed: u64) -> Self {
        let (world, kept) = (World::new(), Scratch::in_memory());
        let tree = world.scratch.dir("tree");
        trees::build_tiny(&tree, seed);
        let random = &mut Random::new(seed);
        let (mut oracle, mut stages, mut images) =
            (Oracle::new(world.unlock.clone()), Vec::new(), Vec::new());
        let mut keep = |name: String, index: &Path| {
            let image = kept.path(&name);
            copy_dir(index, &image);
            images.push((name, image));
        };
        for number in 0..3 {
            for file in 0..30 {
                let len = random.below(3000) as usize;
                trees::write(&tree.join(format!("sub/{number}-{file}")), &random.bytes(len), file);
            }
            let repo = world.open().unwrap();
            let snapshot = backup(&repo, Run { tree: &tree, moment: 10 * number }).unwrap().snapshot.unwrap();
            // As a process leaves it that dies now.
            keep(format!("cut off after backup {number}"), &world.index());
            drop(repo);
            keep(format!("after backup {number}"), &world.index());
            oracle.commit(snapshot, &tree, Arc::new(Tree::read(&tree)));
            stages.push((world.storage.fork(), oracle.clone()));
        }
        let other = World::new();
        other.backup(Run { tree: &tree, moment: 0 }).unwrap();
        keep("another repository's".to_owned(), &other.index());

        let repo = world.open_afresh();
        let all = repo.snapshots().unwrap().into_iter();
        let all: Vec<_> = all.map(|(id, _)| (id, restore_to_memory(&repo, id).unwrap().0)).collect();
        drop(repo);
        let stage = |(number, (storage, oracle)): (usize, _)| Stage {
            storage,
            oracle,
            expected: all[..=number].to_vec(),
        };
        let stages = stages.into_iter().enumerate().map(stage).collect();
        Self { tree, stages, images, world, kept }
    }

    /// Begins a case: a copy of the repository as it was at a stage, and of an image as its index.
    pub fn case(&self, stage: usize, image: &Path) -> Case<'_> {
        let (stage, mut world) = (&self.stages[stage], self.world.fork());
        world.storage = Arc::new(stage.storage.fork());
        copy_dir(image, &world.index());
        Case { world, history: self, stage }
    }

    fn run(&self) -> Run<'_> {
        Run { tree: &self.tree, moment: 100 }
    }
}

impl Case<'_> {
    /// Does all that people do with the index in `folder`: restores and compares every snapshot, backs up, and
    /// checks. Says why that failed.
    pub fn work(&self, folder: &Path) -> Result<(), String> {
        let storage = self.world.storage.clone() as Arc<dyn Storage>;
        let fail = |error: &dyn std::error::Error| error.to_string();
        let repo = open(storage, &self.world.unlock, folder, &Silent).map_err(|error| fail(&error))?;
        for (id, expected) in &self.stage.expected {
            let (files, report) = restore_to_memory(&repo, *id).map_err(|error| fail(&error))?;
            if let Some(problem) = report.problems.first() {
                return Err(problem.message.clone());
            }
            assert!(files == *expected, "snapshot {} restores something else", id.short());
        }
        let report = backup(&repo, self.history.run()).map_err(|error| fail(&error))?;
        assert_eq!(report.problems, []);
        let report = check(&repo).map_err(|error| fail(&error))?;
        let blamed = |finding: &&dedup_engine::check::Finding| finding.message.contains("local index");
        match report.findings.iter().find(blamed) {
            Some(finding) => Err(finding.message.clone()),
            None if report.is_sound() => Ok(()),
            None => panic!("{:#?}", report.findings),
        }
    }

    /// Works until that succeeds twice in a row, without any help in between. A run may fail when it meets
    /// damage, if it says that it was the index; a table that the first runs did not need may show its damage
    /// only then. Returns how many did.
    pub fn heals(&self, what: &str) -> u64 {
        let (mut told, mut succeeded) = (Vec::new(), 0);
        while succeeded < 2 {
            match self.work(&self.world.index()) {
                Ok(()) => succeeded += 1,
                Err(error) => {
                    assert!(error.contains("local index"), "{what}: {error}");
                    succeeded = 0;
                    told.push(error);
                    assert!(told.len() < 3, "{what}: it does not heal: {told:#?}");
                }
            }
        }
        told.len() as u64
    }

    /// Reads the repository with an index made anew: whatever was stored meanwhile by runs that believed the
    /// index of this case must restore, and nothing may dangle.
    pub fn assert_nothing_dangles(&self, what: &str) {
        let mut oracle = self.stage.oracle.clone();
        let repo = self.world.open_afresh();
        let all = repo.snapshots().unwrap();
        let tree = Arc::new(Tree::read(&self.history.tree));
        let new: Vec<_> = all.iter().map(|(id, _)| *id).skip(self.stage.expected.len()).collect();
        assert!(!new.is_empty(), "{what}: no run succeeded");
        new.iter().for_each(|id| oracle.commit(*id, &self.history.tree, tree.clone()));
        oracle.assert_nothing_lost(&repo, &Default::default(), &self.history.tree, what);
    }
}
