//! Random operations beside a naive model that knows segments and generations and nothing else.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Packs 0..PACKS, pack p holding the chunks p*STEP..p*STEP+LEN: neighbours share chunks.
const PACKS: u64 = 12;
const STEP: u64 = 20;
const LEN: u64 = 30;
const SEGMENTS: u64 = 10;

/// Segment s names packs s, s+1 and s+5: each pack is named by several.
fn packs_of(segment: u64) -> [u64; 3] {
    [segment % PACKS, (segment + 1) % PACKS, (segment + 5) % PACKS]
}

fn the_pack(number: u64) -> SegmentPack {
    pack(number, number * STEP..number * STEP + LEN)
}

fn segment_id(number: u64) -> ObjectId {
    object_id(1000 + number)
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<u64>),
    Generation { packs: Vec<u64>, segments: Vec<u64> },
    Reconcile { vanished: Vec<u64> },
    Reopen,
    Tidy,
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let few = |max| proptest::collection::vec(0..max, 0..4);
    let step = prop_oneof![
        6 => few(SEGMENTS).prop_map(Step::Apply),
        2 => (few(PACKS), few(SEGMENTS)).prop_map(|(packs, segments)| Step::Generation { packs, segments }),
        2 => few(SEGMENTS).prop_map(|vanished| Step::Reconcile { vanished }),
        2 => Just(Step::Reopen),
        1 => Just(Step::Tidy),
        1 => Just(Step::Rebuild),
    ];
    proptest::collection::vec(step, 1..24)
}

#[derive(Default)]
struct Model {
    applied: BTreeSet<u64>,
    alive: BTreeSet<u64>,
    removed_segments: BTreeSet<u64>,
    removed_packs: BTreeSet<u64>,
    generations: Vec<(Vec<ObjectId>, Vec<ObjectId>)>,
}

impl Model {
    fn apply(&mut self, segment: u64) {
        if !self.removed_segments.contains(&segment) && self.applied.insert(segment) {
            self.alive.extend(packs_of(segment).iter().filter(|pack| !self.removed_packs.contains(pack)));
        }
    }

    fn vanish(&mut self, vanished: &[u64]) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let dropped: BTreeSet<_> = self.applied.iter().filter(|s| vanished.contains(s)).copied().collect();
        self.applied.retain(|segment| !dropped.contains(segment));
        let kept: BTreeSet<_> = self.applied.iter().flat_map(|segment| packs_of(*segment)).collect();
        let of_dropped: BTreeSet<_> = dropped.iter().flat_map(|segment| packs_of(*segment)).collect();
        let ended =
            self.alive.iter().filter(|p| of_dropped.contains(p) && !kept.contains(p)).copied().collect();
        self.alive = self.alive.difference(&ended).copied().collect();
        (dropped, ended)
    }

    fn mark(&self) -> Option<GenerationMark> {
        let number = self.generations.len() as u64;
        (number > 0).then(|| GenerationMark { number, id: object_id(5000 + number) })
    }

    fn apply_generation_to(&self, index: &Index, number: u64) {
        let (packs, segments) = &self.generations[number as usize - 1];
        let previous = if number == 1 { ObjectId::from_bytes([0; 32]) } else { object_id(5000 + number - 1) };
        let mark = GenerationMark { number, id: object_id(5000 + number) };
        index.apply_generation(&Generation { mark, previous, packs, segments }).unwrap();
    }

    fn compare(&self, index: &Index) {
        let ids: Vec<_> = (0..PACKS * STEP + LEN + 5).map(chunk_id).collect();
        let found = index.lookup_many(&ids).unwrap();
        for (chunk, found) in (0..).zip(found) {
            let holders: BTreeMap<_, _> = self
                .alive
                .iter()
                .filter(|pack| (**pack * STEP..**pack * STEP + LEN).contains(&chunk))
                .map(|pack| (object_id(*pack), the_pack(*pack)))
                .collect();
            let copies = index.copies(&chunk_id(chunk)).unwrap();
            assert_eq!(copies.len(), holders.len(), "copies of chunk {chunk}");
            assert_eq!(found.is_some(), !holders.is_empty(), "chunk {chunk}");
            assert_eq!(index.lookup(&chunk_id(chunk)).unwrap().is_some(), found.is_some());
            for location in copies.into_iter().chain(found) {
                let id = index.pack(location.pack).unwrap().expect("alive").id;
                assert_lies_there(index, &holders[&id], chunk, location);
            }
        }
        for number in 0..PACKS {
            let alive = index.pack_number(&object_id(number)).unwrap();
            assert_eq!(alive.is_some(), self.alive.contains(&number));
            assert_eq!(index.is_removed(&object_id(number)).unwrap(), self.removed_packs.contains(&number));
        }
        assert_eq!(index.generation().unwrap(), self.mark());
        assert_eq!(index.statistics().unwrap().packs, self.alive.len() as u64);
    }
}

fn apply(index: &Index, segments: &[u64]) {
    let packs: Vec<Vec<_>> = segments.iter().map(|s| packs_of(*s).map(the_pack).into()).collect();
    let given: Vec<_> = segments.iter().zip(&packs).map(|(s, packs)| (segment_id(*s), &packs[..])).collect();
    index.apply_segments(&given).unwrap();
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), &settings()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Apply(segments) => {
                apply(&index, &segments);
                segments.iter().for_each(|segment| model.apply(*segment));
            }
            Step::Generation { packs, segments } => {
                model.generations.push((
                    packs.iter().map(|pack| object_id(*pack)).collect(),
                    segments.iter().map(|segment| segment_id(*segment)).collect(),
                ));
                let number = model.generations.len() as u64;
                model.apply_generation_to(&index, number);
                model.apply_generation_to(&index, number);
                model.alive.retain(|pack| !packs.contains(pack));
                model.applied.retain(|segment| !segments.contains(segment));
                model.removed_packs.extend(packs);
                model.removed_segments.extend(segments);
            }
            Step::Reconcile { vanished } => {
                let listed: BTreeSet<_> =
                    (0..SEGMENTS).filter(|s| !vanished.contains(s)).map(segment_id).collect();
                let found = index.reconcile(listed, model.mark()).unwrap();
                let (dropped, ended) = model.vanish(&vanished);
                let ids =
                    |segments: BTreeSet<u64>| segments.into_iter().map(segment_id).collect::<BTreeSet<_>>();
                let missing = |s: &u64| {
                    !(vanished.contains(s) || model.applied.contains(s) || model.removed_segments.contains(s))
                };
                assert_eq!(found.dropped, ids(dropped).into_iter().collect::<Vec<_>>());
                assert_eq!(found.dropped_packs, ended.len() as u64);
                let expected = ids((0..SEGMENTS).filter(missing).collect());
                assert_eq!(found.to_apply, expected.into_iter().collect::<Vec<_>>());
            }
            Step::Reopen => {
                drop(index);
                index = Index::open(dir.path(), &settings()).unwrap();
                assert_eq!(index.origin(), &Origin::Kept);
            }
            Step::Tidy => index.tidy().unwrap(),
            Step::Rebuild => {
                let applied: Vec<_> = model.applied.iter().copied().collect();
                let rebuilt = index.rebuild(|fresh| {
                    (1..=model.generations.len() as u64).for_each(|n| model.apply_generation_to(fresh, n));
                    apply(fresh, &applied);
                    Ok::<_, IndexError>(())
                });
                index = rebuilt.unwrap();
                // Packs whose segment a generation removed come back only by another segment.
                let named: BTreeSet<_> = applied.iter().flat_map(|segment| packs_of(*segment)).collect();
                model.alive.retain(|pack| named.contains(pack));
            }
        }
        model.compare(&index);
    }
    // Everything survives, also that nothing is vouched for that should not be.
    drop(index);
    model.compare(&Index::open(dir.path(), &settings()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_history_answers_like_the_model(steps in steps()) {
        run(steps);
    }
}

#[test]
fn generations_out_of_order_or_of_another_history_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let zeros = ObjectId::from_bytes([0; 32]);
    let mark = |number, id| GenerationMark { number, id: object_id(id) };
    let give =
        |mark, previous| index.apply_generation(&Generation { mark, previous, packs: &[], segments: &[] });
    assert!(matches!(give(mark(2, 2), zeros), Err(IndexError::GenerationGap { applied: 0, given: 2 })));
    give(mark(1, 1), zeros).unwrap();
    give(mark(2, 2), object_id(1)).unwrap();
    give(mark(1, 1), zeros).unwrap();
    assert!(give(mark(2, 9), object_id(1)).unwrap_err().wants_rebuild());
    assert!(give(mark(3, 3), object_id(9)).unwrap_err().wants_rebuild());
    for newest in [None, Some(mark(1, 1)), Some(mark(2, 9))] {
        assert!(matches!(index.reconcile([], newest), Err(IndexError::OtherHistory { index: 2, .. })));
    }
    assert!(matches!(index.reconcile([], Some(mark(3, 3))), Err(IndexError::GenerationGap { .. })));
    assert_eq!(index.reconcile([], Some(mark(2, 2))).unwrap(), Reconciled::default());
    let twice = [object_id(1), object_id(1)];
    assert!(matches!(index.reconcile(twice, Some(mark(2, 2))), Err(IndexError::Unsorted { .. })));
}

#[test]
fn a_chunk_twice_in_one_pack_and_an_empty_segment_are_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let twice = pack(1, [5, 6, 5]);
    index.apply_segment(object_id(10), std::slice::from_ref(&twice)).unwrap();
    index.apply_segment(object_id(11), &[]).unwrap();
    let copies = index.copies(&chunk_id(5)).unwrap();
    assert_eq!(copies.len(), 1);
    assert_lies_there(&index, &twice, 5, copies[0]);
    let mut listed = [object_id(10), object_id(11)];
    listed.sort_unstable();
    assert_eq!(index.reconcile(listed, None).unwrap(), Reconciled::default());
}

#[test]
fn a_pack_of_very_many_chunks_is_looked_up_in_memory_and_ends_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &Settings { memory_bytes: 16 << 20, ..settings() }).unwrap();
    let packs = [pack(0, 0..10_000), pack(1, 10_000..20_000)];
    index.apply_segment(object_id(100), &packs[..1]).unwrap();
    index.apply_segment(object_id(101), &packs[1..]).unwrap();
    let in_memory = |chunk| lock(&index.neighbours).find(&chunk_id(chunk)).is_some();
    assert!(!in_memory(9_999));
    for chunk in (0..20_000).step_by(7) {
        let location = index.lookup(&chunk_id(chunk)).unwrap().expect("stored");
        if chunk % 700 == 0 {
            assert_lies_there(&index, &packs[chunk as usize / 10_000], chunk, location);
        }
    }
    assert!(in_memory(9_999) && in_memory(19_999));
    assert_eq!(index.reconcile([object_id(101)], None).unwrap().dropped_packs, 1);
    for chunk in (0..20_000).step_by(7) {
        assert_eq!(index.lookup(&chunk_id(chunk)).unwrap().is_some(), chunk >= 10_000, "{chunk}");
    }
}

#[test]
fn many_threads_look_up_while_segments_come_and_packs_go() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let lasting = pack(0, 0..300);
    index.apply_segment(object_id(100), std::slice::from_ref(&lasting)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (index, lasting) = (&index, &lasting);
            scope.spawn(move || {
                let ids: Vec<_> = (thread * 50..thread * 50 + 150).map(chunk_id).collect();
                for _ in 0..300 {
                    let found = index.lookup_many(&ids).unwrap();
                    assert!(found.iter().all(Option::is_some));
                }
                let location = index.lookup(&chunk_id(7)).unwrap().unwrap();
                assert_lies_there(index, lasting, 7, location);
            });
        }
        for number in 1..12 {
            index.apply_segment(object_id(100 + number), &[pack(number, 100..200 + number)]).unwrap();
            let listed = [object_id(100)];
            assert_eq!(index.reconcile(listed, None).unwrap().dropped_packs, 1);
        }
    });
    assert_eq!(index.copies(&chunk_id(150)).unwrap().len(), 1);
}
