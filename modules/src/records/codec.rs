//! Schemas and ends of tables, schemas of sources: `engine/FORMAT.md` 11.

use super::schema::{Column, Filled, Object, SourceSchema, TableEnd, TableName, TableSchema, TypeClass};
use super::{MAX_SCHEMA, RecordError};
use dedup_engine::error::Corrupt;
use dedup_engine::wire::{Put, Reader};

const VERSION: u8 = 1;
const MAX_COLUMNS: usize = 32_767;
const MAX_KEY_COLUMNS: usize = 255;
const MAX_OBJECTS: usize = 65_536;
const MAX_NAME: usize = 1024;
const MAX_WORD: usize = 255;
const MAX_TEXT: usize = 4096;
const FILLED: [Filled; 5] =
    [Filled::Written, Filled::Counted, Filled::Stored, Filled::Computed, Filled::Hidden];

/// A table as it is stored: what is known of it, and which of its rows are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTable {
    /// What is known of it.
    pub schema: TableSchema,
    /// Only rows that met it are here.
    pub condition: Option<String>,
}

/// Encodes a schema and reads it back: what could not be read is refused here.
pub(super) fn encode_table(table: &StoredTable) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    put_table(table, &mut out);
    match decode_table(table.schema.name.clone(), &out) {
        Ok(read) if read == *table => Ok(out),
        Ok(_) => Err(unstorable(&table.schema.name, "its columns or keys")),
        Err(error) => Err(unstorable(&table.schema.name, &error.wrong)),
    }
}

fn unstorable(what: &dyn std::fmt::Display, why: &str) -> RecordError {
    RecordError::Unsupported { what: format!("{what} ({why})") }
}

fn put_table(table: &StoredTable, out: &mut Vec<u8>) {
    let TableSchema { columns, key, unique, collation, create, after, .. } = &table.schema;
    out.put_u8(VERSION);
    out.put_varint(columns.len() as u64);
    for column in columns {
        out.put_bytes(column.name.as_bytes());
        out.put_u8(column.class as u8 + 1);
        out.put_bytes(column.type_text.as_bytes());
        out.put_u8(column.filled as u8 + 1);
        let flags = [column.nullable, column.default.is_some(), column.collation.is_some()];
        out.put_u8(bits(flags));
        for text in [&column.default, &column.collation].into_iter().flatten() {
            out.put_bytes(text.as_bytes());
        }
    }
    // A column that is not there has a number that readers refuse.
    let number = |name: &String| {
        columns.iter().position(|column| column.name == *name).map_or(u64::MAX, |at| at as u64)
    };
    out.put_varint(key.len() as u64);
    key.iter().for_each(|name| out.put_varint(number(name)));
    out.put_varint(unique.len() as u64);
    for names in unique {
        out.put_varint(names.len() as u64);
        names.iter().for_each(|name| out.put_varint(number(name)));
    }
    out.put_u8(bits([collation.is_some(), table.condition.is_some(), false]));
    for text in [collation, &table.condition].into_iter().flatten() {
        out.put_bytes(text.as_bytes());
    }
    out.put_bytes(create.as_bytes());
    put_objects(after, out);
    out.put_no_extensions();
}

/// Reads the schema of a table.
pub(super) fn decode_table(name: TableName, bytes: &[u8]) -> Result<StoredTable, Corrupt> {
    let mut reader = begin("table schema", bytes)?;
    let count = reader.count(MAX_COLUMNS, 5, "columns")?;
    let mut columns: Vec<Column> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.text(MAX_NAME, "column's name")?;
        let class = one_of(&TypeClass::ALL, &mut reader, "class")?;
        let type_text = reader.text(MAX_SCHEMA, "type")?;
        let filled = one_of(&FILLED, &mut reader, "way to be filled")?;
        let [nullable, has_default, has_collation] = flags(&mut reader, 7)?;
        let default = optional(has_default, &mut reader, MAX_SCHEMA)?;
        let collation = optional(has_collation, &mut reader, MAX_WORD)?;
        columns.push(Column { name, class, type_text, nullable, default, filled, collation });
    }
    let mut names: Vec<&str> = columns.iter().map(|column| &column.name[..]).collect();
    names.sort_unstable();
    if count == 0 || names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(reader.corrupt("it has no columns, or two of one name"));
    }
    let key = read_columns(&columns, &mut reader)?;
    let count = reader.count(MAX_OBJECTS, 1, "unique keys")?;
    let mut unique = Vec::new();
    for _ in 0..count {
        unique.push(read_columns(&columns, &mut reader)?);
    }
    let [has_collation, has_condition, _] = flags(&mut reader, 3)?;
    let collation = optional(has_collation, &mut reader, MAX_WORD)?;
    let condition = optional(has_condition, &mut reader, MAX_SCHEMA)?;
    let create = reader.text(MAX_SCHEMA, "statement")?;
    let after = read_objects(&mut reader)?;
    reader.extensions()?;
    let schema = TableSchema { name, columns, key, unique, collation, create, after };
    if schema.row_columns().next().is_none() {
        return Err(reader.corrupt("no column is in its rows"));
    }
    reader.finish()?;
    Ok(StoredTable { schema, condition })
}

/// Reads a list of columns, none of them twice.
fn read_columns(columns: &[Column], reader: &mut Reader<'_>) -> Result<Vec<String>, Corrupt> {
    let count = reader.count(MAX_KEY_COLUMNS, 1, "columns of a key")?;
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let at = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        match columns.get(at) {
            Some(column) if !names.contains(&column.name) => names.push(column.name.clone()),
            _ => return Err(reader.corrupt("a key names a column that is not there, or one twice")),
        }
    }
    Ok(names)
}

fn begin<'a>(what: &'static str, bytes: &'a [u8]) -> Result<Reader<'a>, Corrupt> {
    let mut reader = Reader::new(what, bytes);
    if bytes.len() > MAX_SCHEMA {
        return Err(reader.corrupt("it has more than 16 MiB"));
    }
    match reader.u8()? {
        VERSION => Ok(reader),
        version => Err(reader.corrupt(format!("version {version}; this program knows {VERSION}"))),
    }
}

fn bits(flags: [bool; 3]) -> u8 {
    u8::from(flags[0]) | u8::from(flags[1]) << 1 | u8::from(flags[2]) << 2
}

fn flags(reader: &mut Reader<'_>, known: u8) -> Result<[bool; 3], Corrupt> {
    let bits = reader.u8()?;
    if bits & !known != 0 {
        return Err(reader.corrupt(format!("flags {bits:#04x} are unknown")));
    }
    Ok([bits & 1 != 0, bits & 2 != 0, bits & 4 != 0])
}

fn optional(is_there: bool, reader: &mut Reader<'_>, max: usize) -> Result<Option<String>, Corrupt> {
    is_there.then(|| reader.text(max, "text")).transpose()
}

fn one_of<T: Copy>(all: &[T], reader: &mut Reader<'_>, what: &str) -> Result<T, Corrupt> {
    let code = reader.u8()?;
    let found = usize::from(code).checked_sub(1).and_then(|at| all.get(at));
    found.copied().ok_or_else(|| reader.corrupt(format!("a {what} {code} is unknown")))
}

fn put_objects(objects: &[Object], out: &mut Vec<u8>) {
    out.put_varint(objects.len() as u64);
    for object in objects {
        for text in [&object.kind, &object.name, &object.ddl] {
            out.put_bytes(text.as_bytes());
        }
    }
}

fn read_objects(reader: &mut Reader<'_>) -> Result<Vec<Object>, Corrupt> {
    let count = reader.count(MAX_OBJECTS, 3, "objects")?;
    let mut objects = Vec::new();
    for _ in 0..count {
        let kind = reader.text(MAX_WORD, "kind")?;
        let name = reader.text(MAX_TEXT, "name")?;
        objects.push(Object { kind, name, ddl: reader.text(MAX_SCHEMA, "statement")? });
    }
    Ok(objects)
}

/// Encodes the end of a table.
pub(super) fn encode_end(end: &TableEnd, digest: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(end.rows);
    out.put(digest);
    out.put_u8(end.counter.is_some().into());
    if let Some(counter) = end.counter {
        out.put_varint(counter);
    }
    out.put_no_extensions();
    out
}

/// Reads the end of a table: figures and digest.
pub(super) fn decode_end(bytes: &[u8]) -> Result<(TableEnd, [u8; 32]), Corrupt> {
    let mut reader = Reader::new("table end", bytes);
    let (rows, digest) = (reader.varint()?, reader.array()?);
    let [has_counter, ..] = flags(&mut reader, 1)?;
    let counter = has_counter.then(|| reader.varint()).transpose()?;
    reader.extensions()?;
    reader.finish()?;
    Ok((TableEnd { rows, counter }, digest))
}

/// Encodes what is known of a source with so many tables.
pub(super) fn encode_source(source: &SourceSchema, tables: u64) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    out.put_u8(VERSION);
    out.put_bytes(source.engine.as_bytes());
    out.put_bytes(source.version.as_bytes());
    out.put_varint(source.facts.len() as u64);
    for (name, value) in &source.facts {
        out.put_bytes(name.as_bytes());
        out.put_bytes(value.as_bytes());
    }
    put_objects(&source.before, &mut out);
    put_objects(&source.after, &mut out);
    out.put_varint(source.absent.len() as u64);
    source.absent.iter().for_each(|name| out.put_bytes(name.as_bytes()));
    out.put_varint(tables);
    out.put_no_extensions();
    match decode_source(&out) {
        Ok(_) => Ok(out),
        Err(error) => Err(unstorable(&"what is known of the source", &error.wrong)),
    }
}

/// Reads what is known of a source, and how many tables it has.
pub fn decode_source(bytes: &[u8]) -> Result<(SourceSchema, u64), Corrupt> {
    let mut reader = begin("source schema", bytes)?;
    let (engine, version) = (reader.text(MAX_WORD, "engine")?, reader.text(MAX_TEXT, "version")?);
    let count = reader.count(MAX_TEXT, 2, "facts")?;
    let mut facts = Vec::new();
    for _ in 0..count {
        let name = reader.text(MAX_WORD, "name")?;
        facts.push((name, reader.text(MAX_SCHEMA, "fact")?));
    }
    let (before, after) = (read_objects(&mut reader)?, read_objects(&mut reader)?);
    let count = reader.count(MAX_OBJECTS, 1, "absent tables")?;
    let mut absent = Vec::new();
    for _ in 0..count {
        absent.push(reader.text(MAX_TEXT, "name")?);
    }
    let tables = reader.varint()?;
    reader.extensions()?;
    reader.finish()?;
    Ok((SourceSchema { engine, version, facts, before, after, absent }, tables))
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
