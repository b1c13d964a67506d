//! A target that tells how many rows it was given.

use super::{
    Batch, ImportOptions, LineForm, Object, RecordError, RecordTarget, SourceSchema, TableName, TableSchema,
    Updated, Value, Written,
};

/// Hears of rows that were written: how many, and about how many bytes their values have.
pub type Tell<'t> = dyn Fn(u64, u64) + 't;

/// A target that tells of each batch.
pub struct Told<'t> {
    target: Box<dyn RecordTarget + 't>,
    tell: &'t Tell<'t>,
}

impl<'t> Told<'t> {
    /// Puts it before another one.
    pub fn new(target: Box<dyn RecordTarget + 't>, tell: &'t Tell<'t>) -> Self {
        Self { target, tell }
    }

    fn told(&self, batch: &Batch<'_>) {
        let bytes: usize = batch.rows.iter().flatten().map(Value::heap_bytes).sum();
        (self.tell)(batch.rows.len() as u64, bytes as u64);
    }
}

impl RecordTarget for Told<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        self.target.describe()
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        self.target.tables()
    }

    fn table(&mut self, name: &TableName) -> Result<Option<TableSchema>, RecordError> {
        self.target.table(name)
    }

    fn begin(&mut self, options: &ImportOptions) -> Result<(), RecordError> {
        self.target.begin(options)
    }

    fn make_before(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        self.target.make_before(objects)
    }

    fn create(&mut self, table: &TableSchema) -> Result<(), RecordError> {
        self.target.create(table)
    }

    fn drop_table(&mut self, name: &TableName) -> Result<(), RecordError> {
        self.target.drop_table(name)
    }

    fn clear(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<(), RecordError> {
        self.target.clear(table, condition)
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written, RecordError> {
        let written = self.target.write(batch)?;
        self.told(batch);
        Ok(written)
    }

    fn line_form(&mut self, table: &TableSchema) -> Option<LineForm> {
        self.target.line_form(table)
    }

    fn write_lines(
        &mut self,
        table: &TableSchema,
        columns: &[&str],
        lines: &[u8],
        rows: u64,
    ) -> Result<(), RecordError> {
        self.target.write_lines(table, columns, lines, rows)?;
        (self.tell)(rows, lines.len() as u64);
        Ok(())
    }

    fn update(&mut self, batch: &Batch<'_>, condition: Option<&str>) -> Result<Updated, RecordError> {
        let updated = self.target.update(batch, condition)?;
        self.told(batch);
        Ok(updated)
    }

    fn delete(&mut self, table: &TableSchema, keys: &[Vec<Value>]) -> Result<u64, RecordError> {
        self.target.delete(table, keys)
    }

    fn count(&mut self, table: &TableSchema, condition: Option<&str>) -> Result<u64, RecordError> {
        self.target.count(table, condition)
    }

    fn finish_table(
        &mut self,
        table: &TableSchema,
        counter: Option<u64>,
        is_new: bool,
    ) -> Result<(), RecordError> {
        self.target.finish_table(table, counter, is_new)
    }

    fn make_after(&mut self, objects: &[Object]) -> Result<(), RecordError> {
        self.target.make_after(objects)
    }

    fn commit(self: Box<Self>) -> Result<(), RecordError> {
        self.target.commit()
    }
}
