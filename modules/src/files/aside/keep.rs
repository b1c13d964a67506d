//! Before something that exists is replaced, moved or changed: it is noted, and kept aside.

use super::log::{Act, Log, Noted, log_error};
use crate::files::beneath::errno_error;
use crate::files::lock;
use crate::files::meta::xattrs_by_path;
use crate::files::place::{Domain, Place, Places};
use crate::files::sink::{look, proof_of};
use dedup_engine::format::MAX_KEY;
use dedup_engine::restore::sink::SinkError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Statx, StatxFlags, linkat, mkdirat, openat, renameat_with, statx,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Beginning of the name of every aside directory; the name of the run follows.
pub(in crate::files) const PREFIX: &str = ".dedup-aside-";
/// The directory of what is no directory itself: all directories in it are only the way.
pub(super) const TREE: &[u8] = b"tree";
/// Beginning of the names of what others had put where something had to come back.
pub(super) const FOUND: &str = "found-";
/// How many directories of aside trees stay open.
const OPEN_DIRECTORIES: usize = 128;

/// How a restore keeps a way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safety {
    /// Name of the run: letters, digits, `-`, `_`, `.`; at most 100 bytes.
    pub run: String,
    /// The log of what is done; several sinks of one run and one target may go on with the same one, one after another.
    pub log: PathBuf,
}

/// What a restore keeps aside; see the head of the module.
#[derive(Debug)]
pub(in crate::files) struct Aside {
    log: Log,
    name: Vec<u8>,
    user: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    roots: Vec<Arc<Root>>,
    /// Directories of the trees, by the key of what they stand for.
    trees: HashMap<Box<[u8]>, Arc<OwnedFd>>,
    next: u64,
}

/// The aside directory of one file system.
#[derive(Debug)]
struct Root {
    domain: Domain,
    /// Key of the aside directory itself.
    key: Vec<u8>,
    fd: OwnedFd,
}

impl Aside {
    /// Opens the log.
    pub(in crate::files) fn open(safety: &Safety, user: u32) -> Result<Self, SinkError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if safety.run.is_empty() || safety.run.len() > 100 || !safety.run.bytes().all(plain) {
            return Err(SinkError::Refused(format!("{:?} cannot be the name of a run", safety.run)));
        }
        let log = Log::open(&safety.log).map_err(log_error)?;
        let name = format!("{PREFIX}{}", safety.run).into_bytes();
        Ok(Self { log, name, user, state: Mutex::default() })
    }

    /// Writes down what is about to be done.
    pub(in crate::files) fn log(&self, act: &Act) -> Result<(), SinkError> {
        self.log.write(act).map_err(log_error)
    }

    /// Writes the log to disk.
    pub(in crate::files) fn sync(&self) -> Result<(), SinkError> {
        self.log.sync().map_err(log_error)
    }

    /// Notes the metadata of something that stays.
    pub(in crate::files) fn note(&self, key: &[u8], fd: impl AsFd) -> Result<(), SinkError> {
        let stat = look(&fd, b"").map_err(errno_error("examine what is about to be changed"))?;
        let xattrs = xattrs_by_path(&fd).map_err(|source| SinkError::Io {
            call: "read the attributes of what is about to be changed",
            source,
        })?;
        self.log(&Act::Noted(noted(key, &stat, xattrs)))
    }

    /// Keeps what has the name now, so that the name can be given to `inode` by renaming that over it. Where links are
    /// possible the old one stays in its place until then.
    pub(in crate::files) fn replace(
        &self,
        places: &Places,
        parent: &Place,
        key: &[u8],
        inode: u64,
    ) -> Result<(), SinkError> {
        let act = |aside| Act::Replaced { path: key.to_vec(), aside, inode };
        self.send(places, parent, key, true, &act)
    }

    /// Moves something aside as a whole; `false` if it is a mount point.
    pub(in crate::files) fn remove(
        &self,
        places: &Places,
        parent: &Place,
        key: &[u8],
        is_directory: bool,
    ) -> Result<bool, SinkError> {
        let act = |aside| Act::Moved { path: key.to_vec(), aside };
        let sent = match is_directory {
            true => self.send_alone(places, parent, key, false, &act),
            false => self.send(places, parent, key, false, &act),
        };
        match sent {
            Err(SinkError::Io { source, .. })
                if source.raw_os_error() == Some(Errno::BUSY.raw_os_error()) =>
            {
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    fn send(
        &self,
        places: &Places,
        parent: &Place,
        key: &[u8],
        stays: bool,
        act: &dyn Fn(Vec<u8>) -> Act,
    ) -> Result<(), SinkError> {
        let (above, name) = split(key);
        let root = self.root(places, parent, above)?;
        let to = match self.tree(&root, above) {
            Ok(to) => to,
            // Something else of that name was kept before.
            Err(Errno::NOTDIR | Errno::LOOP) => return self.send_alone(places, parent, key, stays, act),
            Err(errno) => return Err(errno_error("make room for what is replaced")(errno)),
        };
        self.log(&act(joined(&[&root.key, TREE, key])?))?;
        match put(parent, name, &to, stays) {
            Err(Errno::EXIST) => self.send_alone(places, parent, key, stays, act),
            result => result.map_err(errno_error("keep aside what is at its place")),
        }
    }

    /// Keeps something in a tree of its own, whose name says how many components its path has.
    fn send_alone(
        &self,
        places: &Places,
        parent: &Place,
        key: &[u8],
        stays: bool,
        act: &dyn Fn(Vec<u8>) -> Act,
    ) -> Result<(), SinkError> {
        let (above, name) = split(key);
        let root = self.root(places, parent, above)?;
        let depth = key.split(|byte| *byte == 0).count();
        let failed = errno_error("make room for what is replaced");
        let own = loop {
            let number = {
                let mut state = lock(&self.state);
                state.next += 1;
                state.next
            };
            let own = format!("{number}-{depth}").into_bytes();
            match mkdirat(&root.fd, &own, Mode::RWXU) {
                Ok(()) => break own,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        };
        let mut to = open_directory(&root.fd, &own).map_err(&failed)?;
        for part in above.split(|byte| *byte == 0).filter(|part| !part.is_empty()) {
            mkdirat(&to, part, Mode::RWXU).map_err(&failed)?;
            to = open_directory(&to, part).map_err(&failed)?;
        }
        self.log(&act(joined(&[&root.key, &own, key])?))?;
        put(parent, name, &to, stays).map_err(errno_error("keep aside what is at its place"))
    }

    /// Returns the aside directory of the file system that `parent` is on.
    fn root(&self, places: &Places, parent: &Place, above: &[u8]) -> Result<Arc<Root>, SinkError> {
        let mut state = lock(&self.state);
        if let Some(root) = state.roots.iter().find(|root| root.domain == parent.domain) {
            return Ok(root.clone());
        }
        // As high as it goes, so that there is one for each file system and it is not in the way.
        let ends = above.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
        let mut refused = Errno::NOENT;
        for end in [0].into_iter().chain(ends).chain([above.len()]) {
            let place = match places.find(&above[..end]) {
                Ok(place) if place.domain == parent.domain => place,
                _ => continue,
            };
            match self.make_root(&place, &above[..end])? {
                Ok(root) => {
                    let root = Arc::new(root);
                    state.roots.push(root.clone());
                    return Ok(root);
                }
                Err(errno) => refused = errno,
            }
        }
        Err(errno_error("make a directory on the same file system for what is replaced")(refused))
    }

    fn make_root(&self, place: &Place, key: &[u8]) -> Result<Result<Root, Errno>, SinkError> {
        self.note(key, place)?;
        self.log(&Act::Root { place: key.to_vec(), name: self.name.clone() })?;
        // The only one that must not be lost: by it everything else is found.
        self.sync()?;
        match mkdirat(place, &self.name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Ok(Err(errno)),
        }
        let own = |fd: &OwnedFd| {
            let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
            Ok(stat.stx_uid == self.user && stat.stx_mode & 0o077 == 0)
        };
        let opened = open_directory(place, &self.name).and_then(|fd| own(&fd).map(|own| (own, fd)));
        let key = joined(&[key, &self.name])?;
        Ok(match opened {
            Ok((true, fd)) => Ok(Root { domain: place.domain, key, fd }),
            Ok((false, _)) => Err(Errno::PERM),
            Err(errno) => Err(errno),
        })
    }

    /// Returns the directory of the tree that stands for `above`.
    fn tree(&self, root: &Root, above: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        let mut state = lock(&self.state);
        if let Some(fd) = state.trees.get(above) {
            return Ok(fd.clone());
        }
        let mut at: Option<OwnedFd> = None;
        for part in [TREE].into_iter().chain(above.split(|byte| *byte == 0)).filter(|part| !part.is_empty()) {
            let from = at.as_ref().unwrap_or(&root.fd);
            match mkdirat(from, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            at = Some(open_directory(from, part)?);
        }
        let fd = Arc::new(at.ok_or(Errno::NOENT)?);
        if state.trees.len() >= OPEN_DIRECTORIES {
            state.trees.clear();
        }
        state.trees.insert(above.into(), fd.clone());
        Ok(fd)
    }
}

/// Gives something a name in `to`: a second one if it is to stay, as far as the system allows that.
fn put(parent: &Place, name: &[u8], to: &OwnedFd, stays: bool) -> Result<(), Errno> {
    if stays {
        match linkat(parent, name, to, name, AtFlags::empty()) {
            // Of another owner, too many names, or a file system without links.
            Err(Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::ACCESS) => {}
            result => return result,
        }
    }
    match renameat_with(parent, name, to, name, RenameFlags::NOREPLACE) {
        // A file system that cannot do that; nobody else writes to the aside directory.
        Err(Errno::INVAL) => match statx(to, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => rustix::fs::renameat(parent, name, to, name),
        },
        result => result,
    }
}

fn open_directory(at: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

pub(in crate::files) fn noted(key: &[u8], stat: &Statx, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Noted {
    Noted {
        path: key.to_vec(),
        inode: proof_of(stat),
        mode: stat.stx_mode.into(),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        xattrs,
    }
}

/// Splits a key into that of the directory and the last component.
pub(in crate::files) fn split(key: &[u8]) -> (&[u8], &[u8]) {
    match key.iter().rposition(|byte| *byte == 0) {
        Some(at) => (&key[..at], &key[at + 1..]),
        None => (&[], key),
    }
}

/// Joins keys; empty ones are left out.
pub(in crate::files) fn joined(parts: &[&[u8]]) -> Result<Vec<u8>, SinkError> {
    let parts: Vec<&[u8]> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    let key = parts.join(&0);
    if key.len() > MAX_KEY {
        return Err(SinkError::Refused(
            "its path is too long for what it replaces to be kept aside".to_owned(),
        ));
    }
    Ok(key)
}
