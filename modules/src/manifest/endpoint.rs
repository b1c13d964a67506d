//! Where a source is, and how to get in.

use super::form::{Count, Flag, NAME, TEXT, list};
use super::paths::{ManifestPath, PathForm};
use super::reader::Table;
use super::secret::{SECRET, Secret};

/// The way to a source. What is absent is the client's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// A socket on this machine.
    pub socket: Option<ManifestPath>,
    /// Another machine, or this one by network.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The client runs in this container.
    pub container: Option<String>,
    /// The client runs in the container of this service of the module's compose stack.
    pub compose_service: Option<String>,
    /// Who.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The database to connect to.
    pub database: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: Option<bool>,
    /// The authority's certificate.
    pub ca: Option<ManifestPath>,
    /// Our certificate.
    pub cert: Option<ManifestPath>,
    /// Its key.
    pub key: Option<ManifestPath>,
    /// Further arguments of the client.
    pub options: Vec<String>,
    /// The client program.
    pub client: Option<String>,
}

impl Endpoint {
    /// Returns whether the password stands in the manifest itself.
    pub fn has_literal_secret(&self) -> bool {
        matches!(self.password, Some(Secret::Literal(_)))
    }
}

/// Reads an endpoint.
pub fn read_endpoint(t: &mut Table<'_, '_>) -> Endpoint {
    t.not_both("socket", "host");
    t.not_both("socket", "port");
    t.not_both("container", "compose_service");
    Endpoint {
        socket: t.optional("socket", PathForm, "A socket on this machine."),
        host: t.optional("host", NAME, "A machine to reach by network."),
        port: t.optional("port", Count(1, 65535), "Its port.").and_then(|port| u16::try_from(port).ok()),
        container: t.optional("container", NAME, "Run the client in this container."),
        compose_service: t.optional("compose_service", NAME, "Run the client in the container of this compose service."),
        user: t.optional("user", NAME, "Who."),
        password: t.optional("password", SECRET, "Where the password is: file:/PATH, env:NAME, systemd:NAME, container:NAME, exec:PROGRAM ARGUMENT…, store:NAME."),
        database: t.optional("database", NAME, "The database to connect to."),
        tls: t.optional("tls", Flag, "Encrypt the connection."),
        ca: t.optional("ca", PathForm, "The authority's certificate."),
        cert: t.optional("cert", PathForm, "Our certificate."),
        key: t.optional("key", PathForm, "The key of our certificate."),
        options: t.or("options", list(TEXT), vec![], "Further arguments of the client."),
        client: t.optional("client", NAME, "The client program, if it is not the usual one."),
    }
}

/// Returns the program that dumps, of the same kind and at the same place as a client of MariaDB or MySQL.
pub fn mysql_dump_program(client: &str) -> String {
    match client.rsplit('/').next() {
        Some(name) if name.contains("mariadb") => format!("{client}-dump"),
        _ => format!("{client}dump"),
    }
}
