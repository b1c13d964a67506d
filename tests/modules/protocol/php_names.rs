//! Every method that modules of FreePBX call, by its own name: each is called in a program by the SDK for PHP, and what
//! it did is looked at in the host's own tables.

use super::php::Pbx;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TABLES: &str = r"
CREATE TABLE everything_a (a TEXT PRIMARY KEY, b TEXT);
INSERT INTO everything_a VALUES ('1', 'one'), ('2', '');
CREATE TABLE everything_b (a TEXT);
CREATE TABLE everythingelse (a TEXT);
INSERT INTO modules VALUES ('everything'), ('everythingelse');
CREATE TABLE kvstore_FreePBX_modules_Everything (`key` TEXT NOT NULL, val TEXT, type TEXT, id TEXT NOT NULL, UNIQUE (`key`, id));
INSERT INTO kvstore_FreePBX_modules_Everything VALUES ('k', 'v', NULL, 'noid'), ('list', '[1]', 'json-arr', '7');
INSERT INTO freepbx_settings VALUES ('EVERYTHING_ON', '1', 'everything');
INSERT INTO featurecodes VALUES ('everything', 'one', 'One', 'help', '*1', NULL, 1, 0);
";

/// What is there of tables, key-value store, feature codes and settings.
fn whole() -> [Value; 4] {
    [
        json!([["1", "one"], ["2", ""]]),
        json!([["7", "list", "[1]", "json-arr"], ["noid", "k", "v", null]]),
        json!([["one", "*1"]]),
        json!([["EVERYTHING_ON", "1"]]),
    ]
}

/// The same of nothing, and one part that is something.
fn only(part: usize, value: Value) -> Value {
    let mut state = [json!([]), json!([]), json!([]), json!([["EVERYTHING_ON", "cleared"]])];
    state[part] = value;
    json!(state)
}

/// Returns what a program noted, having asserted that it noted nothing but what is expected here.
fn noted(pbx: &Pbx, of: &str, expected: &[(&str, Value)]) {
    let did = pbx.json(&format!("did-{of}.json"));
    let did = did.as_object().unwrap();
    let names: BTreeSet<&str> = did.keys().map(String::as_str).collect();
    assert_eq!(names, expected.iter().map(|(name, _)| *name).collect());
    for (name, expected) in expected {
        assert_eq!(&did[*name], expected, "{name}");
    }
}

fn pbx() -> Pbx {
    let pbx = Pbx::new(&["everything"]);
    pbx.change(TABLES);
    pbx
}

#[test]
fn every_method_of_exporters_and_importers_does_what_its_name_says() {
    let pbx = pbx();
    pbx.machine.dedup(&["backup"]).says(&["by the engine", "addConfigs replaces"]).ok();
    let code = json!({ "description": "One", "helptext": "help", "defaultcode": "*1", "customcode": null, "enabled": 1, "providedest": 0 });
    noted(
        &pbx,
        "export",
        &[
            ("runBackup", json!([true, true])),
            ("FreePBX", json!([[2]])),
            ("tmpdir", json!([true, "700"])),
            ("backupObj", json!(true)),
            ("dumpAdvancedSettings", json!({ "EVERYTHING_ON": "1" })),
            ("dumpFeatureCodes", json!({ "one": code })),
            ("dumpTables", json!([["everything_a", "everything_b"], 2, "", false])),
            ("dumpKVStore", json!([2, { "list": [1] }, { "k": "v" }])),
            ("dumpAll", json!([["settings", "features", "tables", "kvstore"], true, true, true, true])),
        ],
    );
    let account = pbx.machine.account("everything");
    assert_eq!(account["state"], "complete", "{account}");
    let dumps: Vec<_> = account["dumps"].as_array().unwrap().iter().map(|dump| &dump["name"]).collect();
    assert_eq!(dumps, [".exporter", "kv:all.kvstore", "table:everything_a", "table:everything_b"]);
    let kept = pbx.rows();

    pbx.machine.dedup(&["restore", "latest", "--yes"]).ok().says(&["has no column gone"]);
    let [tables, kv, codes, settings] = whole();
    let spool = "RIFF\0";
    noted(
        &pbx,
        "import",
        &[
            ("runRestore", json!(true)),
            ("getConfigs", json!([["all", "empty", "more"], [], { "one": 1 }, "one"])),
            (
                "getFiles",
                json!([
                    ["greeting.wav", "prompt", "SPOOL", spool],
                    ["msg0000.txt", "txt", "", "a message\n"]
                ]),
            ),
            ("getDirectories", json!(["empty"])),
            ("getDependencies", json!(["core"])),
            ("getVersion", json!("1")),
            ("importAll", json!([tables, kv, codes, settings])),
            ("importAdvancedSettings", only(3, json!([["EVERYTHING_NEW", ""], ["EVERYTHING_ON", "set"]]))),
            (
                "importFeatureCodes",
                json!([
                    [],
                    [],
                    [["one", "*1"]],
                    [["EVERYTHING_NEW", "cleared"], ["EVERYTHING_ON", "cleared"]]
                ]),
            ),
            ("importFeatureCodes of none", json!([])),
            (
                "importKVStore",
                json!([
                    [],
                    [["7", "zero", "0", null], ["noid", "k", "v", null], ["noid", "list", "[1]", "json-arr"]],
                    [],
                    [["EVERYTHING_NEW", "cleared"], ["EVERYTHING_ON", "cleared"]]
                ]),
            ),
            (
                "importTables",
                json!([[["x", "y"]], [], [], [["EVERYTHING_NEW", "cleared"], ["EVERYTHING_ON", "cleared"]]]),
            ),
            ("addDataToTableFromArray", json!([["p", null]])),
            ("addDataToTableFromArray without delete", json!([["p", null], ["q", "1"]])),
            ("importAstDB", json!({ "/FAMILY/1/a": "x", "/FAMILY/2/b": "y" })),
        ],
    );
    // What the program saw is so: the tables say it too.
    assert_ne!(pbx.rows(), kept);
    assert!(pbx.rows().contains(&"everything_a: text'q',text'1'".to_owned()));
}

#[test]
fn every_way_to_take_an_archive_of_before_takes_its_part_and_no_more() {
    let pbx = pbx();
    let old = pbx.home.join("legacy.sqlite");
    let made = Connection::open(&old).unwrap().execute_batch(
        "CREATE TABLE everything_a (a TEXT, b TEXT); INSERT INTO everything_a VALUES ('1', 'one'), ('2', '');
         CREATE TABLE kvstore (module TEXT, `key` TEXT, val TEXT, type TEXT, id TEXT);
         INSERT INTO kvstore VALUES ('FreePBX\\modules\\Everything', 'k', 'v', NULL, 'noid'), ('FreePBX\\modules\\Everything', 'list', '[1]', 'json-arr', '7'),
            ('FreePBX\\modules\\Core', 'k', 'theirs', NULL, 'noid');
         CREATE TABLE featurecodes (modulename TEXT, featurename TEXT, description TEXT, defaultcode TEXT, customcode TEXT, enabled TEXT, providedest TEXT);
         INSERT INTO featurecodes VALUES ('everything', 'one', 'One', '*1', NULL, '1', '0'), ('core', 'c', '', '*9', NULL, '1', '0');
         CREATE TABLE freepbx_settings (keyword TEXT, value TEXT, module TEXT);
         INSERT INTO freepbx_settings VALUES ('EVERYTHING_ON', '1', 'everything'), ('OTHER', 'theirs', 'core')",
    );
    made.unwrap();
    let begin = json!({ "t": "begin", "format": "freepbx-legacy", "database": old, "tables": ["everything_a"], "unknown_tables": ["odd"], "manifest": { "version": "13" } });
    let configs = json!({ "t": "configs", "map": {}, "section": "config", "more": false });
    let have =
        json!({ "t": "have", "blobs": [], "records": [], "trees": [], "files": 0, "dirs": 0, "more": false });
    let said = pbx.speak("everything", "legacy", &[begin, configs, have]);
    assert_eq!(said.last().unwrap()["t"], "done", "{said:?}");
    // Only these parts of the four are another afterwards.
    let part = |taken: [bool; 4]| -> Value {
        let parts = whole().into_iter().zip(taken);
        parts.map(|(part, taken)| if taken { part } else { json!("as it was") }).collect()
    };
    noted(
        &pbx,
        "import",
        &[
            ("processLegacy", json!([{ "version": "13" }, ["everything_a"], ["odd"]])),
            ("restoreLegacyAll", part([true; 4])),
            ("restoreLegacyDatabase", part([true, false, false, false])),
            ("restoreLegacyKvstore", part([false, true, false, false])),
            ("restoreLegacyFeatureCodes", part([false, false, true, false])),
            ("restoreLegacySettings", part([false, false, false, true])),
            ("restoreLegacyDatabaseKvstore", part([true, true, false, false])),
        ],
    );
    let rows = pbx.rows();
    assert!(rows.contains(&"freepbx_settings: text'OTHER',text'x',text'core'".to_owned()), "theirs stays");
    assert!(!rows.iter().any(|row| row.contains("theirs")));
}

#[test]
fn reset_is_called_and_eight_levels_are_said() {
    let pbx = pbx();
    let said = pbx.speak("everything", "reset", &[]);
    assert_eq!(said.last().unwrap()["t"], "done", "{said:?}");
    let levels: Vec<(&str, &str)> = said
        .iter()
        .filter(|line| line["t"] == "log")
        .map(|line| (line["msg"].as_str().unwrap(), line["level"].as_str().unwrap()))
        .collect();
    let expected = [
        ("said as EMERGENCY", "emergency"),
        ("said as ALERT", "alert"),
        ("said as CRITICAL", "critical"),
        ("said as ERROR", "error"),
        ("said as WARNING", "warning"),
        ("said as NOTICE", "notice"),
        ("said as INFO", "info"),
        ("said as DEBUG", "debug"),
        ("said as NEVER HEARD OF", "info"),
        ("said as nothing", "info"),
    ];
    assert_eq!(levels, expected);
    assert!(!pbx.rows().iter().any(|row| row.starts_with("everything_a:")), "it is empty");
}
