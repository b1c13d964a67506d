//! What comes out: a whole database, of one moment, whatever happens meanwhile.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn every_page_size_and_mode_comes_out_whole() {
    for page_bytes in [512, 1024, 4096, 16_384, 65_536] {
        for mode in ["WAL", "DELETE", "TRUNCATE", "PERSIST"] {
            let scratch = Scratch::new();
            let path = scratch.path("a b%?.db");
            let setup = format!("PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = {mode}");
            let open = make(&path, &setup, 700, "kept");
            let bytes = dump(&path).unwrap();
            assert_eq!(look_into(&bytes), (700, "kept".into()), "{page_bytes} {mode}");
            assert_eq!(rows(&open), (700, "kept".into()));
            drop(open);
            // And when nobody has it open.
            assert_eq!(look_into(&dump(&path).unwrap()), (700, "kept".into()));
        }
    }
}

#[test]
fn the_head_tells_what_it_is() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(
        &path,
        "PRAGMA journal_mode = WAL; PRAGMA user_version = 7; PRAGMA application_id = 42",
        1,
        "a",
    ));
    with_world(|world| {
        let dump = SqliteDump::open(&path, SOON, world).unwrap();
        let head = dump.head();
        let fact = |name: &str| head.facts.iter().find(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!(
            (fact("journal_mode"), fact("user_version"), fact("application_id")),
            ("wal".into(), "7".into(), "42".into())
        );
        assert!(head.version.starts_with("SQLite 3.") && head.kind == "sqlite" && !head.is_empty);
        assert_eq!(head.owner.unwrap().mode, 0o644);
    });
}

#[test]
fn an_empty_file_is_an_empty_database() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    fs::write(&path, "").unwrap();
    with_world(|world| {
        let dump = SqliteDump::open(&path, SOON, world).unwrap();
        assert!(dump.head().is_empty && dump.head().estimated_bytes == Some(0));
    });
    assert_eq!(dump(&path).unwrap(), b"");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

/// What the log holds is in the dump, also if nobody will ever fold it into the file.
#[test]
fn the_log_of_a_program_that_died_is_in_it() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = WAL", 10, "old"));
    let before = fs::read(&path).unwrap();
    let mut program = Program::open(&path);
    program.ask("UPDATE t SET word = 'new'");
    program.ask("die");
    drop(program);
    assert!(fs::metadata(scratch.path("x.db-wal")).unwrap().len() > 0);
    assert_eq!(look_into(&dump(&path).unwrap()), (10, "new".into()));
    assert_eq!(fs::read(&path).unwrap(), before, "a dump writes nothing to the database");
}

/// A journal that a dead program left is rolled back, as the next program to open the database would do it.
#[test]
fn an_interrupted_transaction_is_not_in_it() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = DELETE", 3000, "old"));
    let mut program = Program::open(&path);
    program.ask("PRAGMA cache_size = 5");
    program.ask("PRAGMA cache_spill = 5");
    program.ask("BEGIN IMMEDIATE");
    program.ask("UPDATE t SET word = 'half'");
    program.ask("die");
    drop(program);
    assert!(
        fs::metadata(scratch.path("x.db-journal")).unwrap().len() > 512,
        "there is something to roll back"
    );
    assert_eq!(look_into(&dump(&path).unwrap()), (3000, "old".into()));
}

/// Writers go on in WAL mode while a dump is read slowly, and it is of one moment all the same: a row is only ever
/// there together with its pair. A row goes with a file as well: whoever reads the files after the dump has begun
/// finds at least those of the rows in it.
#[test]
fn a_writer_at_work_is_cut_at_one_moment() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    let database =
        make(&path, "PRAGMA journal_mode = WAL; CREATE TABLE pair (id INTEGER PRIMARY KEY)", 4000, "w");
    drop(database);
    let files = scratch.path("files");
    fs::create_dir(&files).unwrap();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut program = Program::open(&path);
            while !stop.load(Ordering::Relaxed) {
                let number = written.load(Ordering::Relaxed) + 1;
                fs::write(files.join(number.to_string()), "x").unwrap();
                for sql in [
                    "BEGIN IMMEDIATE".into(),
                    format!("INSERT INTO pair VALUES ({number})"),
                    format!("INSERT INTO t (id, word) VALUES ({}, 'w')", 1_000_000 + number),
                    "COMMIT".into(),
                ] {
                    assert_eq!(program.ask(&sql), "[]", "{sql}");
                }
                written.store(number, Ordering::Relaxed);
            }
        });
        let mut dumps = 0;
        while dumps < 20 {
            let before = written.load(Ordering::Relaxed);
            let bytes = with_world(|world| {
                let mut dump = SqliteDump::open(&path, SOON, world).unwrap();
                let mut bytes = Vec::new();
                let mut some = [0; 50_000];
                loop {
                    std::thread::sleep(Duration::from_micros(300));
                    match dump.read(&mut some).unwrap() {
                        0 => break,
                        count => bytes.extend_from_slice(&some[..count]),
                    }
                }
                Box::new(dump).finish().unwrap();
                bytes
            });
            let copy = scratch.path("copy.db");
            fs::write(&copy, bytes).unwrap();
            let copy = Connection::open(&copy).unwrap();
            assert_eq!(check(&copy), "ok");
            let numbers = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
            let (pairs, rows) =
                (numbers("SELECT count(*) FROM pair"), numbers("SELECT count(*) FROM t WHERE id > 1000000"));
            assert_eq!(pairs, rows, "half of a transaction");
            let pairs = u64::from(pairs);
            assert!(pairs >= before, "what was committed before is in it: {pairs} of {before}");
            assert!((1..=pairs).all(|number| files.join(number.to_string()).exists()));
            // Only a dump beside which somebody wrote shows anything.
            dumps += u32::from(written.load(Ordering::Relaxed) > before + 1);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// In a rollback mode a writer waits until the dump has ended, and neither loses anything.
#[test]
fn a_writer_waits_where_there_is_no_log() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    drop(make(&path, "PRAGMA journal_mode = DELETE", 1000, "old"));
    let mut program = Program::open(&path);
    program.ask("PRAGMA busy_timeout = 0");
    let bytes = with_world(|world| {
        let mut dump = SqliteDump::open(&path, SOON, world).unwrap();
        let mut bytes = vec![0; 10_000];
        dump.read_exact(&mut bytes).unwrap();
        let answer = program.ask("UPDATE t SET word = 'new'");
        assert!(answer.contains("locked"), "{answer}");
        dump.read_to_end(&mut bytes).unwrap();
        Box::new(dump).finish().unwrap();
        bytes
    });
    assert_eq!(look_into(&bytes), (1000, "old".into()));
    assert_eq!(program.ask("UPDATE t SET word = 'new'"), "[]");
    assert_eq!(look_into(&dump(&path).unwrap()), (1000, "new".into()));
}

/// Memory of the process before and after, with 100 MB in between.
#[test]
fn a_large_database_takes_little_memory() {
    let scratch = Scratch::new();
    let path = scratch.path("x.db");
    let database = make(&path, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF", 1, "a");
    database
        .execute_batch("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1600) INSERT INTO t (word, filler) SELECT 'a', randomblob(65000) FROM n")
        .unwrap();
    let (mut most, mut total) = (0, 0u64);
    with_world(|world| {
        let mut dump = SqliteDump::open(&path, SOON, world).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let before = own_memory();
        loop {
            match dump.read(&mut buffer).unwrap() {
                0 => break,
                count => total += count as u64,
            }
            most = most.max(own_memory().saturating_sub(before));
        }
        assert_eq!(Box::new(dump).finish().unwrap(), total);
    });
    assert!(total > 100_000_000, "{total}");
    assert!(most < 16 << 20, "{most} bytes more than at the beginning");
}

/// Returns the memory of this process that belongs to no file, in bytes.
fn own_memory() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
