//! Who may forget, remove and admit, and what becomes of the words of those who may not.

use super::witness::{NOW, look, scene};
use crate::support::pruned::{forget, prune};
use crate::support::trees;
use crate::support::witness::Client;
use crate::support::world::{NO_KDF, Run, World, backup, check, snapshots};
use dedup_engine::crypto::keyring::client_of;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::forget as forgetting;
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::log::{ALL, APPEND, Act, Entry, Mark, PRUNE};
use dedup_engine::repo::control::Generation;
use dedup_engine::repo::retention::Retention;
use dedup_engine::repo::{RepoError, Repository, public_of};
use dedup_engine::storage::{Family, Name, Storage};

/// The signing key of somebody who may only append.
const STRANGER: [u8; 32] = [0x5A; 32];

/// Admits a signer that may only append, as `dedup key add --write-only` does, and returns the world.
fn closed() -> (World, Client, Client) {
    let (world, one, two) = scene();
    one.backup(&world, 0);
    two.backup(&world, 1);
    let repo = one.look(world.storage.clone()).unwrap();
    repo.admit(public_of(STRANGER), APPEND, NOW).unwrap();
    (world, one, two)
}

/// An entry that says nothing, to be signed.
fn entry(number: u64, previous: ObjectId) -> Entry {
    Entry {
        number,
        previous,
        time: NOW,
        host: "stranger".into(),
        act: Act::Heartbeat,
        live: 0,
        generation: Mark::NONE,
        retention: Mark::NONE,
        heads: Vec::new(),
        public_key: [0; 32],
        signature: [0; 64],
    }
}

fn generation(repo: &Repository, number: u64, packs: Vec<ObjectId>, snapshots: Vec<ObjectId>) -> Generation {
    let before = repo.storage().get_all(&Name::generation(number - 1), 1 << 20);
    let previous = before.map_or(Mark::NONE.id, |stored| dedup_engine::repo::hash_of(&stored));
    let session = SessionId::from_bytes([7; 16]);
    Generation { packs, snapshots, ..Generation::empty(number, previous, session) }
}

#[test]
fn who_was_admitted_to_append_removes_nothing() {
    let (world, one, two) = closed();
    let repo = one.open(world.storage.clone()).unwrap();
    let all = snapshots(&repo);
    let packs: Vec<ObjectId> = world
        .storage
        .objects()
        .iter()
        .filter(|(name, _)| name.family() == Family::Packs)
        .filter_map(|(name, _)| name.object_id())
        .collect();
    for seed in [STRANGER, [0x77; 32]] {
        let world = world.fork();
        let twin = one.twin();
        let repo = twin.open(world.storage.clone()).unwrap();
        repo.forge_generation(seed, generation(&repo, 1, packs.clone(), all.clone())).unwrap();
        let forgotten = Retention {
            number: 1,
            time: NOW,
            forgotten: all.iter().copied().collect(),
            ..Retention::default()
        };
        repo.forge_retention(seed, forgotten).unwrap();
        for client in [one.twin(), two.twin(), Client::new("new", world.unlock.clone())] {
            let repo = client.open(world.storage.clone()).unwrap();
            let there = snapshots(&repo);
            assert!(all.iter().all(|id| there.contains(id)), "nobody obeys it");
            let report = check(&repo).unwrap();
            let told = |object: &str| {
                report
                    .findings
                    .iter()
                    .any(|found| found.object.starts_with(object) && found.message.contains("may not"))
            };
            assert!(told("generations/"), "{:?}", report.findings);
            // Who says anew what is forgotten deletes what nobody obeys.
            assert!(told("retention/") || repo.retention().unwrap().number > 1, "{:?}", report.findings);
            // What it names may be gone any moment, so nobody relies on it any more.
            let tree = world.scratch.dir("tree");
            trees::write(&tree.join("file"), b"one at 0", 0);
            let stored = backup(&repo, Run { tree: &tree, moment: 50 }).unwrap();
            assert!(stored.snapshot.is_some());
            if client.host == "one" {
                assert!(stored.totals.bytes_new >= 8, "it relies on what may be gone: {:?}", stored.totals);
            }
            forgetting::pin(&repo, &[all[0]].into(), true, NOW).unwrap();
            assert_eq!(repo.retention().unwrap().forgotten.len(), 0);
        }
        // A generation after it counts, and nothing of what the void one names was deleted by it.
        let twin = one.twin();
        let repo = twin.open(world.storage.clone()).unwrap();
        prune(&repo).unwrap();
        let report = check(&repo).unwrap();
        let lost: Vec<_> = report.findings.iter().filter(|found| !found.hits.is_empty()).collect();
        assert!(lost.is_empty(), "{lost:?}");
        for id in &all {
            assert!(snapshots(&repo).contains(id));
        }
    }
}

/// Who opened a key that was removed and put back stops. A machine that can only write said of every key that it was
/// removed, and nobody could open the repository any more.
#[test]
fn who_may_only_append_removes_nobodys_key() {
    let (world, one, _) = closed();
    let repo = look(&one, &world);
    let slots = repo.slots().unwrap();
    for (number, slot) in (1..).zip(&slots) {
        let previous = match number {
            1 => Mark::NONE.id,
            _ => hash_of_last(&world, number - 1),
        };
        let act = Act::Slot { id: slot.id, is_removed: true };
        repo.forge_entry(STRANGER, Entry { act, ..entry(number, previous) }, true).unwrap();
    }
    for client in [one.twin(), Client::new("new", world.unlock.clone())] {
        assert_eq!(look(&client, &world).slots().unwrap().len(), slots.len());
        world.assert_sound(&client.open(world.storage.clone()).unwrap());
    }
    // Who has the right is believed, at once and later.
    look(&one, &world).remove_slot(&slots.iter().find(|slot| !slot.current).unwrap().id).unwrap();
}

/// Returns the hash of an entry of the stranger's log as it is stored.
fn hash_of_last(world: &World, number: u64) -> ObjectId {
    let name = Name::log(client_of(&public_of(STRANGER)), number);
    dedup_engine::repo::hash_of(&world.storage.get_all(&name, 1 << 20).unwrap())
}

/// A log with a signature of somebody else, and one that forks where it can be seen.
#[test]
fn entries_that_their_client_did_not_sign_are_refused() {
    let (world, one, _) = closed();
    let repo = look(&one, &world);
    let good = world.fork();
    one.twin()
        .look(good.storage.clone())
        .unwrap()
        .forge_entry(STRANGER, entry(1, Mark::NONE.id), true)
        .unwrap();
    assert_eq!(look(&one.twin(), &good).log_state().unwrap().heads.len(), 3, "it may append");
    repo.forge_entry(STRANGER, entry(1, Mark::NONE.id), false).unwrap();
    let error = one.twin().look(world.storage.clone()).err().unwrap();
    assert!(matches!(&error, RepoError::Log(_)) && error.to_string().contains("signature"), "{error}");
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(check(&world.open().unwrap()).unwrap().damage_total > 0);
}

#[test]
fn rights_are_given_by_those_who_have_them() {
    let (world, one, two) = closed();
    let third = Client::new("three", Unlock::new_key_file().unwrap().0);
    let two = two.open(world.storage.clone()).unwrap();
    two.add_slot(&third.unlock, &NO_KDF, "three", true, 6).unwrap();
    let repo = third.open(world.storage.clone()).unwrap();
    third.backup(&world, 5);
    forget(&repo, &snapshots(&repo)[..1]);
    prune(&repo).unwrap();
    // What two admitted counts for everybody; taken back by the first, it does not.
    let first = look(&one, &world);
    let rights = |of: &Repository| {
        let state = first.log_state().unwrap();
        state.heads.iter().find(|head| head.client == of.own_client()).unwrap().rights
    };
    assert_eq!((rights(&two), rights(&repo)), (ALL, ALL));
    first.admit_client(repo.own_client(), APPEND | PRUNE, NOW).unwrap();
    assert_eq!(rights(&repo), APPEND | PRUNE);
    let repo = third.open(world.storage.clone()).unwrap();
    let error = forgetting::forget(&repo, &snapshots(&repo).into_iter().collect(), NOW).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("may not"), "{error}");
    assert!(repo.admit(public_of([9; 32]), ALL, NOW).is_err(), "it may not admit any more");
    prune(&repo).unwrap();
    assert_eq!(world.assert_sound(&one.open(world.storage.clone()).unwrap()).damage_total, 0);
}

/// A repository of before logs: who was there keeps all rights when the first gets fewer.
#[test]
fn who_was_known_before_rights_were_told_apart_keeps_them() {
    let (world, one, two) = scene();
    // The admission of the second slot, as older programs did not write it.
    for (name, _) in world.storage.objects() {
        if name.family() == Family::Log {
            world.storage.delete(&name).unwrap();
        }
    }
    let (one, two) = (Client::new("one", one.unlock.clone()), Client::new("two", two.unlock.clone()));
    two.backup(&world, 0);
    let theirs = look(&two, &world);
    let error = theirs.admit(public_of(STRANGER), APPEND, NOW).unwrap_err();
    assert!(error.to_string().contains("the key that made the repository"), "{error}");
    look(&one, &world).admit(public_of(STRANGER), APPEND, NOW).unwrap();
    let repo = two.open(world.storage.clone()).unwrap();
    forget(&repo, &snapshots(&repo));
    let own = repo.log_state().unwrap().heads;
    assert!(own.iter().all(|head| head.rights == ALL), "{own:?}");
}
