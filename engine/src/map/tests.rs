//! The shape of maps: against the format's words taken literally, after edits, at the limits; golden roots.

use super::memory::{MemoryChunks, MemoryError};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const KEY: [u8; 32] = *b"boundary key of the map's tests.";

pub(super) fn target(bytes: u32) -> LeafTarget {
    LeafTarget::new(bytes).unwrap()
}

pub(super) fn build(store: &MemoryChunks, target: LeafTarget, model: &Model) -> Root {
    let mut builder = Builder::new(store, &KEY, target);
    model.iter().for_each(|(key, value)| builder.push(key, value).unwrap());
    builder.finish().unwrap()
}

/// Entries like those of a listing: paths in folders, values of about 100 bytes.
pub(super) fn files(count: u32) -> Model {
    let key = |n: u32| format!("home\0user\0folder{:04}\0file-{:06}.txt", n / 50, n).into_bytes();
    let value = |n: u32| blake3::hash(&n.to_le_bytes()).as_bytes().repeat(4)[..90 + n as usize % 20].to_vec();
    (0..count).map(|n| (key(n), value(n))).collect()
}

/// Entries of any kind: keys with long shared prefixes, values of every class.
pub(super) fn entries(max: usize) -> impl Strategy<Value = Model> {
    let word = proptest::collection::vec(proptest::sample::select(&b"ab\0\xff"[..]), 0..12);
    let key = (word, 0usize..6).prop_map(|(mut word, long)| {
        if long == 0 {
            let fill = word.len() * 300;
            word.splice(0..0, std::iter::repeat_n(b'a', fill));
        }
        word
    });
    let value = (any::<u8>(), prop_oneof![4 => 0usize..200, 1 => 1000usize..1100])
        .prop_map(|(byte, len)| vec![byte; len]);
    proptest::collection::btree_map(key, value, 0..max)
}

/// Builds level by level from whole lists, in the words of the format and with its division.
fn literal(store: &MemoryChunks, t: u64, model: &Model) -> Root {
    struct Item {
        key: Vec<u8>,
        payload: Vec<u8>,
        entries: u64,
        bytes: u64,
    }
    let mut items: Vec<Item> = Vec::new();
    for (key, value) in model {
        let mut payload = Vec::new();
        if value.len() <= 1024 {
            payload.put_u8(0);
            payload.put_bytes(value);
        } else {
            payload.put_u8(1);
            payload.put_varint(value.len() as u64);
            payload.put_u8(0);
            payload.put(store.save(value).unwrap().as_bytes());
        }
        items.push(Item { key: key.clone(), payload, entries: 1, bytes: value.len() as u64 });
    }
    let mut level = 0u8;
    loop {
        let mut nodes: Vec<(Item, ChunkId)> = Vec::new();
        let mut from = 0;
        let mut s = 0u64;
        for to in 1..=items.len() {
            let key = &items[to - 1].key;
            let w = 80 + key.len() as u64;
            s += w;
            let hash = blake3::keyed_hash(&KEY, &[&[level], &key[..]].concat());
            let h = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap());
            let right = u128::from(w) * u128::from(s) * 28_976_077_832_308_491_369 / u128::from(t * t);
            let boundary = right >= 1 << 64 || u128::from(h) < right || s >= 3 * t;
            if !(boundary && (level == 0 || to - from >= 2)) && to < items.len() {
                continue;
            }
            let mut bytes = vec![level];
            bytes.put_varint((to - from) as u64);
            let mut before: &[u8] = &[];
            for item in &items[from..to] {
                let shared = before.iter().zip(&item.key).take_while(|(a, b)| a == b).count();
                bytes.put_varint(shared as u64);
                bytes.put_bytes(&item.key[shared..]);
                bytes.put(&item.payload);
                before = &item.key;
            }
            let id = store.save(&bytes).unwrap();
            let entries = items[from..to].iter().map(|item| item.entries).sum();
            let sum = items[from..to].iter().map(|item| item.bytes).sum();
            let mut payload = id.as_bytes().to_vec();
            payload.put_varint(entries);
            payload.put_varint(sum);
            nodes.push((Item { key: key.clone(), payload, entries, bytes: sum }, id));
            (from, s) = (to, 0);
        }
        match &nodes[..] {
            [] => return Root::empty(Class::Open),
            [(item, id)] => {
                return Root {
                    class: Class::Open,
                    id: Some(*id),
                    level,
                    entries: item.entries,
                    value_bytes: item.bytes,
                };
            }
            _ => {}
        }
        items = nodes.into_iter().map(|(item, _)| item).collect();
        level += 1;
    }
}

/// Every node of a map with its level, and its length in bytes.
fn nodes(store: &MemoryChunks, root: Root) -> Vec<(ChunkId, u8, usize)> {
    let (mut found, mut open) = (Vec::new(), Vec::from_iter(root.id));
    while let Some(id) = open.pop() {
        let bytes = store.load(&id, u32::MAX).unwrap();
        let len = bytes.len();
        let node = MapNode::decode(bytes).unwrap();
        found.push((id, node.level(), len));
        open.extend((0..node.count()).filter_map(|index| node.child(index)).map(|child| child.id));
    }
    found
}

fn new_nodes(store: &MemoryChunks, old: Root, new: Root) -> usize {
    let known: HashSet<_> = nodes(store, old).into_iter().map(|(id, ..)| id).collect();
    nodes(store, new).iter().filter(|(id, ..)| !known.contains(id)).count()
}

proptest! {
    #[test]
    fn streaming_makes_the_tree_of_the_format(model in entries(120), t in 1024u32..3000) {
        let store = MemoryChunks::new();
        let root = build(&store, target(t), &model);
        prop_assert_eq!(root, literal(&store, u64::from(t), &model));
        prop_assert_eq!(root.entries, model.len() as u64);
        prop_assert_eq!(root.value_bytes, model.values().map(|value| value.len() as u64).sum::<u64>());
    }

    #[test]
    fn roots_round_trip_and_have_one_encoding(
        id in any::<[u8; 32]>(), level in 0u8..43, entries in 0u64..300, value_bytes in any::<u64>(), class in 0u8..4,
    ) {
        let mut bytes = vec![class];
        bytes.put_varint(entries);
        if entries > 0 {
            bytes.put_varint(value_bytes);
            bytes.put_u8(level);
            bytes.put(&id);
        }
        let good = (class == 1 || class == 2) && (entries == 0 || level <= 40);
        let decoded = Root::decode(&mut Reader::new("root", &bytes));
        prop_assert_eq!(decoded.is_ok(), good);
        if let Ok(root) = decoded {
            let mut again = Vec::new();
            root.encode(&mut again);
            prop_assert_eq!(again, bytes);
            prop_assert_eq!((root.entries, root.id.is_some()), (entries, entries > 0));
        }
    }
}

#[test]
fn a_large_map_is_that_of_the_format_too() {
    let (store, model) = (MemoryChunks::new(), files(20_000));
    let root = build(&store, target(1024), &model);
    assert!(root.level >= 3, "{root:?}");
    assert_eq!(root, literal(&store, 1024, &model));
}

#[test]
fn editing_a_value_changes_one_path_and_nothing_else() {
    let store = MemoryChunks::new();
    let model = files(10_000);
    let before = build(&store, target(4096), &model);
    for edited in [0, 17, 5_000, 9_999] {
        let mut model = model.clone();
        let key = model.keys().nth(edited).unwrap().clone();
        model.insert(key, vec![1; 1024]);
        let after = build(&store, target(4096), &model);
        assert_eq!(new_nodes(&store, before, after), usize::from(before.level) + 1);
    }
}

#[test]
fn inserting_and_deleting_change_few_nodes() {
    let store = MemoryChunks::new();
    let model = files(10_000);
    let before = build(&store, target(4096), &model);
    let all = nodes(&store, before).len();
    let mut changed = Vec::new();
    for n in (0..10_000).step_by(97) {
        let mut with = model.clone();
        let place = model.keys().nth(n).unwrap().clone();
        with.insert([&place[..], b"~"].concat(), vec![1; 100]);
        changed.push(new_nodes(&store, before, build(&store, target(4096), &with)));
        let mut without = model.clone();
        without.remove(&place);
        changed.push(new_nodes(&store, before, build(&store, target(4096), &without)));
    }
    let mean = changed.iter().sum::<usize>() as f64 / changed.len() as f64;
    let most = changed.iter().max().unwrap();
    assert!(all > 250 && mean < f64::from(before.level) + 2.5 && *most <= 16, "{all} {mean} {most}");
}

#[test]
fn leaves_are_about_the_target() {
    let store = MemoryChunks::new();
    for t in [1024, 4096, 16_384] {
        let root = build(&store, target(t), &files(20_000));
        let leaves: Vec<_> = nodes(&store, root).into_iter().filter(|(_, level, _)| *level == 0).collect();
        let mean = leaves.iter().map(|(.., len)| *len as f64).sum::<f64>() / leaves.len() as f64;
        assert!((0.8..1.3).contains(&(mean / f64::from(t))), "{mean} for {t}");
    }
}

#[test]
fn no_entries_make_a_node_too_long() {
    // The shortest keys with the longest values that stand in leaves, the longest keys of all among them.
    for t in [1024, 4096, 16_384] {
        let store = MemoryChunks::new();
        let mut model = Model::new();
        for n in 0..6_000u32 {
            let key = &n.to_be_bytes()[2..];
            model.insert(key.to_vec(), vec![1; 1024]);
            if n % 500 == 7 {
                model.insert([key, &vec![b'k'; 65_534]].concat(), vec![2; 1024]);
                model.insert([key, &vec![b'k'; 65_533], b"l"].concat(), vec![2; 1024]);
            }
        }
        let root = build(&store, target(t), &model);
        let longest = nodes(&store, root).into_iter().map(|(.., len)| len).max().unwrap();
        assert!(longest <= target(t).max_node() as usize, "{longest} for {t}");
        assert!(longest > 65_536);
    }
}

#[test]
fn keys_longer_than_the_target_make_a_tree_that_ends() {
    let store = MemoryChunks::new();
    let model: Model =
        (0..300u32).map(|n| ([&n.to_be_bytes()[..], &[b'k'; 9_000]].concat(), vec![])).collect();
    let root = build(&store, target(1024), &model);
    // Nodes of two: each level halves.
    assert_eq!(root.level, 9);
    assert_eq!(root.entries, 300);
}

#[test]
fn golden_roots() {
    let root = |t, model: &Model| {
        let mut bytes = Vec::new();
        build(&MemoryChunks::new(), target(t), model).encode(&mut bytes);
        crate::id::to_hex(&bytes)
    };
    assert_eq!(root(4096, &Model::new()), "0100");
    let small: Model = [(b"".to_vec(), b"root".to_vec()), (b"a".to_vec(), vec![7; 1025])].into();
    assert_eq!(
        root(4096, &small),
        "0102850800e1a8cdd7986a766b8f576eb071fd58a3f85ef3e282226269389f59ee586fc271"
    );
    assert_eq!(
        root(4096, &files(1_000)),
        "01e807ac8906014a6bc924fadf92b4dd72358e8314ba335c8c62dbc3a2ffa4cbeda538a7fe35ad"
    );
    assert_eq!(
        root(1024, &files(1_000)),
        "01e807ac89060353a1d8a7ef480ec07fdf45ea30993c4138d6d9106f8794a4cf4602a43ccbb811"
    );
}

#[test]
fn refused_entries_change_nothing() {
    let store = MemoryChunks::new();
    let mut builder = Builder::new(&store, &KEY, target(1024));
    builder.push(b"b", b"1").unwrap();
    let id = ChunkId::from_bytes([1; 32]);
    for key in [&b"b"[..], b"a", b"", &vec![b'x'; 65_537]] {
        let refused = builder.push(key, b"2").unwrap_err();
        assert!(matches!(refused, BuildError::Refused(Refused::Order { .. } | Refused::KeyLength { .. })));
    }
    let short = builder.push_value(b"c", Value::Blob(Blob { len: 1024, level: 0, id: Some(id) }));
    assert!(matches!(short, Err(BuildError::Refused(Refused::Blob { len: 1024, level: 0 }))));
    let flat = builder.push_value(b"c", Value::Blob(Blob { len: 1 << 20, level: 0, id: Some(id) }));
    assert!(matches!(flat, Err(BuildError::Refused(Refused::Blob { level: 0, .. }))));
    let long = builder.push_value(b"c", Value::Blob(Blob { len: (16 << 30) + 1, level: 2, id: Some(id) }));
    assert!(matches!(long, Err(BuildError::Refused(Refused::ValueLength { .. }))));
    builder.push(b"c", b"3").unwrap();
    let expected = [(b"b".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"3".to_vec())].into();
    assert_eq!(builder.finish().unwrap(), build(&store, target(1024), &expected));
}

#[test]
fn a_failed_save_is_not_forgotten() {
    for saves in 0..4 {
        let store = MemoryChunks::new();
        store.fail_after(saves);
        let mut builder = Builder::new(&store, &KEY, target(1024));
        let results: Vec<_> = files(100).iter().map(|(key, value)| builder.push(key, value)).collect();
        let failed = results.iter().position(Result::is_err).unwrap();
        assert!(matches!(results[failed], Err(BuildError::Save(MemoryError::Full))));
        assert!(matches!(results[failed + 1], Err(BuildError::Refused(Refused::AfterFailure))));
        assert!(builder.finish().is_err());
    }
}

#[test]
fn leaves_are_told_with_the_entries_they_hold() {
    let (store, model) = (MemoryChunks::new(), files(2_000));
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let mut builder = Builder::new(&store, &KEY, target(1024))
        .on_leaf(move |id, range| sink.lock().unwrap().push((*id, range)));
    model.iter().for_each(|(key, value)| builder.push(key, value).unwrap());
    let root = builder.finish().unwrap();
    let told = told.lock().unwrap();
    let mut cursor = Cursor::new(&store, root, target(1024));
    for (id, range) in told.iter() {
        for ordinal in range.clone() {
            let key = cursor.next().unwrap().unwrap().key.to_vec();
            assert_eq!(cursor.leaf(), Some((*id, (ordinal - range.start) as usize)));
            assert_eq!(Some(&key), model.keys().nth(ordinal as usize));
        }
    }
    assert_eq!(told.last().unwrap().1.end, 2_000);
}

/// Not a test of anything: prints what half a million entries take. `--ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn speed_of_half_a_million_entries() {
    let (store, model) = (MemoryChunks::new(), files(500_000));
    let start = std::time::Instant::now();
    let root = build(&store, target(4096), &model);
    let built = start.elapsed();
    let mut cursor = Cursor::new(&store, root, target(4096));
    let start = std::time::Instant::now();
    let (mut count, mut bytes) = (0u64, 0u64);
    while let Some(entry) = cursor.next().unwrap() {
        (count, bytes) = (count + 1, bytes + entry.value.size_bytes());
    }
    assert_eq!((count, bytes), (root.entries, root.value_bytes));
    println!("{} nodes: built in {built:?}, walked in {:?}", store.len(), start.elapsed());
}
