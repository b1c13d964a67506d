//! What was there before a load, and its way back.
//!
//! ```text
//! NAME                  the database
//! .dedup-<hex>.tmp      the new one, until it is put in place
//! .dedup-<hex>.half     a copy of what was there, until it is whole
//! .dedup-<hex>.old      what was there: a second name of the old file, or its copy if others use it
//! .dedup-<hex>.old-wal  its log, and -journal, if SQLite itself could not fold them into the file
//! ```

use super::super::{SourceError, World};
use super::connect::{Access, Patience, examine, is_root, open, open_immutable};
use super::holders::{Holders, holders};
use super::{SIDECARS, beside};
use crate::folder::{Folder, Inode, Links};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the database that was there is brought back. All of it is in files beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqliteWayBack {
    /// The database.
    pub(super) target: PathBuf,
    /// Name of the new one, and its inode.
    pub(super) new: String,
    pub(super) new_inode: Inode,
    /// Name of what was there.
    pub(super) old: String,
    /// Whether anything was.
    pub(super) was_there: bool,
    /// Whether the new one is copied into the file that others have open.
    pub(super) is_live: bool,
    pub(super) busy_limit: Duration,
}

/// The directory of a database and its name there.
pub(super) struct Place {
    pub(super) folder: Folder,
    pub(super) name: OsString,
}

impl Place {
    pub(super) fn of(target: &Path) -> Result<Self, SourceError> {
        let links = if is_root() { Links::Refuse } else { Links::Follow };
        let (folder, name) =
            Folder::of(target, links).map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::LOOP) => SourceError::Link { path: target.to_owned() },
                _ => SourceError::Io { doing: "open the directory of", path: target.to_owned(), source },
            })?;
        Ok(Self { folder, name })
    }

    pub(super) fn sidecar(&self, suffix: &str) -> OsString {
        beside(self.name.as_ref(), suffix).into()
    }

    pub(super) fn inode(&self, name: impl AsRef<OsStr>) -> Result<Option<Inode>, SourceError> {
        let name = name.as_ref();
        let stat = self.folder.stat(name).map_err(|error| self.failed("examine", name, error))?;
        Ok(stat.as_ref().map(Inode::of))
    }

    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> Result<(), SourceError> {
        let name = name.as_ref();
        self.folder.remove(name).map(drop).map_err(|error| self.failed("remove", name, error))
    }

    pub(super) fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<(), SourceError> {
        let from = from.as_ref();
        self.folder.rename(from, to).map_err(|error| self.failed("rename", from, error))
    }

    pub(super) fn sync(&self) -> Result<(), SourceError> {
        self.folder.sync().map_err(|error| self.failed("write to disk the directory of", &self.name, error))
    }

    pub(super) fn failed(
        &self,
        doing: &'static str,
        name: impl AsRef<OsStr>,
        source: io::Error,
    ) -> SourceError {
        SourceError::Io { doing, path: self.folder.path(name), source }
    }
}

impl SqliteWayBack {
    /// Brings back what was there; does nothing if nothing was changed, or a second time.
    pub(in super::super) fn put_back(&self, world: World<'_>) -> Result<(), SourceError> {
        let place = Place::of(&self.target)?;
        let kept = place.inode(&self.old)?;
        let there = place.inode(&place.name)?;
        match kept {
            // Nothing was renamed yet: both are names of the old file.
            Some(_) if kept == there => place.remove(&self.old)?,
            Some(_) => {
                let patience = Patience { limit: self.busy_limit, cancelled: world.cancelled };
                let is_used = self.is_live || holders(&self.target) == Holders::Somebody;
                if there.is_some() && is_used && place.inode(self.aside("-wal"))?.is_none() {
                    copy_into(&place.folder.path(&self.old), &self.target, patience)?;
                    place.remove(&self.old)?;
                } else {
                    self.remove_sidecars(&place)?;
                    place.rename(&self.old, &place.name)?;
                }
            }
            None if !self.was_there && there == Some(self.new_inode) => {
                self.remove_sidecars(&place)?;
                place.remove(&place.name)?;
            }
            None => {}
        }
        for suffix in ["-wal", "-journal"] {
            if place.inode(self.aside(suffix))?.is_some() {
                place.rename(self.aside(suffix), place.sidecar(suffix))?;
            }
        }
        self.remove_new(&place)?;
        place.sync()
    }

    /// Removes what was kept.
    pub(in super::super) fn discard(&self) -> Result<(), SourceError> {
        let place = Place::of(&self.target)?;
        for suffix in ["", "-wal", "-journal"] {
            place.remove(self.aside(suffix))?;
        }
        self.remove_new(&place)
    }

    /// Removes all that a load writes beside before it is put in place; nobody else knows these names.
    pub(in super::super) fn remove_beside(&self) -> Result<(), SourceError> {
        let place = Place::of(&self.target)?;
        [&self.new, &self.half(), &self.old].into_iter().try_for_each(|name| place.remove(name))
    }

    /// Returns the name of a copy of what was there that is not whole yet.
    pub(super) fn half(&self) -> String {
        self.old.replace(".old", ".half")
    }

    pub(super) fn aside(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.old)
    }

    /// Moves away what lies beside the database: it would be taken for the log of the new one.
    pub(super) fn move_sidecars(&self, place: &Place) -> Result<(), SourceError> {
        for suffix in ["-wal", "-journal"] {
            if place.inode(place.sidecar(suffix))?.is_some() {
                place.rename(place.sidecar(suffix), self.aside(suffix))?;
            }
        }
        place.remove(place.sidecar("-shm"))
    }

    fn remove_sidecars(&self, place: &Place) -> Result<(), SourceError> {
        SIDECARS.iter().try_for_each(|suffix| place.remove(place.sidecar(suffix)))
    }

    fn remove_new(&self, place: &Place) -> Result<(), SourceError> {
        // Of rows that were being put into it.
        SIDECARS.iter().try_for_each(|suffix| place.remove(format!("{}{suffix}", self.new)))?;
        match place.inode(&self.new)? {
            Some(inode) if inode == self.new_inode => place.remove(&self.new),
            _ => Ok(()),
        }
    }
}

/// Copies a whole database into one that others have open, in one transaction of SQLite: they see the old one or
/// the new one.
pub(super) fn copy_into(from: &Path, to: &Path, patience: Patience<'_>) -> Result<(), SourceError> {
    let failed = |error| SourceError::sqlite(to, "write", error);
    let page_bytes = |of: &Connection| {
        of.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0)).map_err(failed)
    };
    let source = open_immutable(from)?;
    examine(to)?;
    let mut target = open(to, Access::Write)?;
    patience.begin(to, &target)?;
    patience.until_free(to, "read", || {
        target.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(Some(())))
    })?;
    if page_bytes(&source)? != page_bytes(&target)? {
        // A log holds pages of one size, and it can be left only while nobody else is there.
        let mode =
            target.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0));
        if mode.map_or(true, |mode| mode != "delete") {
            return Err(SourceError::InUse { path: to.to_owned(), why: "its pages have another size" });
        }
    }
    // A copy that meets a lock comes back at once, whatever the limit: it is waited here.
    target.busy_timeout(Duration::ZERO).map_err(failed)?;
    let copy = Backup::new(&source, &mut target).map_err(failed)?;
    patience.until_free(to, "write", || match copy.step(-1)? {
        StepResult::Done => Ok(Some(())),
        _ => Ok(None),
    })?;
    drop(copy);
    drop(source);
    target.close().map_err(|(_, error)| failed(error))
}
