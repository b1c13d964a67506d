//! Rows that hold only some columns, into rows that are there.

use super::rows::{Bound, RowWriter, key_is};
use super::{failed, quoted};
use crate::records::{Batch, RecordError, Updated, Value, WriteMode};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use std::path::Path;

pub(super) fn update(
    connection: &Connection,
    path: &Path,
    batch: &Batch<'_>,
    condition: Option<&str>,
) -> Result<Updated, RecordError> {
    let failed = |error| failed(path, format!("change rows of table {}", batch.table.name), error);
    let place = |name: &String| batch.columns.iter().position(|column| column == name);
    let places: Option<Vec<usize>> = batch.table.key.iter().map(place).collect();
    let Some(places) = places.filter(|places| !places.is_empty()) else {
        let what = format!("changing rows of table {} without its key", batch.table.name);
        return Err(RecordError::Unsupported { what });
    };
    let (table, is_key) = (quoted(batch.table.name.table()), key_is(batch.table));
    let own = condition.map(|condition| format!(" AND ({condition})")).unwrap_or_default();
    let finds = |own: &str, key: &[Value]| {
        let sql = format!("SELECT 1 FROM {table} WHERE {is_key}{own}");
        let mut look = connection.prepare_cached(&sql).map_err(failed)?;
        let found = look.query_row(params_from_iter(key.iter().map(Bound)), |_| Ok(())).optional();
        Ok::<_, RecordError>(found.map_err(failed)?.is_some())
    };
    let mut updated = Updated::default();
    for (at, row) in batch.rows.iter().enumerate() {
        let key: Vec<Value> = places.iter().map(|place| row[*place].clone()).collect();
        if finds(&own, &key)? {
            for (column, value) in batch.columns.iter().zip(row) {
                let sql = format!("UPDATE {table} SET {} = ? WHERE {is_key}{own}", quoted(column));
                let values = std::iter::once(value).chain(&key).map(Bound);
                let mut change = connection.prepare_cached(&sql).map_err(failed)?;
                change.execute(params_from_iter(values)).map_err(failed)?;
            }
            updated.written.rows += 1;
        } else if finds("", &key)? {
            updated.written.refused.push((at, "a row of this key belongs to somebody else".into()));
            return Ok(updated);
        } else {
            let mut writer =
                RowWriter::new(connection, &Batch { mode: WriteMode::Insert, ..*batch }).map_err(failed)?;
            writer.put(row).map_err(failed)?;
            updated.written.rows += 1;
            updated.unknown.push(crate::records::text::shown(&key));
        }
    }
    Ok(updated)
}
