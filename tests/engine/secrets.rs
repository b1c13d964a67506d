//! Secrets: stored, restored, looked into and checked under keys of their own; and by whoever lacks those keys.

use crate::support::memory_sink::MemorySink;
use crate::support::parts::{restored, run, snapshot, store, stream};
use crate::support::random::Random;
use crate::support::trees;
use crate::support::world::{NO_KDF, World, check, open, snapshots};
use dedup_engine::backup::source::{Details, Found, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::backup::{BackupError, Parent, PartRequest, Parts};
use dedup_engine::browse::{self, BrowseError, Contents};
use dedup_engine::crypto::keyring::ChunkKind;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::ChunkId;
use dedup_engine::listing::{Body, StoredPath};
use dedup_engine::map::Root;
use dedup_engine::pack::PackKind;
use dedup_engine::progress::Silent;
use dedup_engine::repo::read::ChunkReader;
use dedup_engine::repo::{RepoError, Repository};
use dedup_engine::restore::{self, RestoreError, RestoreRequest};
use dedup_engine::snapshot::{self, Account, Outcome, Section, Snapshot};
use dedup_engine::storage::{Family, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

const NAME: &str = "id_ed25519";

/// A repository in which a module has the same files as data and as secrets, and a secret stream.
struct Scene {
    world: World,
    noise: Vec<u8>,
    /// A key without the root of secrets.
    poor: Unlock,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let noise = Random::new(seed).bytes(400_000);
        for tree in ["keys", "more"] {
            let tree = world.scratch.dir(tree);
            trees::write(&tree.join(NAME), &noise[..300_000], 1);
            trees::write(&tree.join("small"), b"swordfish", 2);
            trees::set_xattr(&tree.join("small"), "user.long", &noise[..900]);
        }
        let poor = Unlock::new_key_file().unwrap().0;
        world.open().unwrap().add_slot(&poor, &NO_KDF, "poor", false, 5).unwrap();
        Self { world, noise, poor }
    }

    fn poor(&self) -> Repository {
        open(self.world.storage.clone(), &self.poor, &self.world.other_index("poor"), &Silent).unwrap()
    }

    fn store(&self, repo: &Repository, moment: i64) -> Snapshot {
        let tree = self.world.scratch.path("keys");
        let report = run(repo, moment, |parts| {
            let (mut ssh, mut other) = (Account::new("ssh"), Account::new("other"));
            store(parts, "ssh", Section::Data, &tree)?.enter(&mut ssh);
            store(parts, "ssh", Section::Secrets, &tree)?.enter(&mut ssh);
            let mut dump = stream(parts, "ssh", Section::Secrets, &mut &self.noise[100_000..]).unwrap();
            dump.dump.schema = parts.blob("ssh", Section::Secrets, b"create table tokens")?;
            dump.enter(&mut ssh);
            store(parts, "other", Section::Secrets, &self.world.scratch.path("more"))?.enter(&mut other);
            Ok(vec![ssh, other])
        });
        snapshot(repo, report.unwrap().snapshot)
    }

    fn path(&self, name: &str) -> StoredPath {
        let path = self.world.scratch.path("keys").join(name);
        StoredPath::from_slashes(path.to_str().unwrap().as_bytes()).unwrap()
    }
}

fn root(snapshot: &Snapshot, section: Section) -> Root {
    snapshot.account("ssh").unwrap().listing(section).unwrap().root
}

#[test]
fn secrets_come_back_and_can_be_looked_into() {
    let scene = Scene::new(1);
    let repo = scene.world.open().unwrap();
    let first = scene.store(&repo, 0);
    let secrets = root(&first, Section::Secrets);
    let dump = first.account("ssh").unwrap().dump("db").unwrap().clone();
    for repo in [&repo, &scene.world.open_afresh()] {
        let files = restored(repo, &secrets);
        assert_eq!(files[&scene.path(NAME)], scene.noise[..300_000]);
        assert_eq!(files[&scene.path("small")], b"swordfish");
        assert_eq!(restored(repo, &dump.root).into_values().next().unwrap(), scene.noise[100_000..]);
        let report = check(repo).unwrap();
        assert!(report.findings.is_empty() && report.saw_all(), "{:?}", report.findings);
        assert_eq!(report.packs_read, report.packs);
    }

    let node = browse::find_entry(&repo, &secrets, &scene.path("small")).unwrap().unwrap();
    let (contents, mut bytes) = (Contents::new(&repo, secrets.class).unwrap(), Vec::new());
    contents.write(&node, &mut bytes).unwrap();
    assert_eq!(bytes, b"swordfish");
    let xattrs = contents.xattrs(&node).unwrap();
    assert!(xattrs.iter().any(|(name, value)| name == b"user.long" && *value == scene.noise[..900]));

    // A change shows, what did not change is not read again, and the data is compared with data only.
    trees::write(&scene.world.scratch.path("keys/small"), b"changed!!", 7);
    let second = scene.store(&repo, 10);
    assert_eq!(second.totals.files_unmodified, 4, "{:?}", second.totals);
    let mut changed = Vec::new();
    browse::diff(&repo, &secrets, &root(&second, Section::Secrets), &mut |path, _| {
        // Directories above are of other tests too.
        changed.extend(Some(path).filter(|path| !scene.path("small").parent().unwrap().is_within(path)));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(changed, [scene.path("small")]);
    let mixed =
        browse::diff(&repo, &root(&first, Section::Data), &secrets, &mut |_, _| ControlFlow::Continue(()));
    assert_eq!(mixed.unwrap_err().kind(), Kind::Refused);
    assert!(check(&repo).unwrap().findings.is_empty());
}

/// Whoever has no key to secrets restores everything else, is told clearly what does not open, and a check does
/// not pretend to have seen it.
#[test]
fn a_key_without_secrets_opens_everything_else() {
    let scene = Scene::new(2);
    let full = scene.store(&scene.world.open().unwrap(), 0);
    let poor = scene.poor();
    assert!(!poor.opens_secrets());
    let data = restored(&poor, &root(&full, Section::Data));
    assert_eq!(data[&scene.path(NAME)], scene.noise[..300_000]);

    let secrets = root(&full, Section::Secrets);
    let request = RestoreRequest { base: StoredPath::root(), select: &|_, _| true, threads: 1 };
    let refused = restore::run(&poor, &secrets, &MemorySink::default(), &request, &Silent).unwrap_err();
    assert!(matches!(refused, RestoreError::Repo(RepoError::NoSecrets)), "{refused}");
    assert!(refused.hint().unwrap().contains("--no-secrets"));
    assert!(restore::plan(&poor, &secrets, &request, &Silent).is_err());
    let no_secrets = |error: BrowseError| assert!(matches!(error, BrowseError::Repo(RepoError::NoSecrets)));
    no_secrets(browse::walk(&poor, &secrets, &StoredPath::root(), &mut |_, _| panic!("read")).unwrap_err());
    no_secrets(browse::find_entry(&poor, &secrets, &StoredPath::root()).unwrap_err());
    no_secrets(Contents::new(&poor, secrets.class).err().unwrap());
    let listing = *full.account("ssh").unwrap().listing(Section::Secrets).unwrap();
    no_secrets(browse::problems(&poor, &listing, &mut |_, _, _| panic!("read")).unwrap_err());

    let report = check(&poor).unwrap();
    // Two listings and a dump, in two packs or more.
    assert!(report.is_sound() && !report.saw_all(), "{report:?}");
    assert_eq!(report.maps_unopened, 3);
    assert!(report.packs_unopened > 0 && report.packs_unopened < report.packs);
    assert!(report.findings.iter().any(|finding| finding.message.contains("does not open secrets")));
}

/// Storing secrets without the key is refused before anything is read, and the run can go on without them.
#[test]
fn a_key_without_secrets_stores_everything_else() {
    let scene = Scene::new(3);
    let poor = scene.poor();
    let tree = scene.world.scratch.path("keys");
    let report = run(&poor, 0, |parts| {
        let refused = store(parts, "ssh", Section::Secrets, &tree).unwrap_err();
        assert!(matches!(refused, BackupError::Repo(RepoError::NoSecrets)), "{refused}");
        assert!(stream(parts, "ssh", Section::Secrets, &mut &b"x"[..]).is_err());
        assert!(parts.blob("ssh", Section::Secrets, b"x").is_err());
        let mut ssh = Account::new("ssh");
        store(parts, "ssh", Section::Data, &tree)?.enter(&mut ssh);
        Ok(vec![ssh])
    });
    assert_eq!(snapshots(&poor), [report.unwrap().snapshot.unwrap()]);
    assert!(check(&poor).unwrap().saw_all());
}

/// Returns the ids of the chunks that files of a listing consist of.
fn contents(repo: &Repository, root: &Root) -> BTreeSet<ChunkId> {
    let mut ids = BTreeSet::new();
    browse::walk(repo, root, &StoredPath::root(), &mut |_, node| {
        if let Body::File { content, .. } = &node.body {
            assert_eq!(content.level, 0, "the test looks at short files");
            ids.extend(content.parts.iter().map(|part| part.id));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    ids
}

/// No block holds chunks of two modules, of two classes, or nodes beside contents; no pack two kinds; and the same
/// bytes have another name as secrets.
#[test]
fn secrets_share_neither_names_nor_blocks_with_anything() {
    let scene = Scene::new(4);
    let repo = scene.world.open().unwrap();
    let stored = scene.store(&repo, 0);
    let mut owners: BTreeMap<ChunkId, BTreeSet<(&str, PackKind)>> = BTreeMap::new();
    for account in &stored.accounts {
        let listings = account.listings.iter().map(|listing| (listing.section, listing.root));
        let dumps = account.dumps.iter().map(|dump| (dump.section, dump.root));
        for (section, root) in listings.chain(dumps) {
            let kind = if section == Section::Secrets { PackKind::Secrets } else { PackKind::Data };
            for id in contents(&repo, &root) {
                owners.entry(id).or_default().insert((&account.module, kind));
            }
        }
    }
    let kinds = |wanted| owners.values().filter(|of| of.iter().any(|(_, kind)| *kind == wanted)).count();
    assert!(kinds(PackKind::Data) > 100 && kinds(PackKind::Secrets) > 100);
    assert!(owners.values().all(|of| of.iter().map(|(_, kind)| kind).collect::<BTreeSet<_>>().len() == 1));
    // Two modules have the same secrets: stored once, in blocks of the first.
    assert!(owners.values().any(|of| of.len() == 2));

    let mut seen = BTreeSet::new();
    for (name, _) in scene.world.storage.objects() {
        let Name::Segment(id) = name else { continue };
        for pack in repo.read_segment(id).unwrap().packs {
            for block in 0..pack.directory.blocks().len() {
                let of_chunk = |chunk: &dedup_engine::pack::Chunk| owners.get(&chunk.id).cloned();
                let mut common: Option<BTreeSet<_>> = None;
                let mut nodes = 0;
                for chunk in pack.directory.chunks_of(block) {
                    match of_chunk(chunk) {
                        Some(of) => {
                            assert!(of.iter().all(|(_, kind)| *kind == pack.kind));
                            common = Some(common.map_or(of.clone(), |known| &known & &of));
                        }
                        None => nodes += 1,
                    }
                }
                assert!(common.is_none() || nodes == 0, "nodes beside contents in a block");
                assert!(common.is_none_or(|common| !common.is_empty()), "two modules in a block");
                seen.insert(pack.kind);
            }
        }
    }
    assert_eq!(seen.len(), 3);
    // `check` names every chunk again by the kind of its pack.
    assert!(check(&repo).unwrap().findings.is_empty());
}

/// Damage of secrets is found by their key, with the files that it hits; without it at least the pack.
#[test]
fn damage_of_secrets_is_found() {
    let scene = Scene::new(5);
    scene.store(&scene.world.open().unwrap(), 0);
    let mut packs = scene.world.storage.objects();
    packs.retain(|(name, bytes)| name.family() == Family::Packs && bytes[7] == 5);
    for (name, bytes) in packs {
        let mut damaged = bytes.to_vec();
        damaged[100] ^= 1;
        scene.world.storage.overwrite(name, &damaged);
    }
    let report = check(&scene.world.open().unwrap()).unwrap();
    let hits: Vec<_> = report.findings.iter().flat_map(|finding| &finding.hits).collect();
    assert!(!report.is_sound() && !hits.is_empty(), "{:?}", report.findings);
    let report = check(&scene.poor()).unwrap();
    assert!(!report.is_sound(), "{:?}", report.findings);
}

/// A source of one file that cannot be read.
struct Unreadable;

impl Source for Unreadable {
    type Handle = ();

    fn walk(&self, visit: &mut Visit<'_, ()>) -> Result<(), Stop> {
        let path = StoredPath::from_slashes(NAME.as_bytes()).unwrap();
        let message = format!("{NAME} cannot be read");
        visit(Found::Problem { path, outcome: Outcome::Unreadable, message })
    }

    fn details(&self, (): &(), _: &Stat) -> io::Result<Details> {
        Ok(Details::default())
    }

    fn open(&self, (): &()) -> io::Result<Box<dyn OpenFile>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// What the key without secrets opens does not hold the name of a secret file, also not of one that had a problem.
#[test]
fn names_of_secret_files_are_secret() {
    let scene = Scene::new(6);
    let repo = scene.world.open().unwrap();
    let tree = scene.world.scratch.path("keys");
    let body = |parts: &mut Parts<'_>| {
        let mut ssh = Account::new("ssh");
        store(parts, "ssh", Section::Secrets, &tree)?.enter(&mut ssh);
        let mut other = Account::new("other");
        let request =
            PartRequest { module: "other", section: Section::Secrets, parent: Parent::Auto, sources: None };
        parts.store(&Unreadable, &request)?.enter(&mut other);
        store(parts, "other", Section::Config, &scene.world.scratch.dir("empty"))?.enter(&mut other);
        Ok(vec![ssh, other])
    };
    let report = run(&repo, 0, body).unwrap();
    let stored = snapshot(&repo, report.snapshot);
    let mut told = Vec::new();
    let listing = stored.account("other").unwrap().listing(Section::Secrets).unwrap();
    browse::problems(&repo, listing, &mut |key, _, message| told.push((key.to_vec(), message))).unwrap();
    assert_eq!(told, [(NAME.as_bytes().to_vec(), format!("{NAME} cannot be read"))]);

    let poor = scene.poor();
    let mut readable = snapshot::encode(&snapshot(&poor, report.snapshot));
    let mut secret = 0;
    for (name, _) in scene.world.storage.objects() {
        let Name::Segment(id) = name else { continue };
        for pack in poor.read_segment(id).unwrap().packs {
            let kind = match pack.kind {
                PackKind::Data => ChunkKind::Data,
                PackKind::Listing => ChunkKind::Listing,
                PackKind::Secrets => ChunkKind::Secrets,
            };
            let reader = ChunkReader::new(&poor, kind, 1 << 20);
            for chunk in pack.directory.chunks() {
                match reader.read(&chunk.id, chunk.len) {
                    Ok(plain) => readable.extend(plain),
                    Err(error) => {
                        assert_eq!((pack.kind, error.kind()), (PackKind::Secrets, Kind::Refused));
                        secret += 1;
                    }
                }
            }
        }
    }
    assert!(secret > 100 && readable.len() > 200);
    let found = |text: &str| readable.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(found("empty"), "names in the configuration are read");
    assert!(!found(NAME), "the name of a secret file can be read");
}
