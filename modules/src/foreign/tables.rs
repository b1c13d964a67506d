//! Tables of one module in the temporary database, as a source of records.

use super::database::Database;
use crate::manifest::legacy::LegacyFormat;
use crate::records::{
    Column, EachRow, FROM_ARCHIVE, Filled, PART_OF_ROWS, RecordError, RecordSource, RowOrder, SourceSchema,
    TableName, TableSchema, TypeClass,
};

/// Tables of one module, read as a source of records.
#[derive(Clone, Debug)]
pub struct ModuleTables<'d> {
    database: &'d Database,
    tables: &'d [String],
    engine: String,
    format: Option<LegacyFormat>,
}

impl<'d> ModuleTables<'d> {
    /// `engine` is the engine that will take them.
    pub fn new(database: &'d Database, tables: &'d [String], engine: &str) -> Self {
        Self { database, tables, engine: engine.to_owned(), format: None }
    }

    /// Says of what archive they are: for a program of the module that takes such archives.
    pub fn of_archive(mut self, format: Option<LegacyFormat>) -> Self {
        self.format = format;
        self
    }
}

impl RecordSource for ModuleTables<'_> {
    fn describe(&mut self) -> Result<SourceSchema, RecordError> {
        let is_part = |name: &&String| self.database.table(name).is_some_and(|table| table.is_part);
        let parts = self.tables.iter().filter(is_part);
        let parts = parts.map(|name| (PART_OF_ROWS.to_owned(), name.clone()));
        let format = self.format.map(|format| (FROM_ARCHIVE.to_owned(), format.to_string()));
        let facts = parts.chain(format).collect();
        Ok(SourceSchema { engine: self.engine.clone(), facts, ..SourceSchema::default() })
    }

    fn tables(&mut self) -> Result<Vec<TableName>, RecordError> {
        self.tables.iter().map(|name| TableName::simple(name)).collect()
    }

    fn table(&mut self, name: &TableName) -> Result<TableSchema, RecordError> {
        let known = self.database.table(name.table());
        let table = known.ok_or_else(|| RecordError::Absent { what: format!("table {name}") })?;
        // A column that no table has by itself is not missed where the rows go.
        let filled = if table.is_blank { Filled::Hidden } else { Filled::Written };
        let column = |name: &String| Column { filled, ..Column::new(name, TypeClass::Any, "") };
        let columns = table.columns.iter().map(column).collect();
        let key: Vec<&str> = table.key.iter().map(String::as_str).collect();
        Ok(TableSchema::new(name.clone(), columns, &key))
    }

    fn estimated_rows(&mut self, name: &TableName) -> Option<u64> {
        self.database.table(name.table()).map(|table| table.rows)
    }

    fn order(&self, _: &TableSchema) -> RowOrder {
        RowOrder::Any
    }

    fn rows(
        &mut self,
        table: &TableSchema,
        condition: Option<&str>,
        each: &mut EachRow<'_>,
    ) -> Result<(), RecordError> {
        let columns: Vec<&str> = table.row_columns().map(|column| &column.name[..]).collect();
        self.database.rows(table.name.table(), &columns, condition, each)
    }

    fn counter(&mut self, _: &TableSchema) -> Result<Option<u64>, RecordError> {
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<(), RecordError> {
        Ok(())
    }
}
