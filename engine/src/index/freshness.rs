//! Does the index still describe this repository? Segments compared with the listing, generations
//! applied one after another.
//!
//! - A segment that was applied must still be listed, or be named removed by a generation. If it is
//!   neither, the repository went back to an older state under a newer index: its packs end.
//! - A generation ends the packs it names, for good. Packs of a segment that it removes live on: they
//!   are in the storage until a generation names *them*, and another segment will name them.
//! - Generations form a chain of hashes. Where the index and the storage disagree about it, nothing in
//!   the index can be believed: [`IndexError::OtherHistory`].

use super::error::IndexError;
use super::numbers::PackNo;
use super::options::{APPLIED, META, NAMES};
use super::segments::Mark;
use super::store::Store;
use super::{Index, lock};
use crate::id::ObjectId;
use crate::planted::{Bug, planted};
use crate::wire::Put;
use rocksdb::{IteratorMode, WriteBatch, WriteOptions};
use std::collections::BTreeSet;

/// Name of a generation: its number, and BLAKE3 of its stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationMark {
    /// Number, from 1.
    pub number: u64,
    /// Hash of the stored object.
    pub id: ObjectId,
}

/// One generation, as `FORMAT.md` 14 defines it.
#[derive(Clone, Copy, Debug)]
pub struct Generation<'a> {
    /// Its name.
    pub mark: GenerationMark,
    /// Hash of the stored bytes of the one before; zeros for the first.
    pub previous: ObjectId,
    /// Packs that it removes.
    pub packs: &'a [ObjectId],
    /// Segments that it removes.
    pub segments: &'a [ObjectId],
}

/// What a comparison with the listing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Listed segments that are to be applied, rising.
    pub to_apply: Vec<ObjectId>,
    /// Segments that were applied and vanished without a generation: the repository was rolled back.
    /// Their packs vouch for nothing any more, but those that another segment names.
    pub dropped: Vec<ObjectId>,
    /// Number of packs that ended thereby.
    pub dropped_packs: u64,
}

const GENERATION: &[u8] = b"generation";
/// There while packs may be stored that were known and are not any more: those of segments that vanished.
const INCOMPLETE: &[u8] = b"incomplete";
/// The key epoch for which every segment that was applied is known to count.
const EPOCH: &[u8] = b"epoch";

impl Store {
    fn generation(&self) -> Result<Option<GenerationMark>, IndexError> {
        self.record(META, GENERATION, |reader| {
            Ok(GenerationMark { number: reader.u64()?, id: ObjectId::from_bytes(reader.array()?) })
        })
    }

    /// Calls `each` with every segment's mark, rising by id.
    fn for_each_mark(
        &self,
        mut each: impl FnMut(ObjectId, Mark) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        for entry in self.db.iterator_cf(self.family(APPLIED)?, IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| self.failed(&error))?;
            let (Ok(id), Some(mark)) = (<[u8; 32]>::try_from(&key[..]), Mark::decode(&value)) else {
                return Err(self.damaged("a segment's mark has a wrong length"));
            };
            each(ObjectId::from_bytes(id), mark)?;
        }
        Ok(())
    }
}

impl Index {
    /// Returns the newest generation that was applied.
    pub fn generation(&self) -> Result<Option<GenerationMark>, IndexError> {
        for store in self.stores() {
            if let Some(mark) = store.generation()? {
                return Ok(Some(mark));
            }
        }
        Ok(None)
    }

    /// Ends the packs and segments that a generation removes. Generations come one after another, from
    /// the first; one that was applied already changes nothing.
    pub fn apply_generation(&self, generation: &Generation<'_>) -> Result<(), IndexError> {
        let _writing = lock(&self.writing);
        let applied = self.generation()?;
        let (number, last) = match applied {
            Some(mark) => (mark.number, mark.id),
            None => (0, ObjectId::from_bytes([0; 32])),
        };
        let given = generation.mark;
        if given.number < number || Some(given) == applied {
            return Ok(());
        }
        if given.number > number.saturating_add(1) {
            return Err(IndexError::GenerationGap { applied: number, given: given.number });
        }
        if given.number == number || generation.previous != last {
            let stored = format!("another history at generation {}", given.number);
            return Err(IndexError::OtherHistory { index: number, stored });
        }

        let top = &self.top;
        let mut batch = WriteBatch::default();
        let mut ended = BTreeSet::new();
        for pack in generation.packs {
            ended.extend(self.pack_number(pack)?);
            batch.put_cf(top.family(NAMES)?, pack.as_bytes(), []);
        }
        for segment in generation.segments {
            batch.put_cf(top.family(APPLIED)?, segment.as_bytes(), Mark::Removed.encode());
        }
        let mut value = Vec::new();
        value.put_u64(given.number);
        value.put(given.id.as_bytes());
        batch.put_cf(top.family(META)?, GENERATION, value);
        self.commit_ended(batch, &ended, true)
    }

    /// Compares what was applied with the segments that the storage lists, rising strictly, and the
    /// newest generation it has, which must have been applied before.
    ///
    /// Nothing is changed but the packs of segments that vanished.
    pub fn reconcile(
        &self,
        listed: impl IntoIterator<Item = ObjectId>,
        newest: Option<GenerationMark>,
    ) -> Result<Reconciled, IndexError> {
        let _writing = lock(&self.writing);
        self.compare_generations(newest)?;

        let mut found = Reconciled::default();
        let mut vanished = BTreeSet::new();
        let mut listed_ids = Vec::new();
        for id in listed {
            if listed_ids.last().is_some_and(|last| *last >= id) {
                return Err(IndexError::Unsorted { at: id.to_hex() });
            }
            if self.mark(&id)?.is_none() {
                found.to_apply.push(id);
            }
            listed_ids.push(id);
        }
        for (at, store) in self.stores().enumerate() {
            store.for_each_mark(|id, mark| {
                let counts = mark != Mark::Removed && (at == 0 || self.mark(&id)? == Some(mark));
                if counts && listed_ids.binary_search(&id).is_err() {
                    vanished.insert(id);
                }
                Ok(())
            })?;
        }
        if !vanished.is_empty() && !planted(Bug::TrustStaleIndex) {
            found.dropped_packs = self.drop_segments(&vanished)?;
            found.dropped = vanished.into_iter().collect();
        }
        Ok(found)
    }

    /// Returns whether packs that no listed segment names have to be looked for in the storage: segments vanished, and
    /// nobody has looked to the end since.
    pub(crate) fn is_incomplete(&self) -> Result<bool, IndexError> {
        for store in self.stores() {
            if store.get(META, INCOMPLETE)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes whether such packs have to be looked for. Of what the owner noted a secondary takes nothing back.
    pub(crate) fn note_incomplete(&self, incomplete: bool) -> Result<(), IndexError> {
        let _writing = lock(&self.writing);
        let top = &self.top;
        let (meta, mut how) = (top.family(META)?, WriteOptions::default());
        how.set_sync(true);
        let written = match incomplete {
            true => top.db.put_cf_opt(meta, INCOMPLETE, [], &how),
            false => top.db.delete_cf_opt(meta, INCOMPLETE, &how),
        };
        written.map_err(|error| top.failed(&error))
    }

    /// Returns the key epoch for which every segment that was applied is known to count.
    pub(crate) fn epoch(&self) -> Result<u32, IndexError> {
        let mut newest = 1;
        for store in self.stores() {
            newest = newest.max(store.record(META, EPOCH, |reader| reader.u32())?.unwrap_or(1));
        }
        Ok(newest)
    }

    /// Notes that all segments which were applied, and are of an earlier epoch, count in this one.
    pub(crate) fn note_epoch(&self, epoch: u32) -> Result<(), IndexError> {
        let _writing = lock(&self.writing);
        let (top, mut how) = (&self.top, WriteOptions::default());
        how.set_sync(true);
        let written = top.db.put_cf_opt(top.family(META)?, EPOCH, epoch.to_le_bytes(), &how);
        written.map_err(|error| top.failed(&error))
    }

    fn compare_generations(&self, newest: Option<GenerationMark>) -> Result<(), IndexError> {
        let applied = self.generation()?;
        if applied == newest {
            return Ok(());
        }
        let index = applied.map_or(0, |mark| mark.number);
        match newest {
            Some(newest) if newest.number > index => {
                Err(IndexError::GenerationGap { applied: index, given: newest.number })
            }
            Some(newest) if newest.number == index => {
                Err(IndexError::OtherHistory { index, stored: "another one of this number".to_owned() })
            }
            Some(newest) => Err(IndexError::OtherHistory { index, stored: newest.number.to_string() }),
            None => Err(IndexError::OtherHistory { index, stored: "none".to_owned() }),
        }
    }

    /// Forgets segments, and ends those of their packs that no other segment names.
    fn drop_segments(&self, vanished: &BTreeSet<ObjectId>) -> Result<u64, IndexError> {
        let (mut ended, mut kept) = (BTreeSet::new(), BTreeSet::new());
        let mut batch = WriteBatch::default();
        let top = &self.top;
        for (at, store) in self.stores().enumerate() {
            store.for_each_mark(|id, mark| {
                let Mark::Applied(numbers) = mark else { return Ok(()) };
                if !vanished.contains(&id) {
                    if self.mark(&id)?.is_some_and(|mark| mark != Mark::Removed) {
                        kept.extend(numbers);
                    }
                    return Ok(());
                }
                ended.extend(numbers.into_iter().filter(|number| self.is_alive(*number)));
                if at == 0 {
                    batch.delete_cf(top.family(APPLIED)?, id.as_bytes());
                } else {
                    lock(&self.passed_over).insert(id);
                }
                Ok(())
            })?;
        }
        // In the same batch: whoever dies before those packs were looked for leaves word that somebody must.
        batch.put_cf(top.family(META)?, INCOMPLETE, []);
        let ended: BTreeSet<PackNo> = ended.difference(&kept).copied().collect();
        self.commit_ended(batch, &ended, false)?;
        Ok(ended.len() as u64)
    }

    /// Ends packs, on disk and in memory, together with what else the batch holds.
    fn commit_ended(
        &self,
        mut batch: WriteBatch,
        ended: &BTreeSet<PackNo>,
        for_good: bool,
    ) -> Result<(), IndexError> {
        let top = &self.top;
        let mut shared = lock(&top.writer);
        let totals = self.end_packs(&mut batch, ended, for_good)?;
        let mut writer = *shared;
        writer.digest ^= totals.digest;
        writer.ended += totals.count;
        top.commit(batch, top.numbers.alive_count().saturating_sub(totals.count), &writer)?;
        *shared = writer;
        for store in self.stores() {
            store.numbers.make_dead(ended.iter().copied());
        }
        Ok(())
    }
}
