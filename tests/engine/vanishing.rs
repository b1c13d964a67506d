//! Sources that change while they are read, at moments that no real tree can be made to hit.

use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{Run, World, backup_source, files, restore_to_memory};
use dedup_engine::backup::Parent;
use dedup_engine::backup::source::{Details, EntryKind, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::progress::Silent;
use dedup_engine::snapshot::{Outcome, State};
use dedup_modules::files::{FileHandle, FilesSource};
use std::io;
use std::ops::Range;

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

/// Files of this length end at their half while they are read.
const SHRINKING: u64 = 77_777;

struct Shrinking(FilesSource);

impl Source for Shrinking {
    type Handle = FileHandle;

    fn walk(&self, visit: &mut Visit<'_, FileHandle>) -> Result<(), Stop> {
        self.0.walk(visit)
    }

    fn details(&self, handle: &FileHandle, stat: &Stat) -> io::Result<Details> {
        self.0.details(handle, stat)
    }

    fn open(&self, handle: &FileHandle) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(Shrinks(self.0.open(handle)?)))
    }
}

struct Shrinks(Box<dyn OpenFile>);

impl OpenFile for Shrinks {
    fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }

    fn data_ranges(&self, size: u64) -> io::Result<Vec<Range<u64>>> {
        self.0.data_ranges(size)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = if self.0.stat()?.size == SHRINKING { SHRINKING / 2 } else { u64::MAX };
        let most = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        self.0.read_at(&mut buffer[..most], offset)
    }
}

/// Half a file is stored as what it is, never as the whole one.
#[test]
fn a_file_that_ends_early_is_told_and_marked() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let content = Random::new(3).bytes(SHRINKING as usize);
    trees::write(&tree.join("shrinks"), &content, 7);
    trees::write(&tree.join("stays"), b"all of it", 8);
    let repo = world.open().unwrap();
    let run = Run { tree: &tree, moment: 0 };
    let report = backup_source(&repo, run, &Shrinking(files(&tree)), Parent::Auto, &Silent).unwrap();
    assert_eq!(report.state, State::Warned, "half a file is no complete backup");
    let told: Vec<_> =
        report.problems.iter().map(|problem| (problem.path.name().to_vec(), problem.outcome)).collect();
    assert_eq!(told, [(b"shrinks".to_vec(), Outcome::ChangedWhileRead)]);
    let (restored, _) = restore_to_memory(&repo, report.snapshot.unwrap()).unwrap();
    let half = restored.iter().find(|(path, _)| path.name() == b"shrinks").unwrap().1;
    assert!(half[..] == content[..SHRINKING as usize / 2], "{} bytes", half.len());
    world.assert_sound(&repo);
}
