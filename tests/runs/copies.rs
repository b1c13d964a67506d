//! Copies instead of filesystem snapshots, where somebody configured a directory for them.

use super::app::Machine;
use crate::cli::support::{is_root, skip};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn machine() -> Machine {
    let machine = Machine::new();
    fs::create_dir(machine.place.path("copies")).unwrap();
    let config = machine.place.path("home/.config/dedup/dedup.toml");
    fs::write(config, format!("snapshot-copies = {:?}\n", machine.place.path("copies"))).unwrap();
    let hooks = format!("[hooks]\nbackup_post = {{ run = {} }}\n", machine.act("app-post"));
    machine.module("app", &format!("{}{hooks}", machine.service("web")));
    machine
}

fn copies(machine: &Machine) -> usize {
    fs::read_dir(machine.place.path("copies")).unwrap().count()
}

#[test]
fn a_copy_is_read_while_services_run_again() {
    let machine = machine();
    let summary = machine.dedup(&["backup", "--fs-snapshot", "require", "--json"]).ok().summary();
    assert_eq!(summary["from_filesystem_snapshot"], true);
    // They stand still while it is made: it is not of one moment by itself.
    assert_eq!(machine.events(), ["stop-web", "app-post finish", "start-web"]);
    assert_eq!(copies(&machine), 0);
    fs::remove_file(machine.data("app").join("file")).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(fs::read_to_string(machine.data("app").join("file")).unwrap(), "what app has\n");
}

/// What services and hooks write until all stands still belongs to the moment that is copied.
#[test]
fn a_copy_is_of_the_moment_when_all_stands_still() {
    let machine = machine();
    let (text, flushed) =
        (fs::read_to_string(machine.manifest("app")).unwrap(), machine.data("app").join("flushed"));
    let script = format!("echo all >> {}", flushed.display());
    let hook = format!("[hooks]\nbackup_pre = {{ run = {:?} }}\n", ["sh", "-c", &script]);
    fs::write(machine.manifest("app"), text.replace("[hooks]\n", &hook)).unwrap();
    machine.dedup(&["backup", "--fs-snapshot", "require"]).ok();
    fs::remove_file(&flushed).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(fs::read_to_string(&flushed).unwrap(), "all\n");
}

#[test]
fn without_a_directory_for_them_none_is_made() {
    let machine = machine();
    fs::remove_file(machine.place.path("home/.config/dedup/dedup.toml")).unwrap();
    let summary = machine.dedup(&["backup", "--json"]).ok().summary();
    assert_eq!(summary["from_filesystem_snapshot"], false);
}

#[test]
fn a_directory_that_cannot_hold_a_copy_is_no_reason_to_fail() {
    let machine = machine();
    fs::remove_dir(machine.place.path("copies")).unwrap();
    let summary = machine.dedup(&["backup", "--json"]).ok().summary();
    assert_eq!(summary["from_filesystem_snapshot"], false);
    machine.dedup(&["backup", "--fs-snapshot", "require"]).ends(1).says(&["copies"]);
    machine.assert_as_before(&["web"]);
}

/// Whoever may write there could put something else in the place of a copy while it is read.
#[test]
fn a_directory_that_others_may_write_is_refused() {
    if !is_root() {
        return skip("only root has to distrust everybody else");
    }
    let machine = machine();
    fs::set_permissions(machine.place.path("copies"), PermissionsExt::from_mode(0o777)).unwrap();
    machine.dedup(&["backup"]).ends(2).says(&["copies"]);
    assert_eq!(machine.events(), Vec::<String>::new());
    machine.assert_as_before(&["web"]);
}

#[test]
fn a_copy_goes_with_a_run_that_is_killed() {
    let machine = machine();
    machine.fail("app-post", "kill");
    assert_eq!(machine.dedup(&["backup"]).code, 1);
    assert!(machine.fired("app-post"));
    machine.assert_as_before(&["web"]);
    assert_eq!(copies(&machine), 0);
}

/// A journal that is lost takes its filesystem snapshots with it; they are known by the log of their run.
#[test]
fn recover_finds_copies_that_no_journal_knows() {
    let machine = machine();
    machine.dedup(&["backup"]).ok();
    let log = fs::read_dir(machine.place.path("state/logs")).unwrap().next().unwrap().unwrap().path();
    let run = log.file_stem().unwrap().to_str().unwrap().to_owned();
    let ours = machine.place.path(format!("copies/.dedup-fs-{run}"));
    let foreign = machine.place.path("copies/.dedup-fs-20200101-000000-1");
    for place in [&ours, &foreign] {
        fs::create_dir_all(place.join("root/some")).unwrap();
    }
    let recovered = machine.dedup(&["recover", "--json"]).ok().says(&["not known here"]).json();
    assert_eq!(recovered["snapshots"][0]["place"], ours.to_str().unwrap());
    assert!(!ours.exists() && foreign.exists(), "somebody else may be reading it");
}
