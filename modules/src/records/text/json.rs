//! Values as JSON: bytes `{"$b": base64}`, text that is not UTF-8 `{"$r": base64}`, integers beyond 2^53 `{"$i": digits}`,
//! decimals `{"$d": text}`, doubles that are no number `{"$f": "nan"}`, maps with a name that begins with `$`
//! `{"$m": [[name, value], …]}`. Dates and times are their text: the columns say what they are.

use super::super::diff::{Shown, ShownRow};
use super::super::{StoredTable, Value};
use serde_json::{Map, Value as Json, json};

/// Integers up to this size are the same in every reader of JSON.
const MAX_EXACT: u64 = 1 << 53;

/// Returns a value as JSON.
pub fn json_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(is_true) => (*is_true).into(),
        Value::Int(number) if number.unsigned_abs() <= MAX_EXACT => (*number).into(),
        Value::Int(number) => json!({ "$i": number.to_string() }),
        Value::UInt(number) => json!({ "$i": number.to_string() }),
        Value::Decimal(text) => json!({ "$d": text }),
        Value::Float(number) if number.is_nan() => json!({ "$f": "nan" }),
        Value::Float(number) if number.is_infinite() => {
            json!({ "$f": if *number > 0.0 { "inf" } else { "-inf" } })
        }
        Value::Float(number) => (*number).into(),
        Value::Text(text) | Value::Time(_, text) => text.clone().into(),
        Value::RawText(bytes) => json!({ "$r": base64(bytes) }),
        Value::Bytes(bytes) => json!({ "$b": base64(bytes) }),
        // At most as deep as values may be.
        Value::List(items) => items.iter().map(json_value).collect(),
        Value::Map(pairs) if pairs.iter().any(|(name, _)| name.starts_with('$')) || has_twice(pairs) => {
            json!({ "$m": pairs.iter().map(|(name, value)| json!([name, json_value(value)])).collect::<Vec<_>>() })
        }
        Value::Map(pairs) => {
            Json::Object(pairs.iter().map(|(name, value)| (name.clone(), json_value(value))).collect())
        }
    }
}

fn has_twice(pairs: &[(String, Value)]) -> bool {
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| &name[..]).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Returns a row of a difference as an object; long values are `{"$long": bytes}`.
pub fn json_shown(row: &ShownRow) -> Json {
    let shown = |value: &Shown| match value {
        Shown::Value(value) => json_value(value),
        Shown::Long { bytes, .. } => json!({ "$long": bytes }),
    };
    Json::Object(row.iter().map(|(name, value)| (name.clone(), shown(value))).collect::<Map<_, _>>())
}

/// Returns the line before the rows of a table.
pub fn json_head(table: &StoredTable) -> Json {
    let schema = &table.schema;
    json!({
        "table": schema.name.to_string(),
        "columns": schema.row_columns().map(|column| &column.name).collect::<Vec<_>>(),
        "types": schema.row_columns().map(|column| &column.type_text).collect::<Vec<_>>(),
        "key": schema.key,
    })
}

/// Returns the line of a row.
pub fn json_row(values: &[Value]) -> Json {
    values.iter().map(json_value).collect()
}

/// Returns the line after the rows of a table: without it the rows are not whole.
pub fn json_end(rows: u64) -> Json {
    json!({ "rows": rows })
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes bytes as RFC 4648, section 4, has it.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            [0, 1, 2].iter().fold(0usize, |bits, at| bits << 8 | usize::from(*three.get(*at).unwrap_or(&0)));
        for at in 0..4 {
            text.push(match at <= three.len() {
                true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_one_form_that_no_other_has() {
        for (value, text) in [
            (Value::Int(-7), "-7"),
            (Value::Int(i64::MIN), r#"{"$i":"-9223372036854775808"}"#),
            (Value::UInt(u64::MAX), r#"{"$i":"18446744073709551615"}"#),
            (Value::decimal("1.50").unwrap(), r#"{"$d":"1.50"}"#),
            (Value::Float(1.0), "1.0"),
            (Value::Float(f64::NEG_INFINITY), r#"{"$f":"-inf"}"#),
            (Value::Bytes(b"light w".to_vec()), r#"{"$b":"bGlnaHQgdw=="}"#),
            (Value::Bytes(b"light wo".to_vec()), r#"{"$b":"bGlnaHQgd28="}"#),
            (Value::Bytes(b"light wor".to_vec()), r#"{"$b":"bGlnaHQgd29y"}"#),
            (Value::RawText(vec![255]), r#"{"$r":"/w=="}"#),
            (Value::Map(vec![("$b".into(), Value::Null)]), r#"{"$m":[["$b",null]]}"#),
            (Value::Map(vec![("b".into(), Value::List(vec![Value::Bool(true)]))]), r#"{"b":[true]}"#),
        ] {
            assert_eq!(json_value(&value).to_string(), text);
        }
    }
}
