//! Spaces as a repair program uses them, and as the world treats them.

mod killed;

use super::store::Disk;
use super::*;
use dedup_engine::error::Kind;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory by its real path, with a store in it.
struct World(#[expect(dead_code, reason = "removes the directory")] tempfile::TempDir, PathBuf);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = fs::canonicalize(dir.path()).unwrap();
        Self(dir, path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.1.join(name)
    }

    fn spaces(&self) -> Spaces {
        Spaces::open(&self.path("store")).unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A tree with one of everything.
    fn tree(&self, name: &str) -> PathBuf {
        let root = self.path(name);
        self.file(&format!("{name}/a/deep/er"), b"er");
        self.file(&format!("{name}/big"), &vec![7; 700_000]);
        symlink("/no/where", root.join("link")).unwrap();
        fs::hard_link(root.join("big"), root.join("a/other")).unwrap();
        chown(root.join("a"), Some(1234), Some(2345)).unwrap();
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o2711)).unwrap();
        let holey = File::create(root.join("holey")).unwrap();
        holey.set_len(1 << 30).unwrap();
        root
    }
}

/// Everything below a path, with what a person would notice.
fn shape(path: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(stat) = fs::symlink_metadata(&path) else { continue };
        let what = if stat.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if stat.is_file() && stat.len() < 10 << 20 {
            blake3::hash(&fs::read(&path).unwrap()).to_string()
        } else {
            format!("{} {}", stat.len() * u64::from(stat.is_file()), stat.blocks() < 100)
        };
        let (mode, nlink) = (stat.mode(), stat.nlink());
        lines.push(format!(
            "{} {mode:o} {}:{} {} {nlink} {what}",
            path.display(),
            stat.uid(),
            stat.gid(),
            stat.mtime_nsec()
        ));
        if stat.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let world = World::new();
    let root = world.tree("app/data");
    let before = shape(&root);
    let space = world.spaces().get("app", false).unwrap();
    space.put_path(&root, None).unwrap();
    fs::remove_dir_all(root.join("a")).unwrap();
    fs::write(root.join("new"), "x").unwrap();
    let replayed = space.restore_name(root.to_str().unwrap(), None).unwrap();
    assert_eq!((replayed.paths, replayed.notes), (vec![root.clone()], vec![]));
    assert_eq!(shape(&root), before);
    // Gone with its parents, whose rights come back too.
    fs::set_permissions(world.path("app"), fs::Permissions::from_mode(0o750)).unwrap();
    chown(world.path("app"), Some(77), Some(88)).unwrap();
    space.put_path(&root.join("link"), Some("link")).unwrap();
    fs::remove_dir_all(world.path("app")).unwrap();
    space.restore_path(&root.join("link"), None).unwrap();
    let app = fs::metadata(world.path("app")).unwrap();
    assert_eq!((app.mode() & 0o7777, app.uid(), app.gid()), (0o750, 77, 88));
    assert!(fs::symlink_metadata(root.join("link")).unwrap().is_symlink());
    // Elsewhere, under another name.
    space.restore_path(&world.path("else/where"), Some(root.to_str().unwrap())).unwrap();
    let elsewhere = shape(&world.path("else/where"));
    assert_eq!(elsewhere.len(), before.len());
    assert!(fs::read_dir(world.path("else")).unwrap().count() == 1, "nothing is left beside");
    space.restore_name("link", Some(&world.path("else/link2"))).unwrap();
    assert_eq!(fs::read_link(world.path("else/link2")).unwrap(), Path::new("/no/where"));
}

#[test]
fn values_are_bytes_with_a_kind() {
    let world = World::new();
    let spaces = world.spaces();
    let space = spaces.get("app", true).unwrap();
    space.put_value("port", b"8080", "text").unwrap();
    space.put_value("nothing", b"", "text").unwrap();
    let mut long = io::repeat(3).take(3_000_000);
    space.put_stream("long", &mut long, "application/octet-stream").unwrap();
    assert_eq!(space.value("port").unwrap(), b"8080");
    assert_eq!(space.value("nothing").unwrap(), b"");
    assert_eq!(space.value("long").unwrap().len(), 3_000_000);
    let text = String::from_utf8_lossy(&fs::read(world.path("store/app/index")).unwrap()).into_owned();
    assert!(!text.contains("port"), "names are sealed");
    for kind in ["", "python/pickle", "a b", "x-executable", &"k".repeat(65)] {
        assert!(matches!(space.put_value("v", b"", kind), Err(SpaceError::BadKind(_))), "{kind}");
    }
    let objects = space.list().unwrap();
    assert_eq!(objects[0].kind, ObjectKind::Value("text".into()));
    assert_eq!(
        objects.iter().map(|object| &object.name[..]).collect::<Vec<_>>(),
        ["port", "nothing", "long"]
    );
}

#[test]
fn every_misuse_is_an_error_of_its_own() {
    let world = World::new();
    let spaces = world.spaces();
    let file = world.file("f", b"x");
    for id in ["", "..", "a/b", ".x", "a b", &"i".repeat(65)] {
        assert!(matches!(spaces.get(id, false), Err(SpaceError::BadId(_))), "{id}");
    }
    assert!(matches!(spaces.close("none"), Err(SpaceError::NoSpace(_))));
    assert!(matches!(spaces.existing("none"), Err(SpaceError::NoSpace(_))));
    assert!(matches!(spaces.remove("none"), Err(SpaceError::NoSpace(_))));
    let space = spaces.get("App", false).unwrap();
    assert_eq!((space.id(), spaces.get("app", false).unwrap().id()), ("app", "app"));
    space.put_path(&file, Some("name")).unwrap();
    space.put_value("value", b"v", "text").unwrap();
    // A name that differs from the path is a name, and the path is found by itself.
    assert!(space.exists(Some("name"), Some(&file)).unwrap());
    assert!(space.exists(None, Some(&file)).unwrap() && !space.exists(Some("value"), Some(&file)).unwrap());
    assert!(!space.exists(Some(file.to_str().unwrap()), None).unwrap());
    assert!(matches!(space.exists(None, None), Err(SpaceError::NothingAsked)));
    assert!(matches!(space.put_path(&file, Some("other")), Err(SpaceError::PathTaken { .. })));
    let other = world.file("g", b"x");
    assert!(matches!(space.put_path(&other, Some("name")), Err(SpaceError::NameTaken { .. })));
    assert!(matches!(space.put_value("name", b"", "text"), Err(SpaceError::NameTaken { .. })));
    assert!(matches!(space.put_value("", b"", "text"), Err(SpaceError::BadName(_))));
    assert!(matches!(space.put_value("a\nb", b"", "text"), Err(SpaceError::BadName(_))));
    assert!(matches!(space.put_path(&world.path("gone"), None), Err(SpaceError::Absent(_))));
    assert!(matches!(space.put_path(&world.path("gone/x"), None), Err(SpaceError::Absent(_))));
    for path in ["relative", "/", "/a/../b"] {
        assert!(matches!(space.put_path(Path::new(path), None), Err(SpaceError::BadPath { .. })), "{path}");
    }
    assert!(matches!(space.value("name"), Err(SpaceError::IsPath(_))));
    assert!(matches!(space.restore_name("value", None), Err(SpaceError::IsValue(_))));
    assert!(space.restore_name("value", Some(&file)).is_err());
    assert!(matches!(space.restore_name("none", None), Err(SpaceError::NoName { .. })));
    assert!(matches!(space.restore_path(&other, None), Err(SpaceError::NoOrigin { .. })));
    assert!(matches!(space.value("none"), Err(SpaceError::NoName { .. })));
    assert!(matches!(space.delete("none"), Err(SpaceError::NoName { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"x", "nothing of this touched it");
    space.delete("name").unwrap();
    assert!(!space.exists(None, Some(&file)).unwrap());
    assert!(!spaces.close("app").unwrap());
    assert!(matches!(space.list(), Err(SpaceError::NoSpace(_))));
}

#[test]
fn what_is_persistent_stays() {
    let world = World::new();
    let spaces = world.spaces();
    spaces.get("kept", true).unwrap().put_value("v", b"1", "text").unwrap();
    spaces.get("kept", false).unwrap();
    spaces.get("lent", false).unwrap().put_value("v", b"1", "text").unwrap();
    // After a crash both are there.
    let spaces = world.spaces();
    let ids: Vec<_> =
        spaces.list().unwrap().into_iter().map(|(id, info)| (id, info.unwrap().is_persistent)).collect();
    assert_eq!(ids, [("kept".into(), true), ("lent".into(), false)]);
    assert!(spaces.close("kept").unwrap());
    spaces.keep("lent").unwrap();
    assert!(spaces.close("lent").unwrap());
    spaces.remove("kept").unwrap();
    assert_eq!(spaces.list().unwrap().len(), 1);
    assert!(!world.path("store/kept").exists());
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("store"), mode("store/key"), mode("store/lent/index")), (0o700, 0o600, 0o600));
    fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(Spaces::open(&world.path("store")), Err(SpaceError::BadPath { .. })));
}

#[test]
fn a_replay_undoes_in_reverse_order() {
    let world = World::new();
    let spaces = world.spaces();
    let space = spaces.get("app", true).unwrap();
    let dir = world.path("d");
    let inner = world.file("d/inner", b"first");
    // The file, then the directory around it with a later state of the file: the earliest state is what counts.
    space.put_path(&inner, None).unwrap();
    fs::write(&inner, "second").unwrap();
    space.put_path(&dir, None).unwrap();
    fs::write(&inner, "third").unwrap();
    world.file("d/added", b"x");
    // And the other way round.
    let out = world.path("o");
    let low = world.file("o/low", b"first");
    space.put_path(&out, None).unwrap();
    fs::write(&low, "second").unwrap();
    space.put_path(&low, None).unwrap();
    fs::write(&low, "third").unwrap();
    let (_, result) = spaces.revert(None).unwrap().pop().unwrap();
    let replayed = result.unwrap();
    assert_eq!(replayed.paths, [out.clone(), dir.clone(), inner.clone()]);
    assert_eq!((fs::read(&inner).unwrap(), fs::read(&low).unwrap()), (b"first".to_vec(), b"first".to_vec()));
    assert!(!world.path("d/added").exists());
    for dir in [dir, out, world.1.clone()] {
        assert!(
            fs::read_dir(&dir).unwrap().all(|entry| !entry
                .unwrap()
                .file_name()
                .as_encoded_bytes()
                .starts_with(b".dedup"))
        );
    }
    assert!(spaces.revert(Some(&["app", "none"])).unwrap()[1].1.is_err());
}

/// One that cannot be put back leaves all of them alone.
#[test]
fn a_replay_is_all_or_nothing() {
    let world = World::new();
    let space = world.spaces().get("app", true).unwrap();
    let (good, bad) = (world.file("good/f", b"old"), world.file("bad/f", b"old"));
    space.put_path(&bad, None).unwrap();
    space.put_path(&good, None).unwrap();
    fs::write(&good, "new").unwrap();
    fs::remove_dir_all(world.path("bad")).unwrap();
    symlink(world.path("good"), world.path("bad")).unwrap();
    let error = space.replay().unwrap_err();
    assert!(matches!(error, SpaceError::NotRestored { .. }), "{error}");
    assert_eq!(fs::read(&good).unwrap(), b"new", "nothing was led through the link either");
    // Damage is found before anything is touched.
    fs::remove_file(world.path("bad")).unwrap();
    let object = space.list().unwrap()[0].address.clone();
    let path = world.path("store/app").join(object);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    // Both have the same content, metadata apart.
    let error = space.replay().unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
    assert_eq!(fs::read(&good).unwrap(), b"new");
    fs::remove_file(&path).unwrap();
    assert_eq!(space.replay().unwrap_err().kind(), Kind::Integrity);
    assert_eq!(fs::read_dir(world.path("good")).unwrap().count(), 1);
}

#[test]
fn many_threads_put_and_none_is_lost() {
    let world = World::new();
    let spaces = world.spaces();
    let space = spaces.get("app", false).unwrap();
    let same = world.file("same", b"one and only");
    let taken = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (space, spaces, same, taken) = (&space, &spaces, &same, &taken);
            scope.spawn(move || {
                for number in 0..12 {
                    let name = format!("{thread}-{number}");
                    let value = vec![thread as u8; 1000 * number];
                    space.put_value(&name, &value, "text").unwrap();
                    assert_eq!(space.value(&name).unwrap(), value);
                    taken.fetch_add(u32::from(space.put_path(same, None).is_ok()), Ordering::Relaxed);
                    if number % 3 == 0 {
                        spaces.get("app", false).unwrap().delete(&name).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 1, "one path, once");
    assert_eq!(space.list().unwrap().len(), 8 * 8 + 1);
    for object in space.list().unwrap().iter().filter(|object| object.origin.is_none()) {
        space.value(&object.name).unwrap();
    }
}

/// A disk that stops at a call, as if the machine did: that call is done in part or not at all, and none after it.
#[derive(Debug)]
struct Stopping {
    left: AtomicU32,
}

impl Stopping {
    fn go(&self) -> io::Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::other("the machine has stopped"))
    }
}

#[derive(Debug)]
struct Plain;
impl Disk for Plain {}

impl Disk for Stopping {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.go().and_then(|()| Plain.create(path))
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.go().and_then(|()| Plain.make_dir(path))
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        // What was not synced may be lost in part.
        self.go().inspect_err(|_| drop(file.set_len(file.metadata().map_or(0, |stat| stat.len() / 2))))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.go().and_then(|()| Plain.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.go().and_then(|()| Plain.remove(path))
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.go().and_then(|()| Plain.remove_tree(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.go().and_then(|()| Plain.sync_dir(path))
    }
}

#[test]
fn wherever_it_stops_what_was_put_is_there() {
    let mut cuts = 0;
    for cut in 0.. {
        let world = World::new();
        let (a, b) = (world.file("a", b"old a"), world.file("b", b"old b"));
        let disk = Arc::new(Stopping { left: AtomicU32::new(cut) });
        let told = std::cell::RefCell::new(Vec::new());
        let work = || -> Result<(), SpaceError> {
            let spaces = Spaces { store: Store::open_on(&world.path("store"), disk.clone())? };
            let space = spaces.get("app", true)?;
            for (name, path) in [("a", &a), ("b", &b)] {
                space.put_path(path, Some(name))?;
                told.borrow_mut().push(name);
            }
            space.put_value("v", b"value", "text")?;
            told.borrow_mut().push("v");
            space.delete("b")?;
            told.borrow_mut().retain(|name| *name != "b");
            Ok(())
        };
        let finished = work().is_ok();
        fs::write(&a, "new a").unwrap();
        let told = told.into_inner();

        let spaces = world.spaces();
        let space = spaces.get("app", true).unwrap();
        for name in &told {
            assert!(space.exists(Some(name), None).unwrap() || *name == "b", "cut {cut}: {name} is lost");
        }
        for object in space.list().unwrap() {
            match object.origin {
                None => assert_eq!(space.value(&object.name).unwrap(), b"value"),
                Some(_) => drop(space.restore_name(&object.name, None).unwrap()),
            }
        }
        if told.contains(&"a") {
            assert_eq!(fs::read(&a).unwrap(), b"old a");
        }
        let files = fs::read_dir(world.path("store/app")).unwrap().count();
        assert_eq!(files, 2 + space.list().unwrap().len(), "cut {cut}: rubbish is swept");
        space.put_value("after", b"x", "text").unwrap();
        cuts = cut;
        if finished {
            break;
        }
    }
    assert!(cuts > 25, "{cuts} calls");
}
