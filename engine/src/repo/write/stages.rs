//! The storing stages: compress, pack, seal and store, register.

use super::{RawBlock, Store, Stored};
use crate::compress::Compressor;
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::ChunkKind;
use crate::error::Corrupt;
use crate::format::{MAX_CHUNKS_PER_PACK, MAX_CHUNKS_PER_SEGMENT};
use crate::id::ObjectId;
use crate::index::{Segment, SegmentPack};
use crate::pack::PackKind;
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::planted::{Bug, planted};
use crate::repo::RepoError;
use crate::storage::Name;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::atomic::Ordering::Relaxed;
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
pub(super) fn code(
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
        let coded = CodedBlock::code(block.plain, block.chunks, &mut compressor).map_err(internal)?;
        if out.send((block.kind, coded)).is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) fn pack(
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

pub(super) fn seal_and_store(
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

pub(super) fn register(store: &Store<'_>, packs: &Receiver<SegmentPack>) -> Result<Stored, RepoError> {
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
    let (id, sealed) = repo.objects.seal_hashed(ObjectKind::Segment, &plain, session)?;
    if !planted(Bug::ForgetSegment) {
        repo.objects.storage.put(&Name::segment(id), &sealed)?;
    }
    repo.index()?.apply_segment(id, &segment.packs)?;
    for chunk in segment.packs.iter().flat_map(|pack| pack.directory.chunks()) {
        store.claims.release(&chunk.id);
        store.registered.fetch_add(1, Relaxed);
    }
    Ok(id)
}
