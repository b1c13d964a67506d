//! Every step of a restore run, made to fail: the numbers are those of `modules.md` 3.7.

use super::app::Machine;
use crate::cli::support::{packs, tree};
use std::fs;

/// Two applications with files, secrets, a database, a service, a lockdown and hooks; `two` requires `one`. A snapshot
/// of both is there, and then both are wrecked.
pub struct Wrecked {
    pub machine: Machine,
    good: Vec<std::collections::BTreeMap<std::ffi::OsString, crate::cli::support::Entry>>,
    wrecked: Vec<std::collections::BTreeMap<std::ffi::OsString, crate::cli::support::Entry>>,
}

const UP: [&str; 2] = ["db", "web"];

pub fn database(machine: &Machine, module: &str) -> std::path::PathBuf {
    machine.place.path(format!("{module}.db"))
}

fn rows(machine: &Machine, module: &str) -> i64 {
    let connection = rusqlite::Connection::open(database(machine, module)).unwrap();
    connection.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
}

fn insert(machine: &Machine, module: &str, count: usize) {
    let connection = rusqlite::Connection::open(database(machine, module)).unwrap();
    connection.execute_batch("create table if not exists t(x)").unwrap();
    for n in 0..count {
        connection.execute("insert into t values (?1)", [n as i64]).unwrap();
    }
}

pub fn wrecked(more: &[(&str, &str)]) -> Wrecked {
    let machine = Machine::new();
    for (id, service) in [("one", "db"), ("two", "web")] {
        insert(&machine, id, 5);
        let hook = |point: &str, phase: &str| {
            format!("{{ run = {}, phase = {phase:?} }}", machine.act(&format!("{id}-{point}-{phase}")))
        };
        let mut text = [
            format!(
                "[[source]]\nname = \"rows\"\ndriver = \"sqlite\"\npath = {:?}\n",
                database(&machine, id)
            ),
            machine.service(service),
            machine.lockdown(id),
            format!(
                "[hooks]\nrestore_pre = [{}, {}]\nrestore_post = [{}, {}]\ncheck = {{ run = {} }}\n",
                hook("pre", "live"),
                hook("pre", "stopped"),
                hook("post", "stopped"),
                hook("post", "live"),
                machine.act(&format!("{id}-check")),
            ),
        ]
        .concat();
        if id == "two" {
            text.push_str("[depends]\nrequires = [\"one\"]\n");
        }
        for (_, table) in more.iter().filter(|(module, _)| *module == id) {
            text.push_str(table);
        }
        machine.module(id, &text);
        fs::create_dir(machine.data(id).join("sub")).unwrap();
        fs::write(machine.data(id).join("sub/deep"), "deep").unwrap();
    }
    machine.dedup(&["backup"]).ok();
    let trees = |machine: &Machine| ["one", "two"].map(|id| tree(&machine.data(id))).to_vec();
    let good = trees(&machine);
    for id in ["one", "two"] {
        fs::write(machine.data(id).join("file"), "wrecked").unwrap();
        fs::remove_dir_all(machine.data(id).join("sub")).unwrap();
        fs::write(machine.data(id).join("sub"), "no directory any more").unwrap();
        fs::write(machine.data(id).join("extra"), "somebody's own").unwrap();
        insert(&machine, id, 3);
    }
    machine.events();
    let wrecked = trees(&machine);
    Wrecked { machine, good, wrecked }
}

impl Wrecked {
    /// Asserts that a module is as it was backed up, with what somebody else put there.
    pub fn assert_restored(&self, id: &str) {
        let at = usize::from(id == "two");
        let mut found = tree(&self.machine.data(id));
        let extra = found.remove(std::ffi::OsStr::new("extra"));
        assert!(extra.is_some(), "{id}: what was not in the backup stays");
        assert_eq!(found, self.good[at], "{id}");
        assert_eq!(rows(&self.machine, id), 5, "{id}");
    }

    /// Asserts that a module is as it was before the restore, byte for byte.
    pub fn assert_untouched(&self, id: &str) {
        let at = usize::from(id == "two");
        assert_eq!(tree(&self.machine.data(id)), self.wrecked[at], "{id}");
        assert_eq!(rows(&self.machine, id), 8, "{id}");
    }

    /// Asserts that nothing stands still, and that nothing of the restore itself is left.
    pub fn assert_tidy(&self) {
        self.machine.assert_as_before(&UP);
        assert_eq!(self.machine.left_aside(), Vec::<std::path::PathBuf>::new());
    }

    pub fn restore(&self) -> crate::cli::support::Run {
        self.machine.dedup(&["restore", "latest", "--yes"])
    }
}

#[test]
fn everything_comes_back_in_its_order() {
    let world = wrecked(&[]);
    world.restore().ok();
    assert_eq!(
        world.machine.events(),
        [
            "one-check",
            "two-check",
            "one-pre-live",
            "two-pre-live",
            "lock-one",
            "lock-two",
            "stop-web",
            "stop-db",
            "one-pre-stopped",
            "two-pre-stopped",
            "one-post-stopped finish",
            "two-post-stopped finish",
            "start-db",
            "start-web",
            "unlock-two",
            "unlock-one",
            "one-post-live finish",
            "two-post-live finish",
        ]
    );
    world.assert_restored("one");
    world.assert_restored("two");
    world.assert_tidy();
}

#[test]
fn step_r4_an_unknown_module_is_refused_and_one_can_be_left_as_it_is() {
    let world = wrecked(&[]);
    world.machine.dedup(&["restore", "latest", "--yes", "-m", "tow"]).ends(1);
    world.assert_untouched("one");
    world.machine.dedup(&["restore", "latest", "--yes", "--ignore", "two"]).ok();
    world.assert_restored("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

#[test]
fn step_r5_a_plan_touches_nothing_and_newer_data_are_refused() {
    let world = wrecked(&[]);
    let plan = world.machine.dedup(&["restore", "latest", "--dry-run"]).ok();
    for word in ["one", "two", "source rows", "stopped meanwhile", "web"] {
        assert!(plan.out.contains(word), "{word}: {}", plan.out);
    }
    assert_eq!(world.machine.events(), Vec::<String>::new());
    let path = world.machine.manifest("one");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("version = \"1\"", "version = \"0.9\"")).unwrap();
    world.restore().ends(2).says(&["one", "version"]);
    world.assert_untouched("one");
    world.assert_untouched("two");
}

#[test]
fn step_r6_nobody_is_asked_in_a_script() {
    let world = wrecked(&[]);
    world.machine.dedup(&["restore", "latest"]).ends(2).says(&["--yes"]);
    world.assert_untouched("one");
}

/// In the known systems everything is deleted before anybody knows that the archive is whole.
#[test]
fn step_r7_damage_is_found_before_anything_is_touched() {
    let world = wrecked(&[]);
    for pack in packs(&world.machine.place.path("repo"), 3) {
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
    world.restore().ends(6).says(&["nothing was touched"]);
    assert_eq!(world.machine.events(), Vec::<String>::new());
    world.assert_untouched("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

#[test]
fn step_r8_a_module_that_cannot_be_set_up_blocks_what_requires_it() {
    let world = wrecked(&[]);
    let path = world.machine.manifest("one");
    let text = fs::read_to_string(&path).unwrap();
    let ready = world.machine.place.path("ready");
    let setup = format!("[setup]\nfile = {ready:?}\ninstall = {}\n", world.machine.act("one-install"));
    fs::write(&path, format!("{text}{setup}")).unwrap();
    world.machine.fail("one-install", "1");
    world.restore().ends(3).says(&["set up"]);
    assert!(world.machine.fired("one-install"));
    world.assert_untouched("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

#[test]
fn step_r9_a_check_that_says_no_leaves_its_module_out() {
    let world = wrecked(&[]);
    world.machine.fail("two-check", "1");
    world.restore().ends(3);
    assert!(world.machine.fired("two-check"));
    world.assert_restored("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

#[test]
fn step_r10_a_live_hook_that_fails_blocks_what_requires_its_module() {
    let world = wrecked(&[]);
    world.machine.fail("one-pre-live", "1");
    world.restore().ends(3);
    world.assert_untouched("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

#[test]
fn step_r11_a_service_that_does_not_stop_leaves_its_module_out() {
    let world = wrecked(&[]);
    world.machine.fail("stop-web", "1");
    world.restore().ends(3);
    assert!(world.machine.fired("stop-web"));
    world.assert_restored("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

/// A file that cannot be written, in the middle of a module: a directory that nothing can be made in.
#[test]
fn step_r12_a_module_that_fails_is_rolled_back_and_blocks_what_requires_it() {
    let world = wrecked(&[]);
    // Its database is held by somebody who does not let go, so the load after the files fails.
    let path = world.machine.manifest("one");
    let text = fs::read_to_string(&path).unwrap();
    let elsewhere = world.machine.place.path("no/such/place.db");
    let text = text
        .replace(&format!("path = {:?}", database(&world.machine, "one")), &format!("path = {elsewhere:?}"));
    fs::write(&path, text).unwrap();
    world.restore().ends(7).says(&["one", "rolled back"]);
    world.assert_untouched("one");
    world.assert_untouched("two");
    world.assert_tidy();
    let events = world.machine.events();
    assert!(events.contains(&"one-post-stopped fail".into()), "{events:?}");
}

#[test]
fn step_r13_what_nobody_takes_is_told() {
    for strict in [false, true] {
        let world = wrecked(&[]);
        let path = world.machine.manifest("two");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("name = \"rows\"", "name = \"renamed\"")).unwrap();
        let mut arguments = vec!["restore", "latest", "--yes"];
        if strict {
            arguments.push("--strict");
        }
        let run = world.machine.dedup(&arguments).says(&["source rows", "nothing here takes it"]);
        assert_eq!(run.code, if strict { 7 } else { 3 });
        world.assert_restored("one");
        if strict {
            world.assert_untouched("two");
        }
        world.assert_tidy();
    }
}

#[test]
fn step_r14_a_service_that_does_not_start_is_an_error_and_the_data_stay() {
    let world = wrecked(&[]);
    world.machine.fail("start-db", "1");
    world.restore().ends(3).says(&["db"]);
    assert!(world.machine.fired("start-db"));
    world.assert_restored("one");
    world.assert_restored("two");
    assert_eq!(world.machine.up(), ["web"]);
    world.machine.heal("start-db");
    world.machine.dedup(&["recover"]).ok();
    world.assert_tidy();
}

#[test]
fn step_r15_a_live_hook_after_the_work_that_fails_is_told() {
    let world = wrecked(&[]);
    world.machine.fail("two-post-live", "1");
    world.restore().ends(3);
    world.assert_restored("two");
    world.assert_tidy();
}

/// What a restore replaced before it was killed comes back before its services do.
#[test]
fn a_restore_that_is_killed_is_taken_back() {
    let world = wrecked(&[]);
    world.machine.fail("two-post-stopped", "kill");
    let run = world.restore();
    assert!(world.machine.fired("two-post-stopped"));
    assert_eq!(run.code, 1, "{}", run.err);
    world.assert_untouched("one");
    world.assert_untouched("two");
    world.assert_tidy();
}

/// A snapshot may come from anybody: what its manifests would run is never run (7.4 of the design).
#[test]
fn of_a_snapshots_manifest_only_the_data_count() {
    let world = wrecked(&[]);
    for id in ["one", "two"] {
        fs::remove_file(world.machine.manifest(id)).unwrap();
    }
    let run = world.restore().ok();
    assert!(run.out.contains("not installed here"), "{}", run.out);
    assert_eq!(world.machine.events(), Vec::<String>::new());
    world.assert_restored("one");
    world.assert_restored("two");
}

#[test]
fn files_move_with_their_variable() {
    let machine = Machine::new();
    let (there, here) = (machine.place.path("there"), machine.place.path("here"));
    fs::create_dir_all(there.join("app")).unwrap();
    fs::write(there.join("app/file"), "moved").unwrap();
    let text = |base: &std::path::Path| {
        format!(
            "schema = 1\n[module]\nid = \"app\"\n[paths]\nBASE = {base:?}\n[data]\ndirectories = [\"${{BASE}}/app\"]\n"
        )
    };
    fs::write(machine.manifest("app"), text(&there)).unwrap();
    machine.dedup(&["backup"]).ok();
    fs::write(machine.manifest("app"), text(&here)).unwrap();
    fs::create_dir(&here).unwrap();
    let run = machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert!(run.out.contains("goes to"), "{}", run.out);
    assert_eq!(fs::read_to_string(here.join("app/file")).unwrap(), "moved");
    assert_eq!(tree(&here), tree(&there));
}
