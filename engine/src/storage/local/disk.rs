//! The steps that change a directory repository, one system call each.
//!
//! Behind a trait, so that a test can fail any of them, or see which bytes and names were not yet
//! synced when the power goes. Nothing here retries: what an error means is decided above.

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::{Errno, Result};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Steps on the file system, in the order in which a put takes them.
pub(super) trait Disk: Send + Sync {
    /// Makes a folder of mode 0700; `EXIST` if the name is taken.
    fn make_folder(&self, parent: BorrowedFd<'_>, name: &str) -> Result<()>;

    /// Creates an empty file, for writing only; `EXIST` if the name is taken.
    fn create(&self, folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd>;

    /// Gives a file or folder to a user and a group.
    fn give(&self, file: BorrowedFd<'_>, user: u32, group: u32) -> Result<()>;

    /// Appends some of `bytes` and returns how many.
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize>;

    /// Makes a file's bytes and length durable.
    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<()>;

    /// Gives the file its name, `EXIST` if that is taken. The temporary name may remain.
    fn publish(&self, from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()>;

    /// Gives the file its name, and takes it from the file that has it.
    fn replace(&self, from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: BorrowedFd<'_>) -> Result<()>;

    /// Removes a file's name.
    fn remove(&self, folder: BorrowedFd<'_>, name: &str) -> Result<()>;
}

/// The disk that there is.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, parent: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::mkdirat(parent, name, Mode::RWXU)
    }

    fn create(&self, folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The process's umask takes from this what its user does not want.
        rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o666))
    }

    fn give(&self, file: BorrowedFd<'_>, user: u32, group: u32) -> Result<()> {
        rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
        rustix::io::write(file, bytes)
    }

    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<()> {
        rustix::fs::fsync(file)
    }

    fn publish(&self, from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        match rustix::fs::renameat_with(from, temporary, to, name, RenameFlags::NOREPLACE) {
            // Old kernels and some file systems (NFS, most of FUSE) know no such flag.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link(from, temporary, to, name),
            result => result,
        }
    }

    fn replace(&self, from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::renameat(from, temporary, to, name)
    }

    fn sync_folder(&self, folder: BorrowedFd<'_>) -> Result<()> {
        rustix::fs::fsync(folder)
    }

    fn remove(&self, folder: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::unlinkat(folder, name, AtFlags::empty())
    }
}

/// Publishes without `RENAME_NOREPLACE`: a link is never made over a name that is taken.
pub(super) fn link(from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()> {
    rustix::fs::linkat(from, temporary, to, name, AtFlags::empty())
}
