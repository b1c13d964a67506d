//! Chunks into blocks, blocks into packs, packs into segments: the storing half of the pipeline.
//!
//! ```text
//! ChunkSink ─1 MiB blocks─► code (C threads) ─► pack (1) ─full packs─► seal · store (U) ─► register (1)
//!  one per worker            compress            close well-padded      verify, durable     segment, index
//! ```
//!
//! Every arrow is a bounded channel. Memory, with block B ≤ target + longest chunk and pack P:
//! one open block per sink, (2 + 2·C)·B between sink and pack, and (1 + 2·U + 1)·P behind it.
//!
//! [`store_chunks`] is the barrier: when it returns `Ok`, every chunk that a sink took is in a durable pack
//! that a durable segment names; the counts are compared, so no chunk can be forgotten on the way.
//! A stage whose neighbour is gone ends quietly; the first real error wins ([`Failure`]).

use super::claims::Claims;
use super::{RepoError, Repository};
use crate::compress::{Compressor, Level};
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::ChunkKind;
use crate::error::Corrupt;
use crate::format::{MAX_CHUNK, MAX_CHUNKS_PER_PACK, MAX_CHUNKS_PER_SEGMENT};
use crate::id::{ChunkId, ObjectId, SessionId};
use crate::index::{PackNo, Segment, SegmentPack};
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::pack::{Chunk, PackKind};
use crate::storage::Name;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A segment is written at least every so many packs, so that a killed run resumes from there.
const PACKS_PER_SEGMENT: usize = 64;
/// … or chunks, so that claims stay small …
const CHUNKS_PER_SEGMENT: usize = MAX_CHUNKS_PER_SEGMENT - MAX_CHUNKS_PER_PACK;
/// … or so often.
const SEGMENT_EVERY: Duration = Duration::from_secs(60);
/// How often a run shows that it goes on; the format asks for ten minutes at most.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(5 * 60);
/// Claims that a dry run remembers before it forgets (and may count a chunk twice).
const DRY_CLAIMS: usize = 1 << 20;
/// Most chunks in one block: a block of tiny files must not fill a pack's directory alone.
const CHUNKS_PER_BLOCK: usize = MAX_CHUNKS_PER_PACK / 4;

/// How to store.
pub(crate) struct StoreOptions<'a> {
    pub session: SessionId,
    pub level: Level,
    pub coders: usize,
    pub storers: usize,
    /// Store nothing; only count.
    pub dry_run: bool,
    /// Packs that are about to be removed: nothing is deduplicated against them.
    pub avoid: &'a BTreeSet<ObjectId>,
    /// Called every few minutes, so that others see that the run goes on.
    pub sign_of_life: &'a (dyn Fn() -> Result<(), RepoError> + Sync),
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
}

/// What was stored.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub packs: Vec<ObjectId>,
    pub segments: Vec<ObjectId>,
    /// Packs of others that hold chunks which were asked for and known.
    pub relied_on: Vec<ObjectId>,
    pub chunks_new: u64,
    pub bytes_new: u64,
    pub bytes_stored: u64,
}

/// The first error of any stage.
#[derive(Default)]
pub(crate) struct Failure {
    first: Mutex<Option<RepoError>>,
    happened: AtomicBool,
}

impl Failure {
    pub fn set(&self, error: RepoError) {
        let mut first = lock(&self.first);
        first.get_or_insert(error);
        self.happened.store(true, Relaxed);
    }

    pub fn happened(&self) -> bool {
        self.happened.load(Relaxed)
    }

    pub fn take(&self) -> Option<RepoError> {
        lock(&self.first).take()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A block whose chunks were claimed, not yet coded.
struct RawBlock {
    kind: ChunkKind,
    plain: Vec<u8>,
    chunks: Vec<Chunk>,
}

/// The storing half of a run; sinks are made from it.
pub(crate) struct Store<'s> {
    repo: &'s Repository,
    options: &'s StoreOptions<'s>,
    claims: Claims,
    failure: Failure,
    raw: Sender<RawBlock>,
    relied_on: Mutex<HashSet<PackNo>>,
    claimed: AtomicU64,
    registered: AtomicU64,
    bytes_new: AtomicU64,
    bytes_stored: AtomicU64,
    avoid: HashSet<PackNo>,
}

/// Takes chunks for one thread and keeps them together in blocks.
pub(crate) struct ChunkSink<'s> {
    store: &'s Store<'s>,
    kind: ChunkKind,
    target: usize,
    plain: Vec<u8>,
    chunks: Vec<Chunk>,
    last_pack: Option<PackNo>,
}

/// The store is gone because a stage failed; [`store_chunks`] returns why.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<Gone> for RepoError {
    fn from(_: Gone) -> Self {
        Self::Internal("storing has stopped".into())
    }
}

/// Runs `body` beside the threads that store what it puts into sinks, and returns when all is durable.
pub(crate) fn store_chunks<T>(
    repo: &Repository,
    options: &StoreOptions<'_>,
    body: impl FnOnce(&Store<'_>) -> Result<T, RepoError>,
) -> Result<(T, Stored), RepoError> {
    let (raw, raw_blocks) = bounded(2);
    let (coded, coded_blocks) = bounded(options.coders);
    let (full, full_packs) = bounded(1);
    let (durable, durable_packs) = bounded(4);
    let mut avoid = HashSet::new();
    for pack in options.avoid {
        avoid.extend(repo.index()?.pack_number(pack)?);
    }
    let store = Store {
        repo,
        options,
        claims: Claims::new(),
        failure: Failure::default(),
        raw,
        relied_on: Mutex::default(),
        claimed: AtomicU64::new(0),
        registered: AtomicU64::new(0),
        bytes_new: AtomicU64::new(0),
        bytes_stored: AtomicU64::new(0),
        avoid,
    };
    let store = &store;
    let mut stored = Stored::default();
    let outcome = thread::scope(|scope| {
        let run = |result: Result<(), RepoError>| {
            if let Err(error) = result {
                store.failure.set(error);
            }
        };
        for _ in 0..options.coders {
            let (blocks, coded) = (raw_blocks.clone(), coded.clone());
            scope.spawn(move || run(code(store, &blocks, &coded)));
        }
        scope.spawn(move || run(pack(store, &coded_blocks, &full)));
        for _ in 0..options.storers {
            let (packs, durable) = (full_packs.clone(), durable.clone());
            scope.spawn(move || run(seal_and_store(store, &packs, &durable)));
        }
        drop((raw_blocks, coded, full_packs, durable));
        let registrar = scope.spawn(move || register(store, &durable_packs));
        let close = Close(store);
        let outcome = body(store);
        drop(close);
        match registrar.join() {
            Ok(Ok(registered)) => stored = registered,
            Ok(Err(error)) => store.failure.set(error),
            Err(_) => store.failure.set(RepoError::Internal("a storing thread panicked".into())),
        }
        outcome
    });
    if let Some(error) = store.failure.take() {
        return Err(error);
    }
    let value = outcome?;
    let (claimed, registered) = (store.claimed.load(Relaxed), store.registered.load(Relaxed));
    if claimed != registered && !options.dry_run {
        let wrong = format!("{claimed} chunks were taken and {registered} became durable");
        return Err(RepoError::Internal(wrong));
    }
    for number in lock(&store.relied_on).drain() {
        stored.relied_on.push(repo.pack_info(number)?.id);
    }
    stored.relied_on.sort();
    stored.chunks_new = claimed;
    stored.bytes_new = store.bytes_new.load(Relaxed);
    stored.bytes_stored = store.bytes_stored.load(Relaxed);
    Ok((value, stored))
}

/// Tells the coders that no more blocks come: also when the body panics, or the threads would wait for ever.
struct Close<'s>(&'s Store<'s>);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        for _ in 0..self.0.options.coders {
            let end = RawBlock { kind: ChunkKind::Data, plain: Vec::new(), chunks: Vec::new() };
            if self.0.raw.send(end).is_err() {
                break;
            }
        }
    }
}

impl<'s> Store<'s> {
    /// Makes a sink for one thread.
    pub fn sink(&'s self, kind: ChunkKind) -> ChunkSink<'s> {
        let target = self.repo.config().settings.block_target as usize;
        ChunkSink { store: self, kind, target, plain: Vec::new(), chunks: Vec::new(), last_pack: None }
    }

    /// Returns whether a stage has failed, so that going on is vain.
    pub fn has_failed(&self) -> bool {
        self.failure.happened()
    }

    /// Returns whether the chunk is durable or on its way, and notes the pack that is relied on.
    ///
    /// Claims are asked first: a claim ends only after the index knows the chunk, so between the two
    /// questions nothing is missed.
    pub fn knows(&self, id: &ChunkId, last_pack: &mut Option<PackNo>) -> Result<bool, RepoError> {
        if self.claims.holds(id) {
            return Ok(true);
        }
        let Some(location) = self.repo.index()?.lookup(id)? else { return Ok(false) };
        if self.avoid.contains(&location.pack) {
            return Ok(false);
        }
        if *last_pack != Some(location.pack) {
            *last_pack = Some(location.pack);
            lock(&self.relied_on).insert(location.pack);
        }
        Ok(true)
    }
}

impl ChunkSink<'_> {
    /// Takes a chunk, unless it is known, and returns its name and whether it was new.
    pub fn put(&mut self, plain: &[u8]) -> Result<(ChunkId, bool), RepoError> {
        if plain.is_empty() || plain.len() > MAX_CHUNK as usize {
            return Err(RepoError::Internal(format!("a chunk of {} bytes", plain.len())));
        }
        let id = self.store.repo.namer.name(self.kind, plain);
        if self.store.knows(&id, &mut self.last_pack)? || !self.store.claims.claim(id) {
            return Ok((id, false));
        }
        self.store.claimed.fetch_add(1, Relaxed);
        self.store.bytes_new.fetch_add(plain.len() as u64, Relaxed);
        if self.plain.capacity() == 0 {
            self.plain.reserve(self.target + self.target / 4);
        }
        self.plain.extend_from_slice(plain);
        self.chunks.push(Chunk { id, len: plain.len() as u32 });
        if self.plain.len() >= self.target || self.chunks.len() >= CHUNKS_PER_BLOCK {
            self.flush()?;
        }
        Ok((id, true))
    }

    /// Hands the open block on. To be called when no more chunks come.
    pub fn flush(&mut self) -> Result<(), RepoError> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let block = RawBlock {
            kind: self.kind,
            plain: std::mem::take(&mut self.plain),
            chunks: std::mem::take(&mut self.chunks),
        };
        if self.store.failure.happened() {
            return Err(Gone.into());
        }
        self.store.raw.send(block).map_err(|_| Gone.into())
    }
}

fn code(
    store: &Store<'_>,
    blocks: &Receiver<RawBlock>,
    out: &Sender<(ChunkKind, CodedBlock)>,
) -> Result<(), RepoError> {
    let internal = |error: std::io::Error| RepoError::Internal(format!("compressing: {error}"));
    let mut compressor = Compressor::new(store.options.level).map_err(internal)?;
    for block in blocks {
        if block.chunks.is_empty() {
            break;
        }
        let coded = CodedBlock::code(&block.plain, block.chunks, &mut compressor).map_err(internal)?;
        if out.send((block.kind, coded)).is_err() {
            break;
        }
    }
    Ok(())
}

fn pack(
    store: &Store<'_>,
    blocks: &Receiver<(ChunkKind, CodedBlock)>,
    out: &Sender<PackBuilder>,
) -> Result<(), RepoError> {
    let target = u64::from(store.repo.config().settings.pack_target);
    let mut open = PackKind::ALL.map(|kind| PackBuilder::new(kind, target));
    for (kind, block) in blocks {
        if store.options.dry_run {
            store.bytes_stored.fetch_add(block.sealed_len(), Relaxed);
            if store.claims.len() > DRY_CLAIMS {
                store.claims.clear();
            }
            continue;
        }
        let kind = PackKind::from(kind);
        let Some(builder) = open.iter_mut().find(|builder| builder.kind() == kind) else { continue };
        if !builder.takes(&block) {
            let full = std::mem::replace(builder, PackBuilder::new(kind, target));
            if out.send(full).is_err() {
                return Ok(());
            }
        }
        builder.push(block);
    }
    for builder in open {
        if !builder.is_empty() && !store.failure.happened() && out.send(builder).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn seal_and_store(
    store: &Store<'_>,
    packs: &Receiver<PackBuilder>,
    out: &Sender<SegmentPack>,
) -> Result<(), RepoError> {
    let objects = &store.repo.objects;
    for builder in packs {
        if store.failure.happened() {
            break;
        }
        let pack = builder.finish(&objects.keyring, &store.repo.namer, store.options.session)?;
        objects.storage.put(&Name::pack(pack.id), &pack.bytes)?;
        store.bytes_stored.fetch_add(pack.bytes.len() as u64, Relaxed);
        let header = pack.header();
        let stored_len = pack.bytes.len() as u64;
        if out
            .send(SegmentPack { id: pack.id, kind: pack.kind, header, stored_len, directory: pack.directory })
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

fn register(store: &Store<'_>, packs: &Receiver<SegmentPack>) -> Result<Stored, RepoError> {
    let mut stored = Stored::default();
    let mut pending: Vec<SegmentPack> = Vec::new();
    let mut chunks = 0;
    let mut written_at = (store.options.elapsed)();
    let mut told_at = written_at;
    loop {
        let wait = SEGMENT_EVERY.saturating_sub((store.options.elapsed)().saturating_sub(written_at));
        let ended = match packs.recv_timeout(wait.max(Duration::from_millis(10))) {
            Ok(pack) => {
                chunks += pack.directory.chunks().len();
                stored.packs.push(pack.id);
                pending.push(pack);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let late = (store.options.elapsed)().saturating_sub(written_at) >= SEGMENT_EVERY;
        if ended || late || pending.len() >= PACKS_PER_SEGMENT || chunks >= CHUNKS_PER_SEGMENT {
            written_at = (store.options.elapsed)();
            chunks = 0;
            if !pending.is_empty() {
                stored.segments.push(write_segment(store, std::mem::take(&mut pending))?);
            }
        }
        if ended {
            return Ok(stored);
        }
        if (store.options.elapsed)().saturating_sub(told_at) >= SIGN_OF_LIFE_EVERY {
            told_at = (store.options.elapsed)();
            (store.options.sign_of_life)()?;
        }
    }
}

/// Writes the segment of durable packs, then tells the index, then ends the claims: in this order
/// nothing vouches for a chunk that is not stored, and no chunk is unknown in between.
fn write_segment(store: &Store<'_>, packs: Vec<SegmentPack>) -> Result<ObjectId, RepoError> {
    let repo = store.repo;
    let segment = Segment { session: store.options.session, packs };
    let plain = segment.encode();
    // Whatever is stored must be readable again.
    if Segment::decode(&plain)? != segment {
        return Err(Corrupt::new("segment", "it changed while it was encoded: faulty memory").into());
    }
    let session = Some(store.options.session);
    let id = repo.objects.put_hashed(ObjectKind::Segment, Name::segment, &plain, session)?;
    repo.index()?.apply_segment(id, &segment.packs)?;
    for chunk in segment.packs.iter().flat_map(|pack| pack.directory.chunks()) {
        store.claims.release(&chunk.id);
        store.registered.fetch_add(1, Relaxed);
    }
    Ok(id)
}
