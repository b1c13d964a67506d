//! Which snapshot a backup is compared with: the newest one that is alive, and only that one is read anew.

use crate::support::trees;
use crate::support::world::{self, Run, World, dry_run, files, open, run_request};
use dedup_engine::backup::{self, BackupError, BackupRequest, Parent};
use dedup_engine::forget;
use dedup_engine::id::{ObjectId, SessionId};
use dedup_engine::listing::Time;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::repo::control::Verdict;
use dedup_engine::storage::fault::{Call, FaultStorage};
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Name, Storage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Makes snapshots of a tree that changes each time; all of them are of one machine, whose index has copies of them.
fn scene(count: i64) -> (World, PathBuf, Vec<ObjectId>) {
    let world = World::new();
    let tree = world.scratch.dir("tree");
    let make = |moment| {
        trees::write(&tree.join("file"), format!("{moment}").as_bytes(), moment);
        world.backup(Run { tree: &tree, moment }).unwrap().snapshot.unwrap()
    };
    let all: Vec<ObjectId> = (0..count).map(make).collect();
    assert_eq!(parent(&world.open().unwrap(), &tree), all.last().copied());
    (world, tree, all)
}

/// Returns the snapshot that the next run would be compared with.
fn parent(repo: &Repository, tree: &Path) -> Option<ObjectId> {
    dry_run(repo, Run { tree, moment: 100 }).unwrap().parent
}

fn session(world: &World, id: ObjectId) -> SessionId {
    let all = world.open().unwrap().catalog().unwrap().0;
    all.into_iter().find(|(known, _)| *known == id).unwrap().1.session
}

/// This machine keeps a copy of every snapshot. Whatever becomes of the newest one in the storage, the next run is compared
/// with the one before it, whether it looks for its parent or is told to take that one.
#[test]
fn a_copy_that_is_kept_makes_no_parent() {
    let (world, tree, all) = scene(3);
    let (newest, end) = (Name::snapshot(all[2]), Name::end(session(&world, all[2])));
    type Change = Box<dyn Fn(&MemoryStorage, &Repository)>;
    let changes: [(&str, Change); 6] = [
        ("it is gone", Box::new(move |storage, _| storage.delete(&newest).unwrap())),
        ("its end is gone", Box::new(move |storage, _| storage.delete(&end).unwrap())),
        ("it is damaged", Box::new(move |storage, _| storage.replace(&newest, b"rubbish").unwrap())),
        ("its end is damaged", Box::new(move |storage, _| storage.replace(&end, b"rubbish").unwrap())),
        ("it was fenced", {
            Box::new(move |storage, repo| {
                storage.delete(&end).unwrap();
                let Name::Session(session, _) = end else { unreachable!() };
                repo.end_session(session, Verdict::Fenced(1)).unwrap();
            })
        }),
        ("it is forgotten", {
            let id = all[2];
            Box::new(move |_, repo| drop(forget::forget(repo, &[id].into(), Time::default()).unwrap()))
        }),
    ];
    for (what, change) in changes {
        let fork = world.fork_with_indexes();
        let repo = fork.open().unwrap();
        change(&fork.storage, &repo);
        drop(repo);
        assert_eq!(parent(&fork.open().unwrap(), &tree), Some(all[1]), "{what}");
        let run = run_request(100, &|| Duration::ZERO);
        let (module, parent) = ("files".into(), Parent::Snapshot(all[2]));
        let request = BackupRequest { run, module, sources: Vec::new(), parent };
        let named = backup::run(&fork.open().unwrap(), &files(&tree), &request, &Silent);
        assert!(matches!(named, Err(BackupError::NoParent(_) | BackupError::Repo(_))), "{what}: {named:?}");
    }
}

/// Once every run read all snapshots there were and the ends of their sessions, to be compared with one of them.
#[test]
fn a_run_reads_the_one_it_is_compared_with() {
    let (world, tree, all) = scene(30);
    let storage = Arc::new(FaultStorage::new(world.storage.clone()));
    let reads = |index: &Path| {
        let repo = open(storage.clone(), &world.unlock, index, &Silent).unwrap();
        storage.reset();
        world::backup(&repo, Run { tree: &tree, moment: 100 }).unwrap();
        let of = |what: &dyn Fn(&str) -> bool| {
            storage.calls().iter().filter(|call| call.call == Call::GetAll && what(&call.name)).count()
        };
        (of(&|name| name.starts_with("snapshots/")), of(&|name| name.ends_with(".end")))
    };
    assert_eq!(reads(&world.index()), (1, 1));
    // The one that this run has made is new to the next.
    assert_eq!(reads(&world.index()), (2, 1));
    let other = world.other_index("other");
    assert_eq!(reads(&other), (all.len() + 2 + 1, 1), "nothing is known there");
    assert_eq!(reads(&other), (2, 1));
    // A run that was cut off left a snapshot without an end: to be compared with, and to be told of in the log.
    let fork = world.fork();
    let left = world::backup(&fork.open().unwrap(), Run { tree: &tree, moment: 200 }).unwrap();
    let left = left.snapshot.unwrap();
    let left = Name::snapshot(left);
    world.storage.put(&left, &fork.storage.get_all(&left, 1 << 20).unwrap()).unwrap();
    assert_eq!(reads(&world.index()).1, 3);
}
