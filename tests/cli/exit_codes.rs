//! Every exit status that a script can meet, brought about on purpose. Damage (6) is in `format/golden.rs`,
//! interruption (130) in `signals.rs`, gaps (3) and failure (1) in `failures.rs`. Busy (5) and rolled back (7)
//! wait for the commands that end so.

use super::support::{Place, finish, small_tree};
use std::fs;

#[test]
fn refused_arguments_and_configurations_are_2() {
    let place = Place::with_snapshot();
    let long = "t".repeat(300);
    let text = "x".repeat(5000);
    let lines: [(&[&str], &str); 19] = [
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["backup"], "PATH"),
        (&["backup", "nowhere"], "nowhere"),
        (&["backup", "src", "--exclude-larger-than", "10"], "unit"),
        (&["backup", "src", "--compression", "99"], "99"),
        (&["backup", "src", "--exclude", "{a,b"], "{a,b"),
        (&["backup", "src", "--exclude-file", "nowhere"], "nowhere"),
        (&["backup", "src", "--tag", &long], "tag"),
        (&["backup", "src", "--host", &long], "host"),
        (&["backup", "src", "--comment", &text], "comment"),
        (&["restore", "latest:../x", "--target", "t"], "path"),
        (&["restore", "zzz", "--target", "t"], "zzz"),
        (&["dump", "latest"], "SNAPSHOT:PATH"),
        (&["ls", "latest", "--max-memory", "64"], "unit"),
        (&["ls", "latest", "--max-memory", "63M"], "--max-memory"),
        (&["-r", "s3://bucket/x", "snapshots"], "directories"),
        (&["--key-file", "src/text", "snapshots"], "key file"),
        (&["init", "repo"], "already"),
    ];
    for (arguments, word) in lines {
        place.run(arguments).ends(2).says(&[word]);
    }
    assert_eq!(place.run(["snapshots", "-q"]).ok().out.lines().count(), 2, "nothing was stored");
}

#[test]
fn a_configuration_that_makes_no_sense_is_2() {
    let place = Place::private();
    fs::write(place.path("dedup.toml"), "repository = 5\n").unwrap();
    place.run(["snapshots"]).ends(2).says(&["dedup.toml", "line 1"]);
    fs::write(place.path("dedup.toml"), "passphrase-command = \"echo x\"\n").unwrap();
    place.run(["snapshots"]).ends(2).says(&["commands"]);
}

#[test]
fn a_missing_repository_is_10() {
    let place = Place::empty();
    small_tree(&place.path("src"));
    fs::write(place.path("file"), "x").unwrap();
    place.run(["snapshots"]).ends(10).says(&["no repository is named", "dedup init"]);
    for there in ["nowhere", "src", "file"] {
        place.run(["-r", there, "--key-file", "src/text", "snapshots"]).ends(10).says(&[there, "dedup init"]);
        place.run(["-r", there, "--key-file", "src/text", "backup", "src"]).ends(10);
    }
    assert!(!place.path("nowhere").exists(), "looking for a repository must not make one");
    // Where one is to be made, there need not be one.
    for there in ["src", "file"] {
        place.run(["init", "--key-file", "key", there]).ends(2).says(&[there]);
    }
}

#[test]
fn a_wrong_or_missing_key_is_12() {
    let place = Place::empty();
    finish(place.command(["init", "repo", "--passphrase"]), b"right\n").ok();
    let wrong = finish(place.command(["snapshots", "--passphrase"]), b"wrong\n").ends(12);
    wrong.says(&["passphrase", "keyboard"]);
    place.run(["snapshots"]).ends(12).says(&["no passphrase is given", "--key-file"]);
    finish(place.command(["snapshots", "--passphrase"]), b"").ends(12);
    finish(place.command(["snapshots", "--passphrase"]), b"\n").ends(12);
    place.run(["snapshots", "--passphrase-file", "nowhere"]).ends(12).says(&["nowhere"]);
    place.run(["snapshots", "--passphrase-command", "echo no; exit 3"]).ends(12).says(&["exit status: 3"]);
    let mut variable = place.command(["snapshots"]);
    variable.env("DEDUP_PASSPHRASE", "right");
    finish(variable, b"").ok();
    place.run(["snapshots", "--passphrase-command", "echo right"]).ok();

    let other = Place::new();
    fs::copy(other.path("key"), place.path("other")).unwrap();
    place.run(["snapshots", "--key-file", "other"]).ends(12).says(&["key file"]);
    let error = place.run(["snapshots", "--key-file", "other", "--json"]).ends(12).err;
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["kind"], &error["exit_code"]), (&"wrong_key".into(), &12.into()));
}

#[test]
fn a_newer_format_is_2_and_names_what_is_new() {
    let place = Place::with_snapshot();
    let config = fs::read(place.path("repo/config")).unwrap();
    // Offsets of the header: version 4, draft 6, cipher 8, salt kind 9 (FORMAT.md 3).
    for (at, value, word) in [
        (6, 0, "format version 1"),
        (6, 9, "draft 9"),
        (4, 2, "version 2"),
        (8, 2, "cipher 2"),
        (9, 3, "salt kind 3"),
    ] {
        let mut newer = config.clone();
        newer[at] = value;
        fs::write(place.path("repo/config"), newer).unwrap();
        for command in
            [&["snapshots"][..], &["backup", "src"], &["check"], &["restore", "latest", "--target", "t"]]
        {
            place.run(command).ends(2).says(&[word, "newer dedup"]);
        }
    }
    fs::write(place.path("repo/config"), config).unwrap();
    place.assert_restores();
}

#[test]
fn what_is_not_there_is_1_and_notices_are_4_if_strict() {
    let place = Place::with_snapshot();
    place.run(["ls", "ffffffff"]).ends(1).says(&["ffffffff"]);
    place.run(["ls", "latest:/nowhere"]).ends(1).says(&["nowhere", "dedup ls"]);
    place.run(["restore", "latest:/nowhere", "--target", "t"]).ends(1);
    let restored = |what| place.run(["restore", "latest", "--target", "t", "--include", what]);
    restored("no*where").ends(1).says(&["nothing in snapshot", "--include"]);
    restored("te?t").ok().shows(&["Files:   1 with"]);
    place.run(["backup", "src", "--parent", "ffffffff"]).ends(1);
    fs::write(place.path("repo/packs/readme"), "not mine").unwrap();
    let check = place.run(["check"]).ok();
    check.says(&["foreign: packs/readme"]);
    place.run(["check", "--strict"]).ends(4);
    place.run(["check", "--strict", "--json"]).ends(4);
}

#[test]
fn a_missing_source_beside_others_is_3() {
    let place = Place::with_snapshot();
    let run = place.run(["backup", "src", "gone"]).ends(3);
    run.says(&["gone"]);
    place.assert_sound();
}
