//! Streams that a module sends: what came and was not taken, what may still come, and whether the end is right.

use super::canon::Value;
use super::message::{Opened, Shape};
use super::rows::{self, Row};
use super::violation::Violation;
use super::{CREDIT_BYTES, MAX_STREAMS, MAX_WINDOW};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What there is of a stream for whoever takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Wait,
    /// It ended as it should.
    End,
    /// It broke off; why.
    Void(String),
}

/// What a stream stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Void(String),
}

/// One of them.
struct Inbound {
    shape: Shape,
    /// Values of a row; of records.
    width: usize,
    held: Vec<u8>,
    at: usize,
    digest: Sha256,
    bytes: u64,
    rows: u64,
    /// What counts against credit, and how much was granted.
    spent: u64,
    granted: u64,
    state: State,
}

/// All of them.
#[derive(Default)]
pub(super) struct Streams {
    known: BTreeMap<u64, Inbound>,
    names: BTreeSet<String>,
    last: u64,
    opened: usize,
    /// Numbers opened since the oldest open one was, it included.
    window: Vec<u64>,
}

impl Streams {
    /// Opens one.
    pub fn open(&mut self, opened: &Opened) -> Result<(), Violation> {
        let s = opened.s;
        if s % 2 != 1 || s <= self.last || s > super::canon::MAX_NUMBER {
            let why = format!("s is {s}: it must be odd, and greater than all before ({})", self.last);
            return Err(Violation::protocol(why));
        }
        self.opened += 1;
        if self.opened > MAX_STREAMS {
            return Err(Violation::limit(format!("more than {MAX_STREAMS} streams")));
        }
        if self.window.len() >= MAX_WINDOW {
            let why = format!("{MAX_WINDOW} streams were opened since the oldest open one was");
            return Err(Violation::limit(why));
        }
        if !self.names.insert(opened.name.as_str().to_owned()) {
            return Err(Violation::protocol("the name was used before"));
        }
        let (mut held, mut width) = (Vec::new(), 2);
        match (opened.shape, &opened.schema) {
            (Shape::Records, Some(schema)) => {
                width = rows::columns(schema)?;
                held = rows::header(schema);
            }
            (Shape::Tree, _) => held = rows::TREE_HEADER.to_vec(),
            _ => {}
        }
        self.last = s;
        self.window.push(s);
        self.known.insert(
            s,
            Inbound {
                shape: opened.shape,
                width,
                held,
                at: 0,
                digest: Sha256::new(),
                bytes: 0,
                rows: 0,
                spent: 0,
                granted: CREDIT_BYTES,
                state: State::Open,
            },
        );
        Ok(())
    }

    /// Keeps a name from being used: it belongs to a source of the manifest.
    pub fn reserve(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    fn receiving(&mut self, s: u64, bytes: bool, cost: u64) -> Result<&mut Inbound, Violation> {
        let stream = self.known.get_mut(&s).filter(|stream| stream.state == State::Open);
        let stream = stream.ok_or_else(|| Violation::protocol(format!("stream {s} is not open")))?;
        if bytes != (stream.shape == Shape::Blob) {
            return Err(Violation::protocol(format!("stream {s} has another shape")));
        }
        stream.spent += cost;
        if stream.spent > stream.granted {
            return Err(Violation::protocol(format!("stream {s} goes beyond its credit")));
        }
        Ok(stream)
    }

    /// Says that bytes are about to come.
    pub fn announce(&mut self, s: u64, n: u64) -> Result<(), Violation> {
        self.receiving(s, true, n).map(drop)
    }

    /// Takes bytes that were announced.
    pub fn bytes(&mut self, s: u64, bytes: &[u8]) {
        if let Some(stream) = self.known.get_mut(&s) {
            stream.digest.update(bytes);
            stream.bytes += bytes.len() as u64;
            stream.held.extend_from_slice(bytes);
        }
    }

    /// Takes rows that came in a line of so many bytes.
    pub fn rows(&mut self, s: u64, rows: &[Row], line_bytes: usize) -> Result<(), Violation> {
        let stream = self.receiving(s, false, line_bytes as u64)?;
        for row in rows {
            row.check(stream.shape, stream.width)?;
            stream.held.extend_from_slice(row.text.as_bytes());
            stream.held.push(b'\n');
            stream.rows += 1;
        }
        Ok(())
    }

    /// Ends one; what it says of itself must be true.
    pub fn end(&mut self, s: u64, end: &End<'_>) -> Result<(), Violation> {
        let stream = self.receiving(s, end.count.is_none(), 0)?;
        match (end.bytes, &end.sha256, end.count) {
            (Some(bytes), Some(digest), None) => {
                let came: String =
                    stream.digest.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect();
                if bytes != stream.bytes {
                    return Err(Violation::protocol(format!(
                        "stream {s} had {} bytes, and its end says {bytes}",
                        stream.bytes
                    )));
                }
                if **digest != *came {
                    let why = format!("what came of stream {s} has not the digest that its end says");
                    return Err(Violation::protocol(why));
                }
            }
            (None, None, Some(count)) if count == stream.rows => {
                stream.held.extend_from_slice(format!("{{\"count\":{count}}}\n").as_bytes());
            }
            (None, None, Some(count)) => {
                let why = format!("stream {s} had {} rows, and its end says {count}", stream.rows);
                return Err(Violation::protocol(why));
            }
            _ => return Err(Violation::protocol("either bytes and sha256, or count")),
        }
        stream.state = State::Ended;
        self.shift();
        Ok(())
    }

    /// Voids one; returns whether it was open.
    pub fn void(&mut self, s: u64, why: &str) -> bool {
        let Some(stream) = self.known.get_mut(&s).filter(|stream| stream.state == State::Open) else {
            return false;
        };
        stream.state = State::Void(why.to_owned());
        stream.held = Vec::new();
        stream.at = 0;
        self.shift();
        true
    }

    fn shift(&mut self) {
        let is_open = |s: &u64| self.known.get(s).is_some_and(|stream| stream.state == State::Open);
        let before = self.window.iter().position(is_open).unwrap_or(self.window.len());
        self.window.drain(..before);
    }

    /// Returns whether any is open.
    pub fn any_open(&self) -> bool {
        !self.window.is_empty()
    }

    /// Takes what there is of one, into `buffer`; returns it, and how much credit is to be granted.
    pub fn take(&mut self, s: u64, buffer: &mut [u8]) -> (Taken, Option<u64>) {
        let is_oldest = self.window.first() == Some(&s);
        let Some(stream) = self.known.get_mut(&s) else {
            return (Taken::Void("it was taken before".into()), None);
        };
        let there = stream.held.get(stream.at..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), there.get(..count)) {
            to.copy_from_slice(from);
        }
        stream.at += count;
        let left = stream.held.len() - stream.at;
        // Moved rarely, and kept small where little comes.
        if left == 0 {
            stream.held.clear();
            stream.at = 0;
        } else if stream.at > left {
            stream.held.drain(..stream.at);
            stream.at = 0;
        }
        let window = stream.granted - stream.spent;
        let due = stream.state == State::Open && is_oldest && left == 0 && window <= CREDIT_BYTES / 2;
        let grant = due.then(|| CREDIT_BYTES - window);
        stream.granted += grant.unwrap_or(0);
        let taken = match (&stream.state, count) {
            (State::Void(why), _) => Taken::Void(why.clone()),
            (_, 1..) => Taken::Bytes(count),
            (State::Open, _) => Taken::Wait,
            (State::Ended, _) => Taken::End,
        };
        if matches!(taken, Taken::End | Taken::Void(_)) {
            self.known.remove(&s);
        }
        (taken, grant)
    }
}

/// The end of a stream, as it says of itself.
#[derive(serde::Deserialize)]
pub(super) struct End<'m> {
    pub s: u64,
    #[serde(default)]
    pub bytes: Option<u64>,
    #[serde(default, borrow)]
    pub sha256: Option<std::borrow::Cow<'m, str>>,
    #[serde(default)]
    pub count: Option<u64>,
}

/// Returns whether a value fits into a line together with what surrounds it.
pub(super) fn assert_fits(value: &Value) -> Result<(), Violation> {
    if value.as_text().len() > super::MAX_VALUE_BYTES {
        let why = format!("a value is longer than {} bytes", super::MAX_VALUE_BYTES);
        return Err(Violation::limit(why));
    }
    Ok(())
}
