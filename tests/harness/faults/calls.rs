//! Calls that fail, once or again and again: no run may say that all is well when it is not.

use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, check, open};
use crate::support::{Scratch, trees};
use dedup_engine::error::Kind;
use dedup_engine::progress::Silent;
use dedup_engine::storage::Storage;
use dedup_engine::storage::fault::{Call, Fault, FaultStorage};
use std::io::ErrorKind;
use std::sync::Arc;

/// A tree with one backup, changed since.
struct Changed {
    tree: Scratch,
    world: World,
    oracle: Oracle,
    second: Arc<Tree>,
}

impl Changed {
    fn new() -> Self {
        let tree = Scratch::in_memory();
        let root = tree.path("");
        let random = &mut Random::new(9);
        trees::build_tiny(&root, 9);
        trees::write(&root.join("large"), &random.bytes(90_000), 20);
        let world = World::new();
        let first = world.backup(Run { tree: &root, moment: 0 }).unwrap().snapshot.unwrap();
        let mut oracle = Oracle::new(world.unlock.clone());
        oracle.commit(first, &root, Arc::new(Tree::read(&root)));
        trees::write(&root.join("one"), &random.text(4000), 30);
        trees::write(&root.join("new"), &random.bytes(30_000), 31);
        std::fs::remove_file(root.join("sub/three")).unwrap();
        let second = Arc::new(Tree::read(&root));
        Self { tree, world, oracle, second }
    }

    /// Backs up over a storage that `plan` rigged, and returns whether the run said that it succeeded. Then a
    /// restart finds nothing lost, and the next backup takes up what the failed one stored.
    fn judge(&self, world: &World, plan: impl FnOnce(&FaultStorage), case: &str) -> bool {
        let root = self.tree.path("");
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        plan(&storage);
        let opened = open(storage, &world.unlock, &world.index(), &Silent);
        let run = Run { tree: &root, moment: 10 };
        let told = opened.ok().and_then(|repo| backup(&repo, run).ok()).and_then(|report| report.snapshot);
        let disturbed = Disturbed { tree: Some(self.second.clone()), told, ..Disturbed::default() };
        let found = Found { storage: world.storage.clone(), index: &world.index() };
        self.oracle.judge(found, &disturbed, Run { moment: 20, ..run }, case);
        told.is_some()
    }

    fn calls(&self) -> u64 {
        let world = self.world.fork();
        let counting = Arc::new(FaultStorage::new(world.storage.clone()));
        let repo = open(counting.clone(), &world.unlock, &world.index(), &Silent).unwrap();
        backup(&repo, Run { tree: &self.tree.path(""), moment: 10 }).unwrap();
        counting.count()
    }
}

/// Threads take turns as they like, so the n-th call is not the same one each time; over all n every call
/// site is met.
#[test]
fn a_call_that_fails_once_never_makes_a_false_success() {
    let changed = Changed::new();
    let errors = [ErrorKind::StorageFull, ErrorKind::TimedOut, ErrorKind::Interrupted, ErrorKind::WouldBlock];
    let all = changed.calls() * errors.len() as u64 * 2;
    let budget = Budget::of("R7 storage calls that fail once", 60, all);
    let (mut failed, mut succeeded) = (0, 0);
    budget.each(|case, random| {
        let case = if budget.cases() < all { random.below(all) } else { case };
        let (call, error) = (case / 8, errors[(case / 2 % 4) as usize]);
        let fault = if case % 2 == 0 { Fault::FailBefore(error) } else { Fault::FailAfter(error) };
        let world = changed.world.fork();
        let context = format!("{fault:?} at call {call}");
        match changed.judge(&world, |storage| storage.on_call(call, fault), &context) {
            true => succeeded += 1,
            false => failed += 1,
        }
    });
    assert!(failed > succeeded || budget.cases() < 60, "only {failed} failed: the faults do not reach them");
    budget.tell(&format!(
        "{} of {all} points (every call of a backup, {} errors, before and after its effect): \
         {failed} runs failed, 0 lost, 0 false success",
        budget.cases(),
        errors.len()
    ));
}

/// A storage that keeps a part of an object and says that all is well breaks its contract, and the run
/// cannot know. But `check` names the object, and a restore writes nothing that is not right.
#[test]
fn objects_that_were_stored_in_part_are_named_and_never_restored() {
    let changed = Changed::new();
    let tree = changed.tree.path("");
    let run = Run { tree: &tree, moment: 10 };
    let mut torn_objects = 0;
    for put in 0..20 {
        let world = changed.world.fork();
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.on_nth(Call::Put, put, Fault::Tear(90));
        let repo = open(storage.clone(), &world.unlock, &world.index(), &Silent).unwrap();
        let told = backup(&repo, run);
        drop(repo);
        let puts = storage.calls().into_iter().filter(|record| record.call == Call::Put);
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
        let scratch = Scratch::in_memory();
        let target = scratch.path("restored");
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
    let tree = changed.tree.path("");
    let world = changed.world.fork();
    let storage = Arc::new(FaultStorage::new(world.storage.clone() as Arc<dyn Storage>));
    for put in 0..200 {
        let full = Fault::FailBefore(ErrorKind::StorageFull);
        storage.on_nth(Call::Put, put, full);
    }
    let repo = open(storage, &world.unlock, &world.index(), &Silent).unwrap();
    let error = backup(&repo, Run { tree: &tree, moment: 10 }).unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    assert!(error.hint().is_some());
}

/// Whichever object finds no room: the reason is told, not what came of it.
#[test]
fn one_object_without_room_is_called_a_full_disk() {
    let changed = Changed::new();
    let mut failed = 0;
    for put in 0..12 {
        let world = changed.world.fork();
        let storage = Arc::new(FaultStorage::new(world.storage.clone() as Arc<dyn Storage>));
        storage.on_nth(Call::Put, put, Fault::FailBefore(ErrorKind::StorageFull));
        let repo = open(storage, &world.unlock, &world.index(), &Silent).unwrap();
        if let Err(error) = backup(&repo, Run { tree: &changed.tree.path(""), moment: 10 }) {
            assert_eq!(error.kind(), Kind::NoSpace, "put {put}: {error}");
            failed += 1;
        }
    }
    assert!(failed >= 5, "only {failed} runs failed");
}
