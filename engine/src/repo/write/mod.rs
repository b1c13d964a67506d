//! Chunks into blocks, blocks into packs, packs into segments: the storing half of the pipeline.
//!
//! ```text
//! ChunkSink ─1 MiB blocks─► code (C threads) ─► pack (1) ─full packs─► seal · store (U) ─► register (1)
//!  one per worker            compress            close well-padded      verify, durable     segment, index
//! ```
//!
//! Every arrow is a bounded channel. Memory, with block B ≤ target + longest chunk and pack P:
//! one open block per sink, (2 + 2·C)·B between sink and pack, and at most (4 + U)·P behind it: one of each kind
//! that is filled, one that waits, and one for each storer. C, U and P follow from the
//! [`Budget`](super::Budget).
//!
//! [`store_chunks`] is the barrier: when it returns `Ok`, every chunk that a sink took is in a durable pack
//! that a durable segment names; the counts are compared, so no chunk can be forgotten on the way.
//! A stage whose neighbour is gone ends quietly; the first real error wins ([`Failure`]).
//!
//! A block that is stored already, of which everything is to be kept, is taken over as it is coded: the coders hand it on.

mod sink;
mod stages;

pub(crate) use sink::ChunkSink;

use super::claims::Claims;
use super::{RepoError, Repository};
use crate::compress::{Level, Stream};
use crate::crypto::keyring::ChunkKind;
use crate::error::{Corrupt, Kind};
use crate::id::{ChunkId, ObjectId, SessionId};
use crate::index::PackNo;
use crate::pack::Chunk;
use crate::pack::builder::CodedBlock;
use crate::planted::{Bug, planted};
use crate::storage::Name;
use crossbeam::channel::{Sender, bounded};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How to store.
pub(crate) struct StoreOptions<'a> {
    pub session: SessionId,
    pub level: Level,
    pub coders: usize,
    /// Store nothing; only count.
    pub dry_run: bool,
    /// Store every chunk, also what is known to be stored already: for what replaces packs that go.
    pub anew: bool,
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
    /// How many packs would have been relied on, had they not been lost.
    pub lost: usize,
    pub chunks_new: u64,
    pub bytes_new: u64,
    pub bytes_stored: u64,
}

/// What one part of a run gave: counted where chunks are taken and where blocks are coded.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    chunks_new: AtomicU64,
    bytes_new: AtomicU64,
    bytes_sealed: AtomicU64,
}

impl Meter {
    /// Returns how many chunks were new.
    pub fn chunks_new(&self) -> u64 {
        self.chunks_new.load(Relaxed)
    }

    /// Returns the plain bytes of those chunks.
    pub fn bytes_new(&self) -> u64 {
        self.bytes_new.load(Relaxed)
    }

    /// Returns the bytes of the sealed blocks that hold them; final once all is durable.
    pub fn bytes_sealed(&self) -> u64 {
        self.bytes_sealed.load(Relaxed)
    }
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

    /// Returns what the error says, and leaves it.
    pub fn told(&self) -> Option<(Kind, String)> {
        lock(&self.first).as_ref().map(|error| (error.kind(), error.to_string()))
    }

    pub fn take(&self) -> Option<RepoError> {
        lock(&self.first).take()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A block on its way to the coders; its chunks were claimed.
enum RawBlock {
    /// To be compressed.
    Plain { kind: ChunkKind, plain: Vec<u8>, chunks: Vec<Chunk>, stream: Arc<Stream>, meter: Arc<Meter> },
    /// To be stored as it was coded once.
    Coded { kind: ChunkKind, block: CodedBlock, meter: Arc<Meter> },
    /// No more come for the coder that gets this.
    End,
}

/// The storing half of a run; sinks are made from it.
pub(crate) struct Store<'s> {
    repo: &'s Repository,
    options: &'s StoreOptions<'s>,
    claims: Claims<'s>,
    failure: Failure,
    raw: Sender<RawBlock>,
    relied_on: Mutex<HashSet<PackNo>>,
    lost: Mutex<HashSet<PackNo>>,
    claimed: AtomicU64,
    registered: AtomicU64,
    bytes_new: AtomicU64,
    bytes_stored: AtomicU64,
    avoid: HashSet<PackNo>,
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
///
/// A stage's error is the cause, whatever the body made of it.
pub(crate) fn store_chunks<T, E: From<RepoError>>(
    repo: &Repository,
    options: &StoreOptions<'_>,
    body: impl FnOnce(&Store<'_>) -> Result<T, E>,
) -> Result<(T, Stored), E> {
    let storers = repo.budget.storers();
    let (raw, raw_blocks) = bounded(2);
    let (coded, coded_blocks) = bounded(options.coders);
    let (full, full_packs) = bounded(1);
    let (durable, durable_packs) = bounded(4);
    let mut avoid = HashSet::new();
    for pack in options.avoid {
        avoid.extend(repo.index()?.pack_number(pack).map_err(RepoError::from)?);
    }
    let store = Store {
        repo,
        options,
        claims: Claims::new(repo.index()?),
        failure: Failure::default(),
        raw,
        relied_on: Mutex::default(),
        lost: Mutex::default(),
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
            if let Err(error) = result
                && !planted(Bug::IgnoreStageError)
            {
                store.failure.set(error);
            }
        };
        for _ in 0..options.coders {
            let (blocks, coded) = (raw_blocks.clone(), coded.clone());
            scope.spawn(move || run(stages::code(store, &blocks, &coded)));
        }
        scope.spawn(move || run(stages::pack(store, &coded_blocks, &full)));
        for _ in 0..storers {
            let (packs, durable) = (full_packs.clone(), durable.clone());
            scope.spawn(move || run(stages::seal_and_store(store, &packs, &durable)));
        }
        drop((raw_blocks, coded, full_packs, durable));
        let registrar = scope.spawn(move || stages::register(store, &durable_packs));
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
        return Err(error.into());
    }
    let value = outcome?;
    let (claimed, registered) = (store.claimed.load(Relaxed), store.registered.load(Relaxed));
    if claimed != registered && !options.dry_run {
        let wrong = format!("{claimed} chunks were taken and {registered} became durable");
        return Err(RepoError::Internal(wrong).into());
    }
    for number in lock(&store.relied_on).drain() {
        stored.relied_on.push(repo.pack_info(number)?.id);
    }
    stored.relied_on.sort();
    stored.lost = lock(&store.lost).len();
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
            if self.0.raw.send(RawBlock::End).is_err() {
                break;
            }
        }
    }
}

impl<'s> Store<'s> {
    /// Returns whether a stage has failed, so that going on is vain.
    pub fn has_failed(&self) -> bool {
        self.failure.happened()
    }

    /// Says why nothing more is stored, if a stage has failed. [`store_chunks`] returns the error itself.
    pub fn assert_storing(&self) -> Result<(), RepoError> {
        let stopped = |(kind, why)| RepoError::Stopped { kind, why };
        self.failure.told().map_or(Ok(()), |told| Err(stopped(told)))
    }

    /// Refuses the name of a chunk that was taken a while ago and is known to nobody any more.
    pub fn assert_known(&self, id: &ChunkId) -> Result<(), RepoError> {
        if self.claims.holds(id)? || self.repo.index()?.lookup(id)?.is_some() {
            return Ok(());
        }
        Err(Corrupt::new(format!("chunk {id}"), "its name changed after it was taken: faulty memory").into())
    }

    /// Returns whether the chunk is durable or on its way, and notes the pack that is relied on.
    ///
    /// Claims are asked first: a claim ends only after the index knows the chunk, so between the two
    /// questions nothing is missed.
    pub fn knows(&self, id: &ChunkId, last_pack: &mut Option<PackNo>) -> Result<bool, RepoError> {
        if self.claims.holds(id)? {
            return Ok(true);
        }
        if self.options.anew {
            return Ok(false);
        }
        let Some(location) = self.repo.index()?.lookup(id)? else { return Ok(false) };
        if self.avoid.contains(&location.pack) {
            return Ok(false);
        }
        if *last_pack != Some(location.pack) {
            if !self.relies_on(location.pack)? {
                return Ok(false);
            }
            *last_pack = Some(location.pack);
        }
        Ok(true)
    }

    /// Notes that a pack is relied on, if it is stored, with its length: a segment may name one that was lost.
    /// One that was found damaged when it was read last is as good as lost.
    /// Looked at here, since what is read now may not be there any more when the run ends.
    fn relies_on(&self, pack: PackNo) -> Result<bool, RepoError> {
        if lock(&self.relied_on).contains(&pack) {
            return Ok(true);
        }
        if lock(&self.lost).contains(&pack) {
            return Ok(false);
        }
        let info = self.repo.pack_info(pack)?;
        if self.repo.index()?.is_rotten(pack)? && !planted(Bug::TrustRot) {
            lock(&self.lost).insert(pack);
            return Ok(false);
        }
        let is_stored = self.repo.storage().len(&Name::pack(info.id))? == Some(info.stored_len);
        if is_stored || planted(Bug::SkipLostPacks) {
            lock(&self.relied_on).insert(pack);
            return Ok(true);
        }
        lock(&self.lost).insert(pack);
        Ok(false)
    }
}
