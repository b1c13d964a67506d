//! What is bounded ends exactly where it is said to, and figures are those of what is there.

use super::super::numbers::{FIRST_SCRATCH, Numbers};
use super::super::spill::SpillMap;
use super::super::store::digest;
use super::*;
use crate::format::MAX_CHUNKS_PER_SEGMENT;

fn open(dir: &tempfile::TempDir) -> Index {
    Index::open(dir.path(), &settings()).unwrap()
}

#[test]
fn a_map_spills_when_its_room_is_used_up_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    // Key, value, and 96 bytes around them.
    let entry = 96 + 3 + 50;
    for (room, fits) in [(2 * entry, true), (2 * entry - 1, false)] {
        let mut map = SpillMap::new(&index, room);
        map.insert(b"one", &[1; 50]).unwrap();
        assert_eq!((map.near_bytes(), map.has_spilled()), (entry, false));
        map.insert(b"two", &[2; 50]).unwrap();
        assert_eq!((map.near_bytes(), map.has_spilled()), (if fits { 2 * entry } else { entry }, !fits));
        assert_eq!(map.get(b"two").unwrap(), Some(vec![2; 50]));
    }
    let mut map = SpillMap::new(&index, 2 * entry);
    map.insert(b"one", &[1; 50]).unwrap();
    map.insert(b"two", &[2; 50]).unwrap();
    // What does not fit any more goes to disk; what comes back for something smaller stays where it was.
    map.insert(b"one", &[3; 51]).unwrap();
    assert_eq!((map.near_bytes(), map.has_spilled()), (entry, true));
    map.insert(b"one", &[4; 1]).unwrap();
    assert_eq!(map.near_bytes(), entry, "an entry is in one place only");
    assert_eq!(map.get(b"one").unwrap(), Some(vec![4]));
    // A value in memory that is replaced stays there as long as it fits.
    map.insert(b"two", &[5; 7]).unwrap();
    assert_eq!((map.near_bytes(), map.get(b"two").unwrap()), (96 + 3 + 7, Some(vec![5; 7])));
    map.remove(b"two").unwrap();
    map.remove(b"one").unwrap();
    assert_eq!((map.near_bytes(), map.get(b"one").unwrap(), map.get(b"two").unwrap()), (0, None, None));
}

#[test]
fn a_table_on_disk_knows_what_was_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let table = index.scratch_table();
    assert_eq!((table.get(b"a").unwrap(), table.holds(b"a").unwrap()), (None, false));
    table.remove(b"a").unwrap();
    table.put(b"a", b"").unwrap();
    table.put(b"b", b"1").unwrap();
    assert_eq!((table.get(b"a").unwrap(), table.holds(b"a").unwrap()), (Some(vec![]), true));
    table.remove(b"a").unwrap();
    assert_eq!((table.get(b"a").unwrap(), table.holds(b"a").unwrap()), (None, false));
    assert_eq!((table.get(b"b").unwrap(), table.holds(b"c").unwrap()), (Some(b"1".to_vec()), false));
    // It dies with the process, so nothing is logged.
    let files = std::fs::read_dir(dir.path().join("scratch-0/db")).unwrap().map(|entry| entry.unwrap());
    let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
    assert_eq!(logs.map(|file| file.metadata().unwrap().len()).sum::<u64>(), 0);
    let memory = settings().memory_bytes;
    assert_eq!(index.claims_room(), memory / 8 / 40);
}

#[test]
fn figures_are_those_of_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.apply_segment(object_id(100), &[pack(1, 0..40), pack(2, 40..50)]).unwrap();
    index.apply_segment(object_id(101), &[pack(3, 50..55)]).unwrap();
    let one = index.statistics().unwrap();
    // Two entries beside those of the chunks say which ingestion was the newest.
    assert!((55..=57).contains(&one.chunks), "{one:?}");
    assert_eq!(one.packs, 3);
    let files = std::fs::read_dir(dir.path().join("db")).unwrap();
    let bytes: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(one.disk_bytes, bytes);
    assert!(bytes > 10_000, "{bytes}");
    let shares = settings().memory_bytes as u64 / 32 * 7;
    assert!((shares..shares + (2 << 20)).contains(&one.memory_bytes), "{one:?}");
    // A secondary adds what is its own.
    let beside = open(&dir);
    beside.apply_segment(object_id(102), &[pack(4, 60..160)]).unwrap();
    let two = beside.statistics().unwrap();
    assert_eq!(two.packs, 4);
    assert!((155..=158).contains(&two.chunks) && two.disk_bytes > one.disk_bytes, "{two:?}");
    assert_eq!(index.statistics().unwrap().packs, 3);
}

#[test]
fn tidying_waits_until_a_quarter_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let ended = || lock(&index.top.writer).ended;
    let packs: Vec<_> = (0..12).map(|number| pack(number, number * 10..number * 10 + 10)).collect();
    index.apply_segment(object_id(100), &packs).unwrap();
    index.tidy().unwrap();
    let mut previous = ObjectId::from_bytes([0; 32]);
    for number in 1..=3u64 {
        let mark = GenerationMark { number, id: object_id(200 + number) };
        let generation = Generation { mark, previous, packs: &[object_id(number)], segments: &[] };
        index.apply_generation(&generation).unwrap();
        previous = mark.id;
        assert_eq!(ended(), number);
        index.tidy().unwrap();
        // Three of the twelve, beside the nine that are left.
        assert_eq!(ended(), if number < 3 { number } else { 0 });
    }
}

#[test]
fn segments_are_applied_together_as_far_as_memory_for_sorting_goes() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let ingestions = || lock(&index.top.writer).ingestion;
    let (one, two) = ([pack(1, 0..10)], [pack(2, 10..20)]);
    index.apply_segments(&[(object_id(100), &one), (object_id(101), &two), (object_id(100), &one)]).unwrap();
    assert_eq!(ingestions(), 1);
    index.apply_segments(&[(object_id(100), &one), (object_id(101), &two)]).unwrap();
    assert_eq!(ingestions(), 1, "known already");
    index.apply_segment(object_id(102), &one).unwrap();
    assert_eq!(ingestions(), 1, "nothing new in it");
    // As many chunks as one segment may have are sorted at once, and no more.
    let chunk = |number: usize| Chunk { id: chunk_id(number as u64), len: 1 };
    let large = |number: u64, chunks: usize| {
        let mut made = pack(number, 0..1);
        made.directory = Directory::default();
        made.directory.push(Codec::Zstd, 1000, &(0..chunks).map(chunk).collect::<Vec<_>>());
        [made]
    };
    let half = MAX_CHUNKS_PER_SEGMENT / 2;
    let packs = [large(3, half), large(4, half), large(5, half), large(6, half + 1), large(7, 1)];
    let applied = |index: &Index, numbers: &[u64]| {
        let segments: Vec<_> = numbers
            .iter()
            .map(|number| (object_id(200 + number), &packs[*number as usize - 3][..]))
            .collect();
        index.apply_segments(&segments).unwrap();
        lock(&index.top.writer).ingestion
    };
    assert_eq!(applied(&index, &[3, 4]), 2, "just as many");
    assert_eq!(applied(&index, &[5, 6, 7]), 4, "one more, and what comes after it");
    assert_eq!(index.statistics().unwrap().packs, 7);
}

#[test]
fn days_and_rot_are_noted_by_the_owner_and_end_with_the_pack() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.apply_segment(object_id(100), &[pack(1, 0..10), pack(2, 10..20)]).unwrap();
    let [one, two] = [1, 2].map(|number| index.pack_number(&object_id(number)).unwrap().unwrap());
    let known = |index: &Index, number| (index.day_read(number).unwrap(), index.is_rotten(number).unwrap());
    assert_eq!((known(&index, one), known(&index, two)), ((None, false), (None, false)));
    index.note_read(one, 20_000).unwrap();
    index.note_rot(two, true).unwrap();
    index.note_rot(two, true).unwrap();
    assert_eq!((known(&index, one), known(&index, two)), ((Some(20_000), false), (None, true)));
    index.note_read(one, 20_001).unwrap();
    index.note_read(two, 19_999).unwrap();
    assert_eq!((known(&index, one), known(&index, two)), ((Some(20_001), false), (Some(19_999), true)));

    let beside = open(&dir);
    assert_eq!(beside.role(), Role::Secondary);
    assert_eq!((known(&beside, one), known(&beside, two)), ((Some(20_001), false), (Some(19_999), true)));
    beside.note_read(one, 30_000).unwrap();
    beside.note_rot(two, false).unwrap();
    beside.note_rot(one, true).unwrap();
    drop(beside);
    assert_eq!((known(&index, one), known(&index, two)), ((Some(20_001), false), (Some(19_999), true)));

    index.note_rot(two, false).unwrap();
    assert!(!index.is_rotten(two).unwrap());
    index.note_rot(two, true).unwrap();
    // Segment and packs vanish; under a new number nothing is known of them.
    index.reconcile([], None).unwrap();
    for number in [one, two] {
        assert_eq!(known(&index, number), (None, false));
    }
}

#[test]
fn numbers_are_given_once_and_end_where_those_of_scratch_databases_begin() {
    let [owners, scratch] = [Numbers::new(0), Numbers::new(FIRST_SCRATCH)];
    assert_eq!((owners.first(), owners.end()), (0, FIRST_SCRATCH));
    assert_eq!((scratch.first(), scratch.end()), (FIRST_SCRATCH, u32::MAX));
    for (number, is_scratch) in [(0, false), (FIRST_SCRATCH - 1, false), (FIRST_SCRATCH, true)] {
        assert_eq!((owners.owns(PackNo(number)), scratch.owns(PackNo(number))), (!is_scratch, is_scratch));
    }
    assert!(!scratch.owns(PackNo(u32::MAX)));

    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let reserved = |writer: &mut super::super::store::Writer, count| {
        index.top.reserve(writer, count).map(|()| writer.reserved)
    };
    let mut writer = *lock(&index.top.writer);
    assert_eq!((writer.next, writer.reserved), (0, 0));
    assert_eq!(reserved(&mut writer, 1).unwrap(), 1025, "and some more, to be flushed less often");
    (writer.next, writer.reserved) = (1025, 1025);
    assert_eq!(reserved(&mut writer, 0).unwrap(), 1025);
    assert_eq!(reserved(&mut writer, 2).unwrap(), 1025 + 2 + 1024);
    // The last ones.
    (writer.next, writer.reserved) = (FIRST_SCRATCH - 1, FIRST_SCRATCH - 1);
    assert_eq!(reserved(&mut writer, 1).unwrap(), FIRST_SCRATCH);
    assert!(matches!(reserved(&mut writer, 2), Err(IndexError::Exhausted { .. })));
    for next in [FIRST_SCRATCH, u32::MAX] {
        (writer.next, writer.reserved) = (next, FIRST_SCRATCH);
        let error = reserved(&mut writer, 1).unwrap_err();
        assert!(error.wants_rebuild() && matches!(error, IndexError::Exhausted { .. }), "{error}");
    }
}

#[test]
fn a_pack_counts_in_the_digest_by_its_number_and_its_name() {
    let id = ObjectId::from_bytes([3; 32]);
    let zeros = ObjectId::from_bytes([0; 32]);
    assert_eq!(digest(PackNo(0), &id), 0x0303_0303_0303_0303);
    assert_eq!(digest(PackNo(1), &zeros), 0x9E37_79B9_7F4A_7C15);
    for number in [1, 2, 77, FIRST_SCRATCH] {
        assert_eq!(digest(PackNo(number), &id) ^ digest(PackNo(number), &zeros), 0x0303_0303_0303_0303);
    }
}

#[test]
fn what_is_known_of_a_pack_weighs_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.apply_segment(object_id(100), &[pack(1, 0..10), pack(2, 0..2500)]).unwrap();
    let info = |number| index.pack(index.pack_number(&object_id(number)).unwrap().unwrap()).unwrap().unwrap();
    let (one, hundred) = (info(1), info(2));
    assert_eq!((one.blocks.len(), hundred.blocks.len()), (1, 100));
    assert_eq!(hundred.weight() - one.weight(), 99 * size_of::<BlockInfo>());
    assert!((size_of::<PackInfo>()..1000).contains(&one.weight()));
}

#[test]
fn what_was_noted_for_the_next_run_is_there_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    assert!(!index.is_incomplete().unwrap());
    index.note_incomplete(true).unwrap();
    drop(index);
    let index = open(&dir);
    let beside = open(&dir);
    assert!(index.is_incomplete().unwrap() && beside.is_incomplete().unwrap());
    index.note_incomplete(false).unwrap();
    assert!(!index.is_incomplete().unwrap());
}

#[test]
fn what_stands_where_the_database_belongs_is_replaced_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("db"), b"a file").unwrap();
    let index = open(&dir);
    assert_eq!(index.origin(), &Origin::Replaced { why: "it is no folder".into() });
    assert!(index.rebuilt());
    drop(index);
    let index = open(&dir);
    assert!(!index.rebuilt() && *index.origin() == Origin::Kept);
}
