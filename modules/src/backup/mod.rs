//! Backup runs of modules: what must stand still does so as briefly as possible, and comes back whatever happens.
//!
//! ```text
//! live     hooks before · exporters · sources of phase live                              live.rs, exporters.rs, keyed.rs
//! quiet    lock · stop services in reverse · hooks before · sources · stop the rest      quiet.rs, conduct/
//!          [filesystem snapshot]                                                         root.rs
//! read     files of every section, below the snapshot or `/`                             files.rs
//! back     hooks after · services in exact order, those that ran · unlock · live hooks   conduct/
//! tell     one account for each module, its manifest with it                             account.rs
//! [dry      what would be stored and done, with nothing done                             dry.rs, plan.rs]
//! [whole   the whole system from a filesystem snapshot, without modules                  whole.rs]
//! ```
//!
//! With a filesystem snapshot the way back comes before reading; without one, after it. Either way it comes before what
//! was read is durable, and before the snapshot is published. Every act that must be undone stands in the journal before
//! it is done (`undo/`); the list is carried out on every way out, and by the guarding process if this one dies.
//!
//! Only what concerns all modules ends the run: the repository, the journal, a cancellation, a snapshot that the job
//! requires.

mod account;
mod dry;
mod exporters;
mod files;
mod keyed;
mod live;
mod plan;
mod quiet;
mod records;
mod root;
mod sources;
mod whole;

pub use dry::dry_run;
pub use plan::{Act, Step};
pub use whole::{WholeJob, run_whole};

use crate::conduct::{Cancelled, Conduct, Downtime, HookEnded, StillError};
use crate::files::FilesSource;
use crate::hooks::{HookEnd, JobHook, run_hook};
use crate::machine::Machine;
use crate::manifest::job::UseSnapshot;
use crate::manifest::programs::Severity;
use crate::manifest::services::Operation;
use crate::member::{Halt, Member};
use crate::planted::{Bug, planted};
use crate::selection::LeftOut;
use crate::undo::{JournalError, Undoing};
use account::{Known, tell};
use dedup_engine::backup::{BackupError, Parent, Parts, RunReport, RunRequest, run_parts};
use dedup_engine::error::Kind;
use dedup_engine::progress::Events;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Outcome};
use root::plan_root;
use std::path::Path;

/// Items that failed of which a log tells for each module.
const FAILED_TOLD: usize = 20;

/// What a backup run works with.
pub struct BackupJob<'a> {
    /// Where it goes.
    pub repo: &'a Repository,
    /// What goes with it.
    pub request: &'a RunRequest<'a>,
    /// What to compare with.
    pub parent: Parent,
    /// The modules, in the order of the run.
    pub members: &'a [Member<'a>],
    /// The services that are stopped, in the order in which they start.
    pub halts: &'a [Halt],
    /// What was wanted and takes no part: told in accounts of their own.
    pub left_out: &'a [LeftOut],
    /// Plain paths: the module `files`.
    pub paths: Option<Paths<'a>>,
    /// Whether a filesystem snapshot is what is read.
    pub use_snapshot: UseSnapshot,
    /// A directory for copies where no filesystem snapshot is to be had; none: no copies are made.
    pub copies: Option<&'a Path>,
    /// Hooks of the job, before anything is done.
    pub before: &'a [JobHook],
    /// Whether a snapshot is published that lacks something.
    pub allow_partial: bool,
    /// What must not be stored: the repository, its index, the state of this program.
    pub skip: &'a [std::path::PathBuf],
    /// A directory for large sorts.
    pub scratch_dir: &'a Path,
    /// Receives progress.
    pub events: &'a dyn Events,
}

/// Plain paths that are stored beside modules.
pub struct Paths<'a> {
    /// What is walked.
    pub source: &'a FilesSource,
    /// As asked for.
    pub asked: Vec<Vec<u8>>,
}

/// What a run did.
#[derive(Debug)]
pub struct BackupOutcome {
    /// What the engine says.
    pub report: RunReport,
    /// How long services were down, and whose, longest first.
    pub downtimes: Vec<Downtime>,
    /// What could not be brought back or undone; the run is partial at best.
    pub left_undone: Vec<String>,
    /// Whether a filesystem snapshot was read.
    pub from_snapshot: bool,
    /// Hooks that ran after publication, in their order: what they did came too late for the accounts.
    pub published_ends: Vec<HookEnded>,
    /// What a run would do on this machine; of dry runs only.
    pub plan: Vec<Step>,
}

/// Why a run published nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The engine could not store.
    #[error(transparent)]
    Engine(#[from] BackupError),
    /// What must be undone could not be noted, so nothing more was done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A hook of the job failed before anything was done.
    #[error("the job's hook failed: {0}; nothing was done")]
    JobHook(String),
    /// The job wants a filesystem snapshot.
    #[error("the job requires a filesystem snapshot, and there is none: {0}")]
    NoSnapshot(String),
    /// A whole system that cannot be snapshotted.
    #[error("{0}")]
    NoWholeSystem(String),
    /// Nothing could be stored.
    #[error("every module failed, so nothing was published: {}", reasons.join("; "))]
    AllFailed {
        /// Each with its reason.
        reasons: Vec<String>,
    },
    /// Something is missing, and the job wants all or nothing.
    #[error("something is missing, and the job allows no partial snapshot, so nothing was published: {}", reasons.join("; "))]
    NotWhole {
        /// Each module that is not whole, with its reason.
        reasons: Vec<String>,
    },
    /// The person asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<StillError> for RunError {
    fn from(error: StillError) -> Self {
        match error {
            StillError::Journal(error) => Self::Journal(error),
            StillError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

impl RunError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::NoWholeSystem(_) => Kind::Refused,
            Self::Journal(_)
            | Self::JobHook(_)
            | Self::NoSnapshot(_)
            | Self::AllFailed { .. }
            | Self::NotWhole { .. } => Kind::Io,
            Self::Cancelled(_) => Kind::Cancelled,
        }
    }
}

/// A run under way.
struct Run<'r, 'a> {
    job: &'r BackupJob<'a>,
    conduct: Conduct<'r, 'a>,
    accounts: Vec<Account>,
    paths_account: Option<Account>,
    from_snapshot: bool,
    exports: Vec<exporters::Export>,
}

/// Runs the backup. The journal is closed by the caller, who sees what is left in it. What is asked to be a dry run is one,
/// and needs no journal: [`dry_run`].
///
/// # Errors
/// Nothing was published then; whatever was stopped was brought back, or is told by `left_undone` of the journal.
pub fn run<'a>(
    job: &BackupJob<'a>,
    machine: &Machine<'a>,
    undoing: &mut Undoing<'a>,
) -> Result<BackupOutcome, RunError> {
    if job.request.dry_run {
        return dry_run(job, machine);
    }
    let mut run = Run {
        job,
        conduct: Conduct::new(job.members, job.halts, Operation::Backup, machine, undoing),
        accounts: job.members.iter().map(|member| Account::new(member.id().as_str())).collect(),
        paths_account: None,
        from_snapshot: false,
        exports: job.members.iter().map(|_| exporters::Export::default()).collect(),
    };
    run.job_hooks()?;
    let stored = run_parts(job.repo, job.request, job.events, |parts| run.go(parts));
    let published = stored.is_ok();
    let mut conduct = run.conduct;
    conduct.published(published);
    let report = stored?;
    if let Some(id) = &report.snapshot {
        conduct.log(Severity::Info, None, &format!("published snapshot {}", id.short()));
    }
    conduct.downtimes.sort_by_key(|downtime| std::cmp::Reverse(downtime.time));
    Ok(BackupOutcome {
        report,
        downtimes: conduct.downtimes,
        left_undone: conduct.left_undone,
        from_snapshot: run.from_snapshot,
        published_ends: conduct.published_ends,
        plan: Vec::new(),
    })
}

impl Run<'_, '_> {
    fn job_hooks(&mut self) -> Result<(), RunError> {
        for JobHook { hook, goes_on } in self.job.before {
            let context = self.conduct.context(None, None);
            let why = match run_hook(hook, &context, self.conduct.machine) {
                HookEnd::Done => continue,
                HookEnd::SkipModule => "it ended with status 75".into(),
                HookEnd::Failed(why) => why,
            };
            self.conduct.unless_cancelled()?;
            if !goes_on && !planted(Bug::IgnoreJobHook) {
                return Err(RunError::JobHook(why));
            }
            self.conduct.log(Severity::Warning, None, &format!("the job's hook failed: {why}"));
        }
        Ok(())
    }

    /// Everything between the session's begin and its commit.
    fn go(&mut self, parts: &mut Parts<'_>) -> Result<Vec<Account>, RunError> {
        let collected = self.collect(parts);
        if let Err(error) = &collected {
            // Hooks must not take for stored what never will be.
            for at in self.conduct.members_in() {
                self.conduct.standings[at].fail(format!("the run was broken off: {error}"));
            }
        }
        // Whatever happened: what stands still comes back now.
        self.conduct.bring_back();
        self.conduct.finish_live();
        collected?;
        let known = Known {
            standings: &self.conduct.standings,
            accounts: std::mem::take(&mut self.accounts),
            requires: self.exports.iter_mut().map(|export| std::mem::take(&mut export.requires)).collect(),
            paths: self.paths_account.take(),
        };
        tell(self.job, self.conduct.machine, parts, known)
    }

    fn collect(&mut self, parts: &mut Parts<'_>) -> Result<(), RunError> {
        self.live(parts)?;
        let root = plan_root(self.job, self.conduct.machine, &self.conduct.members_in())?;
        let is_early = planted(Bug::SnapshotTooEarly);
        let of_one_moment = root.is_of_one_moment();
        let root = if is_early { self.take(root)? } else { root };
        self.quieten(parts, of_one_moment)?;
        let root = if is_early { root } else { self.take(root)? };
        if root.is_snapshot() {
            self.from_snapshot = true;
            self.conduct.bring_back();
        }
        self.read(parts, &root)?;
        self.release(root);
        // What was cut short is not called failed.
        Ok(self.conduct.unless_cancelled()?)
    }

    /// Notes what became of a declared item, and what that makes of its module. What failed is told at once, so far as
    /// that is not too much; the account has all of it.
    fn item(&mut self, at: usize, name: String, outcome: Outcome, message: String) {
        if outcome == Outcome::Failed {
            self.tell_failed(at, &name, &message);
        }
        self.conduct.standings[at].outcome(name, outcome, message);
    }

    fn tell_failed(&self, at: usize, name: &str, why: &str) {
        let id = self.job.members[at].id();
        let items = &self.conduct.standings[at].items;
        match items.iter().filter(|item| item.outcome == Outcome::Failed).count() {
            ..FAILED_TOLD => self.conduct.log(Severity::Error, Some(id), &format!("{name}: {why}")),
            FAILED_TOLD => {
                self.conduct.log(Severity::Error, Some(id), "more items failed; its account has all of them")
            }
            _ => {}
        }
    }
}
