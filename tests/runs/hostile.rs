//! Root on a machine where somebody else could have written what is run: nothing of theirs runs (7.4, 7.5 of the design).

use super::app::Machine;
use crate::cli::support::{is_root, skip};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

/// The user and group `nobody`.
const NOBODY: u32 = 65534;

/// Every place of a manifest from which a program is run.
fn places(program: &str) -> Vec<(&'static str, String)> {
    let list = |verb: &str| format!("[{program:?}, {verb:?}]");
    let (ok, own) = ("[\"/bin/true\"]".to_owned(), list);
    vec![
        ("hook before", format!("[hooks]\nbackup_pre = {{ run = {} }}\n", own("hook"))),
        ("hook after", format!("[hooks]\nbackup_post = {{ run = {} }}\n", own("hook"))),
        ("hook of a restore", format!("[hooks]\nrestore_pre = {{ run = {} }}\n", own("hook"))),
        ("check", format!("[hooks]\ncheck = {{ run = {} }}\n", own("check"))),
        ("setup", format!("[setup]\nstate = {}\n", own("state"))),
        ("lockdown", format!("[lockdown]\non = {}\noff = {ok}\n", own("on"))),
        ("source", format!("[[source]]\nname = \"s\"\ndriver = \"command\"\ndump = {}\n", own("dump"))),
        (
            "service status",
            format!(
                "[[service]]\nname = \"s\"\nkind = \"command\"\nstatus = {}\nstop = {ok}\nstart = {ok}\n",
                own("x")
            ),
        ),
        (
            "service stop",
            format!(
                "[[service]]\nname = \"s\"\nkind = \"command\"\nstatus = {ok}\nstop = {}\nstart = {ok}\n",
                own("x")
            ),
        ),
    ]
}

#[test]
fn a_program_that_others_could_have_written_is_never_run() {
    if !is_root() {
        return skip("only root has to distrust everybody else");
    }
    let machine = Machine::new();
    let (theirs, open) = (machine.place.path("theirs"), machine.place.path("open"));
    fs::create_dir(&open).unwrap();
    let ran = machine.place.path("ran");
    for program in [theirs.clone(), open.join("program")] {
        fs::write(&program, format!("#!/bin/sh\ntouch {ran:?}\n")).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    machine.module("good", "");
    machine.dedup(&["backup", "-m", "good"]).ok();
    let mut cases = 0;
    for program in [theirs, open.join("program")] {
        for (place, text) in places(program.to_str().unwrap()) {
            machine.module("bad", &text);
            machine.dedup(&["backup", "-m", "bad"]).ends(2).says(&["bad", program.to_str().unwrap()]);
            // Among all it is left out, and said; the others are not harmed.
            machine.dedup(&["backup"]).ends(3).says(&["bad"]);
            assert!(!ran.exists(), "{place}: it was run");
            cases += 1;
        }
    }
    // The same programs do run where they are root's alone: the test would notice.
    let own = machine.place.path("own");
    fs::write(&own, format!("#!/bin/sh\ntouch {ran:?}\n")).unwrap();
    fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).unwrap();
    machine.module("bad", &places(own.to_str().unwrap())[0].1);
    machine.dedup(&["backup", "-m", "bad"]).ok();
    assert!(ran.exists());
    println!("FIGURE programs that others could have written: {cases} refused");
}
