//! Database servers: found by their configuration, their processes and their sockets. They are dumped while they run.

use super::draft::{Draft, Raw, path_text};
use super::system::{Process, System, setting};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Finds servers.
pub fn find(system: &System) -> Vec<Draft> {
    let mut drafts = postgresql(system);
    drafts.extend(mysql(system));
    drafts.extend(redis(system));
    drafts
}

/// A source that dumps every database of a server.
fn source(driver: &str, all: bool, endpoint: Raw) -> Vec<(&'static str, Raw)> {
    let mut source = vec![("name", Raw::text("databases")), ("driver", Raw::text(driver))];
    if all {
        source.push(("select", Raw::table(&[("databases", Raw::list(&["all".into()]))])));
    }
    source.push(("endpoint", endpoint));
    source
}

/// Debian's clusters (`/etc/postgresql/VERSION/NAME`), servers that run with a directory of their own, and sockets that
/// belong to neither; a server is told from another by its port.
fn postgresql(system: &System) -> Vec<Draft> {
    let mut found: BTreeMap<u16, Draft> = BTreeMap::new();
    for version in system.names("/etc/postgresql") {
        for name in system.names(format!("/etc/postgresql/{version}")) {
            let dir = format!("/etc/postgresql/{version}/{name}");
            let Some(text) = system.text(format!("{dir}/postgresql.conf")) else { continue };
            let port = setting(&text, "port").and_then(|port| port.parse().ok()).unwrap_or(5432);
            let sockets = setting(&text, "unix_socket_directories").unwrap_or("/var/run/postgresql");
            let socket_dir = sockets.split(',').next().unwrap_or_default().trim();
            let mut draft = Draft::new(&format!("postgresql-{version}-{name}"), "PostgreSQL");
            draft.found.push(format!("the cluster {version}/{name} on port {port}"));
            draft.config.directories.extend(path_text(Path::new(&dir)));
            add_postgresql(&mut draft, Path::new(socket_dir), port);
            found.entry(port).or_insert(draft);
        }
    }
    for process in system.running(&["postgres", "postmaster"]) {
        let Some(data) = option(process, "-D") else { continue };
        let text = system.text(Path::new(&data).join("postgresql.conf")).unwrap_or_default();
        let port = option(process, "-p").or_else(|| setting(&text, "port").map(str::to_owned));
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(5432);
        let socket_dir = option(process, "-k").unwrap_or_else(|| "/var/run/postgresql".into());
        found.entry(port).or_insert_with(|| {
            let mut draft = Draft::new(&format!("postgresql-{port}"), "PostgreSQL");
            draft.found.push(format!("a server of {data} on port {port}"));
            let files = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];
            let files = files.iter().map(|name| Path::new(&data).join(name)).filter(|path| system.has(path));
            draft.config.files.extend(files.filter_map(|path| path_text(&path)));
            add_postgresql(&mut draft, Path::new(&socket_dir), port);
            draft
        });
    }
    for dir in ["/run/postgresql", "/tmp"] {
        for name in system.names(dir) {
            let Some(port) = name.strip_prefix(".s.PGSQL.").and_then(|port| port.parse().ok()) else {
                continue;
            };
            found.entry(port).or_insert_with(|| {
                let mut draft = Draft::new(&format!("postgresql-{port}"), "PostgreSQL");
                draft.found.push(format!("the socket {dir}/{name}"));
                add_postgresql(&mut draft, Path::new(dir), port);
                draft
            });
        }
    }
    found.into_values().collect()
}

fn add_postgresql(draft: &mut Draft, socket_dir: &Path, port: u16) {
    let socket = path_text(&socket_dir.join(format!(".s.PGSQL.{port}")));
    let mut endpoint = match &socket {
        Some(socket) => vec![("socket", Raw::text(socket))],
        None => vec![("host", Raw::text("localhost")), ("port", Raw::number(port))],
    };
    endpoint.push(("user", Raw::text("postgres")));
    draft.sources.push(source("postgresql", true, Raw::table(&endpoint)));
}

/// Returns what follows an option: `-D DIR` or `-DDIR`.
fn option(process: &Process, name: &str) -> Option<String> {
    let at = process.argv.iter().position(|argument| argument.starts_with(name))?;
    match process.argv.get(at)?.strip_prefix(name)? {
        "" => process.argv.get(at + 1).cloned(),
        joined => Some(joined.to_owned()),
    }
}

fn mysql(system: &System) -> Option<Draft> {
    let running = system.running(&["mariadbd", "mysqld"]).next();
    let sockets = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];
    let socket = running
        .and_then(|process| process.argv.iter().find_map(|argument| argument.strip_prefix("--socket=")))
        .or_else(|| sockets.into_iter().find(|socket| system.has(socket)));
    let programs = ["/usr/sbin/mariadbd", "/usr/sbin/mysqld"];
    let program = programs.into_iter().find(|program| system.has(program));
    if running.is_none() && socket.is_none() && program.is_none() {
        return None;
    }
    let is_maria = running.is_some_and(|process| process.name == "mariadbd")
        || system.has("/usr/sbin/mariadbd")
        || system.has("/etc/mysql/mariadb.conf.d");
    let driver = if is_maria { "mariadb" } else { "mysql" };
    let mut draft = Draft::new(driver, if is_maria { "MariaDB" } else { "MySQL" });
    draft.found.extend(running.map(|process| format!("the process {}", process.name)));
    draft.found.extend(socket.map(|socket| format!("the socket {socket}")));
    draft.found.extend(program.map(|program| format!("the program {program}")));
    // Debian keeps a password of its own in it.
    let (dir, file) = ("/etc/mysql", "/etc/mysql/debian.cnf");
    draft.config.directories.extend(system.is_dir(dir).then(|| dir.to_owned()));
    draft.secrets.files.extend(system.has(file).then(|| file.to_owned()));
    let socket = path_text(Path::new(socket.unwrap_or(sockets[0])))?;
    let endpoint = Raw::table(&[("socket", Raw::text(&socket)), ("user", Raw::text("root"))]);
    draft.sources.push(source(driver, true, endpoint));
    Some(draft)
}

fn redis(system: &System) -> Option<Draft> {
    let file = ["/etc/redis/redis.conf", "/etc/redis.conf"].into_iter().find(|file| system.has(file));
    let running = system.running(&["redis-server", "valkey-server"]).next();
    if file.is_none() && running.is_none() {
        return None;
    }
    let text = file.and_then(|file| system.text(file)).unwrap_or_default();
    let mut draft = Draft::new("redis", "Redis");
    draft.found.extend(running.map(|process| format!("the process {}", process.name)));
    draft.found.extend(file.map(|file| format!("the file {file}")));
    // It may hold a password.
    draft.secrets.files.extend(file.map(str::to_owned));
    let socket = setting(&text, "unixsocket").map(PathBuf::from).and_then(|path| path_text(&path));
    let endpoint = match socket {
        Some(socket) => Raw::table(&[("socket", Raw::text(&socket))]),
        None => {
            let port = setting(&text, "port").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
            Raw::table(&[("host", Raw::text("localhost")), ("port", Raw::number(port.unwrap_or(6379)))])
        }
    };
    if setting(&text, "requirepass").is_some() {
        draft.notes.push("it has a password: add `password = \"file:/PATH\"` to the endpoint".into());
    }
    draft.sources.push(source("redis", false, endpoint));
    Some(draft)
}
