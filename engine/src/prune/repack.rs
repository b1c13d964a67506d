//! What is needed of a pack that goes is written anew, chunk by chunk, each verified by its name.
//!
//! Every old block becomes a block of its own: so chunks of two modules never come together. One of which everything is
//! needed is taken over as it is coded, without compressing it again; opened, decompressed and compared with their names its chunks
//! are like all others, here and once more when the new pack is sealed. A pack of which something needed cannot be read stays as it is.

use super::census::Census;
use super::live::{Live, Need};
use crate::compress::Level;
use crate::error::{Corrupt, Kind};
use crate::id::{ObjectId, SessionId};
use crate::index::PackInfo;
use crate::pack::builder::CodedBlock;
use crate::pack::reader::BlockReader;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::sessions::OpenSession;
use crate::repo::write::{Meter, Store, StoreOptions, Stored, store_chunks};
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
    let (damaged, stored) = store_chunks(repo, &options, |store| {
        let mut damaged = BTreeMap::new();
        for id in going {
            if events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            match pack(repo, store, census, live, id) {
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

/// Hands on what is needed of one pack; returns the plain bytes.
fn pack(
    repo: &Repository,
    store: &Store<'_>,
    census: &Census,
    live: &Live<'_>,
    id: &ObjectId,
) -> Result<u64, RepoError> {
    let gone =
        || RepoError::from(Corrupt::new(crate::storage::Name::pack(*id).to_string(), "it is not known"));
    let place = census.place(id).ok_or_else(gone)? as u32;
    let number = repo.index()?.pack_number(id)?.ok_or_else(gone)?;
    let info = repo.pack_info(number)?;
    let directory = repo.index()?.directory(number)?.ok_or_else(gone)?;
    let (kind, mut reader, mut bytes) = (info.kind.chunks(), BlockReader::new()?, 0);
    let mut sink = store.sink(kind, &Arc::new(Meter::default()));
    let mut skipped = false;
    let mut found = 0;
    for (block, of_block) in directory.blocks().iter().enumerate() {
        let (mut needed, mut at) = (Vec::new(), 0usize);
        for chunk in directory.chunks_of(block) {
            let range = at..at + chunk.len as usize;
            at = range.end;
            if live.need(&chunk.id)? == Need::Claimed(place) {
                needed.push((*chunk, range));
            }
        }
        if needed.is_empty() {
            continue;
        }
        let plain = read(repo, &info, block, &mut reader)?;
        for (chunk, range) in &needed {
            let wrong = || Corrupt::new(format!("chunk {}", chunk.id), "it is not what its name says");
            let part = plain.get(range.clone()).ok_or_else(wrong)?;
            if repo.namer.name(kind, part) != chunk.id {
                return Err(wrong().into());
            }
            found += part.len() as u64;
        }
        // Only now: what a sink has taken must become durable.
        if planted(Bug::RepackForgets) && !std::mem::replace(&mut skipped, true) {
            needed.remove(0);
        }
        let mut taken = Vec::with_capacity(needed.len());
        for (chunk, range) in needed {
            bytes += u64::from(chunk.len);
            if sink.claim(&chunk)? {
                taken.push((chunk, range));
            }
        }
        if taken.len() == of_block.chunks as usize {
            let chunks = taken.into_iter().map(|(chunk, _)| chunk).collect();
            sink.take_over(CodedBlock::coded_before(of_block.codec, reader.take_coded(), chunks))?;
            continue;
        }
        for (chunk, range) in taken {
            sink.push(chunk, &plain[range])?;
        }
        sink.flush()?;
    }
    // What segments say in the storage counts, not what the index made of it: both must be the same.
    if found < census.packs[place as usize].live_bytes {
        return Err(Corrupt::new(
            crate::storage::Name::pack(*id).to_string(),
            "the local index has less of it",
        )
        .into());
    }
    Ok(bytes)
}

fn read<'b>(
    repo: &Repository,
    info: &PackInfo,
    block: usize,
    reader: &'b mut BlockReader,
) -> Result<&'b [u8], RepoError> {
    let number = u16::try_from(block).map_err(|_| RepoError::Internal(format!("block {block}")))?;
    repo.read_block(info, number, reader)
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
