//! `dedup copy`: two repositories, two keys, one program.

use super::support::{Place, packs, small_tree};
use serde_json::json;
use std::fs;

const TO: [&str; 4] = ["--to", "other", "--to-key-file", "other.key"];
const OTHER: [&str; 4] = ["-r", "other", "--key-file", "other.key"];

fn place() -> Place {
    let place = Place::with_snapshot();
    place.run(["init", "--key-file", "other.key", "other"]).ok();
    place
}

fn copy(place: &Place, more: &[&str]) -> super::support::Run {
    place.run([&["copy"], &TO[..], more].concat())
}

#[test]
fn what_is_copied_is_said_and_is_copied_once() {
    let place = place();
    fs::write(place.path("src/more"), "more").unwrap();
    place.run(["backup", "src", "--tag", "second"]).ok();
    let would = copy(&place, &["--dry-run", "--json"]).ok().json();
    assert_eq!((&would["type"], &would["snapshots"][1]["outcome"]), (&json!("copy"), &json!("waits")));
    let only = copy(&place, &["--tag", "second", "--json"]).ok().json();
    assert_eq!(only["snapshots"].as_array().unwrap().len(), 1);
    copy(&place, &[]).ok().shows(&["1 copied, 1 there already"]);
    let again = copy(&place, &["--json"]).ok().json();
    let outcomes: Vec<_> = again["snapshots"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["there", "there"]);
    let list = place.run([&["snapshots", "--json"], &OTHER[..]].concat()).ok().json();
    let list = list["snapshots"].as_array().unwrap();
    assert_eq!(list[0]["copy_of"]["snapshot_id"], again["snapshots"][0]["id"]);
    assert_eq!(list[0]["id"], again["snapshots"][0]["copy_id"]);
    place.run([&["check", "--read-data"], &OTHER[..]].concat()).ok();
    let target = place.path("restored");
    let from = format!("latest:{}", place.path("src").display());
    place.run([&["restore", &from, "--target", target.to_str().unwrap()], &OTHER[..]].concat()).ok();
    assert_eq!(super::support::tree(&target), super::support::tree(&place.path("src")));
}

#[test]
fn what_is_wrong_is_told_by_its_status() {
    let place = place();
    place.run(["copy"]).ends(2);
    place.run(["copy", "--to", "nowhere", "--to-key-file", "other.key"]).ends(10).says(&["nowhere"]);
    place.run(["copy", "--to", "other", "--to-key-file", "key"]).ends(12);
    place.run(["copy", "--to", "other"]).ends(12).says(&["--to-key-file"]);
    place.run(["copy", "--to", "repo", "--to-key-file", "key"]).ends(2).says(&["same repository"]);
    copy(&place, &["--max-memory", "100M"]).ends(2).says(&["128M"]);
    copy(&place, &["0123"]).ends(1).says(&["no snapshot begins"]);
    copy(&place, &["latest:/x"]).ends(2);
    // A variable says what opens it as well.
    let mut command = place.command(["copy", "--to", "other"]);
    command.env("DEDUP_TO_KEY_FILE", place.path("other.key"));
    super::support::finish(command, b"").ok();
}

/// Damage bars the snapshots that it hits, and no others; nothing of them is there.
#[test]
fn damage_is_told_and_the_rest_is_copied() {
    let place = place();
    let before = packs(&place.path("repo"), 3);
    small_tree(&place.path("other-src"));
    fs::write(place.path("other-src/noise"), super::support::noise(99, 50_000)).unwrap();
    place.run(["backup", "other-src"]).ok();
    let mut bytes = fs::read(&before[0]).unwrap();
    bytes[200] ^= 1;
    let mut permissions = fs::metadata(&before[0]).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&before[0], permissions).unwrap();
    fs::write(&before[0], bytes).unwrap();
    let told = copy(&place, &["--json"]).ends(6).json();
    let all = told["snapshots"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["outcome"], &told["exit_code"]), (2, &json!("failed"), &json!(6)));
    let list = place.run([&["snapshots", "--json"], &OTHER[..]].concat()).ok().json();
    let copied = all.iter().filter(|one| one["outcome"] == "copied").count();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), copied);
    place.run([&["check", "--read-data"], &OTHER[..]].concat()).ok();
}
