//! Against a real server: what comes out goes back in, and what cannot be is told.

#[allow(dead_code, reason = "some of it is for tests of whole runs")]
#[path = "../../../../../tests/support/postgres.rs"]
mod server;

mod over;
mod random;
mod records;
mod tls;

use super::super::{Head, How, SourceError, SourceSpec, World, list_streams, open_dump, open_load};
use super::{Databases, Form, PostgresSpec};
use crate::child::Surroundings;
use crate::endpoint::Reach;
use crate::manifest::secret::Secret;
use crate::sources::LoadOptions;
use dedup_engine::error::Kind;
use server::{Postgres, SUPERUSER};
use std::cell::Cell;
use std::io::Read;
use std::time::Duration;

fn around() -> Surroundings {
    Surroundings::of(vec![("PATH".into(), "/usr/bin:/bin".into())])
}

fn reach(server: &Postgres) -> Reach {
    Reach {
        socket: Some(server.socket().to_owned()),
        port: Some(server.port()),
        user: Some(SUPERUSER.to_owned()),
        ..Reach::default()
    }
}

fn wanted(server: &Postgres, databases: Databases) -> PostgresSpec {
    PostgresSpec {
        reach: reach(server),
        databases,
        form: Form::Archive,
        tables: vec![],
        prefix: String::new(),
        schemas: vec![],
        ignore: vec![],
        with_passwords: false,
        idle_limit: Duration::from_secs(60),
    }
}

fn source(spec: PostgresSpec) -> SourceSpec {
    SourceSpec { name: "db".into(), limit: None, how: How::Postgresql(Box::new(spec)) }
}

fn one(server: &Postgres, database: &str) -> SourceSpec {
    source(wanted(server, Databases::One(database.to_owned())))
}

/// Dumps one stream; calls `meanwhile` when its first bytes are there.
fn dump_while(spec: &SourceSpec, meanwhile: impl FnOnce()) -> Result<(Vec<u8>, Head), SourceError> {
    let (around, mut said) = (around(), |_: &str| {});
    let world = World { around: &around, cancelled: &|| false };
    let mut dump = open_dump(spec, world, &mut said)?;
    let head = dump.head().clone();
    let mut bytes = vec![0; 1000];
    let first = dump.read(&mut bytes).unwrap_or(0);
    bytes.truncate(first);
    meanwhile();
    let _ = dump.read_to_end(&mut bytes);
    dump.finish().map(|count| {
        assert_eq!(count, bytes.len() as u64);
        (bytes, head)
    })
}

fn dump(spec: &SourceSpec) -> Result<(Vec<u8>, Head), SourceError> {
    dump_while(spec, || {})
}

fn load(spec: &SourceSpec, (bytes, head): &(Vec<u8>, Head)) -> Result<(), SourceError> {
    let (around, mut said) = (around(), |_: &str| {});
    let world = World { around: &around, cancelled: &|| false };
    let mut load = open_load(spec, LoadOptions::default(), world, &mut said)?;
    load.hear(head);
    load.check()?;
    load.prepare(&mut &bytes[..])?;
    load.put(&mut &bytes[..])
}

const FILLED: &str = "CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, raw bytea); \
    INSERT INTO item (name, raw) SELECT 'näme ' || n, decode(md5(n::text), 'hex') FROM generate_series(1, 1000) n; \
    CREATE VIEW last AS SELECT max(id) FROM item; SELECT lo_from_bytea(4711, 'a large object');";

/// What a test sees of a database.
fn sight(server: &Postgres, database: &str) -> String {
    server.sql(
        database,
        "SELECT md5(string_agg(item::text, ',' ORDER BY id)), count(*), (SELECT * FROM last) FROM item; \
         SELECT convert_from(lo_get(4711), 'UTF8'); SELECT last_value, is_called FROM item_id_seq",
    )
}

#[test]
fn databases_go_out_and_come_back_in_both_forms() {
    let server = Postgres::start();
    server.database("app");
    server.sql("app", FILLED);
    let before = sight(&server, "app");
    for form in [Form::Archive, Form::Text] {
        let mut spec = wanted(&server, Databases::One("app".into()));
        spec.form = form;
        let spec = source(spec);
        let dumped = dump(&spec).unwrap();
        assert!(dumped.1.version.starts_with("PostgreSQL 1"), "{:?}", dumped.1);
        assert_eq!(dumped.0.starts_with(b"PGDMP"), form == Form::Archive);
        let raw = b"n\xc3\xa4me 777";
        assert!(dumped.0.windows(raw.len()).any(|part| part == raw), "it is not compressed");
        // What is there is replaced, and what is not there at all is made as it was.
        server.sql(
            "app",
            "UPDATE item SET name = 'other'; DELETE FROM item WHERE id > 10; SELECT lo_unlink(4711)",
        );
        load(&spec, &dumped).unwrap();
        assert_eq!(sight(&server, "app"), before);
        server.sql(SUPERUSER, "DROP DATABASE app");
        load(&spec, &dumped).unwrap();
        assert_eq!(sight(&server, "app"), before);
    }
}

#[test]
fn several_databases_are_several_streams_and_all_have_the_roles() {
    let server = Postgres::start();
    let names = ["app", "odd/na'me\" %", "third"];
    for name in names {
        server.database(name);
        server.sql(name, &format!("CREATE TABLE t AS SELECT {} AS of", super::quote::literal(name)));
    }
    server.user("clerk", "Geheim7");
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    let all = source(wanted(&server, Databases::All(vec!["third".into()])));
    let streams = list_streams(&all, world).unwrap().unwrap();
    assert_eq!(streams, ["database=app", "database=odd%2Fna'me\" %25", "database=postgres", "roles"]);
    for stream in ["database=third", "database=../x", "x", "roles "] {
        assert_eq!(all.stream(stream), None, "{stream}");
    }
    let dumped: Vec<_> = streams.iter().map(|name| dump(&all.stream(name).unwrap()).unwrap()).collect();
    let roles = String::from_utf8_lossy(&dumped[3].0);
    assert!(roles.contains("CREATE ROLE clerk") && !roles.contains("SCRAM-SHA-256"), "{roles}");
    server.sql(SUPERUSER, "DROP DATABASE app; DROP ROLE clerk");
    server.sql(names[1], "DROP TABLE t");
    let in_order = all.in_order_of_load(streams.into_iter().zip(dumped).collect());
    assert_eq!(in_order[0].0, "roles");
    for (name, dumped) in in_order.iter().filter(|(name, _)| name != "database=postgres") {
        load(&all.stream(name).unwrap(), dumped).unwrap();
    }
    for name in &names[..2] {
        assert_eq!(&server.sql(name, "SELECT of FROM t"), name);
    }
    // As secrets they have their passwords.
    server.user("boss", "Geheim8");
    let mut with = wanted(&server, Databases::All(vec![]));
    with.with_passwords = true;
    let (bytes, _) = dump(&source(with).stream("roles").unwrap()).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("SCRAM-SHA-256"));
}

#[test]
fn a_load_that_fails_leaves_everything_as_it_was() {
    let server = Postgres::start();
    server.database("app");
    server.sql("app", FILLED);
    let spec = one(&server, "app");
    let dumped = dump(&spec).unwrap();
    server.sql("app", "UPDATE item SET name = 'new'; CREATE VIEW in_the_way AS SELECT name FROM item");
    let new = sight(&server, "app");
    // Something else needs what is to be replaced.
    let error = load(&spec, &dumped).unwrap_err();
    assert!(error.to_string().contains("in_the_way") || error.to_string().contains("depend"), "{error}");
    // The stream itself breaks off.
    server.sql("app", "DROP VIEW in_the_way");
    let torn = (dumped.0[..dumped.0.len() / 2].to_vec(), dumped.1.clone());
    load(&spec, &torn).unwrap_err();
    assert_eq!(sight(&server, "app"), new);
    // A database that had to be made is removed again.
    server.sql(SUPERUSER, "DROP DATABASE app");
    load(&spec, &torn).unwrap_err();
    assert_eq!(server.sql(SUPERUSER, "SELECT count(*) FROM pg_database WHERE datname = 'app'"), "0");
}

/// What looks like the end of a transaction, and is none.
const SAID: &str = "CREATE TABLE said (line text); COMMENT ON TABLE said IS E'x;\nCOMMIT;\ny'; \
    INSERT INTO said VALUES ('COMMIT;'), ('BEGIN;'), ('-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -'), ('COMMIT;'); \
    CREATE FUNCTION say() RETURNS text LANGUAGE sql AS $$SELECT 'x;\nCOMMIT;\n'$$;";

/// `pg_dump` writes BEGIN and COMMIT around large objects. They ended the transaction of the load: what failed after them,
/// as an index that cannot be made, left half of the old database and half of the new one.
#[test]
fn a_text_that_fails_after_its_large_objects_leaves_everything_as_it_was() {
    let server = Postgres::start();
    server.database("app");
    server.sql("app", &format!("{FILLED} {SAID}"));
    let whole = |server: &Postgres| {
        let said = "SELECT string_agg(line, ',' ORDER BY line COLLATE \"C\"), say(), obj_description('said'::regclass) FROM said";
        format!("{}\n{}", sight(server, "app"), server.sql("app", said))
    };
    let before = whole(&server);
    let mut spec = wanted(&server, Databases::One("app".into()));
    spec.form = Form::Text;
    let spec = source(spec);
    let (bytes, head) = dump(&spec).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (objects, after) = text.split_once("\nBEGIN;\n\nSELECT pg_catalog.lo_open('4711'").unwrap();
    assert!(objects.contains("COPY public.said") && after.contains("\nCOMMIT;\n"), "{text}");
    server.sql(
        "app",
        "UPDATE item SET name = 'new'; DELETE FROM item WHERE id > 10; SELECT lo_put(4711, 0, 'new'); INSERT INTO said VALUES ('more')",
    );
    let new = whole(&server);
    assert_ne!(new, before);
    let failing = format!("{text}\nSELECT 1 / 0;\n").into_bytes();
    let error = load(&spec, &(failing, head.clone())).unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(whole(&server), new);
    load(&spec, &(text.into_bytes(), head)).unwrap();
    assert_eq!(whole(&server), before);
}

/// A place and a password, as somebody who is no superuser needs them.
fn clerk(server: &Postgres, password: &str, database: &str) -> SourceSpec {
    let mut spec = wanted(server, Databases::One(database.to_owned()));
    spec.reach = Reach {
        host: Some("127.0.0.1".into()),
        port: Some(server.port()),
        user: Some("clerk".into()),
        password: Some(Secret::Literal(password.into())),
        ..Reach::default()
    };
    spec.idle_limit = Duration::from_secs(2);
    source(spec)
}

#[test]
fn a_password_opens_and_a_wrong_one_is_told_but_not_shown() {
    let server = Postgres::start();
    server.database("app");
    server.user("clerk", "Ge:h\\eim7");
    server.sql("app", "CREATE TABLE t AS SELECT 7 AS n; GRANT SELECT ON t TO clerk");
    let (bytes, _) = dump(&clerk(&server, "Ge:h\\eim7", "app")).unwrap();
    assert!(bytes.starts_with(b"PGDMP"));
    let error = dump(&clerk(&server, "Falsch9", "app")).unwrap_err();
    assert!(error.to_string().contains("password") && !error.to_string().contains("Falsch9"), "{error}");
    let mut nobody = wanted(&server, Databases::One("app".into()));
    nobody.reach.user = Some("clerk".into());
    let error = dump(&source(nobody)).unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    let error = dump(&clerk(&server, "Ge:h\\eim7", "nothing")).unwrap_err();
    assert!(matches!(error, SourceError::Program(_) | SourceError::NoSuchDatabase { .. }), "{error}");
    // A table that may not be read.
    server.sql("app", "CREATE TABLE hidden AS SELECT 1 AS n");
    let error = dump(&clerk(&server, "Ge:h\\eim7", "app")).unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[test]
fn a_database_that_is_not_there_is_absent() {
    let server = Postgres::start();
    let error = dump(&one(&server, "nothing")).unwrap_err();
    assert!(matches!(error, SourceError::NoSuchDatabase { .. }), "{error}");
    assert_eq!((error.kind(), error.outcome()), (Kind::Missing, dedup_engine::snapshot::Outcome::Absent));
}

const LARGE: &str =
    "CREATE TABLE large AS SELECT n, repeat(md5(n::text), 100) AS text FROM generate_series(1, 20000) n";

#[test]
fn a_server_that_ends_or_says_nothing_voids_the_dump() {
    let mut server = Postgres::start();
    server.database("app");
    server.sql("app", LARGE);
    let hit = Cell::new(0);
    let error = dump_while(&one(&server, "app"), || hit.set(server.disconnect("app"))).unwrap_err();
    assert!(hit.get() > 0 && error.to_string().contains("failed with status"), "{error}");
    let mut slow = wanted(&server, Databases::One("app".into()));
    slow.idle_limit = Duration::from_secs(1);
    let error = dump_while(&source(slow), || hit.set(server.freeze("app"))).unwrap_err();
    assert!(hit.get() > 0 && error.to_string().contains("said nothing for"), "{error}");
    server.thaw();
    let spec = one(&server, "app");
    let error = dump_while(&spec, || server.kill()).unwrap_err();
    assert!(error.to_string().contains("failed with status"), "{error}");
    let error = dump(&spec).unwrap_err();
    assert!(error.to_string().contains("connection to server"), "{error}");
}

#[test]
fn a_table_that_is_dropped_meanwhile_is_in_the_dump_and_one_is_never_half() {
    let server = Postgres::start();
    server.database("app");
    server.sql("app", LARGE);
    // The dump holds its tables: whoever drops or alters one waits.
    let spec = one(&server, "app");
    let dumped = dump_while(&spec, || {
        let error = server.try_sql("app", "SET lock_timeout = 100; DROP TABLE large").unwrap_err();
        assert!(error.contains("lock timeout"), "{error}");
        let error =
            server.try_sql("app", "SET lock_timeout = 100; ALTER TABLE large ADD more int").unwrap_err();
        assert!(error.contains("lock timeout"), "{error}");
    });
    server.sql("app", "DROP TABLE large");
    load(&spec, &dumped.unwrap()).unwrap();
    assert_eq!(server.sql("app", "SELECT count(*) FROM large"), "20000");
}
