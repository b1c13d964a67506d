use super::super::contract;
use super::super::memory::MemoryStorage;
use super::*;
use crate::error::Kind;

const A: Name = Name::generation(1);
const B: Name = Name::generation(2);

fn over_memory() -> (Arc<MemoryStorage>, FaultStorage) {
    let inner = Arc::new(MemoryStorage::new());
    (inner.clone(), FaultStorage::new(inner))
}

fn listed(storage: &dyn Storage) -> Result<Vec<Name>, (usize, Kind)> {
    let mut names = Vec::new();
    let result = storage.list(
        Family::Generations,
        &mut |name, _| {
            names.push(name);
            Ok(())
        },
        &mut |_| {},
    );
    result.map_err(|error| (names.len(), error.kind()))?;
    Ok(names)
}

#[test]
fn without_a_plan_it_keeps_the_contract() {
    contract::holds(&|| Box::new(FaultStorage::new(Arc::new(MemoryStorage::new()))));
}

#[test]
fn a_call_fails_before_or_after_its_effect() {
    let (inner, storage) = over_memory();
    storage.on_call(0, Fault::FailBefore(io::ErrorKind::StorageFull));
    storage.on_nth(Call::Put, 1, Fault::FailAfter(io::ErrorKind::TimedOut));
    storage.on_nth(Call::Delete, 0, Fault::FailAfter(io::ErrorKind::TimedOut));
    assert_eq!(storage.put(&A, b"a").unwrap_err().kind(), Kind::NoSpace);
    assert_eq!(inner.len(&A).unwrap(), None);
    assert_eq!(storage.put(&A, b"a").unwrap_err().kind(), Kind::Io);
    assert_eq!(inner.len(&A).unwrap(), Some(1));
    assert_eq!(storage.put(&A, b"a").unwrap(), Put::Present);
    storage.delete(&A).unwrap_err();
    assert_eq!(inner.len(&A).unwrap(), None);
}

#[test]
fn a_torn_put_says_that_all_is_well() {
    let (inner, storage) = over_memory();
    storage.on_call(0, Fault::Tear(2));
    storage.on_call(1, Fault::Tear(9));
    assert_eq!(storage.put(&A, b"abcd").unwrap(), Put::Stored);
    assert_eq!(storage.put(&B, b"abcd").unwrap(), Put::Stored);
    assert_eq!(inner.get_all(&A, 9).unwrap(), b"ab");
    assert_eq!(inner.get_all(&B, 9).unwrap(), b"abcd");
}

#[test]
fn frozen_storage_neither_writes_nor_reads() {
    let (inner, storage) = over_memory();
    storage.freeze_after(2);
    storage.put(&A, b"a").unwrap();
    storage.get_all(&A, 9).unwrap();
    storage.put(&B, b"b").unwrap_err();
    storage.delete(&A).unwrap_err();
    storage.get(&A, 0..1).unwrap_err();
    storage.get_all(&A, 9).unwrap_err();
    storage.len(&A).unwrap_err();
    assert_eq!(listed(&storage), Err((0, Kind::Io)));
    assert_eq!(inner.objects().len(), 1);
    storage.thaw();
    assert_eq!(listed(&storage), Ok(vec![A]));
}

#[test]
fn damage_shows_in_every_read_that_covers_it() {
    let (inner, storage) = over_memory();
    inner.put(&A, b"abcd").unwrap();
    inner.put(&B, b"abcd").unwrap();
    storage.corrupt(A, 2, 0x01);
    storage.corrupt(A, 9, 0x01);
    assert_eq!(storage.get_all(&A, 9).unwrap(), b"abbd");
    assert_eq!(storage.get(&A, 2..3).unwrap(), b"b");
    assert_eq!(storage.get(&A, 3..4).unwrap(), b"d");
    assert_eq!(storage.get(&A, 0..2).unwrap(), b"ab");
    assert_eq!(storage.get_all(&B, 9).unwrap(), b"abcd");
}

#[test]
fn listings_lie_and_break_off() {
    let (inner, storage) = over_memory();
    inner.put(&A, b"a").unwrap();
    storage.lie(Family::Generations, Lie::Stale).unwrap();
    inner.put(&B, b"b").unwrap();
    assert_eq!(listed(&storage), Ok(vec![A]));
    storage.reset();
    storage.lie(Family::Generations, Lie::Omit(A)).unwrap();
    storage.lie(Family::Generations, Lie::Twice(B)).unwrap();
    assert_eq!(listed(&storage), Ok(vec![B, B]));
    storage.reset();
    for entries in 0..4 {
        storage.on_call(entries, Fault::FailWithin(entries as usize, io::ErrorKind::TimedOut));
        assert_eq!(listed(&storage), Err(((entries as usize).min(2), Kind::Io)));
    }
    assert_eq!(listed(&storage), Ok(vec![A, B]));
}

#[test]
fn a_stalled_call_is_done_late() {
    let (inner, storage) = over_memory();
    let time = Duration::from_millis(20);
    storage.on_call(0, Fault::Stall(time));
    let begin = std::time::Instant::now();
    storage.put(&A, b"a").unwrap();
    assert!(begin.elapsed() >= time);
    assert_eq!(inner.objects().len(), 1);
}

#[test]
fn calls_are_recorded_in_order() {
    let (_, storage) = over_memory();
    storage.put(&A, b"abc").unwrap();
    storage.get(&A, 1..3).unwrap();
    listed(&storage).unwrap();
    storage.get_all(&B, 9).unwrap_err();
    let record = |call, name: &dyn Display, bytes| Record { call, name: name.to_string(), bytes };
    assert_eq!(
        storage.calls(),
        [
            record(Call::Put, &A, 3),
            record(Call::Get, &A, 2),
            record(Call::List, &Family::Generations, 0),
            record(Call::GetAll, &B, 0),
        ]
    );
    assert_eq!((storage.count(), storage.count_of(Call::Put), storage.count_of(Call::Len)), (4, 1, 0));
}

#[test]
fn a_half_upload_keeps_a_part_and_fails() {
    let (inner, storage) = over_memory();
    storage.on_call(0, Fault::Half(2, io::ErrorKind::TimedOut));
    storage.on_call(1, Fault::Half(9, io::ErrorKind::TimedOut));
    assert_eq!(storage.put(&A, b"abcd").unwrap_err().kind(), Kind::Io);
    assert_eq!(storage.put(&B, b"abcd").unwrap_err().kind(), Kind::Io);
    assert_eq!(
        (inner.get_all(&A, 9).unwrap(), inner.get_all(&B, 9).unwrap()),
        (b"ab".to_vec(), b"abcd".to_vec())
    );
    assert_eq!(storage.torn(), [A]);
}

#[test]
fn replies_are_short_long_and_shifted() {
    let (_, storage) = over_memory();
    storage.put(&A, b"abcdef").unwrap();
    storage.on_nth(Call::Get, 0, Fault::Reply(Reply::Short(1)));
    storage.on_nth(Call::Get, 1, Fault::Reply(Reply::Long(2)));
    storage.on_nth(Call::GetAll, 0, Fault::Reply(Reply::Shifted(2)));
    storage.on_nth(Call::GetAll, 1, Fault::Reply(Reply::Short(9)));
    assert_eq!(storage.get(&A, 1..4).unwrap(), b"bc");
    assert_eq!(storage.get(&A, 1..4).unwrap(), b"bcd\0\0");
    assert_eq!(storage.get(&A, 1..4).unwrap(), b"bcd");
    assert_eq!(storage.get_all(&A, 9).unwrap(), b"cdefab");
    assert_eq!(storage.get_all(&A, 9).unwrap(), b"");
}

#[test]
fn listings_are_unsorted_and_doubled() {
    let (_, storage) = over_memory();
    storage.put(&A, b"a").unwrap();
    storage.put(&B, b"b").unwrap();
    storage.lie(Family::Generations, Lie::Doubled).unwrap();
    assert_eq!(listed(&storage), Ok(vec![A, B, A, B]));
    storage.lie(Family::Generations, Lie::Unsorted).unwrap();
    assert_eq!(listed(&storage), Ok(vec![B, A, B, A]));
}
