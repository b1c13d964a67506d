//! Many machines and one repository: whatever the order of their calls, however long one of them sleeps and
//! whatever its clock says, nothing that was committed is lost and nobody is stuck.

mod clients;
mod processes;
mod schedules;
mod turns;
mod years;

use crate::support::pruned::{assert_nothing_left, prune_with};
use crate::support::world::{World, restore_to_memory, snapshots};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::repo::Repository;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The files of a flat directory, by the paths under which they are stored.
type Contents = BTreeMap<StoredPath, Vec<u8>>;

/// What must be there: snapshots that somebody was told are safe, and that nobody gave up.
type Expected = BTreeMap<ObjectId, Contents>;

fn contents(tree: &Path) -> Contents {
    let root = StoredPath::from_slashes(tree.as_os_str().as_bytes()).unwrap();
    let files = std::fs::read_dir(tree).unwrap().map(Result::unwrap);
    files
        .map(|file| (root.join(file.file_name().as_bytes()).unwrap(), std::fs::read(file.path()).unwrap()))
        .collect()
}

/// Refuses a snapshot that does not hold exactly these files.
#[track_caller]
fn assert_holds(repo: &Repository, snapshot: ObjectId, expected: &Contents, case: &str) {
    let short = snapshot.short();
    let (mut found, report) =
        restore_to_memory(repo, snapshot).unwrap_or_else(|error| panic!("{case}: {short}: {error}"));
    assert_eq!(report.problems, [], "{case}: {short}");
    found.retain(|_, bytes| bytes != b"directory");
    let names: BTreeSet<&StoredPath> = found.keys().chain(expected.keys()).collect();
    let start = |bytes: Option<&Vec<u8>>| {
        bytes.map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned())
    };
    let differ: Vec<_> = names
        .into_iter()
        .filter(|name| found.get(name) != expected.get(name))
        .map(|name| (name, start(found.get(name)), start(expected.get(name))))
        .collect();
    assert!(differ.is_empty(), "{case}: {short}: found, and expected: {differ:?}");
}

/// What must be true when everybody has gone home: exactly what is expected is there, by an index made anew, and a
/// prune that is told that nobody is left needs no other help and leaves nothing that nobody needs. `maybe` are
/// snapshots of machines that died: there or not, but whole.
#[track_caller]
fn judge(world: &World, expected: &Expected, maybe: &[Contents], case: &str) {
    let repo = world.open_afresh();
    let assert_all = |repo: &Repository, when: &str| {
        let case = format!("{case}, {when}");
        let there: BTreeSet<ObjectId> = snapshots(repo).into_iter().collect();
        for (id, contents) in expected {
            assert!(there.contains(id), "{case}: snapshot {} is lost", id.short());
            assert_holds(repo, *id, contents, &case);
        }
        for id in there.iter().filter(|id| !expected.contains_key(*id)) {
            let (mut found, report) = restore_to_memory(repo, *id).unwrap();
            assert_eq!(report.problems, [], "{case}: {}", id.short());
            found.retain(|_, bytes| bytes != b"directory");
            assert!(maybe.contains(&found), "{case}: nobody made {}", id.short());
        }
        world.assert_sound(repo);
    };
    assert_all(&repo, "afterwards");
    prune_with(&repo, |options| (options.fence_all, options.allow_empty) = (true, true))
        .unwrap_or_else(|error| panic!("{case}: no way forward: {error}"));
    assert_nothing_left(&repo, case);
    assert_all(&repo, "after the last prune");
}
