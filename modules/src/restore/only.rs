//! Single tables and rows, beside what is there: no service is stopped, nothing is cleared.

use super::records::request;
use crate::external::KIND;
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::member::Member;
use crate::records::{
    ImportRequest, Imported, Only, RecordError, RecordSpec, StoredSource, import, meanings,
};
use crate::sources::{LoadOptions, SourceError, SourceSpec, WayBack, World, open_load};
use crate::undo::{JournalError, Undo, Undoing};
use dedup_engine::error::Kind;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::Dump;

/// What is to be put back.
pub struct OnlyJob<'a> {
    /// Where the data are.
    pub repo: &'a Repository,
    /// The dump they are in.
    pub dump: &'a Dump,
    /// The module as it is here.
    pub member: &'a Member<'a>,
    /// A table, and perhaps rows of it by their keys.
    pub spec: &'a RecordSpec,
    /// Whether a row that is there stays as it is.
    pub keep_existing: bool,
}

/// Why rows were not put back: what was there is as it was, unless the error says more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnlyError {
    /// The module here has no such source, or one of another driver.
    #[error("the module has no source {name} here that takes these rows")]
    NoSource {
        /// The source.
        name: String,
    },
    /// An exporter sent them, and the protocol knows no import of single rows.
    #[error(
        "the rows of {name} were sent by the module's own program, whose import takes all of them or none"
    )]
    Exported {
        /// The stream.
        name: String,
    },
    /// The source cannot be read or written.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What must be undone could not be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl OnlyError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSource { .. } => Kind::Missing,
            Self::Exported { .. } => Kind::Refused,
            Self::Source(error) => error.kind(),
            Self::Journal(_) => Kind::Io,
        }
    }
}

impl From<RecordError> for OnlyError {
    fn from(error: RecordError) -> Self {
        Self::Source(error.into())
    }
}

/// Puts rows back. If that fails, the source is as it was; if this process dies, its guard sees to that.
pub fn restore_rows(
    job: &OnlyJob<'_>,
    machine: &Machine<'_>,
    undoing: &mut Undoing<'_>,
) -> Result<Imported, OnlyError> {
    let (dump, member) = (job.dump, job.member);
    if dump.kind == KIND {
        return Err(OnlyError::Exported { name: dump.name.clone() });
    }
    let source = member.manifest.sources.iter().find(|source| source.name == dump.name);
    let source = source.filter(|source| source.driver.to_string() == dump.kind);
    let source = source.ok_or_else(|| OnlyError::NoSource { name: dump.name.clone() })?;
    let spec = SourceSpec::of(source, member.variables)?;
    let absent = |what: String| RecordError::Absent { what };
    let table = job.spec.table.as_ref().ok_or_else(|| absent("a table in what was typed".into()))?;
    let stored = StoredSource::open(job.repo, dump)?;
    let cancelled = || (machine.cancelled)();
    stored.verify_table(table, &cancelled)?;
    let keys = find_keys(&stored, job.spec)?;
    let only = Only { table, keys: keys.as_deref(), keep_existing: job.keep_existing };
    let request = ImportRequest { only: Some(only), ..request(source) };
    let around = machine.around_of_run();
    let world = World { around: &around, cancelled: &cancelled };
    let mut said = |text: &str| machine.log.log(Severity::Notice, Some(member.id()), text);
    let mut load = open_load(&spec, LoadOptions::default(), world, &mut said)?;
    load.check()?;
    let mut imported = Imported::default();
    let mut put = |target: Box<dyn crate::records::RecordTarget + '_>| -> Result<(), RecordError> {
        imported = import(&stored.reader(), &stored.schema, target, &request)?;
        Ok(())
    };
    let way = load.prepare_records(&mut put)?;
    let act = Undo::PutBack { module: member.id().clone(), source: dump.name.clone(), way: way.clone() };
    let ticket = match way {
        WayBack::DumpFirst => None,
        _ => Some(undoing.note(act)?),
    };
    let taken = match load.takes_away()? {
        Some(way) => {
            let (module, source) = (member.id().clone(), dump.name.clone());
            Some(undoing.note(Undo::PutBack { module, source, way })?)
        }
        None => None,
    };
    load.put_records(&mut put)?;
    if let Some(ticket) = taken {
        undoing.settle(ticket)?;
    }
    if let Some(ticket) = ticket {
        undoing.settle(ticket)?;
        way.discard()?;
    }
    Ok(imported)
}

/// Finds the rows that are meant; none: all.
fn find_keys(
    stored: &StoredSource<'_>,
    spec: &RecordSpec,
) -> Result<Option<Vec<Vec<crate::records::Value>>>, RecordError> {
    let Some(name) = spec.table.as_ref().filter(|_| !spec.keys.is_empty()) else { return Ok(None) };
    let absent = |what: String| RecordError::Absent { what };
    let reader = stored.reader();
    let mut table = reader.table(name)?.ok_or_else(|| absent(format!("table {name} in the snapshot")))?;
    let mut keys = Vec::new();
    for typed in &spec.keys {
        let mut found = None;
        for key in meanings(table.table(), typed) {
            if found.is_none() && table.get(&key)?.is_some() {
                found = Some(key);
            }
        }
        keys.push(found.ok_or_else(|| absent(format!("the row {} of table {name}", typed.join(","))))?);
    }
    Ok(Some(keys))
}
