//! `dedup forget`, run as a person or a script runs it.

use super::support::{Place, noise};
use std::fs;

/// Makes a place with `count` snapshots of `src`, each of other content.
fn place(count: u64) -> (Place, Vec<String>) {
    let place = Place::new();
    let mut ids = Vec::new();
    for n in 0..count {
        fs::create_dir_all(place.path("src")).unwrap();
        fs::write(place.path("src/file"), noise(n + 1, 3000)).unwrap();
        place.run(["backup", "src"]).ok();
        ids.push(place.newest());
    }
    (place, ids)
}

fn listed(place: &Place) -> Vec<String> {
    let list = place.run(["snapshots", "--json"]).ok().json();
    list["snapshots"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rules_forget_and_say_why() {
    let (place, ids) = place(4);
    let plan = place.run(["forget", "--keep-last", "2", "--dry-run", "--json"]).ok().json();
    assert_eq!((&plan["dry_run"], &plan["kept"], &plan["forgotten"]), (&true.into(), &2.into(), &2.into()));
    let actions: Vec<_> =
        plan["snapshots"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
    assert_eq!(actions, ["forget", "forget", "keep", "keep"]);
    assert_eq!(plan["snapshots"][3]["reasons"], serde_json::json!(["last"]));
    assert_eq!(listed(&place), ids, "a dry run changes nothing");
    let run = place.run(["forget", "--keep-last", "2"]).ok().says(&["--undo"]);
    assert!(
        run.out.contains("no rule keeps it") && run.out.contains("2 snapshots forgotten, 2 kept"),
        "{}",
        run.out
    );
    assert_eq!(listed(&place), ids[2..]);
    let forgotten = place.run(["snapshots", "--forgotten", "--json"]).ok().json();
    assert_eq!(forgotten["snapshots"].as_array().unwrap().len(), 2);
    place.assert_sound();
    place.run(["forget", "--undo", &ids[0][..10]]).ok();
    assert_eq!(listed(&place), [&ids[..1], &ids[2..]].concat());
    let back = place.run(["forget", "--undo", "--json"]).ok().json();
    assert_eq!(back["taken_back"], serde_json::json!([ids[1]]));
    assert_eq!(listed(&place), ids);
    place.assert_restores();
}

#[test]
fn the_last_one_stays_and_pins_hold() {
    let (place, ids) = place(2);
    place.run(["forget", &ids[0], &ids[1]]).ends(2).says(&["nothing good would be left", "--allow-empty"]);
    place.run(["forget", "--pin", &ids[0][..8]]).ok();
    place.run(["forget", &ids[0]]).ends(2).says(&["pinned", "--unpin"]);
    let list = place.run(["snapshots"]).ok();
    assert!(list.out.contains("complete, pinned"), "{}", list.out);
    place.run(["forget", "--keep-last", "1"]).ok();
    assert_eq!(listed(&place), ids);
    place.run(["forget", "--unpin", &ids[0]]).ok();
    place.run(["forget", "--keep-tag", "none", "--dry-run"]).ok();
    place.run(["forget", "--allow-empty", "--keep-last", "0"]).ok();
    assert_eq!(listed(&place), [""; 0]);
    place.run(["forget", "--undo"]).ok();
    assert_eq!(listed(&place), ids);
}

/// A `forget` was killed between what it stored and its last word; said again, it failed: there was no such snapshot.
/// Whoever writes scripts must be able to say the same thing twice.
#[test]
fn what_is_done_already_is_no_error() {
    let (place, ids) = place(3);
    place.run(["forget", &ids[0]]).ok();
    let again = place.run(["forget", &ids[0], &ids[1][..12]]).ok();
    assert!(again.err.contains("was forgotten before"), "{}", again.err);
    assert_eq!(listed(&place), ids[2..]);
    let none = place.run(["forget", "--json", &ids[0]]).ok().json();
    assert_eq!(none["forgotten"], 0);
    place.run(["forget", "--undo", &ids[0]]).ok();
    let none = place.run(["forget", "--undo", "--json", &ids[0]]).ok().json();
    assert_eq!(none["taken_back"], serde_json::json!([]));
    assert_eq!(listed(&place), [&ids[..1], &ids[2..]].concat());
    // With the rules as with names: the last one is not asked after when nothing is left to do.
    place.run(["forget", "--allow-empty", &ids[0], &ids[2]]).ok();
    place.run(["forget", &ids[0], &ids[2]]).ok();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (place, ids) = place(1);
    place.run(["forget"]).ends(2).says(&["no rule says what to keep", "--keep-daily"]);
    place.run(["forget", &ids[0], "--keep-last", "1"]).ends(2).says(&["either name snapshots"]);
    place.run(["forget", "--undo", "--keep-last", "1"]).ends(2).says(&["either name snapshots"]);
    place.run(["forget", "nonsense"]).ends(2).says(&["no snapshot's id"]);
    place.run(["forget", "0000000000000000"]).ends(1).says(&["no snapshot begins with"]);
    place.run(["forget", "--pin"]).ends(2);
    place.run(["forget", "--keep-last", "-1"]).ends(2);
    assert_eq!(listed(&place), ids);
}
