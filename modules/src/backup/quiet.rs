//! Quiet: users locked out and services stopped, so that dumps and files are of one moment.

use super::Run;
use super::RunError;
use crate::manifest::drivers::SourcePhase;
use crate::manifest::hooks::HookPhase;
use crate::manifest::programs::Severity;
use crate::manifest::services::Restart;
use crate::services::Services;
use crate::undo::{Ticket, Undo};
use dedup_engine::backup::Parts;
use std::time::Duration;

/// A service that stands still.
pub(super) struct Stopped {
    pub halt: usize,
    pub ticket: Ticket,
    pub since: Duration,
}

/// A module whose users are locked out.
pub(super) struct Locked {
    pub at: usize,
    pub ticket: Ticket,
    pub since: Duration,
}

impl Run<'_, '_> {
    /// Brings everything to a standstill that the files need, and dumps what has to be dumped then.
    ///
    /// Order (7.7 of the design): all services but those that a source needs, in reverse; hooks; the sources;
    /// the services they needed; the sources that want all of them stopped.
    pub(super) fn quieten(&mut self, parts: &mut Parts<'_>, with_snapshot: bool) -> Result<(), RunError> {
        for at in self.members_in() {
            self.unless_cancelled()?;
            self.lock(at)?;
        }
        let concerned = self.concerned(with_snapshot);
        let needed: Vec<usize> = concerned.iter().copied().filter(|halt| self.is_needed(*halt)).collect();
        self.stop(concerned.iter().filter(|halt| !needed.contains(halt)))?;
        self.note_due_when_stopped()?;
        self.run_pre(HookPhase::Stopped)?;
        self.dump(parts, SourcePhase::Auto)?;
        self.stop(needed.iter())?;
        self.dump(parts, SourcePhase::Stopped)
    }

    /// Returns the services to stop. With a filesystem snapshot only those that ask for it, and those of modules whose
    /// dumps must be of the same moment as the snapshot.
    fn concerned(&self, with_snapshot: bool) -> Vec<usize> {
        let dumps = |at: &usize| {
            let sources = &self.job.members[*at].manifest.sources;
            sources.iter().any(|source| source.phase != SourcePhase::Live)
        };
        let is_concerned = |halt: &usize| {
            let halt = &self.job.halts[*halt];
            !with_snapshot || !halt.not_with_snapshot || halt.members.iter().any(dumps)
        };
        (0..self.job.halts.len()).filter(is_concerned).collect()
    }

    /// Returns whether a source of a member that takes part wants the service to run.
    fn is_needed(&self, halt: usize) -> bool {
        let halt = &self.job.halts[halt];
        halt.members.iter().filter(|at| self.standings[**at].is_in()).any(|at| {
            let sources = &self.job.members[*at].manifest.sources;
            let auto = sources.iter().filter(|source| source.phase == SourcePhase::Auto);
            auto.flat_map(|source| &source.needs).any(|name| name == halt.spec.name())
        })
    }

    fn lock(&mut self, at: usize) -> Result<(), RunError> {
        let member = &self.job.members[at];
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
    fn stop<'h>(
        &mut self,
        halts: impl DoubleEndedIterator<Item = &'h usize>,
    ) -> Result<(), RunError> {
        for halt in halts.rev() {
            self.unless_cancelled()?;
            let members = &self.job.halts[*halt].members;
            if members.iter().any(|at| self.standings[*at].is_in()) {
                self.stop_one(*halt)?;
            }
        }
        Ok(())
    }

    fn stop_one(&mut self, number: usize) -> Result<(), RunError> {
        let halt = &self.job.halts[number];
        let module = self.job.members[halt.members[0]].id();
        let services = Services::new(self.machine);
        let stopped = services.note(&halt.spec).map(|mut noted| {
            let ran = noted.running;
            noted.running |= halt.restart == Restart::Always;
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
                self.log(Severity::Error, Some(self.job.members[*at].id()), &why);
                if halt.must_stop {
                    self.standings[*at].fail(&why);
                } else {
                    self.standings[*at].warn(&why);
                }
            }
        }
        Ok(())
    }
}
