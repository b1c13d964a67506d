//! Exporters: programs of modules' own, each at the moment it asks for; what one sent counts only as a whole.

use super::{Run, RunError};
use crate::conduct::source_item;
use crate::external::{
    Collected, EXPORTER, EXPORTER_SECRETS, ExportHost, Exported, ExternalError, Job, KIND, Spec, StoreError,
    describe, export,
};
use crate::manifest::Manifest;
use crate::manifest::drivers::Driver;
use crate::manifest::paths::{ManifestPath, Variables};
use crate::manifest::programs::{External, Severity};
use crate::manifest::sections::{Entry, Section as Declared, SectionKind};
use crate::protocol::{Hello, Name, Needs, Opened};
use crate::sources::Head;
use crate::undo::{Ticket, Undo};
use dedup_engine::backup::{BackupError, Parts, StreamError, StreamReport, StreamRequest};
use dedup_engine::error::Kind;
use dedup_engine::listing::Time;
use dedup_engine::repo::RepoError;
use dedup_engine::snapshot::{Outcome, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

/// What became of a member's exporter.
#[derive(Default)]
pub(super) struct Export {
    /// It runs when its services stand still.
    pub is_due_stopped: bool,
    /// Sources that were dumped, by the run or because it asked, and what became of each: none is dumped twice.
    pub dumped: BTreeMap<String, Outcome>,
    /// The manifest with what it named, and the variables that these paths need.
    pub declared: Option<(Manifest, Variables)>,
    /// Modules that it said must be restored before.
    pub requires: Vec<String>,
}

impl Run<'_, '_> {
    /// Asks every exporter when it can run, and runs those that need their services.
    pub(super) fn export_live(&mut self, parts: &mut Parts<'_>) -> Result<(), RunError> {
        for at in self.conduct.members_in() {
            let Some(external) = &self.job.members[at].manifest.exporter else { continue };
            self.conduct.unless_cancelled()?;
            match self.describe(at, external) {
                Ok(hello) if hello.needs == Needs::Stopped => self.exports[at].is_due_stopped = true,
                Ok(_) => self.export(parts, at, external)?,
                Err(error) => self.export_failed(at, &error)?,
            }
        }
        Ok(())
    }

    /// Runs those that need them stopped.
    pub(super) fn export_stopped(&mut self, parts: &mut Parts<'_>) -> Result<(), RunError> {
        for at in self.conduct.members_in() {
            let Some(external) = &self.job.members[at].manifest.exporter else { continue };
            if std::mem::take(&mut self.exports[at].is_due_stopped) {
                self.conduct.unless_cancelled()?;
                self.export(parts, at, external)?;
            }
        }
        Ok(())
    }

    /// Returns whether a source of the manifest is dumped by the run itself.
    pub(super) fn dumps_itself(&self, at: usize, driver: Driver, name: &str) -> bool {
        let exporter = self.job.members[at].manifest.exporter.as_ref();
        driver != Driver::External
            && !exporter.is_some_and(|exporter| exporter.replaces_declared)
            && !self.exports[at].dumped.contains_key(name)
    }

    fn describe(&self, at: usize, external: &External) -> Result<Hello, ExternalError> {
        let member = &self.job.members[at];
        let spec = Spec::of(external, member.manifest, member.variables)?;
        Job::of_run(&spec, member.id(), self.conduct.machine, describe)
    }

    fn export(&mut self, parts: &mut Parts<'_>, at: usize, external: &External) -> Result<(), RunError> {
        let member = &self.job.members[at];
        self.conduct.log(Severity::Info, Some(member.id()), "exporting");
        let sources = member.manifest.sources.iter().filter(|source| source.driver != Driver::External);
        let reserved: Vec<&str> = sources.map(|source| source.name.as_str()).collect();
        let spec = match Spec::of(external, member.manifest, member.variables) {
            Ok(spec) => spec,
            Err(error) => return self.export_failed(at, &error),
        };
        let machine = self.conduct.machine;
        let (reports, error, scratch) = Default::default();
        let mut host = Host { run: self, parts, at, user: spec.user.as_deref(), reports, error, scratch };
        let exported = Job::of_run(&spec, member.id(), machine, |job| export(job, &reserved, &mut host));
        let Host { reports, error, scratch, .. } = host;
        if let Some(ticket) = scratch
            && let Err(error) = self.conduct.undoing.undo(ticket)
        {
            self.conduct.log(Severity::Warning, Some(member.id()), &error.to_string());
        }
        if let Some(error) = error {
            return Err(error);
        }
        match exported {
            Ok(exported) => self.exported(parts, at, &spec, exported, reports),
            Err(error) => self.export_failed(at, &error),
        }
    }

    /// Takes what an exporter sent into the account.
    fn exported(
        &mut self,
        parts: &mut Parts<'_>,
        at: usize,
        spec: &Spec,
        exported: Exported,
        reports: Vec<(String, StreamReport)>,
    ) -> Result<(), RunError> {
        let Exported { collected, grave } = exported;
        let Some(collected) = collected else {
            let member = &self.job.members[at];
            self.item(at, "exporter".into(), Outcome::SkippedByChoice, "it left itself out".into());
            if member.manifest.exporter.as_ref().is_some_and(|exporter| exporter.replaces_declared) {
                self.conduct.standings[at].skip("its exporter left itself out");
            }
            return Ok(());
        };
        match self.declared(at, spec, &collected) {
            Ok(declared) => self.exports[at].declared = Some(declared),
            Err(why) => return self.export_failed(at, &ExternalError::Data(why)),
        }
        let module = self.job.members[at].id().as_str();
        let mut texts = vec![(EXPORTER, Section::Config, collected.to_text(false))];
        if collected.has_secrets() {
            texts.push((EXPORTER_SECRETS, Section::Secrets, collected.to_text(true)));
        }
        for (name, section, text) in texts {
            let request = StreamRequest { module, section, name, kind: KIND, mtime: None };
            let stored = parts.stream(&request, &mut text.as_bytes());
            let mut report = stored.map_err(|error| match error {
                StreamError::Repo(error) => RunError::from(BackupError::from(error)),
                error => BackupError::from(RepoError::Internal(error.to_string())).into(),
            })?;
            report.dump.schema = schema(parts, module, section, &[("shape".into(), "exporter".into())])?;
            report.enter(&mut self.accounts[at]);
        }
        let mut sent = BTreeSet::new();
        for (name, report) in reports {
            let outcome = if report.dump.bytes == 0 { Outcome::Empty } else { Outcome::Stored };
            report.enter(&mut self.accounts[at]);
            self.item(at, source_item(&name), outcome, String::new());
            sent.insert(name);
        }
        let requires = collected.dependencies.iter().filter(|depend| depend.after != Some(true));
        self.exports[at].requires = requires.filter_map(|depend| depend.requirement().ok()).collect();
        self.item(at, "exporter".into(), Outcome::Stored, String::new());
        for said in grave {
            self.conduct.standings[at].note(said.level, &said.text);
        }
        self.tell_missing(at, &|name| sent.contains(name), "the exporter did not send it");
        Ok(())
    }

    /// Returns the manifest with what the exporter named.
    fn declared(
        &self,
        at: usize,
        spec: &Spec,
        collected: &Collected,
    ) -> Result<(Manifest, Variables), String> {
        let member = &self.job.members[at];
        let (mut manifest, mut variables) = (member.manifest.clone(), member.variables.clone());
        if manifest.exporter.as_ref().is_some_and(|exporter| exporter.replaces_declared) {
            (manifest.config, manifest.data, manifest.secrets) = Default::default();
        }
        for (n, (item, value)) in collected.items.iter().enumerate() {
            let path = item.path.as_path();
            let vouched =
                member.items.iter().map(|item| &item.path).chain(spec.values.iter().map(|(_, value)| value));
            if spec.is_foreign() && !vouched.clone().any(|root| path.starts_with(root)) {
                return Err(format!(
                    "it runs as another user and names {}, which lies below nothing that its manifest declares",
                    path.display()
                ));
            }
            let rest = value.as_ref().and_then(|value| path.strip_prefix(value).ok()?.to_str());
            let declared = match (&item.base, rest) {
                (Some(base), Some(rest)) => {
                    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
                    ManifestPath { variable: Some(base.clone()), rest }
                }
                // Also paths that are no text.
                _ => {
                    let name = format!("EXPORTED_{n}");
                    variables.set(&name, path);
                    ManifestPath { variable: Some(name), rest: String::new() }
                }
            };
            let entry = Entry {
                path: declared,
                kind: item.kind.clone(),
                base: None,
                optional: item.optional.unwrap_or(false),
                is_directory: item.is_directory,
                entry_only: item.is_directory && item.recurse == Some(false),
                exclude: item.exclude.clone().unwrap_or_default(),
                one_filesystem: true,
                follow_symlinks: false,
            };
            section(&mut manifest, item.section.unwrap_or(SectionKind::Data)).entries.push(entry);
        }
        manifest.items(&variables).map_err(|error| error.to_string())?;
        Ok((manifest, variables))
    }

    fn export_failed(&mut self, at: usize, error: &ExternalError) -> Result<(), RunError> {
        if error.kind() == Kind::Cancelled && (self.conduct.machine.cancelled)() {
            return Err(crate::conduct::Cancelled.into());
        }
        let member = &self.job.members[at];
        let why = error.to_string();
        self.item(at, "exporter".into(), Outcome::Failed, why.clone());
        self.tell_missing(at, &|_| false, "the exporter failed");
        if member.manifest.exporter.as_ref().is_some_and(|exporter| exporter.replaces_declared) {
            self.conduct.standings[at]
                .fail(format!("its exporter failed, and nothing else is exported: {why}"));
        }
        Ok(())
    }

    /// Tells of every source that the exporter should have sent.
    fn tell_missing(&mut self, at: usize, was_sent: &dyn Fn(&str) -> bool, why: &str) {
        let member = &self.job.members[at];
        for source in member.manifest.sources.iter().filter(|source| source.driver == Driver::External) {
            if was_sent(&source.name) {
                continue;
            }
            let name = source_item(&source.name);
            if member.manifest.restore.require.contains(&name) {
                self.conduct.standings[at].fail(format!("{name}, which a restore requires: {why}"));
            }
            self.item(at, name, Outcome::Failed, why.into());
        }
    }
}

fn section(manifest: &mut Manifest, kind: SectionKind) -> &mut Declared {
    match kind {
        SectionKind::Config => &mut manifest.config,
        SectionKind::Data => &mut manifest.data,
        SectionKind::Secrets => &mut manifest.secrets,
    }
}

/// Stores what is known of a dump beside its bytes.
fn schema(
    parts: &mut Parts<'_>,
    module: &str,
    section: Section,
    facts: &[(String, String)],
) -> Result<dedup_engine::map::Blob, RunError> {
    let head = Head { kind: KIND.into(), facts: facts.to_vec(), ..Head::default() };
    let about = serde_json::to_vec(&head).map_err(|error| RepoError::Internal(error.to_string()));
    Ok(parts.blob(module, section, &about.map_err(BackupError::from)?)?)
}

/// What an export stores with.
pub(super) struct Host<'h, 'r, 'a, 'p> {
    pub(super) run: &'h mut Run<'r, 'a>,
    pub(super) parts: &'h mut Parts<'p>,
    at: usize,
    user: Option<&'h str>,
    pub(super) reports: Vec<(String, StreamReport)>,
    error: Option<RunError>,
    scratch: Option<Ticket>,
}

impl Host<'_, '_, '_, '_> {
    pub(super) fn abort(&mut self, error: impl Into<RunError>) -> StoreError {
        self.error = Some(error.into());
        StoreError::Abort
    }
}

impl ExportHost for Host<'_, '_, '_, '_> {
    fn store(&mut self, opened: &Opened, read: &mut dyn Read) -> Result<(), StoreError> {
        let job = self.run.job;
        let (module, section) = (job.members[self.at].id().as_str(), opened.section.into());
        let mtime = opened.mtime.map(|secs| Time { secs, nanos: 0 });
        let request = StreamRequest { module, section, name: opened.name.as_str(), kind: KIND, mtime };
        let mut facts = BTreeMap::from([("shape", opened.shape.word().to_owned())]);
        if let Some(kind) = &opened.kind {
            facts.insert("label", kind.clone());
        }
        if let Some(mtime) = opened.mtime {
            facts.insert("mtime", mtime.to_string());
        }
        if let Some(mode) = opened.mode {
            facts.insert("mode", format!("{mode:04o}"));
        }
        let facts: Vec<_> = facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect();
        if !opened.key.is_empty() {
            return self.store_keyed(opened, facts, &request, read);
        }
        let mut report = match self.parts.stream(&request, read) {
            Ok(report) => report,
            Err(StreamError::Repo(error)) => return Err(self.abort(BackupError::from(error))),
            Err(error) => return Err(StoreError::Lost(error.to_string())),
        };
        report.dump.schema =
            schema(self.parts, module, section, &facts).map_err(|error| self.abort(error))?;
        self.reports.push((opened.name.as_str().to_owned(), report));
        Ok(())
    }

    fn dump(&mut self, name: &Name) -> Result<Option<String>, StoreError> {
        let sources = &self.run.job.members[self.at].manifest.sources;
        let found =
            sources.iter().find(|source| source.name == name.as_str() && source.driver != Driver::External);
        let Some(source) = found else { return Ok(None) };
        // What was dumped is whole, whatever becomes of the exporter.
        let outcome = match self.run.exports[self.at].dumped.get(&source.name) {
            Some(outcome) => *outcome,
            None => self.run.dump_source(self.parts, self.at, source).map_err(|error| self.abort(error))?,
        };
        Ok(Some(
            match outcome {
                Outcome::Stored => "stored",
                Outcome::Empty => "empty",
                Outcome::Absent => "absent",
                Outcome::Unreadable => "unreadable",
                _ => "failed",
            }
            .into(),
        ))
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        let conduct = &mut self.run.conduct;
        let module = conduct.members[self.at].id();
        let path = crate::external::scratch_path(conduct.machine, module.as_str(), self.user, "export");
        let noted = conduct.undoing.note(Undo::RemoveDir { path: path.clone() });
        self.scratch = Some(noted.map_err(|error| error.to_string())?);
        crate::external::make_scratch(&path, self.user)?;
        Ok(path)
    }
}
