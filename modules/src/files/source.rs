//! The source: roots, options, and what is asked of single entries.

use super::base::{Base, stat_open};
use super::dirs::Dir;
use super::layout::Layout;
use super::meta::{ALWAYS, link_target, stat_of, xattrs_at, xattrs_by_path};
use super::options::FilesOptions;
use super::outcomes::{ItemReport, Tallies};
use super::owners::Owners;
use super::read::ReadFile;
use super::roots::{Root, Roots, Take};
use super::walk::Walk;
use dedup_engine::backup::source::{Details, EntryKind, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::{Outcome, Section};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, StatxFlags, openat};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Directory trees of this machine as a source of entries: plain roots, or the declared items of one section.
///
/// An entry's place is its absolute path. The directories above a root are entries as well, with their
/// metadata, but nothing else in them is; `/` itself is the entry with the empty path. A root that is a
/// symbolic link is stored as one, and nothing behind it, unless the rules of its item say to follow links;
/// so is a link anywhere else.
#[derive(Debug)]
pub struct FilesSource {
    pub(super) roots: Roots,
    pub(super) options: FilesOptions,
    pub(super) base: Arc<Base>,
    pub(super) asked: StatxFlags,
    pub(super) excluded: AtomicU64,
    pub(super) tallies: Tallies,
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
    /// The entry is what the link of that name leads to.
    pub(super) followed: bool,
    /// The root it is, if it is one.
    pub(super) root: Option<usize>,
}

impl FileHandle {
    /// Opens the entry, whatever it is, for looking at it.
    fn find(&self) -> io::Result<OwnedFd> {
        if self.followed {
            return self.directory.base().followed(&self.directory.path_of(&self.name)?, OFlags::PATH);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.directory.fd()?, &*self.name, flags, Mode::empty())?)
    }
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
        let rules = Arc::new(options.rules());
        let root = |path| Root {
            path,
            take: Take::All,
            rules: rules.clone(),
            anchor: 0,
            items: Vec::new(),
            optional: false,
        };
        let stored = roots.iter().map(|path| stored_root(path).map(root)).collect::<Result<Vec<_>, _>>()?;
        let base = Base::open(&options.base).map_err(|_| RootError {
            root: options.base.clone(),
            wrong: "the base directory cannot be opened",
        })?;
        Ok(Self::with(Roots::new(stored), Arc::new(base), Tallies::default(), options))
    }

    /// Prepares a walk of everything that a layout declares for one section.
    pub fn of_section(layout: &Layout, section: Section, options: FilesOptions) -> Self {
        let (roots, tallies) = layout.roots_of(section);
        Self::with(roots, layout.base.clone(), tallies, options)
    }

    fn with(roots: Roots, base: Arc<Base>, tallies: Tallies, options: FilesOptions) -> Self {
        let mut asked = ALWAYS;
        asked.set(StatxFlags::ATIME, options.keep_atime);
        asked.set(StatxFlags::BTIME, options.keep_btime);
        let (excluded, owners) = (AtomicU64::new(0), Arc::default());
        Self { roots, options, base, asked, excluded, tallies, owners }
    }

    /// Returns the places of the roots, in order.
    pub fn roots(&self) -> Vec<StoredPath> {
        self.roots.paths().cloned().collect()
    }

    /// Returns how many entries were left out by choice since the source was made; a directory counts
    /// once, whatever is in it. What belongs to another section is not counted.
    pub fn excluded(&self) -> u64 {
        self.excluded.load(Ordering::Relaxed)
    }

    /// Returns what became of each declared item of the section in the last walk, in the order of the layout; nothing for plain roots.
    pub fn reports(&self) -> Vec<ItemReport> {
        self.tallies.reports()
    }

    /// Remembers of a declared file that it could not be read.
    fn told<T>(&self, handle: &FileHandle, result: io::Result<T>) -> io::Result<T> {
        if let (Err(error), Some(root)) = (&result, handle.root) {
            let outcome = match error.kind() {
                io::ErrorKind::NotFound => Outcome::Absent,
                _ => Outcome::Unreadable,
            };
            self.tallies.fault(&self.roots.get(root).items, outcome, &error.to_string());
        }
        result
    }
}

pub(super) fn stored_root(root: &Path) -> Result<StoredPath, RootError> {
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
        self.tallies.restart();
        Walk::new(self, visit).run()
    }

    fn details(&self, handle: &FileHandle, stat: &Stat) -> io::Result<Details> {
        self.told(handle, self.look_up(handle, stat))
    }

    fn open(&self, handle: &FileHandle) -> io::Result<Box<dyn OpenFile>> {
        let opened = match handle.followed {
            true => handle.find().and_then(|found| ReadFile::reopen(&found, self.asked, &self.owners)),
            false => handle
                .directory
                .fd()
                .and_then(|directory| ReadFile::open(directory, &handle.name, self.asked, &self.owners)),
        };
        Ok(Box::new(self.told(handle, opened)?))
    }
}

impl FilesSource {
    fn look_up(&self, handle: &FileHandle, stat: &Stat) -> io::Result<Details> {
        let directory = handle.directory.fd()?;
        let names = self.owners.names(stat.uid, stat.gid);
        if handle.name.is_empty() {
            let xattrs = xattrs_at(&directory, &handle.name, stat.kind)?;
            return Ok(Details { xattrs, target: Vec::new(), names });
        }
        // By one handle: the name may be another inode's by now, even of another kind.
        let found = handle.find()?;
        let now = stat_open(&found, self.asked)?;
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
            Err(error) if error.kind() == io::ErrorKind::NotFound && !handle.followed => {
                xattrs_at(&directory, &handle.name, stat.kind)?
            }
            result => result?,
        };
        Ok(Details { xattrs, target, names })
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
