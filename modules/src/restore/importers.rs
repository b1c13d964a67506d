//! Importers: programs of modules' own that take back what their exporters sent.

use super::Run;
use super::put::{PutError, head};
use super::stream::with_stream;
use crate::external::{
    Collected, EXPORTER, EXPORTER_SECRETS, ExternalError, ImportData, ImportHost, Imported, Job, KIND,
    KeyedLines, Reading, Spec, StoredStream, import, make_scratch, scratch_path,
};
use crate::id::ModuleId;
use crate::manifest::programs::Severity;
use crate::manifest::sections::SectionKind;
use crate::planted::{Bug, planted};
use crate::protocol::{Op, Shape};
use crate::records::{RecordError, StoredSource};
use crate::spaces::Spaces;
use crate::undo::{Ticket, Undo, Undoing};
use crate::version::Requirement;
use dedup_engine::browse;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Dump, Form, Section};
use serde_json::json;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest configuration of an exporter that is read, with what surrounds it.
const MAX_EXPORTER_BYTES: u64 = 64 << 20;

/// Whether a dump was sent by an exporter.
pub(super) fn is_exported(dump: &Dump) -> bool {
    dump.kind == KIND
}

/// Reads what an exporter sent, if one did.
pub(super) fn import_data(repo: &Repository, account: &Account) -> Result<Option<ImportData>, String> {
    let mut data = ImportData::default();
    let mut found = false;
    for dump in account.dumps.iter().filter(|dump| is_exported(dump)) {
        let told = |why: String| format!("{}: {why}", dump.name);
        if dump.name == EXPORTER || dump.name == EXPORTER_SECRETS {
            found = true;
            let text = text_of(repo, dump).map_err(told)?;
            data.collected.read(&text, dump.name == EXPORTER_SECRETS).map_err(told)?;
            continue;
        }
        let facts = match dump.form {
            Form::Listing => head(repo, dump).map_err(told)?.facts,
            Form::Records => {
                StoredSource::open(repo, dump).map_err(|error| told(error.to_string()))?.schema.facts
            }
        };
        let fact = |name: &str| facts.iter().find(|(known, _)| known == name).map(|(_, fact)| fact.clone());
        let shape = match fact("shape").as_deref() {
            Some("blob") => Shape::Blob,
            Some("records") => Shape::Records,
            Some("tree") => Shape::Tree,
            _ => return Err(told("its shape is not known here".into())),
        };
        let section = match dump.section {
            Section::Config => SectionKind::Config,
            Section::Data => SectionKind::Data,
            Section::Secrets => SectionKind::Secrets,
        };
        let (name, label, bytes) = (dump.name.clone(), fact("label"), dump.bytes);
        let keyed = dump.form == Form::Records;
        data.streams.push(StoredStream { name, section, shape, label, bytes, keyed });
    }
    Ok(found.then_some(data))
}

/// Returns what a module's exporter named as to be restored before it: what it requires, and what it only comes after.
///
/// # Errors
/// What is wrong with what was stored, for people.
pub fn exported_depends(
    repo: &Repository,
    account: &Account,
) -> Result<(Vec<Requirement>, Vec<ModuleId>), String> {
    let (mut requires, mut after) = (Vec::new(), Vec::new());
    let Some(dump) = account.dump(EXPORTER).filter(|dump| is_exported(dump)) else {
        return Ok((requires, after));
    };
    let mut collected = Collected::default();
    collected.read(&text_of(repo, dump)?, false)?;
    for depend in &collected.dependencies {
        let requirement = Requirement::parse(&depend.requirement()?)?;
        match depend.after {
            Some(true) => after.push(requirement.module),
            _ => requires.push(requirement),
        }
    }
    Ok((requires, after))
}

/// Reads the whole of a dump that is a configuration.
fn text_of(repo: &Repository, dump: &Dump) -> Result<Vec<u8>, String> {
    let (node, mut text) = (node_of(repo, dump)?, Vec::new());
    with_stream(repo, dump.section.class(), &node, |read| {
        read.take(MAX_EXPORTER_BYTES).read_to_end(&mut text)
    })
    .map_err(|error| error.to_string())?;
    Ok(text)
}

fn node_of(repo: &Repository, dump: &Dump) -> Result<Node, String> {
    if dump.form != Form::Listing {
        return Err("its form is not known here".into());
    }
    let path = StoredPath::root().join(dump.name.as_bytes()).ok_or("its name is none of a file")?;
    let node = browse::find_entry(repo, &dump.root, &path).map_err(|error| error.to_string())?;
    node.ok_or_else(|| "the snapshot lacks its content".into())
}

impl Run<'_, '_> {
    /// Returns what a module's importer is told, if it has one and something was exported.
    fn data(&self, at: usize) -> Result<Option<ImportData>, String> {
        let (subject, member) = (&self.job.subjects[at], &self.job.members[at]);
        let Some(mut data) = import_data(self.job.repo, subject.account)? else { return Ok(None) };
        let (here, there) = (&member.manifest.module.version, &subject.stored.module.version);
        let dumps = subject.account.dumps.iter().filter(|dump| !is_exported(dump));
        data.sources = dumps.map(|dump| dump.name.clone()).collect();
        data.begin = json!({
            "module_version": subject.account.version,
            "platform_version": subject.stored.module.platform_version.as_ref().map(ToString::to_string),
            "older": there < here,
            "newer": there > here,
            "dependencies": subject.account.dependencies,
            "skip_reset": data.collected.skip_reset || member.manifest.restore.skip_reset,
        });
        Ok(Some(data))
    }

    /// Asks an importer whether it could; nothing is changed. Returns why not.
    pub(super) fn check_importer(&mut self, at: usize) -> Result<(), String> {
        if self.job.members[at].manifest.importer.is_none() {
            return Ok(());
        }
        let Some(data) = self.data(at)? else { return Ok(()) };
        let imported = match self.operate(at, Op::Check, &data).map_err(|error| error.to_string())? {
            None => return Ok(()),
            Some(imported) => imported,
        };
        if let Some(said) = imported.grave.first() {
            return Err(said.text.clone());
        }
        if imported.skipped { Err("it ended with status 75: skip this module".into()) } else { Ok(()) }
    }

    /// Lets an importer empty its module; returns whether it could be asked.
    pub(super) fn reset_by_importer(&mut self, at: usize) -> Result<(), PutError> {
        self.note_importer(at)?;
        let done = self.operate(at, Op::Reset, &ImportData::default());
        match done.map_err(|error| PutError::Module(format!("its reset failed: {error}")))? {
            Some(Imported { skipped: false, grave, .. }) if grave.is_empty() => Ok(()),
            Some(imported) => {
                let why = imported.grave.first().map_or("it left itself out", |said| said.text.as_str());
                Err(PutError::Module(format!("its reset failed: {why}")))
            }
            None => Err(PutError::Module("its importer has no operation reset".into())),
        }
    }

    /// Lets an importer take what its exporter sent.
    pub(super) fn put_exported(&mut self, at: usize) -> Result<(), PutError> {
        let member = &self.job.members[at];
        if member.manifest.importer.is_none() {
            return Ok(());
        }
        let Some(data) = self.data(at).map_err(PutError::Module)? else { return Ok(()) };
        self.note_importer(at)?;
        self.conduct.log(Severity::Info, Some(member.id()), "importing");
        let imported = self.operate(at, Op::Import, &data);
        let imported = imported.map_err(|error| PutError::Module(format!("importer: {error}")))?;
        let Some(imported) = imported else {
            return Err(PutError::Module("its importer has no operation import".into()));
        };
        self.puts[at].bytes += data.streams.iter().map(|stream| stream.bytes).sum::<u64>();
        self.heed(at, imported)
    }

    /// Heeds what an importer said at its end.
    pub(super) fn heed(&mut self, at: usize, imported: Imported) -> Result<(), PutError> {
        let member = &self.job.members[at];
        if imported.skipped {
            return Err(PutError::Module(
                "its importer left itself out, so what was exported is not taken".into(),
            ));
        }
        for said in imported.grave {
            match said.level {
                // It is put back as it was.
                Severity::Emergency | Severity::Alert | Severity::Critical => {
                    return Err(PutError::Module(format!("importer: {}", said.text)));
                }
                _ => self.conduct.standings[at].note(said.level, &said.text),
            }
        }
        if imported.untaken.is_empty() || planted(Bug::ImportInSilence) {
            return Ok(());
        }
        let (first, more) =
            (imported.untaken.iter().take(5).cloned().collect::<Vec<_>>().join(", "), imported.untaken.len());
        let why = format!("its importer did not take all that was exported ({more} in all): {first}");
        if self.job.strict {
            return Err(PutError::Module(why));
        }
        self.conduct.log(Severity::Warning, Some(member.id()), &why);
        self.conduct.standings[at].warn(why);
        Ok(())
    }

    /// Notes how what an importer does is undone, once.
    fn note_importer(&mut self, at: usize) -> Result<(), PutError> {
        let member = &self.job.members[at];
        let Some(external) = &member.manifest.importer else { return Ok(()) };
        let spec = Spec::of(external, member.manifest, member.variables)
            .map_err(|error| PutError::Module(format!("importer: {error}")))?;
        self.note_program(at, &spec)
    }

    /// Notes how what a program takes is undone, once for a module.
    pub(super) fn note_program(&mut self, at: usize, spec: &Spec) -> Result<(), PutError> {
        if self.puts[at].importer_noted {
            return Ok(());
        }
        let member = &self.job.members[at];
        let told = |error: String| PutError::Module(format!("importer: {error}"));
        let spaces_dir = self.conduct.machine.state_dir.join("spaces");
        let known = Spaces::open(&spaces_dir).and_then(|spaces| spaces.list());
        let known = known.map_err(|error| told(error.to_string()))?;
        let before = known.into_iter().map(|(id, _)| id).collect();
        let act = Undo::Importer { module: member.id().clone(), spec: Box::new(spec.clone()), before };
        let ticket = self.conduct.undoing.note(act).map_err(|error| PutError::Run(error.into()))?;
        self.puts[at].tickets.push(ticket);
        self.puts[at].importer_noted = true;
        Ok(())
    }

    /// Runs an operation; none if the importer does not have it.
    fn operate(&mut self, at: usize, op: Op, data: &ImportData) -> Result<Option<Imported>, ExternalError> {
        let (member, machine) = (&self.job.members[at], self.conduct.machine);
        let Some(external) = &member.manifest.importer else { return Ok(None) };
        let spec = Spec::of(external, member.manifest, member.variables)?;
        let path = scratch_path(machine, member.id().as_str(), spec.user.as_deref(), &op.to_string());
        let mut host = Host {
            repo: self.job.repo,
            account: self.job.subjects[at].account,
            undoing: &mut *self.conduct.undoing,
            path,
            user: spec.user.as_deref(),
            scratch: None,
        };
        let ended = Job::of_run(&spec, member.id(), machine, |job| import(job, op, data, &mut host));
        if let Some(ticket) = host.scratch.take()
            && let Err(error) = self.conduct.undoing.undo(ticket)
        {
            self.conduct.log(Severity::Warning, Some(member.id()), &error.to_string());
        }
        match ended {
            Err(ExternalError::Failed { failure, .. }) if failure.code == "unsupported" => Ok(None),
            ended => ended.map(Some),
        }
    }
}

/// What an import reads with.
pub(super) struct Host<'h, 'a> {
    pub(super) repo: &'h Repository,
    pub(super) account: &'h Account,
    pub(super) undoing: &'h mut Undoing<'a>,
    /// Where its scratch will be.
    pub(super) path: PathBuf,
    pub(super) user: Option<&'h str>,
    pub(super) scratch: Option<Ticket>,
}

impl ImportHost for Host<'_, '_> {
    fn dump(&mut self, name: &str, reading: &mut Reading<'_>) -> Result<(), ExternalError> {
        let dump = self.account.dump(name).filter(|dump| is_exported(dump));
        let dump = dump.ok_or_else(|| ExternalError::Data(format!("{name} is not in the snapshot")))?;
        if dump.form == Form::Records {
            let told = |error: RecordError| ExternalError::Data(format!("{name}: {error}"));
            let stored = StoredSource::open(self.repo, dump).map_err(told)?;
            let lines = KeyedLines::open(&stored.reader(), &stored.schema, name);
            let lines = lines.map_err(|error| ExternalError::Data(format!("{name}: {error}")))?;
            let mut lines =
                lines.ok_or_else(|| ExternalError::Data(format!("{name} has no rows of its name")))?;
            return reading(&mut lines);
        }
        let node = node_of(self.repo, dump).map_err(ExternalError::Data)?;
        with_stream(self.repo, dump.section.class(), &node, |read| reading(read))
    }

    fn file(&mut self, path: &Path, reading: &mut Reading<'_>) -> Result<bool, ExternalError> {
        let Some(stored) = StoredPath::from_slashes(path.as_os_str().as_bytes()) else { return Ok(false) };
        for listing in &self.account.listings {
            let found = browse::find_entry(self.repo, &listing.root, &stored);
            let Some(node) = found.map_err(|error| ExternalError::Data(error.to_string()))? else { continue };
            if !matches!(node.body, dedup_engine::listing::Body::File { .. }) {
                continue;
            }
            with_stream(self.repo, listing.section.class(), &node, |read| reading(read))?;
            return Ok(true);
        }
        Ok(false)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        let noted = self.undoing.note(Undo::RemoveDir { path: self.path.clone() });
        self.scratch = Some(noted.map_err(|error| error.to_string())?);
        make_scratch(&self.path, self.user)?;
        Ok(self.path.clone())
    }
}
