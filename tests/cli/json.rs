//! `--json`: every line parses, every field is documented in `cli/JSON.md`, and what is documented is there.

use super::support::{Place, Run};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What `cli/JSON.md` says: for each heading of a line, such as `progress` or `summary of backup`, the words
/// in backticks that follow it.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/cli/JSON.md")).unwrap();
    let mut found = BTreeMap::new();
    let mut blocks: Vec<String> = text.lines().filter(|line| line.starts_with('|')).map(Into::into).collect();
    blocks.extend(text.split("\n\n").filter(|block| !block.starts_with('|')).map(Into::into));
    for block in blocks {
        let words: Vec<&str> = block.split('`').skip(1).step_by(2).collect();
        let (heading, fields) = if let Some(rest) = block.strip_prefix("| `") {
            (rest.split('`').next().unwrap().to_owned(), &words[1..])
        } else if block.starts_with("`summary` of") {
            (format!("summary of {}", words[1]), &words[2..])
        } else if let Some(rest) = block.strip_prefix("A *").or(block.strip_prefix("An *")) {
            (rest.split('*').next().unwrap().to_owned(), &words[..])
        } else {
            continue;
        };
        found.insert(heading, fields.iter().map(ToString::to_string).collect());
    }
    found
}

/// Holds one object to what is documented of it; `required` must be there.
fn hold(object: &Value, heading: &str, required: &[&str]) {
    let documented = documented();
    let mut known = documented.get(heading).unwrap_or_else(|| panic!("JSON.md has no {heading}")).clone();
    if matches!(heading, "find" | "diff") {
        known.extend(documented["entry"].iter().cloned());
    }
    for (document, part) in [("module", "declared module"), ("log", "kept log")] {
        if heading == document {
            known.extend(documented[part].iter().cloned());
        }
    }
    for (field, value) in object.as_object().unwrap() {
        let field = field.trim_end_matches("_hex");
        assert!(field == "type" || known.contains(field), "{heading}: {field} is not documented: {object}");
        let unit = ["_bytes", "_seconds"].iter().any(|unit| field.ends_with(unit));
        assert!(!unit || value.is_number() || value.is_null(), "{heading}: {field} = {value}");
    }
    for field in required {
        assert!(object.get(*field).is_some(), "{heading} lacks {field}: {object}");
    }
}

/// Holds every object of a stream to the documentation and returns them.
fn stream(run: &Run, command: &str, required: &[&str]) -> Vec<Value> {
    let lines = run.json_lines();
    let (last, others) = lines.split_last().expect("a summary");
    assert_eq!(last["type"], "summary");
    assert_eq!(last["exit_code"], run.code, "the summary and the process agree");
    hold(last, &format!("summary of {command}"), required);
    for line in others {
        let heading = line["type"].as_str().unwrap();
        assert_ne!(heading, "summary", "only the last one");
        hold(line, heading, &[]);
    }
    lines
}

fn document(run: &Run, heading: &str, required: &[&str]) -> Value {
    let document = run.json();
    assert_eq!(document["type"], heading);
    hold(&document, heading, required);
    document
}

#[test]
fn streams_are_as_documented() {
    let place = Place::with_snapshot();
    let fields = [
        "snapshot_id",
        "parent_id",
        "state",
        "dry_run",
        "entries",
        "files_new",
        "files_changed",
        "files_unmodified",
        "entries_excluded",
        "source_bytes",
        "read_bytes",
        "new_chunks",
        "new_bytes",
        "stored_bytes",
        "problems",
        "notices",
        "elapsed_seconds",
    ];
    fs::write(place.path("src/more"), "more").unwrap();
    let backup = place.run(["backup", "src", "gone", "--json"]).ends(3).quiet();
    let lines = stream(&backup, "backup", &fields);
    assert!(lines.iter().any(|line| line["type"] == "problem"), "{lines:?}");
    let dry = place.run(["backup", "src", "--json", "--dry-run"]).ok().quiet();
    assert!(stream(&dry, "backup", &fields).last().unwrap()["snapshot_id"].is_null());

    let fields = [
        "snapshot_id",
        "target",
        "entries",
        "files",
        "entries_unchanged",
        "restored_bytes",
        "written_bytes",
        "problems",
        "elapsed_seconds",
    ];
    let restore = place.run(["restore", "latest", "--target", "out", "--json"]).ok().quiet();
    let summary = stream(&restore, "restore", &fields).pop().unwrap();
    assert_eq!(summary["restored_bytes"], summary["written_bytes"]);
    let again = place.run(["restore", "latest", "--target", "out", "--json"]).ok().summary();
    assert_eq!(again["written_bytes"], 0, "all is right already");
    let plan = place.run(["restore", "latest", "--dry-run", "--json"]).ok().quiet();
    let lines = stream(&plan, "restore", &fields);
    let plan = lines.iter().find(|line| line["type"] == "plan").unwrap();
    hold(
        plan,
        "plan",
        &["snapshot_id", "host", "target", "path", "entries", "files", "directories", "restore_bytes"],
    );
    assert!(plan["target"].is_null() && plan["restore_bytes"] == summary["restored_bytes"]);

    let fields = ["snapshots", "packs", "packs_read", "read_bytes", "findings", "elapsed_seconds"];
    fs::write(place.path("repo/packs/foreign"), "x").unwrap();
    let check = place.run(["check", "--read-data", "--json"]).ok().quiet();
    let lines = stream(&check, "check", &fields);
    let finding = lines.iter().find(|line| line["type"] == "finding").unwrap();
    hold(finding, "finding", &["severity", "object", "offset_bytes", "message", "hits"]);
    assert_eq!((&finding["severity"], &finding["object"]), (&"foreign".into(), &"packs/foreign".into()));
}

#[test]
fn documents_are_as_documented() {
    let place = Place::empty();
    let init = place.run(["init", "repo", "--key-file", "key", "--json"]).ok().quiet();
    document(&init, "init", &["repository_id", "path", "key_file", "is_default"]);
    super::support::small_tree(&place.path("src"));
    place.run(["backup", "src", "--tag", "a"]).ok();
    fs::write(place.path("src/text"), "changed").unwrap();
    fs::remove_file(place.path("src/noise")).unwrap();
    fs::write(place.path("src/new\n\u{1b}"), "new").unwrap();
    place.run(["backup", "src"]).ok();

    let list = document(&place.run(["snapshots", "--json"]).ok().quiet(), "snapshots", &["snapshots"]);
    let fields = [
        "id",
        "time",
        "utc_offset_minutes",
        "host",
        "user",
        "program",
        "tags",
        "comment",
        "parents",
        "state",
        "entries",
        "files",
        "directories",
        "source_bytes",
        "new_bytes",
        "stored_bytes",
        "problems",
        "modules",
    ];
    let snapshots = list["snapshots"].as_array().unwrap();
    snapshots.iter().for_each(|snapshot| hold(snapshot, "snapshot", &fields));
    snapshots[0]["modules"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|module| hold(module, "snapshot", &["sources"]));
    let id = |n: usize| snapshots[n]["id"].as_str().unwrap();

    let fields = ["path", "kind", "mode", "uid", "gid", "mtime"];
    let ls = document(&place.run(["ls", "latest", "--json"]).ok().quiet(), "ls", &["snapshot_id", "entries"]);
    ls["entries"].as_array().unwrap().iter().for_each(|entry| hold(entry, "entry", &fields));
    let find =
        document(&place.run(["find", "text", "--json"]).ok().quiet(), "find", &["snapshots", "matches"]);
    assert_eq!(find["matches"].as_array().unwrap().len(), 2);
    let fields = ["path", "snapshot_id", "module"];
    find["matches"].as_array().unwrap().iter().for_each(|entry| hold(entry, "find", &fields));
    let fields =
        ["old_id", "new_id", "changes", "added", "added_bytes", "removed", "removed_bytes", "modified"];
    let diff = document(&place.run(["diff", id(0), id(1), "--json"]).ok().quiet(), "diff", &fields);
    let changes = diff["changes"].as_array().unwrap();
    changes.iter().for_each(|change| hold(change, "diff", &["path", "change"]));
    let kinds: BTreeSet<_> = changes.iter().map(|change| change["change"].as_str().unwrap()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["added", "modified", "removed"]);

    let fields =
        ["snapshots", "source_bytes", "unique_bytes", "stored_bytes", "repository_bytes", "packs", "chunks"];
    let stats = document(&place.run(["stats", "--json"]).ok().quiet(), "stats", &fields);
    assert!(stats["repository_bytes"].as_u64() > stats["stored_bytes"].as_u64());
    let fields = ["dry_run", "snapshots", "kept", "forgotten", "oddities"];
    let run = place.run(["forget", "--keep-last", "1", "--dry-run", "--json"]).ok().quiet();
    let forget = document(&run, "forget", &fields);
    let fields = ["id", "time", "host", "action", "reasons", "good"];
    forget["snapshots"].as_array().unwrap().iter().for_each(|one| hold(one, "forget", &fields));
    let fields =
        ["dry_run", "snapshots_removed", "stored_bytes", "needed_bytes", "repack_packs", "removed_bytes"];
    document(&place.run(["prune", "--dry-run", "--json"]).ok().quiet(), "prune", &fields);
    let fields = ["dry_run", "packs", "groups", "objects", "stored_bytes", "damaged", "exit_code"];
    document(&place.run(["parity", "add", "--shards", "1", "--json"]).ok().quiet(), "parity_add", &fields);
    let fields = ["packs", "protected_packs", "objects", "stored_bytes", "groups", "exit_code"];
    let status = document(&place.run(["parity", "status", "--json"]).ok().quiet(), "parity_status", &fields);
    hold(&status["groups"][0], "parity_status", &["group", "packs", "shards", "more_losses"]);
    let fields = ["packs_read", "packs", "stored_objects", "removed_objects", "exit_code"];
    document(&place.run(["parity", "repair", "--json"]).ok().quiet(), "parity_repair", &fields);
    let run = place.run(["parity", "remove", "--all", "--json"]).ok().quiet();
    document(&run, "parity_remove", &["dry_run", "removed_objects", "unprotected_packs"]);
    let seen =
        document(&place.run(["witness", "--json"]).ok().quiet(), "witness", &["fingerprint", "clients"]);
    hold(&seen["clients"][0], "witness", &["client", "in_use", "host", "last_entry", "entries", "rights"]);
    let keys = document(&place.run(["key", "list", "--json"]).ok().quiet(), "keys", &["keys"]);
    let fields = ["id", "kind", "label", "created", "write_only", "opens_secrets", "in_use"];
    keys["keys"].as_array().unwrap().iter().for_each(|key| hold(key, "keys", &fields));
    let added = place.run(["key", "add", "--new-key-file", "key2", "--json"]).ok().quiet();
    document(&added, "key", &["change", "id"]);

    fs::write(place.path("m.toml"), "schema = 1\n[module]\nid = 5\n").unwrap();
    let check =
        document(&place.run(["module", "check", "m.toml", "--json"]).ends(2), "module_check", &["files"]);
    hold(
        &check["files"][0],
        "module_check",
        &["path", "kind", "id", "problems", "problems_not_shown", "note"],
    );
    let fields = ["line", "column", "key", "message", "help"];
    hold(&check["files"][0]["problems"][0], "module_check", &fields);

    place.run(["space", "run", "s", "--persistent", "--", "true"]).ok();
    place.run(["space", "put", "m.toml", "--space", "s"]).ok().quiet();
    let spaces = document(&place.run(["space", "list", "--json"]).ok().quiet(), "spaces", &["spaces"]);
    hold(&spaces["spaces"][0], "spaces", &["id", "persistent", "objects", "size_bytes"]);
    let space =
        document(&place.run(["space", "show", "s", "--json"]).ok().quiet(), "space", &["id", "objects"]);
    let fields = ["name", "kind", "is_value", "path", "entries", "size_bytes"];
    hold(&space["objects"][0], "space", &fields);
    let run = place.run(["space", "revert", "s", "--json"]).ok().quiet();
    let reverted = document(&run, "space_revert", &["dry_run", "spaces"]);
    hold(&reverted["spaces"][0], "space_revert", &["id", "reverted", "paths", "message"]);
}

#[test]
fn modules_and_logs_are_as_documented() {
    let place = Place::private();
    fs::create_dir(place.path("m")).unwrap();
    let text = "schema = 1\n[module]\nid = \"app\"\n[data]\nfiles = [\"/etc/hostname\"]\n[hooks]\nreset = { run = [\"x\"] }\n[[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = \"/x\"\n[[service]]\nname = \"s\"\nkind = \"system\"\n";
    fs::write(place.path("m/app.toml"), text).unwrap();
    fs::write(place.path("m/ .toml"), "").unwrap();
    let own = [
        "id",
        "name",
        "description",
        "version",
        "essential",
        "state",
        "reason",
        "file",
        "directory",
        "replaces",
        "implements",
    ];
    let list = document(
        &place.run(["module", "list", "--json", "--modules-dir", "m"]).ok(),
        "modules",
        &["modules", "faults"],
    );
    hold(&list["modules"][0], "declared module", &own);
    hold(&list["faults"][0], "modules", &["path", "reason", "hint"]);
    let fields = ["items", "settings", "sources", "stops", "programs", "requires", "required_by"];
    let show = place.run(["module", "show", "app", "--json", "--modules-dir", "m"]).ok();
    let show = document(&show, "module", &[&own[..], &fields].concat());
    let fields = [
        "path",
        "section",
        "extent",
        "optional",
        "presence",
        "entries",
        "source_bytes",
        "problems",
        "first_problem",
    ];
    hold(&show["items"][0], "module", &fields);
    hold(&show["sources"][0], "module", &["name", "driver", "section", "phase", "needs"]);
    hold(&show["stops"][0], "module", &["kind", "name"]);
    hold(
        &show["programs"][0],
        "module",
        &["at", "command", "shell", "user", "container", "program", "refused", "hint"],
    );
    let found =
        document(&place.run(["module", "discover", "--json"]).ok(), "discovered", &["proposals", "declared"]);
    for proposal in found["proposals"].as_array().unwrap() {
        hold(proposal, "discovered", &["id", "found", "manifest", "written"]);
    }
    document(&place.run(["log", "--json"]).ok(), "logs", &["logs"]);
    fs::create_dir(place.path("j")).unwrap();
    let text =
        "schema = 1\n[job]\nid = \"night\"\n[schedule]\n[retain]\n[hooks]\nbefore = { run = [\"x\"] }\n";
    fs::write(place.path("j/night.toml"), text).unwrap();
    let list = document(&place.run(["job", "list", "--json", "--jobs-dir", "j"]).ok(), "jobs", &["jobs"]);
    let runs = ["last_begun", "last_result", "next"];
    hold(&list["jobs"][0], "jobs", &[&["id", "name", "state", "reason", "file"], &runs[..]].concat());
    let fields =
        ["id", "modules", "paths", "repository", "further_storages", "labels", "keeps", "programs", "told"];
    let show = place.run(["job", "show", "night", "--json", "--jobs-dir", "j"]).ok();
    let show = document(&show, "job", &[&fields[..], &runs[..]].concat());
    hold(&show["keeps"], "job", &["last", "daily", "weekly", "monthly", "within", "max_age"]);
    hold(&show["programs"][0], "job", &["at", "command", "refused"]);
}

#[test]
fn errors_are_objects_on_standard_error() {
    let place = Place::with_snapshot();
    let fields = ["kind", "message", "hint", "causes", "exit_code"];
    for (arguments, kind, code) in [
        (&["ls", "ffffffff"][..], "missing", 1),
        (&["-r", "nowhere", "check"], "no_repository", 10),
        (&["--key-file", "src/text", "check"], "refused", 2),
        (&["backup", "--frobnicate"], "refused", 2),
        (&["restore", "latest"], "refused", 2),
    ] {
        let run = place.run([arguments, &["--json"]].concat()).ends(code);
        assert_eq!(run.out, "", "no result");
        let error: Value =
            serde_json::from_str(&run.err).unwrap_or_else(|error| panic!("{error}: {}", run.err));
        hold(&error, "error", &fields);
        assert_eq!(
            (&error["type"], &error["kind"], &error["exit_code"]),
            (&"error".into(), &kind.into(), &code.into())
        );
    }
}

#[test]
fn the_documentation_is_read() {
    let documented = documented();
    let count = |heading: &str| documented.get(heading).map_or(0, BTreeSet::len);
    assert!(
        count("summary of backup") > 15 && count("snapshot") > 15 && count("entry") > 10,
        "{documented:?}"
    );
    assert!(count("progress") > 10 && count("error") > 5 && count("keys") > 5, "{documented:?}");
}

#[test]
fn what_moves_is_as_documented() {
    let place = Place::with_snapshot();
    place.run(["init", "--key-file", "other.key", "other"]).ok();
    let copy = ["copy", "--to", "other", "--to-key-file", "other.key", "--json"];
    for fields in
        [&["id", "outcome", "copy_id", "read_bytes", "known_bytes", "new_bytes", "stored_bytes"][..], &["id"]]
    {
        let copied = document(
            &place.run(copy).ok(),
            "copy",
            &["dry_run", "snapshots", "elapsed_seconds", "exit_code"],
        );
        hold(&copied["snapshots"][0], "copy", fields);
    }
    let rewritten = place.run(["rewrite", "latest", "--exclude", "noise", "--json"]).ok();
    let rewritten =
        document(&rewritten, "rewrite", &["dry_run", "snapshots", "elapsed_seconds", "exit_code"]);
    let fields =
        ["id", "new_id", "was_there", "forgotten", "entries", "source_bytes", "paths", "paths_total"];
    hold(&rewritten["snapshots"][0], "rewrite", &fields);
    hold(&rewritten["snapshots"][0]["paths"][0], "rewrite", &["module", "path"]);
    let exported = place.run(["export", "latest", "-m", "files", "--output", "files.tar", "--json"]).ok();
    let fields = ["snapshot_id", "module", "path", "written_bytes", "left_out", "exit_code"];
    document(&exported, "export", &fields);
    let fields = ["snapshot_id", "module", "state", "entries", "source_bytes", "new_bytes", "stored_bytes"];
    document(&place.run(["import", "files.tar", "--json"]).ok(), "import", &fields);
}

#[test]
fn repairs_are_as_documented() {
    let place = Place::with_snapshot();
    let pack = super::support::packs(&place.path("repo"), 3).remove(0);
    fs::remove_file(&pack).unwrap();
    let packs = place.run(["repair", "packs", "--most-are-gone", "--json"]).ends(6).quiet();
    let lines = stream(&packs, "repair packs", &["packs_damaged", "saved_chunks", "losses"]);
    hold(lines.iter().find(|line| line["type"] == "pack").unwrap(), "pack", &["pack", "message", "chunks"]);
    let loss = lines.iter().find(|line| line["type"] == "loss").unwrap();
    hold(loss, "loss", &["snapshot_id", "what", "section", "path", "message"]);
    let made = place.run(["repair", "snapshots", "--json"]).ok().quiet();
    let lines = stream(&made, "repair snapshots", &["snapshots", "snapshots_repaired", "losses"]);
    assert!(lines.iter().any(|line| line["type"] == "repaired" && line["new_id"].is_string()), "{lines:?}");
    let index = place.run(["repair", "index", "--json"]).ok().quiet();
    stream(&index, "repair index", &["segments", "packs", "segments_damaged"]);
}
