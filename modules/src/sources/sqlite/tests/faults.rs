//! What cannot be dumped, and how that is told.

use super::*;
use dedup_engine::error::Kind;
use dedup_engine::snapshot::Outcome;
use std::os::unix::fs::{PermissionsExt, symlink};

fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(move || {
        // These change the calling thread only, being bare system calls.
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(65_534)).unwrap();
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
        work()
    })
    .join()
    .unwrap()
}

#[test]
fn what_is_no_database_is_told_apart() {
    let scratch = Scratch::new();
    let error = dump(&scratch.path("gone.db")).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (Kind::Missing, Outcome::Absent), "{error}");
    assert_eq!(dump(&scratch.path("gone/x.db")).unwrap_err().outcome(), Outcome::Absent);
    assert!(!scratch.path("gone.db").exists(), "nothing is made by looking");

    let text = scratch.path("text.db");
    fs::write(&text, "not a database, but longer than its header would be ".repeat(40)).unwrap();
    assert!(matches!(dump(&text), Err(SourceError::NotADatabase { .. })));
    // As SQLCipher leaves it: every byte looks like chance.
    let secret = scratch.path("secret.db");
    let bytes: Vec<u8> = (0..8192u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(&secret, bytes).unwrap();
    let error = dump(&secret).unwrap_err();
    assert!(error.to_string().contains("encrypted"), "{error}");
    assert_eq!(error.outcome(), Outcome::Failed);

    assert!(matches!(dump(&scratch.1), Err(SourceError::NotAFile { .. })));
    assert!(matches!(dump(Path::new("/dev/null")), Err(SourceError::NotAFile { .. })));
}

#[test]
fn damage_is_told() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = DELETE", 2000, "a"));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // The header says how many pages there must be.
    file.set_len(fs::metadata(&path).unwrap().len() / 2).unwrap();
    let error = dump(&path).unwrap_err();
    assert!(matches!(error, SourceError::Damaged { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Integrity);
}

/// Dumps; returns also what is wrong with it.
fn dump_and_flaw(path: &Path) -> Result<(Vec<u8>, Option<String>), SourceError> {
    with_world(|world| {
        let (mut dump, mut bytes) = (SqliteDump::open(path, SOON, world)?, Vec::new());
        dump.read_to_end(&mut bytes).unwrap();
        let flaw = dump.flaw()?;
        Box::new(dump).finish()?;
        Ok((bytes, flaw))
    })
}

/// A page in the midst, of a table and of an index, in both modes: all is there, and what is wrong is told.
#[test]
fn damaged_pages_are_dumped_and_told() {
    use std::os::unix::fs::FileExt;
    for mode in ["WAL", "DELETE"] {
        let scratch = Scratch::new();
        let path = scratch.path("x.db");
        drop(make(&path, &format!("PRAGMA journal_mode = {mode}"), 3000, "a"));
        assert_eq!(dump_and_flaw(&path).unwrap().1, None, "{mode}");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let pages = file.metadata().unwrap().len() / 4096;
        for (page, bytes) in [(pages / 2, [0; 4096]), (pages / 2, [0xee; 4096]), (pages - 3, [0x0a; 4096])] {
            let before = fs::read(&path).unwrap();
            file.write_all_at(&bytes, page * 4096).unwrap();
            let (dumped, flaw) = dump_and_flaw(&path).unwrap();
            assert_eq!(dumped, fs::read(&path).unwrap());
            let flaw = flaw.unwrap();
            assert!(flaw.to_lowercase().contains("page") && flaw.len() < 1000, "{flaw}");
            file.write_all_at(&before, 0).unwrap();
        }
        assert_eq!(dump_and_flaw(&path).unwrap().1, None, "{mode}");
    }
}

/// What the schema says of rows, and what only a program knows, is no damage.
#[test]
fn what_is_no_damage_is_not_told() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    let database = make(&path, "", 300, "a");
    let old = "CREATE TABLE old (a, b CHECK (b > 0)); INSERT INTO old VALUES (NULL, 1); \
        PRAGMA ignore_check_constraints = 1; INSERT INTO old VALUES (1, -1); PRAGMA writable_schema = 1; \
        UPDATE sqlite_schema SET sql = 'CREATE TABLE old (a NOT NULL, b CHECK (b > 0))' WHERE name = 'old';";
    database.execute_batch(old).unwrap();
    drop(database);
    let database = Connection::open(&path).unwrap();
    assert!(check(&database).contains("NULL value"), "{}", check(&database));
    assert_eq!(dump_and_flaw(&path).unwrap().1, None);
    // A collation and a module of virtual tables that are not here.
    let unknown = "CREATE TABLE u (a TEXT); CREATE INDEX u_a ON u (a); INSERT INTO u VALUES ('x'), ('y'); \
        PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE INDEX u_a ON u (a COLLATE own)' WHERE name = 'u_a'; \
        INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING own(a)');";
    database.execute_batch(unknown).unwrap();
    drop(database);
    assert_eq!(dump_and_flaw(&path).unwrap().1, None);
}

#[test]
fn whoever_cancels_does_not_wait_for_the_look() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "", 3000, "a"));
    let (around, stop) = (Surroundings::default(), std::cell::Cell::new(false));
    let cancelled = || stop.get();
    let mut dump = SqliteDump::open(&path, SOON, World { around: &around, cancelled: &cancelled }).unwrap();
    dump.read_to_end(&mut Vec::new()).unwrap();
    stop.set(true);
    // However quick it was, that it was looked at to the end is not said.
    assert!(!matches!(dump.flaw(), Ok(Some(_))));
}

#[test]
fn a_locked_database_is_waited_for_and_given_up() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    let database = make(&path, "PRAGMA journal_mode = DELETE", 10, "a");
    let mut program = Program::open(&path);
    assert_eq!(program.ask("BEGIN EXCLUSIVE"), "[]");
    let error = dump(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.to_string().contains("locked"), "{error}");
    // Whoever cancels does not wait for the limit.
    let around = Surroundings::default();
    let world = World { around: &around, cancelled: &|| true };
    let error = SqliteDump::open(&path, Duration::from_secs(3600), world).err().unwrap();
    assert_eq!(error.kind(), Kind::Cancelled);
    assert_eq!(program.ask("COMMIT"), "[]");
    assert_eq!(look_into(&dump(&path).unwrap()).0, 10);
    drop(database);
}

#[test]
fn a_cancelled_dump_is_void() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "", 3000, "a"));
    let (around, stop) = (Surroundings::default(), std::cell::Cell::new(false));
    let cancelled = || stop.get();
    let mut dump = SqliteDump::open(&path, SOON, World { around: &around, cancelled: &cancelled }).unwrap();
    let mut some = vec![0; 300_000];
    dump.read_exact(&mut some).unwrap();
    stop.set(true);
    assert!(dump.read_to_end(&mut some).is_err());
    assert!(dump.read(&mut some).is_err(), "an error stays one");
    assert_eq!(Box::new(dump).finish().unwrap_err().kind(), Kind::Cancelled);
    // And one whose reader has gone away.
    with_world(|world| {
        let mut dump = SqliteDump::open(&path, SOON, world).unwrap();
        dump.read_exact(&mut [0; 10]).unwrap();
        assert!(matches!(Box::new(dump).finish(), Err(SourceError::Unfinished)));
    });
}

/// Root would carry somebody else's database into the backup, and by a restore to whoever made the link.
#[test]
fn root_follows_no_link() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "", 10, "a"));
    symlink("x.db", scratch.path("link.db")).unwrap();
    symlink(&scratch.1, scratch.path("dir")).unwrap();
    for way in ["link.db", "dir/x.db"] {
        let error = dump(&scratch.path(way)).unwrap_err();
        assert!(matches!(error, SourceError::Link { .. }), "{way}: {error}");
        let bytes = fs::read(&path).unwrap();
        let result = load(&scratch.path(way), &bytes, LoadOptions::default());
        assert!(matches!(result, Err(SourceError::Link { .. })), "{way}: {result:?}");
    }
    fs::set_permissions(&scratch.1, fs::Permissions::from_mode(0o755)).unwrap();
    let link = scratch.path("link.db");
    assert_eq!(as_nobody(move || dump(&link)).map(|bytes| look_into(&bytes).0).unwrap(), 10);
}

#[test]
fn what_may_not_be_read_is_unreadable() {
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.1, fs::Permissions::from_mode(0o755)).unwrap();
    let path = scratch.path("x.db");
    drop(make(&path, "", 10, "a"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let tried = path.clone();
    let error = as_nobody(move || dump(&tried)).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (Kind::Permission, Outcome::Unreadable), "{error}");
    // A log needs an index beside, which nobody may make here.
    let wal = scratch.path("wal.db");
    drop(make(&wal, "PRAGMA journal_mode = WAL", 10, "a"));
    let tried = wal.clone();
    let error = as_nobody(move || dump(&tried)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unreadable, "{error}");
}

/// As in a snapshot of a file system.
#[test]
fn a_read_only_file_system_is_no_hindrance() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = WAL", 10, "a"));
    let mount = |args: &[&str]| std::process::Command::new("mount").args(args).status().unwrap().success();
    let dir = scratch.1.to_str().unwrap();
    assert!(mount(&["--bind", dir, dir]));
    let result = mount(&["-o", "remount,ro,bind", dir]).then(|| dump(&path));
    assert!(std::process::Command::new("umount").arg(dir).status().unwrap().success());
    assert_eq!(look_into(&result.unwrap().unwrap()), (10, "a".into()));
}
