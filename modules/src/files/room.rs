//! How much room a restore in place needs, asked before it begins.

use super::aside::split;
use super::place::Place;
use super::sink::FilesSink;
use dedup_engine::listing::StoredPath;
use dedup_engine::restore::sink::SinkError;
use rustix::fs::fstatvfs;
use rustix::io::Errno;

/// What a file takes at least, and its last piece as well: a usual block.
const BLOCK_BYTES: u64 = 4096;

/// The room that is needed on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// A directory on it, as stored paths are.
    pub place: StoredPath,
    /// Bytes of all files that go there: what they replace is kept until the restore has succeeded. Files that are right already
    /// count too, so it is never too little.
    pub needed_bytes: u64,
    /// Bytes that are free for who asks.
    pub free_bytes: u64,
}

/// Adds up what a restore needs; see [`FilesSink::room`].
#[derive(Debug)]
pub struct RoomNeeded<'a> {
    sink: &'a FilesSink,
    systems: Vec<(u64, Room)>,
    /// The directory that was asked about last, and which of the file systems it is on.
    last: Option<(Vec<u8>, usize)>,
}

impl FilesSink {
    /// Begins to add up the room that a restore needs. Changes nothing.
    pub fn room(&self) -> RoomNeeded<'_> {
        RoomNeeded { sink: self, systems: Vec::new(), last: None }
    }
}

impl RoomNeeded<'_> {
    /// Adds an entry of this length; files of one directory one after another cost least.
    pub fn add(&mut self, path: &StoredPath, bytes: u64) -> Result<(), SinkError> {
        let key = self.sink.options.key(path)?;
        let (above, _) = split(&key);
        let at = match &self.last {
            Some((last, at)) if last == above => *at,
            _ => {
                let at = self.system(above)?;
                self.last = Some((above.to_vec(), at));
                at
            }
        };
        let taken = bytes.div_ceil(BLOCK_BYTES).max(1).saturating_mul(BLOCK_BYTES);
        let room = &mut self.systems[at].1;
        room.needed_bytes = room.needed_bytes.saturating_add(taken);
        Ok(())
    }

    /// Returns the file systems that are written to.
    pub fn rooms(self) -> Vec<Room> {
        self.systems.into_iter().map(|(_, room)| room).collect()
    }

    /// Returns the file system of the deepest directory that is there at or above a key.
    fn system(&mut self, key: &[u8]) -> Result<usize, SinkError> {
        let failed = super::beneath::errno_error("examine the file system of the target");
        let mut key = key;
        let place: Place = loop {
            match self.sink.places.find(key) {
                Ok(place) => break place,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !key.is_empty() => key = split(key).0,
                Err(errno) => return Err(failed(errno)),
            }
        };
        if let Some(known) = self.systems.iter().position(|(device, _)| *device == place.domain.0) {
            return Ok(known);
        }
        let free = fstatvfs(&place).map_err(&failed)?;
        let place_path = StoredPath::from_key(key).unwrap_or_default();
        let free_bytes = free.f_bavail.saturating_mul(free.f_frsize);
        self.systems.push((place.domain.0, Room { place: place_path, needed_bytes: 0, free_bytes }));
        Ok(self.systems.len() - 1)
    }
}
