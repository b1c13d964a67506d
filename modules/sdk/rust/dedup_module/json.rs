//! JSON, and values as PROTOCOL.md 5 writes them.

use super::bytes::{from_base64, to_base64};
use std::fmt::Write;

const MAX_NUMBER: i64 = (1 << 53) - 1;
const MAX_DEPTH: usize = 64;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, as its digits.
    Big(String),
    /// A decimal number, as its text.
    Decimal(String),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A date or time: its kind, and how its source writes it.
    Time(String, String),
    List(Vec<Value>),
    /// In the order given.
    Map(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value {
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn as_number(&self) -> Option<u64> {
        if let Self::Int(number) = self { u64::try_from(*number).ok() } else { None }
    }

    pub fn as_list(&self) -> &[Value] {
        if let Self::List(list) = self { list } else { &[] }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Returns the text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// Returns the number of a key.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_number()
    }

    pub fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    /// Writes a value of a module.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
            Self::Int(n) if (-MAX_NUMBER..=MAX_NUMBER).contains(n) => drop(write!(out, "{n}")),
            Self::Int(n) => drop(write!(out, "{{\"$i\":\"{n}\"}}")),
            Self::Big(digits) => wrapped(out, "$i", digits),
            Self::Decimal(text) => wrapped(out, "$d", text),
            Self::Float(n) if n.is_nan() => wrapped(out, "$f", "nan"),
            Self::Float(n) if n.is_infinite() => wrapped(out, "$f", if *n > 0.0 { "inf" } else { "-inf" }),
            Self::Float(n) if n.abs() > MAX_NUMBER as f64 => wrapped(out, "$f", &format!("{n:e}")),
            Self::Float(n) => drop(write!(out, "{n:?}")),
            Self::Text(text) => put_text(out, text),
            Self::Bytes(bytes) => wrapped(out, "$b", &to_base64(bytes)),
            Self::Time(kind, text) => {
                out.push_str("{\"$t\":");
                Self::List(vec![kind.as_str().into(), text.as_str().into()]).write(out);
                out.push('}');
            }
            Self::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(pairs) if pairs.iter().any(|(key, _)| key.starts_with('$')) => {
                let pairs =
                    pairs.iter().map(|(key, value)| Value::List(vec![key.as_str().into(), value.clone()]));
                out.push_str("{\"$m\":");
                Self::List(pairs.collect()).write(out);
                out.push('}');
            }
            Self::Map(pairs) => {
                out.push('{');
                for (n, (key, value)) in pairs.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    put_text(out, key);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Returns what was written; none if it is no JSON, or too deep.
    pub fn read(text: &str) -> Option<Value> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blank();
        (reader.at == text.len()).then_some(value)
    }
}

/// Writes a message: `t`, and what else it has.
pub fn message(t: &str, keys: &[(&str, Value)]) -> String {
    let mut out = format!("{{\"t\":\"{t}\"");
    for (key, value) in keys {
        let _ = write!(out, ",\"{key}\":");
        value.write(&mut out);
    }
    out.push('}');
    out
}

fn wrapped(out: &mut String, key: &str, text: &str) {
    let _ = write!(out, "{{\"{key}\":\"{text}\"}}");
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn eat(&mut self, word: &str) -> Option<()> {
        self.blank();
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > 2 * MAX_DEPTH {
            return None;
        }
        self.blank();
        match self.rest().bytes().next()? {
            b'n' => self.eat("null").map(|()| Value::Null),
            b't' => self.eat("true").map(|()| Value::Bool(true)),
            b'f' => self.eat("false").map(|()| Value::Bool(false)),
            b'"' => self.string().map(Value::Text),
            b'[' => {
                self.eat("[")?;
                let mut items = Vec::new();
                if self.eat("]").is_some() {
                    return Some(Value::List(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.eat(",").is_none() {
                        return self.eat("]").map(|()| Value::List(items));
                    }
                }
            }
            b'{' => {
                self.eat("{")?;
                let mut pairs = Vec::new();
                if self.eat("}").is_some() {
                    return Some(Value::Map(pairs));
                }
                loop {
                    self.blank();
                    let key = self.string()?;
                    self.eat(":")?;
                    pairs.push((key, self.value(depth + 1)?));
                    if self.eat(",").is_none() {
                        return self.eat("}").and_then(|()| unwrapped(pairs));
                    }
                }
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        self.at += end;
        let text = &rest[..end];
        let whole = text.parse().ok().map(Value::Int);
        whole.or_else(|| text.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Float))
    }

    fn string(&mut self) -> Option<String> {
        self.rest().strip_prefix('"')?;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(['"', '\\'])?;
            out.push_str(&rest[..end]);
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Some(out);
            }
            let escaped = self.rest().chars().next()?;
            self.at += escaped.len_utf8();
            out.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                '"' | '\\' | '/' => escaped,
                'u' => self.escaped()?,
                _ => return None,
            });
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let mut hex = || {
            let digits = self.text.get(self.at..self.at + 4)?;
            self.at += 4;
            u32::from_str_radix(digits, 16).ok()
        };
        let first = hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.rest().starts_with("\\u").then(|| self.at += 2)?;
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let second = u32::from_str_radix(digits, 16).ok()?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second.checked_sub(0xdc00)?)
    }
}

/// Returns a map, or what it stands for.
fn unwrapped(pairs: Vec<(String, Value)>) -> Option<Value> {
    let [(key, inner)] = &pairs[..] else { return Some(Value::Map(pairs)) };
    let text = || inner.as_text().map(str::to_owned);
    match key.as_str() {
        "$i" => {
            let digits = text()?;
            Some(digits.parse().map(Value::Int).unwrap_or(Value::Big(digits)))
        }
        "$d" => text().map(Value::Decimal),
        "$f" => text()?.parse().ok().map(Value::Float),
        "$b" | "$r" => from_base64(&text()?).map(Value::Bytes),
        "$t" => {
            let [kind, text] = inner.as_list() else { return None };
            Some(Value::Time(kind.as_text()?.to_owned(), text.as_text()?.to_owned()))
        }
        "$m" => {
            let pair = |pair: &Value| {
                let [key, value] = pair.as_list() else { return None };
                Some((key.as_text()?.to_owned(), value.clone()))
            };
            inner.as_list().iter().map(pair).collect::<Option<_>>().map(Value::Map)
        }
        _ => Some(Value::Map(pairs)),
    }
}
