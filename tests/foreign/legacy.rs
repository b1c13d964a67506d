//! Archives of FreePBX before 15.

use super::{Packing, Pbx, declare, import, module, outcome};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

const MANIFEST: &str =
    "a:3:{s:16:\"manifest_version\";i:10;s:11:\"pbx_version\";s:4:\"13.0\";s:5:\"ctime\";i:1500000000;}";
const TREE: &str = "a:2:{s:5:\"QUEUE\";a:2:{s:1:\"x\";s:1:\"2\";s:7:\"400/pin\";s:1:\"1\";}s:2:\"CW\";a:1:{s:3:\"100\";s:7:\"ENABLED\";}}";

/// A dump as `mysqldump` of those days wrote it.
const DUMP: &str = r#"-- MySQL dump 10.13  Distrib 5.5.62
/*!40101 SET NAMES utf8 */;
DROP TABLE IF EXISTS `modules`;
CREATE TABLE `modules` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `modulename` varchar(50) NOT NULL DEFAULT '',
  `version` varchar(20) NOT NULL DEFAULT '',
  `enabled` tinyint(4) NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`),
  UNIQUE KEY `module` (`modulename`)
) ENGINE=MyISAM DEFAULT CHARSET=latin1;
LOCK TABLES `modules` WRITE;
INSERT INTO `modules` VALUES (1,'queues','13.0.12',1),(2,'core','13.0.3',1);
UNLOCK TABLES;
CREATE TABLE `freepbx_settings` (
  `keyword` varchar(50) NOT NULL DEFAULT '',
  `value` varchar(255) DEFAULT NULL,
  `description` text, `module` varchar(50) NOT NULL,
  PRIMARY KEY (`keyword`)
);
INSERT INTO `freepbx_settings` VALUES ('QUEUE_HINTS','old','It''s; a \"description\"','queues'),('OTHER','x','','core');
CREATE TABLE `featurecodes` (
  `modulename` varchar(50) NOT NULL,`featurename` varchar(50) NOT NULL,`description` varchar(200),
  `defaultcode` varchar(20),`customcode` varchar(20),`enabled` tinyint(4),`providedest` tinyint(4),
  PRIMARY KEY (`modulename`,`featurename`), KEY `enabled` (`enabled`));
INSERT INTO `featurecodes` VALUES ('queues','login','Log in','*45',NULL,1,0),('core','pickup','Theirs','*8',NULL,1,0);
CREATE TABLE `kvstore` (`module` char(64), `key` char(255), `val` varchar(4096), `type` char(16), `id` char(255), UNIQUE KEY `u` (`module`,`key`,`id`));
INSERT INTO `kvstore` (`module`,`key`,`val`,`type`,`id`) VALUES ('FreePBX\\modules\\Queues','plain','a\\nb',NULL,'noid'),
 ('FreePBX\\modules\\Queues','long','0a-1','blob','7'),('FreePBX\\modules\\Core','k','v',NULL,'noid');
CREATE TABLE `kvblobstore` (`uuid` char(36), `type` char(32), `content` longblob, PRIMARY KEY (`uuid`));
INSERT INTO `kvblobstore` VALUES ('0a-1','json-arr','[1,2,3]');
CREATE TABLE `queues_config` (`extension` varchar(20) NOT NULL, `descr` varchar(35), `password` varchar(20), PRIMARY KEY (`extension`));
INSERT INTO `queues_config` VALUES ('400','C:\\temp\\new, a tab\t, a quote \', \"x\"','a);(b'),('401',NULL,'');
CREATE TABLE `nobodys` (`a` int(11));
INSERT INTO `nobodys` VALUES (7);
-- Dump completed
"#;

fn gz(text: &str) -> Vec<u8> {
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

#[test]
fn a_dump_and_a_tree_come_back_module_by_module() {
    let pbx = Pbx::new();
    pbx.declare_queues("[[legacy]]\nformat = \"freepbx-legacy\"\nmatch = { module = [\"queues\"], tables = [\"queues_config\"] }\nimport = [\"tables\", \"kv\", \"feature-codes\", \"settings\", \"files\"]\n");
    let packing = Packing::new(&pbx.0);
    let sound = pbx.0.place.path("asterisk/sounds/old.wav");
    packing
        .file("manifest", MANIFEST)
        .file("astdb", TREE)
        .file("mysql-1.sql.gz", gz(DUMP))
        .file(sound.to_str().unwrap(), "old sound")
        .file("etc/asterisk/sip.conf", "[general]");
    let archive = packing.tar_gz();
    let imported = import(&pbx.0, "freepbx", &archive, &[]).ok().json();
    assert_eq!(imported["what"], "FreePBX 13.0");
    let own = module(&imported, "ringqueue");
    assert_eq!(
        (own["state"].as_str(), own["version"].as_str()),
        (Some("complete"), Some("13.0.12")),
        "{own}"
    );
    for source in ["tables", "kv", "codes", "settings", "tree"] {
        assert_eq!(outcome(own, &format!("source:{source}")), "stored", "{source}");
    }
    let rest = module(&imported, "freepbx");
    assert_eq!(rest["dumps"], serde_json::json!(["tables"]), "what nobody owns is kept");
    assert!(imported["notes"].to_string().contains("belong to no module"), "{imported}");

    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    let restored = pbx.0.dedup(&["restore", &snapshot, "-m", "ringqueue", "--yes", "--json"]);
    assert_eq!(restored.summary()["modules"][0]["state"], "restored", "{}{}", restored.out, restored.err);
    assert_eq!(
        pbx.rows("SELECT * FROM queues_config ORDER BY 1"),
        ["400|C:\\temp\\new, a tab\t, a quote ', \"x\"|a);(b", "401|NULL|"],
        "what looks like an escape or the end of a row is data"
    );
    assert_eq!(
        pbx.rows("SELECT id, key, CAST(val AS TEXT), type FROM kvstore_FreePBX_modules_Ringqueue ORDER BY 1"),
        ["7|long|[1,2,3]|json-arr", "noid|plain|a\\nb|NULL"],
        "the one store of all modules becomes the module's own, long values out of their own table"
    );
    assert_eq!(
        pbx.rows("SELECT modulename, featurename, helptext FROM featurecodes ORDER BY 1"),
        ["core|pickup|", "ringqueue|login|none"],
        "a column that archives of the time lack takes its default"
    );
    assert_eq!(
        pbx.rows("SELECT * FROM freepbx_settings ORDER BY 1"),
        ["AMPDBPASS|secret|of the database|framework", "QUEUE_HINTS|old|It's; a \"description\"|ringqueue"]
    );
    assert_eq!(
        pbx.rows("SELECT * FROM astdb ORDER BY 1"),
        ["/QUEUE/400/pin|1", "/QUEUE/x|2", "/QUEUES/theirs|y"]
    );
    assert_eq!(fs::read(sound).unwrap(), b"old sound");
}

/// What a program takes: everything of its module as it was called there, and nothing of the sources that are declared.
const TAKES: &str = r#"
import json, os, sqlite3, sys
from dedup_module import Fail, Module, main
class Queue(Module):
    name = "ringqueue"
    def legacy(self, source):
        database = sqlite3.connect("file:%s?mode=ro" % source.begin["database"], uri=True)
        rows = lambda sql: [list(row) for row in database.execute(sql)]
        names = [name for name, in rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        scratch = source.scratch()
        got = {
            "format": source.begin["format"], "manifest": source.begin["manifest"], "tables": source.begin["tables"], "names": names,
            "config": rows("SELECT extension, descr, password FROM queues_config ORDER BY 1"),
            "settings": rows("SELECT keyword, value, description FROM freepbx_settings"),
            "codes": rows("SELECT featurename, defaultcode FROM featurecodes"), "configs": source.all_configs(),
            "mode": oct(os.stat(scratch).st_mode & 0o777),
            "tree": sorted(source.tree("astdb"))[:2] if "astdb" in source.trees else None,
        }
        with open(sys.argv[1], "w") as to:
            json.dump(got, to)
        if os.path.exists(sys.argv[1] + ".no"):
            raise Fail("broken on purpose")
main(Queue)
"#;

#[test]
fn a_program_of_the_module_takes_an_archive_in_place_of_its_sources() {
    let pbx = Pbx::new();
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk/python");
    let (program, got) = (pbx.0.place.path("takes.py"), pbx.0.place.path("got.json"));
    fs::write(&program, TAKES).unwrap();
    let command = [
        "/usr/bin/env",
        "PYTHONDONTWRITEBYTECODE=1",
        &format!("PYTHONPATH={}", sdk.display()),
        "/usr/bin/python3",
    ];
    let command: Vec<String> = command
        .iter()
        .map(ToString::to_string)
        .chain([&program, &got].map(|path| path.display().to_string()))
        .collect();
    let legacy = |command: &str| {
        format!(
            "[[legacy]]\nformat = \"freepbx-legacy\"\nmatch = {{ module = [\"queues\"], tables = [\"queues_config\"] }}\n{command}\n"
        )
    };
    pbx.declare_queues(&legacy(&format!("command = {command:?}")));
    let packing = Packing::new(&pbx.0);
    packing.file("manifest", MANIFEST).file("astdb", TREE).file("mysql-1.sql.gz", gz(DUMP));
    let imported = import(&pbx.0, "freepbx", &packing.tar_gz(), &[]).ok().json();
    let own = module(&imported, "ringqueue");
    assert_eq!(
        (own["state"].as_str(), &own["dumps"]),
        (Some("complete"), &serde_json::json!(["tables"])),
        "{own}"
    );
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    let before = pbx.rows("SELECT extension FROM queues_config");
    let restore = ["restore", &snapshot, "-m", "ringqueue", "--yes", "--strict"];
    pbx.0.dedup(&restore).ok();
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&got).unwrap()).unwrap();
    assert_eq!((&told["format"], &told["manifest"]["version"]), (&"freepbx-legacy".into(), &"13.0".into()));
    assert_eq!(told["tables"], serde_json::json!(["kvstore_FreePBX_modules_Ringqueue", "queues_config"]));
    assert!(!told["names"].to_string().contains("nobodys"), "{told}");
    assert_eq!(
        told["config"],
        serde_json::json!([["400", "C:\\temp\\new, a tab\t, a quote ', \"x\"", "a);(b"], ["401", null, ""]])
    );
    assert_eq!(
        told["settings"],
        serde_json::json!([["QUEUE_HINTS", "old", "It's; a \"description\""]]),
        "no row of others"
    );
    assert_eq!(told["codes"], serde_json::json!([["login", "*45"]]));
    assert_eq!(told["configs"]["settings"], serde_json::json!({ "QUEUE_HINTS": "old" }));
    assert_eq!(told["configs"]["features"]["login"]["defaultcode"], "*45");
    assert_eq!(
        told["configs"]["astdb"],
        serde_json::json!({ "QUEUE": { "x": "2", "400/pin": "1" }, "CW": { "100": "ENABLED" } })
    );
    assert_eq!(told["mode"], "0o700");
    assert_eq!(pbx.rows("SELECT extension FROM queues_config"), before, "only the program writes");
    assert!(fs::read_dir(pbx.0.place.path("state/scratch")).map_or(true, |mut left| left.next().is_none()));

    // A tree that is too long for one message is a stream; a program that fails fails its module.
    let child = |n: usize| {
        let value = format!("a value {n:02}");
        format!("s:6:\"{n:06}\";s:{}:\"{value}\";", value.len())
    };
    let long: String = (0..20_000).map(child).collect();
    let tree = format!("a:1:{{s:5:\"QUEUE\";a:20000:{{{long}}}}}");
    packing.file("astdb", tree);
    let imported = import(&pbx.0, "freepbx", &packing.tar_gz(), &["-m", "ringqueue"]).ok().json();
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    let restore = ["restore", &snapshot, "-m", "ringqueue", "--yes", "--strict"];
    pbx.0.dedup(&restore).ok();
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&got).unwrap()).unwrap();
    assert_eq!(
        told["tree"],
        serde_json::json!([[["QUEUE", "000000"], "a value 00"], [["QUEUE", "000001"], "a value 01"]])
    );
    fs::write(pbx.0.place.path("got.json.no"), "").unwrap();
    pbx.0.dedup(&restore).ends(7).says(&["broken on purpose"]);
    // And without the program the same snapshot is what the sources do not know.
    fs::remove_file(pbx.0.place.path("got.json.no")).unwrap();
    pbx.declare_queues(&legacy("import = [\"tables\"]"));
    pbx.0.dedup(&["restore", &snapshot, "-m", "ringqueue", "--yes"]);
    assert_eq!(pbx.rows("SELECT count(*) FROM queues_config"), [format!("{}", before.len())]);
}

/// A module `tts` does not take `ttsengines`: tables are named, not guessed by how they begin.
#[test]
fn a_table_belongs_to_whoever_names_it() {
    let pbx = Pbx::new();
    let manifest = |id: &str, table: &str| {
        format!(
            "schema = 1\n[module]\nid = {id:?}\nplatform = \"freepbx\"\n[[source]]\nname = \"tables\"\ndriver = \"tables\"\nselect = {{ tables = [{table:?}] }}\n"
        )
    };
    declare(&pbx.0, "tts", &manifest("tts", "tts"));
    declare(&pbx.0, "ttsengines", &manifest("ttsengines", "ttsengines"));
    let dump = "CREATE TABLE `tts` (`a` int);INSERT INTO `tts` VALUES (1);\
        CREATE TABLE `ttsengines` (`a` int);INSERT INTO `ttsengines` VALUES (2),(3);";
    let packing = Packing::new(&pbx.0);
    packing.file("manifest", MANIFEST).file("mysql.sql", dump);
    let imported = import(&pbx.0, "freepbx", &packing.tar_gz(), &[]).ok().json();
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    for (id, rows) in [("tts", 1), ("ttsengines", 2)] {
        let dumped =
            pbx.0.dedup(&["dump", &snapshot, "-m", id, &format!("source:tables:{id}"), "--format", "csv"]);
        let text = String::from_utf8_lossy(&dumped.out_bytes).into_owned();
        assert_eq!(text.matches('\n').count(), rows + 1, "{id}: {text}{}", dumped.err);
    }
}

/// A whole archive of a module is before or behind an error, never a part of it as if it were whole.
#[test]
fn a_dump_that_is_cut_short_is_refused() {
    let pbx = Pbx::new();
    pbx.declare_queues("");
    for (dump, told) in [
        (&DUMP[..DUMP.find("'401'").unwrap()], "line "),
        ("INSERT INTO `x` VALUES (1);", "was not made"),
        ("CREATE TABLE `x` (`a` int);INSERT INTO `x` VALUES (1,2);", "2 values"),
    ] {
        let packing = Packing::new(&pbx.0);
        packing.file("manifest", MANIFEST).file("mysql.sql", dump);
        let refused = import(&pbx.0, "freepbx", &packing.tar_gz(), &[]).ends(2);
        assert!(refused.err.contains("mysql.sql") && refused.err.contains(told), "{}", refused.err);
    }
    let snapshots = pbx.0.dedup(&["snapshots", "--json"]).ok().json();
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 0, "nothing was published");
}
