//! Everything that a restore did is undone, in reverse.
//!
//! Each act is undone by itself; what fails is told, and the rest goes on. What was undone is noted in the log, so that a
//! second attempt goes on where the first was cut off. What somebody else put there meanwhile is never removed: if something
//! must come back to that place, the two change places, and the stranger is told of.

use super::keep::{FOUND, PREFIX, TREE, split};
use super::log::{Act, Log, Noted, Records};
use super::settle::empty_directories;
use crate::files::meta::{proc_path, xattrs_by_path};
use crate::files::place::{Place, Places};
use crate::files::sink::{look, proof_of};
use dedup_engine::restore::sink::SinkError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, Statx, Timespec, Timestamps, UTIME_OMIT,
    Uid, XattrFlags, chmodat, chownat, openat, removexattr, renameat, renameat_with, setxattr, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How many things that could not be put back are named.
const MOST_NAMED: usize = 100;

/// Why the way back cannot be gone at all.
#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    /// The log.
    #[error("the log {path} of what a restore replaced cannot be used: {source}")]
    Log {
        /// Where it is.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The target, or writing it to its disk.
    #[error(transparent)]
    Target(#[from] SinkError),
    /// What was kept aside could not be removed.
    #[error("what was kept at {place} cannot be removed: {source}")]
    Remove {
        /// Where it is, below the target.
        place: String,
        /// Why.
        source: io::Error,
    },
}

/// What taking back did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// How many acts were undone.
    pub undone: u64,
    /// What is not as it was before, and why; at most 100.
    pub left: Vec<String>,
    /// How many more there are.
    pub more: u64,
}

/// Undoes everything that the log tells of: afterwards the tree is as before the restore, contents and metadata.
///
/// `target` is that of the sink. It may be called again, also after it was cut off at any moment. If nothing is left over the
/// aside directories are gone; the log itself stays, for its owner to remove.
pub fn take_back(target: &Path, log: &Path) -> Result<TakenBack, AsideError> {
    let failed = |source| AsideError::Log { path: log.display().to_string(), source };
    // Cuts off a torn end first: what follows it is read backwards.
    let progress = Log::open(log).map_err(failed)?;
    let records = Records::open(log).map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    let places = Places::open(target, user, None)?;
    let mut back = Back { places, done: TakenBack::default(), made: HashSet::new() };
    let mut end = records.end;
    if let Some((_, Act::Undone { offset })) = records.before(end).map_err(failed)? {
        end = offset;
    }
    while let Some((start, act)) = records.before(end).map_err(failed)? {
        // Of an attempt that was cut off; its last record told where to go on.
        if !matches!(act, Act::Undone { .. }) {
            back.undo(&act);
            back.done.undone += 1;
            // On a full disk the way back is gone all the same; then another attempt would look at all of it again.
            let _ = progress.write(&Act::Undone { offset: start });
        }
        end = start;
    }
    back.places.sync()?;
    progress.sync().map_err(failed)?;
    Ok(back.done)
}

/// The directory above something, its name there, and what the system says of it.
type There<'k> = (Place, &'k [u8], Statx);

/// Where something was, and where it is kept.
type Kept = (Vec<u8>, Vec<u8>);

struct Back {
    places: Places,
    done: TakenBack,
    /// Directories of which it is known which inode was made; removing that is enough.
    made: HashSet<Vec<u8>>,
}

impl Back {
    fn undo(&mut self, act: &Act) {
        let (path, undone) = match act {
            Act::Noted(noted) => (&noted.path, self.restore_metadata(noted)),
            Act::Root { place, name } => (place, self.remove_root(place, name)),
            Act::Replaced { path, aside, inode } => (path, self.put_back(path, aside, Some(*inode))),
            Act::Moved { path, aside } => (path, self.put_back(path, aside, None)),
            Act::Making { path } if self.made.remove(path) => return,
            Act::Making { path } => (path, self.remove_directory(path, None)),
            Act::Made { path, inode } => {
                self.made.insert(path.clone());
                (path, self.remove_directory(path, Some(*inode)))
            }
            Act::Created { path, inode } => (path, self.remove(path, *inode)),
            Act::Undone { .. } => return,
        };
        if let Err(why) = undone {
            self.left(path, &why);
        }
    }

    fn left(&mut self, key: &[u8], why: &str) {
        if self.done.left.len() >= MOST_NAMED {
            self.done.more += 1;
        } else {
            self.done.left.push(format!("{}: {why}", shown(key)));
        }
    }

    /// Returns the directory above a key, and the name there; nothing if that directory is gone.
    fn above<'k>(&self, key: &'k [u8]) -> Result<Option<(Place, &'k [u8])>, String> {
        let (above, name) = split(key);
        match self.places.find(above) {
            Ok(place) => Ok(Some((place, name))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(format!("the directory above it: {errno}")),
        }
    }

    fn there<'k>(&self, key: &'k [u8]) -> Result<Option<There<'k>>, String> {
        let Some((place, name)) = self.above(key)? else { return Ok(None) };
        match look(&place, name) {
            Ok(stat) => Ok(Some((place, name, stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.to_string()),
        }
    }

    /// Removes a name that was given to an inode, if it still is that inode's.
    fn remove(&self, key: &[u8], inode: u64) -> Result<(), String> {
        let Some((place, name, stat)) = self.there(key)? else { return Ok(()) };
        if proof_of(&stat) != inode || is_directory(&stat) {
            return Err("it was not there before, but it is another file than the restore made".to_owned());
        }
        unlinkat(&place, name, AtFlags::empty()).map_err(|errno| errno.to_string())
    }

    fn remove_directory(&self, key: &[u8], inode: Option<u64>) -> Result<(), String> {
        let Some((place, name, stat)) = self.there(key)? else { return Ok(()) };
        if !is_directory(&stat) || inode.is_some_and(|inode| inode != proof_of(&stat)) {
            return Err("it was not there before, but it is another one than the restore made".to_owned());
        }
        if let Ok(inside) = self.places.find(key) {
            inside.clean_leftovers();
        }
        unlinkat(&place, name, AtFlags::REMOVEDIR).map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST => {
                "it was not there before, but others put something into it".to_owned()
            }
            errno => errno.to_string(),
        })
    }

    /// Puts back what was kept at `aside`.
    fn put_back(&self, key: &[u8], aside: &[u8], inode: Option<u64>) -> Result<(), String> {
        // It never went, or is back already.
        let Some((from, name, kept)) = self.there(aside)? else { return Ok(()) };
        let Some((to, own)) = self.above(key)? else {
            return Err(format!("the directory above it is gone; it is kept at {}", shown(aside)));
        };
        let told = |errno: Errno| format!("{errno}; it is kept at {}", shown(aside));
        match look(&to, own) {
            Err(Errno::NOENT) => renameat(&from, name, &to, own).map_err(told),
            Err(errno) => Err(told(errno)),
            // Both names are the old one's: the new one never came.
            Ok(now) if proof_of(&now) == proof_of(&kept) && !is_directory(&now) => {
                unlinkat(&from, name, AtFlags::empty()).map_err(told)
            }
            Ok(now) if Some(proof_of(&now)) == inode && !is_directory(&now) && !is_directory(&kept) => {
                renameat(&from, name, &to, own).map_err(told)
            }
            Ok(_) => {
                let found = self.move_stranger(&to, own, aside)?;
                renameat(&from, name, &to, own).map_err(told)?;
                Err(format!("it is back; what others had put there is now at {}", shown(&found)))
            }
        }
    }

    /// Moves what others put in the way to the aside directory that `aside` lies in; returns where it is then.
    fn move_stranger(&self, to: &Place, own: &[u8], aside: &[u8]) -> Result<Vec<u8>, String> {
        let mut end = 0;
        for part in aside.split(|byte| *byte == 0) {
            end += part.len();
            if part.starts_with(PREFIX.as_bytes()) {
                break;
            }
            end += 1;
        }
        let key = aside.get(..end).unwrap_or_default();
        let root = self.places.find(key).map_err(|errno| errno.to_string())?;
        for number in 1..u32::MAX {
            let name = format!("{FOUND}{number}").into_bytes();
            match renameat_with(to, own, &root, &name[..], RenameFlags::NOREPLACE) {
                Ok(()) => return Ok([key, &name].join(&0)),
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(format!(
                        "what others put there cannot be moved: {errno}; it is kept at {}",
                        shown(aside)
                    ));
                }
            }
        }
        Err("there is no room beside it".to_owned())
    }

    fn restore_metadata(&self, noted: &Noted) -> Result<(), String> {
        let found = match self.there(&noted.path) {
            _ if noted.path.is_empty() => {
                openat(&self.places.find(b"").map_err(|e| e.to_string())?, c".", PATH, Mode::empty())
            }
            Ok(Some((place, name, _))) => openat(&place, name, PATH | OFlags::NOFOLLOW, Mode::empty()),
            Ok(None) => return Ok(()),
            Err(why) => return Err(why),
        };
        let found = found.map_err(|errno| errno.to_string())?;
        let now = look(&found, b"").map_err(|errno| errno.to_string())?;
        if proof_of(&now) != noted.inode || u32::from(now.stx_mode) >> 12 != noted.mode >> 12 {
            return Err("it is another one by now; its metadata were left alone".to_owned());
        }
        if is_directory(&now)
            && let Ok(place) = self.places.find(&noted.path)
        {
            place.clean_leftovers();
        }
        apply(&found, &now, noted).map_err(|(what, error)| format!("its {what}: {error}"))
    }

    /// Puts back what the log does not know of, and removes the aside directory if nothing is left in it.
    fn remove_root(&self, place: &[u8], name: &[u8]) -> Result<(), String> {
        let key = [place, name].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(&0);
        let Some((above, name, _)) = self.there(&key)? else { return Ok(()) };
        if !name.starts_with(PREFIX.as_bytes()) {
            return Err("the log names an aside directory that is none".to_owned());
        }
        let mut troubles = Vec::new();
        for (path, aside) in self.kept(&key)? {
            troubles.extend(self.put_back(&path, &aside, None).err());
        }
        let root = self.places.find(&key).map_err(|errno| errno.to_string())?;
        empty_directories(&root).map_err(|error| error.to_string())?;
        drop(root);
        match unlinkat(&above, name, AtFlags::REMOVEDIR) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                troubles.push(format!("something is left in {}; look at it, then remove it", shown(&key)));
            }
            Err(errno) => troubles.push(errno.to_string()),
        }
        if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) }
    }

    /// Returns everything that is kept in an aside directory: where it was, and where it is.
    fn kept(&self, root: &[u8]) -> Result<Vec<Kept>, String> {
        let mut found = Vec::new();
        let mut pending: Vec<(Vec<u8>, usize)> = Vec::new();
        let depth_of = |tree: &[u8]| match tree == TREE {
            true => Some(usize::MAX),
            false if tree.starts_with(FOUND.as_bytes()) => None,
            false => std::str::from_utf8(tree).ok()?.split_once('-')?.1.parse().ok(),
        };
        let skip = root.len() + 1;
        for (tree, _) in self.list(root)? {
            if let Some(depth) = depth_of(&tree) {
                pending.push(([root, &tree].join(&0), depth));
            }
        }
        while let Some((at, left)) = pending.pop() {
            for (name, is_directory) in self.list(&at)? {
                let here = [&at[..], &name].join(&0);
                if is_directory && left > 1 {
                    pending.push((here, left.saturating_sub(usize::from(left != usize::MAX))));
                } else if !is_directory || left == 1 {
                    let below = &here[skip..];
                    let path =
                        below.iter().position(|byte| *byte == 0).map_or(&[][..], |end| &below[end + 1..]);
                    found.push((path.to_vec(), here));
                }
            }
        }
        Ok(found)
    }

    fn list(&self, key: &[u8]) -> Result<Vec<(Vec<u8>, bool)>, String> {
        let place = Arc::new(self.places.find(key).map_err(|errno| errno.to_string())?);
        let mut found = Vec::new();
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(&*place, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| errno.to_string())?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let stat = look(&*place, name).map_err(|errno| errno.to_string())?;
                found.push((name.to_vec(), is_directory(&stat)));
            }
        }
        Ok(found)
    }
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Gives an inode the metadata it had: what changing one thing clears comes after that.
fn apply(found: &OwnedFd, now: &Statx, noted: &Noted) -> Result<(), (&'static str, io::Error)> {
    let path = proc_path(found);
    let what = |what: &'static str| move |errno: Errno| (what, io::Error::from(errno));
    if (now.stx_uid, now.stx_gid) != (noted.uid, noted.gid) {
        let (uid, gid) = (Some(Uid::from_raw(noted.uid)), Some(Gid::from_raw(noted.gid)));
        chownat(found, c"", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
            .map_err(what("owner"))?;
    }
    if FileType::from_raw_mode(noted.mode) != FileType::Symlink {
        chmodat(CWD, &path, Mode::from_raw_mode(noted.mode & 0o7777), AtFlags::empty())
            .map_err(what("mode"))?;
    }
    let has = xattrs_by_path(found).map_err(|error| ("attributes", error))?;
    for (name, _) in has.iter().filter(|(name, _)| !noted.xattrs.iter().any(|(other, _)| other == name)) {
        removexattr(&path, &name[..]).map_err(what("attributes"))?;
    }
    for (name, value) in noted.xattrs.iter().filter(|pair| !has.contains(pair)) {
        setxattr(&path, &name[..], value, XattrFlags::empty()).map_err(what("attributes"))?;
    }
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec { tv_sec: noted.mtime.0, tv_nsec: noted.mtime.1.into() };
    let times = Timestamps { last_access: omitted, last_modification: mtime };
    utimensat(found.as_fd(), c"", &times, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)
        .map_err(what("times"))
}

fn is_directory(stat: &Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory
}

/// Shows a key as a path of the target.
pub(super) fn shown(key: &[u8]) -> String {
    format!("/{}", key.escape_ascii().to_string().replace("\\x00", "/"))
}
