//! A source into a map: its tables in the order of their names, each row of the one view.

use super::{
    PutEntry, RecordError, RecordSource, RecordWriter, Selection, SortRoom, SourceSchema, StoredTable,
};

/// What came of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// What is known of the source.
    pub schema: SourceSchema,
    /// The same as the dump keeps it.
    pub blob: Vec<u8>,
    /// Tables.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// What the person should know: tables without a key, the longest of which are sorted in scratch.
    pub notices: Vec<String>,
}

/// Writes what is selected of a source. If it fails, what was written is void.
pub fn export(
    mut source: Box<dyn RecordSource + '_>,
    selection: &Selection,
    out: &mut dyn PutEntry,
    room: &SortRoom,
) -> Result<Exported, RecordError> {
    let mut schema = source.describe()?;
    let there = source.tables()?;
    schema.absent = selection.absent(&there);
    let mut names: Vec<_> = there.into_iter().filter(|name| selection.takes(name)).collect();
    names.sort();
    names.dedup();
    let (mut writer, mut exported) = (RecordWriter::new(out, room), Exported::default());
    for name in names {
        let mut table = source.table(&name)?;
        let had_key = !table.key.is_empty();
        selection.trim(&mut table)?;
        if had_key && table.key.is_empty() {
            let notice =
                format!("table {name} is stored without a column of its key: its rows cannot be merged");
            exported.notices.push(notice);
        }
        let order = source.order(&table);
        let condition = selection.condition(&name).map(str::to_owned);
        let stored = StoredTable { schema: table, condition };
        let mut into = writer.begin(&stored, order)?;
        into.fill(|each| source.rows(&stored.schema, stored.condition.as_deref(), each))?;
        let end = into.finish(source.counter(&stored.schema)?)?;
        exported.tables += 1;
        exported.rows = exported.rows.saturating_add(end.rows);
    }
    exported.blob = writer.finish(&schema)?;
    exported.schema = schema;
    source.finish()?;
    Ok(exported)
}
