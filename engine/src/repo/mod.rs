//! A repository: configuration, keys, objects, index and chunks together.
//!
//! - `config`, `control`: what is stored once, and what orders concurrent runs.
//! - `objects`: sealed objects in storage.
//! - `slots`, `keys`, `key_changes`: key slots, work on them, and which of them were removed.
//! - `sessions`: sessions, intents, ends, and the second look.
//! - `catalog`: which snapshots there are. `order`: which of them is the later one.
//! - `kept`: copies of them on this machine, and whether one of them is alive.
//! - `budget`: how the most memory of a run is shared out.
//! - `directories`: what packs say of themselves.
//! - `segments`: segments as they are stored.
//! - `refresh`: brings the local index up to date with the storage.
//! - `history`: the log, read before anything else and written after whatever changes what is alive.
//! - `records`: what is said of runs after they committed.
//! - `retention`: which snapshots are forgotten or pinned.
//! - `signed`: signatures of small objects.
//! - `many`: many small objects, several at a time.
//! - `read`: chunks out of packs, each verified.
//! - `write`: chunks into packs, packs into segments; `finish` is the barrier.

mod budget;
pub mod catalog;
mod claims;
pub mod config;
pub mod control;
mod directories;
mod error;
pub(crate) mod history;
pub(crate) mod kept;
pub mod key_changes;
mod keys;
pub(crate) mod many;
pub(crate) mod objects;
pub(crate) mod order;
pub mod read;
pub mod records;
pub(crate) mod refresh;
pub mod retention;
pub(crate) mod segments;
pub(crate) mod sessions;
mod signed;
mod slots;
#[cfg(any(test, feature = "testing"))]
mod testing;
pub(crate) mod write;

pub use budget::Budget;
pub use config::{Config, Settings};
pub use error::RepoError;
pub use history::{EpochReport, KeptSlot, LogHead, LogState};
pub use slots::SlotInfo;
#[cfg(any(test, feature = "testing"))]
pub use testing::{hash_of, public_of};

use crate::chunker::Chunker;
use crate::crypto::keyring::{Keyring, Namer};
use crate::crypto::random;
use crate::crypto::roots::{Bundle, Root};
use crate::crypto::slot::{KdfParams, Unlock};
use crate::format::MAX_SMALL_BODY;
use crate::id::{ObjectId, RepoId};
use crate::index::Index;
use crate::map::{Class, LeafTarget};
use crate::pack::PackKind;
use crate::planted::{Bug, planted};
use crate::progress::Events;
use crate::storage::{Name, Put, Storage};
use history::epochs::{Anchor, take_up};
use objects::Objects;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An opened repository. Cheap to share between threads by reference.
pub struct Repository {
    pub(crate) objects: Objects,
    pub(crate) namer: Namer,
    config: Config,
    slot: ObjectId,
    /// What the chain of key epochs is fastened to.
    anchor: Anchor,
    leaf_target: LeafTarget,
    pub(crate) budget: Budget,
    index: Option<Index>,
    /// Packs in no segment that the index knows from their own directories.
    unlisted: Mutex<Vec<ObjectId>>,
    /// Generation up to which segments were taken up since the index was opened.
    learnt: Mutex<u64>,
    history: history::History,
}

impl Repository {
    /// Makes a repository: a full key slot first, then the configuration, which makes it exist.
    pub fn create(
        storage: Arc<dyn Storage>,
        unlock: &Unlock,
        kdf: &KdfParams,
        label: &str,
        settings: &Settings,
        now_unix_secs: i64,
    ) -> Result<Self, RepoError> {
        let exists = || RepoError::Exists { place: storage.place() };
        if storage.len(&Name::config())?.is_some() {
            return Err(exists());
        }
        let id = RepoId::from_bytes(random()?);
        let bundle = Bundle::generate()?;
        let keyring = Arc::new(Keyring::new(id, bundle.clone())?);
        let sealed = Config::new(&bundle, settings, now_unix_secs)?.seal(&keyring)?;
        let slot = slots::store(&*storage, id, &bundle, unlock, kdf, label, now_unix_secs)?;
        if storage.put(&Name::config(), &sealed)? == Put::Present {
            // Another `init` was quicker: its slots are not ours, and ours opens nothing.
            storage.delete(&Name::slot(slot))?;
            return Err(exists());
        }
        Self::assemble(storage, keyring, slot, sealed, Budget::new(0))
    }

    /// Opens a repository, for runs that use at most about `max_memory_bytes`.
    ///
    /// A slot whose passphrase takes more to stretch is not opened; everything else needs
    /// [`Budget::LEAST_BYTES`].
    ///
    /// # Errors
    /// [`RepoError::Absent`] without a configuration, [`RepoError::WrongKey`] if no slot opens.
    pub fn open(
        storage: Arc<dyn Storage>,
        unlock: &Unlock,
        max_memory_bytes: u64,
    ) -> Result<Self, RepoError> {
        let stored = read_config(&*storage)?;
        let id = Config::repo_id(&stored).map_err(RepoError::of("config"))?;
        let (slot, bundle) = slots::open_any(&*storage, id, unlock, None, max_memory_bytes)?;
        let keyring = Arc::new(Keyring::new(id, bundle)?);
        Self::assemble(storage, keyring, slot, stored, Budget::new(max_memory_bytes))
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        keyring: Arc<Keyring>,
        slot: ObjectId,
        sealed_config: Vec<u8>,
        budget: Budget,
    ) -> Result<Self, RepoError> {
        let stored = ObjectId::from_bytes(*blake3::hash(&sealed_config).as_bytes());
        let config = Config::open(sealed_config, &keyring).map_err(RepoError::of("config"))?;
        let anchor = Anchor { config: stored, first_signer: config.first_signer };
        let keyring = if planted(Bug::TrustStoredPublicKey) {
            Arc::new(keyring.sealing_to(config.x25519_public)?)
        } else {
            keyring
        };
        let namer = keyring.namer()?;
        let leaf_target =
            LeafTarget::new(config.settings.leaf_target).map_err(|corrupt| corrupt.within("config"))?;
        let (tamper, known) = Default::default();
        let objects = Objects { storage, keyring, tamper, known };
        take_up(&objects, slot, anchor)?;
        let (index, unlisted, learnt, history) = Default::default();
        Ok(Self {
            objects,
            namer,
            config,
            slot,
            anchor,
            leaf_target,
            budget,
            index,
            unlisted,
            learnt,
            history,
        })
    }

    /// Returns the repository's identity.
    pub fn id(&self) -> RepoId {
        self.objects.keyring.repo()
    }

    /// Returns whether the key in use opens secrets: everything of the section of that name.
    pub fn opens_secrets(&self) -> bool {
        self.objects.keyring.bundle().holds(Root::Secrets)
    }

    /// Returns whether the key in use opens snapshots and data; otherwise it can only write.
    pub fn can_read(&self) -> bool {
        self.objects.keyring.can_read()
    }

    /// Refuses what needs to read, and what takes something away, if the key in use can only write.
    pub fn assert_reads(&self) -> Result<(), RepoError> {
        if self.can_read() { Ok(()) } else { Err(RepoError::WriteOnly) }
    }

    /// Refuses to store under a class of maps what the key in use has no key for.
    pub(crate) fn assert_stores(&self, class: Class) -> Result<(), RepoError> {
        let can_store = |kind| self.objects.keyring.can_store(PackKind::from(kind).object());
        if can_store(class.nodes()) && can_store(class.contents()) {
            Ok(())
        } else {
            Err(RepoError::NoSecrets)
        }
    }

    /// Refuses a class of maps that the key in use does not open.
    pub(crate) fn assert_opens(&self, class: Class) -> Result<(), RepoError> {
        self.assert_reads()?;
        if class == Class::Open || self.opens_secrets() { Ok(()) } else { Err(RepoError::NoSecrets) }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns where the objects are.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.objects.storage
    }

    /// Opens the local index in `dir`, and brings it up to date with the storage.
    ///
    /// Needed by everything that reads or writes chunks. The index can be lost or wrong at any time: it is
    /// rebuilt from segments, or from the packs themselves.
    pub fn attach_index(&mut self, dir: &Path, events: &dyn Events) -> Result<(), RepoError> {
        let (index, unlisted) = refresh::open(&self.objects, dir, self.budget.index_bytes(), events)?;
        (self.index, self.unlisted) = (Some(index), Mutex::new(unlisted));
        Ok(())
    }

    /// Returns the index; an error if none was attached.
    pub(crate) fn index(&self) -> Result<&Index, RepoError> {
        self.index.as_ref().ok_or_else(|| RepoError::Internal("the index was not opened".into()))
    }

    /// Returns the target of the leaves of its maps, which whoever reads them needs.
    pub fn leaf_target(&self) -> LeafTarget {
        self.leaf_target
    }

    /// Returns the chunker of this repository.
    pub(crate) fn chunker(&self) -> Result<Chunker, RepoError> {
        Ok(Chunker::new(self.config.settings.chunks, self.objects.keyring.gear()?))
    }
}

pub(crate) fn read_config(storage: &dyn Storage) -> Result<Vec<u8>, RepoError> {
    storage.get_all(&Name::config(), u64::from(MAX_SMALL_BODY) * 2).map_err(|error| {
        if error.is_missing() { RepoError::Absent { place: storage.place() } } else { error.into() }
    })
}
