//! New key epochs: what is stored from then on opens for those who were taken along, what others write counts for nothing,
//! and nobody but the first signer begins one.

use super::epochs_left_out::Blind;
use super::witness::{NOW, look, scene};
use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::pruned::{assert_nothing_left, forget, prune};
use crate::support::trees;
use crate::support::witness::Client;
use crate::support::world::{NO_KDF, Run, World, backup, check, open_keys, restore_to_memory, snapshots};
use dedup_engine::crypto::keyring::client_of;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::{ClientId, ObjectId};
use dedup_engine::log::{ALL, APPEND};
use dedup_engine::repo::{RepoError, Repository, public_of};
use dedup_engine::storage::{Family, Name, Part, Storage};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// The signing key of somebody who has DEDUPE and may only append.
pub const STRANGER: [u8; 32] = [0x5A; 32];

fn public(seed: [u8; 32]) -> ClientId {
    client_of(&public_of(seed))
}

pub fn slot_of(repo: &Repository, label: &str) -> ObjectId {
    repo.slots().unwrap().into_iter().find(|slot| slot.label == label).unwrap().id
}

/// Begins an epoch with the key of `one`, taking along those with these labels; returns its number.
pub fn rotate(one: &Client, world: &World, labels: &[&str]) -> u32 {
    let repo = look(one, world);
    let keep: BTreeSet<ObjectId> = labels.iter().map(|label| slot_of(&repo, label)).collect();
    repo.open_epoch(&keep, NOW).unwrap().number
}

/// A machine with a key of its own that is added by `one`.
pub fn added(world: &World, one: &Client, host: &'static str, add: fn(&Repository, &Unlock, &str)) -> Client {
    let client = Client::new(host, Unlock::new_key_file().unwrap().0);
    add(&look(one, world), &client.unlock, host);
    client
}

pub fn full(repo: &Repository, unlock: &Unlock, label: &str) {
    repo.add_slot(unlock, &NO_KDF, label, true, 6).unwrap();
}

fn without_secrets(repo: &Repository, unlock: &Unlock, label: &str) {
    repo.add_slot(unlock, &NO_KDF, label, false, 7).unwrap();
}

fn writes_only(repo: &Repository, unlock: &Unlock, label: &str) {
    repo.add_write_only_slot(unlock, &NO_KDF, label, 8).unwrap();
}

/// Returns the epochs of all objects of a family.
fn epochs_of(world: &World, family: Family) -> BTreeSet<u32> {
    let repo = open_keys(world.storage.clone(), &world.unlock).unwrap();
    let names = world.storage.objects().into_iter().map(|(name, _)| name);
    names.filter(|name| name.family() == family).map(|name| repo.epoch_of(&name).unwrap()).collect()
}

#[test]
fn what_is_stored_then_opens_for_those_who_were_taken_along() {
    let (world, one, two) = scene();
    let three = added(&world, &one, "three", without_secrets);
    let writer = added(&world, &one, "writer", writes_only);
    let thief = added(&world, &one, "thief", full);
    let before: Vec<ObjectId> =
        [&one, &two, &three, &writer, &thief].map(|client| client.backup(&world, 0)).into();
    // He has a copy of everything, and of his key.
    let (stolen, id) = (world.fork(), slot_of(&look(&thief, &world), "thief"));
    let slot = stolen.storage.get_all(&Name::slot(id), 1 << 16).unwrap();
    look(&one, &world).remove_slot(&id).unwrap();
    assert_eq!(rotate(&one, &world, &["two", "three", "writer"]), 2);

    let after: Vec<ObjectId> = [&one, &two, &three, &writer].map(|client| client.backup(&world, 1)).into();
    assert_eq!(epochs_of(&world, Family::Packs), BTreeSet::from([1, 2]));
    assert_eq!(epochs_of(&world, Family::Log), BTreeSet::from([1]));
    for client in [&one, &two, &three] {
        let repo = client.open(world.storage.clone()).unwrap();
        let there = snapshots(&repo);
        assert!(before.iter().chain(&after).all(|id| there.contains(id)), "{}", client.host);
        for id in &there {
            let (files, report) = restore_to_memory(&repo, *id).unwrap();
            assert!(!files.is_empty() && report.damaged == 0, "{}: {report:?}", client.host);
        }
        world.assert_sound(&repo);
    }
    // A new machine finds all of it too, and a key that is added now needs no epoch of before.
    let four = added(&world, &two, "four", full);
    assert_eq!(snapshots(&four.open(world.storage.clone()).unwrap()).len(), 9);
    four.backup(&world, 2);
    world.assert_sound(&world.open_afresh());

    // What he has opens what it opened before, and nothing since.
    world.storage.put(&Name::slot(id), &slot).unwrap();
    let repo = open_keys(world.storage.clone(), &thief.unlock).unwrap();
    let (_, faults) = repo.catalog().unwrap();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(faults.iter().all(|(_, fault)| fault.kind() == Kind::Refused), "{faults:?}");
    let error = repo.add_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "x", true, 9).unwrap_err();
    assert!(matches!(error, RepoError::LeftOut { epoch: 2 }), "{error}");
    assert!(error.hint().unwrap().contains("dedup key add"));
}

/// Deduplication goes on over epochs: what was stored in the one before is not stored again.
#[test]
fn what_was_stored_before_is_not_stored_again() {
    let (world, one, two) = scene();
    let tree = world.scratch.dir("tree");
    trees::build_small(&tree, 3);
    let run = |moment| Run { tree: &tree, moment };
    backup(&one.open(world.storage.clone()).unwrap(), run(0)).unwrap();
    rotate(&one, &world, &["two"]);
    let again = backup(&one.open(world.storage.clone()).unwrap(), run(10)).unwrap();
    assert!(again.totals.bytes_read == 0 && again.totals.chunks_new <= 4, "{:?}", again.totals);
    // Also for a machine with an index of its own, made anew.
    let repo = two.open(world.storage.clone()).unwrap();
    let other = backup(&repo, run(20)).unwrap();
    // Directories above the tree are of other tests too.
    let is_little = other.totals.bytes_read == 0 && other.totals.chunks_new <= 4;
    assert!(is_little, "{:?}", other.totals);
    world.assert_restores(&repo, other.snapshot.unwrap(), run(0), &Tree::read(&tree));
    assert_eq!(rotate(&one, &world, &["two"]), 3, "and once more");
    assert!(backup(&one.open(world.storage.clone()).unwrap(), run(30)).unwrap().totals.chunks_new <= 4);
    // What one of an earlier epoch stored, a prune repacks under the newest.
    let repo = one.open(world.storage.clone()).unwrap();
    let all = snapshots(&repo);
    forget(&repo, &all[..2]);
    prune(&repo).unwrap();
    assert_nothing_left(&repo, "after two epochs");
    world.assert_sound(&world.open_afresh());
}

/// A run begins before an epoch does, and commits after it.
#[test]
fn a_backup_under_way_when_an_epoch_begins_counts() {
    let (world, one, two) = scene();
    one.backup(&world, 0);
    let tree = world.scratch.dir("tree");
    trees::build_small(&tree, 5);
    let run = Run { tree: &tree, moment: 10 };
    let is_pack = |name: &Name| name.family() == Family::Packs;
    let is_end = |name: &Name| matches!(name, Name::Session(_, Part::End));
    for (at, what) in [(is_pack as fn(&Name) -> bool, "pack"), (is_end, "end")] {
        let world = world.fork();
        let (storage, first) = (world.storage.clone(), one.twin());
        let hooked = Hooked::once(world.storage.clone(), at, move || {
            let repo = first.look(storage.clone()).unwrap();
            repo.open_epoch(&[slot_of(&repo, "two")].into(), NOW).unwrap();
        });
        let twin = two.twin();
        let id = backup(&twin.open(hooked).unwrap(), run).unwrap().snapshot.unwrap();
        for client in [one.twin(), two.twin(), Client::new("new", world.unlock.clone())] {
            let repo = client.open(world.storage.clone()).unwrap();
            assert!(snapshots(&repo).contains(&id), "{what}: {}", client.host);
            world.assert_restores(&repo, id, run, &Tree::read(&tree));
            // The two that were taken along, by their new signers.
            assert_eq!(repo.log_state().unwrap().heads.iter().filter(|head| head.rights == ALL).count(), 2);
        }
        world.assert_sound(&world.open().unwrap());
        // Whatever its segments are, the next one relies on what it stored, and a prune takes nothing of it.
        let next =
            backup(&two.twin().open(world.storage.clone()).unwrap(), Run { moment: 20, ..run }).unwrap();
        assert!(next.totals.bytes_read == 0 && next.totals.chunks_new <= 4, "{what}: {:?}", next.totals);
        prune(&world.open().unwrap()).unwrap();
        for repo in [world.open().unwrap(), world.open_afresh()] {
            world.assert_restores(&repo, id, run, &Tree::read(&tree));
            world.assert_sound(&repo);
        }
    }
}

/// The end is stored, and an epoch begins before the entry is: a prune finds a snapshot that nobody has logged.
#[test]
fn a_prune_takes_nothing_of_a_run_that_is_about_to_write_its_entry() {
    let (world, one, two) = scene();
    let tree = world.scratch.dir("tree");
    trees::build_small(&tree, 5);
    let (storage, first) = (world.storage.clone(), one.twin());
    let act = move |name: &Name| match name {
        Name::Snapshot(_) => {
            let repo = first.look(storage.clone()).unwrap();
            repo.open_epoch(&[slot_of(&repo, "two")].into(), NOW).unwrap();
        }
        Name::Session(_, Part::End) => {
            let repo = first.open(storage.clone()).unwrap();
            assert_eq!(snapshots(&repo), [], "it has no entry yet");
            prune(&repo).ok();
        }
        _ => {}
    };
    let hooked = Hooked::new(world.storage.clone(), Box::new(act));
    let run = Run { tree: &tree, moment: 0 };
    let id = backup(&two.twin().open(hooked).unwrap(), run).unwrap().snapshot.unwrap();
    world.assert_restores(&world.open_afresh(), id, run, &Tree::read(&tree));
    world.assert_sound(&world.open().unwrap());
}

#[test]
fn only_the_first_signer_begins_an_epoch() {
    let (world, one, two) = scene();
    let writer = added(&world, &one, "writer", writes_only);
    for client in [&two, &writer] {
        let repo = look(client, &world);
        let error = repo.open_epoch(&BTreeSet::new(), NOW).unwrap_err();
        assert!(
            error.kind() == Kind::Refused && error.to_string().contains("made the repository"),
            "{error}"
        );
    }
    // What anybody else signs, or what does not follow, is void; its number is used up.
    let repo = look(&two, &world);
    repo.forge_epoch(STRANGER, 2, ALL).unwrap();
    // Whatever its header says: once one that named a later epoch, or a later cipher, kept everybody out.
    let mut forged = world.storage.get_all(&Name::epoch(2), 1 << 20).unwrap();
    forged[12] = 99;
    world.storage.put(&Name::epoch(3), &forged).unwrap();
    forged[8] = 9;
    world.storage.put(&Name::log(public(STRANGER), 1), &forged).unwrap();
    for client in [&one, &two, &writer, &Client::new("new", world.unlock.clone())] {
        client.backup(&world, 0);
        assert!(look(client, &world).log_state().is_ok());
    }
    assert_eq!(epochs_of(&world, Family::Packs), BTreeSet::from([1]));
    let report = check(&world.open().unwrap()).unwrap();
    let told: Vec<_> = report.findings.iter().filter(|found| found.object.starts_with("epochs/")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    // They give way, since nobody else could have stored one that counts.
    assert_eq!(rotate(&one, &world, &["two", "writer"]), 2);
    // The key that made the repository may go on; a signer of the time before may not.
    assert_eq!(rotate(&one, &world, &["two"]), 3);
    assert!(look(&two, &world).open_epoch(&BTreeSet::new(), NOW).is_err());
    two.backup(&world, 1);
    // The rubbish in the log is named, and nothing else.
    let repo = Client::new("new", world.unlock.clone()).open(world.storage.clone()).unwrap();
    let report = check(&repo).unwrap();
    assert!(
        report.findings.iter().all(|found| !found.object.starts_with("epochs/")),
        "{:?}",
        report.findings
    );
}

/// What was written before an epoch is missed after it as well. Once nobody complained of the logs of the time before any
/// more, since their writers sign with other keys now.
#[test]
fn entries_of_the_time_before_are_missed() {
    let (world, one, two) = scene();
    for moment in 0..3 {
        two.backup(&world, moment);
    }
    let client = look(&two, &world).own_client();
    rotate(&one, &world, &["two"]);
    for client in [&one, &two] {
        client.backup(&world, 5);
    }
    world.storage.delete(&Name::log(client, 2)).unwrap();
    for seen in [one.twin(), two.twin()] {
        look(&seen, &world);
        let report = check(&seen.open(world.storage.clone()).unwrap()).unwrap();
        assert!(report.damage_total > 0, "{}", seen.host);
    }
    let error = Client::new("new", world.unlock.clone()).look(world.storage.clone()).err().unwrap();
    assert!(matches!(error, RepoError::Log(_)), "{error}");
}

/// A run says that it is done when the epoch is being made, and not to be seen yet. Its entry is behind the end that the
/// epoch names.
#[test]
fn what_is_committed_while_an_epoch_is_made_counts() {
    let (world, one, two) = scene();
    two.backup(&world, 0);
    let (quick, storage) = (two.twin(), world.storage.clone());
    let tree = world.scratch.dir("tree");
    trees::write(&tree.join("file"), b"just in time", 3);
    let made: Arc<OnceLock<ObjectId>> = Arc::default();
    let (told, place) = (Arc::clone(&made), tree.clone());
    let is_epoch = |name: &Name| name.family() == Family::Epochs;
    let hooked = Hooked::once(world.storage.clone(), is_epoch, move || {
        let repo = quick.open(Arc::new(Blind(storage.clone()))).unwrap();
        let done = backup(&repo, Run { tree: &place, moment: 5 }).unwrap();
        told.set(done.snapshot.unwrap()).unwrap();
    });
    let repo = one.look(hooked).unwrap();
    repo.open_epoch(&[slot_of(&repo, "two")].into(), NOW).unwrap();
    let id = *made.get().unwrap();
    for client in [one.twin(), two.twin(), Client::new("new", world.unlock.clone())] {
        let repo = client.open(world.storage.clone()).unwrap();
        assert!(snapshots(&repo).contains(&id), "{}", client.host);
        world.assert_restores(&repo, id, Run { tree: &tree, moment: 5 }, &Tree::read(&tree));
    }
    world.assert_sound(&world.open().unwrap());
}

#[test]
fn rights_after_an_epoch_are_those_that_it_names() {
    let (world, one, two) = scene();
    let writer = added(&world, &one, "writer", writes_only);
    rotate(&one, &world, &["two", "writer"]);
    for client in [&one, &two, &writer] {
        client.backup(&world, 0);
    }
    let rights = |client: &Client| {
        let state = look(client, &world).log_state().unwrap();
        state.heads.into_iter().find(|head| head.is_own).unwrap().rights
    };
    assert_eq!([&one, &two, &writer].map(rights), [ALL, ALL, APPEND]);
    // Who may give rights goes on to; and each machine that remembers the time before reads on.
    let three = added(&world, &two, "three", full);
    let all = three.backup(&world, 1);
    forget(&three.open(world.storage.clone()).unwrap(), &[all]);
    prune(&three.open(world.storage.clone()).unwrap()).unwrap();
    assert_eq!(snapshots(&one.open(world.storage.clone()).unwrap()).len(), 3);
    world.assert_sound(&two.open(world.storage.clone()).unwrap());
}

#[test]
fn an_epoch_that_was_there_is_missed() {
    let (world, one, two) = scene();
    one.backup(&world, 0);
    let old = two.twin();
    rotate(&one, &world, &["two"]);
    let before = one.backup(&world, 1);
    look(&two, &world);
    let four = added(&world, &two, "four", full);
    for (name, bytes) in [(Name::epoch(2), None), (Name::epoch(2), Some(b"rotten".to_vec()))] {
        let world = world.fork();
        world.storage.delete(&name).unwrap();
        if let Some(bytes) = bytes {
            world.storage.put(&name, &bytes).unwrap();
        }
        // By who remembers it, by who reads the entry of it, and by who holds its roots.
        for client in [one.twin(), two.twin(), old.twin(), Client::new("new", world.unlock.clone())] {
            let error = client.look(world.storage.clone()).err().unwrap();
            assert!(matches!(error, RepoError::Log(_)) && error.to_string().contains("epochs/"), "{error}");
        }
        let error = four.look(world.storage.clone()).err().unwrap();
        assert!(error.kind() == Kind::Integrity && error.to_string().contains("epochs/"), "{error}");
    }
    assert!(snapshots(&old.open(world.storage.clone()).unwrap()).contains(&before));
}

/// A passphrase was changed because somebody had seen it; he has the old slot too.
#[test]
fn a_copy_of_a_changed_slot_gets_no_later_roots() {
    let (world, one, two) = scene();
    let (id, stored) = look(&two, &world).export_slot().unwrap();
    let new = Client::new("two", Unlock::new_key_file().unwrap().0);
    look(&two, &world).change_slot(&new.unlock, &NO_KDF, 7).unwrap();
    rotate(&one, &world, &["two"]);
    new.backup(&world, 0);
    world.storage.put(&Name::slot(id), &stored).unwrap();
    let repo = open_keys(world.storage.clone(), &two.unlock).unwrap();
    let error = repo.add_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "x", true, 9).unwrap_err();
    assert!(matches!(error, RepoError::LeftOut { epoch: 2 }), "{error}");
    // One that was put back is not taken along, whatever a person says.
    let error = look(&one, &world).open_epoch(&[id].into(), NOW).unwrap_err();
    assert!(error.to_string().contains("was removed"), "{error}");
}

/// A slot that is stored at the very moment would lack the roots of the new epoch for ever.
#[test]
fn a_key_that_is_added_at_that_moment_is_added_again() {
    let (world, one, two) = scene();
    let third = Unlock::new_key_file().unwrap().0;
    let (storage, first) = (world.storage.clone(), one.twin());
    let is_slot = |name: &Name| name.family() == Family::Keys;
    let hooked = Hooked::once(world.storage.clone(), is_slot, move || {
        let repo = first.look(storage.clone()).unwrap();
        repo.open_epoch(&[slot_of(&repo, "two")].into(), NOW).unwrap();
    });
    let repo = two.look(hooked).unwrap();
    let error = repo.add_slot(&third, &NO_KDF, "third", true, 9).unwrap_err();
    assert!(error.to_string().contains("try again"), "{error}");
    assert_eq!(repo.slots().unwrap().len(), 2, "it is gone again");
    repo.add_slot(&third, &NO_KDF, "third", true, 9).unwrap();
    Client::new("third", third).backup(&world, 0);
}
