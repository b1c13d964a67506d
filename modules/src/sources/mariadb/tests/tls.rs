//! Rows over TLS: what is demanded is kept, and what is not is encrypted where the server can.

use super::super::super::certificates_tests::certificates;
use super::records::{count, records};
use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A server with this certificate and its key, which the authority's certificate vouches for or not.
fn server(dir: &Path, name: &str) -> MariaDb {
    let file = |end: &str| dir.join(end).display().to_string();
    MariaDb::start(&[
        &format!("--ssl-cert={}", file(&format!("{name}.crt"))),
        &format!("--ssl-key={}", file(&format!("{name}.key"))),
        &format!("--ssl-ca={}", file("ca.crt")),
    ])
}

/// A database, and who may read it by network.
fn filled(server: &MariaDb, demands: &str) -> String {
    let database = big(server);
    let password = server::text(PASSWORD);
    server.sql(&format!(
        "CREATE OR REPLACE USER clerk@'127.0.0.1' IDENTIFIED BY {password} {demands}; GRANT ALL ON {database}.* TO clerk@'127.0.0.1'"
    ));
    database
}

#[test]
fn encryption_is_what_the_endpoint_says() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if nix::unistd::geteuid().is_root() {
        // Servers run as nobody.
        for entry in fs::read_dir(dir.path()).unwrap() {
            chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
        }
    }
    let connect = |server: &MariaDb, database: &str, change: &dyn Fn(&mut Reach)| {
        let mut spec = records(mariadb(server, database));
        spec.reach = Reach {
            host: Some("localhost".into()),
            port: Some(server.port),
            user: Some("clerk".into()),
            password: Some(Secret::Literal(PASSWORD.into())),
            ..Reach::default()
        };
        change(&mut spec.reach);
        count(&spec).map_err(|error| error.to_string())
    };
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let tls = |wanted: Option<bool>, ca: Option<&str>| {
        let ca = ca.map(file);
        move |reach: &mut Reach| {
            reach.tls = wanted;
            reach.ca.clone_from(&ca);
        }
    };
    let refused = |result: Result<usize, String>, why: &str| {
        let error = result.unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    // A server without: only who demands it is refused.
    let plain = MariaDb::shared();
    let database = filled(plain, "");
    assert_eq!(connect(plain, &database, &tls(None, None)), Ok(20_001));
    assert_eq!(connect(plain, &database, &tls(Some(false), None)), Ok(20_001));
    refused(connect(plain, &database, &tls(Some(true), None)), "speaks no TLS");
    refused(connect(plain, &database, &tls(None, Some("ca.crt"))), "speaks no TLS");
    // One that demands it, known by an authority.
    let known = server(dir.path(), "server");
    let database = filled(&known, "REQUIRE SSL");
    assert_eq!(connect(&known, &database, &tls(None, None)), Ok(20_001));
    assert_eq!(connect(&known, &database, &tls(Some(true), None)), Ok(20_001));
    assert_eq!(connect(&known, &database, &tls(None, Some("ca.crt"))), Ok(20_001));
    assert_eq!(connect(&known, &database, &tls(Some(true), Some("ca.crt"))), Ok(20_001));
    let by_number = |reach: &mut Reach| {
        tls(Some(true), Some("ca.crt"))(reach);
        reach.host = Some("127.0.0.1".into());
    };
    assert_eq!(connect(&known, &database, &by_number), Ok(20_001));
    refused(connect(&known, &database, &tls(Some(false), None)), "Access denied");
    refused(connect(&known, &database, &tls(Some(true), Some("own.crt"))), "no encrypted connection");
    refused(connect(&known, &database, &tls(Some(true), Some("ca.key"))), "ca.key");
    let wrong = |reach: &mut Reach| reach.password = Some(Secret::Literal("wrong".into()));
    refused(connect(&known, &database, &wrong), "Access denied");
    // One that wants to know us too.
    let database = filled(&known, "REQUIRE X509");
    refused(connect(&known, &database, &tls(Some(true), Some("ca.crt"))), "Access denied");
    let shown = |reach: &mut Reach| {
        tls(Some(true), Some("ca.crt"))(reach);
        (reach.cert, reach.key) = (Some(file("server.crt")), Some(file("server.key")));
    };
    assert_eq!(connect(&known, &database, &shown), Ok(20_001));
    // One that signed its own certificate, which is known.
    let own = server(dir.path(), "own");
    let database = filled(&own, "REQUIRE SSL");
    assert_eq!(connect(&own, &database, &tls(Some(true), Some("own.crt"))), Ok(20_001));
    refused(connect(&own, &database, &tls(Some(true), Some("ca.crt"))), "no encrypted connection");
    let other_name = |reach: &mut Reach| {
        tls(Some(true), Some("own.crt"))(reach);
        reach.host = Some("127.0.0.1".into());
    };
    refused(connect(&own, &database, &other_name), "no encrypted connection");
    // A server that dies meanwhile is told, and so is one that says nothing.
    own.signal("STOP");
    let impatient = MariadbSpec { idle_limit: Duration::from_secs(1), ..records(mariadb(&own, &database)) };
    let reach = Reach {
        host: Some("127.0.0.1".into()),
        port: Some(own.port),
        socket: None,
        ..impatient.reach.clone()
    };
    refused(
        count(&MariadbSpec { reach, ..impatient }).map_err(|error| error.to_string()),
        "said nothing for",
    );
    own.signal("CONT");
}
