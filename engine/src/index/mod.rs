//! The local index: which chunks are stored, and where. A RocksDB database; never the truth.
//!
//! One per repository and machine. It can be deleted at any time: everything in it is derived from
//! segments and generations, and is derived anew when it is lost, damaged or of another repository.
//! It answers two questions: is this chunk stored (so that it need not be stored again), and where
//! does it lie (so that reading it is one range of one pack). A wrong yes to the first would lose
//! data, so everything here errs towards less: see the invariant in `segments.rs`.
//!
//! ```text
//! mod.rs         Index: lookups, statistics, tidying
//! open.rs        owner or secondary; what cannot be used is replaced
//! scratch.rs     what a secondary learns
//! rebuild.rs     a new database beside the old one
//! segment.rs     segments as they are stored
//! segments.rs    segments come in
//! freshness.rs   generations and vanished segments take packs out
//! packs.rs       what is known of a pack
//! chunks.rs      where the copies of a chunk lie
//! neighbours.rs  chunks of recently hit packs, in memory
//! wide.rs        the same for packs of very many chunks
//! readings.rs    when packs were last read whole
//! cache.rs       the file cache
//! spill.rs       what a run remembers beyond its memory
//! store.rs       one database and its counters
//! options.rs     RocksDB's settings from one number of bytes
//! numbers.rs     which packs are alive, in memory
//! aging.rs       a bounded map
//! ```
//!
//! The order at the start of a run: [`Index::open`]; every generation since [`Index::generation`] by
//! [`Index::apply_generation`]; [`Index::reconcile`] with the listing; the segments it names by
//! [`Index::apply_segments`]. Any error that [`IndexError::wants_rebuild`] is answered by
//! [`Index::rebuild`], or by opening again. What a run stores and has not yet put into a durable segment
//! is its writer's to remember, never the index's.
//!
//! All methods may be called from many threads; those that change something take turns.
//! Per chunk, about 92 bytes of disk are used, and one of memory for filters where the cache has room.

mod aging;
mod cache;
mod chunks;
mod error;
mod freshness;
mod neighbours;
mod numbers;
mod open;
mod options;
mod packs;
mod readings;
mod rebuild;
mod scratch;
mod segment;
mod segments;
mod spill;
mod store;
#[cfg(test)]
mod tests;
mod wide;

pub use cache::{CachedPage, PageKey};
pub use chunks::Location;
#[cfg(feature = "testing")]
pub(crate) use chunks::joined;
pub use error::IndexError;
pub use freshness::{Generation, GenerationMark, Reconciled};
pub use numbers::PackNo;
pub use packs::{BlockInfo, PackInfo};
pub use segment::{Segment, SegmentPack};
pub(crate) use spill::{ScratchTable, SpillMap};

use crate::id::{ChunkId, ObjectId, RepoId};
use aging::Aging;
use neighbours::Neighbours;
use open::Home;
use options::{CHUNKS, FILES, Memory, TABLES};
use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;

/// Lookups that are made together; between them neighbours are brought.
const LOOKUP_BATCH: usize = 64;

/// What an index is opened for, and with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The repository it describes.
    pub repository: RepoId,
    /// Memory for caches, filters and buffers together, in bytes; at least 8 MiB are used.
    pub memory_bytes: usize,
    /// Disk space for the file cache, in bytes.
    pub file_cache_bytes: u64,
}

/// Where the database came from when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Kept,
    /// There was none; it is empty.
    New,
    /// What was there could not be used; it is empty, or was rebuilt.
    Replaced {
        /// Why, in a clause.
        why: String,
    },
}

/// How this process holds the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It alone may change the database.
    Owner,
    /// It reads the owner's database as it was at open, and keeps what it learns to itself.
    Secondary,
}

/// Figures about an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Chunks, estimated.
    pub chunks: u64,
    /// Packs that are alive.
    pub packs: u64,
    /// Bytes on disk, of the owner's database and the scratch database of this process.
    pub disk_bytes: u64,
    /// Bytes of memory in use by caches and buffers.
    pub memory_bytes: u64,
}

/// The local index of one repository.
pub struct Index {
    /// The database that may be changed.
    top: Store,
    /// For a secondary: the owner's database.
    base: Option<Store>,
    /// Segments of the owner's database that a secondary passes over since they vanished.
    passed_over: Mutex<HashSet<ObjectId>>,
    neighbours: Mutex<Neighbours>,
    infos: Mutex<Aging<PackNo, Arc<PackInfo>>>,
    writing: Mutex<()>,
    memory: Memory,
    settings: Settings,
    origin: Origin,
    /// Last: the databases are closed before the lock is given back.
    home: Home,
}

impl Index {
    fn assemble(
        home: Home,
        settings: &Settings,
        memory: Memory,
        top: Store,
        base: Option<Store>,
        origin: Origin,
    ) -> Self {
        Self {
            top,
            base,
            passed_over: Mutex::default(),
            neighbours: Mutex::new(Neighbours::new(memory.neighbours(), memory.wide_packs_bytes())),
            infos: Mutex::new(Aging::new(memory.pack_infos())),
            writing: Mutex::default(),
            memory,
            settings: settings.clone(),
            origin,
            home,
        }
    }

    /// Returns where the database came from. One that was not kept is to be filled.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Tells whether the database had to be made anew, for whatever reason.
    pub fn rebuilt(&self) -> bool {
        self.origin != Origin::Kept
    }

    /// Returns how this process holds the index.
    pub fn role(&self) -> Role {
        self.home.role()
    }

    /// Returns where a chunk lies: the newest copy in a pack that is alive.
    pub fn lookup(&self, id: &ChunkId) -> Result<Option<Location>, IndexError> {
        Ok(self.lookup_batch(std::slice::from_ref(id))?.pop().flatten())
    }

    /// Returns where chunks lie, in their order. Cheaper than one by one.
    pub fn lookup_many(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, IndexError> {
        let mut found = Vec::with_capacity(ids.len());
        for batch in ids.chunks(LOOKUP_BATCH) {
            found.append(&mut self.lookup_batch(batch)?);
        }
        Ok(found)
    }

    fn lookup_batch(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, IndexError> {
        let mut found: Vec<_> = {
            let mut neighbours = lock(&self.neighbours);
            ids.iter().map(|id| neighbours.find(id)).collect()
        };
        for copy in &mut found {
            *copy = copy.filter(|copy| self.is_alive(copy.pack));
        }
        let mut hits = Vec::new();
        for store in self.stores() {
            let missing: Vec<usize> = (0..ids.len()).filter(|at| found[*at].is_none()).collect();
            if missing.is_empty() {
                break;
            }
            let asked: Vec<_> = missing.iter().map(|at| ids[*at]).collect();
            for (at, copy) in missing.into_iter().zip(store.find(&asked)?) {
                found[at] = copy;
                hits.extend(copy.map(|copy| copy.pack));
            }
        }
        if !hits.is_empty() {
            let worth = lock(&self.neighbours).note(hits.into_iter());
            for pack in worth {
                if let Some(directory) = self.directory(pack)? {
                    lock(&self.neighbours).bring(pack, &directory);
                }
            }
        }
        Ok(found)
    }

    /// Returns every alive copy of a chunk, the newest first: when one pack is damaged, another may
    /// do.
    pub fn copies(&self, id: &ChunkId) -> Result<Vec<Location>, IndexError> {
        let mut all = Vec::new();
        for store in self.stores() {
            all.append(&mut store.find_copies(*id)?);
        }
        Ok(all)
    }

    /// Returns figures about the index.
    pub fn statistics(&self) -> Result<Statistics, IndexError> {
        let mut statistics = Statistics { memory_bytes: self.memory.used_bytes(), ..Statistics::default() };
        for store in self.stores() {
            let estimate =
                store.db.property_int_value_cf(store.family(CHUNKS)?, rocksdb::properties::ESTIMATE_NUM_KEYS);
            statistics.chunks += estimate.map_err(|error| store.failed(&error))?.unwrap_or_default();
            statistics.packs += store.numbers.alive_count();
            for entry in fs::read_dir(&store.place).map_err(IndexError::files("read", &store.place))? {
                // A table may go away while it is looked at.
                let len = entry.and_then(|entry| entry.metadata()).map_or(0, |metadata| metadata.len());
                statistics.disk_bytes += len;
            }
        }
        Ok(statistics)
    }

    /// Gives disk space back: drops the entries of ended packs once they are a quarter of all, and the
    /// pages of runs that are past. May rewrite the whole database; for the end of a prune or a run.
    pub fn tidy(&self) -> Result<(), IndexError> {
        let _writing = lock(&self.writing);
        let top = &self.top;
        let everything = (None::<&[u8]>, None::<&[u8]>);
        top.db.compact_range_cf(top.family(FILES)?, everything.0, everything.1);
        let mut shared = lock(&top.writer);
        let alive = top.numbers.alive_count();
        if shared.ended == 0 || shared.ended < alive / 3 {
            return Ok(());
        }
        for family in [CHUNKS, TABLES] {
            top.db.compact_range_cf(top.family(family)?, everything.0, everything.1);
        }
        let mut writer = *shared;
        writer.ended = 0;
        top.commit(rocksdb::WriteBatch::default(), alive, &writer)?;
        *shared = writer;
        Ok(())
    }

    /// Returns the databases, the one that may be changed first: what it says hides what the other says.
    fn stores(&self) -> impl Iterator<Item = &Store> {
        [Some(&self.top), self.base.as_ref()].into_iter().flatten()
    }
}

/// Locks; a thread that panicked while it held the lock left counters that the next open checks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
