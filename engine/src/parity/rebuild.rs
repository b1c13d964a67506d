//! Packs computed from the others of their group.

use super::code::Decoder;
use super::columns::{Columns, Work, stripe_len};
use super::cover::Cover;
use super::mend::Mending;
use super::object::{GroupKey, Piece};
use crate::format::PARITY_UNIT;
use crate::id::ObjectId;
use crate::repo::{Budget, RepoError};
use crate::storage::StorageError;
use rayon::prelude::*;
use std::ops::Range;

/// What is lost of a group, and whether it can be computed.
pub(super) struct Plan {
    /// Places of all packs that cannot be read.
    lost: Vec<usize>,
    /// Those of them that are to come back, with their lengths.
    wanted: Vec<(usize, ObjectId, u64)>,
    /// Ranges in which the same packs are lost and the same shards are there.
    ranges: Vec<Range<u64>>,
    /// Fewest shards that are left over in a range in which something is wanted, if that is less than none.
    lacks: Option<String>,
}

impl Plan {
    /// Looks at a group; nothing if nothing of it is lost that is to come back.
    pub fn new(mending: &Mending<'_, '_>, key: &GroupKey, cover: &Cover) -> Result<Option<Self>, RepoError> {
        let (mut lost, mut wanted) = (Vec::new(), Vec::new());
        let mut bounds = cover.bounds();
        for (place, (id, len)) in key.packs.iter().enumerate() {
            if mending.packs.get(id).is_some_and(Option::is_none) {
                continue;
            }
            lost.push(place);
            // Behind its end a pack is zeros, lost or not.
            bounds.insert(len.next_multiple_of(PARITY_UNIT));
            if !mending.is_removed(id)? {
                wanted.push((place, *id, *len));
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let bounds: Vec<u64> = bounds.into_iter().collect();
        let ranges: Vec<Range<u64>> = bounds.windows(2).map(|pair| pair[0]..pair[1]).collect();
        let mut plan = Self { lost, wanted, ranges, lacks: None };
        for range in &plan.ranges {
            let (lost, there) = (plan.lost_in(key, range).count(), cover.at(range.start).len());
            let is_wanted = plan.wanted.iter().any(|(_, _, len)| *len > range.start);
            if is_wanted && there < lost {
                plan.lacks = Some(format!(
                    "{lost} packs of its group are lost or damaged, and {there} shards are left to rebuild them from"
                ));
                break;
            }
        }
        Ok(Some(plan))
    }

    /// Returns why nothing can be rebuilt, if so.
    pub fn lacks(&self) -> Option<String> {
        self.lacks.clone()
    }

    /// Returns the packs that are to come back.
    pub fn wanted(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.wanted.iter().map(|(_, id, _)| *id)
    }

    /// Shares the wanted packs out, so that those which are rebuilt together fit into the budget; one at least.
    pub fn batches(&self, budget: Budget) -> Vec<Vec<(usize, ObjectId, u64)>> {
        let (mut batches, mut bytes) = (Vec::<Vec<_>>::new(), 0);
        for wanted in &self.wanted {
            match batches.last_mut() {
                Some(batch) if bytes + wanted.2 <= budget.parity_kept_bytes() => batch.push(*wanted),
                _ => {
                    bytes = 0;
                    batches.push(vec![*wanted]);
                }
            }
            bytes += wanted.2;
        }
        batches
    }

    fn lost_in<'p>(&'p self, key: &'p GroupKey, range: &'p Range<u64>) -> impl Iterator<Item = usize> + 'p {
        let is_longer = |place: &usize| key.packs.get(*place).is_some_and(|(_, len)| *len > range.start);
        self.lost.iter().copied().filter(is_longer)
    }
}

/// Computes packs of a group; what comes out is to be compared with their names.
pub(super) fn rebuilt(
    work: &Work<'_>,
    key: &GroupKey,
    pieces: &[Piece],
    cover: &Cover,
    plan: &Plan,
    batch: &[(usize, ObjectId, u64)],
) -> Result<Vec<(ObjectId, Vec<u8>)>, RepoError> {
    let places = |place: &usize| !plan.lost.contains(place);
    let there: Vec<usize> = (0..key.packs.len()).filter(places).collect();
    let packs: Vec<_> = there.iter().filter_map(|place| key.packs.get(*place).copied()).collect();
    let mut columns = Columns::new(work, &packs);
    let mut decoder = Decoder::new(key.packs.len(), usize::from(key.shards), work.threads)?;
    let mut made: Vec<Vec<u8>> = batch.iter().map(|(_, _, len)| Vec::with_capacity(*len as usize)).collect();
    let stripe = stripe_len(work.repo.budget, key);
    for range in &plan.ranges {
        let lost: Vec<usize> = plan.lost_in(key, range).collect();
        let wanted: Vec<usize> =
            batch.iter().map(|(place, ..)| *place).filter(|at| lost.contains(at)).collect();
        if wanted.is_empty() {
            continue;
        }
        let shards = cover.at(range.start);
        let shards = shards.get(..lost.len()).unwrap_or_default();
        let mut at = range.start;
        while at < range.end {
            let part = at..range.end.min(at + stripe);
            let stripes = columns.read(&part)?;
            let zeros = vec![0; (part.end - part.start) as usize];
            let of_shard = |(number, piece): &(u8, usize)| {
                let piece = pieces.get(*piece).ok_or_else(|| RepoError::Internal("no such shard".into()))?;
                Ok((usize::from(*number), read_piece(work, piece, &part)?))
            };
            let of_shards: Vec<(usize, Vec<u8>)> =
                work.pool.install(|| shards.par_iter().map(of_shard).collect::<Result<_, RepoError>>())?;
            let ended = plan.lost.iter().filter(|place| !lost.contains(place));
            let packs: Vec<(usize, &[u8])> = there
                .iter()
                .copied()
                .zip(stripes.iter().map(|stripe| &stripe[..]))
                .chain(ended.map(|place| (*place, &zeros[..])))
                .collect();
            let shards: Vec<(usize, &[u8])> =
                of_shards.iter().map(|(number, part)| (*number, &part[..])).collect();
            let decoded = work.pool.install(|| decoder.decode(&packs, &shards, &wanted))?;
            for (place, part) in wanted.iter().zip(decoded) {
                let target = batch.iter().position(|(at, ..)| at == place).and_then(|at| made.get_mut(at));
                target.into_iter().for_each(|made| made.extend(&part));
            }
            at = part.end;
        }
    }
    let whole = batch.iter().zip(made).map(|((_, id, len), mut bytes)| {
        bytes.truncate(*len as usize);
        (*id, bytes)
    });
    Ok(whole.collect())
}

/// Reads a part of a shard. What cannot be had any more is zeros, and what comes of it is not what its name says.
fn read_piece(work: &Work<'_>, piece: &Piece, part: &Range<u64>) -> Result<Vec<u8>, RepoError> {
    let from = piece.part_at + (part.start - piece.start);
    let len = part.end - part.start;
    let read = work.storage().get(&piece.name(), from..from + len);
    read.or_else(|error: StorageError| {
        super::columns::fault_of(error)?;
        Ok(vec![0; len as usize])
    })
}
