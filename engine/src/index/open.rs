//! Opening: as the owner, or beside it; and replacing what cannot be used.
//!
//! ```text
//! <dir>/lock        held (flock) by the owner
//! <dir>/db          the database
//! <dir>/db.new      a database being made; switched in by rename, removed if found at open
//! <dir>/db.aside    what it replaced, on its way out
//! <dir>/scratch-…   see `scratch.rs`
//! ```
//!
//! A database that is damaged, unreadable, of another repository or of another version is moved aside
//! and never looked at again. The owner is told by [`Index::origin`], and fills the empty one from the
//! repository: [`Index::reconcile`] then names every segment. Whoever finds the lock taken opens the
//! database as a secondary instance, as it is at that moment, and keeps its own findings in a scratch
//! database; if even that fails it has the scratch database alone. It neither waits nor fails.

use super::error::IndexError;
use super::numbers::FIRST_SCRATCH;
use super::options::Memory;
use super::scratch::{Scratch, remove, sweep, try_lock};
use super::store::{Access, Store};
use super::{Index, Origin, Role, Settings};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// How often a secondary looks before it does without the owner's database, which may have been
/// changing files while it was opened.
const LOOKS: usize = 3;

/// The folder of an index, and this process's hold on it.
pub(super) struct Home {
    dir: PathBuf,
    hold: Hold,
}

enum Hold {
    Owner { _lock: File },
    Secondary(Scratch),
}

impl Home {
    pub(super) fn role(&self) -> Role {
        match self.hold {
            Hold::Owner { .. } => Role::Owner,
            Hold::Secondary(_) => Role::Secondary,
        }
    }

    /// Takes a scratch folder beside the database.
    pub(super) fn take_scratch(&self) -> Result<Scratch, IndexError> {
        Scratch::take(&self.dir)
    }

    /// Returns where a new database is made, and its first number.
    pub(super) fn make_fresh(&self, settings: &Settings) -> Result<(PathBuf, u32), IndexError> {
        let (place, first) = match &self.hold {
            Hold::Owner { .. } => (self.dir.join("db.new"), 0),
            Hold::Secondary(scratch) => (scratch.database(), FIRST_SCRATCH),
        };
        remove(&place)?;
        Store::create(&place, settings.repository, first)?;
        Ok((place, first))
    }

    /// Puts the new database in the place of the old one, which nobody may have open. Returns its path.
    pub(super) fn switch(&self) -> Result<PathBuf, IndexError> {
        let Hold::Owner { .. } = self.hold else { return Ok(self.dir.clone()) };
        let (db, aside) = (self.dir.join("db"), self.dir.join("db.aside"));
        remove(&aside)?;
        if fs::symlink_metadata(&db).is_ok() {
            fs::rename(&db, &aside).map_err(IndexError::files("move aside", &db))?;
        }
        fs::rename(self.dir.join("db.new"), &db).map_err(IndexError::files("switch in", &db))?;
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(IndexError::files("sync", &self.dir))?;
        // If it fails, the next open removes it.
        drop(remove(&aside));
        Ok(db)
    }
}

impl Index {
    /// Opens the index in the folder `dir`, which is made if need be: as the owner, or, if another
    /// process has it, beside it. See the head of this module.
    pub fn open(dir: &Path, settings: &Settings) -> Result<Self, IndexError> {
        fs::create_dir_all(dir).map_err(IndexError::files("create", dir))?;
        match try_lock(&dir.join("lock"))? {
            Some(lock) => {
                let home = Home { dir: dir.to_owned(), hold: Hold::Owner { _lock: lock } };
                Self::open_owner(home, settings)
            }
            None => Self::open_secondary(dir, Scratch::take(dir)?, settings),
        }
    }

    fn open_owner(home: Home, settings: &Settings) -> Result<Self, IndexError> {
        for leftover in ["db.new", "db.aside"] {
            remove(&home.dir.join(leftover))?;
        }
        sweep(&home.dir)?;
        let db = home.dir.join("db");
        let memory = Memory::new(settings.memory_bytes);
        let origin = match fs::symlink_metadata(&db) {
            Err(_) => Origin::New,
            Ok(metadata) if !metadata.is_dir() => Origin::Replaced { why: "it is no folder".to_owned() },
            Ok(_) => match Store::open(&db, settings, 0, &memory, &Access::Owner) {
                Ok(store) => return Ok(Self::assemble(home, settings, memory, store, None, Origin::Kept)),
                Err(error) if is_replaceable(&error) => Origin::Replaced { why: error.to_string() },
                Err(error) => return Err(error),
            },
        };
        home.make_fresh(settings)?;
        let store = Store::open(&home.switch()?, settings, 0, &memory, &Access::Owner)?;
        Ok(Self::assemble(home, settings, memory, store, None, origin))
    }

    fn open_secondary(dir: &Path, scratch: Scratch, settings: &Settings) -> Result<Self, IndexError> {
        let (db, log) = (dir.join("db"), scratch.log());
        let home = Home { dir: dir.to_owned(), hold: Hold::Secondary(scratch) };
        let memory = Memory::new(settings.memory_bytes);
        let (place, first) = home.make_fresh(settings)?;
        let top = Store::open(&place, settings, first, &memory, &Access::Owner)?;
        let mut origin = Origin::New;
        let mut base = None;
        for _ in 0..LOOKS {
            match Store::open(&db, settings, 0, &memory, &Access::Secondary(&log)) {
                Ok(store) => {
                    base = Some(store);
                    origin = Origin::Kept;
                    break;
                }
                Err(error) => origin = Origin::Replaced { why: error.to_string() },
            }
        }
        Ok(Self::assemble(home, settings, memory, top, base, origin))
    }
}

/// Tells whether a new database helps. A full disk, exhausted memory or file handles, or a database in
/// use under another name, are not its fault.
pub(super) fn is_replaceable(error: &IndexError) -> bool {
    match error {
        IndexError::Damaged { .. } => true,
        IndexError::Database { wrong, .. } => {
            !["lock", "Too many open files", "Cannot allocate memory"].iter().any(|word| wrong.contains(word))
        }
        _ => false,
    }
}
