//! What only a program that we start may read: a file in memory, which no directory names and which ends with us.
//!
//! It is closed in every program that is started; the one that is meant opens it by the number we have it under, which
//! the kernel allows to processes of the same user only (`proc(5)`, `/proc/PID/fd`).

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A file that only processes of this user can open, as long as this value lives.
#[derive(Debug)]
pub struct Confided(File);

impl Confided {
    /// Makes one with this content. `name` is for those who look into `/proc`.
    pub fn new(name: &str, content: &[u8]) -> io::Result<Self> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        // Clients refuse what others may read or write, and made so it would be for all.
        fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(fd);
        file.write_all(content)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    /// Returns the path by which a program opens it; each gets its own position, at the beginning.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}
