//! Whose the files of a repository are: what root stores belongs to whom the repository belongs, so that they can read it.
//!
//! Files are given away by their descriptors before they have a name, folders after they were opened without following links: so
//! nothing else can be meant, whatever somebody who may write in the repository puts in their place.

use super::super::Trouble;
use super::LocalStorage;
use super::disk::Disk;
use super::folder::open_folder;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who is given what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Number of the user.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
    /// Whether somebody asked for it: then it is an error if it cannot be done.
    is_asked: bool,
}

impl Owner {
    /// Returns the owner of a repository's directory, if that is not who stores. Only root can give files away.
    pub fn of(root: &OwnedFd) -> Option<Self> {
        let stat = fstat(root).ok().filter(|stat| geteuid().is_root() && stat.st_uid != 0)?;
        Some(Self { user: stat.st_uid, group: stat.st_gid, is_asked: false })
    }
}

impl LocalStorage {
    /// Gives what is stored from here on to this user and group, in the place of those of the repository's directory. Only root
    /// can do that for somebody else.
    pub fn give_to(mut self, user: u32, group: u32) -> Self {
        self.owner = Some(Owner { user, group, is_asked: true });
        self
    }
}

/// Gives a file or folder that this process has just made to its owner.
pub(super) fn give(disk: &dyn Disk, file: BorrowedFd<'_>, owner: Option<Owner>) -> Result<(), Trouble> {
    let Some(owner) = owner else { return Ok(()) };
    let stat = fstat(file)?;
    // What another user's hand has put in the place of a new folder is that user's already.
    let is_own = stat.st_uid == geteuid().as_raw();
    if !is_own || (stat.st_uid, stat.st_gid) == (owner.user, owner.group) {
        return Ok(());
    }
    match disk.give(file, owner.user, owner.group) {
        // File systems without owners, and servers that do not obey this root.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) if !owner.is_asked => Ok(()),
        given => Ok(given?),
    }
}

/// Gives a new folder to its owner.
pub(super) fn give_folder(
    disk: &dyn Disk,
    parent: BorrowedFd<'_>,
    name: &str,
    owner: Option<Owner>,
) -> Result<(), Trouble> {
    match owner {
        Some(_) => give(disk, open_folder(parent, name)?.as_fd(), owner),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Name, Storage};
    use super::*;
    use crate::id::ObjectId;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    use std::path::Path;

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = path.symlink_metadata().unwrap();
        (metadata.uid(), metadata.gid())
    }

    fn pack(byte: u8) -> Name {
        Name::Pack(ObjectId::from_bytes([byte; 32]))
    }

    /// A backup by root in a user's repository made objects that the user could not read any more.
    #[test]
    fn what_root_stores_belongs_to_the_owner_of_the_directory_or_who_is_asked_for() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo");
        fs::create_dir(&path).unwrap();
        chown(&path, Some(65_534), Some(65_533)).unwrap();
        let storage = LocalStorage::create(&path).unwrap();
        assert_eq!(owner(&path.join("packs")), (65_534, 65_533));
        storage.put(&pack(0xab), b"bytes").unwrap();
        let at = |byte: &str| path.join(format!("packs/{byte}/{}", byte.repeat(32)));
        assert_eq!((owner(&path.join("packs/ab")), owner(&at("ab"))), ((65_534, 65_533), (65_534, 65_533)));
        let storage = LocalStorage::open(&path).unwrap().give_to(12_345, 54_321);
        storage.put(&pack(0xcd), b"bytes").unwrap();
        assert_eq!((owner(&path.join("packs/cd")), owner(&at("cd"))), ((12_345, 54_321), (12_345, 54_321)));
        // What was there stays as it is.
        storage.put(&pack(0xab), b"bytes").unwrap();
        assert_eq!(owner(&at("ab")), (65_534, 65_533));
    }

    #[test]
    fn nothing_outside_is_given_away() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (path, outside) = (dir.path().join("repo"), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let storage = LocalStorage::create(&path).unwrap().give_to(65_534, 65_534);
        symlink(&outside, path.join("packs/ab")).unwrap();
        assert!(storage.put(&pack(0xab), b"bytes").is_err());
        assert_eq!((owner(&outside), fs::read_dir(&outside).unwrap().count()), ((0, 0), 0));
        assert_eq!(owner(&path.join("packs")), (0, 0), "what was there before");
    }
}
