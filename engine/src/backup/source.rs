//! Where the entries of a backup come from: the engine's side of a directory tree, or of anything like one.

use crate::listing::{StoredPath, Time};
use crate::snapshot::Outcome;
use std::io;
use std::ops::Range;

/// What kind of entry a source found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// What the system says of an entry without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: EntryKind,
    /// Length of a regular file in bytes; 0 for everything else.
    pub size: u64,
    /// Bytes allocated on disk; less than `size` hints at holes.
    pub allocated: u64,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Last access, where it is to be kept.
    pub atime: Option<Time>,
    /// Birth, where it is to be kept.
    pub btime: Option<Time>,
    /// Device the inode is on.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Number of names of the inode.
    pub nlink: u64,
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
}

/// What a source must look up apart, asked only for entries that are new or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Extended attributes, sorted by name, names unique.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Target of a symbolic link; empty for everything else.
    pub target: Vec<u8>,
    /// Names of owner and group; an empty string where none is known.
    pub names: (String, String),
}

/// One thing a source found on its walk.
#[derive(Debug)]
pub enum Found<H> {
    /// An entry to store.
    Entry {
        /// Its place; strictly greater than that of the entry before it.
        path: StoredPath,
        /// What the system says of it.
        stat: Stat,
        /// What the source needs to open it.
        handle: H,
    },
    /// An entry that cannot be stored, or a directory that cannot be read; in path order as well.
    ///
    /// It may follow an entry at the same place: a directory whose metadata is known but whose content,
    /// or a part of it, is not. Then the entry is to be stored and the problem told.
    Problem {
        /// Its place.
        path: StoredPath,
        /// What became of it.
        outcome: Outcome,
        /// Why, for people.
        message: String,
    },
}

/// Receives what a walk finds; an `Err` ends the walk.
pub type Visit<'a, H> = dyn FnMut(Found<H>) -> Result<(), Stop> + 'a;

/// The receiver wants no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// A tree of entries in stable order, each of which can be opened once.
///
/// `walk` runs on one thread; the other methods are called from several at once, for entries that the
/// walk has handed out, in no particular order.
pub trait Source: Sync {
    /// What the source needs to open an entry; it may hold resources, so it is dropped soon.
    type Handle: Send;

    /// Hands out every entry, paths strictly rising, parents before what they contain.
    ///
    /// What cannot be read is handed out as [`Found::Problem`] and the walk goes on. Returns when all is
    /// handed out or the receiver says [`Stop`].
    fn walk(&self, visit: &mut Visit<'_, Self::Handle>) -> Result<(), Stop>;

    /// Looks up what `stat` does not say. `NotFound` if the entry vanished since.
    fn details(&self, handle: &Self::Handle, stat: &Stat) -> io::Result<Details>;

    /// Opens a regular file for reading. `NotFound` if it vanished since, `InvalidInput` if something else
    /// than a regular file is there by now. Whether it is the inode of the walk shows its `stat`.
    fn open(&self, handle: &Self::Handle) -> io::Result<Box<dyn OpenFile>>;
}

/// A regular file that is open.
pub trait OpenFile: Send {
    /// Asks the system again, of the open file itself.
    fn stat(&self) -> io::Result<Stat>;

    /// Looks up what `stat` does not say, of the open file itself: its name may be another file's by now.
    /// `None` if only [`Source::details`] can tell.
    fn details(&self, _stat: &Stat) -> io::Result<Option<Details>> {
        Ok(None)
    }

    /// Returns the ranges that hold data below `size`, in order, with at most 4,096 holes before, between
    /// and after them, so that small holes of a much fragmented file count as data. A source that knows
    /// no holes returns one range; there is none if the size is 0.
    fn data_ranges(&self, size: u64) -> io::Result<Vec<Range<u64>>>;

    /// Reads at `offset`, as `pread` does: fewer bytes than asked are possible, 0 means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}
