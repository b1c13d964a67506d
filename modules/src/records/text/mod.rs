//! Rows as text: what `dump`, `diff` and `history` write.
//!
//! ```text
//! json.rs   values as JSON, a table as lines of it
//! csv.rs    a table as RFC 4180 has it
//! sql.rs    statements that make it again
//! ```

mod csv;
mod json;
mod sql;

pub use csv::{csv_head, csv_row};
pub use json::{json_end, json_head, json_row, json_shown, json_value};
pub use sql::Dialect;

use super::Value;

fn hex(bytes: &[u8]) -> String {
    dedup_engine::id::to_hex(bytes)
}

/// Returns values for people, on one line.
pub fn shown(values: &[Value]) -> String {
    values.iter().map(|value| json_value(value).to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the text that a value is, if it is one that needs no type.
fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::Bool(is_true) => is_true.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Decimal(text) | Value::Text(text) | Value::Time(_, text) => text.clone(),
        // Rust writes the shortest text that is read as the same number.
        Value::Float(number) => format!("{number:?}"),
        Value::List(_) | Value::Map(_) => json_value(value).to_string(),
        Value::Null | Value::RawText(_) | Value::Bytes(_) => return None,
    })
}
