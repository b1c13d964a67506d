//! A bit of memory flips between two stages of a prune that writes packs anew: one flip each run.
//!
//! What is written anew replaces what goes, so a flip must be noticed before anything is deleted, or change nothing: also
//! where a block is taken over as it is coded, and nothing is compressed that could notice.

use crate::support::budget::Budget;
use crate::support::pruned::{assert_nothing_left, forget, prune_with};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, check, restore_to_memory};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::tamper::Stage;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Every stage of a prune: it reads no files and makes no listings.
const STAGES: [Stage; 9] = [
    Stage::Block,
    Stage::Names,
    Stage::Coded,
    Stage::Sealed,
    Stage::Verified,
    Stage::Registered,
    Stage::Indexed,
    Stage::Body,
    Stage::Object,
];

/// A repository of which a part is needed no more: blocks that stay whole, and such as do not.
struct Case {
    world: World,
    kept: ObjectId,
    expected: BTreeMap<StoredPath, Vec<u8>>,
}

impl Case {
    fn new() -> Self {
        let world = World::new();
        let tree = world.scratch.dir("tree");
        let random = &mut Random::new(21);
        trees::write(&tree.join("a text"), &random.text(200_000), 1);
        trees::write(&tree.join("b gone"), &random.text(20_000), 2);
        trees::write(&tree.join("c noise"), &random.bytes(500_000), 3);
        trees::write(&tree.join("d gone"), &random.bytes(20_000), 4);
        let run = Run { tree: &tree, moment: 0 };
        let first = world.backup(run).unwrap().snapshot.unwrap();
        std::fs::remove_file(tree.join("b gone")).unwrap();
        std::fs::remove_file(tree.join("d gone")).unwrap();
        let kept = world.backup(Run { moment: 10, ..run }).unwrap().snapshot.unwrap();
        let repo = world.open().unwrap();
        forget(&repo, &[first]);
        let expected = restore_to_memory(&repo, kept).unwrap().0;
        Self { world, kept, expected }
    }

    /// Prunes while `flip` sees all that is handed on. Returns whether it noticed anything: it fails, and at once. Once it
    /// began anew where it had removed something before, as if the generation of that were somebody else's.
    fn prune(&self, world: &World, flip: impl Fn(Stage, &mut [u8]) + Send + Sync + 'static) -> bool {
        let mut repo = world.open().unwrap();
        repo.tamper_with(Arc::new(flip));
        prune_with(&repo, |_| {}).map_or(true, |report| {
            assert_eq!(report.restarts, 0, "nobody else was at work");
            report.packs_damaged > 0
        })
    }

    /// Returns how many bytes each stage hands on in an undisturbed prune.
    fn bytes(&self) -> BTreeMap<Stage, u64> {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let count = seen.clone();
        let noticed = self.prune(&self.world.fork(), move |stage, bytes| {
            *count.lock().unwrap().entry(stage).or_default() += bytes.len() as u64;
        });
        assert!(!noticed);
        seen.lock().unwrap().clone()
    }
}

#[test]
fn flips_of_memory_in_a_prune_lose_nothing() {
    let case = Case::new();
    let bytes = case.bytes();
    assert_eq!(bytes.keys().copied().collect::<Vec<_>>(), STAGES, "{bytes:?}");
    // What goes touches four blocks of 64 KiB at most, and about 600 kB stay.
    assert!(bytes[&Stage::Block] * 3 < bytes[&Stage::Coded] * 2, "nothing is taken over: {bytes:?}");
    let budget = Budget::of("R13 flips of memory in a prune", 36, 1_800);
    let mut outcomes: BTreeMap<Stage, [u64; 2]> = BTreeMap::new();
    budget.each(|number, random| {
        let stage = STAGES[(number % STAGES.len() as u64) as usize];
        let (at, bit) = (random.below(bytes[&stage]), random.below(8));
        let context = format!("{stage:?}, bit {bit} of byte {at}");
        let world = case.world.fork();
        let state = Arc::new(Mutex::new((at, false)));
        let shared = state.clone();
        let noticed = case.prune(&world, move |here, bytes| {
            let (left, flipped) = &mut *shared.lock().unwrap();
            if here != stage || *flipped {
                return;
            }
            match bytes.get_mut(usize::try_from(*left).unwrap()) {
                Some(byte) => (*byte, *flipped) = (*byte ^ 1 << bit, true),
                None => *left -= bytes.len() as u64,
            }
        });
        assert!(!noticed || state.lock().unwrap().1, "{context}: the prune failed of itself");
        outcomes.entry(stage).or_default()[usize::from(noticed)] += 1;
        let holds = |world: &World, when: &str| {
            let repo = world.open_afresh();
            let report = check(&repo).unwrap();
            assert!(report.is_sound(), "{context}, {when}: {:#?}", report.findings);
            let (files, report) = restore_to_memory(&repo, case.kept).unwrap();
            assert_eq!(report.problems_total, 0, "{context}, {when}");
            assert!(files == case.expected, "{context}, {when}: it restores otherwise");
            repo
        };
        let repo = holds(&world, "after the flip");
        // The next prune finishes what it finds.
        prune_with(&repo, |options| options.fence_all = true).unwrap();
        assert_nothing_left(&holds(&world, "after the next prune"), &context);
    });
    let sum = |noticed: usize| outcomes.values().map(|outcome| outcome[noticed]).sum::<u64>();
    budget.tell(&format!("{} were noticed, {} changed nothing, 0 lost anything", sum(1), sum(0)));
    for stage in STAGES.iter().filter(|_| budget.cases() >= 36) {
        let [harmless, noticed] = outcomes[stage];
        println!("  {stage:?}: {noticed} noticed, {harmless} harmless");
        assert!(noticed > 0, "{stage:?} is never hit");
    }
    assert!(budget.cases() < 36 || sum(1) > 2 * sum(0), "hardly anything is hit");
}
