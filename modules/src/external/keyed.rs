//! Rows under keys: a stream of records that names its key is stored as records (`engine/FORMAT.md` 11), each row an entry of
//! a map, and comes back as the lines of the protocol. See `PROTOCOL.md` 4 and 15.

use crate::protocol::{MAX_LINE_BYTES, MAX_NUMBER, write_text};
use crate::records::{
    Column, PutEntry, RecordError, RecordReader, RecordWriter, RowOrder, SortRoom, SourceSchema, StoredTable,
    TableName, TableReader, TableSchema, TimeKind, TypeClass, Value,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dedup_engine::error::Corrupt;
use dedup_engine::map::LoadChunk;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Display, Write as _};
use std::io::{self, BufRead, BufReader, Read};

/// What stands for the engine of such a source.
const ENGINE: &str = "external";
/// The fact that keeps the schema as the module wrote it.
const SCHEMA: &str = "schema";
/// Words of times, in the order of [`TimeKind::ALL`].
const TIMES: [&str; 6] = ["date", "time", "time-zoned", "timestamp", "moment", "interval"];
/// Bytes that are made of rows at a time.
const BLOCK: usize = 64 << 10;

/// Stores a stream of canonical lines; returns its schema blob. `key` names columns of the schema.
///
/// # Errors
/// It broke off; or a row cannot be stored, such as one whose key another one has.
pub fn store(
    read: &mut dyn Read,
    name: &str,
    key: &[String],
    facts: Vec<(String, String)>,
    out: &mut dyn PutEntry,
    room: &SortRoom,
) -> Result<Vec<u8>, RecordError> {
    let broken =
        |error: io::Error| RecordError::engine("read its rows", dedup_engine::error::Kind::Io, error);
    let wrong = |what: &str| RecordError::Unsupported { what: format!("a stream {what}") };
    let mut lines = BufReader::with_capacity(BLOCK, read);
    let mut line = Vec::new();
    next(&mut lines, &mut line).map_err(broken)?;
    let schema = header(&line).ok_or_else(|| wrong("without its header"))?;
    let columns = columns(schema).ok_or_else(|| wrong("without columns"))?;
    let keys: Vec<&str> = key.iter().map(String::as_str).collect();
    let table = TableSchema::new(TableName::simple(name)?, columns, &keys);
    let mut facts = facts;
    facts.push((SCHEMA.into(), schema.into()));
    let source = SourceSchema { engine: ENGINE.into(), facts, ..SourceSchema::default() };
    let mut writer = RecordWriter::new(out, room);
    let mut rows = writer.begin(&StoredTable { schema: table, condition: None }, RowOrder::Any)?;
    loop {
        next(&mut lines, &mut line).map_err(broken)?;
        // Rows are lists; what follows them is not.
        if line.first() != Some(&b'[') {
            break;
        }
        let row: Vec<Cell> = serde_json::from_slice(&line).map_err(|error| wrong(&error.to_string()))?;
        let row: Vec<Value> = row.into_iter().map(|cell| cell.0).collect();
        rows.row(&row)?;
    }
    // To the end: a stream is whole only when that was read.
    if !lines.fill_buf().map_err(broken)?.is_empty() {
        return Err(wrong("that goes on after its end"));
    }
    rows.finish(None)?;
    writer.finish(&source)
}

fn next(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    lines.take(MAX_LINE_BYTES as u64).read_until(b'\n', line)?;
    match line.pop() {
        Some(b'\n') => Ok(()),
        _ => Err(io::Error::other("a line is cut off, or too long")),
    }
}

/// Returns the schema in a header, as it stands there.
fn header(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?;
    text.strip_prefix("{\"records\":1,\"schema\":")?.strip_suffix('}')
}

fn columns(schema: &str) -> Option<Vec<Column>> {
    let schema: serde_json::Value = serde_json::from_str(schema).ok()?;
    let column = |column: &serde_json::Value| {
        let type_text = column.get("type").and_then(|text| text.as_str()).unwrap_or_default();
        Some(Column::new(column.get("name")?.as_str()?, TypeClass::Any, type_text))
    };
    schema.get("columns")?.as_array()?.iter().map(column).collect()
}

/// The lines of a stream that is stored so, in the order of its keys.
pub struct Lines<'s, L: LoadChunk> {
    table: TableReader<'s, L>,
    text: Vec<u8>,
    at: usize,
    rows: u64,
    is_over: bool,
}

impl<'s, L: LoadChunk> Lines<'s, L> {
    /// Opens a stream by its name; `None` if it is not there, or its schema is not.
    pub fn open(
        reader: &RecordReader<'s, L>,
        source: &SourceSchema,
        name: &str,
    ) -> Result<Option<Self>, L::Error> {
        let named = TableName::simple(name).map_err(|error| Corrupt::new("records", error.to_string()))?;
        let schema = source.facts.iter().find(|(known, _)| known == SCHEMA);
        let (Some(table), Some((_, schema))) = (reader.table(&named)?, schema) else { return Ok(None) };
        let text = format!("{{\"records\":1,\"schema\":{schema}}}\n").into_bytes();
        Ok(Some(Self { table, text, at: 0, rows: 0, is_over: false }))
    }

    fn fill(&mut self) -> Result<(), L::Error> {
        self.text.clear();
        self.at = 0;
        let mut text = String::new();
        while text.len() < BLOCK && !self.is_over {
            match self.table.next()? {
                Some(row) => {
                    self.rows += 1;
                    put_list(&row.values, &mut text);
                }
                None => {
                    self.is_over = true;
                    let _ = write!(text, "{{\"count\":{}}}", self.rows);
                }
            }
            text.push('\n');
        }
        self.text = text.into_bytes();
        Ok(())
    }
}

impl<L: LoadChunk> Read for Lines<'_, L>
where
    L::Error: Display,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() && !self.is_over {
            self.fill().map_err(|error| io::Error::other(error.to_string()))?;
        }
        let mut rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// Writes a value in canonical text; what the protocol can say of it is all there is.
fn put(value: &Value, out: &mut String) {
    let whole = |number: u64| number <= MAX_NUMBER;
    // Writing into memory does not fail.
    let _ = match value {
        Value::Null => out.write_str("null"),
        Value::Bool(is_true) => write!(out, "{is_true}"),
        Value::Int(number) if whole(number.unsigned_abs()) => write!(out, "{number}"),
        Value::Int(number) => write!(out, "{{\"$i\":\"{number}\"}}"),
        Value::UInt(number) => write!(out, "{{\"$i\":\"{number}\"}}"),
        Value::Decimal(text) => write!(out, "{{\"$d\":\"{text}\"}}"),
        Value::Float(number) if number.is_nan() => out.write_str("{\"$f\":\"nan\"}"),
        Value::Float(number) if number.is_infinite() => {
            write!(out, "{{\"$f\":\"{}inf\"}}", if *number < 0.0 { "-" } else { "" })
        }
        Value::Float(number) if number.abs() > MAX_NUMBER as f64 => write!(out, "{{\"$f\":\"{number:?}\"}}"),
        Value::Float(number) => write!(out, "{number:?}"),
        Value::Text(text) => {
            write_text(out, text);
            Ok(())
        }
        Value::RawText(bytes) => write!(out, "{{\"$r\":\"{}\"}}", STANDARD.encode(bytes)),
        Value::Bytes(bytes) => write!(out, "{{\"$b\":\"{}\"}}", STANDARD.encode(bytes)),
        Value::Time(kind, text) => {
            let _ = write!(out, "{{\"$t\":[\"{}\",", TIMES[*kind as usize]);
            write_text(out, text);
            out.write_str("]}")
        }
        // At most as deep as values may be: what is read is bounded.
        Value::List(items) => {
            put_list(items, out);
            Ok(())
        }
        Value::Map(pairs) => {
            put_map(pairs, out);
            Ok(())
        }
    };
}

fn put_list(items: &[Value], out: &mut String) {
    out.push('[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        put(item, out);
    }
    out.push(']');
}

fn put_map(pairs: &[(String, Value)], out: &mut String) {
    let dollar = pairs.iter().any(|(key, _)| key.starts_with('$'));
    out.push_str(if dollar { "{\"$m\":[" } else { "{" });
    for (n, (key, value)) in pairs.iter().enumerate() {
        out.push_str(if n > 0 { "," } else { "" });
        out.push_str(if dollar { "[" } else { "" });
        write_text(out, key);
        out.push(if dollar { ',' } else { ':' });
        put(value, out);
        out.push_str(if dollar { "]" } else { "" });
    }
    out.push_str(if dollar { "]}" } else { "}" });
}

/// A value as it is read of canonical text, which was checked before.
struct Cell(Value);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(CellVisitor).map(Cell)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from_u64(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Cell(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key.starts_with('$') {
                return tagged(&key, &mut map);
            }
            pairs.push((key, map.next_value::<Cell>()?.0));
        }
        Ok(Value::Map(pairs))
    }
}

fn tagged<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Value, A::Error> {
    if key == "$m" {
        let pairs: Vec<(String, Cell)> = map.next_value()?;
        return Ok(Value::Map(pairs.into_iter().map(|(key, cell)| (key, cell.0)).collect()));
    }
    if key == "$t" {
        let (word, text): (String, String) = map.next_value()?;
        let kind = TIMES.iter().zip(TimeKind::ALL).find(|(known, _)| **known == word);
        let (_, kind) = kind.ok_or_else(|| de::Error::custom("no such kind of time"))?;
        return Ok(Value::Time(kind, text));
    }
    let text: String = map.next_value()?;
    let value = match key {
        "$i" => {
            let signed = text.parse().ok().map(Value::Int);
            signed.or_else(|| text.parse().ok().map(Value::from_u64))
        }
        "$d" => Value::decimal(&text),
        "$f" => text.parse().ok().map(Value::Float),
        "$b" => STANDARD.decode(&text).ok().map(Value::Bytes),
        "$r" => STANDARD.decode(&text).ok().map(Value::RawText),
        _ => None,
    };
    value.ok_or_else(|| de::Error::custom(format!("{key} has a value that rows under keys cannot have")))
}

/// Reads a row in canonical text and writes it again; none if it cannot be stored so.
#[cfg(any(test, feature = "testing"))]
pub fn again(text: &str) -> Option<String> {
    let row: Vec<Cell> = serde_json::from_str(text).ok()?;
    let mut out = String::new();
    put_list(&row.into_iter().map(|cell| cell.0).collect::<Vec<_>>(), &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_a_row_is_written_as_it_was() {
        for text in [
            "[]",
            "[null,true,false,0,-7,9007199254740991,1.0,-0.0,0.1,1e-7]",
            r#"["","ä\n\\\"",{"$r":"/w=="},{"$b":""},{"$b":"AAE="}]"#,
            r#"[{"$i":"9007199254740993"},{"$i":"-9223372036854775808"},{"$i":"18446744073709551615"}]"#,
            r#"[{"$d":"1.50"},{"$d":"-0.5"},{"$f":"1e300"},{"$f":"nan"},{"$f":"-inf"}]"#,
            r#"[{"$t":["time-zoned","10:00+01"]},{"$t":["interval","1 day"]}]"#,
            r#"[[1,[2,[]]],{},{"b":1,"a":{"c":[null]}},{"$m":[["$k",1],["a",{"$b":"AA=="}]]}]"#,
        ] {
            assert_eq!(again(text).as_deref(), Some(text));
        }
        // Beyond 64 bits there is no number in a row.
        assert_eq!(again(r#"[{"$i":"18446744073709551616"}]"#), None);
        // A decimal has one form.
        assert_eq!(again(r#"[{"$d":"007.50"}]"#).as_deref(), Some(r#"[{"$d":"7.50"}]"#));
    }
}
