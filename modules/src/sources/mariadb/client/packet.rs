//! Packets over a socket.

use super::error::ClientError;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(30);
/// How long nothing may come before it is asked whether the run is cancelled.
const SLICE: Duration = Duration::from_secs(1);
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

/// Where a server is.
#[derive(Clone, Debug)]
pub(in super::super) enum Address {
    Socket(PathBuf),
    Host(String, u16),
}

/// How long a server is waited for.
#[derive(Clone, Copy)]
pub(in super::super) struct Patience<'a> {
    /// How long it may say nothing.
    pub(in super::super) idle_limit: Duration,
    /// Says whether the run is to stop.
    pub(in super::super) cancelled: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    fn slice(&self) -> Duration {
        self.idle_limit.clamp(Duration::from_millis(1), SLICE)
    }

    /// Waits on, or not: after that many slices in which nothing came.
    fn lasts(&self, silent: u32) -> Result<(), ClientError> {
        if (self.cancelled)() {
            return Err(ClientError::Cancelled);
        }
        match self.slice().saturating_mul(silent) < self.idle_limit {
            true => Ok(()),
            false => Err(ClientError::Silent(self.idle_limit)),
        }
    }
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn open(address: &Address, slice: Duration) -> io::Result<Self> {
        let (read, write) = (Some(slice), Some(slice));
        match address {
            Address::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(read)?;
                stream.set_write_timeout(write)?;
                Ok(Self::Unix(stream))
            }
            Address::Host(host, port) => {
                let mut failed = io::Error::new(ErrorKind::NotFound, "this host has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT) {
                        Ok(stream) => {
                            stream.set_read_timeout(read)?;
                            stream.set_write_timeout(write)?;
                            stream.set_nodelay(true)?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
}

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
    socket: Socket,
    patience: Patience<'a>,
    is_local: bool,
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
        let socket = Socket::open(address, patience.slice()).map_err(ClientError::Lost)?;
        Ok(Self::new(socket, patience))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn over(stream: UnixStream, patience: Patience<'a>) -> Self {
        Self::new(Socket::Unix(stream), patience)
    }

    fn new(socket: Socket, patience: Patience<'a>) -> Self {
        let is_local = matches!(socket, Socket::Unix(_));
        let (buffer, long) = (vec![0; BUFFER], Vec::new());
        Self { socket, patience, is_local, buffer, start: 0, end: 0, long, current: None, turn: 0 }
    }

    /// Ends the connection: the server takes back what it was not told to keep.
    pub(super) fn close(&self) {
        let _ = match &self.socket {
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Returns whether nobody but the kernel stands between.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
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
        let mut silent = 0;
        loop {
            match self.socket.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    let gone = io::Error::new(ErrorKind::UnexpectedEof, "the server closed it");
                    return Err(ClientError::Lost(gone));
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) => silent = self.wait_on(silent, error)?,
            }
        }
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
                    self.write_all(&out)?;
                }
                false => {
                    self.write_all(&out)?;
                    self.write_all(now)?;
                }
            }
            self.turn = self.turn.wrapping_add(1);
            if len < MAX_PART {
                return Ok(());
            }
            (head, body) = (&[], later);
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        let mut silent = 0;
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(0) => return Err(ClientError::Lost(ErrorKind::WriteZero.into())),
                Ok(count) => (bytes, silent) = (&bytes[count..], 0),
                Err(error) => silent = self.wait_on(silent, error)?,
            }
        }
        Ok(())
    }

    fn wait_on(&self, silent: u32, error: io::Error) -> Result<u32, ClientError> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                self.patience.lasts(silent + 1)?;
                Ok(silent + 1)
            }
            ErrorKind::Interrupted => Ok(silent),
            _ => Err(ClientError::Lost(error)),
        }
    }
}
