//! Sources: what must be asked for its data, streamed into dumps; nothing is kept in between.

use super::{Run, RunError};
use crate::conduct::source_item;
use crate::manifest::drivers::{Format, SourcePhase};
use crate::manifest::programs::Severity;
use crate::manifest::sources::Source;
use crate::sources::{Head, SourceError, SourceSpec, World, list_streams, open_dump};
use dedup_engine::backup::{BackupError, Parts, StreamError, StreamReport, StreamRequest};
use dedup_engine::repo::RepoError;
use dedup_engine::snapshot::Outcome;
use std::io;

/// What became of one source.
pub(super) enum Dumped {
    Stored {
        report: Box<StreamReport>,
        /// What became of parts of it that were named: item, outcome, text.
        beside: Vec<(String, Outcome, String)>,
        notices: Vec<String>,
        /// What is wrong with it where it came from.
        flaw: Option<String>,
    },
    Not(Outcome, String),
}

/// Why a source was not stored.
enum NotStored {
    /// Everything ends.
    Run(RepoError),
    /// The source says.
    Source(SourceError),
    /// Its stream broke off.
    Stream(String),
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
            Dumped::Stored { flaw: Some(_), .. } => Outcome::Damaged,
            Dumped::Stored { report, .. } if report.dump.bytes == 0 => Outcome::Empty,
            Dumped::Stored { .. } => Outcome::Stored,
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
        if source.format == Format::Records {
            return match self.dump_records(parts, at, source, (&spec, world, &mut line))? {
                Dumped::Not(..) if is_late() => {
                    Ok(Dumped::Not(Outcome::Failed, "its time limit was reached".into()))
                }
                dumped => Ok(dumped),
            };
        }
        let streams = match list_streams(&spec, world) {
            Ok(streams) => streams,
            Err(error) => return Ok(failed(&error)),
        };
        let streamed = self.store_streams(parts, at, source, &spec, streams, world);
        let (mut report, head, flaw) = match streamed {
            Ok(stored) => stored,
            Err(NotStored::Run(error)) => return Err(BackupError::from(error).into()),
            Err(NotStored::Source(_)) if is_late() => {
                return Ok(Dumped::Not(Outcome::Failed, "its time limit was reached".into()));
            }
            Err(NotStored::Source(error)) => return Ok(failed(&error)),
            Err(NotStored::Stream(why)) => return Ok(Dumped::Not(Outcome::Failed, why)),
        };
        let (module, section) = (member.id().as_str(), source.section.into());
        let about = serde_json::to_vec(&head)
            .map_err(|error| dedup_engine::repo::RepoError::Internal(error.to_string()))
            .map_err(BackupError::from)?;
        report.dump.schema = parts.blob(module, section, &about)?;
        Ok(Dumped::Stored { report: Box::new(report), beside: Vec::new(), notices: Vec::new(), flaw })
    }

    /// Stores the streams of a source, one after the other, in one dump: all of them or none. Returns also what is wrong with
    /// them where they came from.
    fn store_streams(
        &self,
        parts: &mut Parts<'_>,
        at: usize,
        source: &Source,
        spec: &SourceSpec,
        names: Option<Vec<String>>,
        world: World<'_>,
    ) -> Result<(StreamReport, Head, Option<String>), NotStored> {
        let member = &self.job.members[at];
        let is_one = names.is_none();
        let mut whole = Head { kind: source.driver.to_string(), ..Head::default() };
        let (mut why, mut flaw) = (None, None);
        let (module, section, kind) = (member.id().as_str(), source.section.into(), whole.kind.clone());
        let request = StreamRequest { module, section, name: &source.name, kind: &kind, mtime: None };
        let stored = parts.streams(&request, &mut |streams| {
            for name in names.as_deref().unwrap_or(std::slice::from_ref(&source.name)) {
                let spec = if is_one { Some(spec.clone()) } else { spec.stream(name) };
                let mut line = |text: &str| self.conduct.log(Severity::Notice, Some(member.id()), text);
                let opened =
                    spec.ok_or(SourceError::Unfinished).and_then(|spec| open_dump(&spec, world, &mut line));
                let mut dump = opened.map_err(|error| broken(&mut why, error))?;
                let head = dump.head().clone();
                let put = streams.put(name, &mut dump);
                if put.is_ok() {
                    let found = dump.flaw().map_err(|error| broken(&mut why, error))?;
                    flaw = flaw.take().or(found);
                }
                // The source knows best why its stream broke off, and only it knows whether the end was one.
                match (put, dump.finish()) {
                    (Err(error @ StreamError::Repo(_)), _) => return Err(error),
                    (_, Err(error)) => return Err(broken(&mut why, error)),
                    (put, Ok(_)) => put?,
                };
                match is_one {
                    true => whole = head,
                    false => whole.streams.push((name.clone(), head)),
                }
            }
            Ok(())
        });
        match (stored, why) {
            (Err(StreamError::Repo(error)), _) => Err(NotStored::Run(error)),
            (_, Some(error)) => Err(NotStored::Source(error)),
            (Err(error), None) => Err(NotStored::Stream(error.to_string())),
            (Ok(report), None) => Ok((report, whole, flaw)),
        }
    }

    fn tell_source(&mut self, at: usize, source: &Source, dumped: Dumped) {
        let name = source_item(&source.name);
        match dumped {
            Dumped::Stored { report, beside, notices, flaw } => {
                for notice in notices {
                    let member = &self.job.members[at];
                    self.conduct.log(Severity::Notice, Some(member.id()), &format!("{name}: {notice}"));
                }
                let outcome = if report.dump.bytes == 0 { Outcome::Empty } else { Outcome::Stored };
                report.enter(&mut self.accounts[at]);
                match flaw {
                    None => self.item(at, name, outcome, String::new()),
                    Some(flaw) => {
                        let why = format!(
                            "it is damaged, and stored as it is; no restore puts it in place: {flaw}"
                        );
                        self.tell_failed(at, &name, &why);
                        self.conduct.standings[at].outcome(name, Outcome::Damaged, why);
                    }
                }
                for (name, outcome, why) in beside {
                    self.item(at, name, outcome, why);
                }
            }
            Dumped::Not(outcome, why) => {
                self.tell_failed(at, &name, &why);
                let standing = &mut self.conduct.standings[at];
                if self.job.members[at].manifest.restore.require.contains(&name) {
                    // Without it the rest could never be restored.
                    standing.fail(format!("{name}, which a restore requires: {why}"));
                } else {
                    standing.partial(format!("{name}: {why}"));
                }
                standing.item(name, outcome, why);
            }
        }
    }
}

/// Keeps why a source broke off, and ends its dump.
fn broken(why: &mut Option<SourceError>, error: SourceError) -> StreamError {
    let told = io::Error::other(error.to_string());
    why.get_or_insert(error);
    StreamError::Read(told)
}

pub(super) fn failed(error: &SourceError) -> Dumped {
    Dumped::Not(error.outcome(), error.to_string())
}
