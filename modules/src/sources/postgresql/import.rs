//! Records into a database: COPY in batches, in one transaction.
//!
//! What would act on rows as they come stays out of the way: foreign keys of the tables that are loaded are taken out
//! and put back at the end, which checks them all; triggers of people are switched off meanwhile. Both need no more than
//! the rights of the tables' owner.

use super::super::{SourceError, World};
use super::batch::Going;
use super::catalog::{self, engine, text};
use super::copy::LINES;
use super::ddl::SEQUENCE_SET;
use super::error::{PostgresError, is_of_row};
use super::export::connect;
use super::large;
use super::quote::{literal, name, path};
use super::spec::PostgresSpec;
use super::wire::{Row, Session};
use crate::manifest::drivers::{Import, OnError};
use crate::records::{
    Batch, Filled, ImportOptions, LineForm, Object, RecordError, RecordTarget, SourceSchema, TableName,
    TableSchema, Value, WriteMode, Written,
};
use std::collections::BTreeSet;

/// SQLSTATEs of what is there already.
const IS_THERE: [&str; 6] = ["42P07", "42710", "42P06", "42723", "42701", "42P16"];
/// Those of what needs something that is not there yet.
const IS_EARLY: [&str; 4] = ["42P01", "42704", "42883", "42703"];

/// Returns whether a refusal says that the thing is there: a part that is one already, a column that counts already, a name
/// for the search of text, which the catalogue's own key refuses.
fn is_there(state: &str, object: &Object) -> bool {
    match (state, &object.kind[..]) {
        ("42809" | "55000", "TABLE ATTACH" | "INDEX ATTACH") | ("55000", "SEQUENCE") => true,
        ("23505", kind) => kind.starts_with("TEXT SEARCH"),
        _ => IS_THERE.contains(&state),
    }
}

/// A database that rows are put into.
pub struct PostgresTarget<'a> {
    pub(super) session: Session<'a>,
    schemas: Vec<String>,
    options: Option<ImportOptions>,
    /// Tables that were made ready for rows.
    pub(super) ready: BTreeSet<TableName>,
    /// What puts foreign keys back, and switches triggers on.
    pub(super) back: Vec<String>,
    /// What must be there before the tables.
    before: Vec<Object>,
    /// Whether tables were removed, and with them what belongs to them.
    is_lacking: bool,
    /// What could not be made before the tables.
    early: Vec<Object>,
    pub(super) line: Vec<u8>,
    /// The COPY that takes rows.
    pub(super) going: Option<Going>,
}

impl<'a> PostgresTarget<'a> {
    /// Connects.
    pub fn open(spec: &PostgresSpec, world: World<'a>) -> Result<Self, SourceError> {
        let (_, session) = connect(spec, world)?;
        let (ready, back, before, early, line, going) = Default::default();
        Ok(Self {
            session,
            schemas: spec.schemas.clone(),
            options: None,
            ready,
            back,
            before,
            is_lacking: false,
            early,
            line,
            going,
        })
    }

    pub(super) fn run(&mut self, doing: &str, sql: &str) -> Result<u64, RecordError> {
        self.end_rows()?;
        self.session.run(doing, sql).map_err(engine)
    }

    pub(super) fn ask(&mut self, doing: &str, sql: &str) -> Result<Vec<Row>, RecordError> {
        self.end_rows()?;
        self.session.ask(doing, sql).map_err(engine)
    }

    fn is_transaction(&self) -> bool {
        self.options.is_some_and(|options| options.transaction)
    }

    /// Returns whether what was written before an error may still be wanted.
    pub(super) fn may_go_on(&self) -> bool {
        !self.is_transaction() || self.options.is_some_and(|options| options.row_errors == OnError::Continue)
    }

    /// Does something that may fail without a trace.
    pub(super) fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Session<'a>) -> Result<T, PostgresError>,
    ) -> Result<T, PostgresError> {
        let [begin, end, back] = match self.is_transaction() {
            true => [
                "SAVEPOINT step",
                "RELEASE SAVEPOINT step",
                "ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step",
            ],
            false => ["BEGIN", "COMMIT", "ROLLBACK"],
        };
        self.session.run("begin a step", begin)?;
        match work(&mut self.session) {
            Ok(done) => self.session.run("end a step", end).map(|_| done),
            Err(error @ PostgresError::Refused { .. }) => {
                self.session.run("take a step back", back)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes something if it is not there. Returns whether it could not be made yet.
    fn make(&mut self, object: &Object) -> Result<bool, RecordError> {
        let merges = self.options.is_some_and(|options| options.import != Import::Replace);
        if merges && object.kind == SEQUENCE_SET {
            // The rows say how far it must be.
            return Ok(false);
        }
        let doing = format!("make {} {}", object.kind.to_lowercase(), object.name);
        self.end_rows()?;
        match self.attempt(|session| session.run(&doing, &object.ddl)) {
            Ok(_) => Ok(false),
            Err(PostgresError::Refused { state, .. }) if is_there(&state, object) => Ok(false),
            Err(PostgresError::Refused { state, .. }) if IS_EARLY.contains(&&state[..]) => Ok(true),
            Err(error) => Err(engine(error)),
        }
    }
}

impl RecordTarget for PostgresTarget<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        let version = self.session.version().to_owned();
        Ok(SourceSchema { engine: "postgresql".into(), version, ..SourceSchema::default() })
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        self.end_rows()?;
        let known = catalog::tables(&mut self.session, &self.schemas)?;
        Ok(known.into_iter().map(|table| table.name).collect())
    }

    fn table(&mut self, name: &TableName) -> Result<Option<TableSchema>, RecordError> {
        if large::is_it(name) {
            return large::table().map(Some);
        }
        self.end_rows()?;
        catalog::table(&mut self.session, name)
    }

    fn begin(&mut self, options: &ImportOptions) -> Result<(), RecordError> {
        self.options = Some(*options);
        // Functions may name what is made after them.
        self.run("begin", "SET check_function_bodies = false")?;
        if options.transaction {
            self.run("begin", "BEGIN")?;
            if options.defer_constraints {
                self.run("put constraints off", "SET CONSTRAINTS ALL DEFERRED")?;
            }
        }
        Ok(())
    }

    fn make_before(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        self.early.clear();
        for object in objects {
            if self.make(object)? {
                self.early.push(object.clone());
            }
        }
        self.before = objects.to_vec();
        Ok(())
    }

    fn create(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        if std::mem::take(&mut self.is_lacking) {
            let before = std::mem::take(&mut self.before);
            self.make_before(&before)?;
        }
        let there = self.table(&table.name)?;
        if there.is_some() {
            return Ok(());
        }
        if table.create.is_empty() {
            return Err(RecordError::Absent { what: format!("what makes table {}", table.name) });
        }
        self.run(&format!("make table {}", table.name), &table.create).map(drop)
    }

    fn drop_table(&mut self, name: &TableName) -> Result<(), RecordError> {
        // Views and foreign keys of others that need it are of the database that is replaced; so are its sequences. It is
        // gone already where it was a part of one that was removed before.
        self.is_lacking = true;
        let sql = format!("DROP TABLE IF EXISTS {} CASCADE", path(name));
        self.run(&format!("remove table {name}"), &sql).map(drop)
    }

    fn clear(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<(), RecordError> {
        if large::is_it(&table.name) {
            return self.clear_large();
        }
        self.make_ready(table)?;
        let quoted = path(&table.name);
        let sql = match condition {
            None => format!("TRUNCATE ONLY {quoted}"),
            Some(condition) => format!("DELETE FROM ONLY {quoted} WHERE ({condition}\n)"),
        };
        self.run(&format!("clear table {}", table.name), &sql).map(drop)
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError> {
        if !large::is_it(&batch.table.name) {
            self.make_ready(batch.table)?;
        }
        if batch.mode == WriteMode::Insert && !self.may_go_on() && !large::is_it(&batch.table.name) {
            self.send_rows(batch)?;
            return Ok(Written { rows: batch.rows.len() as u64, ..Written::default() });
        }
        self.end_rows()?;
        let goes_on = self.options.is_some_and(|options| options.row_errors == OnError::Continue);
        let mut written = Written::default();
        // Pieces that are still to be written, the next one last.
        let mut pieces = vec![(0, batch.rows)];
        while let Some((at, rows)) = pieces.pop() {
            match self.write_piece(batch, rows) {
                Ok(count) => {
                    written.rows += count;
                    if batch.mode == WriteMode::Keep {
                        written.kept += (rows.len() as u64).saturating_sub(count);
                    }
                }
                Err(PostgresError::Refused { state, message, row, .. }) if is_of_row(&state) => {
                    if !goes_on {
                        let row =
                            row.and_then(|row| usize::try_from(row).ok()).unwrap_or(1).saturating_sub(1);
                        written.refused.push((at + row.min(rows.len().saturating_sub(1)), message));
                        return Ok(written);
                    }
                    if rows.len() <= 1 {
                        written.refused.push((at, message));
                        continue;
                    }
                    let (first, second) = rows.split_at(rows.len() / 2);
                    pieces.push((at + first.len(), second));
                    pieces.push((at, first));
                }
                Err(error) => return Err(engine(error)),
            }
        }
        Ok(written)
    }

    fn line_form(&mut self, table: &TableSchema) -> Option<LineForm> {
        (!self.may_go_on() && !large::is_it(&table.name)).then_some(LINES)
    }

    fn write_lines(
        &mut self,
        table: &TableSchema,
        columns: &[&str],
        lines: &[u8],
        rows: u64,
    ) -> Result<(), RecordError> {
        self.make_ready(table)?;
        self.send(&table.name, columns, lines, rows)
    }

    fn delete(&mut self, table: &TableSchema, keys: &[Vec<Value>]) -> Result<u64, RecordError> {
        self.delete_rows(table, keys)
    }

    fn count(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<u64, RecordError> {
        if large::is_it(&table.name) {
            self.end_rows()?;
            return large::count(&mut self.session);
        }
        let condition = condition.map(|condition| format!(" WHERE ({condition}\n)")).unwrap_or_default();
        let sql = format!("SELECT pg_catalog.count(*) FROM ONLY {}{condition}", path(&table.name));
        let rows = self.ask(&format!("count table {}", table.name), &sql)?;
        Ok(rows.first().and_then(|row| text(row, 0).parse().ok()).unwrap_or(0))
    }

    fn finish_table(
        &mut self,
        table: &TableSchema,
        counter: Option<u64>,
        is_new: bool,
    ) -> Result<(), RecordError> {
        if is_new {
            for object in &table.after {
                if self.make(object)? {
                    self.early.push(object.clone());
                }
            }
        }
        let quoted = path(&table.name);
        let doing = format!("set the counter of table {}", table.name);
        for column in table.columns.iter().filter(|column| column.filled == Filled::Counted) {
            let sql = format!(
                "SELECT pg_catalog.pg_get_serial_sequence({}, {})",
                literal(&quoted),
                literal(&column.name)
            );
            let rows = self.ask(&doing, &sql)?;
            let Some(sequence) =
                rows.first().map(|row| text(row, 0).to_owned()).filter(|one| !one.is_empty())
            else {
                continue;
            };
            let last = counter.map_or_else(|| "NULL".to_owned(), |next| next.saturating_sub(1).to_string());
            // Never below what the rows need; one that counts down is left to what sets sequences exactly.
            let sql = format!(
                "SELECT pg_catalog.setval({0}, top) FROM (SELECT GREATEST(pg_catalog.max({1}), {last}) AS top FROM {quoted}) rows, {sequence} s, \
                 pg_catalog.pg_sequence q WHERE q.seqrelid = {0}::pg_catalog.regclass AND q.seqincrement > 0 \
                 AND top >= s.last_value AND top <= q.seqmax",
                literal(&sequence),
                name(&column.name)
            );
            self.ask(&doing, &sql)?;
        }
        Ok(())
    }

    fn make_after(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        // What was there before comes first: of two foreign keys of one name the target's own stays.
        for statement in std::mem::take(&mut self.back) {
            self.run("put back foreign keys and triggers", &statement)?;
        }
        let mut left: Vec<Object> = std::mem::take(&mut self.early);
        left.extend_from_slice(objects);
        // What was put off may need something that comes later; each turn must make something.
        while !left.is_empty() {
            let before = left.len();
            let mut still = Vec::new();
            for object in left {
                if self.make(&object)? {
                    still.push(object);
                }
            }
            if still.len() == before {
                let first = still
                    .first()
                    .map(|object| (object.kind.to_lowercase(), object.name.clone(), object.ddl.clone()));
                let (kind, named, ddl) = first.unwrap_or_default();
                return self.run(&format!("make {kind} {named}"), &ddl).map(drop);
            }
            left = still;
        }
        if self.options.is_some_and(|options| options.refresh_statistics) {
            for table in self.ready.clone() {
                self.run(&format!("make statistics of table {table}"), &format!("ANALYZE {}", path(&table)))?;
            }
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), RecordError> {
        match self.is_transaction() {
            true => self.run("commit", "COMMIT").map(drop),
            false => Ok(()),
        }
    }
}
