//! Neighbours of recent hits: chunks that are read together were stored together (Zhu, Li, Patterson:
//! "Avoiding the disk bottleneck", FAST 2008).
//!
//! When two of the last lookups hit one pack, all its chunks come into a bounded table, and the next
//! lookups need no database. One hit alone proves nothing: scattered lookups would read a directory each.

use super::aging::Aging;
use super::chunks::Location;
use super::numbers::PackNo;
use crate::id::ChunkId;
use crate::pack::Directory;
use std::collections::VecDeque;

/// Hits that are remembered.
const RECENT: usize = 16;

pub(super) struct Neighbours {
    chunks: Aging<ChunkId, Location>,
    /// Packs whose chunks are there; ages together with them.
    packs: Aging<PackNo, ()>,
    recent: VecDeque<PackNo>,
    room: usize,
}

impl Neighbours {
    pub(super) fn new(room: usize) -> Self {
        Self { chunks: Aging::new(room), packs: Aging::new(room), recent: VecDeque::new(), room }
    }

    /// Returns where a chunk lies, if a neighbour brought it. The pack may have ended since.
    pub(super) fn find(&self, id: &ChunkId) -> Option<Location> {
        self.chunks.peek(id).copied()
    }

    /// Notes that the database found chunks in these packs; returns those worth bringing.
    pub(super) fn note(&mut self, hits: impl Iterator<Item = PackNo>) -> Vec<PackNo> {
        let mut worth = Vec::new();
        for pack in hits {
            if self.recent.contains(&pack) && self.packs.peek(&pack).is_none() && !worth.contains(&pack) {
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
        self.chunks.extend(weight, directory.places().map(|(id, place)| (id, Location { pack, place })));
        // A pack with more chunks than there is room for is not kept, and must not be tried again at every hit.
        let kept = if weight > self.room { 1 } else { weight };
        self.packs.extend(kept, [(pack, ())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_worth_bringing_at_its_second_hit_and_only_once() {
        let mut neighbours = Neighbours::new(100);
        let [a, b] = [PackNo(1), PackNo(2)];
        assert_eq!(neighbours.note([a, b].into_iter()), []);
        assert_eq!(neighbours.note([a, a].into_iter()), [a]);
        neighbours.bring(a, &Directory::default());
        assert_eq!(neighbours.note([a, b].into_iter()), [b]);
        let mut large = Neighbours::new(0);
        large.bring(a, &Directory::default());
        assert_eq!(large.note([a, a, a].into_iter()), [], "too large to keep, so not brought again");
        let scattered = (10..).map(PackNo).take(100);
        assert_eq!(neighbours.note(scattered.chain([b])), [], "forgotten meanwhile");
    }
}
