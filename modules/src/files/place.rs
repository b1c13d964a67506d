//! Directories of the target, reached from one handle and never through a symbolic link.
//!
//! `openat2` with `RESOLVE_BENEATH` resolves whole relative paths inside the kernel, so nobody can swap a
//! component while it is looked up. A path that is too long for one call is resolved in pieces, each
//! below the handle of the piece before.
//!
//! A directory that somebody moves elsewhere while its handle is open is still written to. Only its owner
//! or somebody with the right to write to it can do that, so it never leads to where he could not write.

use super::aside::{Act, Aside};
use super::beneath::{DIRECTORY, errno_error, io_error, lookup_error, mount_point, open_below};
use super::lock;
use super::meta::proc_path;
use super::sink::proof_of;
use super::temporary::is_temporary;
use dedup_engine::restore::sink::SinkError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, Statx, StatxFlags, chmodat, makedev, mkdirat, openat, statx, unlinkat,
};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How many directories stay open.
const OPEN_PLACES: usize = 128;
/// How many file systems below the target are remembered for the final sync.
const MOST_DEVICES: usize = 64;
/// What one call resolves; `PATH_MAX` is 4,096 with the terminator.
const PIECE_BYTES: usize = 4000;
/// How many directories above what is restored are remembered.
const MOST_ABOVE: usize = 65_536;

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
    /// Where renaming is possible.
    pub(super) domain: Domain,
}

/// Device and mount: between two of the same, names can be moved.
pub(super) type Domain = (u64, u64);

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
    /// What is noted and kept before anything is changed.
    pub(super) aside: Option<Arc<Aside>>,
}

#[derive(Debug, Default)]
struct Open {
    /// By key in the listing, with the moment of the last use.
    places: HashMap<Box<[u8]>, (Arc<Place>, u64)>,
    clock: u64,
    /// Those that were made because something below them was restored, so that they get their metadata.
    made_above: HashSet<Box<[u8]>>,
    devices: Vec<(u64, Arc<Place>)>,
}

impl Places {
    /// Opens the target, which is made with its parents if it is not there. Its path may contain links.
    pub(super) fn open(target: &Path, user: u32, aside: Option<Arc<Aside>>) -> Result<Self, SinkError> {
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
        if let Some(aside) = &aside {
            aside.note(b"", &*root)?;
        }
        if !made_root {
            root.clean_leftovers();
        }
        Ok(Self::at(root, made_root, user, aside))
    }

    /// Opens a target that is there, only to look at it.
    pub(super) fn looking(target: &Path, user: u32) -> Result<Self, SinkError> {
        let fd = openat(CWD, target, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH, Mode::empty())
            .map_err(errno_error("open the target directory"))?;
        Ok(Self::at(Arc::new(Place::new(fd, false)?.0), false, user, None))
    }

    fn at(root: Arc<Place>, made_root: bool, user: u32, aside: Option<Arc<Aside>>) -> Self {
        let open = Open { devices: vec![(root.domain.0, root.clone())], ..Open::default() };
        Self { root, made_root, open: Mutex::new(open), user, aside }
    }

    /// Returns the directory with this key, relative to the target. Those missing are made for their owner only.
    pub(super) fn get(&self, key: &[u8]) -> Result<Arc<Place>, SinkError> {
        if let Some(place) = self.known(key) {
            return Ok(place);
        }
        let place = match self.look_up(key) {
            Err(Errno::NOENT) => self.make_all(key)?,
            result => {
                let place = result.map_err(lookup_error)?;
                self.note(key, &place)?;
                place
            }
        };
        Ok(self.keep(key, place))
    }

    /// Returns the directory with this key if it is there; nothing is going to be changed in it.
    pub(super) fn find(&self, key: &[u8]) -> rustix::io::Result<Place> {
        match key {
            b"" => {
                Ok(Place::look(self.root.fd.try_clone().map_err(|_| Errno::MFILE)?, self.root.readable)?.0)
            }
            _ => self.look_up(key),
        }
    }

    /// Forgets directories that have gone elsewhere: `key` and what is below it.
    pub(super) fn forget(&self, key: &[u8]) {
        let gone =
            |at: &[u8]| at.strip_prefix(key).is_some_and(|rest| matches!(rest.first(), None | Some(0)));
        lock(&self.open).places.retain(|at, _| !gone(at));
    }

    /// Returns whether a directory was made only because something below it was restored.
    pub(super) fn was_made_above(&self, key: &[u8]) -> bool {
        lock(&self.open).made_above.contains(key)
    }

    fn known(&self, key: &[u8]) -> Option<Arc<Place>> {
        if key.is_empty() {
            return Some(self.root.clone());
        }
        let mut open = lock(&self.open);
        open.clock += 1;
        let now = open.clock;
        let (place, used) = open.places.get_mut(key)?;
        *used = now;
        Some(place.clone())
    }

    fn note(&self, key: &[u8], place: &Place) -> Result<(), SinkError> {
        self.aside.as_ref().map_or(Ok(()), |aside| aside.note(key, place))
    }

    fn log(&self, act: impl FnOnce() -> Act) -> Result<(), SinkError> {
        self.aside.as_ref().map_or(Ok(()), |aside| aside.log(&act()))
    }

    /// Makes a directory, or takes the one that is there.
    pub(super) fn make(&self, parent: &Place, name: &[u8], key: &[u8]) -> Result<Arc<Place>, SinkError> {
        if let Some(aside) = &self.aside {
            // What may not have been made must not be noted as made: it would be removed on the way back.
            match statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
                Ok(_) => {}
                Err(Errno::NOENT) => aside.log(&Act::Making { path: key.to_vec() })?,
                Err(errno) => return Err(errno_error("examine what is at its place")(errno)),
            }
        }
        let mut made = mkdirat(parent, name, OWNER_ONLY);
        let mut opened = open_below(parent.as_fd(), name);
        if made == Err(Errno::EXIST) && matches!(opened, Err(Errno::NOTDIR | Errno::LOOP)) {
            // What is in the way is no directory. A link is removed, never followed.
            match &self.aside {
                None => unlinkat(parent, name, AtFlags::empty())
                    .map_err(errno_error("remove what is in the way"))?,
                Some(aside) => {
                    if !aside.remove(self, parent, key, false)? {
                        return Err(mount_point());
                    }
                    aside.log(&Act::Making { path: key.to_vec() })?;
                }
            }
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
        if made.is_ok() {
            self.log(|| Act::Made { path: key.to_vec(), inode: proof_of(&stat) })?;
        } else {
            self.note(key, &place)?;
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
        let mut at: Option<Place> = None;
        let ends = key.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(end, _)| end);
        let mut start = 0;
        for end in ends.chain([key.len()]) {
            let (here, name) = (&key[..end], &key[start..end]);
            let above = &key[..start.saturating_sub(1)];
            let parent = at.as_ref().unwrap_or(&self.root);
            let mut opened = open_below(parent.as_fd(), name);
            let mut made = false;
            if matches!(opened, Err(Errno::NOENT)) {
                if !parent.fresh {
                    self.note(above, parent)?;
                }
                self.log(|| Act::Making { path: here.to_vec() })?;
                match mkdirat(parent, name, OWNER_ONLY) {
                    Ok(()) => made = true,
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno_error("create a directory above it")(errno)),
                }
                opened = open_below(parent.as_fd(), name);
            }
            let (fd, readable) = opened.map_err(lookup_error)?;
            let (mut place, stat) = Place::new(fd, readable)?;
            place.fresh = made && stat.stx_uid == self.user;
            if made {
                self.log(|| Act::Made { path: here.to_vec(), inode: proof_of(&stat) })?;
                let mut open = lock(&self.open);
                if open.made_above.len() < MOST_ABOVE {
                    open.made_above.insert(here.into());
                }
            }
            (at, start) = (Some(place), end + 1);
        }
        at.ok_or_else(|| lookup_error(Errno::NOENT))
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
        let known = open.devices.iter().any(|(device, _)| *device == place.domain.0);
        if !known && open.devices.len() < MOST_DEVICES {
            open.devices.push((place.domain.0, place.clone()));
        }
        place
    }
}

impl Place {
    fn new(fd: OwnedFd, readable: bool) -> Result<(Self, Statx), SinkError> {
        Self::look(fd, readable).map_err(errno_error("examine the directory"))
    }

    fn look(fd: OwnedFd, readable: bool) -> rustix::io::Result<(Self, Statx)> {
        let asked = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID | StatxFlags::BTIME;
        let stat = statx(&fd, c"", AtFlags::EMPTY_PATH, asked)?;
        let acl = c"system.posix_acl_default";
        let mut none = [0; 0];
        let found = match readable {
            true => rustix::fs::fgetxattr(&fd, acl, &mut none[..]),
            false => rustix::fs::getxattr(proc_path(&fd), acl, &mut none[..]),
        };
        let domain = (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_mnt_id);
        Ok((Self { fd, readable, fresh: false, default_acl: found.is_ok(), domain }, stat))
    }

    /// Removes temporary files that an interrupted restore left; those of one that still runs as well.
    pub(super) fn clean_leftovers(&self) {
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
