//! Where an entry goes, what becomes of what is there already, and how the new one gets its name.

use super::apply::Inode;
use super::aside::{Act, split};
use super::beneath::{errno_error, mount_point};
use super::choices::OnConflict;
use super::place::Place;
use super::sink::{FilesSink, kind_of, look, proof_of, remove};
use dedup_engine::backup::source::EntryKind;
use dedup_engine::format::MAX_COMPONENT;
use dedup_engine::listing::StoredPath;
use dedup_engine::restore::sink::{Item, SinkError};
use rustix::fs::{AtFlags, OFlags, RawDir, RenameFlags, Statx, openat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many names beside one that is taken are tried.
const MOST_BESIDE: u32 = 1000;

/// Where an entry goes: its directory and its key.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    pub(super) parent: Arc<Place>,
    pub(super) key: Cow<'a, [u8]>,
}

impl Spot<'_> {
    pub(super) fn name(&self) -> &[u8] {
        split(&self.key).1
    }
}

impl FilesSink {
    /// Moves aside, as a whole, what is at a place; nothing if there is nothing. Of a mount point everything in it.
    ///
    /// Only with a way back ([`with_safety`](Self::with_safety)), and before the restore: what is restored later is put
    /// where it was.
    pub fn set_aside(&self, path: &StoredPath) -> Result<bool, SinkError> {
        if self.places.aside.is_none() {
            return Err(SinkError::Refused("nothing is moved away without a way back".to_owned()));
        }
        let key = self.options.key(path)?;
        let (above, name) = split(&key);
        if name.is_empty() {
            return Err(SinkError::Refused("the target itself cannot be moved away".to_owned()));
        }
        // Where the directory above is missing, or no directory, nothing is at the place either.
        match self.places.find(above).map(drop) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            result => result.map_err(errno_error("open the directory above it"))?,
        }
        let spot = Spot { parent: self.places.get(above)?, key };
        let there = match look(&spot.parent, spot.name()) {
            Err(Errno::NOENT) => return Ok(false),
            result => result.map_err(errno_error("examine what is at its place"))?,
        };
        if self.move_away(&spot, &there)? {
            return Ok(true);
        }
        if kind_of(&there) != Some(EntryKind::Directory) {
            return Err(mount_point());
        }
        let inside = self.places.get(&spot.key)?;
        let mut moved = false;
        for name in names(&inside)? {
            let key = Cow::Owned([&spot.key[..], &[0], &name].concat());
            let child = Spot { parent: inside.clone(), key };
            let there = look(&child.parent, &name).map_err(errno_error("examine what is in it"))?;
            if !self.move_away(&child, &there)? {
                return Err(mount_point());
            }
            moved = true;
        }
        Ok(moved)
    }

    /// Returns where an entry goes.
    pub(super) fn spot<'a>(&self, path: &'a StoredPath) -> Result<Spot<'a>, SinkError> {
        let key = self.options.key(path)?;
        let (parent, name) = split(&key);
        if name.is_empty() {
            return Err(SinkError::Refused(
                "only a directory can be restored as the target itself".to_owned(),
            ));
        }
        Ok(Spot { parent: self.places.get(parent)?, key })
    }

    /// Returns whether what is there already stays, and the entry is left out.
    pub(super) fn stays(&self, spot: &Spot<'_>, entry: &Item<'_>) -> Result<bool, SinkError> {
        let choice = self.options.on_conflict;
        if spot.parent.fresh || matches!(choice, OnConflict::Replace | OnConflict::Rename) {
            return Ok(false);
        }
        let there = match look(&spot.parent, spot.name()) {
            Err(Errno::NOENT) => return Ok(false),
            result => result.map_err(errno_error("examine what is at its place"))?,
        };
        let stored = (entry.node.mtime.secs, entry.node.mtime.nanos);
        let newer = (there.stx_mtime.tv_sec, there.stx_mtime.tv_nsec) > stored;
        let stays = choice == OnConflict::KeepExisting || newer;
        self.conflicts.fetch_add(u64::from(stays), Ordering::Relaxed);
        Ok(stays)
    }

    /// Makes way for an entry that is no directory, and returns what else stands at its place.
    pub(super) fn clear(&self, spot: &Spot<'_>) -> Result<Option<Statx>, SinkError> {
        if spot.parent.fresh {
            return Ok(None);
        }
        let there = match look(&spot.parent, spot.name()) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(errno_error("examine what is at its place"))?,
        };
        if kind_of(&there) != Some(EntryKind::Directory) || self.options.on_conflict == OnConflict::Rename {
            return Ok(Some(there));
        }
        if self.places.aside.is_some() {
            return if self.move_away(spot, &there)? { Ok(None) } else { Err(mount_point()) };
        }
        match unlinkat(&*spot.parent, spot.name(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(None),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(SinkError::Refused(
                "a directory that is not empty stands at its place; remove it or restore elsewhere"
                    .to_owned(),
            )),
            Err(errno) => Err(errno_error("remove the empty directory at its place")(errno)),
        }
    }

    fn move_away(&self, spot: &Spot<'_>, there: &Statx) -> Result<bool, SinkError> {
        let Some(aside) = &self.places.aside else { return Ok(false) };
        let is_directory = kind_of(there) == Some(EntryKind::Directory);
        let moved = aside.remove(&self.places, &spot.parent, &spot.key, is_directory)?;
        if moved && is_directory {
            self.places.forget(&spot.key);
        }
        Ok(moved)
    }

    /// Notes the metadata of something that stays, if they are about to change.
    pub(super) fn note(
        &self,
        key: &[u8],
        inode: Inode<'_>,
        now: &Statx,
        entry: &Item<'_>,
    ) -> Result<(), SinkError> {
        match &self.places.aside {
            Some(aside) if self.rules.differs(inode, now, entry) => aside.note(key, inode.fd()),
            _ => Ok(()),
        }
    }

    /// Returns the mode of the file that is replaced, if modes are not restored.
    pub(super) fn mode_there(&self, spot: &Spot<'_>) -> Option<u32> {
        if self.options.modes || spot.parent.fresh {
            return None;
        }
        let there = look(&*spot.parent, spot.name()).ok()?;
        (kind_of(&there) == Some(EntryKind::File)).then_some(u32::from(there.stx_mode) & 0o777)
    }

    /// Gives what was made under a temporary name its own name; `made` is what the system says of it.
    pub(super) fn publish(&self, spot: &Spot<'_>, temporary: &str, made: &Statx) -> Result<(), SinkError> {
        let published = match (self.options.on_conflict, &self.places.aside) {
            (OnConflict::Rename, _) => self.publish_beside(spot, temporary, made),
            (_, None) => return self.rename(spot, temporary),
            (_, Some(aside)) => {
                let there = match spot.parent.fresh {
                    true => Err(Errno::NOENT),
                    false => look(&*spot.parent, spot.name()).map(drop),
                };
                let kept = match there {
                    Ok(()) => aside.replace(&self.places, &spot.parent, &spot.key, proof_of(made)),
                    Err(Errno::NOENT) => {
                        aside.log(&Act::Created { path: spot.key.to_vec(), inode: proof_of(made) })
                    }
                    Err(errno) => Err(errno_error("examine what is at its place")(errno)),
                };
                return match kept {
                    Ok(()) => self.rename(spot, temporary),
                    Err(error) => {
                        remove(&spot.parent, temporary);
                        Err(error)
                    }
                };
            }
        };
        published.inspect_err(|_| remove(&spot.parent, temporary))
    }

    pub(super) fn rename(&self, spot: &Spot<'_>, temporary: &str) -> Result<(), SinkError> {
        renameat(&*spot.parent, temporary, &*spot.parent, spot.name()).map_err(|errno| {
            remove(&spot.parent, temporary);
            errno_error("give it its name")(errno)
        })
    }

    /// Gives it its name, or the first one beside it that is free.
    fn publish_beside(&self, spot: &Spot<'_>, temporary: &str, made: &Statx) -> Result<(), SinkError> {
        let (above, own) = split(&spot.key);
        for number in 0..MOST_BESIDE {
            let name = beside(own, number);
            if look(&*spot.parent, &name).is_ok() {
                continue;
            }
            if let Some(aside) = &self.places.aside {
                let path = super::aside::joined(&[above, &name])?;
                aside.log(&Act::Created { path, inode: proof_of(made) })?;
            }
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(&*spot.parent, temporary, &*spot.parent, &name[..], flags) {
                Ok(()) => {
                    self.conflicts.fetch_add(u64::from(number > 0), Ordering::Relaxed);
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno_error("give it a name beside what is there")(errno)),
            }
        }
        Err(SinkError::Refused("a thousand names beside it are taken".to_owned()))
    }
}

/// Returns the name for the nth attempt; the first one is the own name.
fn beside(name: &[u8], number: u32) -> Vec<u8> {
    let suffix = match number {
        0 => return name.to_vec(),
        1 => ".restored".to_owned(),
        _ => format!(".restored-{number}"),
    };
    let kept = name.len().min(MAX_COMPONENT - suffix.len());
    [&name[..kept], suffix.as_bytes()].concat()
}

/// Returns the names in a directory, except that of aside directories.
fn names(place: &Place) -> Result<Vec<Vec<u8>>, SinkError> {
    let failed = errno_error("list what is in it");
    let fd =
        openat(place, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .map_err(&failed)?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry.map_err(&failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." && !name.starts_with(super::aside::PREFIX.as_bytes()) {
            found.push(name);
        }
    }
    Ok(found)
}
