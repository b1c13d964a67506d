//! The end of a backup: what the snapshot depends on, and the object that makes it exist.

use super::compare::Parent;
use super::{BackupError, BackupRequest};
use crate::crypto::header::ObjectKind;
use crate::error::Corrupt;
use crate::id::ObjectId;
use crate::repo::control::{Purpose, Verdict};
use crate::repo::sessions::{Dependencies, Endangered, OpenSession, look_again, read_generation};
use crate::repo::write::Stored;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{self, Snapshot};
use crate::storage::Name;
use std::collections::BTreeSet;

/// How often a fenced run begins a new session before it gives up.
const SESSIONS: usize = 5;

/// Returns what the new snapshot depends on: the parent, the packs of others, and this session's own,
/// those of earlier passes among them.
pub(super) fn dependencies(parent: Option<&Parent>, last: &Stored, own: &Stored) -> Dependencies {
    let mut packs = last.relied_on.clone();
    packs.retain(|pack| !own.packs.contains(pack));
    Dependencies {
        snapshots: parent.map(|parent| parent.id).into_iter().collect(),
        packs,
        own_packs: own.packs.clone(),
        own_segments: own.segments.clone(),
    }
}

/// Returns whether anything the snapshot depends on is about to be removed, or was.
pub(super) fn is_endangered(
    repo: &Repository,
    dependencies: &Dependencies,
    endangered: &Endangered,
) -> Result<bool, RepoError> {
    let hit = |ids: &[ObjectId], set: &BTreeSet<ObjectId>| ids.iter().any(|id| set.contains(id));
    if *endangered == Endangered::default() {
        return Ok(false);
    }
    // Packs below a reused snapshot are not listed in the intent; whatever is condemned could be one of them,
    // so a condemned pack that the index still offers counts as well.
    let offered = !dependencies.snapshots.is_empty() && {
        let mut any = false;
        for pack in &endangered.packs {
            any |= repo.index()?.pack_number(pack)?.is_some();
        }
        any
    };
    Ok(offered
        || hit(&dependencies.snapshots, &endangered.snapshots)
        || hit(&dependencies.packs, &endangered.packs)
        || hit(&dependencies.own_packs, &endangered.packs)
        || hit(&dependencies.own_segments, &endangered.segments))
}

/// Returns the packs of others that the snapshot would depend on and that are not stored, or not with their
/// length: a segment names them, so the index offers them, but they were lost.
pub(super) fn lost(repo: &Repository, dependencies: &Dependencies) -> Result<BTreeSet<ObjectId>, RepoError> {
    let mut lost = BTreeSet::new();
    for id in &dependencies.packs {
        let known = repo.index()?.pack_number(id)?.map(|number| repo.pack_info(number)).transpose()?;
        if repo.storage().len(&Name::pack(*id))? != known.map(|pack| pack.stored_len) {
            lost.insert(*id);
        }
    }
    Ok(lost)
}

/// Stores the snapshot and ends the session with it. A fenced run begins a new session over the same packs.
pub(super) fn commit(
    repo: &Repository,
    session: &OpenSession,
    mut snapshot: Snapshot,
    dependencies: &Dependencies,
    request: &BackupRequest<'_>,
    generation: u64,
) -> Result<ObjectId, BackupError> {
    if let Some(id) = try_commit(repo, session, &snapshot, generation)? {
        return Ok(id);
    }
    for _ in 0..SESSIONS {
        let host = &request.host;
        let next = OpenSession::begin(&repo.objects, Purpose::Backup, host, request.time, generation)?;
        snapshot.session = next.id;
        next.publish(dependencies)?;
        if is_endangered(repo, dependencies, &look_again(&repo.objects, generation)?)? {
            next.end(Verdict::Abandoned)?;
            return Err(BackupError::Overtaken);
        }
        if let Some(id) = try_commit(repo, &next, &snapshot, generation)? {
            return Ok(id);
        }
    }
    Err(BackupError::Overtaken)
}

/// Returns the snapshot's name, or `None` if the session was fenced.
fn try_commit(
    repo: &Repository,
    session: &OpenSession,
    snapshot: &Snapshot,
    generation: u64,
) -> Result<Option<ObjectId>, RepoError> {
    let plain = snapshot::encode(snapshot);
    if snapshot::decode(&plain)? != *snapshot {
        return Err(Corrupt::new("snapshot", "it changed while it was encoded: faulty memory").into());
    }
    let objects = &repo.objects;
    let id = objects.put_hashed(ObjectKind::Snapshot, Name::snapshot, &plain, Some(session.id))?;
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
