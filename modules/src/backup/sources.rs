//! Sources: what must be asked for its data, streamed into dumps; nothing is kept in between.

use super::{Run, RunError};
use crate::conduct::source_item;
use crate::manifest::drivers::{Format, SourcePhase};
use crate::manifest::programs::Severity;
use crate::manifest::sources::Source;
use crate::sources::{SourceError, SourceSpec, World, open_dump};
use dedup_engine::backup::{BackupError, Parts, StreamError, StreamReport, StreamRequest};
use dedup_engine::snapshot::Outcome;

/// What became of one source.
pub(super) enum Dumped {
    Stored {
        report: Box<StreamReport>,
        /// What became of parts of it that were named: item, outcome, text.
        beside: Vec<(String, Outcome, String)>,
        notices: Vec<String>,
    },
    Not(Outcome, String),
}

impl Run<'_, '_> {
    /// Dumps the sources of a phase, of all members that still take part. One that fails is told in the account.
    pub(super) fn dump(&mut self, parts: &mut Parts<'_>, phase: SourcePhase) -> Result<(), RunError> {
        let members = self.job.members;
        for at in self.conduct.members_in() {
            for source in members[at].manifest.sources.iter().filter(|source| source.phase == phase) {
                self.conduct.unless_cancelled()?;
                let dumped = self.dump_one(parts, at, source)?;
                self.tell_source(at, source, dumped);
            }
        }
        Ok(())
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
        if source.format == Format::Records {
            return match self.dump_records(parts, at, source, (&spec, world, &mut line))? {
                Dumped::Not(..) if is_late() => {
                    Ok(Dumped::Not(Outcome::Failed, "its time limit was reached".into()))
                }
                dumped => Ok(dumped),
            };
        }
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
        Ok(Dumped::Stored { report: Box::new(report), beside: Vec::new(), notices: Vec::new() })
    }

    fn tell_source(&mut self, at: usize, source: &Source, dumped: Dumped) {
        let name = source_item(&source.name);
        match dumped {
            Dumped::Stored { report, beside, notices } => {
                for notice in notices {
                    let member = &self.job.members[at];
                    self.conduct.log(Severity::Notice, Some(member.id()), &format!("{name}: {notice}"));
                }
                let outcome = if report.dump.bytes == 0 { Outcome::Empty } else { Outcome::Stored };
                report.enter(&mut self.accounts[at]);
                self.item(at, name, outcome, String::new());
                for (name, outcome, why) in beside {
                    self.item(at, name, outcome, why);
                }
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

pub(super) fn failed(error: &SourceError) -> Dumped {
    Dumped::Not(error.outcome(), error.to_string())
}
