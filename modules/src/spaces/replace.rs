//! Paths put back: each is written beside its place first, then all change places with what is there.
//!
//! ```text
//! PARENT/NAME                    what is to be put back
//! PARENT/.dedup-<hex>.space      a directory object itself, or a directory (mode 0700) with the one other object
//! ```
//!
//! Until the first change of places nothing has happened; if one of them fails, those before it are taken back. What
//! was there lies under the other name afterwards and is removed last. If the machine stops in between, each place
//! holds the old or the new content, whole, and the same call again completes it: names beside are in the index.

use super::archive::unpack;
use super::index::{ObjectKind, SpaceObject};
use super::store::Store;
use super::{Replayed, SpaceError};
use crate::folder::{Folder, Links};
use crate::planted::{Bug, planted};
use dedup_engine::crypto::random;
use dedup_engine::id::to_hex;
use dedup_engine::listing::StoredPath;
use rustix::fs::{Gid, Mode, RenameFlags, Uid, chownat, mkdirat, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One object that is written beside its place.
struct Staged {
    target: PathBuf,
    folder: Folder,
    name: OsString,
    /// The name beside.
    beside: String,
    /// What lies in it: the directory that holds the object, and its name there. None: it is the object.
    inner: Option<(Folder, OsString)>,
    /// What was written beside has its place.
    is_swapped: bool,
    /// Something had the place, and lies under the other name now.
    is_exchanged: bool,
}

/// Puts objects back to targets, in this order: where two mean the same place, the later one wins. All or none.
pub(super) fn replace(
    store: &Store,
    id: &str,
    wanted: &[(&SpaceObject, PathBuf)],
) -> Result<Replayed, SpaceError> {
    let mut done = Replayed::default();
    let kept: Vec<_> = wanted
        .iter()
        .enumerate()
        // What lies in something that is put back after it would be gone again.
        .filter(|(at, (_, target))| !wanted[at + 1..].iter().any(|(_, later)| target.starts_with(later)))
        .map(|(_, pair)| pair)
        .collect();
    let mut names = Vec::new();
    for (_, target) in &kept {
        let number = random::<8>().map_err(|error| wrong(target, &error.to_string()))?;
        names.push(format!(".dedup-{}.space", to_hex(&number)));
    }
    let beside: Vec<PathBuf> =
        kept.iter().zip(&names).map(|((_, target), name)| target.with_file_name(name)).collect();
    let leftovers = store.change(id, |index| {
        let before = index.staged.clone();
        index.staged.extend(beside.iter().cloned());
        Ok(before)
    })?;
    for (_, target) in kept.iter().filter(|_| planted(Bug::DeleteBeforeCopy)) {
        let _ = std::fs::remove_file(target).or_else(|_| std::fs::remove_dir_all(target));
    }
    let mut staged: Vec<Staged> = Vec::new();
    let result =
        stage_all(store, id, &kept, names, &mut staged, &mut done).and_then(|()| swap_all(&mut staged));
    // After a failure, one that kept its place has the only copy of what was there beside it.
    for one in staged.iter().filter(|one| result.is_ok() || !one.is_swapped) {
        if let Err(error) = one.remove() {
            done.notes.push(format!("{}: {error}", one.folder.path(&one.beside).display()));
        }
    }
    if result.is_ok() {
        leftovers
            .iter()
            .filter(|path| path.file_name().is_some_and(|name| is_ours(name.as_bytes())))
            .for_each(|path| {
                // Of a replay that was cut short; what it had put aside is the state before it.
                if let Ok((folder, name)) = Folder::of(path, Links::Refuse) {
                    let _ = remove(&folder, &name);
                }
            });
        store.change(id, |index| {
            index.staged.clear();
            Ok(())
        })?;
    }
    result.map(|()| {
        done.paths = kept.iter().map(|(_, target)| target.clone()).collect();
        done
    })
}

fn is_ours(name: &[u8]) -> bool {
    name.starts_with(b".dedup-") && name.ends_with(b".space")
}

fn wrong(target: &Path, text: &str) -> SpaceError {
    SpaceError::NotRestored { path: target.to_owned(), wrong: text.to_owned() }
}

fn stage_all(
    store: &Store,
    id: &str,
    wanted: &[&(&SpaceObject, PathBuf)],
    names: Vec<String>,
    staged: &mut Vec<Staged>,
    done: &mut Replayed,
) -> Result<(), SpaceError> {
    for ((object, target), beside) in wanted.iter().zip(names) {
        // Below something that was written beside already: there it belongs.
        let above =
            staged.iter().rev().find(|above| target.starts_with(&above.target) && above.inner.is_none());
        let place = match above {
            Some(above) => {
                let below = target.strip_prefix(&above.target).unwrap_or(target);
                above.folder.path(&above.beside).join(below)
            }
            None => target.clone(),
        };
        let is_nested = above.is_some();
        let mut one = stage(store, id, object, target, &place, beside, done)?;
        if is_nested {
            one.swap().map_err(|error| wrong(target, &error.to_string()))?;
            one.remove().map_err(|error| wrong(target, &error.to_string()))?;
        } else {
            staged.push(one);
        }
    }
    Ok(())
}

fn stage(
    store: &Store,
    id: &str,
    object: &SpaceObject,
    target: &Path,
    place: &Path,
    beside: String,
    done: &mut Replayed,
) -> Result<Staged, SpaceError> {
    let failed = |error: io::Error| wrong(target, &error.to_string());
    make_parents(place, &object.parents).map_err(failed)?;
    let (folder, name) = Folder::of(place, Links::Refuse).map_err(failed)?;
    let mut reader = store.reader(id, object)?;
    mkdirat(&folder, &beside, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
    let mut one = Staged {
        target: target.to_owned(),
        folder,
        name,
        beside,
        inner: None,
        is_swapped: false,
        is_exchanged: false,
    };
    let unpacked = one.unpack(object, &mut reader);
    match unpacked {
        Ok(notes) => {
            done.notes.extend(notes);
            Ok(one)
        }
        Err(error) => {
            // What failed first is what is told.
            let _ = one.remove();
            Err(match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => store.unreadable(id, error),
                _ => failed(error),
            })
        }
    }
}

/// Makes the directories above a place that are gone, with the rights they had.
fn make_parents(place: &Path, rights: &[(u32, u32, u32)]) -> io::Result<()> {
    let above: Vec<&Path> = place.ancestors().skip(1).collect();
    for (at, parent) in above.into_iter().rev().skip(1).enumerate() {
        let (folder, name) = Folder::of(parent, Links::Refuse)?;
        match mkdirat(&folder, &name, Mode::RWXU) {
            Err(Errno::EXIST) => continue,
            result => result?,
        }
        if let Some((mode, uid, gid)) = rights.get(at) {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            match chownat(&folder, &name, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)), flags) {
                // Without root's rights it is ours.
                Err(Errno::PERM) => {}
                result => result?,
            }
            let made = Folder::open(parent, Links::Refuse)?;
            rustix::fs::fchmod(made.as_fd(), Mode::from_raw_mode(*mode))?;
        }
        folder.sync()?;
    }
    Ok(())
}

impl Staged {
    fn unpack(&mut self, object: &SpaceObject, from: &mut dyn io::Read) -> io::Result<Vec<String>> {
        let origin = object.origin.as_deref().ok_or_else(|| io::Error::other("a value has no place"))?;
        let bad = || io::Error::other("its path cannot be kept");
        let bytes = origin.as_os_str().as_bytes();
        let root = StoredPath::from_slashes(bytes.strip_prefix(b"/").unwrap_or(bytes)).ok_or_else(bad)?;
        // By the handle, so that nobody can lead it elsewhere.
        let target =
            PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_fd().as_raw_fd())).join(&self.beside);
        if object.kind == ObjectKind::Directory {
            return unpack(from, &target, root, true);
        }
        let notes = unpack(from, &target, root.parent().ok_or_else(bad)?, false)?;
        let name = origin.file_name().ok_or_else(bad)?;
        self.inner = Some((Folder::open(&target, Links::Follow)?, name.to_owned()));
        Ok(notes)
    }

    /// Lets what was written beside and what is there change places; a second time, back again.
    fn swap(&mut self) -> io::Result<()> {
        let (from, from_name) = match &self.inner {
            Some((folder, name)) => (folder.as_fd(), name.clone()),
            None => (self.folder.as_fd(), OsString::from(&self.beside)),
        };
        let rename = |flags| renameat_with(from, &from_name, &self.folder, &self.name, flags);
        match rename(RenameFlags::EXCHANGE) {
            Ok(()) => self.is_exchanged = true,
            Err(Errno::NOENT) => rename(RenameFlags::NOREPLACE)?,
            Err(errno) => return Err(errno.into()),
        }
        self.is_swapped = true;
        self.folder.sync()
    }

    /// Takes a change of places back.
    fn swap_back(&mut self) -> io::Result<()> {
        let (to, to_name) = match &self.inner {
            Some((folder, name)) => (folder.as_fd(), name.clone()),
            None => (self.folder.as_fd(), OsString::from(&self.beside)),
        };
        let flags = if self.is_exchanged { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(&self.folder, &self.name, to, &to_name, flags)?;
        self.is_swapped = false;
        self.folder.sync()
    }

    fn remove(&self) -> io::Result<()> {
        remove(&self.folder, self.beside.as_ref())
    }
}

fn swap_all(staged: &mut [Staged]) -> Result<(), SpaceError> {
    for at in 0..staged.len() {
        let Err(error) = staged[at].swap() else { continue };
        let mut text = error.to_string();
        for before in staged[..=at].iter_mut().filter(|one| one.is_swapped).rev() {
            if let Err(error) = before.swap_back() {
                let (target, beside) = (before.target.display(), before.folder.path(&before.beside));
                text.push_str(&format!(
                    "; {target} was put back, and what was there lies at {}: {error}",
                    beside.display()
                ));
            }
        }
        return Err(wrong(&staged[at].target, &text));
    }
    Ok(())
}

/// Removes whatever has a name, without following anything.
fn remove(folder: &Folder, name: &std::ffi::OsStr) -> io::Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd())).join(name);
    let removed = match std::fs::symlink_metadata(&path) {
        Ok(stat) if stat.is_dir() => std::fs::remove_dir_all(&path),
        Ok(_) => std::fs::remove_file(&path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
