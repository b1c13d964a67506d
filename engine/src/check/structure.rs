//! Names, segments, listings: everything but the data itself.

use super::parents::Parents;
use super::{CheckError, CheckReport, Finding, Severity, StoredPacks, damage_or, is_damage};
use crate::crypto::header::ObjectKind;
use crate::id::{ChunkId, ObjectId};
use crate::index::{PackNo, Segment};
use crate::listing::{Body, ContentReader, MAX_NODE_VALUE, Node, Part, StoredPath, Xattrs, decode_node};
use crate::map::{Change, Diff, LoadChunk, Root, Value, load_value};
use crate::progress::{Event, Events};
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::storage::{Family, Name};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// Chunks that snapshots need and nobody can read, and the findings that say so, by their place in the report.
pub(super) type Broken = HashMap<ChunkId, usize>;

/// Loads chunks of listings, and remembers the last one that could not be loaded.
pub(super) struct Watched<'a> {
    reader: ChunkReader<'a>,
    failed: Cell<Option<ChunkId>>,
}

impl<'a> Watched<'a> {
    pub fn new(repo: &'a Repository) -> Self {
        Self { reader: ChunkReader::of_listings(repo), failed: Cell::new(None) }
    }

    pub fn reader(&self) -> &ChunkReader<'a> {
        &self.reader
    }

    /// Returns the last chunk that could not be loaded, and forgets it.
    pub fn failed(&self) -> Option<ChunkId> {
        self.failed.take()
    }
}

impl LoadChunk for Watched<'_> {
    type Error = RepoError;

    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, RepoError> {
        self.reader.load(id, max_len).inspect_err(|_| self.failed.set(Some(*id)))
    }
}

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
        let opened = repo.objects.get(ObjectKind::Segment, &name);
        let segment = match opened.and_then(|plain| Ok(Segment::decode(&plain)?)) {
            Ok(segment) => segment,
            Err(error) => {
                damage_or(error, name, report)?;
                continue;
            }
        };
        for pack in segment.packs {
            match packs.binary_search_by_key(&pack.id, |(id, _)| *id) {
                Ok(place) => {
                    named[place] = true;
                    let len = packs[place].1;
                    if len != pack.stored_len {
                        report.find(Finding {
                            severity: Severity::Damage,
                            object: Name::pack(pack.id).to_string(),
                            offset: Some(len.min(pack.stored_len)),
                            message: format!("{len} bytes are stored, {} were written", pack.stored_len),
                            hits: Vec::new(),
                        });
                    }
                }
                Err(_) if repo.index()?.is_removed(&pack.id).map_err(RepoError::from)? => {}
                Err(_) => report.damage(Name::pack(pack.id), format!("missing, but {name} names it")),
            }
        }
    }
    let unnamed = named.iter().filter(|named| !**named).count();
    if unnamed > 0 {
        report.find(Finding {
            severity: Severity::Notice,
            object: "packs".into(),
            offset: None,
            message: format!(
                "{unnamed} are in no segment: an interrupted run left them, the next backup takes them up"
            ),
            hits: Vec::new(),
        });
    }
    Ok(())
}

/// Walks the listings of every snapshot. Each is compared with the one before of the same module: what
/// both share was walked already. Returns the chunks that are missing or cannot be read.
pub(super) fn snapshots(
    repo: &Repository,
    packs: &StoredPacks,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<Broken, CheckError> {
    let (snapshots, faults) = repo.catalog()?;
    for (id, fault) in faults {
        whole_snapshot(&id, Name::snapshot(id), fault, report)?;
    }
    let reader = Watched::new(repo);
    let (present, lists, broken) = (HashMap::new(), HashSet::new(), Broken::new());
    let mut walk = Walk { repo, packs, reader: &reader, present, lists, broken };
    let mut before: HashMap<(String, Vec<Vec<u8>>), Root> = HashMap::new();
    for (id, snapshot) in snapshots {
        report.snapshots += 1;
        for account in snapshot.accounts {
            let group = (account.module.clone(), account.sources.clone());
            let roots = account.listings.iter().map(|(_, root)| *root).chain([account.problems]);
            for (number, root) in roots.enumerate() {
                let known = if number == 0 {
                    before.get(&group).copied().unwrap_or(Root::EMPTY)
                } else {
                    Root::EMPTY
                };
                let is_listing = number < account.listings.len();
                let walked = walk.listing(known, root, is_listing, &id, report, events);
                match walked {
                    Ok(()) if number == 0 => drop(before.insert(group.clone(), root)),
                    Ok(()) => {}
                    Err(error) if is_listing => {
                        let failed = reader.failed();
                        let place = whole_snapshot(&id, format!("snapshot {}", id.short()), error, report)?;
                        walk.broken.extend(failed.map(|failed| (failed, place)));
                    }
                    Err(error) => damage_or(error, format!("snapshot {}", id.short()), report)?,
                }
            }
        }
    }
    Ok(walk.broken)
}

/// Tells of damage because of which nothing of a snapshot restores. Returns the place of the finding.
fn whole_snapshot(
    id: &ObjectId,
    object: impl ToString,
    error: RepoError,
    report: &mut CheckReport,
) -> Result<usize, CheckError> {
    if !is_damage(&error) {
        return Err(error.into());
    }
    let (severity, hits) = (Severity::Damage, vec![hit(id, &StoredPath::root())]);
    let (object, message) = (object.to_string(), error.to_string());
    Ok(report.find(Finding { severity, object, offset: None, message, hits }))
}

struct Walk<'a> {
    repo: &'a Repository,
    packs: &'a StoredPacks,
    reader: &'a Watched<'a>,
    /// Whether the pack of a number is stored: one entry per pack.
    present: HashMap<PackNo, bool>,
    /// Content lists whose chunks are all stored, as their parents name them. A hostile one names the same list a
    /// thousand times on every level.
    lists: HashSet<Part>,
    broken: Broken,
}

/// Looks whether a change between two listings leaves every entry in a directory. Returns what is new, if anything is.
pub(super) fn follow<L: LoadChunk>(
    parents: &mut Parents<'_, L>,
    change: &Change<'_>,
    load: &mut dyn FnMut(Value<'_>) -> Result<Node, L::Error>,
) -> Result<Option<(StoredPath, Node)>, L::Error> {
    let (key, old, new) = match *change {
        Change::Added { key, new } => (key, None, Some(new)),
        Change::Removed { key, old } => (key, Some(old), None),
        Change::Changed { key, old, new } => (key, Some(old), Some(new)),
    };
    let path = StoredPath::from_key(key)?;
    let new = new.map(&mut *load).transpose()?;
    let is_directory = new.as_ref().is_some_and(Node::is_directory);
    if new.is_some() {
        parents.came(&path, is_directory)?;
    }
    if let Some(old) = old.filter(|_| !is_directory)
        && load(old)?.is_directory()
    {
        parents.went(&path)?;
    }
    Ok(new.map(|node| (path, node)))
}

/// Most lists that are remembered: 48 bytes each.
pub(super) const MOST_LISTS: usize = 1 << 18;

impl Walk<'_> {
    fn listing(
        &mut self,
        known: Root,
        root: Root,
        is_listing: bool,
        snapshot: &ObjectId,
        report: &mut CheckReport,
        events: &dyn Events,
    ) -> Result<(), RepoError> {
        let target = self.repo.leaf_target();
        let mut diff = Diff::new((self.reader, known), (self.reader, root), target);
        let mut parents = Parents::new(self.reader, root, target);
        let mut entries = 0;
        while let Some(change) = diff.next()? {
            if !is_listing {
                continue;
            }
            let load = &mut |value: Value<'_>| -> Result<Node, RepoError> {
                Ok(decode_node(&load_value(self.reader, value, MAX_NODE_VALUE)?)?)
            };
            let Some((path, node)) = follow(&mut parents, &change, load)? else { continue };
            if let Err(error) = self.node(&node) {
                let finding = Finding {
                    severity: Severity::Damage,
                    object: format!("snapshot {}", snapshot.short()),
                    offset: None,
                    message: error.to_string(),
                    hits: vec![hit(snapshot, &path)],
                };
                if !is_damage(&error) {
                    return Err(error);
                }
                let place = report.find(finding);
                let missing = match error {
                    RepoError::MissingChunk { id } => Some(id),
                    _ => self.reader.failed(),
                };
                self.broken.extend(missing.map(|id| (id, place)));
            }
            entries += 1;
            if entries % 1024 == 0 {
                events.event(Event::Done { entries: 1024, bytes: 0, path: Some(path.to_slashes()) });
                stop_if_asked(events)?;
            }
        }
        Ok(())
    }

    /// Checks that everything a node refers to is in a pack that is stored.
    fn node(&mut self, node: &Node) -> Result<(), RepoError> {
        if let Xattrs::Chunk { .. } = &node.xattrs {
            crate::listing::load_xattrs(self.reader, &node.xattrs)?;
        }
        let Body::File { content, .. } = &node.body else { return Ok(()) };
        let mut parts = ContentReader::new(self.reader, content);
        let mut entered = HashSet::new();
        while let Some((_, part)) = parts.next_unless(|list| {
            self.lists.contains(list) || entered.len() < MOST_LISTS && !entered.insert(*list)
        })? {
            let mut locations = self.repo.index()?.copies(&part.id)?.into_iter();
            let mut any = false;
            while let (false, Some(location)) = (any, locations.next()) {
                any = u64::from(location.place.len) == part.len && self.is_present(location.pack)?;
            }
            if !any {
                return Err(RepoError::MissingChunk { id: part.id });
            }
        }
        // Only now: of a file with a gap, every list is looked at again in the next file that has it.
        if self.lists.len() < MOST_LISTS {
            self.lists.extend(entered);
        }
        Ok(())
    }

    fn is_present(&mut self, pack: PackNo) -> Result<bool, RepoError> {
        if let Some(present) = self.present.get(&pack) {
            return Ok(*present);
        }
        let id = self.repo.pack_info(pack)?.id;
        let present = self.packs.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        self.present.insert(pack, present);
        Ok(present)
    }
}

/// Names an entry of a snapshot, for people; the root stands for everything in it.
pub(super) fn hit(snapshot: &ObjectId, path: &StoredPath) -> String {
    let path = if *path == StoredPath::root() { b"/".to_vec() } else { path.to_slashes() };
    format!("snapshot {}: {}", snapshot.short(), String::from_utf8_lossy(&path))
}

pub(super) fn stop_if_asked(events: &dyn Events) -> Result<(), RepoError> {
    if events.cancelled() { Err(RepoError::Cancelled) } else { Ok(()) }
}
