//! Messages that carry no data: what is said, how far it is, what went wrong.

use super::message::Said;
use super::read;
use super::session::{Event, Failure};
use super::state::{Line, Phase, State};
use super::violation::{Violation, shown};
use super::{MAX_TEXT_BYTES, VERSION};
use crate::manifest::programs::Severity;
use crate::manifest::words::Words;
use serde::Deserialize;

impl State {
    pub fn log(&mut self, text: &str) -> Result<Line, Violation> {
        let log: Log = read::read(text)?;
        let level = log.level.as_deref().and_then(Severity::from_word).unwrap_or(Severity::Info);
        let mut text = log.msg.unwrap_or_default();
        if let Some(fields) =
            log.fields.filter(|fields| fields.as_object().is_some_and(|map| !map.is_empty()))
        {
            text.push_str(&format!(" {fields}"));
        }
        let kept = self.notice(level)?;
        Ok(if kept { Line::Event(Event::Said(Said { level, text: one_line(&text) })) } else { Line::Nothing })
    }

    pub fn progress(&mut self, text: &str) -> Result<Line, Violation> {
        let Progress { done, total, what } = read::read(text)?;
        self.count()?;
        Ok(Line::Event(Event::Progress { done, total, what: shown(&what.unwrap_or_default()) }))
    }

    pub fn error(&mut self, text: &str) -> Result<Line, Violation> {
        let error: Error = read::read(text)?;
        let code = error.code;
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if code.is_empty() || code.len() > 40 || !code.bytes().all(known) {
            return Err(Violation::protocol("code must be a word of a-z, 0-9 and -"));
        }
        let mut message = one_line(&error.msg.unwrap_or_default());
        if error.fatal.unwrap_or(false) {
            if let Some(supported) = error.supported {
                message =
                    format!("it speaks versions {supported:?} of the protocol, and this program {VERSION}");
            }
            self.phase = Phase::Over;
            let retry = error.retry.unwrap_or(false);
            return Ok(Line::Event(Event::Failed(Failure { code, message, retry })));
        }
        if self.phase == Phase::Opening {
            return Err(Violation::protocol("it must begin with hello"));
        }
        // That it does not know a type of ours is nothing that went wrong.
        let is_answer = code == "unsupported" && error.s.is_none();
        let level = if is_answer { Severity::Debug } else { Severity::Error };
        let kept = self.notice(level)?;
        if let Some(s) = error.s {
            if self.phase != Phase::Working || !self.streams.void(s, &format!("{code}: {message}")) {
                return Err(Violation::protocol(format!("stream {s} is not open")));
            }
            self.has_void = true;
        }
        let said = Said { level, text: format!("{code}: {message}") };
        Ok(if kept { Line::Event(Event::Said(said)) } else { Line::Nothing })
    }
}

/// Makes text fit into one line of a log.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() > MAX_TEXT_BYTES {
            line.push('…');
            break;
        }
        match c {
            '\t' => line.push(c),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default)]
    fields: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Progress {
    done: u64,
    #[serde(default)]
    total: Option<u64>,
    #[serde(default)]
    what: Option<String>,
}

#[derive(Deserialize)]
struct Error {
    code: String,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default)]
    fatal: Option<bool>,
    #[serde(default)]
    retry: Option<bool>,
    #[serde(default)]
    s: Option<u64>,
    #[serde(default)]
    supported: Option<Vec<u64>>,
}
