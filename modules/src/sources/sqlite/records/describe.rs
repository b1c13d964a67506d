//! What is known of a table beside its rows.

use super::{list, quoted};
use crate::records::{Column, Filled, Object, RowOrder, TableName, TableSchema, TypeClass};
use rusqlite::{Connection, OptionalExtension, Result};

/// The names under which a row's number can be asked, unless a column has them.
const ROW_NUMBERS: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// A table and how its rows are asked for.
pub(super) struct Described {
    pub schema: TableSchema,
    /// In what order they come if they are asked for by their key.
    pub order: RowOrder,
}

/// A column of an index.
struct Indexed {
    name: Option<String>,
    is_descending: bool,
    collation: String,
}

/// Returns the tables of the database and which of them are virtual.
pub(super) fn tables(connection: &Connection) -> Result<Vec<(String, bool)>> {
    let mut statement = connection.prepare(
        "SELECT name, type = 'virtual' FROM pragma_table_list
         WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Whoever reads rows: numbers that SQLite gave them are among their values only where nothing else is their key.
    Source,
    /// Whoever writes rows: any number can be written. What has no NULL now may get one.
    Target,
}

/// Returns what is known of a table; `None` if it is not there.
pub(super) fn describe(
    connection: &Connection,
    name: &TableName,
    for_whom: For,
) -> Result<Option<Described>> {
    let table = name.table();
    let found = connection
        .query_row(
            "SELECT l.wr, l.strict, s.sql FROM pragma_table_list AS l
             JOIN sqlite_schema AS s ON s.type = 'table' AND s.name = l.name
             WHERE l.schema = 'main' AND l.name = ?1",
            [table],
            |row| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?, row.get::<_, String>(2)?)),
        )
        .optional()?;
    let Some((is_without_rowid, is_strict, create)) = found else { return Ok(None) };
    let (mut columns, mut key) = columns(connection, table)?;
    let pk_index = index_of_key(connection, table)?;
    let is_numbered = key.len() == 1 && pk_index.is_none() && !is_without_rowid;
    let mut order = RowOrder::Key;
    if is_numbered {
        for column in columns.iter_mut().filter(|column| column.name == key[0]) {
            column.filled = Filled::Counted;
            column.nullable = false;
        }
    } else {
        if !is_without_rowid && has_null(connection, table, &columns, &key)? {
            key.clear();
        }
        let number = if is_without_rowid { None } else { row_number(&columns) };
        let is_by_number = key.is_empty() && number.is_some();
        if let Some(number) = number
            && (is_by_number || for_whom == For::Target)
        {
            key.extend(is_by_number.then(|| number.name.clone()));
            columns.push(number);
        }
        if !is_by_number && !is_by_bytes(connection, &columns, &key, pk_index.as_deref(), is_strict)? {
            order = RowOrder::Any;
        }
    }
    let schema = TableSchema {
        name: name.clone(),
        columns,
        key,
        unique: unique(connection, table)?,
        collation: None,
        create,
        after: after(connection, table)?,
    };
    Ok(Some(Described { schema, order }))
}

/// Returns the column of the numbers that SQLite gives to rows, if its name is free.
fn row_number(columns: &[Column]) -> Option<Column> {
    let is_free = |name: &&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let column = Column::new(ROW_NUMBERS.into_iter().find(is_free)?, TypeClass::Integer, "INTEGER");
    Some(Column { filled: Filled::Hidden, nullable: false, ..column })
}

/// Returns the columns, and the names of those of the declared key in its order.
fn columns(connection: &Connection, table: &str) -> Result<(Vec<Column>, Vec<String>)> {
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    let mut statement = connection
        .prepare("SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        let (name, type_text): (String, String) = (row.get(0)?, row.get(1)?);
        let (number, hidden): (i64, i64) = (row.get(4)?, row.get(5)?);
        let collation = connection.column_metadata(Some("main"), table, &*name)?.1;
        let collation = collation.map(|name| name.to_string_lossy().into_owned());
        if number > 0 {
            key.push((number, name.clone()));
        }
        columns.push(Column {
            class: class(&type_text),
            nullable: !row.get::<_, bool>(2)?,
            default: row.get(3)?,
            filled: match hidden {
                2 => Filled::Computed,
                3 => Filled::Stored,
                _ => Filled::Written,
            },
            collation: collation.filter(|name| !name.eq_ignore_ascii_case("BINARY")),
            name,
            type_text,
        });
    }
    key.sort();
    Ok((columns, key.into_iter().map(|(_, name)| name).collect()))
}

/// What a declared type makes of values (<https://www.sqlite.org/datatype3.html>, 3.1).
fn class(type_text: &str) -> TypeClass {
    let upper = type_text.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    match () {
        () if has(&["INT"]) => TypeClass::Integer,
        () if has(&["CHAR", "CLOB", "TEXT"]) => TypeClass::Text,
        () if has(&["BLOB"]) => TypeClass::Bytes,
        () if has(&["REAL", "FLOA", "DOUB"]) => TypeClass::Float,
        () => TypeClass::Any,
    }
}

fn index_of_key(connection: &Connection, table: &str) -> Result<Option<String>> {
    connection
        .query_row("SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'", [table], |row| row.get(0))
        .optional()
}

/// Returns whether a row has NULL in a column of the key, which SQLite allows unless it was told otherwise.
fn has_null(connection: &Connection, table: &str, columns: &[Column], key: &[String]) -> Result<bool> {
    let is_nullable = |name: &&String| columns.iter().any(|column| column.name == **name && column.nullable);
    let nulls: Vec<String> =
        key.iter().filter(is_nullable).map(|name| format!("{} IS NULL", quoted(name))).collect();
    if nulls.is_empty() {
        return Ok(false);
    }
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {})", quoted(table), nulls.join(" OR "));
    connection.query_row(&sql, [], |row| row.get(0))
}

/// Returns whether the index of the key has its rows in the order of their encoded keys. It does not where integers
/// and doubles may stand in one column, or text is compared by other things than its bytes.
fn is_by_bytes(
    connection: &Connection,
    columns: &[Column],
    key: &[String],
    index: Option<&str>,
    is_strict: bool,
) -> Result<bool> {
    let Some(index) = index else { return Ok(false) };
    let encoding: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    let indexed = indexed(connection, index)?;
    let fits = |(name, indexed): (&String, &Indexed)| {
        let column = columns.iter().find(|column| column.name == *name);
        let is_of_one_kind = column.is_some_and(|column| match column.class {
            TypeClass::Text => true,
            TypeClass::Integer | TypeClass::Float | TypeClass::Bytes => is_strict,
            _ => false,
        });
        is_of_one_kind
            && indexed.name.as_ref() == Some(name)
            && !indexed.is_descending
            && indexed.collation.eq_ignore_ascii_case("BINARY")
    };
    Ok(encoding == "UTF-8" && indexed.len() >= key.len() && key.iter().zip(&indexed).all(fits))
}

fn indexed(connection: &Connection, index: &str) -> Result<Vec<Indexed>> {
    let mut statement = connection
        .prepare("SELECT name, desc, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno")?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Indexed { name: row.get(0)?, is_descending: row.get(1)?, collation: row.get(2)? })
    };
    statement.query_map([index], column)?.collect()
}

fn unique(connection: &Connection, table: &str) -> Result<Vec<Vec<String>>> {
    let mut statement = connection.prepare(
        "SELECT name FROM pragma_index_list(?1)
         WHERE \"unique\" = 1 AND partial = 0 AND origin <> 'pk' ORDER BY seq",
    )?;
    let indexes: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut unique = Vec::new();
    for index in indexes {
        let names: Option<Vec<String>> =
            indexed(connection, &index)?.into_iter().map(|column| column.name).collect();
        unique.extend(names);
    }
    Ok(unique)
}

fn after(connection: &Connection, table: &str) -> Result<Vec<Object>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema
         WHERE tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL
         ORDER BY type, rowid",
    )?;
    statement.query_map([table], object)?.collect()
}

/// Returns views, and the triggers on them.
pub(super) fn views(connection: &Connection) -> Result<Vec<Object>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema AS s
         WHERE type = 'view' OR type = 'trigger' AND EXISTS
            (SELECT 1 FROM sqlite_schema AS v WHERE v.type = 'view' AND v.name = s.tbl_name COLLATE NOCASE)
         ORDER BY type DESC, rowid",
    )?;
    statement.query_map([], object)?.collect()
}

fn object(row: &rusqlite::Row<'_>) -> Result<Object> {
    Ok(Object { kind: row.get(0)?, name: row.get(1)?, ddl: row.get(2)? })
}

/// Returns what the table's counter gives next, if it has one (`AUTOINCREMENT`).
pub(super) fn counter(connection: &Connection, table: &str) -> Result<Option<u64>> {
    if !connection.table_exists(Some("main"), "sqlite_sequence")? {
        return Ok(None);
    }
    let last: Option<i64> = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0))
        .optional()?;
    Ok(last.and_then(|last| u64::try_from(last).ok()).and_then(|last| last.checked_add(1)))
}

/// Returns the statement that asks for the rows.
pub(super) fn query(table: &TableSchema, condition: Option<&str>, order: RowOrder) -> String {
    let columns = list(table.row_columns().map(|column| &column.name[..]));
    let mut sql = format!("SELECT {columns} FROM {}", quoted(table.name.table()));
    if let Some(condition) = condition {
        sql.push_str(&format!(" WHERE ({condition}\n)"));
    }
    if order == RowOrder::Key {
        sql.push_str(&format!(" ORDER BY {}", list(table.key.iter().map(|name| &name[..]))));
    }
    sql
}
