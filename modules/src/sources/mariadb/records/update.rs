//! Rows that hold only some columns, into rows that are there.

use super::super::quoted;
use super::MariadbTarget;
use super::write::{key_places, tuple};
use crate::records::{Batch, RecordError, Updated, Value, WriteMode};

impl MariadbTarget<'_> {
    pub(super) fn update_rows(
        &mut self,
        batch: &Batch<'_>,
        condition: Option<&str>,
    ) -> Result<Updated, RecordError> {
        let (places, mut updated) = (key_places(batch), Updated::default());
        if places.is_empty() {
            let what = format!("changing rows of table {} without its key", batch.table.name);
            return Err(RecordError::Unsupported { what });
        }
        let table = self.names().sql(&batch.table.name)?;
        let own = condition.map(|condition| format!(" AND ({condition})")).unwrap_or_default();
        for (at, row) in batch.rows.iter().enumerate() {
            let unwritable = |why: &str| RecordError::Row {
                table: batch.table.name.to_string(),
                row: at as u64 + 1,
                why: why.into(),
            };
            let key: Vec<Value> = places.iter().map(|place| row[*place].clone()).collect();
            let mut is_key = String::new();
            let columns: Vec<String> = batch.table.key.iter().map(|column| quoted(column)).collect();
            is_key.push_str(&format!("({}) = ", columns.join(", ")));
            tuple(&mut is_key, &key, &[]).map_err(unwritable)?;
            let doing = format!("change rows of table {}", batch.table.name);
            let ours = format!("SELECT '1' FROM {table} WHERE {is_key}{own}");
            if !self.data()?.ask(&doing, &ours)?.is_empty() {
                let mut sql = format!("UPDATE {table} SET ");
                for (n, (column, value)) in batch.columns.iter().zip(row).enumerate() {
                    sql.push_str(if n == 0 { "" } else { ", " });
                    sql.push_str(&format!("{} = ", quoted(column)));
                    tuple(&mut sql, std::slice::from_ref(value), &[]).map_err(unwritable)?;
                }
                sql.push_str(&format!(" WHERE {is_key}{own}"));
                self.data()?.run(&doing, &sql)?;
                updated.written.rows += 1;
                continue;
            }
            if self.has(batch.table, &key)? {
                updated.written.refused.push((at, "a row of this key belongs to somebody else".into()));
                return Ok(updated);
            }
            let one = Batch { rows: std::slice::from_ref(row), mode: WriteMode::Insert, ..*batch };
            let written = self.write_rows(&one)?;
            updated.written.rows += written.rows;
            updated.written.refused.extend(written.refused.into_iter().map(|(_, why)| (at, why)));
            updated.unknown.push(crate::records::text::shown(&key));
        }
        Ok(updated)
    }
}
