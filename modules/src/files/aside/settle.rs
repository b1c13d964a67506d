//! The restore is good: what was kept aside is removed.

use super::back::{AsideError, shown};
use super::keep::{FOUND, PREFIX};
use super::log::{Act, Records};
use crate::files::place::{Place, Places};
use crate::files::sink::look;
use dedup_engine::listing::StoredPath;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, openat, renameat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How many names are removed between two looks.
const SOME: usize = 4096;

/// Removes what a restore kept aside, for good; its log as well. May be called again after it was cut off.
///
/// `target` is that of the sink. The directories that held what was kept keep their times.
pub fn settle(target: &Path, log: &Path) -> Result<(), AsideError> {
    let failed = |source| AsideError::Log { path: log.display().to_string(), source };
    let records = match Records::open(log) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(failed)?,
    };
    let places = Places::open(target, rustix::process::geteuid().as_raw(), None)?;
    let mut end = records.end;
    while let Some((start, act)) = records.before(end).map_err(failed)? {
        if let Act::Root { place, name } = act {
            remove_root(&places, &place, &name).map_err(|errno| AsideError::Remove {
                place: format!("{}/{}", shown(&place), name.escape_ascii()),
                source: errno.into(),
            })?;
        }
        end = start;
    }
    std::fs::remove_file(log).map_err(failed)
}

/// Returns the directories in which a restore keeps what it replaced; those of a log that cannot be read are not known.
///
/// `target` is that of the sink.
pub fn aside_places(target: &Path, log: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(records) = Records::open(log) else { return found };
    let mut end = records.end;
    while let Ok(Some((start, act))) = records.before(end) {
        if let Act::Root { place, name } = act
            && let Some(place) = StoredPath::from_key(&place).ok()
        {
            let place = target.join(OsStr::from_bytes(&place.to_slashes()));
            found.push(place.join(OsStr::from_bytes(&name)));
        }
        end = start;
    }
    found
}

fn remove_root(places: &Places, place: &[u8], name: &[u8]) -> Result<(), Errno> {
    let above = match places.find(place) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    };
    if !name.starts_with(PREFIX.as_bytes()) {
        return Err(Errno::INVAL);
    }
    let root = match openat(&above, name, READ, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    };
    remove_everything(&root)?;
    let before = look(&above, b"")?;
    unlinkat(&above, name, AtFlags::REMOVEDIR)?;
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec { tv_sec: before.stx_mtime.tv_sec, tv_nsec: before.stx_mtime.tv_nsec.into() };
    let times = Timestamps { last_access: omitted, last_modification: mtime };
    // Only somebody who does not own the directory may not; then its time is all that changed.
    let _ = openat(&above, c".", READ, Mode::empty()).and_then(|fd| futimens(&fd, &times));
    Ok(())
}

/// Empties a directory: its subdirectories are moved up into it one by one, so that no depth of a tree matters.
fn remove_everything(root: &OwnedFd) -> Result<(), Errno> {
    let mut number = 0u64;
    loop {
        let some = names(root, SOME)?;
        if some.is_empty() {
            return Ok(());
        }
        for name in some {
            let inside = match unlinkat(root, &name[..], AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR | Errno::PERM) => openat(root, &name[..], READ, Mode::empty())?,
                Err(errno) => return Err(errno),
            };
            loop {
                let some = names(&inside, SOME)?;
                if some.is_empty() {
                    break;
                }
                for below in some {
                    match unlinkat(&inside, &below[..], AtFlags::empty()) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(Errno::ISDIR | Errno::PERM) => {
                            if unlinkat(&inside, &below[..], AtFlags::REMOVEDIR).is_err() {
                                number = lift(root, &inside, &below, number)?;
                            }
                        }
                        Err(errno) => return Err(errno),
                    }
                }
            }
            unlinkat(root, &name[..], AtFlags::REMOVEDIR)?;
        }
    }
}

/// Moves a directory up under a name that is free.
fn lift(root: &OwnedFd, inside: &OwnedFd, name: &[u8], mut number: u64) -> Result<u64, Errno> {
    // Its owner must be able to write to it, since what is above it changes.
    let fd = openat(inside, name, READ, Mode::empty())?;
    fchmod(&fd, Mode::RWXU)?;
    loop {
        number += 1;
        let to = format!("~{number}");
        if matches!(look(root, to.as_bytes()), Err(Errno::NOENT)) {
            renameat(inside, name, root, &to)?;
            return Ok(number);
        }
    }
}

/// Removes directories below `root` that hold nothing but such directories. Others stay, and so does what others had put
/// where something had to come back.
pub(super) fn empty_directories(root: &Place) -> Result<(), Errno> {
    let top = openat(root, c".", READ, Mode::empty())?;
    let mut first = directories(&top)?;
    first.retain(|name| !name.starts_with(FOUND.as_bytes()));
    // The way down, each with the directories in it that are still to be looked at.
    let mut way: Vec<(Vec<u8>, Vec<Vec<u8>>)> = vec![(Vec::new(), first)];
    while let Some((_, pending)) = way.last_mut() {
        if let Some(child) = pending.pop() {
            let names = way.iter().skip(1).map(|(name, _)| name).chain([&child]);
            let inside = walk_to(&top, names).and_then(|fd| directories(&fd)).unwrap_or_default();
            way.push((child, inside));
        } else if let Some((name, _)) = way.pop()
            && !way.is_empty()
            && let Ok(fd) = walk_to(&top, way.iter().skip(1).map(|(name, _)| name))
        {
            // One that holds something stays, with those above it.
            let _ = unlinkat(&fd, &name[..], AtFlags::REMOVEDIR);
        }
    }
    Ok(())
}

fn directories(fd: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = names(fd, usize::MAX)?;
    all.retain(|name| openat(fd, &name[..], READ, Mode::empty()).is_ok());
    Ok(all)
}

fn walk_to<'a>(top: &OwnedFd, mut way: impl Iterator<Item = &'a Vec<u8>>) -> Result<OwnedFd, Errno> {
    let start = openat(top, c".", READ, Mode::empty())?;
    way.try_fold(start, |at, name| openat(&at, &name[..], READ, Mode::empty()))
}

/// Returns the names in a directory, but not more than `most`.
fn names(directory: &OwnedFd, most: usize) -> Result<Vec<Vec<u8>>, Errno> {
    let fd = openat(directory, c".", READ, Mode::empty())?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while found.len() < most
        && let Some(entry) = entries.next()
    {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            found.push(name);
        }
    }
    Ok(found)
}
