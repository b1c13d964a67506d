//! How much room a restore in place needs, asked before it begins.

use super::aside::split;
use super::place::Place;
use super::sink::{FilesSink, kind_of, look};
use dedup_engine::backup::source::EntryKind;
use dedup_engine::listing::{Body, Node, StoredPath};
use dedup_engine::restore::sink::SinkError;
use rustix::fs::{Statx, fstatvfs};
use rustix::io::Errno;

/// What a file takes at least, and its last piece as well: a usual block.
const BLOCK_BYTES: u64 = 4096;
/// The unit in which the system counts what a file takes.
const SECTOR_BYTES: u64 = 512;

/// The room that is needed on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The number of its device.
    pub device: u64,
    /// A directory on it, as stored paths are.
    pub place: StoredPath,
    /// Bytes of all files that go there: what they replace is kept until the restore has succeeded.
    pub needed_bytes: u64,
    /// Bytes that are free for who asks.
    pub free_bytes: u64,
}

/// Adds up what a restore needs; see [`FilesSink::room`].
#[derive(Debug)]
pub struct RoomNeeded<'a> {
    sink: &'a FilesSink,
    keeps: bool,
    systems: Vec<System>,
    last: Option<Last>,
}

#[derive(Debug)]
struct System {
    room: Room,
    /// The largest file that goes there: until it has its name, what it replaces is there too.
    largest_bytes: u64,
}

/// The directory that was asked about last.
#[derive(Debug)]
struct Last {
    key: Vec<u8>,
    /// Which of the file systems it is on.
    system: usize,
    /// It, if it is there.
    place: Option<Place>,
}

impl FilesSink {
    /// Begins to add up the room that a restore needs. Changes nothing.
    ///
    /// `keeps`: what is replaced stays until the end; else its room is free again as soon as it is replaced.
    pub fn room(&self, keeps: bool) -> RoomNeeded<'_> {
        RoomNeeded { sink: self, keeps, systems: Vec::new(), last: None }
    }
}

impl RoomNeeded<'_> {
    /// Adds an entry; those of one directory one after another cost least. A file that has the length and the time already
    /// is taken as right, and needs nothing; holes need nothing either.
    pub fn add(&mut self, path: &StoredPath, node: &Node) -> Result<(), SinkError> {
        let Body::File { size, holes, .. } = &node.body else { return self.add_bytes(path, 0, None) };
        let hollow = holes.iter().fold(0, |sum: u64, hole| sum.saturating_add(hole.end - hole.start));
        self.add_bytes(path, size.saturating_sub(hollow), Some((*size, node)))
    }

    fn add_bytes(
        &mut self,
        path: &StoredPath,
        bytes: u64,
        file: Option<(u64, &Node)>,
    ) -> Result<(), SinkError> {
        let key = self.sink.options.key(path)?;
        let (above, name) = split(&key);
        if self.last.as_ref().is_none_or(|last| last.key != above) {
            let (system, place) = self.system(above)?;
            self.last = Some(Last { key: above.to_vec(), system, place });
        }
        let Some(Last { system, place, .. }) = &self.last else { return Ok(()) };
        let there = place.as_ref().and_then(|place| look(place, name).ok());
        let is_right = match (&there, file) {
            (Some(there), Some((size, node))) => is_right(there, size, node),
            (there, _) => there.is_some(),
        };
        if is_right {
            return Ok(());
        }
        let taken = bytes.div_ceil(BLOCK_BYTES).max(1).saturating_mul(BLOCK_BYTES);
        let freed = there.map_or(0, |there| there.stx_blocks.saturating_mul(SECTOR_BYTES));
        let system = &mut self.systems[*system];
        let more = if self.keeps { taken } else { taken.saturating_sub(freed) };
        system.room.needed_bytes = system.room.needed_bytes.saturating_add(more);
        system.largest_bytes = system.largest_bytes.max(taken);
        Ok(())
    }

    /// Returns the file systems that are written to.
    pub fn rooms(self) -> Vec<Room> {
        let keeps = self.keeps;
        let room = |System { mut room, largest_bytes }| {
            let more = if keeps { 0 } else { largest_bytes };
            room.needed_bytes = room.needed_bytes.saturating_add(more);
            room
        };
        self.systems.into_iter().map(room).collect()
    }

    /// Returns the file system of the deepest directory that is there at or above a key; and the directory, if it is the key's.
    fn system(&mut self, whole: &[u8]) -> Result<(usize, Option<Place>), SinkError> {
        let failed = super::beneath::errno_error("examine the file system of the target");
        let mut key = whole;
        let place: Place = loop {
            match self.sink.places.find(key) {
                Ok(place) => break place,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !key.is_empty() => key = split(key).0,
                Err(errno) => return Err(failed(errno)),
            }
        };
        let device = place.domain.0;
        let at = match self.systems.iter().position(|system| system.room.device == device) {
            Some(known) => known,
            None => {
                let free = fstatvfs(&place).map_err(&failed)?;
                let free_bytes = free.f_bavail.saturating_mul(free.f_frsize);
                let path = StoredPath::from_key(key).unwrap_or_default();
                let room = Room { device, place: path, needed_bytes: 0, free_bytes };
                self.systems.push(System { room, largest_bytes: 0 });
                self.systems.len() - 1
            }
        };
        Ok((at, (key.len() == whole.len()).then_some(place)))
    }
}

/// Returns whether a file has the length and the time that it is to have.
fn is_right(there: &Statx, size: u64, node: &Node) -> bool {
    let same_time = there.stx_mtime.tv_sec == node.mtime.secs && there.stx_mtime.tv_nsec == node.mtime.nanos;
    kind_of(there) == Some(EntryKind::File) && there.stx_size == size && same_time
}
