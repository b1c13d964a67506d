//! The protocol of PostgreSQL, version 3: simple queries, COPY. Text only, one thing at a time.
//!
//! Messages are taken apart by `postgres-protocol`. Memory is bounded by the longest row, whatever lengths a server
//! claims: a message is read as it comes, never into room made beforehand.

use super::super::tls::Tls;
use super::connect::{Address, Line, Patience};
use super::error::{PostgresError, Refusal};
use super::login::Login;
use bytes::{BufMut, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use std::io::{self, ErrorKind};

/// Bytes that are read at a time.
const BLOCK: usize = 128 << 10;
/// Bytes that are collected before they are sent.
const SEND: usize = 256 << 10;
/// Longest message: a row of the text form of COPY. Values have 1 GiB at most, and so has a row in the server.
const MAX_MESSAGE: usize = (1 << 30) + (64 << 10);
/// Most bytes of the answer to a query of the catalogue.
const MAX_ANSWER: usize = 256 << 20;
/// What a session needs so that every value is told exactly, and the same text means the same everywhere.
const SESSION: &str = "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
    SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET standard_conforming_strings = on; \
    SET xmloption = 'content'; SET lc_monetary = 'C'; SET search_path = ''; SET row_security = off; \
    SET synchronize_seqscans = off; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// A row of an answer; NULL is none.
pub(super) type Row = Vec<Option<String>>;

/// A session with a server.
pub(super) struct Session<'a> {
    line: Line<'a>,
    cancelled: &'a dyn Fn() -> bool,
    input: BytesMut,
    block: Vec<u8>,
    pub(super) output: BytesMut,
    pub(super) version: String,
    /// Whether the server takes text for bytes.
    pub(super) has_raw_text: bool,
    /// What is being done, for messages.
    doing: String,
    /// Whether the server waits for the next statement.
    is_idle: bool,
}

impl<'a> Session<'a> {
    /// Connects and logs in.
    pub(super) fn open(
        address: &Address,
        login: Login<'_>,
        tls: &Tls,
        patience: Patience<'a>,
    ) -> Result<Self, PostgresError> {
        let own_user = login.password.is_none().then_some(login.user);
        let line = Line::connect(address, own_user, tls, patience)?;
        let mut session = Self {
            line,
            cancelled: patience.cancelled,
            input: BytesMut::new(),
            block: vec![0; BLOCK],
            output: BytesMut::new(),
            version: String::new(),
            has_raw_text: false,
            doing: format!("log in to {} as {}, database {}", address.show(), login.user, login.database),
            is_idle: false,
        };
        session.log_in(address, login)?;
        session.run("prepare the session", SESSION)?;
        if session.has_raw_text {
            // It would be checked as UTF-8, which it need not be.
            session.run("prepare the session", "SET client_encoding = 'SQL_ASCII'")?;
        }
        Ok(session)
    }

    /// Returns the server's version: `15.18`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Runs statements that return nothing of interest; returns the number of rows that the last one tells.
    pub(super) fn run(&mut self, doing: &str, sql: &str) -> Result<u64, PostgresError> {
        self.begin(doing, sql)?;
        let (mut rows, mut failed) = (0, None);
        loop {
            match self.answer() {
                Ok(Message::ReadyForQuery(_)) => return failed.map_or(Ok(rows), Err),
                Ok(Message::CommandComplete(body)) => rows = rows_of(body.tag().map_err(senseless)?),
                Ok(Message::CopyInResponse(_)) => return Err(out_of_turn("a statement")),
                Ok(_) => {}
                Err(error @ PostgresError::Refused { .. }) => failed = Some(error),
                // One that ended the session is the error to tell.
                Err(error) => return Err(failed.unwrap_or(error)),
            }
        }
    }

    /// Asks; for answers of bounded size, as those of the catalogue.
    pub(super) fn ask(&mut self, doing: &str, sql: &str) -> Result<Vec<Row>, PostgresError> {
        self.begin(doing, sql)?;
        let (mut rows, mut bytes, mut failed) = (Vec::new(), 0, None);
        loop {
            match self.answer() {
                Ok(Message::ReadyForQuery(_)) => return failed.map_or(Ok(rows), Err),
                Ok(Message::DataRow(body)) => {
                    bytes += body.buffer().len();
                    if bytes > MAX_ANSWER {
                        return Err(PostgresError::Protocol(
                            "an answer of the catalogue that does not end".into(),
                        ));
                    }
                    let (buffer, mut ranges, mut row) = (body.buffer(), body.ranges(), Row::new());
                    while let Some(range) = ranges.next().map_err(senseless)? {
                        let value = range.and_then(|range| buffer.get(range));
                        row.push(value.map(|value| String::from_utf8_lossy(value).into_owned()));
                    }
                    rows.push(row);
                }
                Ok(_) => {}
                Err(error @ PostgresError::Refused { .. }) => failed = Some(error),
                // One that ended the session is the error to tell.
                Err(error) => return Err(failed.unwrap_or(error)),
            }
        }
    }

    /// Begins a `COPY … TO STDOUT`; then [`copied`](Self::copied) until it returns none.
    pub(super) fn copy_out(&mut self, doing: &str, sql: &str) -> Result<(), PostgresError> {
        self.begin(doing, sql)?;
        match self.answered()? {
            Message::CopyOutResponse(_) => Ok(()),
            _ => Err(out_of_turn("COPY")),
        }
    }

    /// Returns the next row of a copy, with its line end; none when the server says that it was the last.
    pub(super) fn copied(&mut self) -> Result<Option<Bytes>, PostgresError> {
        let mut complete = false;
        loop {
            match self.answer()? {
                Message::CopyData(body) => return Ok(Some(body.into_bytes())),
                Message::CopyDone => {}
                Message::CommandComplete(_) => complete = true,
                Message::ReadyForQuery(_) if complete => return Ok(None),
                _ => return Err(out_of_turn("COPY")),
            }
        }
    }

    /// Begins a `COPY … FROM STDIN`; then [`put`](Self::put), and [`copy_end`](Self::copy_end).
    pub(super) fn copy_in(&mut self, doing: &str, sql: &str) -> Result<(), PostgresError> {
        self.begin(doing, sql)?;
        match self.answered()? {
            Message::CopyInResponse(_) => Ok(()),
            _ => Err(out_of_turn("COPY")),
        }
    }

    /// Gives bytes of rows to a copy. What the server thinks of them is told at the end, or by a broken connection.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        for piece in bytes.chunks(SEND) {
            // A refusal in the middle is told at once, and would else be heard when everything was sent in vain.
            self.hear()?;
            self.output.put_u8(b'd');
            self.output.put_u32(piece.len() as u32 + 4);
            self.output.extend_from_slice(piece);
            self.send()?;
        }
        Ok(())
    }

    /// Ends a copy; returns how many rows the server took.
    pub(super) fn copy_end(&mut self) -> Result<u64, PostgresError> {
        frontend::copy_done(&mut self.output);
        self.send()?;
        let (mut rows, mut failed) = (0, None);
        loop {
            match self.answer() {
                Ok(Message::ReadyForQuery(_)) => return failed.map_or(Ok(rows), Err),
                Ok(Message::CommandComplete(body)) => rows = rows_of(body.tag().map_err(senseless)?),
                Ok(_) => {}
                Err(error @ PostgresError::Refused { .. }) => failed = Some(error),
                // One that ended the session is the error to tell.
                Err(error) => return Err(failed.unwrap_or(error)),
            }
        }
    }

    fn begin(&mut self, doing: &str, sql: &str) -> Result<(), PostgresError> {
        doing.clone_into(&mut self.doing);
        self.is_idle = false;
        frontend::query(sql, &mut self.output).map_err(senseless)?;
        self.send()
    }

    pub(super) fn send(&mut self) -> Result<(), PostgresError> {
        let output = self.output.split();
        match self.line.write_all(&output) {
            // The server may have said why before it closed.
            Err(gone @ PostgresError::Gone(_)) => match self.message() {
                Err(why @ PostgresError::Refused { .. }) => Err(why),
                _ => Err(gone),
            },
            sent => sent,
        }
    }

    /// Returns the next message that is part of an answer.
    fn answer(&mut self) -> Result<Message, PostgresError> {
        loop {
            match self.message()? {
                Message::ParameterStatus(_) => {}
                message => return Ok(message),
            }
        }
    }

    /// Returns the next message that is part of an answer; after a refusal the session is ready for the next statement.
    fn answered(&mut self) -> Result<Message, PostgresError> {
        self.answer().inspect_err(|error| {
            if matches!(error, PostgresError::Refused { .. }) {
                self.end_refused();
            }
        })
    }

    /// Reads what comes after a refusal. Nothing does if that ended the session too, and the refusal is the error to tell.
    fn end_refused(&mut self) {
        while self.message().is_ok_and(|message| !matches!(message, Message::ReadyForQuery(_))) {}
    }

    /// Hears what the server says unasked while rows are given to it. Only a refusal matters.
    fn hear(&mut self) -> Result<(), PostgresError> {
        while self.line.has_answer() {
            self.fill()?;
            loop {
                match self.take() {
                    Ok(None) => break,
                    Ok(Some(Message::ParameterStatus(_))) => {}
                    Ok(Some(_)) => return Err(out_of_turn("COPY")),
                    Err(error) => {
                        self.end_refused();
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the next message; notices are passed over, refusals are errors.
    pub(super) fn message(&mut self) -> Result<Message, PostgresError> {
        loop {
            match self.take()? {
                Some(message) => return Ok(message),
                None => self.fill()?,
            }
        }
    }

    /// Takes the next message out of what was read, if it is there to its end.
    fn take(&mut self) -> Result<Option<Message>, PostgresError> {
        loop {
            let claimed = match self.input.get(1..5).map(TryInto::<[u8; 4]>::try_into) {
                Some(Ok(bytes)) => u32::from_be_bytes(bytes) as usize,
                _ => 0,
            };
            if claimed > MAX_MESSAGE {
                return Err(PostgresError::Protocol(format!("a message of {claimed} bytes")));
            }
            // One byte of kind is before the length. Less than that, and `parse` would make room for all of it.
            if self.input.len() < 5 || self.input.len() <= claimed {
                return Ok(None);
            }
            match Message::parse(&mut self.input).map_err(senseless)? {
                None => return Ok(None),
                Some(Message::ErrorResponse(body)) => return Err(self.refused(&body)),
                Some(Message::NoticeResponse(_) | Message::NotificationResponse(_)) => {}
                Some(message) => {
                    self.is_idle = matches!(message, Message::ReadyForQuery(_));
                    return Ok(Some(message));
                }
            }
        }
    }

    fn fill(&mut self) -> Result<(), PostgresError> {
        if (self.cancelled)() {
            return Err(PostgresError::Cancelled);
        }
        match self.line.read(&mut self.block)? {
            0 => Err(PostgresError::Gone(ErrorKind::UnexpectedEof.into())),
            count => {
                self.input.extend_from_slice(self.block.get(..count).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn refused(&self, body: &ErrorResponseBody) -> PostgresError {
        let (mut fields, mut about) = (body.fields(), Refusal::default());
        while let Ok(Some(field)) = fields.next() {
            about.take(field.type_(), &String::from_utf8_lossy(field.value_bytes()));
        }
        about.into_error(self.doing.clone())
    }
}

impl Drop for Session<'_> {
    /// Says goodbye; a transaction that was not committed is rolled back by the server, told or not.
    fn drop(&mut self) {
        // One that does something may not listen.
        if self.is_idle {
            self.output.clear();
            frontend::terminate(&mut self.output);
            let _ = self.line.write_all(&self.output);
        }
    }
}

/// Returns the number of rows of a command's tag: `COPY 12`, `INSERT 0 12`.
fn rows_of(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

pub(super) fn senseless(error: io::Error) -> PostgresError {
    PostgresError::Protocol(error.to_string())
}

pub(super) fn out_of_turn(what: &str) -> PostgresError {
    PostgresError::Protocol(format!("an answer that does not belong to {what}"))
}
