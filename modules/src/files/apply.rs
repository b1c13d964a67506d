//! Metadata of restored entries: set on open inodes only, and only where it is not right already.
//!
//! The order matters. Owner first, because changing it clears setuid, setgid and capabilities. Then the
//! attributes that need the right to write, as long as the owner has it. Then the mode, then access
//! control lists and capabilities, which may change what the mode shows. Times last.

use super::choices::{OwnerChoice, SinkOptions, XattrChoice};
use super::meta::{XattrSet, proc_path, xattrs_by_path, xattrs_of};
use super::owners::Owners;
use dedup_engine::listing::{Body, Time};
use dedup_engine::restore::sink::{Item, SinkError};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Statx, StatxTimestamp, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    chmodat, chownat, fchmod, fremovexattr, fsetxattr, removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const CAPABILITY: &[u8] = b"security.capability";

/// An open inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode<'a> {
    fd: BorrowedFd<'a>,
    /// Opened with `O_PATH`: what has no call for that goes by `/proc/self/fd`.
    path_only: bool,
    /// Made by this sink without attributes of its own.
    bare: bool,
    /// The mode it gets if modes are not restored.
    like: Option<u32>,
}

impl<'a> Inode<'a> {
    /// A file or directory opened for reading or writing.
    pub(super) fn open(fd: &'a impl AsFd) -> Self {
        Self { fd: fd.as_fd(), path_only: false, bare: false, like: None }
    }

    /// Anything opened with `O_PATH`.
    pub(super) fn path_only(fd: &'a impl AsFd) -> Self {
        Self { fd: fd.as_fd(), path_only: true, bare: false, like: None }
    }

    /// Says that it was made just now and has no attributes.
    pub(super) fn bare(self, bare: bool) -> Self {
        Self { bare, ..self }
    }

    /// Says which mode it gets if modes are not restored.
    pub(super) fn like(self, like: Option<u32>) -> Self {
        Self { like, ..self }
    }

    pub(super) fn fd(self) -> BorrowedFd<'a> {
        self.fd
    }

    fn chmod(self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        match self.path_only {
            true => chmodat(CWD, proc_path(self.fd), mode, AtFlags::empty()),
            false => fchmod(self.fd, mode),
        }
    }

    fn xattrs(self) -> std::io::Result<XattrSet> {
        match (self.bare, self.path_only) {
            (true, _) => Ok(XattrSet::new()),
            (false, true) => xattrs_by_path(self.fd),
            (false, false) => xattrs_of(self.fd),
        }
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self.path_only {
            true => setxattr(proc_path(self.fd), name, value, XattrFlags::empty()),
            false => fsetxattr(self.fd, name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(self, name: &[u8]) -> Result<(), Errno> {
        match self.path_only {
            true => removexattr(proc_path(self.fd), name),
            false => fremovexattr(self.fd, name),
        }
    }
}

/// What entries are to get, by the rules of one restore.
#[derive(Debug)]
pub(super) struct Rules {
    owner: OwnerChoice,
    numeric_owner: bool,
    xattrs: XattrChoice,
    modes: bool,
    times: bool,
    acls: bool,
    /// Whether owners can be given away.
    pub(super) privileged: bool,
    owners: Owners,
}

impl Rules {
    pub(super) fn new(options: &SinkOptions, user: u32) -> Self {
        Self {
            owner: options.owner,
            numeric_owner: options.numeric_owner,
            xattrs: options.xattrs,
            modes: options.modes,
            times: options.times,
            acls: options.acls,
            privileged: user == 0,
            owners: Owners::default(),
        }
    }

    /// Returns the owner an entry should have on this machine.
    fn owner(&self, item: &Item<'_>) -> (u32, u32) {
        let node = item.node;
        match &node.names {
            Some((user, group)) if !self.numeric_owner => (
                Some(user)
                    .filter(|name| !name.is_empty())
                    .and_then(|name| self.owners.user_id(name))
                    .unwrap_or(node.uid),
                Some(group)
                    .filter(|name| !name.is_empty())
                    .and_then(|name| self.owners.group_id(name))
                    .unwrap_or(node.gid),
            ),
            _ => (node.uid, node.gid),
        }
    }

    /// Returns whether owner and mode are as they should be, as far as they are restored.
    pub(super) fn has_rights(&self, now: &Statx, item: &Item<'_>) -> bool {
        let owner = self.owner == OwnerChoice::Keep || (now.stx_uid, now.stx_gid) == self.owner(item);
        owner && (!self.modes || u32::from(now.stx_mode) & 0o7777 == item.node.mode)
    }

    /// Returns whether [`apply`](Self::apply) would change anything but the access time.
    pub(super) fn differs(&self, inode: Inode<'_>, now: &Statx, item: &Item<'_>) -> bool {
        let is_link = matches!(item.node.body, Body::Symlink(_));
        let owner = self.owner != OwnerChoice::Keep && (now.stx_uid, now.stx_gid) != self.owner(item);
        let mode = self.modes && !is_link && u32::from(now.stx_mode) & 0o7777 != item.node.mode;
        let mtime = self.times && !is(&now.stx_mtime, item.node.mtime);
        owner || mode || mtime || self.xattrs != XattrChoice::None && self.xattrs_differ(inode, item)
    }

    fn xattrs_differ(&self, inode: Inode<'_>, item: &Item<'_>) -> bool {
        let Ok(has) = inode.xattrs() else { return true };
        let mut wanted = item.xattrs.iter().filter(|(name, _)| self.restores(name));
        let surplus = has.iter().any(|(name, _)| {
            self.removes(name) && !item.xattrs.iter().any(|(other, _)| other == name && self.restores(other))
        });
        surplus || wanted.any(|(name, value)| !has.iter().any(|(other, old)| other == name && old == value))
    }

    fn restores(&self, name: &[u8]) -> bool {
        self.xattrs.restores(name) && (self.acls || !name.starts_with(b"system.posix_acl_"))
    }

    /// Gives an inode, which the system describes as `now`, the metadata of `item`.
    ///
    /// Returns whether anything but the access time was changed. What cannot be set does not keep the rest
    /// from being set; it is named in [`SinkError::Incomplete`].
    pub(super) fn apply(&self, inode: Inode<'_>, now: &Statx, item: &Item<'_>) -> Result<bool, SinkError> {
        let mut work = Work { inode, changed: false, failed: Vec::new() };
        let is_link = matches!(item.node.body, Body::Symlink(_));
        let right = self.set_owner(&mut work, now, item);
        let now_mode = u32::from(now.stx_mode) & 0o7777;
        // A link has no mode of its own.
        let mode = match self.modes {
            _ if is_link => now_mode,
            true => safe_mode(&mut work, item.node.mode, right),
            false => inode.like.unwrap_or(now_mode),
        };

        let wanted: Vec<_> = item.xattrs.iter().filter(|(name, _)| self.restores(name)).collect();
        let mut has = match self.xattrs {
            XattrChoice::None => XattrSet::new(),
            _ if inode.bare => XattrSet::new(),
            _ => inode.xattrs().unwrap_or_else(|error| {
                work.failed.push(format!("attributes ({error})"));
                XattrSet::new()
            }),
        };
        has.retain(|(name, _)| {
            let surplus = self.removes(name) && !wanted.iter().any(|(other, _)| other == name);
            if surplus {
                work.done(inode.remove_xattr(name), || format!("removal of {}", name.escape_ascii()));
            }
            !surplus
        });
        let (early, late): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(name, _)| needs_write(name));
        for (name, value) in early {
            work.set_xattr(&has, name, value);
        }
        // Changing the owner may have cleared bits that were right.
        let cleared = work.changed && mode & (SETUID | SETGID) != 0;
        if !is_link && (mode != now_mode || cleared) {
            work.done(inode.chmod(mode), || format!("mode {mode:o}"));
        }
        for (name, value) in late {
            if name == CAPABILITY && right != (true, true) {
                work.failed.push("capabilities, because the owner is another one here".to_owned());
            } else {
                work.set_xattr(&has, name, value);
            }
        }
        if self.times {
            set_times(&mut work, now, item);
        }
        work.finish()
    }

    /// Sets owner and group; returns which of them are right now.
    fn set_owner(&self, work: &mut Work<'_>, now: &Statx, item: &Item<'_>) -> (bool, bool) {
        let (uid, gid) = self.owner(item);
        let right = (now.stx_uid == uid, now.stx_gid == gid);
        if right == (true, true) || self.owner == OwnerChoice::Keep {
            return right;
        }
        let chown = |uid: Option<u32>, gid: Option<u32>| {
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            chownat(work.inode.fd, c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), flags)
        };
        if self.privileged {
            let result = if uid == u32::MAX || gid == u32::MAX {
                Err(Errno::INVAL)
            } else {
                chown(Some(uid), Some(gid))
            };
            let set = result.is_ok();
            work.done(result, || format!("owner {uid}:{gid}"));
            return if set { (true, true) } else { right };
        }
        // Without rights only a group of one's own can be set; that the rest stays is expected.
        if !right.1 && gid != u32::MAX && chown(None, Some(gid)).is_ok() {
            work.changed = true;
            return (right.0, true);
        }
        right
    }

    /// Returns whether an attribute that the entry had not is removed. Labels that the system gives
    /// by itself are left.
    fn removes(&self, name: &[u8]) -> bool {
        self.restores(name)
            && (name.starts_with(b"user.")
                || name.starts_with(b"system.posix_acl_")
                || name == CAPABILITY
                || self.privileged && name.starts_with(b"trusted."))
    }
}

/// Takes away the bits that would give the rights of an owner who is not the right one.
fn safe_mode(work: &mut Work<'_>, mode: u32, right: (bool, bool)) -> u32 {
    let mut mode = mode & 0o7777;
    for (bit, is_right, name) in [(SETUID, right.0, "setuid"), (SETGID, right.1, "setgid")] {
        if mode & bit != 0 && !is_right {
            mode &= !bit;
            work.failed.push(format!("{name}, because the owner is another one here"));
        }
    }
    mode
}

/// Attributes that only somebody with the right to write to the inode may set.
fn needs_write(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"trusted.")
}

fn is(time: &StatxTimestamp, wanted: Time) -> bool {
    (time.tv_sec, time.tv_nsec) == (wanted.secs, wanted.nanos)
}

fn set_times(work: &mut Work<'_>, now: &Statx, item: &Item<'_>) {
    let node = item.node;
    let mtime = (!is(&now.stx_mtime, node.mtime)).then_some(node.mtime);
    let atime = node.atime.filter(|atime| !is(&now.stx_atime, *atime));
    if mtime.is_none() && atime.is_none() {
        return;
    }
    let spec = |time: Option<Time>| match time {
        Some(time) => Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    let changed = work.changed || mtime.is_some();
    let result = match work.inode.path_only {
        true => utimensat(work.inode.fd, c"", &times, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW),
        false => rustix::fs::futimens(work.inode.fd, &times),
    };
    work.done(result, || "times".to_owned());
    work.changed = changed;
}

/// What was done to one inode.
struct Work<'a> {
    inode: Inode<'a>,
    changed: bool,
    failed: Vec<String>,
}

impl Work<'_> {
    fn done(&mut self, result: Result<(), Errno>, what: impl Fn() -> String) {
        match result {
            Ok(()) => self.changed = true,
            Err(errno) => self.failed.push(format!("{} ({errno})", what())),
        }
    }

    fn set_xattr(&mut self, has: &XattrSet, name: &[u8], value: &[u8]) {
        if !has.iter().any(|(other, old)| other == name && old == value) {
            let result = self.inode.set_xattr(name, value);
            self.done(result, || format!("attribute {}", name.escape_ascii()));
        }
    }

    fn finish(self) -> Result<bool, SinkError> {
        match self.failed.is_empty() {
            true => Ok(self.changed),
            false => Err(SinkError::Incomplete(format!("could not set {}", self.failed.join(", ")))),
        }
    }
}

impl XattrChoice {
    fn restores(self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::UserOnly => name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_"),
            Self::None => false,
        }
    }
}
