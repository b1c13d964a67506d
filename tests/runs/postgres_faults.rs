//! Twelve faults of a PostgreSQL server, met by whole runs, for both ways of storing a database.
//!
//! What is expected is the same each time: a word of what happened, status 3 and a partial module of which no dump is stored;
//! or a restore that fails and leaves the database as it was.

use super::app::Machine;
use crate::cli::support::{Run, start, wait};
use crate::support::Scratch;
use crate::support::mount::Mount;
use crate::support::postgres::{Held, Postgres, SUPERUSER};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const FORMATS: [&str; 2] = ["custom", "records"];
/// What a backup that stands still waits for: the lock of a table, or one that its rows ask for in their midst.
const LOCKS: [&str; 2] = ["BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE;", "SELECT pg_advisory_lock(7);"];
/// What a restore waits for: a table that is read cannot be replaced.
const READ: &str = "BEGIN; LOCK TABLE item IN ACCESS SHARE MODE;";
const MIDST: &str =
    ", where = { item = \"id < 3000 OR (SELECT count(pg_advisory_xact_lock_shared(7))) = 1\" }";

struct Case {
    machine: Machine,
    server: Postgres,
    /// Number of the format.
    of: usize,
}

impl Case {
    fn new(of: usize, server: Postgres) -> Self {
        server.database("app");
        server.sql(
            "app",
            "CREATE TABLE first (id int PRIMARY KEY); INSERT INTO first SELECT generate_series(1, 10); \
             CREATE TABLE item (id int PRIMARY KEY, text text); \
             INSERT INTO item SELECT n, repeat(md5(n::text), 20) || 'ü😀' FROM generate_series(1, 5000) n; ANALYZE",
        );
        server.user("clerk", "Geheim7");
        server.sql("app", "GRANT SELECT ON first, item TO clerk");
        let case = Self { machine: Machine::new(), server, of };
        case.declare("app", "", "");
        case
    }

    fn source(&self, database: &str, rows: &str, more: &str, endpoint: &str) {
        let format = FORMATS[self.of];
        self.machine.module(
            "one",
            &format!(
                "[[source]]\nname = \"db\"\ndriver = \"postgresql\"\nformat = {format:?}\n{more}\n\
                 select = {{ databases = [{database:?}]{rows} }}\nendpoint = {{ {endpoint} }}\n"
            ),
        );
    }

    /// Declares the module, as a superuser on the socket.
    fn declare(&self, database: &str, rows: &str, more: &str) {
        let socket = self.server.socket().join(format!(".s.PGSQL.{}", self.server.port()));
        self.source(database, rows, more, &format!("socket = {socket:?}, user = \"postgres\""));
    }

    /// Declares it as a clerk with a password.
    fn declare_clerk(&self, password: &str) {
        let file = self.machine.place.path("password");
        fs::write(&file, format!("{password}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let (port, file) = (self.server.port(), file.display());
        let endpoint =
            format!("host = \"127.0.0.1\", port = {port}, user = \"clerk\", password = \"file:{file}\"");
        self.source("app", "", "", &endpoint);
    }

    fn told(run: &Run) -> String {
        let told = format!("{}{}", run.out, run.err);
        assert!(!told.contains("Geheim7") && !told.contains("Falsch9"), "{told}");
        told
    }

    /// Asserts that a backup failed as it should; returns what it told.
    fn is_partial(&self, run: Run, fault: &str) -> String {
        let run = run.ends(3);
        let account = self.machine.account("one");
        assert_eq!(account["state"], "partial", "{fault}: {account}");
        assert_eq!(account["dumps"].as_array().map_or(0, Vec::len), 0, "{fault}: {account}");
        Self::told(&run)
    }

    /// Runs something until it stands still, and returns how it ends when a fault was made.
    fn during(&mut self, arguments: &[&str], fault: impl FnOnce(&mut Postgres, Held)) -> Run {
        let lock = if arguments[0] == "restore" { READ } else { LOCKS[self.of] };
        let held = self.server.hold("app", lock);
        let child = start(self.machine.command(arguments));
        self.server.await_waiting();
        fault(&mut self.server, held);
        wait(child, b"")
    }

    fn sight(&self) -> String {
        self.server.sql(
            "app",
            "SELECT count(*), md5(string_agg(item::text, ',' ORDER BY id)) FROM item; SELECT count(*) FROM first",
        )
    }
}

/// Asserts that one of these words is told.
fn says(told: &str, words: &[&str]) {
    assert!(words.iter().any(|word| told.contains(word)), "none of {words:?} in: {told}");
}

const GONE: [&str; 4] = ["terminating connection", "shutting down", "closed the connection", "broke off"];

fn kill(server: &mut Postgres, _: Held) {
    server.kill();
}

fn disconnect(server: &mut Postgres, _: Held) {
    server.disconnect("app");
}

fn restart(server: &mut Postgres, _: Held) {
    server.restart();
}

fn alter(server: &mut Postgres, held: Held) {
    for sql in ["DROP TABLE first", "ALTER TABLE first ADD more int", "TRUNCATE first"] {
        let error = server.try_sql("app", &format!("SET lock_timeout = 100; {sql}")).unwrap_err();
        assert!(error.contains("lock timeout"), "{error}");
    }
    drop(held);
}

#[test]
fn faults_of_exports_are_told_and_nothing_is_half_stored() {
    for (of, format) in FORMATS.iter().enumerate() {
        let mut case = Case::new(of, Postgres::start());
        let midst = if of == 1 { MIDST } else { "" };
        // What does not depend on the moment.
        case.declare("nothing", "", "");
        let run = case.machine.dedup(&["backup"]);
        says(&case.is_partial(run, "wrong database"), &["there is no database \"nothing\""]);
        case.declare_clerk("Falsch9");
        let run = case.machine.dedup(&["backup"]);
        says(&case.is_partial(run, "wrong password"), &["password authentication failed"]);
        case.declare_clerk("Geheim7");
        case.server.sql("app", "REVOKE SELECT ON item FROM clerk");
        let run = case.machine.dedup(&["backup"]);
        says(&case.is_partial(run, "a right is missing"), &["permission denied"]);
        // In the midst of an export.
        type Act = fn(&mut Postgres, Held);
        let acts: [(&str, Act, &[&str]); 3] = [
            ("connection lost", disconnect, &GONE),
            ("server restarted", restart, &GONE),
            ("server killed", kill, &GONE),
        ];
        for (fault, act, words) in acts {
            case.declare("app", midst, "");
            let run = case.during(&["backup"], act);
            if fault == "server killed" {
                case.server.revive();
            }
            says(&case.is_partial(run, fault), words);
        }
        // A server that says nothing.
        case.declare("app", midst, "timeout = \"5s\"");
        let run = case.during(&["backup"], |server, _| assert!(server.freeze("app") > 0));
        case.server.thaw();
        says(&case.is_partial(run, "server stalled"), &["time limit was reached", "took longer than"]);
        // None at all.
        case.server.kill();
        let run = case.machine.dedup(&["backup"]);
        case.server.revive();
        says(&case.is_partial(run, "no server"), &["cannot reach PostgreSQL", "connection to server"]);
        // Rows that the server itself cannot read.
        let made = "CREATE TABLE damaged AS SELECT repeat('x', 500) FROM generate_series(1, 1000); SELECT pg_relation_filepath('damaged')";
        let file = case.server.sql("app", made);
        case.server.damage(&file);
        let run = case.machine.dedup(&["backup"]);
        case.server.sql("app", "DROP TABLE damaged");
        says(&case.is_partial(run, "a damaged table"), &["invalid page"]);
        // What would be dropped, altered or emptied meanwhile waits, and everything is stored.
        case.declare("app", midst, "");
        let before = case.sight();
        let run = case.during(&["backup"], alter);
        run.ok();
        assert_eq!(case.machine.account("one")["state"], "complete");
        case.server.sql("app", "UPDATE item SET text = ''; DELETE FROM first");
        case.machine.dedup(&["restore", "latest", "--yes", "-m", "one"]).ok();
        assert_eq!(case.sight(), before, "{}", format);
    }
}

/// Another state than the stored one, on a disk that is nearly full, and how an import that fails must leave it.
struct Target {
    case: Case,
    before: String,
    disk: Mount,
    _scratch: Scratch,
}

const RESTORE: [&str; 5] = ["restore", "latest", "--yes", "-m", "one"];

impl Target {
    fn new(of: usize) -> Self {
        let scratch = Scratch::new();
        let disk = Mount::tmpfs(&scratch.path("small"), "size=140m,mode=777").unwrap();
        let server = Postgres::start_with("max_wal_size = 32MB\n", Some(&disk.path().join("data")));
        let case = Case::new(of, server);
        case.server.sql(
            "app",
            "INSERT INTO item SELECT n, repeat(md5(n::text), 20) FROM generate_series(5001, 30000) n",
        );
        case.machine.dedup(&["backup"]).ok();
        case.server
            .sql("app", "DELETE FROM item WHERE id > 10; UPDATE item SET text = 'new'; VACUUM FULL item");
        Self { before: case.sight(), case, disk, _scratch: scratch }
    }

    fn refused(&self, run: &Run, fault: &str, words: &[&str]) {
        // Where the server lives, what was there is put back and the run says so.
        match ["constraint", "connection lost"].contains(&fault) {
            true => assert_eq!(run.code, 7, "{fault}: {}", run.err),
            false => assert_ne!(run.code, 0, "{fault}: {}", run.err),
        }
        says(&Case::told(run), words);
        self.assert_as_before(fault);
    }

    /// What could not be put back while there was no room, or no server, is put back.
    fn recover(&self) {
        self.case.machine.dedup(&["recover"]).ok();
        self.assert_as_before("recovered");
    }

    fn assert_as_before(&self, fault: &str) {
        assert_eq!(self.case.sight(), self.before, "{fault}, {}", FORMATS[self.case.of]);
    }
}

#[test]
fn faults_of_imports_are_told_and_leave_what_was_there() {
    for of in 0..FORMATS.len() {
        let target = Target::new(of);
        let case = &target.case;
        // The disk of the target is full.
        fs::write(target.disk.path().join("filler"), vec![0; 200 << 20]).unwrap_err();
        let run = case.machine.dedup(&RESTORE);
        fs::remove_file(target.disk.path().join("filler")).unwrap();
        target.refused(&run, "disk full", &["No space left"]);
        target.recover();
        // A row, or the whole table, is refused by what only the target has.
        let (made, unmade) = match of {
            0 => ("CREATE VIEW in_the_way AS SELECT text FROM item", "DROP VIEW in_the_way"),
            _ => (
                "ALTER TABLE item ADD CONSTRAINT short CHECK (id < 20000)",
                "ALTER TABLE item DROP CONSTRAINT short",
            ),
        };
        case.server.sql("app", made);
        let run = case.machine.dedup(&RESTORE);
        target.refused(
            &run,
            "constraint",
            &["depend", "refuses a row (20000 of those that were sent): a check says no, constraint short"],
        );
        case.server.sql("app", unmade);
        // A right is missing.
        case.declare_clerk("Geheim7");
        case.server
            .sql("app", "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO clerk");
        let run = case.machine.dedup(&RESTORE);
        target.refused(&run, "a right is missing", &["must be owner", "permission denied"]);
    }
}

#[test]
fn imports_that_are_cut_short_are_told_and_leave_what_was_there() {
    for of in 0..FORMATS.len() {
        let mut target = Target::new(of);
        // The connection is lost, the server ends, in the midst.
        type Act = fn(&mut Postgres, Held);
        let acts: [(&str, Act); 3] =
            [("connection lost", disconnect), ("server restarted", restart), ("server killed", kill)];
        for (fault, act) in acts {
            target.case.declare("app", "", "");
            let run = target.case.during(&RESTORE, act);
            if fault == "server killed" {
                target.case.server.revive();
            }
            target.refused(&run, fault, &GONE);
        }
        target.recover();
        let case = &target.case;
        // A character set that lacks what the rows have.
        case.server.sql(SUPERUSER, "ALTER DATABASE app RENAME TO kept; CREATE DATABASE app TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
        case.server.sql("app", "CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE item (id int PRIMARY KEY, text text); INSERT INTO item VALUES (1, 'here')");
        let run = case.machine.dedup(&RESTORE);
        assert_eq!(run.code, 7, "encoding");
        says(
            &Case::told(&run),
            &["has no equivalent in encoding", "the row cannot be stored", "character set"],
        );
        assert_eq!(case.server.sql("app", "SELECT * FROM item"), "1|here");
        // With nothing of that in the way the same snapshot goes in.
        case.server.sql(SUPERUSER, "DROP DATABASE app; ALTER DATABASE kept RENAME TO app");
        case.machine.dedup(&RESTORE).ok();
        assert!(case.sight().starts_with("30000|"), "{}", case.sight());
    }
}
