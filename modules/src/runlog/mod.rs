//! Logs of runs: written while a run goes on, kept, and read again.
//!
//! One file for each run, one JSON object a line, each line written at once:
//!
//! ```text
//! {"run":"ID","operation":"backup","time":"2026-11-21T02:00:00Z","format":1}           first; of a job's run with "job":"ID"
//! {"time":"…","level":"warning","module":"wiki","message":"…"}                         one for each event
//! {"time":"…","result":"partial","exit_code":3}                                        last, if the run came to its end
//! ```
//!
//! A log without a last line is one of a run that died, or that still goes on: as long as it does, its file is locked
//! ([`store`]). A torn line is what a crash leaves behind; it is passed over and counted, as is everything that is no
//! event. What is read was written by programs and named by users: whoever shows it on a terminal escapes it.

mod read;
pub mod store;
#[cfg(test)]
mod tests;

pub use read::{Line, Reader};

use crate::id::ModuleId;
use crate::manifest::programs::Severity;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

/// The version of the format.
pub const FORMAT: u32 = 1;
/// Longest message in bytes; what is longer is cut.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Longest line that is read. Even a message in which every byte is escaped fits.
pub const MAX_LINE_BYTES: usize = 128 << 10;

/// The name of a run, and of its log: 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RunId(String);

/// Text that is no name of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no id of a run: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
)]
pub struct BadRunId(String);

impl RunId {
    /// Reads an id.
    pub fn parse(text: &str) -> Result<Self, BadRunId> {
        let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(ok) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadRunId(text.chars().take(80).collect()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = BadRunId;

    fn try_from(text: String) -> Result<Self, BadRunId> {
        Self::parse(&text)
    }
}

impl FromStr for RunId {
    type Err = BadRunId;

    fn from_str(text: &str) -> Result<Self, BadRunId> {
        Self::parse(text)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first line: what runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The run.
    pub run: RunId,
    /// What it does: `backup`, `restore`, …
    pub operation: String,
    /// The job it is a run of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<ModuleId>,
    /// When it began.
    pub time: Timestamp,
    /// The version of the format.
    pub format: u32,
}

/// A line between: what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// How much it matters.
    pub level: Severity,
    /// Which module it concerns.
    pub module: Option<ModuleId>,
    /// What.
    pub message: String,
}

/// The last line: how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub time: Timestamp,
    /// In a word: `complete`, `partial`, `failed`, …
    pub result: String,
    /// The status the process ended with.
    pub exit_code: u8,
}

/// Writes the log of a run.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Begins a log.
    pub fn begin(to: W, run: &RunId, operation: &str, time: Timestamp) -> io::Result<Self> {
        Self::begin_of_job(to, run, operation, None, time)
    }

    /// Begins the log of a run of a job.
    pub fn begin_of_job(
        to: W,
        run: &RunId,
        operation: &str,
        job: Option<&ModuleId>,
        time: Timestamp,
    ) -> io::Result<Self> {
        let mut writer = Self { to };
        let (run, operation) = (run.clone(), operation.to_owned());
        writer.line(&Head { run, operation, job: job.cloned(), time, format: FORMAT })?;
        Ok(writer)
    }

    /// Adds an event. A message that is too long is cut where a character ends, and says so.
    pub fn event(
        &mut self,
        time: Timestamp,
        level: Severity,
        module: Option<&ModuleId>,
        message: &str,
    ) -> io::Result<()> {
        let cut;
        let message = if message.len() > MAX_MESSAGE_BYTES {
            cut = format!("{}… (cut)", &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)]);
            &cut
        } else {
            message
        };
        self.line(&read::Written {
            time,
            level: level.to_string().into(),
            module: module.map(|id| id.as_str().into()),
            message: message.into(),
        })
    }

    /// Ends the log; gives back what it was written to.
    pub fn finish(mut self, time: Timestamp, result: &str, exit_code: u8) -> io::Result<W> {
        self.line(&End { time, result: result.to_owned(), exit_code })?;
        self.to.flush()?;
        Ok(self.to)
    }

    /// Writes one line by one call, so that a crash tears the last one at most.
    fn line(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.to.write_all(&line)
    }
}
