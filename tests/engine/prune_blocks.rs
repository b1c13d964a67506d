//! Blocks of packs that are written anew: those that stay whole are taken over as they are coded.

use crate::support::compare::Tree;
use crate::support::pruned::{assert_nothing_left, forget, pack_bytes, prune_with};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World};
use dedup_engine::compress::Level;

/// Text that compresses well, of which half goes, and a prune that is told not to compress: if it coded anew what stays whole,
/// the repository would grow. Only the blocks at the seams are longer afterwards.
#[test]
fn what_stays_whole_is_not_coded_again() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let random = &mut Random::new(4);
    trees::write(&tree.join("a"), &random.text(700_000), 1);
    trees::write(&tree.join("b"), &random.text(700_000), 2);
    let run = Run { tree: &tree, moment: 0 };
    let first = world.backup(run).unwrap().snapshot.unwrap();
    let before = pack_bytes(&world);
    std::fs::remove_file(tree.join("b")).unwrap();
    let repo = world.open().unwrap();
    let second = world.backup(Run { moment: 10, ..run }).unwrap().snapshot.unwrap();
    forget(&repo, &[first]);
    drop(repo);
    let repo = world.open().unwrap();
    let report = prune_with(&repo, |options| options.level = Level::Off).unwrap();
    assert!(report.packs_removed > 0 && report.packs_damaged == 0, "{report:?}");
    let after = pack_bytes(&world);
    assert!(before < 1_000_000, "the text does not compress: {before}");
    assert!(after < before * 2 / 3, "{after} of {before} bytes are left: it was coded anew");
    assert_nothing_left(&repo, "after the prune");
    let repo = world.open_afresh();
    world.assert_sound(&repo);
    world.assert_restores(&repo, second, run, &Tree::read(&tree));
}

/// Every other small file goes, so that hardly a block stays whole; and then every other of what is left, of blocks that
/// were made of the rest of others.
#[test]
fn what_is_left_of_blocks_stays_whole_however_often_it_is_written_anew() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let random = &mut Random::new(5);
    for number in 0..96 {
        let content = if number % 3 == 0 { random.bytes(9000) } else { random.text(9000) };
        trees::write(&tree.join(format!("{number:02}")), &content, number);
    }
    let mut last = world.backup(Run { tree: &tree, moment: 0 }).unwrap().snapshot.unwrap();
    for round in 1..5 {
        for number in (0..96).filter(|number| number % (1 << round) == 1 << (round - 1)) {
            std::fs::remove_file(tree.join(format!("{number:02}"))).unwrap();
        }
        let run = Run { tree: &tree, moment: 10 * round };
        let next = world.backup(run).unwrap().snapshot.unwrap();
        let before = pack_bytes(&world);
        let repo = world.open().unwrap();
        forget(&repo, &[last]);
        let report = prune_with(&repo, |_| {}).unwrap();
        assert!(report.bytes_written > 0 && report.packs_damaged == 0, "{report:?}");
        assert!(pack_bytes(&world) < before, "round {round}");
        assert_nothing_left(&repo, "after the prune");
        let repo = world.open_afresh();
        world.assert_sound(&repo);
        world.assert_restores(&repo, next, run, &Tree::read(&tree));
        last = next;
    }
}
