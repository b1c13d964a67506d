//! Modules with databases of a PostgreSQL server: what a run makes of faults of the server.
//!
//! The oracle asks the server by `psql`.

use super::app::Machine;
use crate::cli::support::Run;
use crate::support::Scratch;
use crate::support::postgres::{Postgres, SUPERUSER};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

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

/// A small file system that anybody may write to.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Self {
        let words = ["-t", "tmpfs", "-o", "size=140m,mode=777", "tmpfs"];
        assert!(Command::new("mount").args(words).arg(&at).status().unwrap().success());
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_server_without_room_refuses_a_restore_and_keeps_what_it_has() {
    let scratch = Scratch::new();
    let disk = Disk::mount(scratch.dir("small"));
    let server = Postgres::start_with("max_wal_size = 32MB\n", Some(&disk.0.join("data")));
    let machine = Machine::new();
    filled(&server, "app", 30_000);
    module(&machine, &server, "one", "select = { databases = [\"app\"] }");
    machine.dedup(&["backup"]).ok();
    server.sql("app", "DELETE FROM item WHERE id > 10; UPDATE item SET text = 'new'; VACUUM FULL item");
    let before = sight(&server, "app");
    fs::write(disk.0.join("filler"), vec![0; 200 << 20]).unwrap_err();
    let run = machine.dedup(&["restore", "latest", "--yes", "-m", "one"]);
    fs::remove_file(disk.0.join("filler")).unwrap();
    assert!(run.code != 0 && told(&run).contains("No space left"), "{}", told(&run));
    assert_eq!(sight(&server, "app"), before);
}
