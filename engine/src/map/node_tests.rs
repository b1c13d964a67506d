use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Writes a decoded node again, entry by entry.
fn again(node: &MapNode) -> Vec<u8> {
    node.written_again()
}

fn leaf(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut writer = NodeWriter::new(0);
    for (key, value) in entries {
        let long = Value::Blob(Blob {
            len: 1025 + value.len() as u64,
            level: 0,
            id: Some(ChunkId::from_bytes([9; 32])),
        });
        writer.push_value(key, if value.first() == Some(&7) { long } else { Value::Inline(value) });
    }
    let mut out = Vec::new();
    writer.encode(&mut out);
    out
}

fn inner(keys: &BTreeMap<Vec<u8>, Vec<u8>>, level: u8) -> Vec<u8> {
    let mut writer = NodeWriter::new(level);
    for (key, value) in keys {
        let child = Child {
            id: ChunkId::from_bytes([3; 32]),
            entries: key.len() as u64 + 1,
            value_bytes: value.len() as u64,
        };
        writer.push_child(key, child);
    }
    let mut out = Vec::new();
    writer.encode(&mut out);
    out
}

fn entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let key = proptest::collection::vec(proptest::sample::select(&b"ab\0\xff"[..]), 0..20);
    proptest::collection::btree_map(key, proptest::collection::vec(any::<u8>(), 0..12), 1..20)
}

proptest! {
    #[test]
    fn nodes_round_trip(entries in entries(), level in 0u8..=40) {
        let bytes = if level == 0 { leaf(&entries) } else { inner(&entries, level) };
        let node = MapNode::decode(bytes.clone()).unwrap();
        prop_assert_eq!(node.level(), level);
        prop_assert_eq!(node.first_key(), &entries.keys().next().unwrap()[..]);
        prop_assert_eq!(node.last_key(), &entries.keys().next_back().unwrap()[..]);
        let keys: Vec<_> = (0..node.count()).map(|index| node.key(index).unwrap()).collect();
        prop_assert_eq!(&keys, &entries.keys().cloned().collect::<Vec<_>>());
        prop_assert_eq!(again(&node), bytes);
    }

    #[test]
    fn what_a_mutated_node_decodes_to_encodes_to_it(
        entries in entries(), level in 0u8..3, at in any::<proptest::sample::Index>(), byte in any::<u8>(),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut bytes = if level == 0 { leaf(&entries) } else { inner(&entries, level) };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(node) = MapNode::decode(bytes.clone()) {
            prop_assert_eq!(again(&node), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), small in any::<bool>()) {
        let bytes: Vec<u8> = if small { bytes.iter().map(|byte| byte % 4).collect() } else { bytes };
        if let Ok(node) = MapNode::decode(bytes.clone()) {
            prop_assert_eq!(again(&node), bytes);
        }
    }

    #[test]
    fn prefixes_are_the_longest(a in "[ab]{0,24}", b in "[ab]{0,24}") {
        let naive = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        prop_assert_eq!(common_prefix(a.as_bytes(), b.as_bytes()), naive);
    }
}

#[test]
fn each_rule_refuses() {
    let good: &[u8] = &[0, 2, 0, 2, b'a', b'a', 0, 0, 1, 1, b'b', 0, 0];
    assert_eq!(MapNode::decode(good.to_vec()).unwrap().key(1).unwrap(), b"ab");
    let bad: [(&str, &[u8]); 10] = [
        ("no entries", &[0, 0]),
        ("level too high", &[41, 1, 0, 0, 0, 0]),
        ("the first key shares", &[0, 1, 1, 0, 0, 0]),
        ("repeated key", &[0, 2, 0, 1, b'a', 0, 0, 1, 0, 0, 0]),
        ("falling keys", &[0, 2, 0, 1, b'b', 0, 0, 0, 1, b'a', 0, 0]),
        ("less shared than possible", &[0, 2, 0, 2, b'a', b'a', 0, 0, 0, 2, b'a', b'b', 0, 0]),
        ("more shared than there is", &[0, 2, 0, 1, b'a', 0, 0, 2, 1, b'b', 0, 0]),
        ("unknown tag", &[0, 1, 0, 0, 2, 0]),
        ("bytes left", &[0, 1, 0, 0, 0, 0, 0]),
        ("more entries than fit", &[0, 255, 255, 3, 0, 0, 0, 0]),
    ];
    for (what, bytes) in bad {
        assert!(MapNode::decode(bytes.to_vec()).is_err(), "{what}");
    }
}

#[test]
fn counts_and_lengths_have_limits() {
    let out_of_line = |len: u64, level: u8| {
        let mut bytes = vec![0, 1, 0, 0, 1];
        bytes.put_varint(len);
        bytes.put_u8(level);
        bytes.put(&[1; 32]);
        MapNode::decode(bytes)
    };
    assert!(out_of_line(1024, 0).is_err());
    assert!(out_of_line(1025, 0).is_ok());
    assert!(out_of_line(MAX_VALUE, 2).is_ok());
    assert!(out_of_line(MAX_VALUE + 1, 2).is_err());

    let children = |counts: [u64; 2]| {
        let mut bytes = vec![1, 2];
        for (key, count) in [b'a', b'b'].into_iter().zip(counts) {
            bytes.put(&[0, 1, key]);
            bytes.put(&[1; 32]);
            bytes.put_varint(count);
            bytes.put_varint(0);
        }
        MapNode::decode(bytes)
    };
    assert_eq!(children([1, u64::MAX - 1]).unwrap().entries(), u64::MAX);
    assert!(children([1, u64::MAX]).is_err(), "the sum exceeds 64 bits");
    assert!(children([1, 0]).is_err(), "an empty child");

    let mut long = vec![0, 1, 0];
    long.put_bytes(&vec![b'k'; MAX_KEY + 1]);
    long.put(&[0, 0]);
    assert!(MapNode::decode(long).is_err());
}

#[test]
fn an_entry_takes_what_the_text_says() {
    assert!(size_of::<Slot>() <= 72, "{}", size_of::<Slot>());
}
