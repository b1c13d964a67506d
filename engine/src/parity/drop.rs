//! Parity objects that go: a generation names them, then they are deleted.

use super::groups::{self, Groups};
use super::object::GroupKey;
use super::plan;
use crate::format::MAX_NAMES;
use crate::id::{ObjectId, SessionId};
use crate::progress::Events;
use crate::repo::control::Generation;
use crate::repo::sessions::any_unended;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name, Put};
use std::collections::BTreeSet;

/// The session of nobody: who removes parity needs none.
const NOBODY: SessionId = SessionId::from_bytes([0; 16]);
/// How often it begins anew because of others.
const ATTEMPTS: usize = 8;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Parity objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that no group protects any more and that one did.
    pub packs_unprotected: u64,
}

/// Removes the groups that `goes` chooses, all of their objects.
pub fn remove(
    repo: &Repository,
    goes: &dyn Fn(&GroupKey) -> bool,
    dry_run: bool,
    events: &dyn Events,
) -> Result<RemoveReport, RepoError> {
    repo.assert_reads()?;
    let choose = |groups: &Groups, _: bool| {
        let all = groups.all.iter().filter(|(key, _)| goes(key));
        let mut going: Vec<ObjectId> = all.flat_map(|(_, pieces)| pieces).map(|piece| piece.id).collect();
        // What cannot be read is of no group: it goes with all of them.
        if groups.all.keys().all(goes) {
            going.extend(groups.faults.iter().map(|(id, ..)| *id));
        }
        Ok(going)
    };
    carry_out(repo, &choose, dry_run, events)
}

/// Removes what protects nothing that other groups do not protect as well.
pub(super) fn superfluous(repo: &Repository, events: &dyn Events) -> Result<RemoveReport, RepoError> {
    let index = repo.index()?;
    let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
    let choose = |groups: &Groups, is_settled: bool| {
        plan::superfluous(groups, &groups::stored_packs(repo)?, &is_removed, is_settled)
    };
    carry_out(repo, &choose, false, events)
}

/// Removes these objects, which are damaged.
pub(super) fn objects(
    repo: &Repository,
    ids: &BTreeSet<ObjectId>,
    events: &dyn Events,
) -> Result<RemoveReport, RepoError> {
    let choose = |groups: &Groups, _: bool| {
        let stored = groups.all.values().flatten().map(|piece| piece.id);
        let all = stored.chain(groups.faults.iter().map(|(id, ..)| *id));
        Ok(all.filter(|id| ids.contains(id)).collect())
    };
    carry_out(repo, &choose, false, events)
}

/// What goes of these groups; the second argument says whether nobody is at work on them.
type Choose<'a> = &'a dyn Fn(&Groups, bool) -> Result<Vec<ObjectId>, RepoError>;

/// Publishes a generation that names what goes, then deletes it. In this order: the newest generation; which objects
/// there are; sessions; the objects again. So one that a writer was at work on when it was first seen is either left
/// alone or is complete by now; and if anything at all was removed since, the number is taken and all begins anew.
fn carry_out(
    repo: &Repository,
    choose: Choose<'_>,
    dry_run: bool,
    events: &dyn Events,
) -> Result<RemoveReport, RepoError> {
    let mut report = RemoveReport::default();
    for _ in 0..ATTEMPTS {
        let base = repo.apply_generations()?;
        let seen = repo.objects.ids(Family::Parity)?;
        let is_settled = !any_unended(&repo.objects, NOBODY)?;
        let mut groups = Groups::look(repo, events)?;
        if !dry_run {
            // What an earlier generation removed and nobody deleted yet.
            groups.left_over.iter().try_for_each(|id| repo.storage().delete(&Name::parity(*id)))?;
        }
        let mut going = choose(&groups, is_settled)?;
        going.retain(|id| seen.contains(id));
        going.truncate(MAX_NAMES);
        if going.is_empty() {
            return Ok(report);
        }
        let index = repo.index()?;
        let is_removed = |id: &ObjectId| Ok(index.is_removed(id)?);
        let stored = groups::stored_packs(repo)?;
        let before = groups.spares(&stored, &is_removed)?;
        let gone: BTreeSet<ObjectId> = going.iter().copied().collect();
        let mut lens = 0;
        for pieces in groups.all.values_mut() {
            let of_these = pieces.iter().filter(|piece| gone.contains(&piece.id));
            lens += of_these.map(|piece| piece.stored_len()).sum::<u64>();
            pieces.retain(|piece| !gone.contains(&piece.id));
        }
        let after = groups.spares(&stored, &is_removed)?;
        let told = RemoveReport {
            objects: report.objects + going.len() as u64,
            bytes: report.bytes + lens,
            packs_unprotected: report.packs_unprotected
                + before.keys().filter(|id| !after.contains_key(id)).count() as u64,
        };
        if dry_run {
            return Ok(told);
        }
        let (number, previous) =
            base.map_or((1, ObjectId::from_bytes([0; 32])), |mark| (mark.number + 1, mark.id));
        let generation = Generation { parity: going, ..Generation::empty(number, previous, NOBODY) };
        let (generation, put) = repo.publish_signed_generation(generation)?;
        if put == Put::Present {
            continue;
        }
        repo.apply_generations()?;
        generation.parity.iter().try_for_each(|id| repo.storage().delete(&Name::parity(*id)))?;
        report = told;
    }
    if report.objects > 0 {
        Ok(report)
    } else {
        Err(RepoError::Refused("others change the repository all the time; try again".into()))
    }
}
