//! Rows: the values that are not in the key, one after another. `engine/FORMAT.md` 11.

use super::key::MAX_DECIMAL;
use super::value::MAX_DEPTH;
use super::{RecordError, TimeKind, Value};
use crate::planted::{Bug, planted};
use dedup_engine::error::Corrupt;
use dedup_engine::wire::{Put, Reader};

/// Longest text or bytes that stand in the row; longer ones have entries of their own.
pub(super) const MAX_SHORT: usize = 4096;
/// Longest row.
pub(super) const MAX_ROW: usize = 16 << 20;
/// Most items of all lists and maps of a row.
const MAX_ITEMS: usize = 1 << 20;
/// Longest date or time.
const MAX_TIME: usize = 4096;

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

/// Reads the values of a row. Long ones are [`Value::Null`] at first, and named beside.
pub(super) fn read_row(bytes: &[u8], count: usize) -> Result<(Vec<Value>, Vec<Long>), Corrupt> {
    // Each value takes at least a byte.
    let mut values = Vec::with_capacity(count.min(bytes.len()));
    let longs = walk_row(bytes, count, |tag, items_left, reader| {
        values.push(match tag {
            11 | 12 => read_value(tag, items_left, reader)?,
            tag => read_leaf(tag, true, reader)?,
        });
        Ok(())
    })?;
    Ok((values, longs))
}

/// Looks whether [`read_row`] would read a row, and makes none of its values; names the long ones.
pub(super) fn check_row(bytes: &[u8], count: usize) -> Result<Vec<Long>, Corrupt> {
    walk_row(bytes, count, |tag, items_left, reader| {
        let text = |reader: &mut Reader<'_>, most| {
            let bytes = reader.bytes(most, "text")?;
            std::str::from_utf8(bytes).map(drop).map_err(|_| reader.corrupt("text is not UTF-8"))
        };
        match tag {
            3 => reader.zigzag().map(drop)?,
            7 => text(reader, MAX_SHORT)?,
            9 => reader.bytes(MAX_SHORT, "bytes").map(drop)?,
            10 => {
                if usize::from(reader.u8()?) >= TimeKind::ALL.len() {
                    return Err(reader.corrupt("a date of an unknown kind"));
                }
                text(reader, MAX_TIME)?;
            }
            11 | 12 => read_value(tag, items_left, reader).map(drop)?,
            tag => read_leaf(tag, true, reader).map(drop)?,
        }
        Ok(())
    })
}

/// Goes through the values of a row; `take` reads what follows their tags. A long one is NULL to it.
fn walk_row(
    bytes: &[u8],
    count: usize,
    mut take: impl FnMut(u8, &mut usize, &mut Reader<'_>) -> Result<(), Corrupt>,
) -> Result<Vec<Long>, Corrupt> {
    let mut reader = Reader::new("row", bytes);
    if bytes.len() > MAX_ROW {
        return Err(reader.corrupt("it has more than 16 MiB"));
    }
    let (mut longs, mut items_left) = (Vec::new(), MAX_ITEMS);
    for at in 0..count {
        let tag = reader.u8()?;
        let kind = match tag {
            13 => LongKind::Text,
            14 => LongKind::RawText,
            15 => LongKind::Bytes,
            tag => {
                take(tag, &mut items_left, &mut reader)?;
                continue;
            }
        };
        let len = reader.varint()?;
        let at = u16::try_from(at).map_err(|_| reader.corrupt("too many values"))?;
        if len <= MAX_SHORT as u64 {
            return Err(reader.corrupt("a short value stands elsewhere"));
        }
        take(0, &mut items_left, &mut reader)?;
        longs.push(Long { at, kind, len });
    }
    reader.finish()?;
    Ok(longs)
}

/// Reads values of a row that was looked at, up to one after which no more are wanted. `longs` are those that stand elsewhere.
pub(super) fn first_values(
    bytes: &[u8],
    count: usize,
    longs: &[Value],
    mut each: impl FnMut(&Value) -> bool,
) -> Result<(), Corrupt> {
    let (mut reader, mut longs, mut items_left) = (Reader::new("row", bytes), longs.iter(), MAX_ITEMS);
    for _ in 0..count {
        let wants_more = match reader.u8()? {
            13..=15 => {
                reader.varint()?;
                longs.next().is_some_and(&mut each)
            }
            tag => each(&read_value(tag, &mut items_left, &mut reader)?),
        };
        if !wants_more {
            break;
        }
    }
    Ok(())
}

/// A list or map that is being read: what it has, and how much more comes.
enum Open {
    List(Vec<Value>, u64),
    Map(Vec<(String, Value)>, u64, String),
}

fn read_value(tag: u8, items_left: &mut usize, reader: &mut Reader<'_>) -> Result<Value, Corrupt> {
    let (mut open, mut tag) = (Vec::new(), tag);
    loop {
        let mut done = match tag {
            11 | 12 => {
                if open.len() == MAX_DEPTH {
                    return Err(reader.corrupt("lists and maps stand more than 64 deep"));
                }
                let least = if tag == 11 { 1 } else { 2 };
                let count = reader.count(*items_left, least, "items")?;
                *items_left -= count;
                let count = count as u64;
                match (tag, count) {
                    (11, 0) => Some(Value::List(Vec::new())),
                    (_, 0) => Some(Value::Map(Vec::new())),
                    (11, _) => {
                        open.push(Open::List(Vec::new(), count));
                        None
                    }
                    _ => {
                        open.push(Open::Map(Vec::new(), count, reader.text(MAX_ROW, "name")?));
                        None
                    }
                }
            }
            tag => Some(read_leaf(tag, open.is_empty(), reader)?),
        };
        while let Some(value) = done.take() {
            done = match open.pop() {
                None => return Ok(value),
                Some(Open::List(mut items, left)) => {
                    items.push(value);
                    match left {
                        1 => Some(Value::List(items)),
                        _ => {
                            open.push(Open::List(items, left - 1));
                            None
                        }
                    }
                }
                Some(Open::Map(mut pairs, left, name)) => {
                    pairs.push((name, value));
                    match left {
                        1 => Some(Value::Map(pairs)),
                        _ => {
                            open.push(Open::Map(pairs, left - 1, reader.text(MAX_ROW, "name")?));
                            None
                        }
                    }
                }
            };
        }
        tag = reader.u8()?;
    }
}

fn read_leaf(tag: u8, is_top: bool, reader: &mut Reader<'_>) -> Result<Value, Corrupt> {
    let most = if is_top { MAX_SHORT } else { MAX_ROW };
    Ok(match tag {
        0 => Value::Null,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::Int(reader.zigzag()?),
        4 => match Value::from_u64(reader.varint()?) {
            Value::Int(_) => return Err(reader.corrupt("an integer has another form")),
            value => value,
        },
        5 => {
            let text = reader.text(MAX_DECIMAL, "decimal")?;
            match Value::is_decimal(&text) {
                true => Value::Decimal(text),
                false => return Err(reader.corrupt("a decimal is none, or has another form")),
            }
        }
        6 => Value::Float(f64::from_bits(reader.u64()?)),
        7 => Value::Text(reader.text(most, "text")?),
        8 => match Value::text(reader.bytes(most, "text")?.to_vec()) {
            Value::Text(_) => return Err(reader.corrupt("text has another form")),
            value => value,
        },
        9 => Value::Bytes(reader.bytes(most, "bytes")?.to_vec()),
        10 => {
            let kind = usize::from(reader.u8()?);
            let kind = *TimeKind::ALL
                .get(kind)
                .ok_or_else(|| reader.corrupt(format!("a date of kind {kind} is unknown")))?;
            Value::Time(kind, reader.text(MAX_TIME, "date")?)
        }
        tag => return Err(reader.corrupt(format!("a value of tag {tag} is unknown here"))),
    })
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
