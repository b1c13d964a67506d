//! A process that dies in the middle of applying a segment leaves entries that nobody believes.

use super::options::PACKS;
use super::*;
use std::ffi::OsStr;
use std::path::Path;

fn has(index: &Index, chunk: u64) -> bool {
    index.lookup(&chunk_id(chunk)).unwrap().is_some()
}

/// Ingests packs without the batch that makes them alive, as if the process died in between.
fn ingest_only(index: &Index, packs: &[SegmentPack]) {
    let mut writer = lock(&index.top.writer);
    index.top.reserve(&mut writer, packs.len() as u32).unwrap();
    let numbered: Vec<_> = (writer.next..).map(PackNo).zip(packs).collect();
    index.top.ingest(&numbered, writer.ingestion + 1).unwrap();
}

fn remove_logs(dir: &Path) {
    for entry in fs::read_dir(dir.join("db")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("log")) {
            fs::remove_file(path).unwrap();
        }
    }
}

fn compact_chunks(index: &Index) {
    let chunks = index.top.family(CHUNKS).unwrap();
    index.top.db.compact_range_cf(chunks, None::<&[u8]>, None::<&[u8]>);
}

/// The next process gives out numbers, whether it finds the log of the one that died or not.
#[test]
fn entries_without_their_segment_never_vouch_for_another_pack() {
    for with_log in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let lost = [pack(0, 0..50), pack(1, 50..100)];
        let index = Index::open(dir.path(), &settings()).unwrap();
        ingest_only(&index, &lost);
        assert!(!has(&index, 5));
        drop(index);
        if !with_log {
            remove_logs(dir.path());
        }
        let index = Index::open(dir.path(), &settings()).unwrap();
        assert_eq!(index.origin(), &Origin::Kept);
        index.apply_segment(object_id(110), &[pack(10, 1000..1009), pack(11, 7000..7009)]).unwrap();
        for _ in 0..2 {
            assert!(has(&index, 1000) && !has(&index, 5) && !has(&index, 55), "{with_log}");
            compact_chunks(&index);
        }
        index.apply_segment(object_id(100), &lost).unwrap();
        let location = index.lookup(&chunk_id(55)).unwrap().unwrap();
        assert_lies_there(&index, &lost[1], 55, location);
    }
}

#[test]
fn a_hole_in_the_records_is_noticed() {
    let write = |change: &dyn Fn(&Index)| {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), &settings()).unwrap();
        index.apply_segment(object_id(100), &[pack(0, 0..50), pack(1, 50..100)]).unwrap();
        change(&index);
        drop(index);
        Index::open(dir.path(), &settings()).unwrap().rebuilt()
    };
    let key = |number: u32| number.to_be_bytes();
    let record = |index: &Index, name| index.top.get(name, &key(0)).unwrap().unwrap();
    assert!(!write(&|_| ()));
    // A pack that ended twice over, or not at all; one that is another; a directory that is missing.
    assert!(write(&|index| index.top.db.delete_cf(index.top.family(PACKS).unwrap(), key(0)).unwrap()));
    let put = |index: &Index, number| {
        let record = record(index, PACKS);
        index.top.db.put_cf(index.top.family(PACKS).unwrap(), key(number), record).unwrap();
    };
    assert!(write(&|index| put(index, 2)));
    assert!(write(&|index| put(index, 1)));
    assert!(write(&|index| index.top.db.delete_cf(index.top.family(TABLES).unwrap(), key(1)).unwrap()));
}

#[test]
fn a_compaction_keeps_what_is_being_applied() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    index.apply_segment(object_id(100), &[pack(9, 900..950)]).unwrap();
    let packs = [pack(0, 0..50)];
    ingest_only(&index, &packs);
    let number = PackNo(lock(&index.top.writer).next);
    compact_chunks(&index);
    compact_chunks(&index);
    index.top.numbers.make_alive([number]);
    assert!(has(&index, 5) && has(&index, 49));
}

#[test]
fn tidying_drops_the_entries_of_ended_packs() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    for number in 0..4 {
        let packs = [pack(number, number * 1000..number * 1000 + 1000)];
        index.apply_segment(object_id(100 + number), &packs).unwrap();
    }
    // Until they reach the lowest level, entries are merge operands, which are merged but not dropped.
    compact_chunks(&index);
    assert_eq!(index.statistics().unwrap().chunks, 4001, "four packs and the sentinel");
    let mut listed = [object_id(100), object_id(103)];
    listed.sort_unstable();
    assert_eq!(index.reconcile(listed, None).unwrap().dropped_packs, 2);
    index.tidy().unwrap();
    assert_eq!(index.statistics().unwrap().chunks, 2001, "two packs and the sentinel");
    assert!(has(&index, 5) && has(&index, 3005) && !has(&index, 1005));
}

#[test]
fn damage_met_while_running_condemns_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    index.apply_segment(object_id(100), &[pack(0, 0..5000)]).unwrap();
    for entry in fs::read_dir(dir.path().join("db")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("sst")) {
            let mut bytes = fs::read(&path).unwrap();
            let end = bytes.len() * 3 / 4;
            bytes[200..end].fill(0x55);
            fs::write(&path, bytes).unwrap();
        }
    }
    let ids: Vec<_> = (0..5000).map(chunk_id).collect();
    let error = index.lookup_many(&ids).unwrap_err();
    assert!(error.wants_rebuild() && error.kind() == crate::error::Kind::Io, "{error}");
    drop(index);
    let index = Index::open(dir.path(), &settings()).unwrap();
    assert!(
        matches!(index.origin(), Origin::Replaced { why } if why.contains("before")),
        "{:?}",
        index.origin()
    );
    assert!(!has(&index, 5));
}

#[test]
fn tables_of_directories_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    for number in 0..130 {
        index
            .apply_segment(object_id(1000 + number), &[pack(number, number * 10..number * 10 + 10)])
            .unwrap();
    }
    let files = index.top.db.live_files().unwrap();
    let tables = files.iter().filter(|file| file.column_family_name == TABLES).count();
    assert!(tables <= 3, "{tables}");
    for number in 0..130 {
        let pack_no = index.pack_number(&object_id(number)).unwrap().unwrap();
        assert_eq!(
            index.directory(pack_no).unwrap().unwrap(),
            pack(number, number * 10..number * 10 + 10).directory
        );
    }
}

#[test]
fn a_second_process_never_sees_more_than_there_is_while_the_owner_works() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    let the_pack = |number: u64| pack(number, number * 10..number * 10 + 10);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            for number in 0..150 {
                owner.apply_segment(object_id(1000 + number), &[the_pack(number)]).unwrap();
                if number % 50 == 49 {
                    owner.top.flush().unwrap();
                    compact_chunks(&owner);
                }
            }
        });
        let mut looks = 0;
        while !work.is_finished() || looks == 0 {
            let second = Index::open(dir.path(), &settings()).unwrap();
            let alive = second.statistics().unwrap().packs;
            let found = |number: &u64| second.lookup(&chunk_id(number * 10 + 3)).unwrap();
            let seen: Vec<_> = (0..150).filter_map(|number| Some((number, found(&number)?))).collect();
            assert_eq!(seen.len() as u64, alive, "every pack it counts answers, and no other one");
            for (number, location) in seen {
                assert_lies_there(&second, &the_pack(number), number * 10 + 3, location);
            }
            looks += 1;
        }
    });
}

#[test]
fn a_second_process_keeps_its_view_when_the_owner_rewrites_everything() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Index::open(dir.path(), &settings()).unwrap();
    for number in 0..6 {
        owner
            .apply_segment(object_id(1000 + number), &[pack(number, number * 100..number * 100 + 100)])
            .unwrap();
    }
    let second = Index::open(dir.path(), &settings()).unwrap();
    for family in options::FAMILIES {
        owner.top.db.compact_range_cf(owner.top.family(family).unwrap(), None::<&[u8]>, None::<&[u8]>);
    }
    drop(owner);
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    for chunk in 0..600 {
        let location = second.lookup(&chunk_id(chunk)).unwrap().unwrap();
        let holder = chunk / 100;
        assert_lies_there(&second, &pack(holder, holder * 100..holder * 100 + 100), chunk, location);
    }
}
