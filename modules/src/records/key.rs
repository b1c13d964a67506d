//! Keys: values as bytes whose order is that of the type. `engine/FORMAT.md` 11.

use super::{RecordError, TableName, TimeKind, Value};
use dedup_engine::error::Corrupt;
use dedup_engine::wire::Reader;
use memchr::memchr;

/// Most digits of a decimal, with the zeros that stand for its exponent.
pub(super) const MAX_DECIMAL: usize = 200_000;
/// Bytes of the values that the key of a row without one begins with.
pub(super) const PREFIX_BYTES: usize = 24;

/// What an entry of the map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Header = 1,
    Row = 2,
    End = 3,
}

/// Appends the name of a table, as every key of its entries begins.
pub(super) fn put_table(name: &TableName, out: &mut Vec<u8>) {
    let last = name.parts().len() - 1;
    for (at, part) in name.parts().iter().enumerate() {
        put_escaped(part.as_bytes(), out);
        out.extend_from_slice(&[0, u8::from(at < last)]);
    }
}

/// Reads the name of a table and the kind of the entry.
pub(super) fn read_table(reader: &mut Reader<'_>) -> Result<(TableName, EntryKind), Corrupt> {
    let mut parts = Vec::new();
    loop {
        let (part, end) = read_escaped(reader)?;
        let part = String::from_utf8(part).map_err(|_| reader.corrupt("a table's name is not UTF-8"))?;
        parts.push(part);
        match end {
            0 => break,
            1 if parts.len() < 3 => {}
            _ => return Err(reader.corrupt("a table's name has no end")),
        }
    }
    let name = TableName::new(parts).map_err(|error| reader.corrupt(error.to_string()))?;
    let kind = match reader.u8()? {
        1 => EntryKind::Header,
        2 => EntryKind::Row,
        3 => EntryKind::End,
        kind => return Err(reader.corrupt(format!("an entry of kind {kind} is unknown"))),
    };
    Ok((name, kind))
}

fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((piece, after)) = memchr(0, rest).and_then(|zero| rest.split_at_checked(zero + 1)) {
        out.extend_from_slice(piece);
        out.push(0xff);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Reads escaped bytes and what stands behind the zero that ends them.
fn read_escaped(reader: &mut Reader<'_>) -> Result<(Vec<u8>, u8), Corrupt> {
    let mut bytes = Vec::new();
    loop {
        let left = reader.left();
        let rest = reader.clone().take(left)?;
        bytes.extend_from_slice(reader.take(memchr(0, rest).unwrap_or(left))?);
        // The zero.
        reader.u8()?;
        match reader.u8()? {
            0xff => bytes.push(0),
            end => return Ok((bytes, end)),
        }
    }
}

/// Appends a value; a list or map cannot be.
pub(super) fn put_value(value: &Value, out: &mut Vec<u8>) -> Result<(), RecordError> {
    match value {
        Value::Null => out.push(0x00),
        Value::Bool(is_true) => out.push(0x01 + u8::from(*is_true)),
        Value::Int(number) => {
            out.push(0x10);
            out.extend_from_slice(&(number.cast_unsigned() ^ 1 << 63).to_be_bytes());
        }
        Value::UInt(number) if *number > i64::MAX.unsigned_abs() => {
            out.push(0x11);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Decimal(text) => {
            out.push(0x14);
            return put_decimal(text, out);
        }
        Value::Float(number) => {
            let bits = number.to_bits();
            let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
            out.push(0x18);
            out.extend_from_slice(&(bits ^ flip).to_be_bytes());
        }
        Value::Text(text) => put_tagged(0x20, text.as_bytes(), out),
        Value::RawText(bytes) => put_tagged(0x20, bytes, out),
        Value::Bytes(bytes) => put_tagged(0x24, bytes, out),
        Value::Time(kind, text) => put_tagged(0x28 + *kind as u8, text.as_bytes(), out),
        Value::UInt(_) | Value::List(_) | Value::Map(_) => {
            return Err(RecordError::Unsupported { what: "a key of a list or map".into() });
        }
    }
    Ok(())
}

fn put_tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    put_escaped(bytes, out);
    out.extend_from_slice(&[0, 0]);
}

/// Reads a value.
pub(super) fn read_value(reader: &mut Reader<'_>) -> Result<Value, Corrupt> {
    let escaped = |reader: &mut Reader<'_>| match read_escaped(reader)? {
        (bytes, 0) => Ok(bytes),
        _ => Err(reader.corrupt("text or bytes of a key have no end")),
    };
    Ok(match reader.u8()? {
        0x00 => Value::Null,
        0x01 => Value::Bool(false),
        0x02 => Value::Bool(true),
        0x10 => Value::Int((u64::from_be_bytes(reader.array()?) ^ 1 << 63).cast_signed()),
        0x11 => match Value::from_u64(u64::from_be_bytes(reader.array()?)) {
            Value::Int(_) => return Err(reader.corrupt("an integer of a key has another form")),
            value => value,
        },
        0x14 => read_decimal(reader)?,
        0x18 => {
            let bits = u64::from_be_bytes(reader.array()?);
            let flip = if bits >> 63 == 1 { 1 << 63 } else { u64::MAX };
            Value::Float(f64::from_bits(bits ^ flip))
        }
        0x20 => Value::text(escaped(reader)?),
        0x24 => Value::Bytes(escaped(reader)?),
        tag @ 0x28..=0x2d => {
            let text = String::from_utf8(escaped(reader)?);
            let text = text.map_err(|_| reader.corrupt("a date of a key is not UTF-8"))?;
            Value::Time(TimeKind::ALL[usize::from(tag - 0x28)], text)
        }
        tag => return Err(reader.corrupt(format!("a key has no value of tag {tag:#04x}"))),
    })
}

fn put_decimal(text: &str, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let special = match text {
        "-Infinity" => Some(0),
        "Infinity" => Some(4),
        "NaN" => Some(5),
        _ => None,
    };
    if let Some(code) = special {
        out.push(code);
        return Ok(());
    }
    let refused =
        || RecordError::Unsupported { what: "a decimal that is none, or too long, in a key".into() };
    if text.len() > MAX_DECIMAL || !Value::is_decimal(text) {
        return Err(refused());
    }
    let (is_negative, number) = text.strip_prefix('-').map_or((false, text), |number| (true, number));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = u32::try_from(fraction.len()).map_err(|_| refused())?;
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0' + 1).collect();
    let zeros = digits.iter().take_while(|digit| **digit == 1).count();
    if zeros == digits.len() {
        out.push(2);
    } else {
        out.push(if is_negative { 1 } else { 3 });
        let begin = out.len();
        let exponent = whole.len() as i32 - zeros as i32;
        out.extend_from_slice(&(exponent.cast_unsigned() ^ 1 << 31).to_be_bytes());
        let end = digits.iter().rposition(|digit| *digit != 1).map_or(0, |last| last + 1);
        out.extend_from_slice(digits.get(zeros..end).unwrap_or_default());
        out.push(0);
        if is_negative {
            out[begin..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    out.extend_from_slice(&scale.to_be_bytes());
    Ok(())
}

fn read_decimal(reader: &mut Reader<'_>) -> Result<Value, Corrupt> {
    let code = reader.u8()?;
    let text = match code {
        0 => Some("-Infinity"),
        4 => Some("Infinity"),
        5 => Some("NaN"),
        1..=3 => None,
        _ => return Err(reader.corrupt(format!("a decimal of a key has no form {code}"))),
    };
    if let Some(text) = text {
        return Ok(Value::Decimal(text.to_owned()));
    }
    let wrong = |reader: &Reader<'_>| reader.corrupt("a decimal of a key is too long, or has another form");
    let flip = if code == 1 { 0xff } else { 0x00 };
    let (mut digits, mut exponent) = (Vec::new(), 0i64);
    if code != 2 {
        let bytes: [u8; 4] = reader.array()?;
        exponent = i64::from((u32::from_be_bytes(bytes.map(|byte| byte ^ flip)) ^ 1 << 31).cast_signed());
        loop {
            match reader.u8()? ^ flip {
                0 => break,
                digit @ 1..=10 => digits.push(b'0' + digit - 1),
                _ => return Err(wrong(reader)),
            }
        }
        let is_short = digits.first().is_none_or(|digit| *digit == b'0') || digits.ends_with(b"0");
        if is_short || digits.len() > MAX_DECIMAL {
            return Err(wrong(reader));
        }
    }
    let scale = i64::from(u32::from_be_bytes(reader.array()?));
    // All digits there are, with the zeros at both ends.
    let all = (exponent.max(1)).saturating_add(scale);
    let fits = scale <= MAX_DECIMAL as i64
        && all <= MAX_DECIMAL as i64
        && digits.len() as i64 <= exponent.saturating_add(scale)
        || code == 2 && scale < MAX_DECIMAL as i64;
    if !fits {
        return Err(wrong(reader));
    }
    let before = usize::try_from(exponent.min(0).unsigned_abs()).unwrap_or(usize::MAX);
    let point = usize::try_from(exponent.max(0)).unwrap_or(usize::MAX);
    let scale = usize::try_from(scale).unwrap_or(usize::MAX);
    let mut text = vec![b'0'; before];
    text.extend_from_slice(&digits);
    text.resize(point + scale, b'0');
    let mut made = String::with_capacity(text.len() + 3);
    made.push_str(if code == 1 { "-" } else { "" });
    let ascii = String::from_utf8_lossy(&text);
    let (whole, fraction) = ascii.split_at(point);
    made.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        made.push('.');
        made.push_str(fraction);
    }
    match made.len() <= MAX_DECIMAL && Value::decimal(&made) == Some(Value::Decimal(made.clone())) {
        true => Ok(Value::Decimal(made)),
        false => Err(wrong(reader)),
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
