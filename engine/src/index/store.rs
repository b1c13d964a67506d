//! One RocksDB database: opening it, its counters, and what makes it believable.
//!
//! What a database must satisfy to be used, checked at every open:
//! - identity: this schema, this repository;
//! - the alive packs are as many as the counters say, and their digest is the same: records are
//!   changed in one batch with the counters, so a hole in the log shows;
//! - the newest ingestion and the newest pack's directory are there: tables of chunks are ingested
//!   before the batch that makes their packs alive, so a shorter list of tables shows.
//!
//! Blocks, tables, log and list of tables carry checksums of RocksDB's own. A database that fails
//! anywhere, now or later, gets a file [`MARK`] beside its tables; the next open replaces it.
//!
//! ```text
//! meta  "identity"    schema u32, repository id 16
//!       "counters"    alive packs u64, their digest u64, newest ingestion u64, packs ended since tidied u64
//!       "reserved"    u32: numbers below it were or will be given; flushed before they are used
//!       "generation"  number u64, id 32
//!       "run"         newest run u32, oldest kept run u32
//!       "read" ‖ u32  see `readings.rs`
//!       "run" ‖ u32   bytes that a run put into the file cache, u64
//! ```

use super::Settings;
use super::cache::Window;
use super::chunks::SENTINEL;
use super::error::IndexError;
use super::numbers::{Numbers, PackNo};
use super::options::{CHUNKS, FAMILIES, META, Memory, PACKS, TABLES};
use crate::error::Corrupt;
use crate::id::{ObjectId, RepoId};
use crate::planted::{Bug, planted};
use crate::wire::{Put, Reader};
use rocksdb::{ColumnFamily, DB, FlushOptions, IteratorMode, Options, WriteBatch, WriteOptions};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Version of everything that this module stores. Another one is rebuilt, never converted.
const SCHEMA: u32 = 1;
/// File in the database's folder that condemns it.
const MARK: &str = "damaged";
/// Folder in the database's folder for tables that are about to be ingested.
const INGEST: &str = "ingest";
/// Tables that the owner keeps open; their filters and indexes are in the block cache.
const OPEN_FILES: i32 = 256;

const IDENTITY: &[u8] = b"identity";
const COUNTERS: &[u8] = b"counters";
const RESERVED: &[u8] = b"reserved";

/// How a database is opened.
pub(super) enum Access<'a> {
    /// As the only process that has it.
    Owner,
    /// Beside its owner, with a folder for RocksDB's own log.
    Secondary(&'a Path),
}

/// An open database.
pub(super) struct Store {
    pub(super) db: DB,
    pub(super) place: PathBuf,
    pub(super) numbers: Arc<Numbers>,
    pub(super) window: Arc<Window>,
    /// Settings of the families that are ingested.
    pub(super) chunks: Options,
    pub(super) tables: Options,
    /// Whether this process owns the database: only then may it condemn it. What a secondary sees while
    /// the owner works may be torn.
    owned: bool,
    /// Held by whoever changes the database.
    pub(super) writer: Mutex<Writer>,
}

/// Counters that change with the records.
#[derive(Clone, Copy)]
pub(super) struct Writer {
    pub(super) next: u32,
    pub(super) reserved: u32,
    pub(super) ingestion: u64,
    pub(super) digest: u64,
    /// Packs ended since the tables were tidied.
    pub(super) ended: u64,
}

/// Returns what an alive pack adds to the digest (by exclusive or).
pub(super) fn digest(number: PackNo, id: &ObjectId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from(number.0).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Store {
    /// Makes an empty database in a folder that does not exist, durably.
    pub(super) fn create(place: &Path, repository: RepoId, first: u32) -> Result<(), IndexError> {
        let memory = Memory::new(0);
        let mut options = memory.database(OPEN_FILES);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_error_if_exists(true);
        let families = memory.descriptors(&Arc::new(Numbers::new(first)), &Arc::default());
        let failed = |error: rocksdb::Error| IndexError::database(place, &error);
        let db = DB::open_cf_descriptors(&options, place, families).map_err(failed)?;
        let mut identity = Vec::new();
        identity.put_u32(SCHEMA);
        identity.put(repository.as_bytes());
        let mut batch = WriteBatch::default();
        batch.put(IDENTITY, identity);
        batch.put(COUNTERS, [0; 32]);
        batch.put(RESERVED, first.to_le_bytes());
        db.write_opt(batch, &synced()).map_err(failed)?;
        db.flush().map_err(failed)
    }

    /// Opens a database and checks that it may be believed.
    pub(super) fn open(
        place: &Path,
        settings: &Settings,
        first: u32,
        memory: &Memory,
        access: &Access<'_>,
    ) -> Result<Self, IndexError> {
        if place.join(MARK).exists() {
            return Err(IndexError::damaged(place, "it was found damaged before"));
        }
        let numbers = Arc::new(Numbers::new(first));
        let window = Arc::new(Window::default());
        let families = memory.descriptors(&numbers, &window);
        let opened = match access {
            Access::Owner => {
                let ingest = place.join(INGEST);
                // Leftovers of a process that died while it ingested.
                drop(fs::remove_dir_all(&ingest));
                fs::create_dir_all(&ingest).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                        IndexError::damaged(place, "a file stands where a folder belongs")
                    }
                    _ => IndexError::files("create", &ingest)(error),
                })?;
                DB::open_cf_descriptors(&memory.database(OPEN_FILES), place, families)
            }
            Access::Secondary(log) => {
                DB::open_cf_descriptors_as_secondary(&memory.database(-1), place, log, families)
            }
        };
        let db = opened.map_err(|error| IndexError::database(place, &error))?;
        let writer = Mutex::new(Writer { next: first, reserved: first, ingestion: 0, digest: 0, ended: 0 });
        let (chunks, tables) = (memory.chunks(&numbers), memory.tables());
        let owned = matches!(access, Access::Owner);
        let mut store = Self { db, place: place.to_owned(), numbers, window, chunks, tables, owned, writer };
        let checked = store.check(settings.repository)?;
        store.writer = Mutex::new(checked);
        store.load_window(settings.file_cache_bytes)?;
        Ok(store)
    }

    fn check(&self, repository: RepoId) -> Result<Writer, IndexError> {
        let identity = self.record(META, IDENTITY, |reader| Ok((reader.u32()?, reader.array()?)))?;
        if identity != Some((SCHEMA, *repository.as_bytes())) {
            return Err(self.damaged("it is of another repository or version"));
        }
        let missing = |what| self.damaged(&format!("its {what} are missing"));
        let [count, digest_stored, ingestion, ended] = self
            .record(META, COUNTERS, |reader| {
                Ok([reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?])
            })?
            .ok_or_else(|| missing("counters"))?;
        let reserved = self
            .record(META, RESERVED, |reader| reader.u32())?
            .filter(|reserved| (self.numbers.first()..=self.numbers.end()).contains(reserved))
            .ok_or_else(|| missing("reserved numbers"))?;

        let mut found = 0;
        for entry in self.db.iterator_cf(self.family(PACKS)?, IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| self.failed(&error))?;
            let number = PackNo(self.parse(&key, |reader| reader.array().map(u32::from_be_bytes))?);
            if !self.numbers.owns(number) || number.0 >= reserved {
                return Err(self.damaged("a pack has a number that was not given"));
            }
            let id = value.first_chunk().copied().map(ObjectId::from_bytes);
            found ^= digest(number, &id.ok_or_else(|| self.damaged("a pack's record is too short"))?);
            self.numbers.make_alive([number]);
        }
        self.numbers.close_below(reserved);
        if (count, digest_stored) != (self.numbers.alive_count(), found) && !planted(Bug::SkipIndexDigest) {
            return Err(self.damaged("its packs are not the ones it counted"));
        }
        let ingested = self.record(CHUNKS, &SENTINEL, |reader| reader.u64())?.unwrap_or(0);
        if ingested < ingestion {
            return Err(self.damaged("tables of chunks are missing"));
        }
        if let Some(last) = self.numbers.last_alive()
            && self.get(TABLES, &last.0.to_be_bytes())?.is_none()
        {
            return Err(self.damaged("tables of packs are missing"));
        }
        Ok(Writer { next: reserved, reserved, ingestion: ingested, digest: found, ended })
    }

    /// Makes sure that the next `count` numbers are reserved, durably and beyond the reach of a lost
    /// log, before any table refers to them: after a crash they are never given again.
    pub(super) fn reserve(&self, writer: &mut Writer, count: u32) -> Result<(), IndexError> {
        /// Numbers reserved at once: 16 GiB of packs of 16 MiB.
        const STEP: u32 = 1024;
        let exhausted = || IndexError::Exhausted { place: self.place.display().to_string() };
        let end = writer.next.checked_add(count).ok_or_else(exhausted)?;
        if end <= writer.reserved {
            return Ok(());
        }
        let reserved = end.checked_add(STEP).ok_or_else(exhausted)?.min(self.numbers.end());
        if end > reserved {
            return Err(exhausted());
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META)?, RESERVED, reserved.to_le_bytes());
        self.write(batch)?;
        self.flush()?;
        writer.reserved = reserved;
        Ok(())
    }

    /// Writes a batch with the counters that hold after it, synced.
    pub(super) fn commit(
        &self,
        mut batch: WriteBatch,
        count: u64,
        writer: &Writer,
    ) -> Result<(), IndexError> {
        let mut counters = Vec::new();
        counters.put_u64(count);
        counters.put_u64(writer.digest);
        counters.put_u64(writer.ingestion);
        counters.put_u64(writer.ended);
        batch.put_cf(self.family(META)?, COUNTERS, counters);
        self.write(batch)
    }

    fn write(&self, batch: WriteBatch) -> Result<(), IndexError> {
        self.db.write_opt(batch, &synced()).map_err(|error| self.failed(&error))
    }

    /// Brings everything from the write buffers into tables.
    pub(super) fn flush(&self) -> Result<(), IndexError> {
        let families =
            FAMILIES.map(|family| self.family(family)).into_iter().collect::<Result<Vec<_>, _>>()?;
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| self.failed(&error))
    }

    /// Returns the path for a table that is to be ingested into `family`.
    pub(super) fn ingest_path(&self, family: &str) -> PathBuf {
        self.place.join(INGEST).join(family)
    }

    pub(super) fn family(&self, name: &str) -> Result<&ColumnFamily, IndexError> {
        self.db.cf_handle(name).ok_or_else(|| self.damaged("a family is missing"))
    }

    pub(super) fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.db.get_cf(self.family(family)?, key).map_err(|error| self.failed(&error))
    }

    /// Reads one record, which `parse` must use up.
    pub(super) fn record<T>(
        &self,
        family: &str,
        key: &[u8],
        parse: impl FnOnce(&mut Reader<'_>) -> Result<T, Corrupt>,
    ) -> Result<Option<T>, IndexError> {
        self.get(family, key)?.map(|value| self.parse(&value, parse)).transpose()
    }

    pub(super) fn parse<T>(
        &self,
        bytes: &[u8],
        parse: impl FnOnce(&mut Reader<'_>) -> Result<T, Corrupt>,
    ) -> Result<T, IndexError> {
        let mut reader = Reader::new("index record", bytes);
        let value = parse(&mut reader).and_then(|value| reader.finish().map(|()| value));
        value.map_err(|corrupt| self.condemn(IndexError::corrupt(&self.place, &corrupt)))
    }

    pub(super) fn damaged(&self, wrong: &str) -> IndexError {
        self.condemn(IndexError::damaged(&self.place, wrong))
    }

    pub(super) fn failed(&self, error: &rocksdb::Error) -> IndexError {
        self.condemn(IndexError::database(&self.place, error))
    }

    /// Marks the database if the error says that it is damaged. If that fails too, the damage is found
    /// again by whoever meets it again.
    fn condemn(&self, error: IndexError) -> IndexError {
        if self.owned && matches!(error, IndexError::Damaged { .. }) {
            drop(fs::write(self.place.join(MARK), error.to_string()));
        }
        error
    }
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
