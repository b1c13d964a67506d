//! Rows out of bytes: their values, or only whether they have one encoding. `engine/FORMAT.md` 11.

use super::key::MAX_DECIMAL;
use super::row::{Long, LongKind, MAX_ITEMS, MAX_ROW, MAX_SHORT, MAX_TIME};
use super::value::MAX_DEPTH;
use super::{Plain, TimeKind, Value};
use dedup_engine::error::Corrupt;
use dedup_engine::wire::Reader;

/// Room that a short text or few bytes may have.
const MAX_ROOM: usize = 256;

/// Reads the values of a row into the places that they have among `values`, whose room for text and bytes is used again. Long
/// ones are [`Value::Null`] at first, and named.
pub(super) fn read_row(bytes: &[u8], places: &[usize], values: &mut [Value]) -> Result<Vec<Long>, Corrupt> {
    let mut next = places.iter();
    walk_row(bytes, places.len(), |tag, items_left, reader| {
        let value = next.next().and_then(|place| values.get_mut(*place));
        let value = value.ok_or_else(|| reader.corrupt("a value has no place"))?;
        let old = std::mem::take(value);
        *value = match tag {
            11 | 12 => read_value(tag, items_left, reader)?,
            tag => read_leaf(tag, true, old, reader)?,
        };
        Ok(())
    })
}

/// Looks whether [`read_row`] would read a row, and makes none of its values; names the long ones.
pub(super) fn check_row(bytes: &[u8], count: usize) -> Result<Vec<Long>, Corrupt> {
    walk_row(bytes, count, |tag, items_left, reader| {
        match tag {
            3 => reader.zigzag().map(drop)?,
            5 => decimal(reader).map(drop)?,
            7 => text(MAX_SHORT, "text", reader).map(drop)?,
            9 => reader.bytes(MAX_SHORT, "bytes").map(drop)?,
            10 => {
                if usize::from(reader.u8()?) >= TimeKind::ALL.len() {
                    return Err(reader.corrupt("a date of an unknown kind"));
                }
                text(MAX_TIME, "date", reader)?;
            }
            11 | 12 => read_value(tag, items_left, reader).map(drop)?,
            tag => read_leaf(tag, true, Value::Null, reader).map(drop)?,
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

/// The values of a row that [`check_row`] has taken, as they stand there.
pub(super) struct PlainValues<'b>(Reader<'b>);

impl<'b> PlainValues<'b> {
    pub(super) fn new(row: &'b [u8]) -> Self {
        Self(Reader::new("row", row))
    }

    /// Returns the next one; none if it is long, a list or a map.
    pub(super) fn next(&mut self) -> Result<Option<Plain<'b>>, Corrupt> {
        let reader = &mut self.0;
        Ok(Some(match reader.u8()? {
            0 => Plain::Null,
            1 => Plain::Bool(false),
            2 => Plain::Bool(true),
            3 => Plain::Int(reader.zigzag()?),
            4 => Plain::UInt(reader.varint()?),
            5 | 7 | 8 => Plain::Text(reader.bytes(MAX_SHORT, "text")?),
            6 => Plain::Float(f64::from_bits(reader.u64()?)),
            9 => Plain::Bytes(reader.bytes(MAX_SHORT, "bytes")?),
            10 => {
                reader.u8()?;
                Plain::Text(reader.bytes(MAX_TIME, "date")?)
            }
            11..=15 => return Ok(None),
            tag => return Err(reader.corrupt(format!("a value of tag {tag} is unknown here"))),
        }))
    }

    /// Ends the row, of which all values were returned.
    pub(super) fn finish(self) -> Result<(), Corrupt> {
        self.0.finish()
    }
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
            tag => Some(read_leaf(tag, open.is_empty(), Value::Null, reader)?),
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

/// Reads a value that is no list or map, into the room that another had.
fn read_leaf(tag: u8, is_top: bool, old: Value, reader: &mut Reader<'_>) -> Result<Value, Corrupt> {
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
        5 => Value::Decimal(text_in(old, decimal(reader)?)),
        6 => Value::Float(f64::from_bits(reader.u64()?)),
        7 => Value::Text(text_in(old, text(most, "text", reader)?)),
        8 => match Value::text(reader.bytes(most, "text")?.to_vec()) {
            Value::Text(_) => return Err(reader.corrupt("text has another form")),
            value => value,
        },
        9 => Value::Bytes(bytes_in(old, reader.bytes(most, "bytes")?)),
        10 => {
            let kind = usize::from(reader.u8()?);
            let kind = *TimeKind::ALL
                .get(kind)
                .ok_or_else(|| reader.corrupt(format!("a date of kind {kind} is unknown")))?;
            Value::Time(kind, text_in(old, text(MAX_TIME, "date", reader)?))
        }
        tag => return Err(reader.corrupt(format!("a value of tag {tag} is unknown here"))),
    })
}

fn text<'b>(most: usize, name: &str, reader: &mut Reader<'b>) -> Result<&'b str, Corrupt> {
    let bytes = reader.bytes(most, name)?;
    std::str::from_utf8(bytes).map_err(|_| reader.corrupt(format!("{name} is not UTF-8")))
}

fn decimal<'b>(reader: &mut Reader<'b>) -> Result<&'b str, Corrupt> {
    let text = text(MAX_DECIMAL, "decimal", reader)?;
    match Value::is_decimal(text) {
        true => Ok(text),
        false => Err(reader.corrupt("a decimal is none, or has another form")),
    }
}

/// Returns a text in the room of another, if it has one that fits.
fn text_in(old: Value, text: &str) -> String {
    let mut room = match old {
        Value::Text(room) | Value::Decimal(room) | Value::Time(_, room)
            if fits(room.capacity(), text.len()) =>
        {
            room
        }
        _ => return text.to_owned(),
    };
    room.clear();
    room.push_str(text);
    room
}

/// Returns bytes in the room of others, if they have one that fits.
fn bytes_in(old: Value, bytes: &[u8]) -> Vec<u8> {
    let mut room = match old {
        Value::Bytes(room) if fits(room.capacity(), bytes.len()) => room,
        _ => return bytes.to_vec(),
    };
    room.clear();
    room.extend_from_slice(bytes);
    room
}

/// Says whether room may be kept: what was once long must not stay for what is short.
fn fits(room: usize, len: usize) -> bool {
    room <= MAX_ROOM.max(2 * len)
}
