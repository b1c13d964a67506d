//! The pages of one moment, in order.
//!
//! A read transaction is held from the first byte to the last, and each page is asked from SQLite's own cache of
//! pages through the table `sqlite_dbpage`: in WAL mode writers go on and are not seen; in a rollback mode they
//! wait for the end of the dump. What comes out is a database file: the log is in it, free pages too.

use super::super::{Dump, FileOwner, Head, SourceError, World};
use super::connect::{Patience, examine, open_reading};
use super::sound;
use crate::folder::Inode;
use rusqlite::Connection;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many bytes are asked before they are read. The largest page has 64 KiB.
const BUFFER_BYTES: usize = 256 << 10;

/// A database that is being read.
pub(in super::super) struct SqliteDump<'a> {
    connection: Connection,
    path: PathBuf,
    head: Head,
    cancelled: &'a dyn Fn() -> bool,
    page_bytes: usize,
    pages: u64,
    /// The next one to ask; the first is 1.
    next: u64,
    buffer: Vec<u8>,
    at: usize,
    failed: Option<SourceError>,
}

impl<'a> SqliteDump<'a> {
    /// Opens a database and begins its view.
    pub(in super::super) fn open(
        path: &Path,
        busy_limit: Duration,
        world: World<'a>,
    ) -> Result<Self, SourceError> {
        let before = examine(path)?;
        let connection = open_reading(path, Patience { limit: busy_limit, cancelled: world.cancelled })?;
        // What SQLite opened by its path is what was looked at, unless somebody plays with the directories.
        if Inode::of(&examine(path)?) != Inode::of(&before) {
            return Err(SourceError::Replaced { path: path.to_owned() });
        }
        let failed = |error| SourceError::sqlite(path, "read", error);
        let ask = |pragma: &str| {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed)
        };
        let pages = u64::try_from(ask("page_count")?).unwrap_or(0);
        let page_bytes = usize::try_from(ask("page_size")?).unwrap_or(0);
        let journal: String =
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
        let facts = [
            ("journal_mode", journal),
            ("page_size", page_bytes.to_string()),
            ("user_version", ask("user_version")?.to_string()),
            ("application_id", ask("application_id")?.to_string()),
        ];
        let head = Head {
            kind: "sqlite".into(),
            version: format!("SQLite {}", rusqlite::version()),
            estimated_bytes: Some(pages.saturating_mul(page_bytes as u64)),
            is_empty: pages == 0,
            facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
            streams: Vec::new(),
            owner: Some(FileOwner {
                uid: before.stx_uid,
                gid: before.stx_gid,
                mode: u32::from(before.stx_mode) & 0o7777,
            }),
        };
        let (path, cancelled) = (path.to_owned(), world.cancelled);
        let (buffer, at, next, failed) = (Vec::new(), 0, 1, None);
        Ok(Self { connection, path, head, cancelled, page_bytes, pages, next, buffer, at, failed })
    }

    /// Asks for the next pages.
    fn fill(&mut self) -> Result<(), SourceError> {
        if (self.cancelled)() {
            return Err(SourceError::Cancelled);
        }
        self.buffer.clear();
        self.at = 0;
        let failed = |error| SourceError::sqlite(&self.path, "read", error);
        let mut page = self
            .connection
            .prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")
            .map_err(failed)?;
        while self.next <= self.pages && self.buffer.len() + self.page_bytes <= BUFFER_BYTES {
            let number = i64::try_from(self.next).unwrap_or(i64::MAX);
            let buffer = &mut self.buffer;
            let len = page
                .query_row([number], |row| {
                    let bytes = row.get_ref(0)?.as_blob()?;
                    buffer.extend_from_slice(bytes);
                    Ok(bytes.len())
                })
                .map_err(failed)?;
            if len != self.page_bytes {
                let wrong = format!("page {number} has {len} bytes instead of {}", self.page_bytes);
                return Err(SourceError::Damaged { path: self.path.clone(), wrong });
            }
            self.next += 1;
        }
        Ok(())
    }
}

impl Read for SqliteDump<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.to_string()));
        }
        if self.at == self.buffer.len()
            && self.next <= self.pages
            && let Err(error) = self.fill()
        {
            let told = io::Error::other(error.to_string());
            self.failed = Some(error);
            return Err(told);
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Dump for SqliteDump<'_> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn flaw(&mut self) -> Result<Option<String>, SourceError> {
        match self.pages {
            0 => Ok(None),
            _ => sound::flaw(&mut self.connection, self.cancelled),
        }
    }

    fn finish(self: Box<Self>) -> Result<u64, SourceError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.next <= self.pages || self.at < self.buffer.len() {
            return Err(SourceError::Unfinished);
        }
        let bytes = self.pages * self.page_bytes as u64;
        let path = self.path;
        self.connection.close().map_err(|(_, error)| SourceError::sqlite(&path, "close", error))?;
        Ok(bytes)
    }
}
