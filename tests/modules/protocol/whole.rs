//! A module by the SDK for Python, from its export to its import, and back when that fails.

use super::{program, sdk};
use crate::runs::app::Machine;
use std::fs;

/// A machine with the module, its files in place.
fn queue() -> Machine {
    let machine = Machine::new();
    let path = program(&machine, "ringqueue.py", include_str!("ringqueue.py"));
    let (home, sdk) = (machine.place.path("data"), sdk());
    let command = format!(
        "command = [\"python3\", {path:?}, {home:?}]\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n"
    );
    machine.module(
        "queue",
        &format!(
            "[exporter]\n{command}[importer]\n{command}[paths]\nELSEWHERE = {:?}\n",
            home.join("elsewhere")
        ),
    );
    fs::create_dir_all(home.join("elsewhere/sounds/deep")).unwrap();
    fs::write(home.join("elsewhere/greeting.wav"), "hello\n").unwrap();
    fs::write(home.join("elsewhere/sounds/deep/a"), "a\n").unwrap();
    fs::write(home.join("setting"), "as it was\n").unwrap();
    machine
}

#[test]
fn what_is_exported_is_imported() {
    let machine = queue();
    machine.dedup(&["backup"]).ok();
    let account = machine.account("queue");
    assert_eq!(account["state"], "complete", "{account}");
    let dumps = account["dumps"].as_array().unwrap();
    let names: Vec<_> = dumps.iter().map(|dump| dump["name"].as_str().unwrap()).collect();
    assert_eq!(names, [".exporter", ".exporter-secrets", "astdb", "nothing", "queues", "state"]);
    assert!(!machine.place.path("state/scratch").join("left").exists());
    let home = machine.place.path("data");
    fs::remove_dir_all(home.join("elsewhere")).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    let got: serde_json::Value = serde_json::from_slice(&fs::read(home.join("got.json")).unwrap()).unwrap();
    let configs = &got["configs"];
    assert_eq!(configs["big"], "1180591620717411303424");
    assert_eq!((&configs["raw"], &configs["empty"]), (&"b'\\x00\\xff'".into(), &"''".into()));
    assert_eq!(configs["list"], "[1.5, None, {'$k': True}]");
    assert_eq!(configs["token"], "'s3cr3t-token'");
    assert_eq!((&got["absent"][0], &got["rows"]), (&"music".into(), &60_000.into()));
    assert_eq!(got["tree"], serde_json::json!([[["CW", "601"], "ENABLED"]]));
    assert_eq!((&got["file"], &got["copy"]), (&"hello\n".into(), &"hello\n".into()));
    assert_eq!(got["begin"]["module_version"], "1");
    // SHA-256 of the 160,000 blocks, by Python itself.
    let state = "import hashlib\nb=hashlib.sha512(b'seed').digest()\nd=hashlib.sha256()\n\
        for _ in range(160000):\n d.update(b)\n b=hashlib.sha512(b).digest()\nprint(d.hexdigest())";
    let output = std::process::Command::new("/usr/bin/python3").args(["-c", state]).output().unwrap();
    assert_eq!(got["state"], String::from_utf8(output.stdout).unwrap().trim());
    assert_eq!(fs::read_to_string(home.join("elsewhere/sounds/deep/a")).unwrap(), "a\n");
    assert_eq!(fs::read_to_string(home.join("setting")).unwrap(), "imported\n");
    let spaces = machine.dedup(&["space", "list", "--json"]).ok().json();
    let ids: Vec<_> = spaces["spaces"].as_array().unwrap().iter().map(|space| &space["id"]).collect();
    assert_eq!(ids, ["queue.kept"], "none stays that is not persistent");
}

#[test]
fn an_import_that_fails_is_put_back_and_reverted() {
    let machine = queue();
    machine.dedup(&["backup"]).ok();
    let home = machine.place.path("data");
    fs::write(home.join("break"), "").unwrap();
    fs::write(home.join("elsewhere/greeting.wav"), "changed since\n").unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ends(7).says(&["broken on purpose"]);
    assert!(home.join("got.json").exists(), "the import got that far");
    assert_eq!(fs::read_to_string(home.join("setting")).unwrap(), "as it was\n");
    assert_eq!(fs::read_to_string(home.join("elsewhere/greeting.wav")).unwrap(), "changed since\n");
    assert_eq!(fs::read_to_string(home.join("reverted")).unwrap(), "yes\n");
    fs::remove_file(home.join("break")).unwrap();
    fs::write(home.join("no"), "").unwrap();
    fs::remove_file(home.join("got.json")).unwrap();
    let run = machine.dedup(&["restore", "latest", "--yes"]).says(&["not the time"]);
    assert_ne!(run.code, 0);
    assert!(!home.join("got.json").exists());
}

/// What an exporter named was in the account once, and a restore went by the alphabet.
#[test]
fn what_an_exporter_depends_on_is_restored_before_it() {
    let machine = Machine::new();
    let text = r#"
import os, sys
from dedup_module import Fail, Module, main
class Late(Module):
    name = sys.argv[1]
    def export(self, out):
        for module in sys.argv[3:]:
            out.depend(module, after=module == "c")
        out.config("key", self.name)
    def import_(self, source):
        with open(sys.argv[2], "a") as to:
            to.write(source.config("key") + " ")
main(Late)
"#;
    let path = program(&machine, "late.py", text);
    let (order, sdk) = (machine.place.path("order"), sdk());
    let declare = |module: &str, before: &[&str]| {
        let mut command = vec!["python3", path.to_str().unwrap(), module, order.to_str().unwrap()];
        command.extend(before);
        let command = format!(
            "command = {command:?}\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n"
        );
        machine.module(module, &format!("[exporter]\n{command}[importer]\n{command}"));
    };
    declare("a", &["d"]);
    declare("b", &["c"]);
    declare("c", &[]);
    declare("d", &["c"]);
    machine.dedup(&["backup"]).ok();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(fs::read_to_string(&order).unwrap(), "c b d a ");
    // In a circle, what manifests say is all there is.
    declare("c", &["a"]);
    machine.dedup(&["backup"]).ok();
    fs::remove_file(&order).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).says(&["in a circle", "is not considered"]);
    assert_eq!(fs::read_to_string(&order).unwrap(), "a b c d ");
}

#[test]
fn a_module_does_what_it_is_for_and_what_fails_is_put_back() {
    let machine = Machine::new();
    let text = r#"
import os, sys
from dedup_module import Fail, Module, main
def at(name):
    return os.path.join(sys.argv[1], name)
class Fix(Module):
    name = "fix"
    def run(self, source):
        source.getBackup().backupPath(at("conf"))
        source.getBackup("fix.kept", persistent=True).backupValue(source.begin["space"], "space")
        with open(at("conf"), "w") as to:
            to.write("mended")
        if os.path.exists(at("break")):
            raise Fail("broken on purpose", "setup")
        if os.path.exists(at("skip")):
            source.log("it is worse than before", "critical")
    def revert(self, source):
        with open(at("reverted"), "w") as to:
            to.write(source.begin["space"])
main(Fix)
"#;
    let (path, home, sdk) = (program(&machine, "fix.py", text), machine.place.path("data"), sdk());
    let command = format!(
        "command = [\"python3\", {path:?}, {home:?}]\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n"
    );
    machine.module("fix", &format!("[importer]\n{command}"));
    machine.module("plain", "");
    fs::write(home.join("conf"), "broken").unwrap();
    let conf = || fs::read_to_string(home.join("conf")).unwrap();
    for (cause, code, says) in [("break", 1, "broken on purpose"), ("skip", 2, "worse than before")] {
        fs::write(home.join(cause), "").unwrap();
        machine.dedup(&["space", "run", "fix"]).ends(code).says(&[says, "were put back"]);
        assert_eq!(
            (conf(), fs::read_to_string(home.join("reverted")).unwrap()),
            ("broken".into(), "fix".into())
        );
        let left = machine.dedup(&["space", "list", "--json"]).ok().json();
        assert_eq!(left["spaces"], serde_json::json!([]));
        fs::remove_file(home.join(cause)).unwrap();
        fs::remove_file(home.join("reverted")).unwrap();
    }
    machine.dedup(&["space", "run", "fix"]).ok();
    assert_eq!(conf(), "mended");
    assert!(!home.join("reverted").exists());
    let left = machine.dedup(&["space", "list", "--json"]).ok().json();
    assert_eq!((left["spaces"].as_array().unwrap().len(), &left["spaces"][0]["id"]), (1, &"fix.kept".into()));
    machine.dedup(&["space", "run", "nothing"]).says(&["no module nothing is declared"]);
    machine.dedup(&["space", "run", "plain"]).ends(2).says(&["no program of its own"]);
}

#[test]
fn rows_that_name_their_key_are_records() {
    let machine = Machine::new();
    let text = r#"
import json, os, sys
from dedup_module import Module, main
def at(name):
    return os.path.join(sys.argv[1], name)
class People(Module):
    name = "people"
    def export(self, out):
        with open(at("rows.json")) as held:
            rows = json.load(held)
        with out.records("people", ["id", "name", "more"], key=["id"]) as to:
            for row in reversed(rows):
                to.row(row)
    def import_(self, source):
        assert source.tables["people"]["keyed"] is True, source.tables
        with open(at("got.json"), "w") as to:
            json.dump(list(source.records("people")), to)
main(People)
"#;
    let (path, home, sdk) = (program(&machine, "people.py", text), machine.place.path("data"), sdk());
    let command = format!(
        "command = [\"python3\", {path:?}, {home:?}]\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n"
    );
    machine.module("people", &format!("[exporter]\n{command}[importer]\n{command}"));
    let row = |n: u64, name: &str| serde_json::json!([n, name, { "list": [n, null, 1.5], "a": "\n" }]);
    let mut rows: Vec<_> = (0..5000).map(|n| row(n, &format!("name {n} {}", "x".repeat(20)))).collect();
    let write = |rows: &[serde_json::Value]| {
        fs::write(home.join("rows.json"), serde_json::Value::from(rows).to_string()).unwrap();
    };
    write(&rows);
    machine.dedup(&["backup"]).ok();
    let old = machine.place.newest();
    machine.dedup(&["restore", "latest", "--yes", "--strict"]).ok();
    let got: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(home.join("got.json")).unwrap()).unwrap();
    assert_eq!(got.len(), 5000);
    for (n, got) in got.iter().enumerate() {
        let wanted = &rows[n];
        assert_eq!((&got["id"], &got["name"], &got["more"]), (&wanted[0], &wanted[1], &wanted[2]));
    }
    // A row that changed is one that differs.
    rows[4000] = row(4000, "another name");
    write(&rows);
    machine.dedup(&["backup"]).ok();
    let diff = machine.dedup(&["diff", &old, "latest", "-m", "people"]).ok();
    let changed: Vec<&str> = diff.out.lines().filter(|line| line.contains("source:people")).collect();
    assert_eq!(changed.len(), 1, "{}", diff.out);
    assert!(changed[0].contains("M source:people:people[4000]  name"), "{}", diff.out);
    // Single rows are nothing that a program of the module could be given: that is said, and nothing is done.
    fs::remove_file(home.join("got.json")).unwrap();
    let only = ["restore", "latest", "-m", "people", "--only", "source:people:people[4000]", "--yes"];
    machine.dedup(&only).ends(2).says(&["takes all of them or none", "dedup dump"]);
    assert!(!home.join("got.json").exists());
    // Two rows of one key are none that could be told apart: nothing of the export is kept.
    rows.push(row(7, "the same key"));
    write(&rows);
    machine.dedup(&["backup"]).ends(3).says(&["does not come after the one before it"]);
}
