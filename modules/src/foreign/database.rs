//! A temporary database of SQLite: tables of a foreign backup, until they are stored as records.

use super::error::ForeignError;
use crate::records::{RecordError, TableName, Value};
use dedup_engine::crypto::random;
use dedup_engine::error::Kind;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};
use std::collections::BTreeMap;
use std::path::Path;

/// Most columns of a table, which is SQLite's own bound.
const MAX_COLUMNS: usize = 2000;
/// Most tables.
const MAX_TABLES: usize = 20_000;

/// Tables with their rows, in a file that has no name.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    tables: BTreeMap<String, Table>,
    /// Tables that were made, also those that were forgotten.
    made: usize,
}

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// Those of its primary key; empty if none is known.
    pub key: Vec<String>,
    /// Its rows.
    pub rows: u64,
    /// Its number: the database knows it by that, since names may hold anything and differ only in their case.
    number: usize,
    /// Whether it is empty and nobody knows its columns.
    pub is_blank: bool,
    /// Whether rows hold only some columns of those that the product has: a restore puts them into rows that are there.
    pub is_part: bool,
}

impl Database {
    /// Makes an empty one in a directory.
    pub fn new(directory: &Path) -> Result<Self, ForeignError> {
        let doing = "be made";
        let name = random::<16>().map_err(|error| ForeignError::malformed(doing, error.to_string()))?;
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = directory.join(format!(".dedup-tables-{name}"));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(ForeignError::database(doing))?;
        // It is nobody else's, and if this process dies it is to be gone. The file is there once something is asked.
        let begun = connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA temp_store = MEMORY; BEGIN EXCLUSIVE",
        );
        let removed = std::fs::remove_file(&path);
        begun.map_err(ForeignError::database(doing))?;
        removed.map_err(ForeignError::io("remove the name of the temporary database"))?;
        Ok(Self { connection, tables: BTreeMap::new(), made: 0 })
    }

    /// Makes a table.
    pub fn create(&mut self, name: &str, columns: &[String], key: &[String]) -> Result<(), ForeignError> {
        let fits = (1..=MAX_COLUMNS).contains(&columns.len())
            && !name.is_empty()
            && name.len() <= TableName::MAX_PART;
        if !fits {
            let wrong = format!("{} columns, and 1 to {MAX_COLUMNS} are possible", columns.len());
            return Err(ForeignError::malformed(format!("table {name:?}"), wrong));
        }
        if let Some(column) = columns.iter().find(|column| column.contains('\0')) {
            // No text of SQL goes on behind it: once such a table was made, and could not be read.
            return Err(ForeignError::malformed(
                format!("table {name:?}"),
                format!("the name of the column {column:?} has a zero byte in it"),
            ));
        }
        if self.made == MAX_TABLES {
            return Err(ForeignError::TooMuch { limit: format!("{MAX_TABLES} tables") });
        }
        if self.tables.contains_key(name) {
            return Err(ForeignError::malformed(format!("table {name:?}"), "it is there twice"));
        }
        let number = self.made;
        self.made += 1;
        let list: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
        let sql = format!("CREATE TABLE t{number} ({})", list.join(", "));
        self.connection.execute_batch(&sql).map_err(ForeignError::database("make a table"))?;
        let key = if key.iter().all(|name| columns.contains(name)) { key.to_vec() } else { Vec::new() };
        let table =
            Table { columns: columns.to_vec(), key, number, rows: 0, is_blank: false, is_part: false };
        self.tables.insert(name.to_owned(), table);
        Ok(())
    }

    /// Says that rows of a table hold only some of the product's columns.
    pub fn mark_part(&mut self, name: &str) {
        if let Some(table) = self.tables.get_mut(name) {
            table.is_part = true;
        }
    }

    /// Says that a table is empty and that the column it was made with is none of its own.
    pub fn mark_blank(&mut self, name: &str) {
        if let Some(table) = self.tables.get_mut(name) {
            table.is_blank = true;
        }
    }

    /// Adds a row; values that are missing at the end are NULL.
    pub fn insert(&mut self, name: &str, row: &[Value]) -> Result<(), ForeignError> {
        let what = || format!("table {name:?}");
        let Some(table) = self.tables.get_mut(name) else {
            return Err(ForeignError::malformed(what(), "it has rows before it is made"));
        };
        if row.len() > table.columns.len() {
            let wrong =
                format!("a row has {} values, and there are {} columns", row.len(), table.columns.len());
            return Err(ForeignError::malformed(what(), wrong));
        }
        let nulls = table.columns.len() - row.len();
        let marks = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO t{} VALUES ({marks})", table.number);
        let mut insert = self.connection.prepare_cached(&sql).map_err(ForeignError::database("add a row"))?;
        let values = row.iter().map(Bound).chain(std::iter::repeat_n(Bound(&Value::Null), nulls));
        insert.execute(params_from_iter(values)).map_err(ForeignError::database("add a row"))?;
        table.rows += 1;
        Ok(())
    }

    /// Returns what is known of a table.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Returns the names of all tables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Copies columns of a table's rows into another table, into its columns of the same names: all rows, or those with a
    /// text in a column.
    pub fn copy(
        &mut self,
        from: &str,
        only: Option<(&str, &str)>,
        columns: &[&str],
        to: &str,
    ) -> Result<(), ForeignError> {
        let (sources, targets) = (self.places(from, columns)?, self.places(to, columns)?);
        let column = only.map(|(column, _)| self.places(from, &[column])).transpose()?;
        let condition = column.map(|column| format!(" WHERE {column} = ?1")).unwrap_or_default();
        let (source, target) = (self.number(from), self.number(to));
        let sql = format!("INSERT INTO t{target} ({targets}) SELECT {sources} FROM t{source}{condition}");
        let copied = self.connection.execute(&sql, params_from_iter(only.map(|(_, text)| text)));
        let copied = copied.map_err(ForeignError::database("copy rows"))?;
        if let Some(table) = self.tables.get_mut(to) {
            table.rows += copied as u64;
        }
        Ok(())
    }

    /// Puts values that lie in another table into rows that have their names: where the column `when.0` is the text `when.1`,
    /// `columns` become what `of` has under the name in the first of them. Rows whose values are not there are removed;
    /// returns how many.
    pub fn fetch(
        &mut self,
        name: &str,
        when: (&str, &str),
        columns: [&str; 2],
        of: (&str, &str, [&str; 2]),
    ) -> Result<u64, ForeignError> {
        let (other, key, values) = of;
        let [first, second] = [self.places(name, &columns[..1])?, self.places(name, &columns[1..])?];
        let when_place = self.places(name, &[when.0])?;
        let (key, values) = (self.places(other, &[key])?, self.places(other, &values)?);
        let (own, other) = (self.number(name), self.number(other));
        let failed = || ForeignError::database("look up long values");
        let index = format!("CREATE INDEX IF NOT EXISTS i{other} ON t{other} ({key})");
        self.connection.execute_batch(&index).map_err(failed())?;
        let lost = format!(
            "DELETE FROM t{own} WHERE {when_place} = ?1 AND {first} NOT IN (SELECT {key} FROM t{other})"
        );
        let lost = self.connection.execute(&lost, [when.1]).map_err(failed())? as u64;
        let sql = format!(
            "UPDATE t{own} SET ({first}, {second}) = (SELECT {values} FROM t{other} WHERE t{other}.{key} = t{own}.{first}) \
             WHERE {when_place} = ?1"
        );
        self.connection.execute(&sql, [when.1]).map_err(failed())?;
        if let Some(table) = self.tables.get_mut(name) {
            table.rows = table.rows.saturating_sub(lost);
        }
        Ok(lost)
    }

    fn number(&self, name: &str) -> usize {
        self.tables.get(name).map_or(usize::MAX, |table| table.number)
    }

    /// Returns columns as the database knows them, with commas.
    fn places(&self, name: &str, columns: &[&str]) -> Result<String, ForeignError> {
        let missing = |what: &str| ForeignError::malformed(format!("table {name:?}"), what);
        let table = self.tables.get(name).ok_or_else(|| missing("it is not there"))?;
        let place = |wanted: &&str| table.columns.iter().position(|known| known == wanted);
        let places: Option<Vec<String>> =
            columns.iter().map(|column| Some(format!("c{}", place(column)?))).collect();
        Ok(places.ok_or_else(|| missing("it lacks a column"))?.join(", "))
    }

    /// Gives a table another name; one that is there under it already stays, and so does this one then.
    pub fn rename(&mut self, from: &str, to: &str) {
        if !self.tables.contains_key(to)
            && let Some(table) = self.tables.remove(from)
        {
            self.tables.insert(to.to_owned(), table);
        }
    }

    /// Forgets a table.
    pub fn remove(&mut self, name: &str) {
        self.tables.remove(name);
    }

    /// Gives columns other names; two are never given the same.
    pub fn rename_columns(&mut self, name: &str, new: impl Fn(&str) -> String) {
        let Some(table) = self.tables.get_mut(name) else { return };
        for place in 0..table.columns.len() {
            let to = new(&table.columns[place]);
            if !table.columns.contains(&to) {
                let from = std::mem::replace(&mut table.columns[place], to.clone());
                for key in table.key.iter_mut().filter(|key| **key == from) {
                    key.clone_from(&to);
                }
            }
        }
    }

    /// Changes a text in a column wherever it stands there, whatever the case of its letters.
    pub fn replace(&mut self, name: &str, column: &str, from: &str, to: &str) -> Result<(), ForeignError> {
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        let Some(place) = table.columns.iter().position(|known| known == column) else { return Ok(()) };
        let sql = format!("UPDATE t{} SET c{place} = ?2 WHERE lower(c{place}) = lower(?1)", table.number);
        let changed = self.connection.execute(&sql, (from, to));
        changed.map(drop).map_err(ForeignError::database("change rows"))
    }

    /// Hands out rows of a table: columns of these names, of the rows that meet a condition in SQL.
    ///
    /// A condition comes from a manifest that is installed here, or was made here; never from an archive.
    pub fn rows(
        &self,
        name: &str,
        columns: &[&str],
        condition: Option<&str>,
        each: &mut dyn FnMut(&[Value]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let engine =
            |error: rusqlite::Error| RecordError::engine(format!("read table {name}"), Kind::Io, error);
        let absent = |what: String| RecordError::Absent { what };
        let table = self.tables.get(name).ok_or_else(|| absent(format!("table {name}")))?;
        // Conditions know columns by their names, what is selected goes by numbers: names may differ in case only.
        let mut mark = String::from("n");
        while table.columns.iter().any(|column| column.to_lowercase().starts_with(&mark)) {
            mark.push('_');
        }
        let mut wanted = Vec::new();
        for column in columns {
            let place = table.columns.iter().position(|known| known == column);
            let place = place.ok_or_else(|| absent(format!("column {column} of table {name}")))?;
            wanted.push(format!("{mark}{place}"));
        }
        let named = table.columns.iter().enumerate();
        let named = named.map(|(n, column)| format!("c{n} AS {mark}{n}, c{n} AS {}", quoted(column)));
        let named: Vec<String> = named.collect();
        let from = format!("(SELECT {} FROM t{})", named.join(", "), table.number);
        let only = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        let sql = format!("SELECT {} FROM {from}{only}", wanted.join(", "));
        let mut select = self.connection.prepare(&sql).map_err(engine)?;
        let mut rows = select.query([]).map_err(engine)?;
        let mut values = Vec::with_capacity(columns.len());
        while let Some(row) = rows.next().map_err(engine)? {
            values.clear();
            for place in 0..columns.len() {
                values.push(value(row.get_ref(place).map_err(engine)?));
            }
            each(&values)?;
        }
        Ok(())
    }

    /// Returns the texts of a column, each once, in order.
    pub fn distinct(&self, name: &str, column: &str) -> Result<Vec<String>, RecordError> {
        let mut found = std::collections::BTreeSet::new();
        self.rows(name, &[column], None, &mut |row| {
            if let Value::Text(text) = &row[0] {
                found.insert(text.clone());
            }
            Ok(())
        })?;
        Ok(found.into_iter().collect())
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[derive(Clone, Copy)]
struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Bool(yes) => ValueRef::Integer((*yes).into()),
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Float(number) => ValueRef::Real(*number),
            Value::Text(text) | Value::Decimal(text) | Value::Time(_, text) => {
                ValueRef::Text(text.as_bytes())
            }
            Value::RawText(bytes) | Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::UInt(number) => return Ok(ToSqlOutput::Owned(number.to_string().into())),
            Value::Null | Value::List(_) | Value::Map(_) => ValueRef::Null,
        }))
    }
}

fn value(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(text) => Value::text(text.to_vec()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}
