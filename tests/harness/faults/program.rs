//! The real program, one of whose system calls fails: `strace -e inject`, at every call of every kind that touches
//! the repository, the source or the target of a restore. The repository is a directory.
//!
//! strace counts by thread, so the n-th call of each thread fails. That an error is one of the source or of the
//! repository, a full disk a full disk, and that a failed sync is never tried again is read from exit status, JSON
//! and the trace itself.

use super::traced::{Injection, Trace, run};
use crate::cli::support::{PROGRAM, is_root, skip};
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{Run, backup, check, create, open, restore_to};
use crate::support::{Scratch, copy_dir, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::storage::Storage;
use dedup_engine::storage::local::LocalStorage;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// What writes, and the errors that it may meet.
const WRITES: [&str; 9] =
    ["write", "fsync", "renameat2", "mkdirat", "unlinkat", "ftruncate", "fallocate", "syncfs", "linkat"];
const WRITE_ERRORS: [&str; 5] = ["ENOSPC", "EIO", "EDQUOT", "EINTR", "EAGAIN"];
/// What reads and looks, and the errors that it may meet.
const READS: [&str; 11] = [
    "openat",
    "read",
    "pread64",
    "newfstatat",
    "statx",
    "fstat",
    "getdents64",
    "lseek",
    "readlinkat",
    "flistxattr",
    "fchmod",
];
const READ_ERRORS: [&str; 3] = ["EIO", "EINTR", "EAGAIN"];

/// The commands that are disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Backup,
    Restore,
    Check,
    Init,
    KeyAdd,
    List,
}

const VERBS: [Verb; 6] = [Verb::Backup, Verb::Restore, Verb::Check, Verb::Init, Verb::KeyAdd, Verb::List];

/// A repository with a snapshot, and a tree that changed since; in memory, since everything is synced.
struct Bench {
    scratch: Scratch,
    oracle: Oracle,
    first: ObjectId,
    before: Arc<Tree>,
    now: Arc<Tree>,
    unlock: Unlock,
    count: u64,
}

/// A copy of it for one case.
struct Copy {
    at: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.at);
    }
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::in_memory();
        let (unlock, key) = Unlock::new_key_file().unwrap();
        let write_key = |name: &str, text: &str| {
            let path = scratch.path(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        };
        write_key("key", &key);
        write_key("new-key", &Unlock::new_key_file().unwrap().1);
        let root = scratch.dir("tree");
        trees::build_tiny(&root, 21);
        trees::write(&root.join("large"), &Random::new(21).bytes(150_000), 20);
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(scratch.path("repo")).unwrap());
        drop(create(storage.clone(), &unlock).unwrap());
        let repo = open(storage, &unlock, &scratch.path("index"), &Silent).unwrap();
        let first = backup(&repo, Run { tree: &root, moment: -3_000_000_000 }).unwrap().snapshot.unwrap();
        drop(repo);
        let mut oracle = Oracle::new(unlock.clone());
        let before = Arc::new(Tree::read(&root));
        oracle.commit(first, &root, before.clone());
        trees::write(&root.join("one"), &Random::new(22).text(5000), 30);
        trees::write(&root.join("new"), &Random::new(22).bytes(70_000), 31);
        let now = Arc::new(Tree::read(&root));
        Self { scratch, oracle, first, before, now, unlock, count: 0 }
    }

    /// Copies repository and index.
    fn copy(&mut self) -> Copy {
        self.count += 1;
        let at = self.scratch.dir(format!("case-{}", self.count));
        copy_dir(&self.scratch.path("repo"), &at.join("repo"));
        copy_dir(&self.scratch.path("index"), &at.join("index"));
        Copy { at }
    }

    fn command(&self, verb: Verb, copy: &Copy) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(&copy.at).env_clear();
        command.env("HOME", &copy.at).env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
        command.env("DEDUP_STATE_DIR", copy.at.join("state"));
        let key = self.scratch.path("key");
        let repo = if verb == Verb::Init { "fresh" } else { "repo" };
        if verb != Verb::Init {
            command.args(["-r", repo, "--index-dir", "index"]);
        }
        command.arg("--key-file").arg(key).args(["--json", "--threads", "1"]);
        let tree = self.scratch.path("tree");
        let from = format!("{}:{}", self.first, tree.display());
        match verb {
            Verb::Backup => command.args(["backup", "--host", "test"]).arg(&tree),
            Verb::Restore => command.args(["restore", &from, "--target", "back"]),
            Verb::Check => command.args(["check", "--read-data"]),
            Verb::Init => command.args(["init", repo]),
            Verb::KeyAdd => command.args(["key", "add", "--new-key-file"]).arg(self.scratch.path("new-key")),
            Verb::List => command.args(["ls", &from]),
        };
        command
    }

    /// Returns every point at which a call may fail: kind and number in its thread, by command.
    fn points(&mut self) -> Vec<(Verb, Injection)> {
        let mut points = Vec::new();
        for verb in VERBS {
            let copy = self.copy();
            let kinds: Vec<&str> = WRITES.into_iter().chain(READS).collect();
            let trace = run(self.command(verb, &copy), &kinds, None, &copy.at.join("trace"));
            assert_eq!(trace.code, 0, "{verb:?}: {}", trace.err);
            let places = ["repo", "fresh", "back"]
                .map(|place| copy.at.join(place))
                .map(|path| path.display().to_string());
            let tree = self.scratch.path("tree").display().to_string();
            let is_ours =
                |line: &str| line.contains(&tree) || places.iter().any(|place| line.contains(place));
            for (call, n) in trace.ordinals(is_ours) {
                let errors = if WRITES.contains(&&call[..]) { &WRITE_ERRORS[..] } else { &READ_ERRORS };
                for error in errors {
                    points.push((verb, Injection { call: call.clone(), error, n }));
                }
            }
        }
        points
    }

    /// Disturbs one run and judges what it said and left behind. Returns whether it said that all is done.
    fn judge(&mut self, verb: Verb, injection: &Injection) -> bool {
        let copy = self.copy();
        let case = format!("{verb:?}, {injection:?}");
        let mut kinds: Vec<&str> = vec![&injection.call, "fsync", "renameat2"];
        kinds.dedup();
        let trace = run(self.command(verb, &copy), &kinds, Some(injection), &copy.at.join("trace"));
        // The first calls of the first thread are those of the system's loader.
        if trace.code == 127 && trace.err.contains("error while loading shared libraries") {
            return false;
        }
        assert!(!trace.err.contains("panicked"), "{case}: {}", trace.err);
        self.assert_syncs_are_final(&trace, &copy, &case);
        self.assert_named_rightly(verb, injection, &trace, &copy, &case);
        match verb {
            Verb::Backup => self.judge_backup(&trace, &copy, &case),
            Verb::Restore if trace.code == 0 => {
                self.before.assert_same(&Tree::read(&copy.at.join("back")), &case);
            }
            Verb::Check => assert_ne!(trace.code, 6, "{case}: a call that fails is no damage: {}", trace.out),
            Verb::List if trace.code == 0 => {
                let entries = self.before.0.len();
                let said = trace.out.matches("\"path\"").count();
                assert_eq!(said, entries, "{case}: {}", trace.out);
            }
            Verb::Init => self.judge_init(&trace, &copy, &case),
            _ => {}
        }
        if matches!(verb, Verb::Restore | Verb::Check | Verb::List) {
            let same = files(&self.scratch.path("repo")) == files(&copy.at.join("repo"));
            assert!(same, "{case}: reading changed the repository");
        } else if verb == Verb::KeyAdd {
            self.judge_rest(&copy, &Disturbed::default(), &case);
        }
        trace.code == 0
    }

    fn judge_backup(&self, trace: &Trace, copy: &Copy, case: &str) {
        let summary = trace.summary();
        let id =
            summary.as_ref().and_then(|summary| summary["snapshot_id"].as_str()).and_then(ObjectId::from_hex);
        let told = id.filter(|_| matches!(trace.code, 0 | 3));
        assert_eq!(told.is_some(), matches!(trace.code, 0 | 3), "{case}: {} {}", trace.code, trace.out);
        let mut tree = self.now.clone();
        if let (3, Some(id)) = (trace.code, told) {
            let root = self.scratch.path("tree");
            if trace.problems().iter().any(|named| root.starts_with(named)) {
                return self.judge_older(copy, case);
            }
            tree = Arc::new(self.partial(id, trace, copy, case));
        }
        self.judge_rest(copy, &Disturbed { tree: Some(tree), told, ..Disturbed::default() }, case);
    }

    /// Nothing of the source could be read, and that was told; what was there before is whole.
    fn judge_older(&self, copy: &Copy, case: &str) {
        let storage = Arc::new(LocalStorage::open(copy.at.join("repo")).unwrap());
        let repo = open(storage, &self.unlock, &copy.at.join("index"), &Silent).unwrap();
        let target = copy.at.join("older");
        let report = restore_to(&repo, self.first, &self.scratch.path("tree"), &target).unwrap();
        assert_eq!(report.problems, [], "{case}");
        self.before.assert_same(&Tree::read(&target), case);
        let report = check(&repo).unwrap();
        assert!(report.is_sound(), "{case}: {:#?}", report.findings);
    }

    /// Restores a snapshot with gaps: whatever it lacks must have been named. Returns what it holds.
    fn partial(&self, id: ObjectId, trace: &Trace, copy: &Copy, case: &str) -> Tree {
        let tree = self.scratch.path("tree");
        let named = trace.problems();
        assert!(!named.is_empty(), "{case}: exit status 3, and nothing is named");
        let storage = Arc::new(LocalStorage::open(copy.at.join("repo")).unwrap());
        let repo = open(storage, &self.unlock, &copy.at.join("partial"), &Silent).unwrap();
        let target = copy.at.join("partially");
        restore_to(&repo, id, &tree, &target).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = Tree::read(&target);
        for (path, entry) in &self.now.0 {
            let is_named = named.iter().any(|named| tree.join(path).starts_with(named));
            let same = found.0.get(path) == Some(entry);
            assert!(same || is_named, "{case}: {path:?} differs and is not named: {named:?}");
        }
        found
    }

    fn judge_rest(&self, copy: &Copy, disturbed: &Disturbed, case: &str) {
        let storage = Arc::new(LocalStorage::open(copy.at.join("repo")).unwrap());
        let found = Found { storage, index: &copy.at.join("index") };
        let next = Run { tree: &self.scratch.path("tree"), moment: 20 };
        self.oracle.judge(found, disturbed, next, case);
    }

    /// After `init` there is a repository that opens, or the same command makes one.
    fn judge_init(&self, trace: &Trace, copy: &Copy, case: &str) {
        if trace.code != 0 {
            let again = run(self.command(Verb::Init, copy), &[], None, &copy.at.join("again"));
            assert!(matches!(again.code, 0 | 2), "{case}: a second init: {} {}", again.code, again.err);
        }
        let storage =
            LocalStorage::open(copy.at.join("fresh")).unwrap_or_else(|error| panic!("{case}: {error}"));
        let opened = open(Arc::new(storage), &self.unlock, &copy.at.join("fresh-index"), &Silent);
        assert!(opened.is_ok(), "{case}: {:?}", opened.err());
    }

    /// A sync that failed is the end of what was synced: it is not tried again, and gets no name.
    fn assert_syncs_are_final(&self, trace: &Trace, copy: &Copy, case: &str) {
        let repo = copy.at.join("repo").display().to_string();
        for path in trace.failed("fsync").into_iter().filter(|path| path.starts_with(&repo)) {
            assert_ne!(trace.code, 0, "{case}: success after a failed sync of {path}");
            // Of a folder another thread may be about to sync its own name at that moment.
            if !path.starts_with(&format!("{repo}/tmp/")) {
                continue;
            }
            let file = Path::new(&path).file_name().unwrap().to_str().unwrap().to_owned();
            let again = trace.after_failure("fsync", &path);
            let again = again.into_iter().find(|line| {
                let named = line.contains(&format!("<{path}>"));
                (line.contains("fsync(") && named) || (line.contains("renameat2(") && line.contains(&file))
            });
            assert_eq!(again, None, "{case}: {path} is used again after its sync failed");
        }
    }

    /// Exit status and kind fit what failed: a full disk is never the fault of a file that was read.
    fn assert_named_rightly(
        &self,
        verb: Verb,
        injection: &Injection,
        trace: &Trace,
        copy: &Copy,
        case: &str,
    ) {
        let allowed: &[i32] = match verb {
            Verb::Backup | Verb::Restore => &[0, 1, 2, 3, 10, 12],
            _ => &[0, 1, 2, 10, 12],
        };
        assert!(allowed.contains(&trace.code), "{case}: {} {}", trace.code, trace.err);
        let is_write = WRITES.contains(&&injection.call[..]);
        let repo = copy.at.join("repo").display().to_string();
        let hit = trace.injected();
        let in_repository = !hit.is_empty() && hit.iter().all(|line| line.contains(&repo));
        if is_write && in_repository {
            // A temporary file that cannot be removed is left, and is no object.
            assert!(matches!(trace.code, 0 | 1), "{case}: {} {}", trace.code, trace.err);
            let full = matches!(injection.error, "ENOSPC" | "EDQUOT");
            let said = trace.err.contains("\"no_space\"");
            assert!(!full || trace.code == 0 || said, "{case}: a full disk is called {}", trace.err);
        }
    }
}

/// Returns the files below a directory with their content.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false => drop(found.insert(
                    entry.path().strip_prefix(root).unwrap().to_owned(),
                    fs::read(entry.path()).unwrap(),
                )),
            }
        }
    }
    found
}

#[test]
fn a_system_call_that_fails_never_makes_a_false_success() {
    if !is_root() || Command::new("strace").arg("--version").output().is_err() {
        return skip("system calls can only be failed by root and with strace");
    }
    let mut bench = Bench::new();
    let points = bench.points();
    let all = points.len() as u64;
    let budget = Budget::of("R7 system calls that fail", 30, all);
    let mut counts: BTreeMap<Verb, (u64, u64)> = BTreeMap::new();
    budget.each(|case, random| {
        let place = if budget.cases() < all { random.below(all) } else { case };
        let (verb, injection) = points[place as usize].clone();
        let done = bench.judge(verb, &injection);
        let (runs, succeeded) = counts.entry(verb).or_default();
        (*runs, *succeeded) = (*runs + 1, *succeeded + u64::from(done));
    });
    budget.tell(&format!(
        "{} of {all} points, runs and successes by command {counts:?}: 0 lost, 0 false success",
        budget.cases()
    ));
}

/// Every file of the source, every call on it: the run ends with 3 and names it.
#[test]
fn a_source_that_cannot_be_read_is_named() {
    if !is_root() || Command::new("strace").arg("--version").output().is_err() {
        return skip("system calls can only be failed by root and with strace");
    }
    let mut bench = Bench::new();
    let budget = Budget::of("R7 source files that fail", 6, 24);
    budget.each(|case, _| {
        let file = bench.scratch.path("tree").join(["new", "one", "sub/two"][case as usize % 3]);
        let call = ["pread64", "openat", "fstat", "flistxattr"][case as usize / 3 % 4];
        let error = ["EIO", "ENOSPC"][case as usize / 12 % 2];
        let copy = bench.copy();
        let mut command = bench.command(Verb::Backup, &copy);
        command.args(["--parent", "none"]);
        let injection = Injection { call: call.into(), error, n: 1 };
        let case = format!("{injection:?} of {}", file.display());
        let trace = super::traced::run_on(command, &[call], &injection, &copy.at.join("trace"), &file);
        if trace.injected().is_empty() {
            // The program looks at this file by another call.
            assert_eq!(trace.code, 0, "{case}: {}", trace.err);
            return;
        }
        assert_eq!(trace.code, 3, "{case}: {}", trace.err);
        assert_eq!(trace.problems(), std::slice::from_ref(&file), "{case}: {}", trace.out);
        bench.judge_backup(&trace, &copy, &case);
    });
    budget.tell(&format!("{} cases: exit status 3, the file named, all others restore", budget.cases()));
}
