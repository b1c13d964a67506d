//! More hard-linked files than the run keeps in memory.

use crate::support::compare::Tree;
use crate::support::world::{Run, World, backup};

/// An index of 12 MiB keeps 768 KiB of linked inodes beside it: about 5,800 of a backup, 5,000 of a restore.
const LINKED: usize = 9000;

#[test]
fn linked_files_beyond_what_memory_holds_restore_with_all_their_links() {
    let world = World::new();
    let live = world.scratch.dir("live");
    for name in ["a", "b", "c"] {
        std::fs::create_dir(live.join(name)).unwrap();
    }
    for n in 0..LINKED {
        let first = live.join(format!("a/{n:05}"));
        std::fs::write(&first, format!("{}", n % 100)).unwrap();
        std::fs::hard_link(&first, live.join(format!("b/{n:05}"))).unwrap();
        if n % 3 == 0 {
            std::fs::hard_link(&first, live.join(format!("c/{n:05}"))).unwrap();
        }
    }
    let expected = Tree::read(&live);
    let run = Run { tree: &live, moment: 0 };
    let repo = world.open().unwrap();
    let first = backup(&repo, run).unwrap().snapshot.unwrap();
    // What shows that a scratch database was needed; it is removed, its lock is not.
    let lock = world.index().join("scratch-0.lock");
    std::fs::remove_file(&lock).expect("so many links were meant to need one");
    world.assert_restores(&repo, first, run, &expected);
    assert!(lock.exists(), "the restore as well");

    // The same again: every group is compared with the one that the parent has.
    let second = Run { moment: 100, ..run };
    let report = backup(&repo, second).unwrap();
    assert_eq!(report.totals.files_unmodified, report.totals.files);
    world.assert_restores(&repo, report.snapshot.unwrap(), second, &expected);
}
