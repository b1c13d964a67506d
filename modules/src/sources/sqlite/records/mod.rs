//! The tables of a database in a file, as records: read row by row from one view, and put back.
//!
//! ```text
//! describe.rs  what is known of a table: columns, key, indexes, triggers
//! read.rs      SqliteRecords: the rows
//! write.rs     SqliteTarget: into a file that nobody else has open yet; rows.rs: row by row; update.rs: some columns
//! ```
//!
//! Keys: the `INTEGER PRIMARY KEY`; else the declared key, if no row has a NULL in it (SQLite lets them); else the
//! `rowid`, if its name is free; else none. Of generated columns only the declaration is kept. Virtual tables are
//! refused unless they are left out, and then their shadow tables are too: what these hold only their own module can read.

mod describe;
#[cfg(test)]
mod random_tests;
mod read;
mod rows;
#[cfg(test)]
mod tests;
mod update;
mod write;

pub(in super::super) use read::SqliteRecords;
pub(super) use write::SqliteTarget;

use super::super::SourceError;
use crate::records::RecordError;
use dedup_engine::error::Kind;
use rusqlite::ErrorCode;
use std::path::Path;

/// Numbers that programs keep in the file's head, such as the version of their schema.
const NUMBERS: [&str; 2] = ["user_version", "application_id"];

/// Turns an error of SQLite into one of records.
fn failed(path: &Path, doing: impl Into<String>, error: rusqlite::Error) -> RecordError {
    let message = match &error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    };
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        _ => SourceError::sqlite(path, "use", error).kind(),
    };
    RecordError::Engine {
        doing: format!("{} of {}", doing.into(), path.display()),
        message,
        kind,
        source: None,
    }
}

/// Returns a name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns names as a list of SQL.
fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}
