//! A connection: a socket here or on the network, that is never waited on for longer than allowed.

use super::super::tls::{Encrypted, Tls};
use super::error::PostgresError;
use super::tls;
use nix::unistd::{Uid, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Uid as RawUid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The port that servers listen on if nothing else is said; in the name of a socket too.
pub(super) const PORT: u16 = 5432;
/// Where Debian's servers have their sockets.
pub(super) const SOCKETS: &str = "/var/run/postgresql";
/// How often it is asked whether the run is cancelled, while nothing comes.
const ASK: Duration = Duration::from_millis(200);
/// How long one address of a machine is tried.
const CONNECT: Duration = Duration::from_secs(30);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// The socket itself.
    Socket(PathBuf),
    /// A machine and its port.
    Network(String, u16),
}

impl Address {
    /// Shows it in messages.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Network(host, port) => format!("{host}:{port}"),
        }
    }
}

/// How long nothing may come, and who may say that it is enough.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    /// Time without a byte.
    pub idle: Duration,
    /// Whether the run is to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Both kinds of connections.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose waiting has an end.
pub(super) struct Transport<'a> {
    stream: Stream,
    patience: Patience<'a>,
    place: String,
}

impl Transport<'_> {
    /// Returns where it leads, for messages.
    pub(super) fn place(&self) -> String {
        self.place.clone()
    }

    /// Calls until something happens, the patience is over, or the run is cancelled.
    pub(super) fn wait(
        &mut self,
        mut call: impl FnMut(&mut Stream) -> io::Result<usize>,
    ) -> Result<usize, PostgresError> {
        let stream = &mut self.stream;
        waiting(self.patience, || call(stream))
    }

    /// Reads what is there, or waits for it. Returns 0 where the other side has closed.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PostgresError> {
        self.wait(|stream| stream.read(buffer))
    }

    /// Writes everything.
    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), PostgresError> {
        while !bytes.is_empty() {
            let count = self.wait(|stream| stream.write(bytes))?;
            if count == 0 {
                return Err(PostgresError::Gone(ErrorKind::WriteZero.into()));
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

/// A connection, encrypted or not.
pub(super) struct Line<'a> {
    transport: Transport<'a>,
    encrypted: Option<Encrypted>,
}

impl<'a> Line<'a> {
    /// Connects. As root and on a socket, `own_user` is whom the server shall see, if this machine knows such a user:
    /// servers let users in by that alone (`peer`), and root is none of theirs.
    pub(super) fn connect(
        address: &Address,
        own_user: Option<&str>,
        tls: &Tls,
        patience: Patience<'a>,
    ) -> Result<Self, PostgresError> {
        let connected = match address {
            Address::Socket(path) => connect_socket(path, own_user).map(Stream::Unix),
            Address::Network(host, port) => connect_network(host, *port).map(Stream::Tcp),
        };
        let stream = connected.and_then(|stream| {
            match &stream {
                Stream::Unix(stream) => {
                    stream.set_read_timeout(Some(ASK)).and_then(|()| stream.set_write_timeout(Some(ASK)))?
                }
                Stream::Tcp(stream) => stream
                    .set_read_timeout(Some(ASK))
                    .and_then(|()| stream.set_write_timeout(Some(ASK)))
                    .and_then(|()| stream.set_nodelay(true))?,
            }
            Ok(stream)
        });
        let stream = stream.map_err(|source| PostgresError::Connect { place: address.show(), source })?;
        let mut transport = Transport { stream, patience, place: address.show() };
        let encrypted = tls::begin(tls, address, &mut transport)?;
        Ok(Self { transport, encrypted })
    }

    /// Reads what is there, or waits for it. Returns 0 where the other side has closed.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PostgresError> {
        match &mut self.encrypted {
            Some(encrypted) => encrypted.read(&mut self.transport, buffer),
            None => self.transport.read(buffer),
        }
    }

    /// Returns whether the server has said something that was not read; of what is encrypted this cannot be told.
    pub(super) fn has_answer(&self) -> bool {
        if self.encrypted.is_some() {
            return false;
        }
        let fd = match &self.transport.stream {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        };
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&at_once)).is_ok_and(|count| count > 0)
    }

    /// Writes everything.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        match &mut self.encrypted {
            Some(encrypted) => encrypted.write_all(&mut self.transport, bytes),
            None => self.transport.write_all(bytes),
        }
    }
}

/// Calls until something happens, the patience is over, or the run is cancelled.
fn waiting(
    patience: Patience<'_>,
    mut call: impl FnMut() -> io::Result<usize>,
) -> Result<usize, PostgresError> {
    let mut waited = Duration::ZERO;
    loop {
        match call() {
            Ok(count) => return Ok(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if (patience.cancelled)() {
                    return Err(PostgresError::Cancelled);
                }
                waited += ASK;
                if waited >= patience.idle {
                    return Err(PostgresError::Stalled(patience.idle));
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(PostgresError::Gone(error)),
        }
    }
}

fn connect_network(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(ErrorKind::NotFound, "no such machine")))
}

fn connect_socket(path: &Path, own_user: Option<&str>) -> io::Result<UnixStream> {
    let user = own_user
        .filter(|_| Uid::effective().is_root())
        .and_then(|name| User::from_name(name).ok().flatten())
        .filter(|user| !user.uid.is_root());
    let Some(user) = user else { return UnixStream::connect(path) };
    // The kernel notes who connects, by thread: this one becomes that user for good, and ends.
    let connected = thread::scope(|scope| {
        let becoming = scope.spawn(|| {
            let (uid, gid) = (RawUid::from_raw(user.uid.as_raw()), Gid::from_raw(user.gid.as_raw()));
            set_thread_groups(&[gid])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            UnixStream::connect(path)
        });
        becoming.join()
    });
    connected.unwrap_or_else(|_| Err(io::Error::other("the thread that connects ended")))
}
