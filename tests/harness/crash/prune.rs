//! Forget and prune, cut off after every storage call: what stays is whole, and the next prune frees all the same.

use super::calls::{copy_of, freeze};
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::pruned::{LATER, assert_nothing_left, forget, pack_bytes, prune, prune_with};
use crate::support::random::Random;
use crate::support::world::{Run, World, open, snapshots};
use crate::support::{Scratch, trees};
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::storage::Family;
use dedup_engine::storage::fault::{Fault, FaultStorage};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// A world with three snapshots of a tree, and what it was then.
struct Aged {
    world: World,
    _scratch: Scratch,
    tree: PathBuf,
    all: Vec<(ObjectId, Arc<Tree>)>,
}

impl Aged {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::for_trees();
        let tree = scratch.dir("tree");
        trees::build_tiny(&tree, seed);
        let (world, mut all) = (World::new(), Vec::new());
        let random = &mut Random::new(seed);
        for moment in 0..3 {
            // A file that changes, and one that stays, in packs of the same run: some packs go, some are written anew.
            trees::write(&tree.join("changes"), &random.bytes(40_000), moment);
            trees::write(&tree.join(format!("stays-{moment}")), &random.bytes(20_000), moment);
            let report = world.backup(Run { tree: &tree, moment }).unwrap();
            all.push((report.snapshot.unwrap(), Arc::new(Tree::read(&tree))));
        }
        Self { world, _scratch: scratch, tree, all }
    }

    fn oracle(&self, kept: &[usize]) -> Oracle {
        let mut oracle = Oracle::new(self.world.unlock.clone());
        for at in kept {
            oracle.commit(self.all[*at].0, &self.tree, self.all[*at].1.clone());
        }
        oracle
    }
}

/// Cuts a prune everywhere. The restart has the index that the dead run left, or none.
fn prunes(random: &mut Random) -> u64 {
    let aged = Aged::new(random.next());
    forget(&aged.world.open().unwrap(), &[aged.all[0].0, aged.all[1].0]);
    let oracle = aged.oracle(&[2]);
    let whole = copy_of(&aged.world);
    prune(&whole.open().unwrap()).unwrap();
    let least = pack_bytes(&whole);
    assert!(least < pack_bytes(&aged.world), "there is nothing to free");
    // Every second call; another seed meets the others.
    let (mut cut, mut cuts) = (random.below(2), 0);
    loop {
        let world = copy_of(&aged.world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let done = open(storage.clone(), &world.unlock, &world.index(), &Silent)
            .is_ok_and(|repo| prune(&repo).is_ok());
        let case = format!("prune, cut {cut}");
        let index = if cut % 2 == 0 { world.index() } else { world.other_index("lost") };
        let repo = open(world.storage.clone(), &world.unlock, &index, &Silent).unwrap();
        oracle.assert_nothing_lost(&repo, &Disturbed::default(), &aged.tree, &case);
        // The next prune needs nobody's help, but to be told that the dead one is dead.
        prune_with(&repo, |options| options.fence_all = true)
            .unwrap_or_else(|error| panic!("{case}: no way forward: {error}"));
        assert_nothing_left(&repo, &case);
        assert_eq!(snapshots(&repo), [aged.all[2].0], "{case}");
        let free = pack_bytes(&world);
        // Other packs, perhaps, but no more than one padded class.
        assert!(free <= least + least / 8, "{case}: {free} bytes are left, {least} would do");
        drop(repo);
        let found = Found { storage: world.storage.clone(), index: &index };
        oracle.judge(found, &Disturbed::default(), Run { tree: &aged.tree, moment: 20 }, &case);
        if done {
            assert!(cut > 30, "too little happens here to prove anything: {cut} calls");
            return cuts;
        }
        (cut, cuts) = (cut + 2, cuts + 1);
    }
}

/// A backup comes right after a prune that was cut off, and before any other.
fn prunes_before_a_backup(random: &mut Random) -> u64 {
    let aged = Aged::new(random.next());
    forget(&aged.world.open().unwrap(), &[aged.all[0].0]);
    let oracle = aged.oracle(&[1, 2]);
    let (mut cut, mut cuts) = (random.below(5), 0);
    loop {
        let world = copy_of(&aged.world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        let done = open(storage.clone(), &world.unlock, &world.index(), &Silent)
            .is_ok_and(|repo| prune(&repo).is_ok());
        let index = if cut % 2 == 0 { world.index() } else { world.other_index("lost") };
        let found = Found { storage: world.storage.clone(), index: &index };
        let case = format!("prune, cut {cut}, then a backup");
        oracle.judge(found, &Disturbed::default(), Run { tree: &aged.tree, moment: 20 }, &case);
        if done {
            return cuts;
        }
        (cut, cuts) = (cut + 5, cuts + 1);
    }
}

/// Every call of a prune fails once, before its effect or after it. The next one goes on.
fn failing_calls(random: &mut Random) -> u64 {
    let aged = Aged::new(random.next());
    forget(&aged.world.open().unwrap(), &[aged.all[0].0, aged.all[1].0]);
    let oracle = aged.oracle(&[2]);
    let counted = copy_of(&aged.world);
    let counting = Arc::new(FaultStorage::new(counted.storage.clone()));
    prune(&open(counting.clone(), &counted.unlock, &counted.index(), &Silent).unwrap()).unwrap();
    let errors = [ErrorKind::StorageFull, ErrorKind::TimedOut, ErrorKind::Interrupted];
    // Every sixth call; another seed meets the others.
    for call in (random.below(6)..counting.count()).step_by(6) {
        let error = errors[random.below(3) as usize];
        for fault in [Fault::FailBefore(error), Fault::FailAfter(error)] {
            let world = copy_of(&aged.world);
            let storage = Arc::new(FaultStorage::new(world.storage.clone()));
            storage.on_call(call, fault);
            let told =
                open(storage, &world.unlock, &world.index(), &Silent).is_ok_and(|repo| prune(&repo).is_ok());
            let case = format!("{fault:?} at call {call} of a prune");
            let repo = world.open().unwrap();
            oracle.assert_nothing_lost(&repo, &Disturbed::default(), &aged.tree, &case);
            if told {
                assert_nothing_left(&repo, &format!("{case}, which is told to be done"));
            }
            prune_with(&repo, |options| options.fence_all = true)
                .unwrap_or_else(|error| panic!("{case}: no way forward: {error}"));
            assert_nothing_left(&repo, &case);
            oracle.assert_nothing_lost(&repo, &Disturbed::default(), &aged.tree, &case);
        }
    }
    counting.count() / 3
}

/// Forgetting and taking back are cut: each snapshot is alive or forgotten, and what was called done is done.
fn forgets(random: &mut Random) -> u64 {
    let aged = Aged::new(random.next());
    let ids: Vec<ObjectId> = aged.all.iter().map(|(id, _)| *id).collect();
    let mut cuts = 0;
    for undo in [false, true] {
        let from = copy_of(&aged.world);
        if undo {
            forget(&from.open().unwrap(), &ids[..2]);
        }
        for cut in 0.. {
            let world = copy_of(&from);
            let storage = Arc::new(FaultStorage::new(world.storage.clone()));
            storage.freeze_after(cut);
            let done = open(storage, &world.unlock, &world.index(), &Silent).is_ok_and(|repo| match undo {
                false => forget::forget(&repo, &ids[..1].iter().copied().collect(), LATER).is_ok(),
                true => forget::take_back(&repo, Some(&ids[..1].iter().copied().collect()), LATER).is_ok(),
            });
            let repo = world.open().unwrap();
            let there = snapshots(&repo);
            let (old, new) = match undo {
                false => (&ids[..], &ids[1..]),
                true => (&ids[2..], &[ids[0], ids[2]][..]),
            };
            assert!(there == new || there == old && !done, "cut {cut}: {done} {there:?}");
            forget(&repo, &ids[..2]);
            prune_with(&repo, |options| options.fence_all = true).unwrap();
            aged.oracle(&[2]).assert_nothing_lost(
                &repo,
                &Disturbed::default(),
                &aged.tree,
                &format!("cut {cut}"),
            );
            assert_eq!(crate::support::pruned::count(&*world.storage, Family::Retention), 1);
            cuts += 1;
            if done {
                break;
            }
        }
    }
    cuts
}

#[test]
fn a_prune_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a prune", 16, prunes);
}

#[test]
fn a_backup_after_half_a_prune_is_whole() {
    freeze("R1 storage freezes in a prune, then a backup", 16, prunes_before_a_backup);
}

#[test]
fn calls_of_a_prune_may_fail() {
    freeze("R7 storage calls of a prune that fail once", 16, failing_calls);
}

#[test]
fn a_forget_can_be_cut_anywhere() {
    freeze("R1 storage freezes in forget and undo", 16, forgets);
}
