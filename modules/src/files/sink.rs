//! The sink: options and state of a restore, and the engine's calls.
//!
//! Nothing is synced file by file; [`FilesSink::sync`] writes everything to disk at the end. Every file,
//! link and special file is made under a temporary name and renamed when it is complete, so a name shows
//! what was there before or the whole new entry, never a part of it.

use super::apply::{Inode, Rules};
use super::made::Made;
use super::meta::stat_of;
use super::place::{Place, Places, errno_error};
use super::read::open_regular;
use super::temporary::TemporaryNames;
use dedup_engine::backup::source::EntryKind;
use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::planted::{Bug, planted};
use dedup_engine::restore::sink::{Item, Prepared, Sink, SinkError};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, Statx, StatxFlags, fallocate, ftruncate, openat,
    renameat, seek, statx, unlinkat,
};
use rustix::io::{Errno, pread, pwrite};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a restore does with owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerChoice {
    /// Sets them. Without root's rights, where only one's own groups can be set, the rest stays as it is,
    /// and setuid and setgid are left out where the owner is not right.
    Restore,
    /// Leaves everything to whoever runs the restore.
    Keep,
}

/// Which extended attributes a restore sets. Those that entries have in the target, but not in the backup,
/// are removed by the same choice; labels that the system sets by itself stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrChoice {
    /// All of them, capabilities and security labels included.
    All,
    /// `user.*` and access control lists: nothing that gives rights beyond those of the owner.
    UserOnly,
    /// None.
    None,
}

/// What a caller chooses about a restore.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The directory of the listing that the target stands for; the root for whole paths.
    pub strip: StoredPath,
    /// What to do with owners.
    pub owner: OwnerChoice,
    /// Take owners by their numbers even if their names are known here.
    pub numeric_owner: bool,
    /// Which extended attributes to set.
    pub xattrs: XattrChoice,
    /// Leave holes as holes; else all of a file is allocated.
    pub sparse: bool,
    /// Make device nodes, if root does the restore; else they are refused.
    pub devices: bool,
    /// Give the target directory itself the metadata of the entry it stands for, even if it existed.
    pub root_metadata: bool,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            strip: StoredPath::root(),
            owner: OwnerChoice::Restore,
            numeric_owner: false,
            xattrs: XattrChoice::All,
            sparse: true,
            devices: false,
            root_metadata: false,
        }
    }
}

/// A directory of this machine as the target of a restore.
#[derive(Debug)]
pub struct FilesSink {
    pub(super) places: Places,
    pub(super) options: SinkOptions,
    pub(super) rules: Rules,
    pub(super) names: TemporaryNames,
    pub(super) made: Made,
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
    fd: OwnedFd,
}

/// Where an entry goes: its directory and its name there.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    pub(super) parent: Arc<Place>,
    pub(super) name: &'a [u8],
}

impl FilesSink {
    /// Opens the target, making it if it is not there. Temporary files of an interrupted restore are
    /// removed from every directory that existed before; so two restores to one target must not run at once.
    pub fn new(target: &Path, options: SinkOptions) -> Result<Self, SinkError> {
        let user = rustix::process::geteuid().as_raw();
        let rules = Rules::new(&options, user);
        let (names, made) = (TemporaryNames::default(), Made::default());
        Ok(Self { places: Places::open(target, user)?, options, rules, names, made })
    }

    /// Writes everything that was restored to disk: one `syncfs` for each of the first 64 file systems
    /// met below the target.
    pub fn sync(&self) -> Result<(), SinkError> {
        self.places.sync()
    }

    /// Returns the key of an entry below the target.
    fn key<'a>(&self, path: &'a StoredPath) -> Result<&'a [u8], SinkError> {
        let strip = self.options.strip.as_key();
        let key = path.as_key();
        if !path.is_within(&self.options.strip) {
            return Err(SinkError::Refused(format!("{path:?} is not below {:?}", self.options.strip)));
        }
        let rest = &key[strip.len()..];
        Ok(rest.strip_prefix(&[0]).unwrap_or(rest))
    }

    /// Returns where an entry goes.
    pub(super) fn spot<'a>(&self, path: &'a StoredPath) -> Result<Spot<'a>, SinkError> {
        let (parent, name) = split(self.key(path)?);
        if name.is_empty() {
            return Err(SinkError::Refused(
                "only a directory can be restored as the target itself".to_owned(),
            ));
        }
        Ok(Spot { parent: self.places.get(parent)?, name })
    }

    /// Makes way for an entry that is no directory, and returns what else stands at its place.
    pub(super) fn clear(&self, spot: &Spot<'_>) -> Result<Option<Statx>, SinkError> {
        if spot.parent.fresh {
            return Ok(None);
        }
        let there = match look(&spot.parent, spot.name) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(errno_error("examine what is at its place"))?,
        };
        if kind_of(&there) != Some(EntryKind::Directory) {
            return Ok(Some(there));
        }
        match unlinkat(&*spot.parent, spot.name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(None),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(SinkError::Refused(
                "a directory that is not empty stands at its place; remove it or restore elsewhere"
                    .to_owned(),
            )),
            Err(errno) => Err(errno_error("remove the empty directory at its place")(errno)),
        }
    }

    /// Gives what was made under a temporary name its own name.
    pub(super) fn publish(&self, spot: &Spot<'_>, temporary: &str) -> Result<(), SinkError> {
        renameat(&*spot.parent, temporary, &*spot.parent, spot.name).map_err(|errno| {
            remove(&spot.parent, temporary);
            errno_error("give it its name")(errno)
        })
    }
}

/// Splits a key into that of the directory and the last component.
fn split(key: &[u8]) -> (&[u8], &[u8]) {
    match key.iter().rposition(|byte| *byte == 0) {
        Some(at) => (&key[..at], &key[at + 1..]),
        None => (&[], key),
    }
}

/// Asks what `name` is, without following it; what is open itself if the name is empty.
pub(super) fn look(at: impl rustix::fd::AsFd, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    statx(at, name, flags, StatxFlags::BASIC_STATS)
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
            let key = self.key(entry.path)?;
            let (parent, name) = split(key);
            if !name.is_empty() {
                self.places.make(&*self.places.get(parent)?, name, key)?;
            }
            return Ok(Prepared::Directory);
        }
        let spot = self.spot(entry.path)?;
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
            && let Ok(fd) = open_regular(&*spot.parent, spot.name)
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
        if now.stx_nlink > 1 && !self.rules.has_rights(&now, entry) {
            return Err(SinkError::Refused("the file got another name while it was compared".to_owned()));
        }
        if entry.node.link.is_some() {
            self.made.add(&now);
        }
        self.rules.apply(Inode::open(&file.fd), &now, entry)
    }

    fn create(&self, entry: &Item<'_>, size: u64) -> Result<NewFile, SinkError> {
        let (parent, _) = split(self.key(entry.path)?);
        let parent = self.places.get(parent)?;
        let temporary = self.names.next();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&*parent, &temporary, flags, Mode::RUSR | Mode::WUSR)
            .map_err(errno_error("create the file"))?;
        let file = NewFile { fd, parent, temporary, size, end: Cell::new(0) };
        if planted(Bug::PublishAtOnce) {
            self.publish(&self.spot(entry.path)?, &file.temporary)?;
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
        let spot = Spot { parent: file.parent, name: entry.path.name() };
        let sized = if file.end.get() == file.size { Ok(()) } else { ftruncate(&file.fd, file.size) };
        let now = sized.and_then(|()| look(&file.fd, b"")).map_err(|errno| {
            remove(&spot.parent, &file.temporary);
            errno_error("set the length of the file")(errno)
        })?;
        let applied = self.rules.apply(Inode::open(&file.fd).bare(!spot.parent.default_acl), &now, entry);
        if !planted(Bug::PublishAtOnce) {
            self.publish(&spot, &file.temporary)?;
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
        let key = self.key(entry.path)?;
        if key.is_empty() && !self.places.made_root && !self.options.root_metadata {
            return Ok(());
        }
        let place = self.places.get(key)?;
        let now = look(&*place, b"").map_err(errno_error("examine the directory"))?;
        let inode = if place.readable { Inode::open(&*place) } else { Inode::path_only(&*place) };
        self.rules.apply(inode, &now, entry).map(drop)
    }
}
