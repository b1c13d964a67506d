//! A golden repository with all that comes in years: a second key that only writes, rights, snapshots that are forgotten,
//! pinned, rewritten and copied, a prune, parity, a key epoch, and work after it. It must open for ever.

use super::golden::{data_dir, place_of};
use crate::cli::support::{Place, noise, packs, tree};
use crate::support::copy_dir;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Its folder below `tests/data`; it opens with `golden.key`, and for storing alone with `golden-writer.key`.
pub const NAME: &str = "repo-1-draft2-years";

/// What everybody sees who sees its log as it was written. Whoever makes the repository anew is told another one.
const FINGERPRINT: &str = "770821002bcfa416efbabb06a58cbae41d620e29cc3f362a135bdbd5f819e8ee";

/// When every file was changed last.
const CHANGED: Duration = Duration::new(1_600_000_000, 987_654_321);

/// A snapshot, by its tag, and the files in it.
type Made = (&'static str, &'static [&'static str]);

/// Those that are there.
const THERE: [Made; 6] = [
    ("pinned", &["letters", "garden"]),
    ("from-afar", &["letters", "garden", "far away"]),
    // Made anew without `passwords`.
    ("rewritten", &["letters", "garden"]),
    ("copied", &["letters", "harbour"]),
    ("after", &["letters", "garden", "winter"]),
    ("after-from-afar", &["letters", "far away", "storm"]),
];

/// Forgotten, and not removed yet.
const FORGOTTEN: Made = ("forgotten", &["letters", "fog"]);

/// Removed by a prune, with the packs that nothing else needed.
const REMOVED: Made = ("removed", &["letters", "a thing of the past"]);

/// Writes the files of a snapshot; the same name has the same content everywhere.
fn write(dir: &Path, files: &[&str]) {
    fs::create_dir(dir).unwrap();
    let all = files.iter().map(|name| {
        let seed = name.bytes().fold(7, |seed: u64, byte| seed.rotate_left(7) ^ u64::from(byte));
        (dir.join(name), if *name == "letters" { b"dear all, ".repeat(100) } else { noise(seed, 700) })
    });
    let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + CHANGED);
    for (path, content) in all {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        File::open(path).unwrap().set_times(times).unwrap();
    }
    fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    File::open(dir).unwrap().set_times(times).unwrap();
}

/// Stores files as `/golden` in a snapshot with that tag, one hour after the other.
fn store(place: &Place, repo: &str, key: &str, hour: u32, (tag, files): Made) {
    // The path that is stored must not depend on where this runs, so the tree lies in the root directory.
    let root = Path::new("/golden");
    assert!(!root.exists(), "{} is in the way", root.display());
    write(root, files);
    let time = format!("2026-11-21T{hour:02}:00:00Z");
    let to = ["--repo", repo, "--key-file", key];
    let what = ["backup", "/golden", "--host", "golden", "--time", &time, "--tag", tag];
    place.run([&to[..], &what[..]].concat()).ok();
    fs::remove_dir_all(root).unwrap();
}

fn of(tag: &str) -> Made {
    THERE.into_iter().find(|(known, _)| *known == tag).unwrap()
}

/// Makes it, out of the key files of the others.
pub fn make() {
    let place = Place::empty();
    for (from, to) in [("golden.key", "key"), ("golden-writer.key", "writer")] {
        fs::copy(data_dir().join(from), place.path(to)).unwrap();
    }
    let dedup = |arguments: &[&str]| place.run(arguments).ok();
    let tagged = |tag: &str| {
        let list = dedup(&["snapshots", "--tag", tag, "--json"]).json();
        list["snapshots"][0]["id"].as_str().unwrap().to_owned()
    };
    dedup(&["init", "--key-file", "key", "repo"]);
    dedup(&["key", "add", "--write-only", "--new-key-file", "writer", "--label", "afar"]);
    store(&place, "repo", "key", 1, REMOVED);
    store(&place, "repo", "key", 2, of("pinned"));
    store(&place, "repo", "writer", 3, of("from-afar"));
    store(&place, "repo", "key", 4, ("rewritten", &["letters", "garden", "passwords"]));
    dedup(&["init", "--key-file", "key", "other"]);
    store(&place, "other", "key", 5, of("copied"));
    dedup(&["--repo", "other", "copy", "--to", "repo", "--to-key-file", "key"]);
    dedup(&["rewrite", &tagged("rewritten"), "--exclude", "passwords", "--forget"]);
    dedup(&["forget", &tagged(REMOVED.0)]);
    dedup(&["forget", "--pin", &tagged("pinned")]);
    dedup(&["prune", "--max-unused", "0"]);
    store(&place, "repo", "key", 6, FORGOTTEN);
    dedup(&["forget", &tagged(FORGOTTEN.0)]);
    // A group of each epoch: the first is large enough not to be joined with what comes.
    let parity = ["parity", "add", "--shards", "1", "--group", "12"];
    dedup(&parity);
    dedup(&["key", "rotate", "--keep-all"]);
    store(&place, "repo", "key", 7, of("after"));
    store(&place, "repo", "writer", 8, of("after-from-afar"));
    dedup(&parity);
    let seen = dedup(&["witness", "--json"]).json();
    println!("FINGERPRINT: {}", seen["fingerprint"]);
    let to = data_dir().join(NAME);
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    copy_dir(&place.path("repo"), &to);
}

#[test]
#[ignore = "writes one of tests/data anew; see the head of make.rs"]
fn make_golden_years() {
    make();
}

/// A copy of it.
fn years() -> Place {
    let place = place_of(NAME);
    fs::copy(data_dir().join("golden-writer.key"), place.path("writer")).unwrap();
    place
}

fn listed(place: &Place, more: &[&str]) -> Vec<Value> {
    let list = place.run([&["snapshots", "--json"], more].concat()).ok().quiet().json();
    list["snapshots"].as_array().unwrap().clone()
}

/// Restores a snapshot and compares it with what was stored under its tag.
fn assert_restores(place: &Place, snapshot: &Value) {
    let (tag, id) = (snapshot["tags"][0].as_str().unwrap(), snapshot["id"].as_str().unwrap());
    let (_, files) = THERE.into_iter().chain([FORGOTTEN]).find(|(known, _)| *known == tag).unwrap();
    let (out, expected) = (place.path(format!("out-{id}")), place.path(format!("expected-{id}")));
    let target = out.to_str().unwrap();
    place.run(["restore", id, "--no-owner", "--target", target]).ok();
    write(&expected, files);
    assert_eq!(tree(&out.join("golden")), tree(&expected), "{tag}");
    fs::remove_dir_all(out).unwrap();
    fs::remove_dir_all(expected).unwrap();
}

fn assert_all_restore(place: &Place, but: &[&str]) {
    let all = listed(place, &[]);
    let is_ours = |snapshot: &&Value| THERE.iter().any(|(tag, _)| snapshot["tags"][0] == *tag);
    let ours: Vec<_> = all.iter().filter(is_ours).collect();
    let tags: BTreeSet<&str> = ours.iter().map(|snapshot| snapshot["tags"][0].as_str().unwrap()).collect();
    assert_eq!(tags, THERE.iter().map(|(tag, _)| *tag).filter(|tag| !but.contains(tag)).collect());
    ours.into_iter().for_each(|snapshot| assert_restores(place, snapshot));
}

#[test]
fn years_are_read_as_they_were_written() {
    let place = years();
    let seen = place.run(["witness", "--json"]).ok().json();
    assert_eq!(seen["fingerprint"], FINGERPRINT, "{seen:#}");
    // Each of the two keys has a log of either epoch.
    let clients = seen["clients"].as_array().unwrap();
    let rights: Vec<usize> =
        clients.iter().map(|client| client["rights"].as_array().unwrap().len()).collect();
    assert_eq!((rights.len(), rights.iter().sum::<usize>()), (4, 4 + 1), "{seen:#}");
    assert_eq!((&seen["snapshots"], &seen["unheard"]), (&json!(THERE.len() + 1), &json!([])));

    let check = place.run(["check", "--read-data", "--json"]).ok();
    let told: Vec<_> = check.json_lines().into_iter().filter(|line| line["type"] == "finding").collect();
    assert_eq!(told, [Value::Null; 0]);
    let status = place.run(["parity", "status", "--json"]).ok().json();
    assert_eq!(status["groups"].as_array().unwrap().len(), 2, "{status:#}");
    assert_eq!((&status["packs"], &status["least_more_losses"]), (&status["protected_packs"], &json!(1)));

    assert_all_restore(&place, &[]);
    let all = listed(&place, &[]);
    let with = |tag: &str| all.iter().find(|snapshot| snapshot["tags"][0] == tag).unwrap();
    assert_eq!(all.iter().filter(|snapshot| snapshot["pinned"] == true).count(), 1);
    assert_eq!(with("pinned")["pinned"], true);
    assert!(with("rewritten")["rewritten_from"]["snapshot_id"].is_string(), "{:#}", with("rewritten"));
    assert!(with("copied")["copy_of"]["repository_id"].is_string(), "{:#}", with("copied"));
    // What was forgotten and not pruned can be taken back.
    let forgotten = listed(&place, &["--forgotten"]);
    assert_eq!((forgotten.len(), &forgotten[0]["tags"][0]), (1, &json!(FORGOTTEN.0)));
    place.run(["forget", "--undo", forgotten[0]["id"].as_str().unwrap()]).ok();
    assert_restores(&place, &forgotten[0]);
    place.run(["snapshots", "--key-file", "writer"]).ends(2).says(&["this key can only write"]);
}

/// Every pack in turn, of either epoch.
#[test]
fn parity_of_years_gives_every_pack_back() {
    let place = years();
    let repo = place.path("repo");
    let before = tree(&repo.join("packs"));
    let all = [3, 4].map(|kind| packs(&repo, kind)).concat();
    assert!(all.len() > 8, "{all:?}");
    for pack in all {
        fs::remove_file(&pack).unwrap();
        place.run(["parity", "repair"]).ok();
        let contents = |tree: std::collections::BTreeMap<_, (u32, _, Vec<u8>)>| -> Vec<_> {
            tree.into_iter().map(|(path, (_, _, content))| (path, content)).collect()
        };
        assert!(contents(tree(&repo.join("packs"))) == contents(before.clone()), "{}", pack.display());
    }
    place.assert_sound();
}

/// Whoever comes back to it goes on where it stood: both keys store, and a prune takes what nobody needs.
#[test]
fn work_goes_on_after_years() {
    let place = years();
    write(&place.path("src"), &["letters", "garden", "spring"]);
    let writer = ["--key-file", "writer", "--index-dir", "writers-index"];
    for key in [&[][..], &writer[..]] {
        let stored = place.run([key, &["backup", "src", "--tag", "now", "--json"]].concat()).ok().summary();
        assert!(stored["new_chunks"].as_u64().unwrap() < 8, "what is there is known: {stored}");
    }
    let one = listed(&place, &["--tag", "copied"])[0]["id"].as_str().unwrap().to_owned();
    place.run(["forget", &one]).ok();
    let pruned = place.run(["prune", "--max-unused", "0", "--json"]).ok().json();
    assert_eq!(pruned["snapshots_removed"].as_array().unwrap().len(), 2, "{pruned:#}");
    assert!(pruned["removed_packs"].as_u64() > Some(0), "{pruned:#}");
    place.assert_sound();
    place.assert_restores();
    assert_all_restore(&place, &["copied"]);
    assert_eq!(listed(&place, &["--tag", "now"]).len(), 2);
}
