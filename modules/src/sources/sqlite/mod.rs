//! Driver `sqlite`: a database in a file, dumped while it is used, put back while it is used or not.
//!
//! ```text
//! connect.rs   the way in: what may be opened, what is waited for
//! dump.rs      the pages of one moment, in order
//! sound.rs     whether they are those of a sound database
//! load.rs      written beside, looked at, put in place
//! aside.rs     what was there before, and its way back
//! records/     the same as rows of tables, each way
//! holders.rs   which processes have it open
//! ```
//!
//! SQLite's locks belong to the process: while a dump or load is open, nothing else in this process may open and
//! close the same file, or the locks are gone (`fcntl`, POSIX). So everything here that is not SQLite asks by
//! `stat` and `O_PATH`, which touch no locks.

mod aside;
mod connect;
mod dump;
mod holders;
mod load;
mod records;
mod sound;
#[cfg(test)]
mod tests;

pub use aside::SqliteWayBack;
pub(super) use dump::SqliteDump;
pub(super) use load::SqliteLoad;
pub(super) use records::SqliteRecords;

use std::path::{Path, PathBuf};

/// What SQLite puts beside a database: its write-ahead log and its rollback journal, which hold data, and the index
/// of the former, which holds none.
const SIDECARS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// Returns the path of what lies beside a database.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
