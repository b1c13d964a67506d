//! A repository with many snapshots: what making one more of them takes, opening it, listing them, a backup that finds its
//! parent among them.
//!
//! `cargo bench --bench snapshots [-- COUNT DIRECTORY]`, 10,000 below the system's temporary directory. They are of five
//! machines, made by the library with log and index as the program keeps them; then the program itself is timed, with a key
//! file (stretching a passphrase is a time of its own), three rounds each, with what is stored in the system's cache.

use dedup_engine::backup::{self, BackupRequest, Parent, RunRequest};
use dedup_engine::compress::Level;
use dedup_engine::crypto::slot::{KdfParams, Unlock};
use dedup_engine::listing::Time;
use dedup_engine::log::MemoryFile;
use dedup_engine::progress::Silent;
use dedup_engine::repo::{Repository, Settings};
use dedup_engine::storage::local::LocalStorage;
use dedup_modules::files::{FilesOptions, FilesSource};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
/// When the first was made.
const BEGIN: i64 = 1_700_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let count: i64 = arguments.next().map_or(10_000, |count| count.parse().expect("COUNT is a number"));
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).expect("a directory is made");
    let place = Place::new(dir.path());
    make(&place, count);

    let witness = place.state.join("witness");
    place.measure("snapshots", &["snapshots"], count, &|| {});
    place.measure("snapshots --json", &["snapshots", "--json"], count, &|| {});
    let forget = || std::fs::remove_dir_all(&witness).expect("it is there");
    place.measure("snapshots, at first contact", &["snapshots"], count, &forget);
    let tree = place.tree.to_str().expect("it is UTF-8");
    place.measure("backup, nothing changed", &["backup", tree], count, &|| {});
    place.measure("backup of another path", &["backup", "/etc/hostname"], count, &|| {});
}

/// Where everything is.
struct Place {
    tree: PathBuf,
    repo: PathBuf,
    index: PathBuf,
    state: PathBuf,
    key: PathBuf,
    unlock: Unlock,
}

impl Place {
    fn new(dir: &Path) -> Self {
        let (unlock, text) = Unlock::new_key_file().expect("there is chance");
        let key = dir.join("key");
        let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&key);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a key file is written");
        let tree = dir.join("tree");
        std::fs::create_dir(&tree).expect("a tree is made");
        for number in 0..20 {
            std::fs::write(tree.join(format!("same {number}")), number.to_string())
                .expect("a file is written");
        }
        let [repo, index, state] = ["repo", "index", "state"].map(|name| dir.join(name));
        Self { tree, repo, index, state, key, unlock }
    }

    /// Times the program, `before` aside.
    fn measure(&self, what: &str, arguments: &[&str], count: i64, before: &dyn Fn()) {
        let times: Vec<String> = (0..ROUNDS)
            .map(|_| {
                before();
                let mut command = Command::new(env!("CARGO_BIN_EXE_dedup"));
                command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
                command.env("DEDUP_REPO", &self.repo).env("DEDUP_KEY_FILE", &self.key);
                command.env("DEDUP_INDEX_DIR", &self.index).env("DEDUP_STATE_DIR", &self.state);
                let start = Instant::now();
                let status = command.status().expect("the program starts");
                let took = start.elapsed();
                assert!(status.success(), "{what}: {status}");
                format!("{:.3}", took.as_secs_f64())
            })
            .collect();
        println!("{what}, {count} snapshots: {} s", times.join(", "));
    }
}

/// Makes snapshots, an hour apart.
fn make(place: &Place, count: i64) {
    let storage = Arc::new(LocalStorage::create(&place.repo).expect("a directory is made"));
    let no_kdf = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };
    let settings = Settings::default();
    let mut repo = Repository::create(storage, &place.unlock, &no_kdf, "", &settings, BEGIN)
        .expect("a repository is made");
    let name = repo.id().to_hex();
    let this = nix::unistd::gethostname().expect("it has a name").to_string_lossy().into_owned();
    let memory = MemoryFile::new(place.state.join("witness").join(&name));
    repo.attach_log(Some(memory), &this, Time { secs: BEGIN, nanos: 0 }, &Silent).expect("its log is read");
    repo.attach_index(&place.index.join(&name), &Silent).expect("its index is made");
    let hosts = [&this[..], "web1", "web2", "mail", "files"];
    let (start, mut told) = (Instant::now(), Duration::ZERO);
    for (moment, host) in (0..count).zip(hosts.iter().cycle()) {
        store(&repo, &place.tree, host, moment);
        if (moment + 1) % (count / 5).max(1) == 0 {
            let now = start.elapsed();
            let each = (now - told).as_secs_f64() * 1000.0 / (count / 5).max(1) as f64;
            println!(
                "{} snapshots made in {:.1} s, the last ones in {each:.1} ms each",
                moment + 1,
                now.as_secs_f64()
            );
            told = now;
        }
    }
}

/// Backs up a small tree of which one file changes each time.
fn store(repo: &Repository, tree: &Path, host: &str, moment: i64) {
    std::fs::write(tree.join("file"), moment.to_string()).expect("a file is written");
    let start = Instant::now();
    let elapsed = move || -> Duration { start.elapsed() };
    let source =
        FilesSource::new(&[tree.to_owned()], FilesOptions::new(std::env::temp_dir())).expect("it is there");
    let run = RunRequest {
        time: Time { secs: BEGIN + moment * 3600, nanos: 0 },
        utc_offset_minutes: 0,
        host: host.into(),
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
