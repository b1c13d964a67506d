//! How long a service stands still that must: asked of the service itself, which notes when it was stopped and started.

use super::app::Machine;
use crate::cli::support::{is_root, noise, skip};
use crate::support::budget::Budget;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A file system in a file; unmounted when this goes.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Makes and mounts one; nothing where only root could.
    pub fn new(machine: &Machine, kind: &str, at: &Path) -> Option<Self> {
        let image = machine.place.path(format!("disk-{kind}"));
        fs::create_dir_all(at).unwrap();
        fs::File::create(&image).unwrap().set_len(6 << 30).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).arg(&image);
            if program == "mount" {
                command.arg(at);
            }
            command.output().is_ok_and(|output| output.status.success())
        };
        let mounted = is_root() && run(&format!("mkfs.{kind}"), &["-q"]) && run("mount", &["-o", "loop"]);
        if !mounted {
            skip(&format!("{kind} can only be mounted by root"));
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

const FILES: u64 = 64;

fn fill(data: &Path, bytes: u64, seed: u64) {
    for file in 0..FILES {
        let content = noise(seed * 1000 + file, usize::try_from(bytes / FILES).unwrap());
        fs::write(data.join(format!("{file}")), content).unwrap();
    }
    rustix::fs::sync();
}

/// A service that notes the moments, in nanoseconds, at which it was told to stop, and was up again.
fn service(machine: &Machine) -> String {
    let up = machine.place.path("up/app");
    fs::write(&up, "").unwrap();
    let (up, times) = (up.display(), machine.place.path("times"));
    let times = times.display();
    let program = |name: &str, text: String| {
        let path = machine.place.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    format!(
        "[[service]]\nname = \"app\"\nkind = \"command\"\nnot_with_snapshot = false\nstatus = [{:?}]\nstop = [{:?}]\nstart = [{:?}]\n",
        program("status", format!("[ -e {up} ]")),
        program("stop", format!("date +%s%N > {times}; rm {up}")),
        program("start", format!("touch {up}; date +%s%N >> {times}")),
    )
}

/// Backs up twice, everything changed in between; returns how long the service was down by its own notes, and what the summary
/// says, and how long the second run took.
fn measure(kind: &str, bytes: u64) -> Option<(Duration, Duration, Duration)> {
    let machine = Machine::new();
    let data = machine.data("app");
    let _mounted = Mounted::new(&machine, kind, &data)?;
    let service = service(&machine);
    machine.module("app", &service);
    fill(&data, bytes, 1);
    machine.dedup(&["backup"]).ok();
    fill(&data, bytes, 2);
    let begun = Instant::now();
    let run = machine.dedup(&["backup", "--json"]).ok();
    let took = begun.elapsed();
    let summary = run.summary();
    assert_eq!(summary["from_filesystem_snapshot"], kind == "btrfs");
    assert!(summary["read_bytes"].as_u64().unwrap() >= bytes, "everything was read: {summary}");
    assert_eq!(summary["downtimes"][0]["name"], "app");
    let said = Duration::from_secs_f64(summary["downtimes"][0]["seconds"].as_f64().unwrap());
    let times = fs::read_to_string(machine.place.path("times")).unwrap();
    let times: Vec<u64> = times.lines().map(|line| line.parse().unwrap()).collect();
    let down = Duration::from_nanos(times[1] - times[0]);
    // The oracle's moments lie within those of the run.
    assert!(said >= down && said < down + Duration::from_millis(500), "{said:?} is said, {down:?} it was");
    let text = machine.dedup(&["backup"]).ok();
    assert!(text.out.contains("Down:    app for"), "{}", text.out);
    Some((down, said, took))
}

/// Returns how long it takes to read as much that is new, and store it, with nothing to stop.
fn plain(bytes: u64) -> Duration {
    let machine = Machine::new();
    let data = machine.data("plain");
    fs::create_dir_all(&data).unwrap();
    fill(&data, bytes, 3);
    let begun = Instant::now();
    machine.dedup(&["backup", data.to_str().unwrap()]).ok();
    begun.elapsed()
}

/// The figure of the issue: 1 GiB of changed data.
#[test]
fn a_service_is_down_as_briefly_as_can_be() {
    let budget = Budget::of("downtime of a service that must stop", 32, 1024);
    let mib = budget.cases();
    let Some((snapshot, _, snapshot_run)) = measure("btrfs", mib << 20) else { return };
    let Some((without, _, without_run)) = measure("ext4", mib << 20) else { return };
    let plain = plain(mib << 20);
    budget.tell(&format!(
        "{mib} MiB changed: {snapshot:.2?} with a btrfs snapshot (run {snapshot_run:.2?}), {without:.2?} without (run {without_run:.2?}); \
         reading and storing as much without services {plain:.2?}"
    ));
    assert!(snapshot < Duration::from_secs(2), "{snapshot:?}");
    assert!(without <= plain.mul_f64(1.25) + Duration::from_millis(500), "{without:?} beside {plain:?}");
}
