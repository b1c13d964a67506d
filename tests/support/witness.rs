//! Clients that remember what they saw of a repository's log.

use super::world::{Run, World, backup};
use super::{Scratch, trees};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::log::MemoryFile;
use dedup_engine::progress::Silent;
use dedup_engine::repo::{Budget, RepoError, Repository};
use dedup_engine::storage::Storage;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A machine: its key, its index, its memory.
pub struct Client {
    /// What opens the repository for it.
    pub unlock: Unlock,
    /// Its name.
    pub host: &'static str,
    scratch: Scratch,
}

impl Client {
    /// Makes one.
    pub fn new(host: &'static str, unlock: Unlock) -> Self {
        Self { unlock, host, scratch: Scratch::in_memory() }
    }

    /// Returns the file of what it remembers.
    pub fn memory(&self) -> PathBuf {
        self.scratch.path("memory")
    }

    /// Returns a machine with the same key that remembers what this one does now.
    pub fn twin(&self) -> Self {
        let twin = Self::new(self.host, self.unlock.clone());
        if self.memory().exists() {
            fs::copy(self.memory(), twin.memory()).unwrap();
        }
        twin
    }

    /// Opens the repository and reads its log, without an index.
    pub fn look(&self, storage: Arc<dyn Storage>) -> Result<Repository, RepoError> {
        let repo = Repository::open(storage, &self.unlock, Budget::LEAST_BYTES)?;
        self.attach(&repo)?;
        Ok(repo)
    }

    /// Reads the log of an opened repository.
    pub fn attach(&self, repo: &Repository) -> Result<(), RepoError> {
        let now = Time { secs: 4_000_000_500, nanos: 0 };
        repo.attach_log(Some(MemoryFile::new(self.memory())), self.host, now, &Silent)
    }

    /// Opens the repository, reads its log, and then its index.
    pub fn open(&self, storage: Arc<dyn Storage>) -> Result<Repository, RepoError> {
        let mut repo = self.look(storage)?;
        repo.attach_index(&self.scratch.path("index"), &Silent)?;
        Ok(repo)
    }

    /// Backs up a tree that nobody has seen before, and returns the snapshot.
    pub fn backup(&self, world: &World, moment: i64) -> ObjectId {
        let tree = world.scratch.dir(format!("{}-{moment}", self.host));
        trees::write(&tree.join("file"), format!("{} at {moment}", self.host).as_bytes(), moment);
        let repo = self.open(world.storage.clone()).unwrap();
        backup(&repo, Run { tree: &tree, moment }).unwrap().snapshot.unwrap()
    }
}
