//! What is needed of a pack that goes is written anew, chunk by chunk, each verified by its name.
//!
//! Every old block becomes a block of its own: so chunks of two modules never come together. One of which everything is
//! needed is taken over as it is coded, without compressing it again; opened, decompressed and compared with their names its chunks
//! are like all others, here and once more when the new pack is sealed. A pack of which something needed cannot be read stays as it is.

use super::census::Census;
use super::live::{Live, Need};
use super::openers::{Block, Openers};
use crate::compress::Level;
use crate::error::{Corrupt, Kind};
use crate::id::{ObjectId, SessionId};
use crate::pack::builder::CodedBlock;
use crate::pack::reader::BlockReader;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::sessions::OpenSession;
use crate::repo::write::{ChunkSink, Meter, Store, StoreOptions, Stored, store_chunks};
use crate::repo::{RepoError, Repository};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How to write.
pub(super) struct How<'a> {
    pub level: Level,
    pub threads: usize,
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
}

/// What came of it.
pub(super) struct Repacked {
    pub stored: Stored,
    /// Packs that stay, and why: something in them cannot be read.
    pub damaged: BTreeMap<ObjectId, String>,
}

/// Writes anew what is needed of these packs. When it returns all of it is durable, and segments name it.
pub(super) fn repack(
    repo: &Repository,
    session: &OpenSession,
    census: &Census,
    live: &Live<'_>,
    going: &BTreeSet<ObjectId>,
    how: &How<'_>,
    events: &dyn Events,
) -> Result<Repacked, RepoError> {
    let options = StoreOptions {
        session: session.id,
        level: how.level,
        coders: repo.budget.threads(how.threads, how.level),
        dry_run: false,
        anew: true,
        avoid: going,
        sign_of_life: &|| session.progress(),
        elapsed: how.elapsed,
    };
    repo.index()?.begin_run()?;
    // As many as compress: that is how the budget reckons.
    let mut openers = Openers::new(options.coders)?;
    let (damaged, stored) = store_chunks(repo, &options, |store| {
        let mut damaged = BTreeMap::new();
        for id in going {
            if events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            match pack(repo, store, census, live, &mut openers, id) {
                Ok(bytes) => events.event(Event::Done { entries: 1, bytes, path: None }),
                Err(error) if is_of_pack(&error) => {
                    let why = format!("a pack stays as it is, since something in it cannot be read: {error}");
                    damaged.insert(*id, why);
                }
                Err(error) => return Err(error),
            }
        }
        Ok::<_, RepoError>(damaged)
    })?;
    Ok(Repacked { stored, damaged })
}

/// Returns whether an error says that a stored pack is damaged.
fn is_of_pack(error: &RepoError) -> bool {
    !matches!(error, RepoError::Index(_)) && error.kind() == Kind::Integrity
}

/// Hands on what is needed of one pack; returns the plain bytes. Blocks are opened ahead by the pool's threads, and handed on
/// in their order, so what lay together still does.
fn pack(
    repo: &Repository,
    store: &Store<'_>,
    census: &Census,
    live: &Live<'_>,
    openers: &mut Openers,
    id: &ObjectId,
) -> Result<u64, RepoError> {
    let gone =
        || RepoError::from(Corrupt::new(crate::storage::Name::pack(*id).to_string(), "it is not known"));
    let place = census.place(id).ok_or_else(gone)? as u32;
    let number = repo.index()?.pack_number(id)?.ok_or_else(gone)?;
    let info = repo.pack_info(number)?;
    let directory = repo.index()?.directory(number)?.ok_or_else(gone)?;
    let mut hand = Hand {
        sink: store.sink(info.kind.chunks(), &Arc::new(Meter::default())),
        found: 0,
        bytes: 0,
        skipped: false,
    };
    let blocks = directory.blocks().iter().enumerate().map(|(number, block)| {
        let (mut needed, mut at) = (Vec::new(), 0usize);
        for chunk in directory.chunks_of(number) {
            let range = at..at + chunk.len as usize;
            at = range.end;
            if live.need(&chunk.id)? == Need::Claimed(place) {
                needed.push((*chunk, range));
            }
        }
        let number = u16::try_from(number).map_err(|_| RepoError::Internal(format!("block {number}")))?;
        Ok(Block { number, codec: block.codec, chunks: block.chunks, needed })
    });
    let blocks = blocks.filter(|block| !matches!(block, Ok(Block { needed, .. }) if needed.is_empty()));
    openers.each(repo, &info, blocks, |block, reader| hand.on(block, reader))?;
    // What segments say in the storage counts, not what the index made of it: both must be the same.
    if hand.found < census.packs[place as usize].live_bytes {
        return Err(Corrupt::new(
            crate::storage::Name::pack(*id).to_string(),
            "the local index has less of it",
        )
        .into());
    }
    Ok(hand.bytes)
}

/// Where the blocks of one pack go.
struct Hand<'s> {
    sink: ChunkSink<'s>,
    /// Plain bytes that were needed, and that were handed on.
    found: u64,
    bytes: u64,
    skipped: bool,
}

impl Hand<'_> {
    /// Hands on what is needed of a block, which was compared with its name.
    fn on(&mut self, block: Block, reader: &mut BlockReader) -> Result<(), RepoError> {
        let Block { codec, chunks, mut needed, .. } = block;
        self.found += needed.iter().map(|(chunk, _)| u64::from(chunk.len)).sum::<u64>();
        // Only now: what a sink has taken must become durable.
        if planted(Bug::RepackForgets) && !std::mem::replace(&mut self.skipped, true) {
            needed.remove(0);
        }
        let mut taken = Vec::with_capacity(needed.len());
        for (chunk, range) in needed {
            self.bytes += u64::from(chunk.len);
            if self.sink.claim(&chunk)? {
                taken.push((chunk, range));
            }
        }
        if taken.len() == chunks as usize {
            let chunks = taken.into_iter().map(|(chunk, _)| chunk).collect();
            return self.sink.take_over(CodedBlock::coded_before(codec, reader.take_coded(), chunks));
        }
        for (chunk, range) in taken {
            self.sink.push(chunk, &reader.plain()[range])?;
        }
        self.sink.flush()
    }
}

/// Returns what a prune's session says that it depends on: what it wrote.
pub(super) fn announce(session: &OpenSession, stored: &Stored) -> Result<(), RepoError> {
    session.publish(&crate::repo::sessions::Dependencies {
        snapshots: Vec::new(),
        packs: Vec::new(),
        own_packs: stored.packs.clone(),
        own_segments: stored.segments.clone(),
    })
}

/// Names the session of nobody.
pub(super) const NOBODY: SessionId = SessionId::from_bytes([0; 16]);
