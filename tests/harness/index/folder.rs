//! A local index that is lost, old, damaged or another's, and a storage that is older than the index: the
//! next run heals itself, and nothing is vouched for that is not there.

use crate::support::compare::Tree;
use crate::support::memory_sink::MemorySink;
use crate::support::world::{Run, World, backup, check, open, snapshots};
use crate::support::{Scratch, TestEvents, copy_dir, trees};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::restore::{self, RestoreError, RestoreRequest};
use dedup_engine::storage::memory::MemoryStorage;
use dedup_engine::storage::{Family, Name, Storage};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Two backups of a tree, and copies of index and storage from between them.
struct History {
    scratch: Scratch,
    world: World,
    made: Vec<(ObjectId, Tree)>,
    old_index: PathBuf,
    old_storage: MemoryStorage,
}

impl History {
    fn new(seed: u64) -> Self {
        let (scratch, world) = (Scratch::new(), World::new());
        let tree = scratch.dir("tree");
        trees::build_small(&tree, seed);
        let mut made = Vec::new();
        let mut backup = |moment| {
            let report = world.backup(Run { tree: &tree, moment }).unwrap();
            made.push((report.snapshot.unwrap(), Tree::read(&tree)));
        };
        backup(0);
        let old_index = scratch.path("old index");
        copy_dir(&world.index(), &old_index);
        let old_storage = world.storage.fork();
        trees::change(&tree, seed);
        backup(10);
        Self { scratch, world, made, old_index, old_storage }
    }

    fn tree(&self) -> PathBuf {
        self.scratch.path("tree")
    }

    /// Opens with an index, restores everything, backs up something new, and then does all that again
    /// with an index made from the storage alone.
    fn assert_works_with(&self, world: &World, index: &Path, context: &str) {
        let tree = self.tree();
        trees::write(&tree.join("new"), format!("{context} {}", "x".repeat(5000)).as_bytes(), 77);
        let run = Run { tree: &tree, moment: 30 };
        let mut made = self.made.clone();
        let repo = open(world.storage.clone(), &world.unlock, index, &TestEvents::default())
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        made.iter().for_each(|(id, tree)| world.assert_restores(&repo, *id, run, tree));
        let report = backup(&repo, run).unwrap_or_else(|error| panic!("{context}: {error}"));
        made.push((report.snapshot.unwrap(), Tree::read(&tree)));
        drop(repo);
        let fresh = world.open_afresh();
        made.iter().for_each(|(id, tree)| world.assert_restores(&fresh, *id, run, tree));
        let found = world.assert_sound(&fresh).findings;
        assert!(found.is_empty(), "{context}: {found:?}");
    }
}

#[test]
fn an_index_that_was_lost_or_is_old_heals() {
    let history = History::new(40);
    for (context, prepare) in
        [("lost", None), ("old", Some(&history.old_index)), ("of now", Some(&history.world.index()))]
    {
        let world = history.world.fork();
        if let Some(from) = prepare {
            copy_dir(from, &world.index());
        }
        history.assert_works_with(&world, &world.index(), context);
    }
}

#[test]
fn an_index_of_another_repository_is_not_believed() {
    let history = History::new(41);
    let other = World::new();
    // The other repository holds the same content, under other names.
    other.backup(Run { tree: &history.tree(), moment: 0 }).unwrap();
    history.assert_works_with(&history.world, &other.index(), "another's");
}

/// Restores all but the file of 1 GiB that is one hole, without a file system.
fn restore_files(repo: &Repository, snapshot: ObjectId) -> Result<(), RestoreError> {
    let (_, snapshot) = repo.snapshots()?.into_iter().find(|(id, _)| *id == snapshot).unwrap();
    let select = |_: &StoredPath, node: &Node| node.size() < 1 << 24;
    let request = RestoreRequest { base: StoredPath::root(), select: &select, threads: 1 };
    let root = &snapshot.accounts[0].listing(dedup_engine::snapshot::Section::Data).unwrap().root;
    restore::run(repo, root, &MemorySink::default(), &request, &Silent).map(drop)
}

/// Every file of the database in turn: gone, half, with a bit flipped. Where the damage shows only
/// when it is met, that run may fail, and says that it was the index; the next one has made it anew.
#[test]
fn a_damaged_index_heals() {
    let history = History::new(42);
    let database = history.world.index().join("db");
    let mut names: Vec<_> =
        fs::read_dir(&database).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.retain(|name| database.join(name).is_file() && !name.to_string_lossy().starts_with("LOG"));
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        for damage in 0..3 {
            let world = history.world.fork();
            copy_dir(&history.world.index(), &world.index());
            let path = world.index().join("db").join(&name);
            let len = fs::metadata(&path).unwrap().len();
            match damage {
                0 => fs::remove_file(&path).unwrap(),
                1 => fs::File::options().write(true).open(&path).unwrap().set_len(len / 2).unwrap(),
                _ if len == 0 => continue,
                _ => {
                    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, len / 3).unwrap();
                    file.write_all_at(&[byte[0] ^ 0x10], len / 3).unwrap();
                }
            }
            let repo = world.open().unwrap();
            for (id, _) in &history.made {
                if let Err(error) = restore_files(&repo, *id) {
                    assert!(error.to_string().contains("local index"), "{name:?}: {error}");
                    assert!(error.hint().unwrap().contains("run it again"));
                }
            }
            if let Err(error) = check(&repo) {
                assert!(error.to_string().contains("local index"), "{name:?}: {error}");
            }
            drop(repo);
            history.assert_works_with(&world, &world.index(), &format!("damage {damage} of {name:?}"));
        }
    }
}

fn delete_all(storage: &MemoryStorage, family: Family) -> usize {
    let names: Vec<Name> =
        storage.objects().into_iter().map(|(name, _)| name).filter(|name| name.family() == family).collect();
    names.iter().for_each(|name| storage.delete(name).unwrap());
    names.len()
}

/// Packs describe themselves, so everything restores without a single segment.
///
/// This once ended there: packs taken up from their own directories never came into a segment again, so
/// every later run read all directories anew, and a client without the reading keys saw nothing of them.
#[test]
fn lost_segments_are_made_anew_from_the_packs() {
    let history = History::new(43);
    for keep_index in [false, true] {
        let world = history.world.fork();
        if keep_index {
            copy_dir(&history.world.index(), &world.index());
        }
        assert!(delete_all(&world.storage, Family::Segments) >= 2);
        let repo = world.open().unwrap();
        let tree = history.tree();
        let run = Run { tree: &tree, moment: 20 };
        history.made.iter().for_each(|(id, tree)| world.assert_restores(&repo, *id, run, tree));
        world.assert_sound(&repo);
        drop(repo);
        history.assert_works_with(&world, &world.index(), &format!("no segments, index {keep_index}"));
        let events = TestEvents::default();
        drop(open(world.storage.clone(), &world.unlock, &world.index(), &events).unwrap());
        assert_eq!(events.notices(), Vec::<String>::new(), "healed for good");
    }
}

/// The storage was put back to an older copy, while the index knows what was stored since: what vanished
/// must be stored again.
#[test]
fn a_repository_that_was_rolled_back_gets_what_vanished_again() {
    let history = History::new(44);
    let mut world = history.world.fork();
    world.storage = Arc::new(history.old_storage.fork());
    copy_dir(&history.world.index(), &world.index());
    let tree = history.tree();
    let run = Run { tree: &tree, moment: 20 };
    let report = world.backup(run).unwrap();
    assert!(report.totals.chunks_new > 10, "{:?}", report.totals);
    for repo in [world.open_afresh(), world.open().unwrap()] {
        assert_eq!(snapshots(&repo), [history.made[0].0, report.snapshot.unwrap()]);
        world.assert_restores(&repo, history.made[0].0, run, &history.made[0].1);
        world.assert_restores(&repo, report.snapshot.unwrap(), run, &history.made[1].1);
        world.assert_sound(&repo);
    }
}
