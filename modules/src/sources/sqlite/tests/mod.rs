//! Databases in use, dumped and put back.

mod dumping;
mod faults;
mod loading;

use super::super::{Dump, LoadOptions, SourceError, WayBack, World};
use super::{SqliteDump, SqliteLoad};
use crate::child::Surroundings;
use crate::sources::Load;
use rusqlite::Connection;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for a lock in these tests.
pub(super) const SOON: Duration = Duration::from_millis(400);

/// A directory by its real path.
pub(super) struct Scratch(#[expect(dead_code, reason = "removes the directory")] tempfile::TempDir, PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = fs::canonicalize(dir.path()).unwrap();
        Self(dir, path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.1.join(name)
    }

    /// Returns the names in the directory.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.1)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Calls `work` with a world in which nothing is ever cancelled.
pub(super) fn with_world<T>(work: impl FnOnce(World<'_>) -> T) -> T {
    let around = Surroundings::default();
    work(World { around: &around, cancelled: &|| false })
}

fn dump(path: &Path) -> Result<Vec<u8>, SourceError> {
    with_world(|world| {
        let mut dump = SqliteDump::open(path, SOON, world)?;
        let estimated = dump.head().estimated_bytes;
        let mut bytes = Vec::new();
        let read = dump.read_to_end(&mut bytes);
        let end = Box::new(dump).finish()?;
        read.unwrap();
        assert_eq!((bytes.len() as u64, Some(end)), (end, estimated));
        Ok(bytes)
    })
}

/// Prepares and puts; returns the way back.
fn load(target: &Path, mut bytes: &[u8], options: LoadOptions) -> Result<WayBack, SourceError> {
    with_world(|world| {
        let mut load = Box::new(SqliteLoad::new(target.to_owned(), SOON, options, world)?);
        load.check()?;
        let way = load.prepare(&mut bytes)?;
        // As it will stand in the journal of a run.
        let text = serde_json::to_string(&way).unwrap();
        let way: WayBack = serde_json::from_str(&text).unwrap();
        load.put(&mut bytes)?;
        Ok(way)
    })
}

pub(super) fn put_back(way: &WayBack) -> Result<(), SourceError> {
    with_world(|world| way.put_back(world))
}

/// Makes a database with `rows` rows of a table `t` that say `word`.
fn make(path: &Path, setup: &str, rows: u32, word: &str) -> Connection {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database.execute_batch(setup).unwrap();
    database.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, filler BLOB); BEGIN").unwrap();
    for _ in 0..rows {
        database.execute("INSERT INTO t (word, filler) VALUES (?1, randomblob(300))", [word]).unwrap();
    }
    database.execute_batch("COMMIT").unwrap();
    database
}

/// Returns the number of rows of `t`, and the word of the first.
fn look(path: &Path) -> (u32, String) {
    let database = Connection::open(path).unwrap();
    assert_eq!(check(&database), "ok", "{}", path.display());
    rows(&database)
}

fn rows(database: &Connection) -> (u32, String) {
    database
        .query_row("SELECT count(*), coalesce(min(word), '') FROM t", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
}

fn check(database: &Connection) -> String {
    database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// Writes dumped bytes to a file of its own and looks into it.
fn look_into(bytes: &[u8]) -> (u32, String) {
    let scratch = Scratch::new();
    let path = scratch.path("copy.db");
    fs::write(&path, bytes).unwrap();
    look(&path)
}

/// A program of its own that has a database open, and answers to lines of SQL.
struct Program(std::process::Child);

impl Program {
    fn open(path: &Path) -> Self {
        use std::process::{Command, Stdio};
        let mut child = Command::new("python3");
        child.args(["-u", "-c", PROGRAM]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = Self(child.spawn().unwrap());
        assert_eq!(program.says(), "open");
        program
    }

    fn says(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        let out = self.0.stdout.as_mut().unwrap();
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn ask(&mut self, sql: &str) -> String {
        use std::io::Write;
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
        self.says()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Ends without closing its database if it is told `die`.
const PROGRAM: &str = r#"
import sqlite3, sys, os
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("SELECT count(*) FROM sqlite_master").fetchall()
print("open")
for line in sys.stdin:
    if line.strip() == "die": os._exit(0)
    try: print(db.execute(line).fetchall())
    except Exception as e: print("error", e)
"#;
