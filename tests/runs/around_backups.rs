//! What a backup run does before and after its work: dead runs, filesystem snapshots, leftovers.

use super::app::{Going, Machine};
use super::backup_steps::{UP, USUAL, state, two_apps};
use crate::cli::support::wait;
use rustix::process::Signal;
use std::fs;

/// Leaves what a machine leaves that loses its power while everything stands still.
pub fn die_at(machine: &Machine, name: &str) {
    let going = Going::start(machine, &["backup"], name);
    going.signal(Signal::KILL);
    going.into_child().wait().unwrap();
    assert_eq!(machine.up(), Vec::<String>::new(), "everything stands still");
    assert_eq!(machine.locked(), ["one", "two"]);
    machine.events();
}

/// Once the second interruption ended the run's process and its guard let that pass, so everything stood still until
/// the next run.
#[test]
fn a_second_interruption_leaves_nothing_standing_still() {
    let machine = two_apps();
    let going = Going::start(&machine, &["backup"], "two-pre-stopped");
    machine.fail("start-web", "slow");
    going.signal(Signal::INT);
    machine.await_fault("start-web");
    assert_eq!(machine.up(), ["db"]);
    going.signal(Signal::INT);
    wait(going.into_child(), b"").ends(130).says(&["start jobs", "users of one in again"]);
    machine.assert_as_before(&UP);
    assert_eq!(machine.snapshots(), 0);
}

#[test]
fn an_interruption_is_nobodys_fault_and_said_once() {
    let machine = two_apps();
    for hook in ["one-pre-live", "two-pre-stopped"] {
        let run = Going::start(&machine, &["backup", "-m", "two"], hook).stop().ends(130);
        assert_eq!(run.err.matches("it was cancelled").count(), 1, "{}", run.err);
        assert!(!run.err.contains("failed,") && !run.err.contains("fault of dedup"), "{}", run.err);
        machine.assert_as_before(&UP);
    }
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
