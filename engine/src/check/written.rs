//! What one run wrote, read again: its snapshot, and its packs, all of them or a sample.
//!
//! A pack is read whole and every chunk in it compared with its name, so what passes can be read by a restore. What the run
//! took over from earlier ones is not looked at. The system may give the bytes from its memory, as with every reader: that
//! the disk has kept them too, a check on another day tells.

use super::chosen::lot;
use super::structure::stop_if_asked;
use super::{CheckError, CheckOptions, CheckReport, ReadData, damage_or, data};
use crate::crypto::header::ObjectKind;
use crate::id::ObjectId;
use crate::progress::{Event, Events, Phase};
use crate::repo::{RepoError, Repository};
use crate::snapshot;
use crate::storage::Name;

/// Packs of a sample: a tenth, but so many at least.
const LEAST_PACKS: usize = 4;

/// How much of what was written is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A tenth of the packs, four at least, chosen by this seed.
    Sample(u64),
    /// All packs.
    All,
}

/// Reads again what a run wrote: its snapshot and its packs, as its report names them.
pub fn written(
    repo: &Repository,
    id: &ObjectId,
    packs: &[ObjectId],
    extent: Extent,
    threads: usize,
    events: &dyn Events,
) -> Result<CheckReport, CheckError> {
    events.event(Event::Phase(Phase::Data));
    let mut report = CheckReport { packs: packs.len() as u64, ..CheckReport::default() };
    let name = Name::snapshot(*id);
    let opened = repo.objects.get(ObjectKind::Snapshot, &name);
    match opened.and_then(|plain| Ok(snapshot::decode(&plain)?)) {
        Ok(_) => report.snapshots = 1,
        Err(error) => damage_or(error, name, &mut report)?,
    }
    let mut there = Vec::new();
    for pack in chosen(packs, extent) {
        stop_if_asked(events)?;
        match repo.storage().len(&Name::pack(pack)).map_err(RepoError::from)? {
            Some(len) => there.push((pack, len)),
            None => report.damage(Name::pack(pack), "missing, and this run has written it"),
        }
    }
    // Not noted as read: what was written just now may come from the memory of the system.
    let options = CheckOptions { data: ReadData::All, unread_for_days: None, today: None, seed: 0, threads };
    data::read(repo, &there, &options, &mut report, events)?;
    Ok(report)
}

/// Returns the packs to read.
fn chosen(packs: &[ObjectId], extent: Extent) -> Vec<ObjectId> {
    let Extent::Sample(seed) = extent else { return packs.to_vec() };
    let mut packs = packs.to_vec();
    packs.sort_by_cached_key(|pack| lot(seed, pack));
    packs.truncate(packs.len().div_ceil(10).max(LEAST_PACKS));
    packs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_tenth_and_four_at_least() {
        let packs: Vec<_> = (0..=255).map(|byte| ObjectId::from_bytes([byte; 32])).collect();
        let count = |of: usize| chosen(&packs[..of], Extent::Sample(1)).len();
        assert_eq!([0, 1, 4, 5, 40, 41, 256].map(count), [0, 1, 4, 4, 4, 5, 26]);
        assert_eq!(chosen(&packs, Extent::All), packs);
        let seen: std::collections::BTreeSet<_> =
            (0..400).flat_map(|seed| chosen(&packs, Extent::Sample(seed))).collect();
        assert_eq!(seen.len(), packs.len(), "in the end each has been read");
        assert_ne!(chosen(&packs, Extent::Sample(1)), chosen(&packs, Extent::Sample(2)));
    }
}
