//! What PHP's `serialize` writes: values, no objects, so that nothing comes alive when it is read.

use crate::planted::{Bug, planted};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Most values in one text.
const MAX_VALUES: usize = 1_000_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Php {
    /// `N;`
    Null,
    /// `b:1;`
    Bool(bool),
    /// `i:7;`
    Int(i64),
    /// `d:0.5;`
    Float(f64),
    /// `s:2:"ab";`
    Text(Vec<u8>),
    /// `a:1:{…}`: keys are integers or texts, in their order.
    Map(Vec<(Php, Php)>),
}

impl Php {
    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Php> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(known, _)| matches!(known, Self::Text(text) if text == key.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Returns the text of a scalar, as PHP would print it; none of NULL and maps.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(true) => "1".into(),
            Self::Bool(false) => String::new(),
            Self::Null | Self::Map(_) => return None,
        })
    }

    /// Returns the pairs of a map; none of anything else.
    pub fn pairs(&self) -> &[(Php, Php)] {
        if let Self::Map(pairs) = self { pairs } else { &[] }
    }
}

/// A map that is not at its end yet.
struct Open {
    left: usize,
    pairs: Vec<(Php, Php)>,
    key: Option<Php>,
}

/// Reads one value that is all of the text, but for blanks at its end.
///
/// # Errors
/// What is wrong, and at which byte.
pub fn read(bytes: &[u8]) -> Result<Php, String> {
    let mut reader = Reader { bytes, at: 0 };
    let mut open: Vec<Open> = Vec::new();
    let mut values = 0usize;
    loop {
        values += 1;
        if values > MAX_VALUES {
            return Err(format!("it has more than {MAX_VALUES} values"));
        }
        let mut value = match reader.value()? {
            Found::Value(value) => value,
            Found::Map(0) => {
                reader.expect(b'}')?;
                Php::Map(Vec::new())
            }
            Found::Map(_) if open.len() == MAX_DEPTH => return Err(reader.wrong("maps in too many others")),
            Found::Map(left) => {
                open.push(Open { left, pairs: Vec::new(), key: None });
                continue;
            }
        };
        // Closes every map that this value was the last of.
        loop {
            let Some(map) = open.last_mut() else {
                return match reader.bytes[reader.at..].iter().all(u8::is_ascii_whitespace) {
                    true => Ok(value),
                    false => Err(reader.wrong("something stands behind its end")),
                };
            };
            match map.key.take() {
                None if matches!(value, Php::Int(_) | Php::Text(_)) => {
                    map.key = Some(value);
                    break;
                }
                None => return Err(reader.wrong("a key is neither number nor text")),
                Some(key) => {
                    map.pairs.push((key, value));
                    map.left -= 1;
                }
            }
            if map.left > 0 {
                break;
            }
            reader.expect(b'}')?;
            value = Php::Map(open.pop().map(|map| map.pairs).unwrap_or_default());
        }
    }
}

enum Found {
    Value(Php),
    Map(usize),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn wrong(&self, what: &str) -> String {
        format!("byte {}: {what}", self.at)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), String> {
        if self.bytes.get(self.at) != Some(&wanted) {
            return Err(self.wrong(&format!("{:?} is missing", char::from(wanted))));
        }
        self.at += 1;
        Ok(())
    }

    fn until(&mut self, end: u8) -> Result<&'b str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(64).position(|byte| *byte == end);
        let length = length.ok_or_else(|| self.wrong("a number has no end"))?;
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| self.wrong("a number is none"))?;
        self.at += length + 1;
        Ok(text)
    }

    fn number<T: std::str::FromStr>(&mut self, end: u8) -> Result<T, String> {
        let text = self.until(end)?;
        text.parse().map_err(|_| self.wrong("a number is none"))
    }

    fn value(&mut self) -> Result<Found, String> {
        let kind = self.bytes.get(self.at).copied().ok_or_else(|| self.wrong("it ends too early"))?;
        self.at += 1;
        if kind == b'N' {
            self.expect(b';')?;
            return Ok(Found::Value(Php::Null));
        }
        self.expect(b':')?;
        Ok(Found::Value(match kind {
            b'b' => Php::Bool(self.number::<u8>(b';')? != 0),
            b'i' => Php::Int(self.number(b';')?),
            b'd' => match self.until(b';')? {
                "INF" => Php::Float(f64::INFINITY),
                "-INF" => Php::Float(f64::NEG_INFINITY),
                "NAN" => Php::Float(f64::NAN),
                text => Php::Float(text.parse().map_err(|_| self.wrong("a number is none"))?),
            },
            b's' => {
                let length: usize = self.number(b':')?;
                self.expect(b'"')?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
                let end = end.ok_or_else(|| self.wrong("a text is longer than what is there"))?;
                let text = self.bytes[self.at..end].to_vec();
                self.at = end;
                self.expect(b'"')?;
                self.expect(b';')?;
                Php::Text(text)
            }
            b'a' => {
                let count: usize = self.number(b':')?;
                self.expect(b'{')?;
                return Ok(Found::Map(count));
            }
            b'O' if planted(Bug::ReviveObjects) => {
                let name: usize = self.number(b':')?;
                self.at = self.at.saturating_add(name).saturating_add(3).min(self.bytes.len());
                let count: usize = self.number(b':')?;
                self.expect(b'{')?;
                return Ok(Found::Map(count));
            }
            b'O' | b'C' | b'E' => return Err(self.wrong("an object, and objects are not read")),
            b'r' | b'R' => return Err(self.wrong("a reference, and references are not read")),
            _ => return Err(self.wrong("a value of no known kind")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text = |text: &str| Php::Text(text.as_bytes().to_vec());
        let map = b"a:3:{s:4:\"name\";s:3:\"a\"b\";i:7;a:1:{i:0;b:1;}s:1:\"x\";a:0:{}}\n";
        let read_map = read(map).unwrap();
        let inner = Php::Map(vec![(Php::Int(0), Php::Bool(true))]);
        let pairs = vec![(text("name"), text("a\"b")), (Php::Int(7), inner), (text("x"), Php::Map(vec![]))];
        assert_eq!(read_map, Php::Map(pairs));
        assert_eq!(read_map.get("name").and_then(Php::text).as_deref(), Some("a\"b"));
        assert_eq!(read(b"N;"), Ok(Php::Null));
        assert_eq!(read(b"d:-0.5;"), Ok(Php::Float(-0.5)));
    }

    #[test]
    fn what_would_come_alive_or_lies_is_refused() {
        for wrong in [
            &b"O:8:\"stdClass\":0:{}"[..],
            b"s:9:\"ab\";",
            b"s:18446744073709551615:\"a\";",
            b"a:2:{i:0;i:1;}",
            b"a:1:{d:0.5;i:1;}",
            b"a:999999999999:{",
            b"i:1;i:2;",
            b"i:9223372036854775808;",
            b"r:1;",
            b"",
            b"x",
        ] {
            assert!(read(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        let deep = [b"a:1:{i:0;".repeat(100_000), b"N;".to_vec(), b"}".repeat(100_000)].concat();
        assert!(read(&deep).unwrap_err().contains("too many"));
    }
}
