//! What snapshots have lost: every entry, range and dump of which something cannot be had, named.

use super::RepairError;
use super::remains::{Left, ListingRemains};
use super::salvage::Salvage;
use crate::check::{StoredPacks, stop_if_asked};
use crate::id::{ChunkId, ObjectId};
use crate::index::PackNo;
use crate::listing::{Body, ContentReader, Node, Part, StoredPath, Walk, Xattrs, load_xattrs};
use crate::map::{Blob, BlobReader, Class, Cursor, Value};
use crate::progress::{Event, Events};
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Dump, Form, Section, Snapshot};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Most content lists that are remembered as whole: 48 bytes each.
const MOST_LISTS: usize = 1 << 17;

/// Something that a snapshot lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The snapshot.
    pub snapshot: ObjectId,
    /// The module; empty where it is of none.
    pub module: String,
    /// What it is.
    pub lost: Lost,
    /// Why, for people.
    pub why: String,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// An entry of a listing.
    Entry(Section, StoredPath),
    /// The extended attributes of an entry, which itself is there.
    Attributes(Section, StoredPath),
    /// The entry of a directory of which something is there: owner, mode and times.
    Directory(Section, StoredPath),
    /// Entries of a listing, as many as are told, after one path and up to another one, itself included: as far as they are known.
    Range {
        /// Section.
        section: Section,
        /// The last path before them.
        after: Option<StoredPath>,
        /// The last of them.
        through: Option<StoredPath>,
        /// How many there are.
        entries: u64,
    },
    /// Some of what was said of entries that are not stored.
    Problems(Section),
    /// A dump: as a whole, whatever part of it is lost.
    Dump(String),
    /// The manifest of the module.
    Manifest,
    /// Everything: the snapshot's own object cannot be read.
    Snapshot,
}

/// What was looked at in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Losses.
    pub losses: u64,
    /// Entries of listings that are there, and records and files of dumps.
    pub kept_entries: u64,
}

/// What becomes of an entry.
pub(super) enum Fate {
    Whole,
    /// Its content is there, its attributes are not.
    Bare(String),
    Lost(String),
}

/// Answers which chunks can be had. Memory: 40 bytes per pack, and a bounded set of lists.
pub(super) struct Reach<'r> {
    pub repo: &'r Repository,
    stored: &'r StoredPacks,
    salvage: Option<&'r Salvage<'r>>,
    present: RefCell<HashMap<PackNo, bool>>,
    lists: RefCell<HashSet<Part>>,
}

impl<'r> Reach<'r> {
    /// What can be had of the packs that are stored; `salvage` knows better of some chunks.
    pub fn new(repo: &'r Repository, stored: &'r StoredPacks, salvage: Option<&'r Salvage<'r>>) -> Self {
        let (present, lists) = Default::default();
        Self { repo, stored, salvage, present, lists }
    }

    /// Returns whether a chunk can be had.
    fn has(&self, id: &ChunkId, len: Option<u64>) -> Result<bool, RepoError> {
        if let Some(salvage) = self.salvage
            && let Some(fate) = salvage.fate(id)?
        {
            return Ok(fate);
        }
        for location in self.repo.index()?.copies(id)? {
            if len.is_none_or(|len| u64::from(location.place.len) == len) && self.is_present(location.pack)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_present(&self, pack: PackNo) -> Result<bool, RepoError> {
        if let Some(present) = self.present.borrow().get(&pack) {
            return Ok(*present);
        }
        let present = match self.repo.index()?.pack(pack)? {
            Some(info) => self.stored.binary_search(&(info.id, info.stored_len)).is_ok(),
            None => false,
        };
        self.present.borrow_mut().insert(pack, present);
        Ok(present)
    }

    /// Says whether all that an entry needs can be had.
    pub fn entry(&self, nodes: &ChunkReader<'_>, node: &Node) -> Result<Fate, RepoError> {
        if let Body::File { content, .. } = &node.body {
            let mut parts = ContentReader::new(nodes, content);
            let mut entered = HashSet::new();
            loop {
                let known = |list: &Part| {
                    self.lists.borrow().contains(list) || entered.len() < MOST_LISTS && !entered.insert(*list)
                };
                match parts.next_unless(known) {
                    Ok(Some((_, part))) if !self.has(&part.id, Some(part.len))? => {
                        return Ok(Fate::Lost(format!("chunk {} of it cannot be had", part.id.short())));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) if error.is_damage() => return Ok(Fate::Lost(error.to_string())),
                    Err(error) => return Err(error),
                }
            }
            // Only now: of a file with a gap, every list is looked at again in the next file that has it.
            let mut lists = self.lists.borrow_mut();
            if lists.len() < MOST_LISTS {
                lists.extend(entered);
            }
        }
        if let Xattrs::Chunk { .. } = &node.xattrs {
            match load_xattrs(nodes, &node.xattrs) {
                Ok(_) => {}
                Err(error) if error.is_damage() => return Ok(Fate::Bare(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(Fate::Whole)
    }

    /// Says why a byte string out of line cannot be had, if it cannot.
    pub fn blob(&self, nodes: &ChunkReader<'_>, blob: &Blob) -> Result<Option<String>, RepoError> {
        why(self.pieces(nodes, blob))
    }

    fn pieces(&self, nodes: &ChunkReader<'_>, blob: &Blob) -> Result<(), RepoError> {
        let mut pieces = BlobReader::new(nodes, blob)?;
        while let Some(id) = pieces.next_id()? {
            if !self.has(&id, None)? {
                return Err(RepoError::MissingChunk { id });
            }
        }
        Ok(())
    }

    /// Says why a dump is not whole, if it is not.
    pub fn dump(
        &self,
        nodes: &ChunkReader<'_>,
        dump: &Dump,
        events: &dyn Events,
    ) -> Result<Option<String>, RepoError> {
        if let Some(why) = self.blob(nodes, &dump.schema)? {
            return Ok(Some(why));
        }
        why(match dump.form {
            Form::Records => self.records(nodes, dump, events),
            Form::Listing => self.files(nodes, dump, events),
        })
    }

    fn records(&self, nodes: &ChunkReader<'_>, dump: &Dump, events: &dyn Events) -> Result<(), RepoError> {
        let mut cursor = Cursor::new(nodes, dump.root, self.repo.leaf_target());
        while let Some(entry) = cursor.next()? {
            stop_if_asked(events)?;
            if let Value::Blob(blob) = entry.value {
                self.pieces(nodes, &blob)?;
            }
        }
        Ok(())
    }

    fn files(&self, nodes: &ChunkReader<'_>, dump: &Dump, events: &dyn Events) -> Result<(), RepoError> {
        let mut walk = Walk::new(nodes, dump.root, self.repo.leaf_target(), &StoredPath::root())?;
        while let Some((path, node)) = walk.next()? {
            stop_if_asked(events)?;
            if let Fate::Lost(why) | Fate::Bare(why) = self.entry(nodes, &node)? {
                return Err(crate::error::Corrupt::new(format!("{path:?}"), why).into());
            }
        }
        Ok(())
    }
}

/// Turns damage into its reason.
fn why(result: Result<(), RepoError>) -> Result<Option<String>, RepoError> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.is_damage() => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Takes a loss.
pub(super) type Each<'e> = dyn FnMut(Loss) -> Result<(), RepairError> + 'e;

/// Names everything that a snapshot lost.
pub(super) fn of_snapshot(
    reach: &Reach<'_>,
    (id, snapshot): (&ObjectId, &Snapshot),
    events: &dyn Events,
    each: &mut Each<'_>,
) -> Result<Tally, RepairError> {
    let mut tally = Tally::default();
    for account in &snapshot.accounts {
        of_account(reach, account, events, &mut tally, &mut |lost, why| {
            each(Loss { snapshot: *id, module: account.module.clone(), lost, why })
        })?;
    }
    events.event(Event::Done { entries: 1, bytes: 0, path: None });
    Ok(tally)
}

fn of_account(
    reach: &Reach<'_>,
    account: &Account,
    events: &dyn Events,
    tally: &mut Tally,
    each: &mut dyn FnMut(Lost, String) -> Result<(), RepairError>,
) -> Result<(), RepairError> {
    let readers = [Class::Open, Class::Secrets].map(|class| ChunkReader::of_maps(reach.repo, class));
    let nodes = |class| if class == Class::Open { &readers[0] } else { &readers[1] };
    let mut lose = |tally: &mut Tally, lost, why| {
        tally.losses += 1;
        each(lost, why)
    };
    if let Some(why) = reach.blob(nodes(Class::Open), &account.manifest)? {
        lose(tally, Lost::Manifest, why)?;
    }
    for listing in &account.listings {
        let (section, nodes) = (listing.section, nodes(listing.root.class));
        let mut remains = ListingRemains::new(nodes, listing.root, reach.repo.leaf_target());
        while let Some(left) = remains.next()? {
            stop_if_asked(events)?;
            match left {
                Left::Gap { after, through, entries } => {
                    let lost = Lost::Range { section, after, through, entries };
                    lose(tally, lost, "what names them cannot be read".into())?;
                }
                Left::Lost(path, why) => lose(tally, Lost::Entry(section, path), why)?,
                Left::Stead(path, _) => {
                    tally.kept_entries += 1;
                    lose(tally, Lost::Directory(section, path), "its own entry cannot be read".into())?;
                }
                Left::Entry(path, node) => match reach.entry(nodes, &node)? {
                    Fate::Lost(why) => lose(tally, Lost::Entry(section, path), why)?,
                    Fate::Bare(why) => {
                        tally.kept_entries += 1;
                        lose(tally, Lost::Attributes(section, path), why)?;
                    }
                    Fate::Whole => tally.kept_entries += 1,
                },
            }
        }
        let mut problems = Cursor::new(nodes, listing.problems, reach.repo.leaf_target());
        let walked = loop {
            match problems.next() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(why) = why(walked)? {
            lose(tally, Lost::Problems(section), why)?;
        }
    }
    for dump in &account.dumps {
        match reach.dump(nodes(dump.section.class()), dump, events)? {
            Some(why) => lose(tally, Lost::Dump(dump.name.clone()), why)?,
            None => tally.kept_entries += dump.root.entries,
        }
    }
    Ok(())
}

/// Names what all snapshots lost, those of which nothing can be read among them. Returns how much that is, and of how many.
pub(super) fn of_all(
    reach: &Reach<'_>,
    events: &dyn Events,
    each: &mut Each<'_>,
) -> Result<(u64, u64), RepairError> {
    let (snapshots, faults) = reach.repo.catalog()?;
    let (mut losses, mut hit) = (faults.len() as u64, faults.len() as u64);
    for (snapshot, fault) in faults {
        each(Loss { snapshot, module: String::new(), lost: Lost::Snapshot, why: fault.to_string() })?;
    }
    for (id, snapshot) in &snapshots {
        let tally = of_snapshot(reach, (id, snapshot), events, each)?;
        losses += tally.losses;
        hit += u64::from(tally.losses > 0);
    }
    Ok((losses, hit))
}
