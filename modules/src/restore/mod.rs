//! Restores of modules: everything that replaces something is verified first, and what is replaced can come back.
//!
//! ```text
//! verify   every byte that is needed is read and checked; nothing is touched before      verify.rs
//!          room on every file system                                                     room.rs
//! ready    set up what needs it · checks of the modules themselves                       ready.rs
//! quiet    live hooks · lock · stop services in reverse · stopped hooks                  conduct/
//! put      in dependency order: reset · paths moved aside · files · sources · importers  put.rs, stream.rs, records.rs, importers.rs
//! back     stopped hooks · services in exact order · unlock · live hooks                 conduct/
//! [whole   a whole system into an empty subvolume, then a switch                        whole.rs]
//! settle   what was kept aside is removed, or stays to be reverted                      settle.rs, revert.rs
//!
//! only     single tables and rows, beside what is there                                  only.rs
//! ```
//!
//! A module that fails is put back as it was (`files::take_back`, `WayBack`) before anything starts again; modules that
//! require it are not begun. If this process dies, its guard puts back everything that it had replaced, from the same
//! journal, before it starts the services.

mod importers;
mod legacy;
mod only;
mod put;
mod ready;
mod records;
mod revert;
mod room;
mod settle;
mod stream;
mod subject;
mod up;
mod verify;
mod whole;

pub use importers::exported_depends;
pub use only::{OnlyError, OnlyJob, restore_rows};
pub use revert::{RevertJob, Reverted, revert};
pub use room::{RoomNeeded, room};
pub use subject::{Subject, SubjectError};
pub use whole::{WholeError, WholeRestore, plan_whole, run_whole};

use crate::conduct::{Cancelled, Conduct, Downtime, StillError};
use crate::machine::Machine;
use crate::manifest::hooks::HookPhase;
use crate::manifest::programs::Severity;
use crate::manifest::services::Operation;
use crate::member::{Halt, Member};
use crate::planted::{Bug, planted};
use crate::undo::{JournalError, Ticket, Undo, Undoing};
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
    /// Whether what is replaced is kept until the restore has succeeded; without, a module that fails stays as it is then.
    pub safety: bool,
    /// Threads that fetch and write.
    pub threads: usize,
    /// Receives progress.
    pub events: &'a dyn Events,
}

impl RestoreJob<'_> {
    /// Returns whether what a module has is kept until its restore has succeeded.
    fn keeps_way_back(&self, at: usize) -> bool {
        self.safety && self.members[at].manifest.spaces.safety
    }
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
    /// The name under which what it had before is kept, to be reverted later.
    pub kept: Option<String>,
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
    /// A file system has not enough room for what is written and what is kept of what that replaces; nothing was touched.
    #[error("nothing was touched, as there is not enough room: {}", rooms.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoRoom {
        /// Each file system that has too little.
        rooms: Vec<RoomNeeded>,
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
            Self::NoRoom { .. } => Kind::NoSpace,
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
    /// What was replaced and has no way back, in words.
    one_way: Vec<String>,
    /// Services that were started before their turn, since a source needs them to be loaded.
    early: Vec<usize>,
    kept: Option<String>,
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
    if !planted(Bug::RestoreUnverified) {
        run.verify()?;
    }
    run.find_room()?;
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
        if !planted(Bug::RestoreUnderServices) {
            self.conduct.stop(halts.iter())?;
        }
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
        if planted(Bug::BlockNothing) {
            return None;
        }
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
        let early = std::mem::take(&mut put.early);
        for ticket in std::mem::take(&mut put.tickets).into_iter().rev() {
            if planted(Bug::LeaveHalfRestored) {
                let _ = self.conduct.undoing.settle(ticket);
                continue;
            }
            if matches!(self.conduct.undoing.act(ticket), Some(Undo::TakeBack { .. })) && !early.is_empty() {
                // Sources come back while these run, files while they stand still; what does not stop is told.
                let _ = self.conduct.stop(early.iter());
            }
            if let Err(error) = self.conduct.undoing.undo(ticket) {
                end = End::Broken;
                self.conduct.log(Severity::Critical, Some(module), &error.to_string());
                self.conduct.left_undone.push(format!("{module}: {error}"));
            }
        }
        for what in std::mem::take(&mut self.puts[at].one_way) {
            end = End::Broken;
            let lost = format!("{what}: what was there before the restore was kept by nobody");
            self.conduct.log(Severity::Critical, Some(module), &lost);
            self.conduct.left_undone.push(format!("{module}: {lost}"));
        }
        if began {
            self.conduct.log(Severity::Error, Some(module), &format!("rolled back: {why}"));
        }
        self.puts[at].end = Some(end);
        self.conduct.standings[at].fail(why);
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
            let kept = put.kept.clone();
            Ended { module, end, reason, entries: put.entries, bytes: put.bytes, kept }
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
