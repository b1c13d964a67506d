//! The storing stages: compress, pack, seal and store, register.

use super::{RawBlock, Store, Stored};
use crate::compress::Compressor;
use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::ChunkKind;
use crate::error::Corrupt;
use crate::id::ObjectId;
use crate::index::{Segment, SegmentPack};
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::pack::{Chunk, PackKind};
use crate::planted::{Bug, planted};
use crate::repo::RepoError;
use crate::storage::Name;
use crate::tamper::Stage;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A segment is written at least every so many packs, so that a killed run resumes from there.
const PACKS_PER_SEGMENT: usize = 64;
/// … or so often; or when it has many chunks, so that claims stay small ([`Budget`](crate::repo::Budget)).
const SEGMENT_EVERY: Duration = Duration::from_secs(60);
/// How often a run shows that it goes on; the format asks for ten minutes at most.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(5 * 60);

/// A durable pack on its way into a segment, and the hash of what is to be told of it.
pub(super) type Durable = (SegmentPack, blake3::Hash);

/// Returns a hash of all that a segment tells of a pack.
fn fingerprint(pack: &SegmentPack) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(pack.id.as_bytes()).update(&pack.header).update(&pack.stored_len.to_le_bytes());
    hasher.update(&pack.directory.encode()).finalize()
}

pub(super) fn code(
    store: &Store<'_>,
    blocks: &Receiver<RawBlock>,
    out: &Sender<(ChunkKind, CodedBlock)>,
) -> Result<(), RepoError> {
    let internal = |error: std::io::Error| RepoError::Internal(format!("compressing: {error}"));
    let mut compressor = Compressor::new(store.options.level).map_err(internal)?;
    let tamper = &store.repo.objects.tamper;
    let names = |chunks: &mut [Chunk]| {
        chunks.iter_mut().for_each(|chunk| tamper.pass(Stage::Names, chunk.id.as_mut_bytes()));
    };
    for block in blocks {
        let (kind, coded, meter) = match block {
            RawBlock::End => break,
            RawBlock::Plain { kind, mut plain, mut chunks, stream, meter } => {
                tamper.pass(Stage::Block, &mut plain);
                names(&mut chunks);
                let coded = CodedBlock::code(plain, chunks, &mut compressor, &stream).map_err(internal)?;
                (kind, coded, meter)
            }
            RawBlock::Coded { kind, mut block, meter } => {
                names(block.chunks_mut());
                (kind, block, meter)
            }
        };
        meter.bytes_sealed.fetch_add(coded.sealed_len(), Relaxed);
        if out.send((kind, coded)).is_err() {
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
    let target = store.repo.budget.pack_target(store.repo.config().settings.pack_target);
    let mut open = PackKind::ALL.map(|kind| PackBuilder::new(kind, target));
    for (kind, mut block) in blocks {
        store.repo.objects.tamper.pass(Stage::Coded, block.coded_mut());
        if store.options.dry_run {
            store.bytes_stored.fetch_add(block.sealed_len(), Relaxed);
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
    out: &Sender<Durable>,
) -> Result<(), RepoError> {
    let objects = &store.repo.objects;
    for builder in packs {
        if store.failure.happened() {
            break;
        }
        let mut pack = builder.seal(&objects.keyring, store.options.session)?;
        objects.tamper.pass(Stage::Sealed, &mut pack.bytes);
        pack.verify(&objects.keyring, &store.repo.namer)?;
        let (header, stored_len) = (pack.header(), pack.bytes.len() as u64);
        let told =
            SegmentPack { id: pack.id, kind: pack.kind, header, stored_len, directory: pack.directory };
        let fingerprint = fingerprint(&told);
        objects.tamper.pass(Stage::Verified, &mut pack.bytes);
        objects.put_unchanged(&Name::pack(pack.id), &pack.bytes, pack.id)?;
        store.bytes_stored.fetch_add(stored_len, Relaxed);
        if out.send((told, fingerprint)).is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) fn register(store: &Store<'_>, packs: &Receiver<Durable>) -> Result<Stored, RepoError> {
    let mut stored = Stored::default();
    let mut pending: Vec<Durable> = Vec::new();
    let mut chunks = 0;
    let most_chunks = store.repo.budget.chunks_per_segment();
    let mut written_at = (store.options.elapsed)();
    let mut told_at = written_at;
    loop {
        let wait = SEGMENT_EVERY.saturating_sub((store.options.elapsed)().saturating_sub(written_at));
        let ended = match packs.recv_timeout(wait.max(Duration::from_millis(10))) {
            Ok(pack) => {
                chunks += pack.0.directory.chunks().len();
                stored.packs.push(pack.0.id);
                pending.push(pack);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let late = (store.options.elapsed)().saturating_sub(written_at) >= SEGMENT_EVERY;
        if ended || late || pending.len() >= PACKS_PER_SEGMENT || chunks >= most_chunks {
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
fn write_segment(store: &Store<'_>, packs: Vec<Durable>) -> Result<ObjectId, RepoError> {
    let (repo, session) = (store.repo, store.options.session);
    let tamper = &repo.objects.tamper;
    let (packs, fingerprints): (Vec<SegmentPack>, Vec<blake3::Hash>) = packs.into_iter().unzip();
    let mut segment = Segment { session, packs };
    tamper_names(&mut segment, |name| tamper.pass(Stage::Registered, name));
    let plain = segment.encode();
    // Each pack as it was when it was verified: whatever happened to its directory since.
    let means = |opened: &[u8]| {
        let same = |again: Segment| again.packs.iter().map(fingerprint).eq(fingerprints.iter().copied());
        Segment::decode(opened).is_ok_and(same)
    };
    let id = repo.objects.put_hashed(ObjectKind::Segment, Name::segment, &plain, Some(session), &means)?;
    if planted(Bug::ForgetSegment) {
        repo.objects.storage.delete(&Name::segment(id))?;
    }
    tamper_names(&mut segment, |name| tamper.pass(Stage::Indexed, name));
    repo.index()?.apply_segment(id, &segment.packs)?;
    for chunk in segment.packs.iter().flat_map(|pack| pack.directory.chunks()) {
        if !store.claims.release(&chunk.id)? {
            let wrong = format!("chunk {} was never taken: faulty memory", chunk.id);
            return Err(Corrupt::new("segment", wrong).into());
        }
        store.registered.fetch_add(1, Relaxed);
    }
    Ok(id)
}

fn tamper_names(segment: &mut Segment, pass: impl Fn(&mut [u8])) {
    let packs = segment.packs.iter_mut();
    packs.flat_map(|pack| pack.directory.chunks_mut()).for_each(|chunk| pass(chunk.id.as_mut_bytes()));
}
