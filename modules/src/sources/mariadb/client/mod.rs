//! The protocol of the server, as much of it as rows need.
//!
//! ```text
//! error.rs    ClientError: what the server said, or what became of the connection
//! line.rs     Line: a connection, encrypted or not, that is waited on for so long and no longer
//! packet.rs   Wire: packets over it, checked and bounded
//! fields.rs   Fields: the parts of a packet
//! login.rs    how a session begins
//! row.rs      Row, Sent: a row of the binary form
//! ```
//!
//! Nothing that a server sends is taken for granted: an empty packet, one that ends too early, one out of its turn or
//! a length that is not there is an error like a lost connection, and memory grows with what came, not with what was
//! announced. A session whose answer was not read to its end answers nothing more. A server cannot have a file of this
//! machine (`LOAD DATA LOCAL`), nor the password in clear over a network, unless it is certain that it is the server.

mod error;
mod fields;
mod line;
mod login;
mod packet;
mod row;
#[cfg(test)]
mod tests;

pub(super) use error::{ClientError, Said};
pub(super) use line::{Address, Patience};
pub(super) use row::{Row, Sent};

use super::super::tls::Tls;
use fields::Fields;
use packet::Wire;
use row::Kind;

/// Longest answer that is kept as a whole, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Most columns of an answer; a table has at most 4096, of which words of a type are asked twice.
const MAX_COLUMNS: u64 = 1 << 14;

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const CLOSE: u8 = 0x19;

/// More answers follow this one, which nothing here asks for.
const MORE_RESULTS: u16 = 0x0008;

/// A row of an answer in text; `None` is NULL.
pub(super) type TextRow = Vec<Option<Vec<u8>>>;

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Rows that were changed.
    pub(super) rows: u64,
    /// How often the server was not content, and went on.
    pub(super) warnings: u16,
}

/// A session.
pub(super) struct Client<'a> {
    wire: Wire<'a>,
    /// An answer is due, or was left in the middle: what comes next would be its rest.
    is_busy: bool,
    columns: Vec<Kind>,
    /// The statement that is executed.
    statement: Option<[u8; 4]>,
}

impl<'a> Client<'a> {
    /// Connects and logs in.
    pub(super) fn connect(
        address: &Address,
        user: &str,
        password: &[u8],
        tls: &Tls,
        patience: Patience<'a>,
    ) -> Result<Self, ClientError> {
        let tls = match address {
            // Nobody but the kernel stands between: only if it is demanded.
            Address::Socket(_) => (tls.wanted == Some(true)).then_some((tls, "localhost")),
            Address::Host(host, _) => Some((tls, &host[..])),
        };
        Self::log_in(Wire::connect(address, patience)?, user, password, tls)
    }

    /// As [`connect`](Self::connect), where a test is the server.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn over(
        stream: std::os::unix::net::UnixStream,
        user: &str,
        password: &[u8],
        patience: Patience<'a>,
    ) -> Result<Self, ClientError> {
        Self::log_in(Wire::over(stream, patience), user, password, None)
    }

    fn log_in(
        mut wire: Wire<'a>,
        user: &str,
        password: &[u8],
        tls: Option<(&Tls, &str)>,
    ) -> Result<Self, ClientError> {
        login::log_in(&mut wire, user, password, tls)?;
        Ok(Self { wire, is_busy: false, columns: Vec::new(), statement: None })
    }

    /// Runs a statement. Rows that it answers are passed over.
    pub(super) fn run(&mut self, sql: &str) -> Result<Done, ClientError> {
        self.begin(sql)?;
        self.end()
    }

    /// Sends a statement; [`end`](Self::end) must come next.
    pub(super) fn begin(&mut self, sql: &str) -> Result<(), ClientError> {
        self.command(QUERY, sql.as_bytes())
    }

    /// Waits for the end of the statement that was begun.
    pub(super) fn end(&mut self) -> Result<Done, ClientError> {
        match self.head()? {
            Head::Done(done) => Ok(done),
            Head::Columns(count) => {
                self.skip_columns(count)?;
                while self.text_row(count)?.is_some() {}
                Ok(Done::default())
            }
        }
    }

    /// Asks something small.
    pub(super) fn ask(&mut self, sql: &str) -> Result<Vec<TextRow>, ClientError> {
        self.command(QUERY, sql.as_bytes())?;
        let Head::Columns(count) = self.head()? else { return Ok(Vec::new()) };
        self.skip_columns(count)?;
        let (mut rows, mut bytes) = (Vec::new(), 0usize);
        while let Some(row) = self.text_row(count)? {
            bytes += row.iter().flatten().map(|value| value.len() + size_of::<Vec<u8>>()).sum::<usize>();
            if bytes > MAX_ANSWER {
                return Err(ClientError::Broken("an answer of more than 64 MiB"));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Asks for rows in the binary form, which [`row`](Self::row) reads one by one.
    pub(super) fn execute(&mut self, sql: &str) -> Result<(), ClientError> {
        self.command(PREPARE, sql.as_bytes())?;
        let mut head = Fields::new(self.reply()?);
        let (is_ok, id) = (head.u8()? == 0, head.take(4)?);
        let id = <[u8; 4]>::try_from(id).map_err(|_| ClientError::Broken("a statement without a number"))?;
        let (columns, parameters) = (head.u16()?, head.u16()?);
        if !is_ok || columns == 0 || parameters != 0 {
            return Err(ClientError::Broken("no rows where rows were asked for"));
        }
        self.skip_columns(columns.into())?;
        self.is_busy = false;
        let [a, b, c, d] = id;
        // No cursor; once.
        self.command(EXECUTE, &[a, b, c, d, 0, 1, 0, 0, 0])?;
        let Head::Columns(count) = self.head()? else {
            self.is_busy = true;
            return Err(ClientError::Broken("no rows where rows were asked for"));
        };
        self.statement = Some(id);
        self.columns.clear();
        for _ in 0..count {
            let kind = Kind::read(self.wire.packet()?)?;
            self.columns.push(kind);
        }
        self.end_of_columns()
    }

    /// Reads the next row; none after the last one.
    pub(super) fn row(&mut self) -> Result<Option<Row<'_>>, ClientError> {
        // The borrow checker takes a packet that is returned for one that is always held.
        if is_end(self.wire.peek()?) {
            let status = status_of_end(self.wire.packet()?)?;
            self.done(status)?;
            if let Some(id) = self.statement.take() {
                self.wire.send(&[CLOSE], &id)?;
            }
            return Ok(None);
        }
        if self.wire.peek()?.first() == Some(&0xff) {
            let said = error::said(self.wire.packet()?)?;
            self.is_busy = false;
            return Err(ClientError::Said(said));
        }
        Ok(Some(Row::new(self.wire.packet()?, &self.columns)?))
    }

    /// Ends the session at once, whatever it is doing.
    pub(super) fn close(&mut self) {
        self.is_busy = true;
        self.wire.close();
    }

    fn command(&mut self, command: u8, bytes: &[u8]) -> Result<(), ClientError> {
        if self.is_busy {
            return Err(ClientError::Broken("only half of an earlier answer"));
        }
        self.is_busy = true;
        self.wire.send(&[command], bytes)
    }

    /// Reads the first packet of an answer.
    fn reply(&mut self) -> Result<&[u8], ClientError> {
        if self.wire.peek()?.first() == Some(&0xff) {
            let said = error::said(self.wire.packet()?)?;
            self.is_busy = false;
            return Err(ClientError::Said(said));
        }
        self.wire.packet()
    }

    fn head(&mut self) -> Result<Head, ClientError> {
        let packet = self.reply()?;
        let mut fields = Fields::new(packet);
        if packet.first() == Some(&0) {
            fields.u8()?;
            let (rows, _, status) = (fields.number()?, fields.number()?, fields.u16()?);
            let warnings = fields.u16()?;
            self.done(status)?;
            return Ok(Head::Done(Done { rows, warnings }));
        }
        // 0xfb asks for a file of ours.
        match fields.number() {
            Ok(count @ 1..=MAX_COLUMNS) if fields.is_empty() => Ok(Head::Columns(count)),
            _ => Err(ClientError::Broken("an answer that is none")),
        }
    }

    fn skip_columns(&mut self, count: u64) -> Result<(), ClientError> {
        for _ in 0..count {
            self.wire.packet()?;
        }
        self.end_of_columns()
    }

    fn end_of_columns(&mut self) -> Result<(), ClientError> {
        match is_end(self.reply()?) {
            true => Ok(()),
            false => Err(ClientError::Broken("more columns than it announced")),
        }
    }

    fn text_row(&mut self, count: u64) -> Result<Option<TextRow>, ClientError> {
        let packet = self.reply()?;
        if is_end(packet) {
            let status = status_of_end(packet)?;
            self.done(status)?;
            return Ok(None);
        }
        let (mut fields, mut row) = (Fields::new(packet), Vec::new());
        for _ in 0..count {
            row.push(fields.value()?.map(<[u8]>::to_vec));
        }
        match fields.is_empty() {
            true => Ok(Some(row)),
            false => Err(ClientError::Broken("a row with more values than columns")),
        }
    }

    fn done(&mut self, status: u16) -> Result<(), ClientError> {
        if status & MORE_RESULTS != 0 {
            return Err(ClientError::Broken("more answers than questions"));
        }
        self.is_busy = false;
        Ok(())
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if !self.is_busy {
            // The server notices the end of the connection too.
            let _ = self.wire.send(&[QUIT], b"");
        }
    }
}

/// How an answer begins.
enum Head {
    /// That is all.
    Done(Done),
    /// Rows of so many columns follow.
    Columns(u64),
}

/// Returns whether a packet ends the columns or rows. One that is longer is a row that begins with a long value.
fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

fn status_of_end(packet: &[u8]) -> Result<u16, ClientError> {
    let mut fields = Fields::new(packet);
    fields.take(3)?;
    fields.u16()
}
