//! Backups of other products: taken by the real program, restored, and compared by means of the tests' own.
//!
//! Archives are made here, in the shape that `modules.md` 1 describes, by the system's own `tar`; hostile ones byte by byte.

mod freedombox;
mod freepbx;
mod hostile;
mod iotstack;
mod iotstack_live;
mod legacy;
mod offline;

use crate::cli::support::Run;
use crate::runs::app::Machine;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory that becomes an archive.
struct Packing<'m> {
    machine: &'m Machine,
    dir: PathBuf,
}

impl<'m> Packing<'m> {
    fn new(machine: &'m Machine) -> Self {
        let dir = machine.place.path("packing");
        fs::create_dir_all(&dir).unwrap();
        Self { machine, dir }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.dir.join(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Packs it; returns the archive.
    fn tar_gz(&self) -> PathBuf {
        let archive = self.machine.place.path("archive.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&self.dir).arg("-czf").arg(&archive).arg(".");
        assert!(tar.status().unwrap().success());
        archive
    }
}

/// Takes an archive.
fn import(machine: &Machine, from: &str, archive: &Path, more: &[&str]) -> Run {
    let archive = archive.to_str().unwrap();
    machine.dedup(&[&["import", "--json", "--from", from, archive], more].concat())
}

/// Returns what an import says of a module.
fn module<'v>(imported: &'v Value, id: &str) -> &'v Value {
    let modules = imported["modules"].as_array().unwrap();
    modules.iter().find(|module| module["module"] == id).unwrap_or_else(|| panic!("{id}: {imported}"))
}

/// Returns what became of a part of a module.
fn outcome<'v>(module: &'v Value, name: &str) -> &'v str {
    let items = module["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == name);
    item.unwrap_or_else(|| panic!("{name}: {module}"))["outcome"].as_str().unwrap()
}

/// Writes a manifest as it stands.
fn declare(machine: &Machine, id: &str, text: &str) {
    fs::write(machine.manifest(id), text).unwrap();
}

/// A machine with FreePBX whose tables lie in a file of SQLite, as a description of the platform says.
struct Pbx(Machine);

impl Pbx {
    fn new() -> Self {
        let machine = Machine::new();
        let platforms = machine.place.path("home/.config/dedup/platforms.d");
        fs::create_dir_all(&platforms).unwrap();
        let database = machine.place.path("pbx.db");
        let text = format!(
            "schema = 1\n[platform]\nid = \"freepbx\"\n[database]\ndriver = \"sqlite\"\npath = {database:?}\n\
             [settings]\ntable = \"freepbx_settings\"\nowner = \"module\"\nkey = \"keyword\"\n\
             [feature-codes]\ntable = \"featurecodes\"\nowner = \"modulename\"\nkey = \"featurename\"\n\
             [kv]\ntable = \"kvstore_FreePBX_modules_${{Module}}\"\nid = \"id\"\nkey = \"key\"\n\
             [tree]\ntable = \"astdb\"\nkey = \"key\"\n[tables]\n"
        );
        fs::write(platforms.join("freepbx.toml"), text).unwrap();
        let pbx = Self(machine);
        pbx.sql(
            "CREATE TABLE freepbx_settings (keyword TEXT PRIMARY KEY, value TEXT, description TEXT DEFAULT '', module TEXT);
             INSERT INTO freepbx_settings VALUES ('QUEUE_HINTS', 'here', 'Whether there are hints', 'ringqueue'),
                ('AMPDBPASS', 'secret', 'of the database', 'framework');
             CREATE TABLE featurecodes (modulename TEXT, featurename TEXT, description TEXT, helptext TEXT DEFAULT 'none',
                defaultcode TEXT, customcode TEXT, enabled INT, providedest INT, PRIMARY KEY (modulename, featurename));
             INSERT INTO featurecodes VALUES ('ringqueue', 'old', 'gone after a restore', '', '*1', NULL, 1, 0),
                ('core', 'pickup', 'Pick up', '', '*8', NULL, 1, 0);
             CREATE TABLE kvstore_FreePBX_modules_Ringqueue (key TEXT, val BLOB, type TEXT, id TEXT, PRIMARY KEY (id, key));
             INSERT INTO kvstore_FreePBX_modules_Ringqueue VALUES ('stale', 'x', NULL, 'noid');
             CREATE TABLE astdb (key TEXT PRIMARY KEY, value TEXT);
             INSERT INTO astdb VALUES ('/QUEUE/stale', 'x'), ('/QUEUES/theirs', 'y');
             CREATE TABLE queues_config (extension TEXT PRIMARY KEY, descr TEXT, password TEXT);
             INSERT INTO queues_config VALUES ('999', 'stale', '');",
        );
        pbx
    }

    fn sql(&self, text: &str) {
        let database = rusqlite::Connection::open(self.0.place.path("pbx.db")).unwrap();
        database.execute_batch(text).unwrap();
    }

    /// Returns rows as text.
    fn rows(&self, sql: &str) -> Vec<String> {
        let database = rusqlite::Connection::open(self.0.place.path("pbx.db")).unwrap();
        let mut select = database.prepare(sql).unwrap();
        let columns = select.column_count();
        let rows = select.query_map([], |row| {
            let text = |at| {
                let value: rusqlite::types::Value = row.get(at).unwrap();
                match value {
                    rusqlite::types::Value::Text(text) => text,
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Null => "NULL".into(),
                    other => format!("{other:?}"),
                }
            };
            Ok((0..columns).map(text).collect::<Vec<_>>().join("|"))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Declares the module that queues are here.
    fn declare_queues(&self, more: &str) {
        let sounds = self.0.place.path("asterisk/sounds");
        let text = format!(
            "schema = 1\n[module]\nid = \"ringqueue\"\nversion = \"16.0.27\"\nplatform = \"freepbx\"\naliases = [\"queues\"]\n\
             [data]\ndirectories = [{sounds:?}]\noptional = [{sounds:?}]\n\
             [[source]]\nname = \"tables\"\ndriver = \"tables\"\nsection = \"config\"\nselect = {{ tables = [\"queues_config\"] }}\n\
             [[source]]\nname = \"kv\"\ndriver = \"kv\"\nsection = \"config\"\n\
             [[source]]\nname = \"codes\"\ndriver = \"feature-codes\"\nsection = \"config\"\n\
             [[source]]\nname = \"settings\"\ndriver = \"settings\"\nsection = \"config\"\n\
             [[source]]\nname = \"tree\"\ndriver = \"tree\"\nsection = \"config\"\nselect = {{ ids = [\"QUEUE\"] }}\n{more}"
        );
        declare(&self.0, "ringqueue", &text);
    }
}
