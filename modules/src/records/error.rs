//! What can go wrong with records.

use dedup_engine::backup::BackupError;
use dedup_engine::error::{Corrupt, Kind};
use dedup_engine::repo::RepoError;
use std::error::Error;
use std::io;

/// Why records were not read, stored or put back. What is in a row is never in the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The engine says no: connection, rights, statement.
    #[error("cannot {doing}: {message}")]
    Engine {
        /// What was tried: `connect to MariaDB at /run/mysqld/mysqld.sock`, `read table asterisk.cdr`.
        doing: String,
        /// The engine's own words, without values of rows, without secrets.
        message: String,
        /// What a caller can decide on.
        kind: Kind,
        /// The client library's error.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Something is not there.
    #[error("{what} is not there")]
    Absent {
        /// What: `database asterisk`, `table cdr`.
        what: String,
    },
    /// A table was dropped or altered while it was read.
    #[error("table {table} changed while it was read: {why}; nothing of this source is kept, try again")]
    Changed {
        /// The table.
        table: String,
        /// How.
        why: String,
    },
    /// The driver said that rows come in the order of their keys, and they do not, or two have one key.
    #[error(
        "table {table}: row {row} does not come after the one before it; its key is none, or the table is damaged"
    )]
    Order {
        /// The table.
        table: String,
        /// Number of the row, from 1.
        row: u64,
    },
    /// A row cannot be stored.
    #[error("table {table}, row {row}: {why}")]
    Row {
        /// The table.
        table: String,
        /// Number of the row, from 1.
        row: u64,
        /// Why.
        why: String,
    },
    /// The target refuses a row.
    #[error("table {table} refuses a row ({row} of those that were sent): {why}")]
    Refused {
        /// The table.
        table: String,
        /// Number of the row, from 1.
        row: u64,
        /// The engine's own words.
        why: String,
    },
    /// The target lacks columns, and the manifest forbids to drop them.
    #[error("table {table} lacks {columns}; add them, or set missing_columns = \"drop+warn\"")]
    MissingColumns {
        /// The table.
        table: String,
        /// Their names, joined.
        columns: String,
    },
    /// The target has another number of rows than was loaded.
    #[error("table {table} has {found} rows, {expected} were expected")]
    Counts {
        /// The table.
        table: String,
        /// What there should be.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The target has rows that the dump does not have, and the manifest forbids that.
    #[error(
        "table {table} has {rows} rows that the snapshot does not have, which extra_rows_policy = \"fail\" forbids"
    )]
    ExtraRows {
        /// The table.
        table: String,
        /// How many.
        rows: u64,
    },
    /// The driver, or the format, cannot do it.
    #[error("{what} cannot be stored as records; format = \"custom\" or \"sql\" can")]
    Unsupported {
        /// What.
        what: String,
    },
    /// A table whose rows are made by a program.
    #[error(
        "table {table} is virtual: its rows are made by its module out of tables of its own, and none of them is stored as \
         records; format = \"custom\" stores all of the file, select.ignore = [\"{table}\"] all but this table"
    )]
    Virtual {
        /// The table.
        table: String,
    },
    /// The scratch file of the sort.
    #[error("cannot sort the rows of {table} in scratch: {source}")]
    Scratch {
        /// The table.
        table: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Stored records are not what they must be.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The repository could not be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The repository could not be written: this ends the run.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The run is cancelled, or the source's time limit is reached.
    #[error("cancelled")]
    Cancelled,
}

impl RecordError {
    /// Makes an error of the engine.
    pub fn engine(
        doing: impl Into<String>,
        kind: Kind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self::Engine { doing: doing.into(), message: source.to_string(), kind, source: Some(source) }
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Engine { kind, .. } => *kind,
            Self::Absent { .. } => Kind::Missing,
            Self::Changed { .. } => Kind::Busy,
            Self::Order { .. } | Self::Corrupt(_) | Self::Counts { .. } => Kind::Integrity,
            Self::Row { .. }
            | Self::Refused { .. }
            | Self::MissingColumns { .. }
            | Self::ExtraRows { .. }
            | Self::Unsupported { .. }
            | Self::Virtual { .. } => Kind::Refused,
            Self::Scratch { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Kind::Permission,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
                _ => Kind::Io,
            },
            Self::Repo(error) => error.kind(),
            Self::Backup(error) => error.kind(),
            Self::Cancelled => Kind::Cancelled,
        }
    }
}
