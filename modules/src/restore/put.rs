//! Putting one module in place: what it replaces is kept aside, noted before it is touched.

use super::importers::{import_data, is_exported};
use super::stream::with_stream;
use super::{Put, RestoreError, Run};
use crate::external::ImportData;
use crate::files::{FilesSink, Safety};
use crate::hooks::{HookEnd, ResolvedHook, run_hook};
use crate::manifest::items::Extent;
use crate::manifest::lifecycle::Reset;
use crate::manifest::paths::Variables;
use crate::manifest::programs::Severity;
use crate::sources::{Head, LoadOptions, SourceSpec, WayBack, World, open_load};
use crate::undo::Undo;
use dedup_engine::browse;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::restore::{RestoreRequest, run as restore_files};
use dedup_engine::snapshot::{Dump, Form};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest description of a dump that is read.
const MAX_HEAD_BYTES: u64 = 1 << 20;

impl Run<'_, '_> {
    /// Restores one module; if that fails, it is rolled back.
    ///
    /// # Errors
    /// Only what ends the whole restore.
    pub(super) fn put(&mut self, at: usize) -> Result<(), RestoreError> {
        let id = self.job.members[at].id();
        self.conduct.log(Severity::Info, Some(id), "restoring");
        let run = format!("{}-{id}", self.conduct.machine.run);
        let log = self.conduct.machine.state_dir.join("aside").join(format!("{run}.log"));
        let dir = log.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = dir {
            self.roll_back(at, &format!("no place for the log of the way back: {error}"));
            return Ok(());
        }
        let act = Undo::TakeBack { module: id.clone(), log: log.clone() };
        let ticket = self.conduct.undoing.note(act)?;
        self.puts[at].tickets.push(ticket);
        let put = self.put_files(at, &Safety { run, log });
        let put = put.and_then(|()| self.put_sources(at)).and_then(|()| self.put_exported(at));
        match put {
            Ok(()) => self.conduct.log(Severity::Info, Some(id), "restored"),
            Err(PutError::Module(why)) => self.roll_back(at, &why),
            Err(PutError::Run(error)) => return Err(error),
        }
        Ok(())
    }

    fn put_files(&mut self, at: usize, safety: &Safety) -> Result<(), PutError> {
        let (subject, member) = (&self.job.subjects[at], &self.job.members[at]);
        let restore = &member.manifest.restore;
        let exported = import_data(self.job.repo, subject.account).map_err(PutError::Module)?;
        let mut options = subject.sink_options(member);
        options.moved.extend(exported.iter().flat_map(|data| moved(data, member.variables)));
        let sink = FilesSink::with_safety(Path::new("/"), options, safety)?;
        let skip_reset = restore.skip_reset || exported.is_some_and(|data| data.collected.skip_reset);
        match restore.reset {
            _ if skip_reset => {}
            Reset::None => {}
            Reset::ClearDeclared => {
                let cleared = member.items.iter().filter(|item| item.extent != Extent::Pattern);
                for item in cleared {
                    set_aside(&sink, &item.path)?;
                }
            }
            Reset::Command if member.manifest.hooks.reset.is_empty() => self.reset_by_importer(at)?,
            Reset::Command => self.reset(at)?,
        }
        for path in &restore.delete_before {
            let path = path.resolve(member.variables).map_err(|error| PutError::Module(error.to_string()))?;
            set_aside(&sink, &path)?;
        }
        let select = |path: &StoredPath, _: &Node| subject.is_meant(path);
        for listing in &subject.account.listings {
            let request =
                RestoreRequest { base: StoredPath::root(), select: &select, threads: self.job.threads };
            let report = restore_files(self.job.repo, &listing.root, &sink, &request, self.job.events)
                .map_err(|error| PutError::Module(error.to_string()))?;
            self.damaged |= report.damaged > 0;
            self.puts[at].entries += report.entries;
            self.puts[at].bytes += report.bytes;
            if let Some(problem) = report.problems.first() {
                let (n, path) = (report.problems_total, problem.path.to_slashes());
                let first = format!("/{}: {}", String::from_utf8_lossy(&path), problem.message);
                return Err(PutError::Module(match n {
                    1 => format!("one entry cannot be restored: {first}"),
                    _ => format!("{n} entries cannot be restored, the first: {first}"),
                }));
            }
        }
        sink.sync()?;
        if sink.conflicts() > 0 {
            let why = format!("{} entries were there already and stayed as they are", sink.conflicts());
            self.conduct.standings[at].warn(why);
        }
        Ok(())
    }

    /// Empties the module by its own program; what that does to its files is not ours to undo.
    fn reset(&mut self, at: usize) -> Result<(), PutError> {
        let member = &self.job.members[at];
        for hook in &member.manifest.hooks.reset {
            let hook = ResolvedHook::of(hook, member.manifest, member.variables)
                .map_err(|error| PutError::Module(error.to_string()))?;
            match run_hook(&hook, &self.conduct.context(Some(at), None), self.conduct.machine) {
                HookEnd::Done => {}
                HookEnd::SkipModule => return Err(PutError::Module("its reset ended with status 75".into())),
                HookEnd::Failed(why) => return Err(PutError::Module(format!("its reset failed: {why}"))),
            }
        }
        Ok(())
    }

    fn put_sources(&mut self, at: usize) -> Result<(), PutError> {
        let (subject, member) = (&self.job.subjects[at], &self.job.members[at]);
        let has_importer = member.manifest.importer.is_some();
        for dump in subject.account.dumps.iter().filter(|dump| !(has_importer && is_exported(dump))) {
            let source = member.manifest.sources.iter().find(|source| source.name == dump.name);
            let taken = source.is_some_and(|source| source.driver.to_string() == dump.kind);
            if let (Some(source), true) = (source, taken) {
                let spec = SourceSpec::of(source, member.variables)
                    .map_err(|error| PutError::Module(format!("source {}: {error}", dump.name)))?;
                self.load(at, dump, &spec)?;
                self.puts[at].bytes += dump.bytes;
                continue;
            }
            let why = format!("source {} is in the snapshot, and nothing here takes it", dump.name);
            if self.job.strict {
                return Err(PutError::Module(why));
            }
            self.conduct.log(Severity::Warning, Some(member.id()), &why);
            self.conduct.standings[at].warn(why);
        }
        Ok(())
    }

    fn load(&mut self, at: usize, dump: &Dump, spec: &SourceSpec) -> Result<(), PutError> {
        let member = &self.job.members[at];
        let failed = |why: String| PutError::Module(format!("source {}: {why}", dump.name));
        if dump.form != Form::Listing {
            return Err(failed("its form is not known here".into()));
        }
        let path = StoredPath::root().join(dump.name.as_bytes());
        let path = path.ok_or_else(|| failed("its name is none of a file".into()))?;
        let repo = self.job.repo;
        let node = browse::find_entry(repo, &dump.root, &path).map_err(|error| failed(error.to_string()))?;
        let node = node.ok_or_else(|| failed("the snapshot lacks its content".into()))?;
        let head = head(repo, dump).map_err(&failed)?;
        let (machine, log) = (self.conduct.machine, self.conduct.machine.log);
        // What is begun here comes to an end, or is rolled back: a cancellation ends the module.
        let cancelled = || (machine.cancelled)();
        let around = machine.around_of_run();
        let world = World { around: &around, cancelled: &cancelled };
        let mut said = |text: &str| log.log(Severity::Notice, Some(member.id()), text);
        let options = LoadOptions { owner: head.owner, in_use: None };
        let mut load =
            open_load(spec, options, world, &mut said).map_err(|error| failed(error.to_string()))?;
        load.check().map_err(|error| failed(error.to_string()))?;
        let (undoing, Put { tickets, one_way, .. }) = (&mut *self.conduct.undoing, &mut self.puts[at]);
        with_stream(repo, dump.section.class(), &node, |stream| {
            let way = load.prepare(stream).map_err(|error| failed(error.to_string()))?;
            if way == WayBack::DumpFirst {
                one_way.push(dump.name.clone());
            } else {
                let act = Undo::PutBack { module: member.id().clone(), source: dump.name.clone(), way };
                tickets.push(undoing.note(act).map_err(|error| PutError::Run(error.into()))?);
            }
            load.put(stream).map_err(|error| failed(error.to_string()))
        })
    }
}

/// What was known of a dump when it began.
pub(super) fn head(repo: &dedup_engine::repo::Repository, dump: &Dump) -> Result<Head, String> {
    let bytes = browse::blob(repo, dump.section.class(), &dump.schema, MAX_HEAD_BYTES)
        .map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Ok(Head::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("what is known of it makes no sense: {error}"))
}

/// Returns where what an exporter named has gone: from the values of its path variables there to those here.
fn moved(data: &ImportData, here: &Variables) -> Vec<(StoredPath, StoredPath)> {
    let mut moved = Vec::new();
    for (item, value) in &data.collected.items {
        let here = item.base.as_deref().and_then(|base| here.get(base));
        let place = |path: &Path| StoredPath::from_slashes(path.as_os_str().as_bytes());
        if let (Some(value), Some(here)) = (value.as_deref(), here)
            && let (Some(from), Some(to)) = (place(value), place(here))
            && from != to
            && !moved.contains(&(from.clone(), to.clone()))
        {
            moved.push((from, to));
        }
    }
    moved
}

fn set_aside(sink: &FilesSink, path: &Path) -> Result<(), PutError> {
    match StoredPath::from_slashes(path.as_os_str().as_bytes()) {
        Some(place) if place != StoredPath::root() => Ok(sink.set_aside(&place).map(drop)?),
        _ => Err(PutError::Module(format!("{} cannot be cleared", path.display()))),
    }
}

/// Why a module was not put in place.
pub(super) enum PutError {
    /// It is rolled back, and the others go on.
    Module(String),
    /// Everything ends.
    Run(RestoreError),
}

impl From<dedup_engine::restore::sink::SinkError> for PutError {
    fn from(error: dedup_engine::restore::sink::SinkError) -> Self {
        Self::Module(error.to_string())
    }
}
