//! What counts as unchanged, and so is not read again: changes that hide themselves are found all the same.

use crate::support::compare::Tree;
use crate::support::trees;
use crate::support::world::{Run, World};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Changes a file of a tree that was backed up; a second backup must see it.
fn assert_seen(what: &str, change: impl Fn(&Path)) {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), &[1; 5000], 1_700_000_000);
    trees::write(&tree.join("other"), &[2; 5000], 1_700_000_000);
    world.backup(Run { tree: &tree, moment: 0 }).unwrap();
    // Longer than a tick of the clock that the system stamps inodes with.
    std::thread::sleep(Duration::from_millis(30));
    change(&tree);
    let run = Run { tree: &tree, moment: 10 };
    let report = world.backup(run).unwrap();
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
