//! Chunks come in here: each is taken once, and leaves in a block.

use super::{Gone, Meter, RawBlock, RepoError, Store};
use crate::compress::Stream;
use crate::crypto::keyring::ChunkKind;
use crate::format::{MAX_CHUNK, MAX_CHUNKS_PER_PACK};
use crate::id::ChunkId;
use crate::index::PackNo;
use crate::pack::Chunk;
use crate::pack::builder::CodedBlock;
use crate::tamper::Stage;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Most chunks in one block: a block of tiny files must not fill a pack's directory alone.
const CHUNKS_PER_BLOCK: usize = MAX_CHUNKS_PER_PACK / 4;

/// Takes chunks for one thread and keeps them together in blocks.
pub(crate) struct ChunkSink<'s> {
    store: &'s Store<'s>,
    kind: ChunkKind,
    target: usize,
    plain: Vec<u8>,
    chunks: Vec<Chunk>,
    /// What one thread reads in a row is likely to be alike.
    stream: Arc<Stream>,
    meter: Arc<Meter>,
    last_pack: Option<PackNo>,
}

impl<'s> Store<'s> {
    /// Makes a sink for one thread. What one sink takes shares blocks, so it must be of one part of a run.
    pub fn sink(&'s self, kind: ChunkKind, meter: &Arc<Meter>) -> ChunkSink<'s> {
        let target = self.repo.config().settings.block_target as usize;
        let (plain, chunks, stream) = Default::default();
        let meter = Arc::clone(meter);
        ChunkSink { store: self, kind, target, plain, chunks, stream, meter, last_pack: None }
    }
}

impl ChunkSink<'_> {
    /// Takes a chunk, unless it is known, and returns its name and whether it was new.
    pub fn put(&mut self, plain: &[u8]) -> Result<(ChunkId, bool), RepoError> {
        if plain.is_empty() || plain.len() > MAX_CHUNK as usize {
            return Err(RepoError::Internal(format!("a chunk of {} bytes", plain.len())));
        }
        let plain = &*self.store.repo.objects.tamper.passed(Stage::Chunk, plain);
        let id = self.store.repo.namer.name(self.kind, plain);
        let chunk = Chunk { id, len: plain.len() as u32 };
        let is_new = self.claim(&chunk)?;
        if is_new {
            self.push(chunk, plain)?;
        }
        Ok((id, is_new))
    }

    /// Claims a chunk whose bytes were compared with its name, unless it is known, and returns whether it was new. If it was,
    /// it must be given to [`ChunkSink::push`] or [`ChunkSink::take_over`], or the run fails in the end.
    pub fn claim(&mut self, chunk: &Chunk) -> Result<bool, RepoError> {
        if self.store.knows(&chunk.id, &mut self.last_pack)? || !self.store.claims.claim(chunk.id)? {
            return Ok(false);
        }
        self.store.claimed.fetch_add(1, Relaxed);
        self.store.bytes_new.fetch_add(chunk.len.into(), Relaxed);
        self.meter.chunks_new.fetch_add(1, Relaxed);
        self.meter.bytes_new.fetch_add(chunk.len.into(), Relaxed);
        Ok(true)
    }

    /// Takes the bytes of a chunk that was claimed.
    pub fn push(&mut self, chunk: Chunk, plain: &[u8]) -> Result<(), RepoError> {
        if self.plain.capacity() == 0 {
            self.plain.reserve(self.target + self.target / 4);
        }
        self.plain.extend_from_slice(plain);
        self.chunks.push(chunk);
        if self.plain.len() >= self.target || self.chunks.len() >= CHUNKS_PER_BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    /// Takes a block over as it is coded, all of whose chunks were claimed. It stays a block of its own.
    pub fn take_over(&mut self, block: CodedBlock) -> Result<(), RepoError> {
        self.send(RawBlock::Coded { kind: self.kind, block, meter: self.meter.clone() })
    }

    /// Hands the open block on. To be called when no more chunks come.
    pub fn flush(&mut self) -> Result<(), RepoError> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let (plain, chunks) = (std::mem::take(&mut self.plain), std::mem::take(&mut self.chunks));
        let (stream, meter) = (self.stream.clone(), self.meter.clone());
        self.send(RawBlock::Plain { kind: self.kind, plain, chunks, stream, meter })
    }

    fn send(&self, block: RawBlock) -> Result<(), RepoError> {
        if self.store.failure.happened() {
            return Err(Gone.into());
        }
        self.store.raw.send(block).map_err(|_| Gone.into())
    }
}
