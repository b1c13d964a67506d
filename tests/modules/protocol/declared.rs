//! What a manifest declares beside its exporter: sources that it is to send, sources that it has dumped, services.

use super::{program, sdk};
use crate::runs::app::Machine;
use std::fs;

fn app(more: &str) -> Machine {
    let machine = Machine::new();
    let path = program(&machine, "declared.py", include_str!("declared.py"));
    let (base, sdk, db) = (machine.place.path(""), sdk(), machine.place.path("app.db"));
    let made = rusqlite::Connection::open(&db)
        .unwrap()
        .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    made.unwrap();
    let manifest = format!(
        "{}[[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = {db:?}\n[[source]]\nname = \"extra\"\ndriver = \"external\"\n\
         [exporter]\ncommand = [\"python3\", {path:?}, {base:?}]\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n{more}",
        machine.service("web")
    );
    machine.module("app", &manifest);
    machine.events();
    machine
}

fn dumps(machine: &Machine) -> Vec<String> {
    let account = machine.account("app");
    account["dumps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dump| dump["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_exporter_runs_when_it_asks_to_and_has_sources_dumped_once() {
    let machine = app("");
    for _ in 0..2 {
        // A stream that its module broke off makes it partial; the rest is there.
        machine.dedup(&["backup"]).ends(3);
        assert_eq!(machine.events(), ["stop-web", "export while down", "start-web"]);
        assert_eq!(dumps(&machine), [".exporter", "db", "extra"]);
        let account = machine.account("app");
        assert!(account["reason"].as_str().unwrap().contains("not there any more"), "{account}");
    }
}

#[test]
fn a_source_that_the_exporter_should_send_and_did_not_is_told() {
    let machine = app("");
    fs::write(machine.place.path("forget"), "").unwrap();
    machine.dedup(&["backup"]).ends(3).says(&["source:extra", "did not send"]).shows(&["source:extra"]);
    assert_eq!(dumps(&machine), [".exporter", "db"]);
    let machine = app("[restore]\nrequire = [\"source:extra\"]\n");
    fs::write(machine.place.path("forget"), "").unwrap();
    machine.dedup(&["backup"]).ends(1).says(&["a restore requires"]);
    assert_eq!(machine.snapshots(), 0);
}

#[test]
fn an_exporter_may_replace_what_is_declared() {
    let machine = app("replaces_declared = true\n");
    machine.dedup(&["backup"]).ends(3);
    let account = machine.account("app");
    assert_eq!(
        (account["sections"].as_array().map(Vec::len), dumps(&machine).len()),
        (Some(0), 3),
        "{account}"
    );
}
