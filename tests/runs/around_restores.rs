//! What a restore run does before and after its work: which snapshot, one run at a time, what is kept, what is told.

use super::app::Going;
use super::restore_steps::{database, wrecked};
use std::fs;

#[test]
fn step_r1_a_snapshot_that_is_not_there_is_refused() {
    let world = wrecked(&[]);
    world.machine.dedup(&["restore", "0123abcd", "--yes"]).ends(1).says(&["0123abcd"]);
    world.machine.dedup(&["restore", "newest", "--yes"]).ends(2).says(&["newest"]);
    assert_eq!(world.machine.events(), Vec::<String>::new());
    world.assert_untouched("one");
}

/// What lacks a part is not what somebody means who asks for the latest backup.
#[test]
fn step_r1_latest_passes_over_what_is_partial_and_says_so() {
    let world = wrecked(&[]);
    let path = world.machine.manifest("two");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}[exporter]\ncommand = {}\n", world.machine.act("export"))).unwrap();
    world.machine.dedup(&["backup"]).ends(3);
    fs::write(&path, text).unwrap();
    let partial = world.machine.place.newest();
    world.restore().ok().says(&[&partial[..8], "not complete"]);
    world.assert_restored("one");
    world.assert_restored("two");
    world.assert_tidy();
}

#[test]
fn step_r2_a_second_restore_is_told_that_one_goes_on() {
    let world = wrecked(&[]);
    let first = Going::start(&world.machine, &["restore", "latest", "--yes"], "one-pre-live");
    world.restore().ends(5).says(&["another run"]);
    world.machine.dedup(&["backup"]).ends(5).says(&["another run"]);
    let run = first.stop();
    assert_eq!(run.code, 130, "{}", run.err);
    world.assert_untouched("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

/// The known systems delete, and then see whether what comes instead is any good.
#[test]
fn step_r12_what_is_moved_away_before_comes_back_if_the_module_fails() {
    for fails in [false, true] {
        let world = wrecked(&[]);
        let cache = world.machine.data("one").join("cache");
        fs::create_dir(&cache).unwrap();
        fs::write(cache.join("entry"), "somebody's").unwrap();
        let path = world.machine.manifest("one");
        let mut text = fs::read_to_string(&path).unwrap();
        if fails {
            let (here, elsewhere) = (database(&world.machine, "one"), world.machine.place.path("no/such.db"));
            text = text.replace(&format!("path = {here:?}"), &format!("path = {elsewhere:?}"));
        }
        fs::write(&path, format!("{text}[restore]\ndelete_before = [{cache:?}]\n")).unwrap();
        let run = world.restore();
        if fails {
            run.ends(7).says(&["one", "rolled back"]);
            assert_eq!(fs::read_to_string(cache.join("entry")).unwrap(), "somebody's");
            fs::remove_dir_all(&cache).unwrap();
            world.assert_untouched("one");
        } else {
            run.ok();
            assert!(!cache.exists());
            world.assert_restored("one");
        }
        world.assert_tidy();
    }
}

#[test]
fn step_r16_nothing_is_kept_of_a_restore_that_stands() {
    let world = wrecked(&[]);
    world.restore().ok();
    world.assert_tidy();
    let beside = fs::read_dir(world.machine.place.path("")).unwrap();
    let beside: Vec<_> = beside
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".db"))
        .collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
}

#[test]
fn step_r17_how_a_restore_ended_is_reported_and_kept() {
    let world = wrecked(&[]);
    world.machine.fail("two-check", "1");
    let run = world.machine.dedup(&["restore", "latest", "--yes", "--json"]).ends(3);
    assert!(world.machine.fired("two-check"));
    let summary = run.summary();
    let ends: Vec<_> =
        summary["modules"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
    assert_eq!(ends, ["restored", "untouched"]);
    let log = world.machine.dedup(&["log", "latest", "--json"]).ok().json();
    assert_eq!((&log["operation"], &log["exit_code"]), (&"restore".into(), &3.into()), "{log}");
    assert!(log.to_string().contains("says no"), "{log}");
    // Nobody holds the lock any more.
    world.machine.heal("two-check");
    world.restore().ok();
    world.assert_restored("two");
    world.assert_tidy();
}
