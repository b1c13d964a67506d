//! Format `sql`: what comes back is what was there.

use super::*;
use std::fs;

/// The dump program rounds one, and takes the other for the empty word.
fn lose_what_sql_cannot_carry(server: &MariaDb, database: &str) {
    server.sql(&format!(
        "USE {database}; UPDATE numbers SET f = 0.5; DELETE FROM texts WHERE k = 'enum error'"
    ));
}

#[test]
fn everything_comes_back_as_it_was_and_the_same_is_the_same_bytes() {
    let server = MariaDb::shared();
    let (from, to) = (hard(server), fresh(server));
    lose_what_sql_cannot_carry(server, &from);
    let (first, told) = dump_with(mariadb(server, &from), &mut || {});
    let first = first.unwrap();
    assert!(told.iter().any(|line| line.contains(&format!("{from}.aria, {from}.old"))), "{told:?}");
    assert!(told.iter().any(|line| line.contains(&format!("{from}.numbers.f"))), "{told:?}");
    assert_eq!(dump(mariadb(server, &from)).unwrap(), first);
    // What only the target has stays, what the dump has takes its place.
    server.sql(&format!("USE {to}; CREATE TABLE mine (id INT); CREATE TABLE numbers (other INT)"));
    load_bytes(into(mariadb(server, &from), &to), &first).unwrap();
    server.sql(&format!("USE {to}; DROP TABLE mine"));
    let (before, after) = (server.state(&from), server.state(&to));
    assert!(before.contains("CREATE ALGORITHM") && before.lines().count() > 40, "{before}");
    assert_eq!(before, after);
    // The server gives numbers out in lots of a thousand; none comes twice.
    assert_eq!(
        server.sql(&format!("SELECT NEXTVAL({from}.counted) = 8, NEXTVAL({to}.counted) >= 8")),
        "1\t1\n"
    );
    // A database that is not there is made; one that is to be emptied is.
    let third = format!("{to}_new");
    load_bytes(into(mariadb(server, &from), &third), &first).unwrap();
    server.sql(&format!("CREATE TABLE {third}.mine (id INT)"));
    load_bytes(MariadbSpec { scope: Scope::Database, ..into(mariadb(server, &from), &third) }, &first)
        .unwrap();
    assert_eq!(server.state(&third), before);
}

/// What a restore dumps before it loads, and loads again if that must not stand.
#[test]
fn the_way_back_leaves_nothing_of_the_load() {
    let server = MariaDb::shared();
    let (from, to) = (hard(server), big(server));
    lose_what_sql_cannot_carry(server, &from);
    let (before, spec) = (server.state(&to), into(mariadb(server, &from), &to));
    let kept = dump(spec.clone()).unwrap();
    load_bytes(spec.clone(), &dump(mariadb(server, &from)).unwrap()).unwrap();
    assert_ne!(server.state(&to), before);
    load_bytes(spec.clone(), &kept).unwrap();
    assert_eq!(server.state(&to), before);
    let mut narrow = spec;
    narrow.select.tables = vec!["later".into(), "not there yet".into()];
    dump(narrow.clone()).unwrap();
    narrow.select.tables.remove(0);
    let absent = dump(narrow).unwrap_err();
    assert_eq!(absent.outcome(), dedup_engine::snapshot::Outcome::Absent, "{absent}");
}

#[test]
fn by_network_and_with_several_databases() {
    let server = MariaDb::shared();
    let (first, second, left_out) = (hard(server), big(server), fresh(server));
    lose_what_sql_cannot_carry(server, &first);
    let mut all = mariadb(server, "x");
    all.reach = Reach {
        host: Some("127.0.0.1".into()),
        port: Some(server.port),
        user: Some("root".into()),
        password: Some(Secret::Literal(PASSWORD.into())),
        ..Reach::default()
    };
    all.select.databases = vec![first.clone(), second.clone()];
    // By network `root` may not come in: that is another user for the server.
    let denied = dump(all.clone()).unwrap_err().to_string();
    assert!(denied.contains("1045") || denied.contains("not allowed"), "{denied}");
    server.sql(&format!("GRANT ALL ON *.* TO netto@'127.0.0.1' IDENTIFIED BY {}", server::text(PASSWORD)));
    all.reach.user = Some("netto".into());
    let bytes = dump(all.clone()).unwrap();
    let states = (server.state(&first), server.state(&second));
    server.sql(&format!("DROP DATABASE {first}; DROP TABLE {second}.big"));
    load_bytes(all.clone(), &bytes).unwrap();
    assert_eq!((server.state(&first), server.state(&second)), states);
    all.select = Select { databases: vec!["all".into()], skip: vec![left_out.clone()], ..Select::default() };
    let around = around();
    let world = World { around: &around, cancelled: &|| false };
    let mut said = |_: &str| {};
    let dump = open_dump(&spec(all), world, &mut said).unwrap();
    let fact = dump.head().facts.iter().find(|(name, _)| name == "databases").unwrap().1.clone();
    let named: Vec<&str> = fact.split(' ').collect();
    assert!(
        named.contains(&&first[..]) && !named.contains(&&left_out[..]) && !named.contains(&"mysql"),
        "{named:?}"
    );
    assert!(dump.head().version.starts_with("10.") && dump.head().kind == "mariadb");
}

#[test]
fn a_dump_has_what_was_selected() {
    let server = MariaDb::shared();
    let database = hard(server);
    let base = mariadb(server, &database);
    let with = |select: Select| {
        let bytes = dump(MariadbSpec { select, ..base.clone() }).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let made = text.lines().filter_map(|line| line.strip_prefix("CREATE TABLE `")?.strip_suffix("` ("));
        (made.map(ToOwned::to_owned).collect::<Vec<_>>(), text.contains("PROCEDURE"))
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let (all, routines) = with(Select { ignore: names(&["numbers", "parent"]), ..of(&database) });
    assert!(all.contains(&"texts".to_owned()) && !all.contains(&"numbers".to_owned()) && routines, "{all:?}");
    let select = Select {
        tables: names(&["numbers"]),
        prefix: "p".into(),
        ignore: names(&["places"]),
        ..of(&database)
    };
    assert_eq!(with(select), (names(&["numbers", "parent", "parts"]), false));
    let refused = |select: Select| dump(MariadbSpec { select, ..base.clone() }).unwrap_err().to_string();
    let error = refused(Select { tables: names(&["gone"]), ..of(&database) });
    assert!(error.contains(&format!("table {database}.gone is not on the server")), "{error}");
    let error = refused(Select { rows_where: vec![("numbers".into(), "id < 5".into())], ..of(&database) });
    assert!(error.contains("format = \"records\""), "{error}");
    let error = load_bytes(MariadbSpec { import: Import::Merge, ..base.clone() }, b"").unwrap_err();
    assert!(error.to_string().contains("import = \"merge\""), "{error}");
}

/// Neither arguments nor environment of any process tell it while a dump goes on.
#[test]
fn nobody_sees_the_password() {
    let server = MariaDb::shared();
    let database = big(server);
    let mut seen = 0;
    let mut look = || {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&arguments).contains(&database);
            seen += u32::from(ours);
            let holds = |bytes: &[u8]| bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
            assert!(!ours || !holds(&arguments) && !holds(&environment));
        }
    };
    dump_with(mariadb(server, &database), &mut look).0.unwrap();
    assert!(seen > 0, "the dump was seen");
    let shown = format!("{:?}", mariadb(server, &database));
    assert!(!shown.contains(PASSWORD), "{shown}");
}
