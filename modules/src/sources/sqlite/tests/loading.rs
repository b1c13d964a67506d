//! What is put in place, and what comes back.

use super::*;
use crate::sources::FileOwner;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

/// Nobody has it open, as the caller knows.
const UNUSED: LoadOptions = LoadOptions { owner: None, in_use: Some(false) };

fn database(setup: &str, rows: u32, word: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    let path = scratch.path("made.db");
    drop(make(&path, setup, rows, word));
    dump(&path).unwrap()
}

#[test]
fn an_unused_database_is_replaced_and_comes_back() {
    let modes = [("DELETE", "WAL"), ("WAL", "DELETE"), ("WAL", "WAL")];
    for ((old, new), in_use) in
        modes.into_iter().flat_map(|pair| [Some(false), Some(true), None].map(|u| (pair, u)))
    {
        let scratch = Scratch::new();
        let path = scratch.path("x.db");
        drop(make(&path, &format!("PRAGMA journal_mode = {old}"), 10, "old"));
        chown(&path, Some(1234), Some(2345)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let bytes = database(&format!("PRAGMA page_size = 1024; PRAGMA journal_mode = {new}"), 20, "new");
        let inode = fs::metadata(&path).unwrap().ino();
        let way = load(&path, &bytes, LoadOptions { in_use, owner: None }).unwrap();
        assert!(in_use.is_none() || (fs::metadata(&path).unwrap().ino() == inode) == (in_use == Some(true)));
        let stat = fs::metadata(&path).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (1234, 2345, 0o640));
        assert_eq!(look(&path), (20, "new".into()));
        put_back(&way).unwrap();
        assert_eq!(look(&path), (10, "old".into()));
        put_back(&way).unwrap();
        assert_eq!(look(&path), (10, "old".into()), "a second time it does nothing");
        assert!(scratch.names().iter().all(|name| !name.starts_with(".dedup")), "{:?}", scratch.names());
    }
}

#[test]
fn discarding_leaves_the_new_one_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "", 10, "old"));
    let way = load(&path, &database("", 20, "new"), UNUSED).unwrap();
    way.discard().unwrap();
    put_back(&way).unwrap();
    assert_eq!(look(&path), (20, "new".into()));
    assert_eq!(scratch.names(), ["x.db"]);
}

#[test]
fn where_nothing_was_nothing_is_afterwards() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    let owner = FileOwner { uid: 77, gid: 88, mode: 0o660 };
    // A log that is left over from another database would be taken for the new one's.
    fs::write(scratch.path("x.db-wal"), "rubbish").unwrap();
    let way = load(
        &path,
        &database("PRAGMA journal_mode = WAL", 20, "new"),
        LoadOptions { owner: Some(owner), ..LoadOptions::default() },
    )
    .unwrap();
    let stat = fs::metadata(&path).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (77, 88, 0o660));
    assert_eq!(look(&path), (20, "new".into()));
    put_back(&way).unwrap();
    assert_eq!(scratch.names(), ["x.db-wal"]);
    assert_eq!(fs::read(scratch.path("x.db-wal")).unwrap(), b"rubbish");
    // A file that somebody else made there meanwhile is not ours to remove.
    let way = load(&path, &database("", 20, "new"), LoadOptions::default()).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another's").unwrap();
    put_back(&way).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"another's");
}

/// The log of a program that died is part of the old database.
#[test]
fn the_log_comes_back_too() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = WAL", 10, "old"));
    let mut program = Program::open(&path);
    program.ask("UPDATE t SET word = 'logged'");
    program.ask("die");
    drop(program);
    let way = load(&path, &database("", 20, "new"), UNUSED).unwrap();
    assert_eq!(look(&path), (20, "new".into()));
    put_back(&way).unwrap();
    assert_eq!(look(&path), (10, "logged".into()));
}

/// A program goes on with the file that it opened, so the new content must come into that file.
#[test]
fn a_database_in_use_gets_the_content_and_gives_it_back() {
    for (old, new) in [("DELETE", "WAL"), ("WAL", "DELETE"), ("WAL", "WAL"), ("DELETE", "DELETE")] {
        let scratch = Scratch::new();
        let path = scratch.path("x.db");
        drop(make(&path, &format!("PRAGMA journal_mode = {old}"), 10, "old"));
        let mut program = Program::open(&path);
        let ask = "SELECT count(*), min(word) FROM t";
        assert_eq!(program.ask(ask), "[(10, 'old')]");
        let inode = fs::metadata(&path).unwrap().ino();
        let way = load(
            &path,
            &database(&format!("PRAGMA journal_mode = {new}"), 20, "new"),
            LoadOptions::default(),
        )
        .unwrap();
        assert_eq!(program.ask(ask), "[(20, 'new')]", "{old} {new}");
        assert_eq!(program.ask("INSERT INTO t (word) VALUES ('more')"), "[]");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        put_back(&way).unwrap();
        assert_eq!(program.ask(ask), "[(10, 'old')]");
        drop(program);
        assert_eq!(look(&path), (10, "old".into()));
        assert!(scratch.names().iter().all(|name| !name.starts_with(".dedup")), "{:?}", scratch.names());
    }
}

#[test]
fn a_database_that_is_opened_after_the_load_is_not_pulled_away() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "", 10, "old"));
    let way = load(&path, &database("", 20, "new"), UNUSED).unwrap();
    let mut program = Program::open(&path);
    put_back(&way).unwrap();
    assert_eq!(program.ask("SELECT count(*), min(word) FROM t"), "[(10, 'old')]");
}

#[test]
fn a_busy_database_stays_as_it_is() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = WAL", 10, "old"));
    let mut program = Program::open(&path);
    program.ask("BEGIN IMMEDIATE");
    let error = load(&path, &database("", 20, "new"), LoadOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::Busy { .. }), "{error}");
    program.ask("COMMIT");
    assert_eq!(program.ask("SELECT count(*), min(word) FROM t"), "[(10, 'old')]");
    assert!(scratch.names().iter().all(|name| !name.starts_with(".dedup")), "{:?}", scratch.names());
    // Pages of another size do not fit into a log.
    let error =
        load(&path, &database("PRAGMA page_size = 1024", 20, "new"), LoadOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::InUse { .. }), "{error}");
    assert_eq!(program.ask("SELECT count(*), min(word) FROM t"), "[(10, 'old')]");
}

#[test]
fn what_is_no_database_is_replaced_but_never_put_in() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    fs::write(&path, "rubbish that was once a database".repeat(100)).unwrap();
    let way = load(&path, &database("", 20, "new"), LoadOptions { in_use: Some(true), owner: None }).unwrap();
    assert_eq!(look(&path), (20, "new".into()));
    put_back(&way).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(b"rubbish"));
    fs::remove_file(&path).unwrap();
    drop(make(&path, "", 10, "old"));
    // A page in the middle is not what it was.
    let mut bytes = database("", 2000, "new");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    for wrong in [
        &bytes[..],
        &bytes[..bytes.len() / 2],
        b"no database at all, but something else".repeat(20).as_slice(),
    ] {
        let error = load(&path, wrong, LoadOptions::default()).unwrap_err();
        assert!(matches!(error, SourceError::Damaged { .. } | SourceError::NotADatabase { .. }), "{error}");
        assert_eq!(look(&path), (10, "old".into()));
        assert_eq!(scratch.names(), ["x.db"]);
    }
}

#[test]
fn a_torn_stream_changes_nothing() {
    struct Torn(u32);
    impl Read for Torn {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 3 {
                return Err(io::Error::other("pack is gone"));
            }
            out.fill(1);
            Ok(out.len())
        }
    }
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "", 10, "old"));
    with_world(|world| {
        let mut load = SqliteLoad::new(path.clone(), SOON, LoadOptions::default(), world).unwrap();
        assert!(matches!(load.prepare(&mut Torn(0)), Err(SourceError::Stream(_))));
        let load = SqliteLoad::new(path.clone(), SOON, LoadOptions::default(), world).unwrap();
        assert!(matches!(Box::new(load).put(&mut io::empty()), Err(SourceError::Unfinished)));
    });
    assert_eq!((look(&path), scratch.names()), ((10, "old".into()), vec!["x.db".to_owned()]));
}

/// Whatever was done of a load when the machine stopped, its way back leads to what was there.
#[test]
fn the_way_back_leads_back_from_everywhere() {
    let new = database("", 20, "new");
    // Each step of putting in place, done by hand up to `done`.
    for done in 0..=4 {
        let scratch = Scratch::new();
        let path = scratch.path("x.db");
        drop(make(&path, "PRAGMA journal_mode = WAL", 10, "old"));
        let way = with_world(|world| {
            let mut load = Box::new(SqliteLoad::new(path.clone(), SOON, UNUSED, world).unwrap());
            let way = load.prepare(&mut &new[..]).unwrap();
            std::mem::forget(load);
            way
        });
        let WayBack::Sqlite(names) = &way else { panic!() };
        fs::write(scratch.path("x.db-wal"), "").unwrap();
        let steps: [&dyn Fn(); 4] = [
            &|| fs::hard_link(&path, scratch.path(&names.old)).unwrap(),
            &|| fs::rename(scratch.path("x.db-wal"), scratch.path(&names.aside("-wal"))).unwrap(),
            &|| fs::rename(scratch.path(&names.new), &path).unwrap(),
            &|| drop(fs::write(scratch.path("x.db-shm"), "of the new one")),
        ];
        steps[..done].iter().for_each(|step| step());
        put_back(&way).unwrap();
        assert_eq!(look(&path), (10, "old".into()), "after {done} steps");
        assert!(
            scratch.names().iter().all(|name| !name.starts_with(".dedup")),
            "{done}: {:?}",
            scratch.names()
        );
    }
}
