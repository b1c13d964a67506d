//! What commands share that look into records.

use crate::failure::Failure;
use crate::section::SectionChoice;
use crate::select;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Dump, Snapshot};
use dedup_modules::records::text::{Dialect, json_value};
use dedup_modules::records::text::{csv_head, csv_row, json_end, json_head, json_row};
use dedup_modules::records::{
    RecordError, RecordSpec, Shown, ShownRow, StoredSource, StoredTable, TableName, Value, meanings,
};
use std::io::{self, Write};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RowFormat {
    /// RFC 4180: NULL is nothing, empty text "", bytes \x and hexadecimal digits
    Csv,
    /// A line of JSON for each row, one before and one after each table
    Jsonl,
    /// Statements that make the tables again, for the engine they are of
    Sql,
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Repo(error) => error.into(),
            RecordError::Backup(error) => error.into(),
            error => Self::of(error.kind(), &error),
        }
    }
}

/// Reads `source:NAME[:TABLE[KEY]…]` for clap.
pub fn spec(text: &str) -> Result<RecordSpec, String> {
    RecordSpec::parse(text)
}

/// Opens the records that are named.
pub fn open<'r>(
    repo: &'r Repository,
    snapshot: &'r Snapshot,
    module: Option<&str>,
    section: SectionChoice,
    name: &str,
) -> Result<(StoredSource<'r>, &'r Dump), Failure> {
    let account = select::account(snapshot, module)?;
    let dump = section.dump(account, name)?;
    if dump.is_listing() {
        let message = format!("{name:?} is no set of records, but what its program wrote");
        return Err(Failure::refused(message).hint("`dedup dump SNAPSHOT source:NAME` writes it as it was"));
    }
    Ok((StoredSource::open(repo, dump)?, dump))
}

/// Writes tables, or rows of one.
pub fn write(
    stored: &StoredSource<'_>,
    spec: &RecordSpec,
    format: RowFormat,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut names = Vec::new();
    stored.reader().tables(|table, _| {
        names.push(table.schema.name);
        Ok::<_, RecordError>(())
    })?;
    if let Some(wanted) = &spec.table {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            return Err(RecordError::Absent { what: format!("table {wanted} in the snapshot") }.into());
        }
    }
    if format == RowFormat::Csv && names.len() != 1 {
        let message = format!("CSV holds one table, and the source has {}", names.len());
        return Err(Failure::refused(message).hint("name one: source:NAME:TABLE"));
    }
    let sql = match format {
        RowFormat::Sql => Some(Dialect::of(&stored.schema).ok_or_else(|| {
            Failure::refused(format!("nobody knows the SQL of {:?}", stored.schema.engine))
                .hint("--format jsonl")
        })?),
        _ => None,
    };
    // Rows alone are to be put into a table that is there.
    let whole = spec.keys.is_empty();
    if let (Some(sql), true) = (sql, whole) {
        out.write_all(sql.begin(&stored.schema).as_bytes())?;
    }
    for name in &names {
        write_table(stored, name, spec, (format, sql), out)?;
    }
    if let (Some(sql), true) = (sql, whole) {
        out.write_all(sql.finish(&stored.schema).as_bytes())?;
    }
    Ok(out.flush()?)
}

fn write_table(
    stored: &StoredSource<'_>,
    name: &TableName,
    spec: &RecordSpec,
    (format, sql): (RowFormat, Option<Dialect>),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let absent = |what: String| RecordError::Absent { what };
    let reader = stored.reader();
    let mut rows =
        reader.table(name).map_err(RecordError::from)?.ok_or_else(|| absent(format!("table {name}")))?;
    let table = rows.table().clone();
    let put = |values: &[Value], out: &mut dyn Write| -> io::Result<()> {
        match (format, sql) {
            (RowFormat::Csv, _) => out.write_all(&csv_row(values)),
            (RowFormat::Jsonl, _) => writeln!(out, "{}", json_row(values)),
            (RowFormat::Sql, Some(sql)) => out.write_all(&sql.row(&table, values)),
            (RowFormat::Sql, None) => Ok(()),
        }
    };
    match (format, sql) {
        (RowFormat::Csv, _) => out.write_all(&csv_head(&table))?,
        (RowFormat::Jsonl, _) => writeln!(out, "{}", json_head(&table))?,
        (RowFormat::Sql, Some(sql)) if spec.keys.is_empty() => {
            out.write_all(sql.create(&table).as_bytes())?
        }
        _ => {}
    }
    let mut count = 0u64;
    if spec.keys.is_empty() {
        while let Some(row) = rows.next().map_err(RecordError::from)? {
            put(&row.values, out)?;
            count += 1;
        }
    }
    for typed in &spec.keys {
        let row = find_row(&mut rows, &table, typed)?;
        let row = row.ok_or_else(|| absent(format!("the row {} of table {name}", typed.join(","))))?;
        put(&row, out)?;
        count += 1;
    }
    match (format, sql, rows.end()) {
        (RowFormat::Jsonl, ..) => writeln!(out, "{}", json_end(count))?,
        (_, Some(sql), Some(end)) => out.write_all(sql.end(&table, &end).as_bytes())?,
        _ => {}
    }
    Ok(())
}

/// A table that is read from a repository.
pub type Rows<'a, 'r> = dedup_modules::records::TableReader<'a, dedup_engine::repo::read::ChunkReader<'r>>;

/// Looks a row up by its key as it was typed.
pub fn find_row(
    rows: &mut Rows<'_, '_>,
    table: &StoredTable,
    typed: &[String],
) -> Result<Option<Vec<Value>>, RecordError> {
    if table.schema.key.is_empty() {
        return Err(RecordError::Unsupported {
            what: format!("table {} has no key: a row of it", table.schema.name),
        });
    }
    for key in meanings(table, typed) {
        if let Some(row) = rows.get(&key)? {
            return Ok(Some(row.values));
        }
    }
    Ok(None)
}

/// Returns the key of a row as it can be typed.
pub fn shown_key(row: &ShownRow, key: &[String]) -> String {
    let part = |name: &String| {
        let value = row.iter().find(|(column, _)| column == name).map(|(_, value)| value);
        let text = match value {
            Some(Shown::Value(value)) => shown(value),
            _ => "…".to_owned(),
        };
        match text.contains([',', '[', ']', '"']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    format!("[{}]", key.iter().map(part).collect::<Vec<_>>().join(","))
}

/// Returns a value for people.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Decimal(text) | Value::Time(_, text) => text.clone(),
        Value::Bytes(bytes) => format!("0x{}", dedup_engine::id::to_hex(bytes)),
        value => json_value(value).to_string(),
    }
}
