//! The programs of PostgreSQL: `pg_dump`, `pg_dumpall`, `pg_restore`, `psql`; here or in a container.

use super::super::tls::Tls;
use super::super::{SourceError, World};
use super::connect::Address;
use super::connect::{PORT, SOCKETS};
use crate::child::Limits;
use crate::endpoint::{Asking, By, Call, Client, Confidence, Password, Place, Reach};
use nix::unistd::{Uid, User};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The database that every server has, to ask for others.
pub(super) const MAINTENANCE: &str = "postgres";
/// Longest answer of the catalogue.
const MAX_ANSWER: usize = 16 << 20;
/// How long the catalogue may take to answer.
const ASK: Duration = Duration::from_secs(120);
/// What the names of sockets begin with; their port follows.
const SOCKET_NAME: &str = ".s.PGSQL.";

/// A server, found, with the password at hand.
pub(super) struct Server<'a> {
    reach: Reach,
    place: Place,
    password: Option<Password>,
    world: World<'a>,
}

impl<'a> Server<'a> {
    /// Finds the container, if there is one, and the password.
    pub(super) fn find(reach: &Reach, world: World<'a>) -> Result<Self, SourceError> {
        let asking = Asking { around: world.around, cancelled: world.cancelled };
        let container = reach.container(asking)?;
        let password = reach.password(container.as_ref(), asking)?;
        let place = container.map_or(Place::Here, Place::In);
        Ok(Self { reach: reach.clone(), place, password, world })
    }

    /// Returns the world it was found in.
    pub(super) fn world(&self) -> World<'a> {
        self.world
    }

    /// Returns where it is, for messages.
    pub(super) fn shown(&self) -> String {
        self.reach.shown()
    }

    /// Says whether a program is there.
    pub(super) fn assert_has(&self, program: &str) -> Result<(), SourceError> {
        let asking = Asking { around: self.world.around, cancelled: self.world.cancelled };
        let file = self.program(program);
        match self.place.has(&file.to_string_lossy(), asking)? {
            true => Ok(()),
            false => Err(SourceError::NoProgram { program: file.to_string_lossy().into_owned() }),
        }
    }

    /// Returns a program of the server's, by its path if the endpoint's `client` says where such programs are.
    fn program(&self, name: &str) -> OsString {
        match self.reach.client.as_deref().map(|client| Path::new(client).parent()) {
            Some(Some(dir)) if !dir.as_os_str().is_empty() => dir.join(name).into(),
            _ => name.into(),
        }
    }

    /// Makes a program ready to start, connecting to a database. `words` come after what says where that is.
    pub(super) fn client<S: Into<OsString>>(
        &self,
        program: &str,
        database: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Client, SourceError> {
        let mut argv = self.as_user();
        argv.push(self.program(program));
        argv.push("--no-password".into());
        argv.extend(self.reach.options.iter().map(OsString::from));
        argv.push(format!("--dbname={}", self.connection(database)).into());
        argv.extend(words.into_iter().map(Into::into));
        let env =
            vec![("LC_ALL".into(), "C".into()), ("PGOPTIONS".into(), "-c client_min_messages=error".into())];
        let confidence = self.password.as_ref().map(|password| Confidence {
            content: password_file(password.as_bytes()),
            by: By::Variable("PGPASSFILE"),
        });
        Ok(self.place.client(Call { argv, env, confidence })?)
    }

    /// Returns the beginning of a command that runs as the user whom the server lets in without a password: as root and
    /// on a socket of this machine, it must be that one (`peer`).
    fn as_user(&self) -> Vec<OsString> {
        let local = self.place == Place::Here && self.reach.host.is_none() && self.password.is_none();
        let user = self.reach.user.as_deref().filter(|_| local && Uid::effective().is_root());
        let user =
            user.and_then(|name| User::from_name(name).ok().flatten()).filter(|user| !user.uid.is_root());
        user.map_or_else(Vec::new, |user| {
            let (uid, gid) = (format!("--reuid={}", user.uid), format!("--regid={}", user.gid));
            ["setpriv", &uid, &gid, "--init-groups", "--"].map(OsString::from).to_vec()
        })
    }

    /// Returns the words by which programs connect. No secret is in them.
    fn connection(&self, database: &str) -> String {
        let reach = &self.reach;
        let mut words = vec![("dbname", database.to_owned()), ("application_name", "dedup".to_owned())];
        let mut port = reach.port;
        if let Some(socket) = &reach.socket {
            let (dir, of_name) = socket_place(socket);
            port = of_name.or(port);
            words.push(("host", dir.display().to_string()));
        }
        words.extend(reach.host.clone().map(|host| ("host", host)));
        words.extend(port.map(|port| ("port", port.to_string())));
        words.extend(reach.user.clone().map(|user| ("user", user)));
        words.extend(reach.tls.map(|tls| match (tls, &reach.ca) {
            (false, _) => ("sslmode", "disable".to_owned()),
            (true, None) => ("sslmode", "require".to_owned()),
            (true, Some(_)) => ("sslmode", "verify-full".to_owned()),
        }));
        for (word, path) in [("sslrootcert", &reach.ca), ("sslcert", &reach.cert), ("sslkey", &reach.key)] {
            words.extend(path.as_ref().map(|path| (word, path.display().to_string())));
        }
        let word = |(name, value): (&str, String)| {
            format!("{name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
        };
        words.into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Asks the catalogue of a database; each row has one column.
    pub(super) fn ask(&self, database: &str, sql: &str) -> Result<Vec<String>, SourceError> {
        let words = ["-X", "-q", "-A", "-t", "-0", "--set=ON_ERROR_STOP=1", "-c", sql];
        let client = self.client("psql", database, words)?;
        let program = client.program().clone();
        let captured = client.output(
            self.world.around,
            Limits { total: Some(ASK), idle: None },
            self.world.cancelled,
            MAX_ANSWER,
        )?;
        captured.finished.success(&program)?;
        let text = String::from_utf8_lossy(&captured.stdout);
        Ok(text.split_terminator('\0').map(ToOwned::to_owned).collect())
    }

    /// Returns the database in which others are asked for, made and removed.
    pub(super) fn maintenance(&self) -> &str {
        self.reach.database.as_deref().unwrap_or(MAINTENANCE)
    }

    /// Returns how a connection of our own is encrypted.
    pub(super) fn tls(&self) -> Tls {
        let Reach { tls: wanted, ca, cert, key, .. } = self.reach.clone();
        // As the programs have it: certificates matter only where encryption is asked for.
        let ca = ca.filter(|_| wanted == Some(true));
        Tls { wanted, ca, cert, key }
    }

    /// Returns where a connection of our own leads, and whose password it takes.
    pub(super) fn address(&self) -> Result<(Address, String, Option<&Password>), SourceError> {
        let user = self.reach.user.clone().unwrap_or_else(|| {
            User::from_uid(Uid::effective())
                .ok()
                .flatten()
                .map_or_else(|| MAINTENANCE.into(), |user| user.name)
        });
        let port = self.reach.port.unwrap_or(PORT);
        let address = match (&self.reach.host, &self.reach.socket, &self.place) {
            (_, _, Place::In(container)) => Address::Network(container.address()?.to_owned(), port),
            (Some(host), _, Place::Here) => Address::Network(host.clone(), port),
            (None, socket, Place::Here) => {
                let (dir, of_name) = socket_place(socket.as_deref().unwrap_or(Path::new(SOCKETS)));
                Address::Socket(dir.join(format!("{SOCKET_NAME}{}", of_name.unwrap_or(port))))
            }
        };
        Ok((address, user, self.password.as_ref()))
    }
}

/// Returns the directory of a socket, and the port in its name: an endpoint may name the one or the other.
fn socket_place(socket: &Path) -> (PathBuf, Option<u16>) {
    let port = socket.file_name().and_then(|name| name.to_str()?.strip_prefix(SOCKET_NAME)?.parse().ok());
    match (port, socket.parent()) {
        (Some(port), Some(dir)) => (dir.to_owned(), Some(port)),
        _ => (socket.to_owned(), None),
    }
}

/// Returns the file of passwords for every server, database and user that is asked: there is only one.
fn password_file(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut file = Zeroizing::new(Vec::with_capacity(2 * password.len() + 16));
    file.extend_from_slice(b"*:*:*:*:");
    for byte in password {
        if matches!(byte, b':' | b'\\') {
            file.push(b'\\');
        }
        file.push(*byte);
    }
    file.push(b'\n');
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_named_by_file_or_directory() {
        let place = |text| socket_place(Path::new(text));
        assert_eq!(place("/run/pg/.s.PGSQL.5433"), ("/run/pg".into(), Some(5433)));
        assert_eq!(place("/run/pg"), ("/run/pg".into(), None));
    }

    #[test]
    fn passwords_stand_in_a_file_as_they_are() {
        assert_eq!(&password_file(br"a:b\c")[..], b"*:*:*:*:a\\:b\\\\c\n");
    }
}
