//! Packets over a connection.

use super::super::super::tls::Tls;
use super::error::ClientError;
use super::line::{Address, Line, Patience};
use std::io::{self, ErrorKind};
use std::ops::Range;
#[cfg(any(test, feature = "testing"))]
use std::os::unix::net::UnixStream;

/// Longest part of a packet; one of this length is followed by another.
const MAX_PART: usize = 0xff_ffff;
/// Longest packet: the longest that a server can be set to, and what stands around its value.
const MAX_PACKET: usize = (1 << 30) + (1 << 20);
/// What is read at once.
const BUFFER: usize = 256 << 10;
/// What is written at once with its head.
const SMALL: usize = 64 << 10;
/// Memory of a long packet that is kept for the next one.
const KEPT: usize = 16 << 20;
/// Bytes of the head of a part.
const HEAD: usize = 4;

/// The packet that was read last.
#[derive(Clone)]
enum Current {
    /// It lies in the buffer.
    Here(Range<usize>),
    /// It has memory of its own.
    Long,
}

/// Packets both ways.
pub(super) struct Wire<'a> {
    line: Line<'a>,
    /// What was read and not yet taken lies between the two.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    long: Vec<u8>,
    current: Option<Current>,
    /// Number of the next packet.
    turn: u8,
}

impl<'a> Wire<'a> {
    pub(super) fn connect(address: &Address, patience: Patience<'a>) -> Result<Self, ClientError> {
        Ok(Self::new(Line::connect(address, patience)?))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn over(stream: UnixStream, patience: Patience<'a>) -> Self {
        Self::new(Line::over(stream, patience))
    }

    fn new(line: Line<'a>) -> Self {
        let (buffer, long) = (vec![0; BUFFER], Vec::new());
        Self { line, buffer, start: 0, end: 0, long, current: None, turn: 0 }
    }

    /// Ends the connection: the server takes back what it was not told to keep.
    pub(super) fn close(&self) {
        self.line.close();
    }

    /// Returns whether nobody but the server can be at the other end.
    pub(super) fn is_known(&self) -> bool {
        self.line.is_known()
    }

    /// Begins encryption, which the server awaits.
    pub(super) fn encrypt(&mut self, tls: &Tls, host: &str) -> Result<(), ClientError> {
        if self.start != self.end {
            // It came unencrypted, from whoever stands between.
            return Err(ClientError::Broken("more than it was asked for, before encryption"));
        }
        self.line.encrypt(tls, host)
    }

    /// Returns the next packet, which stays the next one.
    pub(super) fn peek(&mut self) -> Result<&[u8], ClientError> {
        let current = match self.current.clone() {
            Some(current) => current,
            None => self.load()?,
        };
        self.current = Some(current.clone());
        Ok(self.bytes(current))
    }

    /// Takes the next packet.
    pub(super) fn packet(&mut self) -> Result<&[u8], ClientError> {
        let current = match self.current.take() {
            Some(current) => current,
            None => self.load()?,
        };
        Ok(self.bytes(current))
    }

    fn bytes(&self, current: Current) -> &[u8] {
        match current {
            Current::Here(range) => self.buffer.get(range).unwrap_or_default(),
            Current::Long => &self.long,
        }
    }

    fn load(&mut self) -> Result<Current, ClientError> {
        let (mut part, in_turn) = self.part()?;
        if part == 0 {
            return Err(ClientError::Broken("an empty packet"));
        }
        let current = if part <= BUFFER {
            while self.end - self.start < part {
                self.fill()?;
            }
            self.start += part;
            Current::Here(self.start - part..self.start)
        } else {
            if self.long.capacity() > KEPT {
                self.long = Vec::new();
            }
            self.long.clear();
            loop {
                if self.long.len() + part > MAX_PACKET {
                    return Err(ClientError::Broken("a packet of more than 1 GiB"));
                }
                self.load_long(part)?;
                if part < MAX_PART {
                    break Current::Long;
                }
                part = self.part()?.0;
            }
        };
        // A server that ends the session says so out of turn.
        match in_turn || self.bytes(current.clone()).first() == Some(&0xff) {
            true => Ok(current),
            false => Err(ClientError::Broken("a packet out of its turn")),
        }
    }

    fn load_long(&mut self, mut left: usize) -> Result<(), ClientError> {
        while left > 0 {
            if self.start == self.end {
                self.fill()?;
            }
            let now = left.min(self.end - self.start);
            self.long.extend_from_slice(&self.buffer[self.start..self.start + now]);
            self.start += now;
            left -= now;
        }
        Ok(())
    }

    /// Reads the head of a part; returns its length, and whether it is the one whose turn it is.
    fn part(&mut self) -> Result<(usize, bool), ClientError> {
        while self.end - self.start < HEAD {
            self.fill()?;
        }
        let at = self.start;
        let head = &self.buffer[at..at + HEAD];
        let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        let in_turn = head[3] == self.turn;
        self.turn = head[3].wrapping_add(1);
        self.start += HEAD;
        Ok((len, in_turn))
    }

    /// Reads something.
    fn fill(&mut self) -> Result<(), ClientError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let count = self.line.read(&mut self.buffer[self.end..])?;
        if count == 0 {
            let gone = io::Error::new(ErrorKind::UnexpectedEof, "the server closed it");
            return Err(ClientError::Lost(gone));
        }
        self.end += count;
        Ok(())
    }

    /// Sends a packet, in parts if it is long; its answer is the first of a new count.
    pub(super) fn send(&mut self, head: &[u8], body: &[u8]) -> Result<(), ClientError> {
        self.turn = 0;
        self.answer(head, body)
    }

    /// Sends a packet within a conversation.
    pub(super) fn answer(&mut self, mut head: &[u8], mut body: &[u8]) -> Result<(), ClientError> {
        loop {
            let len = (head.len() + body.len()).min(MAX_PART);
            let [a, b, c, ..] = len.to_le_bytes();
            let (now, later) = body.split_at(len - head.len());
            let mut out = Vec::with_capacity(HEAD + head.len() + now.len().min(SMALL));
            out.extend_from_slice(&[a, b, c, self.turn]);
            out.extend_from_slice(head);
            match now.len() <= SMALL {
                true => {
                    out.extend_from_slice(now);
                    self.line.write_all(&out)?;
                }
                false => {
                    self.line.write_all(&out)?;
                    self.line.write_all(now)?;
                }
            }
            self.turn = self.turn.wrapping_add(1);
            if len < MAX_PART {
                return Ok(());
            }
            (head, body) = (&[], later);
        }
    }
}
