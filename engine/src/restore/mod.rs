//! Restore: a listing's entries out of packs into a sink, each verified on its way.
//!
//! ```text
//! listing ─entries─► plan (one thread: prepare, find chunks) ─windows─► execute (T threads, by pack and block)
//!                                                                        compare · fetch · verify · write · finish
//! ```
//!
//! A window holds at most 65,536 chunks; within it blocks are read in the order in which
//! they lie in their packs, each once. Memory: three windows of pieces and nodes, T opened blocks, the
//! listing's block cache.
//!
//! One entry that fails does not end a restore: it is in the report. A full disk does.

mod execute;
mod places;
mod plan;
pub mod sink;
#[cfg(test)]
mod tests;

use crate::backup::{Problem, REPORTED};
use crate::error::Kind;
use crate::listing::{Body, Node, StoredPath};
use crate::map::Root;
use crate::progress::{Event, Events, Phase};
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::Outcome;
use crossbeam::channel::bounded;
use sink::Sink;
use std::sync::Mutex;
use std::thread;

/// What to restore, and how.
pub struct RestoreRequest<'a> {
    /// Only this entry and what is below it.
    pub base: StoredPath,
    /// Whether an entry is wanted; directories that are not wanted but hold wanted entries are made all the same
    /// if the sink is given them, so answer for each entry on its own.
    pub select: &'a (dyn Fn(&StoredPath, &Node) -> bool + Sync),
    /// Threads that fetch and write; at least 1, and fewer where memory is short.
    pub threads: usize,
}

/// What a restore did.
#[derive(Clone, Debug, Default)]
pub struct RestoreReport {
    /// Selected entries.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Entries that were right already.
    pub unchanged: u64,
    /// The first [`REPORTED`] entries that could not be restored as they are.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problems_total: u64,
    /// How many of them are damage of the repository.
    pub damaged: u64,
}

/// Counts of what a restore would touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestorePlan {
    /// Selected entries.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Directories among them.
    pub directories: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
}

/// Why a restore ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The repository could not be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// There is no such path in the snapshot.
    #[error("there is no {0:?} in the snapshot")]
    NoSuchPath(StoredPath),
    /// The target has no room left.
    #[error("no room is left at the target: {0}")]
    TargetFull(std::io::Error),
}

impl RestoreError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::NoSuchPath(_) => Kind::Missing,
            Self::TargetFull(_) => Kind::NoSpace,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.hint(),
            Self::NoSuchPath(_) => Some("`dedup ls SNAPSHOT` shows what there is".into()),
            Self::TargetFull(_) => Some("make room and run it again: what is right already is kept".into()),
        }
    }
}

/// Counters and problems, gathered from all threads.
pub(crate) struct Tally<'a> {
    report: Mutex<RestoreReport>,
    events: &'a dyn Events,
}

impl<'a> Tally<'a> {
    fn new(events: &'a dyn Events) -> Self {
        Self { report: Mutex::default(), events }
    }

    fn with<T>(&self, change: impl FnOnce(&mut RestoreReport) -> T) -> T {
        change(&mut crate::repo::write::lock(&self.report))
    }

    /// Tells of an entry that could not be read from the repository.
    fn unread(&self, path: &StoredPath, error: &RepoError) {
        self.with(|report| report.damaged += u64::from(error.kind() == Kind::Integrity));
        self.problem(path, error.to_string());
    }

    /// Tells of an entry that is restored without its attributes, as they could not be read.
    fn without_attributes(&self, path: &StoredPath, error: &RepoError) {
        self.with(|report| report.damaged += u64::from(error.kind() == Kind::Integrity));
        self.problem(path, format!("its attributes cannot be read: {error}"));
    }

    fn problem(&self, path: &StoredPath, message: String) {
        self.with(|report| {
            report.problems_total += 1;
            if report.problems.len() < REPORTED {
                let outcome = Outcome::Failed;
                report.problems.push(Problem { path: path.clone(), outcome, message: message.clone() });
            }
        });
        self.events.event(Event::Problem { path: path.to_slashes(), message, notice: false });
    }

    fn done(&self, path: &StoredPath, entries: u64, bytes: u64) {
        self.events.event(Event::Done { entries, bytes, path: Some(path.to_slashes()) });
    }
}

/// Restores the selected entries of a listing, of whatever class, into a sink.
///
/// # Errors
/// [`RepoError::NoSecrets`] if the key in use does not open the listing.
/// Damage of the listing itself ends the restore, as nothing below it is known; damage of a file's content
/// is that file's problem. Nothing that was not verified is ever written.
pub fn run<K: Sink>(
    repo: &Repository,
    root: &Root,
    sink: &K,
    request: &RestoreRequest<'_>,
    events: &dyn Events,
) -> Result<RestoreReport, RestoreError> {
    events.event(Event::Phase(Phase::Restore));
    repo.assert_opens(root.class)?;
    let tally = Tally::new(events);
    let reader = ChunkReader::of_maps(repo, root.class);
    let (windows, queue) = bounded(1);
    let (planned, executed) = thread::scope(|scope| {
        let planner = scope.spawn(|| plan::run(repo, &reader, root, sink, request, &tally, windows));
        let executed = execute::run(repo, (&reader, root.class), sink, request, &tally, queue);
        let planned = planner.join();
        (
            planned
                .unwrap_or_else(|_| Err(RepoError::Internal("the planning thread panicked".into()).into())),
            executed,
        )
    });
    executed?;
    planned?;
    events.event(Event::Phase(Phase::Finish));
    Ok(tally.report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Counts what a restore would touch, without touching anything.
pub fn plan(
    repo: &Repository,
    root: &Root,
    request: &RestoreRequest<'_>,
    events: &dyn Events,
) -> Result<RestorePlan, RestoreError> {
    events.event(Event::Phase(Phase::Plan));
    repo.assert_opens(root.class)?;
    let reader = ChunkReader::of_maps(repo, root.class);
    let mut counts = RestorePlan::default();
    plan::each_selected(repo, &reader, root, request, &mut |_, node| {
        counts.entries += 1;
        counts.bytes = counts.bytes.saturating_add(node.size());
        counts.files += u64::from(matches!(node.body, Body::File { .. }));
        counts.directories += u64::from(node.is_directory());
        if events.cancelled() { Err(RepoError::Cancelled.into()) } else { Ok(()) }
    })?;
    Ok(counts)
}
