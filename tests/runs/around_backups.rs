//! What a backup run does before and after its work: dead runs, filesystem snapshots, leftovers.

use super::app::{Going, Machine};
use super::backup_steps::{UP, USUAL, state, two_apps};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// Leaves what a machine leaves that loses its power while everything stands still.
pub fn die_at(machine: &Machine, name: &str) {
    let mut guard = Going::start(machine, &["backup"], name).into_child();
    let children = format!("/proc/{0}/task/{0}/children", guard.id());
    let children = fs::read_to_string(children).unwrap();
    for number in std::iter::once(guard.id()).chain(children.split(' ').filter_map(|n| n.parse().ok())) {
        let pid = Pid::from_raw(number.cast_signed()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
    guard.wait().unwrap();
    assert_eq!(machine.up(), Vec::<String>::new(), "everything stands still");
    assert_eq!(machine.locked(), ["one", "two"]);
    machine.events();
}

#[test]
fn step_3_what_a_dead_run_left_comes_back_before_anything_else() {
    let machine = two_apps();
    die_at(&machine, "two-pre-stopped");
    machine.dedup(&["backup"]).ok().says(&["died", "start db"]);
    let events = machine.events();
    let begin = events.iter().position(|event| event == USUAL[0]).expect("the run");
    let undone: Vec<_> = events[..begin].iter().filter(|event| !event.contains("-post-")).collect();
    assert_eq!(undone, ["start-db", "start-web", "start-jobs", "unlock-two", "unlock-one"]);
    assert_eq!(events[begin..], USUAL);
    machine.assert_as_before(&UP);
}

#[test]
fn step_3_a_run_is_refused_while_something_stands_still_that_cannot_be_brought_back() {
    let machine = two_apps();
    die_at(&machine, "two-pre-stopped");
    machine.fail("start-db", "1");
    machine.dedup(&["backup"]).ends(2).says(&["cannot be undone", "dedup recover"]);
    assert!(machine.fired("start-db"));
    let events = machine.events();
    assert!(!events.contains(&USUAL[0].to_owned()), "{events:?}");
    assert_eq!(machine.snapshots(), 0);
    machine.heal("start-db");
    machine.dedup(&["recover"]).ok();
    machine.assert_as_before(&UP);
}

/// The repository is opened before anything is stopped.
#[test]
fn step_5_a_repository_that_is_not_there_is_told_before_anything_is_touched() {
    let machine = two_apps();
    let repo = machine.place.path("repo");
    let mut command = machine.command(&["backup"]);
    command
        .env("DEDUP_REPO", machine.place.path("elsewhere"))
        .env("DEDUP_KEY_FILE", machine.place.path("key"));
    let run = crate::cli::support::finish(command, b"");
    assert!(![0, 3].contains(&run.code), "{}", run.err);
    assert!(run.err.contains("elsewhere"), "{}", run.err);
    assert_eq!(machine.events(), Vec::<String>::new());
    assert!(repo.exists() && machine.journals().is_empty());
    machine.assert_as_before(&UP);
}

#[test]
fn step_8_a_filesystem_snapshot_that_is_required_and_cannot_be_had_ends_the_run() {
    let machine = two_apps();
    machine.dedup(&["backup", "--fs-snapshot", "require"]).ends(1).says(&["requires a filesystem snapshot"]);
    let events = machine.events();
    assert!(!events.iter().any(|event| event.starts_with("stop-")), "{events:?}");
    assert!(events.contains(&"one-post-live fail".into()), "{events:?}");
    assert_eq!(machine.snapshots(), 0);
    machine.assert_as_before(&UP);
    // Where it is only wanted, services stop instead.
    machine.dedup(&["backup", "--fs-snapshot", "auto"]).ok();
    assert!(machine.events().contains(&"stop-db".into()));
    machine.assert_as_before(&UP);
}

/// The undo list is carried out on every way out, by the guard after SIGKILL.
#[test]
fn step_11_a_run_that_is_killed_brings_everything_back() {
    let machine = two_apps();
    machine.fail("two-post-stopped", "kill");
    let run = machine.dedup(&["backup"]).ends(1);
    assert!(machine.fired("two-post-stopped"), "{}", run.err);
    machine.assert_as_before(&UP);
    assert_eq!(machine.snapshots(), 0);
    machine.dedup(&["backup"]).ok();
    assert_eq!(state(&machine, "two"), "complete");
}

#[test]
fn step_17_what_runs_left_aside_is_removed_by_the_next_one() {
    let machine = two_apps();
    let log = machine.place.path("state/aside/20200101-000000-1-one.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(&log, "dedup-aside-1\n").unwrap();
    machine.dedup(&["backup"]).ok();
    assert!(!log.exists());
    machine.assert_as_before(&UP);
    assert_eq!(machine.left_aside(), Vec::<std::path::PathBuf>::new());
}
