//! How often stored objects are read.

use crate::support::world::{Run, World, backup, open};
use dedup_engine::browse::{Contents, walk};
use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::progress::Silent;
use dedup_engine::snapshot::Section;
use dedup_engine::storage::fault::{Call, FaultStorage};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A tar stream of 80,000 small files took minutes once: each file read its whole block of 1 MiB anew.
#[test]
fn files_that_are_stored_together_are_read_together() {
    const FILES: u64 = 600;
    let world = World::new();
    let live = world.scratch.dir("live");
    for n in 0..FILES {
        std::fs::write(live.join(format!("{n:04}")), format!("{n} ").repeat(100)).unwrap();
    }
    let run = Run { tree: &live, moment: 0 };
    drop(backup(&world.open().unwrap(), run).unwrap());

    let counting = Arc::new(FaultStorage::new(world.storage.clone()));
    let repo = open(counting.clone(), &world.unlock, &world.index(), &Silent).unwrap();
    let (_, snapshot) = repo.snapshots().unwrap().pop().unwrap();
    let root = &snapshot.accounts[0].listing(Section::Data).unwrap().root;
    let contents = Contents::new(&repo, root.class).unwrap();
    let before = counting.count_of(Call::Get);
    let (mut bytes, mut files) = (Vec::new(), 0);
    walk(&repo, root, &StoredPath::root(), &mut |_, node| {
        if let Body::File { .. } = node.body {
            files += 1;
            contents.write(&node, &mut bytes).unwrap();
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(files, FILES);
    let expected: Vec<u8> = (0..FILES).flat_map(|n| format!("{n} ").repeat(100).into_bytes()).collect();
    assert_eq!(bytes, expected);
    let reads = counting.count_of(Call::Get) - before;
    assert!(reads < FILES / 10, "{reads} reads for {files} files");
}
