//! What a backup would do on this machine, in the order of a run.

use super::BackupJob;
use super::quiet::{concerned, is_needed};
use super::root::Root;
use crate::id::ModuleId;
use crate::manifest::drivers::{Driver, SourcePhase};
use crate::manifest::hooks::HookPhase;
use crate::manifest::programs::Program;
use crate::manifest::words::words;
use crate::member::{Member, Point};

words! {
    /// What is done.
    pub enum Act {
        /// A program is run.
        Run = "run",
        /// A module's own program exports.
        Export = "export",
        /// A source is dumped.
        Dump = "dump",
        /// Users are locked out.
        Lock = "lock",
        /// A service is stopped, if it runs.
        Stop = "stop",
        /// A filesystem snapshot is taken.
        Snapshot = "snapshot",
        /// A service is started, if it ran.
        Start = "start",
        /// Users are let in.
        Unlock = "unlock",
    }
}

/// One thing that a run would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// For which module; none for the job, and for what is of several.
    pub module: Option<ModuleId>,
    /// With what: a program, a service, a source.
    pub what: String,
}

/// Returns what a run over all members would do. That a program says later when it wants to run, or that a module is left out
/// because a hook fails, cannot be known.
pub(super) fn steps(job: &BackupJob<'_>, root: &Root) -> Vec<Step> {
    let mut plan = Plan { job, steps: Vec::new() };
    for before in job.before {
        plan.steps.push(Step { act: Act::Run, module: None, what: before.hook.line() });
    }
    plan.hooks(|member| &member.pre, HookPhase::Live);
    plan.exports();
    plan.dumps(SourcePhase::Live);
    plan.each_locked(Act::Lock);
    let concerned = concerned(job, root.is_of_one_moment(), &|_| false);
    let (needed, first): (Vec<usize>, Vec<usize>) =
        concerned.iter().partition(|halt| is_needed(job, **halt, &|_| true));
    plan.services(Act::Stop, first.iter().rev());
    plan.hooks(|member| &member.pre, HookPhase::Stopped);
    plan.dumps(SourcePhase::Auto);
    plan.services(Act::Stop, needed.iter().rev());
    plan.dumps(SourcePhase::Stopped);
    if let Root::Planned(snapshot) = root {
        let parts: Vec<_> = snapshot.parts.iter().map(|part| part.display().to_string()).collect();
        let what = format!("{} of {}", snapshot.provider, parts.join(", "));
        plan.steps.push(Step { act: Act::Snapshot, module: None, what });
    }
    plan.hooks(|member| &member.post, HookPhase::Stopped);
    plan.services(Act::Start, concerned.iter());
    plan.each_locked(Act::Unlock);
    plan.hooks(|member| &member.post, HookPhase::Live);
    plan.hooks(|member| &member.post, HookPhase::Published);
    plan.steps
}

struct Plan<'p, 'a> {
    job: &'p BackupJob<'a>,
    steps: Vec<Step>,
}

impl Plan<'_, '_> {
    fn push(&mut self, act: Act, at: usize, what: impl Into<String>) {
        let module = Some(self.job.members[at].id().clone());
        self.steps.push(Step { act, module, what: what.into() });
    }

    fn hooks(&mut self, of: impl for<'x> Fn(&'x Member<'_>) -> &'x Vec<Point>, phase: HookPhase) {
        for (at, member) in self.job.members.iter().enumerate() {
            for point in of(member).iter().filter(|point| point.phase == phase) {
                self.push(Act::Run, at, point.hook.line());
            }
        }
    }

    fn exports(&mut self) {
        for (at, member) in self.job.members.iter().enumerate() {
            if let Some(exporter) = &member.manifest.exporter {
                let what = match &exporter.program {
                    Program::Command(argv) => argv.first().map_or("", String::as_str),
                    Program::Builtin(name) => name,
                };
                self.push(Act::Export, at, what);
            }
        }
    }

    fn dumps(&mut self, phase: SourcePhase) {
        for (at, member) in self.job.members.iter().enumerate() {
            let replaced =
                member.manifest.exporter.as_ref().is_some_and(|exporter| exporter.replaces_declared);
            for source in member.manifest.sources.iter().filter(|source| source.phase == phase && !replaced) {
                if source.driver != Driver::External {
                    self.push(Act::Dump, at, format!("{} ({})", source.name, source.driver));
                }
            }
        }
    }

    fn each_locked(&mut self, act: Act) {
        let members = self.job.members.iter().enumerate();
        let mut locked: Vec<usize> =
            members.filter(|(_, member)| member.lock.is_some()).map(|(at, _)| at).collect();
        if act == Act::Unlock {
            locked.reverse();
        }
        locked.into_iter().for_each(|at| self.push(act, at, ""));
    }

    fn services<'h>(&mut self, act: Act, halts: impl Iterator<Item = &'h usize>) {
        for halt in halts {
            let halt = &self.job.halts[*halt];
            self.push(act, halt.members[0], halt.spec.name());
        }
    }
}
