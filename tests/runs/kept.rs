//! `[spaces]` of manifests: what a restore replaced can be reverted later, as many times and as long as the manifest says.

use super::app::Machine;
use super::way_back::Small;
use crate::cli::support::tree;
use std::fs;

/// A module with a service and a database, in its second state; the first is backed up.
fn machine(spaces: &str) -> Machine {
    let machine = Machine::new();
    let database = machine.place.path("app.db");
    let text = format!(
        "[[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = {database:?}\n{}[spaces]\n{spaces}\n",
        machine.service("web")
    );
    machine.module("app", &text);
    set(&machine, 1);
    machine.dedup(&["backup"]).ok();
    set(&machine, 2);
    machine.events();
    machine
}

/// Brings the files and the database into the state of this number.
fn set(machine: &Machine, number: i64) {
    fs::write(machine.data("app").join("file"), format!("state {number}")).unwrap();
    let database = rusqlite::Connection::open(machine.place.path("app.db")).unwrap();
    database.execute_batch("create table if not exists t(x); delete from t").unwrap();
    database.execute("insert into t values (?1)", [number]).unwrap();
}

/// Returns the state of the files, and that of the database.
fn state(machine: &Machine) -> (String, i64) {
    let database = rusqlite::Connection::open(machine.place.path("app.db")).unwrap();
    let row = database.query_row("select x from t", [], |row| row.get(0)).unwrap();
    (fs::read_to_string(machine.data("app").join("file")).unwrap(), row)
}

fn in_state(number: i64) -> (String, i64) {
    (format!("state {number}"), number)
}

/// Returns the aside directories of the machine's runs, which lie at the root of the file system or at the machine's place.
fn aside(machine: &Machine) -> Vec<String> {
    let logs = fs::read_dir(machine.place.path("state/logs")).unwrap();
    let runs: Vec<String> =
        logs.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let places = [machine.place.path(""), machine.place.path("data"), "/".into()];
    let names = places.iter().flat_map(|place| fs::read_dir(place).unwrap());
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with(".dedup") && runs.iter().any(|run| name.contains(&run[..])))
        .collect()
}

/// Returns how many restores can be reverted.
fn kept(machine: &Machine) -> usize {
    machine.dedup(&["space", "list", "--json"]).ok().json()["restores"].as_array().unwrap().len()
}

#[test]
fn a_restore_that_is_kept_is_reverted_later() {
    let machine = machine("persistent = true");
    let before = tree(&machine.data("app"));
    let run = machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert!(run.out.contains("dedup space revert app"), "{}", run.out);
    assert_eq!(state(&machine), in_state(1));
    machine.assert_as_before(&["web"]);
    // Other runs come and go meanwhile, and let be what is kept.
    machine.dedup(&["backup"]).ok();
    assert_eq!(kept(&machine), 1);
    let shown = machine.dedup(&["space", "show", "app"]).ok();
    assert!(shown.out.contains("put the files of app back"), "{}", shown.out);
    machine.events();
    let plan = machine.dedup(&["space", "revert", "app", "--dry-run"]).ok();
    assert!(plan.out.contains("would put the source db"), "{}", plan.out);
    assert_eq!((state(&machine), machine.events()), (in_state(1), vec![]));

    machine.dedup(&["space", "revert", "app"]).ok();
    assert_eq!(state(&machine), in_state(2));
    assert_eq!(tree(&machine.data("app")), before);
    assert_eq!(machine.events(), ["stop-web", "start-web"], "services stand still meanwhile");
    machine.assert_as_before(&["web"]);
    assert_eq!((kept(&machine), aside(&machine)), (0, vec![]));
    machine.dedup(&["space", "revert", "app"]).ends(1).says(&["app"]);
}

#[test]
fn as_many_are_kept_as_the_manifest_says_and_the_newest_is_reverted_first() {
    let machine = machine("persistent = true\nkeep = 2");
    for number in [2, 3, 4] {
        set(&machine, number);
        machine.dedup(&["restore", "latest", "--yes"]).ok();
        assert_eq!(state(&machine), in_state(1));
    }
    assert_eq!(kept(&machine), 2);
    for number in [4, 3] {
        machine.dedup(&["space", "revert", "app"]).ok();
        assert_eq!(state(&machine), in_state(number));
        // What that restore had replaced is what it put there again.
        set(&machine, 1);
    }
    assert_eq!((kept(&machine), aside(&machine)), (0, vec![]));
}

#[test]
fn what_is_temporary_or_not_to_be_reverted_goes_with_its_run() {
    for spaces in ["", "persistent = true\nrevert = \"none\""] {
        let machine = machine(spaces);
        let run = machine.dedup(&["restore", "latest", "--yes"]).ok();
        assert!(!run.out.contains("revert"), "{}", run.out);
        assert_eq!((state(&machine), kept(&machine), aside(&machine)), (in_state(1), 0, vec![]));
    }
}

#[test]
fn a_restore_that_failed_is_taken_back_and_not_kept() {
    let machine = machine("persistent = true");
    let path = machine.manifest("app");
    let text = fs::read_to_string(&path).unwrap();
    let elsewhere = machine.place.path("no/such/place.db");
    fs::write(&path, text.replace(&format!("{:?}", machine.place.path("app.db")), &format!("{elsewhere:?}")))
        .unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ends(7);
    assert_eq!((state(&machine), kept(&machine), aside(&machine)), (in_state(2), 0, vec![]));
}

#[test]
fn a_program_of_the_module_ends_its_revert() {
    let machine = machine("persistent = true");
    let path = machine.manifest("app");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}revert = {{ command = {} }}\n", machine.act("app-revert"))).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    machine.events();
    machine.fail("app-revert", "3");
    machine.dedup(&["space", "revert", "app"]).ends(1).says(&["program to revert"]);
    assert!(machine.fired("app-revert"));
    assert_eq!(machine.events(), ["stop-web", "app-revert", "start-web"]);
    assert_eq!(state(&machine), in_state(2));
    machine.assert_as_before(&["web"]);
}

#[test]
fn one_that_is_killed_within_its_revert_goes_on_with_the_next() {
    let machine = machine("persistent = true");
    let path = machine.manifest("app");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}revert = {{ command = {} }}\n", machine.act("app-revert"))).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    machine.fail("stop-web", "kill");
    let run = machine.dedup(&["space", "revert", "app"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(machine.fired("stop-web"));
    machine.assert_as_before(&["web"]);
    assert_eq!(state(&machine), in_state(1));
    machine.dedup(&["space", "revert", "app"]).ok();
    assert_eq!(state(&machine), in_state(2));
    machine.assert_as_before(&["web"]);
}

/// Where the data are a file system of their own, what is kept lies among them.
#[test]
fn what_is_kept_is_not_backed_up() {
    let machine = machine("persistent = true");
    let Some(_small) = Small::mount(machine.data("app"), 4 << 20) else { return };
    set(&machine, 3);
    machine.dedup(&["backup"]).ok();
    set(&machine, 4);
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    let names: Vec<_> = tree(&machine.data("app")).into_keys().collect();
    assert!(names.iter().any(|name| name.to_string_lossy().starts_with(".dedup-aside-")), "{names:?}");
    machine.dedup(&["backup"]).ok();
    let listed = machine.dedup(&["ls", "latest", "-m", "app"]).ok();
    assert!(listed.out.contains("file") && !listed.out.contains(".dedup"), "{}", listed.out);
    machine.dedup(&["space", "revert", "app"]).ok();
    assert_eq!(state(&machine), in_state(4));
}

#[test]
fn what_is_kept_can_be_removed() {
    let machine = machine("id = \"Before\"\npersistent = true");
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert!(!aside(&machine).is_empty());
    machine.dedup(&["space", "remove", "before"]).ends(2);
    machine.dedup(&["space", "remove", "before", "--yes"]).ok();
    assert_eq!((state(&machine), kept(&machine), aside(&machine)), (in_state(1), 0, vec![]));
}
