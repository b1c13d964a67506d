//! Dumps and loads of real servers.

mod faults;
mod random;
mod records;
#[path = "../../../../../tests/support/mariadb.rs"]
#[allow(dead_code, reason = "some of it is for runs alone")]
mod server;
mod sql;
mod tls;
mod update;

use super::super::{How, LoadOptions, SourceError, SourceSpec, WayBack, World, open_dump, open_load};
use super::MariadbSpec;
use crate::child::Surroundings;
use crate::endpoint::Reach;
use crate::manifest::drivers::{Driver, Format, Import, Scope};
use crate::manifest::secret::Secret;
use crate::manifest::sources::Select;
use server::{HARD, MariaDb, PASSWORD};
use std::io::{Cursor, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn around() -> Surroundings {
    Surroundings::of(vec![("PATH".into(), "/usr/bin:/bin".into()), ("HOME".into(), "/".into())])
}

/// A name for a database of one test.
fn fresh(server: &MariaDb) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("db_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
    name
}

/// A database with everything that is hard to carry.
fn hard(server: &MariaDb) -> String {
    let name = fresh(server);
    server.sql(&format!("USE {name};\n{HARD}"));
    name
}

/// A database with a table that does not fit into a pipe, and another one after it.
fn big(server: &MariaDb) -> String {
    let name = fresh(server);
    server.sql(&format!(
        "USE {name}; CREATE TABLE big (id INT PRIMARY KEY, v TEXT); CREATE TABLE later (id INT PRIMARY KEY); \
         INSERT INTO big SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_20000; INSERT INTO later VALUES (1)"
    ));
    name
}

fn mariadb(server: &MariaDb, database: &str) -> MariadbSpec {
    MariadbSpec {
        driver: Driver::Mariadb,
        reach: Reach {
            socket: Some(server.socket.clone()),
            user: Some("root".into()),
            password: Some(Secret::Literal(PASSWORD.into())),
            ..Reach::default()
        },
        select: of(database),
        loads: false,
        into: None,
        format: Format::Sql,
        consistent: true,
        import: Import::Replace,
        scope: Scope::Module,
        idle_limit: Duration::from_secs(60),
    }
}

fn of(database: &str) -> Select {
    Select { databases: vec![database.into()], own_tables: true, ..Select::default() }
}

/// Another database to load into.
fn into(mariadb: MariadbSpec, database: &str) -> MariadbSpec {
    MariadbSpec { loads: true, into: Some(database.into()), ..mariadb }
}

fn spec(mariadb: MariadbSpec) -> SourceSpec {
    SourceSpec { name: "db".into(), limit: None, how: How::Mariadb(Box::new(mariadb)) }
}

/// Dumps everything; `after_first` is called when something was read. Returns also what was said.
fn dump_with(
    mariadb: MariadbSpec,
    after_first: &mut dyn FnMut(),
) -> (Result<Vec<u8>, SourceError>, Vec<String>) {
    let (around, mut told) = (around(), Vec::new());
    let mut said = |line: &str| told.push(line.to_owned());
    let world = World { around: &around, cancelled: &|| false };
    let result = (|| {
        let mut dump = open_dump(&spec(mariadb), world, &mut said)?;
        let mut bytes = vec![0; 1000];
        let mut read = dump.read(&mut bytes);
        bytes.truncate(*read.as_ref().unwrap_or(&0));
        after_first();
        if read.is_ok() {
            read = dump.read_to_end(&mut bytes);
        }
        let end = dump.finish();
        // Who only reads must learn it too.
        assert_eq!(read.is_ok(), end.is_ok(), "{read:?} {end:?}");
        end.map(|count| {
            assert_eq!(count, bytes.len() as u64);
            bytes
        })
    })();
    (result, told)
}

fn dump(mariadb: MariadbSpec) -> Result<Vec<u8>, SourceError> {
    dump_with(mariadb, &mut || {}).0
}

fn load(mariadb: MariadbSpec, bytes: &mut dyn Read) -> Result<(), SourceError> {
    let around = around();
    let mut said = |_: &str| {};
    let world = World { around: &around, cancelled: &|| false };
    let mut load = open_load(&spec(mariadb), LoadOptions::default(), world, &mut said)?;
    load.check()?;
    assert_eq!(load.prepare(bytes)?, WayBack::DumpFirst);
    load.put(bytes)
}

fn load_bytes(mariadb: MariadbSpec, bytes: &[u8]) -> Result<(), SourceError> {
    load(mariadb, &mut Cursor::new(bytes))
}
