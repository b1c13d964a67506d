//! Deleting: what generations have removed, what dead runs left, what counts for nobody any more. All of it may be
//! done twice, by anybody, and broken off anywhere.

use super::witness::Sessions;
use crate::crypto::header::ObjectKind;
use crate::id::{ObjectId, SessionId};
use crate::progress::Events;
use crate::repo::control::{Generation, Verdict};
use crate::repo::sessions::{live_condemned, read_generation};
use crate::repo::{RepoError, Repository};
use crate::snapshot;
use crate::storage::{Family, Name, Part};
use std::collections::BTreeSet;

/// What generations have removed, as far as it is still stored.
#[derive(Default)]
pub(super) struct Removed {
    pub packs: BTreeSet<ObjectId>,
    segments: BTreeSet<ObjectId>,
    snapshots: BTreeSet<ObjectId>,
    parity: BTreeSet<ObjectId>,
    retired: BTreeSet<SessionId>,
}

impl Removed {
    /// Takes it from the generations up to `newest`.
    pub fn by_all(repo: &Repository, newest: u64) -> Result<Self, RepoError> {
        let ids = |family| repo.objects.ids(family);
        let (packs, segments) = (ids(Family::Packs)?, ids(Family::Segments)?);
        let (snapshots, parity) = (repo.stored_snapshots()?, ids(Family::Parity)?);
        let sessions = [Family::Sessions, Family::Runs].map(|family| repo.objects.names(family));
        let mut begun = BTreeSet::new();
        for names in sessions {
            begun.extend(names?.iter().filter_map(Name::session_id));
        }
        let mut removed = Self::default();
        for number in 1..=newest {
            let Some((generation, _)) = read_generation(&repo.objects, number)? else { break };
            removed.packs.extend(generation.packs.iter().filter(|id| packs.contains(id)));
            removed.segments.extend(generation.segments.iter().filter(|id| segments.contains(id)));
            removed.snapshots.extend(generation.snapshots.iter().filter(|id| snapshots.contains(id)));
            removed.parity.extend(generation.parity.iter().filter(|id| parity.contains(id)));
            removed.retired.extend(generation.retired.iter().filter(|id| begun.contains(id)));
        }
        Ok(removed)
    }

    /// Takes it from one generation.
    pub fn by(generation: &Generation) -> Self {
        Self {
            packs: generation.packs.iter().copied().collect(),
            segments: generation.segments.iter().copied().collect(),
            snapshots: generation.snapshots.iter().copied().collect(),
            parity: generation.parity.iter().copied().collect(),
            retired: generation.retired.iter().copied().collect(),
        }
    }

    /// Deletes it.
    pub fn delete(&self, repo: &Repository, events: &dyn Events) -> Result<(), RepoError> {
        let storage = repo.storage();
        // Packs first: room is what it is all about.
        for id in &self.packs {
            if events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            storage.delete(&Name::pack(*id))?;
        }
        self.parity.iter().try_for_each(|id| storage.delete(&Name::parity(*id)))?;
        self.segments.iter().try_for_each(|id| storage.delete(&Name::segment(*id)))?;
        self.snapshots.iter().try_for_each(|id| storage.delete(&Name::snapshot(*id)))?;
        if self.retired.is_empty() {
            return Ok(());
        }
        for name in repo.objects.names(Family::Runs)? {
            if name.session_id().is_some_and(|id| self.retired.contains(&id)) {
                storage.delete(&name)?;
            }
        }
        sessions(repo, &|id| self.retired.contains(&id), true)
    }
}

/// Deletes objects of sessions: first all but the ends, then the ends, if they are to go.
pub(super) fn sessions(
    repo: &Repository,
    of: &dyn Fn(SessionId) -> bool,
    ends_too: bool,
) -> Result<(), RepoError> {
    let names = repo.objects.names(Family::Sessions)?;
    let ours = || names.iter().filter(|name| name.session_id().is_some_and(of));
    let is_end = |name: &&Name| matches!(name, Name::Session(_, Part::End));
    for name in ours().filter(|name| !is_end(name)) {
        repo.storage().delete(name)?;
    }
    for name in ours().filter(|name| is_end(name) && ends_too) {
        repo.storage().delete(name)?;
    }
    Ok(())
}

/// Deletes what counts for nobody: condemned sets that have ended, all that fenced, abandoned and done sessions left
/// but the ends of the first two, for which a sleeping owner may look, and their snapshots.
pub(super) fn tidy(repo: &Repository, newest: u64, ended: &Sessions) -> Result<(), RepoError> {
    for set in live_condemned(&repo.objects)?.iter().filter(|set| set.base < newest) {
        repo.storage().delete(&Name::condemned(set.number))?;
    }
    let verdict = |id: SessionId| ended.ended.get(&id).copied();
    sessions(repo, &|id| verdict(id) == Some(Verdict::Done), true)?;
    let failed = |id| matches!(verdict(id), Some(Verdict::Fenced(_) | Verdict::Abandoned));
    sessions(repo, &failed, false)?;
    let committed: BTreeSet<ObjectId> = ended
        .ended
        .values()
        .filter_map(|verdict| match verdict {
            Verdict::Committed(id) => Some(*id),
            _ => None,
        })
        .collect();
    for id in repo.stored_snapshots()?.difference(&committed) {
        let name = Name::snapshot(*id);
        // What cannot be read is left to `check`.
        let Ok(plain) = repo.objects.get(ObjectKind::Snapshot, &name) else { continue };
        if snapshot::decode(&plain).is_ok_and(|snapshot| failed(snapshot.session)) {
            repo.storage().delete(&name)?;
        }
    }
    Ok(())
}
