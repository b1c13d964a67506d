//! Parity beside everything else: real backups, prunes that take packs out of groups, checks, others at work.

use crate::support::compare::Tree;
use crate::support::pruned::{LATER, assert_nothing_left, forget, prune, prune_with};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, check, open};
use dedup_engine::check::{Finding, Severity};
use dedup_engine::id::ObjectId;
use dedup_engine::parity::{self, AddOptions, AddReport, Doer, MendOptions, MendReport, Status, Wanted};
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::repo::control::Condemned;
use dedup_engine::storage::{Family, Name, Storage};
use std::path::PathBuf;

fn doer() -> Doer {
    Doer { host: "test".into(), time: LATER }
}

fn add(repo: &Repository, shards: u8, packs: usize) -> AddReport {
    let wanted = Wanted { shards, packs };
    parity::add(repo, &AddOptions { wanted, dry_run: false, threads: 2, doer: doer() }, &Silent).unwrap()
}

fn repair(repo: &Repository) -> MendReport {
    parity::repair(repo, &MendOptions { dry_run: false, threads: 2, doer: doer() }, &Silent).unwrap()
}

fn status(repo: &Repository) -> Status {
    parity::status(repo, &Silent).unwrap()
}

fn names(world: &World, family: Family) -> Vec<Name> {
    let all = world.storage.objects().into_iter().map(|(name, _)| name);
    all.filter(|name| name.family() == family).collect()
}

/// Three snapshots of a tree of which each has a file of its own, in packs of its own.
struct Scene {
    world: World,
    tree: PathBuf,
    all: Vec<(ObjectId, Tree)>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        trees::build_tiny(&tree, seed);
        let mut scene = Self { world, tree, all: Vec::new() };
        (0..3).for_each(|n| scene.backup(n));
        scene
    }

    fn backup(&mut self, n: u64) {
        let random = &mut Random::new(n ^ 0x7a2);
        trees::write(&self.tree.join("mine"), &random.bytes(1_200_000), n as i64);
        trees::write(&self.tree.join(format!("kept-{n}")), &random.bytes(50_000), n as i64);
        let report = self.world.backup(Run { tree: &self.tree, moment: 10 * n as i64 }).unwrap();
        self.all.push((report.snapshot.unwrap(), Tree::read(&self.tree)));
    }

    #[track_caller]
    fn assert_there(&self, expected: &[usize]) {
        let expected: Vec<_> = expected.iter().map(|at| &self.all[*at]).collect();
        self.world.assert_there(&self.world.open_afresh(), &self.tree, &expected);
    }
}

/// Any two packs of a real repository, data, listings and all: everything restores.
#[test]
fn a_repository_with_two_packs_less_is_whole_again() {
    let scene = Scene::new(1);
    let report = add(&scene.world.open().unwrap(), 2, 128);
    let packs = names(&scene.world, Family::Packs);
    assert_eq!((report.packs, report.packs_grouped), (packs.len() as u64, packs.len() as u64));
    assert!(packs.len() >= 6, "{packs:?}");
    let random = &mut Random::new(9);
    for _ in 0..4 {
        let (one, two) = (
            packs[random.below(packs.len() as u64) as usize],
            packs[random.below(packs.len() as u64) as usize],
        );
        scene.world.storage.delete(&one).unwrap();
        scene.world.storage.overwrite(two, b"rotten");
        // Without an index of before: what it can know of the packs, it knows from segments.
        let report = repair(&scene.world.open_afresh());
        assert!(report.is_whole() && !report.packs.is_empty(), "{report:?}");
        scene.assert_there(&[0, 1, 2]);
    }
    assert_eq!(names(&scene.world, Family::Sessions).len(), 9, "session, intent and end of each backup");
}

/// What a prune removes is lost to its groups: what is protected less by that is told, and made anew by the next run.
#[test]
fn a_prune_says_what_it_leaves_without_parity() {
    for shards in [1, 16] {
        let scene = Scene::new(2);
        let repo = scene.world.open().unwrap();
        add(&repo, shards, 128);
        forget(&repo, &[scene.all[0].0]);
        let before = scene.world.storage.objects();
        let told = prune_with(&repo, |options| options.dry_run = true).unwrap();
        assert_eq!(scene.world.storage.objects(), before);
        let report = prune(&repo).unwrap();
        let gone = report.packs_removed;
        assert!(gone > 0);
        let stay = names(&scene.world, Family::Packs).len() as u64;
        let told_of = |report: &dedup_engine::prune::PruneReport| {
            (report.parity.packs_unprotected, report.parity.packs_weakened, report.parity.objects_removed)
        };
        let status_after = status(&repo);
        if shards == 1 {
            assert!(report.parity.packs_unprotected > 0 && status_after.packs_protected == 0, "{report:?}");
            assert_eq!(names(&scene.world, Family::Parity).len(), 0, "it protects nothing any more");
        } else {
            assert!(report.parity.packs_weakened > 0 && status_after.packs_protected > 0, "{report:?}");
            assert_eq!(told_of(&report).0, 0);
            assert_eq!(status_after.groups[0].removed, gone);
        }
        assert_eq!(told_of(&told), told_of(&report));
        scene.assert_there(&[1, 2]);
        // The next prune has nothing to do, and nothing to tell.
        let again = prune(&repo).unwrap();
        assert_eq!((again.packs_removed, told_of(&again)), (0, (0, 0, 0)));
        add(&repo, shards, 128);
        let now = status(&repo);
        assert_eq!((now.packs, now.packs_protected, now.least_spare), (stay, stay, u64::from(shards)));
        assert_eq!(now.groups.len(), 1, "the old group is gone");
        scene.world.storage.delete(&names(&scene.world, Family::Packs)[0]).unwrap();
        assert_eq!(repair(&repo).packs_rebuilt(), 1);
        scene.assert_there(&[1, 2]);
        assert_nothing_left(&repo, "after all");
    }
}

/// A pack is missing that can be rebuilt: a prune must not take the others away that it takes.
#[test]
fn a_prune_spares_what_rebuilds_others() {
    let scene = Scene::new(3);
    let repo = scene.world.open().unwrap();
    add(&repo, 1, 128);
    let data = |world: &World| {
        let packs = names(world, Family::Packs).into_iter();
        packs.filter(|name| world.storage.get(name, 7..8).unwrap() == [3]).collect::<Vec<_>>()
    };
    forget(&repo, &[scene.all[0].0]);
    let would = prune_with(&repo, |options| options.dry_run = true).unwrap();
    assert!(!would.plan.remove.is_empty() || !would.plan.repack.is_empty());
    // One that stays.
    let fork = scene.world.fork();
    prune(&fork.open().unwrap()).unwrap();
    let lost = data(&fork).into_iter().find(|name| data(&scene.world).contains(name)).unwrap();
    scene.world.storage.delete(&lost).unwrap();
    let report = prune(&repo).unwrap();
    assert_eq!(report.packs_removed, 0, "{report:?}");
    assert!(report.parity.packs_spared > 0, "{report:?}");
    assert_eq!(repair(&repo).packs_rebuilt(), 1);
    let report = prune(&repo).unwrap();
    assert!(report.packs_removed > 0 && report.parity.packs_spared == 0, "{report:?}");
    scene.assert_there(&[1, 2]);
}

/// A prune, and another `add`, from beginning to end in the middle of an `add`; and it in the middle of a prune.
#[test]
fn others_at_work_lose_nothing() {
    for inner in 0..4 {
        let scene = Scene::new(4 + inner);
        forget(&scene.world.open().unwrap(), &[scene.all[0].0]);
        let (storage, unlock) = (scene.world.storage.clone(), scene.world.unlock.clone());
        let index = scene.world.other_index("inner");
        let inner_repo = move || open(storage.clone(), &unlock, &index, &Silent).unwrap();
        let is_parity = |name: &Name| matches!(name, Name::Parity(_));
        match inner {
            0 => {
                let repo =
                    scene.world.hooked("outer", is_parity, move || drop(prune(&inner_repo()).unwrap()));
                add(&repo, 2, 3);
            }
            1 => {
                let repo = scene.world.hooked("outer", is_parity, move || drop(add(&inner_repo(), 2, 3)));
                add(&repo, 2, 3);
            }
            2 => {
                let is_set = |name: &Name| matches!(name, Name::Condemned(_));
                let repo = scene.world.hooked("outer", is_set, move || drop(add(&inner_repo(), 2, 3)));
                prune(&repo).unwrap();
            }
            _ => {
                // The one that prunes takes the run for dead.
                let fence =
                    move || drop(prune_with(&inner_repo(), |options| options.fence_all = true).unwrap());
                let repo = scene.world.hooked("outer", is_parity, fence);
                let wanted = Wanted { shards: 2, packs: 3 };
                let options = AddOptions { wanted, dry_run: false, threads: 2, doer: doer() };
                parity::add(&repo, &options, &Silent).unwrap_err();
            }
        }
        let repo = scene.world.open_afresh();
        repair(&repo);
        add(&repo, 2, 3);
        let now = status(&repo);
        assert_eq!((now.packs_protected, now.least_spare), (now.packs, 2), "{inner}: {now:?}");
        prune(&repo).unwrap();
        add(&repo, 2, 3);
        scene.assert_there(&[1, 2]);
        let lost = names(&scene.world, Family::Packs)[0];
        scene.world.storage.delete(&lost).unwrap();
        assert_eq!(repair(&scene.world.open_afresh()).packs_rebuilt(), 1, "{inner}");
        scene.assert_there(&[1, 2]);
        let now = status(&scene.world.open_afresh());
        let of_groups: u64 = now.groups.iter().map(|group| u64::from(group.shards)).sum();
        assert_eq!(now.objects, of_groups, "{inner}: nothing is left over: {now:?}");
    }
}

/// Damage of parity itself is found where it is looked for; what a group lacks is told, and harms nobody.
#[test]
fn a_check_looks_at_parity() {
    let scene = Scene::new(8);
    let repo = scene.world.open().unwrap();
    add(&repo, 2, 128);
    let report = check(&repo).unwrap();
    assert_eq!((report.parity_groups, report.parity_objects, report.findings.len()), (1, 2, 0));
    assert!(report.parity_bytes_read > 1_000_000);
    let parity = names(&scene.world, Family::Parity)[0];
    let bytes = scene.world.storage.get_all(&parity, u64::MAX).unwrap();
    for at in [0, 20, 81, 100, bytes.len() / 2, bytes.len() - 1] {
        let world = scene.world.fork();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        world.storage.overwrite(parity, &damaged);
        let repo = world.open().unwrap();
        let report = check(&repo).unwrap();
        let is_hit =
            |finding: &Finding| finding.severity == Severity::Damage && finding.object == parity.to_string();
        assert!(report.findings.iter().any(is_hit), "byte {at}: {:#?}", report.findings);
        assert_eq!(repair(&repo).packs, []);
        let report = check(&repo).unwrap();
        assert!(report.findings.is_empty(), "byte {at}: {:#?}", report.findings);
        assert_eq!((report.parity_groups, report.parity_objects), (1, 2), "byte {at}");
    }
    scene.world.storage.delete(&parity).unwrap();
    let report = check(&repo).unwrap();
    assert!(
        report.is_sound() && report.findings[0].message.contains("1 of 2 shards"),
        "{:#?}",
        report.findings
    );
    // The set of a prune that died does not stand in the way of what is removed.
    let set = Condemned { number: 1, base: 0, ..Condemned::default() };
    repo.publish_condemned(&set).unwrap();
    parity::remove(&repo, &|_| true, false, &Silent).unwrap();
    assert_eq!(names(&scene.world, Family::Parity).len(), 0);
}
