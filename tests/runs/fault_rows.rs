//! Twelve faults × each driver of databases: where each is met by whole runs, or why it cannot be.

use super::rows::tests;
use std::path::Path;

/// Drivers, in the order of the columns.
const DRIVERS: [&str; 4] = ["mariadb", "postgresql", "sqlite", "redis"];

/// How a driver meets a fault.
enum Met {
    /// In this test, by this name within its source; each in all formats of its driver, unless the name says more.
    In(&'static str, &'static str),
    /// Never.
    Cannot(&'static str),
}

use Met::{Cannot, In};

const MARIADB: &str = "mariadb_faults::twelve_faults_of_a_backup_make_its_module_partial";
const MARIADB_BACK: &str = "mariadb_faults::faults_of_a_restore_leave_what_was_there";
const POSTGRES: &str = "postgres_faults::faults_of_exports_are_told_and_nothing_is_half_stored";
const POSTGRES_BACK: &str = "postgres_faults::faults_of_imports_are_told_and_leave_what_was_there";
const SQLITE: &str = "sqlite_faults::twelve_faults_of_a_backup_make_its_module_partial";
const SQLITE_BACK: &str = "sqlite_faults::faults_of_a_restore_leave_what_was_there";
const REDIS: &str = "redis::twelve_faults_of_a_backup_make_its_module_partial";
const NO_SERVER: Met = Cannot("there is no server, only a file");
const ALL_KEYS: Met = Cannot("its file has all keys of one moment, and no tables");

const FAULTS: [(&str, [Met; 4]); 12] = [
    (
        "wrong password",
        [
            In(MARIADB, "wrong password"),
            In(POSTGRES, "wrong password"),
            NO_SERVER,
            In(REDIS, "wrong password"),
        ],
    ),
    (
        "wrong database",
        [
            In(MARIADB, "wrong database"),
            In(POSTGRES, "wrong database"),
            In(SQLITE, "not there"),
            Cannot("its file has all databases of a server"),
        ],
    ),
    (
        "a right is missing",
        [
            In(MARIADB, "no right to triggers"),
            In(POSTGRES, "a right is missing"),
            Cannot(
                "root reads every file; what others may not read is an entry of files, see harness::source",
            ),
            In(REDIS, "no rights"),
        ],
    ),
    ("no server", [In(MARIADB, "no server"), In(POSTGRES, "no server"), NO_SERVER, In(REDIS, "no server")]),
    (
        "the server says nothing",
        [
            In(MARIADB, "stalled"),
            In(POSTGRES, "server stalled"),
            In(SQLITE, "locked"),
            In(REDIS, "stalled while it is read"),
        ],
    ),
    (
        "the connection is lost",
        [
            In(MARIADB, "the connection lost"),
            In(POSTGRES, "connection lost"),
            NO_SERVER,
            In(REDIS, "the connection lost"),
        ],
    ),
    (
        "the server is killed",
        [
            In(MARIADB, "the server killed"),
            In(POSTGRES, "server killed"),
            NO_SERVER,
            In(REDIS, "the server killed"),
        ],
    ),
    (
        "the server is restarted",
        [
            In(MARIADB, "the server restarted"),
            In(POSTGRES, "server restarted"),
            NO_SERVER,
            In(REDIS, "the server restarted"),
        ],
    ),
    (
        "a table is dropped or altered meanwhile",
        [
            In(MARIADB, "a table altered"),
            In(POSTGRES, "during(&[\"backup\"], alter)"),
            Cannot("a dump is one transaction; whoever writes meanwhile waits, or writes behind it"),
            ALL_KEYS,
        ],
    ),
    (
        "what is there is damaged",
        [
            In(MARIADB, "a damaged table"),
            In(POSTGRES, "a damaged table"),
            In(SQLITE, "a damaged page"),
            In(REDIS, "the server's writer killed"),
        ],
    ),
    (
        "a target without room",
        [
            In("mariadb_faults::a_server_without_room_takes_no_rows", "format = \\\"records\\\""),
            In(POSTGRES_BACK, "disk full"),
            In(SQLITE_BACK, "no room"),
            Cannot("it takes a file as a whole, and what it had before if it cannot"),
        ],
    ),
    (
        "a target that refuses",
        [
            In(MARIADB_BACK, "refuses a row (5000 "),
            In(POSTGRES_BACK, "constraint"),
            In(SQLITE_BACK, "read-only"),
            In(REDIS, "not by whom it does not let in"),
        ],
    ),
];

/// A cell whose test, or whose fault in it, was renamed or removed would hold nothing.
#[test]
fn every_fault_is_met_with_every_driver() {
    let (tests, dir) = (tests(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs"));
    let mut met = [0; DRIVERS.len()];
    for (fault, cells) in &FAULTS {
        for ((driver, cell), met) in DRIVERS.iter().zip(cells).zip(&mut met) {
            match cell {
                Cannot(why) => assert!(!why.is_empty(), "{fault}, {driver}"),
                In(test, name) => {
                    assert!(tests.contains(*test), "{fault}, {driver}: there is no test {test}");
                    let part = test.split("::").next().unwrap_or_default();
                    let text = std::fs::read_to_string(dir.join(part).with_extension("rs")).unwrap();
                    assert!(text.contains(name), "{fault}, {driver}: {test} has no {name:?}");
                    *met += 1;
                }
            }
        }
    }
    assert_eq!(met, [12, 12, 5, 9]);
}
