//! Archives of FreePBX 15 and later.

use super::{Packing, Pbx, import, module, outcome};
use serde_json::json;
use std::fs;

/// What a module of queues puts into an archive.
fn queues(pbx: &Pbx) -> serde_json::Value {
    let dir = pbx.0.place.path("asterisk/sounds");
    json!({
        "module": "queues", "version": "16.0.20", "pbx_version": "16.0.40", "skip_reset": false,
        "dependencies": ["core", "framework", "recordings"],
        "dirs": [], "garbage": [],
        "files": [
            {"type": "prompt", "filename": "welcome.wav", "pathto": dir, "base": ""},
            {"type": "prompt", "filename": "vanished.wav", "pathto": dir, "base": ""},
        ],
        "configs": {
            "settings": {"QUEUE_HINTS": "there"},
            "features": {"login": {"description": "Log in", "helptext": "h", "defaultcode": "*45",
                "customcode": null, "enabled": 1, "providedest": 0}},
            "kvstore": {"noid": {"plain": "a\\nb", "list": [1, "two"]}, "7": {"empty": ""}},
            "tables": {"queues_config": [
                {"extension": "400", "descr": "Sales \\n ü", "password": "'\"\\"},
                {"extension": "401", "descr": null, "password": ""},
            ]},
            "astdb": [{"QUEUE": {"400/pin": "1", "x": "2"}}],
        },
    })
}

fn packed<'m>(pbx: &'m Pbx, queues: &serde_json::Value) -> Packing<'m> {
    let packing = Packing::new(&pbx.0);
    let sound = pbx.0.place.path("asterisk/sounds/welcome.wav");
    let core = json!({"module": "core", "version": "16.0.1", "pbx_version": "16.0.40", "dependencies": [],
        "dirs": [], "files": [], "configs": {"Users": [{"extension": "100", "name": "Ann"}]}});
    packing
        .file(
            "metadata.json",
            json!({"date": 1_790_000_000, "modules": [], "skipped": ["cdr"], "processorder": []}).to_string(),
        )
        .file("modulejson/Queues.json", queues.to_string())
        .file("modulejson/Core.json", core.to_string())
        .file(&format!("files{}", sound.display()), "sound")
        .file("customfiles/etc/extra.conf", "mine");
    packing
}

#[test]
fn an_archive_comes_back_module_by_module() {
    let pbx = Pbx::new();
    pbx.declare_queues("");
    let archive = packed(&pbx, &queues(&pbx)).tar_gz();
    // One file was listed and is not there: the module says so, and so does the status.
    let imported = import(&pbx.0, "freepbx", &archive, &[]).ends(3).json();
    assert_eq!(imported["what"], "FreePBX 16.0.40");
    let ids: Vec<_> =
        imported["modules"].as_array().unwrap().iter().map(|module| module["module"].clone()).collect();
    assert_eq!(ids, ["core", "custom-freepbx", "ringqueue"], "queues are what is called ringqueue here");
    let own = module(&imported, "ringqueue");
    assert_eq!((own["state"].as_str(), own["version"].as_str()), (Some("partial"), Some("16.0.20")));
    assert_eq!(own["requires"], json!(["core", "recordings"]), "the product itself is no module");
    for source in ["tables", "kv", "codes", "settings", "tree"] {
        assert_eq!(outcome(own, &format!("source:{source}")), "stored", "{source}");
    }
    let vanished = format!("file:{}", pbx.0.place.path("asterisk/sounds/vanished.wav").display());
    assert_eq!(outcome(own, &vanished), "absent");
    let notes = imported["notes"].to_string();
    assert!(notes.contains("cdr was skipped"), "{notes}");
    // What nobody here has rules for is kept as what its own program will be told.
    assert_eq!(module(&imported, "core")["dumps"], json!([".exporter"]));

    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    let restored = pbx.0.dedup(&["restore", &snapshot, "-m", "ringqueue", "--yes", "--json"]);
    let summary = restored.summary();
    let reason = summary["modules"][0]["reason"].to_string();
    assert_eq!(summary["modules"][0]["state"], "restored", "{reason}");
    assert_eq!(
        pbx.rows("SELECT * FROM queues_config ORDER BY 1"),
        ["400|Sales \\n ü|'\"\\", "401|NULL|"],
        "whatever a string has in it, it is as it was"
    );
    assert_eq!(
        pbx.rows(
            "SELECT id, key, CAST(val AS TEXT), type FROM kvstore_FreePBX_modules_Ringqueue ORDER BY 1, 2"
        ),
        ["7|empty||NULL", "noid|list|[1,\"two\"]|json-arr", "noid|plain|a\\nb|NULL"]
    );
    assert_eq!(
        pbx.rows("SELECT modulename, featurename, defaultcode, helptext FROM featurecodes ORDER BY 1"),
        ["core|pickup|*8|", "ringqueue|login|*45|h"],
        "codes written as `features` come back, those that were not there go, those of others stay"
    );
    assert_eq!(
        pbx.rows("SELECT * FROM freepbx_settings ORDER BY keyword"),
        ["AMPDBPASS|secret|of the database|framework", "QUEUE_HINTS|there|Whether there are hints|ringqueue"],
        "only the value of a setting is in the archive, and only that changes"
    );
    assert_eq!(
        pbx.rows("SELECT * FROM astdb ORDER BY 1"),
        ["/QUEUE/400/pin|1", "/QUEUE/x|2", "/QUEUES/theirs|y"]
    );
    assert_eq!(fs::read(pbx.0.place.path("asterisk/sounds/welcome.wav")).unwrap(), b"sound");
}

/// `QUEUE_HINTS` is the module's; the password of the database is not, whatever an archive says.
#[test]
fn an_archive_cannot_change_what_belongs_to_others() {
    let pbx = Pbx::new();
    pbx.declare_queues("");
    let mut queues = queues(&pbx);
    queues["configs"]["settings"] = json!({"QUEUE_HINTS": "x", "AMPDBPASS": "stolen"});
    queues["files"] = json!([]);
    let archive = packed(&pbx, &queues).tar_gz();
    let imported = import(&pbx.0, "freepbx", &archive, &["-m", "ringqueue"]).ok().json();
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    let restored = pbx.0.dedup(&["restore", &snapshot, "-m", "ringqueue", "--yes", "--json"]);
    assert_eq!(restored.summary()["modules"][0]["state"], "rolled-back");
    let settings = pbx.rows("SELECT keyword, value FROM freepbx_settings ORDER BY 1");
    assert_eq!(settings, ["AMPDBPASS|secret", "QUEUE_HINTS|here"]);
    assert_eq!(pbx.rows("SELECT extension FROM queues_config"), ["999"], "all of it is as it was");
}

/// An empty list of codes is not the same as no word of codes.
#[test]
fn empty_is_not_absent() {
    let pbx = Pbx::new();
    pbx.declare_queues("");
    let mut queues = queues(&pbx);
    queues["files"] = json!([]);
    queues["configs"] = json!({"features": [], "tables": {"queues_config": []}});
    let archive = packed(&pbx, &queues).tar_gz();
    let imported = import(&pbx.0, "freepbx", &archive, &["-m", "ringqueue"]).ok().json();
    let own = module(&imported, "ringqueue");
    assert_eq!(outcome(own, "source:codes"), "empty");
    assert_eq!(outcome(own, "source:kv"), "absent");
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    pbx.0.dedup(&["restore", &snapshot, "-m", "ringqueue", "--yes"]);
    assert_eq!(pbx.rows("SELECT count(*) FROM featurecodes WHERE modulename = 'ringqueue'"), ["0"]);
    assert_eq!(pbx.rows("SELECT count(*) FROM queues_config"), ["0"]);
    assert_eq!(
        pbx.rows("SELECT count(*) FROM kvstore_FreePBX_modules_Ringqueue"),
        ["1"],
        "nothing was said of it"
    );
}

#[test]
fn what_cannot_be_taken_is_told_and_the_rest_is_taken() {
    let pbx = Pbx::new();
    pbx.declare_queues("");
    let mut queues = queues(&pbx);
    queues["files"] = json!([]);
    queues["configs"]["kvstore"] = json!("no map");
    queues["configs"]["tables"]["other"] = json!([{"a": 1}]);
    let packing = packed(&pbx, &queues);
    packing.file("modulejson/Broken.json", "{\"module\": \"broken\", ");
    packing.file("modulejson/..json", "{}");
    let imported = import(&pbx.0, "freepbx", &packing.tar_gz(), &[]).ends(3).json();
    let own = module(&imported, "ringqueue");
    assert_eq!(own["state"], "partial");
    assert_eq!(outcome(own, "configs:kvstore"), "failed");
    assert_eq!(outcome(own, "source:tables"), "stored");
    assert_eq!(outcome(own, "table:other"), "skipped");
    assert_eq!(module(&imported, "broken")["state"], "partial");
    let wrong = import(&pbx.0, "freepbx", &packing.tar_gz(), &["-m", "nobody"]).ends(2);
    assert!(wrong.err.contains("ringqueue"), "it says what there is: {}", wrong.err);
    let none = import(&pbx.0, "iotstack", &packing.tar_gz(), &[]).ends(2);
    assert!(none.err.contains("no backup of IOTstack"), "{}", none.err);
}

/// An archive of a later version of the module is not put into an older one.
#[test]
fn versions_are_gates() {
    let pbx = Pbx::new();
    pbx.declare_queues("");
    let mut queues = queues(&pbx);
    queues["version"] = json!("17.0.1");
    queues["files"] = json!([]);
    let archive = packed(&pbx, &queues).tar_gz();
    let imported = import(&pbx.0, "freepbx", &archive, &["-m", "ringqueue"]).ok().json();
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    let refused = pbx.0.dedup(&["restore", &snapshot, "-m", "ringqueue", "--yes"]).ends(2);
    assert!(refused.err.contains("17.0.1") && refused.err.contains("16.0.27"), "{}", refused.err);
}
