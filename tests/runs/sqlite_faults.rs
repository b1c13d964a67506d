//! What befalls a SQLite database while it is backed up and restored, by both formats: it is told, the account says
//! what there is, and what was there stays.

use super::app::Machine;
use crate::support::mount::Mount;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const FORMATS: [&str; 2] = ["", "format = \"records\"\n"];

fn declare(machine: &Machine, path: &Path, more: &str) {
    machine
        .module("app", &format!("[[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = {path:?}\n{more}"));
}

fn make(path: &Path) {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
        WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)
        INSERT INTO t SELECT x, printf('row %d of a database', x) FROM n;";
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn rows(path: &Path) -> (i64, String) {
    let sql = "SELECT count(*), ifnull(max(v), '') FROM t";
    Connection::open(path).unwrap().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Something that befalls a backup: what it is, what is done, whether by rows alone, and what is told. What is returned
/// is held until the run has ended.
type Fault = (&'static str, &'static str, fn(&Path) -> Option<Connection>, bool, &'static [&'static str]);

/// Changes some bytes in the middle of a file.
fn damage(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn locked(path: &Path) -> Option<Connection> {
    let writer = Connection::open(path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE; DELETE FROM t").unwrap();
    Some(writer)
}

const FAULTS: [Fault; 12] = [
    (
        "not there",
        "",
        |path| {
            fs::remove_file(path).unwrap();
            None
        },
        false,
        &["app.db is not there"],
    ),
    (
        "its directory not there",
        "",
        |path| {
            fs::rename(path.parent().unwrap(), path.parent().unwrap().with_extension("away")).unwrap();
            None
        },
        false,
        &["app.db is not there"],
    ),
    (
        "another file",
        "",
        |path| {
            fs::write(path, "no database\n".repeat(1000)).unwrap();
            None
        },
        false,
        &["no SQLite database"],
    ),
    (
        "cut in half",
        "",
        |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            None
        },
        false,
        &["is damaged"],
    ),
    (
        "a few bytes of it",
        "",
        |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(50).unwrap();
            None
        },
        false,
        &["is damaged"],
    ),
    (
        "a damaged page",
        "",
        |path| {
            damage(path, 4096, &[0xee; 4096]);
            None
        },
        true,
        &["malformed"],
    ),
    (
        "a directory",
        "",
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            None
        },
        false,
        &["no regular file"],
    ),
    (
        "a link",
        "",
        |path| {
            fs::rename(path, path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
            None
        },
        false,
        &["symbolic link"],
    ),
    (
        "a pipe",
        "",
        |path| {
            fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
            None
        },
        false,
        &["no regular file"],
    ),
    ("locked", "timeout = \"3s\"\n", locked, false, &["time limit"]),
    (
        "a table that nobody else can read",
        "",
        |path| {
            Connection::open(path)
                .unwrap()
                .execute_batch("CREATE VIRTUAL TABLE words USING fts5(w)")
                .unwrap();
            None
        },
        true,
        &["table words is virtual"],
    ),
    (
        "a table at no page",
        "",
        |path| {
            let connection = Connection::open(path).unwrap();
            connection
                .execute_batch(
                    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 9999 WHERE name = 't'",
                )
                .unwrap();
            None
        },
        false,
        &["invalid rootpage"],
    ),
];

#[test]
fn twelve_faults_of_a_backup_make_its_module_partial() {
    for format in FORMATS {
        for (name, more, befalls, by_rows, says) in FAULTS {
            if by_rows && format.is_empty() {
                continue;
            }
            let machine = Machine::new();
            let path = machine.place.path("base/app.db");
            fs::create_dir(path.parent().unwrap()).unwrap();
            make(&path);
            declare(&machine, &path, &format!("{format}{more}"));
            machine.dedup(&["backup"]).ok();
            let held = befalls(&path);
            let run = machine.dedup(&["backup"]);
            drop(held);
            let (said, context) = (format!("{}{}", run.out, run.err), format!("{name} {format}"));
            assert_eq!(run.code, 3, "{context}: {said}");
            assert!(says.iter().any(|word| said.contains(word)), "{context}: {said}");
            let account = machine.account("app");
            assert_eq!(account["state"], "partial", "{context}: {account}");
            assert_eq!(account["dumps"].as_array().map_or(0, Vec::len), 0, "{context}: {account}");
        }
    }
}

/// What is damaged where it is, is worth keeping as it is: whoever has nothing better can save rows out of it.
#[test]
fn a_damaged_database_is_stored_and_never_complete() {
    let machine = Machine::new();
    let path = machine.place.path("app.db");
    make(&path);
    declare(&machine, &path, "");
    machine.dedup(&["backup"]).ok();
    assert_eq!(machine.account("app")["state"], "complete");
    damage(&path, 4096 * 5, &[0xee; 4096]);
    let run = machine.dedup(&["backup"]);
    let said = format!("{}{}", run.out, run.err);
    assert!(run.code == 3 && said.contains("it is damaged, and stored as it is"), "{}: {said}", run.code);
    let account = machine.account("app");
    assert_eq!(account["state"], "partial", "{account}");
    assert_eq!(account["dumps"][0]["size_bytes"], fs::metadata(&path).unwrap().len(), "{account}");
    // It is not what `latest` means.
    let list = machine.dedup(&["snapshots", "--json"]).ok().json();
    let id = list["snapshots"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    let parts = machine.dedup(&["ls", "--parts", &id, "--json"]).ok().json();
    assert_eq!(parts["modules"][0]["items"][0]["outcome"], "damaged", "{parts}");
    // It does not take the place of anything.
    let before = fs::read(&path).unwrap();
    let run = machine.dedup(&["restore", &id, "--yes", "-m", "app"]);
    assert!(run.code != 0 && format!("{}{}", run.out, run.err).contains("is damaged"), "{}", run.err);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn faults_of_a_restore_leave_what_was_there() {
    for format in FORMATS {
        let machine = Machine::new();
        let small = machine.place.path("small");
        let Some(mount) = Mount::tmpfs(&small, "size=2m") else { return };
        let path = small.join("app.db");
        make(&path);
        declare(&machine, &path, format);
        machine.dedup(&["backup"]).ok();
        Connection::open(&path).unwrap().execute_batch("DELETE FROM t WHERE id > 10").unwrap();
        let before = rows(&path);
        let restore = || {
            let run = machine.dedup(&["restore", "latest", "--yes", "-m", "app"]);
            (run.code, format!("{}{}", run.out, run.err))
        };
        let fails = |says: &[&str], name: &str| {
            let (code, said) = restore();
            assert!(code != 0 && code != 3, "{name} {format}: {code} {said}");
            assert!(says.iter().any(|word| said.contains(word)), "{name} {format}: {said}");
            let left: Vec<PathBuf> =
                fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(left.iter().all(|left| *left == path || left.ends_with("filler")), "{name}: {left:?}");
        };
        // No room, no leave to write.
        let _ = fs::write(small.join("filler"), vec![0; 4 << 20]);
        fails(&["not enough room"], "no room");
        fs::remove_file(small.join("filler")).unwrap();
        assert_eq!(rows(&path), before);
        mount.remount("ro");
        fails(&["Read-only file system"], "read-only");
        mount.remount("rw");
        assert_eq!(rows(&path), before);
        // Something else has taken its place.
        fs::copy(&path, machine.place.path("aside.db")).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fails(&["no regular file"], "a directory");
        fs::remove_dir(&path).unwrap();
        fs::copy(machine.place.path("aside.db"), &path).unwrap();
        // A writer that comes to its end is waited for: this failed at once.
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM t WHERE id = 1").unwrap();
        let ended = std::thread::scope(|scope| {
            let restored = scope.spawn(restore);
            std::thread::sleep(std::time::Duration::from_secs(2));
            writer.execute_batch("COMMIT").unwrap();
            restored.join().unwrap()
        });
        assert_eq!(ended.0, 0, "{}", ended.1);
        assert_eq!(rows(&path).0, 5000);
    }
}
