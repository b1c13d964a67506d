//! `dedup witness`, and what every command does with a storage that was set back.

use super::support::Place;
use crate::support::copy_dir;
use std::fs;

/// Makes a place with three snapshots whose repository was as in `old` after the first.
fn place() -> Place {
    let place = Place::with_snapshot();
    copy_dir(&place.path("repo"), &place.path("old"));
    for n in 0..2 {
        fs::write(place.path("src/changes"), format!("{n}")).unwrap();
        place.run(["backup", "src"]).ok();
    }
    place
}

/// Puts the old state in the place of the repository, as a storage that is set back.
fn set_back(place: &Place) {
    fs::rename(place.path("repo"), place.path("new")).unwrap();
    copy_dir(&place.path("old"), &place.path("repo"));
}

#[test]
fn a_storage_that_was_set_back_ends_every_command() {
    let place = place();
    place.run(["witness"]).ok().shows(&["Snapshots:   3 are alive", "Fingerprint:"]);
    set_back(&place);
    let commands: [&[&str]; 8] = [
        &["snapshots"],
        &["backup", "src"],
        &["restore", "latest", "--target", "back"],
        &["forget", "--keep-last", "1"],
        &["prune"],
        &["key", "list"],
        &["ls", "latest"],
        &["witness"],
    ];
    for command in commands {
        let run = place.run(command).ends(6);
        let words = ["set back to an older state", "log/", "this machine knows it", "dedup witness accept"];
        assert!(words.iter().all(|word| run.err.contains(word)), "{command:?}: {}", run.err);
    }
    assert!(!place.path("back").exists(), "nothing is done before");
    // A check tells of that and goes on.
    let check = place.run(["check"]).ends(6);
    assert!(
        check.err.contains("damage: log: ") && check.out.contains("Checked:"),
        "{}{}",
        check.err,
        check.out
    );
    // The true one is still known.
    fs::remove_dir_all(place.path("repo")).unwrap();
    fs::rename(place.path("new"), place.path("repo")).unwrap();
    place.run(["snapshots"]).ok();
    place.assert_sound();
}

#[test]
fn who_put_a_copy_back_says_so() {
    let place = place();
    place.run(["witness", "accept"]).ok().shows(&["nothing to accept"]);
    set_back(&place);
    let refused = place.run(["witness", "accept"]).ends(2);
    assert!(refused.err.contains("set back"), "{}", refused.err);
    place.run(["snapshots"]).ends(6);
    let said = place.run(["witness", "accept", "--yes", "--json"]).ok().json();
    assert_eq!(said["type"], "witness_accepted");
    let given_up = said["given_up"].as_array().unwrap();
    assert!(!given_up.is_empty() && given_up[0]["known_by"] == "this machine", "{given_up:?}");
    assert!(given_up[0]["time"].is_string() && given_up[0]["host"].is_string(), "{given_up:?}");
    assert_eq!(place.run(["snapshots", "--json"]).ok().json()["snapshots"].as_array().unwrap().len(), 1);
    place.run(["backup", "src"]).ok();
    place.assert_sound();
    place.assert_restores();
    place.run(["check", "--strict"]).ok();
}

#[test]
fn what_is_remembered_is_told_from_what_is_not() {
    let place = place();
    let one = place.run(["witness", "--json"]).ok().json();
    assert_eq!((&one["first_contact"], &one["snapshots"]), (&false.into(), &3.into()));
    let client = &one["clients"][0];
    assert_eq!((&client["in_use"], &client["entries"]), (&true.into(), &3.into()));
    assert_eq!(client["rights"].as_array().unwrap().len(), 4);
    // Another machine with the same key sees the same, and has seen nothing before.
    fs::rename(place.path("state"), place.path("state-of-one")).unwrap();
    let check = place.run(["check"]).ok();
    assert!(check.err.contains("first contact"), "{}", check.err);
    fs::remove_dir_all(place.path("state")).unwrap();
    let other = place.run(["witness", "--json"]).ok().json();
    assert_eq!((&other["first_contact"], &other["fingerprint"]), (&true.into(), &one["fingerprint"]));
    let again = place.run(["check"]).ok();
    assert!(!again.err.contains("first contact"), "{}", again.err);
    let digits = client["client"].as_str().unwrap();
    place.run(["witness", "admit", &digits[..8]]).ok().shows(&["has all rights"]);
    let admitted = place.run(["witness", "admit", digits, "--json"]).ok().json();
    assert_eq!((&admitted["type"], &admitted["client"]), (&"witness_admitted".into(), &client["client"]));
    assert_eq!(admitted["rights"].as_array().unwrap().len(), 4);
    place.run(["witness", "admit", "zz"]).ends(1);
    place.run(["witness", "admit", digits, "--rights", "apend"]).ends(2);
    // What is remembered is damaged: that is told, and work goes on.
    let memory = fs::read_dir(place.path("state/witness")).unwrap().map(|entry| entry.unwrap().path());
    let memory = memory.into_iter().find(|path| path.extension().is_none()).unwrap();
    fs::write(&memory, "rotten").unwrap();
    let told = place.run(["snapshots"]).ok();
    assert!(told.err.contains("is lost"), "{}", told.err);
    place.run(["snapshots"]).ok().quiet();
}

#[test]
fn silent_machines_are_named() {
    let place = place();
    place.run(["check", "--strict"]).ok();
    let told = place.run(["check", "--silent-after", "30d"]).ok();
    assert!(!told.err.contains("silent"), "{}", told.err);
    // The last entry is at least as old as the command takes to start.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let told = place.run(["check", "--silent-after", "1s", "--strict"]).ends(4);
    assert!(told.err.contains("is silent since"), "{}", told.err);
    place.run(["check", "--silent-after", "soon"]).ends(2);
}
