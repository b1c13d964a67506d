//! A database put back: written beside, looked at, put in place.
//!
//! If nobody has the old file open, the new one takes its name, and the old one keeps another. If somebody has, or
//! nobody can tell, its pages are copied into the old file in one transaction of SQLite, since a program goes on
//! with the file that it opened, whatever name that has.

use super::super::{Dump, FileOwner, ImportInto, Load, LoadOptions, SourceError, WayBack, World};
use super::aside::{Place, SqliteWayBack, copy_into};
use super::connect::{Access, Patience, examine, is_root, open, open_immutable, open_reading};
use super::dump::SqliteDump;
use super::holders::{Holders, holders};
use super::records::SqliteTarget;
use crate::files::xattrs_by_path;
use crate::folder::Inode;
use dedup_engine::crypto::random;
use dedup_engine::id::to_hex;
use rusqlite::ErrorCode;
use rustix::fs::{
    Access as Right, AtFlags, Gid, Mode, OFlags, Statx, Uid, XattrFlags, accessat, fchmod, fchown, fsetxattr,
    openat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// How many bytes are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A load that is under way.
pub(in super::super) struct SqliteLoad<'a> {
    place: Place,
    options: LoadOptions,
    world: World<'a>,
    way: SqliteWayBack,
    /// Whether files of ours lie beside the database.
    is_prepared: bool,
    /// Whether names were changed.
    has_begun: bool,
}

impl<'a> SqliteLoad<'a> {
    pub(in super::super) fn new(
        target: PathBuf,
        busy_limit: Duration,
        options: LoadOptions,
        world: World<'a>,
    ) -> Result<Self, SourceError> {
        let place = Place::of(&target)?;
        let number = random::<8>().map_err(|error| SourceError::Io {
            doing: "find a name beside",
            path: target.clone(),
            source: io::Error::other(error.to_string()),
        })?;
        let number = to_hex(&number);
        let way = SqliteWayBack {
            target,
            new: format!(".dedup-{number}.tmp"),
            new_inode: Inode::default(),
            old: format!(".dedup-{number}.old"),
            was_there: false,
            is_live: false,
            busy_limit,
        };
        Ok(Self { place, options, world, way, is_prepared: false, has_begun: false })
    }

    fn patience(&self) -> Patience<'a> {
        Patience { limit: self.way.busy_limit, cancelled: self.world.cancelled }
    }

    /// Writes the stream beside the database, with the owner and attributes that it is to have.
    fn write(&mut self, bytes: &mut dyn Read) -> Result<(), SourceError> {
        let name = self.way.new.clone();
        let created = self.place.folder.create(&name);
        let mut file = created.map_err(|error| self.place.failed("create", &name, error))?;
        self.is_prepared = true;
        self.way.new_inode = self.place.inode(&name)?.unwrap_or_default();
        self.take_owner(&file)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if (self.world.cancelled)() {
                return Err(SourceError::Cancelled);
            }
            let count = match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SourceError::Stream(error)),
            };
            file.write_all(&buffer[..count]).map_err(|error| self.place.failed("write", &name, error))?;
        }
        file.sync_all().map_err(|error| self.place.failed("write to disk", &name, error))
    }

    /// Gives the new file what the old one has; else what the caller knows; else what the directory suggests.
    fn take_owner(&self, file: &File) -> Result<(), SourceError> {
        let failed = |errno: Errno| self.place.failed("set the owner of", &self.way.new, errno.into());
        let stat = |name: &OsStr| {
            self.place.folder.stat(name).map_err(|error| self.place.failed("examine", name, error))
        };
        let of = |stat: Statx, mode| FileOwner { uid: stat.stx_uid, gid: stat.stx_gid, mode };
        let old = stat(&self.place.name)?;
        let owner = match (old, self.options.owner) {
            (Some(old), _) => of(old, u32::from(old.stx_mode)),
            (None, Some(owner)) => owner,
            (None, None) => match stat(".".as_ref())? {
                Some(folder) => of(folder, 0o600),
                None => return Ok(()),
            },
        };
        if owner.uid == u32::MAX || owner.gid == u32::MAX {
            return Err(failed(Errno::INVAL));
        }
        match fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid))) {
            // Without root's rights it belongs to whoever restores it.
            Err(Errno::PERM) if !is_root() => {}
            result => result.map_err(failed)?,
        }
        fchmod(file, Mode::from_raw_mode(owner.mode & 0o777)).map_err(failed)?;
        if old.is_none() {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let old = openat(&self.place.folder, &self.place.name, flags, Mode::empty()).map_err(failed)?;
        let attributes = xattrs_by_path(&old)
            .map_err(|error| self.place.failed("read the attributes of", &self.place.name, error))?;
        for (name, value) in attributes {
            match fsetxattr(file, &name[..], &value, XattrFlags::empty()) {
                // Some only root may set.
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) if !is_root() => {}
                result => result.map_err(failed)?,
            }
        }
        Ok(())
    }

    /// Looks whether what was written is a whole database.
    fn verify(&self) -> Result<(), SourceError> {
        let database = open_immutable(&self.place.folder.path(&self.way.new))?;
        let first = |pragma: &str| database.query_row(pragma, [], |row| row.get::<_, String>(0));
        // Orders and functions that only the database's own program knows.
        let is_foreign = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::Unknown);
        let result = match first("PRAGMA integrity_check(1)") {
            // The structure can be looked at all the same.
            Err(error) if is_foreign(&error) => first("PRAGMA quick_check(1)"),
            result => result,
        };
        match result {
            Ok(word) if word == "ok" => Ok(()),
            Ok(wrong) => Err(SourceError::Damaged { path: self.way.target.clone(), wrong }),
            // Nobody else can tell; the bytes are those that were dumped.
            Err(error) if is_foreign(&error) => Ok(()),
            Err(error) => Err(SourceError::sqlite(&self.way.target, "check the new", error)),
        }
    }

    /// Decides how the new one gets in place, and keeps a copy of what will be written over.
    fn choose(&mut self) -> Result<(), SourceError> {
        self.way.was_there = self.place.inode(&self.place.name)?.is_some();
        if !self.way.was_there {
            return Ok(());
        }
        let found = match self.options.in_use {
            Some(true) => Holders::Unknown,
            Some(false) => Holders::Nobody,
            None => holders(&self.way.target),
        };
        if found == Holders::Nobody {
            return Ok(());
        }
        match SqliteDump::open(&self.way.target, self.way.busy_limit, self.world) {
            Ok(old) => {
                self.keep_copy(old)?;
                self.way.is_live = true;
                Ok(())
            }
            Err(SourceError::NotADatabase { path } | SourceError::Damaged { path, .. }) => match found {
                Holders::Somebody => Err(SourceError::InUse {
                    path,
                    why: "what is there is damaged, so SQLite cannot write to it",
                }),
                // No program can go on with it anyway.
                _ => Ok(()),
            },
            Err(error) => Err(error),
        }
    }

    fn keep_copy(&self, mut old: SqliteDump<'_>) -> Result<(), SourceError> {
        // A name that is removed as a leftover, should this be the end of us.
        let half = self.way.old.replace(".old", ".tmp").replace(".dedup-", ".dedup-0");
        let failed = |error| self.place.failed("write", &self.way.old, error);
        let mut file = self.place.folder.create(&half).map_err(failed)?;
        let copied = io::copy(&mut old, &mut file).and_then(|_| file.sync_all()).map_err(failed);
        let kept = Box::new(old).finish().and(copied).and_then(|()| self.place.rename(&half, &self.way.old));
        if kept.is_err() {
            // What failed first is what is told.
            let _ = self.place.remove(&half);
        }
        kept.and_then(|()| self.place.sync())
    }

    /// Gives the new file its name.
    fn replace(&self) -> Result<(), SourceError> {
        let (place, way) = (&self.place, &self.way);
        if way.was_there {
            self.fold_log();
            if holders(&way.target) == Holders::Somebody {
                let why = "a program opened it just now";
                return Err(SourceError::InUse { path: way.target.clone(), why });
            }
            // Where a file can have one name only, it is away for a moment.
            if place.folder.link(&place.name, &way.old).is_err() {
                place.rename(&place.name, &way.old)?;
            }
        }
        way.move_sidecars(place)?;
        place.sync()?;
        place.rename(&way.new, &place.name)?;
        place.sync()
    }

    /// Lets SQLite bring the log of the old database into its file, so that one name holds all of it. If it cannot
    /// be done, the log is moved with the file.
    fn fold_log(&self) {
        if let Ok(database) = open(&self.way.target, Access::Write) {
            let _ = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

impl SqliteLoad<'_> {
    /// Writes a copy of what is there beside it, for rows to be put into; of nothing, an empty database.
    fn copy_there(&mut self) -> Result<(), SourceError> {
        match examine(&self.way.target) {
            Err(SourceError::Absent { .. }) => return self.write(&mut io::empty()),
            result => result?,
        };
        let mut there = SqliteDump::open(&self.way.target, self.way.busy_limit, self.world)?;
        let written = self.write(&mut there);
        Box::new(there).finish().and(written)
    }
}

impl Load for SqliteLoad<'_> {
    fn check(&mut self) -> Result<(), SourceError> {
        accessat(&self.place.folder, ".", Right::WRITE_OK | Right::EXEC_OK, AtFlags::EACCESS).map_err(
            |errno| self.place.failed("write to the directory of", &self.place.name, errno.into()),
        )?;
        match examine(&self.way.target) {
            Err(SourceError::Absent { .. }) => return Ok(()),
            result => result?,
        };
        match open_reading(&self.way.target, self.patience()) {
            // To be replaced is all that can help it.
            Err(SourceError::NotADatabase { .. } | SourceError::Damaged { .. }) => Ok(()),
            result => result.map(drop),
        }
    }

    fn prepare(&mut self, bytes: &mut dyn Read) -> Result<WayBack, SourceError> {
        match examine(&self.way.target) {
            Ok(_) | Err(SourceError::Absent { .. }) => {}
            Err(error) => return Err(error),
        }
        self.write(bytes)?;
        self.verify()?;
        self.choose()?;
        Ok(WayBack::Sqlite(self.way.clone()))
    }

    fn prepare_records(&mut self, import: &mut ImportInto<'_>) -> Result<WayBack, SourceError> {
        self.copy_there()?;
        let name = self.way.new.clone();
        let target = SqliteTarget::open(&self.place.folder.path(&name))?;
        import(Box::new(target))?;
        let path = self.place.folder.path(&name);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|error| self.place.failed("write to disk", &name, error))?;
        self.verify()?;
        self.choose()?;
        Ok(WayBack::Sqlite(self.way.clone()))
    }

    fn put_records(self: Box<Self>, _: &mut ImportInto<'_>) -> Result<(), SourceError> {
        self.put(&mut io::empty())
    }

    fn put(mut self: Box<Self>, _: &mut dyn Read) -> Result<(), SourceError> {
        if !self.is_prepared {
            return Err(SourceError::Unfinished);
        }
        let put = match self.way.is_live {
            true => copy_into(&self.place.folder.path(&self.way.new), &self.way.target, self.patience())
                .and_then(|()| self.place.remove(&self.way.new)),
            false => {
                self.has_begun = true;
                self.replace()
            }
        };
        if put.is_ok() {
            // From now on the files beside belong to the way back.
            self.is_prepared = false;
        }
        put
    }
}

/// Leaves nothing behind of a load that was given up.
impl Drop for SqliteLoad<'_> {
    fn drop(&mut self) {
        if self.is_prepared {
            let never = || false;
            // What cannot be undone here stays written down with the caller.
            let _ = match self.has_begun {
                true => self.way.put_back(World { cancelled: &never, ..self.world }),
                false => self.way.discard(),
            };
        }
    }
}
