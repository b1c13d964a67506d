//! Statements that write and remove rows.

use super::super::client::ClientError;
use super::super::quoted;
use super::connect::{STRICT, failed, words};
use super::pending::Pending;
use super::target::MariadbTarget;
use super::values::{NEGATIVE_ZERO, is_negative_zero, literal};
use crate::manifest::drivers::OnError;
use crate::records::{Batch, RecordError, TableSchema, Value, WriteMode, Written};
use std::ops::Range;

/// A statement ends with the row that takes it beyond this many bytes.
const STATEMENT_BYTES: usize = 1 << 20;
/// Most rows of a statement of engines without transactions.
const MANY: usize = 100;

/// The mode that lets an `ENUM` hold none of its words.
const LENIENT: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

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
        let first = self.count_given(batch.rows.len() as u64);
        let into = {
            let columns: Vec<String> = batch.columns.iter().map(|column| quoted(column)).collect();
            format!("INSERT INTO {} ({}) VALUES ", self.names().sql(&batch.table.name)?, columns.join(", "))
        };
        let (floats, enums) = (floats(batch), words_of(batch));
        // Other engines keep the rows of a statement that came before the one it failed at.
        let is_whole = batch.table.create.contains("ENGINE=InnoDB");
        let most = match (is_whole, self.fails_at_once()) {
            (true, _) => usize::MAX,
            (false, true) => MANY,
            (false, false) => 1,
        };
        let (mut sql, mut of, mut ends) = (into.clone(), Vec::new(), Vec::new());
        for at in todo {
            let row = &batch.rows[at];
            // No word at all, which the mode that everything else needs refuses.
            let zeros = enums.iter().filter(|place| row.get(**place) == Some(&Value::Int(0))).count();
            if zeros > 0 {
                self.flush((&into, &mut sql, &mut of, &mut ends), batch, first, is_whole, &mut written)?;
            }
            if !of.is_empty() {
                sql.push(',');
            }
            tuple(&mut sql, row, &floats).map_err(|why| unwritable(batch, first + at as u64, why))?;
            of.push(at);
            ends.push(sql.len());
            if zeros > 0 {
                self.insert_words(&sql, at, zeros, batch, &mut written)?;
                sql.truncate(into.len());
                of.clear();
                ends.clear();
            } else if sql.len() >= STATEMENT_BYTES || of.len() >= most {
                self.flush((&into, &mut sql, &mut of, &mut ends), batch, first, is_whole, &mut written)?;
            }
        }
        self.flush((&into, &mut sql, &mut of, &mut ends), batch, first, is_whole, &mut written)?;
        Ok(written)
    }

    /// Writes what a statement has, and empties it. Where the first row that is refused fails the import, the server's
    /// answer is waited for when the next statement is made.
    fn flush(
        &mut self,
        (into, sql, of, ends): (&str, &mut String, &mut Vec<usize>, &mut Vec<usize>),
        batch: &Batch<'_>,
        first: u64,
        is_whole: bool,
        written: &mut Written,
    ) -> Result<(), RecordError> {
        let Some(begin) = of.first().copied() else { return Ok(()) };
        if self.fails_at_once() {
            written.rows += of.len() as u64;
            let fresh = String::with_capacity(sql.len() + sql.len() / 8);
            let sent = Pending {
                table: batch.table.name.clone(),
                sql: std::mem::replace(sql, fresh),
                begin: into.len(),
                ends: std::mem::take(ends),
                first: first + begin as u64,
                is_whole,
            };
            sql.push_str(into);
            of.clear();
            return self.send(sent);
        }
        self.insert(into, sql, of, batch, written)?;
        sql.truncate(into.len());
        of.clear();
        ends.clear();
        Ok(())
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
        match self.data()?.try_run(sql) {
            Ok(_) => {
                written.rows += rows.len() as u64;
                return Ok(());
            }
            Err(ClientError::Said(said)) if is_of_row(said.code) => {
                if let [only] = rows {
                    written.refused.push((*only, words(&said)));
                    return Ok(());
                }
            }
            Err(error) => return Err(failed(&doing, error)),
        }
        for at in rows {
            let mut one = into.to_owned();
            tuple(&mut one, &batch.rows[*at], &floats(batch))
                .map_err(|why| unwritable(batch, *at as u64 + 1, why))?;
            match self.data()?.try_run(&one) {
                Ok(_) => written.rows += 1,
                Err(ClientError::Said(said)) if is_of_row(said.code) => {
                    written.refused.push((*at, words(&said)));
                }
                Err(error) => return Err(failed(&doing, error)),
            }
        }
        Ok(())
    }

    /// Inserts a row in which an `ENUM` holds none of its words (number 0), by the mode that lets that in. It lets in
    /// everything else that does not fit, too, but counts it: if there is more than these, the row is taken back.
    fn insert_words(
        &mut self,
        sql: &str,
        at: usize,
        zeros: usize,
        batch: &Batch<'_>,
        written: &mut Written,
    ) -> Result<(), RecordError> {
        let doing = format!("write into table {}", batch.table.name);
        let data = self.data()?;
        // Engines without transactions, once used in one, let it have none.
        let comes_back = data.try_run("SAVEPOINT before_row").is_ok();
        data.run(&doing, LENIENT)?;
        let inserted = data.try_run(sql);
        data.run(&doing, STRICT)?;
        match inserted {
            Ok(done) if usize::from(done.warnings) <= zeros => written.rows += 1,
            Ok(_) => {
                let why = "a value of it does not fit into its column".to_owned();
                if !comes_back {
                    let (table, row) = (batch.table.name.to_string(), at as u64 + 1);
                    return Err(RecordError::Refused { table, row, why });
                }
                data.run(&doing, "ROLLBACK TO SAVEPOINT before_row")?;
                written.refused.push((at, why));
            }
            Err(ClientError::Said(said)) if is_of_row(said.code) => {
                written.refused.push((at, words(&said)));
            }
            Err(error) => return Err(failed(&doing, error)),
        }
        Ok(())
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
                count += self.data()?.run(&doing, &sql)?;
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
        Ok(!self.data()?.ask(&format!("look into table {}", table.name), &sql)?.is_empty())
    }

    /// Returns whether the first row that is refused fails the import.
    fn fails_at_once(&self) -> bool {
        self.options().is_none_or(|options| options.row_errors == OnError::Fail)
    }
}

fn unwritable(batch: &Batch<'_>, row: u64, why: &str) -> RecordError {
    RecordError::Row { table: batch.table.name.to_string(), row, why: why.into() }
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

/// Returns the places of columns of type `ENUM`.
fn words_of(batch: &Batch<'_>) -> Vec<usize> {
    let is_word = |name: &str| {
        batch.table.columns.iter().any(|one| one.name == name && one.type_text.starts_with("enum("))
    };
    (0..batch.columns.len()).filter(|place| is_word(batch.columns[*place])).collect()
}

/// Returns whether an error is about a row, so that others may go in.
pub(super) fn is_of_row(code: u16) -> bool {
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
