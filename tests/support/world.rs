//! A repository and all that a run needs around it.

use super::compare::Tree;
use super::hooked::Hooked;
use super::memory_sink::MemorySink;
use super::{Scratch, TestEvents};
use dedup_engine::backup::source::Source;
use dedup_engine::backup::{self, BackupError, BackupReport, BackupRequest, Parent, RunRequest};
use dedup_engine::check::{self, CheckError, CheckOptions, CheckReport, ReadData};
use dedup_engine::chunker::ChunkSizes;
use dedup_engine::compress::Level;
use dedup_engine::crypto::slot::{KdfParams, Unlock};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::{StoredPath, Time};
use dedup_engine::progress::{Events, Silent};
use dedup_engine::repo::{Budget, RepoError, Repository, Settings};
use dedup_engine::restore::{self, RestoreError, RestoreReport, RestoreRequest};
use dedup_engine::snapshot::Section;
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Name, Storage};
use dedup_modules::files::{FilesOptions, FilesSink, FilesSource, SinkOptions};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The least there is.
const MEMORY: u64 = Budget::LEAST_BYTES;
/// Key files need no stretching.
pub const NO_KDF: KdfParams = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };

/// Small chunks and packs, so that small trees have many of them.
pub fn small_chunks() -> Settings {
    Settings {
        chunks: ChunkSizes {
            min: 256,
            avg: 1024,
            max: 4096,
            mask_small: 0x7FF << 21,
            mask_large: 0x1FF << 21,
        },
        block_target: 64 << 10,
        leaf_target: 1 << 10,
        pack_target: 1 << 20,
    }
}

/// A tree's directory and the moment of a run. Moments are far in the future, so that unchanged entries are
/// trusted, as they are a second after they were written.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// What to back up.
    pub tree: &'a Path,
    /// Seconds after the first moment.
    pub moment: i64,
}

/// A repository in memory, its key and a folder for indexes.
pub struct World {
    /// Where the objects are.
    pub storage: Arc<MemoryStorage>,
    /// What opens it.
    pub unlock: Unlock,
    /// Directories that live as long as the world.
    pub scratch: Scratch,
    /// Where indexes are.
    indexes: Scratch,
}

impl World {
    /// Makes a repository with small chunks.
    pub fn new() -> Self {
        let world = Self::without_repository();
        drop(world.create().unwrap());
        world
    }

    /// Prepares everything but the repository.
    pub fn without_repository() -> Self {
        let unlock = Unlock::new_key_file().unwrap().0;
        let storage = Arc::new(MemoryStorage::new());
        Self { storage, unlock, scratch: Scratch::new(), indexes: Scratch::in_memory() }
    }

    /// Makes the repository.
    pub fn create(&self) -> Result<Repository, RepoError> {
        create(self.storage.clone(), &self.unlock)
    }

    /// Returns a world with what this one's repository holds now, and no index.
    pub fn fork(&self) -> Self {
        Self {
            storage: Arc::new(self.storage.fork()),
            unlock: self.unlock.clone(),
            scratch: Scratch::new(),
            indexes: Scratch::in_memory(),
        }
    }

    /// The same, with the indexes that there are.
    pub fn fork_with_indexes(&self) -> Self {
        let fork = self.fork();
        super::copy_dir(self.indexes.path("").as_path(), fork.indexes.path("").as_path());
        fork
    }

    /// Returns the folder of the index that this world uses.
    pub fn index(&self) -> PathBuf {
        self.other_index("index")
    }

    /// Returns the folder of an index of that name.
    pub fn other_index(&self, name: &str) -> PathBuf {
        self.indexes.path(name)
    }

    /// Opens the repository with this world's index.
    pub fn open(&self) -> Result<Repository, RepoError> {
        open(self.storage.clone(), &self.unlock, &self.index(), &Silent)
    }

    /// Opens the repository with an index that is made anew from what is stored.
    pub fn open_afresh(&self) -> Repository {
        let index = self.other_index(&format!("fresh-{:x}", fresh_number()));
        open(self.storage.clone(), &self.unlock, &index, &Silent).unwrap()
    }

    /// Opens the repository so that `act` runs once, after the first object for which it is asked to.
    pub fn hooked(
        &self,
        index: &str,
        at: fn(&Name) -> bool,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Repository {
        let storage = Hooked::once(self.storage.clone(), at, act);
        open(storage, &self.unlock, &self.other_index(index), &Silent).unwrap()
    }

    /// Backs up with this world's index.
    pub fn backup(&self, run: Run<'_>) -> Result<BackupReport, BackupError> {
        backup(&self.open()?, run)
    }

    /// Restores a snapshot and compares it, entry by entry.
    #[track_caller]
    pub fn assert_restores(&self, repo: &Repository, snapshot: ObjectId, run: Run<'_>, expected: &Tree) {
        let target = self.scratch.path(format!("restored-{:x}", fresh_number()));
        let report = restore_to(repo, snapshot, run.tree, &target).unwrap();
        assert_eq!(report.problems, [], "restoring {}", snapshot.short());
        expected.assert_same(&Tree::read(&target), &format!("snapshot {}", snapshot.short()));
        std::fs::remove_dir_all(&target).unwrap();
    }

    /// Demands that these snapshots of a tree are all there are, and whole.
    #[track_caller]
    pub fn assert_there(&self, repo: &Repository, tree: &Path, expected: &[&(ObjectId, Tree)]) {
        let ids: Vec<ObjectId> = expected.iter().map(|(id, _)| *id).collect();
        assert_eq!(snapshots(repo), ids);
        self.assert_sound(repo);
        for (id, content) in expected {
            self.assert_restores(repo, *id, Run { tree, moment: 0 }, content);
        }
    }

    /// Checks everything and refuses any damage.
    #[track_caller]
    pub fn assert_sound(&self, repo: &Repository) -> CheckReport {
        let report = check(repo).unwrap();
        assert!(report.is_sound(), "{:#?}", report.findings);
        report
    }
}

/// Returns a number that nobody else has.
fn fresh_number() -> u64 {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Makes a repository with small chunks.
pub fn create(storage: Arc<dyn Storage>, unlock: &Unlock) -> Result<Repository, RepoError> {
    Repository::create(storage, unlock, &NO_KDF, "", &small_chunks(), 1_700_000_000)
}

/// Opens a repository and its index.
pub fn open(
    storage: Arc<dyn Storage>,
    unlock: &Unlock,
    index: &Path,
    events: &dyn Events,
) -> Result<Repository, RepoError> {
    let mut repo = Repository::open(storage, unlock, MEMORY)?;
    repo.attach_index(index, events)?;
    Ok(repo)
}

/// Opens a repository without an index.
pub fn open_keys(storage: Arc<dyn Storage>, unlock: &Unlock) -> Result<Repository, RepoError> {
    Repository::open(storage, unlock, MEMORY)
}

/// Backs up a tree.
pub fn backup(repo: &Repository, run: Run<'_>) -> Result<BackupReport, BackupError> {
    backup_with(repo, run, Parent::Auto, &TestEvents::default())
}

/// Backs up a tree as a caller wants it.
pub fn backup_with(
    repo: &Repository,
    run: Run<'_>,
    parent: Parent,
    events: &dyn Events,
) -> Result<BackupReport, BackupError> {
    backup_source(repo, run, &files(run.tree), parent, events)
}

/// Returns the source of a tree.
pub fn files(tree: &Path) -> FilesSource {
    FilesSource::new(&[tree.to_owned()], FilesOptions::new("/var/tmp".into())).unwrap()
}

/// Backs up what a source of the test's own hands out, as if it were of `run`'s tree.
pub fn backup_source<S: Source>(
    repo: &Repository,
    run: Run<'_>,
    source: &S,
    parent: Parent,
    events: &dyn Events,
) -> Result<BackupReport, BackupError> {
    run_backup(repo, run, source, parent, false, events)
}

/// Finds out what a backup would store, without storing it.
pub fn dry_run(repo: &Repository, run: Run<'_>) -> Result<BackupReport, BackupError> {
    run_backup(repo, run, &files(run.tree), Parent::Auto, true, &Silent)
}

/// Returns the request of a run of host `test` at a moment.
pub fn run_request<'a>(moment: i64, elapsed: &'a (dyn Fn() -> Duration + Sync)) -> RunRequest<'a> {
    RunRequest {
        time: Time { secs: 4_000_000_000 + moment, nanos: 0 },
        utc_offset_minutes: 0,
        host: "test".into(),
        user: "tester".into(),
        program: "tests".into(),
        tags: Vec::new(),
        comment: String::new(),
        level: Level::Zstd(1),
        threads: 2,
        dry_run: false,
        elapsed,
    }
}

fn run_backup<S: Source>(
    repo: &Repository,
    run: Run<'_>,
    source: &S,
    parent: Parent,
    dry_run: bool,
    events: &dyn Events,
) -> Result<BackupReport, BackupError> {
    let start = Instant::now();
    let elapsed = move || -> Duration { start.elapsed() };
    let request = BackupRequest {
        run: RunRequest { dry_run, ..run_request(run.moment, &elapsed) },
        module: "files".into(),
        sources: vec![run.tree.as_os_str().as_bytes().to_vec()],
        parent,
    };
    backup::run(repo, source, &request, events)
}

/// Restores the tree that was at `tree` to `target`.
pub fn restore_to(
    repo: &Repository,
    snapshot: ObjectId,
    tree: &Path,
    target: &Path,
) -> Result<RestoreReport, RestoreError> {
    let base = StoredPath::from_slashes(tree.as_os_str().as_bytes()).unwrap();
    let options =
        SinkOptions { strip: base.clone(), devices: true, root_metadata: true, ..Default::default() };
    let sink = FilesSink::new(target, options).unwrap();
    restore_with(repo, snapshot, base, &sink)
}

/// Restores what is at `base` with a sink.
pub fn restore_with(
    repo: &Repository,
    snapshot: ObjectId,
    base: StoredPath,
    sink: &FilesSink,
) -> Result<RestoreReport, RestoreError> {
    let request = RestoreRequest { base, select: &|_, _| true, threads: 2 };
    restore::run(repo, &listing(repo, snapshot)?, sink, &request, &Silent)
}

/// Restores everything into memory.
pub fn restore_to_memory(
    repo: &Repository,
    snapshot: ObjectId,
) -> Result<(BTreeMap<StoredPath, Vec<u8>>, RestoreReport), RestoreError> {
    let sink = MemorySink::default();
    let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads: 1 };
    let report = restore::run(repo, &listing(repo, snapshot)?, &sink, &request, &Silent)?;
    Ok((sink.into_files(), report))
}

fn listing(repo: &Repository, snapshot: ObjectId) -> Result<dedup_engine::map::Root, RestoreError> {
    let (all, faults) = repo.catalog()?;
    let found = all.into_iter().find(|(id, _)| *id == snapshot);
    let Some((_, found)) = found else {
        let fault = faults.into_iter().find(|(id, _)| *id == snapshot);
        let missing = || RepoError::Refused(format!("there is no snapshot {}", snapshot.short()));
        return Err(fault.map_or_else(missing, |(_, fault)| fault).into());
    };
    Ok(found.accounts[0].listing(Section::Data).unwrap().root)
}

/// Checks everything there is.
pub fn check(repo: &Repository) -> Result<CheckReport, CheckError> {
    let (unread_for_days, today) = (None, None);
    check::run(
        repo,
        &CheckOptions { data: ReadData::All, unread_for_days, today, seed: 0, threads: 1 },
        &Silent,
    )
}

/// Returns the names of the alive snapshots, oldest first.
pub fn snapshots(repo: &Repository) -> Vec<ObjectId> {
    repo.snapshots().unwrap().into_iter().map(|(id, _)| id).collect()
}
