//! The four databases of IOTstack, in containers of a real daemon: dumped while they run, wrecked, and back again.
//!
//! The servers are Debian's own programs, which their containers see by a mount of `/usr`.

use super::declare;
use super::iotstack::{labels, manifest, stack};
use crate::cli::support::{Run, finish};
use crate::runs::app::Machine;
use crate::support::docker::{Docker, MACHINE};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const UP: Duration = Duration::from_secs(120);

/// A database of the stack.
struct Database {
    service: &'static str,
    /// Where its files are: below `volumes` here, and there.
    files: [&'static str; 2],
    /// Starts the server, and makes what it needs the first time.
    starts: &'static str,
    /// Says whether it is up.
    is_up: &'static str,
    fill: &'static str,
    wreck: &'static str,
    look: &'static str,
    /// What is seen of what was filled in.
    sees: &'static str,
}

const DATABASES: [Database; 4] = [
    Database {
        service: "mariadb",
        files: ["mariadb/config/databases", "/data"],
        starts: "mkdir -p /run/mysqld; [ -d /data/mysql ] || mariadb-install-db --no-defaults --user=root --datadir=/data \
            --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=8M >&2; \
            exec mariadbd --no-defaults --user=root --datadir=/data --socket=/run/mysqld/mysqld.sock --skip-networking \
            --performance-schema=OFF --innodb-buffer-pool-size=16M --innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=0",
        is_up: "mariadb -e 'SELECT 1' || MYSQL_PWD='ge heim' mariadb -e 'SELECT 1'",
        fill: "mariadb -e \"CREATE DATABASE home; CREATE TABLE home.t (id INT PRIMARY KEY, v VARBINARY(9)); \
            INSERT INTO home.t VALUES (1, 'a'), (2, x'00ff'), (3, NULL); ALTER USER root@localhost IDENTIFIED BY 'ge heim'\"",
        wreck: "MYSQL_PWD='ge heim' mariadb -e \"DELETE FROM home.t WHERE id > 1; UPDATE home.t SET v = 'wrong'\"",
        look: "MYSQL_PWD='ge heim' mariadb -N -e 'SELECT id, HEX(v) FROM home.t ORDER BY id'",
        sees: "1\t61\n2\t00FF\n3\tNULL",
    },
    Database {
        service: "postgres",
        files: ["postgres/data", "/data"],
        starts: "mkdir -p /run/postgresql; chown 65534 /data /run/postgresql; exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec \
            'P=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); [ -f /data/PG_VERSION ] || { echo geheim > /tmp/word; \
            $P/initdb -D /data -U postgres -A scram-sha-256 --pwfile=/tmp/word --no-sync >&2; }; \
            exec $P/postgres -D /data -k /run/postgresql -c listen_addresses= -c fsync=off -c shared_buffers=16MB'",
        is_up: "PGPASSWORD=geheim psql -U postgres -c 'SELECT 1'",
        fill: "PGPASSWORD=geheim psql -U postgres -c 'CREATE DATABASE home' && PGPASSWORD=geheim psql -U postgres home -c \
            \"CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, ''), (3, NULL)\"",
        wreck: "PGPASSWORD=geheim psql -U postgres home -c \"DELETE FROM t WHERE id > 1; UPDATE t SET v = 'wrong'\"",
        look: "PGPASSWORD=geheim psql -U postgres home -At --pset=null=NULL -c 'SELECT * FROM t ORDER BY id'",
        sees: "1|a\n2|\n3|NULL",
    },
    Database {
        service: "influxdb",
        files: ["influxdb/data", "/data"],
        starts: "export INFLUXDB_REPORTING_DISABLED=true INFLUXDB_META_DIR=/data/meta INFLUXDB_DATA_DIR=/data/data INFLUXDB_DATA_WAL_DIR=/data/wal; \
            exec influxd run",
        is_up: "influx -execute 'SHOW DATABASES'",
        fill: "influx -execute 'CREATE DATABASE home'; influx -database home -execute 'INSERT heat,room=attic celsius=21.5 1600000000000000000'",
        wreck: "influx -execute 'DROP DATABASE home'; influx -execute 'CREATE DATABASE home'; \
            influx -database home -execute 'INSERT heat,room=cellar celsius=0 1600000000000000000'",
        look: "influx -database home -format csv -execute 'SELECT * FROM heat'",
        sees: "name,time,celsius,room\nheat,1600000000000000000,21.5,attic",
    },
    Database {
        service: "redis",
        files: ["redis/data", "/data"],
        starts: "exec redis-server --dir /data --protected-mode no --save '3600 1'",
        is_up: "redis-cli PING | grep PONG",
        fill: "redis-cli SET heat 21.5; redis-cli RPUSH rooms attic cellar; redis-cli -n 3 SET other database",
        wreck: "redis-cli FLUSHALL; redis-cli SET heat 0",
        look: "redis-cli GET heat; redis-cli LRANGE rooms 0 -1; redis-cli -n 3 GET other",
        sees: "21.5\nattic\ncellar\ndatabase",
    },
];

struct Stack {
    docker: Docker,
    machine: Machine,
}

impl Stack {
    fn sh(&self, service: &str, script: &str) -> Result<String, String> {
        self.docker.call(&["exec", service, "sh", "-c", script])
    }

    fn must(&self, service: &str, script: &str) -> String {
        self.sh(service, script).unwrap_or_else(|error| panic!("{service}: {script}: {error}"))
    }

    fn wait(&self, database: &Database) {
        let begun = Instant::now();
        while let Err(error) = self.sh(database.service, database.is_up) {
            let log = || self.docker.call(&["logs", "--tail", "20", database.service]);
            assert!(begun.elapsed() < UP, "{} does not start: {error} {:?}", database.service, log());
            sleep(Duration::from_millis(200));
        }
    }

    /// Makes and starts the container of a service.
    fn start(&self, dir: &Path, database: &Database) {
        let files = dir.join("volumes").join(database.files[0]);
        let _ = fs::remove_dir_all(&files);
        fs::create_dir_all(&files).unwrap();
        let volume = format!("--volume={}:{}", files.display(), database.files[1]);
        let labels = labels(dir, database.service);
        let mut words = vec!["run", "--detach", "--name", database.service, &volume];
        words.extend(MACHINE);
        words.extend(labels.iter().map(String::as_str));
        words.extend(["box", "sh", "-c", database.starts]);
        self.docker.call(&words).unwrap();
    }

    fn dedup(&self, arguments: &[&str]) -> Run {
        let mut command = self.machine.command(arguments);
        command.envs(self.docker.surroundings().env.into_iter().filter(|(name, _)| name == "DOCKER_HOST"));
        finish(self.docker.inside(&command), b"")
    }
}

#[test]
fn databases_of_a_stack_are_dumped_while_they_run_and_come_back() {
    let all = Stack { docker: Docker::start_with_network(), machine: Machine::new() };
    let (docker, machine) = (&all.docker, &all.machine);
    let dir = stack(machine, true);
    for database in &DATABASES {
        all.start(&dir, database);
    }
    let options = labels(&dir, "nodered");
    let options: Vec<&str> = options.iter().map(String::as_str).chain(MACHINE).collect();
    docker.container("nodered", &options);
    let (text, _) = manifest(machine, &dir, &["--live"]);
    declare(machine, "iotstack", &text);
    let secrets = machine.place.path("state/secrets");
    fs::create_dir_all(&secrets).unwrap();
    for (service, word) in [("mariadb", "ge heim"), ("postgres", "geheim")] {
        let file = secrets.join(format!("iotstack-{service}"));
        fs::write(&file, word).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    for database in &DATABASES {
        all.wait(database);
        all.must(database.service, database.fill);
        assert_eq!(all.must(database.service, database.look), database.sees, "{}", database.service);
    }
    let ids = || docker.call(&["ps", "--quiet", "--no-trunc"]).unwrap();
    let before = ids();
    assert_eq!(before.lines().count(), 5);

    all.dedup(&["backup", "-m", "iotstack"]).ok();
    let account = machine.account("iotstack");
    assert_eq!(account["state"], "complete", "{account}");
    let dumps: Vec<_> = account["dumps"].as_array().unwrap().iter().map(|dump| &dump["name"]).collect();
    assert_eq!(dumps, ["influxdb", "mariadb", "postgres", "redis"]);
    assert_eq!(ids(), before, "all run again, and none was made again");
    let listed = machine.dedup(&["ls", "--recursive", "latest"]).ok().out;
    assert!(
        listed.contains("flows.json") && !listed.contains("ibdata1"),
        "files of databases are not stored"
    );

    for database in &DATABASES {
        all.wait(database);
        all.must(database.service, database.wreck);
        assert_ne!(all.must(database.service, database.look), database.sees, "{}", database.service);
    }
    fs::write(dir.join("volumes/nodered/data/flows.json"), "broken").unwrap();
    all.dedup(&["restore", "latest", "-m", "iotstack", "--yes"]).ok();
    for database in &DATABASES {
        assert_eq!(all.must(database.service, database.look), database.sees, "{}", database.service);
    }
    assert_eq!(fs::read(dir.join("volumes/nodered/data/flows.json")).unwrap(), b"[]");
    assert_eq!(ids(), before);
}
