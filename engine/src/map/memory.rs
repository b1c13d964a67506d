//! Chunks kept in memory, named like real ones: for tests, benches and fuzz targets.

use super::store::{LoadChunk, SaveChunk};
use crate::error::Corrupt;
use crate::id::ChunkId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Key of the names; any fixed one does.
const NAME_KEY: [u8; 32] = *b"names of chunks kept in memory..";

/// A store of chunks that counts what is asked of it.
#[derive(Debug, Default)]
pub struct MemoryChunks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    chunks: HashMap<ChunkId, Vec<u8>>,
    loads: u64,
    announced: Vec<ChunkId>,
    saves_left: Option<u64>,
}

/// Why a chunk in memory could not be read or saved.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// There is no such chunk.
    #[error("chunk {0} is not there")]
    Missing(ChunkId),
    /// The chunk is longer than the reader allows.
    #[error("chunk {id} has {len} bytes, at most {max} are allowed")]
    Long {
        /// Its name.
        id: ChunkId,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: u32,
    },
    /// The test asked for saving to fail.
    #[error("saving fails from here on")]
    Full,
    /// Its content is not what it must be.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl MemoryChunks {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of distinct chunks.
    pub fn len(&self) -> usize {
        self.state().chunks.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the names of all chunks with their lengths in bytes, in no order.
    pub fn sizes(&self) -> Vec<(ChunkId, usize)> {
        self.state().chunks.iter().map(|(id, bytes)| (*id, bytes.len())).collect()
    }

    /// Returns how many chunks were loaded since the last call, and forgets it.
    pub fn take_loads(&self) -> u64 {
        std::mem::take(&mut self.state().loads)
    }

    /// Returns which chunks were announced since the last call, in order, and forgets it.
    pub fn take_announced(&self) -> Vec<ChunkId> {
        std::mem::take(&mut self.state().announced)
    }

    /// Lets `saves` more saves succeed, and none after those.
    pub fn fail_after(&self, saves: u64) {
        self.state().saves_left = Some(saves);
    }

    /// Removes a chunk.
    pub fn remove(&self, id: &ChunkId) {
        self.state().chunks.remove(id);
    }
}

impl LoadChunk for MemoryChunks {
    type Error = MemoryError;

    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, MemoryError> {
        let mut state = self.state();
        state.loads += 1;
        let bytes = state.chunks.get(id).ok_or(MemoryError::Missing(*id))?;
        if bytes.len() > max_len as usize {
            return Err(MemoryError::Long { id: *id, len: bytes.len(), max: max_len });
        }
        // Hashed again as a real reader does, so that measurements tell the truth.
        if name(bytes) != *id {
            return Err(Corrupt::new(format!("chunk {}", id.short()), "its content has another name").into());
        }
        Ok(bytes.clone())
    }

    fn prefetch(&self, ids: &[ChunkId]) {
        self.state().announced.extend_from_slice(ids);
    }
}

impl SaveChunk for MemoryChunks {
    type Error = MemoryError;

    fn save(&self, plain: &[u8]) -> Result<ChunkId, MemoryError> {
        let id = name(plain);
        let mut state = self.state();
        if let Some(left) = &mut state.saves_left {
            *left = left.checked_sub(1).ok_or(MemoryError::Full)?;
        }
        state.chunks.entry(id).or_insert_with(|| plain.to_vec());
        Ok(id)
    }
}

fn name(plain: &[u8]) -> ChunkId {
    ChunkId::from_bytes(*blake3::keyed_hash(&NAME_KEY, plain).as_bytes())
}
