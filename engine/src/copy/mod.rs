//! Copies: snapshots into another repository, and into the same one without some paths.
//!
//! ```text
//! source ─chunks, verified by their names there─► named by the keys here ─► repo::write ─► intent · look again · snapshot · end
//! ```
//!
//! A copy is a run like a backup: its session, intent and commit are the same, so it goes on beside prunes of the target. Its
//! source is another repository, which can be read again: what a prune takes meanwhile is stored anew. Where anything of a
//! snapshot cannot be read, nothing of it is published.
//!
//! - [`Copying`] copies snapshots from one repository into another, each once.
//! - [`rewrite`] makes a snapshot without paths that are to go.

mod accounts;
mod carry;
mod memo;
mod rewriting;

pub(crate) use carry::{Carry, count};
pub(crate) use memo::Memo;
pub use rewriting::{Removed, RewriteReport, RewriteRequest, removed, rewrite};

use crate::backup::{ATTEMPTS, BackupError, Ended, RunKind, RunReport, RunRequest, in_run};
use crate::compress::Level;
use crate::error::Kind;
use crate::id::ObjectId;
use crate::listing::Time;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::control::Purpose;
use crate::repo::records::{RunRecord, RunVerdict};
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Origin, Provenance, Snapshot, Totals};
use accounts::Load;
use carry::Figures;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How to store.
pub struct CopyRequest<'a> {
    /// When the copy is made.
    pub now: Time,
    /// Machine that makes it.
    pub host: &'a str,
    /// How hard to compress.
    pub level: Level,
    /// Threads that compress; at least 1, and fewer where memory is short.
    pub threads: usize,
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
}

/// What became of a snapshot.
#[derive(Clone, Debug)]
pub struct CopyReport {
    /// Its copy.
    pub snapshot: ObjectId,
    /// Whether it was there already: then the figures are zero.
    pub was_there: bool,
    /// Figures of the copy.
    pub totals: Totals,
    /// Bytes of chunks that were read and verified.
    pub bytes_read: u64,
    /// Bytes of chunks that were known to be there already, and not read.
    pub bytes_known: u64,
}

/// Why a snapshot was not copied or rewritten. Nothing of it was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// What is to be copied cannot be read.
    #[error("what is to be copied cannot be read: {0}")]
    Source(#[source] RepoError),
    /// The repository that it goes to could not be read or written.
    #[error("cannot store the copy: {0}")]
    Target(#[from] BackupError),
    /// There is no such snapshot.
    #[error("there is no snapshot {}", .0.short())]
    Absent(ObjectId),
    /// Both are one repository.
    #[error("both are the same repository: every snapshot of it is there already")]
    Same,
}

impl CopyError {
    fn target(error: RepoError) -> Self {
        Self::Target(error.into())
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Target(error) => error.kind(),
            Self::Absent(_) => Kind::Missing,
            Self::Same => Kind::Refused,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => match error.kind() {
                Kind::Integrity => {
                    Some("nothing of this snapshot was published; `dedup check` names the damage".into())
                }
                _ => error.hint(),
            },
            Self::Target(error) => error.hint(),
            Self::Absent(_) => Some("`dedup snapshots` lists what there is".into()),
            Self::Same => None,
        }
    }
}

/// Copies snapshots of one repository into another.
pub struct Copying<'r> {
    from: &'r Repository,
    to: &'r Repository,
    snapshots: BTreeMap<ObjectId, Snapshot>,
    /// Those that are suspect, and why.
    suspects: BTreeMap<ObjectId, String>,
    /// What is at the target, by what it is a copy of.
    there: BTreeMap<Origin, (ObjectId, Snapshot)>,
}

impl<'r> Copying<'r> {
    /// Finds out what there is on both sides. Both need their index to copy, not to begin.
    ///
    /// Snapshots that cannot be read are none that could be copied; at the target, none that are there.
    pub fn begin(from: &'r Repository, to: &'r Repository) -> Result<Self, CopyError> {
        if from.id() == to.id() {
            return Err(CopyError::Same);
        }
        let snapshots = from.catalog().map_err(CopyError::Source)?.0;
        let suspects = from.suspects(&snapshots).map_err(CopyError::Source)?;
        let there = to.catalog().map_err(CopyError::target)?.0.into_iter();
        let there = there.map(|(id, snapshot)| (snapshot.original(to.id(), id), (id, snapshot))).collect();
        Ok(Self { from, to, snapshots: snapshots.into_iter().collect(), suspects, there })
    }

    /// Returns the copy of a snapshot, if there is one.
    pub fn copy_of(&self, id: &ObjectId) -> Option<ObjectId> {
        self.known(id).map(|(copy, _)| *copy)
    }

    fn known(&self, id: &ObjectId) -> Option<&(ObjectId, Snapshot)> {
        let snapshot = self.snapshots.get(id)?;
        self.there.get(&snapshot.original(self.from.id(), *id))
    }

    /// Copies a snapshot whole, or not at all, unless it is there already.
    ///
    /// What an interrupted copy stored is found again. A snapshot that a run record calls suspect is called so at the target
    /// as well.
    pub fn copy(
        &mut self,
        id: &ObjectId,
        request: &CopyRequest<'_>,
        events: &dyn Events,
    ) -> Result<CopyReport, CopyError> {
        let snapshot = self.snapshots.get(id).ok_or(CopyError::Absent(*id))?;
        if let Some((copy, there)) = self.known(id) {
            self.say_suspect(id, *copy, there, request.now)?;
            let (totals, bytes_read, bytes_known) = Default::default();
            return Ok(CopyReport { snapshot: *copy, was_there: true, totals, bytes_read, bytes_known });
        }
        let original = snapshot.original(self.from.id(), *id);
        let parents = snapshot.parents.iter().filter_map(|parent| self.copy_of(parent)).collect();
        let kind = RunKind {
            purpose: Purpose::Copy,
            session_of: Some((request.host, request.now)),
            parents,
            provenance: Provenance { copy_of: Some(original), ..snapshot.provenance },
        };
        let load = Load { from: self.from, to: self.to, snapshot, stays: None, events };
        let (report, figures) = store(&load, &kind, request)?;
        let copy = report.snapshot.ok_or(CopyError::Absent(*id))?;
        let session = report.session.unwrap_or(snapshot.session);
        let there = Snapshot { session, provenance: kind.provenance, ..snapshot.clone() };
        self.say_suspect(id, copy, &there, request.now)?;
        self.there.insert(original, (copy, there));
        Ok(CopyReport {
            snapshot: copy,
            was_there: false,
            totals: report.totals,
            bytes_read: figures.bytes_read,
            bytes_known: figures.bytes_known,
        })
    }

    /// Says of a copy what was said of its original, unless that was done.
    fn say_suspect(
        &self,
        id: &ObjectId,
        copy: ObjectId,
        there: &Snapshot,
        now: Time,
    ) -> Result<(), CopyError> {
        let Some(why) = self.suspects.get(id).filter(|_| !planted(Bug::ForgetDoubt)) else { return Ok(()) };
        let pair = [(copy, there.clone())];
        if self.to.suspects(&pair).map_err(CopyError::target)?.contains_key(&copy) {
            return Ok(());
        }
        doubt(self.to, copy, there, why, now).map_err(CopyError::target)
    }
}

/// Writes beside a snapshot that it is suspect.
pub(crate) fn doubt(
    repo: &Repository,
    id: ObjectId,
    snapshot: &Snapshot,
    why: &str,
    time: Time,
) -> Result<(), RepoError> {
    let (number, hooks) = (1, Vec::new());
    let record =
        RunRecord { number, snapshot: id, verdict: RunVerdict::Suspect, text: why.to_owned(), hooks, time };
    repo.add_run_record(snapshot.session, &record).map(drop)
}

/// Stores a snapshot as a run of its own.
fn store(
    load: &Load<'_>,
    kind: &RunKind<'_>,
    request: &CopyRequest<'_>,
) -> Result<(RunReport, Figures), CopyError> {
    let snapshot = load.snapshot;
    let asked = RunRequest::again(snapshot, request.level, request.threads, request.elapsed);
    let Totals { entries, bytes, .. } = snapshot.totals;
    load.events.event(Event::Expect { entries, bytes, complete: true });
    let memo = RefCell::new(Memo::new(load.to, load.from.id()).map_err(CopyError::target)?);
    let stored = in_run(load.to, &asked, kind, load.events, |run| {
        for _ in 0..ATTEMPTS {
            let mut figures = Figures::default();
            let pass = run.pass(|parts| {
                let carried = accounts::carry(load, &memo, parts);
                if let Err(CopyError::Target(error)) = &carried {
                    parts.fails(error.kind());
                }
                let (accounts, carried) = carried?;
                figures = carried;
                Ok::<_, CopyError>(accounts)
            })?;
            if let Some(report) = run.commit(pass)? {
                return Ok((report, figures));
            }
        }
        Err(Ended::from(BackupError::Overtaken))
    });
    // Also what an interrupted copy stored: the next one finds it without reading it.
    memo.into_inner().flush().map_err(CopyError::target)?;
    stored
}
