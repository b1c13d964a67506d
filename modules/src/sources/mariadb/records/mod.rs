//! Format `records`: rows, by a client of our own.
//!
//! ```text
//! connect.rs   connections, and what their errors mean
//! names.rs     databases and tables
//! catalog.rs   what the server says of tables and of what is made of programs
//! values.rs    values as the server sends them, and as SQL has them
//! source.rs    MariadbSource: one view, read in one session
//! pending.rs   a statement that was sent, while the next one is made
//! target.rs    MariadbTarget: one transaction, and what must come after it
//! triggers.rs  triggers of tables that are loaded, taken away and made again
//! write.rs     statements that write and remove rows; update.rs: that change some columns
//! ```
//!
//! Rows come by the binary protocol: the text one rounds `FLOAT` to six digits (so does a dump in SQL). Text comes as
//! UTF-8, which the server makes of other character sets; moments come in UTC.

mod catalog;
mod connect;
mod names;
mod pending;
mod source;
mod target;
mod triggers;
mod update;
mod values;
mod write;

pub use source::{MariadbSource, look};
pub use target::MariadbTarget;
pub use triggers::MariadbTriggers;
#[cfg(any(test, feature = "testing"))]
pub(super) use values::any as reading;
