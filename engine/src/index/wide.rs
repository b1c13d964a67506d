//! Packs of very many chunks, which the table of neighbours has no room for: a few of them, compactly.
//!
//! One pack of 65,536 tiny files takes 3.3 MiB here instead of 6. Bringing one costs as much as about a
//! thousand lookups in the database (its directory is decoded whole), so a pack comes back only after it was
//! looked up that often without being here: however lookups are scattered over however many such packs, at most
//! half of the time goes into bringing.

use super::chunks::Location;
use super::numbers::PackNo;
use crate::id::ChunkId;
use crate::pack::{Directory, Place};
use std::collections::HashMap;

/// Chunks of a pack for which one lookup in the database is as dear as bringing them.
const CHUNKS_PER_LOOKUP: usize = 64;
/// Packs whose lookups are counted; more are counted anew.
const COUNTED: usize = 4096;
/// Slots that are tried for one id. Ids are keyed hashes, but whoever may store can choose them: a chunk
/// that finds no slot is left to the database.
const MOST_PROBES: usize = 32;

/// The chunks of one pack: an open hash table of row numbers.
struct Rows {
    pack: PackNo,
    rows: Vec<(ChunkId, Place)>,
    /// Row number plus one; 0 is free. A power of two of them, at least half free.
    slots: Vec<u32>,
}

impl Rows {
    fn new(pack: PackNo, directory: &Directory) -> Self {
        let mut rows = Vec::with_capacity(directory.chunks().len());
        rows.extend(directory.places());
        let mut slots = vec![0; slots_of(rows.len())];
        for (row, (id, _)) in rows.iter().enumerate() {
            if let Some(at) = probes(id, slots.len()).find(|at| slots[*at] == 0) {
                slots[at] = row as u32 + 1;
            }
        }
        Self { pack, rows, slots }
    }

    fn find(&self, id: &ChunkId) -> Option<Location> {
        for at in probes(id, self.slots.len()) {
            let row = self.slots[at].checked_sub(1)?;
            if let Some((_, place)) = self.rows.get(row as usize).filter(|(there, _)| there == id) {
                return Some(Location { pack: self.pack, place: *place });
            }
        }
        None
    }

    fn bytes(&self) -> usize {
        bytes_of(self.rows.len())
    }
}

fn slots_of(chunks: usize) -> usize {
    (chunks * 2).next_power_of_two()
}

fn bytes_of(chunks: usize) -> usize {
    chunks * size_of::<(ChunkId, Place)>() + slots_of(chunks) * size_of::<u32>()
}

fn probes(id: &ChunkId, slots: usize) -> impl Iterator<Item = usize> + use<> {
    let [a, b, c, d, ..] = *id.as_bytes();
    let first = u32::from_le_bytes([a, b, c, d]) as usize;
    (0..MOST_PROBES.min(slots)).map(move |step| (first + step) & (slots - 1))
}

/// How often a pack that is not here was looked up.
struct Count {
    chunks: usize,
    lookups: usize,
}

/// The packs that are here, and what is known of those that are not.
pub(super) struct WidePacks {
    /// The one that was hit last is the last.
    here: Vec<Rows>,
    counts: HashMap<PackNo, Count>,
    room_bytes: usize,
}

impl WidePacks {
    pub(super) fn new(room_bytes: usize) -> Self {
        Self { here: Vec::new(), counts: HashMap::new(), room_bytes }
    }

    /// Returns where a chunk lies, if one of the packs has it.
    pub(super) fn find(&mut self, id: &ChunkId) -> Option<Location> {
        let (at, found) =
            self.here.iter().enumerate().rev().find_map(|(at, rows)| Some((at, rows.find(id)?)))?;
        if at + 1 < self.here.len() {
            self.here[at..].rotate_left(1);
        }
        Some(found)
    }

    /// Counts a lookup that found a chunk of the pack in the database; returns whether the pack is worth
    /// bringing again.
    pub(super) fn note(&mut self, pack: PackNo) -> bool {
        let Some(count) = self.counts.get_mut(&pack) else { return false };
        count.lookups += 1;
        count.lookups > count.chunks / CHUNKS_PER_LOOKUP
    }

    /// Brings a pack, in place of those that were not hit for longest. One that is larger than all the room
    /// stays away for good.
    pub(super) fn bring(&mut self, pack: PackNo, directory: &Directory) {
        let chunks = directory.chunks().len();
        let Some(room) = self.room_bytes.checked_sub(bytes_of(chunks)) else { return };
        if self.counts.len() >= COUNTED {
            self.counts.clear();
        }
        self.counts.insert(pack, Count { chunks, lookups: 0 });
        self.here.retain(|rows| rows.pack != pack);
        let mut used: usize = self.here.iter().map(Rows::bytes).sum();
        let surplus = self.here.iter().take_while(|rows| {
            let is_surplus = used > room;
            used -= if is_surplus { rows.bytes() } else { 0 };
            is_surplus
        });
        let surplus = surplus.count();
        self.here.drain(..surplus);
        self.here.push(Rows::new(pack, directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Codec;
    use crate::pack::Chunk;
    use proptest::prelude::*;

    fn id(seed: u32) -> ChunkId {
        ChunkId::from_bytes(*blake3::hash(&seed.to_le_bytes()).as_bytes())
    }

    fn directory(seeds: std::ops::Range<u32>, per_block: usize) -> Directory {
        let chunks: Vec<_> = seeds.map(|seed| Chunk { id: id(seed), len: seed % 7 + 1 }).collect();
        let mut directory = Directory::default();
        for block in chunks.chunks(per_block) {
            directory.push(Codec::Raw, 100, block);
        }
        directory
    }

    proptest! {
        #[test]
        fn it_says_what_the_directories_say(
            packs in proptest::collection::vec((0u32..500, 1u32..200, 1usize..50), 1..8),
        ) {
            let mut wide = WidePacks::new(usize::MAX);
            for (number, (first, count, per_block)) in packs.iter().enumerate() {
                wide.bring(PackNo(number as u32), &directory(*first..first + count, *per_block));
            }
            for seed in 0..800 {
                let holds = |(first, count, _): &(u32, u32, usize)| (*first..first + count).contains(&seed);
                let found = wide.find(&id(seed));
                prop_assert_eq!(found.is_some(), packs.iter().any(holds));
                if let Some(Location { pack, place }) = found {
                    let (first, count, per_block) = packs[pack.0 as usize];
                    let there = directory(first..first + count, per_block);
                    prop_assert!(there.places().any(|(other, at)| other == id(seed) && at == place));
                }
            }
        }
    }

    #[test]
    fn a_pack_takes_as_much_memory_as_is_said() {
        for (chunks, slots) in [(1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (1000, 2048), (65_536, 131_072)] {
            assert_eq!(slots_of(chunks), slots, "a power of two, at least half of them free");
        }
        let row = size_of::<(ChunkId, Place)>();
        assert_eq!(bytes_of(1000), 1000 * row + 2048 * 4);
        assert!((3_200_000..3_500_000).contains(&bytes_of(65_536)));
        let rows = Rows::new(PackNo(1), &directory(0..1000, 100));
        assert_eq!((rows.bytes(), rows.rows.len(), rows.slots.len()), (bytes_of(1000), 1000, 2048));
        assert_eq!(rows.slots.iter().filter(|slot| **slot != 0).count(), 1000);
        // Room for just that many, and for one byte less.
        for (room, fits) in [(bytes_of(1000), true), (bytes_of(1000) - 1, false)] {
            let mut wide = WidePacks::new(room);
            wide.bring(PackNo(1), &directory(0..1000, 100));
            assert_eq!(wide.find(&id(7)).is_some(), fits);
        }
        let mut wide = WidePacks::new(bytes_of(1000) + bytes_of(10));
        wide.bring(PackNo(1), &directory(0..1000, 100));
        wide.bring(PackNo(2), &directory(1000..1010, 100));
        assert!(wide.find(&id(7)).is_some() && wide.find(&id(1007)).is_some(), "both fit");
        wide.bring(PackNo(3), &directory(2000..2001, 100));
        assert!(wide.find(&id(7)).is_none() && wide.find(&id(1007)).is_some(), "the one hit first went");
    }

    #[test]
    fn lookups_of_so_many_packs_are_counted() {
        let mut wide = WidePacks::new(bytes_of(64));
        for number in 0..COUNTED as u32 {
            wide.bring(PackNo(number), &directory(0..1, 1));
        }
        assert!(wide.note(PackNo(0)), "one lookup is as dear as bringing one chunk");
        wide.bring(PackNo(u32::MAX), &directory(0..1, 1));
        assert!(!wide.note(PackNo(0)), "counted anew");
        assert!(wide.note(PackNo(u32::MAX)) && wide.counts.len() == 1);
    }

    #[test]
    fn the_packs_hit_last_stay_and_memory_is_bounded() {
        let mut wide = WidePacks::new(3 * bytes_of(1000));
        let pack = |number: u32| directory(number * 1000..number * 1000 + 1000, 100);
        for number in 0..3 {
            wide.bring(PackNo(number), &pack(number));
        }
        assert!(wide.find(&id(0)).is_some(), "pack 0 is used again");
        wide.bring(PackNo(3), &pack(3));
        let mut here = |seed| wide.find(&id(seed)).is_some();
        assert!(here(0) && !here(1000) && here(2000) && here(3000));
        wide.bring(PackNo(3), &pack(3));
        wide.bring(PackNo(9), &directory(0..5000, 100));
        assert_eq!(wide.here.len(), 3, "brought twice it is there once; too large for all the room");
        assert_eq!(wide.find(&id(3000)).map(|copy| copy.pack), Some(PackNo(3)));
    }

    #[test]
    fn a_pack_that_went_comes_back_when_lookups_have_cost_as_much() {
        let mut wide = WidePacks::new(bytes_of(6400));
        assert!(!wide.note(PackNo(1)), "never brought");
        wide.bring(PackNo(1), &directory(0..6400, 6400));
        wide.bring(PackNo(2), &directory(6400..12_800, 6400));
        assert_eq!((0..1000).position(|_| wide.note(PackNo(1))), Some(100));
        wide.bring(PackNo(1), &directory(0..6400, 6400));
        assert!(!wide.note(PackNo(2)) && wide.find(&id(5)).is_some() && wide.find(&id(6405)).is_none());
    }

    #[test]
    fn chosen_ids_cost_a_bounded_number_of_probes() {
        let mut directory = Directory::default();
        let chosen = |seed: u16| {
            let mut bytes = [0; 32];
            bytes[30..].copy_from_slice(&seed.to_le_bytes());
            ChunkId::from_bytes(bytes)
        };
        let chunks: Vec<_> = (0..60_000).map(|seed| Chunk { id: chosen(seed), len: 1 }).collect();
        directory.push(Codec::Raw, 100, &chunks);
        let rows = Rows::new(PackNo(1), &directory);
        let found = (0..60_000).filter(|seed| rows.find(&chosen(*seed)).is_some()).count();
        assert_eq!(found, MOST_PROBES);
    }
}
