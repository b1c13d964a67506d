//! Rows into bytes: the values that are not in the key, one after another. `engine/FORMAT.md` 11.

use super::key::MAX_DECIMAL;
use super::value::MAX_DEPTH;
use super::{RecordError, Value};
use crate::planted::{Bug, planted};
use dedup_engine::error::Corrupt;
use dedup_engine::wire::Put;

/// Longest text or bytes that stand in the row; longer ones have entries of their own.
pub(super) const MAX_SHORT: usize = 4096;
/// Longest row.
pub(super) const MAX_ROW: usize = 16 << 20;
/// Most items of all lists and maps of a row.
pub(super) const MAX_ITEMS: usize = 1 << 20;
/// Longest date or time.
pub(super) const MAX_TIME: usize = 4096;

/// What the bytes of a long value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LongKind {
    Text = 13,
    RawText = 14,
    Bytes = 15,
}

/// A value whose bytes stand elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Long {
    /// Number of the value among those of the row that are not in the key.
    pub at: u16,
    pub kind: LongKind,
    pub len: u64,
}

/// Returns the bytes of a value that does not stand in its row.
pub(super) fn long_bytes(value: &Value) -> Option<(LongKind, &[u8])> {
    let (kind, bytes) = match value {
        Value::Text(text) => (LongKind::Text, text.as_bytes()),
        Value::RawText(bytes) => (LongKind::RawText, &bytes[..]),
        Value::Bytes(bytes) => (LongKind::Bytes, &bytes[..]),
        _ => return None,
    };
    (bytes.len() > MAX_SHORT).then_some((kind, bytes))
}

/// Makes a long value of its bytes again.
pub(super) fn of_long(kind: LongKind, bytes: Vec<u8>) -> Result<Value, Corrupt> {
    match (kind, Value::text(bytes)) {
        (LongKind::Text, value @ Value::Text(_)) | (LongKind::RawText, value @ Value::RawText(_)) => {
            Ok(value)
        }
        (LongKind::Bytes, Value::Text(text)) => Ok(Value::Bytes(text.into_bytes())),
        (LongKind::Bytes, Value::RawText(bytes)) => Ok(Value::Bytes(bytes)),
        _ => Err(wrong_kind()),
    }
}

pub(super) fn wrong_kind() -> Corrupt {
    Corrupt::new("long value", "it is text where it should be none, or the other way")
}

/// Appends the values of a row, in their order.
pub(super) fn put_row<'v>(
    values: impl Iterator<Item = &'v Value>,
    out: &mut Vec<u8>,
) -> Result<(), RecordError> {
    let mut items_left = MAX_ITEMS;
    for value in values {
        put_value(value, &mut items_left, out)?;
        if out.len() > MAX_ROW {
            return Err(RecordError::Unsupported {
                what: "a row of more than 16 MiB beside its long values".into(),
            });
        }
    }
    Ok(())
}

enum Step<'v> {
    Value(&'v Value),
    Items(std::slice::Iter<'v, Value>),
    Pairs(std::slice::Iter<'v, (String, Value)>),
}

fn put_value(value: &Value, items_left: &mut usize, out: &mut Vec<u8>) -> Result<(), RecordError> {
    if !matches!(value, Value::List(_) | Value::Map(_)) {
        return put_leaf(value, true, out);
    }
    let too_much = || RecordError::Unsupported {
        what: "a value of lists and maps of more than 16 MiB or 1,048,576 items, or more than 64 deep,"
            .into(),
    };
    let mut steps = vec![Step::Value(value)];
    while let Some(step) = steps.last_mut() {
        let next = match step {
            Step::Value(value) => Some(*value),
            Step::Items(items) => items.next(),
            Step::Pairs(pairs) => pairs.next().map(|(name, value)| {
                out.put_bytes(name.as_bytes());
                value
            }),
        };
        if next.is_none() || matches!(step, Step::Value(_)) {
            steps.pop();
        }
        match next {
            Some(Value::List(items)) => {
                *items_left = items_left.checked_sub(items.len()).ok_or_else(too_much)?;
                out.put_u8(11);
                out.put_varint(items.len() as u64);
                steps.push(Step::Items(items.iter()));
            }
            Some(Value::Map(pairs)) => {
                *items_left = items_left.checked_sub(pairs.len()).ok_or_else(too_much)?;
                out.put_u8(12);
                out.put_varint(pairs.len() as u64);
                steps.push(Step::Pairs(pairs.iter()));
            }
            Some(value) => put_leaf(value, steps.is_empty(), out)?,
            None => {}
        }
        if steps.len() > MAX_DEPTH || out.len() > 2 * MAX_ROW {
            return Err(too_much());
        }
    }
    Ok(())
}

fn put_leaf(value: &Value, is_top: bool, out: &mut Vec<u8>) -> Result<(), RecordError> {
    if let (true, Some((kind, bytes))) = (is_top, long_bytes(value)) {
        out.put_u8(kind as u8);
        out.put_varint(bytes.len() as u64);
        return Ok(());
    }
    let refused = |what: &str| Err(RecordError::Unsupported { what: what.to_owned() });
    match value {
        Value::Null => out.put_u8(0),
        Value::Bool(is_true) => out.put_u8(1 + u8::from(*is_true)),
        Value::Int(number) => {
            out.put_u8(3);
            out.put_zigzag(*number);
        }
        Value::UInt(number) if *number > i64::MAX.unsigned_abs() => {
            out.put_u8(4);
            out.put_varint(*number);
        }
        Value::UInt(_) => return refused("an integer of the wrong kind"),
        Value::Decimal(text) => {
            if text.len() > MAX_DECIMAL || !Value::is_decimal(text) {
                return refused("a decimal that is none, or has more than 200,000 digits,");
            }
            out.put_u8(5);
            out.put_bytes(text.as_bytes());
        }
        Value::Float(number) => {
            out.put_u8(6);
            out.put_u64(number.to_bits());
        }
        Value::Text(text) => {
            out.put_u8(7);
            out.put_bytes(text.as_bytes());
        }
        Value::RawText(bytes) if std::str::from_utf8(bytes).is_ok() => {
            return refused("text of the wrong kind");
        }
        Value::RawText(bytes) => {
            out.put_u8(8);
            out.put_bytes(bytes);
        }
        Value::Bytes(bytes) if planted(Bug::RowsAsText) => {
            out.put_u8(9);
            out.put_bytes(String::from_utf8_lossy(bytes).as_bytes());
        }
        Value::Bytes(bytes) => {
            out.put_u8(9);
            out.put_bytes(bytes);
        }
        Value::Time(kind, text) => {
            if text.len() > MAX_TIME {
                return refused("a date of more than 4,096 bytes");
            }
            out.put_u8(10);
            out.put_u8(*kind as u8);
            out.put_bytes(text.as_bytes());
        }
        // Whoever calls takes these apart.
        Value::List(_) | Value::Map(_) => {}
    }
    Ok(())
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
