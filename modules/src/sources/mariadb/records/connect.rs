//! Connections, and what their errors mean.

use super::super::super::tls::Tls;
use super::super::super::{SourceError, World};
use super::super::MariadbSpec;
use super::super::client::{Address, Client, ClientError, Done, Patience, Row, Said};
use crate::endpoint::{Asking, Reach};
use crate::records::RecordError;
use dedup_engine::error::Kind;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where the server's programs look for it if nothing is said.
const SOCKETS: [&str; 3] = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];
/// Port of servers if nothing is said.
const PORT: u16 = 3306;

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
pub(super) struct Session<'a> {
    client: Client<'a>,
    server: String,
}

/// Ways in, by which further sessions can be opened.
#[derive(Clone)]
pub(super) struct Way<'a> {
    address: Address,
    user: String,
    password: Zeroizing<Vec<u8>>,
    server: String,
    tls: Tls,
    idle_limit: Duration,
    cancelled: &'a dyn Fn() -> bool,
}

impl<'a> Way<'a> {
    /// Finds the way in, and reads the password.
    pub(super) fn new(spec: &MariadbSpec, world: World<'a>) -> Result<Self, SourceError> {
        let asking = Asking { around: world.around, cancelled: world.cancelled };
        let reach = &spec.reach;
        let container = reach.container(asking)?;
        let password = reach.password(container.as_ref(), asking)?;
        let password = password.map(|password| password.as_bytes().to_vec()).unwrap_or_default();
        let address = match (&container, &reach.socket, &reach.host, reach.port) {
            (None, Some(socket), ..) => Address::Socket(socket.clone()),
            (None, None, None, None) => {
                let there = SOCKETS.iter().find(|path| std::fs::exists(path).unwrap_or(false));
                Address::Socket(there.unwrap_or(&SOCKETS[0]).into())
            }
            (Some(container), _, None, port) => {
                Address::Host(container.address()?.to_owned(), port.unwrap_or(PORT))
            }
            (_, _, host, port) => {
                Address::Host(host.clone().unwrap_or_else(|| "127.0.0.1".into()), port.unwrap_or(PORT))
            }
        };
        Ok(Self {
            address,
            user: reach.user.clone().or_else(|| user(world)).unwrap_or_default(),
            password: Zeroizing::new(password),
            server: reach.shown(),
            tls: tls(reach),
            idle_limit: spec.idle_limit,
            cancelled: world.cancelled,
        })
    }

    /// Opens a session.
    pub(super) fn open(&self) -> Result<Session<'a>, RecordError> {
        let doing = format!("connect to MariaDB at {}", self.server);
        let patience = Patience { idle_limit: self.idle_limit, cancelled: self.cancelled };
        let client = Client::connect(&self.address, &self.user, &self.password, &self.tls, patience);
        let client = client.map_err(|error| failed(&doing, error))?;
        let mut session = Session { client, server: self.server.clone() };
        for sql in SESSION {
            session.run(&doing, sql)?;
        }
        Ok(session)
    }
}

/// Returns how a connection over a network is encrypted: as the programs have it, an authority is named to be asked. Where
/// nothing is said it is encrypted if the server can.
fn tls(reach: &Reach) -> Tls {
    let Reach { tls, ca, cert, key, .. } = reach.clone();
    Tls { wanted: tls.or(ca.is_some().then_some(true)), ca, cert, key }
}

/// Returns who we are, which is what the server's programs take for the user.
fn user(world: World<'_>) -> Option<String> {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| world.around.get(name));
    let named = named.map(|name| name.to_string_lossy().into_owned());
    named.or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name))
}

impl Session<'_> {
    /// Returns where the server is.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) fn run(&mut self, doing: &str, sql: &str) -> Result<u64, RecordError> {
        self.try_run(sql).map(|done| done.rows).map_err(|error| failed(doing, error))
    }

    /// Runs a statement; its error is the client's own.
    pub(super) fn try_run(&mut self, sql: &str) -> Result<Done, ClientError> {
        self.client.run(sql)
    }

    /// Sends a statement; [`end`](Self::end) must come next.
    pub(super) fn begin(&mut self, sql: &str) -> Result<(), ClientError> {
        self.client.begin(sql)
    }

    /// Waits for the end of the statement that was begun.
    pub(super) fn end(&mut self) -> Result<Done, ClientError> {
        self.client.end()
    }

    /// Ends the session at once, whatever it is doing.
    pub(super) fn close(&mut self) {
        self.client.close();
    }

    /// Asks something small; returns rows of text, `None` for NULL. Bytes that are no text come as `HEX()`.
    pub(super) fn ask(&mut self, doing: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, RecordError> {
        let rows = self.client.ask(sql).map_err(|error| failed(doing, error))?;
        let text = |value: Option<Vec<u8>>| value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// Asks for rows in the binary form; `each` gets them one by one, and its error ends it, and the session.
    pub(super) fn rows(
        &mut self,
        doing: &str,
        sql: &str,
        each: &mut dyn FnMut(&mut Row<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let failed = |error| failed(doing, error);
        self.client.execute(sql).map_err(failed)?;
        while let Some(mut row) = self.client.row().map_err(failed)? {
            each(&mut row)?;
            row.finish().map_err(failed)?;
        }
        Ok(())
    }
}

/// Sorts an error. What the server says of a row's content is left out.
pub(super) fn failed(doing: &str, error: ClientError) -> RecordError {
    let (message, kind) = match &error {
        ClientError::Cancelled => return RecordError::Cancelled,
        ClientError::Said(said) => (words(said), kind(said.code)),
        ClientError::Plugin(_) | ClientError::Clear | ClientError::Protocol(_) => {
            (error.to_string(), Kind::Refused)
        }
        ClientError::NoTls | ClientError::Tls(_) | ClientError::TlsFile { .. } => {
            (error.to_string(), Kind::Permission)
        }
        ClientError::Lost(_) | ClientError::Silent(_) | ClientError::Broken(_) => {
            (error.to_string(), Kind::Io)
        }
    };
    RecordError::Engine { doing: doing.to_owned(), message, kind, source: None }
}

/// Returns the server's words without values of rows.
pub(super) fn words(said: &Said) -> String {
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
