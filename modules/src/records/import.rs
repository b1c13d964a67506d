//! Tables out of a map into a database: all of it, or chosen tables and rows.

use super::ahead::read_ahead;
use super::batches::Batches;
use super::lines::send_lines;
use super::read::{RecordReader, TableReader};
use super::{
    ImportOptions, PART_OF_ROWS, RecordError, RecordTarget, Selection, SourceSchema, StoredTable, TableName,
    TableSchema, Value, WriteMode,
};
use crate::manifest::drivers::{ExtraRows, Import, MissingColumns, Scope};
use dedup_engine::map::LoadChunk;
use std::collections::BTreeSet;

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct ImportRequest<'i> {
    /// What the manifest says.
    pub options: ImportOptions,
    /// What happens to columns that the target lacks.
    pub missing_columns: MissingColumns,
    /// What happens to rows that only the target has, where nothing is cleared.
    pub extra_rows: ExtraRows,
    /// What the installed manifest means: nothing else is taken out of the dump.
    pub selection: Selection,
    /// Only this, put beside what is there: nothing is cleared, dropped or counted.
    pub only: Option<Only<'i>>,
}

/// Some rows of one table, or all of them.
#[derive(Clone, Debug)]
pub struct Only<'i> {
    /// The table.
    pub table: &'i TableName,
    /// The rows, by the values of their keys; none: all.
    pub keys: Option<&'i [Vec<Value>]>,
    /// Whether a row that is there stays as it is.
    pub keep_existing: bool,
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Tables that were written.
    pub tables: u64,
    /// Rows that are there now and were not, or were others.
    pub rows: u64,
    /// Rows that were passed over.
    pub kept: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// What the person must know.
    pub warnings: Vec<String>,
}

/// Imports a dump whose tables were [verified](TableReader::verify): `source` is what its blob says. Unless it succeeds, nothing has changed, as far as the engine can
/// and the options ask for it.
pub fn import<L: LoadChunk + Sync>(
    reader: &RecordReader<'_, L>,
    source: &SourceSchema,
    mut target: Box<dyn RecordTarget + '_>,
    request: &ImportRequest<'_>,
) -> Result<Imported, RecordError>
where
    RecordError: From<L::Error>,
{
    let there = target.describe()?;
    let is_akin = there.engine == source.engine;
    let mut run = Run { request, imported: Imported::default(), is_akin, absent: BTreeSet::new() };
    if !run.is_akin {
        let warning = format!(
            "the dump is of {}, the target is {}: only tables that are there already can be loaded",
            source.engine, there.engine
        );
        run.imported.warnings.push(warning);
    }
    target.begin(&request.options)?;
    match &request.only {
        Some(only) => run.put_only(reader, &mut *target, only)?,
        None => run.put_all(reader, source, &mut *target)?,
    }
    target.commit()?;
    Ok(run.imported)
}

/// An import that goes on.
pub(super) struct Run<'r> {
    pub(super) request: &'r ImportRequest<'r>,
    pub(super) imported: Imported,
    /// Dump and target are of one engine, so that its statements can be used.
    is_akin: bool,
    /// Tables that were not there before anything was made: what must be there before tables may bring some of them.
    absent: BTreeSet<TableName>,
}

impl Run<'_> {
    fn put_all<L: LoadChunk + Sync>(
        &mut self,
        reader: &RecordReader<'_, L>,
        source: &SourceSchema,
        target: &mut dyn RecordTarget,
    ) -> Result<(), RecordError>
    where
        RecordError: From<L::Error>,
    {
        let options = &self.request.options;
        let mut names = Vec::new();
        reader.tables(|table, _| {
            names.push(table.schema.name);
            Ok::<_, RecordError>(())
        })?;
        if self.is_akin {
            if options.import == Import::Replace && options.scope == Scope::Database {
                for name in target.tables()? {
                    target.drop_table(&name)?;
                }
            }
            for name in names.iter().filter(|_| !source.before.is_empty()) {
                if target.table(name)?.is_none() {
                    self.absent.insert(name.clone());
                }
            }
            target.make_before(&source.before)?;
        }
        for name in names {
            if !self.request.selection.takes(&name) {
                let warning =
                    format!("table {name} is in the snapshot, and the manifest here does not select it");
                self.imported.warnings.push(warning);
            } else if let Some(rows) = reader.table(&name)? {
                self.put_table(&mut rows.verified(), source, target)?;
            }
        }
        let after = if self.is_akin { &source.after[..] } else { &[] };
        target.make_after(after)
    }

    fn put_table<L: LoadChunk + Sync>(
        &mut self,
        rows: &mut TableReader<'_, L>,
        source: &SourceSchema,
        target: &mut dyn RecordTarget,
    ) -> Result<(), RecordError>
    where
        RecordError: From<L::Error>,
    {
        let (table, options) = (rows.table().clone(), &self.request.options);
        let name = &table.schema.name;
        let (there, is_new) = self.target_table(&table, target)?;
        // A condition is SQL: only that of the installed manifest is run.
        let condition = self.request.selection.condition(name);
        let is_part = |(fact, table): &(String, String)| fact == PART_OF_ROWS && *table == name.to_string();
        let import = if source.facts.iter().any(is_part) { Import::Merge } else { options.import };
        if condition != table.condition.as_deref() {
            let warning =
                format!("table {name} was stored with another condition than the manifest here has");
            self.imported.warnings.push(warning);
        }
        // What is new may have no key before its rows are in it.
        let mode = match import {
            _ if is_new && there.key.is_empty() => WriteMode::Insert,
            Import::Replace | Import::Append => WriteMode::Insert,
            Import::Merge => WriteMode::Upsert,
        };
        if import == Import::Merge && there.key.is_empty() && !is_new {
            let what = format!("merging into table {name}, which has no key: it");
            return Err(RecordError::Unsupported { what });
        }
        if import == Import::Replace && !is_new {
            target.clear(&there, condition)?;
        }
        let before = if is_new { 0 } else { target.count(&there, condition)? };
        let mut into = Batches::new(&table, &there, mode, self)?;
        into.is_part = source.facts.iter().any(is_part) && !is_new;
        let (written, given) = match into.lines(table.schema.row_columns().count(), target) {
            Some((columns, form)) => {
                let sent =
                    send_lines(rows, form, |lines, rows| target.write_lines(&there, &columns, lines, rows))?;
                self.imported.rows += sent;
                (sent, sent)
            }
            None => {
                read_ahead(rows, |values| into.push(values, target, self))?;
                into.flush_all(target, self)?
            }
        };
        let found = target.count(&there, condition)?;
        let expected = match import {
            Import::Merge => None,
            _ => Some(before + written),
        };
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(RecordError::Counts { table: name.to_string(), expected, found });
        }
        if import == Import::Merge && options.import == import && found > given {
            self.tell_extra(name, found - given)?;
        }
        target.finish_table(&table.schema, rows.end().and_then(|end| end.counter), is_new)?;
        self.imported.tables += 1;
        Ok(())
    }

    fn tell_extra(&mut self, name: &TableName, rows: u64) -> Result<(), RecordError> {
        let table = name.to_string();
        if self.request.extra_rows == ExtraRows::Fail {
            return Err(RecordError::ExtraRows { table, rows });
        }
        self.imported.warnings.push(format!("table {table} has {rows} rows that the snapshot does not have"));
        Ok(())
    }

    /// Returns the table in the target, made if it was not there.
    fn target_table(
        &self,
        table: &StoredTable,
        target: &mut dyn RecordTarget,
    ) -> Result<(TableSchema, bool), RecordError> {
        let name = &table.schema.name;
        if let Some(there) = target.table(name)? {
            return Ok((there, self.absent.contains(name)));
        }
        let absent = || RecordError::Absent { what: format!("table {name} of the target") };
        if !self.is_akin {
            return Err(absent());
        }
        target.create(&table.schema)?;
        Ok((target.table(name)?.ok_or_else(absent)?, true))
    }

    fn put_only<L: LoadChunk + Sync>(
        &mut self,
        reader: &RecordReader<'_, L>,
        target: &mut dyn RecordTarget,
        only: &Only<'_>,
    ) -> Result<(), RecordError>
    where
        RecordError: From<L::Error>,
    {
        let absent = |what: String| RecordError::Absent { what };
        let rows = reader.table(only.table)?;
        let rows = rows.ok_or_else(|| absent(format!("table {} in the snapshot", only.table)))?;
        let mut rows = rows.verified();
        let table = rows.table().clone();
        let (there, is_new) = self.target_table(&table, target)?;
        if there.key.is_empty() && !is_new {
            let what = format!("putting rows into table {}, which has no key: they", only.table);
            return Err(RecordError::Unsupported { what });
        }
        let mode = match only.keep_existing {
            _ if is_new && there.key.is_empty() => WriteMode::Insert,
            true => WriteMode::Keep,
            false => WriteMode::Upsert,
        };
        let mut into = Batches::new(&table, &there, mode, self)?;
        match only.keys {
            None => read_ahead(&mut rows, |values| into.push(values, target, self))?,
            Some(keys) => {
                for key in keys {
                    let row = rows.get(key)?;
                    let mut row =
                        row.ok_or_else(|| absent(format!("a row of that key in table {}", only.table)))?;
                    into.push(&mut row.values, target, self)?;
                }
            }
        }
        into.flush_all(target, self)?;
        let counter = rows.end().and_then(|end| end.counter);
        target.finish_table(&table.schema, counter, is_new)?;
        target.make_after(&[])?;
        self.imported.tables += 1;
        Ok(())
    }
}
