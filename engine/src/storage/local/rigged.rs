//! A disk for tests: fails on purpose, and keeps a log of what reached the real one.

use super::disk::{Disk, RealDisk, link};
use rustix::fs::{AtFlags, fstat, statat};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// The steps of [`Disk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    MakeFolder,
    Create,
    Write,
    SyncFile,
    Publish,
    SyncFolder,
    Remove,
}

/// A step that took effect; files and folders by inode number.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Made {
        parent: u64,
        name: String,
        folder: u64,
    },
    Created {
        folder: u64,
        name: String,
        file: u64,
    },
    Wrote {
        file: u64,
        bytes: Vec<u8>,
    },
    SyncedFile {
        file: u64,
    },
    Renamed {
        from: u64,
        temporary: String,
        to: u64,
        name: String,
    },
    Linked {
        from: u64,
        temporary: String,
        to: u64,
        name: String,
    },
    SyncedFolder {
        folder: u64,
    },
    Removed {
        folder: u64,
        name: String,
    },
    /// Not a step: what the test noted.
    Note(super::crash::Note),
}

#[derive(Default)]
pub(super) struct Script {
    pub log: Vec<Step>,
    /// Fail the n-th step of a kind, counted from 0 since this was set, with an error.
    pub fail: Option<(Op, usize, Errno)>,
    /// Write at most this many bytes at a time.
    pub short_writes: Option<usize>,
    /// Interrupt every other write.
    pub interrupts: bool,
    /// Publish by link, as where there is no `RENAME_NOREPLACE`.
    pub links: bool,
    /// Answer a link that succeeded as if it had been sent twice.
    pub repeats: bool,
    /// Somebody else gives the name to an empty file of his just before a file is published.
    pub overtakes: bool,
    writes: usize,
}

/// The script is shared with the test.
#[derive(Clone, Default)]
pub(super) struct RiggedDisk(pub Arc<Mutex<Script>>);

impl RiggedDisk {
    pub fn with(change: impl FnOnce(&mut Script)) -> Self {
        let disk = Self::default();
        change(&mut disk.0.lock().unwrap());
        disk
    }

    pub fn fail(&self, op: Op, n: usize, error: Errno) {
        self.0.lock().unwrap().fail = Some((op, n, error));
    }

    pub fn note(&self, note: super::crash::Note) {
        self.0.lock().unwrap().log.push(Step::Note(note));
    }

    /// Takes a step unless it is to fail.
    fn step<T>(&self, op: Op, act: impl FnOnce(&mut Script) -> Result<T>) -> Result<T> {
        let mut script = self.0.lock().unwrap();
        match &mut script.fail {
            Some((failing, 0, error)) if *failing == op => {
                let error = *error;
                script.fail = None;
                return Err(error);
            }
            Some((failing, n, _)) if *failing == op => *n -= 1,
            _ => {}
        }
        act(&mut script)
    }
}

fn inode(fd: BorrowedFd<'_>) -> u64 {
    fstat(fd).unwrap().st_ino
}

impl Disk for RiggedDisk {
    fn make_folder(&self, parent: BorrowedFd<'_>, name: &str) -> Result<()> {
        self.step(Op::MakeFolder, |script| {
            RealDisk.make_folder(parent, name)?;
            let folder = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
            script.log.push(Step::Made { parent: inode(parent), name: name.to_owned(), folder });
            Ok(())
        })
    }

    fn create(&self, folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
        self.step(Op::Create, |script| {
            let file = RealDisk.create(folder, name)?;
            script.log.push(Step::Created {
                folder: inode(folder),
                name: name.to_owned(),
                file: inode(file.as_fd()),
            });
            Ok(file)
        })
    }

    fn give(&self, file: BorrowedFd<'_>, user: u32, group: u32) -> Result<()> {
        RealDisk.give(file, user, group)
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
        self.step(Op::Write, |script| {
            script.writes += 1;
            if script.interrupts && script.writes % 2 == 1 {
                return Err(Errno::INTR);
            }
            let bytes = &bytes[..bytes.len().min(script.short_writes.unwrap_or(usize::MAX))];
            let written = RealDisk.write(file, bytes)?;
            script.log.push(Step::Wrote { file: inode(file), bytes: bytes[..written].to_vec() });
            Ok(written)
        })
    }

    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<()> {
        self.step(Op::SyncFile, |script| {
            script.log.push(Step::SyncedFile { file: inode(file) });
            RealDisk.sync_file(file)
        })
    }

    fn publish(&self, from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        self.step(Op::Publish, |script| {
            let (temporary, name) = (temporary.to_owned(), name.to_owned());
            if script.overtakes {
                RealDisk.create(to, &name)?;
            }
            if script.links {
                link(from, &temporary, to, &name)?;
                script.log.push(Step::Linked { from: inode(from), temporary, to: inode(to), name });
                if script.repeats {
                    return Err(Errno::EXIST);
                }
            } else {
                RealDisk.publish(from, &temporary, to, &name)?;
                script.log.push(Step::Renamed { from: inode(from), temporary, to: inode(to), name });
            }
            Ok(())
        })
    }

    fn replace(&self, from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        self.step(Op::Publish, |script| {
            let (temporary, name) = (temporary.to_owned(), name.to_owned());
            RealDisk.replace(from, &temporary, to, &name)?;
            script.log.push(Step::Renamed { from: inode(from), temporary, to: inode(to), name });
            Ok(())
        })
    }

    fn sync_folder(&self, folder: BorrowedFd<'_>) -> Result<()> {
        self.step(Op::SyncFolder, |script| {
            script.log.push(Step::SyncedFolder { folder: inode(folder) });
            RealDisk.sync_folder(folder)
        })
    }

    fn remove(&self, folder: BorrowedFd<'_>, name: &str) -> Result<()> {
        self.step(Op::Remove, |script| {
            RealDisk.remove(folder, name)?;
            script.log.push(Step::Removed { folder: inode(folder), name: name.to_owned() });
            Ok(())
        })
    }
}
