//! Runs beside one another in one repository: they neither wait for nor harm each other.

use crate::support::compare::Tree;
use crate::support::trees;
use crate::support::world::{Run, World, backup, check, open, restore_to, snapshots};
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

/// Backs up two trees at the same time, a few times over, changing them in between; both with most content in
/// common, so that each meets chunks which the other is storing.
fn two_at_once(index_of: impl Fn(&World, usize) -> PathBuf + Sync) {
    let world = World::new();
    let roots = [0, 1].map(|number| world.scratch.dir(format!("tree {number}")));
    for (number, root) in roots.iter().enumerate() {
        trees::build_all_kinds(root, 30);
        trees::write(&root.join("which"), &[number as u8; 10], 5);
    }
    let mut made: Vec<(usize, ObjectId, Tree)> = Vec::new();
    for round in 0..4 {
        let together = Barrier::new(2);
        let one = |number: usize| {
            let root = &roots[number];
            together.wait();
            let index = index_of(&world, number);
            let repo = open(world.storage.clone(), &world.unlock, &index, &Silent).unwrap();
            let report = backup(&repo, Run { tree: root, moment: 10 * round }).unwrap();
            (number, report.snapshot.unwrap(), Tree::read(root))
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| one(1));
            made.push(one(0));
            made.push(other.join().unwrap());
        });
        for root in &roots {
            let content = [round as u8; 3000];
            trees::write(&root.join(format!("docs/round {round}")), &content, 100 + round);
        }
    }
    for repo in [world.open_afresh(), world.open().unwrap()] {
        assert_eq!(snapshots(&repo).len(), made.len());
        world.assert_sound(&repo);
        for (number, id, tree) in &made {
            world.assert_restores(&repo, *id, Run { tree: &roots[*number], moment: 0 }, tree);
        }
    }
}

#[test]
fn two_backups_of_two_machines() {
    two_at_once(|world, number| world.other_index(&format!("index {number}")));
}

/// Whoever comes second finds the index in use, and works beside it.
#[test]
fn two_backups_of_one_machine() {
    two_at_once(|world, _| world.index());
}

#[test]
fn check_and_restore_beside_backups() {
    let world = World::new();
    let root = world.scratch.dir("tree");
    trees::build_all_kinds(&root, 31);
    let first = world.backup(Run { tree: &root, moment: 0 }).unwrap().snapshot.unwrap();
    let tree = Tree::read(&root);
    let beside = |name: &str, work: &dyn Fn(&Path, u32)| {
        for round in 0..6 {
            work(&world.scratch.path(format!("{name}-{round}")), round);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            beside("restored", &|target, round| {
                // Half of them with the index that the backups use at the same time.
                let repo = if round % 2 == 0 { world.open().unwrap() } else { world.open_afresh() };
                let report = restore_to(&repo, first, &root, target).unwrap();
                assert_eq!(report.problems, []);
                tree.assert_same(&Tree::read(target), "beside a backup");
            });
        });
        scope.spawn(|| {
            beside("check", &|_, _| {
                let report = check(&world.open_afresh()).unwrap();
                assert!(report.is_sound(), "{:?}", report.findings);
            });
        });
        for moment in 1..8 {
            let content = vec![moment as u8; 50_000 + 1000 * moment as usize];
            // In a tree of its own: the other one stays as it was.
            let other = world.scratch.dir("other");
            trees::write(&other.join(format!("{moment}")), &content, moment);
            let repo = world.open().unwrap();
            backup(&repo, Run { tree: &other, moment }).unwrap();
        }
    });
    let repo = world.open().unwrap();
    assert_eq!(snapshots(&repo).len(), 8);
    world.assert_sound(&repo);
}
