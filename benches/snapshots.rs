//! A repository with many snapshots: what it takes to open it and to list them.
//!
//! `cargo bench --bench snapshots [-- COUNT DIRECTORY]`, 10,000 below the system's temporary directory. Three rounds each, with
//! what is stored in the system's cache. Opening does not stretch a passphrase: that time is its own.

use dedup_engine::backup::{self, BackupRequest, Parent, RunRequest};
use dedup_engine::compress::Level;
use dedup_engine::crypto::slot::{KdfParams, Unlock};
use dedup_engine::listing::Time;
use dedup_engine::progress::Silent;
use dedup_engine::repo::{Repository, Settings};
use dedup_engine::storage::local::LocalStorage;
use dedup_modules::files::{FilesOptions, FilesSource};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the program allows itself by default.
const MEMORY: u64 = 256 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let count: i64 = arguments.next().map_or(10_000, |count| count.parse().expect("COUNT is a number"));
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).expect("a directory is made");
    let (tree, place, index) = (dir.path().join("tree"), dir.path().join("repo"), dir.path().join("index"));
    std::fs::create_dir(&tree).expect("a tree is made");

    let unlock = Unlock::new_key_file().expect("there is chance").0;
    let storage = Arc::new(LocalStorage::create(&place).expect("a directory is made"));
    let no_kdf = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };
    let mut repo = Repository::create(storage, &unlock, &no_kdf, "", &Settings::default(), 1_700_000_000)
        .expect("a repository is made");
    repo.attach_index(&index, &Silent).expect("its index is made");
    let start = Instant::now();
    for moment in 0..count {
        store(&repo, &tree, moment);
    }
    drop(repo);
    println!("{count} snapshots made in {:.1} s", start.elapsed().as_secs_f64());

    for round in 1..=3 {
        let start = Instant::now();
        let storage = Arc::new(LocalStorage::open(&place).expect("it is there"));
        let mut repo = Repository::open(storage, &unlock, MEMORY).expect("it opens");
        let opened = start.elapsed();
        let listed = repo.snapshots().expect("it is whole").len();
        let all = start.elapsed();
        assert_eq!(listed as i64, count);
        repo.attach_index(&index, &Silent).expect("its index is there");
        println!(
            "round {round}: open {:.3} s, list {:.3} s, index {:.3} s",
            opened.as_secs_f64(),
            (all - opened).as_secs_f64(),
            (start.elapsed() - all).as_secs_f64()
        );
    }
}

/// Backs up a tree of one file that changes each time.
fn store(repo: &Repository, tree: &Path, moment: i64) {
    std::fs::write(tree.join("file"), moment.to_string()).expect("a file is written");
    let start = Instant::now();
    let elapsed = move || -> Duration { start.elapsed() };
    let source =
        FilesSource::new(&[tree.to_owned()], FilesOptions::new(std::env::temp_dir())).expect("it is there");
    let run = RunRequest {
        time: Time { secs: 1_700_000_000 + moment * 3600, nanos: 0 },
        utc_offset_minutes: 0,
        host: "bench".into(),
        user: "bench".into(),
        program: "bench".into(),
        tags: Vec::new(),
        comment: String::new(),
        level: Level::Auto,
        threads: 1,
        dry_run: false,
        elapsed: &elapsed,
    };
    let sources = vec![tree.as_os_str().as_bytes().to_vec()];
    let request = BackupRequest { run, module: "files".into(), sources, parent: Parent::None };
    backup::run(repo, &source, &request, &Silent).expect("it is stored");
}
