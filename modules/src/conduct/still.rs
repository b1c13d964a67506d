//! Standing still: users locked out, services stopped.

use super::{Cancelled, Conduct};
use crate::manifest::programs::Severity;
use crate::manifest::services::Restart;
use crate::planted::{Bug, planted};
use crate::services::Services;
use crate::undo::{JournalError, Ticket, Undo};
use std::time::Duration;

/// Why nothing more is stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StillError {
    /// What must be undone could not be noted, so it was not done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The person asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A service that stands still.
pub struct Stopped {
    pub(super) halt: usize,
    pub(super) ticket: Ticket,
    pub(super) since: Duration,
}

/// A module whose users are locked out.
pub struct Locked {
    pub(super) at: usize,
    pub(super) ticket: Ticket,
    pub(super) since: Duration,
}

impl Conduct<'_, '_> {
    /// Keeps the users of all members that still take part out.
    pub fn lock_all(&mut self) -> Result<(), StillError> {
        for at in self.members_in() {
            self.unless_cancelled()?;
            self.lock(at)?;
        }
        Ok(())
    }

    fn lock(&mut self, at: usize) -> Result<(), JournalError> {
        let member = &self.members[at];
        let Some(lock) = &member.lock else { return Ok(()) };
        let id = member.id();
        let locked = match lock.is_locked(self.machine) {
            // Somebody else locked it, and shall unlock it.
            Ok(true) => Ok(()),
            Ok(false) => {
                let act = Undo::Unlock { module: id.clone(), lock: lock.clone() };
                let ticket = self.undoing.note(act)?;
                self.locked.push(Locked { at, ticket, since: (self.machine.elapsed)() });
                lock.lock(self.machine)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = locked {
            let why = format!("users cannot be locked out: {error}");
            self.log(Severity::Error, Some(id), &why);
            if member.lock_required {
                self.standings[at].fail(why);
            } else {
                self.standings[at].warn(why);
            }
        }
        Ok(())
    }

    /// Stops services in reverse, those of which a member still takes part.
    pub fn stop<'h>(&mut self, halts: impl DoubleEndedIterator<Item = &'h usize>) -> Result<(), StillError> {
        for halt in halts.rev() {
            self.unless_cancelled()?;
            let members = &self.halts[*halt].members;
            if members.iter().any(|at| self.standings[*at].is_in()) {
                self.stop_one(*halt)?;
            }
        }
        Ok(())
    }

    fn stop_one(&mut self, number: usize) -> Result<(), JournalError> {
        let halt = &self.halts[number];
        let module = self.members[halt.members[0]].id();
        let services = Services::new(self.machine);
        let stopped = services.note(&halt.spec).map(|mut noted| {
            let ran = noted.running;
            noted.running |= halt.restart == Restart::Always || planted(Bug::StartWhatWasOff);
            (ran, noted)
        });
        let stopped = match stopped {
            Ok((false, noted)) if !noted.running => {
                self.log(Severity::Debug, Some(module), &format!("{} does not run", halt.spec.name()));
                return Ok(());
            }
            Ok((ran, noted)) => {
                if halt.restart != Restart::Never {
                    let service = halt.spec.clone();
                    let act = Undo::StartService { module: module.clone(), service, noted: noted.clone() };
                    let ticket = self.undoing.note(act)?;
                    let since = (self.machine.elapsed)();
                    self.stopped.push(Stopped { halt: number, ticket, since });
                }
                self.log(Severity::Info, Some(module), &format!("stopping {}", halt.spec.name()));
                if ran { services.stop(&halt.spec, &noted) } else { Ok(()) }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = stopped {
            let why = format!("{} cannot be stopped: {error}", halt.spec.name());
            for at in &halt.members {
                self.log(Severity::Error, Some(self.members[*at].id()), &why);
                if halt.must_stop && !planted(Bug::IgnoreStopFailure) {
                    self.standings[*at].fail(&why);
                } else {
                    self.standings[*at].warn(&why);
                }
            }
        }
        Ok(())
    }
}
