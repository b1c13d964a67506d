//! A backup beside a prune that condemns, fences and removes: `engine/FORMAT.md` 13, 14 and 20, in code.
//!
//! The prune is played by the test, which writes a prune's objects at the moments that matter, and then
//! carries out what it condemned: whatever a snapshot needed of it is gone for good.

use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{NO_KDF, Run, World, backup, open, open_keys, small_chunks, snapshots};
use dedup_engine::backup::{BackupError, BackupReport};
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::progress::Silent;
use dedup_engine::repo::control::{Condemned, Generation, Verdict};
use dedup_engine::repo::{Repository, Settings};
use dedup_engine::storage::{Family, Name, Part, Storage};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const PRUNE: SessionId = SessionId::from_bytes([0xEE; 16]);

/// A repository with one snapshot of a tree that is to be backed up again.
struct Scene {
    world: World,
    tree: PathBuf,
    first: ObjectId,
    now: Tree,
    /// A second opening of the repository, with which the prune writes.
    prune: Arc<Repository>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        trees::build_all_kinds(&tree, seed);
        let first = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
        trees::change(&tree, seed);
        let prune = Arc::new(open_keys(world.storage.clone(), &world.unlock).unwrap());
        Self { now: Tree::read(&tree), world, tree, first, prune }
    }

    fn ids(&self, family: Family) -> Vec<ObjectId> {
        let names = self.world.storage.objects().into_iter().map(|(name, _)| name);
        names.filter(|name| name.family() == family).filter_map(|name| name.object_id()).collect()
    }

    /// A set that names every pack there is.
    fn all_packs(&self) -> Condemned {
        Condemned {
            number: 1,
            base: 0,
            session: Some(PRUNE),
            packs: self.ids(Family::Packs),
            segments: Vec::new(),
            snapshots: Vec::new(),
        }
    }

    /// Backs up while `prune` does something after each object that is stored.
    fn backup(
        &self,
        moment: i64,
        prune: impl Fn(&Name) + Send + Sync + 'static,
    ) -> Result<BackupReport, BackupError> {
        let storage = Hooked::new(self.world.storage.clone(), Box::new(prune));
        let repo = open(storage, &self.world.unlock, &self.world.index(), &Silent)?;
        backup(&repo, Run { tree: &self.tree, moment })
    }

    /// Removes what was condemned, as the prune would, and snapshots whose packs go.
    fn carry_out(&self, condemned: &Condemned, snapshots: &[ObjectId]) {
        let storage = &self.world.storage;
        let mut retired = self.prune.snapshots().unwrap();
        retired.retain(|(id, _)| snapshots.contains(id));
        let mut removed_segments = condemned.segments.clone();
        for segment in self.ids(Family::Segments) {
            let packs = self.prune.read_segment(segment).unwrap().packs;
            if packs.iter().all(|pack| condemned.packs.contains(&pack.id)) {
                removed_segments.push(segment);
            }
        }
        removed_segments.sort();
        removed_segments.dedup();
        self.prune
            .publish_generation(Generation {
                number: 1,
                condemned: condemned.number,
                previous: ObjectId::from_bytes([0; 32]),
                session: PRUNE,
                packs: condemned.packs.clone(),
                segments: removed_segments.clone(),
                snapshots: snapshots.to_vec(),
                parity: Vec::new(),
                retired: retired.iter().map(|(_, snapshot)| snapshot.session).collect(),
                public_key: [0; 32],
                signature: [0; 64],
            })
            .unwrap();
        condemned.packs.iter().for_each(|id| storage.delete(&Name::pack(*id)).unwrap());
        removed_segments.iter().for_each(|id| storage.delete(&Name::segment(*id)).unwrap());
        snapshots.iter().for_each(|id| storage.delete(&Name::snapshot(*id)).unwrap());
    }

    /// The new snapshot restores, from the index of this machine and from one made anew.
    fn assert_restores(&self, report: &BackupReport) {
        let snapshot = report.snapshot.unwrap();
        for repo in [self.world.open().unwrap(), self.world.open_afresh()] {
            assert!(snapshots(&repo).contains(&snapshot));
            self.world.assert_restores(&repo, snapshot, Run { tree: &self.tree, moment: 0 }, &self.now);
            self.world.assert_sound(&repo);
        }
    }
}

/// A prune condemned every pack before the run began; the parent may stay or go.
///
/// With a parent, every run once failed for as long as the set stood, however often it stored everything
/// anew: a killed prune would have ended all backups.
#[test]
fn chunks_in_condemned_packs_are_stored_anew() {
    for parent_goes in [true, false] {
        let scene = Scene::new(50);
        let mut condemned = scene.all_packs();
        condemned.snapshots.extend(Some(scene.first).filter(|_| parent_goes));
        scene.prune.publish_condemned(&condemned).unwrap();
        let report = scene.backup(10, |_| {}).unwrap();
        assert_eq!(report.parent, Some(scene.first).filter(|_| !parent_goes));
        scene.carry_out(&condemned, &[scene.first]);
        scene.assert_restores(&report);
    }
}

/// A prune died and left its condemned set for ever: backups go on, and the second finds its own packs good.
#[test]
fn a_dead_prune_hinders_no_backup() {
    let scene = Scene::new(51);
    let condemned = scene.all_packs();
    scene.prune.publish_condemned(&condemned).unwrap();
    let second = scene.backup(10, |_| {}).unwrap();
    let third = scene.backup(20, |_| {}).unwrap();
    assert!(second.totals.chunks_new > 100 && third.totals.chunks_new < 10, "{:?}", third.totals);
    assert!(third.totals.files_unmodified > 10, "{:?}", third.totals);
    scene.carry_out(&condemned, &[scene.first]);
    scene.assert_restores(&second);
    scene.assert_restores(&third);
}

/// The set appears after the run has decided what to rely on, just before it looks again.
#[test]
fn a_set_that_appears_after_the_intent_is_heeded() {
    let scene = Scene::new(52);
    let condemned = scene.all_packs();
    let (prune, set) = (scene.prune.clone(), condemned.clone());
    let report = scene.backup(10, move |name| {
        if matches!(name, Name::Session(_, Part::Intent(1))) {
            prune.publish_condemned(&set).unwrap();
        }
    });
    let report = report.unwrap();
    scene.carry_out(&condemned, &[scene.first]);
    scene.assert_restores(&report);
}

/// The prune saw packs of the running backup, which nothing referred to yet, and condemned them.
///
/// The run stored everything anew and went on naming the packs it had given up, so it never got through.
#[test]
fn a_run_whose_own_packs_are_condemned_stores_them_anew() {
    for name_segments in [false, true] {
        let scene = Scene::new(53);
        let before = [scene.ids(Family::Packs), scene.ids(Family::Segments)].concat();
        let (prune, storage) = (scene.prune.clone(), scene.world.storage.clone());
        let published =
            Arc::new(Mutex::new(Condemned { number: 1, session: Some(PRUNE), ..Default::default() }));
        let publish = published.clone();
        let report = scene.backup(10, move |name| {
            if matches!(name, Name::Session(_, Part::Intent(1))) {
                let mut set = publish.lock().unwrap();
                for (name, _) in storage.objects() {
                    let Some(id) = name.object_id().filter(|id| !before.contains(id)) else { continue };
                    match name.family() {
                        Family::Packs => set.packs.push(id),
                        Family::Segments => set.segments.push(id),
                        _ => {}
                    }
                }
                assert!(!set.packs.is_empty() && !set.segments.is_empty());
                let mut told = set.clone();
                if name_segments {
                    // Their packs are in no segment any more, and go with the next prune.
                    told.packs.clear();
                } else {
                    told.segments.clear();
                }
                prune.publish_condemned(&told).unwrap();
            }
        });
        let report = report.unwrap();
        scene.carry_out(&published.lock().unwrap(), &[]);
        scene.assert_restores(&report);
        assert_eq!(snapshots(&scene.world.open().unwrap()).len(), 2);
    }
}

/// Returns a hook that fences the session of the next snapshot that is stored, `times` times.
fn fence(scene: &Scene, times: usize, set: Option<Condemned>) -> impl Fn(&Name) + Send + Sync + 'static {
    let (prune, storage, fenced) = (scene.prune.clone(), scene.world.storage.clone(), AtomicUsize::new(0));
    move |name| {
        if !matches!(name, Name::Snapshot(_)) || fenced.fetch_add(1, Ordering::Relaxed) >= times {
            return;
        }
        if let Some(set) = &set {
            prune.publish_condemned(set).unwrap();
        }
        let all = storage.objects();
        let ended = |id| storage.len(&Name::end(id)).unwrap().is_some();
        for (name, _) in &all {
            if let Name::Session(id, Part::Begin) = name
                && !ended(*id)
            {
                prune.end_session(*id, Verdict::Fenced(1)).unwrap();
            }
        }
    }
}

#[test]
fn a_fenced_run_begins_a_new_session_and_commits() {
    for times in [1, 3] {
        let scene = Scene::new(54);
        let report = scene.backup(10, fence(&scene, times, None)).unwrap();
        scene.assert_restores(&report);
        let repo = scene.world.open().unwrap();
        assert_eq!(snapshots(&repo), [scene.first, report.snapshot.unwrap()]);
        assert_eq!(scene.ids(Family::Snapshots).len(), 2 + times, "what was fenced counts for nobody");
    }
}

/// A prune fences whose intent names what is to go. The run once gave up then, though it could store that
/// anew.
#[test]
fn a_fenced_run_whose_packs_are_condemned_stores_them_anew() {
    let scene = Scene::new(55);
    let condemned = scene.all_packs();
    let report = scene.backup(10, fence(&scene, 1, Some(condemned.clone()))).unwrap();
    scene.carry_out(&condemned, &[scene.first]);
    scene.assert_restores(&report);
}

/// Fenced without end: the run gives up and says so, and the next one succeeds.
#[test]
fn a_run_that_is_always_fenced_says_so() {
    let scene = Scene::new(56);
    let error = scene.backup(10, fence(&scene, usize::MAX, None)).unwrap_err();
    assert!(matches!(error, BackupError::Overtaken), "{error}");
    let report = scene.backup(20, |_| {}).unwrap();
    scene.assert_restores(&report);
    assert_eq!(snapshots(&scene.world.open().unwrap()).len(), 2);
}

/// An intent must name every pack that the new snapshot needs, or a prune takes it: also the packs of the
/// lists that a large unchanged file consists of. Those were once relied on without a word.
#[test]
fn intents_name_every_pack_that_is_relied_on() {
    let world = World::without_repository();
    // All entries are in one node of the listing, so that the first run's pack of listings is needed for
    // nothing but the lists.
    let settings = Settings { leaf_target: 16 << 10, ..small_chunks() };
    let storage: Arc<dyn Storage> = world.storage.clone();
    drop(Repository::create(storage, &world.unlock, &NO_KDF, "", &settings, 0).unwrap());
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("large"), &Random::new(1).bytes(4 << 20), 1);
    trees::write(&tree.join("small"), b"before", 2);
    world.backup(Run { tree: &tree, moment: 0 }).unwrap();
    trees::write(&tree.join("small"), b"after", 3);
    let now = Tree::read(&tree);
    let report = world.backup(Run { tree: &tree, moment: 10 }).unwrap();
    assert_eq!(report.totals.files_unmodified, 1, "{:?}", report.totals);

    let repo = world.open().unwrap();
    let session = repo.snapshots().unwrap().pop().unwrap().1.session;
    let intent = repo.read_intent(session, 1).unwrap();
    assert!(intent.is_final);
    // Without the packs that it does not name, the snapshot restores all the same.
    let named = [intent.packs, intent.own_packs].concat();
    for (name, _) in world.storage.objects() {
        if name.family() == Family::Packs && name.object_id().is_none_or(|id| !named.contains(&id)) {
            world.storage.delete(&name).unwrap();
        }
    }
    let repo = world.open_afresh();
    world.assert_restores(&repo, report.snapshot.unwrap(), Run { tree: &tree, moment: 0 }, &now);
}

/// A generation retires the session right after it committed: the snapshot is gone, and the run says so.
#[test]
fn a_run_that_was_retired_does_not_claim_success() {
    let scene = Scene::new(58);
    let prune = scene.prune.clone();
    let result = scene.backup(10, move |name| {
        if let Name::Session(id, Part::End) = name {
            prune
                .publish_generation(Generation {
                    number: 1,
                    condemned: 1,
                    previous: ObjectId::from_bytes([0; 32]),
                    session: PRUNE,
                    packs: Vec::new(),
                    segments: Vec::new(),
                    snapshots: Vec::new(),
                    parity: Vec::new(),
                    retired: vec![*id],
                    public_key: [0; 32],
                    signature: [0; 64],
                })
                .unwrap();
        }
    });
    assert!(result.is_err());
    assert_eq!(snapshots(&scene.world.open().unwrap()), [scene.first]);
}
