//! Comparing with the parent snapshot: both sides come in the same order, so it is one merge.

use super::BackupError;
use super::inodes::Recalled;
use super::source::{EntryKind, Stat};
use crate::id::ObjectId;
use crate::listing::{Body, MAX_NODE_VALUE, Node, Time, decode_node};
use crate::map::{Cursor, Root};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::kept::Gone;
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Section, Snapshot, State, Totals};
use std::collections::{BTreeMap, BTreeSet};

/// What a part of a run is compared with: a listing of an earlier snapshot.
#[derive(Clone)]
pub(super) struct Parent {
    pub id: ObjectId,
    root: Root,
    time: Time,
    totals: Totals,
}

impl Parent {
    fn of(id: ObjectId, snapshot: &Snapshot, account: &Account, section: Section) -> Option<Self> {
        let root = account.listing(section)?.root;
        Some(Self { id, root, time: snapshot.time, totals: account.totals })
    }

    /// Returns the listing of the snapshot that was asked for.
    pub fn named(
        repo: &Repository,
        id: ObjectId,
        module: &str,
        section: Section,
    ) -> Result<Self, BackupError> {
        let snapshot = repo.alive(id)?;
        let parent =
            snapshot.and_then(|snapshot| Self::of(id, &snapshot, snapshot.account(module)?, section));
        parent.ok_or(BackupError::NoParent(id))
    }

    /// Returns the figures of its account.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Begins the merge.
    pub fn merge<'a, 'r>(
        &self,
        repo: &'a Repository,
        reader: &'a ChunkReader<'r>,
        events: &'a dyn Events,
    ) -> Result<Merge<'a, 'r>, RepoError> {
        Ok(Merge {
            cursor: Cursor::new(reader, self.root, repo.leaf_target()),
            key: Vec::new(),
            value: Vec::new(),
            is_loaded: false,
            ended: false,
            started: false,
            parent_time: self.time,
            recalled: Recalled::new(repo)?,
            inode: None,
            events,
        })
    }
}

/// The snapshots of a host, by module and section. Whether one is alive is asked when it is wanted: one of thousands.
pub(super) struct Parents {
    of: BTreeMap<(String, Section), Listed>,
    gone: Gone,
}

/// Snapshots that have a listing, oldest first, with the paths that were asked for: numbers in `sources`.
#[derive(Default)]
struct Listed {
    snapshots: Vec<(ObjectId, usize)>,
    sources: BTreeMap<Vec<Vec<u8>>, usize>,
}

impl Parents {
    /// Gathers them, but for those of snapshots that are about to be removed.
    pub fn load(repo: &Repository, host: &str, avoid: &BTreeSet<ObjectId>) -> Result<Self, RepoError> {
        let gone = repo.what_is_gone()?;
        let mut of: BTreeMap<_, Listed> = BTreeMap::new();
        let fits = |(id, snapshot): &(ObjectId, Snapshot)| snapshot.host == host && !avoid.contains(id);
        for (id, snapshot) in repo.perhaps_alive(&gone)?.into_iter().filter(fits) {
            for account in snapshot.accounts.into_iter().filter(is_useful) {
                for listing in &account.listings {
                    let known = of.entry((account.module.clone(), listing.section)).or_default();
                    let next = known.sources.len();
                    let sources = *known.sources.entry(account.sources.clone()).or_insert(next);
                    known.snapshots.push((id, sources));
                }
            }
        }
        Ok(Self { of, gone })
    }

    /// Returns the newest listing of a module and section; of these paths only, if there are any.
    pub fn newest(
        &self,
        repo: &Repository,
        module: &str,
        section: Section,
        sources: Option<&[Vec<u8>]>,
    ) -> Result<Option<Parent>, RepoError> {
        let Some(known) = self.of.get(&(module.to_owned(), section)) else { return Ok(None) };
        let wanted = sources.map(|sources| known.sources.get(sources));
        for (id, _) in known.snapshots.iter().rev().filter(|(_, of)| wanted.is_none_or(|it| it == Some(of))) {
            // Whoever lists snapshots tells what is wrong with one.
            let Ok(Some(snapshot)) = repo.alive_but(*id, &self.gone) else { continue };
            let account = snapshot.account(module).filter(|account| is_useful(account));
            if let Some(parent) = account.and_then(|account| Parent::of(*id, &snapshot, account, section)) {
                return Ok(Some(parent));
            }
        }
        Ok(None)
    }
}

fn is_useful(account: &Account) -> bool {
    account.state <= State::Partial
}

/// The parent's side of the merge.
pub(super) struct Merge<'a, 'r> {
    cursor: Cursor<'a, ChunkReader<'r>>,
    key: Vec<u8>,
    /// The value of that key, once it is loaded.
    value: Vec<u8>,
    is_loaded: bool,
    started: bool,
    ended: bool,
    parent_time: Time,
    recalled: Recalled<'a>,
    /// Inode number of the present entry in the parent's run, if it is remembered.
    inode: Option<u64>,
    events: &'a dyn Events,
}

/// What the parent knows of an entry.
pub(super) enum Known {
    /// Nothing.
    New,
    /// An entry of that name that differs, or may.
    Changed(Was),
    /// The same entry: its node and the encoded form, to be used as it is.
    Same(Box<Node>, Vec<u8>),
}

/// Tells whether an entry that was read again is as it was: a digest of its encoded node. It decides what is counted only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Was(blake3::Hash);

impl Was {
    /// Makes it of an encoded node.
    pub fn of(value: &[u8]) -> Self {
        Self(blake3::hash(value))
    }
}

impl Merge<'_, '_> {
    /// Looks an entry up; keys must rise from call to call.
    ///
    /// Of a parent that cannot be read on, because it is damaged or a prune has removed it, nothing more is known: what
    /// comes is read, which heals it, and nobody goes without a backup because an older one is lost.
    pub fn find(&mut self, key: &[u8], stat: &Stat) -> Result<Known, RepoError> {
        match self.look_up(key, stat) {
            Err(error) if error.is_damage() => {
                let why =
                    format!("what the last snapshot has cannot be compared with, and is read again: {error}");
                self.events.event(Event::Notice(why));
                self.ended = true;
                Ok(Known::New)
            }
            known => known,
        }
    }

    fn look_up(&mut self, key: &[u8], stat: &Stat) -> Result<Known, RepoError> {
        while !self.ended && (!self.started || self.key.as_slice() < key) {
            self.started = true;
            match self.cursor.next()? {
                None => self.ended = true,
                Some(entry) => {
                    self.key.clear();
                    self.key.extend_from_slice(entry.key);
                    self.is_loaded = false;
                }
            }
        }
        if self.ended || self.key != key {
            return Ok(Known::New);
        }
        // Only what is asked for is loaded, and that may be later than when it was met: something new came before it.
        if !self.is_loaded {
            self.is_loaded = true;
            self.value.clear();
            if let Some(value) = self.cursor.load(MAX_NODE_VALUE)? {
                self.value.extend_from_slice(&value);
            }
            self.inode = match self.cursor.leaf() {
                Some((leaf, at)) => self.recalled.number(leaf, at)?,
                None => None,
            };
        }
        let node = decode_node(&self.value)?;
        let same_inode = self.inode.is_none_or(|inode| inode == stat.ino);
        if same_inode && is_same(&node, stat, self.parent_time) {
            Ok(Known::Same(Box::new(node), self.value.clone()))
        } else {
            Ok(Known::Changed(Was::of(&self.value)))
        }
    }
}

/// Returns whether an entry is as the parent has it, so that it need not be read.
///
/// A change that fell within the resolution of the file system's clock may not show in its times: entries
/// whose inode changed less than 2 s before the parent run began, or later, are not trusted.
pub(super) fn is_same(node: &Node, stat: &Stat, parent_time: Time) -> bool {
    let kind_fits = match &node.body {
        Body::File { size, .. } => stat.kind == EntryKind::File && *size == stat.size,
        Body::Directory => stat.kind == EntryKind::Directory,
        Body::Symlink(_) => stat.kind == EntryKind::Symlink,
        Body::Fifo => stat.kind == EntryKind::Fifo,
        Body::Socket => stat.kind == EntryKind::Socket,
        Body::CharDevice { major, minor } => {
            stat.kind == EntryKind::CharDevice && (*major, *minor) == stat.rdev
        }
        Body::BlockDevice { major, minor } => {
            stat.kind == EntryKind::BlockDevice && (*major, *minor) == stat.rdev
        }
    };
    let trusted = Time { secs: stat.ctime.secs.saturating_add(2), nanos: stat.ctime.nanos } < parent_time;
    kind_fits
        && trusted
        && !node.suspect
        && node.mtime == stat.mtime
        && (node.ctime == stat.ctime || planted(Bug::IgnoreCtime))
        && (node.mode, node.uid, node.gid) == (stat.mode, stat.uid, stat.gid)
        && node.atime == stat.atime
        && node.btime == stat.btime
        && (node.link.is_some() == (stat.nlink > 1) || stat.kind == EntryKind::Directory)
}
