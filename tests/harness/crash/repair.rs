//! Repairs, cut off after every storage call: nothing is lost that was not lost before, and the next go ends it.

use super::calls::{copy_of, freeze};
use crate::support::compare::Tree;
use crate::support::pruned::prune_with;
use crate::support::random::Random;
use crate::support::repaired::{flip, index, pack_names, packs_with, try_snapshots};
use crate::support::world::{Run, World, backup, check, open, restore_to_memory, snapshots};
use crate::support::{Scratch, trees};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::{Family, Storage};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

type Files = BTreeMap<StoredPath, Vec<u8>>;

/// A world whose first data pack rots in a place of its own.
struct Rotten {
    world: World,
    _scratch: Scratch,
    tree: PathBuf,
    /// Snapshots, and what can be had of them.
    all: Vec<(ObjectId, Files)>,
}

impl Rotten {
    fn new(random: &mut Random) -> Self {
        let scratch = Scratch::for_trees();
        let tree = scratch.dir("tree");
        for number in 0..6 {
            trees::write(&tree.join(format!("file-{number}")), &random.bytes(30_000), number);
        }
        let (world, mut all) = (World::new(), Vec::new());
        for moment in 0..2 {
            trees::write(&tree.join("changes"), &random.bytes(20_000), moment);
            all.push(world.backup(Run { tree: &tree, moment }).unwrap().snapshot.unwrap());
        }
        flip(&world, pack_names(&world, true)[0], 200 + random.below(500) as usize);
        let repo = world.open().unwrap();
        let all = all.into_iter().map(|id| (id, restore_to_memory(&repo, id).unwrap().0)).collect();
        Self { world, _scratch: scratch, tree, all }
    }

    /// Refuses that anything is gone that could be had before.
    fn assert_kept(&self, repo: &Repository, case: &str) {
        for (id, files) in &self.all {
            let (is, _) = restore_to_memory(repo, *id).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(is == *files, "{case}: {:?}", files.keys().filter(|path| !is.contains_key(path)));
        }
    }

    /// Cuts `work` off everywhere. Another go must end it.
    fn cut_everywhere(
        &self,
        step: u64,
        first: u64,
        work: &dyn Fn(&Repository) -> bool,
        after: &dyn Fn(&World, &Repository, &str),
    ) -> u64 {
        let (mut cut, mut cuts) = (first, 0);
        loop {
            let world = copy_of(&self.world);
            let storage = Arc::new(FaultStorage::new(world.storage.clone()));
            storage.freeze_after(cut);
            let done = open(storage, &world.unlock, &world.index(), &Silent).is_ok_and(|repo| work(&repo));
            let case = format!("repair, cut {cut}");
            let index = if cut % 4 < 2 { world.index() } else { world.other_index("lost") };
            let repo = open(world.storage.clone(), &world.unlock, &index, &Silent).unwrap();
            self.assert_kept(&repo, &case);
            assert!(work(&repo), "{case}: no way forward");
            self.assert_kept(&repo, &format!("{case}, again"));
            after(&world, &repo, &case);
            if done {
                assert!(cut > 15, "too little happens here to prove anything: {cut} calls");
                return cuts;
            }
            (cut, cuts) = (cut + step, cuts + 1);
        }
    }
}

fn packs(random: &mut Random) -> u64 {
    let rotten = Rotten::new(random);
    let work = |repo: &Repository| packs_with(repo, |_| {}).is_ok_and(|(report, _)| report.spared == 0);
    let after = |world: &World, repo: &Repository, case: &str| {
        let before = world.storage.objects();
        let (report, _) = packs_with(repo, |_| {}).unwrap();
        assert!(report.is_sound() && world.storage.objects() == before, "{case}: {report:?}");
        let next = Run { tree: &rotten.tree, moment: 20 };
        let id = backup(repo, next).unwrap().snapshot.unwrap();
        world.assert_restores(repo, id, next, &Tree::read(&rotten.tree));
        prune_with(repo, |options| options.fence_all = true)
            .map(|report| assert_eq!(report.packs_damaged, 0, "{case}"))
            .unwrap_or_else(|error| assert!(error.to_string().contains("chunk"), "{case}: {error}"));
    };
    rotten.cut_everywhere(2, random.below(2), &work, &after)
}

fn remade(random: &mut Random) -> u64 {
    let rotten = Rotten::new(random);
    packs_with(&rotten.world.open().unwrap(), |_| {}).unwrap();
    let old: Vec<ObjectId> = rotten.all.iter().map(|(id, _)| *id).collect();
    let work = |repo: &Repository| {
        try_snapshots(repo, false)
            .is_ok_and(|(report, _)| report.repaired.iter().all(|one| one.made.is_some()))
    };
    let after = |_: &World, repo: &Repository, case: &str| {
        let (report, _) = try_snapshots(repo, false).unwrap();
        assert!(!report.repaired.is_empty(), "{case}: nothing was lost");
        let made: Vec<_> = report.repaired.iter().filter_map(|one| one.made).collect();
        assert_eq!(snapshots(repo).len(), old.len() + made.len(), "{case}: made twice");
        for (one, made) in report.repaired.iter().zip(&made) {
            let (_, expected) = rotten.all.iter().find(|(id, _)| *id == one.id).unwrap();
            let (is, told) = restore_to_memory(repo, *made).unwrap();
            assert!(is == *expected && told.damaged == 0, "{case}: {told:?}");
        }
    };
    rotten.cut_everywhere(2, random.below(2), &work, &after)
}

fn segments(random: &mut Random) -> u64 {
    let mut rotten = Rotten::new(random);
    packs_with(&rotten.world.open().unwrap(), |_| {}).unwrap();
    // The first segments, rotten and gone, and an index that knows them or does not.
    let world = copy_of(&rotten.world);
    let objects = world.storage.objects().into_iter().map(|(name, _)| name);
    let names: Vec<_> = objects.filter(|name| name.family() == Family::Segments).collect();
    flip(&world, names[0], 400);
    if names.len() > 2 {
        world.storage.delete(&names[1]).unwrap();
    }
    rotten.world = world;
    let work = |repo: &Repository| index(repo, false).is_ok_and(|report| report.spared == 0);
    let after = |_: &World, repo: &Repository, case: &str| {
        assert!(index(repo, true).unwrap().is_sound(), "{case}");
        let report = check(repo).unwrap();
        let of_segments = |object: &str| object.starts_with("segments/") || object == "packs";
        let left: Vec<_> = report.findings.iter().filter(|finding| of_segments(&finding.object)).collect();
        assert!(left.is_empty(), "{case}: {left:?}");
    };
    rotten.cut_everywhere(2, random.below(2), &work, &after)
}

#[test]
fn a_repair_of_packs_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a repair of packs", 16, packs);
}

#[test]
fn a_repair_of_snapshots_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a repair of snapshots", 16, remade);
}

#[test]
fn a_repair_of_segments_can_be_cut_anywhere() {
    freeze("R1 storage freezes in a repair of segments", 16, segments);
}
