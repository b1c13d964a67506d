//! The text form of COPY: a row is a line, values stand between tabs, `\N` is NULL.
//!
//! Every type has a text form that it reads back to the very same value; so has every version of the server.

use super::error::PostgresError;
use crate::records::{Column, LineForm, Plain, TimeKind, TypeClass, Value};
use memchr::memchr;
use std::borrow::Cow;

/// Reads a row of these columns.
pub(super) fn read_row(line: &[u8], columns: &[&Column], row: &mut Vec<Value>) -> Result<(), PostgresError> {
    let senseless = |why: &str| PostgresError::Protocol(format!("a row of COPY with {why}"));
    let line = line.strip_suffix(b"\n").ok_or_else(|| senseless("no end"))?;
    row.clear();
    let mut fields = Fields { rest: Some(line), has_escapes: memchr(b'\\', line).is_some() };
    for column in columns {
        let field = fields.next().ok_or_else(|| senseless("too few values"))?;
        row.push(match field {
            Field::Null => Value::Null,
            Field::Plain(bytes) => read(Cow::Borrowed(bytes), column)
                .ok_or_else(|| senseless(&format!("no {}", column.type_text)))?,
            Field::Escaped(bytes) => {
                let bytes = unescape(bytes).ok_or_else(|| senseless("an escape that means nothing"))?;
                read(Cow::Owned(bytes), column)
                    .ok_or_else(|| senseless(&format!("no {}", column.type_text)))?
            }
        });
    }
    match fields.next() {
        None => Ok(()),
        Some(_) => Err(senseless("too many values")),
    }
}

/// The values of a line.
struct Fields<'l> {
    rest: Option<&'l [u8]>,
    has_escapes: bool,
}

/// A value as it stands in a line.
enum Field<'l> {
    Null,
    Plain(&'l [u8]),
    Escaped(&'l [u8]),
}

impl<'l> Iterator for Fields<'l> {
    type Item = Field<'l>;

    fn next(&mut self) -> Option<Field<'l>> {
        let rest = self.rest?;
        let field = match memchr(b'\t', rest) {
            Some(at) => {
                self.rest = rest.get(at + 1..);
                rest.get(..at).unwrap_or_default()
            }
            None => {
                self.rest = None;
                rest
            }
        };
        Some(match field {
            b"\\N" => Field::Null,
            field if self.has_escapes && memchr(b'\\', field).is_some() => Field::Escaped(field),
            field => Field::Plain(field),
        })
    }
}

/// Takes the escapes out.
fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at)?;
        out.extend_from_slice(plain);
        out.push(match escape.get(1)? {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' => b'\\',
            _ => return None,
        });
        rest = escape.get(2..)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn read(bytes: Cow<'_, [u8]>, column: &Column) -> Option<Value> {
    let kind = match column.class {
        TypeClass::Bytes => return hex(bytes.strip_prefix(b"\\x")?).map(Value::Bytes),
        TypeClass::Text | TypeClass::Json | TypeClass::Other | TypeClass::Any => {
            return Some(Value::text(bytes.into_owned()));
        }
        TypeClass::Date => TimeKind::Date,
        TypeClass::Time => TimeKind::Time,
        TypeClass::TimeZoned => TimeKind::TimeZoned,
        TypeClass::Timestamp => TimeKind::Timestamp,
        TypeClass::Moment => TimeKind::Moment,
        TypeClass::Interval => TimeKind::Interval,
        class => {
            let text = str::from_utf8(&bytes).ok()?;
            return match class {
                TypeClass::Bool => match text {
                    "t" => Some(Value::Bool(true)),
                    "f" => Some(Value::Bool(false)),
                    _ => None,
                },
                TypeClass::Integer => text.parse().ok().map(Value::Int),
                TypeClass::Decimal => Value::decimal(text),
                // PostgreSQL has one of them; Rust has two that are not the same, `-NaN` too.
                _ if text.eq_ignore_ascii_case("-NaN") => None,
                // The double that equals a single, not the one of the same digits.
                _ if column.type_text == "real" => {
                    text.parse::<f32>().ok().map(|single| Value::Float(single.into()))
                }
                _ => text.parse().ok().map(Value::Float),
            };
        }
    };
    String::from_utf8(bytes.into_owned()).ok().map(|text| Value::Time(kind, text))
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// How a row is a line.
pub(super) const LINES: LineForm =
    LineForm { put: put_value, between: b'\t', end: b'\n', refusal: "a list or a map has no column here" };

/// Writes a row. Lists and maps have no text that a column would take; returns whether all values had one.
pub(super) fn write_row(row: &[Value], out: &mut Vec<u8>) -> bool {
    for (at, value) in row.iter().enumerate() {
        if at > 0 {
            out.push(LINES.between);
        }
        let Some(value) = value.plain() else { return false };
        put_value(value, out);
    }
    out.push(LINES.end);
    true
}

/// Writes a value.
fn put_value(value: Plain<'_>, out: &mut Vec<u8>) {
    match value {
        Plain::Null => out.extend_from_slice(b"\\N"),
        Plain::Int(number) => put_number(number, out),
        Plain::Text(bytes) => escape(bytes, out),
        Plain::Bytes(bytes) => {
            // A backslash stands twice.
            out.push(b'\\');
            put_hex(bytes, out);
        }
        value => {
            // No text of a number or a truth value has anything to escape.
            if let Some(bytes) = text_of(value) {
                out.extend_from_slice(&bytes);
            }
        }
    }
}

/// Writes a number, in half of the time that formatting takes: rows are mostly numbers.
fn put_number(number: i64, out: &mut Vec<u8>) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, number.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Returns the text that the server reads a value from; none for NULL.
pub(super) fn text_of(value: Plain<'_>) -> Option<Cow<'_, [u8]>> {
    use Cow::{Borrowed, Owned};
    Some(match value {
        Plain::Null => return None,
        Plain::Bool(true) => Borrowed(b"t"),
        Plain::Bool(false) => Borrowed(b"f"),
        Plain::Int(number) => Owned(number.to_string().into_bytes()),
        Plain::UInt(number) => Owned(number.to_string().into_bytes()),
        Plain::Float(number) if number.is_infinite() => {
            Borrowed(if number > 0.0 { b"Infinity" } else { b"-Infinity" })
        }
        // The shortest text that is read back as the same bits.
        Plain::Float(number) => Owned(format!("{number:?}").into_bytes()),
        Plain::Text(text) => Borrowed(text),
        Plain::Bytes(bytes) => {
            let mut text = Vec::with_capacity(2 * bytes.len() + 2);
            put_hex(bytes, &mut text);
            Owned(text)
        }
    })
}

/// Writes bytes as the server reads them.
fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    out.reserve(2 * bytes.len());
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    bytes.iter().for_each(|byte| out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]));
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t');
    // Most texts have nothing of it, which is told for many bytes at once where none of them ends the question.
    if !bytes.iter().fold(false, |found, byte| found | is_special(byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    while let Some((plain, (special, after))) = rest
        .iter()
        .position(is_special)
        .and_then(|at| Some((rest.get(..at)?, rest.get(at..)?.split_first()?)))
    {
        out.extend_from_slice(plain);
        let letter = match special {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            other => *other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        rest = after;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, -1, 10, -10, 99, 100, i64::MAX, i64::MIN, 1_234_567_890_123_456_789] {
            let mut out = b"x".to_vec();
            put_number(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }

    #[test]
    fn rows_are_read_as_they_are_written() {
        let columns: Vec<Column> = [
            (TypeClass::Bool, "boolean"),
            (TypeClass::Integer, "bigint"),
            (TypeClass::Decimal, "numeric"),
            (TypeClass::Float, "double precision"),
            (TypeClass::Float, "real"),
            (TypeClass::Text, "text"),
            (TypeClass::Bytes, "bytea"),
            (TypeClass::Moment, "timestamp with time zone"),
        ]
        .into_iter()
        .map(|(class, text)| Column::new("c", class, text))
        .collect();
        let columns: Vec<&Column> = columns.iter().collect();
        for row in [
            vec![Value::Null; 8],
            vec![
                Value::Bool(true),
                Value::Int(i64::MIN),
                Value::Decimal("-1.50".into()),
                Value::Float(-0.0),
                Value::Float(f64::from(1.1_f32)),
                Value::Text("a\tb\\N\n\r\u{b}ü".into()),
                Value::Bytes(vec![0, 0xff, 0x5c]),
                Value::Time(TimeKind::Moment, "infinity".into()),
            ],
            vec![
                Value::Bool(false),
                Value::Int(0),
                Value::Decimal("NaN".into()),
                Value::Float(f64::NAN),
                Value::Float(f64::NEG_INFINITY),
                Value::RawText(vec![0xff, b'\\']),
                Value::Bytes(vec![]),
                Value::Time(TimeKind::Moment, "4713-01-01 00:00:00+00 BC".into()),
            ],
        ] {
            let (mut line, mut read) = (Vec::new(), Vec::new());
            assert!(write_row(&row, &mut line));
            read_row(&line, &columns, &mut read).unwrap();
            assert_eq!(read, row, "{}", String::from_utf8_lossy(&line));
        }
        assert!(!write_row(&[Value::List(vec![])], &mut Vec::new()));
        for wrong in
            ["t\n", "t\t1\t1\t1\t1\tx\t\\\\x00\tnow\textra\n", "t", "x\t1\t1\t1\t1\tx\t\\\\x00\tnow\n"]
        {
            assert!(read_row(wrong.as_bytes(), &columns, &mut Vec::new()).is_err(), "{wrong:?}");
        }
    }
}
