//! One directory, held by a handle, and single names in it: for work on a few files beside each other.
//!
//! Whoever may write to the directories above can move the directory, but not lead this work elsewhere: every call
//! goes by the handle, and no symbolic link is followed at the name.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags, linkat, makedev, openat, openat2, renameat,
    statx, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A directory that is open.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a symbolic link may lead to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Refuse,
}

impl Folder {
    /// Opens a directory. A path with a link that is refused is `ELOOP`.
    pub(crate) fn open(path: &Path, links: Links) -> io::Result<Self> {
        let resolve = match links {
            Links::Follow => ResolveFlags::empty(),
            Links::Refuse => ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat2(CWD, path, flags, Mode::empty(), resolve)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens the directory that holds `path`; returns it with the name in it.
    pub(crate) fn of(path: &Path, links: Links) -> io::Result<(Self, OsString)> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok((Self::open(parent, links)?, name.to_owned())),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the root directory has no name")),
        }
    }

    /// Returns the path of a name, for messages and for those who know only paths.
    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Returns what a name is; none if there is nothing.
    pub(crate) fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Statx>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match statx(&self.fd, name.as_ref(), flags, Inode::ASKED) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a file that is not there yet, for its owner alone.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.fd, name.as_ref(), flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Gives a file a second name, which must be free.
    pub(crate) fn link(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(linkat(&self.fd, from.as_ref(), &self.fd, to.as_ref(), AtFlags::empty())?)
    }

    /// Renames; what has the new name is replaced.
    pub(crate) fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(renameat(&self.fd, from.as_ref(), &self.fd, to.as_ref())?)
    }

    /// Removes a name of anything but a directory; returns whether there was one.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match unlinkat(&self.fd, name.as_ref(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes names to disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }
}

/// What tells one inode from another: device, number, and where the file system knows it, the time of birth, since
/// numbers are given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inode {
    dev: u64,
    ino: u64,
    born_secs: i64,
    born_nanos: u32,
}

impl Inode {
    /// The flags that [`Inode::of`] needs.
    pub(crate) const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

    pub(crate) fn of(stat: &Statx) -> Self {
        let dev = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let (born_secs, born_nanos) =
            if born { (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) } else { (0, 0) };
        Self { dev, ino: stat.stx_ino, born_secs, born_nanos }
    }
}
