//! Prune: what nobody needs goes, what anybody needs stays, whoever else is at work.

use crate::support::compare::Tree;
use crate::support::pruned::{LATER, assert_nothing_left, count, forget, pack_bytes, prune, prune_with};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, backup, open, open_keys, snapshots};
use dedup_engine::error::Kind;
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::prune::plan::{Limits, Unused};
use dedup_engine::prune::{PruneError, PruneReport};
use dedup_engine::repo::control::Condemned;
use dedup_engine::storage::fault::{Call, Fault, FaultStorage, Lie};
use dedup_engine::storage::{Family, Name, Part, Storage};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// Snapshots of a tree that changes, and what it was at each.
struct Scene {
    world: World,
    tree: PathBuf,
    all: Vec<(ObjectId, Tree)>,
}

impl Scene {
    fn new(seed: u64, count: u64) -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        trees::build_small(&tree, seed);
        let mut scene = Self { world, tree, all: Vec::new() };
        for n in 0..count {
            scene.change(seed + n);
            scene.backup(10 * n as i64);
        }
        scene
    }

    /// Replaces a file of its own and grows another.
    fn change(&self, seed: u64) {
        let random = &mut Random::new(seed ^ 0x9121);
        trees::write(&self.tree.join("mine"), &random.bytes(300_000), seed as i64);
        trees::write(&self.tree.join(format!("kept-{seed}")), &random.bytes(60_000), seed as i64);
    }

    fn backup(&mut self, moment: i64) {
        let report = self.world.backup(Run { tree: &self.tree, moment }).unwrap();
        self.all.push((report.snapshot.unwrap(), Tree::read(&self.tree)));
    }

    fn ids(&self) -> Vec<ObjectId> {
        self.all.iter().map(|(id, _)| *id).collect()
    }

    /// These snapshots are what there is, whole, by an index of this machine and by one made anew.
    #[track_caller]
    fn assert_there(&self, expected: &[usize]) {
        let expected: Vec<_> = expected.iter().map(|at| &self.all[*at]).collect();
        for repo in [self.world.open().unwrap(), self.world.open_afresh()] {
            self.world.assert_there(&repo, &self.tree, &expected);
        }
    }
}

fn is_condemned(name: &Name) -> bool {
    matches!(name, Name::Condemned(_))
}

#[test]
fn what_nobody_needs_goes_and_the_rest_stays() {
    let mut scene = Scene::new(1, 4);
    let repo = scene.world.open().unwrap();
    let (before, ids) = (pack_bytes(&scene.world), scene.ids());
    assert_eq!(prune(&repo).unwrap(), PruneReport { restarts: 0, ..prune(&repo).unwrap() }, "nothing to do");
    assert_eq!(pack_bytes(&scene.world), before);
    assert_eq!(count(&*scene.world.storage, Family::Generations), 0);
    forget(&repo, &[ids[0], ids[2]]);
    let plan = prune_with(&repo, |options| options.dry_run = true).unwrap();
    assert_eq!(pack_bytes(&scene.world), before, "a dry run changes nothing");
    let report = prune(&repo).unwrap();
    assert_eq!(report.plan, plan.plan);
    assert_eq!((report.snapshots.len(), report.snapshots_kept, report.restarts), (2, 2, 0));
    let freed = before - pack_bytes(&scene.world);
    assert_eq!(freed, report.bytes_removed - report.bytes_written);
    assert!(freed > 550_000, "{freed} of {before}: {report:?}");
    assert_nothing_left(&repo, "after the prune");
    scene.assert_there(&[1, 3]);
    for (family, left) in [(Family::Snapshots, 2), (Family::Condemned, 0)] {
        assert_eq!(count(&*scene.world.storage, family), left, "{family}");
    }
    // Backups go on, with the old index and without.
    scene.backup(100);
    scene.assert_there(&[1, 3, 4]);
    drop(repo);
    drop(std::fs::remove_dir_all(scene.world.index()));
    scene.backup(110);
    scene.assert_there(&[1, 3, 4, 5]);
    assert_nothing_left(&scene.world.open().unwrap(), "after more backups");
}

#[test]
fn limits_bound_what_is_written() {
    let scene = Scene::new(2, 3);
    let repo = scene.world.open().unwrap();
    forget(&repo, &scene.ids()[..2]);
    let limits = |max_unused, max_repack_bytes| Limits { max_unused, max_repack_bytes };
    for limits in [limits(Unused::Any, None), limits(Unused::Bytes(0), Some(0))] {
        let report = prune_with(&repo, |options| options.limits = limits).unwrap();
        assert_eq!((report.bytes_written, report.plan.repack.len()), (0, 0));
        assert!(report.plan.unused_bytes > 0, "{report:?}");
        scene.assert_there(&[2]);
    }
    let report = prune(&repo).unwrap();
    assert!(report.bytes_written > 0 && report.plan.unused_bytes == 0, "{report:?}");
    scene.assert_there(&[2]);
}

/// Nothing is removed where it is not known what is needed.
#[test]
fn without_knowledge_nothing_is_removed() {
    let scene = Scene::new(3, 2);
    let world = &scene.world;
    let before = pack_bytes(world);
    let refused = |change: &dyn Fn(&World), kind: Kind| {
        let world = world.fork();
        change(&world);
        let result = world
            .open()
            .map_err(PruneError::from)
            .and_then(|repo| prune_with(&repo, |options| options.fence_all = true));
        assert_eq!(result.as_ref().map_err(PruneError::kind), Err(kind), "{result:?}");
        assert!(pack_bytes(&world) <= before && count(&*world.storage, Family::Generations) == 0);
    };
    let names = |family: Family| -> Vec<Name> {
        let names = world.storage.objects().into_iter().map(|(name, _)| name);
        names.filter(|name| name.family() == family).collect()
    };
    let damage = |world: &World, name: Name| {
        let mut bytes = world.storage.get_all(&name, 1 << 30).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        world.storage.overwrite(name, &bytes);
    };
    refused(&|world| damage(world, names(Family::Snapshots)[0]), Kind::Integrity);
    refused(&|world| world.storage.delete(&names(Family::Snapshots)[0]).unwrap(), Kind::Integrity);
    let end = names(Family::Sessions).into_iter().find(|name| matches!(name, Name::Session(_, Part::End)));
    refused(&|world| damage(world, end.unwrap()), Kind::Integrity);
    refused(
        &|world| forget(&open_keys(world.storage.clone(), &world.unlock).unwrap(), &scene.ids()),
        Kind::Refused,
    );
    let listing = |world: &World| {
        names(Family::Packs)
            .into_iter()
            .filter(|name| world.storage.get(name, 7..8).unwrap() == [4])
            .for_each(|name| damage(world, name));
    };
    refused(&listing, Kind::Integrity);
    // Whoever lists nothing does not know everything, unless the log tells of it: then it is asked for by name.
    let lied_to = |world: &World| {
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        let repo = open(storage.clone(), &world.unlock, &world.other_index("lied"), &Silent).unwrap();
        storage.lie(Family::Snapshots, Lie::Omit(names(Family::Snapshots)[0])).unwrap();
        prune(&repo).map(|report| (report.snapshots_kept, report.packs_removed)).map_err(|error| error.kind())
    };
    let bare = world.fork();
    names(Family::Log).iter().for_each(|name| bare.storage.delete(name).unwrap());
    assert_eq!((lied_to(&bare), lied_to(world)), (Err(Kind::Integrity), Ok((2, 0))));
    scene.assert_there(&[0, 1]);
}

/// A backup runs from beginning to end between the condemned set and the second look, and needs what was condemned.
#[test]
fn a_backup_in_the_middle_keeps_what_it_needs() {
    for seed in 10..14 {
        let mut scene = Scene::new(seed, 2);
        let first = scene.all[0].0;
        forget(&scene.world.open().unwrap(), &[first]);
        // The tree is again what only the forgotten snapshot has.
        let tree = scene.tree.clone();
        let random = &mut Random::new(seed ^ 0x9121);
        trees::write(&tree.join("mine"), &random.bytes(300_000), 77);
        let (storage, unlock) = (scene.world.storage.clone(), scene.world.unlock.clone());
        let index = scene.world.other_index("backup");
        let repo = scene.world.hooked("prune", is_condemned, move || {
            let repo = open(storage.clone(), &unlock, &index, &Silent).unwrap();
            backup(&repo, Run { tree: &tree, moment: 50 }).unwrap();
        });
        prune(&repo).unwrap();
        let made = *snapshots(&scene.world.open().unwrap()).last().unwrap();
        scene.all.push((made, Tree::read(&scene.tree)));
        scene.assert_there(&[1, 2]);
        prune(&scene.world.open().unwrap()).unwrap();
        assert_nothing_left(&scene.world.open().unwrap(), "in the end");
        scene.assert_there(&[1, 2]);
    }
}

/// A backup has published its intent, relying on packs of a snapshot that is forgotten, and sleeps while a prune runs.
#[test]
fn a_backup_that_sleeps_loses_nothing() {
    for fence_all in [false, true] {
        for at in [
            (|name: &Name| matches!(name, Name::Session(_, Part::Begin))) as fn(&Name) -> bool,
            |name| matches!(name, Name::Segment(_)),
            |name| matches!(name, Name::Session(_, Part::Intent(_))),
            |name| matches!(name, Name::Snapshot(_)),
        ] {
            let mut scene = Scene::new(20, 2);
            let first = scene.all[0].0;
            let tree = scene.tree.clone();
            trees::write(&tree.join("mine"), &Random::new(20 ^ 0x9121).bytes(300_000), 77);
            let (storage, unlock) = (scene.world.storage.clone(), scene.world.unlock.clone());
            let index = scene.world.other_index("prune");
            let repo = scene.world.hooked("backup", at, move || {
                let repo = open(storage.clone(), &unlock, &index, &Silent).unwrap();
                forget(&repo, &[first]);
                prune_with(&repo, |options| options.fence_all = fence_all).unwrap();
            });
            let made = backup(&repo, Run { tree: &tree, moment: 50 }).unwrap().snapshot.unwrap();
            scene.all.push((made, Tree::read(&tree)));
            scene.assert_there(&[1, 2]);
            prune(&scene.world.open().unwrap()).unwrap();
            scene.assert_there(&[1, 2]);
        }
    }
}

/// Somebody takes the snapshot back while a prune is about to remove it.
#[test]
fn what_is_taken_back_in_the_middle_stays() {
    let mut scene = Scene::new(30, 3);
    let ids = scene.ids();
    forget(&scene.world.open().unwrap(), &ids[..2]);
    let (storage, unlock, first) = (scene.world.storage.clone(), scene.world.unlock.clone(), ids[0]);
    let repo = scene.world.hooked("prune", is_condemned, move || {
        let repo = open_keys(storage.clone(), &unlock).unwrap();
        let back = forget::take_back(&repo, Some(&[first].into()), LATER).unwrap();
        assert_eq!(back, [first].into());
    });
    let report = prune(&repo).unwrap();
    assert!(report.restarts > 0, "{report:?}");
    scene.assert_there(&[0, 2]);
    assert_nothing_left(&repo, "after the prune");
    scene.backup(90);
    scene.assert_there(&[0, 2, 3]);
}

/// A second prune runs from beginning to end in the middle of the first one.
/// The other one comes when packs are condemned, so that they are gone when they are to be read; or when all has been
/// read and is written anew, so that only the number of the generation tells.
#[test]
fn a_prune_in_the_middle_of_a_prune() {
    let moments: [fn(&Name) -> bool; 2] = [is_condemned, |name| name.family() == Family::Segments];
    for at in moments {
        let scene = Scene::new(40, 3);
        forget(&scene.world.open().unwrap(), &scene.ids()[..2]);
        let (storage, unlock) = (scene.world.storage.clone(), scene.world.unlock.clone());
        let index = scene.world.other_index("second");
        let repo = scene.world.hooked("first", at, move || {
            let repo = open(storage.clone(), &unlock, &index, &Silent).unwrap();
            prune(&repo).unwrap();
        });
        let report = prune(&repo).unwrap();
        assert_eq!(report.restarts, 1, "{report:?}");
        scene.assert_there(&[2]);
        assert_nothing_left(&scene.world.open().unwrap(), "after both");
    }
}

/// What a run that died has left is spared while it might live, and goes when it is known to be dead or two
/// generations are past.
#[test]
fn packs_of_dead_runs_go_in_the_end() {
    for fence_all in [true, false] {
        let scene = Scene::new(50, 2);
        scene.change(99);
        let before = pack_bytes(&scene.world);
        let storage = Arc::new(FaultStorage::new(scene.world.storage.clone()));
        let repo =
            open(storage.clone(), &scene.world.unlock, &scene.world.other_index("dead"), &Silent).unwrap();
        // Its session and a pack are stored, and nothing more.
        storage.on_nth(Call::Put, storage.count_of(Call::Put) + 2, Fault::FailBefore(ErrorKind::TimedOut));
        assert!(backup(&repo, Run { tree: &scene.tree, moment: 60 }).is_err());
        let repo = scene.world.open().unwrap();
        let left = pack_bytes(&scene.world);
        assert!(left > before, "nothing was left");
        prune(&repo).unwrap();
        assert_eq!(pack_bytes(&scene.world), left, "it might live");
        if fence_all {
            prune_with(&repo, |options| options.fence_all = true).unwrap();
        } else {
            forget(&repo, &scene.ids()[..1]);
            for number in 1..=3 {
                prune(&repo).unwrap();
                // Something to do for the next one, so that there is another generation.
                let base = count(&*scene.world.storage, Family::Generations) as u64;
                repo.publish_condemned(&Condemned { number, base, ..Default::default() }).unwrap();
            }
            prune(&repo).unwrap();
        }
        assert_nothing_left(&repo, "in the end");
        assert!(pack_bytes(&scene.world) <= before);
        scene.assert_there(if fence_all { &[0, 1] } else { &[1] });
    }
}

/// Threads that back up, forget and prune at random: what was not forgotten is there in the end.
#[test]
fn backups_forgets_and_prunes_at_once() {
    let world = World::new();
    let scratch: Vec<PathBuf> = (0..3).map(|n| world.scratch.dir(format!("tree-{n}"))).collect();
    let made = std::sync::Mutex::new(Vec::new());
    let gone = std::sync::Mutex::new(std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        for (n, tree) in scratch.iter().enumerate() {
            let (world, made, gone) = (&world, &made, &gone);
            scope.spawn(move || {
                let mut random = Random::new(n as u64);
                for moment in 0..6 {
                    // The same contents come again and again, in all trees.
                    for file in 0..4 {
                        let content = Random::new(random.below(6)).bytes(150_000);
                        trees::write(&tree.join(format!("{file}")), &content, moment);
                    }
                    let index = world.other_index(&format!("backup-{n}"));
                    let run = Run { tree, moment: moment * 10 };
                    let mut tries = 0..40;
                    let (id, repo) = loop {
                        assert!(tries.next().is_some(), "no backup succeeds any more");
                        let repo = open(world.storage.clone(), &world.unlock, &index, &Silent).unwrap();
                        match backup(&repo, run) {
                            Ok(report) => break (report.snapshot.unwrap(), repo),
                            // Its parent was forgotten and removed under it.
                            Err(error) => {
                                assert!(matches!(error.kind(), Kind::Busy | Kind::Integrity), "{error}")
                            }
                        }
                    };
                    made.lock().unwrap().push((id, n, Tree::read(tree)));
                    let victim =
                        made.lock().unwrap().iter().map(|(id, ..)| *id).nth(random.below(3) as usize);
                    if let Some(victim) = victim.filter(|_| random.below(2) == 0) {
                        gone.lock().unwrap().insert(victim);
                        let _ = forget::forget(&repo, &[victim].into(), LATER);
                    }
                }
            });
        }
        for n in 0..2 {
            let world = &world;
            scope.spawn(move || {
                for _ in 0..5 {
                    let index = world.other_index(&format!("prune-{n}"));
                    let repo = open(world.storage.clone(), &world.unlock, &index, &Silent).unwrap();
                    match prune_with(&repo, |options| {
                        (options.allow_empty, options.fence_all) = (true, n == 1)
                    }) {
                        Ok(_) => {}
                        Err(error) => {
                            assert!(matches!(error.kind(), Kind::Busy | Kind::Refused), "{error}");
                        }
                    }
                }
            });
        }
    });
    let repo = world.open_afresh();
    world.assert_sound(&repo);
    let (there, gone) = (snapshots(&repo), gone.into_inner().unwrap());
    for (id, n, tree) in made.into_inner().unwrap() {
        if gone.contains(&id) {
            continue;
        }
        assert!(there.contains(&id), "{} is lost", id.short());
        world.assert_restores(&repo, id, Run { tree: &scratch[n], moment: 0 }, &tree);
    }
    prune_with(&repo, |options| options.fence_all = true).unwrap();
    assert_nothing_left(&repo, "in the end");
}
