//! Drivers `mariadb` and `mysql`.
//!
//! ```text
//! mod.rs      MariadbSpec: what the manifest says
//! tools.rs    the client programs: where they are, how they get in, what they are asked
//! choice.rs   which databases and tables a dump has
//! dump.rs     format `sql`: what mariadb-dump prints, whole or void
//! load.rs     what the client is given back, or rows
//! client/     the server's protocol, for rows
//! records/    format `records`: rows
//! ```
//!
//! The programs are those of the server's own packages, here or in its container, so that they know the server. A
//! password reaches them in confidence ([`endpoint`](crate::endpoint)), and with one they read no configuration but
//! that. Where the manifest has none, the configuration of the machine and the user holds (`/root/.my.cnf`).

mod choice;
mod client;
mod dump;
mod load;
mod records;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tools;

pub(super) use dump::MariadbDump;
pub(super) use load::MariadbLoad;
pub(super) use records::MariadbSource;
pub use records::MariadbTriggers;

use super::IDLE_LIMIT;
use crate::endpoint::Reach;
use crate::manifest::drivers::{Driver, Format, Import, Scope};
use crate::manifest::sources::{Select, Source};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A source of drivers `mariadb` and `mysql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MariadbSpec {
    /// Which of the two.
    pub driver: Driver,
    /// Where the server is.
    pub reach: Reach,
    /// What of it is dumped.
    pub select: Select,
    /// Whether this is where something is loaded; a dump of it is for the way back.
    pub loads: bool,
    /// The database that stands for the only selected one: what is loaded, and dumped for the way back.
    pub into: Option<String>,
    /// In what form.
    pub format: Format,
    /// One read view for everything.
    pub consistent: bool,
    /// How an import treats what is there.
    pub import: Import,
    /// What `replace` clears.
    pub scope: Scope,
    /// How long a client may do nothing.
    pub idle_limit: Duration,
}

impl MariadbSpec {
    /// Takes what a manifest says; `loads`: of a restore.
    pub(super) fn of(source: &Source, reach: Reach, loads: bool) -> Self {
        let elsewhere = source.restore_endpoint.as_ref().filter(|_| loads);
        Self {
            loads,
            into: elsewhere.and_then(|endpoint| endpoint.database.clone()),
            driver: source.driver,
            reach,
            select: source.select.clone(),
            format: source.format,
            consistent: source.consistent,
            import: source.import,
            scope: source.scope,
            idle_limit: IDLE_LIMIT,
        }
    }
}

/// Returns a name as SQL has it.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Returns text as SQL has it, whatever the server's mode says of backslashes.
fn literal(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(0x{hex} USING utf8mb4)")
}
