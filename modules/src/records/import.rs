//! Tables out of a map into a database: all of it, or chosen tables and rows.

use super::ahead::read_ahead;
use super::read::{RecordReader, StoredRow, TableReader};
use super::{
    Batch, Filled, ImportOptions, PART_OF_ROWS, RecordError, RecordTarget, Selection, SourceSchema,
    StoredTable, TableName, TableSchema, Updated, Value, WriteMode,
};
use crate::manifest::drivers::{ExtraRows, Import, MissingColumns, OnError, Scope};
use dedup_engine::map::LoadChunk;
use std::collections::BTreeSet;

/// Bytes of values after which a batch is written, whatever it may have in rows.
const BATCH_BYTES: usize = 4 << 20;
/// Rows that were refused and are told one by one.
const TOLD: u64 = 10;

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

/// Imports a dump: `source` is what its blob says. Unless it succeeds, nothing has changed, as far as the engine can
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

struct Run<'r> {
    request: &'r ImportRequest<'r>,
    imported: Imported,
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
            } else if let Some(mut rows) = reader.table(&name)? {
                self.put_table(&mut rows, source, target)?;
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
        let mut into = Into::new(&table, &there, mode, self)?;
        into.is_part = source.facts.iter().any(is_part) && !is_new;
        read_ahead(rows, |row| into.push(row, target, self))?;
        let (written, given) = into.flush_all(target, self)?;
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
        let mut rows = rows.ok_or_else(|| absent(format!("table {} in the snapshot", only.table)))?;
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
        let mut into = Into::new(&table, &there, mode, self)?;
        match only.keys {
            None => read_ahead(&mut rows, |row| into.push(row, target, self))?,
            Some(keys) => {
                for key in keys {
                    let row = rows.get(key)?;
                    let row =
                        row.ok_or_else(|| absent(format!("a row of that key in table {}", only.table)))?;
                    into.push(row, target, self)?;
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

/// Rows on their way into one table.
struct Into<'t> {
    there: &'t TableSchema,
    mode: WriteMode,
    /// The target's columns, and the place of the value of each in a row of the dump.
    columns: Vec<&'t str>,
    places: Vec<usize>,
    /// Whether each value stands where the target wants it.
    is_all: bool,
    rows: Vec<Vec<Value>>,
    bytes: usize,
    written: u64,
    given: u64,
    /// Rows hold only some columns: those of the rows that are there change, and nothing else of them.
    is_part: bool,
}

impl<'t> Into<'t> {
    fn new(
        table: &'t StoredTable,
        there: &'t TableSchema,
        mode: WriteMode,
        run: &mut Run<'_>,
    ) -> Result<Self, RecordError> {
        let (mut columns, mut places, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (place, column) in table.schema.row_columns().enumerate() {
            match there.columns.iter().find(|found| found.name == column.name) {
                Some(found) if found.is_written() => {
                    columns.push(&column.name[..]);
                    places.push(place);
                }
                // The engine makes its values itself.
                Some(_) => {}
                None if !column.is_written() || column.filled == Filled::Hidden => {}
                None => missing.push(&column.name[..]),
            }
        }
        if !missing.is_empty() {
            let (name, missing) = (table.schema.name.to_string(), missing.join(", "));
            if run.request.missing_columns == MissingColumns::Fail || columns.is_empty() {
                return Err(RecordError::MissingColumns { table: name, columns: missing });
            }
            run.imported.warnings.push(format!("table {name} lacks {missing}; their values are left out"));
        }
        let (rows, bytes, written, given) = (Vec::new(), 0, 0, 0);
        let is_all = places.iter().enumerate().all(|(at, place)| at == *place);
        Ok(Self { there, mode, columns, places, is_all, rows, bytes, written, given, is_part: false })
    }

    fn push(
        &mut self,
        mut row: StoredRow,
        target: &mut dyn RecordTarget,
        run: &mut Run<'_>,
    ) -> Result<(), RecordError> {
        let values: Vec<Value> = match self.is_all && self.places.len() == row.values.len() {
            true => row.values,
            false => {
                let take = |place: &usize| row.values.get_mut(*place).map(std::mem::take).unwrap_or_default();
                self.places.iter().map(take).collect()
            }
        };
        self.bytes += values.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum::<usize>();
        self.rows.push(values);
        self.given += 1;
        match self.rows.len() >= run.request.options.batch_rows as usize || self.bytes >= BATCH_BYTES {
            true => self.flush(target, run),
            false => Ok(()),
        }
    }

    fn flush(&mut self, target: &mut dyn RecordTarget, run: &mut Run<'_>) -> Result<(), RecordError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let batch = Batch { table: self.there, columns: &self.columns, rows: &self.rows, mode: self.mode };
        let condition = run.request.selection.condition(&self.there.name);
        let done = match self.is_part {
            false => target.write(&batch)?,
            true => {
                let Updated { written, unknown } = target.update(&batch, condition)?;
                if let [first, more @ ..] = &unknown[..] {
                    let (table, more) = (&self.there.name, more.len());
                    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let warning =
                        format!("table {table} did not know {first}{and}: added with nothing but that");
                    run.imported.warnings.push(warning);
                }
                written
            }
        };
        let first = self.given - self.rows.len() as u64 + 1;
        for (at, why) in done.refused {
            let (table, row) = (self.there.name.to_string(), first + at as u64);
            let error = RecordError::Refused { table, row, why };
            if run.request.options.row_errors == OnError::Fail {
                return Err(error);
            }
            run.imported.refused += 1;
            if run.imported.refused <= TOLD {
                run.imported.warnings.push(error.to_string());
            }
        }
        run.imported.rows += done.rows;
        run.imported.kept += done.kept;
        self.written += done.rows;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Returns how many rows are there now because of this, and how many the dump has.
    fn flush_all(
        mut self,
        target: &mut dyn RecordTarget,
        run: &mut Run<'_>,
    ) -> Result<(u64, u64), RecordError> {
        self.flush(target, run)?;
        Ok((self.written, self.given))
    }
}
