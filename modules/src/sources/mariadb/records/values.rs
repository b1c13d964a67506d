//! Values as the server sends them, and as SQL has them.

use super::super::client::Sent;
use crate::records::{TimeKind, TypeClass, Value};
use std::fmt::Write;

/// How values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Integer,
    Decimal,
    Float,
    /// One whose zero may be below zero, which the server sends as any other: a second value tells.
    Single,
    Bytes,
    Text,
    /// One of the words of the type, or no word at all, which looks like the empty one: a second value tells.
    Word,
    Date,
    /// With this many digits of a second.
    Moment(TimeKind, usize),
    Time(usize),
}

impl Reading {
    /// Returns how a type is read, and what it is, by its name and its digits of a second.
    pub(super) fn of(data_type: &str, digits: usize) -> (Self, TypeClass) {
        match data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => {
                (Self::Integer, TypeClass::Integer)
            }
            "decimal" => (Self::Decimal, TypeClass::Decimal),
            "float" => (Self::Single, TypeClass::Float),
            "double" => (Self::Float, TypeClass::Float),
            "date" => (Self::Date, TypeClass::Date),
            "datetime" => (Self::Moment(TimeKind::Timestamp, digits), TypeClass::Timestamp),
            "timestamp" => (Self::Moment(TimeKind::Moment, digits), TypeClass::Moment),
            "time" => (Self::Time(digits), TypeClass::Time),
            "enum" => (Self::Word, TypeClass::Text),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "set" => {
                (Self::Text, TypeClass::Text)
            }
            "json" => (Self::Text, TypeClass::Json),
            "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                (Self::Bytes, TypeClass::Bytes)
            }
            "uuid" | "inet4" | "inet6" => (Self::Text, TypeClass::Other),
            // Geometries among them: their bytes are what the server takes back.
            _ => (Self::Bytes, TypeClass::Other),
        }
    }

    /// Returns what is asked of the server beside a column: whether the value is another than it looks like.
    pub(super) fn beside(self, column: &str) -> Option<String> {
        match self {
            Self::Word => Some(format!("{column} + 0 = 0")),
            // The only function that shows it: of any other zero the angle is above.
            Self::Single => Some(format!("{column} = 0 AND ATAN2({column}, -1) < 0")),
            _ => None,
        }
    }

    /// Returns the value that looks like another one.
    pub(super) fn other(self) -> Value {
        match self {
            Self::Word => Value::Int(0),
            _ => Value::Float(-0.0),
        }
    }

    /// Reads a value in the place of the one before it, whose memory is used again; `None` if the server sent something
    /// that this type does not have.
    pub(super) fn read(self, value: Sent<'_>, into: &mut Value) -> Option<()> {
        *into = match (self, value) {
            (_, Sent::Null) => Value::Null,
            (Self::Integer, Sent::Int(number)) => Value::Int(number),
            (Self::Integer, Sent::UInt(number)) => Value::from_u64(number),
            (Self::Decimal, Sent::Bytes(text)) => {
                let text = std::str::from_utf8(text).ok()?;
                match Value::is_decimal(text) {
                    true => Value::Decimal(with(into, |made| made.push_str(text))),
                    false => Value::decimal(text)?,
                }
            }
            (Self::Float | Self::Single, Sent::Float(number)) => Value::Float(f64::from(number)),
            (Self::Float | Self::Single, Sent::Double(number)) => Value::Float(number),
            (Self::Bytes, Sent::Bytes(bytes)) => {
                let mut made = match std::mem::take(into) {
                    Value::Bytes(before) if before.capacity() <= KEPT => before,
                    _ => Vec::new(),
                };
                made.clear();
                made.extend_from_slice(bytes);
                Value::Bytes(made)
            }
            (Self::Text | Self::Word, Sent::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(with(into, |made| made.push_str(text))),
                Err(_) => Value::RawText(bytes.to_vec()),
            },
            (Self::Date, Sent::Date(year, month, day, ..)) => {
                Value::Time(TimeKind::Date, with(into, |text| put_day(text, year, month, day)))
            }
            (Self::Moment(kind, digits), Sent::Date(year, month, day, hour, minute, second, micros)) => {
                let put = |text: &mut String| {
                    put_day(text, year, month, day);
                    text.push(' ');
                    put_time(text, hour.into(), minute, second);
                    put_fraction(text, micros, digits);
                };
                Value::Time(kind, with(into, put))
            }
            (Self::Time(digits), Sent::Time(is_negative, days, hours, minute, second, micros)) => {
                let put = |text: &mut String| {
                    text.push_str(if is_negative { "-" } else { "" });
                    put_time(text, u64::from(days) * 24 + u64::from(hours), minute, second);
                    put_fraction(text, micros, digits);
                };
                Value::Time(TimeKind::Time, with(into, put))
            }
            _ => return None,
        };
        Some(())
    }
}

/// Most memory of a value that is used again for the next one.
const KEPT: usize = 4096;

/// Makes a text in the memory of another value's.
fn with(before: &mut Value, make: impl FnOnce(&mut String)) -> String {
    let mut text = match std::mem::take(before) {
        Value::Text(text) | Value::Decimal(text) | Value::Time(_, text) if text.capacity() <= KEPT => text,
        _ => String::new(),
    };
    text.clear();
    make(&mut text);
    text
}

/// Reads a value as one of so many types would.
#[cfg(any(test, feature = "testing"))]
pub(in super::super) fn any(of_type: usize, value: Sent<'_>) -> Option<Value> {
    const TYPES: [&str; 10] =
        ["int", "decimal", "float", "double", "blob", "text", "enum", "date", "datetime", "time"];
    let mut read = Value::Null;
    Reading::of(TYPES[of_type % TYPES.len()], of_type % 7).0.read(value, &mut read).map(|()| read)
}

fn put_day(text: &mut String, year: u16, month: u8, day: u8) {
    put_number(text, year.into(), 4);
    text.push('-');
    put_number(text, month.into(), 2);
    text.push('-');
    put_number(text, day.into(), 2);
}

fn put_time(text: &mut String, hours: u64, minute: u8, second: u8) {
    put_number(text, hours, 2);
    text.push(':');
    put_number(text, minute.into(), 2);
    text.push(':');
    put_number(text, second.into(), 2);
}

fn put_fraction(text: &mut String, micros: u32, digits: usize) {
    if let Some(dropped) = (digits > 0).then(|| 6usize.saturating_sub(digits)) {
        let scale = 10u32.pow(dropped as u32);
        text.push('.');
        put_number(text, (micros / scale).into(), 6 - dropped);
    }
}

/// Appends a number of at least so many digits.
fn put_number(text: &mut String, number: u64, digits: usize) {
    let (mut ascii, mut at, mut rest) = ([b'0'; 20], 20, number);
    while rest > 0 && at > 0 {
        at -= 1;
        ascii[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let begin = at.min(20usize.saturating_sub(digits));
    text.push_str(std::str::from_utf8(&ascii[begin..]).unwrap_or_default());
}

/// Writes a value as SQL has it, for a session as all of ours are; `false` if there is no such thing in it.
pub(super) fn literal(sql: &mut String, value: &Value) -> bool {
    let written = match value {
        Value::Null => write!(sql, "NULL"),
        Value::Bool(is_true) => write!(sql, "{}", u8::from(*is_true)),
        Value::Int(number) => write!(sql, "{number}"),
        Value::UInt(number) => write!(sql, "{number}"),
        Value::Float(number) if number.is_finite() => write!(sql, "{number:e}"),
        Value::Decimal(text) if !text.ends_with(|c: char| c.is_ascii_alphabetic()) => write!(sql, "{text}"),
        Value::Text(text) | Value::Time(_, text) => {
            quote(sql, text);
            Ok(())
        }
        Value::Bytes(bytes) | Value::RawText(bytes) => {
            sql.reserve(2 * bytes.len() + 3);
            sql.push_str("x'");
            put_hex(sql, bytes);
            sql.push('\'');
            Ok(())
        }
        _ => return false,
    };
    written.is_ok()
}

/// What becomes a zero below zero in a `FLOAT`: the server has no other way to write one, and none at all in a `DOUBLE`.
pub(super) const NEGATIVE_ZERO: &str = "-1e-60";

/// Returns whether a value is a zero below zero.
pub(super) fn is_negative_zero(value: &Value) -> bool {
    matches!(value, Value::Float(number) if *number == 0.0 && number.is_sign_negative())
}

fn put_hex(sql: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // In pieces, so that what they become lies on the stack.
    let mut piece = [0; 256];
    for bytes in bytes.chunks(piece.len() / 2) {
        for (pair, byte) in piece.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        sql.push_str(std::str::from_utf8(&piece[..2 * bytes.len()]).unwrap_or_default());
    }
}

fn quote(sql: &mut String, text: &str) {
    sql.reserve(text.len() + 2);
    sql.push('\'');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'\'' | b'\\' | 0)) {
        let (plain, from) = rest.split_at(at);
        sql.push_str(plain);
        sql.push_str(match from.as_bytes().first() {
            Some(b'\'') => "\\'",
            Some(b'\\') => "\\\\",
            _ => "\\0",
        });
        rest = &from[1..];
    }
    sql.push_str(rest);
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_nothing_of_them_is_syntax() {
        let text = |value: &Value| {
            let mut sql = String::new();
            literal(&mut sql, value).then_some(sql)
        };
        for (value, sql) in [
            (Value::Null, "NULL"),
            (Value::UInt(u64::MAX), "18446744073709551615"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Float(0.1), "1e-1"),
            (Value::Float(-0.0), "-0e0"),
            (Value::Float(f64::MAX), "1.7976931348623157e308"),
            (Value::Decimal("-1.50".into()), "-1.50"),
            (Value::Text("a'b\\c\0\"\n😀".into()), "'a\\'b\\\\c\\0\"\n😀'"),
            (Value::Bytes(vec![0, 0x27, 0xff]), "x'0027ff'"),
            (Value::Bytes(vec![]), "x''"),
            (Value::Time(TimeKind::Date, "0000-00-00".into()), "'0000-00-00'"),
        ] {
            assert_eq!(text(&value).as_deref(), Some(sql), "{value:?}");
        }
        for none in [Value::Float(f64::NAN), Value::Decimal("NaN".into()), Value::List(vec![])] {
            assert_eq!(text(&none), None);
        }
    }

    #[test]
    fn times_are_read_with_all_their_digits() {
        // In the place of whatever was there before.
        let before = std::cell::RefCell::new(Value::Text("something longer than all of them".into()));
        let read = |data_type, digits, value| {
            let mut into = before.borrow_mut();
            Reading::of(data_type, digits).0.read(value, &mut into).map(|()| into.clone())
        };
        let time = |kind, text: &str| Some(Value::Time(kind, text.into()));
        assert_eq!(read("date", 0, Sent::Date(0, 0, 0, 0, 0, 0, 0)), time(TimeKind::Date, "0000-00-00"));
        let moment = Sent::Date(2026, 2, 31, 1, 2, 3, 100_000);
        assert_eq!(read("datetime", 3, moment), time(TimeKind::Timestamp, "2026-02-31 01:02:03.100"));
        assert_eq!(read("timestamp", 0, moment), time(TimeKind::Moment, "2026-02-31 01:02:03"));
        let span = Sent::Time(true, 34, 22, 59, 59, 999_999);
        assert_eq!(read("time", 6, span), time(TimeKind::Time, "-838:59:59.999999"));
        assert_eq!(read("int", 0, Sent::Bytes(b"x")), None);
    }
}
