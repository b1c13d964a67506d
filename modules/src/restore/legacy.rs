//! `[[legacy]] command`: a program of the module takes what an archive of another product has of it, in the place of
//! everything that could be declared. It gets the tables as a database of SQLite, as they were called there.

use super::put::PutError;
use super::{Run, importers};
use crate::external::{
    ExternalError, ImportData, ImportHost, Job, Reading, Spec, StoredStream, give_scratch, import,
    make_scratch, scratch_path,
};
use crate::manifest::Manifest;
use crate::manifest::legacy::Legacy;
use crate::manifest::programs::{External, Program};
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use crate::protocol::{Key, MAX_NUMBER, Message, Op, Shape, Value as Sent};
use crate::records::{FROM_ARCHIVE, StoredSource, TableName, Value};
use crate::undo::Undo;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Dump, Form};
use rusqlite::{Connection, params_from_iter, types};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The stream of the switch's tree, if it is too long to be configuration.
const TREE: &str = "astdb";
/// How long that is, in bytes.
const LONG: usize = 256 << 10;

/// Returns what of a module's account its program for archives takes, if it has one for archives of that kind.
pub(super) fn legacy_of<'a>(
    repo: &Repository,
    manifest: &'a Manifest,
    account: &'a Account,
) -> Option<(&'a Dump, &'a Legacy)> {
    let mut programs = manifest.legacy.iter().filter(|legacy| !legacy.command.is_empty()).peekable();
    programs.peek()?;
    // Whatever sources are called here: what came of an archive says so.
    let mut dumps = account.dumps.iter().filter(|dump| dump.form == Form::Records);
    dumps.find_map(|dump| {
        let facts = StoredSource::open(repo, dump).ok()?.schema.facts;
        let format = facts.into_iter().find(|(name, _)| name == FROM_ARCHIVE)?.1;
        Some((dump, programs.find(|legacy| legacy.format.word() == format)?))
    })
}

impl Run<'_, '_> {
    /// Lets the module's program take what came of an archive.
    pub(super) fn put_legacy(&mut self, at: usize) -> Result<(), PutError> {
        let (subject, member) = (&self.job.subjects[at], &self.job.members[at]);
        let Some((dump, legacy)) = legacy_of(self.job.repo, member.manifest, subject.account) else {
            return Ok(());
        };
        let failed = |why: String| PutError::Module(format!("its program for archives: {why}"));
        let program = Program::Command(legacy.command.clone());
        let external = match &member.manifest.importer {
            Some(importer) => External { program, ..importer.clone() },
            None => External::of(program),
        };
        let spec = Spec::of(&external, member.manifest, member.variables);
        let spec = spec.map_err(|error| failed(error.to_string()))?;
        self.note_program(at, &spec)?;
        let machine = self.conduct.machine;
        let user = spec.user.as_deref();
        let id = member.id().as_str();
        let dir = scratch_path(machine, id, user, "archive");
        let ticket = self.conduct.undoing.note(Undo::RemoveDir { path: dir.clone() });
        let ticket = ticket.map_err(|error| PutError::Run(error.into()))?;
        let about =
            json!({ "version": subject.stored.module.platform_version.as_ref().map(ToString::to_string) });
        let importer = importers::Host {
            repo: self.job.repo,
            account: subject.account,
            undoing: &mut *self.conduct.undoing,
            path: scratch_path(machine, id, user, &Op::Legacy.to_string()),
            user,
            scratch: None,
        };
        let mut host = Host { importer, tree: None };
        let ended = (|| {
            // Nobody else's until all is written there: root writes nothing where another user could put a link.
            make_scratch(&dir, None)?;
            let stored = StoredSource::open(self.job.repo, dump).map_err(|error| error.to_string())?;
            let data;
            (data, host.tree) = lay_out(&stored, legacy, about, &dir)?;
            give_scratch(&dir, user)?;
            let ended =
                Job::of_run(&spec, member.id(), machine, |job| import(job, Op::Legacy, &data, &mut host));
            ended.map_err(|error| error.to_string())
        })();
        let scratch = host.importer.scratch.take();
        for ticket in scratch.into_iter().chain([ticket]) {
            if let Err(error) = self.conduct.undoing.undo(ticket) {
                self.conduct.left_undone.push(error.to_string());
            }
        }
        self.puts[at].bytes += dump.bytes;
        self.heed(at, ended.map_err(failed)?)
    }
}

/// Writes the tables into a file, and says what else there is.
fn lay_out(
    stored: &StoredSource<'_>,
    legacy: &Legacy,
    about: Json,
    dir: &Path,
) -> Result<(ImportData, Option<File>), String> {
    let path = dir.join("legacy.sqlite");
    let (mut data, mut parts) = (ImportData::default(), Parts::default());
    let mut names: Vec<TableName> = Vec::new();
    let told = |error: &dyn std::fmt::Display| error.to_string();
    stored
        .reader()
        .tables(|table, _| {
            names.push(table.schema.name);
            Ok::<_, crate::records::RecordError>(())
        })
        .map_err(|error| told(&error))?;
    let database = Connection::open(&path).map_err(|error| told(&error))?;
    database
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")
        .map_err(|error| told(&error))?;
    for name in &names {
        let absent = || format!("table {name} is not in the snapshot");
        let mut table = stored.reader().table(name).map_err(|error| told(&error))?.ok_or_else(absent)?;
        let columns: Vec<String> =
            table.table().schema.row_columns().map(|column| column.name.clone()).collect();
        let (list, marks): (Vec<_>, Vec<_>) = columns.iter().map(|name| (quoted(name), "?")).unzip();
        let into = quoted(name.table());
        database
            .execute_batch(&format!("CREATE TABLE {into} ({})", list.join(", ")))
            .map_err(|error| format!("table {name}: {error}"))?;
        let insert = format!("INSERT INTO {into} VALUES ({})", marks.join(", "));
        let mut insert = database.prepare(&insert).map_err(|error| format!("table {name}: {error}"))?;
        while let Some(row) = table.next().map_err(|error| told(&error))? {
            insert
                .execute(params_from_iter(row.values.iter().map(sql)))
                .map_err(|error| format!("table {name}: {error}"))?;
            parts.take(name.table(), &columns, &row.values);
        }
    }
    database.execute_batch("COMMIT").map_err(|error| told(&error))?;
    drop(database);
    // The directory lets nobody in but the module's user.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).map_err(|error| told(&error))?;
    let is_own = |name: &&TableName| !matches!(name.table(), "freepbx_settings" | "featurecodes" | "astdb");
    let tables: Vec<&str> = names.iter().filter(is_own).map(TableName::table).collect();
    data.begin = json!({
        "format": legacy.format.word(), "database": path, "tables": tables, "unknown_tables": [], "manifest": about,
    });
    let tree = parts.tell(&mut data, dir)?;
    Ok((data, tree))
}

/// What the shared tables have of the module, as configuration.
#[derive(Default)]
struct Parts {
    settings: Map<String, Json>,
    features: Map<String, Json>,
    tree: BTreeMap<String, Map<String, Json>>,
}

impl Parts {
    fn take(&mut self, table: &str, columns: &[String], row: &[Value]) {
        let of = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            row.get(at)
        };
        let text = |name: &str| match of(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        match table {
            "freepbx_settings" => {
                if let (Some(keyword), Some(value)) = (text("keyword"), of("value")) {
                    self.settings.insert(keyword, plain(value));
                }
            }
            "featurecodes" => {
                let Some(name) = text("featurename") else { return };
                let fields = columns
                    .iter()
                    .zip(row)
                    .filter(|(column, _)| !matches!(column.as_str(), "modulename" | "featurename"));
                let fields = fields.map(|(column, value)| (column.clone(), plain(value)));
                self.features.insert(name, map(fields.collect()));
            }
            "astdb" => {
                let (Some(key), Some(value)) = (text("key"), of("value")) else { return };
                let Some((family, key)) = key.trim_start_matches('/').split_once('/') else { return };
                let family = self.tree.entry(family.to_owned()).or_default();
                family.insert(key.to_owned(), plain(value));
            }
            _ => {}
        }
    }

    /// Tells it, and returns the tree if it is a stream: open, whatever becomes of its name.
    fn tell(self, data: &mut ImportData, dir: &Path) -> Result<Option<File>, String> {
        let mut stream = None;
        let tree = self.tree.iter().map(|(family, children)| (family.clone(), map(children.clone())));
        let maps = [("settings", self.settings), ("features", self.features), (TREE, tree.collect())];
        for (key, pairs) in maps.into_iter().filter(|(_, pairs)| !pairs.is_empty()) {
            let text = map(pairs).to_string();
            if key == TREE && text.len() > LONG {
                let file = write_tree(&self.tree, &dir.join(TREE)).map_err(|error| error.to_string())?;
                let bytes = file.metadata().map_err(|error| error.to_string())?.len();
                stream = Some(file);
                data.streams.push(StoredStream {
                    name: TREE.into(),
                    section: SectionKind::Config,
                    shape: Shape::Tree,
                    label: None,
                    bytes,
                    keyed: false,
                });
                continue;
            }
            let value = Sent::parse(&text).map_err(|error| error.to_string())?;
            let key = Key::try_from(key.to_owned())?;
            let message = Message::Config(SectionKind::Config, key, Some(value));
            data.collected.take(message, &[]).map_err(|wrong| wrong.to_string())?;
        }
        Ok(stream)
    }
}

/// Writes a tree as an exporter's is stored.
fn write_tree(tree: &BTreeMap<String, Map<String, Json>>, path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let mut to = std::io::BufWriter::new(file);
    writeln!(to, "{{\"tree\":1}}")?;
    let mut count = 0u64;
    for (family, children) in tree {
        for (key, value) in children {
            writeln!(to, "{}", json!([[family, key], value]))?;
            count += 1;
        }
    }
    writeln!(to, "{{\"count\":{count}}}")?;
    to.into_inner().map_err(|error| error.into_error())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a map as the protocol does: keys that begin with `$` have a form of their own (`PROTOCOL.md` 5).
fn map(pairs: Map<String, Json>) -> Json {
    match pairs.keys().any(|key| key.starts_with('$')) {
        true => {
            json!({ "$m": pairs.into_iter().map(|(key, value)| json!([key, value])).collect::<Vec<_>>() })
        }
        false => Json::Object(pairs),
    }
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null | Value::List(_) | Value::Map(_) => Json::Null,
        Value::Bool(is) => (*is).into(),
        Value::Int(number) if number.unsigned_abs() <= MAX_NUMBER => (*number).into(),
        Value::Int(number) => json!({ "$i": number.to_string() }),
        Value::UInt(number) => json!({ "$i": number.to_string() }),
        Value::Float(number) => (*number).into(),
        Value::Text(text) | Value::Decimal(text) | Value::Time(_, text) => text.clone().into(),
        Value::RawText(bytes) | Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}

fn sql(value: &Value) -> types::Value {
    match value {
        Value::Null | Value::List(_) | Value::Map(_) => types::Value::Null,
        Value::Bool(is) => types::Value::Integer((*is).into()),
        Value::Int(number) => types::Value::Integer(*number),
        Value::UInt(number) => types::Value::Text(number.to_string()),
        Value::Float(number) => types::Value::Real(*number),
        Value::Text(text) | Value::Decimal(text) | Value::Time(_, text) => types::Value::Text(text.clone()),
        Value::RawText(bytes) | Value::Bytes(bytes) => types::Value::Blob(bytes.clone()),
    }
}

/// What the program reads with: the tree, and what any importer may.
struct Host<'h, 'a> {
    importer: importers::Host<'h, 'a>,
    tree: Option<File>,
}

impl ImportHost for Host<'_, '_> {
    fn dump(&mut self, name: &str, reading: &mut Reading<'_>) -> Result<(), ExternalError> {
        match &mut self.tree {
            Some(tree) if name == TREE => {
                tree.rewind().map_err(|error| ExternalError::Data(format!("{name}: {error}")))?;
                reading(tree)
            }
            _ => self.importer.dump(name, reading),
        }
    }

    fn file(&mut self, path: &Path, reading: &mut Reading<'_>) -> Result<bool, ExternalError> {
        self.importer.file(path, reading)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        self.importer.scratch()
    }
}
