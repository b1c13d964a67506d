//! Copies of snapshots in another repository: whole, each once, beside prunes, and taken up where they broke off.

use crate::support::compare::Tree;
use crate::support::hooked::Hooked;
use crate::support::parts::{Trees, restored, run, snapshot, store, stream};
use crate::support::pruned::{forget, prune_with};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{NO_KDF, Run, World, check, open, snapshots};
use dedup_engine::browse::blob;
use dedup_engine::compress::Level;
use dedup_engine::copy::{CopyError, CopyReport, CopyRequest, Copying};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::map::Class;
use dedup_engine::progress::{Event, Events, Silent};
use dedup_engine::repo::records::{RunRecord, RunVerdict};
use dedup_engine::repo::{Repository, Settings};
use dedup_engine::snapshot::{Account, Form, Section};
use dedup_engine::storage::{Family, Name, Storage};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// When copies are made.
const NOW: Time = Time { secs: 4_200_000_000, nanos: 0 };

/// How copies are made.
pub fn how() -> CopyRequest<'static> {
    CopyRequest { now: NOW, host: "copier", level: Level::Zstd(1), threads: 2, elapsed: &|| Duration::ZERO }
}

fn copy(from: &Repository, to: &Repository, id: ObjectId) -> Result<CopyReport, CopyError> {
    Copying::begin(from, to)?.copy(&id, &how(), &Silent)
}

/// A repository whose chunks, blocks and leaves have other sizes than those of the tests' worlds.
fn other_sizes() -> World {
    let world = World::without_repository();
    let storage: Arc<dyn Storage> = world.storage.clone();
    let settings = Settings { leaf_target: 2 << 10, block_target: 128 << 10, ..Settings::default() };
    Repository::create(storage, &world.unlock, &NO_KDF, "", &settings, 1_700_000_000).unwrap();
    world
}

/// A tree of every kind, twice backed up, and what it was each time.
fn backed_up(world: &World) -> (std::path::PathBuf, [(ObjectId, Tree); 2]) {
    let live = world.scratch.dir("live");
    trees::build_all_kinds(&live, 7);
    let first = (world.backup(Run { tree: &live, moment: 0 }).unwrap().snapshot.unwrap(), Tree::read(&live));
    trees::change(&live, 8);
    let second =
        (world.backup(Run { tree: &live, moment: 100 }).unwrap().snapshot.unwrap(), Tree::read(&live));
    (live, [first, second])
}

#[test]
fn copies_hold_the_same_and_are_made_once() {
    for target in [World::new(), other_sizes()] {
        let source = World::new();
        let (live, made) = backed_up(&source);
        let (from, to) = (source.open().unwrap(), target.open().unwrap());
        let mut copying = Copying::begin(&from, &to).unwrap();
        let reports = made.each_ref().map(|(id, _)| copying.copy(id, &how(), &Silent).unwrap());
        assert!(reports.iter().all(|report| !report.was_there));
        // What the first one has is not read again for the second.
        let [first, second] = &reports;
        assert!(first.bytes_known < first.bytes_read / 2, "what stands twice in it is read once: {first:?}");
        assert!(second.bytes_read < first.bytes_read / 2, "{reports:?}");
        for (report, (id, tree)) in reports.iter().zip(&made) {
            let (old, new) = (snapshot(&from, Some(*id)), snapshot(&to, Some(report.snapshot)));
            assert_eq!((&new.host, new.time, &new.tags), (&old.host, old.time, &old.tags));
            assert_eq!(new.original(to.id(), report.snapshot), old.original(from.id(), *id));
            assert_eq!(new.totals.files, old.totals.files);
            target.assert_restores(&to, report.snapshot, Run { tree: &live, moment: 0 }, tree);
        }
        assert_eq!(snapshot(&to, Some(second.snapshot)).parents, [first.snapshot]);
        target.assert_sound(&target.open_afresh());
        // Again, also by somebody who knows nothing of it but what is stored, or by way of the copy.
        let (before, again) =
            (target.storage.objects().len(), copying.copy(&made[0].0, &how(), &Silent).unwrap());
        assert_eq!((again.snapshot, again.was_there), (first.snapshot, true));
        drop(copying);
        drop(to);
        let fresh = target.open_afresh();
        assert!(copy(&from, &fresh, made[1].0).unwrap().was_there);
        assert!(copy(&fresh, &from, second.snapshot).unwrap().was_there, "it comes from there");
        let third = World::new();
        let to_third = third.open().unwrap();
        let chained = copy(&fresh, &to_third, first.snapshot).unwrap();
        assert!(copy(&from, &to_third, made[0].0).unwrap().was_there, "by way of the other one");
        third.assert_restores(&to_third, chained.snapshot, Run { tree: &live, moment: 0 }, &made[0].1);
        assert_eq!(target.storage.objects().len(), before);
        assert!(matches!(copy(&from, &from, made[0].0), Err(CopyError::Same)));
    }
}

/// Hard-link groups are named for a path under the repository's keys: those of a copy are what a backup would give them, and its
/// contents are taken over, however they were cut.
#[test]
fn a_backup_goes_on_from_a_copy() {
    let (source, target) = (World::new(), other_sizes());
    let (live, made) = backed_up(&source);
    let (from, to) = (source.open().unwrap(), target.open().unwrap());
    copy(&from, &to, made[1].0).unwrap();
    drop(to);
    let next = Run { tree: &live, moment: 200 };
    let report = target.backup(next).unwrap();
    assert_eq!(report.totals.files_unmodified, report.totals.files, "{:?}", report.totals);
    assert_eq!(report.totals.bytes_read, 0);
    target.assert_restores(&target.open().unwrap(), report.snapshot.unwrap(), next, &made[1].1);
}

#[test]
fn modules_go_over_with_dumps_records_and_secrets() {
    let (source, target) = (Trees::new(3), other_sizes());
    let from = source.world.open().unwrap();
    let long = Random::new(9).bytes(700_000);
    let report = run(&from, 0, |parts| {
        let mut accounts = source.body(parts)?;
        let mut vault = Account::new("vault");
        store(parts, "vault", Section::Secrets, &source.tree("mail"))?.enter(&mut vault);
        let mut dump = stream(parts, "vault", Section::Secrets, &mut &source.noise[5..600_000]).unwrap();
        dump.dump.schema = parts.blob("vault", Section::Secrets, b"create table tokens")?;
        dump.enter(&mut vault);
        let rows = dedup_engine::backup::StreamRequest {
            module: "vault",
            section: Section::Data,
            name: "rows",
            kind: "sqlite",
            mtime: None,
        };
        let rows = parts.records::<dedup_engine::backup::BackupError>(&rows, |entries| {
            for n in 0..5000u32 {
                entries.push(&n.to_be_bytes(), format!("row {n}").as_bytes())?;
            }
            entries.push(b"long", &long)
        })?;
        rows.enter(&mut vault);
        accounts.push(vault);
        Ok(accounts)
    });
    let id = report.unwrap().snapshot.unwrap();
    let to = target.open().unwrap();
    let copied = copy(&from, &to, id).unwrap();
    let (old, new) = (snapshot(&from, Some(id)), snapshot(&to, Some(copied.snapshot)));
    assert_eq!(old.accounts.len(), new.accounts.len());
    for (old, new) in old.accounts.iter().zip(&new.accounts) {
        assert_eq!((&old.module, old.state, &old.items), (&new.module, new.state, &new.items));
        let manifest = |repo, account: &Account| blob(repo, Class::Open, &account.manifest, 1 << 20).unwrap();
        assert_eq!(manifest(&from, old), manifest(&to, new));
        assert_eq!(old.listings.len(), new.listings.len());
        for (old, new) in old.listings.iter().zip(&new.listings) {
            assert_ne!(old.root.id, new.root.id, "other keys");
            assert_eq!(restored(&from, &old.root), restored(&to, &new.root));
        }
        assert_eq!(old.dumps.len(), new.dumps.len());
        for (old, new) in old.dumps.iter().zip(&new.dumps) {
            assert_eq!(
                (&old.name, old.section, old.form, old.bytes),
                (&new.name, new.section, new.form, new.bytes)
            );
            assert_eq!(old.root.entries, new.root.entries);
            let schema = |repo, dump: &dedup_engine::snapshot::Dump| {
                blob(repo, dump.section.class(), &dump.schema, 1 << 24).unwrap()
            };
            assert_eq!(schema(&from, old), schema(&to, new));
            match old.form {
                Form::Listing => assert_eq!(restored(&from, &old.root), restored(&to, &new.root)),
                Form::Records => {
                    // Of a listing it is the size of its node, in which lists are cut by other keys.
                    assert_eq!(old.root.value_bytes, new.root.value_bytes);
                    assert_eq!(entries(&from, &old.root), entries(&to, &new.root));
                }
            }
        }
    }
    target.assert_sound(&to);
    // Who cannot read the secrets copies nothing of it: what is missing would look whole.
    let poor = Unlock::new_key_file().unwrap().0;
    from.add_slot(&poor, &NO_KDF, "poor", false, 5).unwrap();
    let poor = open(source.world.storage.clone(), &poor, &source.world.other_index("poor"), &Silent).unwrap();
    let second = World::new();
    let to = second.open().unwrap();
    assert!(matches!(copy(&poor, &to, id), Err(CopyError::Source(_))));
    assert_eq!(snapshots(&to), []);
}

fn entries(repo: &Repository, root: &dedup_engine::map::Root) -> Vec<(Vec<u8>, Vec<u8>)> {
    let reader = dedup_engine::browse::maps(repo, root.class).unwrap();
    let mut cursor = dedup_engine::map::Cursor::new(&reader, *root, repo.leaf_target());
    let mut all = Vec::new();
    while let Some(key) = cursor.next().unwrap().map(|entry| entry.key.to_vec()) {
        all.push((key, cursor.load(1 << 30).unwrap().unwrap().into_owned()));
    }
    all
}

/// Nothing of a snapshot that cannot be read whole is published; the others are copied.
#[test]
fn damage_is_never_copied_as_whole() {
    let source = World::new();
    let (live, made) = backed_up(&source);
    let names = source.storage.objects().into_iter().map(|(name, _)| name);
    let packs: Vec<Name> = names.filter(|name| name.family() == Family::Packs).collect();
    assert!(packs.len() >= 3, "{packs:?}");
    for pack in packs {
        let damaged = source.fork();
        let bytes = damaged.storage.get_all(&pack, 1 << 30).unwrap();
        let mut bad = bytes.clone();
        bad[200] ^= 1;
        damaged.storage.overwrite(pack, &bad);
        let target = World::new();
        let (from, to) = (damaged.open().unwrap(), target.open().unwrap());
        let mut copying = Copying::begin(&from, &to).unwrap();
        let mut failed = 0;
        for (id, tree) in &made {
            match copying.copy(id, &how(), &Silent) {
                Ok(report) => {
                    target.assert_restores(&to, report.snapshot, Run { tree: &live, moment: 0 }, tree)
                }
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Integrity, "{error}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0, "{pack}");
        assert_eq!(snapshots(&to).len(), made.len() - failed);
        target.assert_sound(&target.open_afresh());
        // Healed, the rest follows.
        damaged.storage.overwrite(pack, &bytes);
        drop(copying);
        let mut copying = Copying::begin(&from, &to).unwrap();
        for (id, _) in &made {
            copying.copy(id, &how(), &Silent).unwrap();
        }
        assert_eq!(snapshots(&to).len(), 2);
    }
}

/// Asks to stop after so many bytes.
struct StopsAfter(AtomicU64);

impl Events for StopsAfter {
    fn event(&self, event: Event) {
        if let Event::Done { bytes, .. } = event {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupted_copy_goes_on() {
    let (source, target) = (World::new(), World::new());
    let live = source.scratch.dir("live");
    for n in 0..40u8 {
        trees::write(&live.join(format!("file-{n:02}")), &Random::new(n.into()).bytes(200_000), n.into());
    }
    let tree = Tree::read(&live);
    let id = source.backup(Run { tree: &live, moment: 0 }).unwrap().snapshot.unwrap();
    let from = source.open().unwrap();
    let to = target.open().unwrap();
    let events = StopsAfter(AtomicU64::new(6_000_000));
    let stopped = Copying::begin(&from, &to).unwrap().copy(&id, &how(), &events).unwrap_err();
    assert_eq!(stopped.kind(), Kind::Cancelled);
    assert_eq!(snapshots(&to), []);
    drop(to);
    let to = target.open().unwrap();
    let report = copy(&from, &to, id).unwrap();
    assert!(report.bytes_known >= 4_000_000, "{report:?}");
    assert!(report.bytes_read + report.bytes_known == 8_000_000, "{report:?}");
    target.assert_restores(&to, report.snapshot, Run { tree: &live, moment: 0 }, &tree);
    target.assert_sound(&target.open_afresh());
}

/// A prune of the target that goes on at the same time takes what the copy counted on; the copy stores it anew.
#[test]
fn a_prune_of_the_target_takes_nothing_from_a_copy() {
    let (source, target) = (World::new(), World::new());
    let (live, made) = backed_up(&source);
    let from = source.open().unwrap();
    let to = target.open().unwrap();
    let first = copy(&from, &to, made[0].0).unwrap();
    drop(to);
    let pruned = Arc::new(AtomicBool::new(false));
    let hook: Box<dyn Fn(&Name) + Send + Sync> = {
        let (storage, unlock) = (target.storage.clone(), target.unlock.clone());
        let (index, pruned) = (target.other_index("pruner"), Arc::clone(&pruned));
        let running = Mutex::new(());
        Box::new(move |name| {
            let is_pack = name.family() == Family::Packs;
            if let (true, Ok(_running)) = (is_pack, running.try_lock())
                && !pruned.swap(true, Ordering::SeqCst)
            {
                // Somebody forgets the copy that this one relies on, and prunes.
                let repo = open(storage.clone(), &unlock, &index, &Silent).unwrap();
                forget(&repo, &[first.snapshot]);
                prune_all(&repo);
            }
        })
    };
    let hooked = Hooked::new(target.storage.clone(), hook);
    let to = open(hooked, &target.unlock, &target.index(), &Silent).unwrap();
    let report = copy(&from, &to, made[1].0).unwrap();
    assert!(pruned.load(Ordering::SeqCst));
    drop(to);
    let fresh = target.open_afresh();
    target.assert_restores(&fresh, report.snapshot, Run { tree: &live, moment: 0 }, &made[1].1);
    target.assert_sound(&fresh);
}

fn prune_all(repo: &Repository) {
    prune_with(repo, |options| options.allow_empty = true).unwrap();
}

/// What was said of a snapshot is true of its copy: `latest` must not take it for whole there.
#[test]
fn a_suspect_snapshot_is_suspect_where_it_is_copied_to() {
    let (source, target) = (World::new(), World::new());
    let (_, made) = backed_up(&source);
    let (from, to) = (source.open().unwrap(), target.open().unwrap());
    let copies = [0, 1].map(|n: usize| copy(&from, &to, made[n].0).unwrap().snapshot);
    let session = snapshot(&from, Some(made[1].0)).session;
    let record = |verdict, text: &str| RunRecord {
        number: 0,
        snapshot: made[1].0,
        verdict,
        text: text.into(),
        hooks: Vec::new(),
        time: NOW,
    };
    from.add_run_record(session, &record(RunVerdict::Suspect, "it does not start")).unwrap();
    for _ in 0..2 {
        // It was there before anybody knew; said once.
        assert!(copy(&from, &to, made[1].0).unwrap().was_there);
        let suspects = to.suspects(&to.snapshots().unwrap()).unwrap();
        assert_eq!(suspects.into_iter().collect::<Vec<_>>(), [(copies[1], "it does not start".to_owned())]);
        assert_eq!(to.run_records(snapshot(&to, Some(copies[1])).session).unwrap().len(), 1);
    }
    let second = World::new();
    let to = second.open().unwrap();
    let copied = copy(&from, &to, made[1].0).unwrap();
    assert!(to.suspects(&to.snapshots().unwrap()).unwrap().contains_key(&copied.snapshot));
    assert!(check(&to).unwrap().findings.is_empty());
}
