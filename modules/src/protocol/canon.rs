//! Values of the protocol in their canonical text: no blanks, keys in the order given, each value written in one way.
//!
//! The text is what is stored, so that what has not changed is the same bytes again.

use super::MAX_DEPTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// Largest number that is written as one: 2^53 - 1.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A value that is checked, as its canonical text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(String);

impl Value {
    /// Reads a value, as JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Self::deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// Returns its canonical text.
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// Returns it as JSON, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        // What was read once can be read again.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let mut out = String::new();
        Put { out: &mut out, depth: 0 }.deserialize(reader)?;
        Ok(Self(out))
    }
}

/// Writes text as JSON does.
pub fn write_text(out: &mut String, text: &str) {
    use std::fmt::Write;
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        // Only ASCII is escaped, so these are borders of characters.
        out.push_str(text.get(from..at).unwrap_or_default());
        match escape {
            "" => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            escape => out.push_str(escape),
        }
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

/// Reads one value and writes it to `out`.
struct Put<'o> {
    out: &'o mut String,
    depth: usize,
}

impl Put<'_> {
    fn below(&mut self) -> Put<'_> {
        Put { out: self.out, depth: self.depth + 1 }
    }

    fn assert_depth<E: de::Error>(&self) -> Result<(), E> {
        if self.depth < MAX_DEPTH { Ok(()) } else { Err(E::custom(format!("more than {MAX_DEPTH} levels"))) }
    }
}

impl<'de> DeserializeSeed<'de> for Put<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Put<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push_str("null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        if value.unsigned_abs() > MAX_NUMBER {
            return Err(E::custom("an integer beyond 2^53-1; write {\"$i\":\"digits\"}"));
        }
        self.out.push_str(&value.to_string());
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        if value > MAX_NUMBER {
            return Err(E::custom("an integer beyond 2^53-1; write {\"$i\":\"digits\"}"));
        }
        self.out.push_str(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        if value.is_nan() || value.abs() > MAX_NUMBER as f64 {
            return Err(E::custom("a number beyond 2^53-1; write {\"$i\":…}, {\"$d\":…} or {\"$f\":…}"));
        }
        // With a point or an exponent, so that it stays what it is.
        self.out.push_str(&format!("{value:?}"));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write_text(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.assert_depth()?;
        self.out.push('[');
        let mut len = self.out.len();
        while list.next_element_seed(self.below())?.is_some() {
            self.out.push(',');
            len = self.out.len();
        }
        if self.out.len() == len && self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.assert_depth()?;
        self.out.push('{');
        let mut known = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if key.starts_with('$') {
                if !known.is_empty() {
                    return Err(de::Error::custom(
                        "a key with $ among others; write {\"$m\":[[key,value],…]}",
                    ));
                }
                self.tagged(&key, &mut map)?;
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom(format!("{key:?} is not alone in its map")));
                }
                break;
            }
            if !known.is_empty() {
                self.out.push(',');
            }
            write_text(self.out, &key);
            self.out.push(':');
            map.next_value_seed(self.below())?;
            if !known.insert(key) {
                return Err(de::Error::custom("a key twice in one map"));
            }
        }
        self.out.push('}');
        Ok(())
    }
}

impl Put<'_> {
    /// Reads what follows a key with `$`, and writes both.
    fn tagged<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        write_text(self.out, key);
        self.out.push(':');
        let wrong = |what: &str| de::Error::custom(format!("{key:?}: {what}"));
        if !["$m", "$t", "$i", "$d", "$f", "$b", "$r"].contains(&key) {
            return Err(wrong("no value is written so; a map with such a key is {\"$m\":[[key,value],…]}"));
        }
        if key == "$m" {
            return map.next_value_seed(Pairs(self.below()));
        }
        if key == "$t" {
            let (kind, text): (String, String) = map.next_value()?;
            if !["date", "time", "time-zoned", "timestamp", "moment", "interval"].contains(&kind.as_str()) {
                return Err(wrong("no such kind of time"));
            }
            self.out.push('[');
            write_text(self.out, &kind);
            self.out.push(',');
            write_text(self.out, &text);
            self.out.push(']');
            return Ok(());
        }
        let text: String = map.next_value()?;
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let right = match key {
            "$i" => {
                let small = || text.parse::<i64>().is_ok_and(|number| number.unsigned_abs() <= MAX_NUMBER);
                plain && !digits.starts_with('0') && !small()
            }
            "$d" => {
                let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
                let is = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                is(whole) && is(part) || matches!(&text[..], "NaN" | "Infinity" | "-Infinity")
            }
            "$f" => {
                let is_finite = |number: f64| number.is_finite() && number.abs() > MAX_NUMBER as f64;
                matches!(&text[..], "nan" | "inf" | "-inf") || text.parse().is_ok_and(is_finite)
            }
            "$b" => STANDARD.decode(&text).is_ok(),
            _ => STANDARD.decode(&text).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_err()),
        };
        if !right {
            return Err(wrong("its text is none of that kind, or has a shorter form"));
        }
        match (key, text.parse::<f64>()) {
            // However many digits it came with.
            ("$f", Ok(number)) if number.is_finite() => write_text(self.out, &format!("{number:?}")),
            _ => write_text(self.out, &text),
        }
        Ok(())
    }
}

/// Reads the pairs of `$m`.
struct Pairs<'o>(Put<'o>);

impl<'de> DeserializeSeed<'de> for Pairs<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pairs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pairs")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.0.assert_depth()?;
        self.0.out.push('[');
        let mut known = BTreeSet::new();
        while let Some(key) = list.next_element_seed(Pair(self.0.below(), known.is_empty()))? {
            if !known.insert(key) {
                return Err(de::Error::custom("a key twice in one map"));
            }
        }
        if !known.iter().any(|key| key.starts_with('$')) {
            return Err(de::Error::custom("no key of this map begins with $, so it is written as a map"));
        }
        self.0.out.push(']');
        Ok(())
    }
}

/// Reads one of them; whether it is the first.
struct Pair<'o>(Put<'o>, bool);

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        reader.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key and a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<String, A::Error> {
        let key: String = list.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        self.0.out.push_str(if self.1 { "[" } else { ",[" });
        write_text(self.0.out, &key);
        self.0.out.push(',');
        list.next_element_seed(self.0.below())?.ok_or_else(|| de::Error::custom("a key without a value"))?;
        if list.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::custom("more than a key and a value"));
        }
        self.0.out.push(']');
        Ok(key)
    }
}
