//! Statements that write and remove rows.

use super::super::quoted;
use super::connect::words;
use super::target::MariadbTarget;
use super::values::{NEGATIVE_ZERO, is_negative_zero, literal};
use crate::manifest::drivers::OnError;
use crate::records::{Batch, RecordError, TableSchema, Value, WriteMode, Written};
use mysql::Error;
use std::ops::Range;

/// A statement ends with the row that takes it beyond this many bytes.
const STATEMENT_BYTES: usize = 1 << 20;

impl MariadbTarget<'_> {
    pub(super) fn write_rows(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError> {
        let mut written = Written::default();
        let places = key_places(batch);
        let keys = |range: Range<usize>| -> Vec<Vec<Value>> {
            let of = |row: &Vec<Value>| {
                places.iter().map(|at| row.get(*at).cloned().unwrap_or_default()).collect()
            };
            batch.rows[range].iter().map(of).collect()
        };
        let mut todo: Vec<usize> = (0..batch.rows.len()).collect();
        match batch.mode {
            WriteMode::Insert => {}
            _ if places.is_empty() => {}
            // Not by REPLACE or ON DUPLICATE KEY, which would also change rows that share another unique value.
            WriteMode::Upsert => drop(self.delete_rows(batch.table, &keys(0..batch.rows.len()))?),
            WriteMode::Keep => {
                let mut rest = Vec::new();
                for at in todo {
                    match self.has(batch.table, &keys(at..at + 1)[0])? {
                        true => written.kept += 1,
                        false => rest.push(at),
                    }
                }
                todo = rest;
            }
        }
        let into = {
            let columns: Vec<String> = batch.columns.iter().map(|column| quoted(column)).collect();
            format!("INSERT INTO {} ({}) VALUES ", self.names().sql(&batch.table.name)?, columns.join(", "))
        };
        // Other engines keep the rows of a statement that came before the one it failed at.
        let most = if batch.table.create.contains("ENGINE=InnoDB") { usize::MAX } else { 1 };
        let floats = floats(batch);
        let (mut sql, mut of) = (into.clone(), Vec::new());
        for (turn, at) in todo.iter().enumerate() {
            if !of.is_empty() {
                sql.push(',');
            }
            tuple(&mut sql, &batch.rows[*at], &floats).map_err(|why| self.unwritable(batch, *at, why))?;
            of.push(*at);
            if sql.len() >= STATEMENT_BYTES || of.len() >= most || turn + 1 == todo.len() {
                self.insert(&into, &sql, &of, batch, &mut written)?;
                sql.truncate(into.len());
                of.clear();
            }
        }
        Ok(written)
    }

    /// Inserts some rows; if that is refused, one by one, to see which.
    fn insert(
        &mut self,
        into: &str,
        sql: &str,
        rows: &[usize],
        batch: &Batch<'_>,
        written: &mut Written,
    ) -> Result<(), RecordError> {
        let doing = format!("write into table {}", batch.table.name);
        let has_word_zero = |at: &usize| {
            batch.rows[*at]
                .iter()
                .zip(batch.columns)
                .any(|(value, column)| matches!(value, Value::Int(0)) && is_word(batch.table, column))
        };
        let lenient = rows.iter().any(has_word_zero);
        match self.try_insert(sql, lenient && rows.len() == 1) {
            Ok(_) => {
                written.rows += rows.len() as u64;
                return Ok(());
            }
            Err(Error::MySqlError(said)) if is_of_row(said.code) => {
                if let [only] = rows {
                    written.refused.push((*only, words(&said)));
                    return Ok(());
                }
            }
            Err(error) => return Err(self.failed(&doing, error)),
        }
        for at in rows {
            let mut one = into.to_owned();
            tuple(&mut one, &batch.rows[*at], &floats(batch))
                .map_err(|why| self.unwritable(batch, *at, why))?;
            match self.try_insert(&one, has_word_zero(at)) {
                Ok(_) => written.rows += 1,
                Err(Error::MySqlError(said)) if is_of_row(said.code) => {
                    written.refused.push((*at, words(&said)));
                    if self.options().is_none_or(|options| options.row_errors == OnError::Fail) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(self.failed(&doing, error)),
            }
        }
        Ok(())
    }

    /// An `ENUM` that holds none of its words (index 0) is refused by the strict mode that everything else needs.
    fn try_insert(&mut self, sql: &str, lenient: bool) -> Result<u64, Error> {
        if !lenient {
            return self.data().try_run(sql);
        }
        self.data().try_run("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")?;
        let inserted = self.data().try_run(sql);
        self.data().try_run(super::connect::STRICT)?;
        inserted
    }

    pub(super) fn delete_rows(
        &mut self,
        table: &TableSchema,
        keys: &[Vec<Value>],
    ) -> Result<u64, RecordError> {
        let columns: Vec<String> = table.key.iter().map(|column| quoted(column)).collect();
        let doing = format!("remove rows of table {}", table.name);
        let begin =
            format!("DELETE FROM {} WHERE ({}) IN (", self.names().sql(&table.name)?, columns.join(", "));
        let (mut count, mut sql) = (0, begin.clone());
        for (at, key) in keys.iter().enumerate() {
            if sql.len() > begin.len() {
                sql.push(',');
            }
            tuple(&mut sql, key, &[]).map_err(|why| RecordError::Row {
                table: table.name.to_string(),
                row: at as u64 + 1,
                why: why.into(),
            })?;
            if sql.len() >= STATEMENT_BYTES || at + 1 == keys.len() {
                sql.push(')');
                count += self.data().run(&doing, &sql)?;
                sql.truncate(begin.len());
            }
        }
        Ok(count)
    }

    pub(super) fn has(&mut self, table: &TableSchema, key: &[Value]) -> Result<bool, RecordError> {
        let columns: Vec<String> = table.key.iter().map(|column| quoted(column)).collect();
        let mut sql =
            format!("SELECT '1' FROM {} WHERE ({}) = ", self.names().sql(&table.name)?, columns.join(", "));
        tuple(&mut sql, key, &[]).map_err(|why| RecordError::Row {
            table: table.name.to_string(),
            row: 1,
            why: why.into(),
        })?;
        Ok(!self.data().ask(&format!("look into table {}", table.name), &sql)?.is_empty())
    }

    fn unwritable(&self, batch: &Batch<'_>, at: usize, why: &str) -> RecordError {
        RecordError::Row { table: batch.table.name.to_string(), row: at as u64 + 1, why: why.into() }
    }
}

/// Writes a row; `floats` says which of its columns are of type `FLOAT`.
pub(super) fn tuple(sql: &mut String, values: &[Value], floats: &[bool]) -> Result<(), &'static str> {
    sql.push('(');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            sql.push(',');
        }
        if is_negative_zero(value) && floats.get(at) == Some(&true) {
            sql.push_str(NEGATIVE_ZERO);
        } else if !literal(sql, value) {
            return Err("it has a value of a kind that this server does not have");
        }
    }
    sql.push(')');
    Ok(())
}

/// Returns where the values of the table's key stand in the rows of a batch; none if it has no key, or not all are there.
pub(super) fn key_places(batch: &Batch<'_>) -> Vec<usize> {
    let place = |name: &String| batch.columns.iter().position(|column| column == name);
    batch.table.key.iter().map(place).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Says which columns of a batch are of type `FLOAT`.
fn floats(batch: &Batch<'_>) -> Vec<bool> {
    let is_float = |name: &&str| {
        batch
            .table
            .columns
            .iter()
            .any(|column| column.name == **name && column.type_text.starts_with("float"))
    };
    batch.columns.iter().map(is_float).collect()
}

fn is_word(table: &TableSchema, column: &str) -> bool {
    table.columns.iter().any(|one| one.name == column && one.type_text.starts_with("enum("))
}

/// Returns whether an error is about a row, so that others may go in.
fn is_of_row(code: u16) -> bool {
    matches!(
        code,
        1048 | 1062
            | 1118
            | 1216
            | 1264
            | 1265
            | 1292
            | 1364
            | 1366
            | 1406
            | 1411
            | 1416
            | 1452
            | 1525
            | 1526
            | 1586
            | 1690
            | 1748
            | 3819
            | 4025
            | 4078
    )
}
