//! Neighbours of recent hits: chunks that are read together were stored together (Zhu, Li, Patterson:
//! "Avoiding the disk bottleneck", FAST 2008).
//!
//! When two of the last lookups hit one pack, all its chunks come into a bounded table, and the next
//! lookups need no database. One hit alone proves nothing: scattered lookups would read a directory each.

use super::aging::Aging;
use super::chunks::Location;
use super::numbers::PackNo;
use super::wide::WidePacks;
use crate::id::ChunkId;
use crate::pack::Directory;
use std::collections::VecDeque;

/// Hits that are remembered.
const RECENT: usize = 16;

pub(super) struct Neighbours {
    chunks: Aging<ChunkId, Location>,
    /// Packs whose chunks are there, or are or were among the wide ones; ages together with the chunks.
    packs: Aging<PackNo, ()>,
    wide: WidePacks,
    recent: VecDeque<PackNo>,
    room: usize,
}

impl Neighbours {
    /// Makes an empty one: at most twice `room` chunks in the table, and so many bytes of wide packs.
    pub(super) fn new(room: usize, wide_bytes: usize) -> Self {
        let (chunks, packs) = (Aging::new(room), Aging::new(room));
        Self { chunks, packs, wide: WidePacks::new(wide_bytes), recent: VecDeque::new(), room }
    }

    /// Returns where a chunk lies, if a neighbour brought it. The pack may have ended since.
    pub(super) fn find(&mut self, id: &ChunkId) -> Option<Location> {
        self.wide.find(id).or_else(|| self.chunks.peek(id).copied())
    }

    /// Notes that the database found chunks in these packs; returns those worth bringing.
    pub(super) fn note(&mut self, hits: impl Iterator<Item = PackNo>) -> Vec<PackNo> {
        let mut worth = Vec::new();
        for pack in hits {
            let is_worth = match self.packs.peek(&pack) {
                Some(()) => self.wide.note(pack),
                None => self.recent.contains(&pack),
            };
            if is_worth && !worth.contains(&pack) {
                worth.push(pack);
            }
            self.recent.push_back(pack);
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
        worth
    }

    /// Brings the chunks of a pack.
    pub(super) fn bring(&mut self, pack: PackNo, directory: &Directory) {
        let weight = directory.chunks().len();
        if weight > self.room {
            self.wide.bring(pack, directory);
            // It takes no room in the table.
            self.packs.extend(1, [(pack, ())]);
        } else {
            self.chunks.extend(weight, directory.places().map(|(id, place)| (id, Location { pack, place })));
            self.packs.extend(weight, [(pack, ())]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Codec;
    use crate::pack::Chunk;

    fn wide_directory(chunks: u8) -> Directory {
        let chunk = |seed| Chunk { id: ChunkId::from_bytes([seed; 32]), len: 1 };
        let mut directory = Directory::default();
        directory.push(Codec::Raw, 100, &(0..chunks).map(chunk).collect::<Vec<_>>());
        directory
    }

    #[test]
    fn a_pack_is_worth_bringing_at_its_second_hit_and_only_once() {
        let mut neighbours = Neighbours::new(100, 0);
        let [a, b] = [PackNo(1), PackNo(2)];
        assert_eq!(neighbours.note([a, b].into_iter()), []);
        assert_eq!(neighbours.note([a, a].into_iter()), [a]);
        neighbours.bring(a, &Directory::default());
        assert_eq!(neighbours.note([a, b].into_iter()), [b]);
        let scattered = (10..).map(PackNo).take(100);
        assert_eq!(neighbours.note(scattered.chain([b])), [], "forgotten meanwhile");
    }

    #[test]
    fn so_many_of_the_last_hits_count_and_no_more() {
        for (others, is_worth) in [(RECENT - 1, true), (RECENT, false)] {
            let mut neighbours = Neighbours::new(100, 0);
            let scattered = (10..).map(PackNo).take(others);
            let hits = [PackNo(1)].into_iter().chain(scattered).chain([PackNo(1)]);
            assert_eq!(
                neighbours.note(hits),
                if is_worth { vec![PackNo(1)] } else { vec![] },
                "{others} others"
            );
        }
    }

    #[test]
    fn a_pack_of_as_many_chunks_as_the_table_holds_is_in_the_table() {
        // Without room for wide ones.
        let mut neighbours = Neighbours::new(100, 0);
        let first = |neighbours: &mut Neighbours| neighbours.find(&ChunkId::from_bytes([0; 32]));
        neighbours.bring(PackNo(1), &wide_directory(101));
        assert_eq!(first(&mut neighbours), None);
        neighbours.bring(PackNo(2), &wide_directory(100));
        assert_eq!(first(&mut neighbours).map(|copy| copy.pack), Some(PackNo(2)));
    }

    #[test]
    fn a_pack_of_more_chunks_than_the_table_holds_is_found_all_the_same() {
        let mut neighbours = Neighbours::new(100, 1 << 20);
        let a = PackNo(1);
        assert_eq!(neighbours.note([a, a].into_iter()), [a]);
        neighbours.bring(a, &wide_directory(200));
        for seed in 0..=u8::MAX {
            let found = neighbours.find(&ChunkId::from_bytes([seed; 32]));
            assert_eq!(
                found.map(|copy| (copy.pack, copy.place.offset)),
                (seed < 200).then_some((a, seed.into()))
            );
        }
    }

    #[test]
    fn a_pack_without_any_room_is_not_brought_at_every_hit() {
        let mut neighbours = Neighbours::new(100, 0);
        let a = PackNo(1);
        neighbours.bring(a, &wide_directory(200));
        assert_eq!(neighbours.note([a; 100_000].into_iter()), []);
    }
}
