//! One transaction that puts rows into a database, and what must come after it.
//!
//! The server ends a transaction with every statement that makes or changes a table. So tables are made in a second
//! session, and what would wait for the first one (triggers, counters) is done after its end. Tables that were made
//! are removed again if it does not come to that; one that was dropped is gone. Triggers that were taken away stand in
//! the run's journal ([`MariadbTriggers`](super::MariadbTriggers)): if this process dies, they are made again all the same.

use super::super::super::{SourceError, World};
use super::super::{MariadbSpec, literal, quoted};
use super::connect::{Session, Way};
use super::names::Names;
use super::pending::Pending;
use super::triggers::TRIGGER_EXISTS;
use crate::records::{
    Batch, ImportOptions, Object, RecordError, RecordTarget, SourceSchema, TableName, TableSchema, Updated,
    Value, Written,
};
use dedup_engine::error::Kind;

/// How long a table that others use is waited for.
const LOCK_SECONDS: u32 = 60;

/// A database that rows are put into.
pub struct MariadbTarget<'a> {
    data: Session<'a>,
    /// A statement of it that was sent, while the next one is made.
    pub(super) pending: Option<Pending>,
    /// The session that makes tables.
    making: Session<'a>,
    names: Names,
    spec: MariadbSpec,
    world: World<'a>,
    options: Option<ImportOptions>,
    /// Tables that were made.
    made: Vec<TableName>,
    loaded: Vec<TableName>,
    /// Rows that were given of the last of them.
    given: u64,
    /// What is made after the end of the transaction, and in which database.
    then: Vec<(String, Object)>,
    /// Triggers of tables that were there, which would act on what is loaded: made again at the end, whatever it is.
    silenced: Vec<(String, Object)>,
    committed: bool,
}

impl<'a> MariadbTarget<'a> {
    /// Opens a target; a database that is not there is made, and one that is to be emptied is when the import begins.
    pub fn open(spec: &MariadbSpec, world: World<'a>) -> Result<Self, SourceError> {
        let way = Way::new(spec, world)?;
        let (mut data, making) = (way.open()?, way.open()?);
        let mut wanted = spec.clone();
        if let Some(target) = spec.target() {
            data.run(
                &format!("make database {target}"),
                &format!("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4", quoted(&target)),
            )
            .or_else(|error| match data.databases(&with_database(spec, &target)) {
                // Who may not make databases need not, if it is there.
                Ok(_) => Ok(0),
                Err(_) => Err(error),
            })?;
            wanted = with_database(spec, &target);
        }
        let names = data.databases(&wanted)?;
        let (made, loaded, then, silenced) = Default::default();
        let spec = spec.clone();
        Ok(Self {
            data,
            pending: None,
            making,
            names,
            spec,
            world,
            options: None,
            made,
            loaded,
            given: 0,
            then,
            silenced,
            committed: false,
        })
    }

    /// Returns the session of the transaction, when nothing more is due of it.
    pub(super) fn data(&mut self) -> Result<&mut Session<'a>, RecordError> {
        self.settle()?;
        Ok(&mut self.data)
    }

    /// As [`data`](Self::data), whatever is due.
    pub(super) fn wire(&mut self) -> &mut Session<'a> {
        &mut self.data
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn options(&self) -> Option<&ImportOptions> {
        self.options.as_ref()
    }

    fn unless_cancelled(&self) -> Result<(), RecordError> {
        if (self.world.cancelled)() { Err(RecordError::Cancelled) } else { Ok(()) }
    }

    /// Begins with a table, before this session has touched it: takes its triggers away.
    fn touch(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        if self.loaded.contains(&table.name) {
            return Ok(());
        }
        self.settle()?;
        self.loaded.push(table.name.clone());
        self.given = 0;
        let database = self.names.split(&table.name)?.0.to_owned();
        // The last first: those that are left by a death are made again in their order behind those that stayed.
        for trigger in table.after.iter().rev().filter(|object| object.kind == "trigger") {
            let sql = format!("DROP TRIGGER IF EXISTS {}.{}", quoted(&database), quoted(&trigger.name));
            self.making.run(&format!("take away trigger {}", trigger.name), &sql)?;
            self.silenced.insert(0, (database.clone(), trigger.clone()));
        }
        Ok(())
    }

    /// Counts rows of a table that are given; returns the number of the first of them.
    pub(super) fn count_given(&mut self, rows: u64) -> u64 {
        let first = self.given + 1;
        self.given += rows;
        first
    }

    /// Returns the database of what has names of one part.
    fn only_database(&self) -> Option<String> {
        self.names.one.clone()
    }

    /// Looks for rows whose foreign key leads nowhere: nothing was checked while they were loaded.
    fn check_references(&mut self) -> Result<(), RecordError> {
        for name in self.loaded.clone() {
            let (database, table) = self.names.split(&name)?;
            let doing = format!("check the foreign keys of table {name}");
            let sql = format!(
                "SELECT CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME \
                 FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND \
                 REFERENCED_TABLE_NAME IS NOT NULL ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
                literal(database),
                literal(table)
            );
            /// A foreign key, the table it leads to, and the pairs of columns.
            type Key = (String, String, Vec<(String, String)>);
            let mut keys: Vec<Key> = Vec::new();
            for row in self.data()?.ask(&doing, &sql)? {
                let mut row = row.into_iter().map(Option::unwrap_or_default);
                let mut next = || row.next().unwrap_or_default();
                let (constraint, column, schema, parent, parent_column) =
                    (next(), next(), next(), next(), next());
                match keys.last_mut() {
                    Some((known, _, columns)) if *known == constraint => {
                        columns.push((column, parent_column))
                    }
                    _ => {
                        let parent = format!("{}.{}", quoted(&schema), quoted(&parent));
                        keys.push((constraint, parent, vec![(column, parent_column)]));
                    }
                }
            }
            let child = self.names.sql(&name)?;
            for (constraint, parent, columns) in keys {
                let joined: Vec<String> = columns
                    .iter()
                    .map(|(own, theirs)| format!("c.{} = p.{}", quoted(own), quoted(theirs)))
                    .collect();
                let whole: Vec<String> =
                    columns.iter().map(|(own, _)| format!("c.{} IS NOT NULL", quoted(own))).collect();
                let lost = columns.first().map(|(_, theirs)| quoted(theirs)).unwrap_or_default();
                let sql = format!(
                    "SELECT '1' FROM {child} c LEFT JOIN {parent} p ON {} WHERE {} AND p.{lost} IS NULL LIMIT 1",
                    joined.join(" AND "),
                    whole.join(" AND ")
                );
                if !self.data()?.ask(&doing, &sql)?.is_empty() {
                    return Err(RecordError::Engine {
                        doing,
                        message: format!("rows refer by {constraint} to rows of {parent} that are not there"),
                        kind: Kind::Refused,
                        source: None,
                    });
                }
            }
        }
        Ok(())
    }
}

fn with_database(spec: &MariadbSpec, database: &str) -> MariadbSpec {
    let mut spec = spec.clone();
    spec.select.databases = vec![database.to_owned()];
    spec
}

impl RecordTarget for MariadbTarget<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        self.data.source(&self.names, self.spec.driver.to_string(), false)
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        self.data.tables(&self.names)
    }

    fn table(&mut self, name: &TableName) -> Result<Option<TableSchema>, RecordError> {
        Ok(self.making.table(&self.names, name)?.map(|table| table.schema))
    }

    fn begin(&mut self, options: &ImportOptions) -> Result<(), RecordError> {
        self.options = Some(*options);
        let doing = "begin the import";
        let waits = format!(
            "SET SESSION lock_wait_timeout = {LOCK_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS}"
        );
        self.making.run(doing, &waits)?;
        self.data.run(doing, &waits)?;
        // Tables that are made meanwhile must be seen.
        self.data.run(doing, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
        self.data.run(doing, "SET SESSION unique_checks = 1")?;
        if options.transaction {
            self.data.run(doing, "START TRANSACTION")?;
        }
        Ok(())
    }

    fn make_before(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        let Some(database) = self.only_database() else { return Ok(()) };
        objects.iter().try_for_each(|object| self.making.make(&database, object, &[1050]))
    }

    fn create(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        let database = self.names.split(&table.name)?.0.to_owned();
        let ddl = table.create.clone();
        let object = Object { kind: "table".into(), name: table.name.to_string(), ddl };
        self.making.make(&database, &object, &[])?;
        self.made.push(table.name.clone());
        Ok(())
    }

    fn drop_table(&mut self, name: &TableName) -> Result<(), RecordError> {
        let sql = format!("DROP TABLE {}", self.names.sql(name)?);
        self.making.run(&format!("remove table {name}"), &sql).map(drop)
    }

    fn clear(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<(), RecordError> {
        self.touch(table)?;
        let mut sql = format!("DELETE FROM {}", self.names.sql(&table.name)?);
        if let Some(condition) = condition {
            sql.push_str(&format!(" WHERE ({condition})"));
        }
        self.data()?.run(&format!("clear table {}", table.name), &sql).map(drop)
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError> {
        self.unless_cancelled()?;
        self.touch(batch.table)?;
        self.write_rows(batch)
    }

    fn update(&mut self, batch: &Batch<'_>, condition: Option<&str>) -> Result<Updated, RecordError> {
        self.unless_cancelled()?;
        self.touch(batch.table)?;
        self.update_rows(batch, condition)
    }

    fn delete(&mut self, table: &TableSchema, keys: &[Vec<Value>]) -> Result<u64, RecordError> {
        self.unless_cancelled()?;
        self.touch(table)?;
        self.delete_rows(table, keys)
    }

    fn count(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<u64, RecordError> {
        // Once this session has looked at it, its triggers could not be taken away any more.
        self.touch(table)?;
        let mut sql = format!("SELECT CAST(COUNT(*) AS CHAR) FROM {}", self.names.sql(&table.name)?);
        if let Some(condition) = condition {
            sql.push_str(&format!(" WHERE ({condition})"));
        }
        let doing = format!("count table {}", table.name);
        let rows = self.data()?.ask(&doing, &sql)?;
        let count = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()?.parse().ok());
        count.ok_or(RecordError::Engine {
            doing,
            message: "the server answers no number".into(),
            kind: Kind::Io,
            source: None,
        })
    }

    fn finish_table(
        &mut self,
        table: &TableSchema,
        counter: Option<u64>,
        is_new: bool,
    ) -> Result<(), RecordError> {
        let database = self.names.split(&table.name)?.0.to_owned();
        if is_new {
            for object in &table.after {
                self.then.push((database.clone(), object.clone()));
            }
        }
        if let Some(counter) = counter {
            // The engine never goes below what the rows need.
            let ddl = format!("ALTER TABLE {} AUTO_INCREMENT = {counter}", self.names.sql(&table.name)?);
            self.then.push((database, Object { kind: "counter".into(), name: table.name.to_string(), ddl }));
        }
        Ok(())
    }

    fn make_after(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        self.check_references()?;
        let Some(database) = self.only_database() else { return Ok(()) };
        // Views may be made of views that come later.
        let mut waiting: Vec<&Object> = objects.iter().collect();
        loop {
            let (mut left, mut first) = (Vec::new(), None);
            for object in &waiting {
                match self.making.make(&database, object, &[1050, 1304, 1537]) {
                    Ok(()) => {}
                    Err(error) if object.kind == "view" && error.kind() == Kind::Missing => {
                        first.get_or_insert(error);
                        left.push(*object);
                    }
                    Err(error) => return Err(error),
                }
            }
            match first {
                None => return Ok(()),
                Some(error) if left.len() == waiting.len() => return Err(error),
                Some(_) => waiting = left,
            }
        }
    }

    fn commit(mut self: Box<Self>) -> Result<(), RecordError> {
        self.data()?.run("end the import", "COMMIT")?;
        self.committed = true;
        while let Some((database, object)) = self.silenced.first().cloned() {
            self.making.make(&database, &object, &[TRIGGER_EXISTS])?;
            self.silenced.remove(0);
        }
        for (database, object) in std::mem::take(&mut self.then) {
            self.making.make(&database, &object, &[TRIGGER_EXISTS])?;
        }
        if self.options.is_some_and(|options| options.refresh_statistics) {
            for name in self.loaded.clone() {
                let sql = format!("ANALYZE TABLE {}", self.names.sql(&name)?);
                self.making.ask(&format!("make statistics of table {name}"), &sql)?;
            }
        }
        Ok(())
    }
}

impl Drop for MariadbTarget<'_> {
    fn drop(&mut self) {
        // Whoever drops it has an error to tell already.
        let undoes = !self.committed && self.options.is_some_and(|options| options.transaction);
        if self.pending.take().is_some() {
            let _ = self.data.end();
        }
        if undoes {
            if self.data.try_run("ROLLBACK").is_err() {
                // Else it would hold the tables.
                self.data.close();
            }
            for name in &self.made {
                if let Ok(sql) = self.names.sql(name) {
                    let _ = self.making.try_run(&format!("DROP TABLE IF EXISTS {sql}"));
                }
            }
        }
        for (database, trigger) in std::mem::take(&mut self.silenced) {
            let _ = self.making.make(&database, &trigger, &[TRIGGER_EXISTS]);
        }
    }
}
