//! Step 8 where a filesystem snapshot can be had, and then fails: by a real btrfs that takes none.

use super::app::Machine;
use super::downtime::Mounted;
use super::jobs::program;
use std::fs;

/// A machine whose application lies on a btrfs, and lets its services run where a filesystem snapshot is read. Its hook before
/// that makes the file system read-only if `armed` is there, so that the kernel refuses the snapshot.
fn machine() -> Option<(Machine, Mounted)> {
    let machine = Machine::new();
    let data = machine.data("app");
    let mounted = Mounted::new(&machine, "btrfs", &data)?;
    let at = data.display();
    let freeze = format!("[ ! -e armed ] || {{ mount -o remount,ro {at} && touch fired/freeze; }}");
    let thaw = format!("mount -o remount,rw {at}; rm -f armed");
    let [freeze, thaw] =
        [("freeze", freeze), ("thaw", thaw)].map(|(name, text)| program(&machine, name, &text));
    let hooks =
        format!("[hooks]\nbackup_pre = {{ run = [{freeze:?}] }}\nbackup_post = {{ run = [{thaw:?}] }}\n");
    machine.module("app", &format!("{}{}{hooks}", machine.service("web"), machine.lockdown("app")));
    machine.events();
    Some((machine, mounted))
}

fn left(machine: &Machine) -> Vec<String> {
    let names = fs::read_dir(machine.data("app")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".dedup")).collect()
}

#[test]
fn step_8_a_filesystem_snapshot_that_fails_gives_way_to_stopped_services() {
    let Some((machine, _mounted)) = machine() else { return };
    // Without the fault it is read, and nothing stops.
    let summary = machine.dedup(&["backup", "--json"]).ok().summary();
    assert_eq!(summary["from_filesystem_snapshot"], true);
    assert_eq!(machine.events(), ["lock-app", "unlock-app"]);
    fs::write(machine.data("app").join("file"), "changed since").unwrap();

    fs::write(machine.place.path("armed"), "").unwrap();
    let run = machine.dedup(&["backup", "-v"]).ok();
    assert!(machine.fired("freeze"), "the kernel had to refuse");
    run.says(&["the filesystem snapshot failed, the running system is read instead"]);
    assert_eq!(machine.events(), ["lock-app", "stop-web", "start-web", "unlock-app"]);
    machine.assert_as_before(&["web"]);
    assert_eq!(left(&machine), Vec::<String>::new());
    fs::remove_file(machine.data("app").join("file")).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(fs::read_to_string(machine.data("app").join("file")).unwrap(), "changed since");
}

#[test]
fn step_8_a_filesystem_snapshot_that_is_required_and_fails_ends_the_run() {
    let Some((machine, _mounted)) = machine() else { return };
    fs::write(machine.place.path("armed"), "").unwrap();
    machine.dedup(&["backup", "--fs-snapshot", "require"]).ends(1).says(&["requires a filesystem snapshot"]);
    assert!(machine.fired("freeze"));
    assert_eq!(machine.events(), ["lock-app", "unlock-app"]);
    assert_eq!(machine.snapshots(), 0);
    machine.assert_as_before(&["web"]);
    assert_eq!(left(&machine), Vec::<String>::new());
}
