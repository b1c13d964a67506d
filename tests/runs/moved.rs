//! Modules that move: by a copy in another repository, and by a plain archive.

use super::app::Machine;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// An application with files, secrets, a database as rows and another one as its program writes it.
struct Wiki(Machine);

/// What it has.
#[derive(Debug, PartialEq, Eq)]
struct Has {
    page: Vec<u8>,
    linked: bool,
    secret: Vec<u8>,
    rows: String,
    notes: String,
}

impl Wiki {
    fn new() -> Self {
        let wiki = Self(Machine::new());
        let secret = wiki.secret();
        let source = |name: &str, format: &str| {
            let path = wiki.0.place.path(format!("{name}.db"));
            format!(
                "[[source]]\nname = {name:?}\ndriver = \"sqlite\"\nformat = {format:?}\npath = {path:?}\n"
            )
        };
        let more = format!("[secrets]\nfiles = [{secret:?}]\n")
            + &source("rows", "records")
            + &source("notes", "custom");
        wiki.0.module("wiki", &more);
        fs::write(&secret, "swordfish").unwrap();
        fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let data = wiki.0.data("wiki");
        fs::create_dir(data.join("sub")).unwrap();
        fs::write(data.join("sub/page"), crate::cli::support::noise(3, 70_000)).unwrap();
        fs::hard_link(data.join("sub/page"), data.join("sub/same")).unwrap();
        wiki.sql(
            "rows",
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, photo BLOB, weight REAL);
             INSERT INTO people VALUES (1, 'Ann', zeroblob(900000), 0.1), (2, 'Bob \"x\"', NULL, -0.0), (3, 'Čeněk', x'00ff', 9e99);
             CREATE TABLE cdr (line TEXT); INSERT INTO cdr VALUES ('a'), ('a'), (7), (x'01');
             CREATE INDEX by_name ON people (name);",
        );
        wiki.sql("notes", "CREATE TABLE n (x); INSERT INTO n VALUES ('note');");
        wiki
    }

    fn secret(&self) -> PathBuf {
        self.0.place.path("wiki-secret")
    }

    fn sql(&self, name: &str, text: &str) {
        Connection::open(self.0.place.path(format!("{name}.db"))).unwrap().execute_batch(text).unwrap();
    }

    fn has(&self) -> Has {
        let data = self.0.data("wiki");
        let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(data.join(name)).unwrap());
        Has {
            page: fs::read(data.join("sub/page")).unwrap(),
            linked: inode("sub/page") == inode("sub/same"),
            secret: fs::read(self.secret()).unwrap(),
            rows: rows(&self.0.place.path("rows.db")),
            notes: ask(&self.0.place.path("notes.db"), "SELECT group_concat(x) FROM n"),
        }
    }

    fn wreck(&self) {
        fs::remove_dir_all(self.0.data("wiki").join("sub")).unwrap();
        fs::write(self.secret(), "gone").unwrap();
        self.sql("rows", "DELETE FROM people; DELETE FROM cdr;");
        self.sql("notes", "DELETE FROM n;");
    }

    /// Makes a further repository, with a key of its own.
    fn repository(&self, name: &str) {
        self.0.dedup(&["init", "-r", name, "--key-file", &format!("{name}.key")]).ok();
    }

    fn path(&self, name: &str) -> String {
        self.0.place.path(name).display().to_string()
    }
}

fn ask(database: &std::path::Path, sql: &str) -> String {
    Connection::open(database).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn rows(database: &std::path::Path) -> String {
    let people = "SELECT group_concat(x, '|') FROM (SELECT id || name || quote(photo) || quote(weight) AS x FROM people ORDER BY id)";
    let cdr = "SELECT group_concat(x, '|') FROM (SELECT quote(line) AS x FROM cdr ORDER BY x)";
    let schema =
        "SELECT group_concat(x, '|') FROM (SELECT type || name || sql AS x FROM sqlite_schema ORDER BY x)";
    [people, cdr, schema].map(|sql| ask(database, sql)).join("\n")
}

#[test]
fn a_module_comes_back_from_a_copy() {
    let wiki = Wiki::new();
    let has = wiki.has();
    wiki.0.dedup(&["backup"]).ok();
    wiki.repository("other");
    wiki.0
        .dedup(&["copy", "latest", "--to", "other", "--to-key-file", "other.key"])
        .ok()
        .shows(&["1 copied"]);
    let other = ["-r", "other", "--key-file", "other.key"];
    wiki.0.dedup(&[&["check", "--read-data"], &other[..]].concat()).ok();
    // Nothing is left of where it came from.
    fs::remove_dir_all(wiki.0.place.path("repo/packs")).unwrap();
    wiki.wreck();
    wiki.0.dedup(&[&["restore", "latest", "--yes"], &other[..]].concat()).ok();
    assert_eq!(wiki.has(), has);
}

#[test]
fn a_module_comes_back_from_an_archive() {
    let wiki = Wiki::new();
    let has = wiki.has();
    wiki.0.dedup(&["backup", "--tag", "kept"]).ok();
    let archive = wiki.path("wiki.tar");
    wiki.0.dedup(&["export", "latest", "-m", "wiki", "--secrets", "--output", &archive]).ok();
    wiki.0
        .dedup(&["export", "latest", "-m", "wiki", "--output", &archive])
        .ends(2)
        .says(&["is there already"]);

    // By hand: no more than tar and the database's own program are needed.
    let out = wiki.0.place.path("by-hand");
    fs::create_dir(&out).unwrap();
    let tar = |arguments: &[&str]| {
        let ran = Command::new("tar").args(arguments).current_dir(wiki.0.place.path("")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    tar(&["-xpf", &archive, "-C", "by-hand"]);
    let data = wiki.0.data("wiki").display().to_string();
    assert_eq!(fs::read(out.join(format!("files/data{data}/sub/page"))).unwrap(), has.page);
    assert_eq!(
        fs::read(out.join(format!("files/secrets{}", wiki.path("wiki-secret")))).unwrap(),
        b"swordfish"
    );
    assert!(fs::read_to_string(out.join("README.txt")).unwrap().contains("the module wiki"));
    assert!(fs::read_to_string(out.join("manifest.toml")).unwrap().contains("id = \"wiki\""));
    let found = |pattern: &str| {
        let (dir, name) = pattern.split_once('/').unwrap();
        let one = fs::read_dir(out.join(dir)).unwrap().next().unwrap().unwrap().path();
        one.join(name)
    };
    let by_hand = wiki.0.place.path("by-hand.db");
    Connection::open(&by_hand)
        .unwrap()
        .execute_batch(&fs::read_to_string(found("records/rows.sql")).unwrap())
        .unwrap();
    assert_eq!(rows(&by_hand), has.rows);
    let dumped = fs::read_dir(found("dumps/content")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(ask(&dumped, "SELECT group_concat(x) FROM n"), has.notes);

    // As a snapshot of a repository that never saw it.
    wiki.repository("third");
    let third = ["-r", "third", "--key-file", "third.key"];
    let imported =
        wiki.0.dedup(&[&["import", &archive, "--tag", "moved", "--json"], &third[..]].concat()).ok().json();
    assert_eq!(imported["state"], "complete");
    let list = wiki.0.dedup(&[&["snapshots", "--json"], &third[..]].concat()).ok().json();
    assert_eq!(list["snapshots"][0]["tags"], serde_json::json!(["kept", "moved"]));
    wiki.0.dedup(&[&["check", "--read-data"], &third[..]].concat()).ok();
    wiki.wreck();
    wiki.0.dedup(&[&["restore", "latest", "--yes"], &third[..]].concat()).ok();
    assert_eq!(wiki.has(), has);

    // Changed by hand and packed again.
    fs::write(out.join(format!("files/data{data}/sub/new")), "by hand").unwrap();
    tar(&["--sort=name", "--format=pax", "-cf", "again.tar", "-C", "by-hand", "."]);
    wiki.0.dedup(&[&["import", "again.tar"], &third[..]].concat()).ok();
    wiki.wreck();
    let newest = wiki.0.dedup(&[&["snapshots", "--json"], &third[..]].concat()).ok().json();
    let newest = newest["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["entries"] != list["snapshots"][0]["entries"]);
    let id = newest.expect("it has an entry more")["id"].as_str().unwrap().to_owned();
    wiki.0.dedup(&[&["restore", &id, "-m", "wiki", "--yes"], &third[..]].concat()).ok();
    assert_eq!(fs::read_to_string(wiki.0.data("wiki").join("sub/new")).unwrap(), "by hand");
    assert_eq!(wiki.has(), has);
}

/// What is left out on purpose is not there: the snapshot says so.
#[test]
fn secrets_leave_only_if_they_are_asked_for() {
    let wiki = Wiki::new();
    wiki.0.dedup(&["backup"]).ok();
    let piped = wiki.0.dedup(&["export", "latest", "-m", "wiki"]).ok().says(&["secret is left out"]);
    let holds = |words: &[u8]| piped.out_bytes.windows(words.len()).any(|window| window == words);
    assert!(!holds(b"swordfish") && !holds(b"files/secrets/"));
    fs::write(wiki.0.place.path("open.tar"), &piped.out_bytes).unwrap();
    wiki.0.dedup(&["import", "open.tar"]).ends(3).says(&["secrets were left out"]);
    wiki.0.dedup(&["export", "latest"]).ends(2).says(&["no module is named"]);
    // Half an archive, another one, a pipe: nothing is stored.
    let before = wiki.0.snapshots();
    fs::write(wiki.0.place.path("half.tar"), &piped.out_bytes[..piped.out_bytes.len() / 2]).unwrap();
    fs::write(wiki.0.place.path("other.tar"), vec![0; 1024]).unwrap();
    for (file, word) in [
        ("half.tar", "archive"),
        ("other.tar", "dedup-export.json"),
        ("data", "no file"),
        ("nowhere", "nowhere"),
    ] {
        let run = wiki.0.dedup(&["import", file]);
        assert!(run.code != 0 && run.err.contains(word), "{file}: {} {}", run.code, run.err);
    }
    assert_eq!(wiki.0.snapshots(), before);
}
