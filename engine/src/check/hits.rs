//! Which files of which snapshots damage hits. Walked only if something is damaged.
//!
//! What lies in a damaged pack is read again in the way a restore reads it, copy by copy: so a file is named if
//! it does not restore as it was, and not because it has a neighbour in the same pack.

use super::maps::{Broken, MOST_LISTS, Watched, of_snapshot};
use super::structure::{hit, stop_if_asked};
use super::{CheckError, CheckReport, Finding, Severity};
use crate::crypto::keyring::ChunkKind;
use crate::id::{ChunkId, ObjectId};
use crate::index::{Location, PackNo};
use crate::listing::{Body, ContentReader, Node, StoredPath, Walk, Xattrs};
use crate::map::{Class, Root};
use crate::progress::Events;
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::storage::Name;
use std::collections::{HashMap, HashSet};

/// Hits named per finding.
const NAMED: usize = 20;
/// Blocks of damaged packs that are kept opened, in bytes.
const CACHE: usize = 16 << 20;

/// Adds to every finding about a pack, or about something that is in none, which files need it.
pub(super) fn locate(
    repo: &Repository,
    broken: &Broken,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<(), CheckError> {
    if !repo.can_read() {
        return Ok(());
    }
    let damaged = damaged_packs(repo, report)?;
    if damaged.is_empty() && broken.is_empty() {
        return Ok(());
    }
    let data = ChunkReader::new(repo, ChunkKind::Data, CACHE);
    let (open, secrets) = (Watched::new(repo, Class::Open), Watched::new(repo, Class::Secrets));
    let mut search =
        Search { repo, open: &open, secrets: &secrets, data, damaged, broken, blocks: HashMap::new() };
    for (id, snapshot) in repo.catalog()?.0 {
        for root in of_snapshot(&snapshot).filter(|root| repo.assert_opens(root.class).is_ok()) {
            let walked = search.listing(root, events, &mut |places, path| {
                for place in places {
                    add(report, place, hit(&id, path));
                }
            });
            let Err(error) = walked else { continue };
            if !error.is_damage() {
                return Err(error.into());
            }
            // Nothing below is known, so none of it restores.
            let whole = hit(&id, &StoredPath::root());
            let places = search.culprits_of(search.maps(root.class).failed(), root.class.nodes())?;
            if places.is_empty() {
                let object = format!("snapshot {}", id.short());
                if !report.findings.iter().any(|finding| finding.hits.contains(&whole)) {
                    let message = error.to_string();
                    let severity = Severity::Damage;
                    report.find(Finding { severity, object, offset: None, message, hits: vec![whole] });
                }
                continue;
            }
            for place in places {
                add(report, place, whole.clone());
            }
        }
    }
    Ok(())
}

fn add(report: &mut CheckReport, place: usize, hit: String) {
    if let Some(finding) = report.findings.get_mut(place)
        && finding.hits.len() < NAMED
        && !finding.hits.contains(&hit)
    {
        finding.hits.push(hit);
    }
}

/// Returns the findings about packs that the index knows.
fn damaged_packs(repo: &Repository, report: &CheckReport) -> Result<HashMap<PackNo, Vec<usize>>, CheckError> {
    let mut damaged: HashMap<PackNo, Vec<usize>> = HashMap::new();
    for (place, finding) in report.findings.iter().enumerate() {
        if finding.severity != Severity::Damage {
            continue;
        }
        let id = finding.object.rsplit('/').next().and_then(ObjectId::from_hex);
        let Some(id) = id.filter(|id| Name::pack(*id).to_string() == finding.object) else { continue };
        if let Some(number) = repo.index()?.pack_number(&id).map_err(RepoError::from)? {
            damaged.entry(number).or_default().push(place);
        }
    }
    Ok(damaged)
}

struct Search<'a> {
    repo: &'a Repository,
    open: &'a Watched<'a>,
    secrets: &'a Watched<'a>,
    data: ChunkReader<'a>,
    damaged: HashMap<PackNo, Vec<usize>>,
    broken: &'a Broken,
    /// Which blocks of damaged packs open: one entry per block.
    blocks: HashMap<(PackNo, u16), bool>,
}

impl<'a> Search<'a> {
    fn maps(&self, class: Class) -> &'a Watched<'a> {
        match class {
            Class::Open => self.open,
            Class::Secrets => self.secrets,
        }
    }

    /// Walks a listing; hands out every entry that does not restore as it was, with the findings that say why.
    fn listing(
        &mut self,
        root: Root,
        events: &dyn Events,
        each: &mut dyn FnMut(Vec<usize>, &StoredPath),
    ) -> Result<(), RepoError> {
        let base = StoredPath::root();
        let mut walk = Walk::new(self.maps(root.class), root, self.repo.leaf_target(), &base)?;
        while let Some((path, node)) = walk.next()? {
            stop_if_asked(events)?;
            let places = self.needed_by(root.class, &node)?;
            if !places.is_empty() {
                each(places, &path);
            }
        }
        Ok(())
    }

    /// Returns the findings about what a node needs and nobody can read.
    fn needed_by(&mut self, class: Class, node: &Node) -> Result<Vec<usize>, RepoError> {
        let mut found = Vec::new();
        if let Xattrs::Chunk { id, .. } = node.xattrs {
            found.extend(self.culprits(&id, class.nodes())?);
        }
        let Body::File { content, .. } = &node.body else { return Ok(found) };
        let mut parts = ContentReader::new(self.maps(class), content);
        let mut seen = HashSet::new();
        loop {
            match parts.next_unless(|list| seen.len() < MOST_LISTS && !seen.insert(*list)) {
                Ok(Some((_, part))) => found.extend(self.culprits(&part.id, class.contents())?),
                Ok(None) => return Ok(found),
                Err(error) if error.is_damage() => {
                    found.extend(self.culprits_of(self.maps(class).failed(), class.nodes())?);
                    return Ok(found);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn culprits_of(&mut self, id: Option<ChunkId>, kind: ChunkKind) -> Result<Vec<usize>, RepoError> {
        id.map_or(Ok(Vec::new()), |id| self.culprits(&id, kind))
    }

    /// Returns the findings because of which a chunk cannot be read; none if a copy of it can.
    fn culprits(&mut self, id: &ChunkId, kind: ChunkKind) -> Result<Vec<usize>, RepoError> {
        let mut found = Vec::new();
        for location in self.repo.index()?.copies(id)? {
            match self.damaged.get(&location.pack).cloned() {
                Some(places) if !self.is_readable(id, &location, kind)? => found.extend(places),
                _ => return Ok(Vec::new()),
            }
        }
        found.extend(self.broken.get(id));
        Ok(found)
    }

    fn is_readable(&mut self, id: &ChunkId, location: &Location, kind: ChunkKind) -> Result<bool, RepoError> {
        let reader = match kind {
            ChunkKind::Data => &self.data,
            ChunkKind::Listing => self.open.reader(),
            ChunkKind::Secrets => self.secrets.reader(),
        };
        let block = (location.pack, location.place.block);
        if self.blocks.get(&block) == Some(&false) {
            return Ok(false);
        }
        let opened = match reader.block(location) {
            Ok(opened) => opened,
            Err(error) if error.is_damage() => {
                self.blocks.insert(block, false);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.blocks.insert(block, true);
        Ok(reader.chunk_in(&opened, id, location).is_some())
    }
}
