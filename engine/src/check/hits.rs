//! Which files of which snapshots a damaged pack hits. Walked only if something is damaged.

use super::structure::{hit, stop_if_asked};
use super::{CheckError, CheckReport, Severity};
use crate::browse;
use crate::id::ObjectId;
use crate::index::PackNo;
use crate::listing::{Body, ContentReader, Node};
use crate::progress::Events;
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::storage::Name;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// Hits named per finding.
const NAMED: usize = 20;

/// Adds to every finding about a pack which files need it.
pub(super) fn locate(
    repo: &Repository,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    let mut damaged: HashMap<PackNo, Vec<usize>> = HashMap::new();
    for (place, finding) in report.findings.iter().enumerate() {
        if finding.severity != Severity::Damage {
            continue;
        }
        let id = finding.object.rsplit('/').next().and_then(ObjectId::from_hex);
        let is_pack = id.filter(|id| Name::pack(*id).to_string() == finding.object);
        let Some(id) = is_pack else { continue };
        if let Some(number) = repo.index()?.pack_number(&id).map_err(RepoError::from)? {
            damaged.entry(number).or_default().push(place);
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let reader = ChunkReader::of_listings(repo);
    let (snapshots, _) = repo.catalog()?;
    for (id, snapshot) in snapshots {
        for (_, root) in snapshot.accounts.iter().flat_map(|account| &account.listings) {
            stop_if_asked(events)?;
            // A listing that cannot be walked has a finding of its own.
            let _ = browse::walk(repo, root, &crate::listing::StoredPath::root(), &mut |path, node| {
                for place in touched(repo, &reader, &node, &damaged) {
                    let finding = &mut report.findings[place];
                    if finding.hits.len() < NAMED {
                        finding.hits.push(hit(&id, &path));
                    }
                }
                ControlFlow::Continue(())
            });
        }
    }
    Ok(())
}

/// Returns the findings whose damaged part a file needs.
fn touched(
    repo: &Repository,
    reader: &ChunkReader<'_>,
    node: &Node,
    damaged: &HashMap<PackNo, Vec<usize>>,
) -> Vec<usize> {
    let Body::File { content, .. } = &node.body else { return Vec::new() };
    let mut found = Vec::new();
    let mut parts = ContentReader::new(reader, content);
    let mut seen = HashSet::new();
    while let Ok(Some((_, part))) =
        parts.next_unless(|list| seen.len() < super::structure::MOST_LISTS && !seen.insert(*list))
    {
        let location = repo.index().ok().and_then(|index| index.lookup(&part.id).ok().flatten());
        let places = location.and_then(|location| damaged.get(&location.pack));
        for place in places.into_iter().flatten() {
            if !found.contains(place) {
                found.push(*place);
            }
        }
    }
    found
}
