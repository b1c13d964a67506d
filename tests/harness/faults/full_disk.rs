//! Disks that are full: at every page that a backup would write, at every inode, and at every length of a file.

use super::traced::finish;
use crate::cli::support::PROGRAM;
use crate::support::budget::Budget;
use crate::support::compare::Tree;
use crate::support::mount::Mount;
use crate::support::oracle::{Disturbed, Found, Oracle};
use crate::support::random::Random;
use crate::support::world::{Run, backup, create, open};
use crate::support::{Scratch, copy_dir, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::progress::Silent;
use dedup_engine::storage::Storage;
use dedup_engine::storage::local::LocalStorage;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// Bytes of a page, the unit of a tmpfs.
const PAGE: u64 = 4096;

/// Returns the pages and inodes in use.
fn used(disk: &Mount) -> (u64, u64) {
    let stat = rustix::fs::statvfs(disk.path()).unwrap();
    let bytes = (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
    (bytes.div_ceil(PAGE), stat.f_files - stat.f_ffree)
}

/// A repository with a snapshot, to be copied to a disk that is full soon, and a tree that changed since.
struct Bench {
    scratch: Scratch,
    oracle: Oracle,
    unlock: Unlock,
    now: Arc<Tree>,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::in_memory();
        let (unlock, key) = Unlock::new_key_file().unwrap();
        fs::write(scratch.path("key"), &*key).unwrap();
        fs::set_permissions(scratch.path("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let root = scratch.dir("tree");
        trees::build_tiny(&root, 31);
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(scratch.path("repo")).unwrap());
        drop(create(storage.clone(), &unlock).unwrap());
        let repo = open(storage, &unlock, &scratch.path("index"), &Silent).unwrap();
        let first = backup(&repo, Run { tree: &root, moment: 0 }).unwrap().snapshot.unwrap();
        drop(repo);
        let mut oracle = Oracle::new(unlock.clone());
        oracle.commit(first, &root, Arc::new(Tree::read(&root)));
        trees::write(&root.join("new"), &Random::new(31).bytes(200_000), 31);
        trees::write(&root.join("one"), &Random::new(32).text(3000), 32);
        let now = Arc::new(Tree::read(&root));
        Self { scratch, oracle, unlock, now }
    }

    /// Backs up into the repository at `repo`, by a shell that may set a limit first.
    fn backup(&self, repo: &Path, limit: &str) -> Output {
        // Each run is of a machine that was never here: the repository is set back between them.
        let (index, state) = (self.scratch.path("own-index"), self.scratch.path("own-state"));
        let _ = (fs::remove_dir_all(&index), fs::remove_dir_all(&state));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit} exec \"$0\" \"$@\""), PROGRAM]).arg("-r").arg(repo);
        command.arg("--index-dir").arg(&index).arg("--key-file").arg(self.scratch.path("key"));
        command.args(["--json", "backup"]).arg(self.scratch.path("tree"));
        command.env_clear().env("HOME", self.scratch.path("")).env("PATH", "/usr/bin:/bin");
        command.env("DEDUP_STATE_DIR", &state);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        finish(command.spawn().unwrap())
    }

    /// Judges a run on a disk that `more_room` then enlarges. Returns whether it was told to have succeeded.
    fn judge(
        &self,
        repo: &Path,
        output: &Output,
        kinds: &[&str],
        more_room: impl FnOnce(),
        case: &str,
    ) -> bool {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().unwrap_or_else(|| panic!("{case}: {} {err}", output.status));
        assert!(matches!(code, 0 | 1), "{case}: exit status {code}: {err}");
        if code == 1 {
            let error: serde_json::Value = serde_json::from_str(err.lines().last().unwrap_or(""))
                .unwrap_or_else(|e| panic!("{case}: {e} {err}"));
            assert!(kinds.contains(&error["kind"].as_str().unwrap()), "{case}: {error}");
            assert!(!out.contains("\"problem\""), "{case}: a full disk is no fault of the source: {out}");
        }
        more_room();
        let summary =
            out.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let told =
            summary.as_ref().and_then(|summary| summary["snapshot_id"].as_str()).and_then(ObjectId::from_hex);
        assert_eq!(told.is_some(), code == 0, "{case}: {out}");
        let scratch = Scratch::in_memory();
        let storage = Arc::new(LocalStorage::open(repo).unwrap());
        let found = Found { storage, index: &scratch.path("index") };
        let disturbed = Disturbed { tree: Some(self.now.clone()), told, ..Disturbed::default() };
        let next = Run { tree: &self.scratch.path("tree"), moment: 20 };
        self.oracle.judge(found, &disturbed, next, case);
        code == 0
    }
}

/// Fills the disk after `case` more units than there were before the run, `options` of so many units.
fn fill(figure: &'static str, usual: u64, options: impl Fn(u64) -> String, used: fn(&Mount) -> u64) {
    let bench = Bench::new();
    let repo = |disk: &Mount| disk.path().join("repo");
    let Some(disk) = Mount::tmpfs(&bench.scratch.path("roomy"), "size=64m") else { return };
    copy_dir(&bench.scratch.path("repo"), &repo(&disk));
    let before = used(&disk);
    assert!(bench.backup(&repo(&disk), "").status.success());
    let needed = used(&disk) - before;
    drop(disk);
    // Beyond what is left in the end, room for temporary files.
    let all = needed + 2;
    let budget = Budget::of(figure, usual, all);
    let (mut failed, mut number) = (0, 0);
    budget.each(|case, random| {
        let room = if budget.cases() < all { random.below(all) } else { case };
        number += 1;
        let disk = Mount::tmpfs(&bench.scratch.path(format!("disk-{number}")), "size=64m").unwrap();
        copy_dir(&bench.scratch.path("repo"), &repo(&disk));
        disk.remount(&options(used(&disk) + room));
        let output = bench.backup(&repo(&disk), "");
        let more_room = || disk.remount("size=64m,nr_inodes=100000");
        let case = format!("room for {room} of {needed}");
        failed += u64::from(!bench.judge(&repo(&disk), &output, &["no_space"], more_room, &case));
    });
    budget.tell(&format!(
        "{} of {all} points: {failed} runs ended with 1 and no_space, the others succeeded; 0 lost, 0 false success",
        budget.cases()
    ));
}

#[test]
fn a_disk_can_be_full_at_every_page() {
    let size = |pages: u64| format!("size={}k", pages * PAGE / 1024);
    fill("R6 disk full, by page", 8, size, |disk| used(disk).0);
}

#[test]
fn a_disk_can_be_out_of_inodes_at_every_file() {
    fill("R6 disk full, by inode", 6, |inodes| format!("nr_inodes={inodes}"), |disk| used(disk).1);
}

/// A file that may not grow any longer: the system writes a part of the bytes, and refuses the next call.
#[test]
fn a_write_can_be_short_at_every_length() {
    let bench = Bench::new();
    let budget = Budget::of("R7 short writes", 6, 120);
    let mut failed = 0;
    budget.each(|number, random| {
        let scratch = Scratch::in_memory();
        copy_dir(&bench.scratch.path("repo"), &scratch.path("repo"));
        // In blocks of 512 bytes; the index needs some of them, too.
        let blocks = 1 + random.below(if number % 2 == 0 { 20 } else { 450 });
        let output = bench.backup(&scratch.path("repo"), &format!("trap '' XFSZ; ulimit -f {blocks};"));
        let case = format!("files of at most {blocks} blocks of 512 bytes");
        let done = bench.judge(&scratch.path("repo"), &output, &["io", "no_space", "internal"], || {}, &case);
        failed += u64::from(!done);
    });
    budget.tell(&format!("{} cases, {failed} runs failed, 0 lost, 0 false success", budget.cases()));
}

/// A full index is not a full repository, but is no success either.
#[test]
fn a_full_disk_under_the_index_is_told_and_heals() {
    let bench = Bench::new();
    let scratch = Scratch::in_memory();
    copy_dir(&bench.scratch.path("repo"), &scratch.path("repo"));
    let Some(disk) = Mount::tmpfs(&bench.scratch.path("own-index"), "size=64k") else { return };
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(scratch.path("repo")).unwrap());
    let run = Run { tree: &bench.scratch.path("tree"), moment: 10 };
    let told = match open(storage.clone(), &bench.unlock, &disk.path().join("index"), &Silent) {
        Ok(repo) => backup(&repo, run).map(|report| report.snapshot.unwrap()).map_err(|error| error.kind()),
        Err(error) => Err(error.kind()),
    };
    assert_eq!(told, Err(Kind::NoSpace), "64 KiB do not hold an index");
    disk.remount("size=64m");
    let found = Found { storage, index: &disk.path().join("index") };
    let disturbed = Disturbed { tree: Some(bench.now.clone()), told: None, ..Disturbed::default() };
    bench.oracle.judge(found, &disturbed, Run { moment: 20, ..run }, "a full index");
}
