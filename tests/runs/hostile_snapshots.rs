//! Snapshots that somebody wrote to harm, restored by root: whatever their manifests say, nothing of it is run, and no place is
//! touched that the manifest installed here does not declare (7.4 of the design).
//!
//! Each case is backed up by the real program on a machine that obeys the hostile manifest, and restored on one that has a
//! manifest of its own. The control: installed here, the same manifest does its harm, so the test would notice.

use super::app::Machine;
use crate::cli::support::{Entry, finish, is_root, skip, tree};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the same manifest does where it is installed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    /// Its program runs.
    Runs,
    /// What is guarded changes.
    Touches,
    /// Nothing: this program does not do such a thing yet, or refuses it.
    Nothing,
}
use Control::*;

struct Case {
    name: &'static str,
    /// The manifest in the snapshot.
    stored: String,
    /// The manifest that is installed, unless it is the usual one.
    here: Option<String>,
    /// The exit status of the restore.
    ends: i32,
    /// What the application has then.
    has: &'static str,
    control: Control,
}

/// The application `app`, beside things that are not its.
struct Estate {
    machine: Machine,
    evil: PathBuf,
    ran: PathBuf,
}

impl Estate {
    fn new() -> Self {
        let machine = Machine::new();
        let (evil, ran) = (machine.place.path("evil"), machine.place.path("ran"));
        fs::write(&evil, format!("#!/bin/sh\ntouch {ran:?}\necho ready\n")).unwrap();
        fs::set_permissions(&evil, PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir_all(machine.place.path("there/.config/dedup/modules.d")).unwrap();
        let victim = manifest("victim", &[machine.place.path("estate/victim")], "");
        fs::write(machine.manifest("victim"), victim).unwrap();
        Self { machine, evil, ran }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.machine.place.path("estate").join(below)
    }

    /// Makes everything anew: what the application has, what others have, and their modes.
    fn set(&self, app: &str, others: &str, mode: u32) {
        let _ = fs::remove_dir_all(self.path(""));
        for (dir, word) in [("app", app), ("canary", others), ("victim", others), ("canary/sub", others)] {
            fs::create_dir_all(self.path(dir)).unwrap();
            fs::write(self.path(dir).join("file"), word).unwrap();
            fs::set_permissions(self.path(dir).join("file"), PermissionsExt::from_mode(mode)).unwrap();
            fs::set_permissions(self.path(dir), PermissionsExt::from_mode(mode | 0o111)).unwrap();
        }
        for (name, rows) in [("canary/db", others), ("own.db", app)] {
            let connection = rusqlite::Connection::open(self.path(name)).unwrap();
            connection.execute_batch(&format!("create table t(x); insert into t values ('{rows}')")).unwrap();
        }
        let x = self.machine.place.path("x/victim");
        fs::create_dir_all(&x).unwrap();
        fs::write(x.join("file"), others).unwrap();
        let _ = fs::remove_file(&self.ran);
        fs::write(self.machine.place.path("ready"), "").unwrap();
    }

    /// Returns everything that is not the application's own.
    fn others(&self) -> BTreeMap<OsString, Entry> {
        let mut all = tree(&self.path(""));
        all.retain(|path, _| {
            let path = Path::new(path);
            !path.starts_with("app") && !path.starts_with("own.db")
        });
        all
    }

    fn install(&self, text: &str) {
        fs::write(self.machine.manifest("app"), text).unwrap();
    }

    fn run(&self, case: &Case) {
        // There: everything of the estate is the attacker's.
        self.set("stored", "planted", 0o666);
        if case.name.contains("a link in the snapshot") {
            std::os::unix::fs::symlink("../canary", self.path("app/out")).unwrap();
        }
        if case.name.contains("a link here") {
            fs::create_dir(self.path("app/out")).unwrap();
            fs::write(self.path("app/out/file"), "planted").unwrap();
        }
        fs::write(self.machine.place.path("there/.config/dedup/modules.d/app.toml"), &case.stored).unwrap();
        let mut command = self.machine.command(&["backup"]);
        command.env("HOME", self.machine.place.path("there"));
        command.env("DEDUP_STATE_DIR", self.machine.place.path("there/state"));
        let backup = finish(command, b"");
        assert!([0, 3].contains(&backup.code), "{}: {}", case.name, backup.err);
        let id = self.machine.place.newest();
        // Here.
        let usual = manifest("app", &[self.path("app")], "");
        self.install(case.here.as_deref().unwrap_or(&usual));
        let before = self.prepare(case);
        let mut arguments = vec!["restore", &id[..], "--yes"];
        if case.name.contains("alias") {
            arguments.extend(["-m", "victim"]);
        }
        let run = self.machine.dedup(&arguments);
        let context = format!("{}: {}{}", case.name, run.out, run.err);
        assert_eq!(run.code, case.ends, "{context}");
        assert!(!self.ran.exists(), "a program of the snapshot was run: {context}");
        assert_eq!(self.others(), before, "{context}");
        assert_eq!(fs::read_to_string(self.path("app/file")).unwrap(), case.has, "{context}");
        assert_eq!(self.machine.journals(), Vec::<String>::new(), "{context}");
        // The control.
        self.install(&case.stored);
        let before = self.prepare(case);
        let run = self.machine.dedup(&arguments);
        let context = format!("{}, control: {}{}", case.name, run.out, run.err);
        match case.control {
            Runs => assert!(self.ran.exists(), "{context}"),
            Touches => assert_ne!(self.others(), before, "{context}"),
            Nothing => {}
        }
    }

    /// Makes what is here before a restore; returns what must stay.
    fn prepare(&self, case: &Case) -> BTreeMap<OsString, Entry> {
        self.set("mine", "theirs", 0o640);
        if case.name.contains("a link here") {
            std::os::unix::fs::symlink("../canary", self.path("app/out")).unwrap();
        }
        if case.name.contains("setup that installs") {
            fs::remove_file(self.machine.place.path("ready")).unwrap();
        }
        self.others()
    }

    /// Every case; places and programs are those of this estate.
    fn cases(&self) -> Vec<Case> {
        let app = self.path("app");
        let evil = format!("[{:?}]", self.evil);
        let usual = |more: &str| manifest("app", std::slice::from_ref(&app), more);
        let with = |other: &str| manifest("app", &[app.clone(), self.path(other)], "");
        let case = |name, stored, ends, control| Case {
            name,
            stored,
            here: None,
            ends,
            has: if ends == 2 || ends == 1 { "mine" } else { "stored" },
            control,
        };
        let (canary, file) = (self.path("canary"), self.path("canary/file"));
        let sqlite = |path: PathBuf| {
            usual(&format!("[[source]]\nname = \"rows\"\ndriver = \"sqlite\"\npath = {path:?}\n"))
        };
        let based = |base: PathBuf, path: &str| {
            format!(
                "schema = 1\n[module]\nid = \"app\"\nversion = \"1\"\n[paths]\nBASE = {base:?}\n[data]\ndirectories = [{app:?}, \"${{BASE}}{path}\"]\n"
            )
        };
        vec![
            case(
                "a live hook before",
                usual(&format!("[hooks]\nrestore_pre = {{ run = {evil}, phase = \"live\" }}\n")),
                0,
                Runs,
            ),
            case("a hook before", usual(&format!("[hooks]\nrestore_pre = {{ run = {evil} }}\n")), 0, Runs),
            case(
                "a hook by a shell",
                usual(&format!("[hooks]\nrestore_pre = {{ run = {evil}, shell = true }}\n")),
                0,
                Runs,
            ),
            case("a hook after", usual(&format!("[hooks]\nrestore_post = {{ run = {evil} }}\n")), 0, Runs),
            case("a check", usual(&format!("[hooks]\ncheck = {{ run = {evil} }}\n")), 0, Runs),
            case(
                "a reset by a program",
                usual(&format!("[hooks]\nreset = {{ run = {evil} }}\n[restore]\nreset = \"command\"\n")),
                0,
                Runs,
            ),
            case("a setup that says its state", usual(&format!("[setup]\nstate = {evil}\n")), 0, Runs),
            case(
                "a setup that installs",
                usual(&format!("[setup]\nfile = {:?}\ninstall = {evil}\n", self.machine.place.path("ready"))),
                0,
                Runs,
            ),
            case("a lockdown", usual(&format!("[lockdown]\non = {evil}\noff = {evil}\n")), 0, Runs),
            case(
                "a lockdown by a file",
                usual(&format!("[lockdown]\nfile = {:?}\n", self.path("canary/lock"))),
                0,
                Touches,
            ),
            case(
                "a service",
                usual(&format!(
                    "[[service]]\nname = \"s\"\nkind = \"command\"\non_stop_error = \"continue\"\nstatus = {evil}\nstop = {evil}\nstart = {evil}\n"
                )),
                0,
                Runs,
            ),
            case(
                "a program that loads",
                usual(&format!(
                    "[[source]]\nname = \"s\"\ndriver = \"command\"\ndump = {evil}\nload = {evil}\n"
                )),
                3,
                Runs,
            ),
            case("an importer", usual(&format!("[importer]\ncommand = {evil}\n")), 0, Nothing),
            case(
                "paths to be moved away before",
                usual(&format!("[restore]\ndelete_before = [{canary:?}]\n")),
                0,
                Touches,
            ),
            case(
                "clearing what it declares",
                with("canary") + "[restore]\nreset = \"clear-declared\"\n",
                3,
                Touches,
            ),
            case("a directory outside", with("canary"), 3, Touches),
            case("a directory of another module", with("victim"), 3, Touches),
            case("the directory above", manifest("app", &[self.path("")], ""), 3, Touches),
            case("a pattern outside", usual(&format!("glob = [{:?}]\n", self.path("canary/*"))), 3, Touches),
            case("a file outside", usual(&format!("[config]\nfiles = [{file:?}]\n")), 3, Touches),
            case("a secret outside", usual(&format!("[secrets]\nfiles = [{file:?}]\n")), 3, Touches),
            case("a variable that is elsewhere", based(canary.clone(), "/sub"), 3, Touches),
            Case {
                here: Some(based(self.path("app/base"), "/none")),
                ..case(
                    "a variable that leads out of its path here",
                    based(canary.clone(), "/sub"),
                    0,
                    Touches,
                )
            },
            Case {
                here: Some(based(self.path(""), "/app/sub")),
                ..case(
                    "a variable that leads to others here",
                    based(canary.clone(), "/victim-not"),
                    3,
                    Nothing,
                )
            },
            case(
                "a link in the snapshot and what it leads to",
                manifest("app", &[app.clone(), self.path("app/out")], ""),
                3,
                Nothing,
            ),
            case("a link here where the snapshot has a directory", usual(""), 0, Nothing),
            case("a database elsewhere", sqlite(self.path("canary/db")), 3, Touches),
            Case {
                here: Some(sqlite(self.path("own.db"))),
                ..case("a database that is somewhere else here", sqlite(self.path("canary/db")), 0, Touches)
            },
            case(
                "newer data that say they may be taken",
                usual("[restore]\nallow_newer = true\n").replace("version = \"1\"", "version = \"2\""),
                2,
                Nothing,
            ),
            Case {
                here: Some(usual("[restore]\non_conflict = \"keep-existing\"\n")),
                has: "mine",
                ..case(
                    "its own way with conflicts",
                    usual("[restore]\non_conflict = \"replace\"\n"),
                    3,
                    Nothing,
                )
            },
            case(
                "another module as its alias",
                usual("").replace("[module]\n", "[module]\naliases = [\"victim\"]\n"),
                1,
                Nothing,
            ),
        ]
    }
}

fn manifest(id: &str, dirs: &[PathBuf], more: &str) -> String {
    format!("schema = 1\n[module]\nid = {id:?}\nversion = \"1\"\n[data]\ndirectories = {dirs:?}\n{more}")
}

#[test]
fn nothing_of_a_snapshot_is_run_and_nothing_undeclared_is_touched() {
    if !is_root() {
        return skip("only root could be made to do harm");
    }
    let estate = Estate::new();
    let cases = estate.cases();
    cases.iter().for_each(|case| estate.run(case));
    let controls = cases.iter().filter(|case| case.control != Nothing).count();
    println!("FIGURE hostile snapshots: {} did no harm, {controls} do where they are installed", cases.len());
    assert!(cases.len() >= 20);
}

/// What is below a path that only its entry is declared of is not that path's.
#[test]
fn what_is_not_declared_here_is_told_and_rolls_back_where_it_must() {
    let estate = Estate::new();
    let (app, sub) = (estate.path("app"), estate.path("canary/sub"));
    estate.set("stored", "stored", 0o644);
    estate.install(&manifest("app", &[app.clone(), sub.clone()], ""));
    estate.machine.dedup(&["backup", "-m", "app"]).ok();
    estate.install(&manifest("app", std::slice::from_ref(&app), ""));
    for (arguments, ends, has) in [(&[][..], 3, "stored"), (&["--strict"], 7, "mine")] {
        estate.set("mine", "theirs", 0o644);
        let before = estate.others();
        let plan = estate.machine.dedup(&["restore", "latest", "--dry-run"]).ok();
        assert!(plan.out.contains("canary/sub is not restored"), "{}", plan.out);
        let run = estate.machine.dedup(&[&["restore", "latest", "--yes"], arguments].concat()).ends(ends);
        assert!(run.err.contains("does not declare it"), "{}", run.err);
        assert_eq!(fs::read_to_string(app.join("file")).unwrap(), has);
        assert_eq!(estate.others(), before);
    }
    // Of a path whose entry alone is declared here, nothing below comes; that is told, too.
    let entry = format!("[[data.entries]]\npath = {sub:?}\nkind = \"dir\"\nrecurse = \"entry-only\"\n");
    estate.install(&manifest("app", std::slice::from_ref(&app), &entry));
    estate.set("mine", "theirs", 0o644);
    estate.machine.dedup(&["restore", "latest", "--yes"]).ends(3).says(&["does not declare it"]);
    assert_eq!(fs::read_to_string(sub.join("file")).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(app.join("file")).unwrap(), "stored");
}
