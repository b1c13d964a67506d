use super::super::contract;
use super::rigged::{Op, RiggedDisk};
use super::*;
use crate::error::Kind;
use crate::id::ObjectId;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A directory that is gone after the test; in memory where there is such a place.
pub(super) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A storage that keeps its directory for as long.
struct Kept(LocalStorage, TempDir);

impl Storage for Kept {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        self.0.put(name, bytes)
    }
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        self.0.get(name, range)
    }
    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.0.get_all(name, max)
    }
    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.0.len(name)
    }
    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.0.list(family, each, foreign)
    }
    fn list_names(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.0.list_names(family, each)
    }
    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.0.delete(name)
    }
    fn place(&self) -> String {
        self.0.place()
    }
}

fn over(disk: &RiggedDisk) -> Kept {
    let folder = scratch();
    Kept(LocalStorage::create_on(folder.path().to_owned(), Box::new(disk.clone())).unwrap(), folder)
}

fn pack(byte: u8) -> Name {
    Name::pack(ObjectId::from_bytes([byte; 32]))
}

fn entries(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

fn place_trouble(result: Result<LocalStorage, StorageError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Place(_)), "{error}");
    error.to_string()
}

#[test]
fn a_directory_keeps_the_contract() {
    contract::holds(&|| {
        let folder = scratch();
        Box::new(Kept(LocalStorage::create(folder.path()).unwrap(), folder))
    });
}

#[test]
fn links_instead_of_renames_keep_the_contract() {
    contract::holds(&|| Box::new(over(&RiggedDisk::with(|script| script.links = true))));
}

#[test]
fn a_directory_tells_foreign_names() {
    let folder = scratch();
    let storage = LocalStorage::create(folder.path()).unwrap();
    contract::tells_foreign_names(&storage, &|path| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    });
}

#[test]
fn two_processes_may_write_one_repository() {
    let folder = scratch();
    let storages: Vec<_> = (0..4).map(|_| LocalStorage::create(folder.path()).unwrap()).collect();
    for round in 0..50 {
        let stored = std::thread::scope(|scope| {
            let put = |storage: &LocalStorage| storage.put(&pack(round), &[round; 999]).unwrap();
            let threads: Vec<_> = storages.iter().map(|one| scope.spawn(move || put(one))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).filter(|p| *p == Put::Stored).count()
        });
        assert_eq!(stored, 1);
    }
    assert_eq!(entries(&folder.path().join("tmp")), 0);
}

#[test]
fn folders_are_private_and_objects_stand_under_their_names() {
    let folder = scratch();
    let path = folder.path().join("a/b");
    let storage = LocalStorage::create(&path).unwrap();
    storage.put(&pack(0xab), b"x").unwrap();
    let file = path.join(format!("packs/ab/{}", "ab".repeat(32)));
    assert_eq!(fs::read(file).unwrap(), b"x");
    for made in ["..", "", "keys", "tmp", "packs/ab"] {
        assert_eq!(fs::metadata(path.join(made)).unwrap().mode() & 0o777, 0o700, "{made}");
    }
}

#[test]
fn only_an_empty_directory_or_a_repository_is_taken() {
    let folder = scratch();
    let path = folder.path();
    fs::write(path.join("letter"), b"dear").unwrap();
    assert!(place_trouble(LocalStorage::create(path)).contains("`letter`"));
    assert_eq!(entries(path), 1);
    fs::remove_file(path.join("letter")).unwrap();

    // Folders whose names are ours by chance.
    fs::create_dir_all(path.join("log")).unwrap();
    fs::write(path.join("log/today"), b"dear").unwrap();
    place_trouble(LocalStorage::create(path));
    assert_eq!(entries(path), 1);
    fs::remove_file(path.join("log/today")).unwrap();

    LocalStorage::create(path).unwrap().put(&Name::config(), b"x").unwrap();
    fs::write(path.join("letter"), b"dear").unwrap();
    let again = LocalStorage::create(path).unwrap();
    assert_eq!(again.get_all(&Name::config(), 1).unwrap(), b"x");

    place_trouble(LocalStorage::create(path.join("letter")));
    place_trouble(LocalStorage::create(path.join("letter/below")));
    place_trouble(LocalStorage::create(path.join("new/../other")));
}

#[test]
fn what_is_no_repository_is_not_opened_and_not_changed() {
    let folder = scratch();
    let path = folder.path();
    assert!(place_trouble(LocalStorage::open(path)).contains("not a repository"));
    assert_eq!(entries(path), 0);
    assert!(place_trouble(LocalStorage::open(path.join("none"))).contains("no such directory"));
    LocalStorage::create(path).unwrap();
    fs::remove_dir(path.join("epochs")).unwrap();
    assert!(place_trouble(LocalStorage::open(path)).contains("`epochs` is missing"));
    symlink("keys", path.join("epochs")).unwrap();
    assert!(place_trouble(LocalStorage::open(path)).contains("`epochs` is no folder"));
}

#[test]
fn links_are_followed_to_a_repository_and_not_within() {
    let folder = scratch();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    let path = folder.path().join("link");
    let storage = LocalStorage::create(&path).unwrap();
    drop(LocalStorage::open(&path).unwrap());

    fs::write(folder.path().join("secret"), b"secret").unwrap();
    symlink(folder.path().join("secret"), path.join(Name::epoch(1).to_string())).unwrap();
    fs::create_dir(path.join(Name::epoch(2).to_string())).unwrap();
    let pipe = path.join(Name::epoch(3).to_string());
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    for name in [Name::epoch(1), Name::epoch(2), Name::epoch(3)] {
        let errors = [
            storage.get_all(&name, 9).unwrap_err(),
            storage.get(&name, 0..0).unwrap_err(),
            storage.len(&name).unwrap_err(),
            storage.put(&name, b"x").unwrap_err(),
            storage.delete(&name).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error.trouble, Trouble::NotFile)), "{errors:?}");
    }
    symlink(folder.path(), path.join("packs/ab")).unwrap();
    storage.put(&pack(0xab), b"x").unwrap_err();
    storage.get_all(&pack(0xab), 9).unwrap_err();

    let mut foreign = Vec::new();
    for family in [Family::Epochs, Family::Packs] {
        let mut each = |name: Name, _| panic!("{name} is listed");
        storage.list(family, &mut each, &mut |path| foreign.push(path.to_owned())).unwrap();
        storage.list_names(family, &mut |name| panic!("{name} is listed")).unwrap();
    }
    foreign.sort();
    let numbers = [1, 2, 3].map(|n| Name::epoch(n).to_string());
    assert_eq!(foreign, [&numbers[..], &["packs/ab".to_owned()]].concat());
}

#[test]
fn a_folder_that_is_gone_is_never_an_empty_one() {
    let folder = scratch();
    let storage = LocalStorage::create(folder.path()).unwrap();
    for family in Family::ALL.into_iter().filter(|family| family.folder().is_some()) {
        fs::remove_dir(folder.path().join(family.to_string())).unwrap();
        storage.list(family, &mut |_, _| Ok(()), &mut |_| {}).unwrap_err();
        storage.list_names(family, &mut |_| Ok(())).unwrap_err();
    }
    assert!(!storage.get_all(&pack(1), 9).unwrap_err().is_missing());
    storage.len(&Name::epoch(1)).unwrap_err();
    storage.delete(&Name::epoch(1)).unwrap_err();

    // Removed after it was opened, where the C library says "no more entries".
    let open = open_folder(&storage.root, ".").unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let inner_open = open_folder(&open, "inner").unwrap();
    fs::remove_dir(&inner).unwrap();
    each_entry(&inner_open, |trouble| trouble, |_, _| Ok(())).unwrap_err();
}

#[test]
fn a_shard_that_goes_during_a_listing_is_trouble() {
    let folder = scratch();
    let storage = LocalStorage::create(folder.path()).unwrap();
    storage.put(&pack(1), b"x").unwrap();
    storage.put(&pack(2), b"x").unwrap();
    let mut each = |name: Name, _| {
        let other = if name == pack(1) { "packs/02" } else { "packs/01" };
        fs::remove_dir_all(folder.path().join(other)).unwrap();
        Ok(())
    };
    let error = storage.list(Family::Packs, &mut each, &mut |path| panic!("{path} is foreign")).unwrap_err();
    assert!(!error.is_missing() && error.kind() == Kind::Io, "{error}");
}

#[test]
fn a_repository_can_be_read_only() {
    let folder = scratch();
    LocalStorage::create(folder.path()).unwrap().put(&pack(1), b"x").unwrap();
    let read_only = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o500)).unwrap();
    fs::read_dir(folder.path()).unwrap().for_each(|entry| read_only(&entry.unwrap().path()));
    let modified = || fs::metadata(folder.path()).unwrap().ctime_nsec();
    let before = modified();
    let storage = LocalStorage::open(folder.path()).unwrap();
    assert_eq!(storage.get_all(&pack(1), 1).unwrap(), b"x");
    assert_eq!(modified(), before);
}

#[test]
fn short_and_interrupted_writes_are_continued() {
    let disk = RiggedDisk::with(|script| {
        script.short_writes = Some(7);
        script.interrupts = true;
    });
    let storage = over(&disk);
    let bytes: Vec<u8> = (0..=255).collect();
    storage.put(&pack(1), &bytes).unwrap();
    assert_eq!(storage.get_all(&pack(1), 256).unwrap(), bytes);
}

#[test]
fn a_full_disk_leaves_no_debris_and_can_be_written_again() {
    // Ten writes of 100 bytes; then the inode, the shard, and the room for the name.
    let writes = (0..10).map(|n| (Op::Write, n));
    for (op, n) in writes.chain([(Op::Create, 0), (Op::MakeFolder, 0), (Op::Publish, 0)]) {
        let disk = RiggedDisk::with(|script| script.short_writes = Some(100));
        let storage = over(&disk);
        for error in [Errno::NOSPC, Errno::DQUOT] {
            disk.fail(op, n, error);
            assert_eq!(storage.put(&pack(1), &[1; 1000]).unwrap_err().kind(), Kind::NoSpace, "{op:?} {n}");
            assert_eq!(entries(&storage.1.path().join("tmp")), 0, "{op:?} {n}");
            assert_eq!(storage.len(&pack(1)).unwrap(), None);
        }
        assert_eq!(storage.put(&pack(1), &[1; 1000]).unwrap(), Put::Stored);
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_written() {
    // The first sync of a folder is that of `packs`, the second that of the shard.
    for (op, n, visible) in [(Op::SyncFile, 0, false), (Op::SyncFolder, 0, false), (Op::SyncFolder, 1, true)]
    {
        let disk = RiggedDisk::default();
        let storage = over(&disk);
        storage.put(&Name::config(), b"x").unwrap();
        disk.fail(op, n, Errno::IO);
        let error = storage.put(&pack(1), b"x").unwrap_err();
        assert!(matches!(&error.trouble, Trouble::Io(io) if io.raw_os_error() == Some(5)), "{error}");
        assert_eq!(storage.len(&pack(1)).unwrap().is_some(), visible);
        assert_eq!(entries(&storage.1.path().join("tmp")), 0);
        let steps = disk.0.lock().unwrap().log.len();
        for name in [pack(1), pack(2), Name::config()] {
            assert!(matches!(storage.put(&name, b"x").unwrap_err().trouble, Trouble::Poisoned));
            assert!(matches!(storage.delete(&name).unwrap_err().trouble, Trouble::Poisoned));
        }
        assert_eq!(disk.0.lock().unwrap().log.len(), steps, "something was written");
        assert_eq!(storage.get_all(&Name::config(), 1).unwrap(), b"x");
    }
    let disk = RiggedDisk::default();
    let storage = over(&disk);
    disk.fail(Op::SyncFolder, 0, Errno::IO);
    storage.delete(&Name::config()).unwrap_err();
    assert!(matches!(storage.put(&Name::config(), b"x").unwrap_err().trouble, Trouble::Poisoned));
}

#[test]
fn a_link_that_nfs_repeats_is_told_stored() {
    let disk = RiggedDisk::with(|script| script.links = true);
    let storage = over(&disk);
    disk.0.lock().unwrap().repeats = true;
    assert_eq!(storage.put(&Name::config(), b"x").unwrap(), Put::Stored);
    assert_eq!(storage.put(&Name::config(), b"x").unwrap(), Put::Present);
    assert_eq!(entries(&storage.1.path().join("tmp")), 0);
}

/// Between the look whether the name is free and the moment when it is given, somebody else is quicker.
#[test]
fn whoever_is_overtaken_is_told_so() {
    for links in [false, true] {
        let disk = RiggedDisk::with(|script| {
            script.links = links;
            script.overtakes = true;
        });
        let storage = over(&disk);
        assert_eq!(storage.put(&Name::config(), b"mine").unwrap(), Put::Present);
        assert_eq!(storage.get_all(&Name::config(), 9).unwrap(), b"", "it is theirs");
        assert_eq!(entries(&storage.1.path().join("tmp")), 0);
    }
}

#[test]
fn only_old_unfinished_writes_are_cleaned() {
    let folder = scratch();
    let storage = LocalStorage::create(folder.path()).unwrap();
    storage.put(&pack(1), b"x").unwrap();
    let tmp = folder.path().join("tmp");
    let now = SystemTime::now();
    for (name, age) in [("old", 7200), ("older", 9000), ("new", 60)] {
        fs::write(tmp.join(name), b"half").unwrap();
        let file = fs::File::options().write(true).open(tmp.join(name)).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    fs::create_dir(tmp.join("folder")).unwrap();
    fs::File::open(tmp.join("folder")).unwrap().set_modified(now - Duration::from_secs(9000)).unwrap();
    assert_eq!(storage.clean_temporary(now - Duration::from_secs(3600)).unwrap(), 2);
    assert!(tmp.join("new").exists() && tmp.join("folder").exists());
    assert_eq!(storage.clean_temporary(now - Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(storage.len(&pack(1)).unwrap(), Some(1));
}
