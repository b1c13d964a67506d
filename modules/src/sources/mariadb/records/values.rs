//! Values as the server sends them, and as SQL has them.

use crate::records::{TimeKind, TypeClass, Value};
use std::fmt::Write;

/// How values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Integer,
    Decimal,
    Float,
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
            "float" | "double" => (Self::Float, TypeClass::Float),
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

    /// Reads a value; `None` if the server sent something that this type does not have.
    pub(super) fn read(self, value: mysql::Value) -> Option<Value> {
        use mysql::Value as Sent;
        Some(match (self, value) {
            (_, Sent::NULL) => Value::Null,
            (Self::Integer, Sent::Int(number)) => Value::Int(number),
            (Self::Integer, Sent::UInt(number)) => Value::from_u64(number),
            (Self::Decimal, Sent::Bytes(text)) => Value::decimal(std::str::from_utf8(&text).ok()?)?,
            (Self::Float, Sent::Float(number)) => Value::Float(f64::from(number)),
            (Self::Float, Sent::Double(number)) => Value::Float(number),
            (Self::Bytes, Sent::Bytes(bytes)) => Value::Bytes(bytes),
            (Self::Text | Self::Word, Sent::Bytes(bytes)) => Value::text(bytes),
            (Self::Date, Sent::Date(year, month, day, ..)) => {
                Value::Time(TimeKind::Date, format!("{year:04}-{month:02}-{day:02}"))
            }
            (Self::Moment(kind, digits), Sent::Date(year, month, day, hour, minute, second, micros)) => {
                let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
                fraction(&mut text, micros, digits);
                Value::Time(kind, text)
            }
            (Self::Time(digits), Sent::Time(is_negative, days, hours, minute, second, micros)) => {
                let hours = u64::from(days) * 24 + u64::from(hours);
                let sign = if is_negative { "-" } else { "" };
                let mut text = format!("{sign}{hours:02}:{minute:02}:{second:02}");
                fraction(&mut text, micros, digits);
                Value::Time(TimeKind::Time, text)
            }
            _ => return None,
        })
    }
}

fn fraction(text: &mut String, micros: u32, digits: usize) {
    if digits > 0 {
        let all = format!("{micros:06}");
        text.push('.');
        text.push_str(all.get(..digits).unwrap_or(&all));
    }
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
            for byte in bytes {
                for nibble in [byte >> 4, byte & 15] {
                    sql.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                }
            }
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

fn quote(sql: &mut String, text: &str) {
    sql.reserve(text.len() + 2);
    sql.push('\'');
    for c in text.chars() {
        match c {
            '\'' => sql.push_str("\\'"),
            '\\' => sql.push_str("\\\\"),
            '\0' => sql.push_str("\\0"),
            other => sql.push(other),
        }
    }
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
        let read = |data_type, digits, value| Reading::of(data_type, digits).0.read(value);
        let time = |kind, text: &str| Some(Value::Time(kind, text.into()));
        assert_eq!(
            read("date", 0, mysql::Value::Date(0, 0, 0, 0, 0, 0, 0)),
            time(TimeKind::Date, "0000-00-00")
        );
        let moment = mysql::Value::Date(2026, 2, 31, 1, 2, 3, 100_000);
        assert_eq!(read("datetime", 3, moment.clone()), time(TimeKind::Timestamp, "2026-02-31 01:02:03.100"));
        assert_eq!(read("timestamp", 0, moment), time(TimeKind::Moment, "2026-02-31 01:02:03"));
        let span = mysql::Value::Time(true, 34, 22, 59, 59, 999_999);
        assert_eq!(read("time", 6, span), time(TimeKind::Time, "-838:59:59.999999"));
        assert_eq!(read("int", 0, mysql::Value::Bytes(b"x".to_vec())), None);
    }
}
