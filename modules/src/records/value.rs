//! One value of a row.

use std::cmp::Ordering;

/// How deep lists and maps may stand in each other.
pub const MAX_DEPTH: usize = 64;

/// A value, as the client library gave it: nothing is rounded, trimmed or put into another character set.
///
/// Two values are equal if every bit is: `NaN` equals itself, `0.0` differs from `-0.0`, `1.50` from `1.5`.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// True or false, where the engine has that type.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above `i64::MAX`, never one that [`Value::Int`] can hold: [`Value::from_u64`] chooses.
    UInt(u64),
    /// A decimal number, or `NaN`, `Infinity`, `-Infinity`; made by [`Value::decimal`].
    Decimal(String),
    /// A double; of a single, the double that equals it.
    Float(f64),
    /// Text.
    Text(String),
    /// Text that is not UTF-8, as the engine gave it: [`Value::text`] chooses.
    RawText(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A date, a time or both, as the engine writes it: `2026-11-21 13:20:00.000001`, `0000-00-00`, `infinity`.
    Time(TimeKind, String),
    /// A list.
    List(Vec<Value>),
    /// Names and values in their order, names as they come.
    Map(Vec<(String, Value)>),
}

/// What a date or time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeKind {
    /// A day.
    Date,
    /// A time of day, or a span in hours.
    Time,
    /// A time of day with its offset to UTC.
    TimeZoned,
    /// A day and a time, of no zone.
    Timestamp,
    /// A moment, written in UTC.
    Moment,
    /// A span of months, days and seconds.
    Interval,
}

impl Value {
    /// Makes an integer.
    pub fn from_u64(number: u64) -> Self {
        i64::try_from(number).map_or(Self::UInt(number), Self::Int)
    }

    /// Makes text of what should be UTF-8.
    pub fn text(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::RawText(error.into_bytes()),
        }
    }

    /// Makes a decimal number of digits with a sign before and a point within them; zeros before the number (not
    /// those behind it), a plus, and the minus of a zero are left out. Also takes `NaN`, `Infinity`, `-Infinity`.
    pub fn decimal(text: &str) -> Option<Self> {
        if matches!(text, "NaN" | "Infinity" | "-Infinity") {
            return Some(Self::Decimal(text.to_owned()));
        }
        let (minus, number) = match text.strip_prefix(['-', '+']) {
            Some(number) => (text.starts_with('-'), number),
            None => (false, text),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = digits(whole) && fraction.is_none_or(|part| !part.is_empty() && digits(part));
        if !is_number || whole.is_empty() && fraction.is_none() {
            return None;
        }
        let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let whole = whole.trim_start_matches('0');
        let mut made = String::with_capacity(text.len() + 1);
        made.push_str(if minus && !is_zero { "-" } else { "" });
        made.push_str(if whole.is_empty() { "0" } else { whole });
        if let Some(fraction) = fraction {
            made.push('.');
            made.push_str(fraction);
        }
        Some(Self::Decimal(made))
    }

    /// Returns whether a text is what [`decimal`](Self::decimal) would make of it.
    pub fn is_decimal(text: &str) -> bool {
        if matches!(text, "NaN" | "Infinity" | "-Infinity") {
            return true;
        }
        let number = text.strip_prefix('-').unwrap_or(text).as_bytes();
        let point = number.iter().position(|byte| *byte == b'.').unwrap_or(number.len());
        let (whole, fraction) = number.split_at(point);
        let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        let is_whole = digits(whole) && (whole.len() == 1 || !whole.starts_with(b"0"));
        let is_number = is_whole && fraction.split_first().is_none_or(|(_, fraction)| digits(fraction));
        // A zero is never below zero.
        is_number && (number.len() == text.len() || number.iter().any(|byte| matches!(byte, b'1'..=b'9')))
    }

    /// Returns whether it is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns about how many bytes of memory it takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Decimal(text) | Self::Text(text) | Self::Time(_, text) => text.len(),
            Self::RawText(bytes) | Self::Bytes(bytes) => bytes.len(),
            // At most `MAX_DEPTH` calls deep: deeper ones are never made.
            Self::List(items) => items.iter().map(|item| size_of::<Self>() + item.heap_bytes()).sum(),
            Self::Map(pairs) => pairs
                .iter()
                .map(|(name, value)| size_of::<(String, Self)>() + name.len() + value.heap_bytes())
                .sum(),
            _ => 0,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::UInt(a), Self::UInt(b)) => a == b,
            (Self::Decimal(a), Self::Decimal(b)) | (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b) == Ordering::Equal,
            (Self::RawText(a), Self::RawText(b)) | (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Time(a, x), Self::Time(b, y)) => (a, x) == (b, y),
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl TimeKind {
    /// Every kind, in the order of their stored numbers.
    pub const ALL: [Self; 6] =
        [Self::Date, Self::Time, Self::TimeZoned, Self::Timestamp, Self::Moment, Self::Interval];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_one_form() {
        for (given, made) in [
            ("0012.50", "12.50"),
            ("-0.00", "0.00"),
            ("+7", "7"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
        ] {
            assert_eq!(Value::decimal(given), Some(Value::Decimal(made.into())), "{given}");
        }
        for wrong in ["", "-", ".", "1.", "1e5", "1,5", " 1", "--1", "٣", "nan"] {
            assert_eq!(Value::decimal(wrong), None, "{wrong}");
        }
    }

    /// Every text of up to six characters of these, of which some are numbers.
    #[test]
    fn what_has_that_form_is_known_without_making_it() {
        let letters = ['-', '+', '.', '0', '7', 'x'];
        let (mut texts, mut found) = (vec![String::new()], 0);
        for text in ["NaN", "-NaN", "Infinity", "-Infinity", "inf"] {
            texts.push(text.to_owned());
        }
        while let Some(text) = texts.pop() {
            let is_one = Value::decimal(&text) == Some(Value::Decimal(text.clone()));
            assert_eq!(Value::is_decimal(&text), is_one, "{text}");
            found += u32::from(is_one);
            if text.len() < 6 {
                texts.extend(letters.iter().map(|letter| format!("{text}{letter}")));
            }
        }
        assert!(found > 100, "{found}");
    }

    #[test]
    fn values_are_equal_bit_by_bit() {
        assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_ne!(Value::decimal("1.5"), Value::decimal("1.50"));
        assert_eq!(Value::from_u64(7), Value::Int(7));
        assert_eq!(Value::from_u64(u64::MAX), Value::UInt(u64::MAX));
        assert_eq!(Value::text(vec![0xff]), Value::RawText(vec![0xff]));
    }
}
