//! Whether shards are what their packs say: everything is read, and coded again.

use super::code::Encoder;
use super::columns::{Columns, Work, encode, piece_fault};
use super::groups::Groups;
use super::object::{GroupKey, Piece};
use crate::id::ObjectId;
use crate::progress::Events;
use crate::repo::{RepoError, Repository};
use std::collections::BTreeSet;
use std::ops::Range;

/// Reads every parity object of the groups, and the packs of each group once more. Returns the objects that are
/// damaged, and those that are not what the packs say, with what is wrong; and how many bytes were read of them.
///
/// A group of which a pack is not sound, or not there, is not coded again: what its shards say may be right.
pub(crate) fn verify(
    repo: &Repository,
    groups: &Groups,
    threads: usize,
    events: &dyn Events,
) -> Result<(Vec<(ObjectId, String)>, u64), RepoError> {
    let work = Work::new(repo, threads, events)?;
    let (mut wrong, mut bytes_read) = (Vec::new(), 0);
    for (key, pieces) in &groups.all {
        let mut sound = Vec::new();
        for piece in pieces {
            work.stop_if_asked()?;
            bytes_read += piece.stored_len();
            match piece_fault(work.storage(), piece)? {
                Some(fault) if fault.is_missing => {}
                Some(fault) => wrong.push((piece.id, fault.why)),
                None => sound.push(piece),
            }
        }
        wrong.extend(against_packs(&work, key, &sound)?);
    }
    Ok((wrong, bytes_read))
}

/// Codes a group again, and returns the objects that are otherwise.
fn against_packs(
    work: &Work<'_>,
    key: &GroupKey,
    pieces: &[&Piece],
) -> Result<Vec<(ObjectId, String)>, RepoError> {
    let mut wrong = Vec::new();
    let cuts: BTreeSet<(u64, u64)> =
        pieces.iter().map(|piece| (piece.start, piece.start + piece.len)).collect();
    for round in rounds(cuts) {
        let mut columns = Columns::new(work, &key.packs);
        let mut encoder = Encoder::new(key.packs.len(), usize::from(key.shards), work.threads)?;
        let (mut at, mut found) = (0, Vec::new());
        let end = key.shard_len();
        for window in round.iter().cloned().chain(std::iter::once(end..end)) {
            columns.skip(at..window.start)?;
            at = window.end;
            if window.is_empty() {
                break;
            }
            let hashes = hashes(work, &mut columns, &mut encoder, key, &window)?;
            let here = pieces.iter().filter(|piece| piece.range() == window);
            let others = here.filter(|piece| hashes.get(usize::from(piece.number)) != Some(&piece.hash));
            found.extend(others.map(|piece| piece.id));
        }
        if columns.faults().is_empty() {
            wrong.extend(
                found.into_iter().map(|id| (id, "it is not what the packs of its group say".to_owned())),
            );
        }
    }
    Ok(wrong)
}

/// Puts parts that do not overlap together, so that few readings do for all: one, unless different writers cut differently.
fn rounds(cuts: BTreeSet<(u64, u64)>) -> Vec<Vec<Range<u64>>> {
    let mut rounds: Vec<Vec<Range<u64>>> = Vec::new();
    for (start, end) in cuts {
        let fits = |round: &&mut Vec<Range<u64>>| round.last().is_none_or(|last| last.end <= start);
        match rounds.iter_mut().find(fits) {
            Some(round) => round.push(start..end),
            None => rounds.push(std::iter::once(start..end).collect()),
        }
    }
    rounds
}

/// Returns the hash of each shard's part, without keeping the parts of a long one.
fn hashes(
    work: &Work<'_>,
    columns: &mut Columns<'_, '_>,
    encoder: &mut Encoder,
    key: &GroupKey,
    window: &Range<u64>,
) -> Result<Vec<[u8; 32]>, RepoError> {
    let mut hashers = vec![blake3::Hasher::new(); usize::from(key.shards)];
    let stripe = super::columns::stripe_len(work.repo.budget, key);
    let mut at = window.start;
    while at < window.end {
        let part = at..window.end.min(at + stripe);
        at = part.end;
        for (hasher, shard) in hashers.iter_mut().zip(encode(work, columns, encoder, key, &part)?) {
            hasher.update(&shard);
        }
    }
    Ok(hashers.iter().map(|hasher| *hasher.finalize().as_bytes()).collect())
}
