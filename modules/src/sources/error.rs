//! What can go wrong with a source.

use super::PostgresError;
use crate::child::{ChildError, Ended};
use crate::endpoint::EndpointError;
use crate::manifest::paths::UnknownVariable;
use crate::records::RecordError;
use crate::spaces::SpaceError;
use crate::units::show_duration;
use dedup_engine::error::Kind;
use dedup_engine::snapshot::Outcome;
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a source was not dumped, or not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file is not there.
    #[error("{} is not there", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A path that leads through a symbolic link.
    #[error(
        "{} leads through a symbolic link, which whoever may change it could point anywhere; name the file by its real path",
        path.display()
    )]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// Something else than a file.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// No database, as far as can be told.
    #[error(
        "{} is no SQLite database, or an encrypted one, which only its own program can read; a source of driver command can ask that program",
        path.display()
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Somebody holds a lock for too long.
    #[error(
        "{} stayed locked by another program for {}; stop that program during the backup, or use WAL mode",
        path.display(),
        show_duration(*waited)
    )]
    Busy {
        /// The database.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// Another file took its place while it was opened.
    #[error("{} was replaced by another file while it was opened; try again", path.display())]
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error("the database {} is damaged: {wrong}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong, as SQLite says it.
        wrong: String,
    },
    /// The interrupted transaction of another program must be undone before anybody can read.
    #[error(
        "{} has an interrupted transaction, and what is needed to read past it cannot be written; open the database once where it can",
        path.display()
    )]
    NeedsRecovery {
        /// The database.
        path: PathBuf,
    },
    /// Other programs use the target, and it cannot be changed while they do.
    #[error("{} is in use and cannot be replaced while it is ({why}); stop what uses it", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// SQLite says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Sqlite {
        /// What was tried, before the path: `read`.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// The system says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, before the path: `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The server cannot be reached, or not be asked.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The server has no such thing.
    #[error("{what} is not on the server at {server}")]
    NotThere {
        /// What: `database app`.
        what: String,
        /// Where.
        server: String,
    },
    /// The server does not do what it should.
    #[error("cannot {doing} the server at {server}: {why}")]
    Server {
        /// Where.
        server: String,
        /// What was tried, before the server: `connect to`.
        doing: &'static str,
        /// Why it failed.
        why: String,
    },
    /// The server lets us in, but does not show everything.
    #[error("{user} may not see {what} at {server}, which would be missing from the dump; {hint}")]
    NotSeen {
        /// Who.
        user: String,
        /// What.
        what: &'static str,
        /// Where.
        server: String,
        /// What to do.
        hint: String,
    },
    /// The program ended with status 0, and its output does not end as a whole one does.
    #[error("{program} exited with status 0, but what it printed ends in the middle")]
    Cut {
        /// The program.
        program: String,
    },
    /// The manifest does not say what is needed, or asks for what this form of dump cannot do.
    #[error("{0}")]
    CannotBe(String),
    /// The stream that is to be loaded could not be read.
    #[error("cannot read what is to be loaded: {0}")]
    Stream(#[source] io::Error),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ChildError),
    /// The program that is to load is not there.
    #[error("there is no program {program} to load this source; install it before the restore")]
    NoProgram {
        /// The program.
        program: String,
    },
    /// The program read only a part of what was to be loaded, and said that all was well.
    #[error(
        "{program} exited with status 0 without having read all of the stream; what it loaded is not whole"
    )]
    NotAllRead {
        /// The program.
        program: String,
    },
    /// The manifest names no program that could load the stream.
    #[error("nothing can load this source: give it `load = [\"program\", …]` in the manifest")]
    NoLoad,
    /// The driver cannot read or write rows.
    #[error("this driver knows no records; set another format in the manifest")]
    NoRecords,
    /// The dump was ended before its end, or a load put in place that was not prepared.
    #[error("this was ended before its end; what there is of it is void")]
    Unfinished,
    /// What the source has now cannot be kept, or not be read again.
    #[error("the dump of what it had before: {0}")]
    Kept(#[from] SpaceError),
    /// The run is cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Records could not be read or put back.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// A PostgreSQL server.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No database is named.
    #[error("no database is named; set `select = {{ databases = [\"…\"] }}`, or `database` in the endpoint")]
    NoDatabase,
    /// The database is not there.
    #[error("there is no database {name:?} on the server ({place})")]
    NoSuchDatabase {
        /// Its name.
        name: String,
        /// The server.
        place: String,
    },
    /// Roles were refused.
    #[error("the roles were not all restored: {said}; restore them as a superuser")]
    Roles {
        /// What the program said.
        said: String,
    },
    /// The manifest wants what this form of dump cannot do.
    #[error("format {format} cannot do {what}")]
    Impossible {
        /// What.
        what: String,
        /// The format.
        format: String,
    },
    /// A path variable without a value.
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
    /// Another room asks this kind of source.
    #[error("driver {driver} is none of those that are dumped as one stream here")]
    Unsupported {
        /// The driver.
        driver: String,
    },
}

/// What clients say of a server that is not there yet: MariaDB's by the numbers of their errors, PostgreSQL's in words.
const NOT_UP: [&str; 6] = [
    "ERROR 2002",
    "ERROR 2003",
    "ERROR 2013",
    "Connection refused",
    "No such file or directory",
    "starting up",
];

impl SourceError {
    /// Returns whether this can be because a server that was started a moment ago is not up yet.
    pub fn may_come_up(&self) -> bool {
        match self {
            Self::Postgres(PostgresError::Connect { .. }) => true,
            // It starts, or ends.
            Self::Postgres(PostgresError::Refused { state, .. }) => state == "57P03",
            Self::Server { doing, why, .. } => *doing == "connect to" || why.starts_with("LOADING"),
            Self::Program(ChildError::Failed { ended: Ended::Exit(_), stderr, .. }) => {
                NOT_UP.iter().any(|said| stderr.contains(said))
            }
            Self::Records(error) => {
                let told = error.to_string();
                NOT_UP.iter().any(|said| told.contains(said))
            }
            _ => false,
        }
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Absent { .. }
            | Self::NoProgram { .. }
            | Self::NotThere { .. }
            | Self::NoSuchDatabase { .. } => Kind::Missing,
            Self::Endpoint(error) => error.kind(),
            Self::NotSeen { .. } => Kind::Permission,
            Self::Busy { .. } | Self::InUse { .. } | Self::Replaced { .. } => Kind::Busy,
            Self::Damaged { .. } => Kind::Integrity,
            Self::Kept(error) => error.kind(),
            Self::Link { .. }
            | Self::NotAFile { .. }
            | Self::NotADatabase { .. }
            | Self::NoLoad
            | Self::CannotBe(_)
            | Self::NoRecords
            | Self::Variable(_)
            | Self::Unsupported { .. } => Kind::Refused,
            Self::NeedsRecovery { .. } => Kind::Permission,
            Self::Io { source, .. } | Self::Stream(source) => io_kind(source),
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Kind::NoSpace,
                Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                    Kind::Permission
                }
                _ => Kind::Io,
            },
            Self::Program(ChildError::Failed { ended: Ended::Cancelled, .. }) | Self::Cancelled => {
                Kind::Cancelled
            }
            Self::Program(_) | Self::NotAllRead { .. } | Self::Cut { .. } | Self::Server { .. } => Kind::Io,
            Self::Unfinished => Kind::Internal,
            Self::Records(error) => error.kind(),
            Self::Postgres(error) => error.kind(),
            Self::NoDatabase | Self::Impossible { .. } => Kind::Refused,
            Self::Roles { .. } => Kind::Permission,
        }
    }

    /// Returns what became of the source, for the account of a run.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Absent { .. }
            | Self::NotThere { .. }
            | Self::NoSuchDatabase { .. }
            | Self::Records(RecordError::Absent { .. }) => Outcome::Absent,
            _ if self.kind() == Kind::Permission => Outcome::Unreadable,
            _ => Outcome::Failed,
        }
    }

    /// Sorts an error of SQLite.
    pub(super) fn sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(ErrorCode::DatabaseCorrupt) => {
                let wrong = match &source {
                    rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
                    other => other.to_string(),
                };
                Self::Damaged { path, wrong }
            }
            _ => Self::Sqlite { doing, path, source },
        }
    }

    /// Sorts an error of the system.
    pub(super) fn io(path: &Path, doing: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Absent { path: path.to_owned() },
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }
}

fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Kind::Permission,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        _ => Kind::Io,
    }
}
