//! Servers and how to get in: the way, the password, the client program.
//!
//! ```text
//! mod.rs         Reach: where a server is, with paths resolved; a restore's own keys win
//! secret.rs      passwords: read where the manifest says they are
//! confide.rs     what only one program may read, in no argument, environment or file of a disk
//! container.rs   the container a server or its client is in
//! client.rs      a client program, here or in a container, that is confided in
//! error.rs       EndpointError
//! ```
//!
//! A password is read when it is needed, kept in memory that is wiped, and stands in no argument, message, log or
//! journal: [`Reach`] holds the reference only. A client of this machine gets it in a file of memory
//! ([`confide`]); one in a container at the beginning of its standard input, which a shell there turns into a file
//! without a name. No client gets it by its environment.

mod client;
pub mod confide;
mod container;
mod error;
mod secret;
#[cfg(test)]
mod tests;

pub use client::{By, Call, Client, Confidence, Place, Running};
pub use container::Container;
pub use error::EndpointError;
pub use secret::{MAX_SECRET_BYTES, Password};

use crate::child::Surroundings;
use crate::manifest::endpoint::Endpoint;
use crate::manifest::paths::{ManifestPath, UnknownVariable, Variables};
use crate::manifest::secret::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The way to a server. What is absent is the client's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// A socket; with a container, one there.
    pub socket: Option<PathBuf>,
    /// Another machine, or this one by network.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The client runs in this container.
    pub container: Option<ContainerName>,
    /// Who.
    pub user: Option<String>,
    /// Where the password is.
    pub password: Option<Secret>,
    /// The database to connect to.
    pub database: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: Option<bool>,
    /// The authority's certificate.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Further arguments of the client.
    pub options: Vec<String>,
    /// The client program, if it is not the usual one.
    pub client: Option<String>,
}

/// How a manifest names a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerName {
    /// By its own name.
    Name(String),
    /// By the service of a compose stack.
    ComposeService(String),
}

/// What is needed to ask for passwords and containers.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// What programs get of this process's world.
    pub around: &'a Surroundings,
    /// Says whether the run is to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl Reach {
    /// Resolves an endpoint, and another one whose keys win over it.
    ///
    /// `socket`, `host`, `container` and `compose_service` say where the server is: one of them in `over` replaces all of
    /// them, and the port.
    pub fn of(
        endpoint: Option<&Endpoint>,
        over: Option<&Endpoint>,
        variables: &Variables,
    ) -> Result<Self, UnknownVariable> {
        let none = Endpoint::default();
        let (base, over) = (endpoint.unwrap_or(&none), over.unwrap_or(&none));
        let moved = over.socket.is_some()
            || over.host.is_some()
            || over.container.is_some()
            || over.compose_service.is_some();
        let place = if moved { over } else { base };
        let resolve = |path: Option<&ManifestPath>| path.map(|path| path.resolve(variables)).transpose();
        let text = |over: &Option<String>, base: &Option<String>| over.as_ref().or(base.as_ref()).cloned();
        let name = place.container.clone().map(ContainerName::Name);
        let service = || place.compose_service.clone().map(ContainerName::ComposeService);
        Ok(Self {
            socket: resolve(place.socket.as_ref())?,
            host: place.host.clone(),
            port: over.port.or(place.port),
            container: name.or_else(service),
            user: text(&over.user, &base.user),
            password: over.password.as_ref().or(base.password.as_ref()).cloned(),
            database: text(&over.database, &base.database),
            tls: over.tls.or(base.tls),
            ca: resolve(over.ca.as_ref().or(base.ca.as_ref()))?,
            cert: resolve(over.cert.as_ref().or(base.cert.as_ref()))?,
            key: resolve(over.key.as_ref().or(base.key.as_ref()))?,
            options: if over.options.is_empty() { base.options.clone() } else { over.options.clone() },
            client: text(&over.client, &base.client),
        })
    }

    /// Finds the container, if there is one.
    pub fn container(&self, asking: Asking<'_>) -> Result<Option<Container>, EndpointError> {
        self.container.as_ref().map(|name| Container::find(name, asking)).transpose()
    }

    /// Reads the password, if there is one. `container` is where `container:NAME` looks.
    pub fn password(
        &self,
        container: Option<&Container>,
        asking: Asking<'_>,
    ) -> Result<Option<Password>, EndpointError> {
        self.password.as_ref().map(|secret| Password::read(secret, container, asking)).transpose()
    }

    /// Returns where the server is, for messages: `localhost:3306`, `/run/x.sock`, `container db`.
    pub fn shown(&self) -> String {
        let container = match &self.container {
            Some(ContainerName::Name(name)) => format!("container {name}"),
            Some(ContainerName::ComposeService(name)) => format!("compose service {name}"),
            None => String::new(),
        };
        let server = match (&self.socket, &self.host, self.port) {
            (Some(socket), ..) => socket.display().to_string(),
            (None, Some(host), Some(port)) => format!("{host}:{port}"),
            (None, Some(host), None) => host.clone(),
            (None, None, Some(port)) => format!("port {port}"),
            (None, None, None) if container.is_empty() => "the usual place".to_owned(),
            (None, None, None) => String::new(),
        };
        match (container.is_empty(), server.is_empty()) {
            (true, _) => server,
            (_, true) => container,
            (false, false) => format!("{server} of {container}"),
        }
    }
}
