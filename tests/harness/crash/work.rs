//! Restores, checks and work on keys, cut off after every storage call.

use super::calls::{copy_of, freeze};

use super::program::{assert_resumed, assert_whole_or_temporary};
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{NO_KDF, Run, World, backup, check, open, open_keys, restore_to};
use crate::support::{Scratch, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::progress::Silent;
use dedup_engine::repo::{Budget, Repository};
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

const NOW: Time = Time { secs: 4_000_000_000, nanos: 0 };

/// A world with one snapshot of a tree.
struct Backed {
    world: World,
    scratch: Scratch,
    tree: PathBuf,
    snapshot: ObjectId,
    expected: Arc<Tree>,
}

impl Backed {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::for_trees();
        let tree = scratch.dir("tree");
        trees::build_small(&tree, seed);
        let world = World::new();
        let snapshot = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
        Self { world, expected: Arc::new(Tree::read(&tree)), scratch, tree, snapshot }
    }

    /// Does something with storage frozen after so many calls; returns the storage and the index that are left.
    fn cut(&self, cut: u64, act: impl FnOnce(&Repository)) -> (Arc<FaultStorage>, World) {
        let world = copy_of(&self.world);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        storage.freeze_after(cut);
        if let Ok(repo) = open(storage.clone(), &world.unlock, &world.index(), &Silent) {
            act(&repo);
        }
        (storage, world)
    }
}

fn restores(random: &mut Random) -> u64 {
    let backed = Backed::new(random.next());
    let mut cut = 0;
    loop {
        let target = backed.scratch.path(format!("out-{cut}"));
        let mut is_done = false;
        let (storage, world) = backed.cut(cut, |repo| {
            let report = restore_to(repo, backed.snapshot, &backed.tree, &target);
            is_done = report.is_ok_and(|report| report.problems.is_empty());
        });
        let case = format!("restore, cut {cut}");
        if is_done {
            backed.expected.assert_same(&Tree::read(&target), &case);
        } else {
            assert_whole_or_temporary(&target, &backed.expected, &case);
        }
        storage.thaw();
        let repo = open(storage, &world.unlock, &world.index(), &Silent).unwrap();
        let report = restore_to(&repo, backed.snapshot, &backed.tree, &target).unwrap();
        assert_eq!(report.problems, [], "{case}: again");
        assert_resumed(&backed.expected, &target, &format!("{case}: again"));
        std::fs::remove_dir_all(&target).unwrap();
        if is_done {
            assert!(cut > 5, "too little happens here to prove anything: {cut} calls");
            return cut;
        }
        cut += 1;
    }
}

fn checks(random: &mut Random) -> u64 {
    let backed = Backed::new(random.next());
    let mut oracle = Oracle::new(backed.world.unlock.clone());
    oracle.commit(backed.snapshot, &backed.tree, backed.expected.clone());
    let mut cut = 0;
    loop {
        let mut is_done = false;
        let (_, world) = backed.cut(cut, |repo| {
            // Half a check must not say that all is well.
            is_done = check(repo).is_ok_and(|report| report.is_sound());
        });
        let found = Found { storage: world.storage.clone(), index: &world.index() };
        let next = Run { tree: &backed.tree, moment: 20 };
        oracle.judge(found, &Disturbed::default(), next, &format!("check, cut {cut}"));
        if is_done {
            let undisturbed = Arc::new(FaultStorage::new(backed.world.storage.clone()));
            let index = backed.world.index();
            check(&open(undisturbed.clone(), &backed.world.unlock, &index, &Silent).unwrap()).unwrap();
            let calls = undisturbed.count();
            assert_eq!(cut, calls, "a check that could not make all its calls says that all is well");
            return cut;
        }
        cut += 1;
    }
}

type KeyWork = fn(&mut Repository, &Unlock) -> bool;

fn add(repo: &mut Repository, new: &Unlock) -> bool {
    repo.add_slot(new, &NO_KDF, "laptop", true, 5).is_ok()
}

fn add_writer(repo: &mut Repository, new: &Unlock) -> bool {
    repo.add_write_only_slot(new, &NO_KDF, "server", 5).is_ok()
}

fn change(repo: &mut Repository, new: &Unlock) -> bool {
    repo.change_slot(new, &NO_KDF, 6).is_ok()
}

fn remove(repo: &mut Repository, new: &Unlock) -> bool {
    repo.add_slot(new, &NO_KDF, "old laptop", true, 5).is_ok_and(|slot| repo.remove_slot(&slot).is_ok())
}

/// A key epoch is opened beside a second key, which is taken along, and another, which is not. Cut off anywhere, what is
/// stored restores, the next backup succeeds with both keys, and an epoch can be opened after all.
fn rotation(random: &mut Random) -> u64 {
    let backed = Backed::new(random.next());
    let [second, third] = [(); 2].map(|()| Unlock::new_key_file().unwrap().0);
    let repo = backed.world.open().unwrap();
    let kept = BTreeSet::from([repo.add_slot(&second, &NO_KDF, "second", true, 5).unwrap()]);
    repo.add_slot(&third, &NO_KDF, "third", true, 6).unwrap();
    // Rights are told apart, and something is pinned: what an epoch names must be taken by whoever goes on.
    repo.add_write_only_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "server", 7).unwrap();
    forget::pin(&repo, &[backed.snapshot].into(), true, NOW).unwrap();
    drop(repo);
    let mut oracle = Oracle::new(backed.world.unlock.clone());
    oracle.commit(backed.snapshot, &backed.tree, backed.expected.clone());
    let counting = Arc::new(FaultStorage::new(backed.world.storage.clone()));
    drop(open(counting.clone(), &backed.world.unlock, &backed.world.index(), &Silent).unwrap());
    // One of any two that follow each other.
    for step in 0.. {
        let (cut, mut opened) = (counting.count() + random.below(2) + 2 * step, None);
        let (_, world) = backed.cut(cut, |repo| opened = repo.open_epoch(&kept, NOW).ok());
        let case = format!("a new epoch, cut {cut}");
        let found = Found { storage: world.storage.clone(), index: &world.index() };
        oracle.judge(found, &Disturbed::default(), Run { tree: &backed.tree, moment: 20 }, &case);
        let began = world.storage.objects().iter().any(|(name, _)| name.family() == Family::Epochs);
        assert!(began || opened.is_none(), "{case}");
        let theirs = open(world.storage.clone(), &second, &world.other_index("second"), &Silent).unwrap();
        let id = backup(&theirs, Run { tree: &backed.tree, moment: 30 }).unwrap().snapshot.unwrap();
        world.assert_restores(
            &world.open().unwrap(),
            id,
            Run { tree: &backed.tree, moment: 0 },
            &backed.expected,
        );
        let left = open(world.storage.clone(), &third, &world.other_index("third"), &Silent).unwrap();
        assert_eq!(backup(&left, Run { tree: &backed.tree, moment: 40 }).is_err(), began, "{case}");
        let report = world.open().unwrap().open_epoch(&kept, NOW).unwrap();
        assert_eq!((report.number, report.left_out.len()), (2 + u32::from(began), 2), "{case}");
        assert!(world.open().unwrap().retention().unwrap().pinned.contains(&backed.snapshot), "{case}");
        assert!(
            world.open().unwrap().log_state().is_ok()
                && world.assert_sound(&world.open().unwrap()).damage_total == 0
        );
        if opened.is_some() {
            assert!(step > 5, "too little happens here to prove anything: {step} cuts");
            return step;
        }
    }
    0
}

fn opens(world: &World, unlock: &Unlock) -> bool {
    match open_keys(world.storage.clone(), unlock) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), Kind::WrongKey, "{error}");
            false
        }
    }
}

fn key_work(_: &mut Random) -> u64 {
    let mut cuts = 0;
    let (world, new) = (World::new(), Unlock::new_key_file().unwrap().0);
    for (what, work) in
        [("add", add as KeyWork), ("add for writing", add_writer), ("change", change), ("remove", remove)]
    {
        let undisturbed = world.fork();
        let counting = Arc::new(FaultStorage::new(undisturbed.storage.clone()));
        let mut repo = open_keys(counting.clone(), &world.unlock).unwrap();
        let opened = counting.count();
        assert!(work(&mut repo, &new), "{what}");
        assert!(counting.count() > opened, "{what}");
        for cut in opened..=counting.count() {
            cuts += 1;
            let world = world.fork();
            let storage = Arc::new(FaultStorage::new(world.storage.clone()));
            let mut repo = open_keys(storage.clone(), &world.unlock).unwrap();
            storage.freeze_after(cut);
            let done = work(&mut repo, &new);
            let (old_opens, new_opens) = (opens(&world, &world.unlock), opens(&world, &new));
            let said = (done, what);
            assert!(old_opens || new_opens, "cut {cut} of {what} locks everybody out");
            assert!(old_opens || what == "change", "cut {cut} of {said:?}: the first key is gone");
            assert!(!done || new_opens == (what != "remove"), "cut {cut} of {said:?}");
            assert!(!done || old_opens == (what != "change"), "cut {cut} of {said:?}");
            // The same work can be done after all, by whichever key opens.
            let key = if old_opens { &world.unlock } else { &new };
            let third = Unlock::new_key_file().unwrap().0;
            let mut repo = open_keys(world.storage.clone(), key).unwrap();
            assert!(work(&mut repo, &third), "no way forward after cut {cut} of {what}");
        }
    }
    cuts
}

/// The slot is gone or damaged, and comes back from paper: cut off anywhere, it can be put back after all.
fn imports(_: &mut Random) -> u64 {
    let mut cuts = 0;
    for damaged in [false, true] {
        let world = World::new();
        let (id, stored) = open_keys(world.storage.clone(), &world.unlock).unwrap().export_slot().unwrap();
        world.storage.delete(&Name::slot(id)).unwrap();
        if damaged {
            world.storage.put(&Name::slot(id), &stored[..100]).unwrap();
        }
        let import = |storage: Arc<dyn Storage>| {
            Repository::import_slot(&storage, &stored, &world.unlock, Budget::LEAST_BYTES)
        };
        for cut in 0.. {
            let fork = world.fork();
            let storage = Arc::new(FaultStorage::new(fork.storage.clone()));
            storage.freeze_after(cut);
            let done = import(storage).is_ok();
            assert!(!done || opens(&fork, &world.unlock), "cut {cut}: nothing opens it");
            assert_eq!(import(fork.storage.clone()).unwrap().0, id, "cut {cut}: no way forward");
            assert!(opens(&fork, &world.unlock), "cut {cut}: put back, and does not open");
            cuts += 1;
            if done {
                break;
            }
        }
    }
    cuts
}

#[test]
fn a_key_from_paper_can_be_cut_anywhere() {
    freeze("R1 storage freezes in putting a key back", 4, imports);
}

#[test]
fn a_new_key_epoch_can_be_cut_anywhere() {
    freeze("R1 storage freezes in opening a key epoch", 4, rotation);
}

#[test]
fn a_restore_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a restore", 16, restores);
}

#[test]
fn a_check_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a check", 16, checks);
}

#[test]
fn key_work_can_be_cut_anywhere() {
    freeze("R1 storage freezes in work on keys", 16, key_work);
}
