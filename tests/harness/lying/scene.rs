//! A repository with a past: what it was at each moment, and what each machine knew then.

use crate::support::pruned::{forget, prune};
use crate::support::witness::Client;
use crate::support::world::{NO_KDF, World, check, snapshots};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::forget as forgetting;
use dedup_engine::id::{ClientId, ObjectId};
use dedup_engine::listing::Time;
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Name, Storage};
use std::sync::Arc;

const NOW: Time = Time { secs: 4_000_003_000, nanos: 0 };

/// When a lie was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// Before anything was done.
    AtOnce,
    /// By whoever lists snapshots.
    InTheList,
    /// By `check`.
    ByCheck,
    /// By nobody.
    Not,
}

/// The state of everything after one step.
pub struct Moment {
    pub name: &'static str,
    pub storage: Arc<MemoryStorage>,
    one: Client,
    two: Client,
}

/// Two machines, their repository and its past.
pub struct Scene {
    pub world: World,
    pub one: Client,
    pub two: Client,
    pub moments: Vec<Moment>,
    /// A key that was removed, and its slot.
    pub removed: (Client, Name, Vec<u8>),
    pub clients: [ClientId; 2],
    /// Snapshots that are alive at the end.
    pub alive: Vec<ObjectId>,
    /// What machine `two` did when it was shown the state of moment 3 and nothing later.
    pub fork: Arc<MemoryStorage>,
}

impl Scene {
    /// Lets two machines work for a while.
    pub fn new() -> Self {
        let world = World::new();
        let one = Client::new("one", world.unlock.clone());
        let two = Client::new("two", Unlock::new_key_file().unwrap().0);
        let mut moments = Vec::new();
        let mut moment = |name| {
            let storage = Arc::new(world.storage.fork());
            moments.push(Moment { name, storage, one: one.twin(), two: two.twin() });
        };
        let look = |client: &Client| client.look(world.storage.clone()).unwrap();
        let open = |client: &Client| client.open(world.storage.clone()).unwrap();
        let gone = one.backup(&world, 0);
        look(&one).add_slot(&two.unlock, &NO_KDF, "two", true, 5).unwrap();
        moment("two was added");
        two.backup(&world, 1);
        one.backup(&world, 2);
        moment("both have stored something");
        forget(&open(&one), &[gone]);
        moment("the first is forgotten");
        let back = two.backup(&world, 3);
        forget(&open(&two), &[gone, back]);
        forgetting::take_back(&open(&one), Some(&[back].into()), NOW).unwrap();
        moment("another was forgotten and taken back");
        prune(&open(&one)).unwrap();
        moment("the first is removed");
        let old = Client::new("old", Unlock::new_key_file().unwrap().0);
        let slot = look(&one).add_slot(&old.unlock, &NO_KDF, "old", true, 6).unwrap();
        let bytes = world.storage.get_all(&Name::slot(slot), 1 << 20).unwrap();
        look(&one).remove_slot(&slot).unwrap();
        two.backup(&world, 4);
        moment("a key came and went");
        let pinned = one.backup(&world, 5);
        forgetting::pin(&open(&two), &[pinned].into(), true, NOW).unwrap();
        one.backup(&world, 6);
        two.backup(&world, 7);
        let clients = [look(&one).own_client(), look(&two).own_client()];
        let alive = snapshots(&open(&one));
        moment("the end");
        let past = world.fork();
        let forked = moments[3].two.twin();
        restore(&past.storage, &moments[3].storage);
        forked.backup(&past, 8);
        forked.backup(&past, 9);
        let fork = past.storage.clone();
        Self { world, one, two, moments, removed: (old, Name::slot(slot), bytes), clients, alive, fork }
    }

    /// Returns the last moment.
    pub fn last(&self) -> &Moment {
        self.moments.last().unwrap()
    }

    /// Returns a machine that sees the repository for the first time.
    pub fn newcomer(&self) -> Client {
        Client::new("newcomer", self.world.unlock.clone())
    }

    /// Returns what is stored as it may be changed without harm to others.
    pub fn fork(&self, storage: &MemoryStorage) -> Arc<dyn Storage> {
        Arc::new(storage.fork())
    }

    /// Lets a machine look at a storage and list its snapshots, and says when it noticed.
    pub fn glance(&self, storage: &MemoryStorage, client: &Client) -> Noticed {
        let Ok(repo) = client.look(self.fork(storage)) else { return Noticed::AtOnce };
        match repo.catalog_with_forgotten() {
            Ok((_, faults)) if faults.is_empty() => Noticed::Not,
            _ => Noticed::InTheList,
        }
    }

    /// Lets a machine check a storage as well if it has noticed nothing before.
    pub fn meet(&self, storage: &MemoryStorage, client: Client) -> Noticed {
        let noticed = self.glance(storage, &client);
        if noticed != Noticed::Not {
            return noticed;
        }
        match client.open(self.fork(storage)).map(|repo| check(&repo)) {
            Ok(Ok(report)) if report.is_sound() => Noticed::Not,
            _ => Noticed::ByCheck,
        }
    }

    /// Returns storages on which nobody lied, and what was done.
    pub fn honest(&self) -> Vec<(&'static str, Arc<MemoryStorage>)> {
        let more = self.world.fork();
        let (one, two) = (self.one.twin(), self.two.twin());
        one.backup(&more, 20);
        let repo = two.open(more.storage.clone()).unwrap();
        forget(&repo, &self.alive[..2]);
        prune(&repo).unwrap();
        one.backup(&more, 21);
        let slots = self.world.fork();
        let one = self.one.twin();
        let repo = one.look(slots.storage.clone()).unwrap();
        let new = Unlock::new_key_file().unwrap().0;
        let id = repo.add_slot(&new, &NO_KDF, "new", true, 9).unwrap();
        repo.remove_slot(&id).unwrap();
        vec![
            ("nothing", self.last().storage.clone()),
            ("work goes on", more.storage.clone()),
            ("keys", slots.storage.clone()),
        ]
    }

    /// Returns machines as they were at each moment.
    pub fn images(&self) -> Vec<(&'static str, Client)> {
        self.moments
            .iter()
            .flat_map(|moment| [(moment.name, moment.one.twin()), (moment.name, moment.two.twin())])
            .collect()
    }
}

/// Makes a storage what another one is.
pub fn restore(storage: &MemoryStorage, to: &MemoryStorage) {
    for (name, _) in storage.objects() {
        storage.delete(&name).unwrap();
    }
    for (name, bytes) in to.objects() {
        storage.overwrite(name, &bytes);
    }
}
