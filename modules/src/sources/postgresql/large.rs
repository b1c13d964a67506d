//! Large objects, as rows of a table of their own: `pg_catalog.pg_largeobject`, which tables of people cannot be called.
//!
//! One row for each object, with page -1 and no bytes, and one for each of its pages. Only a superuser may read them so;
//! an error tells others.

use super::catalog::{engine, text};
use super::import::PostgresTarget;
use super::wire::Session;
use crate::records::{Batch, Column, RecordError, TableName, TableSchema, TypeClass, WriteMode};

/// What reads them, in the order of their keys.
pub(super) const ROWS: &str = "SELECT oid, -1, ''::pg_catalog.bytea FROM pg_catalog.pg_largeobject_metadata \
    UNION ALL SELECT loid, pageno, data FROM pg_catalog.pg_largeobject ORDER BY 1, 2";
/// What a page has in bytes.
const PAGE: u32 = 2048;

/// Returns the name of the table.
pub(super) fn name() -> Result<TableName, RecordError> {
    TableName::new(vec!["pg_catalog".into(), "pg_largeobject".into()])
}

/// Returns whether a table is that of large objects.
pub(super) fn is_it(table: &TableName) -> bool {
    matches!(table.parts(), [schema, table] if schema == "pg_catalog" && table == "pg_largeobject")
}

/// Returns what is known of it.
pub(super) fn table() -> Result<TableSchema, RecordError> {
    let column = |name, class, text| Column { nullable: false, ..Column::new(name, class, text) };
    let columns = vec![
        column("loid", TypeClass::Integer, "oid"),
        column("pageno", TypeClass::Integer, "integer"),
        column("data", TypeClass::Bytes, "bytea"),
    ];
    Ok(TableSchema::new(name()?, columns, &["loid", "pageno"]))
}

/// Returns whether there are any.
pub(super) fn are_there(session: &mut Session<'_>) -> Result<bool, RecordError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";
    let rows = session.ask("look for large objects", sql).map_err(engine)?;
    Ok(rows.first().is_some_and(|row| text(row, 0) == "t"))
}

/// Returns how many rows there are.
pub(super) fn count(session: &mut Session<'_>) -> Result<u64, RecordError> {
    let sql = format!("SELECT pg_catalog.count(*) FROM ({ROWS}) rows");
    let rows = session.ask("count large objects", &sql).map_err(engine)?;
    Ok(rows.first().and_then(|row| text(row, 0).parse().ok()).unwrap_or(0))
}

impl PostgresTarget<'_> {
    /// Removes them all.
    pub(super) fn clear_large(&mut self) -> Result<(), RecordError> {
        let sql = "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata";
        self.run("remove large objects", sql).map(drop)
    }
}

/// Returns the statements that make objects of staged rows.
pub(super) fn merge(batch: &Batch<'_>, stage: &str) -> String {
    let absent = " AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = s.loid)";
    let untouched = " AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject p WHERE p.loid = s.loid AND p.pageno = s.pageno)";
    let (objects, pages) = match batch.mode {
        WriteMode::Insert => ("", ""),
        WriteMode::Upsert => (absent, ""),
        WriteMode::Keep => (absent, untouched),
    };
    format!(
        "SELECT pg_catalog.lo_create(loid) FROM {stage} s WHERE pageno < 0{objects}; \
         SELECT pg_catalog.count(pg_catalog.lo_put(loid, pageno::pg_catalog.int8 * {PAGE}, data)) FROM {stage} s WHERE pageno >= 0{pages}; \
         SELECT FROM {stage}"
    )
}
