//! Scratch databases: where a process puts what it learns while another one owns the index, and what a run
//! remembers beyond its memory (`spill.rs`).
//!
//! ```text
//! <dir>/scratch-<n>.lock    held (flock) by the process whose scratch it is; never removed
//! <dir>/scratch-<n>/db      its own segments, generations and pages
//! <dir>/scratch-<n>/log     what RocksDB wants for a secondary instance
//! ```
//!
//! A scratch database dies with its process: it is removed when the [`Scratch`] is dropped, or by
//! whoever finds its lock free.

use super::error::IndexError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

/// The scratch folder of this process.
pub(super) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Takes the first free slot below `dir`.
    pub(super) fn take(dir: &Path) -> Result<Self, IndexError> {
        let mut slot = 0u64;
        let lock = loop {
            if let Some(lock) = try_lock(&lock_path(dir, slot))? {
                break lock;
            }
            slot += 1;
        };
        let folder = dir.join(format!("scratch-{slot}"));
        remove(&folder)?;
        fs::create_dir_all(folder.join("log")).map_err(IndexError::files("create", &folder))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Returns the path of the database; nothing is there yet.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("db")
    }

    /// Returns the folder for RocksDB's own log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If it fails, the next open removes it.
        drop(remove(&self.folder));
    }
}

/// Removes the scratch folders of processes that are gone.
pub(super) fn sweep(dir: &Path) -> Result<(), IndexError> {
    for entry in fs::read_dir(dir).map_err(IndexError::files("read", dir))? {
        let name = entry.map_err(IndexError::files("read", dir))?.file_name();
        let slot = name.to_str().and_then(|name| name.strip_prefix("scratch-")?.parse().ok());
        if let Some(slot) = slot
            && let Some(_lock) = try_lock(&lock_path(dir, slot))?
        {
            remove(&dir.join(name))?;
        }
    }
    Ok(())
}

fn lock_path(dir: &Path, slot: u64) -> PathBuf {
    dir.join(format!("scratch-{slot}.lock"))
}

/// Takes a lock that the kernel releases with the process; `None` if somebody has it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, IndexError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(IndexError::files("open", path))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(IndexError::files("lock", path)(error.into())),
        }
    }
}

/// Removes a file or a folder with everything in it. What is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), IndexError> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(IndexError::files("remove", path)(error))
        }
        _ => Ok(()),
    }
}
