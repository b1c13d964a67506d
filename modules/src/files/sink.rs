//! The sink: options and state of a restore, and the engine's calls.
//!
//! Nothing is synced file by file; [`FilesSink::sync`] writes everything to disk at the end. Every file,
//! link and special file is made under a temporary name and renamed when it is complete, so a name shows
//! what was there before or the whole new entry, never a part of it.

use super::apply::{Inode, Rules};
use super::aside::{Aside, Safety, split};
use super::beneath::errno_error;
use super::choices::{OnConflict, SinkOptions};
use super::made::Made;
use super::meta::stat_of;
use super::place::{Place, Places};
use super::publish::Spot;
use super::read::open_regular;
use super::temporary::TemporaryNames;
use crate::planted::{Bug, planted};
use dedup_engine::backup::source::EntryKind;
use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::restore::sink::{Item, Prepared, Sink, SinkError};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, Statx, StatxFlags, fallocate, ftruncate, openat, seek,
    statx, unlinkat,
};
use rustix::io::{Errno, pread, pwrite};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of this machine as the target of a restore.
#[derive(Debug)]
pub struct FilesSink {
    pub(super) places: Places,
    pub(super) options: SinkOptions,
    pub(super) rules: Rules,
    pub(super) names: TemporaryNames,
    pub(super) made: Made,
    pub(super) conflicts: AtomicU64,
}

/// A regular file that is being written under a temporary name.
#[derive(Debug)]
pub struct NewFile {
    fd: OwnedFd,
    parent: Arc<Place>,
    temporary: String,
    size: u64,
    /// How far the system knows the file to reach.
    end: Cell<u64>,
}

/// A regular file that was there before.
#[derive(Debug)]
pub struct ExistingFile {
    pub(super) fd: OwnedFd,
}

impl FilesSink {
    /// Opens the target, making it if it is not there. Temporary files of an interrupted restore are
    /// removed from every directory that existed before; so two restores to one target must not run at once.
    pub fn new(target: &Path, options: SinkOptions) -> Result<Self, SinkError> {
        Self::with(target, options, None)
    }

    /// As [`Self::new`], with a way back: whatever exists is noted, and kept aside on its own file system, before it is
    /// replaced, moved or changed. Afterwards [`settle`](super::settle) removes what was kept, or
    /// [`take_back`](super::take_back) undoes everything. The target must exist.
    pub fn with_safety(target: &Path, options: SinkOptions, safety: &Safety) -> Result<Self, SinkError> {
        if !target.is_dir() {
            return Err(SinkError::Refused("the target of a restore in place is no directory".to_owned()));
        }
        Self::with(target, options, Some(safety))
    }

    /// Looks at a target that is there, so that it can be asked what a restore needs: nothing is changed, and nothing can be
    /// restored by it.
    pub fn looking(target: &Path, options: SinkOptions) -> Result<Self, SinkError> {
        let user = rustix::process::geteuid().as_raw();
        let rules = Rules::new(&options, user);
        let places = Places::looking(target, user)?;
        let (names, made) = (TemporaryNames::default(), Made::default());
        Ok(Self { places, options, rules, names, made, conflicts: AtomicU64::new(0) })
    }

    fn with(target: &Path, options: SinkOptions, safety: Option<&Safety>) -> Result<Self, SinkError> {
        let user = rustix::process::geteuid().as_raw();
        let rules = Rules::new(&options, user);
        let aside = safety.map(|safety| Aside::open(safety, user)).transpose()?.map(Arc::new);
        let places = Places::open(target, user, aside)?;
        let (names, made) = (TemporaryNames::default(), Made::default());
        Ok(Self { places, options, rules, names, made, conflicts: AtomicU64::new(0) })
    }

    /// Returns how many entries were left out, or restored under another name, because something else was there.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Writes everything that was restored to disk: one `syncfs` for each of the first 64 file systems
    /// met below the target, and the log of the way back.
    pub fn sync(&self) -> Result<(), SinkError> {
        if let Some(aside) = &self.places.aside {
            aside.sync()?;
        }
        self.places.sync()
    }
}

/// Asks what `name` is, without following it; what is open itself if the name is empty.
pub(super) fn look(at: impl rustix::fd::AsFd, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    statx(at, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

/// Returns what proves that an inode is still the same one: its number, which another one may get later, and its birth,
/// where the file system knows it.
pub(super) fn proof_of(stat: &Statx) -> u64 {
    let birth = match stat.stx_mask & StatxFlags::BTIME.bits() {
        0 => 0,
        _ => stat.stx_btime.tv_sec.cast_unsigned() << 30 ^ u64::from(stat.stx_btime.tv_nsec),
    };
    // An odd factor loses nothing.
    stat.stx_ino ^ birth.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub(super) fn kind_of(stat: &Statx) -> Option<EntryKind> {
    stat_of(stat, StatxFlags::empty()).map(|stat| stat.kind)
}

/// Removes a temporary file. One that stays is removed by the next restore.
pub(super) fn remove(parent: &Place, temporary: &str) {
    let _ = unlinkat(parent, temporary, AtFlags::empty());
}

/// Refuses to replace what the system protects, before any work is done for it.
pub(super) fn check_replaceable(there: &Statx) -> Result<(), SinkError> {
    use rustix::fs::StatxAttributes;
    if there.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        let text =
            "what stands at its place is marked immutable or append-only; clear that with `chattr -ia`";
        return Err(SinkError::Refused(text.to_owned()));
    }
    Ok(())
}

impl Sink for FilesSink {
    type File = NewFile;
    type Existing = ExistingFile;

    fn prepare(&self, entry: &Item<'_>) -> Result<Prepared<ExistingFile>, SinkError> {
        if entry.node.is_directory() {
            let key = self.options.key(entry.path)?;
            let (parent, name) = split(&key);
            if !name.is_empty() && self.options.is_meant(entry.path) {
                self.places.make(&*self.places.get(parent)?, name, &key)?;
            }
            return Ok(Prepared::Directory);
        }
        let spot = self.spot(entry.path)?;
        if self.stays(&spot, entry)? {
            return Ok(Prepared::Done { changed: false });
        }
        let Body::File { size, .. } = entry.node.body else {
            return self.special(&spot, entry).map(|changed| Prepared::Done { changed });
        };
        let Some(there) = self.clear(&spot)? else { return Ok(Prepared::Write) };
        // Bringing the rights of an inode into line would do so under all its names, also those outside.
        let shared =
            there.stx_nlink > 1 && (entry.node.link.is_none() || !self.rules.has_rights(&there, entry));
        if kind_of(&there) == Some(EntryKind::File)
            && there.stx_size == size
            && !shared
            && let Ok(fd) = open_regular(&*spot.parent, spot.name())
        {
            return Ok(Prepared::Compare(ExistingFile { fd }));
        }
        check_replaceable(&there)?;
        Ok(Prepared::Write)
    }

    fn read_existing(&self, file: &ExistingFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match pread(&file.fd, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn next_data(&self, file: &ExistingFile, offset: u64) -> Option<u64> {
        match seek(&file.fd, SeekFrom::Data(offset)) {
            Ok(data) => Some(data),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => None,
            // A file system that knows no holes: everything is data.
            Err(_) => Some(offset),
        }
    }

    fn keep(&self, file: ExistingFile, entry: &Item<'_>) -> Result<bool, SinkError> {
        let now = look(&file.fd, b"").map_err(errno_error("examine the file"))?;
        if kind_of(&now) != Some(EntryKind::File) {
            return Err(SinkError::Refused("what was compared is no regular file".to_owned()));
        }
        if self.options.on_conflict == OnConflict::Rename {
            return Ok(false);
        }
        if now.stx_nlink > 1 && !self.rules.has_rights(&now, entry) {
            return Err(SinkError::Refused("the file got another name while it was compared".to_owned()));
        }
        if entry.node.link.is_some() {
            self.made.add(&now);
        }
        self.note(&self.options.key(entry.path)?, Inode::open(&file.fd), &now, entry)?;
        self.rules.apply(Inode::open(&file.fd), &now, entry)
    }

    fn create(&self, entry: &Item<'_>, size: u64) -> Result<NewFile, SinkError> {
        let key = self.options.key(entry.path)?;
        let parent = self.places.get(split(&key).0)?;
        let temporary = self.names.next();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&*parent, &temporary, flags, Mode::RUSR | Mode::WUSR)
            .map_err(errno_error("create the file"))?;
        let file = NewFile { fd, parent, temporary, size, end: Cell::new(0) };
        if planted(Bug::PublishAtOnce) {
            self.rename(&self.spot(entry.path)?, &file.temporary)?;
        }
        if !self.options.sparse && size > 0 {
            match fallocate(&file.fd, FallocateFlags::empty(), 0, size) {
                Ok(()) => file.end.set(size),
                // The file system allocates as it likes.
                Err(Errno::OPNOTSUPP) => {}
                Err(errno) => {
                    remove(&file.parent, &file.temporary);
                    return Err(errno_error("allocate the file")(errno));
                }
            }
        }
        Ok(file)
    }

    fn write_at(&self, file: &NewFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            match pwrite(&file.fd, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = &rest[written..];
                    at = at.checked_add(written as u64).ok_or(io::ErrorKind::InvalidInput)?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        file.end.set(file.end.get().max(at));
        Ok(())
    }

    fn finish(&self, file: NewFile, entry: &Item<'_>) -> Result<(), SinkError> {
        let spot = Spot { parent: file.parent, key: self.options.key(entry.path)? };
        let sized = if file.end.get() == file.size { Ok(()) } else { ftruncate(&file.fd, file.size) };
        let now = sized.and_then(|()| look(&file.fd, b"")).map_err(|errno| {
            remove(&spot.parent, &file.temporary);
            errno_error("set the length of the file")(errno)
        })?;
        let inode = Inode::open(&file.fd).bare(!spot.parent.default_acl).like(self.mode_there(&spot));
        let applied = self.rules.apply(inode, &now, entry);
        if !planted(Bug::PublishAtOnce) {
            self.publish(&spot, &file.temporary, &now)?;
        }
        if entry.node.link.is_some() {
            self.made.add(&now);
        }
        applied.map(drop)
    }

    fn abandon(&self, file: NewFile, _entry: &Item<'_>) {
        remove(&file.parent, &file.temporary);
    }

    fn link(&self, first: &StoredPath, entry: &Item<'_>) -> Result<bool, SinkError> {
        self.hard_link(first, entry)
    }

    fn finish_directory(&self, entry: &Item<'_>) -> Result<(), SinkError> {
        let key = self.options.key(entry.path)?;
        let is_target = key.is_empty() && !self.places.made_root && !self.options.root_metadata;
        if is_target || !self.options.is_meant(entry.path) && !self.places.was_made_above(&key) {
            return Ok(());
        }
        let place = self.places.get(&key)?;
        let now = look(&*place, b"").map_err(errno_error("examine the directory"))?;
        let inode = if place.readable { Inode::open(&*place) } else { Inode::path_only(&*place) };
        self.rules.apply(inode, &now, entry).map(drop)
    }
}
