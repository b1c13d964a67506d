//! Which processes have a database open.

use super::{SIDECARS, beside};
use crate::folder::Inode;
use rustix::fs::{AtFlags, CWD, statx};
use rustix::io::Errno;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    Nobody,
    Somebody,
    /// Nobody among those that could be looked at.
    Unknown,
}

/// Looks through the open files of every process (`/proc/PID/fd`). Root sees all of its machine.
///
/// Processes of this program do not count: they only read, and what they read stays whole whatever name it has. Among
/// them are those that this process is just about to start, which have all of its files open for a moment.
pub(super) fn holders(database: &Path) -> Holders {
    let inode = |path: &Path| {
        let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, Inode::ASKED).ok()?;
        Some(Inode::of(&stat))
    };
    let sidecars = SIDECARS.iter().filter_map(|suffix| inode(&beside(database, suffix)));
    let wanted: Vec<_> = inode(database).into_iter().chain(sidecars).collect();
    if wanted.is_empty() {
        return Holders::Nobody;
    }
    let program = |process: &Path| {
        Some(Inode::of(&statx(CWD, process.join("exe"), AtFlags::empty(), Inode::ASKED).ok()?))
    };
    let own = program(Path::new("/proc/self"));
    let Ok(processes) = fs::read_dir("/proc") else { return Holders::Unknown };
    let mut all_seen = true;
    for process in processes.flatten() {
        let is_process = process.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process || own.is_some() && program(&process.path()) == own {
            continue;
        }
        let files = match fs::read_dir(process.path().join("fd")) {
            Ok(files) => files,
            // It ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) => {
                all_seen = false;
                continue;
            }
        };
        for file in files.flatten() {
            match statx(CWD, file.path(), AtFlags::NO_AUTOMOUNT, Inode::ASKED) {
                Ok(stat) if wanted.contains(&Inode::of(&stat)) => return Holders::Somebody,
                Ok(_) | Err(Errno::NOENT | Errno::SRCH) => {}
                Err(_) => all_seen = false,
            }
        }
    }
    if all_seen { Holders::Nobody } else { Holders::Unknown }
}
