use super::*;
use crate::map::memory::{MemoryChunks, MemoryError};
use crate::map::node::{Child, NodeWriter};
use crate::map::store::{Class, SaveChunk};
use crate::map::tests::{Model, build, entries, files, target};
use proptest::prelude::*;

const MAX: u64 = 1 << 20;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn walk(cursor: &mut Cursor<'_, MemoryChunks>) -> Result<Pairs, MemoryError> {
    let mut all = Vec::new();
    while let Some(key) = cursor.next()?.map(|entry| entry.key.to_vec()) {
        let value = cursor.load(MAX)?.map(Cow::into_owned).unwrap_or_default();
        all.push((key, value));
    }
    assert!(cursor.next()?.is_none(), "the end stays");
    Ok(all)
}

fn pairs<'m>(model: impl Iterator<Item = (&'m Vec<u8>, &'m Vec<u8>)>) -> Pairs {
    model.map(|(key, value)| (key.clone(), value.clone())).collect()
}

proptest! {
    #[test]
    fn walks_seeks_and_ranges_are_those_of_a_sorted_map(
        model in entries(80),
        seeks in proptest::collection::vec(
            (any::<proptest::sample::Index>(), proptest::collection::vec(0u8..=255, 0..3), 0usize..4), 1..12),
    ) {
        let store = MemoryChunks::new();
        let root = build(&store, target(1024), &model);
        let mut cursor = Cursor::new(&store, root, target(1024));
        prop_assert_eq!(walk(&mut cursor).unwrap(), pairs(model.iter()));

        for (index, tail, steps) in seeks {
            // A key of the map, or one beside it, or nothing like it.
            let mut key = if model.is_empty() { Vec::new() } else {
                model.keys().nth(index.index(model.len())).unwrap().clone()
            };
            key.extend(&tail);
            cursor.range(&key, None).unwrap();
            let mut rest = model.range(key.clone()..);
            for _ in 0..steps {
                let entry = cursor.next().unwrap().map(|entry| entry.key.to_vec());
                prop_assert_eq!(entry.as_ref(), rest.next().map(|(key, _)| key));
            }
            let found = cursor.get(&key).unwrap().map(|value| value.size_bytes());
            prop_assert_eq!(found, model.get(&key).map(|value| value.len() as u64));

            key.truncate(tail.len());
            cursor.prefix(&key).unwrap();
            let expected = model.range(key.clone()..).take_while(|(other, _)| other.starts_with(&key));
            prop_assert_eq!(walk(&mut cursor).unwrap(), pairs(expected));

            let end = [&key[..], &tail].concat();
            cursor.range(&key, Some(end.clone())).unwrap();
            let inside = model.range(key.clone()..).take_while(|(key, _)| **key < end);
            prop_assert_eq!(walk(&mut cursor).unwrap(), pairs(inside));
        }
    }
}

#[test]
fn looking_up_reads_one_node_per_level_and_neighbours_none() {
    let store = MemoryChunks::new();
    let model = files(10_000);
    let root = build(&store, target(4096), &model);
    let mut cursor = Cursor::new(&store, root, target(4096));
    store.take_loads();
    let keys: Vec<_> = model.keys().collect();
    assert!(cursor.get(keys[5_000]).unwrap().is_some());
    assert_eq!(store.take_loads(), u64::from(root.level) + 1);
    let leaf = cursor.leaf().unwrap();
    let (number, first) = (leaf.1, 5_000 - leaf.1);
    assert!(cursor.get(keys[first]).unwrap().is_some());
    assert_eq!(cursor.leaf(), Some((leaf.0, 0)));
    assert!(cursor.get(keys[5_000]).unwrap().is_some());
    assert_eq!(cursor.leaf(), Some((leaf.0, number)));
    assert_eq!(store.take_loads(), 0, "the leaf is at hand");
    assert!(cursor.get(keys[9_000]).unwrap().is_some());
    assert!(store.take_loads() <= u64::from(root.level));
    assert_eq!(store.take_announced(), []);
}

#[test]
fn walking_announces_every_node_ahead_and_once() {
    let store = MemoryChunks::new();
    let root = build(&store, target(4096), &files(10_000));
    let mut cursor = Cursor::new(&store, root, target(4096));
    store.take_loads();
    while cursor.next().unwrap().is_some() {}
    let (loads, announced) = (store.take_loads() as usize, store.take_announced());
    assert_eq!(loads, store.len());
    assert_eq!(announced.len(), loads - 1, "all but the root");
    let unique: std::collections::HashSet<_> = announced.iter().collect();
    assert_eq!(unique.len(), announced.len());
}

#[test]
fn an_error_can_be_met_again_and_is_never_the_end() {
    let store = MemoryChunks::new();
    let root = build(&store, target(1024), &files(500));
    let mut cursor = Cursor::new(&store, root, target(1024));
    cursor.next().unwrap();
    let first = cursor.leaf().unwrap().0;
    let second = loop {
        cursor.next().unwrap();
        let leaf = cursor.leaf().unwrap().0;
        if leaf != first {
            break leaf;
        }
    };
    store.remove(&second);
    let mut cursor = Cursor::new(&store, root, target(1024));
    while cursor.next().is_ok_and(|entry| entry.is_some()) {}
    for _ in 0..3 {
        assert_eq!(cursor.next(), Err(MemoryError::Missing(second)));
    }
    assert_eq!(cursor.entry(), None);
}

fn save(store: &MemoryChunks, node: &NodeWriter) -> Child {
    let mut bytes = Vec::new();
    node.encode(&mut bytes);
    Child { id: store.save(&bytes).unwrap(), entries: node.entries, value_bytes: node.value_bytes }
}

fn leaf(store: &MemoryChunks, keys: &[&[u8]]) -> Child {
    let mut node = NodeWriter::new(0);
    keys.iter().for_each(|key| node.push_value(key, Value::Inline(b"v")));
    save(store, &node)
}

fn inner(store: &MemoryChunks, level: u8, children: &[(&[u8], Child)]) -> Root {
    let mut node = NodeWriter::new(level);
    children.iter().for_each(|(key, child)| node.push_child(key, *child));
    let child = save(store, &node);
    Root {
        class: Class::Open,
        id: Some(child.id),
        level,
        entries: child.entries,
        value_bytes: child.value_bytes,
    }
}

#[test]
fn nodes_that_contradict_their_parents_are_refused() {
    let store = MemoryChunks::new();
    let (ab, cd) = (leaf(&store, &[b"a", b"b"]), leaf(&store, &[b"c", b"d"]));
    let good = inner(&store, 1, &[(b"b", ab), (b"d", cd)]);
    let outcome = |root| walk(&mut Cursor::new(&store, root, target(1024))).map(|all| all.len());
    assert_eq!(outcome(good), Ok(4));

    let more = Child { entries: 3, ..cd };
    let longer = Child { value_bytes: 3, ..cd };
    let bc = leaf(&store, &[b"b", b"c"]);
    let high = inner(&store, 1, &[(b"b", ab), (b"d", cd)]);
    let high = Child { id: high.id.unwrap(), entries: 4, value_bytes: 4 };
    let bad = [
        ("entries below", inner(&store, 1, &[(b"b", ab), (b"d", more)])),
        ("value bytes below", inner(&store, 1, &[(b"b", ab), (b"d", longer)])),
        ("last key", inner(&store, 1, &[(b"b", ab), (b"e", cd)])),
        ("first key repeats the neighbour's last", inner(&store, 1, &[(b"b", ab), (b"c", bc)])),
        ("the same child twice", inner(&store, 1, &[(b"a", ab), (b"b", ab)])),
        ("a child of the same level", inner(&store, 1, &[(b"d", high), (b"e", cd)])),
        ("a child two levels down", inner(&store, 2, &[(b"b", ab), (b"d", cd)])),
        ("a root with one entry", inner(&store, 1, &[(b"b", ab)])),
        ("level of the root", Root { level: 2, ..good }),
        ("entries of the root", Root { entries: 5, ..good }),
        ("value bytes of the root", Root { value_bytes: 5, ..good }),
        ("a level that cannot be", Root { level: 255, ..good }),
    ];
    for (what, root) in bad {
        assert!(matches!(outcome(root), Err(MemoryError::Corrupt(_))), "{what}: {:?}", outcome(root));
        let mut cursor = Cursor::new(&store, root, target(1024));
        assert!([b"a", b"b", b"c"].iter().any(|key| cursor.seek(*key).is_err()), "{what}, by seeking");
    }
}

#[test]
fn the_order_of_keys_holds_across_the_borders_of_inner_nodes() {
    let store = MemoryChunks::new();
    let (ab, cd, c) = (leaf(&store, &[b"a", b"b"]), leaf(&store, &[b"c", b"d"]), leaf(&store, &[b"c", b"e"]));
    let f = leaf(&store, &[b"f"]);
    let as_child =
        |root: Root| Child { id: root.id.unwrap(), entries: root.entries, value_bytes: root.value_bytes };
    let left = as_child(inner(&store, 1, &[(b"b", ab), (b"d", cd)]));
    let right = as_child(inner(&store, 1, &[(b"e", c), (b"f", f)]));
    let root = inner(&store, 2, &[(b"d", left), (b"f", right)]);
    assert!(walk(&mut Cursor::new(&store, root, target(1024))).is_err(), "c comes after d");
}

#[test]
fn a_node_over_the_limit_is_not_read() {
    let store = MemoryChunks::new();
    let mut node = NodeWriter::new(0);
    for n in 0..400u32 {
        node.push_value(&n.to_be_bytes(), Value::Inline(&[0; 1000]));
    }
    let child = save(&store, &node);
    let root = Root { class: Class::Open, id: Some(child.id), level: 0, entries: 400, value_bytes: 400_000 };
    let outcome = |t| walk(&mut Cursor::new(&store, root, target(t))).map(|all| all.len());
    assert!(matches!(outcome(4096), Err(MemoryError::Long { max: 327_680, .. })));
    assert_eq!(outcome(16_384), Ok(400));
}

#[test]
fn an_empty_map_has_nothing() {
    let store = MemoryChunks::new();
    let mut cursor = Cursor::new(&store, build(&store, target(1024), &Model::new()), target(1024));
    assert_eq!(cursor.next(), Ok(None));
    assert_eq!(cursor.get(b""), Ok(None));
    assert_eq!(cursor.leaf(), None);
    assert_eq!(store.take_loads(), 0);
}
