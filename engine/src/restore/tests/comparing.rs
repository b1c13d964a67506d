//! Files that are there already: kept if every byte is right, written anew if one is not.

use super::*;
use std::io::ErrorKind;

const HOLE: usize = 200 << 10;
const CHUNK: usize = 6000;

/// A file of holes and chunks in turn, the first chunk with zeros at its begin, and what it looks like.
fn world_and_whole() -> (World, Root, Vec<u8>) {
    let mut world = World::new();
    let mut chunks = [noise(1, CHUNK), noise(2, CHUNK)];
    chunks[0][..300].fill(0);
    world.pack(&[&chunks[0], &chunks[1]]);
    let (hole, chunk) = (HOLE as u64, CHUNK as u64);
    let second = hole + chunk;
    let holes = vec![0..hole, second..second + 5, second + 5 + chunk..second + 5 + chunk + hole];
    world.list_file("a", &[&chunks[0], &chunks[1]], holes);
    let root = world.done();
    let whole = [&[0; HOLE][..], &chunks[0], &[0; 5], &chunks[1], &[0; HOLE]].concat();
    (world, root, whole)
}

#[test]
fn a_file_that_is_right_is_kept() {
    let (world, root, whole) = world_and_whole();
    for (knows_zeros, keeping_changes) in [(false, false), (true, false), (false, true)] {
        let shelf = Shelf { knows_zeros, keeping_changes, ..Shelf::with("a", &whole) };
        let told = Told::default();
        let report = world.restore_telling(&root, &shelf, &told).unwrap();
        assert_eq!(shelf.calls(), ["prepare a", "keep a"]);
        assert_eq!((report.unchanged, report.bytes_written), (u64::from(!keeping_changes), 0));
        assert_eq!(*told.done.lock().unwrap(), (1, whole.len() as u64));
    }
}

#[test]
fn one_wrong_byte_and_the_file_is_written_anew() {
    let (world, root, whole) = world_and_whole();
    let [data, end] = [HOLE, HOLE + CHUNK];
    let (second, last) = (end + 5, whole.len() - 1);
    let step = 64 << 10;
    let wrong = [0, 1, step - 1, step, 3 * step, HOLE - 1, data, data + 299, end - 1, end, end + 4, second];
    for at in wrong.into_iter().chain([second + CHUNK - 1, second + CHUNK, last - 1, last]) {
        for knows_zeros in [false, true] {
            let mut before = whole.clone();
            before[at] ^= 2;
            let shelf = Shelf { knows_zeros, ..Shelf::with("a", &before) };
            let report = world.restore(&root, &shelf).unwrap();
            assert!(shelf.files().get("a") == Some(&whole), "byte {at}: {:?}", shelf.calls());
            assert_eq!((report.unchanged, report.bytes_written), (0, 2 * CHUNK as u64));
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_written_anew() {
    let (world, root, whole) = world_and_whole();
    let mut shelf = Shelf::failing("read", "", ErrorKind::Other);
    shelf.before.insert("a".into(), whole.clone());
    assert_eq!(world.restore(&root, &shelf).unwrap().problems_total, 0);
    assert!(shelf.files().get("a") == Some(&whole));
    // One of another length is not even compared.
    let shelf = Shelf::with("a", &whole[1..]);
    world.restore(&root, &shelf).unwrap();
    assert!(shelf.files().get("a") == Some(&whole));
}

#[test]
fn where_keeping_fails_the_file_is_told_of() {
    let (world, root, whole) = world_and_whole();
    for (kind, ends) in [(ErrorKind::PermissionDenied, false), (ErrorKind::StorageFull, true)] {
        let mut shelf = Shelf::failing("keep", "a", kind);
        shelf.before.insert("a".into(), whole.clone());
        match world.restore(&root, &shelf) {
            Ok(report) => assert_eq!((ends, report.problems_total, report.unchanged), (false, 1, 0)),
            Err(error) => assert!(ends && matches!(error, RestoreError::TargetFull(_)), "{error}"),
        }
    }
}

/// A sink that says nothing of where files have zeros.
struct Plain;

impl Sink for Plain {
    type File = ();
    type Existing = ();

    fn prepare(&self, _: &sink::Item<'_>) -> Result<sink::Prepared<()>, sink::SinkError> {
        Ok(sink::Prepared::Done { changed: false })
    }

    fn read_existing(&self, (): &(), _: &mut [u8], _: u64) -> std::io::Result<usize> {
        Ok(0)
    }

    fn keep(&self, (): (), _: &sink::Item<'_>) -> Result<bool, sink::SinkError> {
        Ok(false)
    }

    fn create(&self, _: &sink::Item<'_>, _: u64) -> Result<(), sink::SinkError> {
        Ok(())
    }

    fn write_at(&self, (): &(), _: &[u8], _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&self, (): (), _: &sink::Item<'_>) -> Result<(), sink::SinkError> {
        Ok(())
    }

    fn abandon(&self, (): (), _: &sink::Item<'_>) {}

    fn link(&self, _: &StoredPath, _: &sink::Item<'_>) -> Result<bool, sink::SinkError> {
        Ok(false)
    }

    fn finish_directory(&self, _: &sink::Item<'_>) -> Result<(), sink::SinkError> {
        Ok(())
    }
}

#[test]
fn where_nobody_knows_of_zeros_any_byte_may_be_another() {
    for offset in [0, 1, 7, u64::MAX] {
        assert_eq!(Plain.next_data(&(), offset), Some(offset));
    }
}
