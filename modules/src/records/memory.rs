//! A database in memory, read and written through the traits of drivers: for tests, and as their model.

use super::{
    Batch, EachRow, Filled, ImportOptions, Object, RecordError, RecordSource, RecordTarget, RowOrder,
    SourceSchema, TableName, TableSchema, Value, WriteMode, Written,
};
use dedup_engine::error::Kind;
use std::collections::BTreeMap;

/// A table and its rows, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryTable {
    /// What is known of it.
    pub schema: TableSchema,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
    /// What its counter gives next.
    pub counter: Option<u64>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryDatabase {
    /// What is known of it.
    pub schema: SourceSchema,
    /// Its tables.
    pub tables: BTreeMap<TableName, MemoryTable>,
}

impl MemoryDatabase {
    /// Adds a table.
    pub fn add(&mut self, schema: TableSchema, rows: Vec<Vec<Value>>) {
        let counter = schema.columns.iter().any(|column| column.filled == Filled::Counted);
        let counter = counter.then_some(rows.len() as u64 + 1);
        self.tables.insert(schema.name.clone(), MemoryTable { schema, rows, counter });
    }

    /// Returns a table.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &TableName) -> Result<&MemoryTable, RecordError> {
        self.tables.get(name).ok_or_else(|| RecordError::Absent { what: format!("table {name}") })
    }
}

/// A view of a database in memory. A condition is a number: only so many rows meet it.
#[derive(Clone, Debug)]
pub struct MemorySource {
    database: MemoryDatabase,
    order: RowOrder,
    /// Rows after which the connection is lost.
    pub rows_left: Option<u64>,
}

impl MemorySource {
    /// Opens a view; rows come as they are, and are said to come in that order.
    pub fn new(database: &MemoryDatabase, order: RowOrder) -> Self {
        Self { database: database.clone(), order, rows_left: None }
    }
}

fn first(condition: Option<&str>) -> usize {
    condition.and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

impl RecordSource for MemorySource {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        Ok(self.database.schema.clone())
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        Ok(self.database.tables.keys().rev().cloned().collect())
    }

    fn table(&mut self, name: &TableName) -> Result<TableSchema, RecordError> {
        self.database.get(name).map(|table| table.schema.clone())
    }

    fn estimated_rows(&mut self, name: &TableName) -> Option<u64> {
        self.database.tables.get(name).map(|table| table.rows.len() as u64)
    }

    fn order(&self, _: &TableSchema) -> RowOrder {
        self.order
    }

    fn rows(
        &mut self,
        table: &TableSchema,
        condition: Option<&str>,
        each: &mut EachRow<'_>,
    ) -> Result<(), RecordError> {
        let whole = self.database.get(&table.name)?;
        let names: Vec<&str> = whole.schema.row_columns().map(|column| &column.name[..]).collect();
        let places: Vec<usize> = table
            .row_columns()
            .filter_map(|column| names.iter().position(|name| *name == column.name))
            .collect();
        for row in whole.rows.iter().take(first(condition)) {
            if let Some(left) = &mut self.rows_left {
                *left = left.checked_sub(1).ok_or_else(|| {
                    RecordError::engine(format!("read table {}", table.name), Kind::Io, "connection lost")
                })?;
            }
            let row: Vec<Value> = places.iter().map(|at| row[*at].clone()).collect();
            each(&row)?;
        }
        Ok(())
    }

    fn counter(&mut self, table: &TableSchema) -> Result<Option<u64>, RecordError> {
        self.database.get(&table.name).map(|table| table.counter)
    }

    fn finish(self: Box<Self>) -> Result<(), RecordError> {
        Ok(())
    }
}

/// A database in memory that rows are put into, by a transaction. It refuses rows whose key is there, and those with
/// a value that the test names.
pub struct MemoryTarget<'d> {
    database: &'d mut MemoryDatabase,
    changed: MemoryDatabase,
    /// Rows that hold it are refused.
    pub refused: Option<Value>,
}

impl<'d> MemoryTarget<'d> {
    /// Opens a target.
    pub fn new(database: &'d mut MemoryDatabase) -> Self {
        let changed = database.clone();
        Self { database, changed, refused: None }
    }

    fn get(&mut self, name: &TableName) -> Result<&mut MemoryTable, RecordError> {
        let absent = || RecordError::Absent { what: format!("table {name}") };
        self.changed.tables.get_mut(name).ok_or_else(absent)
    }
}

impl RecordTarget for MemoryTarget<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        Ok(self.changed.schema.clone())
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        Ok(self.changed.tables.keys().cloned().collect())
    }

    fn table(&mut self, name: &TableName) -> Result<Option<TableSchema>, RecordError> {
        Ok(self.changed.tables.get(name).map(|table| table.schema.clone()))
    }

    fn begin(&mut self, _: &ImportOptions) -> Result<(), RecordError> {
        Ok(())
    }

    fn make_before(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        make(&mut self.changed.schema.before, objects);
        Ok(())
    }

    fn create(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        let schema = TableSchema { after: Vec::new(), ..table.clone() };
        let made = MemoryTable { schema, rows: Vec::new(), counter: None };
        self.changed.tables.insert(table.name.clone(), made);
        Ok(())
    }

    fn drop_table(&mut self, name: &TableName) -> Result<(), RecordError> {
        self.get(name)?;
        self.changed.tables.remove(name);
        Ok(())
    }

    fn clear(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<(), RecordError> {
        let rows = &mut self.get(&table.name)?.rows;
        rows.drain(..first(condition).min(rows.len()));
        Ok(())
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError> {
        let (refused, places) = (self.refused.clone(), batch.table.key_places()?);
        let table = self.get(&batch.table.name)?;
        let names: Vec<String> = table.schema.row_columns().map(|column| column.name.clone()).collect();
        let mut written = Written::default();
        for (at, given) in batch.rows.iter().enumerate() {
            let value = |name: &String| batch.columns.iter().position(|column| column == name);
            let row: Vec<Value> = names
                .iter()
                .map(|name| value(name).and_then(|at| given.get(at).cloned()).unwrap_or_default())
                .collect();
            if refused.as_ref().is_some_and(|refused| row.contains(refused)) {
                written.refused.push((at, "the test does not like it".into()));
                continue;
            }
            let is_same = |old: &Vec<Value>| places.iter().all(|place| old.get(*place) == row.get(*place));
            match table.rows.iter().position(|old| !places.is_empty() && is_same(old)) {
                Some(_) if batch.mode == WriteMode::Insert => {
                    written.refused.push((at, "there is one already".into()));
                    continue;
                }
                Some(_) if batch.mode == WriteMode::Keep => {
                    written.kept += 1;
                    continue;
                }
                Some(old) => table.rows[old] = row,
                None => table.rows.push(row),
            }
            written.rows += 1;
        }
        Ok(written)
    }

    fn delete(&mut self, table: &TableSchema, keys: &[Vec<Value>]) -> Result<u64, RecordError> {
        let places = table.key_places()?;
        let rows = &mut self.get(&table.name)?.rows;
        let before = rows.len();
        let key = |row: &[Value]| -> Vec<Value> { places.iter().map(|at| row[*at].clone()).collect() };
        rows.retain(|row| !keys.contains(&key(row)));
        Ok((before - rows.len()) as u64)
    }

    fn count(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<u64, RecordError> {
        Ok(self.get(&table.name)?.rows.len().min(first(condition)) as u64)
    }

    fn finish_table(
        &mut self,
        table: &TableSchema,
        counter: Option<u64>,
        is_new: bool,
    ) -> Result<(), RecordError> {
        let made = self.get(&table.name)?;
        made.counter = counter.max(made.counter);
        if is_new {
            make(&mut made.schema.after, &table.after);
        }
        Ok(())
    }

    fn make_after(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        make(&mut self.changed.schema.after, objects);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), RecordError> {
        *self.database = self.changed;
        Ok(())
    }
}

fn make(there: &mut Vec<Object>, objects: &[Object]) {
    for object in objects {
        if !there.iter().any(|one| (&one.kind, &one.name) == (&object.kind, &object.name)) {
            there.push(object.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, TypeClass};
    use super::*;
    use crate::manifest::drivers::{Import, OnError, Scope};

    const OPTIONS: ImportOptions = ImportOptions {
        import: Import::Replace,
        scope: Scope::Table,
        transaction: true,
        row_errors: OnError::Fail,
        defer_constraints: false,
        refresh_statistics: false,
        batch_rows: 2,
    };

    fn table() -> TableSchema {
        let id = Column { filled: Filled::Counted, ..Column::new("id", TypeClass::Integer, "int") };
        let columns = vec![id, Column::new("name", TypeClass::Text, "text")];
        TableSchema::new(TableName::simple("people").unwrap(), columns, &["id"])
    }

    fn row(id: i64, name: &str) -> Vec<Value> {
        vec![Value::Int(id), Value::Text(name.into())]
    }

    #[test]
    fn a_view_gives_what_was_asked_for_or_an_error() {
        let mut database = MemoryDatabase::default();
        database.add(table(), vec![row(1, "a"), row(2, "b"), row(3, "c")]);
        let mut source = MemorySource::new(&database, RowOrder::Key);
        let mut narrow = table();
        narrow.columns.remove(0);
        narrow.key.clear();
        let mut seen = Vec::new();
        let mut each = |row: &[Value]| {
            seen.push(row.to_vec());
            Ok(())
        };
        source.rows(&narrow, Some("2"), &mut each).unwrap();
        assert_eq!(seen, [[Value::Text("a".into())], [Value::Text("b".into())]]);
        assert_eq!(source.counter(&table()).unwrap(), Some(4));
        source.rows_left = Some(1);
        let error = source.rows(&table(), None, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{error}");
    }

    #[test]
    fn what_is_not_committed_never_was() {
        let mut database = MemoryDatabase::default();
        database.add(table(), vec![row(1, "a")]);
        let before = database.clone();
        for commits in [false, true] {
            let mut target = MemoryTarget::new(&mut database);
            target.begin(&OPTIONS).unwrap();
            let rows = [row(1, "x"), row(2, "y")];
            let there = target.table(&table().name).unwrap().unwrap();
            let batch = |mode| Batch { table: &there, columns: &["id", "name"], rows: &rows, mode };
            let refused = target.write(&batch(WriteMode::Insert)).unwrap();
            assert_eq!((refused.rows, refused.refused.len()), (1, 1));
            assert_eq!(target.write(&batch(WriteMode::Keep)).unwrap().kept, 2);
            assert_eq!(target.write(&batch(WriteMode::Upsert)).unwrap().rows, 2);
            assert_eq!(target.delete(&there, &[vec![Value::Int(2)], vec![Value::Int(9)]]).unwrap(), 1);
            assert_eq!(target.count(&there, None).unwrap(), 1);
            if commits {
                Box::new(target).commit().unwrap();
            }
            assert_eq!(database == before, !commits);
        }
        assert_eq!(database.get(&table().name).unwrap().rows, [row(1, "x")]);
    }
}
