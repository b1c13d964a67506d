//! Rows over TLS, as `libpq` would have it: the programs connect the same way, so both must say the same.

use super::super::super::certificates_tests::certificates;
use super::super::PostgresRecords;
use super::records::rows_of;
use super::*;
use std::path::PathBuf;

const ENTRY: &str = "local all postgres trust\nhostssl all clerk 127.0.0.1/32 scram-sha-256\n";

#[test]
fn encryption_is_what_libpq_makes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let mut server = Postgres::start();
    server.database("app");
    server.user("clerk", "Geheim7");
    server.sql(
        "app",
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n; GRANT SELECT ON t TO clerk;",
    );
    let connect = |server: &Postgres, change: &dyn Fn(&mut Reach)| -> Result<usize, String> {
        let mut spec = rows_of(server, "app");
        spec.reach = Reach {
            host: Some("localhost".into()),
            port: Some(server.port()),
            user: Some("clerk".into()),
            password: Some(Secret::Literal("Geheim7".into())),
            ..Reach::default()
        };
        change(&mut spec.reach);
        // What the programs make of it.
        let libpq = dump(&{
            let mut spec = spec.clone();
            spec.form = Form::Archive;
            source(spec)
        });
        let (around, mut count) = (around(), 0);
        let world = World { around: &around, cancelled: &|| false };
        let ours =
            PostgresRecords::open(&spec, world).map_err(|error| error.to_string()).and_then(|mut view| {
                use crate::records::RecordSource;
                let table = view
                    .tables()
                    .and_then(|names| view.table(&names[0]))
                    .map_err(|error| error.to_string())?;
                let mut each = |_: &[crate::records::Value]| {
                    count += 1;
                    Ok(())
                };
                view.rows(&table, None, &mut each).map_err(|error| error.to_string())
            });
        assert_eq!(libpq.is_ok(), ours.is_ok(), "{libpq:?} {ours:?}");
        ours.map(|()| count)
    };
    let tls = |wanted: Option<bool>, ca: Option<&str>| {
        let ca = ca.map(file);
        move |reach: &mut Reach| {
            reach.tls = wanted;
            reach.ca.clone_from(&ca);
        }
    };
    // A server without: only who demands it is refused.
    server
        .secure("", ENTRY.replace("hostssl", "host").lines().take(2).collect::<Vec<_>>().join("\n").as_str());
    assert_eq!(connect(&server, &tls(None, None)), Ok(5000));
    assert_eq!(connect(&server, &tls(Some(false), None)), Ok(5000));
    let error = connect(&server, &tls(Some(true), None)).unwrap_err();
    assert!(error.contains("speaks no TLS"), "{error}");
    // One that demands it, known by an authority.
    let give = |server: &Postgres, name: &str| {
        let [cert, key] = ["crt", "key"].map(|end| file(&format!("{name}.{end}")));
        server.give(&[&cert, &key, &file("ca.crt")])
    };
    let given = give(&server, "server");
    server.secure(&given, ENTRY);
    assert_eq!(connect(&server, &tls(None, None)), Ok(5000));
    assert_eq!(connect(&server, &tls(Some(true), None)), Ok(5000));
    assert_eq!(connect(&server, &tls(Some(true), Some("ca.crt"))), Ok(5000));
    let by_number = |reach: &mut Reach| {
        tls(Some(true), Some("ca.crt"))(reach);
        reach.host = Some("127.0.0.1".into());
    };
    assert_eq!(connect(&server, &by_number), Ok(5000));
    let error = connect(&server, &tls(Some(false), None)).unwrap_err();
    assert!(error.contains("no encryption") || error.contains("28000"), "{error}");
    let error = connect(&server, &tls(Some(true), Some("own.crt"))).unwrap_err();
    assert!(error.contains("no encrypted connection"), "{error}");
    let error = connect(&server, &tls(Some(true), Some("ca.key"))).unwrap_err();
    assert!(error.contains("ca.key"), "{error}");
    // One that signed its own certificate, which is known.
    let given = give(&server, "own");
    server.secure(&given, ENTRY);
    assert_eq!(connect(&server, &tls(Some(true), Some("own.crt"))), Ok(5000));
    connect(&server, &tls(Some(true), Some("ca.crt"))).unwrap_err();
    let other_name = |reach: &mut Reach| {
        tls(Some(true), Some("own.crt"))(reach);
        reach.host = Some("127.0.0.1".into());
    };
    connect(&server, &other_name).unwrap_err();
}
