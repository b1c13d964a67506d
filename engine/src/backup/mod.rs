//! Backup: parts of sources into packs, listings and one snapshot.
//!
//! ```text
//! Source ─entries─► compare with parent ─changed─► read · chunk · name ─new chunks─► blocks, packs (repo::write)
//!   walk thread      │ (dispatch thread)              R threads                          │ durable
//!                    └──────unchanged──────► fold (one thread, in order) ─leaves─────────┘
//! Read ─bytes─► chunk · name (the caller's thread) ─────────────────────────────► the same
//! keys and values, sorted ─► map builder (the caller's thread) ───────────────────► the same
//! end of the run: packs and segments durable → final intent → look again → snapshot → end: committed
//! ```
//!
//! - [`run`] stores one source as one snapshot.
//! - [`run_parts`] stores one part after another, of as many modules as there are, all of them in one session.
//!   A part is done when its entries are in its listing; what it gave may still be on its way into storage.
//!
//! Memory beside that of `repo::write`: R·(4 × longest chunk) for reading, and at most
//! 16,384 entries between dispatch and fold (with 256 MiB; this and R follow from `repo::Budget`); a slow file
//! holds the others back rather than letting them pile up.

mod commit;
mod compare;
mod dispatch;
mod entries;
mod fold;
mod inodes;
mod links;
mod parts;
mod read;
mod remembered;
mod run;
mod sinks;
pub mod source;
mod stream;

pub use entries::Entries;
pub use parts::{PartReport, PartRequest, Parts};
#[cfg(feature = "testing")]
pub(crate) use remembered::Entry as CachedEntry;
pub(crate) use run::{Ended, RunKind, in_run};
pub(crate) use sinks::{ListingSaver, Sinks, built};
pub use stream::{StreamError, StreamReport, StreamRequest, Streams};

use crate::compress::Level;
use crate::error::Kind;
use crate::id::{ObjectId, SessionId};
use crate::listing::{StoredPath, Time};
use crate::progress::Events;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Item, Outcome, Section, Snapshot, State, Totals};
use source::Source;
use std::time::Duration;

/// Entries with problems, and notices, that a report carries at most; the snapshot has all.
pub const REPORTED: usize = 1000;
/// How often a run stores anew what a prune was about to take before it gives up.
pub(crate) const ATTEMPTS: usize = 5;

/// Which snapshot to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The newest one of the same host and module that has what is stored now.
    Auto,
    /// None: everything is read.
    None,
    /// This one.
    Snapshot(ObjectId),
}

/// What a snapshot says of the run, and how to store.
pub struct RunRequest<'a> {
    /// When the run began.
    pub time: Time,
    /// Offset of local time to UTC in minutes.
    pub utc_offset_minutes: i16,
    /// Machine the data is of.
    pub host: String,
    /// Who runs it.
    pub user: String,
    /// Program and version.
    pub program: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Free text.
    pub comment: String,
    /// How hard to compress.
    pub level: Level,
    /// Threads that read, and threads that compress; at least 1, and fewer where memory is short.
    pub threads: usize,
    /// Store nothing, only tell what would be stored.
    pub dry_run: bool,
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
}

impl<'a> RunRequest<'a> {
    /// Asks for a run that stores what a snapshot says of itself once more.
    pub(crate) fn again(
        snapshot: &Snapshot,
        level: Level,
        threads: usize,
        elapsed: &'a (dyn Fn() -> Duration + Sync),
    ) -> Self {
        Self {
            time: snapshot.time,
            utc_offset_minutes: snapshot.utc_offset_minutes,
            host: snapshot.host.clone(),
            user: snapshot.user.clone(),
            program: snapshot.program.clone(),
            tags: snapshot.tags.clone(),
            comment: snapshot.comment.clone(),
            level,
            threads,
            dry_run: false,
            elapsed,
        }
    }
}

/// One source that is stored as the data of one module.
pub struct BackupRequest<'a> {
    /// The run.
    pub run: RunRequest<'a>,
    /// Module: `files` for plain paths.
    pub module: String,
    /// Absolute paths as asked for.
    pub sources: Vec<Vec<u8>>,
    /// What to compare with.
    pub parent: Parent,
}

/// An entry that is not stored, or not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its place.
    pub path: StoredPath,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub message: String,
}

/// What a backup did.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The snapshot; `None` for a dry run.
    pub snapshot: Option<ObjectId>,
    /// How the run ended.
    pub state: State,
    /// The snapshot it was compared with.
    pub parent: Option<ObjectId>,
    /// Figures.
    pub totals: Totals,
    /// The first [`REPORTED`] gaps; the snapshot's problems have all.
    pub problems: Vec<Problem>,
    /// The first [`REPORTED`] notices, such as files that vanished during the run.
    pub notices: Vec<Problem>,
}

/// What a run of parts did.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The snapshot; `None` for a dry run.
    pub snapshot: Option<ObjectId>,
    /// The session that committed it, whose name run records have; `None` for a dry run.
    pub session: Option<SessionId>,
    /// The packs it stored that the snapshot depends on.
    pub packs: Vec<ObjectId>,
    /// The worst state of the accounts.
    pub state: State,
    /// Snapshots that parts were compared with.
    pub parents: Vec<ObjectId>,
    /// The accounts as they stand in the snapshot, sorted by module.
    pub accounts: Vec<Account>,
    /// Sums over them.
    pub totals: Totals,
}

/// Why a backup failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The repository could not be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The parent asked for is not there.
    #[error("there is no snapshot {}", .0.short())]
    NoParent(ObjectId),
    /// Prunes took away what the run relied on, and it could not or not any more be read again.
    #[error("a prune removed what this run relied on; nothing was published; run it again when it has ended")]
    Overtaken,
}

impl BackupError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::NoParent(_) => Kind::Missing,
            Self::Overtaken => Kind::Busy,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.hint(),
            Self::NoParent(_) => Some("`dedup snapshots` lists what there is".into()),
            Self::Overtaken => None,
        }
    }
}

/// Stores a source's entries as one snapshot.
///
/// What cannot be read is in the report and in the snapshot, never silently absent. An interrupted or
/// failed run leaves no snapshot; what it stored is found again by the next one. What a prune takes away
/// meanwhile is read and stored again.
pub fn run<S: Source>(
    repo: &Repository,
    source: &S,
    request: &BackupRequest<'_>,
    events: &dyn Events,
) -> Result<BackupReport, BackupError> {
    let part = PartRequest {
        module: &request.module,
        section: Section::Data,
        parent: request.parent,
        sources: Some(&request.sources),
    };
    // Before the session is there: a mistake leaves no trace.
    part.named_parent(repo)?;
    in_run(repo, &request.run, &RunKind::BACKUP, events, |run| {
        for _ in 0..ATTEMPTS {
            let mut stored = None;
            let pass = run.pass(|parts| {
                let report = parts.store(source, &part)?;
                let account = account_of(request, &report);
                stored = Some(report);
                Ok::<_, BackupError>(vec![account])
            })?;
            let Some(report) = run.commit(pass)? else { continue };
            let Some(part) = stored else { break };
            return Ok(BackupReport {
                snapshot: report.snapshot,
                state: report.state,
                parent: part.parent,
                totals: report.totals,
                problems: part.problems,
                notices: part.notices,
            });
        }
        Err(BackupError::Overtaken.into())
    })
}

/// Stores as one snapshot what `body` makes of one part after another: it returns one account for each module.
///
/// All of it is one session, so what several parts have in common is stored once, and the snapshot exists whole
/// or not at all. If the body fails, or anything that was stored before, nothing is published; what was stored is
/// found again by the next run. Figures that are known only in the end (bytes stored) are put into the
/// accounts then.
///
/// # Errors
/// [`BackupError::Overtaken`] if a prune takes away meanwhile what a part relied on: parts cannot be read again.
pub fn run_parts<E: From<BackupError>>(
    repo: &Repository,
    request: &RunRequest<'_>,
    events: &dyn Events,
    body: impl FnOnce(&mut Parts<'_>) -> Result<Vec<Account>, E>,
) -> Result<RunReport, E> {
    in_run(repo, request, &RunKind::BACKUP, events, |run| {
        let pass = run.pass(body)?;
        run.commit(pass)?.ok_or_else(|| Ended::from(BackupError::Overtaken))
    })
}

/// Makes the account of a plain backup.
fn account_of(request: &BackupRequest<'_>, report: &PartReport) -> Account {
    let (state, reason) = match report.totals.problems {
        0 => (State::Complete, String::new()),
        1 => (State::Warned, "one entry could not be stored as it is".into()),
        n => (State::Warned, format!("{n} entries could not be stored as they are")),
    };
    let item = |source: &Vec<u8>| {
        let path = StoredPath::from_slashes(source);
        let known = path.and_then(|path| report.outcome(&path));
        let (outcome, message) = known.unwrap_or((Outcome::Stored, ""));
        let mut name = format!("{}:{}", Section::Data.word(), String::from_utf8_lossy(source));
        fold::truncate(&mut name, crate::format::MAX_LIST);
        Item { name, outcome, message: message.to_owned() }
    };
    let items = request.sources.iter().map(item).collect();
    let mut account = Account { state, reason, items, ..Account::new(&request.module) };
    account.sources.clone_from(&request.sources);
    report.enter(&mut account);
    account
}
