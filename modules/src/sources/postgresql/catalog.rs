//! What the catalogue of a database says of its tables.

use super::error::PostgresError;
use super::quote::{self, literal};
use super::wire::{Row, Session};
use crate::records::{Column, Filled, RecordError, TableName, TableSchema, TypeClass};

/// Tables of people: not of the server, of extensions, or temporary.
const TABLES: &str = "SELECT n.nspname, c.relname, c.relkind, \
    EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    AND d.objid = c.oid AND d.deptype = 'e')";

/// Columns of a table, each with the type that its domain is made of, if that is the server's own.
const COLUMNS: &str = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, \
    pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated, \
    (SELECT c.collname FROM pg_catalog.pg_collation c WHERE c.oid = a.attcollation AND c.collname <> 'default'), \
    (WITH RECURSIVE base(oid) AS (SELECT a.atttypid UNION ALL SELECT t.typbasetype FROM base \
    JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype = 'd') \
    SELECT t.typname FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid \
    WHERE t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace) \
    FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ";

/// Unique indexes of whole columns, and whether their columns are never NULL; the primary key first.
const KEYS: &str = "SELECT i.indexrelid, a.attname, i.indisprimary, a.attnotnull \
    FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(attnum, place) \
    LEFT JOIN LATERAL (SELECT * FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = k.attnum) a ON true \
    WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts \
    AND i.indrelid = ";

/// What the catalogue says beside the schema.
pub(super) struct Known {
    /// Its name.
    pub name: TableName,
    /// Whether it is only a roof over its partitions.
    pub is_partitioned: bool,
    /// Whether others inherit from it.
    pub is_parent: bool,
}

/// Makes a record error of a server's.
pub(super) fn engine(error: PostgresError) -> RecordError {
    match error {
        PostgresError::Cancelled => RecordError::Cancelled,
        PostgresError::Refused { doing, state, message, .. } => {
            let again =
                PostgresError::Refused { doing: doing.clone(), state, message: message.clone(), row: None };
            RecordError::Engine { doing, message, kind: again.kind(), source: Some(Box::new(again)) }
        }
        error => RecordError::engine("talk to PostgreSQL", error.kind(), error),
    }
}

/// Returns a text of a row; empty for NULL.
pub(super) fn text(row: &Row, at: usize) -> &str {
    row.get(at).and_then(|value| value.as_deref()).unwrap_or_default()
}

/// Lists the tables.
pub(super) fn tables(session: &mut Session<'_>, schemas: &[String]) -> Result<Vec<Known>, RecordError> {
    let rows = session.ask("list the tables", TABLES).map_err(engine)?;
    let rows =
        rows.iter().filter(|row| schemas.is_empty() || schemas.iter().any(|schema| schema == text(row, 0)));
    rows.map(|row| {
        let name = TableName::new(vec![text(row, 0).to_owned(), text(row, 1).to_owned()])?;
        Ok(Known { name, is_partitioned: text(row, 2) == "p", is_parent: text(row, 3) == "t" })
    })
    .collect()
}

/// Returns what is known of a table; none if it is not there.
pub(super) fn table(session: &mut Session<'_>, name: &TableName) -> Result<Option<TableSchema>, RecordError> {
    let doing = format!("look at table {name}");
    let found = format!("SELECT pg_catalog.to_regclass({})::pg_catalog.oid", literal(&quote::path(name)));
    let found = session.ask(&doing, &found).map_err(engine)?;
    let oid = match found.first().map(|row| text(row, 0)) {
        Some(oid) if !oid.is_empty() => oid.to_owned(),
        _ => return Ok(None),
    };
    let columns = session.ask(&doing, &format!("{COLUMNS}{oid} ORDER BY a.attnum")).map_err(engine)?;
    let columns: Vec<Column> = columns.iter().map(column).collect();
    let keys =
        session.ask(&doing, &format!("{KEYS}{oid} ORDER BY i.indisprimary DESC, i.indexrelid, k.place"));
    let mut unique: Vec<(String, bool, Vec<String>)> = Vec::new();
    for row in keys.map_err(engine)? {
        let (index, is_never_null) = (text(&row, 0), text(&row, 3) == "t");
        match unique.last_mut().filter(|(last, ..)| last == index) {
            Some((_, all, names)) => {
                *all &= is_never_null;
                names.push(text(&row, 1).to_owned());
            }
            None => unique.push((index.to_owned(), is_never_null, vec![text(&row, 1).to_owned()])),
        }
    }
    // A column of the server's own, which has a number below zero, has no name here.
    unique.retain(|(_, _, names)| names.iter().all(|name| columns.iter().any(|column| column.name == *name)));
    let key = unique.iter().position(|(_, is_never_null, _)| *is_never_null);
    let key = key.map(|at| unique.remove(at).2).unwrap_or_default();
    let mut schema = TableSchema::new(name.clone(), columns, &[]);
    schema.key = key;
    schema.unique = unique.into_iter().map(|(_, _, names)| names).collect();
    Ok(Some(schema))
}

fn column(row: &Row) -> Column {
    let default = row.get(3).cloned().flatten();
    let is_counted =
        text(row, 4) == "t" || default.as_deref().is_some_and(|text| text.starts_with("nextval("));
    Column {
        name: text(row, 0).to_owned(),
        class: class(text(row, 7)),
        type_text: text(row, 1).to_owned(),
        nullable: text(row, 2) != "t",
        filled: match text(row, 5) {
            "s" => Filled::Stored,
            "v" => Filled::Computed,
            _ if is_counted => Filled::Counted,
            _ => Filled::Written,
        },
        default,
        collation: row.get(6).cloned().flatten(),
    }
}

fn class(name: &str) -> TypeClass {
    match name {
        "bool" => TypeClass::Bool,
        "int2" | "int4" | "int8" | "oid" => TypeClass::Integer,
        "numeric" => TypeClass::Decimal,
        "float4" | "float8" => TypeClass::Float,
        "text" | "varchar" | "bpchar" | "name" | "char" => TypeClass::Text,
        "bytea" => TypeClass::Bytes,
        "date" => TypeClass::Date,
        "time" => TypeClass::Time,
        "timetz" => TypeClass::TimeZoned,
        "timestamp" => TypeClass::Timestamp,
        "timestamptz" => TypeClass::Moment,
        "interval" => TypeClass::Interval,
        "json" | "jsonb" => TypeClass::Json,
        _ => TypeClass::Other,
    }
}
