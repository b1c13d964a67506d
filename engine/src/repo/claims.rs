//! Chunks that this run stores and that no durable segment names yet.
//!
//! A chunk is claimed once, by whoever meets it first. Claims end when the segment of their pack is
//! durable and in the index; so they are bounded by what lies between two segments. Those of a dry run
//! never end: what does not fit in memory is in a scratch database.

use crate::id::ChunkId;
use crate::index::{Index, IndexError, ScratchTable};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;

/// Ids are keyed hashes already: eight of their bytes are hash enough.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(word) = bytes.last_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*word);
        }
    }
}

type Shard = HashSet<ChunkId, BuildHasherDefault<IdHasher>>;

/// The claims of one run.
pub(super) struct Claims<'i> {
    shards: Vec<Mutex<Shard>>,
    /// Most claims of one shard in memory.
    room: usize,
    /// The claims of full shards. One that is there stays there.
    far: ScratchTable<'i>,
}

impl<'i> Claims<'i> {
    pub fn new(index: &'i Index) -> Self {
        Self::with_room(index, index.claims_room())
    }

    /// Makes a set that keeps at most about `room` claims in memory.
    fn with_room(index: &'i Index, room: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, room: room / SHARDS, far: index.scratch_table() }
    }

    fn shard(&self, id: &ChunkId) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(id.as_bytes()[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether somebody has claimed the chunk.
    pub fn holds(&self, id: &ChunkId) -> Result<bool, IndexError> {
        Ok(self.shard(id).contains(id) || self.far.holds(id.as_bytes())?)
    }

    /// Claims the chunk; `false` if somebody has already.
    pub fn claim(&self, id: ChunkId) -> Result<bool, IndexError> {
        // Held until the claim is noted, wherever that is.
        let mut shard = self.shard(&id);
        if shard.contains(&id) || self.far.holds(id.as_bytes())? {
            return Ok(false);
        }
        if shard.len() < self.room {
            shard.insert(id);
        } else {
            self.far.put(id.as_bytes(), &[])?;
        }
        Ok(true)
    }

    /// Ends a claim; `false` if there was none.
    pub fn release(&self, id: &ChunkId) -> Result<bool, IndexError> {
        let mut shard = self.shard(id);
        let held = shard.remove(id) || self.far.holds(id.as_bytes())?;
        self.far.remove(id.as_bytes())?;
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepoId;
    use crate::index::Settings;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::thread;

    fn id(number: u32) -> ChunkId {
        ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn index(dir: &std::path::Path) -> Index {
        let repository = RepoId::from_bytes([7; 16]);
        Index::open(dir, &Settings { repository, memory_bytes: 8 << 20, file_cache_bytes: 0 }).unwrap()
    }

    /// A dry run used to forget every claim beyond a million, and counted what came again a second time.
    #[test]
    fn every_chunk_is_claimed_once_by_whichever_thread_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(dir.path());
        for room in [0, 640, 1 << 20] {
            let claims = &Claims::with_room(&index, room);
            let claimed = &AtomicUsize::new(0);
            thread::scope(|scope| {
                for start in 0..4 {
                    scope.spawn(move || {
                        for number in 0..3000u32 {
                            let claim = claims.claim(id((number + start * 700) % 3000)).unwrap();
                            claimed.fetch_add(usize::from(claim), Relaxed);
                        }
                    });
                }
            });
            assert_eq!(claimed.load(Relaxed), 3000, "with room for {room}");
            let near: usize = claims.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
            assert!(near <= room, "{near} of {room}");
            for number in 0..3000 {
                assert!(claims.holds(&id(number)).unwrap());
                if number % 2 == 0 {
                    assert!(claims.release(&id(number)).unwrap());
                    assert!(!claims.release(&id(number)).unwrap());
                }
            }
            for number in 0..4000 {
                let held = number < 3000 && number % 2 == 1;
                assert_eq!(claims.holds(&id(number)).unwrap(), held, "{number}");
            }
            assert!(claims.claim(id(0)).unwrap(), "what ended can be claimed again");
        }
    }
}
