//! The way into a database: what may be opened, how, and how long a lock is waited for.

use super::super::SourceError;
use super::beside;
use crate::folder::Inode;
use rusqlite::config::DbConfig;
use rusqlite::ffi::{
    SQLITE_CANTOPEN_SYMLINK, SQLITE_READONLY_CANTINIT, SQLITE_READONLY_RECOVERY, SQLITE_READONLY_ROLLBACK,
};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, Statx, openat2, statvfs, statx,
};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How long SQLite itself waits before the caller is asked whether to go on.
const TURN: Duration = Duration::from_millis(200);

/// What is to be done with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Returns what the system says of the file at `path`, reached as SQLite may reach it.
///
/// As root no symbolic link is followed anywhere in the path: the directories of a service belong to its user, who
/// could let one lead to a database of somebody else, into the backup and out of it again into his own directory.
/// Everybody else can read only what he could read anyway.
pub(super) fn examine(path: &Path) -> Result<Statx, SourceError> {
    let resolve = match is_root() {
        true => ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        false => ResolveFlags::empty(),
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(CWD, path, flags, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::LOOP => SourceError::Link { path: path.to_owned() },
        Errno::NOTDIR => SourceError::Absent { path: path.to_owned() },
        errno => SourceError::io(path, "examine", errno),
    })?;
    let stat = statx(found, c"", AtFlags::EMPTY_PATH, Inode::ASKED)
        .map_err(|errno| SourceError::io(path, "examine", errno))?;
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => Ok(stat),
        _ => Err(SourceError::NotAFile { path: path.to_owned() }),
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Opens a database that is there. Nothing is read of it yet.
pub(super) fn open(path: &Path, access: Access) -> Result<Connection, SourceError> {
    let flags = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    open_as(path, path, flags)
}

/// Opens a file that nobody writes to as a database: without locks, and without its log, which must not be there.
pub(super) fn open_immutable(path: &Path) -> Result<Connection, SourceError> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    open_as(path, Path::new(&uri), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

fn open_as(path: &Path, name: &Path, flags: OpenFlags) -> Result<Connection, SourceError> {
    let links = if is_root() { OpenFlags::SQLITE_OPEN_NOFOLLOW } else { OpenFlags::empty() };
    let flags = flags | links | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(name, flags).map_err(|error| match extended(&error) {
        Some(SQLITE_CANTOPEN_SYMLINK) => SourceError::Link { path: path.to_owned() },
        _ => SourceError::sqlite(path, "open", error),
    })?;
    // What stands in the file is no reason to call anything. Memory is SQLite's default: 2 MB of pages, none mapped.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
        .map_err(|error| SourceError::sqlite(path, "open", error))?;
    Ok(connection)
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => Some(code.extended_code),
        _ => None,
    }
}

/// How long a lock is waited for, and who may end the waiting.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) limit: Duration,
    pub(super) cancelled: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// Lets SQLite wait for locks for a moment at a time, so that somebody may end it in between.
    pub(super) fn begin(&self, path: &Path, connection: &Connection) -> Result<(), SourceError> {
        let turn = TURN.min(self.limit);
        connection.busy_timeout(turn).map_err(|error| SourceError::sqlite(path, "open", error))
    }

    /// Calls `work` until it meets no lock any more (none: it met one and did not wait), as long as the limit allows.
    pub(super) fn until_free<T>(
        &self,
        path: &Path,
        doing: &'static str,
        mut work: impl FnMut() -> rusqlite::Result<Option<T>>,
    ) -> Result<T, SourceError> {
        let turns = self.limit.as_millis() / TURN.as_millis();
        let mut turn = 0;
        loop {
            if (self.cancelled)() {
                return Err(SourceError::Cancelled);
            }
            match work() {
                Ok(Some(done)) => return Ok(done),
                Err(error) if !is_locked(&error) => return Err(SourceError::sqlite(path, doing, error)),
                Ok(None) => std::thread::sleep(TURN),
                Err(_) => {}
            }
            turn += 1;
            if turn > turns {
                return Err(SourceError::Busy { path: path.to_owned(), waited: self.limit });
            }
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Opens a database and begins to read it: what is read by the connection is of this moment until it is closed.
pub(super) fn open_reading(path: &Path, patience: Patience<'_>) -> Result<Connection, SourceError> {
    let begin = |connection: &Connection| {
        patience.begin(path, connection)?;
        patience.until_free(path, "read", || {
            connection.execute_batch("BEGIN")?;
            // The view begins with the first read.
            let seen = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(Some(())));
            if seen.is_err() {
                connection.execute_batch("ROLLBACK")?;
            }
            seen
        })
    };
    let connection = open(path, Access::Read)?;
    let error = match begin(&connection) {
        Ok(()) => return Ok(connection),
        Err(error) => error,
    };
    drop(connection);
    let SourceError::Sqlite { source, .. } = &error else { return Err(error) };
    let connection = match (source.sqlite_error_code(), extended(source)) {
        // An interrupted transaction. Whoever opens the database next rolls it back; so do we, by SQLite.
        (_, Some(SQLITE_READONLY_ROLLBACK | SQLITE_READONLY_RECOVERY | SQLITE_READONLY_CANTINIT)) => {
            open(path, Access::Write)?
        }
        // In WAL mode even reading makes files beside, which a read-only file system cannot have. Without a log
        // the file is everything.
        (Some(ErrorCode::CannotOpen), _) if is_frozen(path) => open_immutable(path)?,
        _ => return Err(error),
    };
    begin(&connection).map(|()| connection).map_err(|error| match &error {
        SourceError::Sqlite { source, .. }
            if matches!(source.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen)) =>
        {
            SourceError::NeedsRecovery { path: path.to_owned() }
        }
        _ => error,
    })
}

/// Returns whether the file lies on a read-only file system and all of the database is in it.
fn is_frozen(path: &Path) -> bool {
    let read_only = statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY));
    let no_log = ["-wal", "-journal"].iter().all(|suffix| {
        std::fs::symlink_metadata(beside(path, suffix))
            .map_or_else(|error| error.kind() == ErrorKind::NotFound, |log| log.len() == 0)
    });
    read_only && no_log
}
