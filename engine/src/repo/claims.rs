//! Chunks that this run stores and that no durable segment names yet.
//!
//! A chunk is claimed once, by whoever meets it first. Claims end when the segment of their pack is
//! durable and in the index; so they are bounded by what lies between two segments.

use crate::id::ChunkId;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

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

type Shard = Mutex<HashSet<ChunkId, BuildHasherDefault<IdHasher>>>;

/// The claims of one run.
pub(super) struct Claims {
    shards: Vec<Shard>,
}

impl Claims {
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    fn shard(&self, id: &ChunkId) -> &Shard {
        &self.shards[usize::from(id.as_bytes()[0]) % SHARDS]
    }

    /// Returns whether somebody has claimed the chunk.
    pub fn holds(&self, id: &ChunkId) -> bool {
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Claims the chunk; `false` if somebody has already.
    pub fn claim(&self, id: ChunkId) -> bool {
        self.shard(&id).lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    /// Ends a claim; `false` if there was none.
    pub fn release(&self, id: &ChunkId) -> bool {
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    /// Returns how many claims there are.
    pub fn len(&self) -> usize {
        let len = |shard: &Shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(len).sum()
    }

    /// Ends every claim.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}
