//! Copies of what a job stores into its further storages (step 14).

use super::app::Machine;
use super::jobs::{machine_with, newest, run, write};
use serde_json::Value;
use std::fs;

/// A machine whose job has the repository, and two further storages that have keys of their own.
fn machine() -> Machine {
    let machine = machine_with("");
    for name in ["near", "far"] {
        machine.dedup(&["init", "-r", name, "--key-file", &format!("{name}.key")]).ok();
    }
    let path = |name: &str| machine.place.path(name).display().to_string();
    let further = |name: &str, require: bool| {
        let (address, key) = (path(name), path(&format!("{name}.key")));
        format!("[[storage]]\naddress = {address:?}\nrequire = {require}\nkey_file = {key:?}\n")
    };
    let text = format!("[[storage]]\naddress = {:?}\n", path("repo"))
        + &further("near", true)
        + &further("far", false);
    write(&machine, "night", &text);
    machine
}

fn listed(machine: &Machine, name: &str) -> Vec<Value> {
    let key = format!("{name}.key");
    let list = machine.dedup(&["snapshots", "-r", name, "--key-file", &key, "--json"]).ok().json();
    list["snapshots"].as_array().unwrap().clone()
}

#[test]
fn step_14_each_storage_gets_a_copy_that_restores() {
    let machine = machine();
    let told = run(&machine, &["--json"]).ok().summary();
    assert_eq!(told["record"]["verdict"], "good");
    for name in ["near", "far"] {
        let copies = listed(&machine, name);
        assert_eq!(copies.len(), 1);
        assert_eq!(copies[0]["copy_of"]["snapshot_id"], told["snapshot_id"]);
        assert_eq!(copies[0]["tags"], newest(&machine)["tags"]);
        fs::remove_file(machine.data("one").join("file")).unwrap();
        let key = format!("{name}.key");
        machine.dedup(&["restore", "latest", "-r", name, "--key-file", &key, "-m", "one", "--yes"]).ok();
        assert_eq!(fs::read_to_string(machine.data("one").join("file")).unwrap(), "what one has\n");
        machine.dedup(&["check", "-r", name, "--key-file", &key, "--read-data"]).ok();
    }
}

/// What could not be copied is owed, and the next run makes good for all that is.
#[test]
fn step_14_what_is_owed_is_copied_by_a_later_run() {
    let machine = machine();
    let (far, away) = (machine.place.path("far"), machine.place.path("away"));
    fs::rename(&far, &away).unwrap();
    for _ in 0..2 {
        let told = run(&machine, &["--json"]).ok().summary();
        assert_eq!(told["record"]["verdict"], "owed", "it is not required");
    }
    assert_eq!(listed(&machine, "near").len(), 2);
    fs::rename(&away, &far).unwrap();
    let told = run(&machine, &["--json"]).ok().summary();
    assert_eq!(told["record"]["verdict"], "good");
    assert_eq!(listed(&machine, "far").len(), 3);
    let list = machine.dedup(&["snapshots", "--json"]).ok().json();
    let verdicts: Vec<&Value> =
        list["snapshots"].as_array().unwrap().iter().map(|one| &one["run_record"]["verdict"]).collect();
    assert_eq!(verdicts, ["good", "good", "good"], "nobody is owed anything any more");
    // A storage that is required and cannot be written to: the run is partial, and nothing is removed by rules.
    fs::remove_file(machine.place.path("near/config")).unwrap();
    fs::create_dir(machine.place.path("near/config")).unwrap();
    let failed = run(&machine, &[]);
    assert!(failed.code != 0 && failed.err.contains("near"), "{} {}", failed.code, failed.err);
}

/// A storage of keys that nobody gave is never taken for copied.
#[test]
fn step_14_a_wrong_key_is_told() {
    let machine = machine();
    fs::copy(machine.place.path("key"), machine.place.path("far.key")).unwrap();
    let told = run(&machine, &["--json"]).ok();
    assert_eq!(told.summary()["record"]["verdict"], "owed");
    let owed = told.summary()["record"]["owed"][0].as_str().unwrap().to_owned();
    assert!(owed.contains("far"), "{owed}");
}
