//! Machines made of a few files.

use super::{Proposal, System, discover, known};
use crate::manifest::Manifest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A root directory.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn dir(self, path: &str) -> Self {
        fs::create_dir_all(self.0.path().join(path.trim_start_matches('/'))).unwrap();
        self
    }

    /// A process with open files.
    fn process(mut self, pid: u32, argv: &[&str], open: &[&str]) -> Self {
        let name = Path::new(argv[0]).file_name().unwrap().to_str().unwrap();
        self = self.file(&format!("/proc/{pid}/comm"), &format!("{name}\n"));
        self = self
            .file(&format!("/proc/{pid}/cmdline"), &(argv.join("\0") + "\0"))
            .dir(&format!("/proc/{pid}/fd"));
        for (fd, path) in open.iter().enumerate() {
            symlink(path, self.0.path().join(format!("proc/{pid}/fd/{fd}"))).unwrap();
        }
        self
    }

    fn discover(&self) -> Vec<Proposal> {
        let system = System::read(self.0.path());
        let proposals = discover(&system);
        // Nothing is dropped because of a manifest that we made wrongly.
        for draft in super::drafts(&system).into_iter().filter(|draft| !draft.id.is_empty()) {
            let text = draft.text();
            Manifest::parse("", text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
        }
        for proposal in &proposals {
            let manifest = Manifest::parse("", proposal.text.as_bytes())
                .unwrap_or_else(|wrong| panic!("{wrong}\n{}", proposal.text));
            assert_eq!(manifest.module.id, proposal.id);
            assert!(!proposal.found.is_empty(), "{} tells not what was found", proposal.id);
        }
        proposals
    }
}

fn ids(proposals: &[Proposal]) -> Vec<&str> {
    proposals.iter().map(|proposal| proposal.id.as_str()).collect()
}

const DATABASE: &str = "SQLite format 3\0 and so on";

#[test]
fn an_empty_machine_has_nothing() {
    assert_eq!(Machine::new().discover(), []);
}

#[test]
fn clusters_of_postgresql_are_told_by_their_ports() {
    let machine = Machine::new()
        .file("/etc/postgresql/15/main/postgresql.conf", "port = 5433\t\t# (change requires restart)\n#port = 1\nunix_socket_directories = '/run/pg, /tmp'\n")
        .file("/etc/postgresql/13/old/postgresql.conf", "data_directory = '/var/lib/x'\n")
        // The same server as 13/old, one of its own, and a socket of nobody's.
        .process(7, &["/usr/lib/postgresql/13/bin/postgres", "-D", "/var/lib/x"], &[])
        .process(8, &["/opt/pg/bin/postgres", "-D", "/opt/pg/data", "-p", "6000", "-k", "/opt/pg"], &[])
        .file("/opt/pg/data/pg_hba.conf", "")
        .file("/run/postgresql/.s.PGSQL.7000", "");
    let found = machine.discover();
    assert_eq!(
        ids(&found),
        ["postgresql-13-old", "postgresql-15-main", "postgresql-6000", "postgresql-7000"]
    );
    assert!(found[0].text.contains("socket = \"/var/run/postgresql/.s.PGSQL.5432\""), "{}", found[0].text);
    assert!(found[1].text.contains("socket = \"/run/pg/.s.PGSQL.5433\""), "{}", found[1].text);
    assert!(
        found[2].text.contains("/opt/pg/.s.PGSQL.6000") && found[2].text.contains("/opt/pg/data/pg_hba.conf")
    );
}

#[test]
fn other_servers() {
    let machine = Machine::new()
        .file("/run/mysqld/mysqld.sock", "")
        .process(3, &["/usr/sbin/mariadbd"], &[])
        .file("/etc/mysql/debian.cnf", "[client]\npassword = geheim\n")
        .file("/etc/redis/redis.conf", "port 0\nunixsocket /run/redis/redis.sock\nrequirepass geheim\n");
    let found = machine.discover();
    assert_eq!(ids(&found), ["mariadb", "redis"]);
    assert!(
        found[1].text.contains("socket = \"/run/redis/redis.sock\"")
            && found[1].text.contains("# look at: it has a password")
    );
    for proposal in &found {
        assert!(!proposal.text.contains("geheim"), "no password is stored: {}", proposal.text);
    }
    assert_eq!(ids(&Machine::new().process(3, &["/usr/sbin/mysqld"], &[]).discover()), ["mysql"]);
}

#[test]
fn open_databases_belong_to_a_module_or_are_one() {
    let machine = Machine::new()
        .file("/var/lib/grafana/grafana.db", DATABASE)
        .file("/usr/lib/systemd/system/grafana-server.service", "")
        .file("/data/app/x.sqlite", DATABASE)
        .file("/data/app/y.sqlite", "no database")
        .file("/data/app/x.sqlite-wal", "7\u{7f}")
        .file("/home/ann/places.sqlite", DATABASE)
        .file("/var/lib/other/main.db", DATABASE)
        .process(
            9,
            &["/opt/app/serve"],
            &["/data/app/x.sqlite", "/data/app/x.sqlite-wal", "/data/app/y.sqlite", "socket:[1]"],
        )
        .process(10, &["firefox"], &["/home/ann/places.sqlite"]);
    let found = machine.discover();
    assert_eq!(ids(&found), ["grafana", "sqlite-other", "sqlite-serve"]);
    let grafana = &found[0].text;
    assert!(grafana.contains("path = \"/var/lib/grafana/grafana.db\""), "{grafana}");
    assert!(grafana.contains("\"/grafana.db\", \"/grafana.db-wal\""), "not stored twice: {grafana}");
    assert!(grafana.contains("name = \"grafana-server.service\""), "{grafana}");
    assert!(found[2].text.contains("/data/app/x.sqlite\"") && !found[2].text.contains("y.sqlite"));
}

#[test]
fn stacks_are_found_by_labels_and_by_files() {
    let config = serde_json::json!({
        "Config": { "Labels": {
            "com.docker.compose.project": "wiki",
            "com.docker.compose.service": "web",
            "com.docker.compose.project.working_dir": "/opt/wiki",
            "com.docker.compose.project.config_files": "docker-compose.yml",
        }},
        "MountPoints": {
            "/data": { "Source": "/opt/wiki/data" },
            "/deep": { "Source": "/opt/wiki/data/deep" },
            "/var/run/docker.sock": { "Source": "/var/run/docker.sock" },
            "/all": { "Source": "/" },
        },
    });
    let machine = Machine::new()
        .file("/var/lib/docker/containers/ab/config.v2.json", &config.to_string())
        .file("/var/lib/docker/containers/cd/config.v2.json", "{ broken")
        .file("/opt/wiki/docker-compose.yml", "")
        .file("/opt/wiki/.env", "PASSWORD=geheim")
        .dir("/opt/wiki/data/deep")
        .file("/home/pi/IOTstack/docker-compose.yml", "")
        .dir("/home/pi/IOTstack/volumes");
    let found = machine.discover();
    assert_eq!(ids(&found), ["iotstack", "wiki"]);
    let wiki = &found[1].text;
    for word in [
        "[data]\ndirectories = [\"/opt/wiki/data\"]\n",
        "project = \"wiki\"",
        "[secrets]\nfiles = [\"/opt/wiki/.env\"]",
        "kind = \"compose\"",
    ] {
        assert!(wiki.contains(word), "{word} is missing in {wiki}");
    }
    assert!(found[0].text.contains("/home/pi/IOTstack/volumes"));
}

#[test]
fn platforms() {
    let machine = Machine::new()
        .file("/etc/freepbx.conf", "")
        .file("/etc/asterisk/asterisk.conf", "")
        .file("/var/lib/asterisk/astdb.sqlite3", DATABASE)
        .dir("/var/spool/asterisk/voicemail")
        .dir("/etc/plinth")
        .file("/var/lib/plinth/plinth.sqlite3", DATABASE)
        .file("/usr/share/freedombox/modules-enabled/radicale", "plinth.modules.radicale")
        .dir("/etc/radicale");
    let found = machine.discover();
    assert_eq!(ids(&found), ["freedombox", "freepbx", "radicale"]);
    assert!(found[0].text.contains("its apps radicale"), "{}", found[0].text);
    assert!(found[1].text.contains("asteriskcdrdb") && found[1].text.contains("voicemail"));
}

/// Every service of the table: found by each of its marks, and a manifest that stands.
#[test]
fn the_table_is_right() {
    let table = known::table();
    assert!(table.len() > 30);
    for known in &table {
        for mark in &known.marks {
            let machine = if Path::new(mark).extension().is_some() || mark.ends_with("file") {
                Machine::new().file(mark, "")
            } else {
                Machine::new().dir(mark)
            };
            let found = machine.discover();
            assert!(
                ids(&found).contains(&known.id.as_str()),
                "{} is not found by {mark}: {found:?}",
                known.id
            );
        }
    }
    let mut sorted: Vec<_> = table.iter().map(|known| &known.id).collect();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), table.len(), "an id twice");
}

/// Users choose names of files, processes and projects; none of them may say anything to a terminal, or in a manifest.
#[test]
fn hostile_names_say_nothing() {
    let evil = "a\u{1b}[2J\"\n[hooks]\nbackup_pre = { run = [\"evil\"] }\n#";
    let config = serde_json::json!({
        "Config": { "Labels": {
            "com.docker.compose.project": evil,
            "com.docker.compose.service": evil,
            "com.docker.compose.project.working_dir": "/opt/x",
            "com.docker.compose.project.config_files": "/opt/x/compose.yml",
        }},
        "MountPoints": { "1": { "Source": format!("/opt/{evil}") }, "2": { "Source": "/opt/../etc/shadow" }, "3": { "Source": "relative" } },
    });
    let machine = Machine::new()
        .file("/var/lib/docker/containers/ab/config.v2.json", &config.to_string())
        .file("/opt/x/compose.yml", "")
        .dir(&format!("/opt/{}", evil.replace('/', "")))
        .file(&format!("/data/{evil}.db"), DATABASE)
        .file("/data/${HOME}.db", DATABASE)
        .file("/data/gpj\u{202e}.db", DATABASE)
        .file("/data/quote\".db", DATABASE)
        .process(
            5,
            &["serve"],
            &[&format!("/data/{evil}.db"), "/data/${HOME}.db", "/data/gpj\u{202e}.db", "/data/quote\".db"],
        );
    fs::write(machine.0.path().join("proc/5/comm"), "evil\u{1b}[2J\n").unwrap();
    let found = machine.discover();
    assert_eq!(found.len(), 2, "{found:?}");
    for proposal in &found {
        let harmless = |c: char| !c.is_control() && c != '\u{202e}';
        assert!(proposal.text.lines().all(|line| line.chars().all(harmless)), "{:?}", proposal.text);
        let manifest = Manifest::parse("", proposal.text.as_bytes()).unwrap();
        assert_eq!(manifest.hooks.all().count(), 0);
        assert!(!proposal.text.contains("shadow") && !proposal.text.contains("HOME"));
    }
    assert!(
        found.iter().any(|proposal| proposal.text.contains("quote")),
        "what is only odd is proposed: {found:?}"
    );
}

/// A pipe or device in place of a file must not be waited for.
#[test]
fn what_is_no_file_is_not_opened() {
    let machine = Machine::new().dir("/var/lib/app").dir("/etc/redis");
    for path in ["var/lib/app/x.db", "etc/redis/redis.conf"] {
        let path = machine.0.path().join(path);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }
    assert_eq!(ids(&machine.discover()), ["redis"]);
}
