//! Which packs are read: all, a share, or those that nobody has read for long.

use super::{CheckError, CheckOptions, ReadData, StoredPacks};
use crate::id::ObjectId;
use crate::repo::{RepoError, Repository};

/// Chooses the packs to read, in the order of their names. Memory: 16 bytes per pack, and 40 for each that is chosen.
pub(crate) fn packs(
    repo: &Repository,
    packs: &StoredPacks,
    options: &CheckOptions,
) -> Result<StoredPacks, CheckError> {
    let mut waiting = Vec::with_capacity(packs.len());
    for (place, (id, _)) in packs.iter().enumerate() {
        // A day that is still to come is of a clock that was wrong.
        let day = day_read(repo, id)?.filter(|day| options.today.is_none_or(|today| *day <= today));
        let is_due = match (options.unread_for_days, day) {
            (Some(days), Some(day)) => options.today.is_none_or(|today| today - day >= days),
            _ => true,
        };
        if is_due {
            // Never read comes before all days.
            waiting.push((day.map_or(0, |day| day.saturating_add(1)), lot(options.seed, id), place));
        }
    }
    if let ReadData::Percent(percent) = options.data {
        waiting.sort_unstable();
        waiting.truncate((packs.len() * usize::from(percent)).div_ceil(100));
        waiting.sort_unstable_by_key(|(_, _, place)| *place);
    }
    Ok(waiting.into_iter().filter_map(|(_, _, place)| packs.get(place).copied()).collect())
}

/// Notes that a pack was read whole, by the number that the index has for it.
pub(super) fn note(repo: &Repository, id: &ObjectId, day: u32) -> Result<(), RepoError> {
    match repo.index()?.pack_number(id)? {
        Some(number) => Ok(repo.index()?.note_read(number, day)?),
        None => Ok(()),
    }
}

/// Notes whether a pack was found damaged: nothing is deduplicated against it then.
pub(super) fn note_rot(repo: &Repository, id: &ObjectId, is_rotten: bool) -> Result<(), RepoError> {
    match repo.index()?.pack_number(id)? {
        Some(number) => Ok(repo.index()?.note_rot(number, is_rotten)?),
        None => Ok(()),
    }
}

/// Counts the packs that this machine never read, as far as it knows.
pub(super) fn never_read(repo: &Repository, packs: &StoredPacks) -> Result<u64, CheckError> {
    packs.iter().try_fold(0, |count, (id, _)| Ok(count + u64::from(day_read(repo, id)?.is_none())))
}

fn day_read(repo: &Repository, id: &ObjectId) -> Result<Option<u32>, RepoError> {
    Ok(match repo.index()?.pack_number(id)? {
        Some(number) => repo.index()?.day_read(number)?,
        None => None,
    })
}

/// Draws a number for a pack, another one with every seed.
pub(super) fn lot(seed: u64, id: &ObjectId) -> u32 {
    let hash = blake3::Hasher::new().update(&seed.to_le_bytes()).update(id.as_bytes()).finalize();
    hash.as_bytes().first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}
