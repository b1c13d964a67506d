//! The real program with all it needs in one folder, and the judgement of what it left there.

use crate::cli::support::PROGRAM;
use crate::support::compare::{Holds, Tree};
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::world::{Run, open_keys};
use crate::support::{Scratch, copy_dir, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::storage::local::LocalStorage;
use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any run here may take, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with repository, key files, index and home.
pub struct Station {
    root: PathBuf,
    index: PathBuf,
}

/// What a run said and how it ended; without a code if it was killed.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Where a run writes what it says.
pub struct Outputs {
    out: fs::File,
    err: fs::File,
}

impl Outputs {
    /// Sends a command's outputs to files without a name.
    pub fn of(command: &mut Command) -> Self {
        let files = Self { out: tempfile::tempfile().unwrap(), err: tempfile::tempfile().unwrap() };
        let stdio = |file: &fs::File| Stdio::from(file.try_clone().unwrap());
        command.stdin(Stdio::null()).stdout(stdio(&files.out)).stderr(stdio(&files.err));
        files
    }

    /// Returns what was said; a panic is never right.
    #[track_caller]
    pub fn read(self, code: Option<i32>) -> Said {
        let text = |mut file: fs::File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (out, err) = (text(self.out), text(self.err));
        assert!(!err.contains("panicked"), "{err}");
        Said { code, out, err }
    }
}

impl Said {
    /// Asserts success.
    #[track_caller]
    pub fn ok(self, case: &str) -> Self {
        assert_eq!(self.code, Some(0), "{case}:\n{}{}", self.out, self.err);
        self
    }

    /// Returns the document that was printed.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }

    /// Returns the snapshot that a backup called saved, if it came so far.
    pub fn snapshot(&self) -> Option<ObjectId> {
        let (_, rest) = self.out.rsplit_once("\"snapshot_id\":\"")?;
        ObjectId::from_hex(rest.get(..64)?)
    }
}

impl Station {
    /// Names the folder of a station, which is made, with the index in it.
    pub fn new(root: PathBuf) -> Self {
        let index = root.join("index");
        Self::with_index(root, index)
    }

    /// The same with its index elsewhere, as on another disk.
    pub fn with_index(root: PathBuf, index: PathBuf) -> Self {
        fs::create_dir_all(root.join("home")).unwrap();
        Self { root, index }
    }

    /// Returns a copy below `scratch`, its index too.
    pub fn copy(&self, scratch: &Scratch) -> Self {
        let copy = Self::new(scratch.path("station"));
        copy_dir(&self.root, &copy.root);
        if self.index.is_dir() {
            copy_dir(&self.index, &copy.index);
        }
        copy
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns the folder of all indexes.
    pub fn indexes(&self) -> &Path {
        &self.index
    }

    /// Returns the folder of what the machine remembers: beside the index, so on another disk if that is, where what is
    /// synced makes nothing durable here.
    pub fn state(&self) -> PathBuf {
        self.index.with_file_name("state")
    }

    /// Returns the program with these arguments after `wrapper`, opening the repository by the key file `key`.
    pub fn command(&self, wrapper: &[&str], key: &str, args: &[String]) -> Command {
        let mut words = wrapper.iter().chain([&PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(args).arg("--key-file").arg(self.path(key)).args(["--threads", "2"]);
        command.arg("--repo").arg(self.path("repo")).arg("--index-dir").arg(&self.index);
        command.env_clear().env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
        command.env("DEDUP_STATE_DIR", self.state()).current_dir("/");
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, key: &str, args: &[String]) -> Said {
        let mut command = self.command(&[], key, args);
        let outputs = Outputs::of(&mut command);
        let child = command.spawn().unwrap();
        outputs.read(wait(child))
    }

    /// Returns what the program lists of each snapshot.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<serde_json::Value> {
        let list = self.run("key", &words(&["snapshots", "--json"])).ok("snapshots").json();
        list["snapshots"].as_array().unwrap().clone()
    }

    /// Reads a key file, if it is there and whole.
    pub fn key(&self, name: &str) -> Option<Unlock> {
        Unlock::read_key_file(&fs::read_to_string(self.path(name)).ok()?).ok()
    }

    /// Opens the repository by a key file and says what came of it.
    pub fn open_by(&self, name: &str) -> Result<(), String> {
        let unlock = self.key(name).ok_or_else(|| format!("there is no key file {name}"))?;
        let storage = LocalStorage::open(self.path("repo")).map_err(|error| error.to_string())?;
        open_keys(Arc::new(storage), &unlock).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Returns whether there is no repository yet, and nothing that is in the way of making one.
    #[track_caller]
    fn is_absent(&self, key: &str) -> bool {
        let Ok(storage) = LocalStorage::open(self.path("repo")) else { return true };
        let Some(unlock) = self.key(key) else { return true };
        matches!(open_keys(Arc::new(storage), &unlock), Err(error) if error.kind() == Kind::NoRepository)
    }

    /// What follows an `init` that was not called done: there is a repository, or one can be made.
    #[track_caller]
    pub fn init_goes_on(&self, case: &str) {
        if self.is_absent("key") {
            self.run("key", &init()).ok(&format!("{case}: init again"));
        }
        self.open_by("key").unwrap_or_else(|error| panic!("{case}: after init: {error}"));
    }

    /// Judges the repository as the oracle does; with the index that was left behind, or without one.
    #[track_caller]
    pub fn judge(&self, oracle: &Oracle, disturbed: &Disturbed, tree: &Path, has_index: bool, case: &str) {
        let storage = LocalStorage::open(self.path("repo"));
        let storage = storage.unwrap_or_else(|error| panic!("{case}: {error}"));
        let lost = self.path("no-index");
        let left =
            fs::read_dir(&self.index).ok().and_then(|mut all| all.next()).map(|dir| dir.unwrap().path());
        let index = left.filter(|_| has_index).unwrap_or(lost);
        let found = Found { storage: Arc::new(storage), index: &index };
        oracle.judge(found, disturbed, Run { tree, moment: 1 }, case);
    }

    /// Judges by the program alone: everything that was committed restores, and the next backup works.
    #[track_caller]
    pub fn judge_by_program(&self, committed: &[(ObjectId, Arc<Tree>)], tree: &Path, key: &str, case: &str) {
        self.run(key, &words(&["check", "--read-data"])).ok(case);
        let list = self.run(key, &words(&["snapshots", "--json"])).ok(case).out;
        for (id, expected) in committed {
            assert!(list.contains(&id.to_hex()), "{case}: snapshot {} is not listed", id.short());
            let out = Scratch::for_trees();
            let args = restore(*id, tree, &out.path("out"));
            self.run(key, &args).ok(case);
            expected.assert_same(&Tree::read(&out.path("out")), case);
        }
        let next = self.run(key, &backup(tree)).ok(case);
        assert!(next.snapshot().is_some(), "{case}: {}", next.out);
        self.run(key, &words(&["check", "--read-data"])).ok(case);
    }
}

/// Waits for a child and returns its code, or none if a signal ended it.
#[track_caller]
pub fn wait(mut child: Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("a run did not end in {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns arguments.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Reads an id as the program writes it.
#[track_caller]
pub fn id_in(value: &serde_json::Value) -> ObjectId {
    ObjectId::from_hex(value.as_str().unwrap()).unwrap()
}

/// Returns the arguments that make a repository of small packs.
pub fn init() -> Vec<String> {
    words(&["init", "--chunk-size", "16K", "--pack-size", "1M"])
}

/// Returns the arguments that back up a tree.
pub fn backup(tree: &Path) -> Vec<String> {
    words(&["backup", "--json", tree.to_str().unwrap()])
}

/// Returns the arguments that restore a tree.
pub fn restore(snapshot: ObjectId, tree: &Path, target: &Path) -> Vec<String> {
    let from = format!("{}:{}", snapshot.to_hex(), tree.display());
    words(&["restore", &from, "--target", target.to_str().unwrap()])
}

/// Builds a tree of all kinds of entries that fills three packs.
pub fn build_tree(root: &Path, seed: u64) {
    trees::build_small(root, seed);
    let random = &mut crate::support::random::Random::new(seed);
    trees::write(&root.join("more"), &random.bytes(2_200_000), 1_500_000_009);
    trees::set_mtime(root, 1_000_000_000, 0);
}

/// Changes it so that another pack is filled.
pub fn change_tree(root: &Path, seed: u64) {
    trees::change(root, seed);
    change_again(root, seed);
}

/// The same for a tree that was changed before.
pub fn change_again(root: &Path, seed: u64) {
    let random = &mut crate::support::random::Random::new(seed ^ 0xC4A6);
    let mtime = 1_500_000_010 + seed as i64;
    trees::write(&root.join("more yet"), &random.bytes(400_000), mtime);
    trees::set_mtime(root, 1_000_000_002, 0);
}

/// Compares what a restore made that was interrupted before and went on, with a target that was not there at first.
///
/// To the run that goes on the target directory is one that was there before, which keeps its own metadata.
#[track_caller]
pub fn assert_resumed(expected: &Tree, target: &Path, case: &str) {
    let but_the_target = |mut tree: Tree| {
        tree.0.remove(Path::new(""));
        tree
    };
    but_the_target(expected.clone()).assert_same(&but_the_target(Tree::read(target)), case);
}

/// Flips a bit in the end of the longest object of a family.
pub fn rot(at: &Station, family: &str) {
    let mut found = Vec::new();
    let mut folders = vec![at.path("repo").join(family)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    let path = found.into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
}

/// Whatever has its final name is whole.
#[track_caller]
pub fn assert_whole_or_temporary(target: &Path, expected: &Tree, case: &str) {
    if !target.exists() {
        return;
    }
    for (path, entry) in Tree::read(target).0 {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(".dedup-") && name.ends_with(".tmp") {
            continue;
        }
        let whole =
            expected.0.get(&path).unwrap_or_else(|| panic!("{case}: {path:?} is not of the snapshot"));
        // A directory is filled and gets its metadata last.
        let is_same = entry.holds == whole.holds || matches!(entry.holds, Holds::Directory);
        assert!(is_same, "{case}: {path:?} is {:?}, not {:?}", entry.holds, whole.holds);
    }
}
