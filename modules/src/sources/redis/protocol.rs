//! A connection, and what is said on it: requests as arrays of strings, answers of one line or one string (RESP 2).

use super::super::{SourceError, World};
use super::RedisSpec;
use crate::endpoint::Asking;
use crate::units::show_duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The port of servers.
const PORT: u16 = 6379;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(30);
/// How often it is asked whether the run is cancelled.
const TICK: Duration = Duration::from_millis(200);
/// Longest line and longest string of an answer in bytes; data do not come so.
const MAX_LINE: usize = 64 << 10;
const MAX_STRING: u64 = 1 << 20;
/// Bytes read at a time.
const BLOCK: usize = 64 << 10;

enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection whose every wait is bounded.
pub(super) struct Connection<'a> {
    wire: Wire,
    cancelled: &'a dyn Fn() -> bool,
    idle_limit: Duration,
    buffer: Vec<u8>,
    at: usize,
}

/// An error of the wire, or of the run.
#[derive(Debug)]
pub(super) enum Broken {
    Io(io::Error),
    Silent(Duration),
    Cancelled,
    /// The other end speaks something else.
    Strange(&'static str),
}

impl Broken {
    /// Tells it of a server.
    pub(super) fn of(self, server: &str, doing: &'static str) -> SourceError {
        let why = match self {
            Self::Cancelled => return SourceError::Cancelled,
            Self::Io(error) => error.to_string(),
            Self::Silent(limit) => format!("it said nothing for {}", show_duration(limit)),
            Self::Strange(why) => why.to_owned(),
        };
        SourceError::Server { server: server.to_owned(), doing, why }
    }
}

impl<'a> Connection<'a> {
    /// Connects and is let in.
    pub(super) fn open(spec: &RedisSpec, world: World<'a>) -> Result<Self, SourceError> {
        spec.unless_tls()?;
        let reach = &spec.reach;
        let asking = Asking { around: world.around, cancelled: world.cancelled };
        let container = reach.container(asking)?;
        let password = reach.password(container.as_ref(), asking)?;
        let failed = |error| Broken::Io(error).of(&reach.shown(), "connect to");
        let wire = match (&container, &reach.socket) {
            (None, Some(socket)) => Wire::Unix(UnixStream::connect(socket).map_err(failed)?),
            _ => {
                let host = match (&reach.host, &container) {
                    (Some(host), _) => host.clone(),
                    (None, Some(container)) => container.address()?.to_owned(),
                    (None, None) => Ipv4Addr::LOCALHOST.to_string(),
                };
                Wire::Tcp(connect(&host, reach.port.unwrap_or(PORT)).map_err(failed)?)
            }
        };
        let mut connection = Self::new(wire, world.cancelled, spec.idle_limit).map_err(failed)?;
        if let Some(password) = password {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(reach.user.as_ref().map(|user| user.as_bytes()));
            words.push(password.as_bytes());
            connection.ask(&words, &reach.shown(), "log in at")?;
        }
        Ok(connection)
    }

    fn new(wire: Wire, cancelled: &'a dyn Fn() -> bool, idle_limit: Duration) -> io::Result<Self> {
        match &wire {
            Wire::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TICK))?;
                stream.set_write_timeout(Some(TICK))?;
            }
            Wire::Unix(stream) => {
                stream.set_read_timeout(Some(TICK))?;
                stream.set_write_timeout(Some(TICK))?;
            }
        }
        Ok(Self { wire, cancelled, idle_limit, buffer: Vec::new(), at: 0 })
    }

    /// Takes a connection that somebody made to us.
    pub(super) fn accepted(
        stream: TcpStream,
        cancelled: &'a dyn Fn() -> bool,
        idle_limit: Duration,
    ) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Self::new(Wire::Tcp(stream), cancelled, idle_limit)
    }

    /// Returns the address by which the server reaches this machine.
    pub(super) fn own_address(&self) -> io::Result<IpAddr> {
        match &self.wire {
            Wire::Tcp(stream) => stream.local_addr().map(|address| address.ip()),
            Wire::Unix(_) => Ok(Ipv4Addr::LOCALHOST.into()),
        }
    }

    /// Asks, and returns the answer; an error that the server tells is one.
    pub(super) fn ask(
        &mut self,
        words: &[&[u8]],
        server: &str,
        doing: &'static str,
    ) -> Result<Vec<u8>, SourceError> {
        let mut request = zeroize::Zeroizing::new(format!("*{}\r\n", words.len()).into_bytes());
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        let broken = |error: Broken| error.of(server, doing);
        self.write_all(&request).map_err(broken)?;
        let line = self.line().map_err(broken)?;
        let server = server.to_owned();
        match line.split_first() {
            Some((b'-', said)) => {
                let why = String::from_utf8_lossy(said).escape_debug().to_string();
                Err(SourceError::Server { server, doing, why })
            }
            Some((b'+' | b':', said)) => Ok(said.to_vec()),
            Some((b'$', b"-1")) => Ok(Vec::new()),
            Some((b'$', count)) => self.string(count).map_err(|error| error.of(&server, doing)),
            // A list of strings, joined: settings come so.
            Some((b'*', count)) => {
                let count: usize =
                    str::from_utf8(count).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
                let mut last = Vec::new();
                for _ in 0..count.min(64) {
                    let line = self.line().map_err(|error| error.of(&server, doing))?;
                    last = match line.split_first() {
                        Some((b'$', count)) => {
                            self.string(count).map_err(|error| error.of(&server, doing))?
                        }
                        _ => line,
                    };
                }
                Ok(last)
            }
            _ => Err(Broken::Strange("it does not speak Redis's protocol").of(&server, doing)),
        }
    }

    fn string(&mut self, count: &[u8]) -> Result<Vec<u8>, Broken> {
        let count: Option<u64> = str::from_utf8(count).ok().and_then(|count| count.parse().ok());
        let count =
            count.filter(|count| *count <= MAX_STRING).ok_or(Broken::Strange("its answer is too long"))?;
        let mut text = Vec::new();
        let mut left = usize::try_from(count).unwrap_or(0) + 2;
        while left > 0 {
            let part = self.more()?;
            let count = part.len().min(left);
            text.extend_from_slice(&part[..count]);
            self.at += count;
            left -= count;
        }
        text.truncate(text.len().saturating_sub(2));
        Ok(text)
    }

    /// Reads a line; empty ones are signs of life.
    pub(super) fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        loop {
            let part = self.more()?;
            let end = part.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(part.len(), |end| end + 1);
            line.extend_from_slice(&part[..count]);
            self.at += count;
            if line.len() > MAX_LINE {
                return Err(Broken::Strange("it does not speak Redis's protocol"));
            }
            if end.is_some() {
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                if !line.is_empty() {
                    return Ok(line);
                }
            }
        }
    }

    /// Reads a request as a server gets it.
    pub(super) fn request(&mut self) -> Result<Vec<Vec<u8>>, Broken> {
        let line = self.line()?;
        let Some(count) = line.strip_prefix(b"*") else {
            return Ok(line.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect());
        };
        let strange = || Broken::Strange("what connected does not speak Redis's protocol");
        let count: usize =
            str::from_utf8(count).ok().and_then(|count| count.parse().ok()).ok_or_else(strange)?;
        let mut words = Vec::new();
        for _ in 0..count.min(64) {
            let line = self.line()?;
            let length = line.strip_prefix(b"$").ok_or_else(strange)?.to_vec();
            words.push(self.string(&length)?);
        }
        Ok(words)
    }

    /// Returns what was read and not used; waits for some if there is none.
    fn more(&mut self) -> Result<&[u8], Broken> {
        if self.at == self.buffer.len() {
            self.buffer.resize(BLOCK, 0);
            self.at = 0;
            let read = self.wait(|wire, buffer| match wire {
                Wire::Tcp(stream) => stream.read(buffer),
                Wire::Unix(stream) => stream.read(buffer),
            });
            let count = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(count);
            if read? == 0 {
                return Err(Broken::Io(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the connection was closed",
                )));
            }
        }
        Ok(&self.buffer[self.at..])
    }

    /// Reads into a buffer, at least one byte.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        let part = self.more()?;
        let count = part.len().min(out.len());
        out[..count].copy_from_slice(&part[..count]);
        self.at += count;
        Ok(count)
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut left = bytes;
        while !left.is_empty() {
            let count = self.wait(|wire, _| match wire {
                Wire::Tcp(stream) => stream.write(left),
                Wire::Unix(stream) => stream.write(left),
            })?;
            if count == 0 {
                return Err(Broken::Io(ErrorKind::WriteZero.into()));
            }
            left = &left[count..];
        }
        Ok(())
    }

    /// Does something as often as it takes: every wait is cut into ticks.
    fn wait(
        &mut self,
        mut act: impl FnMut(&mut Wire, &mut [u8]) -> io::Result<usize>,
    ) -> Result<usize, Broken> {
        let mut waited = Duration::ZERO;
        loop {
            match act(&mut self.wire, &mut self.buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    waited += TICK
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken::Io(error)),
                Ok(count) => return Ok(count),
            }
            if (self.cancelled)() {
                return Err(Broken::Cancelled);
            }
            if waited >= self.idle_limit {
                return Err(Broken::Silent(self.idle_limit));
            }
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(ErrorKind::NotFound, "this name has no address")))
}

/// Returns a value of what `INFO` answers.
pub(super) fn info<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}
