//! Names and segments: which packs there must be.

use super::{CheckError, CheckReport, Finding, Severity, StoredPacks, damage_or, stored_len};
use crate::id::ObjectId;
use crate::listing::StoredPath;
use crate::progress::Events;
use crate::repo::segments::read_segment;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name};

/// Lists every object: foreign names are findings; returns the packs.
pub(super) fn packs(repo: &Repository, report: &mut CheckReport) -> Result<StoredPacks, CheckError> {
    let mut packs = StoredPacks::new();
    for family in Family::ALL {
        let mut each = |name: Name, len: u64| {
            if family == Family::Packs {
                packs.extend(name.object_id().map(|id| (id, len)));
            }
            Ok(())
        };
        let mut foreign = Vec::new();
        let listed = repo.storage().list(family, &mut each, &mut |name| {
            if foreign.len() < super::REPORTED {
                foreign.push(name.to_owned());
            }
        });
        listed.map_err(RepoError::from)?;
        for object in foreign {
            let message = "it is no object of this format; it is left alone".to_owned();
            let severity = Severity::Foreign;
            report.find(Finding { severity, object, offset: None, message, hits: Vec::new() });
        }
    }
    packs.sort_unstable();
    // Some storages list an object twice when it comes while they list.
    packs.dedup();
    report.packs = packs.len() as u64;
    Ok(packs)
}

/// Opens every segment; each pack it names must be there, with its length.
pub(super) fn segments(
    repo: &Repository,
    packs: &StoredPacks,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    let mut named = vec![false; packs.len()];
    for id in repo.objects.ids(Family::Segments)? {
        stop_if_asked(events)?;
        let name = Name::segment(id);
        let segment = match read_segment(&repo.objects, id) {
            Ok(segment) => segment,
            Err(error @ RepoError::Void { .. }) => {
                report.notice(name, error);
                continue;
            }
            Err(error) => {
                damage_or(error, name, report)?;
                continue;
            }
        };
        for pack in segment.packs {
            if let Ok(place) = packs.binary_search_by_key(&pack.id, |(id, _)| *id) {
                named[place] = true;
            }
            match stored_len(repo, packs, &pack.id)? {
                Some(len) if len == pack.stored_len => {}
                Some(len) => drop(report.find(Finding {
                    severity: Severity::Damage,
                    object: Name::pack(pack.id).to_string(),
                    offset: Some(len.min(pack.stored_len)),
                    message: format!("{len} bytes are stored, {} were written", pack.stored_len),
                    hits: Vec::new(),
                })),
                None if repo.index()?.is_removed(&pack.id).map_err(RepoError::from)? => {}
                None => report.damage(Name::pack(pack.id), format!("missing, but {name} names it")),
            }
        }
    }
    let (mut unnamed, mut removed) = (0, 0);
    for (_, (id, _)) in named.iter().zip(packs).filter(|(named, _)| !**named) {
        let is_removed = repo.index()?.is_removed(id).map_err(RepoError::from)?;
        *if is_removed { &mut removed } else { &mut unnamed } += 1;
    }
    if removed > 0 {
        let message = format!(
            "{removed} packs are removed and not deleted yet: a prune was broken off, the next one goes on"
        );
        report.notice("generations", message);
    }
    if unnamed > 0 {
        let message = format!(
            "{unnamed} are in no segment: an interrupted run left them, the next backup takes them up"
        );
        report.notice("packs", message);
    }
    Ok(())
}

/// Names an entry of a snapshot, for people; the root stands for everything in it.
pub(super) fn hit(snapshot: &ObjectId, path: &StoredPath) -> String {
    let path = if *path == StoredPath::root() { b"/".to_vec() } else { path.to_slashes() };
    format!("snapshot {}: {}", snapshot.short(), String::from_utf8_lossy(&path))
}

pub(crate) fn stop_if_asked(events: &dyn Events) -> Result<(), RepoError> {
    if events.cancelled() { Err(RepoError::Cancelled) } else { Ok(()) }
}
