//! Putting one module in place: what it replaces is kept aside, noted before it is touched.

use super::importers::{import_data, is_exported};
use super::legacy::legacy_of;
use super::stream::with_stream;
use super::{RestoreError, Run};
use crate::external::ImportData;
use crate::files::{FilesSink, Safety};
use crate::hooks::{HookEnd, ResolvedHook, run_hook};
use crate::manifest::items::Extent;
use crate::manifest::lifecycle::Reset;
use crate::manifest::paths::Variables;
use crate::manifest::programs::Severity;
use crate::planted::{Bug, planted};
use crate::sources::{Head, Keeps, KeptDump, LoadOptions, SourceSpec, WayBack, World, open_load};
use crate::undo::{JournalError, Ticket, Undo};
use dedup_engine::browse;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::map::Root;
use dedup_engine::restore::{RestoreRequest, run as restore_files};
use dedup_engine::snapshot::{Dump, Form, Outcome};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest description of a dump that is read.
const MAX_HEAD_BYTES: u64 = 1 << 20;
/// Most streams of a dump.
const MAX_STREAMS: usize = 10_000;

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
        // What an earlier module's source needed and this one's files must not meet stands still once more.
        let halts = &self.job.halts;
        let early = self.puts[..at].iter().flat_map(|put| put.early.iter().copied());
        let again: Vec<usize> = early.filter(|halt| halts[*halt].members.contains(&at)).collect();
        self.conduct.stop(again.iter())?;
        let act = Undo::TakeBack { module: id.clone(), log: log.clone() };
        let ticket = self.conduct.undoing.note(act)?;
        self.puts[at].tickets.push(ticket);
        let put = self.put_files(at, &Safety { run, log }, ticket);
        let put = put.and_then(|()| self.put_sources(at)).and_then(|()| self.put_exported(at));
        let put = put.and_then(|()| self.put_legacy(at));
        match put {
            Ok(()) => self.conduct.log(Severity::Info, Some(id), "restored"),
            Err(PutError::Module(why)) => self.roll_back(at, &why),
            Err(PutError::Run(error)) => return Err(error),
        }
        Ok(())
    }

    fn put_files(&mut self, at: usize, safety: &Safety, ticket: Ticket) -> Result<(), PutError> {
        let (subject, member) = (&self.job.subjects[at], &self.job.members[at]);
        let restore = &member.manifest.restore;
        let exported = import_data(self.job.repo, subject.account).map_err(PutError::Module)?;
        let mut options = subject.sink_options(member);
        options.moved.extend(exported.iter().flat_map(|data| moved(data, member.variables)));
        let mut sink = FilesSink::with_safety(Path::new("/"), options.clone(), safety)?;
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
        if let [first, more @ ..] = &subject.undeclared[..] {
            let and_more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
            let why = format!(
                "{first:?}{and_more} is in the snapshot, and the manifest here does not declare it: it is not restored"
            );
            if self.job.strict {
                return Err(PutError::Module(why));
            }
            self.conduct.log(Severity::Warning, Some(member.id()), &why);
            self.conduct.standings[at].warn(why);
        }
        if !self.job.keeps_way_back(at) {
            // What was to go is gone for good, and what is replaced from here on is too.
            sink.sync()?;
            drop(sink);
            self.puts[at].one_way.push("its files".into());
            self.puts[at].tickets.retain(|open| *open != ticket);
            self.let_go(&[(at, ticket)], &[]);
            sink = FilesSink::new(Path::new("/"), options)?;
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
        let has_dump = |name: &str| subject.account.dumps.iter().any(|dump| dump.name == name);
        let needs: Vec<&str> = member
            .manifest
            .sources
            .iter()
            .filter(|source| has_dump(&source.name))
            .flat_map(|source| source.needs.iter().map(String::as_str))
            .collect();
        self.conduct.start_early(at, &needs, &mut self.puts[at].early).map_err(PutError::Module)?;
        let archived = legacy_of(self.job.repo, member.manifest, subject.account).map(|(dump, _)| &dump.name);
        let others = subject.account.dumps.iter().filter(|dump| Some(&dump.name) != archived);
        for dump in others.filter(|dump| !(has_importer && is_exported(dump))) {
            let source = member.manifest.sources.iter().find(|source| source.name == dump.name);
            let taken = source.is_some_and(|source| source.driver.to_string() == dump.kind);
            if let (Some(source), true) = (source, taken) {
                let spec = SourceSpec::to_load(source, member.variables)
                    .map_err(|error| PutError::Module(format!("source {}: {error}", dump.name)))?;
                self.wait_for(at, &spec);
                match dump.form {
                    Form::Records => self.load_records(at, dump, source, &spec)?,
                    Form::Listing => self.load_streams(at, dump, &spec)?,
                }
                self.puts[at].bytes += dump.bytes;
                continue;
            }
            if planted(Bug::TakeInSilence) {
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

    /// Loads the stream of a source, or its streams one after the other.
    fn load_streams(&mut self, at: usize, dump: &Dump, spec: &SourceSpec) -> Result<(), PutError> {
        let failed = |why: String| PutError::Module(format!("source {}: {why}", dump.name));
        let head = head(self.job.repo, dump).map_err(&failed)?;
        let streams = streams(self.job.repo, &dump.root).map_err(&failed)?;
        if let [(name, node)] = &streams[..]
            && *name == dump.name
        {
            return self.load(at, dump, node, &head, spec);
        }
        for (name, node) in spec.in_order_of_load(streams) {
            let stream =
                spec.stream(&name).ok_or_else(|| failed(format!("its manifest does not take {name:?}")))?;
            self.load(at, dump, &node, head.of_stream(&name), &stream)?;
        }
        Ok(())
    }

    fn load(
        &mut self,
        at: usize,
        dump: &Dump,
        node: &Node,
        head: &Head,
        spec: &SourceSpec,
    ) -> Result<(), PutError> {
        let member = &self.job.members[at];
        let failed = |why: String| PutError::Module(format!("source {}: {why}", spec.name));
        let repo = self.job.repo;
        let (machine, log) = (self.conduct.machine, self.conduct.machine.log);
        // What is begun here comes to an end, or is rolled back: a cancellation ends the module.
        let cancelled = || (machine.cancelled)();
        let around = machine.around_of_run();
        let world = World { around: &around, cancelled: &cancelled };
        let mut said = |text: &str| log.log(Severity::Notice, Some(member.id()), text);
        let options = LoadOptions { owner: head.owner, in_use: None };
        let mut load =
            open_load(spec, options, world, &mut said).map_err(|error| failed(error.to_string()))?;
        load.hear(head);
        load.check().map_err(|error| failed(error.to_string()))?;
        let beside = load.beside().map(|way| self.note_beside(at, spec, way)).transpose()?;
        with_stream(repo, dump.section.class(), node, |stream| {
            let prepared = load.prepare(stream).map_err(|error| failed(error.to_string()));
            self.note_prepared(at, spec, world, beside, prepared)?;
            load.put(stream).map_err(|error| failed(error.to_string()))
        })
    }

    /// Dumps what a source has before it is loaded, as its driver keeps nothing beside.
    fn dump_first(&mut self, at: usize, spec: &SourceSpec, world: World<'_>) -> Result<(), PutError> {
        let (machine, id) = (self.conduct.machine, self.job.members[at].id());
        let name = &spec.name;
        if spec.keeps() == Keeps::Nothing {
            let why = format!("what the source {name} has now is kept by nobody: no program dumps it");
            self.conduct.log(Severity::Warning, Some(id), &why);
            self.puts[at].one_way.push(format!("the source {name}"));
            return Ok(());
        }
        self.conduct.log(Severity::Info, Some(id), &format!("dumping what {name} has now"));
        let store = machine.state_dir.join("spaces");
        let kept = KeptDump::new(&store, machine.run, id.as_str(), spec);
        self.note_way(at, spec, WayBack::Kept(Box::new(kept.clone())))?;
        let mut said = |text: &str| machine.log.log(Severity::Notice, Some(id), text);
        match kept.fill(world, &mut said) {
            Err(error) if error.outcome() == Outcome::Absent => {
                let why = format!("the source {name} is not there yet: {error}");
                self.conduct.log(Severity::Notice, Some(id), &why);
                self.puts[at].one_way.push(format!("the source {name}, which was not there"));
                Ok(())
            }
            Err(error) => Err(PutError::Module(format!(
                "source {name}: what it has now cannot be kept, so nothing is loaded (--no-safety loads it all the same): {error}"
            ))),
            Ok(()) => Ok(()),
        }
    }

    /// Notes how a source comes back, once a load is prepared and before it changes anything.
    pub(super) fn note_prepared(
        &mut self,
        at: usize,
        spec: &SourceSpec,
        world: World<'_>,
        beside: Option<Ticket>,
        prepared: Result<WayBack, PutError>,
    ) -> Result<(), PutError> {
        let noted = prepared.and_then(|way| match way {
            WayBack::DumpFirst if self.job.keeps_way_back(at) => self.dump_first(at, spec, world),
            WayBack::DumpFirst => {
                self.puts[at].one_way.push(format!("the source {}", spec.name));
                Ok(())
            }
            way => self.note_way(at, spec, way).map(drop),
        });
        // Only now, and before anything is touched: from here on what lies beside is the way back.
        if let Some(beside) = beside {
            self.conduct.undoing.settle(beside).map_err(run)?;
        }
        noted
    }

    /// Notes what a load will write beside its source, before it does.
    pub(super) fn note_beside(
        &mut self,
        at: usize,
        spec: &SourceSpec,
        way: WayBack,
    ) -> Result<Ticket, PutError> {
        let (module, source) = (self.job.members[at].id().clone(), spec.name.clone());
        self.conduct.undoing.note(Undo::RemoveBeside { module, source, way }).map_err(run)
    }

    /// Notes how a source comes back, before it is changed.
    pub(super) fn note_way(
        &mut self,
        at: usize,
        spec: &SourceSpec,
        way: WayBack,
    ) -> Result<Ticket, PutError> {
        let act = Undo::PutBack { module: self.job.members[at].id().clone(), source: spec.name.clone(), way };
        let ticket = self.conduct.undoing.note(act).map_err(run)?;
        self.puts[at].tickets.push(ticket);
        Ok(ticket)
    }

    /// Strikes out what need not be undone any more, whatever becomes of the rest.
    pub(super) fn strike_out(&mut self, at: usize, ticket: Ticket) -> Result<(), PutError> {
        self.puts[at].tickets.retain(|open| *open != ticket);
        self.conduct.undoing.settle(ticket).map_err(run)
    }
}

/// Returns the streams of a dump, by name.
fn streams(repo: &dedup_engine::repo::Repository, root: &Root) -> Result<Vec<(String, Node)>, String> {
    let mut found = Vec::new();
    let walked = browse::children(repo, root, &StoredPath::root(), &mut |path, node| {
        let name = String::from_utf8_lossy(path.as_key()).into_owned();
        found.push((name, node));
        if found.len() > MAX_STREAMS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    walked.map_err(|error| error.to_string())?;
    match found.len() {
        0 => Err("the snapshot lacks its content".into()),
        count if count > MAX_STREAMS => Err(format!("it has more than {MAX_STREAMS} streams")),
        _ => Ok(found),
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
    if planted(Bug::DeleteForGood) {
        return std::fs::remove_dir_all(path).map_err(|error| PutError::Module(error.to_string()));
    }
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

fn run(error: JournalError) -> PutError {
    PutError::Run(error.into())
}

impl From<dedup_engine::restore::sink::SinkError> for PutError {
    fn from(error: dedup_engine::restore::sink::SinkError) -> Self {
        Self::Module(error.to_string())
    }
}
