//! What somebody can do who holds the storage and no key.

use super::scene::{Scene, restore};
use crate::support::world::World;
use dedup_engine::id::ClientId;
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Family, Name, Part, Storage};

/// One lie.
pub struct Attack {
    pub name: String,
    pub storage: MemoryStorage,
    /// Whether somebody notices who sees the repository for the first time.
    pub at_first_contact: bool,
}

struct Plan<'s> {
    scene: &'s Scene,
    all: Vec<Attack>,
}

impl Plan<'_> {
    fn add(&mut self, name: impl ToString, at_first_contact: bool, lie: impl FnOnce(&MemoryStorage)) {
        let storage = self.scene.last().storage.fork();
        lie(&storage);
        self.all.push(Attack { name: name.to_string(), storage, at_first_contact });
    }
}

/// Returns the numbers of a client's entries, rising.
fn entries(storage: &MemoryStorage, client: ClientId) -> Vec<u64> {
    let numbers = storage.objects().into_iter().filter_map(|(name, _)| match name {
        Name::Log(of, number) if of == client => Some(number),
        _ => None,
    });
    numbers.collect()
}

fn delete(storage: &MemoryStorage, which: impl Fn(&Name) -> bool) {
    for (name, _) in storage.objects() {
        if which(&name) {
            storage.delete(&name).unwrap();
        }
    }
}

fn bytes(storage: &MemoryStorage, name: &Name) -> Vec<u8> {
    storage.get_all(name, 1 << 30).unwrap()
}

/// Puts objects of some families back as they were.
fn replay(storage: &MemoryStorage, old: &MemoryStorage, families: &[Family]) {
    delete(storage, |name| families.contains(&name.family()));
    for (name, bytes) in old.objects() {
        if families.contains(&name.family()) {
            storage.overwrite(name, &bytes);
        }
    }
}

fn swap(storage: &MemoryStorage, a: Name, b: Name) {
    let (of_a, of_b) = (bytes(storage, &a), bytes(storage, &b));
    storage.overwrite(a, &of_b);
    storage.overwrite(b, &of_a);
}

fn highest(storage: &MemoryStorage, family: Family) -> Name {
    storage.objects().into_iter().map(|(name, _)| name).rfind(|name| name.family() == family).unwrap()
}

/// Returns every attack.
pub fn attacks(scene: &Scene) -> Vec<Attack> {
    let mut plan = Plan { scene, all: Vec::new() };
    set_back(&mut plan);
    hidden(&mut plan);
    logs(&mut plan);
    forks(&mut plan);
    removals(&mut plan);
    mixed(&mut plan);
    plan.all
}

/// The storage as it was at each earlier moment, all of it or parts.
fn set_back(plan: &mut Plan<'_>) {
    let scene = plan.scene;
    for (at, moment) in scene.moments.iter().enumerate().take(scene.moments.len() - 1) {
        let old = &moment.storage;
        plan.add(format!("everything as when {}", moment.name), false, |storage| restore(storage, old));
        plan.add(format!("logs as when {}", moment.name), false, |storage| {
            replay(storage, old, &[Family::Log])
        });
        if at >= 2 {
            let families = [Family::Retention];
            plan.add(format!("what is forgotten as when {}", moment.name), true, |storage| {
                replay(storage, old, &families)
            });
        }
        let families = [Family::Snapshots, Family::Sessions, Family::Runs];
        plan.add(format!("snapshots as when {}", moment.name), true, |storage| {
            replay(storage, old, &families)
        });
        let families =
            [Family::Log, Family::Snapshots, Family::Sessions, Family::Retention, Family::Generations];
        // Of what the first snapshot needs, data were removed since.
        plan.add(format!("all but data as when {}", moment.name), at < 2, |storage| {
            replay(storage, old, &families)
        });
    }
}

/// Snapshots are hidden: in every way, and each of them.
fn hidden(plan: &mut Plan<'_>) {
    let scene = plan.scene;
    let repo = scene.one.twin().look(scene.fork(&scene.last().storage)).unwrap();
    let sessions = repo.snapshots().unwrap().into_iter().map(|(id, snapshot)| (id, snapshot.session));
    for (number, (id, session)) in sessions.enumerate() {
        let of_session = |name: &Name| name.session_id() == Some(session);
        plan.add(format!("snapshot {number} is hidden"), true, |storage| {
            delete(storage, |name| *name == Name::snapshot(id))
        });
        plan.add(format!("the end of snapshot {number} is hidden"), true, |storage| {
            delete(storage, |name| *name == Name::Session(session, Part::End));
        });
        plan.add(format!("snapshot {number} is hidden with its session"), true, |storage| {
            delete(storage, |name| *name == Name::snapshot(id) || of_session(name));
        });
    }
    plan.add("all snapshots are hidden", true, |storage| {
        delete(storage, |name| matches!(name.family(), Family::Snapshots | Family::Sessions));
    });
}

/// Entries are hidden, exchanged and copied.
fn logs(plan: &mut Plan<'_>) {
    let scene = plan.scene;
    let last = &scene.last().storage;
    for (client, host) in scene.clients.into_iter().zip(["one", "two"]) {
        let numbers = entries(last, client);
        let (end, count) = (*numbers.last().unwrap(), numbers.len());
        // Of the last entry of all nobody else tells.
        let is_last_of_all = host == "two";
        let name = |number| Name::log(client, number);
        plan.add(format!("the last entry of {host} is hidden"), !is_last_of_all, |storage| {
            storage.delete(&name(end)).unwrap();
        });
        plan.add(format!("the last two entries of {host} are hidden"), true, |storage| {
            delete(storage, |one| *one == name(end) || *one == name(end - 1));
        });
        plan.add(format!("the first entry of {host} is hidden"), true, |storage| {
            storage.delete(&name(1)).unwrap()
        });
        plan.add(format!("an entry of {host} is hidden"), true, |storage| {
            storage.delete(&name(end - 1)).unwrap()
        });
        plan.add(format!("the log of {host} is hidden"), true, |storage| {
            delete(storage, |one| matches!(one, Name::Log(of, _) if *of == client));
        });
        plan.add(format!("two entries of {host} are exchanged"), true, |storage| {
            swap(storage, name(end), name(end - 1))
        });
        plan.add(format!("the last entry of {host} comes again"), true, |storage| {
            storage.overwrite(name(end + 1), &bytes(last, &name(end)));
        });
        plan.add(format!("an old entry of {host} comes as the last"), true, |storage| {
            storage.overwrite(name(end), &bytes(last, &name(end - 1)));
        });
        plan.add(format!("rubbish follows the log of {host}"), true, |storage| {
            storage.overwrite(name(end + 1), &[7; 300])
        });
        plan.add(format!("rubbish far behind the log of {host}"), true, |storage| {
            storage.overwrite(name(Name::MAX_NUMBER), &[7; 300]);
        });
        assert!(count > 3, "{host} has {count} entries");
    }
    let [one, two] = scene.clients;
    plan.add("entries of two clients are exchanged", true, |storage| {
        swap(storage, Name::log(one, 1), Name::log(two, 1))
    });
    plan.add("all logs are hidden", false, |storage| delete(storage, |name| name.family() == Family::Log));
    plan.add("all logs are hidden, and snapshots", false, |storage| {
        delete(storage, |name| matches!(name.family(), Family::Log | Family::Snapshots | Family::Sessions));
    });
}

/// Different machines are shown different histories.
fn forks(plan: &mut Plan<'_>) {
    let scene = plan.scene;
    let [one, two] = scene.clients;
    let (fork, last) = (&scene.fork, &scene.last().storage);
    plan.add("the other history", false, |storage| restore(storage, fork));
    plan.add("logs of the other history", true, |storage| replay(storage, fork, &[Family::Log]));
    plan.add("the log of two of the other history", true, |storage| {
        delete(storage, |name| matches!(name, Name::Log(of, _) if *of == two));
        for number in entries(fork, two) {
            storage.overwrite(Name::log(two, number), &bytes(fork, &Name::log(two, number)));
        }
    });
    plan.add("the other history, and the log of one", true, |storage| {
        restore(storage, fork);
        for number in entries(last, one) {
            storage.overwrite(Name::log(one, number), &bytes(last, &Name::log(one, number)));
        }
    });
    let end = *entries(fork, two).last().unwrap();
    plan.add("one entry of the other history", true, |storage| {
        storage.overwrite(Name::log(two, end), &bytes(fork, &Name::log(two, end)));
    });
}

/// Generations and what is forgotten.
fn removals(plan: &mut Plan<'_>) {
    let scene = plan.scene;
    let (last, before) = (&scene.last().storage, &scene.moments[3].storage);
    let generation = highest(last, Family::Generations);
    plan.add("the newest generation is hidden", true, |storage| storage.delete(&generation).unwrap());
    plan.add("all generations are hidden", true, |storage| {
        delete(storage, |name| name.family() == Family::Generations)
    });
    plan.add("a removed snapshot comes back, and its generation is hidden", true, |storage| {
        delete(storage, |name| name.family() == Family::Generations);
        for (name, bytes) in before.objects() {
            let _ = storage.put(&name, &bytes).unwrap();
        }
    });
    plan.add("what is forgotten is hidden", true, |storage| {
        delete(storage, |name| name.family() == Family::Retention)
    });
    let newest = highest(last, Family::Retention);
    plan.add("what was forgotten comes back under the newest number", true, |storage| {
        storage.overwrite(newest, &bytes(before, &highest(before, Family::Retention)));
    });
}

/// Objects of another repository, and keys of before.
fn mixed(plan: &mut Plan<'_>) {
    let scene = plan.scene;
    let other = World::new();
    let theirs = crate::support::witness::Client::new("other", other.unlock.clone());
    theirs.backup(&other, 0);
    theirs.backup(&other, 1);
    let foreign = |family: Family| {
        let objects = other.storage.objects().into_iter();
        objects.filter(|(name, _)| name.family() == family).map(|(_, bytes)| bytes).next_back().unwrap()
    };
    let last = &scene.last().storage;
    for family in
        [Family::Config, Family::Log, Family::Snapshots, Family::Sessions, Family::Segments, Family::Packs]
    {
        let victim = highest(last, family);
        let bytes = foreign(family);
        plan.add(format!("{family} of another repository"), true, |storage| {
            storage.overwrite(victim, &bytes)
        });
    }
    plan.add("everything of another repository but the slots", true, |storage| {
        delete(storage, |name| name.family() != Family::Keys);
        for (name, bytes) in other.storage.objects() {
            storage.overwrite(name, &bytes);
        }
    });
    plan.add("the configuration is hidden", true, |storage| storage.delete(&Name::config()).unwrap());
    let (_, slot, bytes) = &scene.removed;
    plan.add("a key that was removed comes back", true, |storage| storage.overwrite(*slot, bytes));
    plan.add("all keys are hidden", true, |storage| delete(storage, |name| name.family() == Family::Keys));
}
