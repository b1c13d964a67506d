use super::*;
use crate::map::Class;
use crate::map::memory::{MemoryChunks, MemoryError};
use crate::map::tests::{Model, build, entries, files, target};
use proptest::prelude::*;

type Found = Vec<(Vec<u8>, Option<u64>, Option<u64>)>;

/// All differences as key, old and new length of the value.
fn found(store: &MemoryChunks, old: Root, new: Root) -> Result<Found, MemoryError> {
    let mut diff = Diff::new((store, old), (store, new), target(1024));
    let mut all = Vec::new();
    while let Some(change) = diff.next()? {
        all.push(match change {
            Change::Added { key, new } => (key.to_vec(), None, Some(new.size_bytes())),
            Change::Removed { key, old } => (key.to_vec(), Some(old.size_bytes()), None),
            Change::Changed { key, old, new } => {
                (key.to_vec(), Some(old.size_bytes()), Some(new.size_bytes()))
            }
        });
    }
    assert_eq!(diff.next()?, None, "the end stays");
    Ok(all)
}

fn expected(old: &Model, new: &Model) -> Found {
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let len = |value: &Vec<u8>| value.len() as u64;
    let differs = |key: &&&Vec<u8>| old.get(**key) != new.get(**key);
    keys.iter()
        .filter(differs)
        .map(|key| ((*key).clone(), old.get(*key).map(len), new.get(*key).map(len)))
        .collect()
}

proptest! {
    #[test]
    fn differences_are_those_of_sorted_maps(
        common in entries(60), a in entries(12), b in entries(12),
        removed in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let store = MemoryChunks::new();
        let (mut old, mut new) = (common.clone(), common.clone());
        old.extend(a);
        new.extend(b);
        if !common.is_empty() {
            removed.iter().for_each(|index| {
                new.remove(common.keys().nth(index.index(common.len())).unwrap());
            });
        }
        let (from, to) = (build(&store, target(1024), &old), build(&store, target(1024), &new));
        prop_assert_eq!(found(&store, from, to).unwrap(), expected(&old, &new));
        prop_assert_eq!(found(&store, to, from).unwrap(), expected(&new, &old));
        prop_assert_eq!(found(&store, from, from).unwrap(), vec![]);
    }
}

#[test]
fn equal_maps_are_not_read() {
    let store = MemoryChunks::new();
    let root = build(&store, target(1024), &files(1_000));
    assert_eq!(found(&store, root, root), Ok(vec![]));
    assert_eq!(store.take_loads(), 0);
}

#[test]
fn the_cost_is_that_of_the_difference() {
    let store = MemoryChunks::new();
    let old = files(10_000);
    let from = build(&store, target(1024), &old);
    assert!(from.level >= 3 && store.len() > 1_000);
    let place = |n: usize| old.keys().nth(n).unwrap().clone();
    // (what, new map, most nodes to be read of both sides together)
    let mut edits: Vec<(&str, Model, u64)> = Vec::new();
    for n in [0, 3_333, 9_999] {
        let mut new = old.clone();
        new.insert(place(n), vec![1]);
        edits.push(("a value", new, 2 * u64::from(from.level + 1)));
        let mut new = old.clone();
        new.insert([&place(n)[..], b"~"].concat(), vec![1]);
        edits.push(("an entry more", new, 60));
        let mut new = old.clone();
        new.remove(&place(n));
        edits.push(("an entry less", new, 60));
    }
    let mut new = old.clone();
    (0..50).for_each(|n| drop(new.insert([&place(5_000)[..], &[b'~', n]].concat(), vec![n])));
    edits.push(("fifty entries at one place shift the shape", new, 120));
    for (what, new, most) in edits {
        let to = build(&store, target(1024), &new);
        store.take_loads();
        assert_eq!(found(&store, from, to).unwrap(), expected(&old, &new), "{what}");
        let loads = store.take_loads();
        assert!(loads <= most, "{what}: {loads} nodes read");
    }
}

#[test]
fn maps_of_different_heights_meet() {
    let store = MemoryChunks::new();
    let (old, new) = (files(20), files(5_000));
    let (from, to) = (build(&store, target(1024), &old), build(&store, target(1024), &new));
    assert!(from.level < to.level);
    assert_eq!(found(&store, from, to).unwrap(), expected(&old, &new));
    assert_eq!(found(&store, to, Root::empty(Class::Open)).unwrap().len(), 5_000);
    assert_eq!(found(&store, Root::empty(Class::Open), to).unwrap().len(), 5_000);
}

#[test]
fn a_missing_node_is_an_error_and_not_a_removal() {
    let store = MemoryChunks::new();
    let old = files(500);
    let from = build(&store, target(1024), &old);
    store.remove(&from.id.unwrap());
    assert!(found(&store, from, Root::empty(Class::Open)).is_err());
}
