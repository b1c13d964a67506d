//! Backup: a source's entries into packs, listings and one snapshot.
//!
//! ```text
//! Source ─entries─► compare with parent ─changed─► read · chunk · name ─new chunks─► blocks, packs (repo::write)
//!   walk thread      │ (dispatch thread)              R threads                          │ durable
//!                    └──────unchanged──────► fold (one thread, in order) ─leaves─────────┘
//! finish: packs and segments durable → final intent → look again → snapshot → end: committed
//! ```
//!
//! Memory beside that of `repo::write`: R·(4 × longest chunk) for reading, and at most
//! 16,384 entries between dispatch and fold (with 256 MiB; this and R follow from `repo::Budget`); a slow file
//! holds the others back rather than letting them pile up.

mod commit;
mod compare;
mod dispatch;
mod fold;
mod inodes;
mod links;
mod read;
pub mod source;

use crate::compress::Level;
use crate::error::Kind;
use crate::id::{ObjectId, SessionId};
use crate::listing::{StoredPath, Time};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::repo::control::{Purpose, Verdict};
use crate::repo::sessions::{Endangered, OpenSession, look_again};
use crate::repo::write::{StoreOptions, Stored, store_chunks};
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Outcome, Snapshot, State, Totals};
use compare::Parent as ParentSnapshot;
use fold::Folded;
use source::Source;
use std::time::Duration;

/// Entries with problems, and notices, that a report carries at most; the snapshot has all.
pub const REPORTED: usize = 1000;
/// How often a run stores anew what a prune was about to take before it gives up.
const ATTEMPTS: usize = 5;
/// How often a fenced run begins a new session before it gives up.
const SESSIONS: usize = 6;

/// Which snapshot to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The newest one of the same host, module and sources.
    Auto,
    /// None: everything is read.
    None,
    /// This one.
    Snapshot(ObjectId),
}

/// What to store, and how.
pub struct BackupRequest<'a> {
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
    /// Module: `files` for plain paths.
    pub module: String,
    /// Absolute paths as asked for.
    pub sources: Vec<Vec<u8>>,
    /// What to compare with.
    pub parent: Parent,
    /// How hard to compress.
    pub level: Level,
    /// Threads that read, and threads that compress; at least 1, and fewer where memory is short.
    pub threads: usize,
    /// Store nothing, only tell what would be stored.
    pub dry_run: bool,
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
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
    /// Prunes took away what the run relied on, again and again.
    #[error(
        "prunes removed what this run relied on {ATTEMPTS} times in a row; run it again when they have ended"
    )]
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

/// Shows others that the run goes on.
type Alive<'a> = &'a (dyn Fn() -> Result<(), RepoError> + Sync);

/// What one pass over the source stored.
struct Pass {
    folded: Folded,
    stored: Stored,
}

/// Stores a source's entries as one snapshot.
///
/// What cannot be read is in the report and in the snapshot, never silently absent. An interrupted or
/// failed run leaves no snapshot; what it stored is found again by the next one.
pub fn run<S: Source>(
    repo: &Repository,
    source: &S,
    request: &BackupRequest<'_>,
    events: &dyn Events,
) -> Result<BackupReport, BackupError> {
    events.event(Event::Phase(Phase::Store));
    let mut parent = ParentSnapshot::find(repo, request)?;
    if let Some(parent) = &parent {
        let totals = parent.totals();
        events.event(Event::Expect { entries: totals.entries, bytes: totals.bytes, complete: false });
    }
    if request.dry_run {
        // No session: a dry run stores nothing at all, so it also works where nothing may be written.
        let nobody = SessionId::from_bytes([0; 16]);
        let avoid = Endangered::default();
        let pass = pass(repo, source, request, events, parent.as_ref(), (nobody, &|| Ok(())), &avoid)?;
        return Ok(report(None, parent.as_ref(), pass.folded));
    }
    let generation = repo.index()?.generation().map_err(RepoError::from)?.map_or(0, |mark| mark.number);
    let host = &request.host;
    let begin = || OpenSession::begin(&repo.objects, Purpose::Backup, host, request.time, generation);
    let mut session = begin()?;
    let result = attempts(repo, source, request, events, &mut parent, &mut session, &begin, generation);
    if let Err(error) = &result {
        // A storage that failed may have packs that no segment names, and so may a run whose memory is faulty.
        // The next run looks for them as long as the session has no end; that only makes a prune more careful.
        let may_leave_packs = [Kind::Io, Kind::NoSpace, Kind::Permission, Kind::Integrity, Kind::Internal]
            .contains(&error.kind());
        if !may_leave_packs {
            // Best effort, for the same reason.
            let _ = session.end(Verdict::Abandoned);
        }
    }
    result
}

/// Stores until nothing that the snapshot depends on is about to be removed, and commits. A fenced run goes
/// on with a new session: over the same packs if they stay, else it stores anew.
#[expect(clippy::too_many_arguments, reason = "the state of one run")]
fn attempts<S: Source>(
    repo: &Repository,
    source: &S,
    request: &BackupRequest<'_>,
    events: &dyn Events,
    parent: &mut Option<ParentSnapshot>,
    session: &mut OpenSession,
    begin: &dyn Fn() -> Result<OpenSession, RepoError>,
    generation: u64,
) -> Result<BackupReport, BackupError> {
    repo.adopt_unlisted_packs(session.id, events)?;
    let mut avoid = look_again(&repo.objects, generation)?;
    let mut earlier = Stored::default();
    'attempt: for _ in 0..ATTEMPTS {
        if parent.as_ref().is_some_and(|parent| avoid.snapshots.contains(&parent.id)) {
            *parent = None;
        }
        let alive: Alive<'_> = &|| session.progress();
        let pass = pass(repo, source, request, events, parent.as_ref(), (session.id, alive), &avoid)?;
        earlier.packs.extend(&pass.stored.packs);
        earlier.segments.extend(&pass.stored.segments);
        events.event(Event::Phase(Phase::Commit));
        let dependencies = commit::dependencies(parent.as_ref(), &pass.stored, &earlier);
        for _ in 0..SESSIONS {
            session.publish(&dependencies)?;
            if !planted(Bug::SkipSecondLook) {
                avoid = look_again(&repo.objects, generation)?;
            }
            if commit::is_endangered(&dependencies, &avoid) {
                commit::leave_behind(&mut earlier, &mut avoid);
                continue 'attempt;
            }
            let lost = commit::lost(repo, &dependencies)?;
            if !lost.is_empty() {
                // The parent may depend on them too: everything is read again, and what was lost stored anew.
                let packs = lost.len();
                let notice = format!("packs were lost ({packs}); what they held is stored again");
                events.event(Event::Notice(notice));
                avoid.packs.extend(lost);
                *parent = None;
                continue 'attempt;
            }
            let snapshot = snapshot(session, request, parent.as_ref(), &pass.folded);
            if let Some(id) = commit::try_commit(repo, session, &snapshot, generation)? {
                return Ok(report(Some(id), parent.as_ref(), pass.folded));
            }
            *session = begin()?;
        }
        break;
    }
    Err(BackupError::Overtaken)
}

/// Reads the source once and makes what is new durable.
fn pass<S: Source>(
    repo: &Repository,
    source: &S,
    request: &BackupRequest<'_>,
    events: &dyn Events,
    parent: Option<&ParentSnapshot>,
    (session, sign_of_life): (SessionId, Alive<'_>),
    avoid: &Endangered,
) -> Result<Pass, BackupError> {
    let threads = repo.budget.threads(request.threads, request.level);
    let options = StoreOptions {
        session,
        level: request.level,
        coders: threads,
        dry_run: request.dry_run,
        avoid: &avoid.packs,
        sign_of_life,
        elapsed: request.elapsed,
    };
    let (mut folded, stored) =
        store_chunks(repo, &options, |store| dispatch::run(repo, source, store, parent, threads, events))?;
    folded.totals.chunks_new = stored.chunks_new;
    folded.totals.bytes_new = stored.bytes_new;
    folded.totals.bytes_stored = stored.bytes_stored;
    Ok(Pass { folded, stored })
}

fn state_of(folded: &Folded) -> (State, String) {
    match folded.totals.problems {
        0 => (State::Complete, String::new()),
        1 => (State::Warned, "one entry could not be stored as it is".into()),
        n => (State::Warned, format!("{n} entries could not be stored as they are")),
    }
}

fn snapshot(
    session: &OpenSession,
    request: &BackupRequest<'_>,
    parent: Option<&ParentSnapshot>,
    folded: &Folded,
) -> Snapshot {
    let (state, reason) = state_of(folded);
    let mut tags = request.tags.clone();
    tags.sort();
    tags.dedup();
    let account = crate::snapshot::Account {
        module: request.module.clone(),
        version: String::new(),
        state,
        reason,
        sources: request.sources.clone(),
        manifest: crate::map::Blob::EMPTY,
        listings: vec![(crate::snapshot::Section::Data, folded.root)],
        problems: folded.problem_root,
        items: folded.items(&request.sources),
        dumps: Vec::new(),
        dependencies: Vec::new(),
        totals: folded.totals,
    };
    Snapshot {
        session: session.id,
        time: request.time,
        utc_offset_minutes: request.utc_offset_minutes,
        host: request.host.clone(),
        user: request.user.clone(),
        program: request.program.clone(),
        tags,
        comment: request.comment.clone(),
        parents: parent.map(|parent| parent.id).into_iter().collect(),
        accounts: vec![account],
        totals: folded.totals,
    }
}

fn report(snapshot: Option<ObjectId>, parent: Option<&ParentSnapshot>, folded: Folded) -> BackupReport {
    BackupReport {
        snapshot,
        state: state_of(&folded).0,
        parent: parent.map(|parent| parent.id),
        totals: folded.totals,
        problems: folded.problems,
        notices: folded.notices,
    }
}
