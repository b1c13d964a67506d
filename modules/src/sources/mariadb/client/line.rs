//! A connection to a server: a socket here or on the network, encrypted or not, that is never waited on for longer than allowed.

use super::super::super::tls::{Both, Encrypted, Tls, TlsError, Waiting};
use super::error::ClientError;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(30);
/// How long nothing may come before it is asked whether the run is cancelled.
const SLICE: Duration = Duration::from_secs(1);
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

    fn both(&mut self) -> &mut dyn Both {
        match self {
            Self::Unix(stream) => stream,
            Self::Tcp(stream) => stream,
        }
    }
}

/// A socket whose waiting has an end.
struct Patient<'a> {
    socket: Socket,
    patience: Patience<'a>,
}

impl Waiting for Patient<'_> {
    type Error = ClientError;

    fn wait(
        &mut self,
        call: &mut dyn FnMut(&mut dyn Both) -> io::Result<usize>,
    ) -> Result<usize, ClientError> {
        let mut silent = 0;
        loop {
            match call(self.socket.both()) {
                Ok(count) => return Ok(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        silent += 1;
                        self.patience.lasts(silent)?;
                    }
                    ErrorKind::Interrupted => {}
                    _ => return Err(ClientError::Lost(error)),
                },
            }
        }
    }

    fn failed(&self, error: TlsError) -> ClientError {
        match error {
            TlsError::File(path, why) => ClientError::TlsFile { path, why },
            TlsError::Failed(why) => ClientError::Tls(why),
            TlsError::Gone(error) => ClientError::Lost(error),
        }
    }
}

/// A connection.
pub(super) struct Line<'a> {
    patient: Patient<'a>,
    encrypted: Option<Encrypted>,
    /// Whether it is certain who answers.
    is_known: bool,
}

impl<'a> Line<'a> {
    pub(super) fn connect(address: &Address, patience: Patience<'a>) -> Result<Self, ClientError> {
        let socket = Socket::open(address, patience.slice()).map_err(ClientError::Lost)?;
        Ok(Self::new(socket, patience))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn over(stream: UnixStream, patience: Patience<'a>) -> Self {
        Self::new(Socket::Unix(stream), patience)
    }

    fn new(socket: Socket, patience: Patience<'a>) -> Self {
        // On a socket nobody but the kernel stands between.
        let is_known = matches!(socket, Socket::Unix(_));
        Self { patient: Patient { socket, patience }, encrypted: None, is_known }
    }

    /// Ends the connection: the server takes back what it was not told to keep.
    pub(super) fn close(&self) {
        let _ = match &self.patient.socket {
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Returns whether nobody else can be at the other end.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Begins encryption, which the server awaits.
    pub(super) fn encrypt(&mut self, tls: &Tls, host: &str) -> Result<(), ClientError> {
        self.encrypted = Some(Encrypted::begin(tls, host, &mut self.patient)?);
        self.is_known |= tls.ca.is_some();
        Ok(())
    }

    /// Reads what is there, or waits for it. Returns 0 where the other side has closed.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, ClientError> {
        match &mut self.encrypted {
            Some(encrypted) => encrypted.read(&mut self.patient, into),
            None => self.patient.wait(&mut |socket| socket.read(into)),
        }
    }

    /// Writes everything.
    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), ClientError> {
        if let Some(encrypted) = &mut self.encrypted {
            return encrypted.write_all(&mut self.patient, bytes);
        }
        while !bytes.is_empty() {
            let count = self.patient.wait(&mut |socket| socket.write(bytes))?;
            if count == 0 {
                return Err(ClientError::Lost(ErrorKind::WriteZero.into()));
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}
