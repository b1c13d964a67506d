//! Golden repositories: `tests/data/repo-*`, each named for what is wrong with it, written once by `make.rs`.
//!
//! Every one is opened, checked and restored, and what must come of it stands in [`GOLDEN`]. They lie in a
//! version control system, which keeps no empty folders, so each is copied and its folders are made.

use super::years::NAME;
use crate::cli::support::{Place, Run, tree};
use crate::support::copy_dir;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What must come of a golden repository.
struct Golden {
    /// Its folder below `tests/data`.
    name: &'static str,
    /// Status of `check --read-data`.
    check: i32,
    /// An object that a finding names, or a word of the error if nothing opens: a prefix.
    names: &'static str,
    /// Status of restoring the newest snapshot.
    restore: i32,
    /// What is back; the rest is absent.
    back: Back,
}

/// How much a restore brings back. Whatever it brings is right, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Back {
    All,
    /// All but `sub/second`, which is what the second data pack holds.
    Rest,
    /// What needs no data pack.
    Some,
    /// The snapshot before the newest, since that one does not exist.
    Older,
    None,
}

const fn golden(name: &'static str, check: i32, names: &'static str, restore: i32, back: Back) -> Golden {
    Golden { name, check, names, restore, back }
}

/// Every folder `repo-*` of `tests/data` but the one of `years.rs`.
const GOLDEN: [Golden; 24] = [
    golden("repo-1-draft2", 0, "", 0, Back::All),
    // Both snapshots were stored by a client that cannot read.
    golden(WRITTEN_ONLY, 0, "", 0, Back::All),
    golden("repo-config-flipped", 6, "config", 6, Back::None),
    golden("repo-config-missing", 10, "no repository", 10, Back::None),
    golden("repo-config-newer", 2, "format version 2", 2, Back::None),
    golden("repo-config-truncated", 6, "config", 6, Back::None),
    golden("repo-end-flipped", 6, "sessions/", 6, Back::None),
    golden("repo-end-missing", 0, "", 0, Back::Older),
    golden("repo-foreign-files", 0, "packs/readme", 0, Back::All),
    golden("repo-intent-flipped", 6, "sessions/", 0, Back::All),
    golden("repo-listing-pack-missing", 6, "packs/", 6, Back::None),
    golden("repo-pack-empty", 6, "packs/", 6, Back::Rest),
    golden("repo-pack-flipped", 6, "packs/", 6, Back::Rest),
    golden("repo-pack-missing", 6, "packs/", 6, Back::Rest),
    golden("repo-pack-of-another", 6, "packs/", 0, Back::All),
    golden("repo-pack-truncated", 6, "packs/", 6, Back::Rest),
    golden("repo-packs-swapped", 6, "packs/", 6, Back::Some),
    golden("repo-segment-flipped", 6, "segments/", 0, Back::All),
    golden("repo-segments-missing", 0, "", 0, Back::All),
    golden("repo-slot-flipped", 6, "key", 6, Back::None),
    golden("repo-slot-missing", 12, "key file", 12, Back::None),
    golden("repo-snapshot-flipped", 6, "snapshots/", 6, Back::None),
    golden("repo-snapshot-missing", 6, "snapshots/", 6, Back::None),
    golden("repo-tmp-left", 0, "", 0, Back::All),
];

/// The one whose snapshots were stored with `golden-writer.key`, which only writes.
pub const WRITTEN_ONLY: &str = "repo-1-draft2-written-only";

/// Returns the names of all.
pub fn names() -> Vec<&'static str> {
    GOLDEN.iter().map(|golden| golden.name).collect()
}

/// Where the data lie.
pub fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Folders of every repository.
const FOLDERS: [&str; 14] = [
    "condemned",
    "epochs",
    "generations",
    "key-changes",
    "keys",
    "log",
    "packs",
    "parity",
    "retention",
    "runs",
    "segments",
    "sessions",
    "snapshots",
    "tmp",
];

/// Makes a place whose repository is a copy of a golden one.
pub fn place_of(name: &str) -> Place {
    let place = Place::empty();
    copy_dir(&data_dir().join(name), &place.path("repo"));
    fs::copy(data_dir().join("golden.key"), place.path("key")).unwrap();
    for folder in FOLDERS {
        fs::create_dir_all(place.path("repo").join(folder)).unwrap();
    }
    place
}

fn run(place: &Place, arguments: &[&str]) -> Run {
    place.run([&["-r", "repo", "--key-file", "key", "--index-dir", "index"], arguments].concat())
}

/// Everything that was said of objects: findings, problems and the error.
fn told(run: &Run) -> Vec<Value> {
    let errors = run.err.lines().filter_map(|line| serde_json::from_str(line).ok());
    run.json_lines().into_iter().chain(errors).collect()
}

fn try_golden(golden: &Golden) {
    let name = golden.name;
    let place = place_of(name);
    let check = run(&place, &["check", "--read-data", "--json"]);
    let told = told(&check);
    assert_eq!(check.code, golden.check, "{name}: check: {told:?}");
    let text = |line: &Value| format!("{} {}", line["object"].as_str().unwrap_or(""), line["message"]);
    let named =
        told.iter().filter(|line| line["type"] != "progress").any(|line| text(line).contains(golden.names));
    assert!(named, "{name}: nobody names {:?}: {told:?}", golden.names);

    let restore =
        run(&place, &["restore", "latest", "--host", "golden", "--target", "out", "--no-owner", "--json"]);
    let said = (&restore.out, &restore.err);
    assert_eq!(restore.code, golden.restore, "{name}: restore: {said:?}");
    let expected = place.path("expected");
    super::make::golden_tree(&expected, golden.back != Back::Older);
    let expected = tree(&expected);
    let out = place.path("out/golden");
    let restored = if out.exists() { tree(&out) } else { Default::default() };
    for (path, entry) in &restored {
        let (mode, time, content) = entry;
        let (expected_mode, expected_time, expected_content) = &expected[path];
        assert_eq!((mode, content == expected_content), (expected_mode, true), "{name}: {}", path.display());
        let is_link = mode & 0o170_000 == 0o120_000;
        assert!(
            is_link || time == expected_time || matches!(golden.back, Back::Rest | Back::Some),
            "{name}: {}",
            path.display()
        );
    }
    let all = restored.len() == expected.len();
    let lacking: Vec<_> = expected.keys().filter(|path| !restored.contains_key(*path)).cloned().collect();
    let fits = match golden.back {
        Back::All | Back::Older => all,
        Back::Rest => lacking == ["sub/second"],
        Back::Some => !all && !lacking.contains(&"empty".into()),
        Back::None => restored.is_empty(),
    };
    assert!(fits, "{name}: {} of {} are back: {said:?}", restored.len(), expected.len());
}

#[test]
fn every_golden_repository_is_read_as_it_must() {
    // Two at a time: each run of the program mostly waits for its index to be made.
    let (even, odd): (Vec<_>, Vec<_>) = GOLDEN.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    std::thread::scope(|scope| {
        for half in [even, odd] {
            scope.spawn(|| half.into_iter().for_each(|(_, golden)| try_golden(golden)));
        }
    });
}

/// A key that only writes goes on storing where it began, and others read what comes of it.
#[test]
fn a_golden_key_that_only_writes_still_does() {
    let place = place_of(WRITTEN_ONLY);
    fs::copy(data_dir().join("golden-writer.key"), place.path("writer")).unwrap();
    super::make::golden_tree(&place.path("src"), true);
    let writer = |arguments: &[&str]| {
        place.run([&["-r", "repo", "--key-file", "writer", "--index-dir", "index"], arguments].concat())
    };
    writer(&["snapshots"]).ends(2).says(&["this key can only write"]);
    let stored = writer(&["--json", "backup", "src"]).ok().summary();
    assert!(stored["new_chunks"].as_u64().unwrap() < 10, "what is there is known to it: {stored}");
    run(&place, &["check", "--read-data"]).ok();
    run(&place, &["restore", "latest", "--no-owner", "--target", "out"]).ok();
}

/// A repository that nobody tries proves nothing.
#[test]
fn no_golden_repository_is_forgotten() {
    let entries = fs::read_dir(data_dir()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let found = folders.map(|entry| entry.file_name().into_string().unwrap());
    let there: BTreeSet<String> = found.filter(|name| name.starts_with("repo-")).collect();
    let tried: BTreeSet<String> = names().into_iter().chain([NAME]).map(str::to_owned).collect();
    assert_eq!(there, tried);
}

#[test]
fn one_damaged_snapshot_does_not_bar_the_others() {
    let place = place_of("repo-snapshot-flipped");
    let list = run(&place, &["snapshots", "--json"]).ends(6).says(&["cannot be read"]).json();
    let sound = list["snapshots"].as_array().unwrap();
    assert_eq!(sound.len(), 1);
    let older = sound[0]["id"].as_str().unwrap();
    run(&place, &["restore", "latest-any", "--host", "golden", "--target", "out"])
        .ends(6)
        .says(&["by its id"]);
    run(&place, &["restore", older, "--no-owner", "--target", "out"]).ok();
    super::make::golden_tree(&place.path("expected"), false);
    assert_eq!(tree(&place.path("out/golden")).len(), tree(&place.path("expected")).len());
    run(&place, &["find", "text"]).ends(6);
    run(&place, &["stats"]).ends(6);
}

/// A damaged repository must take no further harm from being used.
#[test]
fn backups_go_on_and_store_anew_what_was_lost() {
    let lost = ["repo-pack-missing", "repo-pack-truncated", "repo-listing-pack-missing"];
    let sound = ["repo-segments-missing", "repo-segment-flipped", "repo-tmp-left", "repo-snapshot-flipped"];
    for name in sound.into_iter().chain(lost) {
        let place = place_of(name);
        super::make::golden_tree(&place.path("golden"), true);
        let backup = run(&place, &["backup", "golden", "--parent", "none", "--json"]).ok();
        let new = backup.summary()["new_bytes"].as_u64().unwrap();
        let all = backup.summary()["source_bytes"].as_u64().unwrap();
        // Only what was lost is stored again, and a few nodes for the new paths.
        assert!(lost.contains(&name) || new < all / 2, "{name}: {new} of {all} bytes");
        let id = backup.summary()["snapshot_id"].as_str().unwrap().to_owned();
        let from = format!("{id}:{}", place.path("golden").display());
        run(&place, &["restore", &from, "--target", "out"]).ok();
        assert_eq!(tree(&place.path("out")), tree(&place.path("golden")), "{name}");
    }
}
