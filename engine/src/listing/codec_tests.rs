use super::*;
use crate::listing::encode_xattrs;
use crate::map::Part;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn time() -> impl Strategy<Value = Time> {
    (prop_oneof![any::<i64>(), -9i64..2_000_000_000], 0u32..1_000_000_000)
        .prop_map(|(secs, nanos)| Time { secs, nanos })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let set = vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9)), 1..5);
    prop_oneof![
        Just(Xattrs::None),
        set.prop_map(|set| Xattrs::Inline(encode_xattrs(&set))),
        (129u64..=8 << 20, any::<[u8; 32]>())
            .prop_map(|(len, id)| Xattrs::Chunk { len, id: ChunkId::from_bytes(id) }),
    ]
}

fn file() -> impl Strategy<Value = Body> {
    let parts = vec((1u64..=8 << 20, any::<[u8; 32]>()), 0..6);
    let holes = vec((0u64..5, 1u64..100), 0..4);
    (parts, holes, any::<bool>()).prop_map(|(parts, gaps, tree)| {
        let chunks = if tree { 1_000 } else { 1 };
        let level = u8::from(tree && parts.len() > 1);
        let chunks = if level == 0 { 1 } else { chunks };
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(len, id)| Part { len: len.max(chunks), chunks, id: ChunkId::from_bytes(id) })
            .collect();
        let content = Content { level, parts };
        let (mut holes, mut end) = (Vec::new(), 0);
        for (gap, len) in gaps {
            if end + gap <= content.len() && (end == 0 || gap > 0) {
                holes.push(end + gap..end + gap + len);
                end += gap + len;
            }
        }
        let size = content.len() + holes.iter().map(|hole| hole.end - hole.start).sum::<u64>();
        Body::File { size, holes, content }
    })
}

fn body() -> impl Strategy<Value = Body> {
    let device = (any::<bool>(), any::<u32>(), any::<u32>()).prop_map(|(block, major, minor)| match block {
        true => Body::BlockDevice { major, minor },
        false => Body::CharDevice { major, minor },
    });
    prop_oneof![
        4 => file(),
        1 => Just(Body::Directory),
        1 => vec(any::<u8>(), 1..40).prop_map(Body::Symlink),
        1 => prop_oneof![Just(Body::Fifo), Just(Body::Socket)],
        1 => device,
    ]
}

prop_compose! {
    fn node()(
        body in body(), mode in 0u32..=0o7777, uid in any::<u32>(), gid in any::<u32>(),
        names in option::of(("[a-zé]{0,9}", "[a-z]{0,9}")), mtime in time(), ctime in time(),
        atime in option::of(time()), btime in option::of(time()), xattrs in xattrs(),
        link in option::of(any::<[u8; 16]>()), suspect in any::<bool>(),
    ) -> Node {
        let link = link.map(LinkGroup::from_bytes).filter(|_| body != Body::Directory);
        Node { body, mode, uid, gid, names, mtime, ctime, atime, btime, xattrs, link, suspect }
    }
}

proptest! {
    #[test]
    fn nodes_round_trip(node in node()) {
        let bytes = encode_node(&node).unwrap();
        prop_assert_eq!(decode_node(&bytes).unwrap(), node);
    }

    #[test]
    fn what_a_mutated_node_decodes_to_encodes_to_it(
        node in node(), at in any::<proptest::sample::Index>(), byte in prop_oneof![any::<u8>(), 0u8..4],
        cut in option::weighted(0.2, any::<proptest::sample::Index>()), near in any::<bool>(),
    ) {
        let mut bytes = encode_node(&node).unwrap();
        // Near the front is where most fields are.
        let at = at.index(if near { bytes.len().min(12) } else { bytes.len() });
        bytes[at] = byte;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(node) = decode_node(&bytes) {
            let again = encode_node(&node).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 2..60), kind in 0u8..9, flags in 0u8..0x80) {
        (bytes[0], bytes[1]) = (kind, flags);
        if let Ok(node) = decode_node(&bytes) {
            prop_assert_eq!(encode_node(&node).unwrap(), bytes);
        }
    }
}

fn plain(body: Body) -> Node {
    let time = Time { secs: 1_700_000_000, nanos: 5 };
    Node {
        body,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        names: None,
        mtime: time,
        ctime: Time { secs: time.secs + 1, nanos: 6 },
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        suspect: false,
    }
}

/// A file with holes from … to ….
fn sparse(size: u64, holes: &[(u64, u64)], lens: &[u64]) -> Node {
    let parts = lens.iter().map(|len| Part { len: *len, chunks: 1, id: ChunkId::from_bytes([9; 32]) });
    let content = Content { level: 0, parts: parts.collect() };
    plain(Body::File { size, holes: holes.iter().map(|(from, to)| *from..*to).collect(), content })
}

#[test]
fn golden_bytes() {
    let bytes = encode_node(&sparse(300, &[(10, 200)], &[110])).unwrap();
    let times = [0x80, 0xc4, 0x9f, 0xd5, 0x0c, 5, 2, 6];
    let head = [FILE, 2, 0xa4, 0x03, 0xe8, 0x07, 0xe8, 0x07];
    let tail = [0xac, 0x02, 1, 10, 190, 1, 0, 1, 110];
    assert_eq!(bytes, [&head[..], &times, &tail, &[9; 32]].concat());
}

#[test]
fn files_whose_sums_do_not_fit_are_refused() {
    let holes = &[(10, 20), (30, 40)];
    assert!(encode_node(&sparse(40, holes, &[20])).is_ok());
    assert!(encode_node(&sparse(0, &[], &[])).is_ok());
    assert!(encode_node(&sparse(40, &[(0, 40)], &[])).is_ok());
    let bad = [
        ("too little content", sparse(40, holes, &[19])),
        ("too much content", sparse(40, holes, &[20, 1])),
        ("a hole outside", sparse(39, holes, &[19])),
        ("holes out of order", sparse(40, &[(30, 40), (10, 20)], &[20])),
        ("holes that overlap", sparse(40, &[(10, 20), (19, 29)], &[20])),
        ("holes that touch", sparse(40, &[(10, 20), (20, 29)], &[21])),
        ("an empty hole", sparse(40, &[(10, 10)], &[40])),
        ("an empty chunk", sparse(40, &[], &[40, 0])),
        ("a chunk of more than 8 MiB", sparse((8 << 20) + 1, &[], &[(8 << 20) + 1])),
        (
            "too many holes",
            sparse(9_000, &(0..4_097).map(|n| (2 * n, 2 * n + 1)).collect::<Vec<_>>(), &[4_903]),
        ),
        ("too many parts", sparse(1_025, &[], &[1; 1_025])),
    ];
    for (what, node) in bad {
        assert!(encode_node(&node).is_err(), "{what}");
    }
}

#[test]
fn content_trees_only_for_more_than_a_list() {
    let tree = |chunks: [u64; 2]| {
        let id = ChunkId::from_bytes([9; 32]);
        let parts = chunks.map(|chunks| Part { len: chunks * 10, chunks, id }).to_vec();
        encode_node(&plain(Body::File {
            size: (chunks[0] + chunks[1]) * 10,
            holes: vec![],
            content: Content { level: 1, parts },
        }))
    };
    assert!(tree([1_000, 25]).is_ok());
    assert!(tree([1_000, 24]).is_err());
    assert!(tree([1_025, 0]).is_err());
}

#[test]
fn other_invariants_are_checked_both_ways() {
    let fifo = plain(Body::Fifo);
    let id = ChunkId::from_bytes([9; 32]);
    let link = Some(LinkGroup::from_bytes([1; 16]));
    let bad = [
        Node { mode: 0o10000, ..fifo.clone() },
        Node { mtime: Time { secs: 0, nanos: 1_000_000_000 }, ..fifo.clone() },
        Node { atime: Some(Time { secs: 0, nanos: 1_000_000_000 }), ..fifo.clone() },
        Node { names: Some(("x".repeat(256), String::new())), ..fifo.clone() },
        Node { xattrs: Xattrs::Inline(vec![0]), ..fifo.clone() },
        Node { xattrs: Xattrs::Inline(vec![1, 0]), ..fifo.clone() },
        Node { xattrs: Xattrs::Inline(encode_xattrs(&[(vec![b'n'], vec![0; 130])])), ..fifo.clone() },
        Node { xattrs: Xattrs::Chunk { len: 128, id }, ..fifo.clone() },
        Node { xattrs: Xattrs::Chunk { len: (8 << 20) + 1, id }, ..fifo.clone() },
        plain(Body::Symlink(vec![])),
        plain(Body::Symlink(vec![b'x'; 65_537])),
        Node { link, ..plain(Body::Directory) },
    ];
    for node in bad {
        assert!(encode_node(&node).is_err(), "{node:?}");
    }
    let mut holes = encode_node(&fifo).unwrap();
    holes[1] = HOLES as u8;
    assert!(decode_node(&holes).is_err(), "holes in what is no file");
}

#[test]
fn newer_features_are_refused_by_name() {
    let bytes = encode_node(&plain(Body::Fifo)).unwrap();
    let flags = decode_node(&[&bytes[..1], &[0x80, 1], &bytes[2..]].concat()).unwrap_err();
    assert!(flags.wrong.contains("0x80"), "{flags}");
    let kind = decode_node(&[&[8], &bytes[1..]].concat()).unwrap_err();
    assert!(kind.wrong.contains("kind 8"), "{kind}");
}
