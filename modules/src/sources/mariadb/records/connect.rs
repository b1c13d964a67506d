//! Connections, and what their errors mean.

use super::super::super::{SourceError, World};
use super::super::MariadbSpec;
use crate::endpoint::Asking;
use crate::records::RecordError;
use crate::units::show_duration;
use dedup_engine::error::Kind;
use mysql::prelude::Queryable;
use mysql::{Conn, Error, OptsBuilder, Row};
use std::io::ErrorKind;
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Where the server's programs look for it if nothing is said.
const SOCKETS: [&str; 3] = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];
/// Largest packet either way: the protocol's own limit.
const MAX_PACKET: usize = 1 << 30;

/// The mode in which rows are read and written.
pub(super) const STRICT: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'";

/// The zone of moments.
pub(super) const UTC: &str = "SET SESSION time_zone = '+00:00'";

/// What every session is set to: nothing that is read or written depends on the server's configuration. Zero dates,
/// dates such as 31 February and a 0 in a counted column are what they are, everything else that does not fit is an
/// error.
const SESSION: [&str; 5] = [
    "SET NAMES utf8mb4",
    UTC,
    STRICT,
    "SET SESSION foreign_key_checks = 0",
    "SET SESSION sql_quote_show_create = 1",
];

/// A session.
pub(super) struct Session {
    conn: Conn,
    /// The answer to a question was left in the middle: what comes next would be its rest.
    is_torn: bool,
    server: String,
    idle_limit: Duration,
}

/// Ways in, by which further sessions can be opened.
#[derive(Clone)]
pub(super) struct Way {
    opts: mysql::Opts,
    server: String,
    idle_limit: Duration,
}

impl Way {
    /// Finds the way in, and reads the password.
    pub(super) fn new(spec: &MariadbSpec, world: World<'_>) -> Result<Self, SourceError> {
        let asking = Asking { around: world.around, cancelled: world.cancelled };
        let reach = &spec.reach;
        if reach.tls == Some(true) || reach.ca.is_some() || reach.cert.is_some() {
            return Err(SourceError::CannotBe(
                "format = \"records\" does not speak TLS with this server; use its socket, or format = \"sql\"".into(),
            ));
        }
        let container = reach.container(asking)?;
        let password = reach.password(container.as_ref(), asking)?;
        let password =
            password.map(|password| String::from_utf8(password.as_bytes().to_vec())).transpose().map_err(
                |_| SourceError::CannotBe("the password is not UTF-8, which this server asks for".into()),
            )?;
        let mut opts = OptsBuilder::new()
            .user(reach.user.clone().or_else(|| user(world)))
            .pass(password)
            .prefer_socket(false)
            .stmt_cache_size(0)
            .max_allowed_packet(Some(MAX_PACKET))
            .tcp_connect_timeout(Some(CONNECT))
            .read_timeout(Some(spec.idle_limit))
            .write_timeout(Some(spec.idle_limit));
        opts = match (&container, &reach.socket, &reach.host, reach.port) {
            (None, Some(socket), ..) => opts.socket(Some(socket.to_string_lossy())),
            (None, None, None, None) => {
                let there = SOCKETS.iter().find(|path| std::fs::exists(path).unwrap_or(false));
                opts.socket(Some(*there.unwrap_or(&SOCKETS[0])))
            }
            (Some(container), _, None, port) => {
                opts.ip_or_hostname(Some(container.address()?)).tcp_port(port.unwrap_or(3306))
            }
            (_, _, host, port) => opts
                .ip_or_hostname(Some(host.clone().unwrap_or_else(|| "127.0.0.1".into())))
                .tcp_port(port.unwrap_or(3306)),
        };
        Ok(Self { opts: opts.into(), server: reach.shown(), idle_limit: spec.idle_limit })
    }

    /// Opens a session.
    pub(super) fn open(&self) -> Result<Session, RecordError> {
        let doing = format!("connect to MariaDB at {}", self.server);
        let conn = Conn::new(self.opts.clone()).map_err(|error| failed(&doing, error, self.idle_limit))?;
        let mut session =
            Session { conn, is_torn: false, server: self.server.clone(), idle_limit: self.idle_limit };
        for sql in SESSION {
            session.run(&doing, sql)?;
        }
        Ok(session)
    }
}

/// Returns who we are, which is what the server's programs take for the user.
fn user(world: World<'_>) -> Option<String> {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| world.around.get(name));
    let named = named.map(|name| name.to_string_lossy().into_owned());
    named.or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name))
}

impl Session {
    /// Returns where the server is.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) fn run(&mut self, doing: &str, sql: &str) -> Result<u64, RecordError> {
        self.try_run(sql).map_err(|error| failed(doing, error, self.idle_limit))
    }

    /// Runs a statement; its error is the library's own.
    pub(super) fn try_run(&mut self, sql: &str) -> Result<u64, Error> {
        self.unless_torn()?;
        self.conn.query_drop(sql)?;
        Ok(self.conn.affected_rows())
    }

    /// Asks something small; returns rows of text, `None` for NULL. Bytes that are no text come as `HEX()`.
    pub(super) fn ask(&mut self, doing: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, RecordError> {
        let rows = self.unless_torn().and_then(|()| self.conn.query(sql));
        let rows: Vec<Row> = rows.map_err(|error| failed(doing, error, self.idle_limit))?;
        let text = |value: mysql::Value| match value {
            mysql::Value::NULL => None,
            mysql::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
        };
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
    }

    /// Asks for rows by the binary protocol; `each` gets them one by one, and its error ends it.
    pub(super) fn rows(
        &mut self,
        doing: &str,
        sql: &str,
        each: &mut dyn FnMut(Vec<mysql::Value>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let idle_limit = self.idle_limit;
        let failed = |error| failed(doing, error, idle_limit);
        self.unless_torn().map_err(failed)?;
        let mut rows = self.conn.exec_iter(sql, ()).map_err(failed)?;
        while let Some(row) = rows.next() {
            if let Err(error) = row.map_err(failed).and_then(|row| each(row.unwrap())) {
                // Dropped it would read all that is left, however much and however long.
                std::mem::forget(rows);
                self.is_torn = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn unless_torn(&self) -> Result<(), Error> {
        match self.is_torn {
            true => Err(Error::IoError(std::io::Error::other("an earlier answer was left in the middle"))),
            false => Ok(()),
        }
    }
}

/// Sorts an error. What the server says of a row's content is left out.
pub(super) fn failed(doing: &str, error: Error, idle_limit: Duration) -> RecordError {
    // Packets are read by a layer of its own, which wraps what the wire said.
    let wrapped = match &error {
        Error::CodecError(codec) => std::error::Error::source(codec).and_then(|cause| cause.downcast_ref()),
        Error::IoError(io) => Some(io),
        _ => None,
    };
    let timed_out = |io: &std::io::Error| matches!(io.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    let (message, kind) = match &error {
        Error::MySqlError(said) => (words(said), kind(said.code)),
        _ if wrapped.is_some_and(timed_out) => {
            (format!("the server said nothing for {}", show_duration(idle_limit)), Kind::Io)
        }
        Error::IoError(io) => (format!("the connection is lost: {io}"), Kind::Io),
        Error::CodecError(_) => (format!("the connection is lost: {error}"), Kind::Io),
        Error::DriverError(mysql::DriverError::UnknownAuthPlugin(plugin)) => (
            format!(
                "the server lets this user in by {plugin} only, which is not known here; format = \"sql\" may"
            ),
            Kind::Refused,
        ),
        other => (other.to_string(), Kind::Io),
    };
    RecordError::Engine { doing: doing.to_owned(), message, kind, source: None }
}

/// Returns the server's words without values of rows.
pub(super) fn words(said: &mysql::MySqlError) -> String {
    let (code, text) = (said.code, &said.message);
    match code {
        1062 | 1586 => {
            let key = text.rsplit("for key").next().unwrap_or_default();
            format!("error {code}: another row has this value of key{key}")
        }
        // Out of range, too long, of the wrong type: the column is named last.
        1264 | 1265 | 1292 | 1366 | 1406 | 1411 | 1525 => {
            let column = text.rfind("column").map_or("", |at| &text[at..]);
            format!("error {code}: a value does not fit into {column}")
        }
        _ => format!("error {code}: {text}"),
    }
}

fn kind(code: u16) -> Kind {
    match code {
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 => Kind::Permission,
        1049 | 1146 | 1305 => Kind::Missing,
        1021 | 1041 | 1114 => Kind::NoSpace,
        1205 | 1213 | 1040 | 1203 | 1226 => Kind::Busy,
        1034 | 1035 | 1194 | 1195 | 126 | 127 | 1712 => Kind::Integrity,
        _ => Kind::Io,
    }
}
