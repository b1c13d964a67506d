//! Quiet: everything stands still that must, so that dumps and files are of one moment.

use super::{BackupJob, Run, RunError};
use crate::manifest::drivers::SourcePhase;
use crate::manifest::hooks::HookPhase;
use dedup_engine::backup::Parts;

impl Run<'_, '_> {
    /// Brings everything to a standstill that the files need, and dumps what has to be dumped then.
    ///
    /// Order (7.7 of the design): all services but those that a source needs, in reverse; hooks; the sources;
    /// the services they needed; the sources that want all of them stopped.
    pub(super) fn quieten(&mut self, parts: &mut Parts<'_>, with_snapshot: bool) -> Result<(), RunError> {
        self.conduct.lock_all()?;
        let concerned = concerned(self.job, with_snapshot, &|at| self.exports[at].is_due_stopped);
        let is_in = |at: usize| self.conduct.standings[at].is_in();
        let needed: Vec<usize> =
            concerned.iter().copied().filter(|halt| is_needed(self.job, *halt, &is_in)).collect();
        self.conduct.stop(concerned.iter().filter(|halt| !needed.contains(halt)))?;
        self.conduct.note_due_when_stopped()?;
        self.conduct.run_pre(HookPhase::Stopped)?;
        self.dump(parts, SourcePhase::Auto)?;
        self.conduct.stop(needed.iter())?;
        self.export_stopped(parts)?;
        self.dump(parts, SourcePhase::Stopped)
    }
}

/// Returns the services to stop. With a filesystem snapshot only those that ask for it, and those of modules whose dumps must
/// be of the same moment as the snapshot; `exports`: whether a member's exporter runs when they stand still.
pub(super) fn concerned(
    job: &BackupJob<'_>,
    with_snapshot: bool,
    exports: &dyn Fn(usize) -> bool,
) -> Vec<usize> {
    let dumps = |at: &usize| {
        let sources = &job.members[*at].manifest.sources;
        sources.iter().any(|source| source.phase != SourcePhase::Live) || exports(*at)
    };
    let is_concerned = |halt: &usize| {
        let halt = &job.halts[*halt];
        !with_snapshot || !halt.not_with_snapshot || halt.members.iter().any(dumps)
    };
    (0..job.halts.len()).filter(is_concerned).collect()
}

/// Returns whether a source of a member that takes part wants the service to run.
pub(super) fn is_needed(job: &BackupJob<'_>, halt: usize, is_in: &dyn Fn(usize) -> bool) -> bool {
    let halt = &job.halts[halt];
    halt.members.iter().filter(|at| is_in(**at)).any(|at| {
        let sources = &job.members[*at].manifest.sources;
        let auto = sources.iter().filter(|source| source.phase == SourcePhase::Auto);
        auto.flat_map(|source| &source.needs).any(|name| name == halt.spec.name())
    })
}
