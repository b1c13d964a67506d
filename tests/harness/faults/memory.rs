//! A bit of memory flips between two stages of a backup: one flip each run.
//!
//! From the moment in which a chunk has a name to the moment in which the system has taken the bytes, a flip must
//! end the run, or change nothing. Before it has a name nobody can tell: there is nothing to compare with.

use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{Run, World, backup, check, restore_to_memory, snapshots};
use crate::support::{Scratch, trees};
use dedup_engine::listing::StoredPath;
use dedup_engine::tamper::Stage;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Every stage, and whether a flip there is found before anything refers to it.
const STAGES: [(Stage, bool); 11] = [
    // The file's bytes, or those of a listing: their first hash is made of what the flip left.
    (Stage::Chunk, false),
    (Stage::Content, true),
    (Stage::Block, true),
    (Stage::Names, true),
    (Stage::Coded, true),
    (Stage::Sealed, true),
    (Stage::Verified, true),
    (Stage::Registered, true),
    (Stage::Indexed, true),
    (Stage::Body, true),
    (Stage::Object, true),
];

/// What came of flips at one stage.
#[derive(Default)]
struct Outcome {
    ended: u64,
    harmless: u64,
    /// Committed, and only `check` or a restore tells.
    told_later: u64,
    /// Committed, and nobody tells.
    silent: u64,
}

/// A repository with one snapshot, and a tree that changed since.
struct Case {
    world: World,
    tree: Scratch,
    oracle: Oracle,
    expected: BTreeMap<StoredPath, Vec<u8>>,
}

impl Case {
    fn new() -> Self {
        let tree = Scratch::in_memory();
        let root = tree.path("");
        let random = &mut Random::new(13);
        for number in 0..4 {
            trees::write(&root.join(format!("text {number}")), &random.text(900), number);
        }
        trees::write(&root.join("noise"), &random.bytes(9000), 5);
        let world = World::new();
        let run = Run { tree: &root, moment: 0 };
        let first = world.backup(run).unwrap().snapshot.unwrap();
        let mut oracle = Oracle::new(world.unlock.clone());
        oracle.commit(first, &root, Arc::new(Tree::read(&root)));
        trees::write(&root.join("text 1"), &random.text(5000), 50);
        trees::write(&root.join("new"), &random.bytes(3000), 51);
        let other = world.fork();
        let second = other.backup(Run { moment: 10, ..run }).unwrap().snapshot.unwrap();
        let expected = restore_to_memory(&other.open().unwrap(), second).unwrap().0;
        Self { world, tree, oracle, expected }
    }

    /// Backs up while `flip` sees all that is handed on.
    fn backup(&self, world: &World, flip: impl Fn(Stage, &mut [u8]) + Send + Sync + 'static) -> bool {
        let mut repo = world.open().unwrap();
        repo.tamper_with(Arc::new(flip));
        let tree = self.tree.path("");
        backup(&repo, Run { tree: &tree, moment: 10 }).is_ok()
    }

    /// Returns how many bytes each stage hands on in an undisturbed run.
    fn bytes(&self) -> BTreeMap<Stage, u64> {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let count = seen.clone();
        let done = self.backup(&self.world.fork(), move |stage, bytes| {
            *count.lock().unwrap().entry(stage).or_default() += bytes.len() as u64;
        });
        assert!(done);
        seen.lock().unwrap().clone()
    }

    /// Flips a bit of the byte that is the `at`-th of a stage; what a run finds of it is up to its threads.
    fn flip(&self, world: &World, stage: Stage, at: u64, bit: u64) -> (bool, bool) {
        let state = Arc::new(Mutex::new((at, false)));
        let shared = state.clone();
        let done = self.backup(world, move |here, bytes| {
            let (left, flipped) = &mut *shared.lock().unwrap();
            if here != stage || *flipped {
                return;
            }
            match bytes.get_mut(usize::try_from(*left).unwrap()) {
                Some(byte) => (*byte, *flipped) = (*byte ^ 1 << bit, true),
                None => *left -= bytes.len() as u64,
            }
        });
        let flipped = state.lock().unwrap().1;
        (done, flipped)
    }
}

#[test]
fn flips_of_memory_never_reach_a_snapshot_once_a_chunk_is_named() {
    let case = Case::new();
    let bytes = case.bytes();
    assert_eq!(bytes.len(), STAGES.len(), "a stage hands on nothing: {bytes:?}");
    let root = case.tree.path("");
    let budget = Budget::of("R13 flips of memory", 220, 11_000);
    let mut outcomes: BTreeMap<Stage, Outcome> = BTreeMap::new();
    budget.each(|number, random| {
        let (stage, is_found) = STAGES[(number % STAGES.len() as u64) as usize];
        // As many of each stage: most bytes are in a few of them. Padding makes some runs shorter.
        let (at, bit) = (random.below(bytes[&stage]), random.below(8));
        let context = format!("{stage:?}, bit {bit} of byte {at}");
        let world = case.world.fork();
        let (done, flipped) = case.flip(&world, stage, at, bit);
        let outcome = outcomes.entry(stage).or_default();
        if !done {
            assert!(flipped, "{context}: the run failed of itself");
            outcome.ended += 1;
            // Nothing is left of it that anybody could stumble over. Its snapshot may be there, whole: the entry in the log
            // comes after the commit.
            if number % 7 == 0 {
                let index = if random.below(2) == 0 { world.index() } else { world.other_index("lost") };
                let found = Found { storage: world.storage.clone(), index: &index };
                let next = Run { tree: &root, moment: 20 };
                let tree = Some(Arc::new(Tree::read(&root)));
                case.oracle.judge(found, &Disturbed { tree, ..Disturbed::default() }, next, &context);
            }
            return;
        }
        let repo = world.open_afresh();
        let is_sound = check(&repo).is_ok_and(|report| report.is_sound());
        let restored = snapshots(&repo).pop().and_then(|id| restore_to_memory(&repo, id).ok());
        let is_right = |(files, report): &(BTreeMap<_, _>, dedup_engine::restore::RestoreReport)| {
            *files == case.expected && report.problems_total == 0
        };
        match (is_sound, restored.as_ref().is_some_and(is_right)) {
            (true, true) => outcome.harmless += 1,
            (true, false) => outcome.silent += 1,
            (false, _) => outcome.told_later += 1,
        }
        let is_kept = outcome.silent + outcome.told_later == 0;
        assert!(!is_found || is_kept, "{context}: it reached a committed snapshot");
    });
    let sum = |count: fn(&Outcome) -> u64, found: bool| -> u64 {
        let of = STAGES.iter().filter(|(_, is_found)| *is_found == found);
        of.filter_map(|(stage, _)| outcomes.get(stage)).map(count).sum()
    };
    budget.tell(&format!(
        "{} flips after naming: {} ended the run, {} changed nothing, 0 committed; \
         {} before it, which nobody can tell: {} committed",
        sum(|outcome| outcome.ended, true) + sum(|outcome| outcome.harmless, true),
        sum(|outcome| outcome.ended, true),
        sum(|outcome| outcome.harmless, true),
        sum(|outcome| outcome.ended + outcome.harmless + outcome.silent + outcome.told_later, false),
        sum(|outcome| outcome.silent + outcome.told_later, false),
    ));
    for (stage, is_found) in STAGES.iter().filter(|_| budget.cases() >= 220) {
        let outcome = &outcomes[stage];
        println!("  {stage:?}: {} ended, {} harmless", outcome.ended, outcome.harmless);
        assert!(!is_found || outcome.ended > outcome.harmless, "{stage:?} is hardly ever hit");
    }
}
