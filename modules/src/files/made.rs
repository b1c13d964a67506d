//! What is made without content: links, pipes, sockets, devices, and further names of files.

use super::apply::Inode;
use super::beneath::errno_error;
use super::choices::OnConflict;
use super::lock;
use super::place::Place;
use super::publish::Spot;
use super::sink::{FilesSink, check_replaceable, kind_of, look, remove};
use dedup_engine::backup::source::EntryKind;
use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::restore::sink::{Item, SinkError};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Statx, linkat, makedev, mknodat, openat, readlinkat, symlinkat,
};
use rustix::io::Errno;
use std::collections::HashSet;
use std::sync::Mutex;

/// How many inodes are remembered: 16 bytes each, 8 MiB in all.
const REMEMBERED: usize = 1 << 18;

/// The inodes with several names that this restore made or proved right.
///
/// When there are too many, the rest is recognised by length and times alone.
#[derive(Debug, Default)]
pub(super) struct Made(Mutex<HashSet<(u64, u64)>>);

impl Made {
    /// Remembers an inode.
    pub(super) fn add(&self, stat: &Statx) {
        let mut made = lock(&self.0);
        if made.len() < REMEMBERED {
            made.insert(inode(stat));
        }
    }

    /// Returns whether an inode may get another name for `item`.
    fn vouches_for(&self, stat: &Statx, item: &Item<'_>) -> bool {
        let mtime = (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
        let alike = kind_of(stat) == Some(kind_of_body(&item.node.body))
            && (!matches!(item.node.body, Body::File { .. }) || stat.stx_size == item.node.size());
        let made = lock(&self.0);
        let same_time = mtime == (item.node.mtime.secs, item.node.mtime.nanos);
        alike && (made.contains(&inode(stat)) || made.len() >= REMEMBERED && same_time)
    }
}

impl FilesSink {
    /// Makes everything that is neither directory nor regular file; returns whether anything changed.
    pub(super) fn special(&self, spot: &Spot<'_>, item: &Item<'_>) -> Result<bool, SinkError> {
        let body = &item.node.body;
        let is_device = matches!(body, Body::CharDevice { .. } | Body::BlockDevice { .. });
        if is_device && !self.options.devices {
            return Err(SinkError::Refused("device nodes are not restored unless asked for".to_owned()));
        }
        if is_device && !self.rules.privileged {
            return Err(SinkError::Refused("only root can make device nodes".to_owned()));
        }
        if let Some(there) = self.clear(spot)? {
            if let Some(fd) = self.same_special(spot, &there, item) {
                if self.options.on_conflict == OnConflict::Rename {
                    return Ok(false);
                }
                self.remember(&there, item);
                self.note(&spot.key, Inode::path_only(&fd), &there, item)?;
                return self.rules.apply(Inode::path_only(&fd), &there, item);
            }
            check_replaceable(&there)?;
        }
        let temporary = self.names.next();
        make(&spot.parent, &temporary, body)?;
        let opened = open_path(&spot.parent, temporary.as_bytes()).and_then(|fd| Ok((look(&fd, b"")?, fd)));
        let (now, fd) = opened.map_err(|errno| {
            remove(&spot.parent, &temporary);
            errno_error("examine what was made")(errno)
        })?;
        if kind_of(&now) != Some(kind_of_body(body)) || now.stx_nlink != 1 {
            remove(&spot.parent, &temporary);
            return Err(SinkError::Refused("somebody replaced what was made".to_owned()));
        }
        if is_device && !is_device_of(&now, body) {
            // The system cuts what does not fit without a word: another device would stand there.
            remove(&spot.parent, &temporary);
            return Err(SinkError::Refused("this system has no device of that number".to_owned()));
        }
        let bare = !spot.parent.default_acl;
        let applied = self.rules.apply(Inode::path_only(&fd).bare(bare), &now, item);
        self.publish(spot, &temporary, &now)?;
        self.remember(&now, item);
        applied.map(|_| true)
    }

    /// Opens what is at the place if it is the same special file and may be brought into line.
    fn same_special(&self, spot: &Spot<'_>, there: &Statx, item: &Item<'_>) -> Option<OwnedFd> {
        let body = &item.node.body;
        if kind_of(there) != Some(kind_of_body(body)) {
            return None;
        }
        let is_link = matches!(body, Body::Symlink(_));
        let mode_right = is_link || self.rules.has_rights(there, item);
        if there.stx_nlink > 1 && (item.node.link.is_none() || !mode_right) {
            return None;
        }
        let fd = open_path(&spot.parent, spot.name()).ok()?;
        // What was looked at before must be what is open now.
        if inode(&look(&fd, b"").ok()?) != inode(there) {
            return None;
        }
        let same = match body {
            Body::Symlink(target) => readlinkat(&fd, c"", Vec::new()).ok()?.as_bytes() == &target[..],
            _ => is_device_of(there, body),
        };
        same.then_some(fd)
    }

    /// Makes `item` another name of what `first` names; `false` if that cannot be.
    pub(super) fn hard_link(&self, first: &StoredPath, item: &Item<'_>) -> Result<bool, SinkError> {
        if item.node.is_directory() {
            return Ok(false);
        }
        // It may lie outside of what is restored.
        let Ok(from) = self.spot(first) else { return Ok(false) };
        let Ok(old) = look(&*from.parent, from.name()) else { return Ok(false) };
        if !self.made.vouches_for(&old, item) {
            return Ok(false);
        }
        let spot = self.spot(item.path)?;
        if self.stays(&spot, item)? {
            return Ok(true);
        }
        let there = self.clear(&spot)?;
        if let Some(there) = &there {
            if inode(there) == inode(&old) {
                return Ok(true);
            }
            check_replaceable(there)?;
        }
        let temporary = self.names.next();
        match linkat(&*from.parent, from.name(), &*spot.parent, &temporary, AtFlags::empty()) {
            Ok(()) => {}
            // Another file system, no more names, or a rule of the system about links.
            Err(
                Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOENT | Errno::ACCESS | Errno::OPNOTSUPP,
            ) => {
                return Ok(false);
            }
            Err(errno) => return Err(errno_error("make another name of the file")(errno)),
        }
        // The name may have been given to something else since it was looked at.
        if look(&*spot.parent, temporary.as_bytes()).map(|new| inode(&new)) != Ok(inode(&old)) {
            remove(&spot.parent, &temporary);
            return Ok(false);
        }
        self.publish(&spot, &temporary, &old)?;
        if there.is_some() {
            // Renaming one name of an inode over another does nothing, and both stay.
            remove(&spot.parent, &temporary);
        }
        Ok(true)
    }

    fn remember(&self, stat: &Statx, item: &Item<'_>) {
        if item.node.link.is_some() {
            self.made.add(stat);
        }
    }
}

fn make(parent: &Place, name: &str, body: &Body) -> Result<(), SinkError> {
    let node = |kind, device| mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device);
    let made = match body {
        Body::Symlink(target) => symlinkat(&target[..], parent, name),
        Body::Fifo => node(FileType::Fifo, 0),
        Body::Socket => node(FileType::Socket, 0),
        Body::CharDevice { major, minor } => node(FileType::CharacterDevice, makedev(*major, *minor)),
        Body::BlockDevice { major, minor } => node(FileType::BlockDevice, makedev(*major, *minor)),
        Body::File { .. } | Body::Directory => Err(Errno::INVAL),
    };
    made.map_err(errno_error(match body {
        Body::Symlink(_) => "create the symbolic link",
        _ => "create the special file",
    }))
}

/// Returns whether an inode has the device number that a node asks for; of anything else always.
/// Returns whether a device is the one that was stored; of everything else, yes.
pub(super) fn is_device_of(stat: &Statx, body: &Body) -> bool {
    match body {
        Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
            (stat.stx_rdev_major, stat.stx_rdev_minor) == (*major, *minor)
        }
        _ => true,
    }
}

pub(super) fn kind_of_body(body: &Body) -> EntryKind {
    match body {
        Body::File { .. } => EntryKind::File,
        Body::Directory => EntryKind::Directory,
        Body::Symlink(_) => EntryKind::Symlink,
        Body::Fifo => EntryKind::Fifo,
        Body::Socket => EntryKind::Socket,
        Body::CharDevice { .. } => EntryKind::CharDevice,
        Body::BlockDevice { .. } => EntryKind::BlockDevice,
    }
}

/// Opens what is there, whatever it is, without following or reading it.
pub(super) fn open_path(parent: &Place, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn inode(stat: &Statx) -> (u64, u64) {
    (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino)
}
