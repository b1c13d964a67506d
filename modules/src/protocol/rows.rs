//! Rows of records and trees, as canonical lines.

use super::canon::{Value, write_text};
use super::message::Shape;
use super::violation::Violation;
use super::{MAX_COLUMNS, MAX_VALUE_BYTES};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// What stands before the rows of a tree.
pub(super) const TREE_HEADER: &[u8] = b"{\"tree\":1}\n";

/// One row: its canonical text, and what a reader must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub text: String,
    values: usize,
    /// The first value is a list of at least one text and nothing else.
    begins_with_path: bool,
}

impl Row {
    /// Checks it against the stream it is of.
    pub fn check(&self, shape: Shape, width: usize) -> Result<(), Violation> {
        if self.values != width {
            return Err(Violation::protocol(format!("a row has {} values in place of {width}", self.values)));
        }
        if shape == Shape::Tree && !self.begins_with_path {
            return Err(Violation::protocol("a row of a tree begins with a list of keys"));
        }
        if self.text.len() > MAX_VALUE_BYTES {
            return Err(Violation::limit(format!("a row is longer than {MAX_VALUE_BYTES} bytes")));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Row, A::Error> {
                let mut row = Row { text: "[".into(), values: 0, begins_with_path: false };
                while let Some(value) = list.next_element::<Value>()? {
                    if row.values == 0 {
                        row.begins_with_path = is_path(&value);
                    } else {
                        row.text.push(',');
                    }
                    row.text.push_str(value.as_text());
                    row.values += 1;
                    if row.values > MAX_COLUMNS {
                        return Err(de::Error::custom(format!("more than {MAX_COLUMNS} values in a row")));
                    }
                }
                row.text.push(']');
                Ok(row)
            }
        }
        reader.deserialize_seq(RowVisitor)
    }
}

fn is_path(value: &Value) -> bool {
    value.as_text().starts_with('[')
        && serde_json::from_str::<Vec<String>>(value.as_text()).is_ok_and(|keys| !keys.is_empty())
}

/// Returns how many columns a schema has.
pub(super) fn columns(schema: &Value) -> Result<usize, Violation> {
    let wrong = || Violation::protocol("schema must have columns, each with a name of its own");
    if schema.as_text().len() > MAX_VALUE_BYTES {
        return Err(Violation::limit(format!("a schema is longer than {MAX_VALUE_BYTES} bytes")));
    }
    let schema = schema.to_json();
    let columns = schema.get("columns").and_then(|columns| columns.as_array()).ok_or_else(wrong)?;
    let names: Option<std::collections::BTreeSet<&str>> =
        columns.iter().map(|column| column.get("name").and_then(|name| name.as_str())).collect();
    match names {
        Some(names) if names.len() == columns.len() && !names.is_empty() && names.len() <= MAX_COLUMNS => {
            Ok(names.len())
        }
        _ => Err(wrong()),
    }
}

/// Returns the key that a schema names: columns of it, at least one, none twice.
pub(super) fn key(schema: &Value) -> Result<Vec<String>, Violation> {
    let wrong =
        || Violation::protocol("primary must name columns of the schema, at least one and none twice");
    let schema = schema.to_json();
    let named = |of: &serde_json::Value| of.get("name").and_then(|name| name.as_str()).map(str::to_owned);
    let columns: Vec<String> =
        schema.get("columns").and_then(|of| of.as_array()).into_iter().flatten().filter_map(named).collect();
    let primary = schema.get("primary").and_then(|primary| primary.as_array()).ok_or_else(wrong)?;
    let key: Option<Vec<String>> = primary.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let key = key.ok_or_else(wrong)?;
    let mut sorted: Vec<&String> = key.iter().collect();
    sorted.sort();
    let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if key.is_empty() || twice || !key.iter().all(|name| columns.contains(name)) {
        Err(wrong())
    } else {
        Ok(key)
    }
}

/// Returns what stands before the rows of records.
pub(super) fn header(schema: &Value) -> Vec<u8> {
    format!("{{\"records\":1,\"schema\":{}}}\n", schema.as_text()).into_bytes()
}

/// Returns a map of canonical values as canonical text, keys in the order given.
pub fn map_text<'v>(entries: impl IntoIterator<Item = (&'v str, &'v str)>) -> String {
    let mut out = String::from("{");
    for (key, value) in entries {
        if out.len() > 1 {
            out.push(',');
        }
        write_text(&mut out, key);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}
