//! What a run must remember and what may outgrow memory: so much in memory, the rest in a scratch database.
//!
//! The database is made when it is first needed, in a scratch folder of its own (`scratch.rs`), shares the
//! memory of the index, is never synced or logged, and goes with the run that made it.

use super::error::IndexError;
use super::scratch::Scratch;
use super::{Index, lock};
use rocksdb::{DB, WriteOptions};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

/// What an entry of a [`SpillMap`] takes beside key and value: its slot, and two allocations.
const ENTRY_BYTES: usize = 96;

/// A table on disk that lives as long as this value. May be used by many threads.
pub(crate) struct ScratchTable<'i> {
    index: &'i Index,
    made: OnceLock<Made>,
    making: Mutex<()>,
}

/// The database is closed before its folder is removed.
struct Made {
    db: DB,
    place: PathBuf,
    _scratch: Scratch,
}

impl Made {
    fn failed(&self, error: &rocksdb::Error) -> IndexError {
        IndexError::scratch(&self.place, error)
    }
}

impl ScratchTable<'_> {
    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let Some(made) = self.made.get() else { return Ok(None) };
        made.db.get(key).map_err(|error| made.failed(&error))
    }

    /// Returns whether there is a value of a key.
    pub fn holds(&self, key: &[u8]) -> Result<bool, IndexError> {
        let Some(made) = self.made.get() else { return Ok(false) };
        made.db.get_pinned(key).map(|value| value.is_some()).map_err(|error| made.failed(&error))
    }

    /// Sets the value of a key.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        let made = self.make()?;
        made.db.put_opt(key, value, &unlogged()).map_err(|error| made.failed(&error))
    }

    /// Removes a key, which need not be there.
    pub fn remove(&self, key: &[u8]) -> Result<(), IndexError> {
        let Some(made) = self.made.get() else { return Ok(()) };
        made.db.delete_opt(key, &unlogged()).map_err(|error| made.failed(&error))
    }

    fn make(&self) -> Result<&Made, IndexError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let _making = lock(&self.making);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let scratch = self.index.home.take_scratch()?;
        let place = scratch.database();
        let db = DB::open(&self.index.memory.scratch(), &place);
        let db = db.map_err(|error| IndexError::scratch(&place, &error))?;
        Ok(self.made.get_or_init(|| Made { db, place, _scratch: scratch }))
    }
}

fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// A map that keeps a bounded number of bytes in memory.
///
/// What was there first stays in memory: nothing moves.
pub(crate) struct SpillMap<'i> {
    near: HashMap<Box<[u8]>, Box<[u8]>>,
    near_bytes: usize,
    room_bytes: usize,
    far: ScratchTable<'i>,
}

impl<'i> SpillMap<'i> {
    /// Makes an empty map that keeps about `room_bytes` in memory.
    pub fn new(index: &'i Index, room_bytes: usize) -> Self {
        Self { near: HashMap::new(), near_bytes: 0, room_bytes, far: index.scratch_table() }
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.near.get(key) {
            Some(value) => Ok(Some(value.to_vec())),
            None => self.far.get(key),
        }
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        let bytes = ENTRY_BYTES + key.len() + value.len();
        let before = self.forget_near(key);
        let fits = self.near_bytes + bytes <= self.room_bytes;
        // An entry is in one of the two only, or an old value would come back when the newer one goes.
        if fits && (before || !self.far.holds(key)?) {
            self.near_bytes += bytes;
            self.near.insert(key.into(), value.into());
            return Ok(());
        }
        self.far.put(key, value)
    }

    /// Removes a key, which need not be there.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), IndexError> {
        if self.forget_near(key) { Ok(()) } else { self.far.remove(key) }
    }

    fn forget_near(&mut self, key: &[u8]) -> bool {
        let Some(value) = self.near.remove(key) else { return false };
        self.near_bytes -= ENTRY_BYTES + key.len() + value.len();
        true
    }

    #[cfg(test)]
    pub fn near_bytes(&self) -> usize {
        self.near_bytes
    }

    #[cfg(test)]
    pub fn has_spilled(&self) -> bool {
        self.far.made.get().is_some()
    }
}

impl Index {
    /// Returns a table on disk; nothing is made until something is put there.
    pub(crate) fn scratch_table(&self) -> ScratchTable<'_> {
        ScratchTable { index: self, made: OnceLock::new(), making: Mutex::default() }
    }

    /// Returns how many claims a run keeps in memory before the rest goes to disk.
    pub(crate) fn claims_room(&self) -> usize {
        self.memory.claims()
    }

    /// Returns how many needed chunks a prune keeps in memory before the rest goes to disk.
    pub(crate) fn needed_room(&self) -> usize {
        self.memory.needed()
    }

    /// Returns an empty map that keeps a sixteenth of the index's memory beside it, and the rest on disk.
    pub(crate) fn spill_map(&self) -> SpillMap<'_> {
        SpillMap::new(self, self.memory.spill_bytes())
    }
}
