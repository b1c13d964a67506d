//! Whoever looks at a repository while others change it does not take that for damage.

use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::pruned::{forget, prune};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, check, open, snapshots};
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::{Family, Storage};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A repository with two snapshots of a tree, the first one forgotten.
#[derive(Clone)]
struct Scene {
    world: Arc<World>,
    tree: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = Arc::new(World::new());
        let tree = world.scratch.dir("tree");
        trees::write(&tree.join("stays"), &Random::new(1).bytes(50_000), 1);
        let scene = Self { world, tree };
        let first = scene.grow(1);
        scene.grow(2);
        forget(&scene.world.open().unwrap(), &[first]);
        scene
    }

    /// Changes a file and backs up.
    fn grow(&self, moment: i64) -> ObjectId {
        trees::write(&self.tree.join("changes"), &Random::new(moment as u64).bytes(200_000), moment);
        self.world.backup(Run { tree: &self.tree, moment }).unwrap().snapshot.unwrap()
    }

    /// Opens the repository as another machine does, so that `act` runs once after the next listing of packs.
    fn open(&self, act: impl Fn(&Self) + Send + Sync + 'static) -> Repository {
        let own = self.clone();
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = is_armed.clone();
        let storage = Hooked::listed(self.world.storage.clone(), move |family| {
            if family == Family::Packs && armed.swap(false, Ordering::SeqCst) {
                act(&own);
            }
        });
        let index = self.world.other_index("another machine");
        let repo = open(storage, &self.world.unlock, &index, &Silent).unwrap();
        is_armed.store(true, Ordering::SeqCst);
        repo
    }
}

/// A prune listed packs, a backup was committed, and the prune said that chunks which this snapshot needs are in no pack. Real
/// processes found it, beside one another for some seconds.
#[test]
fn a_prune_does_not_miss_the_packs_of_a_backup_that_came_since() {
    let scene = Scene::new();
    let report = prune(&scene.open(|scene| {
        scene.grow(3);
    }))
    .unwrap();
    assert_eq!(report.chunks_missing, 0, "{report:?}");
    assert!(report.packs_removed > 0, "{report:?}");
    let repo = scene.world.open_afresh();
    let newest = *snapshots(&repo).last().unwrap();
    let run = Run { tree: &scene.tree, moment: 0 };
    scene.world.assert_restores(&repo, newest, run, &Tree::read(&scene.tree));
    scene.world.assert_sound(&repo);
}

#[test]
fn a_check_does_not_miss_the_packs_of_a_backup_that_came_since() {
    let scene = Scene::new();
    let report = check(&scene.open(|scene| {
        scene.grow(3);
    }))
    .unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
}

/// A check called packs damaged that a prune had removed in the meantime: a forgotten snapshot's, listed a moment before.
#[test]
fn a_check_does_not_miss_what_a_prune_removed_since() {
    let scene = Scene::new();
    let pruned = |scene: &Scene| assert!(prune(&scene.world.open().unwrap()).unwrap().packs_removed > 0);
    let report = check(&scene.open(pruned)).unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
    // What is gone for another reason is missed all the same.
    let repo = scene.open(|scene| {
        let packs = scene.world.storage.objects().into_iter().map(|(name, _)| name);
        let pack = packs.into_iter().find(|name| name.family() == Family::Packs).unwrap();
        scene.world.storage.delete(&pack).unwrap();
    });
    assert!(!check(&repo).unwrap().is_sound());
}
