//! What befalls a MariaDB server while its databases are backed up and restored, by both formats: it is told, the
//! account says what there is, nothing torn passes for whole, and the next run is as good as any.

use super::mariadb::{BIG, Case, told};
use crate::cli::support::{Run, start, wait};
use crate::support::Scratch;
use crate::support::mariadb::{MariaDb, Other, PASSWORD};
use crate::support::mount::Mount;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

const FORMATS: [&str; 2] = ["format = \"sql\"\n", "format = \"records\"\n"];

/// A table that does not fit into a pipe, two more, one of them of an engine that can be damaged, and triggers.
fn filled<'s>(server: &'s MariaDb, database: &str, more: &str) -> Case<'s> {
    Case::new(server, database, &format!("{BIG}\n{more}"))
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Holds a table, so that whoever reads it in his turn waits.
fn held(case: &Case<'_>, table: &str) -> Other {
    let mut other = case.server.session();
    other.sql(&format!("USE {}; LOCK TABLES {table} WRITE", case.database));
    other
}

/// Returns the numbers of sessions that wait for a table.
fn waiting(server: &MariaDb) -> Vec<String> {
    let sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%' OR \
               INFO LIKE 'INSERT%' OR INFO LIKE 'DELETE%'";
    server.sql(sql).lines().map(str::to_owned).collect()
}

/// Something that befalls a backup.
struct Fault {
    name: &'static str,
    /// What the declaration has more.
    more: &'static str,
    /// Done before the run.
    before: fn(&Case<'_>),
    /// Done while the run waits for the table `later`, by the session that holds it.
    during: Option<fn(&mut MariaDb, &str, &mut Other)>,
    /// Puts right what was done.
    after: fn(&mut MariaDb, &str),
    /// One of these is told, by the one format and the other.
    says: &'static [&'static str],
}

const NOTHING: Fault =
    Fault { name: "", more: "", before: |_| {}, during: None, after: |_, _| {}, says: &[] };

const FAULTS: [Fault; 12] = [
    Fault {
        name: "wrong password",
        before: |case| case.password("wrong"),
        says: &["Access denied"],
        ..NOTHING
    },
    Fault {
        name: "no password file",
        before: |case| fs::remove_file(case.machine.place.path("password")).unwrap(),
        says: &["No such file"],
        ..NOTHING
    },
    Fault {
        name: "wrong database",
        before: |case| drop(case.server.sql(&format!("DROP DATABASE {}", case.database))),
        after: |server, database| {
            drop(server.sql(&format!("CREATE DATABASE {database}; USE {database}; {BIG}")))
        },
        says: &["database faults_"],
        ..NOTHING
    },
    Fault {
        name: "no right to triggers",
        before: |case| {
            case.server.sql(&format!("GRANT SELECT ON {}.* TO limited@localhost", case.database));
            case.password("p");
        },
        more: "limited",
        says: &["GRANT TRIGGER"],
        ..NOTHING
    },
    Fault {
        name: "a damaged table",
        before: |case| {
            let index = case.server.dir.join(format!("data/{}/old.MYI", case.database));
            case.server.sql(&format!("USE {}; CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM; INSERT INTO old SELECT seq FROM seq_1_to_999; FLUSH TABLES", case.database));
            fs::OpenOptions::new().write(true).open(index).unwrap().set_len(100).unwrap();
        },
        after: |server, database| drop(server.sql(&format!("DROP TABLE {database}.old"))),
        says: &["Incorrect", "corrupt", "crashed", "old.MYI", "old' "],
        ..NOTHING
    },
    Fault {
        name: "stalled",
        more: "timeout = \"4s\"\n",
        before: |case| case.server.signal("STOP"),
        after: |server, _| server.signal("CONT"),
        says: &["time limit"],
        ..NOTHING
    },
    Fault {
        name: "a table dropped",
        during: Some(|_, _, other| other.sql("DROP TABLE later")),
        after: |server, database| {
            drop(server.sql(&format!("CREATE TABLE {database}.later (id INT PRIMARY KEY)")))
        },
        says: &["1146", "1051", "table later", "changed while"],
        ..NOTHING
    },
    Fault {
        name: "a table altered",
        during: Some(|_, _, other| other.sql("ALTER TABLE later ADD COLUMN more INT, ALGORITHM=COPY")),
        says: &["1412", "changed"],
        ..NOTHING
    },
    Fault {
        name: "the connection lost",
        during: Some(|server, _, _| {
            for id in waiting(server) {
                server.try_sql(&format!("KILL {id}"));
            }
        }),
        says: &["2013", "Lost connection", "gone away", "connection is lost", "was killed", "interrupted"],
        ..NOTHING
    },
    Fault {
        name: "the server killed",
        during: Some(|server, _, _| server.kill()),
        after: |server, _| server.restart(),
        says: &["2013", "Lost connection", "gone away", "connection is lost"],
        ..NOTHING
    },
    Fault {
        name: "the server restarted",
        during: Some(|server, _, _| {
            server.kill();
            server.restart();
        }),
        says: &["2013", "Lost connection", "gone away", "connection is lost"],
        ..NOTHING
    },
    Fault {
        name: "no server",
        before: |case| case.server.kill(),
        after: |server, _| server.restart(),
        says: &["Can't connect", "cannot connect"],
        ..NOTHING
    },
];

#[test]
fn twelve_faults_of_a_backup_make_its_module_partial() {
    let mut server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=1"]);
    server.sql("CREATE USER limited@localhost IDENTIFIED BY 'p'");
    for (number, format) in FORMATS.into_iter().enumerate() {
        let database = format!("faults_{number}");
        // The server may be another process after a fault, so the case is not held over it.
        let mut machine = filled(&server, &database, "").machine;
        for fault in &FAULTS {
            let case = Case { machine, server: &server, database: database.clone() };
            case.password(PASSWORD);
            match fault.more {
                "limited" => case.declare_of(&[&database], "limited", format),
                more => case.declare(&format!("{format}{more}")),
            }
            (fault.before)(&case);
            let context = format!("{format}, {}", fault.name);
            let run = match fault.during {
                None => {
                    let run = case.machine.dedup(&["backup"]);
                    machine = case.machine;
                    run
                }
                Some(during) => {
                    let mut other = held(&case, "later");
                    let child = start(case.machine.command(&["backup"]));
                    until(&context, || !waiting(case.server).is_empty());
                    machine = case.machine;
                    during(&mut server, &database, &mut other);
                    drop(other);
                    wait(child, b"")
                }
            };
            (fault.after)(&mut server, &database);
            let said = told(&run);
            assert_eq!(run.code, 3, "{context}: {said}");
            assert!(fault.says.iter().any(|word| said.contains(word)), "{context}: {said}");
            let account = machine.account("shop");
            assert_eq!(account["state"], "partial", "{context}: {account}");
            assert_eq!(account["dumps"].as_array().map_or(0, Vec::len), 0, "{context}: {account}");
            // Nothing of it is left.
            let case = Case { machine, server: &server, database: database.clone() };
            case.password(PASSWORD);
            case.declare(format);
            case.machine.dedup(&["backup"]).ok();
            assert_eq!(case.machine.account("shop")["state"], "complete", "{context}");
            machine = case.machine;
        }
    }
}

/// Rows that a target refuses, a user without rights, a server that is killed or has no room: what was there stays, or
/// comes back by `recover`.
#[test]
fn faults_of_a_restore_leave_what_was_there() {
    let mut server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=1"]);
    server.sql("CREATE USER limited@localhost IDENTIFIED BY 'p'");
    for (number, format) in FORMATS.into_iter().enumerate() {
        let database = format!("back_{number}");
        let case = filled(&server, &database, "");
        case.declare(format);
        case.machine.dedup(&["backup"]).ok();
        server.sql(&format!("USE {database}; DELETE FROM big WHERE id > 100; INSERT INTO later VALUES (7)"));
        let restore = |case: &Case<'_>| case.machine.dedup(&["restore", "latest", "--yes", "-m", "shop"]);
        let fails = |run: &Run, words: &[&str]| {
            let said = told(run);
            assert!(run.code != 0 && run.code != 3, "{format}: {} {said}", run.code);
            assert!(words.iter().any(|word| said.contains(word)), "{format}: {said}");
        };
        let before = case.state();
        case.password("wrong");
        fails(&restore(&case), &["Access denied"]);
        server.sql(&format!("GRANT SELECT, TRIGGER, LOCK TABLES, SHOW VIEW, EVENT ON {database}.* TO limited@localhost; GRANT SELECT ON mysql.proc TO limited@localhost"));
        case.password("p");
        case.declare_of(&[&database], "limited", format);
        fails(&restore(&case), &["denied"]);
        assert_eq!(case.state(), before);
        // By SQL the way back needs the same right, so it waits until it is given.
        server.sql(&format!("GRANT ALL ON {database}.* TO limited@localhost"));
        case.machine.dedup(&["recover"]).ok();
        assert_eq!(case.state(), before);
        case.password(PASSWORD);
        case.declare(format);
        if format.contains("records") {
            server.sql(&format!("ALTER TABLE {database}.big ADD CHECK (id <> 5000)"));
            let before = case.state();
            fails(&restore(&case), &["refuses a row (5000 "]);
            assert_eq!(case.state(), before);
            server.sql(&format!("ALTER TABLE {database}.big DROP CONSTRAINT CONSTRAINT_1"));
        }
        let before = case.state();
        let mut other = server.session();
        // Rows of a table that is waited for, or the table.
        match format.contains("records") {
            true => other.sql(&format!("USE {database}; BEGIN; UPDATE later SET id = 9 WHERE id = 7")),
            false => other.sql(&format!("USE {database}; LOCK TABLES later READ")),
        }
        let child = start(case.machine.command(&["restore", "latest", "--yes", "-m", "shop"]));
        until("it waits", || !waiting(&server).is_empty());
        let machine = case.machine;
        server.kill();
        fails(&wait(child, b""), &["2013", "Lost connection", "gone away", "connection is lost"]);
        drop(other);
        server.restart();
        let case = Case { machine, server: &server, database: database.clone() };
        case.machine.dedup(&["recover"]).ok();
        assert_eq!(case.state(), before, "{format}");
        told(&restore(&case).ok());
    }
}

/// Triggers of what is loaded are taken away meanwhile: whoever dies then loses none, nor their order.
#[test]
fn a_restore_that_is_killed_leaves_every_trigger() {
    let server = MariaDb::shared();
    let triggers = "CREATE TABLE a (id INT PRIMARY KEY, n INT); CREATE TABLE log (n INT); INSERT INTO a VALUES (1, 1), (2, 2); \
        CREATE TRIGGER z_first BEFORE INSERT ON a FOR EACH ROW SET NEW.n = NEW.n + 1; \
        CREATE TRIGGER a_then BEFORE INSERT ON a FOR EACH ROW SET NEW.n = NEW.n * 2; \
        CREATE TRIGGER logs AFTER UPDATE ON a FOR EACH ROW INSERT INTO log VALUES (NEW.n);";
    let case = filled(server, "killed_triggers", triggers);
    case.declare("format = \"records\"\n");
    case.machine.dedup(&["backup"]).ok();
    let order = || {
        server.sql(
            "SELECT TRIGGER_NAME, EVENT_MANIPULATION, ACTION_ORDER FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA = 'killed_triggers' ORDER BY 2, 3",
        )
    };
    server.sql("DELETE FROM killed_triggers.a WHERE id = 2");
    let (state, known) = (case.state(), order());
    let without: &[&str] = &["--no-safety"];
    for (with_guard, how) in [(false, without), (true, without), (true, &without[1..])] {
        let mut other = server.session();
        other.sql("USE killed_triggers; BEGIN; UPDATE later SET id = 9");
        let words = [&["restore", "latest", "--yes", "-m", "shop"][..], how].concat();
        let child = start(case.machine.command(&words));
        until("the triggers are gone", || order().is_empty() && !waiting(server).is_empty());
        kill(&child, with_guard);
        drop(other);
        let ended = child.wait_with_output().unwrap();
        if with_guard {
            until("its sessions have ended", || waiting(server).is_empty());
            assert_ne!(order(), known, "nobody was there to make them again");
            case.machine.dedup(&["recover"]).ok();
        }
        assert_eq!(
            (case.state(), order()),
            (state.clone(), known.clone()),
            "{with_guard} {how:?}: {ended:?}"
        );
    }
    case.machine.dedup(&["restore", "latest", "--yes", "-m", "shop"]).ok();
    assert_eq!(order(), known);
    assert_eq!(server.sql("SELECT COUNT(*) FROM killed_triggers.a"), "2\n");
}

/// Kills the process that does the run, and perhaps the one that guards it.
fn kill(guard: &Child, with_guard: bool) {
    let number = guard.id();
    let children = fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap();
    let worker: i32 = children.split_whitespace().next().expect("a worker").parse().unwrap();
    for number in [with_guard.then_some(number.cast_signed()), Some(worker)].into_iter().flatten() {
        kill_process(Pid::from_raw(number).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn a_server_without_room_takes_no_rows() {
    let scratch = Scratch::new();
    let disk = Mount::tmpfs(&scratch.path("small"), "size=120m,mode=777").unwrap();
    let server = MariaDb::start_in(disk.path(), &["--innodb-flush-log-at-trx-commit=1"]);
    let case = filled(&server, "rows_full", "");
    case.declare("format = \"records\"\n");
    case.machine.dedup(&["backup"]).ok();
    server.sql("DROP TABLE rows_full.big");
    let before = case.state();
    let _ = fs::write(disk.path().join("filler"), vec![0; 200 << 20]);
    let run = case.machine.dedup(&["restore", "latest", "--yes", "--no-safety", "-m", "shop"]);
    fs::remove_file(disk.path().join("filler")).unwrap();
    let said = told(&run);
    assert!(run.code != 0 && run.code != 3, "{said}");
    assert!(
        ["is full", "No space", "1021", "1114", "connection is lost"].iter().any(|word| said.contains(word)),
        "{said}"
    );
    assert_eq!(case.state(), before);
}
