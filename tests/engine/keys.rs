//! Keys that are added, changed and removed, stored in part and refused: no step may lock everybody out.
//! Cut off anywhere: `harness/crash/work.rs`.

use crate::support::world::{NO_KDF, World, open_keys};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::storage::fault::{Call, Fault, FaultStorage};
use dedup_engine::storage::{Family, Name};
use std::sync::Arc;

fn opens(world: &World, unlock: &Unlock) -> bool {
    match open_keys(world.storage.clone(), unlock) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), Kind::WrongKey, "{error}");
            false
        }
    }
}

#[test]
fn opening_reads_the_configuration_once() {
    let world = World::new();
    let counting = Arc::new(FaultStorage::new(world.storage.clone()));
    open_keys(counting.clone(), &world.unlock).unwrap();
    let reads = counting.calls().into_iter().filter(|call| call.name == Name::config().to_string());
    assert_eq!(reads.count(), 1);
}

/// A storage that keeps half of the new slot and says that all is well must not make `key change` delete
/// the old one: then nothing would open the repository any more.
#[test]
fn a_slot_that_was_stored_in_part_replaces_nothing() {
    for keep in [0, 1, 100, 300] {
        let (world, new) = (World::new(), Unlock::new_key_file().unwrap().0);
        let storage = Arc::new(FaultStorage::new(world.storage.clone()));
        let mut repo = open_keys(storage.clone(), &world.unlock).unwrap();
        storage.on_nth(Call::Put, 0, Fault::Tear(keep));
        assert!(repo.change_slot(&new, &NO_KDF, 6).is_err(), "{keep} bytes of a slot pass for a slot");
        assert!(opens(&world, &world.unlock));
    }
    let world = World::without_repository();
    let storage = Arc::new(FaultStorage::new(world.storage.clone()));
    storage.on_nth(Call::Put, 0, Fault::Tear(100));
    let made = crate::support::world::create(storage, &world.unlock);
    assert!(made.is_err(), "init says that all is well, and nothing opens the repository");
}

/// Somebody removes a slot between our listing of the slots and our reading of it.
#[test]
fn a_slot_that_goes_while_we_open_hinders_nobody() {
    let world = World::new();
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    let other = Unlock::new_key_file().unwrap().0;
    let storage = Arc::new(FaultStorage::new(world.storage.clone()));
    let gone = repo.add_slot(&other, &NO_KDF, "", true, 5).unwrap();
    let listed = dedup_engine::storage::fault::Lie::Stale;
    storage.lie(Family::Keys, listed).unwrap();
    repo.remove_slot(&gone).unwrap();
    open_keys(storage, &world.unlock).unwrap();
}

#[test]
fn the_last_full_slot_and_the_one_in_use_stay() {
    let (world, other) = (World::new(), Unlock::new_key_file().unwrap().0);
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    let mine = repo.slots().unwrap()[0].id;
    assert_eq!(repo.remove_slot(&mine).unwrap_err().kind(), Kind::Refused);
    repo.add_slot(&other, &NO_KDF, "no secrets", false, 5).unwrap();
    let theirs = open_keys(world.storage.clone(), &other).unwrap();
    assert_eq!(theirs.remove_slot(&mine).unwrap_err().kind(), Kind::Refused, "it does not hold all keys");
    assert!(opens(&world, &world.unlock) && opens(&world, &other));
}
