//! Looking into folders: nothing here changes anything, and nothing follows a symbolic link.

use super::super::Trouble;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// Room for directory entries per system call.
const ENTRIES_BYTES: usize = 32 << 10;

/// Opens a folder in `parent`, as an open file description of its own.
pub(super) fn open_folder(parent: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(&parent, name, flags, Mode::empty()))
}

/// Returns what stands under a name itself, or `None` if nothing does.
pub(super) fn look(folder: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<Option<Stat>, Trouble> {
    match retry_on_intr(|| rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the length of a regular file in bytes; whatever is none is [`Trouble::NotFile`].
pub(super) fn file_len(stat: &Stat) -> Result<u64, Trouble> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW.into()),
        _ => Err(Trouble::NotFile),
    }
}

/// Calls `each` with every name in the folder, which must not have been read from before, and what stands under it as far
/// as the file system tells; `fail` words the system's errors.
///
/// Reads raw entries: both the C library and `rustix::fs::Dir` take a folder that was removed after it
/// was opened for an empty one.
pub(super) fn each_entry<E>(
    folder: &OwnedFd,
    fail: impl Fn(Trouble) -> E,
    mut each: impl FnMut(&CStr, FileType) -> Result<(), E>,
) -> Result<(), E> {
    let mut room = Vec::<u8>::with_capacity(ENTRIES_BYTES);
    let mut entries = RawDir::new(folder, room.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if entry.file_name() == c"." || entry.file_name() == c".." => {}
            Ok(entry) => each(entry.file_name(), entry.file_type())?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(fail(error.into())),
        }
    }
    Ok(())
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}
