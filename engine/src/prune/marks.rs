//! What snapshots need: every chunk of every map, walked from the storage, node by node, each verified by its name.
//!
//! Each map is compared with the one before of the same name:
//! what both share was walked already. So this costs what is different in the snapshots that stay, not what is in
//! each of them.

use super::live::Live;
use crate::id::{ChunkId, ObjectId};
use crate::listing::{Body, ContentReader, MAX_NODE_VALUE, Part, Xattrs, decode_node};
use crate::map::{Blob, BlobReader, Change, Class, Diff, LoadChunk, Root, Value, load_value};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Section, Snapshot};
use std::collections::{HashMap, HashSet};

/// Content lists that are remembered as walked: 48 bytes each.
const MOST_LISTS: usize = 1 << 17;

/// Loads chunks of maps, and notes each as needed.
struct Noting<'a> {
    reader: ChunkReader<'a>,
    live: &'a Live<'a>,
}

impl LoadChunk for Noting<'_> {
    type Error = RepoError;

    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, RepoError> {
        self.live.mark(id)?;
        self.reader.load(id, max_len)
    }
}

/// Module, its sources, and a section or the name of a dump.
type MapName = (String, Vec<Vec<u8>>, Option<Section>, String);

/// A map and whether its values are nodes of a listing.
type Named = (MapName, Root, bool);

fn maps(account: &Account) -> Vec<Named> {
    let name =
        |section, what: &str| (account.module.clone(), account.sources.clone(), section, what.to_owned());
    let mut maps = Vec::new();
    for listing in &account.listings {
        maps.push((name(Some(listing.section), ""), listing.root, true));
        maps.push((name(Some(listing.section), "problems"), listing.problems, false));
    }
    for dump in &account.dumps {
        maps.push((name(None, &dump.name), dump.root, dump.is_listing()));
    }
    maps
}

/// Walks the snapshots. Whatever cannot be read ends it: of what is below it nobody knows what is needed.
pub(super) fn walk(
    repo: &Repository,
    live: &Live<'_>,
    snapshots: &[(ObjectId, Snapshot)],
    events: &dyn Events,
) -> Result<(), RepoError> {
    let loaders = [Class::Open, Class::Secrets]
        .map(|class| (class, Noting { reader: ChunkReader::of_maps(repo, class), live }));
    let mut lists = HashSet::new();
    let mut before: HashMap<MapName, (Root, bool)> = HashMap::new();
    for (number, (id, snapshot)) in snapshots.iter().enumerate() {
        for account in &snapshot.accounts {
            for (name, root, is_listing) in maps(account) {
                let Some((_, loader)) = loaders.iter().find(|(class, _)| *class == root.class) else {
                    continue;
                };
                let known = before
                    .get(&name)
                    .filter(|(known, nodes)| *nodes == is_listing && known.class == root.class);
                let known = known.map_or(Root::empty(root.class), |(known, _)| *known);
                if planted(Bug::PruneSkipsDumps) && name.2.is_none() {
                    continue;
                }
                map(repo, loader, (known, root), is_listing, &mut lists, events)
                    .map_err(|error| within(error, id, &name.0))?;
                before.insert(name, (root, is_listing));
            }
            let schemas = account.dumps.iter().map(|dump| (dump.section.class(), &dump.schema));
            for (class, of) in schemas.chain([(Class::Open, &account.manifest)]) {
                let Some((_, loader)) = loaders.iter().find(|(known, _)| *known == class) else { continue };
                blob(loader, of)?;
            }
        }
        events.event(Event::Done { entries: 1, bytes: 0, path: None });
        if number % 16 == 0 && events.cancelled() {
            return Err(RepoError::Cancelled);
        }
    }
    Ok(())
}

/// Says of which snapshot something cannot be read.
fn within(error: RepoError, id: &ObjectId, module: &str) -> RepoError {
    match error {
        RepoError::Corrupt(corrupt) => corrupt.within(format!("snapshot {}, {module}", id.short())).into(),
        error => error,
    }
}

/// Walks what a map has beyond one that was walked already.
fn map(
    repo: &Repository,
    loader: &Noting<'_>,
    (known, root): (Root, Root),
    is_listing: bool,
    lists: &mut HashSet<Part>,
    events: &dyn Events,
) -> Result<(), RepoError> {
    let mut diff = Diff::new((loader, known), (loader, root), repo.leaf_target());
    let mut entries = 0u32;
    while let Some(change) = diff.next()? {
        let (Change::Added { new, .. } | Change::Changed { new, .. }) = change else { continue };
        if is_listing {
            node(loader, new, lists)?;
        } else if let Value::Blob(long) = new {
            blob(loader, &long)?;
        }
        entries = entries.wrapping_add(1);
        if entries.is_multiple_of(4096) && events.cancelled() {
            return Err(RepoError::Cancelled);
        }
    }
    Ok(())
}

/// Notes what an entry of a listing needs.
fn node(loader: &Noting<'_>, value: Value<'_>, lists: &mut HashSet<Part>) -> Result<(), RepoError> {
    let node = decode_node(&load_value(loader, value, MAX_NODE_VALUE)?)?;
    if let Xattrs::Chunk { id, .. } = &node.xattrs {
        loader.live.mark(id)?;
    }
    let Body::File { content, .. } = &node.body else { return Ok(()) };
    let mut parts = ContentReader::new(loader, content);
    // A list whose chunks are all noted: one that breaks off ends the whole walk.
    while let Some((_, part)) =
        parts.next_unless(|list| lists.contains(list) || lists.len() < MOST_LISTS && !lists.insert(*list))?
    {
        loader.live.mark(&part.id)?;
    }
    Ok(())
}

/// Notes the pieces of a byte string out of line, and its lists.
fn blob(loader: &Noting<'_>, blob: &Blob) -> Result<(), RepoError> {
    let mut pieces = BlobReader::new(loader, blob)?;
    while let Some(id) = pieces.next_id()? {
        loader.live.mark(&id)?;
    }
    Ok(())
}
