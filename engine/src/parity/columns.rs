//! The packs of a group side by side, a stripe of all of them at a time; each is hashed as it passes.

use super::code::Encoder;
use super::object::{GroupKey, Head, Piece};
use crate::error::Kind;
use crate::format::{PARITY_STEP, PARITY_UNIT};
use crate::id::ObjectId;
use crate::progress::{Event, Events};
use crate::repo::{Budget, RepoError, Repository};
use crate::storage::{Name, Storage};
use rayon::prelude::*;
use std::ops::Range;

/// Longest stripe of a pack: longer ones save nothing more.
const MAX_STRIPE: u64 = 1 << 20;

/// What a run over groups works with.
pub(super) struct Work<'a> {
    pub repo: &'a Repository,
    pub events: &'a dyn Events,
    pub pool: rayon::ThreadPool,
    pub threads: usize,
}

impl<'a> Work<'a> {
    /// Prepares for so many threads.
    pub fn new(repo: &'a Repository, threads: usize, events: &'a dyn Events) -> Result<Self, RepoError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| RepoError::Internal(format!("threads: {error}")))?;
        Ok(Self { repo, events, pool, threads })
    }

    pub fn storage(&self) -> &dyn Storage {
        &**self.repo.storage()
    }

    pub fn stop_if_asked(&self) -> Result<(), RepoError> {
        if self.events.cancelled() { Err(RepoError::Cancelled) } else { Ok(()) }
    }
}

/// Returns how long the stripes of a group are, so that they and the code's memory stay within the budget.
pub(super) fn stripe_len(budget: Budget, key: &GroupKey) -> u64 {
    let (packs, shards) = (key.packs.len(), usize::from(key.shards));
    // As read, in the memory of the code when it decodes, and as it comes out of it.
    let rows = packs + (packs + shards.next_power_of_two()).next_power_of_two() + shards;
    let most = budget.parity_stripe_bytes() / rows as u64 / PARITY_STEP * PARITY_STEP;
    most.clamp(PARITY_STEP, MAX_STRIPE)
}

/// Cuts the shards of a group into parts of which all shards together fit into the budget: one object each.
pub(super) fn windows(budget: Budget, key: &GroupKey) -> Vec<Range<u64>> {
    let len = key.shard_len();
    let most = (budget.parity_kept_bytes() / u64::from(key.shards)).max(PARITY_STEP);
    let each = len.div_ceil(len.div_ceil(most).max(1)).next_multiple_of(PARITY_STEP);
    (0..len).step_by(usize::try_from(each).unwrap_or(usize::MAX)).map(|at| at..len.min(at + each)).collect()
}

/// One pack on its way through.
struct Column {
    id: ObjectId,
    len: u64,
    hasher: blake3::Hasher,
    fault: Option<Fault>,
}

/// Why a pack cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// It is not there at all.
    pub is_missing: bool,
    /// Its bytes could not be had; another time they perhaps can.
    pub is_unreadable: bool,
    pub why: String,
}

impl Fault {
    /// The object is there and is not what its name says.
    pub fn wrong_bytes() -> Self {
        Self { is_missing: false, is_unreadable: false, why: "its bytes do not hash to its name".into() }
    }
}

/// Makes a fault of an error that concerns one object; what concerns all is passed on.
pub(super) fn fault_of(error: crate::storage::StorageError) -> Result<Fault, RepoError> {
    let (is_missing, is_unreadable) = (error.is_missing(), error.kind() == Kind::Io);
    // A disk that cannot give an object's bytes has lost them as well.
    if matches!(error.kind(), Kind::Missing | Kind::Integrity | Kind::Io) {
        return Ok(Fault { is_missing, is_unreadable, why: error.trouble.to_string() });
    }
    Err(error.into())
}

impl Column {
    /// Reads a stripe, zeros behind the end of the pack. After a fault there are only zeros.
    fn read(&mut self, storage: &dyn Storage, range: &Range<u64>) -> Result<Vec<u8>, RepoError> {
        let width = (range.end - range.start) as usize;
        let mut bytes = Vec::new();
        if self.fault.is_none() && range.start < self.len {
            match storage.get(&Name::pack(self.id), range.start..range.end.min(self.len)) {
                Ok(read) => bytes = read,
                Err(error) => self.fault = Some(fault_of(error)?),
            }
            self.hasher.update(&bytes);
        }
        bytes.resize(width, 0);
        Ok(bytes)
    }
}

/// The packs of a group side by side.
pub(super) struct Columns<'w, 'a> {
    work: &'w Work<'a>,
    columns: Vec<Column>,
}

impl<'w, 'a> Columns<'w, 'a> {
    /// Starts at the beginning of these packs.
    pub fn new(work: &'w Work<'a>, packs: &[(ObjectId, u64)]) -> Self {
        let column = |(id, len): &(ObjectId, u64)| Column {
            id: *id,
            len: *len,
            hasher: blake3::Hasher::new(),
            fault: None,
        };
        Self { work, columns: packs.iter().map(column).collect() }
    }

    /// Reads the next stripe of every pack.
    pub fn read(&mut self, range: &Range<u64>) -> Result<Vec<Vec<u8>>, RepoError> {
        self.work.stop_if_asked()?;
        let storage = self.work.storage();
        let columns = &mut self.columns;
        let stripes: Vec<Vec<u8>> = self.work.pool.install(|| {
            columns.par_iter_mut().map(|column| column.read(storage, range)).collect::<Result<_, _>>()
        })?;
        let within = |column: &Column| column.len.min(range.end).saturating_sub(range.start);
        let bytes = self.columns.iter().map(within).sum();
        self.work.events.event(Event::Done { entries: 0, bytes, path: None });
        Ok(stripes)
    }

    /// Passes over a range: it is hashed and no more.
    pub fn skip(&mut self, range: Range<u64>) -> Result<(), RepoError> {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + PARITY_STEP);
            self.read(&(at..end))?;
            at = end;
        }
        Ok(())
    }

    /// Returns the packs that are not what their names say, once they were read to their ends.
    pub fn faults(&self) -> Vec<(ObjectId, Fault)> {
        let mut faults = Vec::new();
        for column in &self.columns {
            let is_same = || column.hasher.finalize().as_bytes() == column.id.as_bytes();
            match &column.fault {
                Some(fault) => faults.push((column.id, fault.clone())),
                None if crate::planted::planted(crate::planted::Bug::GroupUnread) => {}
                None if !is_same() => {
                    faults.push((column.id, Fault::wrong_bytes()));
                }
                None => {}
            }
        }
        faults
    }
}

/// Computes a part of the shards of a group, from packs that are read on from where they are.
pub(super) fn encode(
    work: &Work<'_>,
    columns: &mut Columns<'_, '_>,
    encoder: &mut Encoder,
    key: &GroupKey,
    window: &Range<u64>,
) -> Result<Vec<Vec<u8>>, RepoError> {
    let stripe = stripe_len(work.repo.budget, key);
    let len = (window.end - window.start) as usize;
    let mut shards = vec![Vec::with_capacity(len); usize::from(key.shards)];
    let mut at = window.start;
    while at < window.end {
        let end = window.end.min(at + stripe);
        let stripes = columns.read(&(at..end))?;
        let made = work.pool.install(|| encoder.encode(&stripes))?;
        shards.iter_mut().zip(made).for_each(|(shard, part)| shard.extend(part));
        at = end;
    }
    Ok(shards)
}

/// Returns what the object of a part of a shard says.
pub(super) fn head(key: &GroupKey, number: usize, window: &Range<u64>, part: &[u8]) -> Head {
    let (start, len) = (window.start, window.end - window.start);
    Head { group: key.clone(), number: number as u8, start, len, hash: *blake3::hash(part).as_bytes() }
}

/// Returns why a stored pack of this length cannot be believed, if so: it is read whole.
pub(super) fn pack_fault(storage: &dyn Storage, id: ObjectId, len: u64) -> Result<Option<Fault>, RepoError> {
    let mut column = Column { id, len, hasher: blake3::Hasher::new(), fault: None };
    let mut at = 0;
    while at < len && column.fault.is_none() {
        let end = len.min(at + MAX_STRIPE);
        column.read(storage, &(at..end))?;
        at = end;
    }
    match column.fault {
        None if column.hasher.finalize().as_bytes() != id.as_bytes() => Ok(Some(Fault::wrong_bytes())),
        fault => Ok(fault),
    }
}

/// Returns why a stored parity object is not what its writer stored, if so: it is read whole.
pub(super) fn piece_fault(storage: &dyn Storage, piece: &Piece) -> Result<Option<Fault>, RepoError> {
    let (mut whole, mut part) = (blake3::Hasher::new(), blake3::Hasher::new());
    let mut at = 0;
    while at < piece.stored_len() {
        // The head first, then the part of the shard.
        let limit = if at < piece.part_at { piece.part_at } else { piece.stored_len() };
        let end = limit.min(at + MAX_STRIPE);
        let bytes = match storage.get(&piece.name(), at..end) {
            Ok(bytes) => bytes,
            Err(error) => return fault_of(error).map(Some),
        };
        whole.update(&bytes);
        if at >= piece.part_at {
            part.update(&bytes);
        }
        at = end;
    }
    let is_same =
        whole.finalize().as_bytes() == piece.id.as_bytes() && *part.finalize().as_bytes() == piece.hash;
    Ok((!is_same).then(Fault::wrong_bytes))
}

const _: () = assert!(MAX_STRIPE.is_multiple_of(PARITY_UNIT));

#[cfg(test)]
mod tests {
    use super::*;

    fn key(packs: usize, shards: u8, len: u64) -> GroupKey {
        let id = |n: usize| ObjectId::from_bytes([n as u8; 32]);
        GroupKey { packs: (0..packs).map(|n| (id(n), len)).collect(), shards }
    }

    #[test]
    fn windows_touch_and_fit() {
        for budget in [0, 256 << 20, 1 << 34].map(Budget::new) {
            for (shards, len) in
                [(1, 1), (2, 16 << 20), (2, (16 << 20) + 65_600), (32, 16 << 20), (32, 1 << 30)]
            {
                let key = key(128, shards, len);
                let all = windows(budget, &key);
                assert_eq!((all[0].start, all.last().unwrap().end), (0, key.shard_len()));
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
                for window in &all {
                    assert!(window.start.is_multiple_of(PARITY_STEP) && window.start < window.end);
                    let kept = (window.end - window.start) * u64::from(shards);
                    assert!(kept <= budget.parity_kept_bytes() + PARITY_STEP * u64::from(shards), "{kept}");
                }
                let stripe = stripe_len(budget, &key);
                assert!(stripe >= PARITY_STEP && stripe.is_multiple_of(PARITY_STEP));
            }
        }
        assert_eq!(
            windows(Budget::new(256 << 20), &key(128, 2, 16 << 20)).len(),
            1,
            "one object for each shard"
        );
    }
}
