//! A snapshot made anew without paths that are to go.

use super::accounts::Load;
use super::carry::{Stays, count};
use super::{CopyError, CopyRequest, doubt, store};
use crate::backup::RunKind;
use crate::id::ObjectId;
use crate::listing::{StoredPath, Time, Walk};
use crate::progress::Events;
use crate::repo::control::Purpose;
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Origin, Provenance, Snapshot, Totals};

/// Paths that a report names at most.
const REPORTED: usize = 1000;

/// What to take out of which snapshot.
pub struct RewriteRequest<'a> {
    /// The snapshot.
    pub snapshot: ObjectId,
    /// Says of a path, and whether it is a directory, that it goes. What is below a directory that goes is not asked for.
    pub goes: &'a dyn Fn(&StoredPath, bool) -> bool,
    /// How to store.
    pub how: CopyRequest<'a>,
}

/// What goes, or would go, from a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// Module and path of what goes, with all that is below it: the first 1,000.
    pub paths: Vec<(String, StoredPath)>,
    /// How many such paths there are.
    pub paths_total: u64,
    /// Entries, files, directories and bytes.
    pub totals: Totals,
}

/// What became of a snapshot.
#[derive(Clone, Debug)]
pub struct RewriteReport {
    /// The new one; `None` if nothing was to be taken out.
    pub snapshot: Option<ObjectId>,
    /// Whether it was there already.
    pub was_there: bool,
    /// What is not in it any more.
    pub removed: Removed,
}

/// Finds out what would go from a snapshot. Reads its listings and changes nothing.
pub fn removed(
    repo: &Repository,
    snapshot: &Snapshot,
    goes: &dyn Fn(&StoredPath, bool) -> bool,
    events: &dyn Events,
) -> Result<Removed, CopyError> {
    let mut removed = Removed::default();
    for account in &snapshot.accounts {
        for listing in account.listings.iter().filter(|listing| listing.root.entries > 0) {
            repo.assert_opens(listing.root.class).map_err(CopyError::Source)?;
            let reader = ChunkReader::of_maps(repo, listing.root.class);
            let walk = Walk::new(&reader, listing.root, repo.leaf_target(), &StoredPath::root());
            let mut walk = walk.map_err(CopyError::Source)?;
            let mut gone: Option<StoredPath> = None;
            while let Some((path, node)) = walk.next().map_err(CopyError::Source)? {
                if events.cancelled() {
                    return Err(CopyError::Source(RepoError::Cancelled));
                }
                let is_below = gone.as_ref().is_some_and(|gone| path.is_within(gone));
                if !is_below && !goes(&path, node.is_directory()) {
                    continue;
                }
                count(&mut removed.totals, &node);
                if !is_below {
                    removed.paths_total += 1;
                    if removed.paths.len() < REPORTED {
                        removed.paths.push((account.module.clone(), path.clone()));
                    }
                    gone = Some(path);
                }
            }
        }
    }
    Ok(removed)
}

/// Makes a snapshot anew without what goes: time, host, labels and all else stay. The old one stays too.
///
/// Nothing is made if nothing goes, nor if the same was made before. Dumps and manifests stay whole. One that a run record
/// calls suspect is called so again.
pub fn rewrite(
    repo: &Repository,
    request: &RewriteRequest<'_>,
    events: &dyn Events,
) -> Result<RewriteReport, CopyError> {
    let all = repo.catalog().map_err(CopyError::Source)?.0;
    let id = request.snapshot;
    let (_, old) = all.iter().find(|(known, _)| *known == id).ok_or(CopyError::Absent(id))?;
    let removed = removed(repo, old, request.goes, events)?;
    if removed.paths_total == 0 {
        return Ok(RewriteReport { snapshot: None, was_there: false, removed });
    }
    let origin = Origin { repo: repo.id(), snapshot: id };
    // One that lacks just as much and was made from the same is from an earlier go that was interrupted later on.
    let earlier = all.iter().filter(|(_, snapshot)| snapshot.provenance.rewritten_from == Some(origin));
    for (earlier, snapshot) in earlier {
        let lacks = |old: u64, new: u64, gone: u64| old.checked_sub(new) == Some(gone);
        let same = lacks(old.totals.entries, snapshot.totals.entries, removed.totals.entries)
            && lacks(old.totals.bytes, snapshot.totals.bytes, removed.totals.bytes)
            && self::removed(repo, snapshot, request.goes, events)?.paths_total == 0;
        if same {
            doubt_as(repo, (&id, old), (*earlier, snapshot), request.how.now)?;
            return Ok(RewriteReport { snapshot: Some(*earlier), was_there: true, removed });
        }
    }
    let kind = RunKind {
        purpose: Purpose::Copy,
        session_of: Some((request.how.host, request.how.now)),
        parents: old.parents.clone(),
        provenance: Provenance { copy_of: None, rewritten_from: Some(origin) },
    };
    let stays: &Stays<'_> = &|path, is_directory| !(request.goes)(path, is_directory);
    let load = Load { from: repo, to: repo, snapshot: old, stays: Some(stays), events };
    let (report, _) = store(&load, &kind, &request.how)?;
    if let (Some(made), Some(session)) = (report.snapshot, report.session) {
        let there = Snapshot { session, ..old.clone() };
        doubt_as(repo, (&id, old), (made, &there), request.how.now)?;
    }
    Ok(RewriteReport { snapshot: report.snapshot, was_there: false, removed })
}

/// Says of a snapshot that it is suspect if that was said of another, unless it was said before.
fn doubt_as(
    repo: &Repository,
    of: (&ObjectId, &Snapshot),
    made: (ObjectId, &Snapshot),
    now: Time,
) -> Result<(), CopyError> {
    let both = [(*of.0, of.1.clone()), (made.0, made.1.clone())];
    let suspects = repo.suspects(&both).map_err(CopyError::Source)?;
    match suspects.get(of.0) {
        Some(why) if !suspects.contains_key(&made.0) => {
            doubt(repo, made.0, made.1, why, now).map_err(CopyError::target)
        }
        _ => Ok(()),
    }
}
