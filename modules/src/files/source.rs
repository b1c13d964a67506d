//! The source: roots, options, and what is asked of single entries.

use super::dirs::Dir;
use super::meta::{ALWAYS, link_target, stat_of, xattrs_at, xattrs_by_path};
use super::options::FilesOptions;
use super::owners::Owners;
use super::read::ReadFile;
use super::walk::Walk;
use dedup_engine::backup::source::{Details, EntryKind, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::listing::StoredPath;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, openat, statx};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Directory trees of this machine as a source of entries.
///
/// An entry's place is its absolute path. The directories above a root are entries as well, with their
/// metadata, but nothing else in them is; `/` itself is the entry with the empty path. A root that is a
/// symbolic link is stored as one, and nothing behind it; so is a link anywhere else.
#[derive(Debug)]
pub struct FilesSource {
    pub(super) roots: Vec<StoredPath>,
    pub(super) options: FilesOptions,
    pub(super) asked: StatxFlags,
    pub(super) excluded: AtomicU64,
    owners: Arc<Owners>,
}

/// What is needed to reach an entry: the directory that holds it and its name there.
///
/// Costs no open file: directories are opened again when they were closed meanwhile.
#[derive(Debug)]
pub struct FileHandle {
    pub(super) directory: Arc<Dir>,
    /// Empty for the root directory of the system.
    pub(super) name: Box<[u8]>,
}

/// A root that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be backed up: {wrong}", root.display())]
pub struct RootError {
    /// The path.
    pub root: PathBuf,
    /// Why.
    pub wrong: &'static str,
}

impl FilesSource {
    /// Prepares a walk of `roots`: absolute paths without `..`, whose parents are no symbolic links.
    ///
    /// A root below another one is walked with it. Whether roots exist is seen when they are walked: one
    /// that is missing is an entry with the outcome `Absent`.
    pub fn new(roots: &[PathBuf], options: FilesOptions) -> Result<Self, RootError> {
        let mut stored = roots.iter().map(|root| stored_root(root)).collect::<Result<Vec<_>, _>>()?;
        stored.sort();
        stored.dedup();
        let mut asked = ALWAYS;
        asked.set(StatxFlags::ATIME, options.keep_atime);
        asked.set(StatxFlags::BTIME, options.keep_btime);
        Ok(Self { roots: stored, options, asked, excluded: AtomicU64::new(0), owners: Arc::default() })
    }

    /// Returns the places of the roots, in order.
    pub fn roots(&self) -> &[StoredPath] {
        &self.roots
    }

    /// Returns how many entries were left out by choice since the source was made; a directory counts
    /// once, whatever is in it.
    pub fn excluded(&self) -> u64 {
        self.excluded.load(Ordering::Relaxed)
    }
}

fn stored_root(root: &Path) -> Result<StoredPath, RootError> {
    let refuse = |wrong| RootError { root: root.to_owned(), wrong };
    if !root.is_absolute() {
        return Err(refuse("it is not an absolute path"));
    }
    root.components()
        .filter(|part| *part != Component::RootDir)
        .try_fold(StoredPath::root(), |path, part| match part {
            Component::Normal(name) => path.join(name.as_bytes()),
            _ => None,
        })
        .ok_or_else(|| refuse("a component is `..` or too long, or the path is longer than 65,536 bytes"))
}

impl Source for FilesSource {
    type Handle = FileHandle;

    fn walk(&self, visit: &mut Visit<'_, FileHandle>) -> Result<(), Stop> {
        Walk::new(self, visit).run()
    }

    fn details(&self, handle: &FileHandle, stat: &Stat) -> io::Result<Details> {
        let directory = handle.directory.fd()?;
        let names = self.owners.names(stat.uid, stat.gid);
        if handle.name.is_empty() {
            let xattrs = xattrs_at(&directory, &handle.name, stat.kind)?;
            return Ok(Details { xattrs, target: Vec::new(), names });
        }
        // By one handle: the name may be another inode's by now, even of another kind.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(&directory, &*handle.name, flags, Mode::empty())?;
        let now = statx(&found, c"", AtFlags::EMPTY_PATH, self.asked)?;
        if stat_of(&now, self.asked).map(|now| (now.dev, now.ino, now.kind))
            != Some((stat.dev, stat.ino, stat.kind))
        {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was replaced meanwhile"));
        }
        let target = match stat.kind {
            EntryKind::Symlink => link_target(&found, b"")?,
            _ => Vec::new(),
        };
        let xattrs = match xattrs_by_path(&found) {
            // Without `/proc`, which the handle goes by, the name itself is asked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                xattrs_at(&directory, &handle.name, stat.kind)?
            }
            result => result?,
        };
        Ok(Details { xattrs, target, names })
    }

    fn open(&self, handle: &FileHandle) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(ReadFile::open(handle.directory.fd()?, &handle.name, self.asked, &self.owners)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_checked_sorted_and_kept_once() {
        let new = |roots: &[&str]| {
            let roots: Vec<_> = roots.iter().map(PathBuf::from).collect();
            FilesSource::new(&roots, FilesOptions::new("/tmp".into()))
        };
        let source = new(&["/b/", "/a-b", "/a/c", "/b"]).unwrap();
        let shown: Vec<_> = source.roots().iter().map(|root| format!("{root:?}")).collect();
        assert_eq!(shown, ["/a/c", "/a-b", "/b"]);
        assert_eq!(new(&["/"]).unwrap().roots(), [StoredPath::root()]);
        for bad in ["relative", "", "/a/../b", &format!("/{}", "x".repeat(256))] {
            assert!(new(&[bad]).is_err(), "{bad}");
        }
    }
}
