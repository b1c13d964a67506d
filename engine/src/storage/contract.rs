//! What every storage must do; panics with the first thing that it does otherwise.

use super::{Family, Name, Put, Storage, StorageError, Trouble};
use crate::error::Kind;
use crate::id::{ClientId, ObjectId, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Barrier;

/// Sizes of listings at which implementations with pages go wrong.
const LIST_SIZES: [u64; 6] = [0, 1, 999, 1000, 1001, 10_001];

/// Puts storages to the whole contract; `make` returns a new and empty one at every call.
pub fn holds(make: &dyn Fn() -> Box<dyn Storage>) {
    every_kind_of_name_is_kept_apart(&*make());
    ranges_are_exact(&*make());
    sizes_do_not_matter(&*make());
    an_object_is_never_replaced(&*make());
    damaged_bytes_are_replaced(&*make());
    one_of_many_writers_stores(&*make());
    deletion_is_exact_and_repeatable(&*make());
    listings_are_complete(&*make());
    shards_are_listed_as_one_family(&*make());
    an_error_of_the_callback_ends_the_listing(&*make());
    callbacks_may_call_the_storage(&*make());
    numbers_outside_the_format_name_nothing(&*make());
    what_others_do_meanwhile_does_no_harm(&*make());
}

/// Checks that a storage tells names that are not the format's; `plant` puts a file at a path there.
pub fn tells_foreign_names(storage: &dyn Storage, plant: &dyn Fn(&str)) {
    for name in one_of_each() {
        storage.put(&name, b"x").unwrap();
    }
    let id = "cd".repeat(32);
    let mut planted = [
        "README".to_owned(),
        "config.bak".to_owned(),
        "keys/README".to_owned(),
        format!("keys/{}", id.to_uppercase()),
        "packs/README".to_owned(),
        "packs/cd/README".to_owned(),
        format!("packs/ab/{id}"),
        format!("snapshots/{id}.tmp"),
        "generations/1".to_owned(),
        format!("sessions/{}", &id[..31]),
    ];
    planted.sort();
    planted.iter().for_each(|path| plant(path));

    let (mut names, mut foreign) = (Vec::new(), Vec::new());
    for family in Family::ALL {
        let mut each = |name: Name, _| {
            names.push(name);
            Ok(())
        };
        storage.list(family, &mut each, &mut |path| foreign.push(path.to_owned())).unwrap();
    }
    names.sort();
    foreign.sort();
    assert_eq!(names, one_of_each());
    assert_eq!(foreign, planted);
    let mut without_lengths: Vec<Name> =
        Family::ALL.into_iter().flat_map(|family| self::names(storage, family)).collect();
    without_lengths.sort();
    assert_eq!(without_lengths, one_of_each());
}

fn object(first: u8, number: u64) -> ObjectId {
    let mut bytes = [first; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// Returns a name of every kind, sorted.
fn one_of_each() -> Vec<Name> {
    let id = object(0xcd, 1);
    let sid = SessionId::from_bytes([7; 16]);
    let mut names = vec![
        Name::config(),
        Name::slot(id),
        Name::pack(id),
        Name::segment(id),
        Name::snapshot(id),
        Name::session(sid),
        Name::intent(sid, 1),
        Name::alive(sid, 1),
        Name::end(sid),
        Name::condemned(1),
        Name::generation(Name::MAX_NUMBER),
        Name::log(ClientId::from_bytes([7; 16]), 1),
        Name::epoch(1),
        Name::parity(id),
        Name::run(sid, 1),
    ];
    names.sort();
    names
}

/// Stores an object of one byte under each name.
fn store_each(storage: &dyn Storage, names: impl Iterator<Item = Name>) {
    for name in names {
        assert_eq!(storage.put(&name, b"x").unwrap(), Put::Stored, "{name}");
    }
}

/// Returns the listing, in which nothing may stand twice and nothing may be foreign.
fn list(storage: &dyn Storage, family: Family) -> BTreeMap<Name, u64> {
    let mut listed = BTreeMap::new();
    let mut each = |name: Name, len| {
        assert_eq!(listed.insert(name, len), None, "{name} is listed twice");
        Ok(())
    };
    storage.list(family, &mut each, &mut |path| panic!("{path} is foreign")).unwrap();
    listed
}

/// Returns the listing without lengths, sorted.
fn names(storage: &dyn Storage, family: Family) -> Vec<Name> {
    let mut names = Vec::new();
    let mut each = |name| {
        names.push(name);
        Ok(())
    };
    storage.list_names(family, &mut each).unwrap();
    names.sort();
    names
}

fn trouble(result: Result<Vec<u8>, StorageError>, name: &Name) -> Trouble {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(&name.to_string()), "the name is missing in {error}");
    error.trouble
}

fn every_kind_of_name_is_kept_apart(storage: &dyn Storage) {
    let names = one_of_each();
    for name in &names {
        assert_eq!(storage.len(name).unwrap(), None);
        assert_eq!(storage.put(name, name.to_string().as_bytes()).unwrap(), Put::Stored, "{name}");
    }
    let mut listed = BTreeMap::new();
    for family in Family::ALL {
        let of_family = list(storage, family);
        assert!(of_family.keys().all(|name| name.family() == family));
        assert!(of_family.keys().eq(&self::names(storage, family)));
        listed.extend(of_family);
    }
    for name in &names {
        let text = name.to_string();
        assert_eq!(storage.get_all(name, text.len() as u64).unwrap(), text.as_bytes());
        assert_eq!(storage.len(name).unwrap(), Some(text.len() as u64));
        assert_eq!(listed.remove(name), Some(text.len() as u64), "{name} is not listed");
    }
    assert!(listed.is_empty());
}

fn ranges_are_exact(storage: &dyn Storage) {
    let name = Name::pack(object(1, 1));
    let bytes: Vec<u8> = (0..=255).collect();
    storage.put(&name, &bytes).unwrap();
    for start in 0..=256 {
        for end in [start, start + 1, start + 100, 256] {
            match bytes.get(start..end) {
                Some(slice) => assert_eq!(storage.get(&name, start as u64..end as u64).unwrap(), slice),
                None => {
                    let found = trouble(storage.get(&name, start as u64..end as u64), &name);
                    let need = end as u64;
                    assert!(matches!(found, Trouble::Short { have: 256, need: n } if n == need), "{found:?}");
                }
            }
        }
    }
    for range in [300..300, 0..u64::MAX, u64::MAX - 1..u64::MAX] {
        let found = trouble(storage.get(&name, range), &name);
        assert!(matches!(found, Trouble::Short { have: 256, .. }), "{found:?}");
    }
    let backwards = Range { start: 9, end: 8 };
    assert!(matches!(trouble(storage.get(&name, backwards), &name), Trouble::Range { start: 9, end: 8 }));

    assert_eq!(storage.get_all(&name, u64::MAX).unwrap(), bytes);
    assert_eq!(storage.get_all(&name, 256).unwrap(), bytes);
    let long = trouble(storage.get_all(&name, 255), &name);
    assert!(matches!(long, Trouble::Long { have: 256, max: 255 }), "{long:?}");

    // Of the same shard, of another one, and of another family.
    for missing in [Name::pack(object(1, 2)), Name::pack(object(2, 1)), Name::snapshot(object(1, 1))] {
        assert!(matches!(trouble(storage.get(&missing, 0..0), &missing), Trouble::Missing));
        assert!(matches!(trouble(storage.get(&missing, 0..1), &missing), Trouble::Missing));
        let error = storage.get_all(&missing, 9).unwrap_err();
        assert!(error.is_missing() && error.kind() == Kind::Missing);
        assert_eq!(storage.len(&missing).unwrap(), None);
    }
}

fn sizes_do_not_matter(storage: &dyn Storage) {
    for (number, len) in [(1, 0), (2, 1), (3, 4096), (4, 65_537), (5, 20 << 20)] {
        let name = Name::pack(object(3, number));
        let bytes: Vec<u8> = (0..len).map(|at: u64| (at ^ at >> 8 ^ at >> 16) as u8).collect();
        assert_eq!(storage.put(&name, &bytes).unwrap(), Put::Stored);
        assert_eq!(storage.len(&name).unwrap(), Some(len));
        assert!(storage.get_all(&name, len).unwrap() == bytes, "object of {len} bytes");
        let middle = len / 2..len;
        assert!(storage.get(&name, middle.clone()).unwrap() == bytes[middle.start as usize..]);
        assert_eq!(list(storage, Family::Packs).get(&name), Some(&len));
    }
}

fn an_object_is_never_replaced(storage: &dyn Storage) {
    for name in one_of_each() {
        assert_eq!(storage.put(&name, b"first").unwrap(), Put::Stored);
        for other in [&b"first"[..], b"second", b"", b"first and more"] {
            assert_eq!(storage.put(&name, other).unwrap(), Put::Present);
        }
        assert_eq!(storage.get_all(&name, 99).unwrap(), b"first");
        assert_eq!(list(storage, name.family()).get(&name), Some(&5));
    }
}

fn damaged_bytes_are_replaced(storage: &dyn Storage) {
    for name in one_of_each() {
        for (before, bytes) in [(None, &b"new"[..]), (Some(&b"damaged"[..]), b"new"), (Some(b""), b"newer")] {
            storage.delete(&name).unwrap();
            if let Some(before) = before {
                storage.put(&name, before).unwrap();
            }
            storage.replace(&name, bytes).unwrap();
            assert_eq!(storage.get_all(&name, 99).unwrap(), bytes, "{name}");
            assert_eq!(list(storage, name.family()).get(&name), Some(&(bytes.len() as u64)));
            assert_eq!(storage.put(&name, b"another").unwrap(), Put::Present);
        }
    }
    assert!(storage.replace(&Name::generation(0), b"x").is_err());
}

fn one_of_many_writers_stores(storage: &dyn Storage) {
    const WRITERS: u8 = 8;
    for round in 1..=40 {
        let names = [Name::end(SessionId::from_bytes([round; 16])), Name::pack(object(round, 1))];
        let name = if round % 2 == 0 { names[0] } else { names[1] };
        let barrier = Barrier::new(usize::from(WRITERS));
        let results = std::thread::scope(|scope| {
            let write = |writer: u8| {
                barrier.wait();
                // What a writer is told must be what it then finds.
                let put = storage.put(&name, &vec![writer; 5000 + usize::from(writer)]).unwrap();
                (writer, put, storage.get_all(&name, 9999).unwrap())
            };
            let threads: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let winners: Vec<u8> =
            results.iter().filter(|(_, put, _)| *put == Put::Stored).map(|(writer, ..)| *writer).collect();
        let [winner] = winners[..] else { panic!("writers {winners:?} stored {name}") };
        let bytes = vec![winner; 5000 + usize::from(winner)];
        assert!(results.iter().all(|(_, _, found)| *found == bytes), "{name}");
    }
}

fn deletion_is_exact_and_repeatable(storage: &dyn Storage) {
    let (gone, stays) = (Name::pack(object(4, 1)), Name::pack(object(4, 2)));
    storage.delete(&gone).unwrap();
    for _ in 0..2 {
        assert_eq!(storage.put(&gone, b"1").unwrap(), Put::Stored);
        storage.put(&stays, b"22").unwrap();
        storage.delete(&gone).unwrap();
        assert_eq!(storage.len(&gone).unwrap(), None);
        assert!(storage.get_all(&gone, 9).unwrap_err().is_missing());
        assert_eq!(list(storage, Family::Packs), BTreeMap::from([(stays, 2)]));
        storage.delete(&gone).unwrap();
    }
    let sid = SessionId::from_bytes([1; 16]);
    for name in [Name::session(sid), Name::end(sid), Name::intent(sid, 1)] {
        storage.put(&name, b"x").unwrap();
    }
    storage.delete(&Name::session(sid)).unwrap();
    assert_eq!(list(storage, Family::Sessions).len(), 2);
}

fn listings_are_complete(storage: &dyn Storage) {
    let mut stored = 0;
    for size in LIST_SIZES {
        while stored < size {
            stored += 1;
            storage.put(&Name::condemned(stored), &vec![0; (stored % 7) as usize]).unwrap();
        }
        let expected: BTreeMap<Name, u64> = (1..=size).map(|n| (Name::condemned(n), n % 7)).collect();
        assert!(list(storage, Family::Condemned) == expected, "listing of {size} objects");
        assert!(names(storage, Family::Condemned).iter().eq(expected.keys()), "names of {size} objects");
    }
}

fn shards_are_listed_as_one_family(storage: &dyn Storage) {
    let names: BTreeSet<Name> = (0..1001u64).map(|n| Name::pack(object((n % 256) as u8, n))).collect();
    store_each(storage, names.iter().copied());
    assert!(list(storage, Family::Packs).into_keys().collect::<BTreeSet<_>>() == names);
    assert!(self::names(storage, Family::Packs).iter().eq(&names));
}

fn an_error_of_the_callback_ends_the_listing(storage: &dyn Storage) {
    store_each(storage, (1..=5).map(Name::epoch));
    let mut seen = 0;
    let mut each = |name: Name, _| {
        seen += 1;
        let full = Trouble::Io(io::ErrorKind::StorageFull.into());
        if seen < 3 { Ok(()) } else { Err(StorageError::new("note", name, String::new(), full)) }
    };
    let error = storage.list(Family::Epochs, &mut each, &mut |_| {}).unwrap_err();
    assert_eq!((seen, error.call, error.kind()), (3, "note", Kind::NoSpace));
}

fn callbacks_may_call_the_storage(storage: &dyn Storage) {
    store_each(storage, (1..=300).map(Name::epoch));
    let mut seen = BTreeSet::new();
    let mut each = |name: Name, _| {
        assert!(seen.insert(name), "{name} is listed twice");
        assert_eq!(storage.get_all(&name, 1)?, b"x");
        storage.put(&Name::run(SessionId::from_bytes([1; 16]), seen.len() as u64), b"y")?;
        storage.delete(&name)
    };
    storage.list(Family::Epochs, &mut each, &mut |path| panic!("{path} is foreign")).unwrap();
    assert_eq!(seen.len(), 300);
    assert!(list(storage, Family::Epochs).is_empty());
    assert_eq!(list(storage, Family::Runs).len(), 300);
}

fn numbers_outside_the_format_name_nothing(storage: &dyn Storage) {
    for n in [0, Name::MAX_NUMBER + 1, u64::MAX] {
        let name = Name::generation(n);
        let error = storage.put(&name, b"x").unwrap_err();
        assert!(matches!(error.trouble, Trouble::Number) && error.kind() == Kind::Refused);
        assert!(storage.get(&name, 0..0).unwrap_err().is_missing());
        assert!(storage.get_all(&name, 9).unwrap_err().is_missing());
        assert_eq!(storage.len(&name).unwrap(), None);
        storage.delete(&name).unwrap();
    }
    assert!(list(storage, Family::Generations).is_empty());
}

/// Threads put, delete and list the same names: an object is whole or not there, and listings do not fail.
fn what_others_do_meanwhile_does_no_harm(storage: &dyn Storage) {
    let stays = Name::pack(object(5, 99));
    storage.put(&stays, b"stays").unwrap();
    let names: Vec<Name> = (0..4).map(|n| Name::pack(object(5 + (n % 2) as u8, n))).collect();
    let bytes = vec![0x5a; 3000];
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (names, bytes) = (&names, &bytes);
            scope.spawn(move || {
                for round in 0..60 {
                    let name = &names[(first + round) % names.len()];
                    storage.put(name, bytes).unwrap();
                    match storage.get_all(name, 3000) {
                        Ok(found) => assert!(found == *bytes, "{name} is torn"),
                        Err(error) => assert!(error.is_missing(), "{error}"),
                    }
                    let listed = list(storage, Family::Packs);
                    assert!(listed.contains_key(&stays));
                    assert!(listed.iter().all(|(name, len)| *name == stays || *len == 3000));
                    storage.delete(name).unwrap();
                }
            });
        }
    });
    assert_eq!(list(storage, Family::Packs), BTreeMap::from([(stays, 5)]));
}
