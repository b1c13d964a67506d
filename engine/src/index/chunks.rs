//! Family `chunks`: where the copies of a chunk lie.
//!
//! ```text
//! key    chunk id 32
//! value  copies, newest first: pack number u32, block u16, offset u32, length u32
//! ```
//!
//! Segments add copies by merge operands, so that nothing is read when they are applied, a filter
//! over whole keys answers for all copies at once, and applying a segment twice changes nothing.
//! Merging drops the copies in dead packs; a compaction of what was merged before drops chunks that
//! have no other ones.
//! The one-byte key [`SENTINEL`] is written with every ingestion: see `store.rs`.

use super::error::IndexError;
use super::numbers::{Look, PackNo};
use super::options::CHUNKS;
use super::store::Store;
use crate::id::ChunkId;
use crate::pack::Place;
use rocksdb::DBPinnableSlice;

/// Key of the number of the newest ingestion. Shorter than an id, and before all of them.
pub(super) const SENTINEL: [u8; 1] = [0];
/// Length of one copy.
const COPY_LEN: usize = 14;
/// Most copies kept of one chunk, the newest ones. Chance gives a few (clients that stored the same
/// at once); more are somebody's malice.
const MAX_COPIES: usize = 1024;

/// Where one copy of a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackNo,
    /// The place in it.
    pub place: Place,
}

pub(super) fn encode(location: Location) -> [u8; COPY_LEN] {
    let mut copy = [0; COPY_LEN];
    copy[..4].copy_from_slice(&location.pack.0.to_le_bytes());
    copy[4..6].copy_from_slice(&location.place.block.to_le_bytes());
    copy[6..10].copy_from_slice(&location.place.offset.to_le_bytes());
    copy[10..].copy_from_slice(&location.place.len.to_le_bytes());
    copy
}

fn decode([n0, n1, n2, n3, b0, b1, o0, o1, o2, o3, l0, l1, l2, l3]: [u8; COPY_LEN]) -> Location {
    Location {
        pack: PackNo(u32::from_le_bytes([n0, n1, n2, n3])),
        place: Place {
            block: u16::from_le_bytes([b0, b1]),
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        },
    }
}

/// Returns the copies of a value, or nothing if it is not made of copies.
fn copies(value: &[u8]) -> Option<impl Iterator<Item = Location> + '_> {
    let (copies, rest) = value.as_chunks::<COPY_LEN>();
    rest.is_empty().then(|| copies.iter().map(|copy| decode(*copy)))
}

/// Joins values: newest pack first, each pack once, none that is dead. `None` fails the merge, which
/// RocksDB reports as corruption.
pub(super) fn merge_entries<'a>(
    numbers: &Look<'_>,
    values: impl Iterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for value in values {
        all.extend(copies(value)?.filter(|copy| !numbers.is_dead(copy.pack)));
    }
    all.sort_by_key(|copy: &Location| std::cmp::Reverse(copy.pack));
    all.dedup_by_key(|copy| copy.pack);
    all.truncate(MAX_COPIES);
    Some(all.into_iter().flat_map(encode).collect())
}

/// Tells a compaction that an entry refers to dead packs only.
pub(super) fn only_dead(numbers: &Look<'_>, key: &[u8], value: &[u8]) -> bool {
    key.len() == ChunkId::LEN
        && copies(value).is_some_and(|mut copies| copies.all(|copy| numbers.is_dead(copy.pack)))
}

impl Store {
    /// Returns the newest alive copy of each chunk.
    pub(super) fn find(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, IndexError> {
        if let [id] = ids {
            let value = self.db.get_pinned_cf(self.family(CHUNKS)?, id.as_bytes());
            return Ok(vec![self.newest(value)?]);
        }
        let keys = ids.iter().map(ChunkId::as_bytes);
        let values = self.db.batched_multi_get_cf(self.family(CHUNKS)?, keys, false);
        values.into_iter().map(|value| self.newest(value)).collect()
    }

    fn newest(
        &self,
        value: Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>,
    ) -> Result<Option<Location>, IndexError> {
        let Some(value) = value.map_err(|error| self.failed(&error))? else { return Ok(None) };
        let mut copies = copies(&value).ok_or_else(|| self.damaged("a chunk's entry has a wrong length"))?;
        let numbers = self.numbers.look();
        Ok(copies.find(|copy| numbers.is_alive(copy.pack)))
    }

    /// Returns every alive copy of a chunk, the newest first.
    pub(super) fn find_copies(&self, id: ChunkId) -> Result<Vec<Location>, IndexError> {
        let value = self.get(CHUNKS, id.as_bytes())?.unwrap_or_default();
        let copies = copies(&value).ok_or_else(|| self.damaged("a chunk's entry has a wrong length"))?;
        let numbers = self.numbers.look();
        Ok(copies.filter(|copy| numbers.is_alive(copy.pack)).collect())
    }
}

/// Joins copies as a merge of the database does, where the packs in `dead` have ended; for the fuzz target.
#[cfg(feature = "testing")]
pub(crate) fn joined(values: &[Vec<(u32, Place)>], dead: &[u32]) -> Option<Vec<(u32, Place)>> {
    let numbers = super::numbers::Numbers::new(0);
    let packs = values.iter().flatten().map(|(pack, _)| PackNo(*pack));
    numbers.make_alive(packs);
    numbers.make_dead(dead.iter().map(|pack| PackNo(*pack)));
    let encoded: Vec<Vec<u8>> = values
        .iter()
        .map(|copies| {
            copies.iter().flat_map(|(pack, place)| encode(Location { pack: PackNo(*pack), place: *place }))
        })
        .map(Iterator::collect)
        .collect();
    let joined = merge_entries(&numbers.look(), encoded.iter().map(|value| &value[..]))?;
    Some(copies(&joined)?.map(|copy| (copy.pack.0, copy.place)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Numbers;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn copy(pack: u32, block: u16, offset: u32, len: u32) -> Location {
        Location { pack: PackNo(pack), place: Place { block, offset, len } }
    }

    proptest! {
        #[test]
        fn merging_is_a_union_in_any_grouping(
            packs in proptest::collection::vec(0u32..40, 0..30),
            dead in proptest::collection::vec(0u32..40, 0..10),
            split in any::<prop::sample::Index>(),
        ) {
            let numbers = Numbers::new(0);
            numbers.make_dead(dead.iter().map(|number| PackNo(*number)));
            let all: Vec<_> = packs.iter().map(|pack| copy(*pack, *pack as u16 + 1, *pack, 7)).collect();
            let values: Vec<_> = all.iter().map(|copy| encode(*copy)).collect();
            let model: BTreeMap<_, _> =
                all.iter().filter(|copy| !dead.contains(&copy.pack.0)).map(|copy| (copy.pack, *copy)).collect();

            let (left, right) = values.split_at(split.index(values.len() + 1));
            let merge = |values: &[[u8; COPY_LEN]]| {
                merge_entries(&numbers.look(), values.iter().map(|value| &value[..])).unwrap()
            };
            let (left, right) = (merge(left), merge(right));
            let both = merge_entries(&numbers.look(), [&right[..], &left[..]].into_iter()).unwrap();
            prop_assert_eq!(&both, &merge(&values));
            let found: Vec<_> = copies(&both).unwrap().collect();
            prop_assert_eq!(found, model.values().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(only_dead(&numbers.look(), &[0; 32], &both), model.is_empty());
        }
    }

    #[test]
    fn values_of_a_wrong_length_are_never_taken_for_copies() {
        let numbers = Numbers::new(0);
        assert_eq!(merge_entries(&numbers.look(), [&[0u8; 13][..]].into_iter()), None);
        assert!(!only_dead(&numbers.look(), &[0; 32], &[0; 15]));
        assert!(!only_dead(&numbers.look(), &SENTINEL, &[]), "the sentinel stays");
    }

    #[test]
    fn copies_are_bounded() {
        let numbers = Numbers::new(0);
        let values: Vec<_> = (0..2000).map(|pack| encode(copy(pack, 0, 0, 1))).collect();
        let merged = merge_entries(&numbers.look(), values.iter().map(|value| &value[..])).unwrap();
        assert_eq!(copies(&merged).unwrap().count(), MAX_COPIES);
        assert_eq!(copies(&merged).unwrap().next(), Some(copy(1999, 0, 0, 1)));
    }
}
