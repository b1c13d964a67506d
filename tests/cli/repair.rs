//! `dedup repair`: what people and scripts see of it.

use super::support::{Place, flip, tree};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Returns the files below a folder of the repository.
fn objects(place: &Place, family: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![place.path("repo").join(family)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn data_packs(place: &Place) -> Vec<PathBuf> {
    objects(place, "packs").into_iter().filter(|path| fs::read(path).unwrap()[7] == 3).collect()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn on_a_healthy_repository_nothing_happens() {
    let place = Place::with_snapshot();
    let before = tree(&place.path("repo"));
    place.run(["repair", "packs"]).ok().shows(&["no damage was found", "only names and lengths"]);
    place.run(["repair", "packs", "--read-data"]).ok().shows(&["no damage was found"]);
    place.run(["repair", "snapshots", "--forget"]).ok().shows(&["0 snapshots have lost something"]);
    place.run(["repair", "index", "--from-packs"]).ok().shows(&["no damage was found"]);
    assert_eq!(tree(&place.path("repo")), before);
}

#[test]
fn from_a_rotten_pack_to_a_whole_backup() {
    let place = Place::with_snapshot();
    flip(&data_packs(&place)[0]);
    let checked = place.run(["check", "--read-data"]).ends(6);
    checked.shows(&["next: `dedup repair packs --read-data`"]);
    let report = place.run(["check", "--read-data", "--json"]).ends(6);
    assert_eq!(lines(&report.out).last().unwrap()["repairs"], json!(["repair packs --read-data"]));
    fs::write(place.path("report"), &report.out).unwrap();
    let before = tree(&place.path("repo"));
    let path = place.path("report");
    let dry = place.run(["repair", "packs", "--report", path.to_str().unwrap(), "--dry-run"]).ends(6);
    dry.shows(&["nothing was changed"]).says(&["damaged: packs/", "lost: snapshot"]);
    assert_eq!(tree(&place.path("repo")), before);
    let done = place.run(["repair", "packs", "--read-data", "--json"]).ends(6);
    let all = lines(&done.out);
    let summary = all.last().unwrap();
    assert_eq!((&summary["type"], &summary["packs_removed"]), (&json!("summary"), &json!(1)));
    assert!(all.iter().any(|line| line["type"] == "loss" && line["what"] == "entry"), "{all:?}");
    place.run(["repair", "packs", "--read-data"]).ok().shows(&["no damage was found"]);

    place.run(["check"]).ends(6).shows(&["`dedup repair snapshots`"]);
    let old = place.newest();
    place.run(["repair", "snapshots"]).ok().shows(&["is", "now", "the old ones stay"]);
    place.run(["repair", "snapshots", "--forget"]).ok().shows(&["the old one is forgotten"]);
    let left = place.run(["snapshots", "--json"]).ok().json();
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(left["snapshots"][0]["rewritten_from"]["snapshot_id"], json!(old));
    assert_eq!(left["snapshots"][0]["state"], "partial");
    place.assert_sound();
    place.run(["backup", "src"]).ok();
    place.assert_sound();
    let target = place.path("restored");
    let from = format!("latest:{}", place.path("src").display());
    place.run(["restore", &from, "--target", target.to_str().unwrap()]).ok();
    assert_eq!(tree(&target), tree(&place.path("src")));
}

#[test]
fn segments_are_made_anew() {
    let place = Place::with_snapshot();
    flip(&objects(&place, "segments")[0]);
    place.run(["check"]).ends(6).shows(&["`dedup repair index`"]);
    place.run(["repair", "index", "--dry-run"]).ends(6).shows(&["nothing was changed"]);
    place.run(["repair", "index"]).ok().shows(&["in new segments"]).says(&["damaged: segments/"]);
    place.assert_sound();
    place.run(["repair", "index", "--json"]).ok();
}

#[test]
fn what_is_no_pack_or_report_is_refused() {
    let place = Place::with_snapshot();
    place.run(["repair", "packs", "1a2b"]).ends(2).says(&["is no pack"]);
    fs::write(place.path("text"), "hello").unwrap();
    let path = place.path("text");
    place.run(["repair", "packs", "--report", path.to_str().unwrap()]).ends(2).says(&["dedup check --json"]);
    place.run(["repair", "packs", "--from-key-file", "x"]).ends(2);
}
