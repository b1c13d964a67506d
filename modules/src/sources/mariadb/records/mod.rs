//! Format `records`: rows by the client library.
//!
//! ```text
//! connect.rs   connections, and what their errors mean
//! names.rs     databases and tables
//! catalog.rs   what the server says of tables and of what is made of programs
//! values.rs    values as the server sends them, and as SQL has them
//! source.rs    MariadbSource: one view, read in one session
//! target.rs    MariadbTarget: one transaction, and what must come after it
//! write.rs     statements that write and remove rows; update.rs: that change some columns
//! ```
//!
//! Rows come by the binary protocol: the text one rounds `FLOAT` to six digits (so does a dump in SQL). Text comes as
//! UTF-8, which the server makes of other character sets; moments come in UTC.

mod catalog;
mod connect;
mod names;
mod source;
mod target;
mod update;
mod values;
mod write;

pub use source::{MariadbSource, look};
pub use target::MariadbTarget;
