//! As a replica that asks for everything: the server writes a file of this moment for it.

use super::super::{Dump, Head, SourceError, World};
use super::RedisSpec;
use super::protocol::{Connection, info};
use super::rdb::Checker;
use std::io::{self, Read};

/// A data set that is being read.
pub(in super::super) struct RedisDump<'a> {
    connection: Connection<'a>,
    server: String,
    head: Head,
    checker: Checker,
    bytes: u64,
    left: u64,
    failed: Option<SourceError>,
}

impl<'a> RedisDump<'a> {
    pub(in super::super) fn open(spec: &RedisSpec, world: World<'a>) -> Result<Self, SourceError> {
        let server = spec.reach.shown();
        let mut connection = Connection::open(spec, world)?;
        let about = connection.ask(&[b"INFO"], &server, "ask")?;
        let about = String::from_utf8_lossy(&about).into_owned();
        let version = info(&about, "redis_version").unwrap_or_default();
        let databases = about.lines().filter(|line| line.starts_with("db") && line.contains(":keys="));
        let keys: u64 = databases
            .filter_map(|line| line.split_once(":keys=")?.1.split(',').next()?.parse::<u64>().ok())
            .fold(0, u64::saturating_add);
        // Without a word on what we can (`REPLCONF capa eof`) the length comes first, and the server's disk takes the file.
        let length = connection.sync(&server)?;
        let head = Head {
            kind: "redis".into(),
            version: format!("Redis {version}"),
            estimated_bytes: Some(length),
            facts: vec![("keys".into(), keys.to_string())],
            ..Head::default()
        };
        let checker = Checker::default();
        Ok(Self { connection, server, head, checker, bytes: 0, left: length, failed: None })
    }

    fn read_more(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        if self.left == 0 {
            return match self.checker.wrong() {
                Some(wrong) => Err(SourceError::Server {
                    server: self.server.clone(),
                    doing: "read all of",
                    why: format!("what it sent is no whole RDB file: {wrong}"),
                }),
                None => Ok(0),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let read = self.connection.read(&mut out[..most]);
        let count = read.map_err(|error| error.of(&self.server, "read all of"))?;
        self.checker.take(&out[..count]);
        self.left = self.left.saturating_sub(count as u64);
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }
}

impl Connection<'_> {
    /// Asks for everything; returns its length in bytes.
    fn sync(&mut self, server: &str) -> Result<u64, SourceError> {
        let doing = "ask for all data of";
        let broken = |error: super::protocol::Broken| error.of(server, doing);
        self.write_all(b"*1\r\n$4\r\nSYNC\r\n").map_err(broken)?;
        let line = self.line().map_err(broken)?;
        let said = String::from_utf8_lossy(&line).into_owned();
        let length = said.strip_prefix('$').and_then(|length| length.parse().ok());
        length.ok_or_else(|| SourceError::Server {
            server: server.to_owned(),
            doing,
            why: said.trim_start_matches('-').escape_debug().to_string(),
        })
    }
}

impl Read for RedisDump<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.to_string()));
        }
        if out.is_empty() {
            return Ok(0);
        }
        self.read_more(out).map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failed = Some(error);
            told
        })
    }
}

impl Dump for RedisDump<'_> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn finish(self: Box<Self>) -> Result<u64, SourceError> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.left == 0 && self.checker.wrong().is_none() => Ok(self.bytes),
            None => Err(SourceError::Unfinished),
        }
    }
}
