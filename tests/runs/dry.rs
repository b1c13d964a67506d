//! Dry runs of modules: what a run would do is told, and nothing of it is done.

use super::app::Machine;
use super::around_backups::die_at;
use super::backup_steps::{UP, USUAL, two_apps};
use super::jobs;
use crate::cli::support::tree;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Everything but the local index, which is a cache, what is remembered of the repository's log, which a dry run reads too,
/// and what the tests' own programs write when they are asked.
fn everything(machine: &Machine) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    ["repo", "state", "data", "up", "locked", "fired", "jobs.d"]
        .map(|dir| {
            let mut all = tree(&machine.place.path(dir));
            all.retain(|path, _| dir != "state" || !Path::new(path).starts_with("witness"));
            all
        })
        .into_iter()
        .collect()
}

/// Returns a plan in the words in which the tests' programs note what they did.
fn as_events(summary: &Value) -> Vec<String> {
    let word = |step: &Value| {
        let (what, module) = (step["what"].as_str().unwrap(), step["module"].as_str().unwrap_or_default());
        match step["act"].as_str().unwrap() {
            "run" => what.rsplit(' ').next().unwrap().to_owned(),
            act @ ("stop" | "start") => format!("{act}-{what}"),
            act @ ("lock" | "unlock") => format!("{act}-{module}"),
            act => format!("{act} {what}"),
        }
    };
    summary["plan"].as_array().expect("a plan").iter().map(word).collect()
}

/// Once a dry run of modules ran their hooks, locked their users out, stopped their services and dumped their sources.
#[test]
fn nothing_is_changed_and_what_a_run_would_do_is_told_in_its_order() {
    let machine = two_apps();
    fs::write(machine.data("two").join("more"), "x".repeat(5000)).unwrap();
    let before = everything(&machine);
    let dry = machine.dedup(&["backup", "--dry-run", "--json"]).ok().summary();
    assert_eq!(everything(&machine), before);
    assert_eq!(machine.events(), Vec::<String>::new());
    machine.assert_as_before(&UP);
    let usual: Vec<_> = USUAL.iter().map(|event| event.trim_end_matches(" finish")).collect();
    assert_eq!(as_events(&dry), usual);
    assert_eq!((&dry["snapshot_id"], &dry["dry_run"]), (&Value::Null, &true.into()));
    let text = machine.dedup(&["backup", "--dry-run"]).ok();
    let text = text.shows(&["would stop db of one", "would keep the users of two out", "a hook of one"]);
    assert!(text.out.contains("nothing was stored (dry run)"), "{}", text.out);
    assert_eq!(everything(&machine), before);
    // It counts what the run after it stores.
    let run = machine.dedup(&["backup", "--json"]).ok().summary();
    assert_eq!(machine.events(), USUAL);
    for field in ["source_bytes", "entries"] {
        assert_eq!(dry[field], run[field], "{field}");
    }
    // What hooks and locks touch has another time in the run, which may take a few bytes more or less.
    let new = |summary: &Value| summary["new_bytes"].as_i64().unwrap();
    assert!((new(&dry) - new(&run)).abs() < 40, "{} and {}", new(&dry), new(&run));
}

#[test]
fn sources_and_exporters_are_named_and_not_asked() {
    let machine = Machine::new();
    let dump = machine.act("dump-one");
    let more = format!(
        "[[source]]\nname = \"rows\"\ndriver = \"command\"\ndump = {dump}\n[exporter]\ncommand = {}\n",
        machine.act("export")
    );
    machine.module("one", &more);
    let before = everything(&machine);
    let run = machine.dedup(&["backup", "--dry-run", "--json"]).ok();
    let summary = run.summary();
    assert_eq!((machine.events(), everything(&machine)), (Vec::new(), before));
    let plan = as_events(&summary);
    assert!(plan.contains(&"dump rows (command)".to_owned()) && plan[0].starts_with("export "), "{plan:?}");
    let items = summary["modules"][0]["items"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|item| item["name"] == name).cloned().unwrap_or_default();
    assert!(of("source:rows")["message"].as_str().unwrap().contains("not asked"), "{items:?}");
    assert_eq!(of("exporter")["outcome"], of("source:rows")["outcome"]);
}

/// What a dead run left is no business of a dry run, nor that another run goes on.
#[test]
fn what_a_dead_run_left_stays() {
    let machine = two_apps();
    die_at(&machine, "two-pre-stopped");
    let (before, journals) = (everything(&machine), machine.journals());
    assert_eq!(journals.len(), 1);
    machine.dedup(&["backup", "--dry-run"]).ok();
    assert_eq!((everything(&machine), machine.events()), (before, Vec::new()));
    machine.dedup(&["recover"]).ok();
    machine.assert_as_before(&UP);
}

#[test]
fn hooks_of_a_job_are_named_and_not_run() {
    let machine = jobs::machine_with("");
    jobs::write(&machine, "night", &jobs::hooks(&machine, &[("before", ""), ("error", ""), ("after", "")]));
    let before = everything(&machine);
    let dry = jobs::run(&machine, &["--dry-run", "--json"]).ok().summary();
    assert_eq!((everything(&machine), machine.events()), (before, Vec::new()));
    let usual = jobs::USUAL.map(|event| event.trim_end_matches(" finish"));
    assert_eq!(as_events(&dry), [&["job-before"], &usual[..], &["job-after"]].concat());
}
