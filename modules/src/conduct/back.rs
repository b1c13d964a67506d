//! Back: hooks after the work, services started, users let in again. Nothing here ends the run.

use super::{Conduct, Downtime, HookEnded};
use crate::hooks::{HookEnd, run_hook_status};
use crate::machine::Machine;
use crate::manifest::hooks::{HookPhase, HookState};
use crate::manifest::programs::Severity;
use crate::member::Halt;
use crate::planted::{Bug, planted};
use crate::undo::{JournalError, Ticket, Undo};

/// A hook after the work that is due, whatever becomes of its member.
pub struct Due {
    pub(super) at: usize,
    /// Its place among the member's hooks after the work.
    pub(super) point: usize,
    /// Its entry in the journal, if it runs after a failure too.
    pub(super) ticket: Option<Ticket>,
}

impl Conduct<'_, '_> {
    /// Makes the hooks after the work due, and notes those that come after services have started: from here on they
    /// run, even if this process dies.
    pub fn make_due(&mut self) -> Result<(), JournalError> {
        let members = self.members;
        for at in self.members_in() {
            // The list is carried out from its end: so the first hook is noted last.
            for point in (0..members[at].post.len()).rev() {
                self.due.push(Due { at, point, ticket: None });
            }
        }
        self.note_due(|phase| phase != HookPhase::Stopped)
    }

    /// Notes the hooks that come before services start, once these have stopped: so they are carried out first.
    pub fn note_due_when_stopped(&mut self) -> Result<(), JournalError> {
        self.note_due(|phase| phase == HookPhase::Stopped)
    }

    fn note_due(&mut self, concerned: impl Fn(HookPhase) -> bool) -> Result<(), JournalError> {
        for place in 0..self.due.len() {
            let Due { at, point, .. } = self.due[place];
            let after = &self.members[at].post[point];
            if concerned(after.phase) && after.is_due(HookState::Fail) {
                let context = self.context(Some(at), Some(HookState::Fail));
                let ticket = self.undoing.note(Undo::Hook { hook: after.hook.clone(), context })?;
                self.due[place].ticket = Some(ticket);
            }
        }
        Ok(())
    }

    /// Lets everything go on that stands still: in exact order, only what ran.
    pub fn bring_back(&mut self) {
        self.run_post(HookPhase::Stopped, None);
        if planted(Bug::StartInReverse) {
            self.stopped.reverse();
        }
        for stopped in std::mem::take(&mut self.stopped).into_iter().rev() {
            let halt = &self.halts[stopped.halt];
            let name = halt.spec.name().to_owned();
            let started = self.undoing.undo(stopped.ticket).or_else(|first| {
                let module = Some(self.members[halt.members[0]].id());
                self.log(Severity::Warning, module, &format!("{first}; it is tried once more"));
                self.undoing.undo(stopped.ticket)
            });
            if let Err(error) = started
                && !planted(Bug::IgnoreStartFailure)
            {
                for at in &halt.members {
                    let why = format!("{name} is down: {error}");
                    self.log(Severity::Error, Some(self.members[*at].id()), &why);
                    if halt.must_start {
                        self.standings[*at].fail(&why);
                    } else {
                        self.standings[*at].partial(&why);
                    }
                }
                self.left_undone.push(format!("{name} is down: {error}"));
                continue;
            }
            self.up_again(name, stopped.since);
        }
        for locked in std::mem::take(&mut self.locked).into_iter().rev() {
            let id = self.members[locked.at].id();
            if let Err(error) = self.undoing.undo(locked.ticket) {
                self.log(Severity::Error, Some(id), &error.to_string());
                self.standings[locked.at].partial(format!("it is still locked: {error}"));
                self.left_undone.push(format!("{id} is still locked: {error}"));
                continue;
            }
            self.up_again(format!("{id} (locked)"), locked.since);
        }
    }

    /// Starts services of a member before their turn: a source that is loaded needs them. Adds to `early` which, by their places.
    ///
    /// # Errors
    /// Which one does not start; it is tried again when its turn comes.
    pub fn start_early(&mut self, at: usize, names: &[&str], early: &mut Vec<usize>) -> Result<(), String> {
        let is_needed = |halt: &Halt| halt.members.contains(&at) && names.contains(&halt.spec.name());
        // The last that was stopped starts first.
        for place in (0..self.stopped.len()).rev() {
            let (number, ticket, since) =
                (self.stopped[place].halt, self.stopped[place].ticket, self.stopped[place].since);
            if !is_needed(&self.halts[number]) {
                continue;
            }
            let name = self.halts[number].spec.name().to_owned();
            self.undoing.undo(ticket).map_err(|error| format!("a source needs {name}: {error}"))?;
            self.stopped.remove(place);
            self.up_again(name, since);
            early.push(number);
        }
        Ok(())
    }

    fn up_again(&mut self, name: String, since: std::time::Duration) {
        let time = (self.machine.elapsed)().saturating_sub(since);
        self.downtimes.push(Downtime { name, time });
    }

    /// Runs the hooks that come after the services have started.
    pub fn finish_live(&mut self) {
        self.run_post(HookPhase::Live, None);
    }

    /// Runs the hooks that come after publication; they run, with state `fail`, also if nothing was published.
    pub fn published(&mut self, published: bool) {
        self.run_post(HookPhase::Published, (!published).then_some(HookState::Fail));
    }

    fn run_post(&mut self, phase: HookPhase, state: Option<HookState>) {
        let members = self.members;
        let (now, later) = std::mem::take(&mut self.due)
            .into_iter()
            .partition(|due: &Due| members[due.at].post[due.point].phase == phase);
        self.due = later;
        let mut now: Vec<Due> = now;
        now.sort_by_key(|due| (due.at, due.point));
        for due in now {
            let point = &members[due.at].post[due.point];
            let state = state.unwrap_or_else(|| self.hook_state(due.at));
            if point.is_due(state) && !(planted(Bug::SkipLateHooks) && state == HookState::Fail) {
                self.run_post_hook(due.at, due.point, state);
            }
            if let Some(ticket) = due.ticket
                && let Err(error) = self.undoing.settle(ticket)
            {
                self.left_undone.push(error.to_string());
            }
        }
    }

    fn run_post_hook(&mut self, at: usize, point: usize, state: HookState) {
        let member = &self.members[at];
        let point = &member.post[point];
        let context = self.context(Some(at), Some(state));
        // Also in a run that is cancelled: what the hook before the work did must not stay.
        let machine = Machine { cancelled: &|| false, ..*self.machine };
        let (end, status) = run_hook_status(&point.hook, &context, &machine);
        let why = match end {
            HookEnd::Done => None,
            HookEnd::Failed(_) if planted(Bug::IgnoreLateHook) => None,
            HookEnd::SkipModule => {
                Some("it ended with status 75, which only hooks before the work may".into())
            }
            HookEnd::Failed(why) => Some(why),
        };
        if point.phase == HookPhase::Published {
            let name = format!("{}: {}", member.id(), point.hook.program());
            self.published_ends.push(HookEnded { name, status, why: why.clone() });
        }
        let Some(why) = why else { return };
        self.log(Severity::Error, Some(member.id()), &format!("a hook after the work failed: {why}"));
        if planted(Bug::DropDataOfLateHook) {
            self.standings[at].fail(&why);
        }
        if point.goes_on {
            self.standings[at].warn(format!("a hook after the work failed: {why}"));
        } else {
            self.standings[at].partial(format!("a hook after the work failed: {why}"));
        }
    }
}
