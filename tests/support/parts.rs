//! Runs of several parts, for tests.

use super::memory_sink::MemorySink;
use super::random::Random;
use super::trees;
use super::world::{World, files, run_request};
use dedup_engine::backup::{
    BackupError, Parent, PartReport, PartRequest, Parts, RunReport, StreamError, StreamReport, StreamRequest,
    run_parts,
};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::map::Root;
use dedup_engine::progress::Silent;
use dedup_engine::repo::{RepoError, Repository};
use dedup_engine::restore::{self, RestoreRequest};
use dedup_engine::snapshot::{Account, Section, Snapshot};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Stores a directory as a section of a module.
pub fn store(
    parts: &mut Parts<'_>,
    module: &str,
    section: Section,
    tree: &Path,
) -> Result<PartReport, BackupError> {
    let request = PartRequest { module, section, parent: Parent::Auto, sources: None };
    parts.store(&files(tree), &request)
}

/// Stores a stream as a dump of a module.
pub fn stream(
    parts: &mut Parts<'_>,
    module: &str,
    section: Section,
    read: &mut dyn Read,
) -> Result<StreamReport, StreamError> {
    let request = StreamRequest { module, section, name: "db", kind: "command", mtime: None };
    parts.stream(&request, read)
}

/// Runs parts at a moment, in a repository of the world.
pub fn run(
    repo: &Repository,
    moment: i64,
    body: impl FnOnce(&mut Parts<'_>) -> Result<Vec<Account>, BackupError>,
) -> Result<RunReport, BackupError> {
    let start = Instant::now();
    let elapsed = move || start.elapsed();
    run_parts(repo, &run_request(moment, &elapsed), &Silent, body)
}

/// Returns the files of a listing, by path.
pub fn restored(repo: &Repository, root: &Root) -> BTreeMap<StoredPath, Vec<u8>> {
    let sink = MemorySink::default();
    let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads: 2 };
    let report = restore::run(repo, root, &sink, &request, &Silent).unwrap();
    assert_eq!(report.problems, []);
    sink.into_files()
}

/// Returns a snapshot that must be there.
pub fn snapshot(repo: &Repository, id: Option<ObjectId>) -> Snapshot {
    repo.snapshots().unwrap().into_iter().find(|(known, _)| Some(*known) == id).unwrap().1
}

/// Two trees with something in common, and noise, in a world.
pub struct Trees {
    /// The repository.
    pub world: World,
    /// 2,000,000 bytes.
    pub noise: Vec<u8>,
}

impl Trees {
    /// Makes them.
    pub fn new(seed: u64) -> Self {
        let world = World::new();
        for name in ["mail", "web"] {
            let tree = world.scratch.dir(name);
            trees::write(&tree.join("own"), name.as_bytes(), 1);
            trees::write(&tree.join("common"), &Random::new(seed).bytes(300_000), 2);
        }
        Self { world, noise: Random::new(seed + 1).bytes(2_000_000) }
    }

    /// Returns where the tree `mail` or `web` is.
    pub fn tree(&self, name: &str) -> PathBuf {
        self.world.scratch.path(name)
    }

    /// Both trees, a stream and a manifest.
    pub fn body(&self, parts: &mut Parts<'_>) -> Result<Vec<Account>, BackupError> {
        let (mut mail, mut web) = (Account::new("mail"), Account::new("web"));
        store(parts, "web", Section::Data, &self.tree("web"))?.enter(&mut web);
        store(parts, "mail", Section::Config, &self.tree("mail"))?.enter(&mut mail);
        store(parts, "mail", Section::Data, &self.tree("web"))?.enter(&mut mail);
        let dump = stream(parts, "mail", Section::Data, &mut &self.noise[..]);
        dump.map_err(|error| RepoError::Internal(error.to_string()))?.enter(&mut mail);
        mail.manifest = parts.blob("mail", Section::Config, b"id = \"mail\"")?;
        // Out of order: the snapshot has them in theirs.
        Ok(vec![web, mail])
    }
}
