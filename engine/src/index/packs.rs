//! Families `packs`, `names` and `tables`: what is known of each pack.
//!
//! ```text
//! packs   number u32 BE → pack id 32, header 80, stored length u64     alive packs only
//! names   pack id 32    → number u32, or nothing: removed for good by a generation
//! tables  number u32 BE → the pack's directory, as in the pack (FORMAT.md 7)
//! ```
//!
//! A pack is alive while it has a record in `packs`. A removed pack keeps its empty name for ever, so
//! that a segment that still names it, or a listing that lags, cannot bring it back.

use super::error::IndexError;
use super::numbers::PackNo;
use super::options::{NAMES, PACKS, TABLES};
use super::store::{Store, digest};
use super::{Index, lock};
use crate::compress::Codec;
use crate::error::Corrupt;
use crate::format::HEADER_LEN;
use crate::id::ObjectId;
use crate::pack::{Directory, PackKind};
use crate::wire::{Put, Reader};
use rocksdb::{BottommostLevelCompaction, CompactOptions, WriteBatch};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Ingestions after which the tables of directories are merged.
const MERGE_EVERY: u64 = 64;
/// Tables of this size are left as they are.
const MERGED_BYTES: usize = 16 << 20;

/// What reading from a pack needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackInfo {
    /// Its name.
    pub id: ObjectId,
    /// What it holds.
    pub kind: PackKind,
    /// Its first 80 bytes: with them one block is one range to read.
    pub header: [u8; HEADER_LEN],
    /// Length of the stored object in bytes.
    pub stored_len: u64,
    /// Its blocks, in order.
    pub blocks: Vec<BlockInfo>,
}

/// One block of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// How its plaintext is coded.
    pub codec: Codec,
    /// Length of its plaintext in bytes.
    pub plain_len: u32,
    /// Where its sealed bytes lie in the pack.
    pub range: Range<u64>,
}

/// What `names` says of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// It has, or had, this number.
    Number(PackNo),
    /// A generation removed it.
    Removed,
}

/// The record in `packs`.
#[derive(Clone, Copy)]
pub(super) struct PackRecord {
    pub(super) id: ObjectId,
    pub(super) kind: PackKind,
    pub(super) header: [u8; HEADER_LEN],
    pub(super) stored_len: u64,
}

impl PackRecord {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let id = ObjectId::from_bytes(reader.array()?);
        let header = reader.array()?;
        let kind = PackKind::of_header(&header).ok_or_else(|| reader.corrupt("not a pack's header"))?;
        Ok(Self { id, kind, header, stored_len: reader.u64()? })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ObjectId::LEN + HEADER_LEN + 8);
        out.put(self.id.as_bytes());
        out.put(&self.header);
        out.put_u64(self.stored_len);
        out
    }
}

impl PackInfo {
    fn new(record: &PackRecord, directory: &Directory) -> Self {
        let mut end = HEADER_LEN as u64;
        let blocks = directory.blocks().iter().map(|block| {
            let start = end;
            end += u64::from(block.sealed_len);
            BlockInfo { codec: block.codec, plain_len: block.plain_len, range: start..end }
        });
        let blocks = blocks.collect();
        let PackRecord { id, kind, header, stored_len } = *record;
        Self { id, kind, header, stored_len, blocks }
    }

    /// Returns about how much memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.blocks.len() * size_of::<BlockInfo>() + 64
    }
}

impl Store {
    pub(super) fn name(&self, id: &ObjectId) -> Result<Option<Name>, IndexError> {
        self.record(NAMES, id.as_bytes(), |reader| match reader.left() {
            0 => Ok(Name::Removed),
            _ => Ok(Name::Number(PackNo(reader.u32()?))),
        })
    }

    pub(super) fn pack_record(&self, number: PackNo) -> Result<Option<PackRecord>, IndexError> {
        self.record(PACKS, &number.0.to_be_bytes(), PackRecord::parse)
    }

    pub(super) fn directory(&self, number: PackNo) -> Result<Option<Directory>, IndexError> {
        let Some(value) = self.get(TABLES, &number.0.to_be_bytes())? else { return Ok(None) };
        Directory::decode(&value).map(Some).map_err(|corrupt| self.damaged(&corrupt.to_string()))
    }

    /// Rewrites the newest tables of directories as fewer ones, every [`MERGE_EVERY`] ingestions.
    ///
    /// Numbers rise, so ingested tables never overlap and no compaction would ever join them: their
    /// number would grow with every run, and a secondary keeps all of them open.
    pub(super) fn merge_tables(&self, ingestion: u64) -> Result<(), IndexError> {
        if !ingestion.is_multiple_of(MERGE_EVERY) {
            return Ok(());
        }
        let files = self.db.live_files().map_err(|error| self.failed(&error))?;
        let mut tables: Vec<_> = files.iter().filter(|file| file.column_family_name == TABLES).collect();
        tables.sort_unstable_by(|one, other| other.start_key.cmp(&one.start_key));
        let small = tables.iter().take_while(|file| file.size < MERGED_BYTES);
        let Some(from) = small.filter_map(|file| file.start_key.as_deref()).last() else { return Ok(()) };
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(self.family(TABLES)?, Some(from), None::<&[u8]>, &options);
        Ok(())
    }

    /// Adds the record and the name of a pack to a batch.
    pub(super) fn record_pack(
        &self,
        batch: &mut WriteBatch,
        number: PackNo,
        record: &PackRecord,
    ) -> Result<(), IndexError> {
        batch.put_cf(self.family(PACKS)?, number.0.to_be_bytes(), record.encode());
        batch.put_cf(self.family(NAMES)?, record.id.as_bytes(), number.0.to_le_bytes());
        Ok(())
    }

    /// Adds the end of a pack to a batch: its name goes, or stays as removed for good. Returns what
    /// that changes in the digest.
    pub(super) fn forget_pack(
        &self,
        batch: &mut WriteBatch,
        number: PackNo,
        for_good: bool,
    ) -> Result<u64, IndexError> {
        let record = self
            .pack_record(number)?
            .ok_or_else(|| self.damaged("the record of an alive pack is missing"))?;
        batch.delete_cf(self.family(PACKS)?, number.0.to_be_bytes());
        batch.delete_cf(self.family(TABLES)?, number.0.to_be_bytes());
        self.forget_reading(batch, number)?;
        let names = self.family(NAMES)?;
        if for_good {
            batch.put_cf(names, record.id.as_bytes(), []);
        } else {
            batch.delete_cf(names, record.id.as_bytes());
        }
        Ok(digest(number, &record.id))
    }
}

impl Index {
    /// Returns what is known of a pack, or nothing once it is no longer alive.
    pub fn pack(&self, number: PackNo) -> Result<Option<Arc<PackInfo>>, IndexError> {
        let Some(store) = self.store_of(number).filter(|store| store.numbers.is_alive(number)) else {
            return Ok(None);
        };
        if let Some(info) = lock(&self.infos).get(&number, |info| info.weight()) {
            return Ok(Some(info.clone()));
        }
        let (Some(record), Some(directory)) = (store.pack_record(number)?, store.directory(number)?) else {
            // Another thread may have ended it just now.
            return match store.numbers.is_alive(number) {
                true => Err(store.damaged("the records of an alive pack are missing")),
                false => Ok(None),
            };
        };
        let info = Arc::new(PackInfo::new(&record, &directory));
        lock(&self.infos).extend(info.weight(), [(number, info.clone())]);
        Ok(Some(info))
    }

    /// Returns the directory of an alive pack: its chunks in the order in which they lie there.
    pub fn directory(&self, number: PackNo) -> Result<Option<Directory>, IndexError> {
        match self.store_of(number).filter(|store| store.numbers.is_alive(number)) {
            Some(store) => store.directory(number),
            None => Ok(None),
        }
    }

    /// Returns the number of an alive pack.
    pub fn pack_number(&self, id: &ObjectId) -> Result<Option<PackNo>, IndexError> {
        for store in self.stores() {
            match store.name(id)? {
                Some(Name::Removed) => return Ok(None),
                Some(Name::Number(number)) if self.is_alive(number) => return Ok(Some(number)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Tells whether a generation that was applied removed the pack.
    pub fn is_removed(&self, id: &ObjectId) -> Result<bool, IndexError> {
        for store in self.stores() {
            if store.name(id)? == Some(Name::Removed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether a pack may vouch for its chunks.
    pub fn is_alive(&self, number: PackNo) -> bool {
        self.store_of(number).is_some_and(|store| store.numbers.is_alive(number))
    }

    pub(super) fn store_of(&self, number: PackNo) -> Option<&Store> {
        self.stores().find(|store| store.numbers.owns(number))
    }

    /// Adds the end of these packs to a batch for the database that may be written. Those of the
    /// owner's database, seen from a secondary, end in memory only.
    pub(super) fn end_packs(
        &self,
        batch: &mut WriteBatch,
        ended: &BTreeSet<PackNo>,
        for_good: bool,
    ) -> Result<Ended, IndexError> {
        let top = &self.top;
        let mut totals = Ended::default();
        for number in ended.iter().filter(|number| top.numbers.owns(**number)) {
            totals.digest ^= top.forget_pack(batch, *number, for_good)?;
            totals.count += 1;
        }
        Ok(totals)
    }
}

/// What ending packs changes in the counters of the database that may be written.
#[derive(Clone, Copy, Default)]
pub(super) struct Ended {
    pub(super) count: u64,
    pub(super) digest: u64,
}
