//! What counts as unchanged, and so is not read again: changes that hide themselves are found all the same.

use crate::support::compare::Tree;
use crate::support::trees;
use crate::support::world::{NO_KDF, Run, World, backup, open};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::progress::Silent;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// Changes a file of a tree that was backed up; a second backup must see it.
fn assert_seen(what: &str, change: impl Fn(&Path)) {
    for writes_only in [false, true] {
        assert_seen_by(writes_only, what, &change);
    }
}

/// Who only writes has no parent to compare with, and goes by what it remembers.
fn assert_seen_by(writes_only: bool, what: &str, change: &dyn Fn(&Path)) {
    let world = World::new();
    let mut key = world.unlock.clone();
    if writes_only {
        key = Unlock::new_key_file().unwrap().0;
        world.open().unwrap().add_write_only_slot(&key, &NO_KDF, "", 5).unwrap();
    }
    let open = || open(world.storage.clone(), &key, &world.index(), &Silent).unwrap();
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), &[1; 5000], 1_700_000_000);
    trees::write(&tree.join("other"), &[2; 5000], 1_700_000_000);
    backup(&open(), Run { tree: &tree, moment: 0 }).unwrap();
    // Longer than a tick of the clock that the system stamps inodes with.
    std::thread::sleep(Duration::from_millis(30));
    change(&tree);
    let run = Run { tree: &tree, moment: 10 };
    let report = backup(&open(), run).unwrap();
    assert_eq!(report.totals.files_unmodified, 1, "{what}: {:?}", report.totals);
    let repo = world.open_afresh();
    world.assert_restores(&repo, report.snapshot.unwrap(), run, &Tree::read(&tree));
}

#[test]
fn a_change_whose_time_was_set_back_is_seen() {
    assert_seen("written in place, time set back", |tree| {
        let file = fs::File::options().write(true).open(tree.join("file")).unwrap();
        file.write_all_at(b"other bytes, as many", 100).unwrap();
        drop(file);
        trees::set_mtime(&tree.join("file"), 1_700_000_000, 123_456_789);
    });
}

#[test]
fn a_file_that_was_exchanged_for_one_alike_is_seen() {
    assert_seen("exchanged by a rename, same length and time", |tree| {
        trees::write(&tree.join("new"), &[3; 5000], 1_700_000_000);
        fs::rename(tree.join("new"), tree.join("file")).unwrap();
    });
}

/// After a new entry the next one was compared with what stands before both in the parent's listing. Two files of one length, written
/// in one tick of the clock, and no memory of inodes: the second one was stored with the content of the first, and nobody was told.
/// A fleet of machines found it (`harness/fleet`).
#[test]
fn what_comes_after_something_new_is_compared_with_itself() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let changed = |name: &str| {
        let metadata = fs::metadata(tree.join(name)).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let mut tries = 0;
    loop {
        trees::write(&tree.join("a"), &[1; 5000], 1_700_000_000);
        trees::write(&tree.join("c"), &[2; 5000], 1_700_000_000);
        // The system's clock of inodes goes in steps of milliseconds, as long as nobody has asked for their times.
        if changed("a") == changed("c") {
            break;
        }
        for name in ["a", "c"] {
            fs::remove_file(tree.join(name)).unwrap();
        }
        tries += 1;
        assert!(tries < 10_000, "no two files get the same time of change");
    }
    world.backup(Run { tree: &tree, moment: 0 }).unwrap();
    trees::write(&tree.join("b"), &[3; 5000], 1_700_000_000);
    for (moment, index) in [(10, "another machine"), (20, "index")] {
        let index = world.other_index(index);
        let repo = open(world.storage.clone(), &world.unlock, &index, &Silent).unwrap();
        let run = Run { tree: &tree, moment };
        let report = backup(&repo, run).unwrap();
        // Not read again either.
        assert_eq!(report.totals.files_unmodified, if moment == 10 { 2 } else { 3 }, "{:?}", report.totals);
        world.assert_restores(&world.open_afresh(), report.snapshot.unwrap(), run, &Tree::read(&tree));
    }
    trees::write(&tree.join("aa"), &[4; 5000], 1_700_000_000);
    let run = Run { tree: &tree, moment: 30 };
    let report = world.backup(run).unwrap();
    assert_eq!(report.totals.files_unmodified, 3, "{:?}", report.totals);
    world.assert_restores(&world.open_afresh(), report.snapshot.unwrap(), run, &Tree::read(&tree));
}

/// Two runs within two seconds trust no time, and read all again: they said that every file had changed.
#[test]
fn what_is_read_again_and_is_the_same_has_not_changed() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), &[1; 5000], 1_700_000_000);
    trees::write(&tree.join("other"), &[2; 5000], 1_700_000_000);
    // Before the inodes changed last.
    let run = |moment: i64| Run { tree: &tree, moment: moment - 3_000_000_000 };
    let counted = |moment| {
        let totals = world.backup(run(moment)).unwrap().totals;
        (totals.bytes_read, totals.files_new, totals.files_unmodified, totals.files_changed)
    };
    assert_eq!(counted(0), (10_000, 2, 0, 0));
    assert_eq!(counted(1), (10_000, 0, 2, 0));
    trees::write(&tree.join("other"), &[3; 5000], 1_700_000_000);
    assert_eq!(counted(2), (10_000, 0, 1, 1));
}
