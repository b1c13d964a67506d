//! What a session stands at, and what each line makes of it.

use super::message::{Message, Shape, SpaceAct};
use super::opening::{Offer, Op, hello};
use super::outbound::Outbounds;
use super::read::{self, Head};
use super::rows::Row;
use super::session::Event;
use super::streams::{End, Streams, assert_fits};
use super::violation::{Violation, shown};
use super::{
    MAX_CHUNK_BYTES, MAX_KEPT, MAX_LINE_BYTES, MAX_NOTICES, MAX_NUMBER, MAX_RAW_BYTES, MAX_REQUESTS,
};
use crate::manifest::programs::Severity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Working,
    Done,
    Over,
}

pub(super) struct State {
    pub op: Op,
    pub offer: Offer,
    pub phase: Phase,
    pub raw: bool,
    pub keyed: bool,
    pub cancelled: bool,
    pub streams: Streams,
    pub outbounds: Outbounds,
    pub asked: BTreeSet<u64>,
    /// The stream whose raw bytes come; none if they are dropped.
    pub raw_of: Option<u64>,
    pub notices: u64,
    pub kept: u64,
    pub left_out: u64,
    pub worst_left_out: Option<Severity>,
    /// Whether anything came that carries data.
    pub has_begun: bool,
    /// A stream broke off.
    pub has_void: bool,
    pub out: Vec<u8>,
}

/// What a line was.
pub(super) enum Line {
    Nothing,
    Event(Event),
    /// So many raw bytes follow.
    Raw(usize),
}

impl State {
    pub fn new(op: Op, offer: Offer) -> Self {
        Self {
            op,
            offer,
            phase: Phase::Opening,
            raw: false,
            keyed: false,
            cancelled: false,
            streams: Streams::default(),
            outbounds: Outbounds::default(),
            asked: BTreeSet::new(),
            raw_of: None,
            notices: 0,
            kept: 0,
            left_out: 0,
            worst_left_out: None,
            has_begun: false,
            has_void: false,
            out: Vec::new(),
        }
    }

    pub fn send(&mut self, message: &serde_json::Value) {
        self.send_text(&message.to_string());
    }

    /// Sends a line. One that is too long would be a violation of ours: what it answers is denied.
    pub fn send_text(&mut self, line: &str) {
        debug_assert!(line.len() < MAX_LINE_BYTES, "{} bytes", line.len());
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
    }

    /// Counts a message that carries no data; returns whether it is to be kept.
    pub fn notice(&mut self, level: Severity) -> Result<bool, Violation> {
        self.count()?;
        if self.kept < MAX_KEPT {
            self.kept += 1;
            return Ok(true);
        }
        self.left_out += 1;
        // The most severe comes first.
        self.worst_left_out = Some(self.worst_left_out.map_or(level, |worst| worst.min(level)));
        Ok(false)
    }

    pub fn count(&mut self) -> Result<(), Violation> {
        self.notices += 1;
        if self.notices > MAX_NOTICES {
            return Err(Violation::limit(format!("more than {MAX_NOTICES} messages that carry no data")));
        }
        Ok(())
    }

    /// Takes a line.
    pub fn line(&mut self, line: &[u8]) -> Result<Line, Violation> {
        let text = std::str::from_utf8(line).map_err(|_| Violation::protocol("a line is not UTF-8"))?;
        if !text.starts_with('{') || !text.ends_with('}') {
            let why = format!("a line is no JSON object: \"{}\"", shown(text));
            return Err(Violation::protocol(why));
        }
        let head: Head<'_> = read::read(text)?;
        if head.id.is_some_and(|id| !(1..=MAX_NUMBER).contains(&id)) {
            return Err(Violation::protocol("id must be from 1 to 2^53-1"));
        }
        let t = &*head.t;
        self.typed(t, head.id, head.must.unwrap_or(false), text)
            .map_err(|violation| violation.within(&shown(t)))
    }

    fn typed(&mut self, t: &str, id: Option<u64>, must: bool, text: &str) -> Result<Line, Violation> {
        if self.cancelled {
            return self.after_cancel(t, text);
        }
        match (self.phase, t) {
            (Phase::Opening, "hello") => {
                let hello = hello(self.op, self.offer, text)?;
                self.phase = Phase::Working;
                (self.raw, self.keyed) = (hello.raw, hello.keyed);
                if self.offer.unheard {
                    self.send(&json!({ "t": "unheard", "of": [1, { "deep": null }] }));
                }
                Ok(Line::Event(Event::Hello(hello)))
            }
            (_, "error") => self.error(text),
            (Phase::Opening, _) => Err(Violation::protocol("it must begin with hello")),
            (_, "hello") => Err(Violation::protocol("hello twice")),
            (_, "log") => self.log(text),
            (_, "alive") => self.count().map(|()| Line::Nothing),
            (Phase::Done, _) => Err(Violation::protocol("nothing but log and alive may follow done")),
            (_, "progress") => self.progress(text),
            (_, "done") => self.done(),
            (_, "cancelled") => Err(Violation::protocol("nobody cancelled")),
            _ => self.working(t, id, must, text),
        }
    }

    fn working(&mut self, t: &str, id: Option<u64>, must: bool, text: &str) -> Result<Line, Violation> {
        match t {
            "chunk" => {
                let chunk: Chunk<'_> = read::read(text)?;
                let bytes = STANDARD
                    .decode(chunk.b64.as_bytes())
                    .map_err(|error| Violation::protocol(format!("b64: {error}")))?;
                if bytes.is_empty() || bytes.len() > MAX_CHUNK_BYTES {
                    let why =
                        format!("b64 has {} bytes: from 1 to {MAX_CHUNK_BYTES} are allowed", bytes.len());
                    return Err(Violation::protocol(why));
                }
                self.streams.announce(chunk.s, bytes.len() as u64)?;
                self.streams.bytes(chunk.s, &bytes);
                Ok(Line::Nothing)
            }
            "raw" => {
                let (s, n) = self.raw_head(text)?;
                self.streams.announce(s, n as u64)?;
                self.raw_of = Some(s);
                Ok(Line::Raw(n))
            }
            "row" => {
                let OneRow { s, v } = read::read(text)?;
                self.streams.rows(s, &[v], text.len()).map(|()| Line::Nothing)
            }
            "rows" => {
                let Rows { s, v } = read::read(text)?;
                self.streams.rows(s, &v, text.len()).map(|()| Line::Nothing)
            }
            "end" => {
                let end: End<'_> = read::read(text)?;
                self.streams.end(end.s, &end).map(|()| Line::Nothing)
            }
            "credit" => {
                let Raw { s, n } = read::read(text)?;
                self.outbounds.grant(s, n).map(|()| Line::Nothing)
            }
            _ => self.message(t, id, must, text),
        }
    }

    fn raw_head(&self, text: &str) -> Result<(u64, usize), Violation> {
        let Raw { s, n } = read::read(text)?;
        match usize::try_from(n) {
            _ if !self.raw => Err(Violation::protocol("the feature raw was not agreed on")),
            Ok(n @ 1..=MAX_RAW_BYTES) => Ok((s, n)),
            _ => Err(Violation::protocol(format!("n is {n}, and from 1 to {MAX_RAW_BYTES} is allowed"))),
        }
    }

    fn message(&mut self, t: &str, id: Option<u64>, must: bool, text: &str) -> Result<Line, Violation> {
        let shape = match t {
            "blob" => Some(Shape::Blob),
            "records" => Some(Shape::Records),
            "tree" => Some(Shape::Tree),
            _ => None,
        };
        if let Some(shape) = shape {
            self.assert_in(&[Op::Export])?;
            self.ask(id)?;
            let opened = read::open(shape, text)?;
            if !opened.key.is_empty() && !self.keyed {
                return Err(Violation::protocol("the feature keyed was not agreed on"));
            }
            self.streams.open(&opened)?;
            self.has_begun = true;
            self.answer_opened(id);
            return Ok(Line::Event(Event::Opened(opened)));
        }
        let Some(message) = read::message(t, text)? else {
            self.count()?;
            if must {
                return Err(Violation { code: "unsupported", message: "no such type is known here".into() });
            }
            let mut error = json!({ "t": "error", "code": "unsupported", "msg": shown(t), "fatal": false });
            if let Some(id) = id {
                error["id"] = id.into();
            }
            self.send(&error);
            return Ok(Line::Nothing);
        };
        self.assert_allowed(&message, id)?;
        self.ask(id)?;
        self.has_begun = true;
        Ok(Line::Event(Event::Message(id, message)))
    }

    fn answer_opened(&mut self, id: Option<u64>) {
        if let Some(id) = id.filter(|id| self.asked.remove(id)) {
            self.send(&json!({ "t": "ack", "id": id }));
        }
    }

    /// Notes a request that is to be answered.
    fn ask(&mut self, id: Option<u64>) -> Result<(), Violation> {
        let Some(id) = id else { return Ok(()) };
        if !self.asked.insert(id) {
            return Err(Violation::protocol(format!("the id {id} is one of a request that is open")));
        }
        if self.asked.len() > MAX_REQUESTS {
            return Err(Violation::limit(format!("more than {MAX_REQUESTS} requests are open")));
        }
        Ok(())
    }

    fn assert_in(&self, ops: &[Op]) -> Result<(), Violation> {
        if ops.contains(&self.op) { Ok(()) } else { Err(Violation::protocol(format!("not in {}", self.op))) }
    }

    fn assert_allowed(&self, message: &Message, id: Option<u64>) -> Result<(), Violation> {
        use Op::{Check, Export, Import, Legacy, Reset, Revert, Run};
        let (ops, asks): (&[Op], bool) = match message {
            Message::Config(_, _, value) => {
                value.as_ref().map_or(Ok(()), assert_fits)?;
                (&[Export], false)
            }
            Message::Configs(_, entries, _) => {
                entries.iter().try_for_each(|(_, value)| assert_fits(value))?;
                (&[Export], false)
            }
            Message::Depend(_) | Message::Item(_) | Message::SkipReset => (&[Export], false),
            Message::Dump(_) => (&[Export], true),
            Message::Garbage(_) => (&[Export, Import, Check, Legacy], false),
            Message::Scratch => (&[Export, Import, Check, Legacy], true),
            Message::Get(_) | Message::Place(..) | Message::Resolve(_) | Message::Load(_) => {
                (&[Import, Check, Legacy], true)
            }
            Message::Take(_) => (&[Import, Check, Legacy], false),
            Message::Space(call) => {
                if let SpaceAct::PutValue { value, .. } = &call.act {
                    assert_fits(value)?;
                }
                (&[Export, Import, Reset, Legacy, Revert, Run], true)
            }
        };
        self.assert_in(ops)?;
        if asks && id.is_none() { Err(Violation::protocol("id is missing")) } else { Ok(()) }
    }

    fn done(&mut self) -> Result<Line, Violation> {
        if self.streams.any_open() || self.outbounds.any_open() {
            return Err(Violation::protocol("a stream is open"));
        }
        if !self.asked.is_empty() {
            return Err(Violation::protocol("a request is open"));
        }
        self.phase = Phase::Done;
        Ok(Line::Event(Event::Done))
    }

    /// What comes after it was told to stop is dropped, but its frames must be right.
    fn after_cancel(&mut self, t: &str, text: &str) -> Result<Line, Violation> {
        match t {
            "cancelled" => {
                self.phase = Phase::Over;
                Ok(Line::Event(Event::Cancelled))
            }
            "raw" => {
                let (_, n) = self.raw_head(text)?;
                self.raw_of = None;
                Ok(Line::Raw(n))
            }
            "hello" if self.phase == Phase::Opening => {
                self.phase = Phase::Working;
                self.raw = hello(self.op, self.offer, text)?.raw;
                Ok(Line::Nothing)
            }
            // It was done before it heard of it; nothing that came since counts.
            "done" => {
                self.phase = Phase::Over;
                Ok(Line::Event(Event::Cancelled))
            }
            "log" => self.log(text),
            _ => self.count().map(|()| Line::Nothing),
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    s: u64,
    n: u64,
}

#[derive(Deserialize)]
struct Chunk<'m> {
    s: u64,
    #[serde(borrow)]
    b64: Cow<'m, str>,
}

#[derive(Deserialize)]
struct OneRow {
    s: u64,
    v: Row,
}

#[derive(Deserialize)]
struct Rows {
    s: u64,
    v: Vec<Row>,
}
