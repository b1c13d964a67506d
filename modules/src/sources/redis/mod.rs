//! Driver `redis`: the whole data set of a Redis or Valkey server, as its own file (RDB).
//!
//! ```text
//! mod.rs        RedisSpec: where the server is
//! protocol.rs   a connection, and what is said on it (RESP)
//! rdb.rs        is it a whole RDB file?
//! dump.rs       as a replica that asks for everything
//! load.rs       as a master that gives everything
//! ```
//!
//! Both ways are replication: the server writes a file of one moment for a replica, and takes one from a master in
//! place of all it has, at once. No file of the server is touched, nor need it stop. Without TLS.

mod dump;
mod load;
mod protocol;
mod rdb;
#[cfg(test)]
mod tests;

pub(super) use dump::RedisDump;
pub(super) use load::RedisLoad;

use super::{IDLE_LIMIT, SourceError};
use crate::endpoint::Reach;
use crate::manifest::drivers::Import;
use crate::manifest::sources::Source;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A source of driver `redis`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisSpec {
    /// Where the server is.
    pub reach: Reach,
    /// How an import treats what is there.
    pub import: Import,
    /// How long the server may say nothing.
    pub idle_limit: Duration,
}

impl RedisSpec {
    /// Takes what a manifest says.
    pub(super) fn of(source: &Source, reach: Reach) -> Self {
        Self { reach, import: source.import, idle_limit: IDLE_LIMIT }
    }

    fn unless_tls(&self) -> Result<(), SourceError> {
        let reach = &self.reach;
        match reach.tls == Some(true) || reach.ca.is_some() || reach.cert.is_some() {
            true => Err(SourceError::CannotBe(
                "driver redis does not speak TLS; use the server's socket, or a tunnel".into(),
            )),
            false => Ok(()),
        }
    }
}
