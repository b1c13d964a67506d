//! The set of needed chunks, and which pack has the copy that counts: so many in memory, the rest in a scratch database.
//!
//! Every chunk is asked for several times (walked, counted, copied), and most repositories fit: in a database alone this was
//! a tenth of a prune.

use crate::id::ChunkId;
use crate::index::ScratchTable;
use crate::repo::{RepoError, Repository};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Chunks that are needed, and which pack has the copy that counts. One that is in memory is not on disk.
pub(super) struct Live<'i> {
    /// By names that others may have chosen, so hashed with a key of this process. At most `room`; nothing ever leaves it.
    near: RefCell<HashMap<ChunkId, Copy>>,
    room: usize,
    far: ScratchTable<'i>,
    count: Cell<u64>,
    claimed: Cell<u64>,
}

/// Place of the pack that has the copy that counts, or [`NOWHERE`].
type Copy = u32;

/// No pack was found yet.
const NOWHERE: Copy = u32::MAX;

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nobody needs it.
    Dead,
    /// It is needed, and no pack was found yet.
    Unclaimed,
    /// It is needed, and this pack has the copy that counts.
    Claimed(u32),
}

impl<'i> Live<'i> {
    pub fn new(repo: &'i Repository) -> Result<Self, RepoError> {
        let index = repo.index()?;
        Ok(Self::with_room(index.scratch_table(), index.needed_room()))
    }

    /// Makes an empty set that keeps at most `room` chunks in memory.
    fn with_room(far: ScratchTable<'i>, room: usize) -> Self {
        let (near, count, claimed) = Default::default();
        Self { near, room, far, count, claimed }
    }

    /// Notes that a chunk is needed.
    pub fn mark(&self, id: &ChunkId) -> Result<(), RepoError> {
        let mut near = self.near.borrow_mut();
        if near.contains_key(id) {
            return Ok(());
        }
        // As long as there is room nothing is on disk.
        if near.len() < self.room {
            near.insert(*id, NOWHERE);
        } else if self.far.holds(id.as_bytes())? {
            return Ok(());
        } else {
            self.far.put(id.as_bytes(), &NOWHERE.to_le_bytes())?;
        }
        self.count.set(self.count.get() + 1);
        Ok(())
    }

    /// Returns what is known of a chunk.
    pub fn need(&self, id: &ChunkId) -> Result<Need, RepoError> {
        let near = self.near.borrow().get(id).copied();
        let copy = match near {
            Some(copy) => Some(copy),
            None => match self.far.get(id.as_bytes())? {
                Some(value) => {
                    let copy = value.as_slice().try_into().map(Copy::from_le_bytes);
                    Some(copy.map_err(|_| RepoError::Internal("a needed chunk without a place".into()))?)
                }
                None => None,
            },
        };
        Ok(match copy {
            None => Need::Dead,
            Some(NOWHERE) => Need::Unclaimed,
            Some(place) => Need::Claimed(place),
        })
    }

    /// Notes that this pack has the copy that counts, of a needed chunk that had none.
    pub fn claim(&self, id: &ChunkId, pack: u32) -> Result<(), RepoError> {
        self.claimed.set(self.claimed.get() + 1);
        if let Some(copy) = self.near.borrow_mut().get_mut(id) {
            *copy = pack;
            return Ok(());
        }
        Ok(self.far.put(id.as_bytes(), &pack.to_le_bytes())?)
    }

    /// Returns how many chunks are needed.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Returns how many of them are in no pack that was looked at.
    pub fn missing(&self) -> u64 {
        self.count.get().saturating_sub(self.claimed.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepoId;
    use crate::index::{Index, Settings};

    fn id(number: u32) -> ChunkId {
        ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    /// Whether there is room for none, some, or all of them.
    #[test]
    fn a_chunk_is_needed_from_its_first_mark_and_has_one_pack_wherever_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let repository = RepoId::from_bytes([7; 16]);
        let settings = Settings { repository, memory_bytes: 8 << 20, file_cache_bytes: 0 };
        let index = Index::open(dir.path(), &settings).unwrap();
        for room in [0, 1, 250, 1000] {
            let live = Live::with_room(index.scratch_table(), room);
            let mark = |numbers: &mut dyn Iterator<Item = u32>| {
                numbers.for_each(|number| live.mark(&id(number)).unwrap());
            };
            mark(&mut (0..600));
            mark(&mut (300..900).rev());
            assert_eq!((live.count(), live.missing()), (900, 900), "with room for {room}");
            assert_eq!(live.near.borrow().len(), room.min(900));
            for number in (0..900).step_by(3) {
                assert_eq!(live.need(&id(number)).unwrap(), Need::Unclaimed);
                live.claim(&id(number), number / 2).unwrap();
            }
            // What has its pack keeps it, however often it is met again.
            mark(&mut (0..900));
            assert_eq!((live.count(), live.missing()), (900, 600), "with room for {room}");
            for number in 0..1000 {
                let expected = match number {
                    900.. => Need::Dead,
                    _ if number % 3 == 0 => Need::Claimed(number / 2),
                    _ => Need::Unclaimed,
                };
                assert_eq!(live.need(&id(number)).unwrap(), expected, "{number} with room for {room}");
            }
        }
    }
}
