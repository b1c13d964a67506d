//! `dedup parity`, run as a person or a script runs it.

use super::support::{Place, noise, packs};
use std::fs;
use std::path::PathBuf;

/// Makes a place with two snapshots and a few packs.
fn place() -> Place {
    let place = Place::with_snapshot();
    for n in 0..2 {
        fs::write(place.path("src/changes"), noise(n + 1, 300_000)).unwrap();
        place.run(["backup", "src"]).ok();
    }
    place
}

fn objects(place: &Place) -> Vec<PathBuf> {
    let all = fs::read_dir(place.path("repo/parity")).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn lost_packs_come_back() {
    let place = place();
    let said = place.run(["parity", "add", "--dry-run"]).ok().quiet();
    assert!(said.out.contains("1 new group of") && said.out.contains("Nothing was changed"), "{}", said.out);
    assert_eq!(objects(&place).len(), 0);
    place.run(["parity", "add"]).ok().quiet().shows(&["1 new group of", "2 objects"]);
    place.run(["parity", "add"]).ok().quiet().shows(&["are protected already"]);
    place.run(["parity", "status"]).ok().quiet().shows(&["2 of 2", "Stands:    any 2 packs more lost"]);
    let data = packs(&place.path("repo"), 3);
    let before = data.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    fs::remove_file(&data[0]).unwrap();
    fs::write(&data[1], "rotten").unwrap();
    place.run(["check", "--read-data"]).ends(6);
    place.run(["parity", "status"]).ok().shows(&["0 of "]);
    place
        .run(["parity", "repair", "--dry-run"])
        .ok()
        .shows(&["2 of 2 can be rebuilt"])
        .says(&["can be rebuilt"]);
    assert!(!data[0].exists());
    place.run(["parity", "repair"]).ok().shows(&["2 of 2 rebuilt"]).says(&["damage: packs/", "rebuilt"]);
    assert_eq!(data.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), before);
    place.run(["parity", "repair"]).ok().quiet().shows(&["nothing is lost or damaged"]);
    place.assert_sound();
    place.assert_restores();
    let check = place.run(["check", "--read-data"]).ok().quiet();
    assert!(check.out.contains("Parity:  1 group, 2 objects, compared with their packs"), "{}", check.out);
}

#[test]
fn what_cannot_be_rebuilt_is_said_and_left_alone() {
    let place = place();
    place.run(["parity", "add", "--shards", "1"]).ok();
    let all = [packs(&place.path("repo"), 3), packs(&place.path("repo"), 4)].concat();
    fs::write(&all[0], "rotten").unwrap();
    fs::remove_file(&all[1]).unwrap();
    for arguments in [&["parity", "repair", "--dry-run"][..], &["parity", "repair"]] {
        place.run(arguments).ends(6).says(&["cannot be rebuilt", "1 shards are left"]).shows(&["0 of 2"]);
        assert_eq!(fs::read(&all[0]).unwrap(), b"rotten");
    }
    place.run(["parity", "add", "--shards", "2"]).ends(6).says(&["it is in no new group"]);
    place.run(["parity", "remove", "--all"]).ok();
    assert_eq!(objects(&place).len(), 0);
}

#[test]
fn groups_go_as_they_came() {
    let place = place();
    place.run(["parity", "add", "--shards", "1", "--group", "2"]).ok();
    let status = place.run(["parity", "status", "--json"]).ok().json();
    let groups = status["groups"].as_array().unwrap();
    assert!(groups.len() > 1, "{status}");
    let first = groups[0]["group"].as_str().unwrap();
    place.run(["parity", "remove", "zz"]).ends(2);
    place.run(["parity", "remove"]).ends(2);
    let missing = if first.starts_with('0') { "ffffffff" } else { "00000000" };
    place.run(["parity", "remove", missing]).ends(1).says(&["no group begins with"]);
    place.run(["parity", "remove", first, "--dry-run"]).ok().shows(&["Nothing was changed"]);
    assert_eq!(objects(&place).len(), groups.len());
    place.run(["parity", "remove", &first[..8]]).ok().shows(&["Removed: 1 object"]);
    assert_eq!(objects(&place).len(), groups.len() - 1);
    for wrong in [["--shards", "0"], ["--shards", "33"], ["--group", "129"], ["--group", "0"]] {
        place.run([&["parity", "add"], &wrong[..]].concat()).ends(2);
    }
    place.run(["parity", "add", "--shards", "1"]).ok();
    place.assert_sound();
}

/// A prune says what loses its protection.
#[test]
fn a_prune_says_what_it_does_to_parity() {
    let place = place();
    place.run(["parity", "add", "--shards", "1"]).ok();
    place.run(["forget", "--keep-last", "1"]).ok();
    let told = ["without parity", "dedup parity add"];
    place.run(["prune", "--max-unused", "0", "--dry-run"]).ok().says(&told);
    place.run(["prune", "--max-unused", "0"]).ok().says(&told);
    assert_eq!(objects(&place).len(), 0);
    place.run(["parity", "add", "--shards", "1"]).ok();
    place.run(["prune", "--max-unused", "0"]).ok().quiet();
    place.assert_sound();
}
