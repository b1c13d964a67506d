//! Rows into one table: by COPY, or staged and merged.
//!
//! Where one refusal ends the whole import, all rows of a table go into one COPY, which stays open from batch to batch:
//! the server stores rows while the next ones are read, and what it thinks of them is told when it is asked something
//! else, at the latest. Else each batch is a step that can be taken back.

use super::catalog::engine;
use super::copy::{LINES, text_of, write_row};
use super::error::{PostgresError, is_of_row};
use super::import::PostgresTarget;
use super::large;
use super::quote::{literal, name, names, path};
use super::wire::Session;
use crate::records::{Batch, RecordError, TableName, TableSchema, Value, WriteMode};

/// Where rows stand before they take the place of others.
const STAGE: &str = "pg_temp.dedup_batch";
/// A COPY that takes rows.
pub(super) struct Going {
    table: TableName,
    columns: String,
    /// Rows that were sent.
    rows: u64,
}

impl Going {
    /// Returns what a refusal means: rows are counted from the first one of the table.
    fn refused(&self, error: PostgresError) -> RecordError {
        match error {
            PostgresError::Refused { state, message, row, .. } if is_of_row(&state) => {
                RecordError::Refused { table: self.table.to_string(), row: row.unwrap_or(1), why: message }
            }
            error => engine(error),
        }
    }
}

impl PostgresTarget<'_> {
    /// Sends rows to the COPY of their table.
    pub(super) fn send_rows(&mut self, batch: &Batch<'_>) -> Result<(), RecordError> {
        let mut lines = std::mem::take(&mut self.line);
        lines.clear();
        for (at, row) in batch.rows.iter().enumerate() {
            if !write_row(row, &mut lines) {
                let (table, row) = (batch.table.name.to_string(), self.sent(batch) + at as u64 + 1);
                return Err(RecordError::Refused { table, row, why: LINES.refusal.into() });
            }
        }
        let sent = self.send(&batch.table.name, batch.columns, &lines, batch.rows.len() as u64);
        self.line = lines;
        sent
    }

    /// Returns how many rows the COPY of a batch's table has taken.
    fn sent(&self, batch: &Batch<'_>) -> u64 {
        self.going.as_ref().filter(|going| going.table == batch.table.name).map_or(0, |going| going.rows)
    }

    /// Sends lines to the COPY of their table, which is begun with the first of them.
    pub(super) fn send(
        &mut self,
        table: &TableName,
        columns: &[&str],
        lines: &[u8],
        rows: u64,
    ) -> Result<(), RecordError> {
        let columns = names(columns.iter().copied());
        let is_of = |going: &Going| going.table == *table && going.columns == columns;
        if !self.going.as_ref().is_some_and(is_of) {
            self.end_rows()?;
            let doing = format!("write into table {table}");
            let copy = format!("COPY {} ({columns}) FROM STDIN", path(table));
            self.session.copy_in(&doing, &copy).map_err(engine)?;
            self.going = Some(Going { table: table.clone(), columns, rows: 0 });
        }
        let Some(going) = &mut self.going else { return Ok(()) };
        going.rows += rows;
        self.session.put(lines).map_err(|error| going.refused(error))
    }

    /// Ends the COPY that takes rows, if one does; before anything else is asked of the server.
    pub(super) fn end_rows(&mut self) -> Result<(), RecordError> {
        let Some(going) = self.going.take() else { return Ok(()) };
        let found = self.session.copy_end().map_err(|error| going.refused(error))?;
        match found == going.rows {
            true => Ok(()),
            false => Err(RecordError::Counts { table: going.table.to_string(), expected: going.rows, found }),
        }
    }

    /// Removes rows by their keys; returns how many were there.
    pub(super) fn delete_rows(
        &mut self,
        table: &TableSchema,
        keys: &[Vec<Value>],
    ) -> Result<u64, RecordError> {
        self.make_ready(table)?;
        let types: Vec<&str> = table
            .key
            .iter()
            .map(|key| {
                table
                    .columns
                    .iter()
                    .find(|column| column.name == *key)
                    .map_or("text", |column| &column.type_text[..])
            })
            .collect();
        let mut count = 0;
        for keys in keys.chunks(500) {
            let mut lists = Vec::new();
            for key in keys {
                let values =
                    key.iter().zip(&types).map(|(value, of)| match value.plain().and_then(text_of) {
                        None => "NULL".to_owned(),
                        Some(bytes) => format!("{}::{of}", literal(&String::from_utf8_lossy(&bytes))),
                    });
                lists.push(format!("({})", values.collect::<Vec<_>>().join(", ")));
            }
            let sql = format!(
                "DELETE FROM ONLY {} WHERE ({}) IN ({})",
                path(&table.name),
                names(table.key.iter().map(String::as_str)),
                lists.join(", ")
            );
            count += self.run(&format!("delete from table {}", table.name), &sql)?;
        }
        Ok(count)
    }

    /// Writes rows in one piece.
    pub(super) fn write_piece(
        &mut self,
        batch: &Batch<'_>,
        rows: &[Vec<Value>],
    ) -> Result<u64, PostgresError> {
        self.line.clear();
        let mut lines = std::mem::take(&mut self.line);
        for row in rows {
            if !write_row(row, &mut lines) {
                return Err(PostgresError::Refused {
                    doing: format!("write into table {}", batch.table.name),
                    state: "22000".into(),
                    message: LINES.refusal.into(),
                    row: None,
                });
            }
        }
        let (table, columns) = (path(&batch.table.name), names(batch.columns.iter().copied()));
        let doing = format!("write into table {}", batch.table.name);
        let (mode, is_large) = (batch.mode, large::is_it(&batch.table.name));
        let write = |session: &mut Session<'_>| {
            if mode == WriteMode::Insert && !is_large {
                session.copy_in(&doing, &format!("COPY {table} ({columns}) FROM STDIN"))?;
                session.put(&lines)?;
                return session.copy_end();
            }
            let stage = format!(
                "DROP TABLE IF EXISTS {STAGE}; CREATE TEMPORARY TABLE dedup_batch AS SELECT {columns} FROM {table} WITH NO DATA"
            );
            session.run(&doing, &stage)?;
            session.copy_in(&doing, &format!("COPY {STAGE} ({columns}) FROM STDIN"))?;
            session.put(&lines)?;
            session.copy_end()?;
            if is_large {
                return session.run(&doing, &large::merge(batch, STAGE));
            }
            session.run(&doing, &merge(batch, &table, &columns))
        };
        // Where one row that is refused ends everything, nothing has to be kept from before it.
        let written = match self.may_go_on() {
            true => self.attempt(write),
            false => write(&mut self.session),
        };
        lines.clear();
        self.line = lines;
        written
    }
}

/// Returns the statement that brings staged rows into their table.
fn merge(batch: &Batch<'_>, table: &str, columns: &str) -> String {
    let insert =
        format!("INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {STAGE}");
    if batch.mode == WriteMode::Keep {
        return format!("{insert} ON CONFLICT DO NOTHING");
    }
    let key = names(batch.table.key.iter().map(String::as_str));
    let others: Vec<String> = batch
        .columns
        .iter()
        .filter(|column| !batch.table.key.iter().any(|key| key == *column))
        .map(|column| format!("{0} = EXCLUDED.{0}", name(column)))
        .collect();
    match others.is_empty() {
        true => format!("{insert} ON CONFLICT ({key}) DO NOTHING"),
        false => format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {}", others.join(", ")),
    }
}
