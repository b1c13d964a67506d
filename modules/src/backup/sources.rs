//! Sources: what must be asked for its data, streamed into dumps; nothing is kept in between.

use super::{Run, RunError};
use crate::conduct::source_item;
use crate::manifest::drivers::SourcePhase;
use crate::manifest::programs::Severity;
use crate::manifest::sources::Source;
use crate::sources::{SourceError, SourceSpec, World, open_dump};
use dedup_engine::backup::{BackupError, Parts, StreamError, StreamReport, StreamRequest};
use dedup_engine::snapshot::Outcome;

/// What became of one source.
enum Dumped {
    Stored(Box<StreamReport>),
    Not(Outcome, String),
}

impl Run<'_, '_> {
    /// Dumps the sources of a phase, of all members that still take part. One that fails is told in the account.
    pub(super) fn dump(&mut self, parts: &mut Parts<'_>, phase: SourcePhase) -> Result<(), RunError> {
        let members = self.job.members;
        for at in self.conduct.members_in() {
            for source in members[at].manifest.sources.iter().filter(|source| source.phase == phase) {
                if self.dumps_itself(at, source.driver, &source.name) {
                    self.conduct.unless_cancelled()?;
                    self.dump_source(parts, at, source)?;
                }
            }
        }
        Ok(())
    }

    /// Dumps one source; returns what became of it, which the account tells.
    pub(super) fn dump_source(
        &mut self,
        parts: &mut Parts<'_>,
        at: usize,
        source: &Source,
    ) -> Result<Outcome, RunError> {
        let dumped = self.dump_one(parts, at, source)?;
        let outcome = match &dumped {
            Dumped::Stored(report) if report.dump.bytes == 0 => Outcome::Empty,
            Dumped::Stored(_) => Outcome::Stored,
            Dumped::Not(outcome, _) => *outcome,
        };
        self.exports[at].dumped.insert(source.name.clone(), outcome);
        self.tell_source(at, source, dumped);
        Ok(outcome)
    }

    fn dump_one(&self, parts: &mut Parts<'_>, at: usize, source: &Source) -> Result<Dumped, RunError> {
        let member = &self.job.members[at];
        self.conduct.log(Severity::Info, Some(member.id()), &format!("dumping {}", source.name));
        let (machine, begun) = (self.conduct.machine, (self.conduct.machine.elapsed)());
        let is_late =
            || source.timeout.is_some_and(|limit| (machine.elapsed)().saturating_sub(begun) > limit);
        let cancelled = || (machine.cancelled)() || is_late();
        let around = self.conduct.machine.around_of_run();
        let world = World { around: &around, cancelled: &cancelled };
        let spec = match SourceSpec::of(source, member.variables) {
            Ok(spec) => spec,
            Err(error) => return Ok(failed(&error)),
        };
        let mut line = |text: &str| self.conduct.log(Severity::Notice, Some(member.id()), text);
        let mut dump = match open_dump(&spec, world, &mut line) {
            Ok(dump) => dump,
            Err(error) => return Ok(failed(&error)),
        };
        let head = dump.head().clone();
        let (module, section) = (member.id().as_str(), source.section.into());
        let request = StreamRequest { module, section, name: &source.name, kind: &head.kind, mtime: None };
        let streamed = match parts.stream(&request, &mut dump) {
            Err(StreamError::Repo(error)) => return Err(BackupError::from(error).into()),
            streamed => streamed,
        };
        // The source knows best why its stream broke off, and only it knows whether the end was one.
        let mut report = match (dump.finish(), streamed) {
            (Err(_), _) if is_late() => {
                return Ok(Dumped::Not(Outcome::Failed, "its time limit was reached".into()));
            }
            (Err(error), _) => return Ok(failed(&error)),
            (Ok(_), Err(error)) => return Ok(Dumped::Not(Outcome::Failed, error.to_string())),
            (Ok(_), Ok(report)) => report,
        };
        let about = serde_json::to_vec(&head)
            .map_err(|error| dedup_engine::repo::RepoError::Internal(error.to_string()))
            .map_err(BackupError::from)?;
        report.dump.schema = parts.blob(module, section, &about)?;
        Ok(Dumped::Stored(Box::new(report)))
    }

    fn tell_source(&mut self, at: usize, source: &Source, dumped: Dumped) {
        let name = source_item(&source.name);
        match dumped {
            Dumped::Stored(report) => {
                let outcome = if report.dump.bytes == 0 { Outcome::Empty } else { Outcome::Stored };
                report.enter(&mut self.accounts[at]);
                self.item(at, name, outcome, String::new());
            }
            Dumped::Not(outcome, why) => {
                let member = &self.job.members[at];
                self.conduct.log(Severity::Error, Some(member.id()), &format!("{name}: {why}"));
                if member.manifest.restore.require.contains(&name) {
                    // Without it the rest could never be restored.
                    self.conduct.standings[at].fail(format!("{name}, which a restore requires: {why}"));
                    self.conduct.standings[at].item(name, outcome, why);
                } else {
                    self.conduct.standings[at].partial(format!("{name}: {why}"));
                    self.conduct.standings[at].item(name, outcome, why);
                }
            }
        }
    }
}

fn failed(error: &SourceError) -> Dumped {
    Dumped::Not(error.outcome(), error.to_string())
}
