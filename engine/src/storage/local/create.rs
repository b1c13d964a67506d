//! Making a repository's folders, opening them, and clearing away unfinished writes.

use super::disk::{Disk, RealDisk};
use super::folder::{each_entry, look, open_folder};
use super::owner::{Owner, give_folder};
use super::{LocalStorage, TEMPORARY};
use crate::storage::{Family, StorageError, Trouble};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most missing parents that are made.
const MAX_NEW_PARENTS: usize = 64;

/// The folders of a repository.
fn folders() -> impl Iterator<Item = &'static str> {
    Family::ALL.into_iter().filter_map(Family::folder).chain([TEMPORARY])
}

/// Returns whether this is the name of one of a repository's folders.
pub(super) fn is_ours(entry: &CStr) -> bool {
    folders().any(|folder| entry.to_bytes() == folder.as_bytes())
}

/// Says what is wrong with a folder at the top that does not open.
pub(super) fn unusable(folder: &str, error: Errno) -> Trouble {
    match error {
        Errno::NOENT => Trouble::Place(format!(
            "the folder `{folder}` is missing; if a copy left it out because it was empty, make it again"
        )),
        Errno::NOTDIR | Errno::LOOP => {
            Trouble::Place(format!("`{folder}` is no folder; links inside a repository are not followed"))
        }
        error => error.into(),
    }
}

impl LocalStorage {
    /// Makes the folders of a repository, durably, and opens it.
    ///
    /// The directory may exist if it is empty, is a repository already, or is one whose making was cut
    /// short. Missing parents are made. All get mode 0700. Anything else there is
    /// [`Trouble::Place`] and left as it is.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::create_on(path.into(), Box::new(RealDisk))
    }

    /// Opens a repository; creates nothing, so it works on a read-only file system as well.
    ///
    /// Whether there is a configuration is not looked at, only that all folders are there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::open_on(path.into(), Box::new(RealDisk))
    }

    pub(super) fn create_on(path: PathBuf, disk: Box<dyn Disk>) -> Result<Self, StorageError> {
        make(&path, &*disk)
            .map_err(|trouble| failed("create", &path, trouble))
            .map(|root| Self::over(path, root, disk))
    }

    pub(super) fn open_on(path: PathBuf, disk: Box<dyn Disk>) -> Result<Self, StorageError> {
        check(&path)
            .map_err(|trouble| failed("open", &path, trouble))
            .map(|root| Self::over(path, root, disk))
    }

    fn over(path: PathBuf, root: OwnedFd, disk: Box<dyn Disk>) -> Self {
        let owner = Owner::of(&root);
        Self { path, root, disk, owner, shards: Mutex::new([false; 256]), poisoned: AtomicBool::new(false) }
    }

    /// Removes unfinished writes that were last touched before `older_than`, and returns how many.
    ///
    /// A writer that is still alive and loses its file this way gets an error, never a torn object.
    pub fn clean_temporary(&self, older_than: SystemTime) -> Result<u64, StorageError> {
        self.clean(older_than).map_err(|trouble| self.error("delete", TEMPORARY, trouble))
    }

    fn clean(&self, older_than: SystemTime) -> Result<u64, Trouble> {
        let folder = self.top_folder(TEMPORARY)?;
        let mut removed = 0;
        each_entry(
            &folder,
            |trouble| trouble,
            |entry, _| {
                let Some(stat) = look(&folder, entry)? else { return Ok(()) };
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                // Times before 1970 are as old as can be.
                let touched = u64::try_from(stat.st_mtime).unwrap_or(0);
                let touched = UNIX_EPOCH.checked_add(Duration::from_secs(touched));
                let Ok(name) = entry.to_str() else { return Ok(()) };
                if is_file && touched.is_some_and(|touched| touched < older_than) {
                    match self.disk.remove(folder.as_fd(), name) {
                        Ok(()) => removed += 1,
                        Err(Errno::NOENT) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            },
        )?;
        Ok(removed)
    }
}

fn failed(call: &'static str, path: &Path, trouble: Trouble) -> StorageError {
    StorageError::new(call, "the repository", path.display().to_string(), trouble)
}

/// Opens a directory on the way to the repository or the repository itself.
fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    // The parent of a relative path of one part.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))
}

fn check(path: &Path) -> Result<OwnedFd, Trouble> {
    let root = open_path(path).map_err(|error| match error {
        Errno::NOENT => Trouble::Place("there is no such directory".to_owned()),
        Errno::NOTDIR => Trouble::Place("it is not a directory".to_owned()),
        error => error.into(),
    })?;
    if folders().all(|folder| matches!(open_folder(&root, folder), Err(Errno::NOENT))) {
        return Err(Trouble::Place("this directory is not a repository".to_owned()));
    }
    for folder in folders() {
        open_folder(&root, folder).map_err(|error| unusable(folder, error))?;
    }
    Ok(root)
}

fn make(path: &Path, disk: &dyn Disk) -> Result<OwnedFd, Trouble> {
    let root = make_root(path, disk)?;
    if !folders().all(|folder| open_folder(&root, folder).is_ok()) {
        check_empty(&root)?;
    }
    for folder in folders() {
        match disk.make_folder(root.as_fd(), folder) {
            Ok(()) => give_folder(disk, root.as_fd(), folder, Owner::of(&root))?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        open_folder(&root, folder).map_err(|error| unusable(folder, error))?;
    }
    disk.sync_folder(root.as_fd())?;
    sync_own_name(&root, disk)?;
    Ok(root)
}

/// Makes the directory and its missing parents. All but the directory's own name are durable then.
fn make_root(path: &Path, disk: &dyn Disk) -> Result<OwnedFd, Trouble> {
    let mut missing = Vec::new();
    let mut there = path;
    let mut folder = loop {
        match open_path(there) {
            Ok(folder) => break folder,
            Err(Errno::NOENT) if missing.len() < MAX_NEW_PARENTS => {
                let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
                    return Err(Trouble::Place("there is no such directory".to_owned()));
                };
                let name = name.to_str().ok_or_else(|| {
                    Trouble::Place("its name is not UTF-8; make the directory yourself".to_owned())
                })?;
                missing.push(name);
                there = parent;
            }
            Err(Errno::NOTDIR) => {
                return Err(Trouble::Place(format!("{} is not a directory", there.display())));
            }
            Err(error) => return Err(error.into()),
        }
    };
    while let Some(name) = missing.pop() {
        match disk.make_folder(folder.as_fd(), name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        disk.sync_folder(folder.as_fd())?;
        folder = open_folder(&folder, name)?;
    }
    Ok(folder)
}

/// Refuses a directory that holds anything but empty folders of a repository.
fn check_empty(root: &OwnedFd) -> Result<(), Trouble> {
    // Read through a description of its own: this one stays at the start.
    each_entry(
        &open_folder(root, ".")?,
        |trouble| trouble,
        |entry, _| {
            let refuse = || {
                let found = entry.to_string_lossy();
                Trouble::Place(format!(
                    "the directory is not empty: it holds `{found}`; choose another or a new one"
                ))
            };
            let name = entry.to_str().ok().filter(|_| is_ours(entry)).ok_or_else(refuse)?;
            let folder = open_folder(root, name).map_err(|_| refuse())?;
            each_entry(&folder, |trouble| trouble, |_, _| Err(refuse()))
        },
    )
}

/// Makes the directory's own name durable, which an earlier attempt may have left undone.
fn sync_own_name(root: &OwnedFd, disk: &dyn Disk) -> Result<(), Trouble> {
    let parent = match open_folder(root, "..") {
        Ok(parent) => parent,
        // Then it was not made by this user either.
        Err(Errno::ACCESS) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The root of a file system has no name in it.
    if rustix::fs::fstat(&parent)?.st_dev == rustix::fs::fstat(root)?.st_dev {
        disk.sync_folder(parent.as_fd())?;
    }
    Ok(())
}
