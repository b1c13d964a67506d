//! The rows of one view.

use super::super::super::{SourceError, World};
use super::super::connect::{Patience, examine, open_reading};
use super::describe::{Described, For, counter, describe, query, tables, views};
use super::{NUMBERS, failed};
use crate::folder::Inode;
use crate::records::{
    EachRow, Object, RecordError, RecordSource, RowOrder, SourceSchema, TableName, TableSchema, Value,
};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use rustix::fs::Statx;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows between two questions whether to go on.
const TURN: u64 = 256;

/// A database whose rows are read.
pub(in super::super::super) struct SqliteRecords<'a> {
    connection: Connection,
    path: PathBuf,
    file: Statx,
    cancelled: &'a dyn Fn() -> bool,
    orders: BTreeMap<TableName, RowOrder>,
}

impl<'a> SqliteRecords<'a> {
    /// Opens a database and begins its view.
    pub(in super::super::super) fn open(
        path: &Path,
        busy_limit: Duration,
        world: World<'a>,
    ) -> Result<Self, SourceError> {
        let file = examine(path)?;
        let connection = open_reading(path, Patience { limit: busy_limit, cancelled: world.cancelled })?;
        if Inode::of(&examine(path)?) != Inode::of(&file) {
            return Err(SourceError::Replaced { path: path.to_owned() });
        }
        let (path, cancelled) = (path.to_owned(), world.cancelled);
        Ok(Self { connection, path, file, cancelled, orders: BTreeMap::new() })
    }

    fn failed<'f>(&'f self, doing: &'f str) -> impl Fn(rusqlite::Error) -> RecordError + Copy + 'f {
        move |error| failed(&self.path, doing, error)
    }
}

impl RecordSource for SqliteRecords<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        let failed = self.failed("read the schema");
        let ask = |pragma: &str| {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| match value {
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    _ => String::new(),
                })
        };
        let mut facts = Vec::new();
        for pragma in
            ["journal_mode", "page_size", "encoding", "auto_vacuum", "user_version", "application_id"]
        {
            facts.push((pragma.to_owned(), ask(pragma).map_err(failed)?));
        }
        let numbers = facts.iter().filter(|(name, value)| NUMBERS.contains(&&name[..]) && value != "0");
        let before = numbers.map(|(name, value)| Object {
            kind: "pragma".into(),
            name: name.clone(),
            ddl: format!("PRAGMA {name} = {value}"),
        });
        let before: Vec<Object> = before.collect();
        let owner = (self.file.stx_uid, self.file.stx_gid, u32::from(self.file.stx_mode) & 0o7777);
        facts.push(("owner".to_owned(), format!("{}:{}:{:o}", owner.0, owner.1, owner.2)));
        Ok(SourceSchema {
            engine: "sqlite".into(),
            version: rusqlite::version().to_owned(),
            facts,
            before,
            after: views(&self.connection).map_err(failed)?,
            absent: Vec::new(),
        })
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        let names = tables(&self.connection).map_err(self.failed("read the schema"))?;
        names.into_iter().map(|(name, _)| TableName::simple(&name)).collect()
    }

    fn table(&mut self, name: &TableName) -> Result<TableSchema, RecordError> {
        let failed = self.failed("read the schema");
        let all = tables(&self.connection).map_err(failed)?;
        if all.iter().any(|(table, is_virtual)| table == name.table() && *is_virtual) {
            return Err(RecordError::Virtual { table: name.to_string() });
        }
        let described = describe(&self.connection, name, For::Source).map_err(failed)?;
        let absent = || RecordError::Absent { what: format!("table {name}") };
        let Described { schema, order } = described.ok_or_else(absent)?;
        self.orders.insert(name.clone(), order);
        Ok(schema)
    }

    fn estimated_rows(&mut self, _: &TableName) -> Option<u64> {
        // To count is to read.
        None
    }

    fn order(&self, table: &TableSchema) -> RowOrder {
        match self.orders.get(&table.name) {
            Some(order) if !table.key.is_empty() => *order,
            _ => RowOrder::Any,
        }
    }

    fn rows(
        &mut self,
        table: &TableSchema,
        condition: Option<&str>,
        each: &mut EachRow<'_>,
    ) -> Result<(), RecordError> {
        let doing = format!("read table {}", table.name);
        let failed = self.failed(&doing);
        let sql = query(table, condition, self.order(table));
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let width = table.row_columns().count();
        let (mut rows, mut number) = (statement.query([]).map_err(failed)?, 0u64);
        let mut values = Vec::with_capacity(width);
        while let Some(row) = rows.next().map_err(failed)? {
            if number.is_multiple_of(TURN) && (self.cancelled)() {
                return Err(RecordError::Cancelled);
            }
            number += 1;
            values.clear();
            for at in 0..width {
                values.push(value(row.get_ref(at).map_err(failed)?));
            }
            each(&values)?;
        }
        Ok(())
    }

    fn counter(&mut self, table: &TableSchema) -> Result<Option<u64>, RecordError> {
        counter(&self.connection, table.name.table()).map_err(self.failed("read the counters"))
    }

    fn finish(self: Box<Self>) -> Result<(), RecordError> {
        let Self { connection, path, .. } = *self;
        connection.close().map_err(|(_, error)| failed(&path, "close the view", error))
    }
}

fn value(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(bytes) => Value::text(bytes.to_vec()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}
