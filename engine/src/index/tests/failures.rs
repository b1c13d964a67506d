//! What each failure is called, and what helps.

use super::super::open::is_replaceable;
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
