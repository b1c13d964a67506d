//! Fold: finished entries, in their order, into the listing; problems into theirs; figures summed.

use super::compare::Was;
use super::dispatch::{Numbered, Pace};
use super::inodes::Recorder;
use super::sinks::{ListingSaver, Sinks, built};
use super::{Problem, REPORTED};
use crate::format::MAX_KEY;
use crate::listing::{Body, Node, StoredPath, encode_node};
use crate::map::{Builder, Root};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::write::Store;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Outcome, Totals};
use crate::tamper::Stage;
use crate::wire::Put;
use crossbeam::channel::Receiver;
use std::collections::BTreeMap;

/// Longest text stored with a problem.
const MAX_MESSAGE: usize = 1000;

/// What a stage before made of one entry.
pub(super) enum Item {
    /// The parent's node, unchanged, with its encoded form.
    Kept { path: StoredPath, value: Vec<u8>, node: Node, inode: u64 },
    /// A new node; the problem is one that leaves the entry stored.
    Made {
        path: StoredPath,
        node: Node,
        inode: u64,
        /// What the parent has of that name.
        was: Option<Was>,
        bytes_read: u64,
        problem: Option<(Outcome, String)>,
    },
    /// An entry that is not stored.
    Problem { path: StoredPath, outcome: Outcome, message: String },
}

/// What came of all entries.
pub(super) struct Folded {
    pub root: Root,
    pub problem_root: Root,
    pub totals: Totals,
    pub problems: Vec<Problem>,
    pub notices: Vec<Problem>,
    /// The first entries that had a problem, by place.
    pub outcomes: BTreeMap<StoredPath, (Outcome, String)>,
}

pub(super) struct Fold<'a> {
    store: &'a Store<'a>,
    repo: &'a Repository,
    events: &'a dyn Events,
    saver: ListingSaver<'a>,
    boundary: crate::crypto::Secret,
}

impl<'a> Fold<'a> {
    pub fn new(
        repo: &'a Repository,
        sinks: &'a Sinks<'a>,
        events: &'a dyn Events,
    ) -> Result<Self, RepoError> {
        let boundary = repo.objects.keyring.further("dedup 2026-11-21 boundary")?;
        Ok(Self { repo, store: sinks.store(), events, saver: sinks.saver(), boundary })
    }

    /// Folds numbered runs of entries, which may come in any order, until no more come.
    pub fn run(self, input: &Receiver<Numbered>, pace: &Pace) -> Result<Folded, RepoError> {
        let target = self.repo.leaf_target();
        let inodes = Recorder::new(self.repo)?;
        let mut tree = Tree {
            repo: self.repo,
            store: self.store,
            listing: Builder::new(&self.saver, &self.boundary, target)
                .on_leaf(|leaf, entries| inodes.leaf(leaf, entries)),
            inodes: &inodes,
            problem_map: Builder::new(&self.saver, &self.boundary, target),
            totals: Totals::default(),
            problems: Vec::new(),
            notices: Vec::new(),
            outcomes: BTreeMap::new(),
            last: None,
            events: self.events,
            done: (0, 0),
            directory: StoredPath::root(),
        };
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (first, items) in input {
            waiting.insert(first, items);
            while let Some(items) = waiting.remove(&next) {
                next += items.len() as u64;
                tree.take(items)?;
            }
            pace.advance(next);
        }
        if !waiting.is_empty() {
            return Err(RepoError::Internal("some entries never came".into()));
        }
        tree.tell_last()?;
        let Tree { listing, problem_map, totals, problems, notices, outcomes, .. } = tree;
        let root = built(listing.finish())?;
        let problem_root = built(problem_map.finish())?;
        self.saver.flush()?;
        inodes.finish()?;
        Ok(Folded { root, problem_root, totals, problems, notices, outcomes })
    }
}

struct Tree<'a, 'b> {
    repo: &'b Repository,
    store: &'b Store<'a>,
    listing: Builder<'b, ListingSaver<'a>>,
    inodes: &'b Recorder<'b>,
    problem_map: Builder<'b, ListingSaver<'a>>,
    totals: Totals,
    problems: Vec<Problem>,
    notices: Vec<Problem>,
    outcomes: BTreeMap<StoredPath, (Outcome, String)>,
    /// The last problem, which may be one of several of its entry.
    last: Option<Problem>,
    events: &'b dyn Events,
    done: (u64, u64),
    /// The innermost directory that entries may still come for.
    directory: StoredPath,
}

impl Tree<'_, '_> {
    fn take(&mut self, items: Vec<Item>) -> Result<(), RepoError> {
        let mut sample = None;
        let (mut entries, mut bytes) = (0, 0);
        for item in items {
            entries += 1;
            let path = match item {
                Item::Kept { path, node, .. } | Item::Made { path, node, .. }
                    if !self.enter(&path, node.is_directory()) =>
                {
                    self.problem(&path, Outcome::Vanished, "its directory vanished".into())?;
                    path
                }
                Item::Kept { path, value, node, inode } => {
                    self.inodes.note(inode);
                    bytes += node.size();
                    self.count(&node);
                    self.totals.files_unmodified += u64::from(matches!(node.body, Body::File { .. }));
                    built(self.listing.push(path.as_key(), &value))?;
                    path
                }
                Item::Made { path, mut node, inode, was, bytes_read, problem } => {
                    assert_content_known(self.repo, self.store, &mut node)?;
                    self.inodes.note(inode);
                    // Large files told of their bytes while they were read.
                    bytes += node.size().saturating_sub(bytes_read.saturating_sub(64 << 10));
                    self.count(&node);
                    self.totals.bytes_read += bytes_read;
                    let value = encode_node(&node)?;
                    if matches!(node.body, Body::File { .. }) {
                        // What was only read again, because its times could not be trusted, is no change.
                        *match was {
                            None => &mut self.totals.files_new,
                            Some(was) if was == Was::of(&value) => &mut self.totals.files_unmodified,
                            Some(_) => &mut self.totals.files_changed,
                        } += 1;
                    }
                    built(self.listing.push(path.as_key(), &value))?;
                    if let Some((outcome, message)) = problem {
                        self.problem(&path, outcome, message)?;
                    }
                    path
                }
                Item::Problem { path, outcome, message } => {
                    self.problem(&path, outcome, message)?;
                    path
                }
            };
            sample = Some(path);
        }
        self.done = (self.done.0 + entries, self.done.1 + bytes);
        let path = sample.map(|path| path.to_slashes());
        self.events.event(Event::Done { entries, bytes, path });
        Ok(())
    }

    /// Returns whether the parent of an entry is in the listing: it may have vanished after the walk, and an
    /// entry without its directory could never be restored.
    fn enter(&mut self, path: &StoredPath, is_directory: bool) -> bool {
        let Some(parent) = path.parent() else { return true };
        if !self.directory.is_within(&parent) {
            return false;
        }
        self.directory = if is_directory { path.clone() } else { parent };
        true
    }

    fn count(&mut self, node: &Node) {
        self.totals.entries += 1;
        self.totals.bytes += node.size();
        match node.body {
            Body::File { .. } => self.totals.files += 1,
            Body::Directory => self.totals.directories += 1,
            _ => {}
        }
    }

    /// Notes a problem. Several of one entry, such as attributes and names of one directory, are told as one:
    /// the map of problems has one place for each entry.
    fn problem(&mut self, path: &StoredPath, outcome: Outcome, message: String) -> Result<(), RepoError> {
        if let Some(last) = self.last.as_mut().filter(|last| last.path == *path) {
            last.message = format!("{}; {message}", last.message);
            if outcome.is_gap() && !last.outcome.is_gap() {
                last.outcome = outcome;
            }
            return Ok(());
        }
        self.tell_last()?;
        self.last = Some(Problem { path: path.clone(), outcome, message });
        Ok(())
    }

    fn tell_last(&mut self) -> Result<(), RepoError> {
        let Some(mut problem) = self.last.take() else { return Ok(()) };
        if planted(Bug::DropProblem) {
            return Ok(());
        }
        let Problem { path, outcome, message } = &mut problem;
        truncate(message, MAX_MESSAGE);
        let mut value = Vec::new();
        value.put_u8(outcome.code());
        value.put_bytes(message.as_bytes());
        let key = path.as_key();
        debug_assert!(key.len() <= MAX_KEY);
        built(self.problem_map.push(key, &value))?;
        let gap = outcome.is_gap();
        self.totals.problems += u64::from(gap);
        let event_path = path.to_slashes();
        self.events.event(Event::Problem { path: event_path, message: message.clone(), notice: !gap });
        if self.outcomes.len() < REPORTED {
            self.outcomes.insert(path.clone(), (*outcome, message.clone()));
        }
        let list = if gap { &mut self.problems } else { &mut self.notices };
        if list.len() < REPORTED {
            list.push(problem);
        }
        Ok(())
    }
}

/// A node may have waited long: a chunk's name that changed meanwhile would be a hole in the snapshot.
pub(super) fn assert_content_known(
    repo: &Repository,
    store: &Store<'_>,
    node: &mut Node,
) -> Result<(), RepoError> {
    let Body::File { content, .. } = &mut node.body else { return Ok(()) };
    for part in &mut content.parts {
        repo.objects.tamper.pass(Stage::Content, part.id.as_mut_bytes());
        store.assert_known(&part.id)?;
    }
    Ok(())
}

/// Cuts a text to at most `max` bytes at a character boundary.
pub(super) fn truncate(text: &mut String, max: usize) {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
