//! Keys that only write, and keys on paper, as people use them.

use super::support::Place;
use std::fs;
use std::path::PathBuf;

/// Runs with a key file of its own.
fn with(key: &'static str, rest: &[&'static str]) -> Vec<&'static str> {
    [&["--key-file", key], rest].concat()
}

#[test]
fn a_machine_that_only_writes_backs_up_and_reads_nothing() {
    let place = Place::with_snapshot();
    place.run(["key", "add", "--write-only", "--new-key-file", "w", "--label", "server"]).ok().quiet();
    let list = place.run(["key", "list"]).ok().quiet();
    assert!(list.out.contains("everything") && list.out.contains("nothing: writes only"), "{}", list.out);
    let keys = place.run(["key", "list", "--json"]).ok().json();
    let writers = keys["keys"].as_array().unwrap().iter().filter(|key| key["write_only"] == true);
    assert_eq!(writers.map(|key| key["label"].clone()).collect::<Vec<_>>(), ["server"]);

    fs::write(place.path("src/more"), "something new").unwrap();
    let index = ["--index-dir", "server-index", "--json", "backup", "src"];
    let first = place.run(with("w", &index)).ok().summary();
    let again = place.run(with("w", &index)).ok().summary();
    assert!(first["read_bytes"].as_u64().unwrap() > 0, "{first}");
    // Files of this very second are not trusted, and directories above are of other tests too.
    assert!(again["new_chunks"].as_u64().unwrap() <= 4 && again["files_new"] == 0, "{again}");
    place.assert_sound();
    place.assert_restores();

    for reading in [
        &["snapshots"][..],
        &["ls", "latest"],
        &["restore", "latest", "--target", "out"],
        &["diff", "latest", "latest"],
        &["find", "more"],
        &["stats"],
        &["check", "--source"],
        &["forget", "--keep-last", "1"],
        &["prune"],
        &["repair", "packs"],
        &["parity", "add"],
        &["key", "add", "--new-key-file", "no"],
        &["key", "add", "--write-only", "--new-key-file", "no"],
        &["backup", "src", "--parent", "latest"],
    ] {
        let refused = place.run(with("w", reading)).ends(2);
        assert!(refused.err.contains("this key can only write"), "{reading:?}: {}", refused.err);
    }
    assert!(!place.path("out").exists() && !place.path("no").exists());
    let check = place.run(with("w", &["check", "--read-data"])).ok();
    assert!(check.out.contains("no snapshot was looked into"), "{}", check.out);
    let check = place.run(with("w", &["--json", "check"])).ok().summary();
    assert_eq!((&check["snapshots"], &check["snapshots_unopened"]), (&0.into(), &3.into()));
    place.run(["snapshots"]).ok().quiet();
}

/// Returns a sheet as somebody types it: only its lines, in small letters.
fn typed(sheet: &str) -> String {
    let lines = sheet.lines().filter(|line| line.starts_with("key ") || line.starts_with("slot "));
    lines.map(|line| format!("{}\n", line.to_lowercase())).collect()
}

fn slots(place: &Place) -> Vec<PathBuf> {
    fs::read_dir(place.path("repo/keys")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_key_comes_back_from_paper() {
    let place = Place::with_snapshot();
    let sheet = place.run(["key", "export"]).ok().quiet().out;
    assert!(
        sheet.contains("key 1/2: ") && sheet.contains("slot 1/") && sheet.contains("--key-file FILE"),
        "{sheet}"
    );
    let lines = typed(&sheet);
    fs::write(place.path("sheet"), &lines).unwrap();
    // As a key file, while the repository has its slots.
    fs::remove_file(place.path("key")).unwrap();
    let snapshots = ["-r", "repo", "--key-file", "sheet", "snapshots"];
    place.run(snapshots).ok().quiet();

    slots(&place).iter().for_each(|slot| fs::remove_file(slot).unwrap());
    place.run(snapshots).ends(12);
    place.run(["-r", "repo", "key", "import", "sheet"]).ok().quiet().shows(&["put back"]);
    place.run(["-r", "repo", "key", "import", "sheet"]).ok().quiet().shows(&["is there"]);
    place.run(snapshots).ok().quiet();
    fs::write(&slots(&place)[0], "rubbish").unwrap();
    place.run(["-r", "repo", "key", "import", "sheet"]).ok().quiet().shows(&["put back"]);
    fs::rename(place.path("sheet"), place.path("key")).unwrap();
    place.assert_sound();
    place.assert_restores();

    // One wrong letter on each line: told which.
    let all: Vec<&str> = lines.lines().collect();
    for (number, line) in all.iter().enumerate() {
        let other = if line.ends_with('7') { '8' } else { '7' };
        let bad = format!("{}{other}", &line[..line.len() - 1]);
        let mut sheet = all.clone();
        sheet[number] = &bad;
        fs::write(place.path("bad"), sheet.join("\n")).unwrap();
        let refused = place.run(["key", "import", "bad"]).ends(2);
        let label = line.split_once(':').unwrap().0;
        assert!(refused.err.contains(&format!("written: {label};")), "{label}: {}", refused.err);
    }
}

#[test]
fn a_sheet_of_a_passphrase_needs_the_passphrase() {
    let place = Place::empty();
    fs::write(place.path("pass"), "correct horse\n").unwrap();
    let pass = ["--passphrase-file", "pass", "-r", "repo"];
    let run = |rest: &[&str]| place.run(pass.iter().chain(rest).collect::<Vec<_>>());
    run(&["init"]).ok();
    run(&["key", "export", "sheet"]).ok().quiet();
    let sheet = fs::read_to_string(place.path("sheet")).unwrap();
    assert!(
        !sheet.contains("key 1/") && sheet.contains("slot 1/") && sheet.contains("needs its passphrase"),
        "{sheet}"
    );
    assert!(!sheet.contains("horse"));
    run(&["key", "export", "sheet"]).ends(1).says(&["sheet"]);
    run(&["key", "export", "--short"]).ends(2);
    slots(&place).iter().for_each(|slot| fs::remove_file(slot).unwrap());
    fs::write(place.path("wrong"), "wrong horse\n").unwrap();
    place.run(["--passphrase-file", "wrong", "-r", "repo", "key", "import", "sheet"]).ends(12);
    assert_eq!(slots(&place).len(), 0);
    run(&["key", "import", "sheet"]).ok().quiet();
    run(&["snapshots"]).ok();
}

/// A key that was removed does not come back by an old sheet, unless nothing else is left.
#[test]
fn an_old_sheet_does_not_bring_a_removed_key_back() {
    let place = Place::with_snapshot();
    place.run(["key", "export", "old"]).ok().quiet();
    place.run(["key", "change", "--new-key-file", "key2"]).ok().quiet();
    fs::rename(place.path("key2"), place.path("key")).unwrap();
    place.run(["key", "import", "old"]).ends(2).says(&["was removed"]);
    let other = Place::with_snapshot();
    fs::copy(place.path("old"), other.path("old")).unwrap();
    other.run(["key", "import", "old"]).ends(2).says(&["another repository"]);
    slots(&place).iter().for_each(|slot| fs::remove_file(slot).unwrap());
    place.run(["key", "import", "old"]).ok().shows(&["put back"]);
    fs::rename(place.path("old"), place.path("key")).unwrap();
    place.assert_restores();
}

#[test]
fn a_new_epoch_locks_out_who_is_left_out() {
    let place = Place::with_snapshot();
    for (file, label) in [("a", "ann"), ("b", "bob")] {
        place.run(["key", "add", "--new-key-file", file, "--label", label]).ok();
    }
    let list = place.run(["key", "list", "--json"]).ok().json();
    let id_of = |label: &str| {
        let mut keys = list["keys"].as_array().unwrap().iter();
        keys.find(|key| key["label"] == label).unwrap()["id"].as_str().unwrap().to_owned()
    };
    // Nobody is left out, or taken along, by silence.
    let asked = place.run(["key", "rotate"]).ends(2);
    assert!(
        asked.err.contains("which keys are to go on") && asked.err.contains("--keep-all"),
        "{}",
        asked.err
    );
    let other = place.run(with("a", &["key", "rotate", "--keep-all"])).ends(2);
    assert!(other.err.contains("only the key that made the repository"), "{}", other.err);
    assert!(place.run(["key", "rotate", "--keep", "0123456789"]).ends(1).err.contains("dedup key list"));

    let bob = id_of("bob");
    let said = place.run(["--json", "key", "rotate", "--keep", &id_of("ann")]).ok().json();
    assert_eq!((&said["type"], &said["epoch"]), (&"key_epoch".into(), &2.into()), "{said}");
    assert_eq!(said["left_out"], serde_json::json!([bob]));
    assert_eq!(said["kept"].as_array().unwrap().len(), 2);
    for key in ["key", "a"] {
        place.run(with(key, &["--index-dir", "of-a", "backup", "src"])).ok();
    }
    place.assert_sound();
    place.assert_restores();
    // Signers of before are no strangers, and nobody waits for them.
    let check = place.run(["check"]).ok();
    assert!(!check.err.contains("never admitted") && !check.out.contains("never admitted"), "{}", check.err);
    let witness = place.run(["witness"]).ok().quiet().out;
    assert!(witness.contains("none") && witness.contains("all"), "{witness}");
    let left = place.run(with("b", &["--index-dir", "of-b", "backup", "src"])).ends(2);
    assert!(left.err.contains("left out") && left.err.contains("dedup key add"), "{}", left.err);
    place.run(["key", "remove", &bob]).ok();
    let again = place.run(["key", "rotate", "--keep-all"]).ok().quiet().out;
    assert!(
        again.contains("key epoch 3 has begun with 2 keys") && !again.contains("stores nothing"),
        "{again}"
    );
}
