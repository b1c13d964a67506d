//! Sources that change while they are read, at moments that no real tree can be made to hit.

use crate::support::trees;
use crate::support::world::{Run, World, backup_source, files, restore_to_memory};
use dedup_engine::backup::Parent;
use dedup_engine::backup::source::{Details, EntryKind, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::progress::Silent;
use dedup_engine::snapshot::{Outcome, State};
use dedup_modules::files::{FileHandle, FilesSource};
use std::io;

/// Directories with this mode vanish after the walk and before they are looked at closely.
const GOING: u32 = 0o751;

struct Vanishing(FilesSource);

impl Source for Vanishing {
    type Handle = FileHandle;

    fn walk(&self, visit: &mut Visit<'_, FileHandle>) -> Result<(), Stop> {
        self.0.walk(visit)
    }

    fn details(&self, handle: &FileHandle, stat: &Stat) -> io::Result<Details> {
        match (stat.kind, stat.mode) {
            (EntryKind::Directory, GOING) => Err(io::ErrorKind::NotFound.into()),
            _ => self.0.details(handle, stat),
        }
    }

    fn open(&self, handle: &FileHandle) -> io::Result<Box<dyn OpenFile>> {
        self.0.open(handle)
    }
}

/// A directory was gone when its attributes were asked for, but files in it had been read already. They were
/// stored without their directory: a listing that every reader refuses, so that *nothing* of the snapshot
/// could be restored.
#[test]
fn what_was_in_a_directory_that_vanished_is_told_and_the_rest_restores() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    for name in ["before", "gone/a", "gone/deeper/b", "gone2", "later/c"] {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        trees::write(&path, name.as_bytes(), 7);
    }
    rustix::fs::chmod(tree.join("gone"), GOING.into()).unwrap();

    let repo = world.open().unwrap();
    let run = Run { tree: &tree, moment: 0 };
    let report = backup_source(&repo, run, &Vanishing(files(&tree)), Parent::Auto, &Silent).unwrap();
    assert_eq!(report.state, State::Complete, "what vanished is a notice, not a gap");
    let gone: Vec<_> =
        report.notices.iter().map(|notice| (notice.path.name().to_vec(), notice.outcome)).collect();
    let expected = ["gone", "a", "deeper", "b"].map(|name| (name.as_bytes().to_vec(), Outcome::Vanished));
    assert_eq!(gone, expected);

    let (restored, _) = restore_to_memory(&repo, report.snapshot.unwrap()).unwrap();
    let all = restored.keys().map(|path| path.name().to_vec());
    let names: Vec<_> = all.skip_while(|name| name != b"tree").collect();
    assert_eq!(names, ["tree", "before", "gone2", "later", "c"].map(|name| name.as_bytes().to_vec()));
    world.assert_sound(&repo);
}
