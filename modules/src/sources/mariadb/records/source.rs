//! One view over all tables of a source, read in one session.

use super::super::super::{Said, SourceError, World};
use super::super::client::{Row, Sent};
use super::super::dump::without_view;
use super::super::{MariadbSpec, quoted};
use super::catalog::Table;
use super::connect::{Session, Way, failed};
use super::names::Names;
use crate::records::{
    EachRow, RecordError, RecordSource, RowOrder, SourceSchema, TableName, TableSchema, TypeClass, Value,
};
use dedup_engine::error::Kind;

/// How many rows are read before it is asked whether the run is cancelled.
const ASK_ROWS: u64 = 256;

/// Looks whether the server lets us in.
pub fn look(spec: &MariadbSpec, world: World<'_>) -> Result<(), SourceError> {
    Way::new(spec, world)?.open()?;
    Ok(())
}

/// A view of a source.
pub struct MariadbSource<'a> {
    session: Session<'a>,
    names: Names,
    spec: MariadbSpec,
    cancelled: &'a dyn Fn() -> bool,
}

impl<'a> MariadbSource<'a> {
    /// Opens a source: connects, and begins its view, which is that of this moment.
    pub fn open(spec: &MariadbSpec, world: World<'a>, said: &mut Said<'_>) -> Result<Self, SourceError> {
        let mut session = Way::new(spec, world)?.open()?;
        let names = session.databases(spec)?;
        session.must_see_triggers(&names)?;
        if spec.consistent {
            let others: Vec<String> = session.without_view(&names)?.iter().map(ToString::to_string).collect();
            if !others.is_empty() {
                said(&without_view(&others));
            }
            for sql in [
                "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ] {
                session.run("begin a consistent view", sql)?;
            }
        }
        Ok(Self { session, names, spec: spec.clone(), cancelled: world.cancelled })
    }

    fn known(&mut self, name: &TableName) -> Result<Table, RecordError> {
        let absent = || RecordError::Absent { what: format!("table {name}") };
        self.session.table(&self.names, name)?.ok_or_else(absent)
    }
}

impl RecordSource for MariadbSource<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        let select = &self.spec.select;
        let whole = select.tables.is_empty() && select.prefix.is_empty();
        self.session.source(&self.names, self.spec.driver.to_string(), whole)
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        self.session.tables(&self.names)
    }

    fn table(&mut self, name: &TableName) -> Result<TableSchema, RecordError> {
        Ok(self.known(name)?.schema)
    }

    fn estimated_rows(&mut self, name: &TableName) -> Option<u64> {
        let (database, table) = self.names.split(name).ok()?;
        let sql = format!(
            "SELECT CAST(TABLE_ROWS AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            super::super::literal(database),
            super::super::literal(table)
        );
        let rows = self.session.ask("estimate rows", &sql).ok()?;
        rows.into_iter().next()?.into_iter().next()??.parse().ok()
    }

    /// Integers, days and bytes of a fixed or counted length are compared by the server as their encoded keys are;
    /// text is not, not even by its `_bin` collations, which pad with blanks.
    fn order(&self, table: &TableSchema) -> RowOrder {
        let is_plain = |name: &String| {
            table.columns.iter().any(|column| {
                let by_bytes = column.class == TypeClass::Bytes && column.type_text.contains("binary");
                let by_number = matches!(column.class, TypeClass::Integer | TypeClass::Date);
                column.name == *name && (by_bytes || by_number)
            })
        };
        let is_ordered = !table.key.is_empty() && table.key.iter().all(is_plain);
        if is_ordered { RowOrder::Key } else { RowOrder::Any }
    }

    fn rows(
        &mut self,
        table: &TableSchema,
        condition: Option<&str>,
        each: &mut EachRow<'_>,
    ) -> Result<(), RecordError> {
        let known = self.known(&table.name)?;
        let doing = format!("read table {}", table.name);
        let changed = |why: String| RecordError::Changed { table: table.name.to_string(), why };
        let mut readings = Vec::new();
        let mut columns = Vec::new();
        for column in table.row_columns() {
            let reading = known.readings.iter().find(|(name, _)| *name == column.name);
            let Some((name, reading)) = reading else {
                return Err(changed(format!("column {} is gone", column.name)));
            };
            columns.push(quoted(name));
            let beside = reading.beside(&quoted(name));
            readings.push((*reading, beside.is_some()));
            columns.extend(beside);
        }
        if columns.is_empty() {
            columns.push("1".into());
        }
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), self.names.sql(&table.name)?);
        if let Some(condition) = condition {
            sql.push_str(&format!(" WHERE ({condition})"));
        }
        if self.order(table) == RowOrder::Key {
            let key: Vec<String> = table.key.iter().map(|column| quoted(column)).collect();
            sql.push_str(&format!(" ORDER BY {}", key.join(", ")));
        }
        let (mut number, mut row, cancelled) = (0u64, vec![Value::Null; readings.len()], self.cancelled);
        let mut take = |sent: &mut Row<'_>| {
            number += 1;
            if number.is_multiple_of(ASK_ROWS) && cancelled() {
                return Err(RecordError::Cancelled);
            }
            for ((reading, is_beside), value) in readings.iter().zip(&mut row) {
                let broken = |error| failed(&doing, error);
                reading.read(sent.next().map_err(broken)?, value).ok_or_else(|| RecordError::Row {
                    table: table.name.to_string(),
                    row: number,
                    why: "the server sent a value of another type than its column has".into(),
                })?;
                if *is_beside && matches!(sent.next().map_err(broken)?, Sent::Int(1) | Sent::UInt(1)) {
                    *value = reading.other();
                }
            }
            if readings.is_empty() {
                sent.next().map_err(|error| failed(&doing, error))?;
            }
            each(&row)
        };
        self.session.rows(&doing, &sql, &mut take).map_err(|error| match error {
            // Altered since the view began, or a column is not there any more.
            RecordError::Engine { message, .. } if altered(&message) => changed(message),
            RecordError::Engine { kind: Kind::Missing, message, .. } => changed(message),
            other => other,
        })?;
        // Engines without transactions show rows of a table that was altered.
        if self.known(&table.name)?.schema.create != known.schema.create {
            return Err(changed("its definition is another one now".into()));
        }
        Ok(())
    }

    fn counter(&mut self, table: &TableSchema) -> Result<Option<u64>, RecordError> {
        let (database, name) = self.names.split(&table.name)?;
        let sql = format!(
            "SELECT CAST(AUTO_INCREMENT AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            super::super::literal(database),
            super::super::literal(name)
        );
        let rows = self.session.ask(&format!("look at table {}", table.name), &sql)?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()?.parse().ok()))
    }

    fn finish(mut self: Box<Self>) -> Result<(), RecordError> {
        self.session.run("end the view", "COMMIT").map(drop)
    }
}

fn altered(message: &str) -> bool {
    ["error 1412:", "error 1054:"].iter().any(|code| message.starts_with(code))
}
