//! Where a hostile repository is restored by the real program: a target, canaries around it, and a judge.

use super::forged::{Entry, What};
use crate::support::Scratch;
use crate::support::compare::Tree;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::id::ObjectId;
use dedup_engine::repo::Repository;
use dedup_engine::storage::local::LocalStorage;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// User and group `nobody` of every Linux (`overflowuid`).
pub const NOBODY: u32 = 65534;
/// A run that takes seconds on a quiet machine, and longer than this on any, waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// A repository of a liar, and room for the grounds of its cases.
pub struct Hall {
    scratch: Scratch,
    storage: Scratch,
}

/// How the program ended.
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
    /// Paths that were told as not restored, or not as they were.
    pub told: BTreeSet<String>,
    /// What was told of them.
    pub messages: Vec<String>,
}

/// Inode, number of names and time of change by path: what nobody can set back.
pub type Inodes = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

/// One case's target and the canaries around it.
pub struct Ground {
    pub root: PathBuf,
    pub target: PathBuf,
    pub canary: PathBuf,
    /// The restore is run by `nobody`, who owns target and half of the canaries.
    pub user: bool,
}

impl Hall {
    /// Makes the repository.
    pub fn new() -> Self {
        let hall = Self { scratch: Scratch::new(), storage: Scratch::in_memory() };
        fs::set_permissions(hall.scratch.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        for (home, user) in [("home-0", 0), ("home-65534", NOBODY)] {
            chown(hall.scratch.dir(home), Some(user), Some(user)).unwrap();
        }
        // Where it was built, perhaps below root's home, an ordinary user may not look.
        let (built, program) = (env!("CARGO_BIN_EXE_dedup"), hall.scratch.path("dedup"));
        fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
        let mut init = hall.program(0, &["init"]);
        init.arg("--key-file").arg(hall.scratch.path("key")).arg(hall.storage.path("repo"));
        let outcome = finish(init.spawn().unwrap());
        assert_eq!(outcome.code, 0, "{}", outcome.err);
        hall
    }

    /// Opens the repository, to lie in it.
    pub fn repository(&self) -> Repository {
        let key = fs::read_to_string(self.scratch.path("key")).unwrap();
        let unlock = Unlock::read_key_file(&key).unwrap();
        let storage = LocalStorage::open(self.storage.path("repo")).unwrap();
        Repository::open(Arc::new(storage), &unlock, 64 << 20).unwrap()
    }

    /// Lets `nobody` read repository and key, after everything is stored.
    pub fn open_to_all(&self) {
        let mut left = vec![self.storage.path(""), self.scratch.path("key")];
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(metadata.mode() | 0o444)).unwrap();
            if metadata.is_dir() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    /// Returns a folder of the repository.
    pub fn stored(&self, folder: &str) -> PathBuf {
        self.storage.path("repo").join(folder)
    }

    /// Returns a directory beside everything else, which is made.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.scratch.dir(name)
    }

    /// Gives the repository to `nobody`, who backs up to it.
    pub fn give_away(&self) {
        let mut left = vec![self.storage.path(""), self.scratch.path("key")];
        while let Some(path) = left.pop() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    /// Makes the ground of a case.
    pub fn ground(&self, number: usize, user: bool) -> Ground {
        Ground::new(self.scratch.dir(format!("{number}")), user)
    }

    /// Returns the program, to be run by a user.
    pub fn program(&self, user: u32, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.scratch.path("dedup"));
        command.args(arguments).env_clear().env("HOME", self.scratch.path(format!("home-{user}")));
        command.env("DEDUP_STATE_DIR", self.scratch.path(format!("home-{user}/state")));
        command.env("PATH", "/usr/bin:/bin").env("TZ", "UTC").current_dir(self.scratch.path(""));
        if self.storage.path("repo/config").exists() {
            command.env("DEDUP_REPO", self.storage.path("repo"));
            command.env("DEDUP_KEY_FILE", self.scratch.path("key"));
        }
        if user != 0 {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the restore of a snapshot to a target.
    pub fn start_restore(&self, id: ObjectId, ground: &Ground, options: &[&str]) -> Child {
        let user = if ground.user { NOBODY } else { 0 };
        let mut command = self.program(user, &["restore", &id.to_hex(), "--json", "--target"]);
        command.arg(&ground.target).args(options);
        command.spawn().unwrap()
    }
}

/// Waits for the end of the program; one that blocks, dies or panics fails the test.
pub fn finish(child: Child) -> Outcome {
    finish_with(child, || {})
}

/// The same, calling `look` every few milliseconds.
pub fn finish_with(mut child: Child, mut look: impl FnMut()) -> Outcome {
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (out, err) = std::thread::scope(|scope| {
        let read = |pipe: &mut dyn Read| {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).unwrap();
            String::from_utf8(text).expect("the program writes text")
        };
        let out = scope.spawn({
            let pipe = &mut pipes.0;
            move || read(pipe)
        });
        let err = scope.spawn({
            let pipe = &mut pipes.1;
            move || read(pipe)
        });
        let end = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            look();
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("the program is still at work after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        (out.join().unwrap(), err.join().unwrap())
    });
    let status = child.wait().unwrap();
    assert!(!err.contains("panicked"), "{err}");
    let code = status.code().unwrap_or_else(|| panic!("{status}: {err}"));
    let lines = out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let problems: Vec<_> = lines.filter(|line| line["type"] == "problem").collect();
    let text = |line: &serde_json::Value, field| line[field].as_str().unwrap_or_default().to_owned();
    let messages = problems.iter().map(|line| text(line, "message")).collect();
    Outcome { code, err, told: problems.iter().map(|line| text(line, "path")).collect(), messages, out }
}

impl Ground {
    fn new(root: PathBuf, user: bool) -> Self {
        let (target, canary) = (root.join("target"), root.join("canary"));
        for below in ["target", "canary/mine/sub", "canary/theirs/sub"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for place in ["mine", "theirs"] {
            let place = canary.join(place);
            for name in ["file", "sub/file", "sub/x", "setuid"] {
                fs::write(place.join(name), format!("canary {name}")).unwrap();
            }
            mode(&place.join("setuid"), 0o4711);
            mode(&place.join("sub"), 0o751);
            symlink("file", place.join("link")).unwrap();
            rustix::fs::lsetxattr(place.join("file"), "user.canary", b"sings", XATTR).unwrap();
        }
        if user {
            for path in ["target", "canary/mine", "canary/mine/sub", "canary/mine/file", "canary/mine/sub/x"]
            {
                chown(root.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Self { root, target, canary, user }
    }

    /// Reads everything around the target, with the times that nobody can set.
    pub fn outside(&self) -> (Tree, Inodes) {
        let tree = Tree::read(&self.canary);
        let inode = |path: &PathBuf| {
            let metadata = fs::symlink_metadata(self.canary.join(path)).unwrap();
            (metadata.ino(), metadata.nlink(), metadata.ctime(), metadata.ctime_nsec())
        };
        let inodes = tree.0.keys().map(|path| (path.clone(), inode(path))).collect();
        (tree, inodes)
    }

    /// Returns the place of an entry.
    pub fn place(&self, entry: &Entry) -> PathBuf {
        self.target.join(OsStr::from_bytes(&entry.path()))
    }

    /// Returns every entry that is not there as the archive has it, and why. `owners`: compare owners too.
    pub fn differing(&self, entries: &[Entry], owners: bool) -> Vec<(String, String)> {
        let mut groups = BTreeMap::new();
        let wrong = entries.iter().filter_map(|entry| {
            let why = self.differs(entry, owners, &mut groups)?;
            Some((String::from_utf8_lossy(&entry.path()).into_owned(), why))
        });
        wrong.collect()
    }

    fn differs(&self, entry: &Entry, owners: bool, groups: &mut BTreeMap<u8, u64>) -> Option<String> {
        let place = self.place(entry);
        let metadata = match fs::symlink_metadata(&place) {
            Ok(metadata) => metadata,
            Err(error) => return Some(format!("not there: {error}")),
        };
        let kind = metadata.mode() & 0o170_000;
        let device = |major, minor| rustix::fs::makedev(major, minor);
        let is = match &entry.what {
            What::File(bytes) => kind == 0o100_000 && fs::read(&place).unwrap() == *bytes,
            What::Hole(size) => kind == 0o100_000 && metadata.len() == *size && metadata.blocks() < 64,
            What::Directory => kind == 0o040_000,
            What::Link(target) => {
                kind == 0o120_000 && fs::read_link(&place).unwrap().as_os_str().as_bytes() == &target[..]
            }
            What::Fifo => kind == 0o010_000,
            What::Socket => kind == 0o140_000,
            What::Char(major, minor) => kind == 0o020_000 && metadata.rdev() == device(*major, *minor),
            What::Block(major, minor) => kind == 0o060_000 && metadata.rdev() == device(*major, *minor),
        };
        if !is {
            return Some(format!("another content or kind: {metadata:?}"));
        }
        if !matches!(entry.what, What::Link(_)) && metadata.mode() & 0o7777 != entry.mode {
            return Some(format!("mode {:o} instead of {:o}", metadata.mode() & 0o7777, entry.mode));
        }
        if owners && (metadata.uid(), metadata.gid()) != entry.owner {
            return Some(format!("owner {}:{} instead of {:?}", metadata.uid(), metadata.gid(), entry.owner));
        }
        if (metadata.mtime(), metadata.mtime_nsec()) != (entry.mtime, 7) {
            return Some(format!("time {} instead of {}", metadata.mtime(), entry.mtime));
        }
        let inode = entry.group.map(|group| *groups.entry(group).or_insert(metadata.ino()));
        if inode.is_some_and(|inode| inode != metadata.ino()) {
            return Some("not the same inode as the other names".into());
        }
        entry.xattrs.iter().find_map(|(name, value)| {
            let mut found = vec![0; value.len() + 1];
            let len = rustix::fs::lgetxattr(&place, &name[..], &mut found[..]);
            let same = len.is_ok_and(|len| found[..len] == value[..]);
            (!same).then(|| format!("attribute {}: {len:?}", name.escape_ascii()))
        })
    }

    /// Refuses files that a restore left under temporary names.
    pub fn assert_no_leftovers(&self, case: &str) {
        let mut left = vec![self.target.clone()];
        while let Some(path) = left.pop() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                !(name.starts_with(".dedup-") && name.ends_with(".tmp")),
                "{case}: {path:?} is left over"
            );
            if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }
}

/// Sets attributes whether they are there or not.
pub const XATTR: rustix::fs::XattrFlags = rustix::fs::XattrFlags::empty();
