//! What tests share: scratch directories, trees, a comparison of its own, and a world around a repository.

pub mod budget;
pub mod compare;
pub mod docker;
pub mod hooked;
pub mod mariadb;
pub mod memory_sink;
pub mod mount;
pub mod oracle;
pub mod parts;
pub mod planted;
#[allow(dead_code, reason = "some of it is for the tests of the crate of modules")]
pub mod postgres;
pub mod pruned;
pub mod random;
pub mod redis;
pub mod repaired;
pub mod systemd;
pub mod trees;
pub mod witness;
pub mod world;

use dedup_engine::progress::{Event, Events};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A directory of its own, by its real path, on a file system that knows attributes and holes.
pub struct Scratch {
    #[expect(dead_code, reason = "removes the directory")]
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::below(Path::new("/var/tmp"))
    }

    /// Makes an empty one in memory, where the system has such a place: for what is synced again and again.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        Self::below(if memory.is_dir() { memory } else { Path::new("/var/tmp") })
    }

    /// Makes an empty one for trees that are restored again and again: in memory if attributes can be kept there.
    pub fn for_trees() -> Self {
        let scratch = Self::in_memory();
        let probe = rustix::fs::setxattr(&scratch.path, "user.probe", b"", rustix::fs::XattrFlags::empty());
        if probe.is_ok() {
            let _ = rustix::fs::removexattr(&scratch.path, "user.probe");
            return scratch;
        }
        Self::new()
    }

    fn below(place: &Path) -> Self {
        planted::plant();
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        Self { directory, path }
    }

    /// Returns a path below it; nothing is made.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path.join(below)
    }

    /// Returns the path of a directory below it, which is made.
    pub fn dir(&self, below: impl AsRef<Path>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

/// Remembers what was told.
#[derive(Default)]
pub struct TestEvents {
    told: Mutex<Vec<Event>>,
}

impl TestEvents {
    /// Returns the notices, in order.
    pub fn notices(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let notice = |event: &Event| match event {
            Event::Notice(text) => Some(text.clone()),
            _ => None,
        };
        told.iter().filter_map(notice).collect()
    }
}

impl Events for TestEvents {
    fn event(&self, event: Event) {
        self.told.lock().unwrap().push(event);
    }
}

/// Copies a directory of files and directories. A database that is open may remove some of its files meanwhile:
/// they are left out.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            // Not the modes, which version control does not keep either.
            match fs::read(entry.path()) {
                Ok(bytes) => fs::write(target, bytes).unwrap(),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
            }
        }
    }
}
