//! As a master that gives everything: the server takes the file in place of all it has, at once.
//!
//! It is told to be a replica of a port that listens for it alone: a word that only it was told lets it in. It keeps what
//! it has until the file is whole; a file that is not is cut before the mark of its end. Then it is a master again.

use super::super::{Load, SourceError, WayBack, World};
use super::RedisSpec;
use super::protocol::{Broken, Connection, info};
use super::rdb::Checker;
use crate::manifest::drivers::Import;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

/// Bytes given at a time.
const BLOCK: usize = 64 << 10;
/// How often it is looked whether the server has come.
const TICK: Duration = Duration::from_millis(50);
/// Doors that are tried before it is given up: others may knock too.
const KNOCKS: u32 = 100;

/// A load.
pub(in super::super) struct RedisLoad<'a> {
    spec: RedisSpec,
    world: World<'a>,
}

impl<'a> RedisLoad<'a> {
    pub(in super::super) fn new(spec: &RedisSpec, world: World<'a>) -> Self {
        Self { spec: spec.clone(), world }
    }

    fn server(&self) -> String {
        self.spec.reach.shown()
    }

    fn failed(&self, doing: &'static str, why: &str) -> SourceError {
        SourceError::Server { server: self.server(), doing, why: why.to_owned() }
    }

    /// Lets the server in and gives it the file. Returns when it has taken it.
    fn give(&self, listener: &TcpListener, word: &str, bytes: &mut dyn Read) -> Result<(), SourceError> {
        let doing = "give all data to";
        let broken = |error: Broken| error.of(&self.server(), doing);
        let mut server = self.let_in(listener, word)?;
        let mark = random_word().map_err(|error| broken(Broken::Io(error)))?;
        server.write_all(format!("$EOF:{mark}\r\n").as_bytes()).map_err(broken)?;
        let (mut block, mut checker) = (vec![0; BLOCK], Checker::default());
        loop {
            let count = match bytes.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(SourceError::Stream(error)),
            };
            checker.take(&block[..count]);
            server.write_all(&block[..count]).map_err(broken)?;
        }
        if let Some(wrong) = checker.wrong() {
            return Err(self.failed(doing, &format!("what is to be loaded is no whole RDB file: {wrong}")));
        }
        server.write_all(mark.as_bytes()).map_err(broken)?;
        // Once everything is loaded it says how far it is.
        loop {
            let request = server.request().map_err(|error| match error {
                Broken::Io(_) => self.failed(doing, "it did not take them, and its log says why"),
                other => other.of(&self.server(), doing),
            })?;
            let is =
                |at: usize, word: &[u8]| request.get(at).is_some_and(|said| said.eq_ignore_ascii_case(word));
            if is(0, b"REPLCONF") && is(1, b"ACK") {
                return Ok(());
            }
        }
    }

    /// Waits until somebody comes who knows the word and asks for everything.
    fn let_in(&self, listener: &TcpListener, word: &str) -> Result<Connection<'a>, SourceError> {
        let doing = "wait for the visit of";
        let mut waited = Duration::ZERO;
        for _ in 0..KNOCKS {
            let stream = loop {
                match listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(Broken::Io(error).of(&self.server(), doing)),
                }
                if (self.world.cancelled)() {
                    return Err(SourceError::Cancelled);
                }
                if waited >= self.spec.idle_limit {
                    return Err(Broken::Silent(self.spec.idle_limit).of(&self.server(), doing));
                }
                sleep(TICK);
                waited += TICK;
            };
            let Ok(mut server) = Connection::accepted(stream, self.world.cancelled, self.spec.idle_limit)
            else {
                continue;
            };
            if self.shake_hands(&mut server, word).is_ok() {
                return Ok(server);
            }
        }
        Err(self.failed(doing, "others came in its place, and it did not"))
    }

    fn shake_hands(&self, server: &mut Connection<'a>, word: &str) -> Result<(), Broken> {
        let mut is_known = false;
        loop {
            let request = server.request()?;
            let name = request.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
            match &name[..] {
                b"AUTH" if request.last().is_some_and(|said| said == word.as_bytes()) => {
                    is_known = true;
                    server.write_all(b"+OK\r\n")?;
                }
                _ if !is_known && name != b"PING" => {
                    server.write_all(b"-NOAUTH Authentication required.\r\n")?;
                    return Err(Broken::Strange("a stranger"));
                }
                b"PING" if !is_known => server.write_all(b"-NOAUTH Authentication required.\r\n")?,
                b"PING" => server.write_all(b"+PONG\r\n")?,
                b"PSYNC" => {
                    let id = random_word().map_err(Broken::Io)?;
                    server.write_all(format!("+FULLRESYNC {id} 0\r\n").as_bytes())?;
                    return Ok(());
                }
                b"SYNC" => return Ok(()),
                _ => server.write_all(b"+OK\r\n")?,
            }
        }
    }
}

impl Load for RedisLoad<'_> {
    fn check(&mut self) -> Result<(), SourceError> {
        if self.spec.import != Import::Replace {
            return Err(SourceError::CannotBe(format!(
                "driver redis replaces all data; import = \"{}\" is not for it",
                self.spec.import
            )));
        }
        let server = self.server();
        let about = Connection::open(&self.spec, self.world)?.ask(&[b"INFO"], &server, "ask")?;
        let about = String::from_utf8_lossy(&about).into_owned();
        if info(&about, "role").is_some_and(|role| role != "master") {
            return Err(self.failed("load into", "it is a replica; its master must be restored"));
        }
        if info(&about, "cluster_enabled") == Some("1") {
            return Err(
                self.failed("load into", "it is a part of a cluster, which replaces no data as a whole")
            );
        }
        Ok(())
    }

    fn prepare(&mut self, _: &mut dyn Read) -> Result<WayBack, SourceError> {
        Ok(WayBack::DumpFirst)
    }

    fn put(self: Box<Self>, bytes: &mut dyn Read) -> Result<(), SourceError> {
        let (server, doing) = (self.server(), "load into");
        let io = |error| Broken::Io(error).of(&server, doing);
        let mut control = Connection::open(&self.spec, self.world)?;
        let address = control.own_address().map_err(io)?;
        let listener = TcpListener::bind((address, 0)).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let port = listener.local_addr().map_err(io)?.port().to_string();
        let word = random_word().map_err(io)?;
        let before = [b"masterauth".as_slice(), b"masteruser"]
            .map(|name| control.ask(&[b"CONFIG", b"GET", name], &server, doing).map(|value| (name, value)));
        let before: Vec<(&[u8], Vec<u8>)> = before.into_iter().collect::<Result<_, _>>()?;
        let result = (|| {
            control.ask(&[b"CONFIG", b"SET", b"masterauth", word.as_bytes()], &server, doing)?;
            control.ask(&[b"CONFIG", b"SET", b"masteruser", b""], &server, doing)?;
            control.ask(&[b"REPLICAOF", address.to_string().as_bytes(), port.as_bytes()], &server, doing)?;
            self.give(&listener, &word, bytes)
        })();
        drop(listener);
        // Whatever happened: it follows nobody, and keeps no word of ours. A new connection, should the old one be lost.
        let free = |control: &mut Connection<'_>| {
            control.ask(&[b"REPLICAOF", b"NO", b"ONE"], &server, "free")?;
            for (name, value) in &before {
                control.ask(&[b"CONFIG", b"SET", name, value], &server, "free")?;
            }
            let about = control.ask(&[b"INFO", b"replication"], &server, "free")?;
            match info(&String::from_utf8_lossy(&about), "role") {
                Some("master") => Ok(()),
                _ => Err(self.failed("free", "it stays a replica; REPLICAOF NO ONE frees it")),
            }
        };
        let never = || false;
        let world = World { cancelled: &never, ..self.world };
        let freed = free(&mut control)
            .or_else(|_| Connection::open(&self.spec, world).and_then(|mut control| free(&mut control)));
        result.and(freed)
    }
}

/// Returns forty digits that nobody can guess.
fn random_word() -> std::io::Result<String> {
    let bytes: [u8; 20] = dedup_engine::crypto::random().map_err(std::io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
