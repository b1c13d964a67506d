//! Keys that are added, changed and removed, stored in part and refused: no step may lock everybody out.
//! Cut off anywhere: `harness/crash/work.rs`.

use crate::support::world::{NO_KDF, World, open_keys};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::storage::fault::{Call, Fault, FaultStorage};
use dedup_engine::storage::{Family, Name, Storage};
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

/// Two people remove each other's slots. The first one's record is there and its slot still is, as it is for a moment in every
/// removal: the second one saw both, removed the first one's, and then nothing opened the repository.
#[test]
fn two_who_remove_each_other_leave_one_of_them() {
    let (world, theirs) = (World::new(), Unlock::new_key_file().unwrap().0);
    let slow = Arc::new(FaultStorage::new(world.storage.clone()));
    let ann = open_keys(slow.clone(), &world.unlock).unwrap();
    let of_ann = ann.slots().unwrap()[0].id;
    let of_ben = ann.add_slot(&theirs, &NO_KDF, "ben", true, 5).unwrap();
    let ben = open_keys(world.storage.clone(), &theirs).unwrap();
    slow.on_nth(Call::Delete, 0, Fault::FailBefore(std::io::ErrorKind::Interrupted));
    assert!(ann.remove_slot(&of_ben).is_err());
    let refused = ben.remove_slot(&of_ann).unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused, "{refused}");
    assert!(refused.to_string().contains("was removed by somebody else"), "{refused}");
    // Nor does a slot that goes count as one that stays.
    let third = Unlock::new_key_file().unwrap().0;
    let of_third = ann.add_slot(&third, &NO_KDF, "third", true, 6).unwrap();
    ann.remove_slot(&of_ben).unwrap();
    assert!(!opens(&world, &theirs) && opens(&world, &world.unlock));
    open_keys(world.storage.clone(), &third).unwrap().remove_slot(&of_ann).unwrap();
    let last = open_keys(world.storage.clone(), &third).unwrap();
    assert_eq!(last.slots().unwrap().iter().map(|slot| slot.id).collect::<Vec<_>>(), [of_third]);
    world.assert_sound(&world_of(&world, &third));
}

fn world_of(world: &World, unlock: &Unlock) -> dedup_engine::repo::Repository {
    crate::support::world::open(
        world.storage.clone(),
        unlock,
        &world.index(),
        &dedup_engine::progress::Silent,
    )
    .unwrap()
}

/// Two processes ask for the same number; the listing that one of them got is old.
#[test]
fn a_listing_of_key_changes_that_lags_behind_hides_none() {
    let (world, theirs) = (World::new(), Unlock::new_key_file().unwrap().0);
    let ann = open_keys(world.storage.clone(), &world.unlock).unwrap();
    let of_ann = ann.slots().unwrap()[0].id;
    let of_ben = ann.add_slot(&theirs, &NO_KDF, "ben", true, 5).unwrap();
    let slow = Arc::new(FaultStorage::new(world.storage.clone()));
    slow.on_nth(Call::Delete, 0, Fault::FailBefore(std::io::ErrorKind::Interrupted));
    let lagging = Arc::new(FaultStorage::new(world.storage.clone()));
    lagging.lie(Family::KeyChanges, dedup_engine::storage::fault::Lie::Stale).unwrap();
    let ben = open_keys(lagging, &theirs).unwrap();
    assert!(open_keys(slow, &world.unlock).unwrap().remove_slot(&of_ben).is_err());
    assert!(ben.remove_slot(&of_ann).is_err());
    assert!(opens(&world, &world.unlock));
}

/// A record of a removal that is damaged names nobody, and bars no later one; `check` tells of it.
#[test]
fn a_damaged_key_change_bars_nothing() {
    let world = World::new();
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    let add = || repo.add_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "", true, 5).unwrap();
    for _ in 0..2 {
        repo.remove_slot(&add()).unwrap();
    }
    let name = Name::key_change(1);
    world.storage.delete(&name).unwrap();
    world.storage.put(&name, b"rubbish").unwrap();
    repo.remove_slot(&add()).unwrap();
    assert!(world.storage.len(&Name::key_change(3)).unwrap().is_some());
    let report = crate::support::world::check(&world_of(&world, &world.unlock)).unwrap();
    assert!(
        report.findings.iter().any(|finding| finding.object == name.to_string()),
        "{:?}",
        report.findings
    );
}
