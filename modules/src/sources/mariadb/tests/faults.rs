//! What goes wrong is told, and nothing torn passes for whole.

use super::*;
use dedup_engine::error::Kind;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn who_is_not_let_in_is_told() {
    let server = MariaDb::shared();
    let database = big(server);
    let mut wrong = mariadb(server, &database);
    wrong.reach.password = Some(Secret::Literal("wrong".into()));
    let error = dump(wrong.clone()).unwrap_err().to_string();
    assert!(error.contains("Access denied") && !error.contains("wrong"), "{error}");
    assert!(load_bytes(wrong.clone(), b"").unwrap_err().to_string().contains("Access denied"));
    wrong.reach.password = None;
    assert!(dump(wrong).unwrap_err().to_string().contains("Access denied"));
    let error = dump(mariadb(server, "no_such")).unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    assert!(error.to_string().contains("database no_such is not on the server at /"), "{error}");
    let mut nowhere = mariadb(server, &database);
    nowhere.reach.socket = Some("/no/such/socket".into());
    let error = dump(nowhere).unwrap_err().to_string();
    assert!(error.contains("2002") && error.contains("/no/such/socket"), "{error}");
    let mut no_client = mariadb(server, &database);
    no_client.reach.client = Some("/no/such/mariadb".into());
    assert!(dump(no_client).unwrap_err().to_string().contains("/no/such/mariadb"));
}

#[test]
fn who_may_not_see_everything_gets_nothing() {
    let server = MariaDb::shared();
    let database = hard(server);
    let user = format!("u_{database}");
    let password = server::text(PASSWORD);
    server.sql(&format!("CREATE USER {user}@localhost IDENTIFIED BY {password}"));
    let mut limited = mariadb(server, &database);
    limited.reach.user = Some(user.clone());
    assert!(dump(limited.clone()).unwrap_err().to_string().contains("is not on the server"));
    server.sql(&format!("GRANT SELECT, SHOW VIEW, EVENT ON {database}.* TO {user}@localhost"));
    let error = dump(limited.clone()).unwrap_err();
    assert_eq!(error.kind(), Kind::Permission, "{error}");
    assert!(error.to_string().contains("GRANT TRIGGER"), "{error}");
    // Its own programs are told by the dump program: it may not read what they are made of.
    server.sql(&format!("GRANT TRIGGER, EXECUTE ON {database}.* TO {user}@localhost"));
    let error = dump(limited.clone()).unwrap_err().to_string();
    assert!(error.contains("privileg"), "{error}");
    server.sql(&format!(
        "GRANT ALL ON {database}.* TO {user}@localhost; GRANT SELECT ON mysql.proc TO {user}@localhost"
    ));
    dump(limited).unwrap();
}

#[test]
fn a_server_that_dies_or_stalls_voids_the_dump() {
    let mut server = MariaDb::start(&["--innodb-flush-log-at-trx-commit=1"]);
    let database = big(&server);
    let (killed, _) = dump_with(mariadb(&server, &database), &mut || server.kill());
    let error = killed.unwrap_err().to_string();
    assert!(error.contains("2013") || error.contains("Lost connection") || error.contains("2006"), "{error}");
    server.restart();
    let whole = dump(mariadb(&server, &database)).unwrap();
    let mut impatient = mariadb(&server, &database);
    impatient.idle_limit = Duration::from_secs(2);
    let (stalled, _) = dump_with(impatient.clone(), &mut || server.signal("STOP"));
    let error = stalled.unwrap_err().to_string();
    assert!(error.contains("said nothing for 2"), "{error}");
    let error = load_bytes(impatient, &whole).unwrap_err().to_string();
    assert!(error.contains("said nothing for 2"), "{error}");
    server.signal("CONT");
    let slow = |mut at: usize| {
        let (server, whole) = (&server, &whole);
        // Killed when a part was read.
        struct Slow<'a>(&'a [u8], &'a MariaDb, &'a mut usize);
        impl Read for Slow<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let count = out.len().min(self.0.len() - *self.2);
                out[..count].copy_from_slice(&self.0[*self.2..*self.2 + count]);
                if *self.2 < 5_000_000 && *self.2 + count >= 5_000_000 {
                    self.1.kill();
                }
                *self.2 += count;
                Ok(count)
            }
        }
        load(mariadb(server, &database), &mut Slow(whole, server, &mut at))
    };
    let error = slow(0).unwrap_err().to_string();
    assert!(
        error.contains("2013") || error.contains("Lost connection") || error.contains("gone away"),
        "{error}"
    );
}

#[test]
fn a_table_that_changes_below_the_dump_voids_it() {
    let server = MariaDb::shared();
    for (change, codes) in [
        ("DROP TABLE later", ["1146", "1051"]),
        ("ALTER TABLE later ADD COLUMN more INT, ALGORITHM=COPY", ["1412", "1412"]),
        ("RENAME TABLE later TO elsewhere", ["1146", "1051"]),
    ] {
        let database = big(server);
        let sql = format!("USE {database}; {change}");
        let (result, _) = dump_with(mariadb(server, &database), &mut || drop(server.sql(&sql)));
        let error = result.map(|bytes| bytes.len()).expect_err(change).to_string();
        assert!(codes.iter().any(|code| error.contains(code)), "{change}: {error}");
    }
}

#[test]
fn a_table_that_is_damaged_voids_the_dump() {
    let server = MariaDb::shared();
    let database = fresh(server);
    server.sql(&format!(
        "USE {database}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT) ENGINE=MyISAM; INSERT INTO t SELECT seq, REPEAT('x', 500) FROM seq_1_to_2000; FLUSH TABLES"
    ));
    let data = server.dir.join("data").join(&database).join("t.MYD");
    let half = fs::metadata(&data).unwrap().len() / 2;
    fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(half).unwrap();
    let error = dump(mariadb(server, &database)).unwrap_err().to_string();
    assert!(error.contains("crashed") || error.contains("Incorrect") || error.contains("Corrupt"), "{error}");
}

/// It exits with 0, and what it printed is not whole: as through an engine of containers that lost the connection.
#[test]
fn what_has_no_last_line_is_void() {
    let server = MariaDb::shared();
    let (database, scratch) = (big(server), tempfile::tempdir().unwrap());
    let script = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("mariadb", "exec /usr/bin/mariadb \"$@\"");
    script(
        "mariadb-dump",
        "[ \"$1\" = --version ] && exec mariadb-dump --version; mariadb-dump \"$@\" | head -c 100000",
    );
    let mut torn = mariadb(server, &database);
    torn.reach.client = Some(scratch.path().join("mariadb").display().to_string());
    let error = dump(torn.clone()).unwrap_err();
    assert!(matches!(error, SourceError::Cut { .. }), "{error}");
    script("mariadb-dump", "exec mariadb-dump \"$@\"");
    dump(torn).unwrap();
}

#[test]
fn a_target_that_refuses_is_told() {
    let server = MariaDb::shared();
    let (from, to) = (big(server), fresh(server));
    let whole = dump(mariadb(server, &from)).unwrap();
    let small = server;
    small.sql("CREATE DATABASE small; USE small; CREATE TABLE later (id INT PRIMARY KEY)");
    let mut limited = into(mariadb(small, &from), "small");
    small.sql(&format!(
        "CREATE USER loader@localhost IDENTIFIED BY {}; GRANT SELECT, INSERT ON small.* TO loader@localhost",
        server::text(PASSWORD)
    ));
    limited.reach.user = Some("loader".into());
    let error = load_bytes(limited, &whole).unwrap_err().to_string();
    assert!(error.contains("1142") || error.contains("denied"), "{error}");
    let torn = &whole[..whole.len() / 2];
    let error = load_bytes(into(mariadb(server, &from), &to), torn).map_err(|error| error.to_string());
    assert!(error.is_err_and(|error| error.contains("1064") || error.contains("ERROR")));
}
