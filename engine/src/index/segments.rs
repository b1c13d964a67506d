//! Family `applied` and the way of a segment into the index.
//!
//! ```text
//! applied  segment id 32 → pack numbers u32 …, or the one byte 0: removed for good by a generation
//! ```
//!
//! **Invariant: an entry vouches for a pack only if the pack's record, its name and the mark of the
//! segment that brought it were written, in one synced batch, after its tables.** In this order:
//!
//! 1. Numbers are reserved, and that is flushed: no later process gives them again.
//! 2. Directories, then chunks, are written as sorted tables and ingested; both are durable then. Their
//!    numbers have no record, so every lookup passes over them.
//! 3. One synced batch: records, names, marks, counters.
//! 4. The numbers become alive in memory.
//!
//! A crash before 3 leaves entries that nobody believes and a later compaction drops; the segment is
//! applied again, under new numbers. The segments must be durable in the storage before they come here.

use super::chunks::{Location, SENTINEL, encode};
use super::error::IndexError;
use super::numbers::PackNo;
use super::options::{APPLIED, CHUNKS, TABLES};
use super::packs::{Name, PackRecord};
use super::segment::SegmentPack;
use super::store::{Store, digest};
use super::{Index, lock};
use crate::format::MAX_CHUNKS_PER_SEGMENT;
use crate::id::{ChunkId, ObjectId};
use crate::wire::Put;
use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter, WriteBatch};
use std::collections::HashMap;
use std::path::Path;

/// State of a segment in this index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Its packs have these numbers.
    Applied(Vec<PackNo>),
    /// A generation removed it: whoever still lists it lags.
    Removed,
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Applied(numbers) => numbers.iter().flat_map(|number| number.0.to_le_bytes()).collect(),
            Self::Removed => vec![0],
        }
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        if value == [0] {
            return Some(Self::Removed);
        }
        let (numbers, rest) = value.as_chunks();
        let numbers = || numbers.iter().map(|number| PackNo(u32::from_le_bytes(*number))).collect();
        rest.is_empty().then(|| Self::Applied(numbers()))
    }
}

impl Store {
    pub(super) fn mark(&self, segment: &ObjectId) -> Result<Option<Mark>, IndexError> {
        let Some(value) = self.get(APPLIED, segment.as_bytes())? else { return Ok(None) };
        Mark::decode(&value).map(Some).ok_or_else(|| self.damaged("a segment's mark has a wrong length"))
    }

    /// Writes the directories and chunks of new packs as tables and ingests them.
    pub(super) fn ingest(&self, packs: &[(PackNo, &SegmentPack)], ingestion: u64) -> Result<(), IndexError> {
        self.ingest_table(TABLES, &self.tables, |writer| {
            for (number, pack) in packs {
                writer.put(number.0.to_be_bytes(), pack.directory.encode())?;
            }
            Ok(())
        })?;
        let mut entries: Vec<(ChunkId, Location)> = Vec::new();
        for (number, pack) in packs {
            let of_pack = pack.directory.places();
            entries.extend(of_pack.map(|(id, place)| (id, Location { pack: *number, place })));
        }
        entries.sort_unstable_by_key(|(id, copy)| (*id, copy.pack, copy.place.block, copy.place.offset));
        self.ingest_table(CHUNKS, &self.chunks, |writer| {
            let mut count = Vec::new();
            count.put_u64(ingestion);
            writer.put(SENTINEL, count)?;
            for copies in entries.chunk_by(|one, next| one.0 == next.0) {
                let value: Vec<u8> = copies.iter().flat_map(|(_, copy)| encode(*copy)).collect();
                writer.merge(copies[0].0.as_bytes(), value)?;
            }
            Ok(())
        })
    }

    fn ingest_table(
        &self,
        family: &str,
        options: &Options,
        fill: impl FnOnce(&mut SstFileWriter<'_>) -> Result<(), rocksdb::Error>,
    ) -> Result<(), IndexError> {
        let path = self.ingest_path(family);
        write_table(&path, options, fill).map_err(|error| self.failed(&error))?;
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        self.db
            .ingest_external_file_cf_opts(self.family(family)?, &ingest, vec![&path])
            .map_err(|error| self.failed(&error))
    }
}

fn write_table(
    path: &Path,
    options: &Options,
    fill: impl FnOnce(&mut SstFileWriter<'_>) -> Result<(), rocksdb::Error>,
) -> Result<(), rocksdb::Error> {
    let mut writer = SstFileWriter::create(options);
    writer.open(path)?;
    fill(&mut writer)?;
    writer.finish()
}

impl Index {
    /// Adds a segment's packs and chunks. See [`Self::apply_segments`].
    pub fn apply_segment(&self, id: ObjectId, packs: &[SegmentPack]) -> Result<(), IndexError> {
        self.apply_segments(&[(id, packs)])
    }

    /// Adds the packs and chunks of durable segments.
    ///
    /// What was applied already, or removed by a generation, changes nothing; a pack that is alive
    /// already is only marked as named by the new segment too. Several segments at once cost a few
    /// syncs less each; up to 13 MB are needed for sorting.
    pub fn apply_segments(&self, segments: &[(ObjectId, &[SegmentPack])]) -> Result<(), IndexError> {
        let _writing = lock(&self.writing);
        let mut group = Group::default();
        for (id, packs) in segments {
            if self.mark(id)?.is_some() || group.marks.iter().any(|(other, _)| other == id) {
                continue;
            }
            let chunks = packs.iter().map(|pack| pack.directory.chunks().len()).sum::<usize>();
            if !group.marks.is_empty() && group.chunks + chunks > MAX_CHUNKS_PER_SEGMENT {
                self.apply_group(std::mem::take(&mut group))?;
            }
            group.chunks += chunks;
            group.marks.push((*id, packs));
        }
        self.apply_group(group)
    }

    fn apply_group(&self, group: Group<'_>) -> Result<(), IndexError> {
        if group.marks.is_empty() {
            return Ok(());
        }
        let top = &self.top;
        let mut shared = lock(&top.writer);
        // Failing half-way leaves the numbers used; only success changes the other counters.
        let mut writer = *shared;
        let mut given: HashMap<ObjectId, PackNo> = HashMap::new();
        let mut new: Vec<(PackNo, &SegmentPack)> = Vec::new();
        let mut batch = WriteBatch::default();
        for (id, packs) in &group.marks {
            let mut numbers = Vec::with_capacity(packs.len());
            for pack in *packs {
                let known = match given.get(&pack.id) {
                    Some(number) => Some(Name::Number(*number)),
                    None => self.alive_name(&pack.id)?,
                };
                match known {
                    Some(Name::Removed) => {}
                    Some(Name::Number(number)) => numbers.push(number),
                    None => {
                        top.reserve(&mut writer, 1)?;
                        let number = PackNo(writer.next);
                        writer.next += 1;
                        (shared.next, shared.reserved) = (writer.next, writer.reserved);
                        given.insert(pack.id, number);
                        new.push((number, pack));
                        numbers.push(number);
                    }
                }
            }
            batch.put_cf(top.family(APPLIED)?, id.as_bytes(), Mark::Applied(numbers).encode());
        }
        if !new.is_empty() {
            writer.ingestion += 1;
            shared.ingestion = writer.ingestion;
            top.ingest(&new, writer.ingestion)?;
        }
        for (number, pack) in &new {
            let record =
                PackRecord { id: pack.id, kind: pack.kind, header: pack.header, stored_len: pack.stored_len };
            top.record_pack(&mut batch, *number, &record)?;
            writer.digest ^= digest(*number, &pack.id);
        }
        top.commit(batch, top.numbers.alive_count() + new.len() as u64, &writer)?;
        *shared = writer;
        top.numbers.make_alive(new.iter().map(|(number, _)| *number));
        if new.is_empty() { Ok(()) } else { top.merge_tables(writer.ingestion) }
    }

    /// Returns the number of a pack that is alive, or that it was removed for good.
    fn alive_name(&self, id: &ObjectId) -> Result<Option<Name>, IndexError> {
        Ok(match self.pack_number(id)? {
            Some(number) => Some(Name::Number(number)),
            None if self.is_removed(id)? => Some(Name::Removed),
            None => None,
        })
    }

    /// Tells whether a segment was applied, or was removed by a generation.
    pub(crate) fn knows_segment(&self, segment: &ObjectId) -> Result<bool, IndexError> {
        Ok(self.mark(segment)?.is_some())
    }

    pub(super) fn mark(&self, segment: &ObjectId) -> Result<Option<Mark>, IndexError> {
        for (at, store) in self.stores().enumerate() {
            if let Some(mark) = store.mark(segment)? {
                // A secondary cannot change the owner's marks; it remembers which ones it passes over.
                let passed_over = at > 0 && lock(&self.passed_over).contains(segment);
                return Ok((!passed_over).then_some(mark));
            }
        }
        Ok(None)
    }
}

/// Segments that are applied by one ingestion.
#[derive(Default)]
struct Group<'a> {
    marks: Vec<(ObjectId, &'a [SegmentPack])>,
    chunks: usize,
}
