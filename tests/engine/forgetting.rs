//! Snapshots are forgotten, taken back and pinned, by several at once, and beside a prune.

use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::trees;
use crate::support::world::{Run, World, check, open_keys, snapshots};
use dedup_engine::error::Kind;
use dedup_engine::forget::{self, ForgetError, Oddity, Rules, candidates, plan};
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::listing::Time;
use dedup_engine::repo::Repository;
use dedup_engine::repo::control::{Condemned, Generation};
use dedup_engine::storage::{Family, Name, Put, Storage};
use std::collections::BTreeSet;
use std::sync::Arc;

const NOW: Time = Time { secs: 4_000_001_000, nanos: 0 };
const PRUNE: SessionId = SessionId::from_bytes([0xEE; 16]);

/// Makes a repository with three snapshots.
fn scene() -> (World, Vec<ObjectId>) {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    for moment in 0..3 {
        trees::write(&tree.join("file"), format!("state {moment}").as_bytes(), moment);
        world.backup(Run { tree: &tree, moment }).unwrap();
    }
    let all = snapshots(&world.open().unwrap());
    (world, all)
}

fn keys(world: &World) -> Repository {
    open_keys(world.storage.clone(), &world.unlock).unwrap()
}

fn set(ids: &[ObjectId]) -> BTreeSet<ObjectId> {
    ids.iter().copied().collect()
}

fn numbers(world: &World) -> Vec<u64> {
    let names = world.storage.objects().into_iter().map(|(name, _)| name);
    names.filter(|name| name.family() == Family::Retention).filter_map(|name| name.number()).collect()
}

#[test]
fn what_is_forgotten_is_gone_for_everybody_and_comes_back() {
    let (world, all) = scene();
    let repo = world.open().unwrap();
    assert_eq!(forget::forget(&repo, &set(&all[..2]), NOW).unwrap(), set(&all[..2]));
    assert_eq!(forget::forget(&repo, &set(&all[..1]), NOW).unwrap(), set(&[]), "once is enough");
    assert_eq!(snapshots(&keys(&world)), all[2..]);
    assert_eq!(repo.catalog_with_forgotten().unwrap().0.len(), 3);
    assert_eq!(numbers(&world), [1]);
    world.assert_sound(&repo);
    assert_eq!(forget::take_back(&repo, Some(&set(&all[1..])), NOW).unwrap(), set(&all[1..2]));
    assert_eq!(snapshots(&keys(&world)), all[1..]);
    assert_eq!(numbers(&world), [2], "older words are gone, so that none can come back");
    assert_eq!(forget::take_back(&repo, None, NOW).unwrap(), set(&all[..1]));
    assert_eq!(snapshots(&repo), all);
    let tree = world.scratch.path("tree");
    let now = Tree::read(&tree);
    world.assert_restores(&repo, all[2], Run { tree: &tree, moment: 0 }, &now);
}

#[test]
fn nobody_forgets_what_is_pinned() {
    let (world, all) = scene();
    let repo = keys(&world);
    forget::forget(&repo, &set(&all[..1]), NOW).unwrap();
    assert_eq!(forget::pin(&repo, &set(&all[..2]), true, NOW).unwrap(), set(&all[..2]));
    assert_eq!(snapshots(&repo), all, "a pin takes back");
    let refused = forget::forget(&repo, &set(&all[1..]), NOW);
    assert!(matches!(refused, Err(ForgetError::Pinned(id)) if id == all[1]), "{refused:?}");
    assert_eq!(snapshots(&repo), all, "nothing of it was done");
    assert_eq!(forget::candidates(&repo).unwrap().iter().filter(|one| one.is_pinned).count(), 2);
    assert_eq!(forget::pin(&repo, &set(&all), false, NOW).unwrap(), set(&all[..2]));
    forget::forget(&repo, &set(&all[1..]), NOW).unwrap();
    assert_eq!(snapshots(&repo), all[..1]);
}

/// The word is lost or damaged: nothing is forgotten then, and nothing more is until somebody writes a whole one.
#[test]
fn without_a_readable_word_nothing_is_forgotten() {
    let (world, all) = scene();
    let repo = world.open().unwrap();
    forget::forget(&repo, &set(&all[..2]), NOW).unwrap();
    let bytes = world.storage.get_all(&Name::retention(1), 1 << 20).unwrap();
    for at in [7, 20, 60, 100, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        world.storage.overwrite(Name::retention(1), &damaged);
        assert_eq!(snapshots(&repo), all, "byte {at}");
        for result in
            [forget::forget(&repo, &set(&all[..1]), NOW), forget::pin(&repo, &set(&all[..1]), true, NOW)]
        {
            assert!(!matches!(result, Ok(_) | Err(ForgetError::Gone(_))), "{result:?}");
        }
        let report = check(&repo).unwrap();
        assert_eq!(report.findings[0].object, Name::retention(1).to_string());
    }
    let moved = Name::retention(2);
    world.storage.overwrite(moved, &bytes);
    assert_eq!(snapshots(&repo), all, "an object under another name");
    assert_eq!(forget::take_back(&repo, None, NOW).unwrap(), set(&[]), "written anew");
    assert_eq!(numbers(&world), [3]);
    world.assert_sound(&repo);
    world.storage.delete(&Name::retention(3)).unwrap();
    assert_eq!(snapshots(&repo), all);
}

/// Eight that forget one each at the same time: nobody's word is lost.
#[test]
fn words_of_many_come_one_after_another() {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    for moment in 0..8 {
        trees::write(&tree.join("file"), format!("state {moment}").as_bytes(), moment);
        world.backup(Run { tree: &tree, moment }).unwrap();
    }
    let all = snapshots(&keys(&world));
    std::thread::scope(|scope| {
        for id in &all {
            let repo = keys(&world);
            scope.spawn(move || while forget::forget(&repo, &set(&[*id]), NOW).is_err() {});
        }
    });
    assert_eq!(keys(&world).retention().unwrap().forgotten, set(&all));
    assert_eq!(numbers(&world).len(), 1);
}

/// A writer sleeps between reading and writing, while others write and delete: the number that it takes is free
/// again, but counts for nobody. It must not believe that it was heard.
#[test]
fn a_sleeping_writer_is_heard_all_the_same() {
    let (world, all) = scene();
    let other = keys(&world);
    let ids = all.clone();
    // The sleeper's object is stored, and the others' come as if they had been there all the time.
    let slow = Hooked::once(
        world.storage.clone(),
        |name| matches!(name, Name::Retention(_)),
        move || drop(forget::forget(&other, &set(&ids[1..2]), NOW).unwrap()),
    );
    let sleeper = open_keys(slow, &world.unlock).unwrap();
    forget::forget(&sleeper, &set(&all[..1]), NOW).unwrap();
    assert_eq!(keys(&world).retention().unwrap().forgotten, set(&all[..2]));
}

fn condemn(repo: &Repository, ids: &[ObjectId]) {
    let set =
        Condemned { number: 1, base: 0, session: Some(PRUNE), snapshots: ids.to_vec(), ..Default::default() };
    assert_eq!(repo.publish_condemned(&set).unwrap(), Put::Stored);
}

fn remove(repo: &Repository, ids: &[ObjectId]) -> Put {
    let mut generation = Generation::empty(1, ObjectId::from_bytes([0; 32]), PRUNE);
    generation.condemned = 1;
    generation.snapshots = ids.to_vec();
    repo.publish_generation(generation).unwrap()
}

/// A prune has condemned the snapshot when it is taken back: its generation is taken from it, so it looks again.
#[test]
fn what_is_taken_back_no_prune_removes() {
    let (world, all) = scene();
    let repo = keys(&world);
    forget::forget(&repo, &set(&all[..2]), NOW).unwrap();
    condemn(&repo, &all[..2]);
    assert_eq!(forget::take_back(&repo, Some(&set(&all[..1])), NOW).unwrap(), set(&all[..1]));
    assert_eq!(remove(&repo, &all[..2]), Put::Present, "the prune comes too late");
    assert_eq!(snapshots(&repo), [all[0], all[2]]);
}

#[test]
fn what_a_prune_has_removed_does_not_come_back() {
    let (world, all) = scene();
    let repo = keys(&world);
    forget::forget(&repo, &set(&all[..2]), NOW).unwrap();
    condemn(&repo, &all[..1]);
    assert_eq!(remove(&repo, &all[..1]), Put::Stored);
    let result = forget::take_back(&repo, Some(&set(&all[..2])), NOW);
    let Err(error @ ForgetError::Gone(_)) = result else { panic!("{result:?}") };
    assert_eq!(error.kind(), Kind::Missing);
    assert_eq!(snapshots(&repo), all[1..], "the other one is back");
}

/// The prune publishes in the middle of the look.
#[test]
fn a_prune_that_is_quicker_is_believed() {
    let (world, all) = scene();
    let prune = Arc::new(keys(&world));
    forget::forget(&prune, &set(&all[..1]), NOW).unwrap();
    condemn(&prune, &all[..1]);
    let (hook, ids) = (prune.clone(), all.clone());
    let storage = Hooked::new(
        world.storage.clone(),
        Box::new(move |name: &Name| {
            if matches!(name, Name::Retention(_)) {
                remove(&hook, &ids[..1]);
            }
        }),
    );
    let repo = open_keys(storage, &world.unlock).unwrap();
    let result = forget::take_back(&repo, Some(&set(&all[..1])), NOW);
    assert!(matches!(result, Err(ForgetError::Gone(_))), "{result:?}");
}

/// A machine's clock is a year behind for a night: its snapshot is the newest all the same, for whoever asks for the
/// latest, for the next backup, which goes on from it, and for rules, which give it the day it was made on. A second
/// machine that remembers what an earlier program remembered, without any order, says the same.
#[test]
fn the_newest_is_what_was_stored_last() {
    const DAY: i64 = 86_400;
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let mut all = Vec::new();
    for moment in [0, DAY, -365 * DAY, 3 * DAY, 4 * DAY] {
        trees::write(&tree.join("file"), format!("{moment}").as_bytes(), moment);
        let report = world.backup(Run { tree: &tree, moment }).unwrap();
        assert_eq!(report.parent, all.last().copied());
        all.push(report.snapshot.unwrap());
        assert_eq!(snapshots(&world.open().unwrap()), all);
    }
    let repo = world.open().unwrap();
    let daily = Rules { counts: [0, 0, 9, 0, 0, 0], ..Rules::default() };
    let now = Time { secs: 4_000_000_000 + 4 * DAY + 1000, nanos: 0 };
    let plan = plan(&candidates(&repo).unwrap(), &daily, now);
    assert_eq!(plan.forgotten(), set(&[]), "five days, each its own");
    let days: Vec<i64> = plan.decisions.iter().map(|one| (now.secs - one.secs) / DAY).collect();
    assert_eq!(days, [0, 1, 2, 3, 4]);
    assert_eq!(plan.oddities, [Oddity::OutOfOrder { snapshots: 1 }]);
    // Nor do its parents say it: there are none.
    let other = world.scratch.dir("other");
    let report = world.backup(Run { tree: &other, moment: -100 * DAY }).unwrap();
    assert_eq!((report.parent, snapshots(&repo).pop()), (None, report.snapshot));
}
