//! Modules with databases of a PostgreSQL server: what a run makes of faults of the server.
//!
//! The oracle asks the server by `psql`.

use super::app::Machine;
use crate::cli::support::Run;
use crate::support::Scratch;
use crate::support::mount::Mount;
use crate::support::postgres::{Postgres, SUPERUSER};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A module with a source, as a superuser on the socket.
fn module(machine: &Machine, server: &Postgres, id: &str, source: &str) {
    let socket = server.socket().join(format!(".s.PGSQL.{}", server.port()));
    machine.module(
        id,
        &format!(
            "[[source]]\nname = \"db\"\ndriver = \"postgresql\"\n{source}\nendpoint = {{ socket = {socket:?}, user = \"postgres\" }}\n"
        ),
    );
}

fn filled(server: &Postgres, database: &str, rows: u32) {
    server.database(database);
    server.sql(
        database,
        &format!(
            "CREATE TABLE item (id int PRIMARY KEY, text text); \
             INSERT INTO item SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, {rows}) n; SELECT lo_from_bytea(42, 'large')"
        ),
    );
}

fn told(run: &Run) -> String {
    format!("{}{}", run.out, run.err)
}

fn sight(server: &Postgres, database: &str) -> String {
    server.sql(
        database,
        "SELECT count(*), md5(string_agg(item::text, ',' ORDER BY id)), encode(lo_get(42), 'escape') FROM item",
    )
}

fn state(machine: &Machine, module: &str) -> String {
    machine.account(module)["state"].as_str().unwrap_or("absent").to_owned()
}

#[test]
fn databases_are_part_of_a_module() {
    let (machine, server) = (Machine::new(), Postgres::start());
    filled(&server, "app", 5000);
    filled(&server, "second", 100);
    server.user("clerk", "Geheim7");
    module(&machine, &server, "one", "select = { databases = [\"app\"] }");
    module(&machine, &server, "text", "format = \"sql\"\nselect = { databases = [\"app\"] }");
    module(&machine, &server, "all", "select = { databases = [\"all\"] }");
    machine.dedup(&["backup"]).ok();
    let before = (sight(&server, "app"), sight(&server, "second"));
    for id in ["one", "text", "all"] {
        assert_eq!(state(&machine, id), "complete");
        server.sql("app", "UPDATE item SET text = 'other'; SELECT lo_unlink(42)");
        if id == "all" {
            server.sql(SUPERUSER, "DROP DATABASE second; DROP ROLE clerk");
        }
        machine.dedup(&["restore", "latest", "--yes", "-m", id]).ok();
        assert_eq!(sight(&server, "app"), before.0, "{id}");
    }
    assert_eq!(sight(&server, "second"), before.1);
    assert_eq!(server.sql(SUPERUSER, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clerk'"), "t");
    machine.dedup(&["check", "--read-data"]).ok();
}

#[test]
fn a_password_is_seen_by_nobody() {
    let (machine, server) = (Machine::new(), Postgres::start());
    filled(&server, "app", 100);
    server.user("clerk", "Geheim7");
    server.sql("app", "GRANT SELECT ON item TO clerk");
    let file = machine.place.path("password");
    fs::write(&file, "Geheim7\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let port = server.port();
    machine.module(
        "one",
        &format!(
            "[[source]]\nname = \"db\"\ndriver = \"postgresql\"\nselect = {{ databases = [\"app\"], tables = [\"item\"] }}\n\
             endpoint = {{ host = \"127.0.0.1\", port = {port}, user = \"clerk\", password = \"file:{}\" }}\n",
            file.display()
        ),
    );
    let run = machine.dedup(&["backup"]).ok();
    assert!(!told(&run).contains("Geheim7"));
    assert_eq!(state(&machine, "one"), "complete");
    // A wrong one: the dump fails, everything else is stored, and it is not shown either.
    fs::write(&file, "Falsch9\n").unwrap();
    let run = machine.dedup(&["backup"]).ends(3);
    assert!(
        told(&run).contains("password authentication failed") && !told(&run).contains("Falsch9"),
        "{}",
        told(&run)
    );
    assert_eq!(state(&machine, "one"), "partial");
}

/// Makes a fault, backs up, and returns what was told: the source failed, the module is partial, its files are stored, and
/// no dump of it is in the snapshot.
fn faulty(machine: &Machine) -> String {
    let run = machine.dedup(&["backup"]).ends(3);
    let account = machine.account("one");
    assert_eq!(account["state"], "partial", "{account}");
    assert_eq!(account["dumps"].as_array().map_or(0, Vec::len), 0, "{account}");
    told(&run)
}

#[test]
fn faults_of_a_server_make_a_module_partial() {
    let (machine, mut server) = (Machine::new(), Postgres::start());
    filled(&server, "app", 20_000);
    let plain = "select = { databases = [\"app\"] }";
    module(&machine, &server, "one", plain);
    machine.dedup(&["backup"]).ok();
    // Wrong database.
    module(&machine, &server, "one", "select = { databases = [\"nothing\"] }");
    let told = faulty(&machine);
    assert!(told.contains("there is no database \"nothing\""), "{told}");
    module(&machine, &server, "one", plain);
    // Of several databases one is missing: no half dump.
    module(&machine, &server, "one", "select = { databases = [\"app\", \"nothing\"] }");
    let told = faulty(&machine);
    assert!(told.contains("nothing"), "{told}");
    module(&machine, &server, "one", plain);
    // A table whose file is damaged.
    let file = server.sql("app", "CHECKPOINT; SELECT pg_relation_filepath('item')");
    server.damage(&file);
    let told = faulty(&machine);
    assert!(told.contains("invalid page") || told.contains("could not read"), "{told}");
    // Wrong port, and a server that is gone.
    server.kill();
    let told = faulty(&machine);
    assert!(told.contains("connection to server"), "{told}");
}

#[test]
fn a_server_without_room_refuses_a_restore_and_keeps_what_it_has() {
    let scratch = Scratch::new();
    let disk = Mount::tmpfs(&scratch.path("small"), "size=140m,mode=777").unwrap();
    let server = Postgres::start_with("max_wal_size = 32MB\n", Some(&disk.path().join("data")));
    let machine = Machine::new();
    filled(&server, "app", 30_000);
    module(&machine, &server, "one", "select = { databases = [\"app\"] }");
    machine.dedup(&["backup"]).ok();
    server.sql("app", "DELETE FROM item WHERE id > 10; UPDATE item SET text = 'new'; VACUUM FULL item");
    let before = sight(&server, "app");
    fs::write(disk.path().join("filler"), vec![0; 200 << 20]).unwrap_err();
    let run = machine.dedup(&["restore", "latest", "--yes", "-m", "one"]);
    fs::remove_file(disk.path().join("filler")).unwrap();
    assert!(run.code != 0 && told(&run).contains("No space left"), "{}", told(&run));
    assert_eq!(sight(&server, "app"), before);
}

#[test]
fn rows_come_back_one_by_one() {
    let (machine, server) = (Machine::new(), Postgres::start());
    filled(&server, "app", 3000);
    server.sql("app", "CREATE VIEW longest AS SELECT max(length(text)) FROM item; CREATE TABLE log (at timestamptz, what text); INSERT INTO log SELECT 'epoch', 'same' FROM generate_series(1, 50)");
    let rows = |server: &Postgres| {
        server.sql("app", "SELECT count(*), md5(string_agg(item::text, ',' ORDER BY id)) FROM item; SELECT count(*) FROM log; SELECT * FROM longest")
    };
    let before = rows(&server);
    module(&machine, &server, "one", "format = \"records\"\nselect = { databases = [\"app\"] }");
    machine.dedup(&["backup"]).ok();
    assert_eq!(state(&machine, "one"), "complete");
    server.sql("app", "UPDATE item SET text = 'other' WHERE id < 100; DELETE FROM item WHERE id > 2900; INSERT INTO log VALUES (now(), 'new')");
    machine.dedup(&["restore", "latest", "--yes", "-m", "one"]).ok();
    assert_eq!(rows(&server), before);
    // All of the database anew.
    server.sql(SUPERUSER, "DROP DATABASE app");
    machine.dedup(&["restore", "latest", "--yes", "-m", "one"]).ok();
    assert_eq!(rows(&server), before);
    // Of a server that says no nothing is half stored.
    server.sql("app", "ALTER TABLE item RENAME TO thing");
    module(
        &machine,
        &server,
        "one",
        "format = \"records\"\nselect = { databases = [\"app\"], where = { thing = \"no_such > 1\" } }",
    );
    let told = faulty(&machine);
    assert!(told.contains("no_such"), "{told}");
}

/// A product of the tests' own, which keeps its modules' data in PostgreSQL.
#[test]
fn what_a_platform_keeps_belongs_to_its_modules() {
    let (machine, server) = (Machine::new(), Postgres::start());
    server.database("pbx");
    server.sql(
        "pbx",
        "CREATE TABLE settings (keyword text PRIMARY KEY, value text, module text); \
         INSERT INTO settings VALUES ('A', '1', 'queue'), ('B', '2', 'queue'), ('C', '3', 'other'); \
         CREATE TABLE codes (module text, name text, code text, PRIMARY KEY (module, name)); \
         INSERT INTO codes VALUES ('queue', 'login', '*45'), ('other', 'login', '*46'); \
         CREATE TABLE \"kv_Queue\" (id text, key text, val text, PRIMARY KEY (id, key)); \
         INSERT INTO \"kv_Queue\" VALUES ('noid', 'k', 'v'), ('7', 'k', 'w'); \
         CREATE TABLE tree (key text PRIMARY KEY, value text); \
         INSERT INTO tree VALUES ('/QUEUE/a', '1'), ('/QUEUE/b/c', '2'), ('/QUEUES/a', '3')",
    );
    let platforms = machine.place.path("home/.config/dedup/platforms.d");
    fs::create_dir_all(&platforms).unwrap();
    let socket = server.socket().join(format!(".s.PGSQL.{}", server.port()));
    let place = format!("endpoint = {{ socket = {socket:?}, user = \"postgres\" }}\n");
    let kinds = "[settings]\ntable = \"settings\"\nowner = \"module\"\nkey = \"keyword\"\n\
        [feature-codes]\ntable = \"codes\"\nowner = \"module\"\nkey = \"name\"\n\
        [kv]\ntable = \"kv_${Module}\"\nid = \"id\"\nkey = \"key\"\n[tree]\ntable = \"tree\"\nkey = \"key\"\n";
    let head =
        "schema = 1\n[platform]\nid = \"pbx\"\n[database]\ndriver = \"postgresql\"\ndatabase = \"pbx\"\n";
    fs::write(platforms.join("pbx.toml"), [head, &place, kinds].concat()).unwrap();
    let source = |driver: &str, select: &str| {
        format!("[[source]]\nname = {driver:?}\ndriver = {driver:?}\n{select}\n")
    };
    machine.module(
        "queue",
        &[
            source("settings", ""),
            source("feature-codes", ""),
            source("kv", ""),
            source("tree", "select = { ids = [\"QUEUE\"] }"),
        ]
        .concat(),
    );
    let manifest = machine.manifest("queue");
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace("version = \"1\"\n", "version = \"1\"\nplatform = \"pbx\"\n");
    fs::write(&manifest, text).unwrap();
    machine.dedup(&["backup"]).ok();
    assert_eq!(state(&machine, "queue"), "complete", "{}", machine.account("queue"));
    let seen = || {
        server.sql("pbx", "SELECT * FROM settings ORDER BY 1; SELECT * FROM codes ORDER BY 1; SELECT * FROM \"kv_Queue\" ORDER BY 1; SELECT * FROM tree ORDER BY 1")
    };
    let before = seen();
    // What is the module's comes back, and what others have stays as it is.
    server.sql("pbx", "UPDATE settings SET value = 'x' WHERE module = 'queue'; INSERT INTO settings VALUES ('D', '4', 'queue'); \
        DELETE FROM codes WHERE module = 'queue'; DELETE FROM \"kv_Queue\"; UPDATE tree SET value = 'x' WHERE key = '/QUEUE/a'; DELETE FROM tree WHERE key = '/QUEUE/b/c'");
    server.sql("pbx", "UPDATE settings SET value = 'theirs' WHERE module = 'other'; UPDATE codes SET code = 'theirs' WHERE module = 'other'; UPDATE tree SET value = 'theirs' WHERE key = '/QUEUES/a'");
    machine.dedup(&["restore", "latest", "--yes", "-m", "queue"]).ok();
    let expected = before
        .replace("C|3|other", "C|theirs|other")
        .replace("other|login|*46", "other|login|theirs")
        .replace("/QUEUES/a|3", "/QUEUES/a|theirs");
    assert_eq!(seen(), expected);
}
