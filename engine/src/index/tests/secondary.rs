//! A second process sees what the owner had, keeps its own findings to itself, and leaves nothing behind.
//! Locks belong to open files, so two indexes of one process hold them against each other like two
//! processes do.

use super::*;
use std::path::Path;

fn scratch_folders(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| {
            entry.file_name().to_str().unwrap().starts_with("scratch-") && entry.file_type().unwrap().is_dir()
        })
        .count()
}

fn has(index: &Index, chunk: u64) -> bool {
    index.lookup(&chunk_id(chunk)).unwrap().is_some()
}

#[test]
fn a_second_process_works_beside_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    let packs: Vec<_> = (0..4).map(|number| pack(number, number * 100..number * 100 + 100)).collect();
    owner.apply_segment(object_id(100), &packs[..2]).unwrap();

    let second = Index::open(dir.path(), &settings()).unwrap();
    let third = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!((owner.role(), second.role(), third.role()), (Role::Owner, Role::Secondary, Role::Secondary));
    assert_eq!((second.origin(), scratch_folders(dir.path())), (&Origin::Kept, 2));
    owner.apply_segment(object_id(101), &packs[2..3]).unwrap();
    second.apply_segment(object_id(102), &packs[3..]).unwrap();

    for (index, chunks) in [(&owner, [true, true, true, false]), (&second, [true, true, false, true])] {
        for (number, expected) in (0..).zip(chunks) {
            assert_eq!(has(index, number * 100 + 5), expected, "{:?} {number}", index.role());
            assert_eq!(index.pack_number(&object_id(number)).unwrap().is_some(), expected);
        }
    }
    let location = second.lookup(&chunk_id(305)).unwrap().unwrap();
    assert_lies_there(&second, &packs[3], 305, location);
    let location = second.lookup(&chunk_id(105)).unwrap().unwrap();
    assert_lies_there(&second, &packs[1], 105, location);
    assert_eq!(
        second
            .reconcile(
                [100, 101, 102].map(object_id).into_iter().collect::<std::collections::BTreeSet<_>>(),
                None
            )
            .unwrap()
            .to_apply,
        [object_id(101)]
    );

    drop((second, third));
    assert_eq!(scratch_folders(dir.path()), 0);
    assert!(!has(&owner, 305), "what a second process learns dies with it");
}

#[test]
fn a_generation_hides_the_owners_packs_from_the_second_process_only() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    let packs = [pack(0, 0..100), pack(1, 50..150)];
    owner.apply_segment(object_id(100), &packs).unwrap();
    let second = Index::open(dir.path(), &settings()).unwrap();
    let mark = GenerationMark { number: 1, id: object_id(900) };
    let previous = ObjectId::from_bytes([0; 32]);
    let generation = Generation { mark, previous, packs: &[object_id(0)], segments: &[object_id(100)] };
    second.apply_generation(&generation).unwrap();

    assert_eq!(second.generation().unwrap(), Some(mark));
    assert!(!has(&second, 5) && has(&second, 55) && has(&second, 145));
    assert!(second.is_removed(&object_id(0)).unwrap());
    second.apply_segment(object_id(101), &packs).unwrap();
    assert!(!has(&second, 5), "a segment that still names it does not bring it back");
    assert_eq!(second.reconcile([object_id(101)], Some(mark)).unwrap(), Reconciled::default());
    assert!(has(&owner, 5) && owner.generation().unwrap().is_none());
}

#[test]
fn a_segment_that_vanished_ends_for_the_second_process_too() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    let packs = [pack(0, 0..100), pack(1, 200..300)];
    owner.apply_segment(object_id(100), &packs).unwrap();
    owner.apply_segment(object_id(101), &packs[1..]).unwrap();
    let second = Index::open(dir.path(), &settings()).unwrap();
    let found = second.reconcile([object_id(101)], None).unwrap();
    assert_eq!((found.dropped, found.dropped_packs), (vec![object_id(100)], 1));
    assert!(!has(&second, 5) && has(&second, 205) && has(&owner, 5));
    // It comes back: a listing that lagged.
    let mut both = [object_id(100), object_id(101)];
    both.sort_unstable();
    assert_eq!(second.reconcile(both, None).unwrap().to_apply, [object_id(100)]);
    second.apply_segment(object_id(100), &packs).unwrap();
    assert!(has(&second, 5));
}

#[test]
fn scratch_folders_of_the_dead_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("scratch-7/db")).unwrap();
    fs::create_dir_all(dir.path().join("scratch-0/db")).unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    let second = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(scratch_folders(dir.path()), 1);
    drop(owner);
    let next = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!((next.role(), scratch_folders(dir.path())), (Role::Owner, 1), "its owner lives");
    second.apply_segment(object_id(1), &[pack(0, 0..10)]).unwrap();
    assert!(has(&second, 3));
}

#[test]
fn beside_a_damaged_database_the_scratch_alone_serves() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    fs::write(dir.path().join("db/CURRENT"), b"nonsense").unwrap();
    let second = Index::open(dir.path(), &settings()).unwrap();
    assert!(second.rebuilt() && second.role() == Role::Secondary);
    second.apply_segment(object_id(1), &[pack(0, 0..10)]).unwrap();
    assert!(has(&second, 3));
    let second = second.rebuild(|fresh| fresh.apply_segment(object_id(2), &[pack(1, 20..30)])).unwrap();
    assert!(has(&second, 23) && !has(&second, 3));
    drop(owner);
}

#[test]
fn a_segment_that_vanished_and_comes_back_is_learnt_by_the_second_process_once() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    owner.apply_segment(object_id(100), &[pack(1, 0..50)]).unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(index.reconcile([], None).unwrap().dropped, [object_id(100)]);
    assert!(!has(&index, 5) && !index.knows_segment(&object_id(100)).unwrap());
    assert_eq!(index.reconcile([object_id(100)], None).unwrap().to_apply, [object_id(100)]);
    index.apply_segment(object_id(100), &[pack(1, 0..50)]).unwrap();
    assert!(has(&index, 5) && index.knows_segment(&object_id(100)).unwrap());
    assert_eq!(index.reconcile([object_id(100)], None).unwrap(), Reconciled::default());
    assert!(has(&index, 5) && has(&owner, 5));
}

#[test]
fn a_segment_that_a_generation_removed_has_not_vanished() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    owner.apply_segment(object_id(100), &[pack(1, 0..50)]).unwrap();
    let beside = Index::open(dir.path(), &settings()).unwrap();
    let mark = GenerationMark { number: 1, id: object_id(200) };
    let previous = ObjectId::from_bytes([0; 32]);
    for index in [&owner, &beside] {
        let generation = Generation { mark, previous, packs: &[], segments: &[object_id(100)] };
        index.apply_generation(&generation).unwrap();
        assert_eq!(index.reconcile([], Some(mark)).unwrap(), Reconciled::default());
        // Its pack lives on until a generation names it.
        assert!(has(index, 5) && !index.is_incomplete().unwrap());
        // Whoever still lists it lags.
        index.apply_segment(object_id(100), &[pack(1, 0..50)]).unwrap();
        assert_eq!(index.reconcile([], Some(mark)).unwrap(), Reconciled::default());
    }
}
