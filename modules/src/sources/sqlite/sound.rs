//! Whether a database is sound, as far as SQLite can tell without comparing each index with its table: `quick_check`.
//!
//! It is asked within the view of the dump, so of the very pages that were read. That a page was damaged and still looks
//! like one (a bit of a text) nobody can see: SQLite keeps no checksums.

use super::super::SourceError;
use rusqlite::{Connection, ErrorCode};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How often it is asked meanwhile whether the run is cancelled.
const TURN: Duration = Duration::from_millis(100);
/// Most findings that are heard.
const MAX_HEARD: usize = 1000;
/// How many of them are told.
const TOLD: usize = 3;
/// What SQLite finds that is no damage: rows that a later schema would not take.
const OF_SCHEMA: [&str; 4] = ["NULL value in ", "NUMERIC value in ", "TEXT value in ", "non-"];

/// Returns what is wrong with a database; none if nothing is, or if it cannot be looked at here, as where an index needs
/// a collation of its program.
pub(super) fn flaw(
    connection: &mut Connection,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<String>, SourceError> {
    let (interrupt, (done, is_done)) = (connection.get_interrupt_handle(), mpsc::channel());
    let (found, stopped) = thread::scope(|scope| {
        let look = scope.spawn(move || {
            let found = look(connection);
            // Nobody may wait for it any more.
            let _ = done.send(());
            found
        });
        let mut stopped = false;
        while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(TURN) {
            // Again and again, as the first may have come before there was anything to interrupt.
            stopped |= cancelled();
            if stopped {
                interrupt.interrupt();
            }
        }
        (look.join(), stopped)
    });
    match found {
        _ if stopped => Err(SourceError::Cancelled),
        Ok(Ok(found)) => Ok(found),
        // It could not even be begun: a page of the schema.
        Ok(Err(error)) if is_damage(&error) => Ok(Some(error.to_string())),
        Ok(Err(_)) => Ok(None),
        Err(_) => Ok(Some("SQLite could not check it".to_owned())),
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn look(connection: &Connection) -> rusqlite::Result<Option<String>> {
    // What rows must be like is their program's business, and might call anything.
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({MAX_HEARD})"))?;
    let (mut rows, mut told, mut count) = (statement.query([])?, Vec::new(), 0usize);
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            // What was found before it gave up says more than that it did.
            Err(error) if count > 0 && is_damage(&error) => break,
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned();
        // Several stand in one, under a line that names the database.
        for line in text.lines().filter(|line| *line != "ok" && !line.starts_with("*** in database")) {
            if !OF_SCHEMA.iter().any(|begin| line.starts_with(begin)) {
                count += 1;
                told.extend((told.len() < TOLD).then(|| line.to_owned()));
            }
        }
    }
    let more = count - told.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Ok((count > 0).then(|| told.join("; ") + &more))
}
