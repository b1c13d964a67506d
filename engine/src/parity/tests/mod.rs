//! Groups over packs of a repository in memory: what comes back, and what is left alone.

mod groups;
mod lies;
mod losses;

use super::*;
use crate::crypto::slot::{KdfParams, Unlock};
use crate::id::ObjectId;
use crate::parity::{AddOptions, AddReport, MendOptions, MendReport, Status, Wanted};
use crate::progress::Silent;
use crate::repo::Settings;
use crate::storage::memory::MemoryStorage;
use crate::storage::{Family, Storage};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Everything that is stored.
type Objects = BTreeMap<Name, Arc<[u8]>>;

/// A repository in memory, and an index for each who opens it.
struct Lab {
    storage: Arc<MemoryStorage>,
    unlock: Unlock,
    dir: tempfile::TempDir,
    opened: RefCell<Option<Rc<Repository>>>,
}

fn doer() -> Doer {
    Doer { host: "test".into(), time: Time { secs: 1_800_000_000, nanos: 0 } }
}

fn wanted(shards: u8, packs: usize) -> AddOptions {
    AddOptions { wanted: Wanted { shards, packs }, dry_run: false, threads: 2, doer: doer() }
}

const MEND: fn(bool) -> MendOptions = |dry_run| MendOptions { dry_run, threads: 2, doer: doer() };

/// Makes a folder for indexes, in memory where there is such a place: they are opened often.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Lab {
    /// Makes a repository with packs of these plain lengths.
    fn new(lens: &[usize]) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let unlock = Unlock::new_key_file().unwrap().0;
        let kdf = KdfParams { memory_kib: 8, passes: 1, lanes: 1 };
        drop(Repository::create(storage.clone(), &unlock, &kdf, "", &Settings::default(), 1).unwrap());
        let lab = Self { storage, unlock, dir: folder(), opened: RefCell::default() };
        lab.grow(lens);
        lab
    }

    /// Stores more packs.
    fn grow(&self, lens: &[usize]) {
        let repo = self.open();
        for len in lens {
            let mut plain = vec![0; *len];
            let mut seed = blake3::Hasher::new();
            seed.update(&self.packs().len().to_le_bytes()).finalize_xof().fill(&mut plain);
            let id = repo.namer.name(crate::crypto::keyring::ChunkKind::Data, &plain);
            repo.store_unverified(&[(id, &plain)]).unwrap();
        }
    }

    /// Returns the repository with an index that is kept as long as nothing is set back: to open one takes its time.
    fn open(&self) -> Rc<Repository> {
        self.opened.borrow_mut().get_or_insert_with(|| Rc::new(self.open_by(self.storage.clone()))).clone()
    }

    fn open_by(&self, storage: Arc<dyn Storage>) -> Repository {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut repo = Repository::open(storage, &self.unlock, 0).unwrap();
        repo.attach_index(&self.dir.path().join(number.to_string()), &Silent).unwrap();
        repo
    }

    /// Returns a lab that holds the same.
    fn fork(&self) -> Self {
        Self {
            storage: Arc::new(self.storage.fork()),
            unlock: self.unlock.clone(),
            dir: folder(),
            opened: RefCell::default(),
        }
    }

    fn objects(&self) -> Objects {
        self.storage.objects().into_iter().collect()
    }

    fn of(&self, family: Family) -> Objects {
        self.objects().into_iter().filter(|(name, _)| name.family() == family).collect()
    }

    fn packs(&self) -> Vec<Name> {
        self.of(Family::Packs).into_keys().collect()
    }

    fn add(&self, options: &AddOptions) -> AddReport {
        add(&self.open(), options, &Silent).unwrap()
    }

    fn repair(&self, dry_run: bool) -> MendReport {
        repair(&self.open(), &MEND(dry_run), &Silent).unwrap()
    }

    fn status(&self) -> Status {
        status(&self.open(), &Silent).unwrap()
    }

    /// Sets what is stored back to `before`. An index that knows of another history is of no use then.
    fn set_back(&self, before: &Objects) {
        for name in self.objects().keys().filter(|name| !before.contains_key(name)) {
            self.storage.delete(name).unwrap();
            if name.family() == Family::Generations {
                self.opened.take();
            }
        }
        before.iter().for_each(|(name, bytes)| self.storage.overwrite(*name, bytes));
    }

    /// Every pack is protected, by whole groups.
    #[track_caller]
    fn assert_protected(&self, against: u64) {
        let status = self.status();
        assert_eq!(status.packs_protected, status.packs, "{status:?}");
        assert!(status.packs == 0 || status.least_spare >= against, "{status:?}");
        assert_eq!(status.faults, [], "{status:?}");
    }
}

/// What can become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Lost,
    Empty,
    Cut,
    Longer,
    /// A bit of the byte so many thousandths in.
    Flipped(usize),
    Zeroed,
    /// The bytes of another one.
    Swapped,
}

impl Damage {
    const ALL: [Self; 9] = [
        Self::Lost,
        Self::Empty,
        Self::Cut,
        Self::Longer,
        Self::Flipped(0),
        Self::Flipped(500),
        Self::Flipped(999),
        Self::Zeroed,
        Self::Swapped,
    ];

    fn of(self, storage: &MemoryStorage, name: Name, other: &[u8]) {
        let bytes = storage.get_all(&name, u64::MAX).unwrap();
        let mut damaged = bytes.clone();
        match self {
            Self::Lost => return storage.delete(&name).unwrap(),
            Self::Empty => damaged.clear(),
            Self::Cut => damaged.truncate(bytes.len() / 2),
            Self::Longer => damaged.extend([0; 64]),
            Self::Flipped(place) => damaged[(bytes.len() - 1) * place / 999] ^= 4,
            Self::Zeroed => damaged.fill(0),
            Self::Swapped => damaged = other.to_vec(),
        }
        storage.overwrite(name, &damaged);
    }
}
