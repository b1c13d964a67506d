//! Runs `dedup` in a home directory of its own, and compares directory trees.

use crate::support::planted::VARIABLE;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_dedup");

/// A directory with a home, and a repository `repo` that opens with the key file `key`.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a run of the program left behind.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub out_bytes: Vec<u8>,
}

impl Place {
    /// Makes a place without a repository.
    pub fn empty() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// Makes a place without a repository, below the home directory of whoever runs the tests: as root, files that
    /// decide what is done are read nowhere below `/tmp`.
    pub fn private() -> Self {
        let home = std::env::var_os("HOME").expect("a home directory");
        Self::within(tempfile::tempdir_in(home).unwrap())
    }

    fn within(dir: tempfile::TempDir) -> Self {
        let place = Self { dir };
        // Open to the user `nobody` too, as which some tests run the program.
        fs::set_permissions(place.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::DirBuilder::new().mode(0o700).create(place.path("home")).unwrap();
        place
    }

    /// Makes a place with a repository, which `DEDUP_REPO` and `DEDUP_KEY_FILE` name.
    pub fn new() -> Self {
        let place = Self::empty();
        place.run(["init", "--key-file", "key", "repo"]).ok();
        place
    }

    /// Makes a place with a repository and one snapshot of [`small_tree`] in `src`.
    pub fn with_snapshot() -> Self {
        let place = Self::new();
        small_tree(&place.path("src"));
        place.run(["backup", "src"]).ok();
        place
    }

    /// Returns a path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the program, ready to run here; the repository is known to it if it is there.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        if let Some(bug) = std::env::var_os(VARIABLE) {
            command.env(VARIABLE, bug);
        }
        command.env("HOME", self.path("home")).env("DEDUP_STATE_DIR", self.path("state"));
        command.env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
        if self.path("repo/config").exists() && self.path("key").exists() {
            command.env("DEDUP_REPO", self.path("repo")).env("DEDUP_KEY_FILE", self.path("key"));
        }
        command
    }

    /// Runs the program with nothing on its standard input.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        finish(self.command(arguments), b"")
    }

    /// Returns the id of the newest snapshot of any host.
    pub fn newest(&self) -> String {
        let list = self.run(["snapshots", "--json"]).ok().json();
        list["snapshots"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Checks all data; for what must be sound.
    pub fn assert_sound(&self) {
        let check = self.run(["check", "--read-data"]).ok();
        assert!(check.out.contains("no damage was found"), "{}", check.out);
    }

    /// Restores the newest snapshot and compares it with `src`.
    pub fn assert_restores(&self) {
        let target = self.path(format!("restored-{}", fs::read_dir(self.dir.path()).unwrap().count()));
        let from = format!("{}:{}", self.newest(), self.path("src").display());
        self.run([OsStr::new("restore"), from.as_ref(), "--target".as_ref(), target.as_ref()]).ok();
        assert_eq!(tree(&target), tree(&self.path("src")));
    }
}

/// Runs a command to its end.
pub fn finish(command: Command, input: &[u8]) -> Run {
    wait(start(command), input)
}

/// Starts a command with pipes on all sides.
pub fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits for the end of a child; a panic or an unexpected signal fails the test, whatever it waits for.
pub fn wait(mut child: Child, input: &[u8]) -> Run {
    // A program that ends without reading it is right too.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).expect("standard error is text");
    assert!(!err.contains("panicked"), "{err}");
    let code = output.status.code().unwrap_or_else(|| panic!("{}: {err}", output.status));
    Run { code, out: String::from_utf8_lossy(&output.stdout).into_owned(), err, out_bytes: output.stdout }
}

impl Run {
    /// Asserts that it ended with this status.
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Asserts success.
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    /// Asserts that standard error says all this.
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing in:\n{}", self.err);
        }
        self
    }

    /// Asserts that the results have these words.
    pub fn shows(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out.contains(word), "{word:?} is missing in:\n{}", self.out);
        }
        self
    }

    /// Asserts that nothing was said beside the results.
    pub fn quiet(self) -> Self {
        assert_eq!(self.err, "");
        self
    }

    /// Returns standard output as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.out))
    }

    /// Returns standard output as a stream of JSON objects, one a line.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(parse).collect()
    }

    /// Returns the summary of a stream: its last object.
    pub fn summary(&self) -> serde_json::Value {
        let last = self.json_lines().pop().expect("a summary");
        assert_eq!(last["type"], "summary");
        last
    }
}

/// Returns the packs of a kind in a repository's directory, sorted.
pub fn packs(repo: &Path, kind: u8) -> Vec<PathBuf> {
    let files = tree(&repo.join("packs")).into_keys().map(|path| repo.join("packs").join(path));
    files.filter(|path| path.is_file() && fs::read(path).unwrap().get(7) == Some(&kind)).collect()
}

/// Changes a bit in the middle of a file.
pub fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What is compared of an entry: kind and mode, modification time, content or target of a link.
pub type Entry = (u32, (i64, i64), Vec<u8>);

/// Reads a directory tree: path below it → what is compared.
pub fn tree(dir: &Path) -> BTreeMap<OsString, Entry> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content = if meta.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        if path != dir {
            let name = path.strip_prefix(dir).unwrap().as_os_str().to_owned();
            found.insert(name, (meta.mode(), (meta.mtime(), meta.mtime_nsec()), content));
        }
    }
    found
}

/// Returns bytes that do not compress and are the same for the same seed (xorshift64, Marsaglia 2003).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Writes a small tree of files, directories and links.
pub fn small_tree(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deeper")).unwrap();
    fs::write(dir.join("text"), "the same line again and again\n".repeat(500)).unwrap();
    fs::write(dir.join("noise"), noise(1, 40_000)).unwrap();
    fs::write(dir.join("sub/empty"), "").unwrap();
    fs::write(dir.join("sub/deeper/file"), "deep").unwrap();
    std::os::unix::fs::symlink("../text", dir.join("sub/link")).unwrap();
}

/// Tells that a test could not be carried out here: in a way that nobody overlooks.
pub fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
}

/// Returns whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub use std::os::unix::fs::PermissionsExt;
