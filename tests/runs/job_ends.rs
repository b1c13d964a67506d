//! What comes before and after the work of a job: its hooks, verification, retention, records, notifications.

use super::app::Machine;
use super::jobs::{USUAL, command, hooks, machine_with, newest, program, run, write};
use crate::cli::support::{finish, start, wait};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

const POINTS: [(&str, &str); 3] = [("before", ""), ("error", ""), ("after", "")];

/// A machine whose job has hooks of these points.
fn hooked(points: &[(&str, &str)], more: &str) -> Machine {
    let machine = machine_with("");
    write(&machine, "night", &format!("{more}{}", hooks(&machine, points)));
    machine
}

fn record(machine: &Machine) -> Value {
    newest(machine)["run_record"].clone()
}

#[test]
fn hooks_of_a_job_come_first_and_last() {
    let machine = hooked(&POINTS, "");
    run(&machine, &[]).ok();
    let expected = [&["job-before"], &USUAL[..], &["job-after finish"]].concat();
    assert_eq!(machine.events(), expected);
    // What ran after publication stands beside the snapshot.
    let record = record(&machine);
    assert_eq!(record["verdict"], "good");
    let names: Vec<_> = record["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hook| (hook["name"].as_str().unwrap(), hook["status"].as_i64().unwrap()))
        .collect();
    let act = machine.place.path("act");
    assert_eq!(names, [(&*format!("one: {}", act.display()), 0), (&*format!("after: {}", act.display()), 0)]);
    let spy = program(&machine, "spy", "env > env-seen");
    write(&machine, "night", &format!("[hooks]\nbefore = {{ run = [{spy:?}], env = {{ OWN = \"1\" }} }}\n"));
    run(&machine, &[]).ok();
    let seen = fs::read_to_string(machine.place.path("env-seen")).unwrap();
    for word in ["DEDUP_JOB=night\n", "DEDUP_OPERATION=backup\n", "DEDUP_RUN=", "OWN=1\n"] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    assert!(!seen.contains("KEY_FILE") && !seen.contains("DEDUP_MODULE"), "{seen}");
}

#[test]
fn step_6_a_hook_before_that_fails_ends_the_run_and_nothing_is_stopped() {
    let machine = hooked(&POINTS, "");
    machine.fail("job-before", "1");
    run(&machine, &[]).ends(1).says(&["the job's hook failed", "nothing was done"]);
    assert!(machine.fired("job-before"));
    assert_eq!(machine.events(), ["job-before", "job-error fail", "job-after fail"]);
    assert_eq!(machine.snapshots(), 0);
    machine.assert_as_before(&["db"]);
    let goes_on = [("before", ", on_error = \"continue\""), ("after", "")];
    write(&machine, "night", &hooks(&machine, &goes_on));
    run(&machine, &[]).ok().says(&["the job's hook failed"]);
    assert_eq!(machine.snapshots(), 1);
    // It has a limit of time, as hooks of modules have.
    write(&machine, "night", &hooks(&machine, &[("before", ", timeout = \"1s\"")]));
    machine.fail("job-before", "hang");
    run(&machine, &[]).ends(1).says(&["longer than 1s"]);
    assert_eq!(machine.snapshots(), 1);
}

/// Published-phase hooks come too late for the account: the status and the record tell.
#[test]
fn step_13_a_hook_after_publication_that_fails_is_told() {
    let machine = hooked(&POINTS, "");
    machine.fail("one-post-published", "7");
    run(&machine, &[]).ends(3).says(&["a hook after the work failed"]);
    assert!(machine.fired("one-post-published"));
    assert_eq!(machine.account("one")["state"], "complete");
    let record = record(&machine);
    assert_eq!((&record["verdict"], &record["hooks"][0]["status"]), (&"good".into(), &7.into()));
    assert!(record["text"].as_str().unwrap().contains("status 7"), "{record}");
    assert!(machine.events().ends_with(&["job-error fail".into(), "job-after fail".into()]));
    // The same without a job.
    machine.dedup(&["backup"]).ends(3);
    assert_eq!(self::record(&machine)["hooks"][0]["status"], 7);
    machine.heal("one-post-published");
    machine.dedup(&["backup"]).ok();
    assert_eq!(self::record(&machine)["hooks"][0]["status"], 0);
}

/// A hook of the application damages what was just published; only reading it again can tell.
#[test]
fn step_15_what_cannot_be_read_again_is_suspect() {
    let machine = machine_with("");
    let damage = program(
        &machine,
        "damage",
        "[ -e armed ] || exit 0\nfor pack in repo/packs/*/*; do chmod u+w $pack; dd if=/dev/zero of=$pack bs=1 seek=120 count=9 conv=notrunc status=none; done",
    );
    machine
        .module("two", &format!("[hooks]\nbackup_post = {{ run = [{damage:?}], phase = \"published\" }}\n"));
    let more = format!("[retain]\nlast = 1\n{}", hooks(&machine, &POINTS));
    for (verify, code) in [("sample", 6), ("all", 6), ("off", 0)] {
        let _ = fs::remove_file(machine.place.path("armed"));
        fs::remove_dir_all(machine.place.path("repo")).unwrap();
        machine.dedup(&["init", "-r", "repo", "--key-file", "key"]).ok();
        write(&machine, "night", &format!("verify = {verify:?}\n{more}"));
        let good = run(&machine, &["--json"]).ok().summary();
        let verified = good["record"]["notes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|note| note.as_str().unwrap().starts_with("verified: "));
        assert_eq!(verified, code == 6, "{good}");
        let first = newest(&machine)["id"].as_str().unwrap().to_owned();
        fs::write(machine.data("one").join("file"), format!("changed for {verify}\n")).unwrap();
        fs::write(machine.place.path("armed"), "").unwrap();
        machine.events();
        let bad = run(&machine, &[]).ends(code);
        assert_eq!(newest(&machine)["modules"].as_array().unwrap().len(), 2);
        if code == 0 {
            continue;
        }
        assert!(bad.err.contains("nothing is removed by the rules"), "{}", bad.err);
        assert!(bad.err.contains("packs/"), "the pack is named: {}", bad.err);
        assert_eq!(record(&machine)["verdict"], "suspect");
        assert!(machine.events().ends_with(&["job-error fail".into(), "job-after fail".into()]));
        let table = machine.dedup(&["snapshots"]).ok();
        assert!(table.out.contains("complete, suspect") && table.err.contains("damaged"), "{}", table.out);
        // `latest` is the one before, though its packs were hit as well.
        let listed = machine.dedup(&["ls", "latest", "-m", "one"]);
        assert!(listed.err.contains(&first[..8]), "{}", listed.err);
        assert!(listed.err.contains("suspect"), "{}", listed.err);
    }
}

#[test]
fn step_16_retention_follows_whole_runs_only() {
    let machine = machine_with("");
    machine.module("two", "");
    let said = |more: &str, code: i32| {
        write(&machine, "night", more);
        run(&machine, &[]).ends(code).err
    };
    let asked = |err: &str| err.contains("note: retention: ");
    let spared = |err: &str| err.contains("nothing is removed by the rules of the job");
    let err = said("", 0);
    assert!(!asked(&err) && !spared(&err), "no rules, nothing to say: {err}");
    let err = said("[retain]\nimmortal = true\n", 0);
    assert!(!asked(&err) && !spared(&err), "{err}");
    let err = said("[retain]\n", 0);
    assert!(err.contains("retention: 1 kept, 2 forgotten") && !spared(&err), "{err}");
    // An entry that could not be read does not keep it back; a module that failed does.
    fs::rename(machine.data("two"), machine.place.path("away")).unwrap();
    let err = said("[retain]\n", 3);
    assert!(asked(&err) && !spared(&err), "{err}");
    fs::rename(machine.place.path("away"), machine.data("two")).unwrap();
    machine.fail("one-pre-live", "1");
    let err = said("[retain]\n", 3);
    assert!(!asked(&err) && spared(&err), "{err}");
    assert_eq!(machine.snapshots(), 2, "that of the run that was spared, and the one before");
    machine.dedup(&["forget", "--undo"]).ok();
    assert_eq!(machine.snapshots(), 5, "until a prune nothing is lost");
}

#[test]
fn step_18_a_hook_at_the_end_that_fails_is_a_warning_unless_it_says_otherwise() {
    let machine = hooked(&POINTS, "");
    machine.fail("job-after", "9");
    run(&machine, &[]).ok().says(&["a hook at the end of the job failed"]);
    let hooks_of = |record: Value| record["hooks"].as_array().unwrap().last().unwrap()["status"].clone();
    assert_eq!(hooks_of(record(&machine)), 9);
    write(&machine, "night", &hooks(&machine, &[("after", ", on_error = \"fail\"")]));
    run(&machine, &[]).ends(3);
    machine.assert_as_before(&["db"]);
}

/// The guard knows of them from the journal.
#[test]
fn step_18_hooks_at_the_end_run_even_if_the_run_is_killed() {
    let machine = hooked(&POINTS, "");
    machine.fail("one-post-published", "kill");
    let killed = run(&machine, &[]);
    assert_eq!(killed.code, 1, "{}", killed.err);
    let events = machine.events();
    assert!(events.ends_with(&["job-error fail".into(), "job-after fail".into()]), "{events:?}");
    machine.assert_as_before(&["db"]);
}

/// A run that is cancelled lets hooks after the work come to their end: what the hooks before did must not stay.
#[test]
fn hooks_after_the_work_are_not_cut_short_by_a_cancelled_run() {
    let machine = machine_with("");
    let slow = |name: &str| program(&machine, name, &format!("sleep 1; echo {name} >> slow-ones"));
    let [module, job] = ["slow-module", "slow-job"].map(slow);
    let pre = machine.act("two-pre");
    machine.module("two", &format!("[hooks]\nbackup_pre = {{ run = {pre}, phase = \"live\" }}\nbackup_post = {{ run = [{module:?}], phase = \"live\" }}\n"));
    write(&machine, "night", &format!("[hooks]\nafter = {{ run = [{job:?}] }}\n"));
    machine.fail("two-pre", "hang");
    let child = start(command(&machine, &[]));
    let begun = Instant::now();
    while !machine.fired("two-pre") {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait(child, b"").ends(130);
    assert_eq!(fs::read_to_string(machine.place.path("slow-ones")).unwrap(), "slow-module\nslow-job\n");
    machine.assert_as_before(&["db"]);
}

/// A machine with a program `tell` that keeps what it is told, and a `sendmail` that does too.
fn told_machine(on: &str, more: &str) -> Machine {
    let machine = machine_with("");
    let tell = program(
        &machine,
        "tell",
        "cat > told\necho \"$DEDUP_JOB $DEDUP_STATE $DEDUP_SUBJECT\" >> told-how\n[ ! -e refuse ]",
    );
    program(&machine, "bin/sendmail", "echo \"$@\" >> mailed-to\ncat > mail\n[ ! -e refuse ]");
    write(
        &machine,
        "night",
        &format!(
            "[notify]\non = {on:?}\nto = [\"root\", \"ann@example.org\"]\ncommand = [{tell:?}]\nlog = \"attach\"\n{more}"
        ),
    );
    machine
}

fn told(machine: &Machine, more: &[&str]) -> (crate::cli::support::Run, Option<String>) {
    let _ = fs::remove_file(machine.place.path("told"));
    let mut command = command(machine, more);
    command.env("PATH", format!("{}:/usr/bin:/bin", machine.place.path("bin").display()));
    let run = finish(command, b"");
    (run, fs::read_to_string(machine.place.path("told")).ok())
}

#[test]
fn step_18_somebody_is_told_after_the_ends_that_the_job_names() {
    for (on, expected) in [("success", [true, false]), ("failure", [false, true]), ("both", [true, true])] {
        let machine = told_machine(on, "");
        machine.module("two", "");
        let (good, first) = told(&machine, &[]);
        good.ok();
        machine.fail("one-pre-live", "1");
        let (bad, second) = told(&machine, &[]);
        bad.ends(3);
        assert_eq!([first.is_some(), second.is_some()], expected, "{on}");
        if let Some(text) = second {
            assert!(text.contains("is partial (status 3)") && text.contains("its hook failed"), "{text}");
            let mail = fs::read_to_string(machine.place.path("mail")).unwrap();
            assert!(mail.starts_with("To: root,\n ann@example.org\nSubject: dedup: job night on "), "{mail}");
            assert!(
                mail.contains("filename=\"dedup.log\"") && mail.contains("left out: its hook failed"),
                "{mail}"
            );
            let to = fs::read_to_string(machine.place.path("mailed-to")).unwrap();
            assert_eq!(to.lines().last(), Some("-i root ann@example.org"));
            let how = fs::read_to_string(machine.place.path("told-how")).unwrap();
            let last = how.lines().last().unwrap();
            assert!(
                last.starts_with("night fail dedup: job night on ") && last.ends_with(": partial"),
                "{how}"
            );
        }
    }
}

#[test]
fn step_18_a_notification_never_changes_the_result() {
    let machine = told_machine("both", "");
    fs::write(machine.place.path("refuse"), "").unwrap();
    let (run, text) = told(&machine, &[]);
    run.ok().says(&["a notification failed", "sendmail"]);
    assert!(text.is_some());
    assert!(record(&machine)["text"].as_str().unwrap().contains("a notification failed"));
    fs::remove_file(machine.place.path("bin/sendmail")).unwrap();
    fs::remove_file(machine.place.path("tell")).unwrap();
    let (run, _) = told(&machine, &[]);
    run.ok().says(&["a notification failed"]);
    // In a dry run nobody is told.
    let (run, text) = told(&machine, &["--dry-run"]);
    assert!(!run.ok().err.contains("notification") && text.is_none());
}

/// The repository is not there, or another run goes on: what keeps a job from beginning is told as well.
#[test]
fn step_18_a_run_that_cannot_begin_is_told() {
    let machine = told_machine("failure", "[[storage]]\naddress = \"/nowhere/at/all\"\n");
    let (run, text) = told(&machine, &[]);
    run.ends(10);
    let text = text.expect("somebody is told");
    assert!(text.contains("no repository there (status 10)") && text.contains("/nowhere/at/all"), "{text}");
    assert_eq!(machine.events(), Vec::<String>::new());
    let machine = told_machine("failure", "");
    machine.fail("one-post-published", "kill");
    let (run, text) = told(&machine, &[]);
    run.ends(1);
    let text = text.expect("somebody is told of a killed run too");
    assert!(text.contains("signal 9"), "{text}");
}
