//! Rows into one table: by COPY, or staged and merged.

use super::copy::write_row;
use super::error::PostgresError;
use super::import::PostgresTarget;
use super::large;
use super::quote::{name, names, path};
use super::wire::Session;
use crate::records::{Batch, Value, WriteMode};

/// Where rows stand before they take the place of others.
const STAGE: &str = "pg_temp.dedup_batch";

impl PostgresTarget<'_> {
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
                    message: "a list or a map has no column here".into(),
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
