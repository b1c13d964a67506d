//! `dedup rewrite`: paths taken out of snapshots.

use super::support::{Place, tree};
use serde_json::json;
use std::fs;

#[test]
fn a_path_goes_from_all_snapshots() {
    let place = Place::with_snapshot();
    fs::write(place.path("src/later"), "later").unwrap();
    place.run(["backup", "src"]).ok();
    let before = place.run(["snapshots", "--json"]).ok().json();
    let would = place.run(["rewrite", "--all", "--exclude", "deeper/", "--dry-run"]).ok();
    would.shows(&["would lose", "sub/deeper", "2 snapshots have something of it, of 2"]);
    assert_eq!(place.run(["snapshots", "--json"]).ok().json(), before);
    place.run(["rewrite", "--all", "--exclude", "nothing-of-it"]).ok().shows(&["0 snapshots have"]);
    assert_eq!(place.run(["snapshots", "--json"]).ok().json(), before);

    let newest = place.newest();
    place.run(["forget", "--pin", &newest]).ok();
    place.run(["rewrite", "--all", "--exclude", "deeper/", "--forget"]).ends(2).says(&["pinned"]);
    assert_eq!(place.run(["snapshots"]).ok().out.lines().count(), 2 + 2, "a head, and how many there are");
    place.run(["forget", "--unpin", &newest]).ok();
    let done = place.run(["rewrite", "--all", "--exclude", "deeper/", "--forget", "--json"]).ok().json();
    assert_eq!((&done["type"], &done["snapshots"][0]["entries"]), (&json!("rewrite"), &json!(2)));
    let after = place.run(["snapshots", "--json"]).ok().json();
    let (old, new) = (before["snapshots"].as_array().unwrap(), after["snapshots"].as_array().unwrap());
    assert_eq!(new.len(), 2);
    for (old, new) in old.iter().zip(new) {
        assert_eq!((&old["time"], &old["host"]), (&new["time"], &new["host"]));
        assert_eq!(new["rewritten_from"]["snapshot_id"], old["id"]);
    }
    place.run(["prune", "--max-unused", "0"]).ok();
    place.assert_sound();
    fs::remove_dir_all(place.path("src/sub/deeper")).unwrap();
    let target = place.path("restored");
    let from = format!("latest:{}", place.path("src").display());
    place.run(["restore", &from, "--target", target.to_str().unwrap()]).ok();
    let (mut is, mut expected) = (tree(&target), tree(&place.path("src")));
    // Taking it out of the live tree changed the time of its directory.
    for all in [&mut is, &mut expected] {
        all.get_mut(std::ffi::OsStr::new("sub")).unwrap().1 = (0, 0);
    }
    assert_eq!(is, expected);
}

#[test]
fn the_old_ones_stay_unless_they_are_forgotten() {
    let place = Place::with_snapshot();
    let old = place.newest();
    place.run(["rewrite", "latest", "--exclude", "noise"]).ok();
    let new = place.newest();
    assert_ne!(old, new, "`latest` is the new one");
    place.run(["ls", &old]).ok().shows(&["noise"]);
    assert!(!place.run(["ls", &new]).ok().out.contains("noise"));
    // The same again makes nothing.
    place.run(["rewrite", &old, "--exclude", "noise"]).ok();
    place.run(["rewrite", "--all", "--exclude", "noise"]).ok();
    let list = place.run(["snapshots", "--json"]).ok().json();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 2);
    place.run(["rewrite", "latest"]).ends(2);
    place.run(["rewrite", "--exclude", "x"]).ends(2);
    place.run(["rewrite", "latest", "--exclude", "#"]).ends(2).says(&["no pattern"]);
    place.run(["rewrite", "latest:/x", "--exclude", "x"]).ends(2);
}
