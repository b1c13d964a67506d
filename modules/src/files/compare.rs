//! A restore that changes nothing: what a snapshot has is compared with what is there.
//!
//! Each difference is the reason why an entry "could not be restored", so a restore to this sink tells them like any other
//! problem. Contents are compared by the names of their chunks: what is there is read, what is stored is not.

use super::apply::Inode;
use super::aside::split;
use super::beneath::errno_error;
use super::choices::SinkOptions;
use super::lock;
use super::made::{is_device_of, kind_of_body, open_path};
use super::place::Place;
use super::read::open_regular;
use super::sink::{ExistingFile, FilesSink, kind_of, look};
use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::restore::sink::{Item, Prepared, Sink, SinkError};
use rustix::fs::{Statx, readlinkat};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A directory of this machine, as the target of a restore that only looks.
#[derive(Debug)]
pub struct CompareSink {
    there: FilesSink,
    /// The directory looked into last, by its key.
    last: Mutex<Option<Known>>,
    /// The directory that is missing, if the last entries were below it.
    missing: Mutex<Option<StoredPath>>,
    unnoticed: AtomicU64,
}

/// A directory and its key.
type Known = (Box<[u8]>, Arc<Place>);

/// Why nothing is ever written.
#[derive(Debug)]
pub enum Never {}

impl CompareSink {
    /// Opens the directory that the root of listings stands for.
    pub fn new(target: &Path, options: SinkOptions) -> Result<Self, SinkError> {
        let there = FilesSink::looking(target, options)?;
        Ok(Self { there, last: Mutex::default(), missing: Mutex::default(), unnoticed: AtomicU64::new(0) })
    }

    /// Returns how many files have another content though their size and times are as they were stored: nobody meant that.
    pub fn unnoticed(&self) -> u64 {
        self.unnoticed.load(Ordering::Relaxed)
    }

    fn parent(&self, key: &[u8]) -> rustix::io::Result<Arc<Place>> {
        let mut last = lock(&self.last);
        if let Some((known, place)) = &*last
            && **known == *key
        {
            return Ok(place.clone());
        }
        let place = Arc::new(self.there.places.find(key)?);
        *last = Some((key.into(), place.clone()));
        Ok(place)
    }

    /// Looks at an entry; nothing if it is told already that a directory above it is missing.
    fn find(&self, entry: &Item<'_>) -> Result<Option<Found>, SinkError> {
        let key = self.there.options.key(entry.path)?;
        let (parent, name) = split(&key);
        let mut missing = lock(&self.missing);
        if missing.as_ref().is_some_and(|above| entry.path.is_within(above)) {
            return Ok(None);
        }
        let found = self.parent(parent).and_then(|parent| Ok((look(&*parent, name)?, parent)));
        match found {
            Ok((stat, parent)) => Ok(Some(Found { parent, name: name.into(), stat })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                *missing = entry.node.is_directory().then(|| entry.path.clone());
                Err(differs("missing"))
            }
            Err(errno) => Err(errno_error("look at it")(errno)),
        }
    }

    fn same_metadata(&self, inode: Inode<'_>, now: &Statx, entry: &Item<'_>) -> Result<bool, SinkError> {
        if self.there.rules.differs(inode, now, entry) {
            return Err(differs("owner, mode, time or attributes differ"));
        }
        Ok(false)
    }
}

/// What is at the place of an entry.
struct Found {
    parent: Arc<Place>,
    name: Box<[u8]>,
    stat: Statx,
}

fn differs(what: &str) -> SinkError {
    SinkError::Refused(what.to_owned())
}

impl Sink for CompareSink {
    type File = Never;
    type Existing = ExistingFile;

    fn prepare(&self, entry: &Item<'_>) -> Result<Prepared<ExistingFile>, SinkError> {
        if entry.node.is_directory() && self.there.options.key(entry.path)?.is_empty() {
            return Ok(Prepared::Directory);
        }
        let Some(Found { parent, name, stat }) = self.find(entry)? else {
            return Ok(Prepared::Done { changed: true });
        };
        if kind_of(&stat) != Some(kind_of_body(&entry.node.body)) {
            if entry.node.is_directory() {
                *lock(&self.missing) = Some(entry.path.clone());
            }
            return Err(differs("something of another kind is there"));
        }
        match &entry.node.body {
            Body::Directory => return Ok(Prepared::Directory),
            Body::File { size, .. } => {
                if stat.stx_size != *size {
                    return Err(differs("content differs: it has another length"));
                }
                let fd = open_regular(&*parent, &name)
                    .map_err(|source| SinkError::Io { call: "open the file", source })?;
                return Ok(Prepared::Compare(ExistingFile { fd }));
            }
            Body::Symlink(target) => {
                let now = readlinkat(&*parent, &*name, Vec::new()).map_err(errno_error("read the link"))?;
                if now.as_bytes() != target {
                    return Err(differs("it leads elsewhere"));
                }
            }
            body if !is_device_of(&stat, body) => return Err(differs("it is another device")),
            _ => {}
        }
        let fd = open_path(&parent, &name).map_err(errno_error("open it"))?;
        let changed = self.same_metadata(Inode::path_only(&fd), &stat, entry)?;
        Ok(Prepared::Done { changed })
    }

    fn read_existing(&self, file: &ExistingFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.there.read_existing(file, buffer, offset)
    }

    fn next_data(&self, file: &ExistingFile, offset: u64) -> Option<u64> {
        self.there.next_data(file, offset)
    }

    fn keep(&self, file: ExistingFile, entry: &Item<'_>) -> Result<bool, SinkError> {
        let now = look(&file.fd, b"").map_err(errno_error("examine the file"))?;
        self.same_metadata(Inode::open(&file.fd), &now, entry)
    }

    /// Called where the content differs, or cannot be read: the only thing that is left is to say so.
    fn create(&self, entry: &Item<'_>, _size: u64) -> Result<Never, SinkError> {
        let Some(Found { stat, .. }) = self.find(entry)? else { return Err(differs("missing")) };
        let (mtime, ctime) = (entry.node.mtime, entry.node.ctime);
        let is = |now: &rustix::fs::StatxTimestamp, then: dedup_engine::listing::Time| {
            (now.tv_sec, now.tv_nsec) == (then.secs, then.nanos)
        };
        if is(&stat.stx_mtime, mtime) && is(&stat.stx_ctime, ctime) {
            self.unnoticed.fetch_add(1, Ordering::Relaxed);
            return Err(differs(
                "content differs, though size and times are as they were stored: here or in the snapshot it is damaged",
            ));
        }
        Err(differs("content differs"))
    }

    fn write_at(&self, file: &Never, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        match *file {}
    }

    fn finish(&self, file: Never, _entry: &Item<'_>) -> Result<(), SinkError> {
        match file {}
    }

    fn abandon(&self, file: Never, _entry: &Item<'_>) {
        match file {}
    }

    /// Every name is looked at by itself.
    fn link(&self, _first: &StoredPath, _entry: &Item<'_>) -> Result<bool, SinkError> {
        Ok(false)
    }

    fn finish_directory(&self, entry: &Item<'_>) -> Result<(), SinkError> {
        let key = self.there.options.key(entry.path)?;
        if key.is_empty() {
            return Ok(());
        }
        let place = self.there.places.find(&key).map_err(errno_error("open the directory"))?;
        let now = look(&place, b"").map_err(errno_error("examine the directory"))?;
        let inode = if place.readable { Inode::open(&place) } else { Inode::path_only(&place) };
        self.same_metadata(inode, &now, entry).map(drop)
    }
}
