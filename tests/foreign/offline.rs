//! Archives are taken and restored where there is no network at all: the original asks for one, and restores nothing
//! without.

use super::{Packing, Pbx, import};
use crate::cli::support::{Run, finish};
use serde_json::json;
use std::process::Command;

/// Runs `dedup` in a network namespace of its own, in which nothing is up, not even the way to itself.
fn alone(pbx: &Pbx, arguments: &[&str]) -> Run {
    let command = pbx.0.command(arguments);
    let mut inside = Command::new("unshare");
    inside.args(["--net", "--"]).arg(command.get_program()).args(command.get_args());
    inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside.current_dir(command.get_current_dir().unwrap());
    finish(inside, b"")
}

#[test]
fn a_restore_needs_no_network() {
    let way_out =
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', 9))";
    let mut python = Command::new("unshare");
    let tried = python.args(["--net", "/usr/bin/python3", "-c", way_out]).output().unwrap();
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(said.contains("unreachable"), "there is no way out of the namespace: {said}");

    let pbx = Pbx::new();
    pbx.declare_queues("");
    let queues = json!({
        "module": "queues", "version": "16.0.20", "pbx_version": "16.0.40", "skip_reset": false,
        "dependencies": ["core", "not-installed"], "dirs": [], "garbage": [], "files": [],
        "configs": {
            "settings": {"QUEUE_HINTS": "there"},
            "tables": {"queues_config": [{"extension": "400", "descr": "Sales", "password": "p"}]},
        },
    });
    let packing = Packing::new(&pbx.0);
    packing
        .file(
            "metadata.json",
            json!({"date": 1_790_000_000, "modules": [], "skipped": [], "processorder": []}).to_string(),
        )
        .file("modulejson/Queues.json", queues.to_string());
    let archive = packing.tar_gz();
    let words = ["import", "--json", "--from", "freepbx", archive.to_str().unwrap(), "-m", "ringqueue"];
    let imported = alone(&pbx, &words).ok().json();
    let restore = |run: fn(&Pbx, &[&str]) -> Run, snapshot: &str| {
        pbx.sql("DELETE FROM queues_config; UPDATE freepbx_settings SET value = 'changed' WHERE module = 'ringqueue'");
        let run = run(&pbx, &["restore", snapshot, "-m", "ringqueue", "--yes", "--json"]);
        assert_eq!(run.summary()["modules"][0]["state"], "restored", "{}", run.err);
        assert_eq!(pbx.rows("SELECT * FROM queues_config"), ["400|Sales|p"]);
        assert_eq!(pbx.rows("SELECT value FROM freepbx_settings WHERE module = 'ringqueue'"), ["there"]);
        (run.code, run.err)
    };
    let snapshot = imported["snapshot_id"].as_str().unwrap();
    let offline = restore(alone, snapshot);
    // And not a word more or less than with one.
    let dedup = |pbx: &Pbx, arguments: &[&str]| pbx.0.dedup(arguments);
    assert_eq!(offline, restore(dedup, snapshot));
    // So it is with what was imported there.
    let again = import(&pbx.0, "freepbx", &archive, &["-m", "ringqueue"]).ok().json();
    assert_eq!(imported["modules"], again["modules"]);
}
