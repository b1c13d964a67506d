//! The directory that stands for `/` in a walk: the root of the system, or a filesystem snapshot of it.

use super::meta::proc_path;
use dedup_engine::listing::StoredPath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Links stay below the base: an absolute one begins there, and `..` ends there.
const IN_BASE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const NO_LINKS: ResolveFlags = IN_BASE.union(ResolveFlags::NO_SYMLINKS);
/// How often a lookup that met a rename is repeated.
const RETRIES: usize = 64;

/// The directory below which everything is looked up.
#[derive(Debug)]
pub(super) struct Base {
    fd: OwnedFd,
    /// Its real path.
    path: PathBuf,
}

impl Base {
    /// Opens a directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = std::fs::canonicalize(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, &path, flags, Mode::empty())?;
        Ok(Self { fd, path })
    }

    /// Returns a descriptor, good for looking up only.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens what is at `path`, through no link at all; a link itself only with `O_PATH`.
    pub(super) fn plain(&self, path: &StoredPath, flags: OFlags) -> io::Result<OwnedFd> {
        self.lookup(path, flags | OFlags::NOFOLLOW, NO_LINKS)
    }

    /// Opens what `path` leads to through any number of links, which stay below the base.
    pub(super) fn followed(&self, path: &StoredPath, flags: OFlags) -> io::Result<OwnedFd> {
        self.lookup(path, flags, IN_BASE)
    }

    /// Returns where something open really is, below the base; `None` if it lies outside, or was removed.
    pub(super) fn real(&self, found: &OwnedFd) -> Option<StoredPath> {
        let path = std::fs::read_link(proc_path(found)).ok()?;
        StoredPath::from_slashes(path.strip_prefix(&self.path).ok()?.as_os_str().as_bytes())
    }

    fn lookup(&self, path: &StoredPath, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        let mut name = path.to_slashes();
        if name.is_empty() {
            name.push(b'.');
        }
        for _ in 0..RETRIES {
            match openat2(&self.fd, &name, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

/// Asks what is open.
pub(super) fn stat_open(found: impl AsFd, asked: StatxFlags) -> io::Result<Statx> {
    Ok(statx(found, c"", AtFlags::EMPTY_PATH, asked)?)
}
