//! Jobs: what their files say is what runs do. The numbers are those of the steps of a backup.

use super::app::Machine;
use crate::cli::support::{PermissionsExt, Run, finish, is_root, skip, start, wait};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A machine with an application that has a service and hooks, and the job `night` with `more` in its file.
pub fn machine_with(more: &str) -> Machine {
    let machine = Machine::new();
    let hook = |point: &str, phase: &str| {
        format!("{{ run = {}, phase = {phase:?} }}", machine.act(&format!("one-{point}-{phase}")))
    };
    let hooks = format!(
        "[hooks]\nbackup_pre = [{}]\nbackup_post = [{}]\n",
        hook("pre", "live"),
        hook("post", "published")
    );
    machine.module("one", &(machine.service("db") + &hooks));
    write(&machine, "night", more);
    machine.events();
    machine
}

/// What a run of the application does.
pub const USUAL: [&str; 4] = ["one-pre-live", "stop-db", "start-db", "one-post-published finish"];

/// Writes the file of a job; `more` follows the id.
pub fn write(machine: &Machine, id: &str, more: &str) {
    let text = format!("schema = 1\n[job]\nid = {id:?}\n{more}");
    fs::write(machine.place.path(format!("jobs.d/{id}.toml")), text).unwrap();
}

/// Returns `dedup`, ready to run the job `night`.
pub fn command(machine: &Machine, more: &[&str]) -> Command {
    machine.command(&[&["backup", "--job", "night", "--jobs-dir", "jobs.d"], more].concat())
}

/// Runs the job `night`.
pub fn run(machine: &Machine, more: &[&str]) -> Run {
    finish(command(machine, more), b"")
}

/// Returns the newest snapshot of the repository as the program lists it.
pub fn newest(machine: &Machine) -> Value {
    let list = machine.dedup(&["snapshots", "--json"]).ok().json();
    list["snapshots"].as_array().unwrap().last().expect("a snapshot").clone()
}

/// Returns a table of hooks of a job, each a program of the tests.
pub fn hooks(machine: &Machine, points: &[(&str, &str)]) -> String {
    let hook = |(point, more): &(&str, &str)| {
        format!("{point} = {{ run = {}{more} }}\n", machine.act(&format!("job-{point}")))
    };
    format!("[hooks]\n{}", points.iter().map(hook).collect::<String>())
}

/// Makes a program in the place.
pub fn program(machine: &Machine, name: &str, text: &str) -> String {
    let path = machine.place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let base = machine.place.path("");
    fs::write(&path, format!("#!/bin/sh\ncd {} || exit 99\n{text}\n", base.display())).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn step_1_a_job_that_is_not_there_or_broken_is_refused_and_nothing_is_touched() {
    let machine = machine_with("");
    let refused = |wanted: &str, words: &[&str]| {
        machine.dedup(&["backup", "--job", wanted, "--jobs-dir", "jobs.d"]).ends(2).says(words);
    };
    refused("nigth", &["did you mean night?"]);
    refused("./jobs.d/other.toml", &["other.toml"]);
    refused("No id", &["no id of a job"]);
    write(&machine, "broken", "modulse = []\n");
    refused("broken", &["broken.toml:4:1", "modulse"]);
    refused("jobs.d/broken.toml", &["broken.toml:4:1"]);
    // A broken one bars no other; a module that is not there bars its job.
    write(&machine, "other", "modules = [\"tow\"]\n");
    refused("other", &["there is no module tow"]);
    machine.dedup(&["backup", "--job", "night", "one"]).ends(2);
    assert_eq!(machine.events(), Vec::<String>::new());
    assert_eq!(machine.snapshots(), 0);
    // The same by its file, and from the user's directory.
    machine.dedup(&["backup", "--job", "./jobs.d/night.toml"]).ok();
    let users = machine.place.path("home/.config/dedup/jobs.d");
    fs::create_dir_all(&users).unwrap();
    fs::copy(machine.place.path("jobs.d/night.toml"), users.join("night.toml")).unwrap();
    machine.dedup(&["backup", "--job", "night"]).ok();
    assert_eq!(machine.snapshots(), 2);
}

#[test]
fn step_1_a_job_that_others_could_have_written_is_refused() {
    if !is_root() {
        return skip("only root can give files to another user");
    }
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    let machine = machine_with("");
    let text = fs::read_to_string(machine.place.path("jobs.d/night.toml")).unwrap();
    program(&machine, "theirs", "touch trace");
    give(&machine.place.path("theirs"));
    let theirs = machine.place.path("theirs");
    for more in [
        format!("[hooks]\nbefore = {{ run = [{theirs:?}] }}\n"),
        format!("[hooks]\nafter = {{ run = [\"/bin/sh\", {theirs:?}] }}\n"),
        format!("[notify]\non = \"both\"\ncommand = [{theirs:?}]\n"),
    ] {
        fs::write(machine.place.path("jobs.d/night.toml"), text.clone() + &more).unwrap();
        run(&machine, &[]).ends(2).says(&["is not run", "theirs"]);
    }
    fs::write(machine.place.path("jobs.d/night.toml"), &text).unwrap();
    run(&machine, &[]).ok();
    give(&machine.place.path("jobs.d/night.toml"));
    run(&machine, &[]).ends(2).says(&["night.toml"]);
    machine.dedup(&["backup", "--job", "./jobs.d/night.toml"]).ends(2).says(&["chown root"]);
    assert!(!machine.place.path("trace").exists());
    assert_eq!(machine.snapshots(), 1);
}

#[test]
fn step_2_a_job_waits_for_another_run_as_long_as_it_says() {
    let machine = machine_with("lock_wait = \"60s\"\n");
    write(&machine, "hasty", "lock_wait = \"0\"\n");
    machine.fail("one-pre-live", "hang");
    let first = start(command(&machine, &[]));
    let begun = Instant::now();
    while !machine.fired("one-pre-live") {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    machine.dedup(&["backup", "--job", "hasty", "--jobs-dir", "jobs.d"]).ends(5).says(&["another run"]);
    // What the command line says wins.
    run(&machine, &["--lock-wait", "0s"]).ends(5);
    machine.heal("one-pre-live");
    let second = start(command(&machine, &[]));
    std::thread::sleep(Duration::from_millis(500));
    let first_pid = rustix::process::Pid::from_raw(first.id() as i32).unwrap();
    rustix::process::kill_process(first_pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(wait(first, b"").code, 130);
    wait(second, b"").ok();
    machine.assert_as_before(&["db"]);
    assert_eq!(machine.snapshots(), 1);
}

#[test]
fn step_4_a_job_chooses_modules() {
    let machine = machine_with("unselected = [\"two\"]\n");
    machine.module("two", "");
    machine.module("three", "[depends]\nrequires = [\"two\"]\n");
    let modules = || -> Vec<String> {
        let modules = newest(&machine)["modules"].as_array().unwrap().clone();
        let stored = modules.into_iter().filter(|module| module["state"] != "skipped");
        stored.map(|module| module["module"].as_str().unwrap().to_owned()).collect()
    };
    // What is left out is wanted by another: told, and the run is partial.
    run(&machine, &[]).ends(3).says(&["two"]);
    assert_eq!(modules(), ["one", "three"]);
    write(&machine, "night", "modules = [\"three\"]\n");
    run(&machine, &[]).ok();
    assert_eq!(modules(), ["three", "two"]);
    write(&machine, "night", "modules = [\"three\"]\ndependencies = false\n");
    run(&machine, &[]).ok().says(&["which is not selected"]);
    assert_eq!(modules(), ["three"]);
    // A module that is gone by now does not end the backups of all others.
    write(&machine, "night", "unselected = [\"gone\"]\n");
    run(&machine, &[]).ok().says(&["there is no module gone"]);
    assert_eq!(modules(), ["one", "three", "two"]);
}

#[test]
fn step_5_the_storage_of_a_job_is_the_repository_unless_another_is_named() {
    let machine = machine_with("");
    machine.dedup(&["init", "-r", "other", "--key-file", "key"]).ok();
    let count = |repo: &str| -> usize {
        let list = machine.dedup(&["snapshots", "-r", repo, "--json"]).ok().json();
        list["snapshots"].as_array().unwrap().len()
    };
    let other = machine.place.path("other");
    write(&machine, "night", &format!("[[storage]]\naddress = {other:?}\n"));
    // The tests' own DEDUP_REPO names `repo`.
    run(&machine, &[]).ok();
    assert_eq!((count("repo"), count("other")), (0, 1));
    // Named on the command line, that one is it, and the job's own is none that is owed anything.
    run(&machine, &["-r", "repo"]).ok();
    assert_eq!((count("repo"), count("other")), (1, 1));
    fs::rename(&other, machine.place.path("elsewhere")).unwrap();
    machine.events();
    run(&machine, &[]).ends(10).says(&["the job night"]);
    write(&machine, "night", "[[storage]]\naddress = \"sftp:u@h:/x\"\n");
    run(&machine, &[]).ends(2).says(&["sftp:u@h:/x", "directories only"]);
    assert_eq!(machine.events(), Vec::<String>::new());
}

#[test]
fn steps_5_and_14_further_storages_are_owed_a_copy() {
    let machine = machine_with("");
    machine.dedup(&["init", "-r", "other", "--key-file", "key"]).ok();
    let [repo, other] = ["repo", "other"].map(|name| machine.place.path(name));
    let storages = |address: &str, require: bool| {
        let further = format!("[[storage]]\naddress = {address:?}\nrequire = {require}\n");
        write(&machine, "night", &format!("[[storage]]\naddress = {repo:?}\n{further}"));
    };
    let record = || newest(&machine)["run_record"].clone();
    storages("/nowhere/at/all", false);
    run(&machine, &[]).ok().says(&["a copy is owed to /nowhere/at/all"]);
    assert_eq!(record()["verdict"], "owed");
    assert!(record()["text"].as_str().unwrap().contains("a copy is owed to /nowhere/at/all"), "{}", record());
    let table = machine.dedup(&["snapshots"]).ok();
    assert!(table.out.contains("complete, owed"), "{}", table.out);
    // It is good as far as is known.
    machine.dedup(&["ls", "latest", "-m", "one"]).ok();
    // One that is there and does not open is owed its copy too; without one that is required the run is partial.
    machine.dedup(&["init", "-r", "closed", "--key-file", "closed.key"]).ok();
    storages(machine.place.path("closed").to_str().unwrap(), true);
    let told = run(&machine, &["--json"]).ends(3).summary();
    assert_eq!((&told["record"]["verdict"], &told["state"]), (&"owed".into(), &"complete".into()));
    storages(other.to_str().unwrap(), true);
    let told = run(&machine, &["--json"]).ok().summary();
    assert_eq!((&told["record"]["verdict"], &told["state"]), (&"good".into(), &"complete".into()));
    // One that is required and not there: nothing is begun.
    machine.events();
    storages("/nowhere/at/all", true);
    run(&machine, &[]).ends(10).says(&["/nowhere/at/all is required"]);
    assert_eq!(machine.events(), Vec::<String>::new());
    assert_eq!(machine.snapshots(), 3);
}

#[test]
fn step_10_paths_of_a_job_have_an_account_and_come_back() {
    let machine = machine_with("");
    let own = machine.place.path("own");
    fs::create_dir_all(own.join("sub")).unwrap();
    fs::write(own.join("sub/kept"), "kept").unwrap();
    fs::write(own.join("sub/left.tmp"), "left out").unwrap();
    fs::write(machine.place.path("single"), "single").unwrap();
    let single = machine.place.path("single");
    let custom = format!(
        "[[custom]]\npath = {own:?}\nexclude = [\"*.tmp\"]\n[[custom]]\npath = {single:?}\nkind = \"file\"\n"
    );
    write(&machine, "night", &custom);
    run(&machine, &[]).ok();
    let account = machine.account("custom-night");
    assert_eq!(account["state"], "complete");
    let listed = machine.dedup(&["ls", "latest", "-m", "custom-night", "--json"]).ok().out;
    assert!(
        listed.contains("sub/kept") && listed.contains("single") && !listed.contains("left.tmp"),
        "{listed}"
    );
    fs::remove_dir_all(&own).unwrap();
    fs::remove_file(&single).unwrap();
    // The snapshot alone is enough: nothing on the machine declares this module.
    machine.dedup(&["restore", "latest", "-m", "custom-night", "--yes"]).ok();
    assert_eq!(fs::read_to_string(own.join("sub/kept")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(&single).unwrap(), "single");
    fs::remove_file(&single).unwrap();
    let told = run(&machine, &[]).ends(3).out;
    assert!(told.contains("single is not there"), "{told}");
    assert_eq!(machine.account("custom-night")["state"], "warned");
    // Nothing else need take part, nor be declared.
    write(&machine, "night", &format!("modules = []\n{custom}"));
    fs::write(&single, "again").unwrap();
    machine.events();
    let stored = run(&machine, &["--json"]).ok().summary();
    assert_eq!(stored["modules"].as_array().unwrap().len(), 1, "{stored}");
    assert_eq!(machine.events(), Vec::<String>::new());
    machine.module("custom-night", "");
    run(&machine, &[]).ends(2).says(&["custom-night"]);
}

#[test]
fn step_13_all_or_nothing_if_the_job_says_so() {
    let machine = machine_with("");
    machine.module("two", "");
    machine.fail("one-pre-live", "1");
    run(&machine, &[]).ends(3);
    assert_eq!(machine.snapshots(), 1);
    write(&machine, "night", "allow_partial = false\n");
    run(&machine, &[]).ends(1).says(&["no partial snapshot", "one:"]);
    assert_eq!(machine.snapshots(), 1);
    machine.assert_as_before(&["db"]);
    machine.heal("one-pre-live");
    run(&machine, &[]).ok();
    assert_eq!(machine.snapshots(), 2);
}

#[test]
fn snapshots_are_labelled_and_a_slot_stands_for_its_newest_good_one() {
    let schedule =
        "tags = [\"mine\"]\ncomment = \"by night\"\n[schedule]\ntype = \"both\"\nrolling_slots = 2\n";
    let machine = machine_with(schedule);
    let tags = |time: &str, more: &[&str], code: i32| {
        run(&machine, &[&["--time", time], more].concat()).ends(code);
        let newest = newest(&machine);
        assert_eq!(newest["comment"], "by night");
        (
            newest["tags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tag| tag.as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
            newest["id"].as_str().unwrap().to_owned(),
        )
    };
    let (first, _) = tags("2026-11-21 04:30", &["--tag", "typed"], 0);
    assert_eq!(first, ["job:night", "mine", "night-2026-11-21-043000", "rolling:night-slot-0", "typed"]);
    let (second, other) = tags("2026-11-22 04:30", &[], 0);
    assert!(second.contains(&"rolling:night-slot-1".into()), "{second:?}");
    let (third, newer) = tags("2026-11-23 04:30", &[], 0);
    assert!(third.contains(&"rolling:night-slot-0".into()), "{third:?}");
    machine.module("two", "");
    machine.fail("one-pre-live", "1");
    let (fourth, _) = tags("2026-11-25 04:30", &[], 3);
    assert!(fourth.contains(&"rolling:night-slot-0".into()), "{fourth:?}");
    let holder = |slot: &str| {
        let out = machine.dedup(&["ls", "latest", "--tag", slot, "-m", "one", "--json"]).ok().json();
        out["snapshot_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (holder("rolling:night-slot-0"), holder("rolling:night-slot-1")),
        (newer, other),
        "a partial run takes no slot over"
    );
}

#[test]
fn a_filesystem_snapshot_that_is_required_and_not_there_fails_the_run() {
    let machine = machine_with("snapshot = \"require\"\n");
    run(&machine, &[]).ends(1).says(&["requires a filesystem snapshot"]);
    assert_eq!(machine.snapshots(), 0);
    run(&machine, &["--fs-snapshot", "off"]).ok();
}

#[test]
fn jobs_are_listed_and_shown_with_their_last_run() {
    let machine = machine_with("[schedule]\nat_hour = 4\n[retain]\ndaily = 7\n");
    write(&machine, "broken", "modulse = []\n");
    let list = || machine.dedup(&["job", "list", "--jobs-dir", "jobs.d", "--json"]).ok().json();
    let jobs = list()["jobs"].as_array().unwrap().clone();
    assert_eq!((&jobs[0]["id"], &jobs[0]["state"]), (&"broken".into(), &"invalid".into()));
    assert_eq!(
        (&jobs[1]["id"], &jobs[1]["state"], &jobs[1]["last_result"]),
        (&"night".into(), &"ready".into(), &Value::Null)
    );
    assert!(jobs[1]["next"].as_str().unwrap().ends_with("04:00"));
    run(&machine, &[]).ok();
    machine.dedup(&["backup"]).ok();
    let jobs = list()["jobs"].as_array().unwrap().clone();
    assert_eq!(jobs[1]["last_result"], "complete");
    assert!(jobs[1]["last_begun"].is_string());
    let table = machine.dedup(&["job", "list", "--jobs-dir", "jobs.d"]).ok().out;
    assert!(table.contains("complete") && table.contains("modulse"), "{table}");
    let shown = machine.dedup(&["job", "show", "night", "--jobs-dir", "jobs.d", "--json"]).ok().json();
    assert_eq!((&shown["keeps"]["daily"], &shown["modules"][0]), (&7.into(), &"all".into()));
    let text = machine.dedup(&["job", "show", "./jobs.d/night.toml"]).ok().out;
    assert!(text.contains("night-20") && text.contains("job:night"), "{text}");
    let logs = machine.dedup(&["log"]).ok().out;
    assert!(logs.contains("backup night"), "{logs}");
}

#[test]
fn logs_of_a_job_are_given_to_its_owner_and_keep_what_it_wants() {
    if !is_root() {
        return skip("only root can give files to another user");
    }
    let machine = machine_with("[owner]\nuser = \"nobody\"\n[log]\nlevel = \"warning\"\n");
    run(&machine, &[]).ok();
    let log = fs::read_dir(machine.place.path("state/logs")).unwrap().next().unwrap().unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&log.metadata().unwrap());
    assert_eq!(owner, user_number("nobody"));
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(!text.contains("\"info\"") && text.contains("\"job\":\"night\""), "{text}");
    write(&machine, "night", "[owner]\nuser = \"nobody-at-all\"\n");
    machine.events();
    run(&machine, &[]).ends(2).says(&["no user nobody-at-all"]);
    assert_eq!(machine.events(), Vec::<String>::new());
}

/// Returns the number of a user of this machine.
pub fn user_number(name: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}
