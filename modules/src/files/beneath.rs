//! Opening directories below others, never through a link, and what is said if that fails.

use crate::planted::{Bug, planted};
use dedup_engine::restore::sink::SinkError;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::io;

/// How often a lookup that met a rename is repeated.
const RETRIES: usize = 64;
const BELOW: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory below another one: for reading, or where that is not allowed to pass through it.
pub(super) fn open_below(at: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<(OwnedFd, bool)> {
    if planted(Bug::FollowLinks) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return openat(at, path, flags, Mode::empty()).map(|fd| (fd, true));
    }
    match retry(|| openat2(at, path, OFlags::RDONLY | DIRECTORY, Mode::empty(), BELOW)) {
        Err(Errno::ACCESS) => {
            retry(|| openat2(at, path, OFlags::PATH | DIRECTORY, Mode::empty(), BELOW)).map(|fd| (fd, false))
        }
        result => result.map(|fd| (fd, true)),
    }
}

/// Repeats a lookup that the kernel gave up because something was renamed meanwhile.
fn retry<T>(call: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 0..RETRIES {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    call()
}

pub(super) fn lookup_error(errno: Errno) -> SinkError {
    let text = match errno {
        Errno::LOOP | Errno::XDEV => "a symbolic link stands where a directory was restored",
        Errno::NOTDIR => "something that is no directory stands where a directory was restored",
        Errno::NOSYS => "restoring needs openat2, which Linux has since 5.6",
        _ => return errno_error("open the directory")(errno),
    };
    SinkError::Refused(text.to_owned())
}

/// Nothing can be renamed over a mount point, nor a mount point itself.
pub(super) fn mount_point() -> SinkError {
    SinkError::Refused("a mount point stands at its place; unmount it, or restore elsewhere".to_owned())
}

/// Says which call failed.
pub(super) fn errno_error(call: &'static str) -> impl Fn(Errno) -> SinkError {
    move |errno| SinkError::Io { call, source: errno.into() }
}

/// Says which call failed.
pub(super) fn io_error(call: &'static str) -> impl Fn(io::Error) -> SinkError {
    move |source| SinkError::Io { call, source }
}
