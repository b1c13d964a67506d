//! A chunk is in two packs, and the copy that would stay is damaged.

use crate::support::compare::Tree;
use crate::support::pruned::{assert_nothing_left, prune};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, open, snapshots};
use dedup_engine::progress::Silent;
use dedup_engine::storage::{Family, Storage};
use std::collections::BTreeSet;

/// Two backups of the same tree, neither of which knew of the other, and one of the two packs rots: whichever it is,
/// the other one stays. Names of packs are random, and with them which of the two would stay: hence so many rounds.
#[test]
fn the_good_copy_stays() {
    for round in 0..24 {
        let rotten = round % 3;
        let world = World::new();
        let tree = world.scratch.dir("tree");
        trees::write(&tree.join("file"), &Random::new(round as u64).bytes(200_000), 1);
        let first = open(world.storage.clone(), &world.unlock, &world.other_index("a"), &Silent).unwrap();
        let second = open(world.storage.clone(), &world.unlock, &world.other_index("b"), &Silent).unwrap();
        crate::support::world::backup(&first, Run { tree: &tree, moment: 0 }).unwrap();
        // Opened before, so it knows nothing of the first one's packs; and it is told to compare with nothing.
        let events = crate::support::TestEvents::default();
        let none = dedup_engine::backup::Parent::None;
        let run = Run { tree: &tree, moment: 10 };
        crate::support::world::backup_with(&second, run, none, &events).unwrap();
        let data: Vec<_> = world
            .storage
            .objects()
            .into_iter()
            .filter(|(name, bytes)| name.family() == Family::Packs && bytes[7] == 3)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(data.len(), 2, "two packs with the same chunks");
        let damaged = data.get(rotten);
        if let Some(name) = damaged {
            let mut bytes = world.storage.get_all(name, 1 << 30).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            world.storage.overwrite(*name, &bytes);
        }
        let repo = world.open().unwrap();
        let report = prune(&repo).unwrap();
        let left: BTreeSet<_> =
            data.iter().filter(|name| world.storage.len(name).unwrap().is_some()).collect();
        if damaged.is_none() {
            assert_eq!(left.len(), 1, "{report:?}");
            assert_nothing_left(&repo, "without damage");
        }
        assert!(
            left.iter().any(|name| Some(*name) != damaged.as_ref().copied()),
            "the good one is gone: {report:?}"
        );
        for id in snapshots(&repo) {
            world.assert_restores(&repo, id, run, &Tree::read(&tree));
        }
    }
}
