//! Clients that can write and nothing else: they back up as others do, reread only what changed, and what they store
//! is read, pruned and repacked by those who can read.

use crate::support::compare::Tree;
use crate::support::parts::{restored, run, snapshot, store, stream};
use crate::support::pruned::{LATER, assert_nothing_left, forget, prune, prune_with};
use crate::support::random::Random;
use crate::support::world::{
    NO_KDF, Run, World, backup, backup_with, check, open, open_keys, restore_to, snapshots,
};
use crate::support::{TestEvents, trees};
use dedup_engine::backup::{BackupError, Parent};
use dedup_engine::crypto::keyring::ChunkKind;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::forget::ForgetError;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::pack::PackKind;
use dedup_engine::progress::Silent;
use dedup_engine::prune::PruneError;
use dedup_engine::repo::read::ChunkReader;
use dedup_engine::repo::records::{RunRecord, RunVerdict};
use dedup_engine::repo::{RepoError, Repository};
use dedup_engine::restore::RestoreError;
use dedup_engine::snapshot::{Account, Section};
use dedup_engine::storage::{Family, Name, Storage};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Nodes of a small listing from its root down to one leaf, and one more.
const NODES: u64 = 4;

/// A repository with a key that only writes.
struct Scene {
    world: World,
    key: Unlock,
    tree: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let key = Unlock::new_key_file().unwrap().0;
        world.open().unwrap().add_write_only_slot(&key, &NO_KDF, "server", 5).unwrap();
        let tree = world.scratch.dir("tree");
        Self { world, key, tree }
    }

    /// Opens it with the key that only writes, on the machine that has it.
    fn writer(&self) -> Repository {
        open(self.world.storage.clone(), &self.key, &self.world.other_index("server"), &Silent).unwrap()
    }

    fn run(&self, moment: i64) -> Run<'_> {
        Run { tree: &self.tree, moment }
    }

    #[track_caller]
    fn assert_restores(&self, id: ObjectId, expected: &Tree) {
        let repo = self.world.open_afresh();
        self.world.assert_restores(&repo, id, self.run(0), expected);
    }
}

#[test]
fn what_a_key_stores_that_only_writes_comes_back_bit_for_bit() {
    let scene = Scene::new();
    trees::build_small(&scene.tree, 1);
    let (first, before) = (backup(&scene.writer(), scene.run(0)).unwrap(), Tree::read(&scene.tree));
    trees::change(&scene.tree, 1);
    let (second, after) = (backup(&scene.writer(), scene.run(10)).unwrap(), Tree::read(&scene.tree));
    assert!(second.totals.files_unmodified > 0 && second.totals.files_changed > 0, "{:?}", second.totals);
    assert!(second.totals.bytes_read < first.totals.bytes_read / 2, "{:?}", second.totals);
    assert_eq!(second.parent, None);
    scene.assert_restores(first.snapshot.unwrap(), &before);
    scene.assert_restores(second.snapshot.unwrap(), &after);
    let full = scene.world.open_afresh();
    let report = scene.world.assert_sound(&full);
    assert!(report.saw_all() && report.findings.is_empty() && report.packs_read == report.packs);

    // The same names for the same things: neither stores again what the other has.
    // Directories above are of other tests too, so a node may differ.
    let same = backup(&scene.world.open().unwrap(), scene.run(20)).unwrap();
    assert!(same.totals.chunks_new <= NODES, "{same:?}");
    assert_eq!(same.totals.files_unmodified, second.totals.files);
    std::fs::write(scene.tree.join("new"), Random::new(5).bytes(50_000)).unwrap();
    assert!(backup(&scene.world.open().unwrap(), scene.run(30)).unwrap().totals.chunks_new > 10);
    let same = backup(&scene.writer(), scene.run(40)).unwrap();
    assert!(same.totals.chunks_new <= NODES && same.totals.files_new == 1, "{same:?}");
    let nothing = backup(&scene.writer(), scene.run(50)).unwrap();
    assert!(nothing.totals.chunks_new <= NODES && nothing.totals.bytes_read == 0, "{nothing:?}");
}

/// Lists of long files cannot be read back: what they name is remembered apart.
#[test]
fn a_long_file_is_not_read_again_and_every_chunk_of_it_is_asked_for() {
    let scene = Scene::new();
    // More than 1,024 chunks, and more than 2,048 ids.
    trees::write(&scene.tree.join("long"), &Random::new(3).bytes(4_000_000), 1);
    trees::write(&scene.tree.join("short"), &Random::new(4).bytes(100_000), 1);
    backup(&scene.writer(), scene.run(0)).unwrap();
    let again = backup(&scene.writer(), scene.run(10)).unwrap();
    assert_eq!((again.totals.files_unmodified, again.totals.bytes_read), (2, 0), "{:?}", again.totals);
    let expected = Tree::read(&scene.tree);
    scene.assert_restores(again.snapshot.unwrap(), &expected);

    // Every pack in turn is lost: what was in it is stored again, whatever is remembered.
    let packs = |scene: &Scene| {
        let objects = scene.world.storage.objects().into_iter().map(|(name, _)| name);
        objects.filter(|name| name.family() == Family::Packs).collect::<Vec<_>>()
    };
    let before: BTreeSet<Name> = packs(&scene).into_iter().collect();
    assert!(before.len() > 4, "{before:?}");
    for (number, pack) in before.iter().enumerate() {
        let moment = 20 + 10 * number as i64;
        scene.world.storage.delete(pack).unwrap();
        let healed = backup(&scene.writer(), scene.run(moment)).unwrap();
        assert!(healed.totals.chunks_new > 0, "{pack}: {:?}", healed.totals);
        scene.assert_restores(healed.snapshot.unwrap(), &expected);
    }

    // And when a prune took everything.
    let full = scene.world.open().unwrap();
    forget(&full, &snapshots(&full));
    prune_with(&full, |options| options.allow_empty = true).unwrap();
    assert_eq!(packs(&scene), []);
    let anew = backup(&scene.writer(), scene.run(900)).unwrap();
    scene.assert_restores(anew.snapshot.unwrap(), &expected);
}

#[test]
fn no_parent_means_that_everything_is_read() {
    let scene = Scene::new();
    trees::build_small(&scene.tree, 2);
    let first = backup(&scene.writer(), scene.run(0)).unwrap();
    let again = backup_with(&scene.writer(), scene.run(10), Parent::None, &TestEvents::default()).unwrap();
    assert_eq!(again.totals.bytes_read, first.totals.bytes_read);
    let named = Parent::Snapshot(first.snapshot.unwrap());
    let refused = backup_with(&scene.writer(), scene.run(20), named, &TestEvents::default()).unwrap_err();
    assert!(matches!(refused, BackupError::Repo(RepoError::WriteOnly)), "{refused}");
}

/// The memory is of a host, a module and a section: the same path elsewhere is another file.
#[test]
fn one_part_does_not_take_the_memory_of_another() {
    let scene = Scene::new();
    trees::write(&scene.tree.join("file"), &[1; 5000], 1_700_000_000);
    let part = |moment, module: &'static str, section| {
        let report = run(&scene.writer(), moment, |parts| {
            let mut account = Account::new(module);
            store(parts, module, section, &scene.tree)?.enter(&mut account);
            Ok(vec![account])
        });
        report.unwrap().totals.files_unmodified
    };
    assert_eq!(part(0, "a", Section::Data), 0);
    assert_eq!(part(10, "b", Section::Data), 0);
    assert_eq!(part(20, "a", Section::Config), 0);
    assert_eq!(part(30, "a", Section::Data), 1);
}

#[test]
fn whatever_needs_to_read_or_takes_away_is_refused() {
    let scene = Scene::new();
    trees::build_small(&scene.tree, 3);
    let id = backup(&scene.world.open().unwrap(), scene.run(0)).unwrap().snapshot.unwrap();
    backup(&scene.writer(), scene.run(10)).unwrap();
    let writer = scene.writer();
    assert!(!writer.can_read() && !writer.opens_secrets());
    let told = |error: RepoError| {
        assert!(matches!(error, RepoError::WriteOnly), "{error}");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.hint().unwrap().contains("--write-only"));
    };
    told(writer.snapshots().unwrap_err());
    told(writer.add_slot(&Unlock::new_key_file().unwrap().0, &NO_KDF, "", true, 6).unwrap_err());
    let restored = restore_to(&writer, id, &scene.tree, &scene.world.scratch.path("out")).unwrap_err();
    assert!(matches!(restored, RestoreError::Repo(RepoError::WriteOnly)), "{restored}");
    assert!(matches!(prune(&writer).unwrap_err(), PruneError::Repo(RepoError::WriteOnly)));
    let forgotten = dedup_engine::forget::forget(&writer, &[id].into(), LATER);
    assert!(matches!(forgotten, Err(ForgetError::Repo(RepoError::WriteOnly))), "{forgotten:?}");
    let slots = writer.slots().unwrap();
    let full = slots.iter().find(|slot| slot.can_read).unwrap();
    assert_eq!(writer.remove_slot(&full.id).unwrap_err().kind(), Kind::Refused);
    assert_eq!(snapshots(&scene.world.open_afresh()).len(), 2);
}

#[test]
fn its_check_says_what_it_could_not_look_at() {
    let scene = Scene::new();
    trees::build_small(&scene.tree, 4);
    let repo = scene.world.open().unwrap();
    let report = backup(&repo, scene.run(0)).unwrap();
    let session = repo.snapshots().unwrap()[0].1.session;
    repo.add_run_record(session, &record(report.snapshot.unwrap(), RunVerdict::Good)).unwrap();
    backup(&scene.writer(), scene.run(10)).unwrap();
    let report = check(&scene.writer()).unwrap();
    assert!(report.is_sound() && !report.saw_all(), "{:?}", report.findings);
    assert_eq!((report.snapshots, report.snapshots_unopened), (0, 2));
    assert_eq!((report.packs_read, report.packs_unopened), (report.packs, report.packs));
    assert!(report.findings.iter().any(|finding| finding.message.contains("can only write")));

    // A pack that rotted it finds by its name, a lost one by its segment, a lost snapshot by its end.
    let name = |family| {
        let objects = scene.world.storage.objects().into_iter();
        objects.map(|(name, _)| name).find(|name| name.family() == family).unwrap()
    };
    for family in [Family::Packs, Family::Snapshots, Family::Segments] {
        let world = scene.world.fork();
        world.storage.delete(&name(family)).unwrap();
        let writer = open(world.storage.clone(), &scene.key, &world.index(), &Silent).unwrap();
        let report = check(&writer).unwrap();
        // Whose packs a lost segment named, nobody can say who cannot read them.
        assert_eq!(report.is_sound(), family == Family::Segments, "{family:?}: {:?}", report.findings);
        assert!(!report.findings.is_empty());
    }
}

fn record(snapshot: ObjectId, verdict: RunVerdict) -> RunRecord {
    let time = Time { secs: 4_000_000_000, nanos: 0 };
    RunRecord { number: 0, snapshot, verdict, text: "a hook failed".into(), hooks: Vec::new(), time }
}

/// What is known of a run only after its commit is told by a client that cannot read it back.
#[test]
fn it_says_of_a_run_that_it_is_suspect() {
    let scene = Scene::new();
    trees::build_tiny(&scene.tree, 4);
    let writer = scene.writer();
    let report = run(&writer, 0, |parts| {
        let mut account = Account::new("files");
        store(parts, "files", Section::Data, &scene.tree)?.enter(&mut account);
        Ok(vec![account])
    });
    let report = report.unwrap();
    let (id, session) = (report.snapshot.unwrap(), report.session.unwrap());
    for (number, verdict) in [(1, RunVerdict::Good), (2, RunVerdict::Suspect)] {
        assert_eq!(writer.add_run_record(session, &record(id, verdict)).unwrap(), number);
    }
    assert!(writer.run_records(session).is_err());
    let full = scene.world.open_afresh();
    assert_eq!(full.run_records(session).unwrap().len(), 2);
    assert_eq!(full.suspects(&full.snapshots().unwrap()).unwrap()[&id], "a hook failed");
    scene.world.assert_sound(&full);
}

/// Secrets are sealed to a key of their own: who has all but the root of secrets holds the private key of everything
/// else that such clients store, and must not read them.
#[test]
fn secrets_that_it_stores_are_read_by_their_own_key_alone() {
    let scene = Scene::new();
    let noise = Random::new(7).bytes(120_000);
    trees::write(&scene.tree.join("id_ed25519"), &noise[..60_000], 1);
    trees::set_xattr(&scene.tree.join("id_ed25519"), "user.long", &noise[..900]);
    let body = |repo: &Repository, moment| {
        run(repo, moment, |parts| {
            let mut account = Account::new("ssh");
            store(parts, "ssh", Section::Secrets, &scene.tree)?.enter(&mut account);
            store(parts, "ssh", Section::Data, &scene.world.scratch.dir("data"))?.enter(&mut account);
            let mut dump = stream(parts, "ssh", Section::Secrets, &mut &noise[60_000..]).unwrap();
            dump.dump.schema = parts.blob("ssh", Section::Secrets, b"create table tokens")?;
            dump.enter(&mut account);
            Ok(vec![account])
        })
    };
    let report = body(&scene.writer(), 0).unwrap();
    let again = body(&scene.writer(), 10).unwrap();
    // Two listings have the directories above.
    assert!(again.totals.chunks_new <= 2 * NODES && again.totals.files_unmodified == 1, "{:?}", again.totals);

    let full = scene.world.open_afresh();
    let stored = snapshot(&full, report.snapshot);
    let secrets = stored.account("ssh").unwrap().listing(Section::Secrets).unwrap().root;
    let files = restored(&full, &secrets);
    let key = files.iter().find(|(path, _)| path.to_slashes().ends_with(b"/id_ed25519")).unwrap();
    assert_eq!(*key.1, noise[..60_000]);
    assert!(check(&full).unwrap().saw_all());

    let (poor, poor_writer) = (Unlock::new_key_file().unwrap().0, Unlock::new_key_file().unwrap().0);
    full.add_slot(&poor, &NO_KDF, "poor", false, 6).unwrap();
    let poor = open(scene.world.storage.clone(), &poor, &scene.world.other_index("poor"), &Silent).unwrap();
    poor.add_write_only_slot(&poor_writer, &NO_KDF, "poor writer", 7).unwrap();
    for repo in [&poor, &scene.writer()] {
        let (mut opened, mut closed) = (0, 0);
        for (kind, len, id) in chunks(repo) {
            match ChunkReader::new(repo, kind.chunks(), 1 << 20).read(&id, len) {
                Ok(_) => opened += 1,
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Refused, "{error}");
                    assert!(kind == PackKind::Secrets || !repo.can_read());
                    closed += 1;
                }
            }
        }
        assert!(closed > 50 && (opened > 0) == repo.can_read(), "{opened} and {closed}");
    }
    // Made by a key without secrets, it has nothing to seal them to.
    let index = scene.world.other_index("poor writer");
    let poor_writer = open(scene.world.storage.clone(), &poor_writer, &index, &Silent).unwrap();
    let refused = body(&poor_writer, 20).unwrap_err();
    assert!(matches!(refused, BackupError::Repo(RepoError::NoSecrets)), "{refused}");
}

/// Returns kind, length and name of every chunk that segments name.
fn chunks(repo: &Repository) -> Vec<(PackKind, u32, dedup_engine::id::ChunkId)> {
    let mut segments = Vec::new();
    let mut each = |name: Name, _| {
        segments.extend(name.object_id());
        Ok(())
    };
    repo.storage().list(Family::Segments, &mut each, &mut |_| {}).unwrap();
    let packs = segments.into_iter().flat_map(|id| repo.read_segment(id).unwrap().packs);
    let all = packs.flat_map(|pack| {
        let kind = pack.kind;
        pack.directory.chunks().iter().map(|chunk| (kind, chunk.len, chunk.id)).collect::<Vec<_>>()
    });
    all.collect()
}

/// Nothing that such a client stored opens for it: not a snapshot, not a chunk, not what it wrote a moment ago.
#[test]
fn it_reads_nothing_of_what_it_wrote() {
    let scene = Scene::new();
    trees::build_small(&scene.tree, 6);
    let writer = scene.writer();
    backup(&writer, scene.run(0)).unwrap();
    let all = chunks(&writer);
    assert!(all.len() > 50 && all.iter().any(|(kind, ..)| kind.chunks() == ChunkKind::Listing));
    for (kind, len, id) in all {
        let read = ChunkReader::new(&writer, kind.chunks(), 1 << 20).read(&id, len);
        assert_eq!(read.unwrap_err().kind(), Kind::Refused);
    }
    assert!(matches!(writer.catalog().unwrap_err(), RepoError::WriteOnly));
}

/// Both kinds of client take turns; what is forgotten goes, packs are written anew by who can read them.
#[test]
fn a_fleet_of_both_kinds_is_pruned() {
    let scene = Scene::new();
    trees::build_small(&scene.tree, 8);
    let (mut known, mut ids) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let repo = if round % 2 == 0 { scene.writer() } else { scene.world.open().unwrap() };
        ids.push(backup(&repo, scene.run(round * 10)).unwrap().snapshot.unwrap());
        known.push(Tree::read(&scene.tree));
        std::fs::write(scene.tree.join("docs/02.txt"), Random::new(80 + round as u64).text(9_000)).unwrap();
        std::fs::write(scene.tree.join(format!("of-{round}")), Random::new(round as u64).bytes(60_000))
            .unwrap();
        if round > 0 {
            std::fs::remove_file(scene.tree.join(format!("of-{}", round - 1))).unwrap();
        }
    }
    let full = scene.world.open().unwrap();
    forget(&full, &[ids[0], ids[1], ids[4]]);
    let report = prune(&full).unwrap();
    assert!(!report.plan.repack.is_empty() || !report.plan.remove.is_empty(), "{report:?}");
    assert_nothing_left(&full, "after a prune");
    let after = backup(&scene.writer(), scene.run(100)).unwrap();
    for place in [2, 3, 5] {
        scene.assert_restores(ids[place], &known[place]);
    }
    scene.assert_restores(after.snapshot.unwrap(), &Tree::read(&scene.tree));
    assert!(scene.world.assert_sound(&scene.world.open_afresh()).saw_all());
}

/// A change of its key leaves it what it was.
#[test]
fn its_key_can_be_changed() {
    let scene = Scene::new();
    let new = Unlock::new_key_file().unwrap().0;
    open_keys(scene.world.storage.clone(), &scene.key).unwrap().change_slot(&new, &NO_KDF, 9).unwrap();
    assert_eq!(open_keys(scene.world.storage.clone(), &scene.key).err().unwrap().kind(), Kind::WrongKey);
    let changed = open_keys(scene.world.storage.clone(), &new).unwrap();
    assert!(!changed.can_read());
    assert_eq!(changed.slots().unwrap().iter().filter(|slot| slot.can_read).count(), 1);
}
