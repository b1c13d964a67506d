//! A repository that is a directory.
//!
//! An object is stored in four steps, and only then called stored:
//!
//! 1. its bytes are written to a new file in `tmp/`;
//! 2. that file is synced;
//! 3. it gets its name, in one step that fails when the name is taken;
//! 4. the folder that received the name is synced, and before it the folders above that are new.
//!
//! A cut after any step leaves at most a file in `tmp/`, which is no object. A sync that failed is never
//! tried again, since the system may count the lost pages as written (Rebello et al., USENIX ATC 2020):
//! from then on this storage only reads.
//!
//! Every call opens the folders that it needs anew: the system tells a failed write-back once to every
//! open file description, so with a shared one a put could take another's error for its own success.
//! Symbolic links are followed on the way to the repository, and never in it.

mod create;
mod disk;
mod folder;
mod owner;
mod write;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod rigged;
#[cfg(test)]
mod tests;

use super::{Family, Name, Put, Storage, StorageError, Trouble};
use crate::id::to_hex;
use crate::planted::{Bug, planted};
use disk::Disk;
use folder::{each_entry, file_len, look, open_folder};
use owner::{Owner, give_folder};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::CStr;
use std::fmt::{self, Display};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The folder of unfinished writes.
const TEMPORARY: &str = "tmp";

/// What a listing is of. Lengths cost a look at each file.
#[derive(Clone, Copy)]
struct Wanted {
    family: Family,
    lengths: bool,
}

/// A repository in a directory; see the module's text for what it promises.
pub struct LocalStorage {
    path: PathBuf,
    root: OwnedFd,
    disk: Box<dyn Disk>,
    /// Who is given what is new, if not who stores it.
    owner: Option<Owner>,
    /// Which of `packs/00` to `packs/ff` are known to be there durably.
    shards: Mutex<[bool; 256]>,
    /// Whether a sync has failed.
    poisoned: AtomicBool,
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStorage").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LocalStorage {
    fn error(&self, call: &'static str, name: impl Display, trouble: Trouble) -> StorageError {
        StorageError::new(call, name, self.place(), trouble)
    }

    fn check_poison(&self) -> Result<(), Trouble> {
        if self.poisoned.load(Ordering::SeqCst) { Err(Trouble::Poisoned) } else { Ok(()) }
    }

    /// Syncs and passes on the result; after a failure nothing more is written.
    fn synced(&self, sync: impl Fn() -> rustix::io::Result<()>) -> Result<(), Trouble> {
        let synced = if planted(Bug::RetrySync) { sync().or_else(|_| sync()) } else { sync() };
        synced.map_err(|error| {
            self.poisoned.store(true, Ordering::SeqCst);
            error.into()
        })
    }

    /// Opens a folder at the top. One that is missing is trouble, never "no objects".
    fn top_folder(&self, name: &str) -> Result<OwnedFd, Trouble> {
        open_folder(&self.root, name).map_err(|error| create::unusable(name, error))
    }

    /// Opens the folder that holds the object, or would; `None` if it is a shard that does not exist.
    fn folder_of(&self, name: &Name) -> Result<Option<OwnedFd>, Trouble> {
        let Some(top) = name.family().folder() else {
            return Ok(Some(open_folder(&self.root, ".")?));
        };
        let top = self.top_folder(top)?;
        let Name::Pack(id) = name else { return Ok(Some(top)) };
        match open_folder(&top, &to_hex(&id.as_bytes()[..1])) {
            Ok(shard) => Ok(Some(shard)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that the shard of a pack is there, and will be after a power cut.
    fn prepare_shard(&self, first_byte: u8) -> Result<(), Trouble> {
        let mut known = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if known[usize::from(first_byte)] {
            return Ok(());
        }
        let packs = self.top_folder("packs")?;
        let shard_name = to_hex(&[first_byte]);
        match self.disk.make_folder(packs.as_fd(), &shard_name) {
            Ok(()) => give_folder(&*self.disk, packs.as_fd(), &shard_name, self.owner)?,
            // It may be the work of a process that died before its sync, so it is synced like a new one.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // One sync covers all names that were there before it.
        let mut there = [false; 256];
        each_entry(
            &packs,
            |trouble| trouble,
            |entry, _| {
                if let Some(byte) = shard(entry) {
                    there[usize::from(byte)] = true;
                }
                Ok(())
            },
        )?;
        self.synced(|| self.disk.sync_folder(packs.as_fd()))?;
        *known = there;
        Ok(())
    }

    /// Opens the folder that an object is to be stored in; that of a pack is made if it is not there.
    fn folder_for(&self, name: &Name) -> Result<OwnedFd, Trouble> {
        self.check_poison()?;
        if !name.is_storable() {
            return Err(Trouble::Number);
        }
        if let Name::Pack(id) = name {
            self.prepare_shard(id.as_bytes()[0])?;
        }
        self.folder_of(name)?.ok_or(Trouble::Io(Errno::NOENT.into()))
    }

    fn store(&self, name: &Name, bytes: &[u8]) -> Result<Put, Trouble> {
        let folder = self.folder_for(name)?;
        let text = name.to_string();
        let file = last_part(&text);
        let put = match look(&folder, file)? {
            Some(stat) => file_len(&stat).map(|_| Put::Present)?,
            None => self.store_new(folder.as_fd(), file, bytes)?,
        };
        // Also for what another writer stored: it may not have come to this step yet.
        if !planted(Bug::SkipFolderSync) {
            self.synced(|| self.disk.sync_folder(folder.as_fd()))?;
        }
        Ok(put)
    }

    /// Opens an object for reading and returns its length in bytes.
    fn open_object(&self, name: &Name) -> Result<(OwnedFd, u64), Trouble> {
        if !name.is_storable() {
            return Err(Trouble::Missing);
        }
        let folder = self.folder_of(name)?.ok_or(Trouble::Missing)?;
        let text = name.to_string();
        // Without NONBLOCK a pipe of this name would hold the caller for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = retry_on_intr(|| rustix::fs::openat(&folder, last_part(&text), flags, Mode::empty()));
        let file = file.map_err(|error| match error {
            Errno::NOENT => Trouble::Missing,
            Errno::LOOP | Errno::NXIO => Trouble::NotFile,
            error => error.into(),
        })?;
        let len = file_len(&rustix::fs::fstat(&file)?)?;
        Ok((file, len))
    }

    fn remove(&self, name: &Name) -> Result<(), Trouble> {
        self.check_poison()?;
        if !name.is_storable() {
            return Ok(());
        }
        let Some(folder) = self.folder_of(name)? else { return Ok(()) };
        let text = name.to_string();
        let file = last_part(&text);
        if let Some(stat) = look(&folder, file)? {
            file_len(&stat)?;
            match self.disk.remove(folder.as_fd(), file) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Also when it was gone already: whoever removed it may not have come to this step yet.
        self.synced(|| self.disk.sync_folder(folder.as_fd()))
    }

    fn len_of(&self, name: &Name) -> Result<Option<u64>, Trouble> {
        if !name.is_storable() {
            return Ok(None);
        }
        let Some(folder) = self.folder_of(name)? else { return Ok(None) };
        look(&folder, last_part(&name.to_string()))?.map(|stat| file_len(&stat)).transpose()
    }

    /// Lists one folder, in which `prefix` (empty or ending in a slash) is before every name.
    fn list_folder(
        &self,
        wanted: Wanted,
        folder: &OwnedFd,
        prefix: &str,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        let fail = |trouble| self.error("list", wanted.family, trouble);
        let mut text = prefix.to_owned();
        each_entry(folder, fail, |entry, kind| {
            if prefix.is_empty() && create::is_ours(entry) {
                return Ok(());
            }
            text.truncate(prefix.len());
            let parsed = entry.to_str().ok().and_then(|entry| {
                text.push_str(entry);
                Name::parse(&text)
            });
            let Some(name) = parsed else {
                text.truncate(prefix.len());
                text.push_str(&entry.to_string_lossy());
                foreign(&text);
                return Ok(());
            };
            if !wanted.lengths && kind == FileType::RegularFile {
                return each(name, 0);
            }
            match look(folder, entry).map_err(fail)?.map(|stat| file_len(&stat)) {
                Some(Ok(len)) => each(name, len)?,
                Some(Err(Trouble::NotFile)) => foreign(&text),
                Some(Err(trouble)) => return Err(fail(trouble)),
                // Deleted meanwhile.
                None => {}
            }
            Ok(())
        })
    }

    fn list_family(
        &self,
        wanted: Wanted,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        let fail = |trouble| self.error("list", wanted.family, trouble);
        let Some(top) = wanted.family.folder() else {
            let root = open_folder(&self.root, ".").map_err(|error| fail(error.into()))?;
            return self.list_folder(wanted, &root, "", each, foreign);
        };
        let folder = match self.top_folder(top) {
            Err(_) if planted(Bug::TrustEmptyListing) => return Ok(()),
            folder => folder.map_err(fail)?,
        };
        if wanted.family != Family::Packs {
            return self.list_folder(wanted, &folder, &format!("{top}/"), each, foreign);
        }
        each_entry(&folder, fail, |entry, _| {
            let text = entry.to_string_lossy();
            match shard(entry).map(|_| open_folder(&folder, &text)) {
                Some(Ok(shard)) => self.list_folder(wanted, &shard, &format!("packs/{text}/"), each, foreign),
                None | Some(Err(Errno::NOTDIR | Errno::LOOP)) => {
                    foreign(&format!("packs/{text}"));
                    Ok(())
                }
                // Shards are never removed, so one that has gone since is trouble as well.
                Some(Err(error)) => Err(fail(error.into())),
            }
        })
    }
}

impl Storage for LocalStorage {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.store(name, bytes).map_err(|trouble| self.error("store", name, trouble))
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let read = || {
            let (file, have) = self.open_object(name)?;
            check_range(&range, have)?;
            read_range(&file, range.clone())
        };
        read().map_err(|trouble| self.error("read", name, trouble))
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let read = || {
            let (file, have) = self.open_object(name)?;
            if have > max {
                return Err(Trouble::Long { have, max });
            }
            read_range(&file, 0..have)
        };
        read().map_err(|trouble| self.error("read", name, trouble))
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.len_of(name).map_err(|trouble| self.error("look at", name, trouble))
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.list_family(Wanted { family, lengths: true }, each, foreign)
    }

    fn list_names(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.list_family(Wanted { family, lengths: false }, &mut |name, _| each(name), &mut |_| {})
    }

    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.put_in_place(name, bytes).map_err(|trouble| self.error("replace", name, trouble))
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.remove(name).map_err(|trouble| self.error("delete", name, trouble))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// Returns the first byte of the packs in the shard of this name: two lower-case hexadecimal digits.
fn shard(entry: &CStr) -> Option<u8> {
    crate::id::from_hex::<1>(entry.to_str().ok()?).map(|[byte]| byte)
}

/// Returns what follows the last slash of an object's name.
fn last_part(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// Checks a range of bytes against the length of the object.
pub(super) fn check_range(range: &Range<u64>, have: u64) -> Result<(), Trouble> {
    if range.start > range.end {
        return Err(Trouble::Range { start: range.start, end: range.end });
    }
    if range.end > have {
        return Err(Trouble::Short { have, need: range.end });
    }
    Ok(())
}

/// Reads a range that the file was long enough for a moment ago.
fn read_range(file: &OwnedFd, range: Range<u64>) -> Result<Vec<u8>, Trouble> {
    let out_of_memory = || Trouble::Io(io::ErrorKind::OutOfMemory.into());
    let wanted = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| out_of_memory())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(wanted).map_err(|_| out_of_memory())?;
    while bytes.len() < wanted {
        let at = range.start.saturating_add(bytes.len() as u64);
        if retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), at))? == 0 {
            return Err(Trouble::Short { have: at, need: range.end });
        }
    }
    Ok(bytes)
}
