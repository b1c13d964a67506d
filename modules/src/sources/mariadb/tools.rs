//! The client programs: where they are, how they get in, what they are asked.

use super::super::{SourceError, World};
use super::MariadbSpec;
use crate::child::Limits;
use crate::endpoint::{Asking, By, Call, Client, Confidence, Place};
use crate::manifest::drivers::Driver;
use crate::manifest::endpoint::mysql_dump_program;
use std::ffi::OsString;
use std::time::Duration;
use zeroize::Zeroizing;

/// The programs as MariaDB and as MySQL call them: the client, the one that dumps.
const MARIADB: [&str; 2] = ["mariadb", "mariadb-dump"];
const MYSQL: [&str; 2] = ["mysql", "mysqldump"];

/// Longest answer to a question in bytes: that of a server with a hundred thousand tables fits.
const MAX_ANSWER: usize = 64 << 20;

/// Which program is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Client,
    Dump,
}

/// The client programs of one server, with what lets them in.
pub(super) struct Tools<'a> {
    pub(super) spec: MariadbSpec,
    pub(super) world: World<'a>,
    pub(super) limits: Limits,
    place: Place,
    confidence: Option<Confidence>,
    names: [String; 2],
    /// Whether the dump program is MySQL's own.
    is_mysql: bool,
}

impl<'a> Tools<'a> {
    /// Finds them, and reads the password.
    pub(super) fn new(
        spec: &MariadbSpec,
        limit: Option<Duration>,
        world: World<'a>,
    ) -> Result<Self, SourceError> {
        let asking = Asking { around: world.around, cancelled: world.cancelled };
        let container = spec.reach.container(asking)?;
        let password = spec.reach.password(container.as_ref(), asking)?;
        let confidence = password.map(|password| Confidence {
            content: option_file(password.as_bytes()),
            by: By::Argument("--defaults-file="),
        });
        let place = container.map_or(Place::Here, Place::In);
        let names = match &spec.reach.client {
            Some(client) => [client.clone(), mysql_dump_program(client)],
            None => {
                let both = if spec.driver == Driver::Mysql { [MYSQL, MARIADB] } else { [MARIADB, MYSQL] };
                let mut found = None;
                for names in both {
                    if found.is_none() && place.has(names[0], asking)? {
                        found = Some(names);
                    }
                }
                let missing = || SourceError::NoProgram { program: both[0][0].to_owned() };
                found.ok_or_else(missing)?.map(String::from)
            }
        };
        let limits = Limits { total: limit, idle: Some(spec.idle_limit) };
        let mut tools = Self { spec: spec.clone(), world, limits, place, confidence, names, is_mysql: false };
        // Distributions call MariaDB's programs by MySQL's names too.
        let version = Call { argv: tools.argv(Tool::Dump, &["--version"]), env: vec![], confidence: None };
        let version = tools.place.client(version)?;
        let program = version.program().clone();
        let answer = version.output(world.around, tools.limits, world.cancelled, 1000)?;
        answer.finished.success(&program)?;
        tools.is_mysql = !String::from_utf8_lossy(&answer.stdout).contains("MariaDB");
        Ok(tools)
    }

    /// Returns whether the dump program is MySQL's own, which knows other options than MariaDB's.
    pub(super) fn is_mysql(&self) -> bool {
        self.is_mysql
    }

    /// Returns a program that is let in, with these further arguments.
    pub(super) fn call<S: AsRef<str>>(&self, tool: Tool, arguments: &[S]) -> Result<Client, SourceError> {
        let mut argv = self.argv(tool, &[] as &[&str]);
        argv.extend(self.way_in().into_iter().map(OsString::from));
        argv.extend(self.spec.reach.options.iter().map(OsString::from));
        argv.extend(arguments.iter().map(|argument| OsString::from(argument.as_ref())));
        Ok(self.place.client(Call { argv, env: vec![], confidence: self.confidence.clone() })?)
    }

    fn argv<S: AsRef<str>>(&self, tool: Tool, arguments: &[S]) -> Vec<OsString> {
        let name = &self.names[usize::from(tool == Tool::Dump)];
        let arguments = arguments.iter().map(|argument| argument.as_ref().into());
        [OsString::from(name)].into_iter().chain(arguments).collect()
    }

    /// Asks the server; returns the answer's rows. NULL is `NULL`; the question takes care of whatever else a value
    /// could be taken for.
    pub(super) fn ask(&self, sql: &str) -> Result<Vec<Vec<String>>, SourceError> {
        let execute = format!("--execute={sql}");
        let arguments = ["--batch", "--skip-column-names", "--raw", &execute];
        let client = self.call(Tool::Client, &arguments)?;
        let program = client.program().clone();
        let answer = client.output(self.world.around, self.limits, self.world.cancelled, MAX_ANSWER)?;
        answer.finished.success(&program)?;
        if answer.was_cut {
            return Err(SourceError::Cut { program: program.name() });
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        Ok(text.lines().map(|line| line.split('\t').map(ToOwned::to_owned).collect()).collect())
    }

    /// Asks for one value.
    pub(super) fn ask_one(&self, sql: &str) -> Result<Option<String>, SourceError> {
        Ok(self.ask(sql)?.into_iter().flatten().next())
    }

    /// Returns the arguments that lead to the server; nothing of them is secret.
    fn way_in(&self) -> Vec<String> {
        let reach = &self.spec.reach;
        let mut words = Vec::new();
        let mut add = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        if let Some(user) = &reach.user {
            add("user", user);
        }
        match (&reach.socket, &reach.host, reach.port) {
            (Some(socket), ..) => {
                add("protocol", "socket");
                add("socket", &socket.to_string_lossy());
            }
            // The clients take the name `localhost` for the socket.
            (None, host, port) if host.is_some() || port.is_some() => {
                add("protocol", "tcp");
                add("host", host.as_deref().unwrap_or("127.0.0.1"));
                if let Some(port) = port {
                    add("port", &port.to_string());
                }
            }
            _ => {}
        }
        for (name, path) in [("ssl-ca", &reach.ca), ("ssl-cert", &reach.cert), ("ssl-key", &reach.key)] {
            if let Some(path) = path {
                add(name, &path.to_string_lossy());
            }
        }
        let words_of_tls: &[&str] = match (reach.tls, self.is_mysql, reach.ca.is_some()) {
            (Some(false), false, _) => &["--skip-ssl"],
            (Some(false), true, _) => &["--ssl-mode=DISABLED"],
            (Some(true), false, false) => &["--ssl"],
            (Some(true) | None, false, true) => &["--ssl", "--ssl-verify-server-cert"],
            (Some(true), true, false) => &["--ssl-mode=REQUIRED"],
            (Some(true) | None, true, true) => &["--ssl-mode=VERIFY_CA"],
            (None, _, false) => &[],
        };
        words.extend(words_of_tls.iter().map(|word| (*word).to_owned()));
        words
    }
}

/// Returns the option file that tells a client the password, whatever is in it.
fn option_file(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(2 * password.len() + 32));
    text.extend_from_slice(b"[client]\npassword=\"");
    for byte in password {
        if matches!(byte, b'\\' | b'"') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.extend_from_slice(b"\"\n");
    text
}
