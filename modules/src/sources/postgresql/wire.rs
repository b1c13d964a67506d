//! The protocol of PostgreSQL, version 3: getting in, simple queries, COPY. Text only, one thing at a time.
//!
//! Messages are taken apart by `postgres-protocol`. Memory is bounded by the longest row, whatever lengths a server
//! claims: a message is read as it comes, never into room made beforehand.

use super::connect::{Address, Line, Patience};
use super::error::{PostgresError, Refusal};
use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
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

/// Who asks for what.
#[derive(Clone, Copy)]
pub(super) struct Login<'l> {
    /// Who.
    pub user: &'l str,
    /// In which database.
    pub database: &'l str,
    /// The password, if there is one.
    pub password: Option<&'l [u8]>,
}

/// A session with a server.
pub(super) struct Session<'a> {
    line: Line<'a>,
    cancelled: &'a dyn Fn() -> bool,
    input: BytesMut,
    block: Vec<u8>,
    output: BytesMut,
    version: String,
    /// Whether the server takes text for bytes.
    has_raw_text: bool,
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
        patience: Patience<'a>,
    ) -> Result<Self, PostgresError> {
        let own_user = login.password.is_none().then_some(login.user);
        let line = Line::connect(address, own_user, patience)?;
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

    fn log_in(&mut self, address: &Address, login: Login<'_>) -> Result<(), PostgresError> {
        let about = [("user", login.user), ("database", login.database), ("application_name", "dedup")];
        frontend::startup_message(about, &mut self.output).map_err(senseless)?;
        self.send()?;
        let mut scram: Option<ScramSha256> = None;
        let password = || {
            let missing = || PostgresError::NoPassword { place: address.show(), user: login.user.to_owned() };
            login.password.ok_or_else(missing)
        };
        let no_way = |method| PostgresError::NoWayIn { place: address.show(), method };
        loop {
            match self.message()? {
                Message::AuthenticationOk | Message::BackendKeyData(_) => {}
                Message::ParameterStatus(status) => {
                    let value = status.value().map_err(senseless)?;
                    match status.name().map_err(senseless)? {
                        "server_version" => {
                            value.split(' ').next().unwrap_or_default().clone_into(&mut self.version);
                        }
                        "server_encoding" => self.has_raw_text = value == "SQL_ASCII",
                        _ => {}
                    }
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationMd5Password(body) => {
                    let answer = md5_hash(login.user.as_bytes(), password()?, body.salt());
                    frontend::password_message(answer.as_bytes(), &mut self.output).map_err(senseless)?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut methods = body.mechanisms();
                    let mut known = false;
                    while let Some(method) = methods.next().map_err(senseless)? {
                        known |= method == SCRAM_SHA_256;
                    }
                    if !known {
                        return Err(no_way("a SASL method other than SCRAM-SHA-256"));
                    }
                    let begun = ScramSha256::new(password()?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut self.output)
                        .map_err(senseless)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let begun = scram.as_mut().ok_or_else(|| out_of_turn("SASL"))?;
                    begun.update(body.data()).map_err(senseless)?;
                    frontend::sasl_response(begun.message(), &mut self.output).map_err(senseless)?;
                }
                // Whoever cannot prove that it knows the password, too, is not the server.
                Message::AuthenticationSaslFinal(body) => {
                    let begun = scram.as_mut().ok_or_else(|| out_of_turn("SASL"))?;
                    begun.finish(body.data()).map_err(senseless)?;
                }
                Message::AuthenticationCleartextPassword => {
                    return Err(no_way("the password in clear"));
                }
                Message::AuthenticationGss
                | Message::AuthenticationSspi
                | Message::AuthenticationKerberosV5 => {
                    return Err(no_way("Kerberos"));
                }
                _ => return Err(out_of_turn("the login")),
            }
            self.send()?;
        }
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
                Err(error) => return Err(error),
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
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a `COPY … TO STDOUT`; then [`copied`](Self::copied) until it returns none.
    pub(super) fn copy_out(&mut self, doing: &str, sql: &str) -> Result<(), PostgresError> {
        self.begin(doing, sql)?;
        match self.answer()? {
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
        match self.answer()? {
            Message::CopyInResponse(_) => Ok(()),
            _ => Err(out_of_turn("COPY")),
        }
    }

    /// Gives bytes of rows to a copy. What the server thinks of them is told at the end, or by a broken connection.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        for piece in bytes.chunks(SEND) {
            frontend::CopyData::new(piece).map_err(senseless)?.write(&mut self.output);
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
                Err(error) => return Err(error),
            }
        }
    }

    fn begin(&mut self, doing: &str, sql: &str) -> Result<(), PostgresError> {
        doing.clone_into(&mut self.doing);
        self.is_idle = false;
        frontend::query(sql, &mut self.output).map_err(senseless)?;
        self.send()
    }

    fn send(&mut self) -> Result<(), PostgresError> {
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

    /// Returns the next message; notices are passed over, refusals are errors.
    fn message(&mut self) -> Result<Message, PostgresError> {
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
                self.fill()?;
                continue;
            }
            match Message::parse(&mut self.input).map_err(senseless)? {
                None => self.fill()?,
                Some(Message::ErrorResponse(body)) => return Err(self.refused(&body)),
                Some(Message::NoticeResponse(_) | Message::NotificationResponse(_)) => {}
                Some(message) => {
                    self.is_idle = matches!(message, Message::ReadyForQuery(_));
                    return Ok(message);
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

fn senseless(error: io::Error) -> PostgresError {
    PostgresError::Protocol(error.to_string())
}

fn out_of_turn(what: &str) -> PostgresError {
    PostgresError::Protocol(format!("an answer that does not belong to {what}"))
}
