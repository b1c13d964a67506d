//! Which packs are damaged: as names and lengths tell, and as reading them tells, as far as that is asked for.

use super::RepairError;
use super::packs::PackOptions;
use crate::check::{self, CheckError, CheckOptions, Looked, ReadData, StoredPacks};
use crate::id::ObjectId;
use crate::progress::{Event, Events, Phase};
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Bytes of a pack that are hashed at once.
const STEP: u64 = 1 << 20;

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Damaged packs, those that are missing among them, and what is wrong with each.
    pub damaged: BTreeMap<ObjectId, String>,
    /// Those that are not there.
    pub missing: BTreeSet<ObjectId>,
    /// Packs that are as they were stored and that this program does not understand.
    pub strange: u64,
    /// Segments that cannot be read.
    pub segments: u64,
    /// Packs that are stored.
    pub packs: u64,
    /// Packs that were read whole.
    pub read: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Looks for damaged packs.
pub(super) fn find(
    repo: &Repository,
    options: &PackOptions<'_>,
    events: &dyn Events,
) -> Result<Found, RepairError> {
    let (mut found, stored) = by_names(repo, options.most_are_gone, events)?;
    read(repo, options, &stored, &mut found, events)?;
    Ok(found)
}

/// Looks for packs that are not there, or have another length than they were stored with; returns those that are stored as well.
pub(super) fn by_names(
    repo: &Repository,
    most_are_gone: bool,
    events: &dyn Events,
) -> Result<(Found, StoredPacks), RepairError> {
    events.event(Event::Phase(Phase::Structure));
    let mut found = Found::default();
    // Segments before packs: one that is named was stored then.
    let mut named = BTreeMap::new();
    repo.each_readable_segment(&mut |_, segment| {
        check::stop_if_asked(events)?;
        match segment {
            Ok(segment) => named.extend(segment.packs.iter().map(|pack| (pack.id, pack.stored_len))),
            Err(_) => found.segments += 1,
        }
        Ok(())
    })?;
    let stored = stored(repo)?;
    found.packs = stored.len() as u64;
    for (id, len) in &named {
        if repo.index()?.is_removed(id).map_err(RepoError::from)? {
            continue;
        }
        // A listing may lag behind: the object itself is asked for.
        let is = match stored.binary_search_by_key(id, |(id, _)| *id) {
            Ok(place) => Some(stored[place].1),
            Err(_) => repo.storage().len(&Name::pack(*id)).map_err(RepoError::from)?,
        };
        match is {
            Some(is) if is == *len => {}
            Some(is) => drop(found.damaged.insert(*id, format!("{is} bytes are stored, {len} were written"))),
            None => {
                found.missing.insert(*id);
                found.damaged.insert(*id, "it is not there".into());
            }
        }
    }
    let (missing, packs) = (found.missing.len() as u64, named.len() as u64);
    if missing * 2 > packs && packs > 2 && !most_are_gone {
        return Err(RepairError::MostAreGone { missing, packs });
    }
    Ok((found, stored))
}

/// Lists the packs that are stored and that no generation has removed.
pub(super) fn stored(repo: &Repository) -> Result<StoredPacks, RepoError> {
    let mut packs = StoredPacks::new();
    let mut each = |name: Name, len: u64| {
        packs.extend(name.object_id().map(|id| (id, len)));
        Ok(())
    };
    repo.storage().list(Family::Packs, &mut each, &mut |_| {})?;
    packs.sort_unstable();
    packs.dedup();
    let mut kept = StoredPacks::with_capacity(packs.len());
    for (id, len) in packs {
        if !repo.index()?.is_removed(&id)? {
            kept.push((id, len));
        }
    }
    Ok(kept)
}

/// Reads the packs that were named, and as many others as is asked for.
fn read(
    repo: &Repository,
    options: &PackOptions<'_>,
    stored: &StoredPacks,
    found: &mut Found,
    events: &dyn Events,
) -> Result<(), RepairError> {
    let how = CheckOptions {
        data: options.data,
        unread_for_days: None,
        today: options.today,
        seed: options.seed,
        threads: options.how.threads,
    };
    let mut chosen = match options.data {
        ReadData::Nothing => StoredPacks::new(),
        _ => check::chosen_packs(repo, stored, &how).map_err(of_check)?,
    };
    for pack in stored {
        // Also what a check of this machine found damaged.
        let number = repo.index()?.pack_number(&pack.0).map_err(RepoError::from)?;
        let is_rotten =
            number.map_or(Ok(false), |number| repo.index()?.is_rotten(number).map_err(RepoError::from));
        if options.named.contains(&pack.0) || is_rotten? {
            chosen.push(*pack);
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen.retain(|(id, _)| !found.damaged.contains_key(id));
    if chosen.is_empty() {
        return Ok(());
    }
    events.event(Event::Phase(Phase::Data));
    let told = Mutex::new(std::mem::take(found));
    let each = |id, len, Looked { faults, .. }: Looked| {
        let mut found = lock(&told);
        found.read += 1;
        found.bytes += len;
        let wrong = faults.into_iter().next().map(|fault| match fault.offset {
            Some(offset) => format!("at byte {offset}: {}", fault.message),
            None => fault.message,
        });
        found.damaged.extend(wrong.map(|wrong| (id, wrong)));
    };
    check::look_at_packs(repo, &chosen, &how, events, &each).map_err(of_check)?;
    *found = told.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let unknown: Vec<_> = chosen.into_iter().filter(|(id, _)| found.damaged.contains_key(id)).collect();
    for (id, len) in unknown {
        // Written by a newer program, perhaps: as long as it is what was stored it is none of ours.
        if repo.index()?.pack_number(&id).map_err(RepoError::from)?.is_none() && is_as_stored(repo, &id, len)?
        {
            found.damaged.remove(&id);
            found.strange += 1;
        }
    }
    Ok(())
}

/// Returns whether the bytes of a pack hash to its name.
fn is_as_stored(repo: &Repository, id: &ObjectId, len: u64) -> Result<bool, RepoError> {
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    while at < len {
        let end = len.min(at + STEP);
        hasher.update(&repo.storage().get(&Name::pack(*id), at..end)?);
        at = end;
    }
    Ok(hasher.finalize().as_bytes() == id.as_bytes())
}

pub(super) fn of_check(error: CheckError) -> RepairError {
    match error {
        CheckError::Repo(error) => RepairError::Repo(error),
        CheckError::Overtaken => RepairError::Overtaken,
    }
}
