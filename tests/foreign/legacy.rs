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
