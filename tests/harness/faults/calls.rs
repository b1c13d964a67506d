//! Calls that fail, once or again and again: no run may say that all is well when it is not.

use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::world::{Run, World, backup, check, open, snapshots};
use crate::support::{Scratch, trees};
use dedup_engine::error::Kind;
use dedup_engine::progress::Silent;
use dedup_engine::storage::Storage;
use dedup_engine::storage::fault::{Fault, FaultStorage};
use std::io::ErrorKind;
use std::sync::Arc;

/// A tree with one backup, changed since.
struct Changed {
    scratch: Scratch,
    world: World,
    first: Tree,
    second: Tree,
}

impl Changed {
    fn new() -> Self {
        let scratch = Scratch::new();
        let tree = scratch.dir("tree");
        trees::build_small(&tree, 9);
        let world = World::new();
        world.backup(Run { tree: &tree, moment: 0 }).unwrap();
        let first = Tree::read(&tree);
        trees::change(&tree, 9);
        let second = Tree::read(&tree);
        Self { scratch, world, first, second }
    }

    /// Backs up with these faults; restores everything that is there afterwards. Returns whether the run
    /// said that it succeeded.
    fn backup_with(&self, plan: impl FnOnce(&FaultStorage)) -> (World, bool) {
        let tree = self.scratch.path("tree");
        let run = Run { tree: &tree, moment: 10 };
        let world = self.world.fork();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        plan(&storage);
        let opened = open(storage, &world.unlock, &world.index(), &Silent);
        let told = opened.ok().and_then(|repo| backup(&repo, run).ok()).and_then(|report| report.snapshot);
        let repo = world.open().unwrap();
        let all = snapshots(&repo);
        assert!((1..=2).contains(&all.len()));
        assert!(told.is_none_or(|id| all.contains(&id)), "success was told, and there is no snapshot");
        world.assert_restores(&repo, all[0], run, &self.first);
        if let Some(id) = all.get(1) {
            world.assert_restores(&repo, *id, run, &self.second);
        }
        drop(repo);
        (world, told.is_some())
    }

    /// The next backup works, and nothing that the failed one stored is left lying about.
    fn assert_heals(&self, world: &World, context: &str) {
        let tree = self.scratch.path("tree");
        let run = Run { tree: &tree, moment: 20 };
        let next = world.backup(run).unwrap_or_else(|error| panic!("{context}: {error}"));
        let repo = world.open_afresh();
        world.assert_restores(&repo, next.snapshot.unwrap(), run, &self.second);
        let report = world.assert_sound(&repo);
        let left: Vec<_> = report.findings.iter().filter(|finding| finding.object == "packs").collect();
        assert!(left.is_empty(), "{context}: {left:?}");
    }

    fn calls(&self) -> u64 {
        let world = self.world.fork();
        let counting = Arc::new(FaultStorage::new(world.storage.clone()));
        let repo = open(counting.clone(), &world.unlock, &world.index(), &Silent).unwrap();
        let tree = self.scratch.path("tree");
        backup(&repo, Run { tree: &tree, moment: 10 }).unwrap();
        counting.count()
    }
}

/// Threads take turns as they like, so the n-th call is not the same one each time; over all n every call
/// site is met.
#[test]
fn a_call_that_fails_once_never_makes_a_false_success() {
    let changed = Changed::new();
    let mut failed = 0;
    for call in 0..changed.calls() {
        for fault in [Fault::FailBefore(ErrorKind::StorageFull), Fault::FailAfter(ErrorKind::TimedOut)] {
            let (world, told) = changed.backup_with(|storage| storage.on_call(call, fault));
            failed += u32::from(!told);
            changed.assert_heals(&world, &format!("{fault:?} at call {call}"));
        }
    }
    assert!(failed > 20, "only {failed} runs failed: the faults do not reach them");
}

#[test]
fn storage_that_fails_every_fifth_time_never_makes_a_false_success() {
    let changed = Changed::new();
    let budget = Budget::of("R8 flaky storage", 40, 2000);
    budget.each(|case, random| {
        let (world, _) = changed.backup_with(|storage| {
            for call in (0..300).filter(|_| random.below(5) == 0) {
                storage.on_call(
                    call,
                    match call % 3 {
                        0 => Fault::FailBefore(ErrorKind::ConnectionReset),
                        1 => Fault::FailAfter(ErrorKind::TimedOut),
                        _ => Fault::FailWithin(1, ErrorKind::UnexpectedEof),
                    },
                );
            }
        });
        changed.assert_heals(&world, &format!("case {case}"));
    });
    budget.tell(&format!("{} backups, 0 lost", budget.cases()));
}

/// A storage that keeps a part of an object and says that all is well breaks its contract, and the run
/// cannot know. But `check` names the object, and a restore writes nothing that is not right.
#[test]
fn objects_that_were_stored_in_part_are_named_and_never_restored() {
    let changed = Changed::new();
    let tree = changed.scratch.path("tree");
    let run = Run { tree: &tree, moment: 10 };
    let mut torn_objects = 0;
    for put in 0..20 {
        let world = changed.world.fork();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.on_nth(dedup_engine::storage::fault::Call::Put, put, Fault::Tear(90));
        let repo = open(storage.clone(), &world.unlock, &world.index(), &Silent).unwrap();
        let told = backup(&repo, run);
        drop(repo);
        let puts = storage
            .calls()
            .into_iter()
            .filter(|record| record.call == dedup_engine::storage::fault::Call::Put);
        let Some(torn) = puts.map(|record| record.name).nth(put as usize) else { break };
        torn_objects += 1;
        let repo = world.open_afresh();
        match check(&repo) {
            Ok(report) => {
                let named = report.findings.iter().any(|finding| finding.object == torn);
                assert!(named && !report.is_sound(), "{torn} is torn: {:?}", report.findings);
            }
            Err(error) => assert!(error.to_string().contains(&torn), "{torn} is torn: {error}"),
        }
        let Ok(told) = told else { continue };
        let target = world.scratch.path("restored");
        let id = told.snapshot.unwrap();
        if let Ok(report) = crate::support::world::restore_to(&repo, id, run.tree, &target) {
            let missing: Vec<_> =
                report.problems.iter().map(|problem| problem.path.name().to_vec()).collect();
            let restored = Tree::read(&target);
            for (path, entry) in &restored.0 {
                // A directory's time is right only if all of it could be restored.
                let same = changed.second.0.get(path).is_some_and(|was| was.holds == entry.holds);
                assert!(same, "{torn} is torn, and {path:?} is {entry:?}");
            }
            let absent = changed.second.0.keys().filter(|path| !restored.0.contains_key(*path));
            for path in absent {
                use std::os::unix::ffi::OsStrExt;
                let name = path.file_name().unwrap().as_bytes();
                assert!(missing.iter().any(|told| told == name), "{path:?} is missing, and nobody said so");
            }
        }
    }
    assert!(torn_objects >= 7, "{torn_objects}");
}

#[test]
fn a_full_disk_is_called_a_full_disk() {
    let changed = Changed::new();
    let tree = changed.scratch.path("tree");
    let world = changed.world.fork();
    let storage = Arc::new(FaultStorage::new(world.storage.clone() as Arc<dyn Storage>));
    for put in 0..200 {
        let full = Fault::FailBefore(ErrorKind::StorageFull);
        storage.on_nth(dedup_engine::storage::fault::Call::Put, put, full);
    }
    let repo = open(storage, &world.unlock, &world.index(), &Silent).unwrap();
    let error = backup(&repo, Run { tree: &tree, moment: 10 }).unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    assert!(error.hint().is_some());
}
