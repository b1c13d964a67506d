//! What a restore keeps of what it replaces: sources that only their own program can dump, room, modules below a directory.

use super::app::Machine;
use crate::cli::support::{is_root, skip, tree};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module whose rows only a program can dump and load: it writes them to `<module>.rows`.
fn with_rows(machine: &Machine, module: &str, more: &str) -> PathBuf {
    let rows = machine.place.path(format!("{module}.rows"));
    fs::write(&rows, format!("rows of {module}\n")).unwrap();
    let dump = machine.place.path(format!("dump-{module}"));
    let load = machine.place.path(format!("load-{module}"));
    // The programs run in the directory of the run, so their paths are whole.
    let (at, base) = (rows.display(), machine.place.path("").display().to_string());
    script(
        &dump,
        &format!("echo dump-{module} >> {base}events; [ ! -e {base}fail/dump-{module} ] || exit 4; cat {at}"),
    );
    script(
        &load,
        &format!(
            "echo load-{module} >> {base}events; cat > {at}.new; mv {at}.new {at}\n\
             if [ -e {base}fail/load-{module} ]; then how=$(cat {base}fail/load-{module}); rm {base}fail/load-{module}\n\
             [ $how = kill ] && kill -9 $PPID; exit $how; fi"
        ),
    );
    machine.module(
        module,
        &format!(
            "[[source]]\nname = \"rows\"\ndriver = \"command\"\ndump = [{dump:?}]\nload = [{load:?}]\n{more}"
        ),
    );
    rows
}

fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A machine with two such modules, both changed since their backup.
fn changed() -> (Machine, [PathBuf; 2]) {
    let machine = Machine::new();
    let one = with_rows(&machine, "one", &machine.service("web"));
    let two = with_rows(&machine, "two", "[depends]\nrequires = [\"one\"]\n");
    machine.dedup(&["backup"]).ok();
    for (id, rows) in [("one", &one), ("two", &two)] {
        fs::write(rows, "changed since").unwrap();
        fs::write(machine.data(id).join("file"), "changed since").unwrap();
    }
    machine.events();
    (machine, [one, two])
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn assert_nothing_kept(machine: &Machine) {
    machine.assert_as_before(&["web"]);
    let spaces = machine.place.path("state/spaces");
    let left = fs::read_dir(spaces)
        .map_or(0, |entries| entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count());
    assert_eq!(left, 0, "spaces of the run");
}

#[test]
fn a_source_that_was_loaded_comes_back_with_its_module() {
    let (machine, [one, two]) = changed();
    machine.fail("load-one", "5");
    let plan = machine.dedup(&["restore", "latest", "--dry-run"]).ok();
    assert!(plan.out.contains("what it has now is dumped first"), "{}", plan.out);
    machine.dedup(&["restore", "latest", "--yes"]).ends(7).says(&["one: rolled back"]);
    // The load that failed had replaced everything; what was dumped before it was loaded once more.
    assert_eq!((read(&one), read(&two)), ("changed since".into(), "changed since".into()));
    assert_eq!(read(&machine.data("one").join("file")), "changed since");
    assert_eq!(machine.events(), ["stop-web", "dump-one", "load-one", "load-one", "start-web"]);
    assert_nothing_kept(&machine);
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!((read(&one), read(&two)), ("rows of one\n".into(), "rows of two\n".into()));
    assert_nothing_kept(&machine);
}

#[test]
fn a_source_comes_back_if_the_run_is_killed_in_its_load() {
    let (machine, [one, two]) = changed();
    machine.fail("load-two", "kill");
    let run = machine.dedup(&["restore", "latest", "--yes"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert_eq!((read(&one), read(&two)), ("changed since".into(), "changed since".into()));
    assert_eq!(read(&machine.data("two").join("file")), "changed since");
    assert_nothing_kept(&machine);
}

#[test]
fn what_cannot_be_dumped_is_not_replaced_unless_somebody_says_so() {
    let (machine, [one, _]) = changed();
    machine.fail("dump-one", "4");
    machine
        .dedup(&["restore", "latest", "--yes", "-m", "one"])
        .ends(7)
        .says(&["cannot be kept", "--no-safety"]);
    assert_eq!(read(&one), "changed since");
    assert_eq!(read(&machine.data("one").join("file")), "changed since");
    assert_nothing_kept(&machine);
    let plan = machine.dedup(&["restore", "latest", "--dry-run", "-m", "one", "--no-safety"]).ok();
    assert!(plan.out.contains("kept by nobody") && plan.out.contains("for good"), "{}", plan.out);
    machine.dedup(&["restore", "latest", "--yes", "-m", "one", "--no-safety"]).ok();
    assert_eq!(read(&one), "rows of one\n");
    assert_nothing_kept(&machine);
    // And then a failure cannot be taken back, which is said.
    fs::write(machine.data("one").join("file"), "changed again").unwrap();
    machine.fail("load-one", "5");
    let run = machine.dedup(&["restore", "latest", "--yes", "-m", "one", "--no-safety"]).ends(1);
    assert!(run.err.contains("kept by nobody") && run.out.contains("broken"), "{}{}", run.err, run.out);
    assert_eq!(read(&machine.data("one").join("file")), "what one has\n");
    assert_nothing_kept(&machine);
}

/// A source that needs its service is loaded while it runs; the files before were written while it stood still.
#[test]
fn what_a_source_needs_runs_while_it_is_loaded() {
    let machine = Machine::new();
    let service = machine.service("db");
    let rows = with_rows(&machine, "one", &format!("needs = [\"db\"]\n{service}"));
    machine.dedup(&["backup"]).ok();
    fs::write(&rows, "changed since").unwrap();
    machine.events();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(machine.events(), ["stop-db", "start-db", "dump-one", "load-one"]);
    assert_eq!(read(&rows), "rows of one\n");
    machine.fail("load-one", "5");
    machine.dedup(&["restore", "latest", "--yes"]).ends(7);
    assert_eq!(
        machine.events(),
        ["stop-db", "start-db", "dump-one", "load-one", "load-one", "stop-db", "start-db"]
    );
    machine.assert_as_before(&["db"]);
}

/// What one module's source needed stands still again before the files of the next are replaced, if it is its service too.
#[test]
fn a_service_of_two_modules_stands_still_for_the_files_of_each() {
    let machine = Machine::new();
    let service = machine.service("db");
    with_rows(&machine, "one", &format!("needs = [\"db\"]\n{service}"));
    machine.module("two", &format!("{service}[depends]\nrequires = [\"one\"]\n"));
    machine.dedup(&["backup"]).ok();
    fs::write(machine.data("two").join("file"), "changed since").unwrap();
    machine.events();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(machine.events(), ["stop-db", "start-db", "dump-one", "load-one", "stop-db", "start-db"]);
    assert_eq!(read(&machine.data("two").join("file")), "what two has\n");
    machine.assert_as_before(&["db"]);
}

#[test]
fn several_modules_are_named_and_the_others_stay() {
    let (machine, [one, two]) = changed();
    let three = with_rows(&machine, "three", "");
    machine.dedup(&["backup"]).ok();
    for rows in [&one, &two, &three] {
        fs::write(rows, "once more").unwrap();
    }
    machine.dedup(&["restore", "latest", "--yes", "-m", "one", "-m", "three"]).ok();
    assert_eq!([read(&one), read(&two), read(&three)], ["changed since", "once more", "rows of three\n"]);
    fs::write(&one, "still here").unwrap();
    machine.dedup(&["restore", "latest", "--yes", "-m", "one", "-m", "fuor"]).ends(1).says(&["no snapshot"]);
    assert_eq!(read(&one), "still here");
}

#[test]
fn whole_modules_go_below_a_directory_and_nothing_runs() {
    let (machine, [one, _]) = changed();
    fs::create_dir(machine.data("one").join("sub")).unwrap();
    let secret = machine.place.path("secret");
    fs::write(&secret, "of nobody else").unwrap();
    let path = machine.manifest("one");
    fs::write(&path, format!("{}[secrets]\nfiles = [{secret:?}]\n", read(&path))).unwrap();
    fs::create_dir(machine.place.path("plain")).unwrap();
    fs::write(machine.place.path("plain/file"), "plain").unwrap();
    machine.dedup(&["backup", "plain", "-m", "one", "-m", "two"]).ok();
    let stored = (tree(&machine.data("one")), read(&one));
    fs::remove_dir_all(machine.data("one")).unwrap();
    fs::remove_file(&one).unwrap();
    machine.events();
    let below = |path: &Path| path.strip_prefix("/").unwrap().to_owned();
    let out = machine.place.path("out");
    let target = out.to_str().unwrap();
    let plan = machine.dedup(&["restore", "latest", "--target", target, "--dry-run"]).ok();
    assert!(plan.out.contains("below") && !out.exists(), "{}", plan.out);
    machine.dedup(&["restore", "latest", "--target", target]).ok();
    assert_eq!(machine.events(), Vec::<String>::new());
    assert_eq!(tree(&out.join("one").join(below(&machine.data("one")))), stored.0);
    assert_eq!(read(&out.join("one").join(below(&secret))), "of nobody else");
    assert_eq!(read(&out.join("one/rows.dump")), stored.1);
    assert_eq!(read(&out.join("two/rows.dump")), "changed since");
    assert_eq!(read(&out.join(below(&machine.place.path("plain/file")))), "plain");
    assert!(!one.exists() && !machine.data("one").exists(), "nothing else is touched");
    machine.assert_as_before(&["web"]);

    let some = machine.place.path("some");
    machine.dedup(&["restore", "latest", "--target", some.to_str().unwrap(), "-m", "two"]).ok();
    let names: Vec<_> = fs::read_dir(&some).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["two"]);
    let database = rusqlite::Connection::open(machine.place.path("two.db")).unwrap();
    database.execute_batch("create table t(x); insert into t values (5)").unwrap();
    drop(database);
    let text = format!(
        "schema = 1\n[module]\nid = \"lite\"\n[[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = {:?}\n",
        machine.place.path("two.db")
    );
    fs::write(machine.manifest("lite"), text).unwrap();
    machine.dedup(&["backup", "-m", "lite"]).ok();
    machine.dedup(&["restore", "latest", "-m", "lite", "--target", target]).ok();
    let found = rusqlite::Connection::open(out.join("lite/db.db")).unwrap();
    let x: i64 = found.query_row("select x from t", [], |row| row.get(0)).unwrap();
    assert_eq!(x, 5);
}

/// A small file system; unmounted when this goes.
pub struct Small(pub PathBuf);

impl Small {
    pub fn mount(at: PathBuf, bytes: u64) -> Option<Self> {
        let mounted = is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
                .arg(&at)
                .output()
                .is_ok_and(|output| output.status.success());
        if !mounted {
            skip("a small file system can only be mounted by root");
        }
        mounted.then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Step R7: what will be written and what is kept of what that replaces must fit, on each file system; told with numbers.
#[test]
fn without_room_nothing_is_touched() {
    let machine = Machine::new();
    machine.module("big", &machine.service("web"));
    let Some(small) = Small::mount(machine.data("big"), 4 << 20) else { return };
    let file = small.0.join("file");
    fs::write(&file, crate::cli::support::noise(1, 3 << 20)).unwrap();
    machine.dedup(&["backup"]).ok();
    fs::write(&file, crate::cli::support::noise(2, 3 << 20)).unwrap();
    let before = fs::read(&file).unwrap();
    machine.events();
    let plan = machine.dedup(&["restore", "latest", "--dry-run", "--json"]).ok().json_lines().pop().unwrap();
    let room =
        plan["rooms"].as_array().unwrap().iter().find(|room| room["place"] == small.0.to_str().unwrap());
    let room = room.unwrap_or_else(|| panic!("{plan}"));
    assert!((3 << 20..4 << 20).contains(&room["needed_bytes"].as_u64().unwrap()), "{room}");
    assert!(room["free_bytes"].as_u64().unwrap() <= 1 << 20, "{room}");
    machine.dedup(&["restore", "latest", "--yes"]).ends(1).says(&[
        "nothing was touched",
        "not enough room",
        "bytes are needed",
    ]);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(machine.events(), Vec::<String>::new());
    machine.assert_as_before(&["web"]);
    // Only the file that differs counts: with it out of the way there is room.
    fs::remove_file(&file).unwrap();
    machine.dedup(&["restore", "latest", "--yes"]).ok();
    assert_eq!(fs::read(&file).unwrap(), crate::cli::support::noise(1, 3 << 20));
    machine.dedup(&["restore", "latest", "--yes"]).ok();
}
