//! A table as RFC 4180 has it, with lines that end in CR LF: NULL is nothing, empty text `""`, bytes `\x` and hexadecimal
//! digits, text that is not UTF-8 its bytes, lists and maps JSON.

use super::super::{StoredTable, Value};
use super::{hex, plain};

/// Returns the line of names.
pub fn csv_head(table: &StoredTable) -> Vec<u8> {
    let names = table.schema.row_columns().map(|column| Some(column.name.clone().into_bytes()));
    line(names)
}

/// Returns the line of a row.
pub fn csv_row(values: &[Value]) -> Vec<u8> {
    line(values.iter().map(|value| match value {
        Value::Null => None,
        Value::Bytes(bytes) => Some(format!("\\x{}", hex(bytes)).into_bytes()),
        Value::RawText(bytes) => Some(bytes.clone()),
        value => plain(value).map(String::into_bytes),
    }))
}

fn line(fields: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<u8> {
    let mut line = Vec::new();
    for (at, field) in fields.enumerate() {
        if at > 0 {
            line.push(b',');
        }
        let Some(field) = field else { continue };
        let is_plain = |byte: &u8| !matches!(byte, b',' | b'"' | b'\r' | b'\n');
        if !field.is_empty() && field.iter().all(is_plain) {
            line.extend_from_slice(&field);
            continue;
        }
        line.push(b'"');
        for byte in field {
            line.push(byte);
            if byte == b'"' {
                line.push(byte);
            }
        }
        line.push(b'"');
    }
    line.extend_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_record() {
        let row = [
            Value::Null,
            Value::Text(String::new()),
            Value::Text("a \"b\",\r\nc".into()),
            Value::Int(7),
            Value::Bytes(vec![0, 255]),
            Value::RawText(vec![b'x', 255]),
            Value::Float(0.5),
        ];
        assert_eq!(csv_row(&row), b",\"\",\"a \"\"b\"\",\r\nc\",7,\\x00ff,x\xff,0.5\r\n");
    }
}
