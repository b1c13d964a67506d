//! What a driver of an SQL engine does: read the tables of one moment, and put rows back.
//!
//! Export: `open` (the driver's own) · [`RecordSource::describe`] · [`tables`](RecordSource::tables) · for each one
//! that is meant, in the order of names: [`table`](RecordSource::table), [`order`](RecordSource::order),
//! [`rows`](RecordSource::rows), [`counter`](RecordSource::counter) · [`finish`](RecordSource::finish).
//!
//! Import: `open` · [`RecordTarget::describe`], [`tables`](RecordTarget::tables), [`table`](RecordTarget::table): what
//! is there · [`begin`](RecordTarget::begin) · [`drop_table`](RecordTarget::drop_table) where the whole database is
//! replaced · [`make_before`](RecordTarget::make_before) · for each table:
//! [`create`](RecordTarget::create) or [`clear`](RecordTarget::clear), [`write`](RecordTarget::write) …,
//! [`count`](RecordTarget::count), [`finish_table`](RecordTarget::finish_table) ·
//! [`make_after`](RecordTarget::make_after) · [`commit`](RecordTarget::commit).
//! Only `begin` and what comes after it changes anything. Who calls these in this order is `export` and `import` here;
//! a driver need not check it.

use super::{Object, Plain, RecordError, SourceSchema, TableName, TableSchema, Value};
use crate::manifest::drivers::{Import, OnError, Scope};

/// Takes the rows of a table, one after another: the values of [`TableSchema::row_columns`] in their order. An error
/// is to be handed back by whoever called, at once.
pub type EachRow<'a> = dyn FnMut(&[Value]) -> Result<(), RecordError> + 'a;

/// In what order rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// In that of their encoded keys (`engine/FORMAT.md` 11), bytes as unsigned numbers: by an index of numbers that
    /// are all integers, of dates of four digits, of text compared by its bytes. One that comes otherwise fails the
    /// source.
    Key,
    /// In any: they are sorted outside the engine.
    Any,
}

/// One consistent view over all tables of a source. What it holds in memory is a few rows.
///
/// A lost connection, a view that ended, a table that was altered are errors of whatever is called next: never fewer
/// rows.
pub trait RecordSource {
    /// Returns what is known of the source. `absent` is left empty.
    fn describe(&mut self) -> Result<SourceSchema, RecordError>;

    /// Returns the tables that there are, views and the engine's own left out, in any order.
    fn tables(&mut self) -> Result<Vec<TableName>, RecordError>;

    /// Returns what is known of a table.
    fn table(&mut self, name: &TableName) -> Result<TableSchema, RecordError>;

    /// Returns about how many rows a table has, if that costs little.
    fn estimated_rows(&mut self, name: &TableName) -> Option<u64>;

    /// Says in what order [`rows`](Self::rows) will hand out the rows of a table that has a key.
    fn order(&self, table: &TableSchema) -> RowOrder;

    /// Hands out the rows that meet `condition` (the engine's SQL), with the columns that `table` has: some may have
    /// been taken out, and the key with them.
    fn rows(
        &mut self,
        table: &TableSchema,
        condition: Option<&str>,
        each: &mut EachRow<'_>,
    ) -> Result<(), RecordError>;

    /// Returns what the table's counter would give next, where it has one.
    fn counter(&mut self, table: &TableSchema) -> Result<Option<u64>, RecordError>;

    /// Ends the view. What was read is void unless this succeeds.
    fn finish(self: Box<Self>) -> Result<(), RecordError>;
}

/// What the manifest says of an import.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// How what is there is treated.
    pub import: Import,
    /// What `replace` clears.
    pub scope: Scope,
    /// Everything or nothing, where the engine can.
    pub transaction: bool,
    /// What happens when a row is refused.
    pub row_errors: OnError,
    /// Constraints are checked at the end.
    pub defer_constraints: bool,
    /// The planner's statistics are made at the end.
    pub refresh_statistics: bool,
    /// Rows per call of [`RecordTarget::write`], at least 1.
    pub batch_rows: u32,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// A row whose key is there already is refused.
    Insert,
    /// A row whose key is there already takes its place, whole.
    Upsert,
    /// A row whose key is there already is passed over.
    Keep,
}

/// Rows to write into one table.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'b> {
    /// The table as it is in the target.
    pub table: &'b TableSchema,
    /// The columns of the target that the rows have values of, in the order of the values.
    pub columns: &'b [&'b str],
    /// The rows.
    pub rows: &'b [Vec<Value>],
    /// How they are written.
    pub mode: WriteMode,
}

/// How a target takes rows as lines.
#[derive(Clone, Copy, Debug)]
pub struct LineForm {
    /// Writes a value.
    pub put: fn(Plain<'_>, &mut Vec<u8>),
    /// Stands between two values.
    pub between: u8,
    /// Stands behind the last one.
    pub end: u8,
    /// Why a list or a map has no place in a line.
    pub refusal: &'static str,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that are in the table now and were not, or were others.
    pub rows: u64,
    /// Rows that were passed over.
    pub kept: u64,
    /// Rows that were refused: place in the batch, and the engine's own words. With `row_errors = fail` at most the
    /// first, and nothing of the batch need be in the table.
    pub refused: Vec<(usize, String)>,
}

/// What became of a batch of rows that hold only some columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// As of any batch.
    pub written: Written,
    /// The keys that were not there, for people: such rows were added.
    pub unknown: Vec<String>,
}

/// A database that rows are put into.
///
/// Dropped before [`commit`](Self::commit) it takes back what was done since [`begin`](Self::begin), where the engine
/// can and the options asked for it.
pub trait RecordTarget {
    /// Returns what is known of the target: its engine and version are compared with those of the dump.
    fn describe(&mut self) -> Result<SourceSchema, RecordError>;

    /// Returns the tables that there are.
    fn tables(&mut self) -> Result<Vec<TableName>, RecordError>;

    /// Returns what is known of a table; `None` if it is not there.
    fn table(&mut self, name: &TableName) -> Result<Option<TableSchema>, RecordError>;

    /// Begins: one transaction if the options ask for it, constraints put off, triggers and foreign keys kept from
    /// acting on what is loaded as far as the engine can.
    fn begin(&mut self, options: &ImportOptions) -> Result<(), RecordError>;

    /// Makes what must be there before tables, where it is not.
    fn make_before(&mut self, objects: &[Object]) -> Result<(), RecordError>;

    /// Makes a table without what comes after its rows.
    fn create(&mut self, table: &TableSchema) -> Result<(), RecordError>;

    /// Removes a table.
    fn drop_table(&mut self, name: &TableName) -> Result<(), RecordError>;

    /// Removes the rows of a table, those that meet `condition` if there is one.
    fn clear(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<(), RecordError>;

    /// Writes rows.
    fn write(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError>;

    /// Returns how rows for a table are written as lines, if it takes them so under the options it was begun with: all of
    /// them are new, and the first that is refused ends the import.
    fn line_form(&mut self, _table: &TableSchema) -> Option<LineForm> {
        None
    }

    /// Writes so many rows in that form: with values of these columns, in their order.
    ///
    /// # Errors
    /// As of any row, at the latest when something else is asked. A target that says no form is never asked.
    fn write_lines(
        &mut self,
        table: &TableSchema,
        _columns: &[&str],
        _lines: &[u8],
        _rows: u64,
    ) -> Result<(), RecordError> {
        Err(RecordError::Unsupported { what: format!("lines for table {}", table.name) })
    }

    /// Puts values into rows that are there, found by the columns of the key; whatever else such a row holds stays. A row
    /// that is not there is added; one that does not meet `condition` is somebody else's, and refused.
    ///
    /// # Errors
    /// Unless the driver says otherwise, it cannot.
    fn update(&mut self, batch: &Batch<'_>, _condition: Option<&str>) -> Result<Updated, RecordError> {
        Err(RecordError::Unsupported { what: format!("changing some columns of table {}", batch.table.name) })
    }

    /// Removes rows by the values of [`TableSchema::key`]; returns how many were there.
    fn delete(&mut self, table: &TableSchema, keys: &[Vec<Value>]) -> Result<u64, RecordError>;

    /// Counts the rows of a table, those that meet `condition` if there is one.
    fn count(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<u64, RecordError>;

    /// Ends a table: makes what comes after its rows if `is_new`, and sets its counter, never below what its rows
    /// need.
    fn finish_table(
        &mut self,
        table: &TableSchema,
        counter: Option<u64>,
        is_new: bool,
    ) -> Result<(), RecordError>;

    /// Makes what comes after all tables, where it is not there, checks constraints that were put off, and makes the
    /// planner's statistics if the options ask for it.
    fn make_after(&mut self, objects: &[Object]) -> Result<(), RecordError>;

    /// Makes it last.
    fn commit(self: Box<Self>) -> Result<(), RecordError>;
}
