//! Rows into a database that nobody else has open: a copy that takes the place of the old one when it is whole.

use super::super::super::SourceError;
use super::super::connect::{Access, open};
use super::describe::{For, describe, tables};
use super::rows::{Bound, RowWriter, is_of_row, key_is};
use super::{NUMBERS, failed, quoted};
use crate::manifest::drivers::OnError;
use crate::records::{
    Batch, ImportOptions, Object, RecordError, RecordTarget, SourceSchema, TableName, TableSchema, Updated,
    Value, Written,
};
use dedup_engine::error::Kind;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params_from_iter};
use std::path::{Path, PathBuf};

/// A database that rows are put into.
pub(in super::super::super) struct SqliteTarget {
    connection: Connection,
    path: PathBuf,
    had_log: bool,
    options: Option<ImportOptions>,
}

impl SqliteTarget {
    /// Opens the file, which is ours alone.
    pub(in super::super) fn open(path: &Path) -> Result<Self, SourceError> {
        let connection = open(path, Access::Write)?;
        let failed = |error| SourceError::sqlite(path, "open", error);
        // Rows are as they were: nothing acts on them. What stands there only for a moment need not survive.
        for (config, on) in [
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        ] {
            connection.set_db_config(config, on).map_err(failed)?;
        }
        let mode = |mode: Option<&str>| {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            match mode {
                Some(mode) => connection.pragma_update_and_check(None, "journal_mode", mode, value),
                None => connection.pragma_query_value(None, "journal_mode", value),
            }
        };
        let had_log = mode(None).map_err(failed)? == "wal";
        mode(Some("DELETE")).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), had_log, options: None })
    }

    fn failed(&self, doing: impl Into<String>) -> impl Fn(rusqlite::Error) -> RecordError + '_ {
        let doing = doing.into();
        move |error| failed(&self.path, doing.clone(), error)
    }

    fn execute(&self, doing: &str, sql: &str) -> Result<(), RecordError> {
        self.connection.execute(sql, []).map(drop).map_err(self.failed(doing))
    }

    /// Runs a statement out of a snapshot, if it makes what it should; else it could be any.
    fn make(&self, kind: &str, name: &str, ddl: &str) -> Result<(), RecordError> {
        let words = ddl.split_whitespace().map(str::to_ascii_uppercase);
        let words: Vec<String> = words.filter(|word| word != "UNIQUE").take(2).collect();
        let wanted = kind.to_ascii_uppercase();
        if words.first().is_none_or(|word| word != "CREATE") || words.get(1) != Some(&wanted) {
            let what = format!("{kind} {name}, whose statement makes something else,");
            return Err(RecordError::Unsupported { what });
        }
        self.execute(&format!("make {kind} {name}"), ddl)
    }

    fn is_there(&self, kind: &str, name: &str) -> Result<bool, RecordError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2)";
        let found = self.connection.query_row(sql, [kind, name], |row| row.get(0));
        found.map_err(self.failed("read the schema"))
    }
}

impl RecordTarget for SqliteTarget {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        let version = rusqlite::version().to_owned();
        Ok(SourceSchema { engine: "sqlite".into(), version, ..SourceSchema::default() })
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        let names = tables(&self.connection).map_err(self.failed("read the schema"))?;
        names.into_iter().map(|(name, _)| TableName::simple(&name)).collect()
    }

    fn table(&mut self, name: &TableName) -> Result<Option<TableSchema>, RecordError> {
        let found = describe(&self.connection, name, For::Target).map_err(self.failed("read the schema"))?;
        Ok(found.map(|found| found.schema))
    }

    fn begin(&mut self, options: &ImportOptions) -> Result<(), RecordError> {
        self.options = Some(*options);
        self.execute("begin a transaction", "BEGIN IMMEDIATE")
    }

    fn make_before(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        // What programs note of the tables that they made: it stays where there are some.
        if !self.tables()?.is_empty() {
            return Ok(());
        }
        for object in objects {
            let number = object.ddl.rsplit("= ").next().and_then(|number| number.parse::<i32>().ok());
            let is_known = object.kind == "pragma" && NUMBERS.contains(&&object.name[..]);
            let Some(number) = number.filter(|_| is_known) else {
                return Err(RecordError::Unsupported { what: format!("{} {}", object.kind, object.name) });
            };
            let set = self.connection.pragma_update(None, &object.name, number);
            set.map_err(self.failed("set a number of the database"))?;
        }
        Ok(())
    }

    fn create(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        self.make("table", table.name.table(), &table.create)?;
        match self.is_there("table", table.name.table())? {
            true => Ok(()),
            false => Err(RecordError::Absent { what: format!("table {}, which was just made,", table.name) }),
        }
    }

    fn drop_table(&mut self, name: &TableName) -> Result<(), RecordError> {
        self.execute(&format!("drop table {name}"), &format!("DROP TABLE {}", quoted(name.table())))
    }

    fn clear(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<(), RecordError> {
        let sql = format!("DELETE FROM {}{}", quoted(table.name.table()), clause(condition));
        self.execute(&format!("clear table {}", table.name), &sql)
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError> {
        let failed = self.failed(format!("write table {}", batch.table.name));
        let mut writer = RowWriter::new(&self.connection, batch).map_err(&failed)?;
        let goes_on = self.options.is_some_and(|options| options.row_errors == OnError::Continue);
        let mut written = Written::default();
        for (at, row) in batch.rows.iter().enumerate() {
            match writer.put(row) {
                Ok(true) => written.rows += 1,
                Ok(false) => written.kept += 1,
                Err(error) if is_of_row(&error) => {
                    let why = match error {
                        rusqlite::Error::SqliteFailure(_, Some(text)) => text,
                        error => error.to_string(),
                    };
                    written.refused.push((at, why));
                    if !goes_on {
                        break;
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(written)
    }

    fn update(&mut self, batch: &Batch<'_>, condition: Option<&str>) -> Result<Updated, RecordError> {
        super::update::update(&self.connection, &self.path, batch, condition)
    }

    fn delete(&mut self, table: &TableSchema, keys: &[Vec<Value>]) -> Result<u64, RecordError> {
        let failed = self.failed(format!("delete from table {}", table.name));
        let sql = format!("DELETE FROM {} WHERE {}", quoted(table.name.table()), key_is(table));
        let mut statement = self.connection.prepare_cached(&sql).map_err(&failed)?;
        let mut gone = 0;
        for key in keys {
            let values = key.iter().map(Bound);
            gone += statement.execute(params_from_iter(values)).map_err(&failed)? as u64;
        }
        Ok(gone)
    }

    fn count(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<u64, RecordError> {
        let sql = format!("SELECT count(*) FROM {}{}", quoted(table.name.table()), clause(condition));
        let count = self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
        Ok(count.map_err(self.failed(format!("count table {}", table.name)))?.unsigned_abs())
    }

    fn finish_table(
        &mut self,
        table: &TableSchema,
        counter: Option<u64>,
        is_new: bool,
    ) -> Result<(), RecordError> {
        if is_new {
            for object in &table.after {
                self.make(&object.kind, &object.name, &object.ddl)?;
            }
        }
        let last = counter.and_then(|next| i64::try_from(next).ok()).and_then(|next| next.checked_sub(1));
        let has_counters = self.is_there("table", "sqlite_sequence")?;
        let (Some(last), true) = (last, has_counters) else { return Ok(()) };
        let (failed, name) = (self.failed("set the counter"), table.name.table());
        let update = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        let insert = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
        if self.connection.execute(update, (name, last)).map_err(&failed)? == 0 {
            self.connection.execute(insert, (name, last)).map_err(&failed)?;
        }
        Ok(())
    }

    fn make_after(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        for object in objects {
            if !self.is_there(&object.kind, &object.name)? {
                self.make(&object.kind, &object.name, &object.ddl)?;
            }
        }
        let Some(options) = self.options else { return Ok(()) };
        if options.defer_constraints {
            let failed = self.failed("check the foreign keys");
            let mut check = self.connection.prepare("PRAGMA foreign_key_check").map_err(&failed)?;
            let mut wrong = check.query([]).map_err(&failed)?;
            if let Some(row) = wrong.next().map_err(&failed)? {
                let [table, parent] = [0, 2].map(|at| row.get::<_, String>(at).unwrap_or_default());
                return Err(RecordError::Engine {
                    doing: "check the foreign keys".into(),
                    message: format!("a row of table {table} refers to one of {parent} that is not there"),
                    kind: Kind::Refused,
                    source: None,
                });
            }
        }
        match options.refresh_statistics {
            true => self.execute("make the planner's statistics", "ANALYZE"),
            false => Ok(()),
        }
    }

    fn commit(self: Box<Self>) -> Result<(), RecordError> {
        self.execute("commit", "COMMIT")?;
        let Self { connection, path, had_log, .. } = *self;
        let failed = |error| failed(&path, "commit", error);
        if had_log {
            connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
                .map_err(failed)?;
        }
        connection.close().map_err(|(_, error)| failed(error))
    }
}

fn clause(condition: Option<&str>) -> String {
    condition.map(|condition| format!(" WHERE ({condition}\n)")).unwrap_or_default()
}
