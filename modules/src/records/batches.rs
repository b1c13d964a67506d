//! Rows on their way into a table of a target: the columns that it has, some rows at a time.

use super::ahead::bytes_of;
use super::import::Run;
use super::{
    Batch, Filled, LineForm, RecordError, RecordTarget, StoredTable, TableSchema, Updated, Value, WriteMode,
};
use crate::manifest::drivers::{MissingColumns, OnError};

/// Bytes of values after which a batch is written, whatever it may have in rows.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes that rows of a batch have on average, above which they leave no room to later ones.
const LONG_ROW: usize = 16 << 10;
/// Rows that were refused and are told one by one.
const TOLD: u64 = 10;

/// Rows on their way into one table.
pub(super) struct Batches<'t> {
    there: &'t TableSchema,
    mode: WriteMode,
    /// The target's columns, and the place of the value of each in a row of the dump.
    columns: Vec<&'t str>,
    places: Vec<usize>,
    /// Whether each value stands where the target wants it.
    is_all: bool,
    /// Rows that are to be written, so many of them; behind them room that others had.
    rows: Vec<Vec<Value>>,
    count: usize,
    bytes: usize,
    written: u64,
    given: u64,
    /// Rows hold only some columns: those of the rows that are there change, and nothing else of them.
    pub(super) is_part: bool,
}

impl<'t> Batches<'t> {
    pub(super) fn new(
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
        let (rows, count, bytes, written, given) = (Vec::new(), 0, 0, 0, 0);
        let is_all = places.iter().enumerate().all(|(at, place)| at == *place);
        Ok(Self { there, mode, columns, places, is_all, rows, count, bytes, written, given, is_part: false })
    }

    /// Returns the columns of all rows and how they are written as lines, if nothing stands in the way.
    pub(super) fn lines(
        &self,
        values: usize,
        target: &mut dyn RecordTarget,
    ) -> Option<(Vec<&'t str>, LineForm)> {
        let is_whole = self.is_all && self.places.len() == values && !self.is_part;
        let form = (is_whole && self.mode == WriteMode::Insert).then(|| target.line_form(self.there))?;
        Some((self.columns.clone(), form?))
    }

    /// Takes the values of a row, and leaves others.
    pub(super) fn push(
        &mut self,
        values: &mut Vec<Value>,
        target: &mut dyn RecordTarget,
        run: &mut Run<'_>,
    ) -> Result<(), RecordError> {
        if self.count == self.rows.len() {
            self.rows.push(Vec::new());
        }
        let Some(row) = self.rows.get_mut(self.count) else { return Ok(()) };
        match self.is_all && self.places.len() == values.len() {
            true => std::mem::swap(row, values),
            false => {
                row.resize_with(self.places.len(), Value::default);
                for (mine, place) in row.iter_mut().zip(&self.places) {
                    match values.get_mut(*place) {
                        Some(value) => std::mem::swap(mine, value),
                        None => *mine = Value::Null,
                    }
                }
            }
        }
        self.bytes += bytes_of(row);
        self.count += 1;
        self.given += 1;
        match self.count >= run.request.options.batch_rows as usize || self.bytes >= BATCH_BYTES {
            true => self.flush(target, run),
            false => Ok(()),
        }
    }

    fn flush(&mut self, target: &mut dyn RecordTarget, run: &mut Run<'_>) -> Result<(), RecordError> {
        let rows = self.rows.get(..self.count).unwrap_or_default();
        if rows.is_empty() {
            return Ok(());
        }
        let batch = Batch { table: self.there, columns: &self.columns, rows, mode: self.mode };
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
        let first = self.given - self.count as u64 + 1;
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
        if self.bytes > self.count.saturating_mul(LONG_ROW) {
            self.rows.clear();
        }
        (self.count, self.bytes) = (0, 0);
        Ok(())
    }

    /// Returns how many rows are there now because of this, and how many the dump has.
    pub(super) fn flush_all(
        mut self,
        target: &mut dyn RecordTarget,
        run: &mut Run<'_>,
    ) -> Result<(u64, u64), RecordError> {
        self.flush(target, run)?;
        Ok((self.written, self.given))
    }
}
