//! What backups and restores of modules have in common: hooks around the work, users locked out, services stopped, and all
//! of that brought back whatever happens.
//!
//! ```text
//! standing.rs  how each module stands, and what becomes of it
//! points.rs    hooks before the work
//! still.rs     locks and stops: what must be undone stands in the journal first
//! back.rs      hooks after the work, services started in exact order, users let in
//! ```
//!
//! A module that fails is left out from there on, its hooks after the work still run with state `fail`, and the others go
//! on. Nothing on the way back ends a run.

mod back;
mod points;
mod standing;
mod still;

pub use back::Due;
pub use standing::{Standing, path_item, source_item};
pub use still::{Locked, StillError, Stopped};

use crate::hooks::HookContext;
use crate::id::ModuleId;
use crate::machine::Machine;
use crate::manifest::hooks::HookState;
use crate::manifest::programs::Severity;
use crate::manifest::services::Operation;
use crate::member::{Halt, Member};
use crate::undo::Undoing;
use dedup_engine::snapshot::State;
use std::time::Duration;

/// How long something stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downtime {
    /// The service, or the module that was locked.
    pub name: String,
    /// From the order to stop until it was up again.
    pub time: Duration,
}

/// A hook that ran after publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEnded {
    /// Whose, and the program: `wiki: /usr/bin/tell`.
    pub name: String,
    /// Its exit status, or minus the signal that ended it.
    pub status: i64,
    /// Why it failed, if it did.
    pub why: Option<String>,
}

/// The person asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was cancelled")]
pub struct Cancelled;

/// The conduct of one run.
pub struct Conduct<'r, 'a> {
    /// The modules, in the order of the run.
    pub members: &'a [Member<'a>],
    /// The services that are stopped, in the order in which they start.
    pub halts: &'a [Halt],
    /// What kind of run.
    pub operation: Operation,
    /// What it works with.
    pub machine: &'r Machine<'a>,
    /// What must be undone.
    pub undoing: &'r mut Undoing<'a>,
    /// How each member stands.
    pub standings: Vec<Standing>,
    /// How long what stood still.
    pub downtimes: Vec<Downtime>,
    /// What could not be brought back.
    pub left_undone: Vec<String>,
    /// Hooks that ran after publication, in their order, and how they ended: for the record of the run.
    pub published_ends: Vec<HookEnded>,
    stopped: Vec<Stopped>,
    locked: Vec<Locked>,
    due: Vec<Due>,
}

impl<'r, 'a> Conduct<'r, 'a> {
    /// Begins a run over these members.
    pub fn new(
        members: &'a [Member<'a>],
        halts: &'a [Halt],
        operation: Operation,
        machine: &'r Machine<'a>,
        undoing: &'r mut Undoing<'a>,
    ) -> Self {
        let (downtimes, left_undone, published_ends, stopped, locked, due) = Default::default();
        let standings = vec![Standing::default(); members.len()];
        Self {
            members,
            halts,
            operation,
            machine,
            undoing,
            standings,
            downtimes,
            left_undone,
            published_ends,
            stopped,
            locked,
            due,
        }
    }

    /// Ends the run if the person asked for it.
    pub fn unless_cancelled(&self) -> Result<(), Cancelled> {
        if (self.machine.cancelled)() { Err(Cancelled) } else { Ok(()) }
    }

    /// Returns the places of the members that still take part.
    pub fn members_in(&self) -> Vec<usize> {
        (0..self.standings.len()).filter(|at| self.standings[*at].is_in()).collect()
    }

    /// Tells something of the run.
    pub fn log(&self, level: Severity, module: Option<&ModuleId>, message: &str) {
        self.machine.log.log(level, module, message);
    }

    /// Returns what a hook is told.
    pub fn context(&self, member: Option<usize>, state: Option<HookState>) -> HookContext {
        HookContext {
            run: self.machine.run.to_owned(),
            module: member.map(|at| self.members[at].id().clone()),
            is_restore: self.operation == Operation::Restore,
            root: "/".into(),
            ended_well: state.map(|state| state == HookState::Finish),
            space: None,
        }
    }

    /// Returns how a member's part has ended, for its hooks.
    fn hook_state(&self, at: usize) -> HookState {
        let (state, _) = self.standings[at].state();
        if matches!(state, State::Complete | State::Warned) { HookState::Finish } else { HookState::Fail }
    }
}
