//! Prunes and repairs under way when a key epoch begins: what they have stored in segments counts all the same, and what
//! does not count goes when nobody needs it.

use super::epochs::{added, full, rotate, slot_of};
use super::epochs_left_out::Blind;
use super::witness::{NOW, look, scene};
use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::pruned::{assert_nothing_left, forget, prune, prune_with};
use crate::support::random::Random;
use crate::support::repaired::{flip, pack_names, packs};
use crate::support::trees;
use crate::support::witness::Client;
use crate::support::world::{Run, World, backup, check, open, snapshots};
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::storage::fault::FaultStorage;
use dedup_engine::storage::{Family, Name, Put, Storage, StorageError};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn is(family: Family) -> impl Fn(&Name) -> bool {
    move |name| name.family() == family
}

fn segments(world: &World) -> BTreeSet<Name> {
    let names = world.storage.objects().into_iter().map(|(name, _)| name);
    names.filter(is(Family::Segments)).collect()
}

/// Returns what a check says of segments that do not count, and of packs that are in none.
fn untold(world: &World) -> Vec<String> {
    let told = check(&world.open_afresh()).unwrap().findings.into_iter().map(|found| found.message);
    told.filter(|told| told.contains("does not count") || told.contains("in no segment")).collect()
}

/// A snapshot that stays and shares packs with one that is forgotten.
struct Aged {
    world: World,
    one: Client,
    two: Client,
    tree: PathBuf,
    kept: ObjectId,
}

impl Aged {
    fn new() -> Self {
        let (world, one, two) = scene();
        let tree = world.scratch.dir("tree");
        let random = &mut Random::new(5);
        trees::write(&tree.join("gone"), &random.bytes(60_000), 1);
        trees::write(&tree.join("kept"), &random.bytes(60_000), 2);
        let repo = two.open(world.storage.clone()).unwrap();
        let first = backup(&repo, Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
        std::fs::remove_file(tree.join("gone")).unwrap();
        let kept = backup(&repo, Run { tree: &tree, moment: 10 }).unwrap().snapshot.unwrap();
        forget(&repo, &[first]);
        drop(repo);
        Self { world, one, two, tree, kept }
    }

    /// Begins an epoch by machine one, through a storage of the test's.
    fn rotate(&self, storage: Arc<dyn Storage>) -> bool {
        let repo = self.one.look(storage).unwrap();
        repo.open_epoch(&[slot_of(&repo, "two")].into(), NOW).is_ok()
    }

    /// Everybody who was taken along reads what stays.
    fn assert_read(&self, world: &World, why: &str) {
        for client in [self.one.twin(), self.two.twin(), Client::new("new", world.unlock.clone())] {
            let repo = client.open(world.storage.clone()).unwrap();
            assert_eq!(snapshots(&repo), [self.kept], "{why}: {}", client.host);
            let run = Run { tree: &self.tree, moment: 10 };
            world.assert_restores(&repo, self.kept, run, &Tree::read(&self.tree));
            world.assert_sound(&repo);
        }
    }

    /// Lets machine two prune, whole, while machine one is about to store a new epoch and has listed the segments that
    /// will count. What the prune writes anew is in a segment that does not.
    fn pruned_in_the_gap(&self) -> Name {
        let before = segments(&self.world);
        let (storage, quick) = (self.world.storage.clone(), self.two.twin());
        let hooked = Hooked::once(self.world.storage.clone(), is(Family::Log), move || {
            prune(&quick.open(storage.clone()).unwrap()).unwrap();
        });
        assert!(self.rotate(hooked));
        let new: Vec<Name> = segments(&self.world).difference(&before).copied().collect();
        assert_eq!(new.len(), 1, "{new:?}");
        new[0]
    }
}

/// The epoch is stored when something was written anew, or when the generation is stored already; by somebody who goes on to
/// take the next generation's number, or who dies first.
fn counts_whenever_an_epoch_begins(work: fn(&Aged, &Repository)) {
    for (at, cut) in [
        (Family::Packs, false),
        (Family::Packs, true),
        (Family::Segments, true),
        (Family::Generations, false),
        (Family::Generations, true),
    ] {
        let case = format!("{at:?}, cut off: {cut}");
        let aged = Arc::new(Aged::new());
        let other = aged.clone();
        let hooked = Hooked::once(aged.world.storage.clone(), is(at), move || {
            let frozen = Arc::new(FaultStorage::new(other.world.storage.clone()));
            let inner = frozen.clone();
            let hooked = Hooked::once(frozen, is(Family::Epochs), move || {
                if cut {
                    inner.freeze_after(0);
                }
            });
            assert_eq!(other.rotate(hooked), !cut);
        });
        work(&aged, &aged.two.open(hooked).unwrap());
        let told = untold(&aged.world);
        assert!(told.iter().all(|told| told.contains("does not count")), "{case}: {told:?}");
        aged.assert_read(&aged.world, &case);
        // What was in the way goes with the next one, if this one did not begin anew.
        prune(&aged.two.open(aged.world.storage.clone()).unwrap()).unwrap();
        assert_eq!(untold(&aged.world), [""; 0], "{case}");
        aged.assert_read(&aged.world, &case);
    }
}

#[test]
fn what_a_prune_writes_anew_counts_whenever_an_epoch_begins() {
    counts_whenever_an_epoch_begins(|_, repo| {
        prune(repo).unwrap();
        assert_nothing_left(repo, "pruned");
    });
}

/// All chunks of the pack are sound; what it says of itself is not.
#[test]
fn what_a_repair_saves_counts_whenever_an_epoch_begins() {
    counts_whenever_an_epoch_begins(|aged, repo| {
        flip(&aged.world, pack_names(&aged.world, true)[0], 999);
        let (report, losses) = packs(repo);
        assert!(report.is_healed() && losses.is_empty() && report.removed == 1, "{report:?}");
    });
}

/// Between the two looks of who opens an epoch nobody can know of it: the segment is void, and its packs are found and read
/// whole, until a prune has put them into one that counts.
#[test]
fn void_segments_go_when_what_they_told_is_in_others() {
    let aged = Aged::new();
    let thief = added(&aged.world, &aged.one, "thief", full);
    let his = Client::new("thief", thief.unlock.clone());
    let slot = slot_of(&look(&thief, &aged.world), "thief");
    let stored = aged.world.storage.get_all(&Name::slot(slot), 1 << 16).unwrap();
    look(&aged.one, &aged.world).remove_slot(&slot).unwrap();
    // He, and a machine that is asleep, know the repository as it was.
    let index = aged.world.other_index("asleep");
    drop(open(aged.world.storage.clone(), &aged.two.unlock, &index, &Silent).unwrap());
    let void = aged.pruned_in_the_gap();
    assert_eq!(untold(&aged.world).len(), 2, "the segment, and the packs in none");
    aged.assert_read(&aged.world, "void");

    let repo = aged.one.open(aged.world.storage.clone()).unwrap();
    let report = prune(&repo).unwrap();
    assert_eq!((report.chunks_missing, report.packs_removed), (0, 0), "{report:?}");
    assert!(!segments(&aged.world).contains(&void));
    assert_eq!(untold(&aged.world), [""; 0]);
    let generations = look(&aged.one, &aged.world).log_state().unwrap().generation;
    prune(&repo).unwrap();
    let again = look(&aged.one, &aged.world).log_state().unwrap().generation;
    assert_eq!(again, generations, "there is nothing left to do");
    aged.assert_read(&aged.world, "removed");
    let asleep = open(aged.world.storage.clone(), &aged.two.unlock, &index, &Silent).unwrap();
    aged.world.assert_restores(
        &asleep,
        aged.kept,
        Run { tree: &aged.tree, moment: 10 },
        &Tree::read(&aged.tree),
    );
    // Who was left out has a copy of his slot, and reads what was there before: the packs are as they were.
    aged.world.storage.put(&Name::slot(slot), &stored).unwrap();
    let repo =
        open(aged.world.storage.clone(), &his.unlock, &aged.world.other_index("his"), &Silent).unwrap();
    aged.world.assert_restores(
        &repo,
        aged.kept,
        Run { tree: &aged.tree, moment: 10 },
        &Tree::read(&aged.tree),
    );
}

/// A pack of which something rots before a segment that counts names it cannot be taken up. Only the void segment makes
/// others look for it, so both stay as long as something is missing.
#[test]
fn a_void_segment_stays_while_what_it_told_is_nowhere_else() {
    let aged = Aged::new();
    let void = aged.pruned_in_the_gap();
    let repo = look(&aged.two, &aged.world);
    let told = repo.read_segment(void.object_id().unwrap()).unwrap();
    let data = told.packs.iter().max_by_key(|pack| pack.stored_len).unwrap();
    let (pack, sound) =
        (Name::pack(data.id), aged.world.storage.get_all(&Name::pack(data.id), 1 << 24).unwrap());
    flip(&aged.world, pack, 100);
    let report = prune(&aged.two.open(aged.world.storage.clone()).unwrap()).unwrap();
    assert!(report.chunks_missing > 0, "{report:?}");
    assert!(segments(&aged.world).contains(&void) && aged.world.storage.len(&pack).unwrap().is_some());
    // The disk was dying; the copy of it is read instead.
    aged.world.storage.overwrite(pack, &sound);
    aged.assert_read(&aged.world, "sound again");
    prune(&aged.two.open(aged.world.storage.clone()).unwrap()).unwrap();
    assert!(!segments(&aged.world).contains(&void));
    aged.assert_read(&aged.world, "pruned again");
}

/// A storage that hides key epochs as long as its client is asleep.
struct Sleeper {
    awake: Arc<dyn Storage>,
    asleep: Blind,
    is_awake: AtomicBool,
}

impl Sleeper {
    fn now(&self) -> &dyn Storage {
        if self.is_awake.load(Ordering::SeqCst) { &*self.awake } else { &self.asleep }
    }
}

impl Storage for Sleeper {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.now().put(name, bytes)
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        self.now().get(name, range)
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.now().get_all(name, max)
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.now().len(name)
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.now().list(family, each, foreign)
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.now().delete(name)
    }

    fn place(&self) -> String {
        self.now().place()
    }
}

/// A backup slept while an epoch began, and has stored a segment before it looks. A prune comes right then; it leaves the
/// segment alone, or takes the run for dead, which then stores again what it needs.
#[test]
fn a_void_segment_of_a_run_that_goes_on_is_its_own() {
    for fence in [false, true] {
        let (world, one, two) = scene();
        one.backup(&world, 0);
        let tree = world.scratch.dir("tree");
        trees::build_small(&tree, 5);
        let awake: Arc<dyn Storage> = world.storage.clone();
        let (asleep, is_awake) = (Blind(world.storage.clone()), AtomicBool::new(false));
        let sleeper = Arc::new(Sleeper { awake, asleep, is_awake });
        let (storage, first, wakes) = (world.storage.clone(), one.twin(), sleeper.clone());
        let hooked = Hooked::once(sleeper, is(Family::Segments), move || {
            let repo = first.open(storage.clone()).unwrap();
            prune_with(&repo, |options| options.fence_all = fence).unwrap();
            wakes.is_awake.store(true, Ordering::SeqCst);
        });
        let repo = two.open(hooked).unwrap();
        rotate(&one, &world, &["two"]);
        let run = Run { tree: &tree, moment: 10 };
        let before = segments(&world);
        let done = backup(&repo, run).unwrap();
        let again = check(&world.open_afresh()).unwrap();
        assert!(again.is_sound(), "fenced: {fence}: {again:?}");
        let new = segments(&world).difference(&before).count();
        assert_eq!(new, if fence { 1 } else { 2 }, "fenced: {fence}");
        world.assert_restores(&world.open_afresh(), done.snapshot.unwrap(), run, &Tree::read(&tree));
        prune(&one.open(world.storage.clone()).unwrap()).unwrap();
        assert_eq!(untold(&world), [""; 0], "fenced: {fence}");
        world.assert_restores(&world.open_afresh(), done.snapshot.unwrap(), run, &Tree::read(&tree));
    }
}
