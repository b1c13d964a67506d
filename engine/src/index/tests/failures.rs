//! What each failure is called, and what helps.

use super::super::open::is_replaceable;
use super::super::scratch::remove;
use super::*;
use crate::error::Kind;
use std::io;
use std::path::Path;

fn files(kind: io::ErrorKind) -> IndexError {
    IndexError::files("read", Path::new("/there"))(kind.into())
}

#[test]
fn each_failure_has_its_kind_and_some_want_a_fresh_index() {
    let place = || "/there".to_owned();
    let database = |wrong: &str| IndexError::Database { place: place(), wrong: wrong.to_owned() };
    let cases = [
        (IndexError::damaged(Path::new("/there"), "torn"), Kind::Io, true, true),
        (IndexError::OtherHistory { index: 2, stored: "1".into() }, Kind::Integrity, true, false),
        (IndexError::Exhausted { place: place() }, Kind::Io, true, false),
        (IndexError::GenerationGap { applied: 1, given: 3 }, Kind::Refused, false, false),
        (IndexError::Unsorted { at: "00".into() }, Kind::Refused, false, false),
        (IndexError::NoSpace { place: place(), wrong: "full".into() }, Kind::NoSpace, false, false),
        (database("of a later version"), Kind::Io, false, true),
        (database("IO error: lock hold by current process"), Kind::Io, false, false),
        (database("IO error: Too many open files"), Kind::Io, false, false),
        (database("IO error: Cannot allocate memory"), Kind::Io, false, false),
        (files(io::ErrorKind::PermissionDenied), Kind::Permission, false, false),
        (files(io::ErrorKind::ReadOnlyFilesystem), Kind::Permission, false, false),
        (files(io::ErrorKind::StorageFull), Kind::NoSpace, false, false),
        (files(io::ErrorKind::QuotaExceeded), Kind::NoSpace, false, false),
        (files(io::ErrorKind::NotFound), Kind::Io, false, false),
    ];
    for (error, kind, wants_rebuild, replaceable) in cases {
        let found = (error.kind(), error.wants_rebuild(), is_replaceable(&error));
        assert_eq!(found, (kind, wants_rebuild, replaceable), "{error:?}");
    }
}

#[test]
fn the_words_of_the_database_are_sorted() {
    // The kinds are RocksDB's own; a database that is not there, and one whose file of names is no such file.
    let dir = tempfile::tempdir().unwrap();
    let error = |name: &str, content: &[u8]| {
        std::fs::write(dir.path().join("CURRENT"), content).unwrap();
        rocksdb::DB::open(&rocksdb::Options::default(), dir.path())
            .err()
            .unwrap_or_else(|| panic!("{name} opens"))
    };
    let place = Path::new("/there");
    let cut = error("a file of names that is cut", b"MANIFEST-0000");
    assert!(matches!(IndexError::database(place, &cut), IndexError::Damaged { .. }), "{cut}");
    assert!(matches!(IndexError::scratch(place, &cut), IndexError::Database { .. }), "{cut}");
    let lost = error("a list of tables that is lost", b"MANIFEST-000099\n");
    assert_eq!(lost.kind(), rocksdb::ErrorKind::IOError);
    assert!(matches!(IndexError::database(place, &lost), IndexError::Damaged { .. }), "{lost}");
    let none = rocksdb::DB::open(&rocksdb::Options::default(), dir.path().join("none")).err().unwrap();
    assert_eq!(none.kind(), rocksdb::ErrorKind::InvalidArgument);
    assert!(matches!(IndexError::database(place, &none), IndexError::Database { .. }), "{none}");
}

#[test]
fn another_history_is_named_as_what_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let mark = |number: u64| GenerationMark { number, id: object_id(200 + number) };
    let mut previous = ObjectId::from_bytes([0; 32]);
    for number in 1..=2 {
        let generation = Generation { mark: mark(number), previous, packs: &[], segments: &[] };
        index.apply_generation(&generation).unwrap();
        previous = mark(number).id;
    }
    let compared = |newest: Option<GenerationMark>| match index.reconcile([], newest) {
        Ok(_) => "the same".to_owned(),
        Err(IndexError::OtherHistory { index: 2, stored }) => stored,
        Err(error) => error.to_string(),
    };
    assert_eq!(compared(Some(mark(2))), "the same");
    assert_eq!(compared(Some(GenerationMark { number: 2, id: object_id(9) })), "another one of this number");
    assert_eq!(compared(Some(mark(1))), "1");
    assert_eq!(compared(None), "none");
    assert!(compared(Some(mark(3))).starts_with("generation 3 cannot follow generation 2"));
}

#[test]
fn what_cannot_be_removed_is_told_and_what_is_not_there_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("file"), b"").unwrap();
    std::fs::create_dir_all(at("folder/in it")).unwrap();
    let error = remove(&at("file/below")).unwrap_err();
    assert!(matches!(&error, IndexError::Files { doing: "remove", .. }), "{error:?}");
    for name in ["file", "folder", "nothing"] {
        remove(&at(name)).unwrap();
        assert!(!at(name).exists());
    }
}

/// Changes the folder of an index of one pack and opens it again; why it was replaced, if it was.
fn reopened(change: impl FnOnce(&Index), then: impl FnOnce(&Path)) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    index.apply_segment(object_id(100), &[pack(1, 0..10)]).unwrap();
    change(&index);
    drop(index);
    then(&dir.path().join("db"));
    match Index::open(dir.path(), &settings()).unwrap().origin() {
        Origin::Replaced { why } => Some(why.clone()),
        _ => None,
    }
}

#[test]
fn a_database_that_cannot_be_believed_is_replaced() {
    assert_eq!(reopened(|_| {}, |_| {}), None);
    let file_for_folder = |db: &Path| {
        std::fs::remove_dir_all(db.join("ingest")).unwrap();
        std::fs::write(db.join("ingest"), b"").unwrap();
    };
    assert!(reopened(|_| {}, file_for_folder).unwrap().contains("a file stands where a folder belongs"));
    let take_numbers_back = |index: &Index| {
        let meta = index.top.family(super::super::options::META).unwrap();
        index.top.db.put_cf(meta, b"reserved", 0u32.to_le_bytes()).unwrap();
    };
    assert!(reopened(take_numbers_back, |_| {}).unwrap().contains("a number that was not given"));
}

#[test]
fn whoever_has_the_database_open_keeps_it_and_only_damage_condemns_it() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), &settings()).unwrap();
    let db = dir.path().join("db");
    let held = rocksdb::DB::open(&rocksdb::Options::default(), &db).err().unwrap();
    assert_eq!(held.kind(), rocksdb::ErrorKind::IOError);
    let error = index.top.failed(&held);
    assert!(matches!(&error, IndexError::Database { .. }) && !is_replaceable(&error), "{error}");
    // A secondary may see what is torn: the owner is at work.
    let beside = Index::open(dir.path(), &settings()).unwrap();
    assert!(matches!(beside.base.as_ref().unwrap().damaged("torn"), IndexError::Damaged { .. }));
    assert!(!db.join("damaged").exists());
    drop((beside, index));

    // Another program that holds it is waited out by whoever asks again, not robbed.
    let families = super::super::options::FAMILIES;
    let holder = rocksdb::DB::open_cf(&rocksdb::Options::default(), &db, families).unwrap();
    assert!(matches!(Index::open(dir.path(), &settings()), Err(IndexError::Database { .. })));
    drop(holder);
    let index = Index::open(dir.path(), &settings()).unwrap();
    assert_eq!(index.origin(), &Origin::Kept);
    index.top.damaged("torn");
    assert!(db.join("damaged").exists());
}
