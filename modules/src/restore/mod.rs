//! Restores of modules: everything that replaces something is verified first, and what is replaced can come back.
//!
//! ```text
//! verify   every byte that is needed is read and checked; nothing is touched before      verify.rs
//! ready    set up what needs it · checks of the modules themselves                       ready.rs
//! quiet    live hooks · lock · stop services in reverse · stopped hooks                  conduct/
//! put      in dependency order: reset · paths moved aside · files · sources · importers  put.rs, stream.rs, importers.rs
//! back     stopped hooks · services in exact order · unlock · live hooks                 conduct/
//! settle   what was kept aside is removed
//! ```
//!
//! A module that fails is put back as it was (`files::take_back`, `WayBack`) before anything starts again; modules that
//! require it are not begun. If this process dies, its guard puts back everything that it had replaced, from the same
//! journal, before it starts the services.

mod importers;
mod put;
mod ready;
mod stream;
mod subject;
mod verify;

pub use subject::{Subject, SubjectError};

use crate::conduct::{Cancelled, Conduct, Downtime, StillError};
use crate::machine::Machine;
use crate::manifest::hooks::HookPhase;
use crate::manifest::programs::Severity;
use crate::manifest::services::Operation;
use crate::member::{Halt, Member};
use crate::undo::{JournalError, Ticket, Undoing};
use dedup_engine::error::Kind;
use dedup_engine::progress::Events;
use dedup_engine::repo::Repository;
use dedup_engine::restore::RestoreError as EngineError;
use dedup_engine::snapshot::State;

/// What a restore works with.
pub struct RestoreJob<'a> {
    /// Where the data are.
    pub repo: &'a Repository,
    /// What is restored, in dependency order.
    pub subjects: &'a [Subject<'a>],
    /// The same modules as they are here: one for each subject.
    pub members: &'a [Member<'a>],
    /// The services that are stopped, in the order in which they start.
    pub halts: &'a [Halt],
    /// Whether modules that need it are set up first.
    pub setup: bool,
    /// Whether the others are restored if one cannot be verified.
    pub allow_partial: bool,
    /// Whether what was stored and nobody takes rolls its module back.
    pub strict: bool,
    /// Threads that fetch and write.
    pub threads: usize,
    /// Receives progress.
    pub events: &'a dyn Events,
}

/// How a module came out of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// As it was stored.
    Restored,
    /// Restored, but not everything is as it should be.
    Warned,
    /// Nothing of it was touched: it was refused, or left out.
    Untouched,
    /// Nothing of it was touched: what it requires is not there.
    Blocked,
    /// It failed, and is as it was before.
    RolledBack,
    /// It failed, and is not as it was before.
    Broken,
}

/// What became of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The module.
    pub module: String,
    /// How it ended.
    pub end: End,
    /// Why it is not as it was stored; empty if it is.
    pub reason: String,
    /// Entries of its files.
    pub entries: u64,
    /// Bytes of its files and dumps.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug)]
pub struct RestoreOutcome {
    /// Each module.
    pub modules: Vec<Ended>,
    /// How long what stood still, longest first.
    pub downtimes: Vec<Downtime>,
    /// What could not be brought back or put back.
    pub left_undone: Vec<String>,
    /// Whether damage of the repository was found.
    pub damaged: bool,
    /// Whether the person cancelled it.
    pub cancelled: bool,
}

/// Why a restore did nothing, or ended at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The repository could not be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Data that are needed are damaged or out of reach; nothing was touched.
    #[error("nothing was touched, as not everything that is needed can be read: {}", reasons.join("; "))]
    Unverified {
        /// Each module with its reason.
        reasons: Vec<String>,
        /// Whether it is damage.
        damaged: bool,
    },
    /// What must be undone could not be noted, so nothing more was done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The person asked to stop before anything was touched.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl RestoreError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::Unverified { damaged: true, .. } => Kind::Integrity,
            Self::Unverified { .. } => Kind::Missing,
            Self::Journal(_) => Kind::Io,
            Self::Cancelled(_) => Kind::Cancelled,
        }
    }
}

impl From<StillError> for RestoreError {
    fn from(error: StillError) -> Self {
        match error {
            StillError::Journal(error) => Self::Journal(error),
            StillError::Cancelled(error) => Self::Cancelled(error),
        }
    }
}

/// What has been put in place of one module, and how that is undone.
#[derive(Default)]
struct Put {
    tickets: Vec<Ticket>,
    /// Sources that were loaded and have no way back: their programs keep nothing.
    one_way: Vec<String>,
    /// How what its importer does is undone stands in the journal.
    importer_noted: bool,
    entries: u64,
    bytes: u64,
    end: Option<End>,
}

/// A restore under way.
struct Run<'r, 'a> {
    job: &'r RestoreJob<'a>,
    conduct: Conduct<'r, 'a>,
    puts: Vec<Put>,
    damaged: bool,
    cancelled: bool,
}

/// Runs the restore. The journal is finished by the caller, who sees what is left in it.
///
/// # Errors
/// Nothing is replaced then: either nothing was, or it was put back.
pub fn run<'a>(
    job: &RestoreJob<'a>,
    machine: &Machine<'a>,
    undoing: &mut Undoing<'a>,
) -> Result<RestoreOutcome, RestoreError> {
    let mut run = Run {
        job,
        conduct: Conduct::new(job.members, job.halts, Operation::Restore, machine, undoing),
        puts: job.subjects.iter().map(|_| Put::default()).collect(),
        damaged: false,
        cancelled: false,
    };
    run.verify()?;
    run.make_ready()?;
    run.check()?;
    let put = run.put_all();
    if put.is_err() {
        // The journal cannot be written, or the machine is about to fail otherwise: everything goes back.
        for at in (0..job.subjects.len()).rev() {
            run.roll_back(at, "the restore was broken off");
        }
    }
    run.conduct.bring_back();
    run.conduct.finish_live();
    put?;
    run.settle();
    Ok(run.outcome())
}

impl Run<'_, '_> {
    /// Brings the machine to a standstill and puts every module in place.
    fn put_all(&mut self) -> Result<(), RestoreError> {
        self.conduct.make_due()?;
        self.conduct.run_pre(HookPhase::Live)?;
        self.conduct.lock_all()?;
        let halts: Vec<usize> = (0..self.job.halts.len()).collect();
        self.conduct.stop(halts.iter())?;
        self.conduct.note_due_when_stopped()?;
        self.conduct.run_pre(HookPhase::Stopped)?;
        for at in 0..self.job.subjects.len() {
            if self.cancelled || self.conduct.unless_cancelled().is_err() {
                self.cancelled = true;
                self.conduct.standings[at].fail("the restore was cancelled before it was begun");
            }
            let blocked =
                self.blocked_by(at).map(|missing| format!("it requires {missing}, which is not restored"));
            if let Some(why) = blocked {
                self.puts[at].end = Some(End::Blocked);
                self.conduct.standings[at].fail(why);
            }
            if self.conduct.standings[at].is_in() {
                self.put(at)?;
            }
        }
        Ok(())
    }

    /// Returns the module that this one requires and that is not restored though it should be.
    fn blocked_by(&self, at: usize) -> Option<&str> {
        let requires = &self.job.subjects[at].requires;
        let missing = requires.iter().find(|required| !self.conduct.standings[**required].is_in())?;
        Some(&self.job.subjects[*missing].account.module)
    }

    /// Puts back what a module had before, and notes why.
    fn roll_back(&mut self, at: usize, why: &str) {
        let module = self.job.members[at].id();
        let put = &mut self.puts[at];
        let began = !put.tickets.is_empty();
        let mut end = if began { End::RolledBack } else { put.end.unwrap_or(End::Untouched) };
        for ticket in std::mem::take(&mut put.tickets).into_iter().rev() {
            if let Err(error) = self.conduct.undoing.undo(ticket) {
                end = End::Broken;
                self.conduct.log(Severity::Critical, Some(module), &error.to_string());
                self.conduct.left_undone.push(format!("{module}: {error}"));
            }
        }
        for source in std::mem::take(&mut self.puts[at].one_way) {
            end = End::Broken;
            let lost = format!("what the source {source} had before the restore was kept by nobody");
            self.conduct.log(Severity::Critical, Some(module), &lost);
            self.conduct.left_undone.push(format!("{module}: {lost}"));
        }
        if began {
            self.conduct.log(Severity::Error, Some(module), &format!("rolled back: {why}"));
        }
        self.puts[at].end = Some(end);
        self.conduct.standings[at].fail(why);
    }

    /// Lets go of what was kept aside: the restore stands.
    fn settle(&mut self) {
        for at in 0..self.puts.len() {
            for ticket in std::mem::take(&mut self.puts[at].tickets) {
                let act = self.conduct.undoing.act(ticket).cloned();
                // First the journal: what is not kept any more must not be put back.
                let settled = self.conduct.undoing.settle(ticket).map_err(|error| error.to_string());
                let state_dir = self.conduct.machine.state_dir;
                let removed =
                    settled.and_then(|()| act.as_ref().map_or(Ok(()), |act| act.discard(state_dir)));
                if let Err(why) = removed {
                    let module = self.job.members[at].id();
                    let why = format!("what was kept for the way back is still there: {why}");
                    self.conduct.log(Severity::Warning, Some(module), &why);
                    self.conduct.standings[at].warn(why);
                }
            }
        }
    }

    fn outcome(self) -> RestoreOutcome {
        let ended = |(at, subject): (usize, &Subject<'_>)| {
            let (state, reason) = self.conduct.standings[at].state();
            let usual = match state {
                State::Complete => End::Restored,
                State::Warned | State::Partial => End::Warned,
                State::Failed | State::Skipped => End::Untouched,
            };
            let put = &self.puts[at];
            let end = put.end.unwrap_or(usual);
            let module = subject.account.module.clone();
            Ended { module, end, reason, entries: put.entries, bytes: put.bytes }
        };
        let modules = self.job.subjects.iter().enumerate().map(ended).collect();
        let mut downtimes = self.conduct.downtimes;
        downtimes.sort_by_key(|downtime| std::cmp::Reverse(downtime.time));
        RestoreOutcome {
            modules,
            downtimes,
            left_undone: self.conduct.left_undone,
            damaged: self.damaged,
            cancelled: self.cancelled,
        }
    }
}
