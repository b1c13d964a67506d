//! The end of a backup: what the snapshot depends on, and the object that makes it exist.

use crate::crypto::header::ObjectKind;
use crate::id::ObjectId;
use crate::planted::{Bug, planted};
use crate::repo::control::Verdict;
use crate::repo::sessions::{Dependencies, Endangered, OpenSession, read_generation};
use crate::repo::write::Stored;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{self, Snapshot};
use crate::storage::Name;
use std::collections::BTreeSet;

/// Returns what the new snapshot depends on: its parents, the packs of others, and this session's own,
/// those of earlier passes among them.
pub(super) fn dependencies(parents: &[ObjectId], last: &Stored, own: &Stored) -> Dependencies {
    let mut packs = last.relied_on.clone();
    packs.retain(|pack| !own.packs.contains(pack));
    Dependencies {
        snapshots: parents.to_vec(),
        packs,
        own_packs: own.packs.clone(),
        own_segments: own.segments.clone(),
    }
}

/// Returns whether anything the snapshot depends on is about to be removed, or was.
///
/// Everything is named: what of the parent's listing is used again was asked for chunk by chunk.
pub(super) fn is_endangered(dependencies: &Dependencies, endangered: &Endangered) -> bool {
    let hit = |ids: &[ObjectId], set: &BTreeSet<ObjectId>| ids.iter().any(|id| set.contains(id));
    hit(&dependencies.snapshots, &endangered.snapshots)
        || hit(&dependencies.packs, &endangered.packs)
        || hit(&dependencies.own_packs, &endangered.packs)
        || hit(&dependencies.own_segments, &endangered.segments)
}

/// Returns the packs of others that the snapshot would depend on and that are not stored, or not with their
/// length: a segment names them, so the index offers them, but they were lost.
pub(super) fn lost(repo: &Repository, dependencies: &Dependencies) -> Result<BTreeSet<ObjectId>, RepoError> {
    let mut lost = BTreeSet::new();
    for id in dependencies.packs.iter().filter(|_| !planted(Bug::SkipLostPacks)) {
        let known = repo.index()?.pack_number(id)?.map(|number| repo.pack_info(number)).transpose()?;
        if repo.storage().len(&Name::pack(*id))? != known.map(|pack| pack.stored_len) {
            lost.insert(*id);
        }
    }
    Ok(lost)
}

/// Takes out of a run's own packs and segments what is about to be removed, so that they are not depended
/// on any more. The packs of a segment that goes would be in none, so they are left behind as well.
pub(super) fn leave_behind(own: &mut Stored, endangered: &mut Endangered) {
    if own.segments.iter().any(|id| endangered.segments.contains(id)) {
        endangered.packs.extend(own.packs.drain(..));
        own.segments.clear();
    }
    own.packs.retain(|id| !endangered.packs.contains(id));
}

/// Stores the snapshot and ends the session with it. Returns the snapshot's name, or `None` if the session was
/// fenced.
pub(super) fn try_commit(
    repo: &Repository,
    session: &OpenSession,
    snapshot: &Snapshot,
    generation: u64,
) -> Result<Option<ObjectId>, RepoError> {
    let plain = snapshot::encode(snapshot);
    // As its writer reads it; what cannot be stored is refused with its reason.
    snapshot::decode(&plain)?;
    let objects = &repo.objects;
    let means = |opened: &[u8]| snapshot::decode(opened).is_ok_and(|again| again == *snapshot);
    let name = |id| {
        if planted(Bug::EndBeforeSnapshot) {
            let _ = session.end(Verdict::Committed(id));
        }
        Name::snapshot(id)
    };
    let id = objects.put_hashed(ObjectKind::Snapshot, name, &plain, Some(session.id), &means)?;
    match session.end(Verdict::Committed(id)) {
        Ok(()) => {}
        Err(RepoError::Fenced) => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut number = generation + 1;
    while let Some((newer, _)) = read_generation(objects, number)? {
        if newer.retired.contains(&session.id) {
            return Err(RepoError::Fenced);
        }
        number += 1;
    }
    Ok(Some(id))
}
