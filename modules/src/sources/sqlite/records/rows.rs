//! Rows into one table, one by one.

use super::{list, quoted};
use crate::records::{Batch, Filled, TableSchema, Value, WriteMode};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, Statement, ToSql, params_from_iter};

/// Returns the condition that a row has a key.
pub(super) fn key_is(table: &TableSchema) -> String {
    let parts = table.key.iter().map(|name| format!("{} IS ?", quoted(name)));
    parts.collect::<Vec<_>>().join(" AND ")
}

/// Returns whether the error is about this row, and the next may do.
pub(super) fn is_of_row(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        )
}

/// Writes rows one by one.
pub(super) struct RowWriter<'c> {
    /// For a table that is numbered by SQLite: the statement that finds a row, and the one that changes it.
    beside: Option<(CachedStatement<'c>, CachedStatement<'c>)>,
    insert: CachedStatement<'c>,
    mode: WriteMode,
    /// Places of the values of the key, in a row.
    key: Vec<usize>,
}

impl<'c> RowWriter<'c> {
    pub fn new(connection: &'c Connection, batch: &Batch<'_>) -> rusqlite::Result<Self> {
        let (table, columns) = (batch.table, batch.columns);
        let name = quoted(table.name.table());
        let place = |name: &String| columns.iter().position(|column| column == name);
        let key: Option<Vec<usize>> = table.key.iter().map(place).collect();
        let is_hidden = table
            .columns
            .iter()
            .any(|column| column.filled == Filled::Hidden && table.key.contains(&column.name));
        let marks = vec!["?"; columns.len()].join(", ");
        let mut insert = format!("INSERT INTO {name} ({}) VALUES ({marks})", list(columns.iter().copied()));
        let mut beside = None;
        let others = || columns.iter().filter(|column| !table.key.iter().any(|key| key == *column));
        let is_by_key = batch.mode != WriteMode::Insert && !table.key.is_empty() && key.is_some();
        if is_by_key && is_hidden {
            let find = format!("SELECT 1 FROM {name} WHERE {}", key_is(table));
            let set: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(at, column)| format!("{} = ?{}", quoted(column), at + 1))
                .collect();
            let number = key.as_ref().and_then(|key| key.first()).map_or(0, |at| at + 1);
            let number = format!("{} = ?{number}", list(table.key.iter().map(|name| &name[..])));
            let change = format!("UPDATE {name} SET {} WHERE {number}", set.join(", "));
            beside = Some((connection.prepare_cached(&find)?, connection.prepare_cached(&change)?));
        } else if is_by_key {
            let target = list(table.key.iter().map(|name| &name[..]));
            let set: Vec<String> =
                others().map(|column| format!("{0} = excluded.{0}", quoted(column))).collect();
            let action = match batch.mode {
                WriteMode::Upsert if !set.is_empty() => format!("UPDATE SET {}", set.join(", ")),
                _ => "NOTHING".to_owned(),
            };
            insert.push_str(&format!(" ON CONFLICT ({target}) DO {action}"));
        }
        let insert = connection.prepare_cached(&insert)?;
        Ok(Self { beside, insert, mode: batch.mode, key: key.unwrap_or_default() })
    }

    /// Writes a row; returns whether it is there now because of that.
    pub fn put(&mut self, row: &[Value]) -> rusqlite::Result<bool> {
        let bound =
            |statement: &mut Statement<'_>| statement.execute(params_from_iter(row.iter().map(Bound)));
        if let Some((find, change)) = &mut self.beside {
            let key = self.key.iter().filter_map(|at| row.get(*at)).map(Bound);
            if find.exists(params_from_iter(key))? {
                return match self.mode {
                    WriteMode::Keep => Ok(false),
                    _ => bound(change).map(|_| true),
                };
            }
        }
        let changed = bound(&mut self.insert)?;
        Ok(changed > 0 || self.mode == WriteMode::Upsert)
    }
}

/// A value as SQLite takes it.
pub(super) struct Bound<'v>(pub &'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0 {
            Value::Null => ValueRef::Null,
            Value::Bool(is_true) => ValueRef::Integer((*is_true).into()),
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Float(number) => ValueRef::Real(*number),
            Value::Text(text) | Value::Decimal(text) | Value::Time(_, text) => {
                ValueRef::Text(text.as_bytes())
            }
            Value::RawText(bytes) => ValueRef::Text(bytes),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::UInt(_) | Value::List(_) | Value::Map(_) => {
                let why = "SQLite has no such value";
                return Err(rusqlite::Error::ToSqlConversionFailure(why.into()));
            }
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}
