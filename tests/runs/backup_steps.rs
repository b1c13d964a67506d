//! Every step of a backup run, made to fail: the numbers are those of `modules.md` 3.7.

use super::app::{Going, Machine};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A machine with two applications, each with a service, a lockdown and hooks at every point; `two` requires `one`.
pub fn two_apps() -> Machine {
    let machine = Machine::new();
    let hooks = |id: &str| {
        let hook = |point: &str, phase: &str| {
            format!("{{ run = {}, phase = {phase:?} }}", machine.act(&format!("{id}-{point}-{phase}")))
        };
        format!(
            "[hooks]\nbackup_pre = [{}, {}]\nbackup_post = [{}, {}, {}]\n",
            hook("pre", "live"),
            hook("pre", "stopped"),
            hook("post", "stopped"),
            hook("post", "live"),
            hook("post", "published"),
        )
    };
    let one = [machine.service("db"), machine.service("web"), machine.lockdown("one"), hooks("one")].concat();
    machine.module("one", &one);
    let two = [
        machine.service("jobs"),
        machine.lockdown("two"),
        hooks("two"),
        "[depends]\nrequires = [\"one\"]\n".to_owned(),
    ];
    machine.module("two", &two.concat());
    machine.events();
    machine
}

pub const UP: [&str; 3] = ["db", "jobs", "web"];

/// What a run without any fault does, in order.
pub const USUAL: [&str; 20] = [
    "one-pre-live",
    "two-pre-live",
    "lock-one",
    "lock-two",
    "stop-jobs",
    "stop-web",
    "stop-db",
    "one-pre-stopped",
    "two-pre-stopped",
    "one-post-stopped finish",
    "two-post-stopped finish",
    "start-db",
    "start-web",
    "start-jobs",
    "unlock-two",
    "unlock-one",
    "one-post-live finish",
    "two-post-live finish",
    "one-post-published finish",
    "two-post-published finish",
];

pub fn state(machine: &Machine, module: &str) -> String {
    machine.account(module)["state"].as_str().unwrap_or("absent").to_owned()
}

#[test]
fn everything_happens_in_its_order() {
    let machine = two_apps();
    machine.dedup(&["backup"]).ok();
    assert_eq!(machine.events(), USUAL);
    machine.assert_as_before(&UP);
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("complete".into(), "complete".into()));
}

/// FreedomBox starts what was off; so do many others.
#[test]
fn what_was_off_stays_off() {
    let machine = two_apps();
    fs::remove_file(machine.place.path("up/web")).unwrap();
    machine.dedup(&["backup"]).ok();
    let events = machine.events();
    assert!(!events.iter().any(|event| event.ends_with("-web")), "{events:?}");
    machine.assert_as_before(&["db", "jobs"]);
}

#[test]
fn step_1_a_broken_manifest_named_is_refused_and_nothing_is_touched() {
    let machine = two_apps();
    fs::write(machine.manifest("one"), "schema = 1\n[module]\nid = \"one\"\nidd = 1\n").unwrap();
    machine.dedup(&["backup", "-m", "one"]).ends(2).says(&["one.toml:4:1"]);
    assert_eq!(machine.events(), Vec::<String>::new());
    // Among all, it hides no other, and the run does not pass for whole.
    machine.dedup(&["backup"]).ends(3).says(&["one"]);
    assert_eq!(state(&machine, "two"), "complete");
}

#[test]
fn step_2_a_second_run_is_told_that_one_goes_on() {
    let machine = two_apps();
    let first = Going::start(&machine, &["backup"], "one-pre-live");
    machine.dedup(&["backup"]).ends(5).says(&["another run"]);
    let run = first.stop();
    assert_eq!(run.code, 130, "{}", run.err);
    machine.assert_as_before(&UP);
    assert_eq!(machine.snapshots(), 0);
}

#[test]
fn step_4_a_module_that_is_not_there_and_a_circle_are_refused() {
    let machine = two_apps();
    machine.dedup(&["backup", "-m", "tow"]).ends(2).says(&["tow", "two"]);
    machine.module("three", "[depends]\nrequires = [\"four\"]\n");
    machine.module("four", "[depends]\nafter = [\"three\"]\n");
    machine.dedup(&["backup"]).ends(2).says(&["circle", "three", "four"]);
    assert_eq!(machine.events(), Vec::<String>::new());
}

#[test]
fn step_7_a_live_hook_that_fails_leaves_its_module_out() {
    let machine = two_apps();
    machine.fail("one-pre-live", "1");
    machine.dedup(&["backup"]).ends(3);
    assert!(machine.fired("one-pre-live"));
    let events = machine.events();
    assert!(!events.iter().any(|event| event == "stop-db" || event == "lock-one"), "{events:?}");
    let posts: Vec<_> = events.iter().filter(|event| event.starts_with("one-post")).collect();
    assert_eq!(posts, ["one-post-stopped fail", "one-post-live fail", "one-post-published fail"]);
    machine.assert_as_before(&UP);
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("failed".into(), "complete".into()));
}

#[test]
fn step_7_status_75_leaves_a_module_out_by_choice() {
    let machine = two_apps();
    machine.fail("two-pre-live", "75");
    machine.dedup(&["backup"]).ends(3);
    machine.assert_as_before(&UP);
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("complete".into(), "skipped".into()));
}

#[test]
fn step_9_a_lockdown_that_fails_is_a_warning_unless_it_is_required() {
    for (required, expected) in [(false, "warned"), (true, "failed")] {
        let machine = two_apps();
        if required {
            let path = machine.manifest("one");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replace("[lockdown]\n", "[lockdown]\nrequired = true\n")).unwrap();
        }
        machine.fail("lock-one", "1");
        machine.dedup(&["backup"]).ends(3);
        assert!(machine.fired("lock-one"));
        machine.assert_as_before(&UP);
        assert_eq!((&*state(&machine, "one"), &*state(&machine, "two")), (expected, "complete"));
    }
}

/// In FreedomBox this leaves everything locked and down.
#[test]
fn step_9_a_service_that_does_not_stop_fails_its_module_and_all_others_come_back() {
    for (word, expected) in [("fail", "failed"), ("continue", "warned")] {
        let machine = two_apps();
        let path = machine.manifest("one");
        let text = fs::read_to_string(&path).unwrap();
        let own = format!("name = \"web\"\non_stop_error = {word:?}\n");
        fs::write(path, text.replace("name = \"web\"\n", &own)).unwrap();
        machine.fail("stop-web", "1");
        machine.dedup(&["backup"]).ends(3);
        assert!(machine.fired("stop-web"));
        machine.assert_as_before(&UP);
        assert_eq!((&*state(&machine, "one"), &*state(&machine, "two")), (expected, "complete"));
    }
}

#[test]
fn step_9_a_stopped_hook_that_fails_leaves_its_module_out() {
    let machine = two_apps();
    machine.fail("one-pre-stopped", "1");
    machine.dedup(&["backup"]).ends(3);
    let events = machine.events();
    assert!(events.contains(&"one-post-stopped fail".into()), "{events:?}");
    machine.assert_as_before(&UP);
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("failed".into(), "complete".into()));
}

#[test]
fn step_10_what_is_absent_is_told() {
    let machine = two_apps();
    fs::remove_dir_all(machine.data("one")).unwrap();
    machine.dedup(&["backup"]).ends(3);
    machine.assert_as_before(&UP);
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("warned".into(), "complete".into()));
    assert!(machine.account("one")["reason"].as_str().unwrap().contains("is not there"));
}

#[test]
fn step_10_a_repository_that_takes_nothing_ends_the_run_and_everything_comes_back() {
    let machine = two_apps();
    let packs = machine.place.path("repo/packs");
    fs::rename(&packs, machine.place.path("repo/elsewhere")).unwrap();
    fs::write(&packs, "no directory").unwrap();
    let run = machine.dedup(&["backup"]);
    assert!(run.code != 0 && run.code != 3, "{}: {}", run.code, run.err);
    let events = machine.events();
    fs::remove_file(&packs).unwrap();
    fs::rename(machine.place.path("repo/elsewhere"), &packs).unwrap();
    machine.assert_as_before(&UP);
    assert_eq!(machine.snapshots(), 0);
    if events.contains(&"one-pre-live".into()) {
        assert!(events.contains(&"one-post-published fail".into()), "{events:?}");
    }
}

#[test]
fn step_11_a_service_that_does_not_start_is_an_error_and_the_others_start() {
    let machine = two_apps();
    machine.fail("start-db", "1");
    let run = machine.dedup(&["backup"]).ends(3).says(&["db"]);
    assert!(machine.fired("start-db"), "{}", run.err);
    let events = machine.events();
    assert!(events.iter().filter(|event| *event == "start-db").count() >= 2, "tried once more: {events:?}");
    assert_eq!(machine.up(), ["jobs", "web"]);
    assert_eq!(machine.locked(), Vec::<String>::new());
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("partial".into(), "complete".into()));
    // What could not be brought back is not forgotten.
    assert_eq!(machine.journals().len(), 1);
    machine.heal("start-db");
    machine.dedup(&["recover"]).ok();
    machine.assert_as_before(&UP);
}

#[test]
fn step_11_a_hook_after_the_work_that_fails_does_not_keep_services_down() {
    let machine = two_apps();
    machine.fail("one-post-stopped", "1");
    machine.dedup(&["backup"]).ends(3);
    machine.assert_as_before(&UP);
    assert_eq!(state(&machine, "one"), "warned");
}

#[test]
fn step_12_a_live_hook_after_the_work_that_fails_keeps_the_data() {
    let machine = two_apps();
    machine.fail("two-post-live", "1");
    machine.dedup(&["backup"]).ends(3);
    machine.assert_as_before(&UP);
    assert_eq!((state(&machine, "one"), state(&machine, "two")), ("complete".into(), "warned".into()));
}

#[test]
fn step_13_if_every_module_failed_nothing_is_published() {
    let machine = two_apps();
    machine.fail("one-pre-live", "1");
    machine.fail("two-pre-stopped", "1");
    machine.dedup(&["backup"]).ends(1).says(&["nothing was published"]);
    machine.assert_as_before(&UP);
    assert_eq!(machine.snapshots(), 0);
    let events = machine.events();
    assert!(events.contains(&"one-post-published fail".into()), "{events:?}");
}

#[test]
fn a_hook_gets_no_passphrase_and_no_terminal() {
    let machine = two_apps();
    let spy = machine.place.path("spy");
    fs::write(&spy, "#!/bin/sh\nenv > env-seen\ncat > stdin-seen\n").unwrap();
    fs::set_permissions(&spy, PermissionsExt::from_mode(0o755)).unwrap();
    let hook =
        format!("[hooks]\nbackup_pre = {{ run = [{spy:?}], cwd = {:?} }}\n", machine.place.path("data"));
    machine.module("spied", &hook);
    let mut command = machine.command(&["backup", "-m", "spied"]);
    command.env("SECRET_THING", "hunter2");
    crate::cli::support::finish(command, b"typed").ok();
    let seen = fs::read_to_string(machine.place.path("data/env-seen")).unwrap();
    assert!(seen.contains("DEDUP_MODULE=spied") && seen.contains("DEDUP_OPERATION=backup"), "{seen}");
    assert!(
        !seen.contains("hunter2") && !seen.contains("SECRET_THING") && !seen.contains("KEY_FILE"),
        "{seen}"
    );
    assert_eq!(fs::read(machine.place.path("data/stdin-seen")).unwrap(), b"");
}

/// What cannot be done is told as failed: an account that passes over it would be a lie. This exporter does not speak
/// the protocol.
#[test]
fn what_is_declared_and_cannot_be_done_makes_its_module_partial() {
    let machine = Machine::new();
    let exporter = format!("[exporter]\ncommand = {}\n", machine.act("export"));
    machine.module("one", &format!("[settings]\nkeys = [\"a\"]\n{exporter}"));
    let path = machine.manifest("one");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("version = ", "platform = \"some\"\nversion = ")).unwrap();
    machine.dedup(&["backup"]).ends(3);
    assert_eq!(state(&machine, "one"), "partial");
    let reason = machine.account("one")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("settings") && reason.contains("exporter"), "{reason}");
    assert_eq!(machine.events(), ["export"]);
}

/// A dump that fails voids that dump: the module is partial, or has failed if a restore requires it.
#[test]
fn step_10_a_source_that_fails_is_told() {
    for (required, expected) in [(false, "partial"), (true, "failed")] {
        let machine = two_apps();
        let path = machine.manifest("one");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str(&format!(
            "[[source]]\nname = \"out\"\ndriver = \"command\"\ndump = {}\n",
            machine.act("one-dump")
        ));
        if required {
            text.push_str("[restore]\nrequire = [\"source:out\"]\n");
        }
        fs::write(path, text).unwrap();
        machine.fail("one-dump", "1");
        machine.dedup(&["backup"]).ends(3);
        assert!(machine.fired("one-dump"));
        machine.assert_as_before(&UP);
        assert_eq!((&*state(&machine, "one"), &*state(&machine, "two")), (expected, "complete"));
    }
}

/// Once only what fits into the reason of the module was told.
#[test]
fn each_item_that_failed_is_told_as_far_as_that_is_not_too_much() {
    let machine = Machine::new();
    let dump = machine.act("fails");
    let source = |n| format!("[[source]]\nname = \"s{n}\"\ndriver = \"command\"\ndump = {dump}\n");
    machine.module("one", &(100..200).map(source).collect::<String>());
    machine.fail("fails", "1");
    let run = machine.dedup(&["backup"]).ends(3);
    let run =
        run.says(&["source:s100: ", "source:s119: ", "more items failed"]).shows(&["source:s130: failed"]);
    assert!(!run.err.contains("source:s120: "), "{}", run.err);
    assert!(run.out.contains("more; `dedup ls --parts` lists them"), "{}", run.out);
    let summary = machine.dedup(&["backup", "--json"]).ends(3).summary();
    let items = summary["modules"][0]["items"].as_array().unwrap();
    assert_eq!(items.iter().filter(|item| item["outcome"] == "failed").count(), 100);
}
