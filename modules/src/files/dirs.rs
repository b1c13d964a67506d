//! Directories as a chain of handles, of which only a few are open at a time.
//!
//! A [`Dir`] knows its parent, its name there and which inode it was. Its descriptor may be closed at
//! any time by the [`Pool`], and is opened again when it is needed: through the parents, never through
//! a symbolic link that was not followed at first, and only if the inode is still the same one. So neither the depth of a tree nor the
//! number of entries in flight meets the limit of open files, and no path is ever longer than a name.

use super::base::Base;
use super::lock;
use dedup_engine::listing::StoredPath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, makedev, openat, statx};
use rustix::io::Errno;
use std::io;
use std::sync::{Arc, Mutex, Weak};

/// How many directories stay open, beside those in use at the moment.
pub(super) const OPEN_DIRECTORIES: usize = 64;

const LOOK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Which inode something is: device and inode number.
pub(super) type Identity = (u64, u64);

/// A directory that was found once; see the module's head.
#[derive(Debug)]
pub(super) struct Dir {
    parent: Option<Arc<Dir>>,
    name: Box<[u8]>,
    identity: Identity,
    /// Reached through a link that the walk was asked to follow.
    followed: bool,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    pool: Arc<Pool>,
}

/// The directories that are open, oldest first.
#[derive(Debug)]
pub(super) struct Pool {
    base: Arc<Base>,
    open: Mutex<Vec<Weak<Dir>>>,
}

/// A directory and the descriptor it was opened with, which stays open as long as that is held.
pub(super) type Opened = (Arc<Dir>, Arc<OwnedFd>);

/// How a directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To reach what is below it, which needs no right to list it.
    Look,
    /// To list it as well.
    Read,
}

impl Dir {
    /// Opens the directory that stands for the root of the system.
    pub(super) fn root(base: &Arc<Base>, access: Access) -> io::Result<Opened> {
        let fd = open_directory(base.fd(), b".", access)?;
        let identity = identity(&fd)?;
        let pool = Arc::new(Pool { base: base.clone(), open: Mutex::default() });
        Ok(Self::new(None, Box::default(), identity, false, fd, pool))
    }

    /// Opens the directory `name` below this one, which must be the inode `expected`.
    pub(super) fn child(
        self: &Arc<Self>,
        name: &[u8],
        expected: Identity,
        access: Access,
    ) -> io::Result<Opened> {
        let fd = open_directory(self.fd()?.as_fd(), name, access)?;
        same(&fd, expected)?;
        Ok(Self::new(Some(self.clone()), name.into(), expected, false, fd, self.pool.clone()))
    }

    /// Opens the directory that the link `name` in this one leads to, which must be the inode `expected`.
    pub(super) fn followed_child(
        self: &Arc<Self>,
        name: &[u8],
        expected: Identity,
        access: Access,
    ) -> io::Result<Opened> {
        let fd = follow_directory(&self.pool.base, &self.path_of(name)?, access)?;
        same(&fd, expected)?;
        Ok(Self::new(Some(self.clone()), name.into(), expected, true, fd, self.pool.clone()))
    }

    /// Returns what everything is looked up below.
    pub(super) fn base(&self) -> &Base {
        &self.pool.base
    }

    /// Returns which inode it is.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the place of `name` in this directory.
    pub(super) fn path_of(&self, name: &[u8]) -> io::Result<StoredPath> {
        let mut names = vec![name];
        let mut dir = Some(self);
        while let Some(at) = dir {
            names.push(&at.name);
            dir = at.parent.as_deref();
        }
        let joined = names.iter().rev().filter(|name| !name.is_empty());
        joined
            .copied()
            .try_fold(StoredPath::root(), |path, name| path.join(name))
            .ok_or_else(|| io::ErrorKind::InvalidFilename.into())
    }

    fn new(
        parent: Option<Arc<Self>>,
        name: Box<[u8]>,
        identity: Identity,
        followed: bool,
        fd: OwnedFd,
        pool: Arc<Pool>,
    ) -> Opened {
        let fd = Arc::new(fd);
        let dir = Arc::new(Self { parent, name, identity, followed, fd: Mutex::new(Some(fd.clone())), pool });
        dir.pool.register(&dir);
        (dir, fd)
    }

    /// Returns a descriptor, opening the directory again if need be. `NotFound` if it is another one by now.
    pub(super) fn fd(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        if let Some(fd) = self.open_fd() {
            return Ok(fd);
        }
        // Up to the nearest directory that is open, then down again.
        let mut closed: Vec<&Arc<Self>> = vec![self];
        let mut fd = loop {
            let Some(parent) = closed.last().and_then(|dir| dir.parent.as_ref()) else {
                break Arc::new(open_directory(self.pool.base.fd(), b".", Access::Look)?);
            };
            match parent.open_fd() {
                Some(fd) => break fd,
                None => closed.push(parent),
            }
        };
        for dir in closed.iter().rev() {
            if dir.followed {
                fd = Arc::new(follow_directory(&self.pool.base, &dir.path_of(b"")?, Access::Look)?);
            } else if dir.parent.is_some() {
                fd = Arc::new(open_directory(fd.as_fd(), &dir.name, Access::Look)?);
            }
            same(&*fd, dir.identity)?;
        }
        self.reopened(fd.clone());
        Ok(fd)
    }

    /// Opens the parent of this directory again, upwards from `fd`, which costs one step at any depth.
    ///
    /// Does nothing if that is open, or if `..` is another directory by now.
    pub(super) fn reopen_parent(&self, fd: &OwnedFd) {
        let Some(parent) = &self.parent else { return };
        if parent.open_fd().is_some() {
            return;
        }
        if let Ok(fd) = open_directory(fd, b"..", Access::Look)
            && same(&fd, parent.identity).is_ok()
        {
            parent.reopened(Arc::new(fd));
        }
    }

    fn open_fd(&self) -> Option<Arc<OwnedFd>> {
        lock(&self.fd).clone()
    }

    fn reopened(self: &Arc<Self>, fd: Arc<OwnedFd>) {
        *lock(&self.fd) = Some(fd);
        self.pool.register(self);
    }
}

/// A chain may be 32,768 directories long; the default would free it by recursion.
impl Drop for Dir {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(dir) = parent {
            parent = Arc::into_inner(dir).and_then(|mut dir| dir.parent.take());
        }
    }
}

impl Pool {
    /// Counts a directory as open and closes the oldest ones if there are too many.
    fn register(&self, dir: &Arc<Dir>) {
        let mut open = lock(&self.open);
        open.push(Arc::downgrade(dir));
        if open.len() <= OPEN_DIRECTORIES {
            return;
        }
        open.retain(|dir| dir.strong_count() > 0);
        let surplus = open.len().saturating_sub(OPEN_DIRECTORIES * 3 / 4);
        let closed: Vec<_> = open.drain(..surplus).collect();
        drop(open);
        for dir in closed.iter().filter_map(Weak::upgrade) {
            lock(&dir.fd).take();
        }
    }
}

/// Opens the directory that a link leads to.
fn follow_directory(base: &Base, path: &StoredPath, access: Access) -> io::Result<OwnedFd> {
    let found = base.followed(path, OFlags::PATH | OFlags::DIRECTORY)?;
    open_directory(&found, b".", access)
}

/// Opens a directory, without leaving a trace in its access time where the system allows that.
fn open_directory(at: impl AsFd, name: &[u8], access: Access) -> io::Result<OwnedFd> {
    if access == Access::Look {
        return Ok(openat(at, name, LOOK, Mode::empty())?);
    }
    match openat(&at, name, READ | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(openat(at, name, READ, Mode::empty())?),
        result => Ok(result?),
    }
}

/// Returns which inode is open.
pub(super) fn identity(fd: impl AsFd) -> io::Result<Identity> {
    let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    Ok((makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino))
}

fn same(fd: impl AsFd, expected: Identity) -> io::Result<()> {
    if identity(fd)? == expected {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the directory was moved or replaced meanwhile"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    fn chain(path: &Path) -> Vec<Arc<Dir>> {
        let mut chain =
            vec![Dir::root(&Arc::new(Base::open(Path::new("/")).unwrap()), Access::Look).unwrap().0];
        for name in path.iter().skip(1) {
            let parent = chain.last().unwrap().clone();
            let at = parent.fd().unwrap();
            let look = open_directory(at.as_fd(), name.as_bytes(), Access::Look).unwrap();
            chain.push(parent.child(name.as_bytes(), identity(look).unwrap(), Access::Read).unwrap().0);
        }
        chain
    }

    #[test]
    fn a_closed_directory_opens_again_as_the_same_one_only() {
        let scratch = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(scratch.path()).unwrap().join("a/b/c");
        fs::create_dir_all(&path).unwrap();
        let chain = chain(&path);
        let close_all = || chain.iter().for_each(|dir| drop(lock(&dir.fd).take()));
        let last = chain.last().unwrap();
        close_all();
        assert_eq!(identity(last.fd().unwrap()).unwrap(), last.identity);

        // Another directory of the same name, and a link to the true one, are both refused.
        let parent = path.parent().unwrap();
        fs::rename(parent, parent.with_file_name("moved")).unwrap();
        fs::create_dir_all(&path).unwrap();
        close_all();
        assert_eq!(last.fd().unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(parent).unwrap();
        std::os::unix::fs::symlink("moved", parent).unwrap();
        close_all();
        assert!(last.fd().is_err());
    }

    #[test]
    fn the_pool_closes_what_is_oldest() {
        let scratch = tempfile::tempdir().unwrap();
        let mut path = fs::canonicalize(scratch.path()).unwrap();
        (0..2 * OPEN_DIRECTORIES).for_each(|_| path.push("d"));
        fs::create_dir_all(&path).unwrap();
        let chain = chain(&path);
        let open = chain.iter().filter(|dir| dir.open_fd().is_some()).count();
        assert!(open <= OPEN_DIRECTORIES, "{open}");
        assert!(chain.last().unwrap().open_fd().is_some());
        assert!(chain[1].open_fd().is_none());
    }
}
