//! Driver `postgresql`: databases of a server, as `pg_dump` writes them, or row by row.
//!
//! ```text
//! spec.rs       what a manifest wants, and the streams that it becomes
//! programs.rs   the server as the programs of PostgreSQL reach it
//! dump.rs       pg_dump, pg_dumpall
//! load.rs       pg_restore, psql
//! clean.rs      what they remove before, without what a server refuses
//! transaction.rs text that ends no transaction of its own
//! ready.rs      what they hand out
//! restricted.rs text that psql takes for nothing but SQL
//! connect.rs    a connection of our own
//! tls.rs        its encryption
//! login.rs      getting in
//! wire.rs       the protocol on it
//! quote.rs      names and texts within SQL
//! catalog.rs    what tables there are, and what they are made of
//! ddl.rs        what makes them, from the text of pg_dump
//! copy.rs       rows as lines of text
//! export.rs     records out of a database
//! import.rs     records into one
//! batch.rs      rows into one table
//! large.rs      large objects as rows
//! quiet.rs      foreign keys and triggers meanwhile
//! error.rs      what a server answers instead of data
//! ```
//!
//! One database is one stream, of the moment at which it is begun, large objects with it. Several are several streams of
//! one dump, `database=NAME` each, and each of its own moment: a server has no moment of all its databases. All of
//! them bring `roles`, which belong to no database; the passwords of roles only in section secrets.

mod batch;
mod catalog;
mod clean;
mod connect;
mod copy;
mod ddl;
mod dump;
mod error;
mod export;
mod import;
mod large;
mod load;
mod login;
mod programs;
mod quiet;
mod quote;
mod ready;
mod restricted;
mod spec;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod transaction;
mod wire;

pub use error::PostgresError;
pub use export::PostgresRecords;
pub use import::PostgresTarget;
pub use spec::{Databases, Form, PostgresSpec};

pub(super) use dump::{list, start_dump};
pub(super) use load::PostgresLoad;
pub(super) use spec::is_loaded_first;
