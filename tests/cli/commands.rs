//! Every command once, as a person runs it.

use super::support::{Place, Run, finish, flip, packs, small_tree, tree};
use crate::runs::app::Machine;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// The three lines that everything began with, one after another in a fresh shell.
#[test]
fn init_backup_restore_with_a_passphrase() {
    let place = Place::empty();
    small_tree(&place.path("src"));
    let before = tree(&place.path("src"));
    let typed = b"correct horse battery staple\n";
    let run = |arguments: &[&str]| finish(place.command(arguments), typed);

    let init = run(&["init", "repo", "--passphrase"]).ok().quiet();
    assert!(init.out.starts_with("created repository "), "{}", init.out);
    let source = place.path("src");
    let backup = run(&["backup", "--passphrase", source.to_str().unwrap()]).ok().quiet();
    let id = backup.out.lines().find_map(|line| line.strip_prefix("snapshot ")?.strip_suffix(" saved"));
    let id = id.expect("the id of the snapshot");

    fs::remove_dir_all(&source).unwrap();
    let above = place.path("").metadata().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(10));
    run(&["restore", "--passphrase", id]).ends(2).says(&["--yes", "--target"]);
    assert!(!source.exists(), "nobody said yes");
    run(&["restore", "--passphrase", id, "--yes"]).ok();
    assert_eq!(tree(&source), before);
    let after = place.path("").metadata().unwrap();
    assert!(
        after.modified().unwrap() > above.modified().unwrap(),
        "what lies above the source is left alone"
    );

    let target = place.path("elsewhere");
    run(&["restore", "--passphrase", id, "--target", target.to_str().unwrap()]).ok();
    let below = target.join(source.strip_prefix("/").unwrap());
    assert_eq!(tree(&below), before);
}

#[test]
fn every_command_works_and_says_no_more_than_asked() {
    let place = Place::with_snapshot();
    fs::write(place.path("src/text"), "another text\n").unwrap();
    place.run(["backup", "src", "--tag", "second", "--comment", "after the change"]).ok().quiet();
    let list = place.run(["snapshots", "--json"]).ok().quiet().json();
    let id = |n: usize| list["snapshots"][n]["id"].as_str().unwrap().to_owned();
    let (first, second) = (id(0), id(1));
    let text = place.path("src/text");
    let file = format!("{second}:{}", text.display());

    let lines: [(&[&str], &str); 26] = [
        (&["recover"], "no run has left anything behind\n"),
        (&["snapshots"], &second[..8]),
        (&["ls", "latest"], "/src/sub/deeper/file\n"),
        (&["ls", "-l", "latest"], " -> ../text\n"),
        (&["find", "deep*"], "/src/sub/deeper\n"),
        (&["diff", &first, &second], "/src/text\n"),
        (&["dump", &file], "another text\n"),
        (&["stats"], "Snapshots:   2\n"),
        (&["check"], "no damage was found\n"),
        (&["check", "--read-data"], "no damage was found\n"),
        (&["forget", "--keep-last", "1", "--dry-run"], "1 snapshot would be forgotten, 1 kept"),
        (&["prune", "--dry-run"], "Nothing was changed"),
        (&["parity", "status"], "Protected: 0 of"),
        (&["repair", "packs", "--read-data"], "no damage was found\n"),
        (&["key", "list"], "key file"),
        (&["witness"], "Fingerprint: "),
        (&["module", "schema"], "draft-07/schema"),
        (&["job", "list", "--json"], "\"type\":\"jobs\""),
        (&["log", "--json"], "\"type\":\"logs\""),
        (&["space", "list", "--json"], "\"type\":\"spaces\""),
        (&["completions", "bash"], "complete -F"),
        (&["completions", "fish"], "complete -c dedup"),
        (&["man"], ".TH dedup 1"),
        (&["man", "restore"], "numeric"),
        (&["--help"], "Exit status:\n    0  complete"),
        (&["--version"], concat!("dedup ", env!("CARGO_PKG_VERSION"), "\n")),
    ];
    for (arguments, expected) in lines {
        let run = place.run(arguments).ok();
        assert!(run.out.contains(expected), "{arguments:?} lacks {expected:?}:\n{}", run.out);
        // Sums of a comparison are no result that a script would read.
        assert!(run.err.is_empty() || arguments[0] == "diff", "{arguments:?}: {}", run.err);
    }
    let archive = place.run(["dump", "latest:/"]).ok().quiet();
    assert_eq!(&archive.out_bytes[257..262], b"ustar");
    let plan = place.run(["restore", "latest", "--dry-run"]).ok().quiet();
    assert!(plan.out.starts_with("Plan:    snapshot "), "{}", plan.out);
    place.run(["man", "--dir", "."]).ok().quiet();
    assert!(place.path("dedup-backup.1").exists());

    // Rows need a module, which root declares in a place of its own.
    let machine = Machine::new();
    let rows = machine.place.path("rows.db");
    let made = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'Ann')";
    rusqlite::Connection::open(&rows).unwrap().execute_batch(made).unwrap();
    let source =
        format!("[[source]]\nname = \"db\"\ndriver = \"sqlite\"\nformat = \"records\"\npath = {rows:?}\n");
    machine.module("app", &source);
    machine.dedup(&["backup"]).ok();
    let history = ["history", "-m", "app", "source:db:t[1]"];
    machine.dedup(&history).ok().quiet().shows(&["name=Ann"]);

    // The others need another repository or an archive.
    place.run(["init", "--key-file", "other.key", "other"]).ok();
    let to = ["copy", "latest", "--to", "other", "--to-key-file", "other.key"];
    place.run(to).ok().shows(&["1 copied"]);
    let rewrite = ["rewrite", "latest", "--exclude", "nothing-of-it"];
    place.run(rewrite).ok().shows(&["0 snapshots have"]);
    let export = ["export", "latest", "-m", "files", "--output", "files.tar"];
    place.run(export).ok();
    let import = ["import", "files.tar"];
    place.run(import).ok().shows(&["files"]);

    let help = place.run(["help"]).ok().out;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        let known =
            ["init", "backup", "restore", "help", history[0], to[0], rewrite[0], export[0], import[0]]
                .contains(&command);
        assert!(known || lines.iter().any(|(line, _)| line[0] == command), "{command} is not tried");
    }
}

#[test]
fn keys_are_added_changed_and_removed() {
    let place = Place::with_snapshot();
    fs::write(place.path("pass"), "a passphrase\n").unwrap();
    place.run(["key", "add", "--new-passphrase-file", "pass", "--label", "second"]).ok().quiet();
    let keys = place.run(["--passphrase-file", "pass", "key", "list", "--json"]).ok().json();
    let of = |kind: &str| keys["keys"].as_array().unwrap().iter().find(|key| key["kind"] == kind).cloned();
    let (file, passphrase) = (of("key_file").unwrap(), of("passphrase").unwrap());
    assert_eq!((&file["in_use"], &passphrase["in_use"]), (&false.into(), &true.into()));
    assert_eq!(passphrase["label"], "second");

    let own = file["id"].as_str().unwrap();
    place.run(["key", "remove", own]).ends(2).says(&["in use"]);
    place.run(["key", "change", "--new-key-file", "key2"]).ok().quiet();
    place.run(["snapshots"]).ends(12);
    fs::rename(place.path("key2"), place.path("key")).unwrap();
    place.run(["snapshots"]).ok();
    place.run(["key", "remove", passphrase["id"].as_str().unwrap()]).ok();
    place.run(["--passphrase-file", "pass", "snapshots"]).ends(12);
    place.assert_restores();
}

#[test]
fn names_of_any_bytes_come_back() {
    let place = Place::new();
    let source = place.path("src");
    fs::create_dir(&source).unwrap();
    let long = "n".repeat(255);
    let names: [&[u8]; 8] = [
        b"\xff\xfe",
        b"line\nend",
        b"\x1b[31mred",
        b" ",
        b"-rf",
        b"caf\xc3\xa9",
        b"a:b\\c*?",
        long.as_bytes(),
    ];
    for name in names {
        fs::write(source.join(OsStr::from_bytes(name)), name).unwrap();
    }
    // As deep as a path may be that a system call still takes whole.
    let mut deep = source.clone();
    while deep.as_os_str().len() < 3500 {
        deep.push(&long[..200]);
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "x").unwrap();
    place.run(["backup", "src"]).ok().quiet();
    place.assert_sound();
    place.assert_restores();

    let listed = place.run(["ls", "latest"]).ok();
    for name in names {
        let line = [source.as_os_str().as_bytes(), b"/", name, b"\n"].concat();
        assert!(listed.out_bytes.windows(line.len()).any(|part| part == line), "{}", name.escape_ascii());
    }
    let entries = place.run(["ls", "latest", "--json"]).ok().json();
    let odd = entries["entries"].as_array().unwrap().iter().filter(|entry| entry["path_hex"].is_string());
    let odd: Vec<_> = odd.map(|entry| entry["path_hex"].as_str().unwrap()).collect();
    assert!(odd.len() == 1 && odd[0].ends_with("fffe"), "{odd:?}");
}

#[test]
fn a_repository_inside_the_source_is_left_out() {
    let place = Place::with_snapshot();
    for code in [0, 4] {
        let strict: &[&str] = if code == 4 { &["--strict"] } else { &[] };
        let run = place.run([&["backup", ".", "--json"], strict].concat()).ends(code);
        let notes: Vec<_> = run.json_lines().into_iter().filter(|line| line["type"] == "note").collect();
        let repo = place.path("repo").display().to_string();
        assert!(notes.iter().any(|note| note["message"].as_str().unwrap().starts_with(&repo)), "{notes:?}");
    }
    let listed = place.run(["ls", "latest-any"]).ok().out;
    let repo = format!("{}/", place.path("repo").display());
    assert!(listed.contains("/src/text\n") && !listed.contains(&repo), "{listed}");
    place.assert_sound();
}

#[test]
fn quiet_means_results_only_and_a_reader_may_go_away() {
    let place = Place::with_snapshot();
    let backup = place.run(["backup", "src", "-q"]).ok().quiet();
    assert_eq!(backup.out.lines().count(), 1, "{}", backup.out);
    assert_eq!(place.run(["check", "-q"]).ok().quiet().out, "");
    assert_eq!(place.run(["restore", "latest", "--target", "t", "-q"]).ok().quiet().out, "");
    for line in ["ls latest", "ls latest --json", "dump latest:/", "man"] {
        piped(&place, line, "head -c 1 > /dev/null").ok().quiet();
    }
}

/// Runs a command whose results go to another program; a failure of either one counts.
fn piped(place: &Place, line: &str, reader: &str) -> Run {
    let mut shell = std::process::Command::new("/bin/bash");
    let script = format!("set -o pipefail; {} {line} | {reader}", super::support::PROGRAM);
    let command = place.command::<&str>([]);
    shell.args(["-c", &script]).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(place.path(""));
    finish(shell, b"")
}

/// Once whatever could not be printed ended with 0: a check that had found damage, a restore that had not begun.
#[test]
fn a_reader_that_goes_away_changes_nothing_of_how_a_command_ends() {
    let place = Place::with_snapshot();
    let gone = |line: &str| piped(&place, line, "exec true");
    gone("restore latest --target t").ok();
    assert!(place.path("t").join(place.path("src/text").strip_prefix("/").unwrap()).exists());
    gone("backup src").ok();
    assert_eq!(place.run(["snapshots"]).ok().out.lines().count(), 4, "a head, two snapshots, their number");
    gone("export latest -m files").ends(1).says(&["Broken pipe"]);
    flip(&packs(&place.path("repo"), 3)[0]);
    for line in ["check --read-data", "check --read-data --json", "repair packs --read-data --dry-run"] {
        gone(line).ends(6);
    }
}
