//! The engine's side of one operation, as a state machine: what came, what may come, what is to be sent.
//!
//! ```text
//! opening ──hello──► working ──done──► done
//!    └────── cancelled, a fatal error, a violation ──────► over: nothing more is read
//! ```

use super::canon::Value;
use super::frame::{Decoder, Frame};
use super::message::{Message, Opened, Said, Shape};
use super::opening::{Hello, Opening};
use super::state::{Line, Phase, State};
use super::streams::Taken;
use super::violation::Violation;
use crate::manifest::programs::Severity;
use serde_json::json;

/// What a module says that its caller must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is there.
    Hello(Hello),
    /// A message; with an id it is to be answered.
    Message(Option<u64>, Message),
    /// A stream was opened.
    Opened(Opened),
    /// Something for the log.
    Said(Said),
    /// How far it is.
    Progress {
        /// So much.
        done: u64,
        /// Of so much.
        total: Option<u64>,
        /// Of what.
        what: String,
    },
    /// It has failed, and will end.
    Failed(Failure),
    /// It has done what it was to do.
    Done,
    /// It has stopped, as it was told to.
    Cancelled,
}

/// Why a module says that it has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A word for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether it may succeed later.
    pub retry: bool,
}

/// One operation.
pub struct Session {
    decoder: Decoder,
    state: State,
}

impl Session {
    /// Begins: the opening is what is to be sent first.
    pub fn new(opening: &Opening) -> Self {
        let mut state = State::new(opening.op, opening.offer);
        state.send(&opening.message());
        Self { decoder: Decoder::default(), state }
    }

    /// Takes bytes that came. Only when [`next`](Self::next) has nothing more, and a block at a time.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state.phase != Phase::Over {
            self.decoder.push(bytes);
        }
    }

    /// Returns the next thing that its caller must know, if what came has one.
    ///
    /// # Errors
    /// A violation: the module was told, and nothing more is read of it.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, and none does not")]
    pub fn next(&mut self) -> Result<Option<Event>, Violation> {
        let found = self.step();
        if let Err(violation) = &found {
            self.refuse(violation);
        }
        found
    }

    fn step(&mut self) -> Result<Option<Event>, Violation> {
        while self.state.phase != Phase::Over {
            let line = match self.decoder.next()? {
                None => return Ok(None),
                Some(Frame::Line(line)) => self.state.line(line)?,
                Some(Frame::Raw(bytes)) => {
                    if let Some(s) = self.state.raw_of {
                        self.state.streams.bytes(s, bytes);
                    }
                    Line::Nothing
                }
                Some(Frame::RawEnd) => Line::Nothing,
            };
            match line {
                Line::Nothing => {}
                Line::Event(event) => return Ok(Some(event)),
                Line::Raw(n) => self.decoder.expect_raw(n),
            }
        }
        Ok(None)
    }

    /// Tells the module of a violation; nothing more is read of it.
    pub fn refuse(&mut self, violation: &Violation) {
        if self.state.phase != Phase::Over {
            self.state.phase = Phase::Over;
            let (code, msg) = (violation.code, &violation.message);
            self.state.send(&json!({ "t": "error", "code": code, "msg": msg, "fatal": true }));
        }
    }

    /// Takes what is to be sent; what stays in it is sent later.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.state.out
    }

    /// Keeps a name from being used by a stream.
    pub fn reserve(&mut self, name: &str) {
        self.state.streams.reserve(name);
    }

    /// Takes what there is of a stream, and grants credit for more.
    pub fn take(&mut self, s: u64, buffer: &mut [u8]) -> Taken {
        let (taken, grant) = self.state.streams.take(s, buffer);
        if let Some(n) = grant.filter(|_| !self.state.cancelled && self.state.phase == Phase::Working) {
            self.state.send(&json!({ "t": "credit", "s": s, "n": n }));
        }
        taken
    }

    /// Sends a message of the engine's own, such as `begin`.
    pub fn send(&mut self, message: &serde_json::Value) {
        self.state.send(message);
    }

    /// Sends a message that is written already, without the end of its line.
    pub fn send_line(&mut self, line: &str) {
        self.state.send_text(line);
    }

    /// Answers a request; `more` is a map of what the answer has beside its id.
    pub fn answer(&mut self, id: Option<u64>, more: serde_json::Value) {
        let Some(id) = id.filter(|id| self.state.asked.remove(id)) else { return };
        let mut answer = json!({ "t": "ack", "id": id });
        if let (Some(answer), serde_json::Value::Object(more)) = (answer.as_object_mut(), more) {
            answer.extend(more);
        }
        self.state.send(&answer);
    }

    /// Answers a request with a value of canonical text.
    pub fn answer_value(&mut self, id: Option<u64>, value: &Value) {
        let Some(id) = id.filter(|id| self.state.asked.remove(id)) else { return };
        let text = value.as_text();
        self.state.send_text(&format!("{{\"t\":\"ack\",\"id\":{id},\"value\":{text}}}"));
    }

    /// Answers a request with an error, which is not fatal.
    pub fn deny(&mut self, id: Option<u64>, code: &str, message: &str) {
        let id = id.filter(|id| self.state.asked.remove(id));
        let mut error = json!({ "t": "error", "code": code, "msg": message, "fatal": false });
        if let Some(id) = id {
            error["id"] = id.into();
        }
        self.state.send(&error);
    }

    /// Answers a request with a stream; `head` is a map of what its opening has beside, `schema` canonical text.
    /// Returns its number.
    pub fn open(
        &mut self,
        id: Option<u64>,
        shape: Shape,
        head: &serde_json::Value,
        schema: Option<&str>,
    ) -> u64 {
        let s = self.state.outbounds.open();
        let mut message = json!({ "t": shape.word(), "s": s });
        if let (Some(message), serde_json::Value::Object(head)) = (message.as_object_mut(), head) {
            message.extend(head.clone());
        }
        if let Some(id) = id.filter(|id| self.state.asked.remove(id)) {
            message["id"] = id.into();
        }
        let mut line = message.to_string();
        if let Some(schema) = schema {
            line.truncate(line.len() - 1);
            line.push_str(",\"schema\":");
            line.push_str(schema);
            line.push('}');
        }
        self.state.send_text(&line);
        s
    }

    /// Sends bytes of a stream, as many as there is credit for; returns how many.
    pub fn send_bytes(&mut self, s: u64, bytes: &[u8]) -> usize {
        let raw = self.state.raw;
        self.state.outbounds.bytes(s, bytes, raw, &mut self.state.out)
    }

    /// Sends a row of canonical text, if there is credit for it; returns whether there was.
    pub fn send_row(&mut self, s: u64, text: &str) -> bool {
        self.state.outbounds.row(s, text, &mut self.state.out)
    }

    /// Returns how much of a stream may be sent.
    pub fn room(&self, s: u64) -> u64 {
        self.state.outbounds.room(s)
    }

    /// Ends a stream.
    pub fn end(&mut self, s: u64, of_rows: bool) {
        self.state.outbounds.end(s, of_rows, &mut self.state.out);
    }

    /// Breaks a stream off.
    pub fn break_off(&mut self, s: u64, code: &str, message: &str) {
        self.state.outbounds.void(s);
        self.state.send(&json!({ "t": "error", "s": s, "code": code, "msg": message }));
    }

    /// Tells the module to stop.
    pub fn cancel(&mut self, why: &str) {
        if !self.state.cancelled && self.state.phase != Phase::Over {
            self.state.cancelled = true;
            self.state.send(&json!({ "t": "cancel", "why": why }));
        }
    }

    /// Returns whether `done` came.
    pub fn is_done(&self) -> bool {
        self.state.phase == Phase::Done
    }

    /// Returns whether hello came.
    pub fn has_opened(&self) -> bool {
        self.state.phase != Phase::Opening
    }

    /// Returns whether nothing more is read.
    pub fn is_over(&self) -> bool {
        self.state.phase == Phase::Over
    }

    /// Returns whether anything came that carries data.
    pub fn has_begun(&self) -> bool {
        self.state.has_begun
    }

    /// Returns whether a stream broke off by the module's own word.
    pub fn has_void(&self) -> bool {
        self.state.has_void
    }

    /// Returns whether what came ends in the middle of a line or raw frame.
    pub fn is_cut(&self) -> bool {
        !self.decoder.is_between()
    }

    /// Counts a line of standard error; returns whether it is to be kept.
    pub fn heard(&mut self) -> Result<bool, Violation> {
        let kept = self.state.notice(Severity::Notice);
        if let Err(violation) = &kept {
            self.refuse(violation);
        }
        kept
    }

    /// Returns how many messages were not kept, and the worst of them.
    pub fn left_out(&self) -> (u64, Option<Severity>) {
        (self.state.left_out, self.state.worst_left_out)
    }
}
