//! Modules written for FreePBX, by the SDK for PHP: what they derive from is changed, and nothing else.

use crate::runs::app::Machine;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where fixtures lie.
const FIXTURES: [(&str, &str); 5] = [
    ("host.php", include_str!("php/host.php")),
    ("queues.php", include_str!("php/queues.php")),
    ("voicemail.php", include_str!("php/voicemail.php")),
    ("fallback.php", include_str!("php/fallback.php")),
    ("everything.php", include_str!("php/everything.php")),
];

/// A queue's description with what rewriting would break.
const TABLES: &str = r#"
CREATE TABLE modules (modulename TEXT PRIMARY KEY);
INSERT INTO modules VALUES ('queues'), ('queuesext'), ('core');
CREATE TABLE queues_config (extension TEXT PRIMARY KEY, descr TEXT, weight INTEGER, sound BLOB);
INSERT INTO queues_config VALUES ('601', 'Sales \n and "more" ä', 0, x'00ff610a'), ('602', '', NULL, x''), ('603', 'x', 9007199254740993, x'74657874');
CREATE TABLE queues_details (id TEXT, keyword TEXT, data TEXT, PRIMARY KEY (id, keyword));
CREATE TABLE queues_empty (a INTEGER);
CREATE TABLE queuesext_own (a INTEGER);
INSERT INTO queuesext_own VALUES (1);
CREATE TABLE agents (a TEXT, b TEXT);
INSERT INTO agents VALUES ('x', 'y'), ('x', 'y');
CREATE TABLE kvstore_FreePBX_modules_Queues (`key` TEXT NOT NULL, val TEXT, type TEXT, id TEXT NOT NULL, UNIQUE (`key`, id));
INSERT INTO kvstore_FreePBX_modules_Queues VALUES ('a', '[1,2]', 'json-arr', '601'), ('b', 'text', NULL, 'noid'), ('c', 'u-1', 'blob', '601');
CREATE TABLE kvblobstore (uuid TEXT PRIMARY KEY, type TEXT, content BLOB);
INSERT INTO kvblobstore VALUES ('u-1', 'json-obj', '{"long":{}}');
CREATE TABLE freepbx_settings (keyword TEXT PRIMARY KEY, value TEXT, module TEXT);
INSERT INTO freepbx_settings VALUES ('QUEUES_HIDE', '1', 'queues'), ('OTHER', 'x', 'core');
CREATE TABLE featurecodes (modulename TEXT, featurename TEXT, description TEXT, helptext TEXT, defaultcode TEXT, customcode TEXT, enabled INTEGER, providedest INTEGER, PRIMARY KEY (modulename, featurename));
INSERT INTO featurecodes VALUES ('queues', 'toggle', 'Toggle', '', '*45', NULL, 1, 0), ('core', 'c', '', '', '*1', '', 1, 0);
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A telephone system, and the modules by the SDK.
pub(super) struct Pbx {
    pub(super) machine: Machine,
    pub(super) home: PathBuf,
}

impl Pbx {
    pub(super) fn new(modules: &[&str]) -> Self {
        let machine = Machine::new();
        let home = machine.place.path("data");
        for (name, text) in FIXTURES {
            fs::write(machine.place.path(name), text).unwrap();
        }
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk/php");
        for module in modules {
            let program = machine.place.path(format!("{module}.php"));
            let command = format!(
                "command = [\"php\", {program:?}]\nenv = {{ PBX = {home:?}, SDK = {sdk:?}, FALLBACK = \"yes\" }}\n"
            );
            let paths = format!("[paths]\nSPOOL = {:?}\n", home.join("spool"));
            machine.module(module, &format!("[exporter]\n{command}[importer]\n{command}{paths}"));
        }
        fs::create_dir_all(home.join("spool/601")).unwrap();
        fs::create_dir_all(home.join("spool/empty")).unwrap();
        fs::write(home.join("spool/601/greeting.wav"), b"RIFF\0").unwrap();
        fs::write(home.join("spool/601/msg0000.txt"), "a message\n").unwrap();
        fs::write(home.join("astdb.json"), json!({ "/QPENALTY/601/agents": "x", "/CW/1": "y" }).to_string())
            .unwrap();
        let db = Connection::open(home.join("pbx.db")).unwrap();
        db.execute_batch(TABLES).unwrap();
        let mut row = db.prepare("INSERT INTO queues_details VALUES (?, 'member', ?)").unwrap();
        db.execute_batch("BEGIN").unwrap();
        for n in 0..40_000 {
            row.execute((format!("{n:06}"), format!("Local/{n}@from-queue {}", "x".repeat(100)))).unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
        drop(row);
        Self { machine, home }
    }

    /// Returns every row of every table, with the types of its values.
    pub(super) fn rows(&self) -> Vec<String> {
        let db = Connection::open(self.home.join("pbx.db")).unwrap();
        let list = |sql: &str| -> Vec<String> {
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let mut all = Vec::new();
        for table in list("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1") {
            let columns = list(&format!("SELECT name FROM pragma_table_info('{table}')"));
            let shown: Vec<String> =
                columns.iter().map(|name| format!("typeof(\"{name}\") || quote(\"{name}\")")).collect();
            let rows = list(&format!("SELECT {} FROM \"{table}\" ORDER BY 1", shown.join(" || ',' || ")));
            all.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
        }
        all
    }

    pub(super) fn change(&self, sql: &str) {
        Connection::open(self.home.join("pbx.db")).unwrap().execute_batch(sql).unwrap();
    }

    pub(super) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.home.join(name)).unwrap()).unwrap()
    }

    /// Speaks to a module as the engine would; returns the lines that it says.
    pub(super) fn speak(&self, module: &str, op: &str, lines: &[Value]) -> Vec<Value> {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk/php");
        let mut child = Command::new("php")
            .arg(self.machine.place.path(format!("{module}.php")))
            .env("PBX", &self.home)
            .env("SDK", sdk)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let hello = json!({ "t": "hello", "protocols": [1], "features": ["raw"], "op": op, "module": module, "run": "r", "values": {}, "limits": {} });
        let mut pipe = child.stdin.take().unwrap();
        for line in std::iter::once(&hello).chain(lines) {
            writeln!(pipe, "{line}").unwrap();
        }
        // The pipe stays open until the module has said all.
        let output = child.wait_with_output().unwrap();
        drop(pipe);
        assert!(output.status.success(), "{op}: {:?}", output.status);
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[test]
fn what_a_module_of_freepbx_dumps_comes_back_row_by_row() {
    let pbx = Pbx::new(&["queues", "core"]);
    let before = pbx.rows();
    // There is no program of core; it is there to be depended on.
    let core = pbx.machine.place.path("home/.config/dedup/modules.d/core.toml");
    fs::write(
        &core,
        "schema = 1\n[module]\nid = \"core\"\n[data]\ndirectories = [\"/usr/share/doc/php-cli\"]\n",
    )
    .unwrap();
    pbx.machine.dedup(&["backup", "-m", "queues"]).ok();
    let account = pbx.machine.account("queues");
    assert_eq!(account["state"], "complete", "{account}");
    let names: Vec<_> =
        account["dumps"].as_array().unwrap().iter().map(|dump| dump["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            ".exporter",
            ".exporter-secrets",
            "config:long",
            "kv:kvstore",
            "table:agents",
            "table:queues_config",
            "table:queues_details",
            "table:queues_empty"
        ],
        "and not the table of queuesext"
    );
    pbx.change(
        "DELETE FROM queues_config; DELETE FROM queues_details; INSERT INTO queues_empty VALUES (1); DELETE FROM agents; \
         DELETE FROM kvstore_FreePBX_modules_Queues; UPDATE freepbx_settings SET value = '0'; DELETE FROM featurecodes; \
         INSERT INTO featurecodes VALUES ('queues', 'new', '', '', '', '', 1, 0), ('core', 'c', '', '', '*1', '', 1, 0); \
         UPDATE freepbx_settings SET value = 'x' WHERE keyword = 'OTHER'",
    );
    fs::write(pbx.home.join("astdb.json"), "{}").unwrap();
    pbx.machine.dedup(&["restore", "latest", "--yes", "-m", "queues", "--strict"]).ok();
    let after = pbx.rows();
    assert_eq!(before, after);
    let got = pbx.json("got.json");
    assert_eq!((&got["version"], &got["first"], &got["third"]), (&json!("1"), &json!("601"), &json!("")));
    assert_eq!(
        (&got["nothing"], &got["long"], &got["seen"]),
        (&json!([]), &json!(40_000), &json!([40_000, 12]))
    );
    assert_eq!(got["kv"], json!({ "a": [1, 2], "c": { "long": {} } }));
    assert_eq!(pbx.json("astdb.json"), json!({ "/OTHER/1/deep": "shape", "/QPENALTY/601/agents": "x" }));
}

#[test]
fn files_come_with_their_types_and_what_is_not_supported_is_named() {
    let pbx = Pbx::new(&["voicemail"]);
    pbx.machine.dedup(&["backup"]).ends(3).shows(&["gone.txt"]);
    fs::remove_dir_all(pbx.home.join("spool")).unwrap();
    pbx.machine.dedup(&["restore", "latest-any", "--yes"]);
    assert_eq!(fs::read_to_string(pbx.home.join("spool/601/msg0000.txt")).unwrap(), "a message\n");
    assert!(pbx.home.join("spool/empty").is_dir());
    let got = pbx.json("mail.json");
    assert_eq!((&got["users"], &got["zero"]), (&json!({ "601": { "pin": "0123", "empty": "" } }), &json!(0)));
    let files = got["files"].as_array().unwrap();
    assert!(files.contains(&json!(["greeting.wav", "wav", "", "RIFF\0"])), "{got}");
    assert!(files.contains(&json!(["msg0000.txt", "message", "SPOOL", "a message\n"])), "{got}");
    assert_eq!(got["dirs"], json!([pbx.home.join("spool/empty")]));
    for (file, says) in [
        ("ask", "backupObj->restoreFromCloud() is not known"),
        ("old", "restoreDataFromDump() is not supported: declare a [[source]]"),
    ] {
        fs::write(pbx.home.join(file), "").unwrap();
        pbx.machine.dedup(&["restore", "latest-any", "--yes"]).ends(7).says(&[says]);
        fs::remove_file(pbx.home.join(file)).unwrap();
    }
}

#[test]
fn a_module_without_an_exporter_of_its_own_stores_what_has_its_name_if_it_asks_for_that() {
    let pbx = Pbx::new(&["fallback"]);
    pbx.change("CREATE TABLE fallback_t (a TEXT); INSERT INTO fallback_t VALUES ('kept')");
    pbx.machine.dedup(&["backup"]).ok();
    pbx.change("DELETE FROM fallback_t");
    pbx.machine.dedup(&["restore", "latest", "--yes", "--strict"]).ok();
    assert!(pbx.rows().contains(&"fallback_t: text'kept'".to_owned()));
    let said = pbx.speak("fallback", "export", &[]);
    assert!(
        said.iter()
            .any(|line| line["level"] == "error"
                && line["msg"].as_str().unwrap().contains("nothing is stored"))
    );
}

#[test]
fn an_archive_of_the_generation_before_is_taken_by_processlegacy() {
    let pbx = Pbx::new(&["queues"]);
    let old = pbx.home.join("legacy.sqlite");
    let made = Connection::open(&old).unwrap().execute_batch(
        "CREATE TABLE queues_config (extension TEXT, descr TEXT, gone TEXT); INSERT INTO queues_config VALUES ('700', 'Old', 'x');
         CREATE TABLE kvstore (module TEXT, `key` TEXT, val TEXT, type TEXT, id TEXT);
         INSERT INTO kvstore VALUES ('FreePBX\\modules\\Queues', 'k', 'v', NULL, 'noid'), ('FreePBX\\modules\\Core', 'k', 'w', NULL, 'noid');
         CREATE TABLE featurecodes (modulename TEXT, featurename TEXT, description TEXT, defaultcode TEXT, customcode TEXT, enabled TEXT, providedest TEXT);
         INSERT INTO featurecodes VALUES ('queues', 'old', 'Old', '*46', '', '1', '0');
         CREATE TABLE freepbx_settings (keyword TEXT, value TEXT, module TEXT); INSERT INTO freepbx_settings VALUES ('QUEUES_HIDE', '7', 'queues')",
    );
    made.unwrap();
    let begin = json!({ "t": "begin", "format": "freepbx-legacy", "database": old, "tables": ["queues_config"], "unknown_tables": ["odd"], "manifest": { "version": "12" } });
    let configs = json!({ "t": "configs", "map": { "astdb": { "QPENALTY": { "700/agents": "y" } } }, "section": "config", "more": false });
    let have =
        json!({ "t": "have", "blobs": [], "records": [], "trees": [], "files": 0, "dirs": 0, "more": false });
    let said = pbx.speak("queues", "legacy", &[begin, configs, have]);
    assert_eq!(said.last().unwrap()["t"], "done", "{said:?}");
    let logged = |text: &str| {
        said.iter().any(|line| line["t"] == "log" && line["msg"].as_str().unwrap().contains(text))
    };
    assert!(logged("version 12, not known: odd") && logged("no column gone"), "{said:?}");
    let rows = pbx.rows();
    for row in [
        "queues_config: text'700',text'Old',nullNULL,nullNULL",
        "kvstore_FreePBX_modules_Queues: text'k',text'v',nullNULL,text'noid'",
        "featurecodes: text'queues',text'old',text'Old',nullNULL,text'*46',text'',integer1,integer0",
        "freepbx_settings: text'QUEUES_HIDE',text'7',text'queues'",
    ] {
        assert!(
            rows.contains(&row.to_owned()),
            "{row} is not in {:?}",
            rows.iter().filter(|row| !row.contains("details")).collect::<Vec<_>>()
        );
    }
    assert_eq!(pbx.json("astdb.json")["/QPENALTY/700/agents"], "y");
    let said = pbx.speak("queues", "reset", &[]);
    assert_eq!(said.last().unwrap()["t"], "done", "{said:?}");
    assert!(pbx.rows().iter().any(|row| row.contains("made by it")));
}

#[test]
fn values_come_back_as_they_went() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk/php/dedup/autoload.php");
    let code = r#"require $argv[1];
        $values = [null, true, 0, -7, PHP_INT_MAX, PHP_INT_MIN, 1.5, 1.0, 1e300, 0.1, INF, '', "\0\xff", "ä\u{2028}\\n", [], [1, [2]], ['a' => 1, '$b' => [null]],
            ['x' => ['0' => 'a', '2' => 'b']], str_repeat('x', 70000)];
        foreach ($values as $value) {
            $text = json_encode(Dedup\Values::encode($value), Dedup\Values::JSON);
            $back = Dedup\Values::decode(json_decode($text, true));
            if ($back !== $value) { echo 'differs: ', substr($text, 0, 200), "\n"; }
        }
        foreach ([new ArrayObject(), fopen('php://memory', 'r')] as $odd) {
            try { Dedup\Values::encode($odd); echo "taken\n"; } catch (InvalidArgumentException $e) { echo $e->getMessage(), "\n"; }
        }
        echo json_encode(Dedup\Values::encode(new DateTime('2026-11-21 05:30:00.25+01:00'))), "\n";"#;
    let said = run(Command::new("php").args(["-d", "serialize_precision=-1", "-r", code]).arg(sdk));
    assert_eq!(
        said,
        "a ArrayObject is no plain value\na resource is no plain value\n{\"$t\":[\"moment\",\"2026-11-21 04:30:00.250000\"]}\n"
    );
}
