//! Maps of snapshots: listings, problems, dumps, and what their entries refer to.

use super::parents::Parents;
use super::structure::{hit, stop_if_asked};
use super::{CheckError, CheckReport, Finding, Severity, StoredPacks, damage_or, stored_len};
use crate::crypto::header::ObjectKind;
use crate::error::Kind;
use crate::id::{ChunkId, ObjectId};
use crate::index::{Location, PackNo};
use crate::listing::{Body, ContentReader, MAX_NODE_VALUE, Node, Part, StoredPath, Xattrs, decode_node};
use crate::map::{Blob, BlobReader, Change, Class, Diff, LoadChunk, Root, Value, load_value};
use crate::progress::{Event, Events};
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Section, Snapshot};
use crate::storage::Name;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// Chunks that snapshots need and nobody can read, and the findings that say so, by their place in the report.
pub(super) type Broken = HashMap<ChunkId, usize>;

/// Loads chunks of maps of one class, and remembers the last one that could not be loaded.
pub(super) struct Watched<'a> {
    reader: ChunkReader<'a>,
    failed: Cell<Option<ChunkId>>,
}

impl<'a> Watched<'a> {
    pub fn new(repo: &'a Repository, class: Class) -> Self {
        Self { reader: ChunkReader::of_maps(repo, class), failed: Cell::new(None) }
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

/// What a map of an account holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Nodes,
    Problems,
    Records,
}

/// One map of an account, and what it is called: the one before of the same name shares most of it.
struct Map {
    name: MapName,
    root: Root,
    holds: Holds,
}

/// Module, its sources, and a section or the name of a dump.
type MapName = (String, Vec<Vec<u8>>, Option<Section>, String);

/// Returns the maps of an account: listings with their problems, then dumps.
fn maps(account: &Account) -> Vec<Map> {
    let name = |section, dump: &str| -> MapName {
        (account.module.clone(), account.sources.clone(), section, dump.to_owned())
    };
    let mut maps = Vec::new();
    for listing in &account.listings {
        let name = |what: &str| name(Some(listing.section), what);
        maps.push(Map { name: name(""), root: listing.root, holds: Holds::Nodes });
        maps.push(Map { name: name("problems"), root: listing.problems, holds: Holds::Problems });
    }
    for dump in &account.dumps {
        let holds = if dump.is_listing() { Holds::Nodes } else { Holds::Records };
        maps.push(Map { name: name(None, &dump.name), root: dump.root, holds });
    }
    maps
}

/// Returns the listings of a snapshot, those in its dumps among them.
pub(super) fn of_snapshot(snapshot: &Snapshot) -> impl Iterator<Item = Root> {
    let dumps = |account: &Account| -> Vec<Root> {
        account.dumps.iter().filter(|dump| dump.is_listing()).map(|dump| dump.root).collect()
    };
    let listings = |account: &Account| account.listings.iter().map(|listing| listing.root).collect();
    snapshot.accounts.iter().flat_map(move |account| {
        let mut roots: Vec<Root> = listings(account);
        roots.extend(dumps(account));
        roots
    })
}

/// Walks the maps of every snapshot. Each is compared with the one before of the same name: what both share was
/// walked already. Returns the chunks that are missing or cannot be read.
pub(super) fn snapshots(
    repo: &Repository,
    packs: &StoredPacks,
    report: &mut CheckReport,
    events: &dyn Events,
) -> Result<Broken, CheckError> {
    if !repo.can_read() {
        let (there, faults) = repo.committed()?;
        for (id, fault) in faults {
            whole_snapshot(&id, Name::snapshot(id), fault, report)?;
        }
        for id in there {
            stop_if_asked(events)?;
            match repo.objects.get(ObjectKind::Snapshot, &Name::snapshot(id)) {
                // Its bytes tell that they are not what was stored; what they say, they do not.
                Err(error) if error.kind() == Kind::Integrity => {
                    whole_snapshot(&id, Name::snapshot(id), error, report)?;
                }
                _ => report.snapshots_unopened += 1,
            }
        }
        unopened(report);
        return Ok(Broken::new());
    }
    let (snapshots, faults) = repo.catalog()?;
    for (id, fault) in faults {
        whole_snapshot(&id, Name::snapshot(id), fault, report)?;
    }
    let readers = [Class::Open, Class::Secrets].map(|class| (class, Watched::new(repo, class)));
    let (present, lists, broken) = (HashMap::new(), HashSet::new(), Broken::new());
    let mut walk = Walk { repo, packs, present, lists, broken };
    let mut before: HashMap<MapName, (Root, bool)> = HashMap::new();
    for (id, snapshot) in snapshots {
        report.snapshots += 1;
        for account in &snapshot.accounts {
            for map in maps(account) {
                let Some((_, reader)) = readers.iter().find(|(class, _)| *class == map.root.class) else {
                    continue;
                };
                if repo.assert_opens(map.root.class).is_err() {
                    report.maps_unopened += u64::from(map.root.entries > 0);
                    continue;
                }
                let known = before.get(&map.name).filter(|(_, nodes)| *nodes == (map.holds == Holds::Nodes));
                let known = known.map_or(Root::empty(map.root.class), |(root, _)| *root);
                match walk.map(reader, known, &map, &id, report, events) {
                    Ok(()) => drop(before.insert(map.name, (map.root, map.holds == Holds::Nodes))),
                    Err(error) if map.holds == Holds::Problems => {
                        damage_or(error, format!("snapshot {}", id.short()), report)?;
                    }
                    Err(error) => {
                        let failed = reader.failed();
                        let place = whole_snapshot(&id, format!("snapshot {}", id.short()), error, report)?;
                        walk.broken.extend(failed.map(|failed| (failed, place)));
                    }
                }
            }
            let blobs = account.dumps.iter().map(|dump| (dump.section.class(), &dump.schema));
            for (class, blob) in blobs.chain([(Class::Open, &account.manifest)]) {
                if let Some((_, reader)) = readers.iter().find(|(known, _)| *known == class)
                    && repo.assert_opens(class).is_ok()
                    && let Err(error) = read_blob(reader, blob)
                {
                    damage_or(error, format!("snapshot {}, {}", id.short(), account.module), report)?;
                }
            }
        }
    }
    unopened(report);
    Ok(walk.broken)
}

/// Reads a byte string out of line, piece by piece.
fn read_blob(reader: &Watched<'_>, blob: &Blob) -> Result<(), RepoError> {
    let mut pieces = BlobReader::new(reader, blob)?;
    while pieces.next()?.is_some() {}
    Ok(())
}

/// Says what nobody can say anything of: that it is not looked at must not look like soundness.
fn unopened(report: &mut CheckReport) {
    let snapshots = report.snapshots_unopened;
    if snapshots > 0 {
        let message = format!(
            "{snapshots} are there and were not looked into, nor what is said of their runs: this key can only write"
        );
        report.notice("snapshots", message);
    }
    let maps = report.maps_unopened;
    if maps > 0 {
        let message =
            format!("{maps} listings, dumps and the like were not looked at: this key does not open secrets");
        report.notice("secrets", message);
    }
}

/// Tells of damage because of which nothing of a snapshot restores. Returns the place of the finding.
fn whole_snapshot(
    id: &ObjectId,
    object: impl ToString,
    error: RepoError,
    report: &mut CheckReport,
) -> Result<usize, CheckError> {
    if !error.is_damage() {
        return Err(error.into());
    }
    let (severity, hits) = (Severity::Damage, vec![hit(id, &StoredPath::root())]);
    let (object, message) = (object.to_string(), error.to_string());
    Ok(report.find(Finding { severity, object, offset: None, message, hits }))
}

struct Walk<'a> {
    repo: &'a Repository,
    packs: &'a StoredPacks,
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
    fn map(
        &mut self,
        reader: &Watched<'_>,
        known: Root,
        map: &Map,
        snapshot: &ObjectId,
        report: &mut CheckReport,
        events: &dyn Events,
    ) -> Result<(), RepoError> {
        let target = self.repo.leaf_target();
        let mut diff = Diff::new((reader, known), (reader, map.root), target);
        let mut parents = Parents::new(reader, map.root, target);
        let mut entries = 0;
        while let Some(change) = diff.next()? {
            if map.holds != Holds::Nodes {
                if let (Holds::Records, Change::Added { new, .. } | Change::Changed { new, .. }) =
                    (map.holds, &change)
                    && let Value::Blob(blob) = new
                {
                    read_blob(reader, blob)?;
                }
                continue;
            }
            let load = &mut |value: Value<'_>| -> Result<Node, RepoError> {
                Ok(decode_node(&load_value(reader, value, MAX_NODE_VALUE)?)?)
            };
            let Some((path, node)) = follow(&mut parents, &change, load)? else { continue };
            if let Err(error) = self.node(reader, &node) {
                if !error.is_damage() {
                    return Err(error);
                }
                let place = report.find(Finding {
                    severity: Severity::Damage,
                    object: format!("snapshot {}", snapshot.short()),
                    offset: None,
                    message: error.to_string(),
                    hits: vec![hit(snapshot, &path)],
                });
                let missing = match error {
                    RepoError::MissingChunk { id } => Some(id),
                    _ => reader.failed(),
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
    fn node(&mut self, reader: &Watched<'_>, node: &Node) -> Result<(), RepoError> {
        if let Xattrs::Chunk { .. } = &node.xattrs {
            crate::listing::load_xattrs(reader, &node.xattrs)?;
        }
        let Body::File { content, .. } = &node.body else { return Ok(()) };
        let mut parts = ContentReader::new(reader, content);
        let mut entered = HashSet::new();
        while let Some((_, part)) = parts.next_unless(|list| {
            self.lists.contains(list) || entered.len() < MOST_LISTS && !entered.insert(*list)
        })? {
            if !self.is_stored(&part)? {
                return Err(RepoError::MissingChunk { id: part.id });
            }
        }
        // Only now: of a file with a gap, every list is looked at again in the next file that has it.
        if self.lists.len() < MOST_LISTS {
            self.lists.extend(entered);
        }
        Ok(())
    }

    /// Returns whether a chunk of this length is in a pack that is stored.
    fn is_stored(&mut self, part: &Part) -> Result<bool, RepoError> {
        let fits = |copy: &Location| u64::from(copy.place.len) == part.len;
        // The newest copy will do nearly always, and mostly a neighbour has brought it: then the database is not asked.
        if let Some(copy) = self.repo.index()?.lookup(&part.id)?.filter(fits)
            && self.is_present(copy.pack)?
        {
            return Ok(true);
        }
        for copy in self.repo.index()?.copies(&part.id)?.iter().filter(|copy| fits(copy)) {
            if self.is_present(copy.pack)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_present(&mut self, pack: PackNo) -> Result<bool, RepoError> {
        if let Some(present) = self.present.get(&pack) {
            return Ok(*present);
        }
        let id = self.repo.pack_info(pack)?.id;
        let present = stored_len(self.repo, self.packs, &id)?.is_some();
        self.present.insert(pack, present);
        Ok(present)
    }
}
