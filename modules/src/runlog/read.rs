//! Reads a log line by line, in bounded memory.

use super::{End, Event, Head, MAX_LINE_BYTES};
use crate::id::ModuleId;
use crate::manifest::programs::Severity;
use crate::manifest::words::Words;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, BufRead};

/// An event as it stands in the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Written<'a> {
    pub(super) time: Timestamp,
    pub(super) level: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<Cow<'a, str>>,
    pub(super) message: Cow<'a, str>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The first one.
    Head(Head),
    /// What happened.
    Event(Event),
    /// The last one.
    End(End),
    /// None of these: torn by a crash, or not ours.
    Broken,
}

/// Reads the lines of a log.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    line: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Begins to read.
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new() }
    }

    /// Reads one line into the buffer, as far as a line may be long; returns whether there was one.
    fn fill(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut some = false;
        loop {
            let buffer = match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                return Ok(some);
            }
            some = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = end.map_or(buffer, |end| &buffer[..end]);
            // One byte too many shows that it is too long; the rest of it is passed over.
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        match self.fill() {
            Ok(false) => None,
            Ok(true) => Some(Ok(parse(&self.line))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Line {
    if line.len() > MAX_LINE_BYTES {
        return Line::Broken;
    }
    if let Ok(written) = serde_json::from_slice::<Written<'_>>(line) {
        let module = written.module.as_deref().map(ModuleId::parse).transpose();
        return match (Severity::from_word(&written.level), module) {
            (Some(level), Ok(module)) => {
                let (time, message) = (written.time, written.message.into_owned());
                Line::Event(Event { time, level, module, message })
            }
            _ => Line::Broken,
        };
    }
    if let Ok(end) = serde_json::from_slice(line) {
        return Line::End(end);
    }
    serde_json::from_slice(line).map_or(Line::Broken, Line::Head)
}
