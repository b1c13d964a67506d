//! Files on their way to a name.

use super::disk::Disk;
use super::folder::{file_len, look};
use super::owner::give;
use super::{LocalStorage, TEMPORARY, last_part};
use crate::id::to_hex;
use crate::planted::{Bug, planted};
use crate::storage::{Name, Put, Trouble};
use rustix::io::{Errno, retry_on_intr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A file in `tmp/` that goes when this does; its bytes stay if they have another name by then.
struct Temporary<'a> {
    disk: &'a dyn Disk,
    folder: BorrowedFd<'a>,
    name: String,
    file: OwnedFd,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Best effort: what stays is no object, and `clean_temporary` removes it some day.
        let _ = self.disk.remove(self.folder, &self.name);
    }
}

impl LocalStorage {
    /// Writes, syncs and names a file.
    pub(super) fn store_new(&self, folder: BorrowedFd<'_>, file: &str, bytes: &[u8]) -> Result<Put, Trouble> {
        let tmp = self.top_folder(TEMPORARY)?;
        let temporary = self.written(tmp.as_fd(), bytes)?;
        match self.disk.publish(tmp.as_fd(), &temporary.name, folder, file) {
            Ok(()) => Ok(Put::Stored),
            Err(Errno::EXIST) if planted(Bug::TwoWinners) => Ok(Put::Stored),
            Err(Errno::EXIST) => {
                // NFS may repeat a link whose answer was lost, and then finds the name taken by itself.
                let own = rustix::fs::fstat(&temporary.file)?;
                let Some(there) = look(folder, file)? else { return Ok(Put::Present) };
                file_len(&there)?;
                let same = (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino);
                Ok(if same { Put::Stored } else { Put::Present })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn new_temporary<'a>(&'a self, folder: BorrowedFd<'a>) -> Result<Temporary<'a>, Trouble> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Trouble::Io(io::Error::other(error)))?;
        let name = to_hex(&random);
        let file = retry_on_intr(|| self.disk.create(folder, &name))?;
        Ok(Temporary { disk: &*self.disk, folder, name, file })
    }

    /// Writes and syncs a file that has no name of an object yet.
    fn written<'a>(&'a self, tmp: BorrowedFd<'a>, bytes: &[u8]) -> Result<Temporary<'a>, Trouble> {
        let temporary = self.new_temporary(tmp)?;
        give(&*self.disk, temporary.file.as_fd(), self.owner)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            match retry_on_intr(|| self.disk.write(temporary.file.as_fd(), rest))? {
                0 => return Err(Trouble::Io(io::ErrorKind::WriteZero.into())),
                _ if planted(Bug::IgnoreShortWrite) => break,
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        if !planted(Bug::SkipFileSync) {
            self.synced(|| self.disk.sync_file(temporary.file.as_fd()))?;
        }
        Ok(temporary)
    }

    /// Puts an object in the place of whatever file has its name, in one step: whoever reads finds the one or the other.
    pub(super) fn put_in_place(&self, name: &Name, bytes: &[u8]) -> Result<(), Trouble> {
        let folder = self.folder_for(name)?;
        let text = name.to_string();
        let file = last_part(&text);
        // What is no file is somebody's to look at.
        if let Some(stat) = look(&folder, file)? {
            file_len(&stat)?;
        }
        let tmp = self.top_folder(TEMPORARY)?;
        let temporary = self.written(tmp.as_fd(), bytes)?;
        self.disk.replace(tmp.as_fd(), &temporary.name, folder.as_fd(), file)?;
        self.synced(|| self.disk.sync_folder(folder.as_fd()))
    }
}
