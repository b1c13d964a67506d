//! What the system says of an inode, in the engine's words; extended attributes.

use dedup_engine::backup::source::{EntryKind, Stat};
use dedup_engine::listing::Time;
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{
    FileType, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, fgetxattr, flistxattr, lgetxattr, llistxattr,
    makedev, openat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Extended attributes: names and values, sorted by name.
pub(crate) type XattrSet = Vec<(Vec<u8>, Vec<u8>)>;

/// What is always asked of the system; every field of [`Stat`] but the access and birth times.
pub(super) const ALWAYS: StatxFlags = StatxFlags::BASIC_STATS.difference(StatxFlags::ATIME);

/// Translates what the system said; times that were not asked for are left out.
///
/// `None` for a kind of inode that has no place in a listing (none is known on Linux).
pub(super) fn stat_of(from: &Statx, asked: StatxFlags) -> Option<Stat> {
    let kind = match FileType::from_raw_mode(from.stx_mode.into()) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Unknown => return None,
    };
    let given = |flag: StatxFlags, time: &StatxTimestamp| {
        (asked.contains(flag) && from.stx_mask & flag.bits() != 0).then(|| time_of(time))
    };
    Some(Stat {
        kind,
        size: if kind == EntryKind::File { from.stx_size } else { 0 },
        allocated: from.stx_blocks.saturating_mul(512),
        mode: u32::from(from.stx_mode) & 0o7777,
        uid: from.stx_uid,
        gid: from.stx_gid,
        mtime: time_of(&from.stx_mtime),
        ctime: time_of(&from.stx_ctime),
        atime: given(StatxFlags::ATIME, &from.stx_atime),
        btime: given(StatxFlags::BTIME, &from.stx_btime),
        dev: makedev(from.stx_dev_major, from.stx_dev_minor),
        ino: from.stx_ino,
        nlink: from.stx_nlink.into(),
        rdev: (from.stx_rdev_major, from.stx_rdev_minor),
    })
}

fn time_of(time: &StatxTimestamp) -> Time {
    Time { secs: time.tv_sec, nanos: time.tv_nsec }
}

/// Returns the path by which the system reaches an open inode, whatever its kind.
pub(super) fn proc_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Reads the extended attributes of `name` in `directory` without opening it, so of any kind of entry.
///
/// Without `/proc` only what can be opened has any.
pub(super) fn xattrs_at(directory: impl AsFd, name: &[u8], kind: EntryKind) -> io::Result<XattrSet> {
    let mut path = proc_path(&directory);
    if !name.is_empty() {
        path.push(OsStr::from_bytes(name));
    }
    // The name itself must not be followed; the directory behind the descriptor must be.
    let read = if name.is_empty() {
        read_xattrs(
            |list| rustix::fs::listxattr(&path, list),
            |name, value| rustix::fs::getxattr(&path, name, value),
        )
    } else {
        read_xattrs(|list| llistxattr(&path, list), |name, value| lgetxattr(&path, name, value))
    };
    match read {
        Err(error) if matches!(kind, EntryKind::File | EntryKind::Directory) && lacks_proc(&error) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let name = if name.is_empty() { b"." } else { name };
            xattrs_of(openat(directory, name, flags, Mode::empty())?)
        }
        result => result,
    }
}

fn lacks_proc(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads the extended attributes of an open file or directory.
pub(super) fn xattrs_of(fd: impl AsFd) -> io::Result<XattrSet> {
    read_xattrs(|list| flistxattr(&fd, list), |name, value| fgetxattr(&fd, name, value))
}

/// Reads the extended attributes of an inode opened with `O_PATH`.
pub(crate) fn xattrs_by_path(fd: impl AsFd) -> io::Result<XattrSet> {
    let path = proc_path(fd);
    read_xattrs(
        |list| rustix::fs::listxattr(&path, list),
        |name, value| rustix::fs::getxattr(&path, name, value),
    )
}

fn read_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<XattrSet> {
    let mut names = vec![0; 256];
    let len = match grow(&mut names, &list) {
        // No support for attributes means that there are none.
        Err(Errno::OPNOTSUPP) => 0,
        result => result?,
    };
    names.truncate(len);
    let mut found = XattrSet::new();
    let mut value = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        value.resize(value.len().max(256), 0);
        match grow(&mut value, |buffer| get(name, buffer)) {
            // Removed since the names were listed.
            Err(Errno::NODATA) => {}
            Err(errno) => {
                let text = format!("attribute {}: {errno}", name.escape_ascii());
                return Err(io::Error::new(io::Error::from(errno).kind(), text));
            }
            Ok(len) => found.push((name.to_vec(), value[..len].to_vec())),
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    Ok(found)
}

/// Calls with a growing buffer until the answer fits. The system's own limit of 64 KiB ends it, and
/// some file systems' larger ones.
fn grow(
    buffer: &mut Vec<u8>,
    call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<usize> {
    const MOST_BYTES: usize = 8 << 20;
    loop {
        match call(buffer) {
            Err(Errno::RANGE) if buffer.len() < MOST_BYTES => {
                let larger = (buffer.len() * 4).min(MOST_BYTES);
                buffer.resize(larger, 0);
            }
            result => return result,
        }
    }
}

/// Returns the target of a symbolic link, as bytes.
pub(super) fn link_target(directory: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, fsetxattr};

    #[test]
    fn attributes_of_every_size_come_sorted() {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = scratch.path().join("file");
        let file = std::fs::File::create(&path).unwrap();
        let mut expected = XattrSet::new();
        for (index, len) in [0usize, 1, 255, 256, 257, 900].into_iter().enumerate() {
            let name = format!("user.{}-{index}", "n".repeat(index * 20)).into_bytes();
            let value = vec![index as u8; len];
            fsetxattr(&file, &name[..], &value, XattrFlags::CREATE).unwrap();
            expected.push((name, value));
        }
        expected.sort();
        assert_eq!(xattrs_of(&file).unwrap(), expected);
        let directory = std::fs::File::open(scratch.path()).unwrap();
        assert_eq!(xattrs_at(&directory, b"file", EntryKind::File).unwrap(), expected);
        assert_eq!(xattrs_by_path(&file).unwrap(), expected);
        assert_eq!(xattrs_at(&directory, b"", EntryKind::Directory).unwrap(), XattrSet::new());
        let gone = xattrs_at(&directory, b"gone", EntryKind::File).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_has_a_target_and_no_attributes() {
        let scratch = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(OsStr::from_bytes(b"\xff\n/x"), scratch.path().join("link")).unwrap();
        let directory = std::fs::File::open(scratch.path()).unwrap();
        assert_eq!(link_target(&directory, b"link").unwrap(), b"\xff\n/x");
        assert_eq!(xattrs_at(&directory, b"link", EntryKind::Symlink).unwrap(), XattrSet::new());
    }
}
