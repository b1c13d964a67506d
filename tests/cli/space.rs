//! `dedup space`: what a repair puts aside, and how it comes back.

use super::support::{Place, finish};
use serde_json::Value;
use std::fs;

/// Runs a line of shell below `dedup space run`, in which `dedup` is the program that is tested.
fn script(line: &str) -> String {
    format!("dedup() {{ {} \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_dedup"))
}

#[test]
fn a_repair_that_fails_is_undone_and_its_status_is_passed_on() {
    let place = Place::empty();
    fs::write(place.path("conf"), "old").unwrap();
    let run = |words: &[&str]| finish(place.command(words), b"");
    let fails = script("dedup space put conf --name conf && echo new > conf && exit 42");
    let ended = run(&["space", "run", "fix", "--", "sh", "-c", &fails]).ends(42);
    assert!(ended.err.contains("1 paths were put back"), "{}", ended.err);
    assert_eq!(fs::read_to_string(place.path("conf")).unwrap(), "old");
    assert!(!run(&["space", "list"]).ok().out.contains("fix"), "a temporary one is gone");

    let works = script(
        "dedup space put conf --name conf && printf 1 | dedup space put-value n && test \"$(dedup space value n)\" = 1 && echo new > conf",
    );
    run(&["space", "run", "fix", "--persistent", "--", "sh", "-c", &works]).ok();
    assert_eq!(fs::read_to_string(place.path("conf")).unwrap(), "new\n");
    let list: Value = serde_json::from_str(&run(&["space", "list", "--json"]).ok().out).unwrap();
    assert_eq!((&list["spaces"][0]["id"], &list["spaces"][0]["objects"]), (&"fix".into(), &2.into()));
    let shown: Value = serde_json::from_str(&run(&["space", "show", "fix", "--json"]).ok().out).unwrap();
    assert_eq!(
        (&shown["objects"][0]["name"], &shown["objects"][1]["is_value"]),
        (&"conf".into(), &true.into())
    );
    assert!(run(&["space", "revert", "--all", "--dry-run"]).ok().out.contains("would be put back"));
    assert_eq!(fs::read_to_string(place.path("conf")).unwrap(), "new\n");
    let reverted: Value = serde_json::from_str(&run(&["space", "revert", "fix", "--json"]).ok().out).unwrap();
    assert_eq!(reverted["spaces"][0]["reverted"], true);
    assert_eq!(fs::read_to_string(place.path("conf")).unwrap(), "old");

    run(&["space", "revert", "none"]).ends(1);
    run(&["space", "revert"]).ends(2);
    run(&["space", "put", "conf"]).ends(2);
    run(&["space", "remove", "fix"]).ends(2);
    run(&["space", "remove", "fix", "--yes"]).ok();
    run(&["space", "show", "fix"]).ends(1);
    run(&["space", "run", "killed", "--", "sh", "-c", "kill -9 $$"]).ends(137);
    run(&["space", "run", "none", "--", "no-such-program"]).ends(1);
}
