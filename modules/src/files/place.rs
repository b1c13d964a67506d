//! Directories of the target, reached from one handle and never through a symbolic link.
//!
//! `openat2` with `RESOLVE_BENEATH` resolves whole relative paths inside the kernel, so nobody can swap a
//! component while it is looked up. A path that is too long for one call is resolved in pieces, each
//! below the handle of the piece before.
//!
//! A directory that somebody moves elsewhere while its handle is open is still written to. Only its owner
//! or somebody with the right to write to it can do that, so it never leads to where he could not write.

use super::lock;
use super::meta::proc_path;
use super::temporary::is_temporary;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::restore::sink::SinkError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, chmodat, makedev, mkdirat, openat,
    openat2, statx, unlinkat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How many directories stay open.
const OPEN_PLACES: usize = 128;
/// How many file systems below the target are remembered for the final sync.
const MOST_DEVICES: usize = 64;
/// What one call resolves; `PATH_MAX` is 4,096 with the terminator.
const PIECE_BYTES: usize = 4000;
/// How often a lookup that met a rename is repeated.
const RETRIES: usize = 64;

const BELOW: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const OWNER_ONLY: Mode = Mode::RWXU;

/// A directory of the target, open.
#[derive(Debug)]
pub(super) struct Place {
    fd: OwnedFd,
    /// Opened for reading, so that metadata can be set by the descriptor itself.
    pub(super) readable: bool,
    /// Made by this sink: nothing was in it before.
    pub(super) fresh: bool,
    /// What is made in it inherits access rights.
    pub(super) default_acl: bool,
    device: u64,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The directories of one target.
#[derive(Debug)]
pub(super) struct Places {
    root: Arc<Place>,
    /// The target did not exist before.
    pub(super) made_root: bool,
    open: Mutex<Open>,
    user: u32,
}

#[derive(Debug, Default)]
struct Open {
    /// By key in the listing, with the moment of the last use.
    places: HashMap<Box<[u8]>, (Arc<Place>, u64)>,
    clock: u64,
    devices: Vec<(u64, Arc<Place>)>,
}

impl Places {
    /// Opens the target, which is made with its parents if it is not there. Its path may contain links.
    pub(super) fn open(target: &Path, user: u32) -> Result<Self, SinkError> {
        let made_root = !target.exists();
        if made_root {
            std::fs::create_dir_all(target).map_err(io_error("create the target directory"))?;
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |access| openat(CWD, target, flags | access, Mode::empty());
        let (fd, readable) = match open(OFlags::RDONLY) {
            Err(Errno::ACCESS) => {
                (open(OFlags::PATH).map_err(errno_error("open the target directory"))?, false)
            }
            result => (result.map_err(errno_error("open the target directory"))?, true),
        };
        let root = Arc::new(Place::new(fd, readable)?.0);
        if !made_root {
            root.clean_leftovers();
        }
        let open = Open { devices: vec![(root.device, root.clone())], ..Open::default() };
        Ok(Self { root, made_root, open: Mutex::new(open), user })
    }

    /// Returns the directory with this key, relative to the target. Those missing are made for their owner only.
    pub(super) fn get(&self, key: &[u8]) -> Result<Arc<Place>, SinkError> {
        if key.is_empty() {
            return Ok(self.root.clone());
        }
        {
            let mut open = lock(&self.open);
            open.clock += 1;
            let now = open.clock;
            if let Some((place, used)) = open.places.get_mut(key) {
                *used = now;
                return Ok(place.clone());
            }
        }
        let place = match self.look_up(key) {
            Err(Errno::NOENT) => self.make_all(key)?,
            result => result.map_err(lookup_error)?,
        };
        Ok(self.keep(key, place))
    }

    /// Makes a directory, or takes the one that is there.
    pub(super) fn make(&self, parent: &Place, name: &[u8], key: &[u8]) -> Result<Arc<Place>, SinkError> {
        let mut made = mkdirat(parent, name, OWNER_ONLY);
        let mut opened = open_below(parent.as_fd(), name);
        if made == Err(Errno::EXIST) && matches!(opened, Err(Errno::NOTDIR | Errno::LOOP)) {
            // What is in the way is no directory. A link is removed, never followed.
            unlinkat(parent, name, AtFlags::empty()).map_err(errno_error("remove what is in the way"))?;
            made = mkdirat(parent, name, OWNER_ONLY);
            opened = open_below(parent.as_fd(), name);
        }
        if let Err(errno) = made
            && errno != Errno::EXIST
        {
            return Err(errno_error("create the directory")(errno));
        }
        let (fd, readable) = opened.map_err(lookup_error)?;
        let (mut place, stat) = Place::new(fd, readable)?;
        // Between the two calls somebody may have put another directory there.
        place.fresh = made.is_ok() && stat.stx_uid == self.user;
        if made.is_err() {
            if self.user != 0 && stat.stx_uid == self.user && stat.stx_mode & 0o700 != 0o700 {
                place = self.unlock(place, &stat)?;
            }
            place.clean_leftovers();
        }
        Ok(self.keep(key, place))
    }

    /// Writes everything in the target's file systems to their disks.
    pub(super) fn sync(&self) -> Result<(), SinkError> {
        let devices: Vec<_> = lock(&self.open).devices.iter().map(|(_, place)| place.clone()).collect();
        for place in devices {
            openat(&*place, c".", OFlags::RDONLY | DIRECTORY, Mode::empty())
                .and_then(rustix::fs::syncfs)
                .map_err(errno_error("write the file system to its disk"))?;
        }
        Ok(())
    }

    /// Lets its owner into a directory that shuts him out; the final mode comes later.
    fn unlock(&self, place: Place, stat: &Statx) -> Result<Place, SinkError> {
        let mode = Mode::from_raw_mode(u32::from(stat.stx_mode) & 0o7777) | OWNER_ONLY;
        chmodat(CWD, proc_path(&place), mode, AtFlags::empty())
            .map_err(errno_error("get access to the directory"))?;
        let again = openat(&place, c".", OFlags::RDONLY | DIRECTORY, Mode::empty());
        let fd = again.map_err(errno_error("open the directory"))?;
        Ok(Place::new(fd, true)?.0)
    }

    fn look_up(&self, key: &[u8]) -> rustix::io::Result<Place> {
        let path: Vec<u8> = key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
        let mut rest = &path[..];
        let mut at: Option<(OwnedFd, bool)> = None;
        while !rest.is_empty() {
            let end = match rest.get(..PIECE_BYTES) {
                None => rest.len(),
                // A component has at most 255 bytes, so there is a slash.
                Some(piece) => piece.iter().rposition(|byte| *byte == b'/').unwrap_or(PIECE_BYTES),
            };
            let from = at.as_ref().map_or(self.root.as_fd(), |(fd, _)| fd.as_fd());
            at = Some(open_below(from, &rest[..end])?);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        let (fd, readable) = at.ok_or(Errno::NOENT)?;
        Ok(Place::look(fd, readable)?.0)
    }

    fn make_all(&self, key: &[u8]) -> Result<Place, SinkError> {
        let mut at: Option<(OwnedFd, bool)> = None;
        for name in key.split(|byte| *byte == 0) {
            let from = at.as_ref().map_or(self.root.as_fd(), |(fd, _)| fd.as_fd());
            match mkdirat(from, name, OWNER_ONLY) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno_error("create a directory above it")(errno)),
            }
            at = Some(open_below(from, name).map_err(lookup_error)?);
        }
        let (fd, readable) = at.ok_or_else(|| lookup_error(Errno::NOENT))?;
        Ok(Place::new(fd, readable)?.0)
    }

    fn keep(&self, key: &[u8], place: Place) -> Arc<Place> {
        let place = Arc::new(place);
        let mut open = lock(&self.open);
        if open.places.len() >= OPEN_PLACES {
            // The older half goes at once, so that the search for it costs little per directory.
            let mut used: Vec<_> = open.places.values().map(|(_, used)| *used).collect();
            let middle = used.len() / 2;
            let limit = *used.select_nth_unstable(middle).1;
            open.places.retain(|_, (_, used)| *used > limit);
        }
        open.clock += 1;
        let now = open.clock;
        open.places.insert(key.into(), (place.clone(), now));
        let known = open.devices.iter().any(|(device, _)| *device == place.device);
        if !known && open.devices.len() < MOST_DEVICES {
            open.devices.push((place.device, place.clone()));
        }
        place
    }
}

impl Place {
    fn new(fd: OwnedFd, readable: bool) -> Result<(Self, Statx), SinkError> {
        Self::look(fd, readable).map_err(errno_error("examine the directory"))
    }

    fn look(fd: OwnedFd, readable: bool) -> rustix::io::Result<(Self, Statx)> {
        let stat = statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let acl = c"system.posix_acl_default";
        let mut none = [0; 0];
        let found = match readable {
            true => rustix::fs::fgetxattr(&fd, acl, &mut none[..]),
            false => rustix::fs::getxattr(proc_path(&fd), acl, &mut none[..]),
        };
        let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Ok((Self { fd, readable, fresh: false, default_acl: found.is_ok(), device }, stat))
    }

    /// Removes temporary files that an interrupted restore left; those of one that still runs as well.
    fn clean_leftovers(&self) {
        if !self.readable {
            return;
        }
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(self, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            if is_temporary(entry.file_name().to_bytes()) {
                // A file that stays does no harm: its name is never used again.
                let _ = unlinkat(self, entry.file_name(), AtFlags::empty());
            }
        }
    }
}

/// Opens a directory below another one: for reading, or where that is not allowed to pass through it.
fn open_below(at: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<(OwnedFd, bool)> {
    if planted(Bug::FollowLinks) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return openat(at, path, flags, Mode::empty()).map(|fd| (fd, true));
    }
    match retry(|| openat2(at, path, OFlags::RDONLY | DIRECTORY, Mode::empty(), BELOW)) {
        Err(Errno::ACCESS) => {
            retry(|| openat2(at, path, OFlags::PATH | DIRECTORY, Mode::empty(), BELOW)).map(|fd| (fd, false))
        }
        result => result.map(|fd| (fd, true)),
    }
}

/// Repeats a lookup that the kernel gave up because something was renamed meanwhile.
fn retry<T>(call: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 0..RETRIES {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    call()
}

fn lookup_error(errno: Errno) -> SinkError {
    let text = match errno {
        Errno::LOOP | Errno::XDEV => "a symbolic link stands where a directory was restored",
        Errno::NOTDIR => "something that is no directory stands where a directory was restored",
        Errno::NOSYS => "restoring needs openat2, which Linux has since 5.6",
        _ => return errno_error("open the directory")(errno),
    };
    SinkError::Refused(text.to_owned())
}

/// Says which call failed.
pub(super) fn errno_error(call: &'static str) -> impl Fn(Errno) -> SinkError {
    move |errno| SinkError::Io { call, source: errno.into() }
}

/// Says which call failed.
fn io_error(call: &'static str) -> impl Fn(io::Error) -> SinkError {
    move |source| SinkError::Io { call, source }
}
