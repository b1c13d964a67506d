//! Modules with databases of a MariaDB server: what runs make of them, and of the server's faults.
//!
//! The oracle asks the server by the distribution's own client.

use super::app::Machine;
use crate::cli::support::Run;
use crate::support::Scratch;
use crate::support::mariadb::{HARD, MariaDb, PASSWORD};
use crate::support::mount::Mount;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

/// A machine, a database of its own on the server, and a module that has it.
pub struct Case<'s> {
    pub machine: Machine,
    pub server: &'s MariaDb,
    pub database: String,
}

impl<'s> Case<'s> {
    pub fn new(server: &'s MariaDb, database: &str, sql: &str) -> Self {
        server.sql(&format!("CREATE DATABASE {database} CHARACTER SET utf8mb4; USE {database};\n{sql}"));
        let case = Self { machine: Machine::new(), server, database: database.to_owned() };
        case.password(PASSWORD);
        case.declare("");
        case
    }

    pub fn password(&self, password: &str) {
        let file = self.machine.place.path("password");
        fs::write(&file, format!("{password}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub fn declare(&self, more: &str) {
        self.declare_of(&[&self.database], "root", more);
    }

    pub fn declare_of(&self, databases: &[&str], user: &str, more: &str) {
        let (socket, file) = (self.server.socket.display(), self.machine.place.path("password"));
        self.machine.module(
            "shop",
            &format!(
                "[[source]]\nname = \"db\"\ndriver = \"mariadb\"\nselect = {{ databases = {databases:?} }}\n\
                 endpoint = {{ socket = \"{socket}\", user = {user:?}, password = \"file:{}\" }}\n{more}",
                file.display()
            ),
        );
    }

    pub fn state(&self) -> String {
        self.server.state(&self.database)
    }

    /// Backs up, and returns what was told: the source failed, the module is partial, its files are stored, and no dump
    /// of it is in the snapshot.
    pub fn is_partial(&self) -> String {
        let run = self.machine.dedup(&["backup"]).ends(3);
        let account = self.machine.account("shop");
        assert_eq!(account["state"], "partial", "{account}");
        assert_eq!(account["dumps"].as_array().map_or(0, Vec::len), 0, "{account}");
        told(&run)
    }
}

pub fn told(run: &Run) -> String {
    let told = format!("{}{}", run.out, run.err);
    assert!(!told.contains(PASSWORD), "the password is never told");
    told
}

/// A table that does not fit into a pipe, and another one after it.
pub const BIG: &str = "CREATE TABLE big (id INT PRIMARY KEY, v TEXT); CREATE TABLE later (id INT PRIMARY KEY); \
    INSERT INTO big SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_20000; INSERT INTO later VALUES (1);";

#[test]
fn a_database_is_part_of_a_module() {
    let case = Case::new(MariaDb::shared(), "run_whole", HARD);
    // What the dump program rounds, and what it takes for another word.
    case.server.sql("USE run_whole; UPDATE numbers SET f = 0.5; DELETE FROM texts WHERE k = 'enum error'");
    let before = case.state();
    case.machine.dedup(&["backup"]).ok();
    assert_eq!(case.machine.account("shop")["state"], "complete");
    case.server.sql("USE run_whole; DROP VIEW a_view, b_view, z_view; DROP TABLE numbers; UPDATE texts SET v = 'x'; DROP PROCEDURE fill; DROP TRIGGER counts");
    fs::write(case.machine.data("shop").join("file"), "other").unwrap();
    let run = case.machine.dedup(&["restore", "latest", "--yes", "-m", "shop"]).ok();
    told(&run);
    assert_eq!(case.state(), before);
    assert_eq!(fs::read_to_string(case.machine.data("shop").join("file")).unwrap(), "what shop has\n");
    // Elsewhere, by a key of the restore alone.
    case.declare("restore_endpoint = { database = \"run_copy\" }\n");
    case.server.sql("DROP TABLE run_whole.numbers");
    let changed = case.state();
    case.machine.dedup(&["restore", "latest", "--yes", "-m", "shop"]).ok();
    assert_eq!(case.server.state("run_copy"), before);
    assert_eq!(case.state(), changed, "what the source was taken from is left alone");
    case.machine.dedup(&["check", "--read-data"]).ok();
}

#[test]
fn rows_of_a_database_are_part_of_a_module() {
    let case = Case::new(MariaDb::shared(), "run_rows", HARD);
    case.declare("format = \"records\"\nrefresh_statistics = true\n");
    let before = case.state();
    case.machine.dedup(&["backup"]).ok();
    assert_eq!(case.machine.account("shop")["state"], "complete");
    case.server.sql(
        "USE run_rows; SET foreign_key_checks = 0; DROP TABLE numbers; UPDATE texts SET v = 'x'; DELETE FROM child; DROP VIEW b_view",
    );
    // Views without their tables cannot be dumped for a way back.
    told(&case.machine.dedup(&["restore", "latest", "--yes", "-m", "shop", "--no-safety"]).ok());
    assert_eq!(case.state(), before);
    case.machine.dedup(&["check", "--read-data"]).ok();
}

#[test]
fn faults_of_a_server_make_a_module_partial() {
    let mut server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=1"]);
    server.sql("CREATE USER limited@localhost IDENTIFIED BY 'p'");
    {
        let case = Case::new(&server, "run_faults", BIG);
        case.machine.dedup(&["backup"]).ok();
        case.password("wrong");
        assert!(case.is_partial().contains("Access denied"));
        fs::remove_file(case.machine.place.path("password")).unwrap();
        assert!(case.is_partial().contains("cannot be used: No such file"));
        case.password(PASSWORD);
        case.declare_of(&["no_such"], "root", "");
        assert!(case.is_partial().contains("database no_such is not on the server"));
        // Of two databases one is not there.
        case.declare_of(&["run_faults", "no_such"], "root", "");
        assert!(case.is_partial().contains("no_such"));
        case.password("p");
        case.declare_of(&["run_faults"], "limited", "");
        case.server.sql("GRANT SELECT ON run_faults.* TO limited@localhost");
        assert!(case.is_partial().contains("GRANT TRIGGER"));
        case.server.sql("GRANT TRIGGER, EVENT, SHOW VIEW ON run_faults.* TO limited@localhost; CREATE TABLE run_faults.t (id INT) ENGINE=MyISAM; FLUSH TABLES");
        case.password(PASSWORD);
        case.declare("");
        let index = case.server.dir.join("data/run_faults/t.MYI");
        let whole = fs::read(&index).unwrap();
        fs::write(&index, &whole[..100]).unwrap();
        let crashed = case.is_partial();
        assert!(
            crashed.contains("Incorrect")
                || crashed.contains("corrupt")
                || crashed.contains("crashed")
                || crashed.contains("t.MYI"),
            "{crashed}"
        );
        fs::write(&index, &whole).unwrap();
        case.server.sql("FLUSH TABLES; DROP TABLE run_faults.t");
        // It does not answer any more; the source's own limit ends it.
        case.declare("timeout = \"4s\"\n");
        case.server.signal("STOP");
        let stalled = case.is_partial();
        assert!(stalled.contains("time limit"), "{stalled}");
        case.server.signal("CONT");
        case.declare("");
        case.machine.dedup(&["backup"]).ok();
        // Killed while it is read: by a lock it cannot get on before it is.
        let lock = "SET SESSION lock_wait_timeout = 60; LOCK TABLES run_faults.later WRITE; SELECT SLEEP(30)";
        let (killed, _) = thread::scope(|scope| {
            let locked = scope.spawn(|| case.server.try_sql(lock));
            thread::sleep(Duration::from_millis(500));
            let killer = scope.spawn(|| {
                thread::sleep(Duration::from_secs(3));
                case.server.kill();
            });
            let killed = case.is_partial();
            killer.join().unwrap();
            (killed, locked.join().unwrap())
        });
        assert!(
            killed.contains("Lost connection") || killed.contains("gone away") || killed.contains("2013"),
            "{killed}"
        );
        assert!(case.is_partial().contains("Can't connect"));
    }
    server.restart();
    server.sql("SELECT COUNT(*) FROM run_faults.big");
}

#[test]
fn a_server_without_room_fails_a_restore() {
    let scratch = Scratch::new();
    let disk = Mount::tmpfs(&scratch.path("small"), "size=120m,mode=777").unwrap();
    let server = MariaDb::start_in(disk.path(), &["--innodb-flush-log-at-trx-commit=1"]);
    let case = Case::new(&server, "run_full", BIG);
    case.machine.dedup(&["backup"]).ok();
    server.sql("DROP TABLE run_full.big");
    let _ = fs::write(disk.path().join("filler"), vec![0; 200 << 20]);
    let run = case.machine.dedup(&["restore", "latest", "--yes", "-m", "shop"]);
    fs::remove_file(disk.path().join("filler")).unwrap();
    let said = told(&run);
    assert!(
        run.code != 0 && (said.contains("is full") || said.contains("No space") || said.contains("1021")),
        "{said}"
    );
}
