//! When a window is full, and what an entry weighs in it.

use super::super::tests::node;
use super::super::tests::shelf::Shelf;
use super::*;
use crate::listing::{Content, Part};

fn planned(body: Body, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Planned {
    Planned { path: StoredPath::from_slashes(b"a/b").unwrap(), node: node(body), xattrs: Arc::new(xattrs) }
}

/// A window of so many files, links, directories and bytes.
fn window(files: usize, links: usize, left: usize, bytes: usize) -> Window<Shelf> {
    let file = || FileTask {
        entry: planned(Body::Fifo, vec![]),
        existing: None.into(),
        open: None.into(),
        left: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    Window {
        files: (0..files).map(|_| Arc::new(file())).collect(),
        pieces: Vec::new(),
        links: (0..links).map(|_| (StoredPath::root(), planned(Body::Fifo, vec![]))).collect(),
        left: (0..left).map(|_| planned(Body::Directory, vec![])).collect(),
        bytes,
    }
}

#[test]
fn a_window_is_full_at_each_of_its_limits_and_not_before() {
    assert!(!Window::<Shelf>::new().is_full(0));
    for [files, links, left] in [[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 3, 5], [300, 300, 300]] {
        let more = 1024 - files - links - left;
        assert!(window(files + more, links, left, 0).is_full(0));
        assert!(window(files, links + more, left, 0).is_full(0));
        assert!(window(files, links, left + more, 0).is_full(0));
        assert!(!window(files, links, left + more - 1, 0).is_full(0));
        assert!(!window(files, links + more - 1, left, 0).is_full(0));
    }
    assert!(window(0, 0, 0, 4 << 20).is_full(0) && !window(0, 0, 0, (4 << 20) - 1).is_full(0));
    assert!(window(0, 0, 0, 0).is_full(256) && !window(0, 0, 0, 0).is_full(255));
}

#[test]
fn an_entry_weighs_what_it_takes_in_memory() {
    let bare = planned(Body::Fifo, vec![]).weight();
    assert!((256 + 3..512).contains(&bare), "{bare}");
    // What it refers to is counted in full, and little besides.
    let target = planned(Body::Symlink(vec![b'x'; 60_000]), vec![]).weight();
    assert_eq!(target - bare, 60_000);
    let holes: Vec<_> = (0..1000).map(|number| number * 10..number * 10 + 1).collect();
    let part = Part { len: 1, chunks: 1, id: ChunkId::from_bytes([0; 32]) };
    let content = Content { level: 0, parts: vec![part; 500] };
    let file = planned(Body::File { size: 0, holes, content }, vec![]).weight();
    assert_eq!(file - bare, 1000 * 16 + 500 * size_of::<Part>());
    let pair = |number: usize| (vec![b'n'; 20 + number], vec![b'v'; 3000]);
    let attributes = planned(Body::Fifo, (0..10).map(pair).collect()).weight() - bare;
    assert!((10 * 3020 + 45..10 * 3020 + 45 + 10 * 100).contains(&attributes), "{attributes}");
    // Each takes two allocations beside its bytes.
    let small = planned(Body::Fifo, vec![(vec![b'n'], vec![b'v']); 1000]).weight() - bare;
    assert!((48_000..100_000).contains(&small), "{small}");
}
