//! Stacks of IOTstack: a directory with `docker-compose.yml`, `services/`, `volumes/` and scripts of its user's own.

use super::draft::{Draft, Raw, path_text};
use super::system::System;
use crate::planted::{Bug, planted};
use std::path::Path;

/// What its own backup takes, or means to: files first, then directories.
const FILES: [&str; 7] = [
    "docker-compose.yml",
    "compose-override.yml",
    "docker-compose.override.yml",
    "postbuild.sh",
    "pre_backup.sh",
    "post_backup.sh",
    "post_restore.sh",
];
const DIRECTORIES: [&str; 2] = ["services", "extra"];
/// By what a directory is known to be one, beside its compose file.
const MARKS: [&str; 3] = ["menu.sh", ".templates", "scripts/backup.sh"];

/// A service of a stack that is dumped while it runs.
struct Server {
    /// Its name in the stack.
    service: &'static str,
    driver: &'static str,
    /// Where its files lie, below `volumes`.
    files: &'static str,
    /// Who is let in by a password; nobody is asked for one in the stack's Redis.
    user: Option<&'static str>,
}

/// Those whose drivers dump and load them: the first two by clients in the container, Redis by the container's address.
const SERVERS: [Server; 3] = [
    Server { service: "mariadb", driver: "mariadb", files: "mariadb/config/databases", user: Some("root") },
    Server { service: "postgres", driver: "postgresql", files: "postgres/data", user: Some("postgres") },
    Server { service: "redis", driver: "redis", files: "redis/data", user: None },
];

/// What a person chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackChoice {
    /// Databases are dumped while they run, and their files are left out.
    pub live: bool,
}

/// Returns whether a directory is a stack of IOTstack.
pub fn is_stack(system: &System, dir: &Path) -> bool {
    planted(Bug::TakeAnyDirectory)
        || system.has(dir.join(FILES[0])) && MARKS.iter().any(|mark| system.has(dir.join(mark)))
}

/// Makes a manifest for the stack in a directory; `None` if its path cannot stand in one.
pub fn draft(system: &System, dir: &Path, choice: StackChoice) -> Option<Draft> {
    let stack = path_text(dir)?;
    let at = |name: &str| format!("${{STACK}}/{name}");
    let mut draft = Draft::new("iotstack", "IOTstack");
    draft.found.push(format!("the stack in {stack}"));
    draft.tables.push(("paths", vec![("STACK", Raw::text(&stack))]));
    // All of them, also those that are not there yet: a script that is written tomorrow is in tomorrow's backup.
    draft.config.files = FILES.iter().map(|file| at(file)).collect();
    draft.config.directories = DIRECTORIES.iter().map(|name| at(name)).collect();
    draft.config.optional = FILES[1..].iter().chain(&["extra"]).map(|name| at(name)).collect();
    draft.secrets.files = vec![at(".env")];
    draft.secrets.optional = vec![at(".env")];
    draft.data.directories = vec![at("volumes")];
    if planted(Bug::ForgetOverride) {
        draft.config.files.retain(|file| !file.contains("override"));
    }
    if planted(Bug::DirectoriesAsFiles) {
        draft.config.directories.retain(|name| system.text(dir.join(name)).is_some());
    }
    if planted(Bug::ForgetLastScript) {
        draft.config.files.retain(|file| !file.ends_with("post_restore.sh"));
    }
    if planted(Bug::ForgetEnvironment) {
        draft.secrets.files.clear();
    }
    let text = system.text(dir.join(FILES[0])).unwrap_or_default();
    let services = services(&text);
    let mut service = vec![("name", Raw::text("stack")), ("kind", Raw::text("compose"))];
    service.push(("file", Raw::text(&at(FILES[0]))));
    // Never removed and made again: what was edited meanwhile takes no effect.
    service.push(("method", Raw::text("stop")));
    draft.services.push(service);
    let (mut is_live, mut kept) = (false, Vec::new());
    for server in SERVERS.iter().filter(|server| services.iter().any(|service| service == server.service)) {
        if !choice.live {
            continue;
        }
        is_live = true;
        draft.sources.push(live(server));
        draft.data.exclude.push(format!("/{}", server.files));
        kept.push(server.files.split('/').next().unwrap_or_default());
        if server.user.is_none() {
            continue;
        }
        draft.notes.push(format!(
            "put the password of {} into the file secrets/iotstack-{} below /var/lib/dedup",
            server.service, server.service
        ));
    }
    if choice.live && services.iter().any(|service| service == "influxdb") {
        is_live = true;
        draft.sources.push(influxdb());
        draft.data.exclude.push("/influxdb/data".into());
        kept.push("influxdb");
    }
    hooks(system, dir, &mut draft, is_live);
    delete_before(system, dir, &mut draft, &kept);
    Some(draft)
}

fn live(server: &Server) -> Vec<(&'static str, Raw)> {
    let mut endpoint = vec![("compose_service", Raw::text(server.service))];
    let mut source = vec![
        ("name", Raw::text(server.service)),
        ("driver", Raw::text(server.driver)),
        ("phase", Raw::text("live")),
    ];
    if let Some(user) = server.user {
        endpoint.push(("user", Raw::text(user)));
        endpoint.push(("password", Raw::text(&format!("store:iotstack-{}", server.service))));
        source.push(("select", Raw::table(&[("databases", Raw::list(&["all".into()]))])));
    }
    source.push(("endpoint", Raw::table(&endpoint)));
    source.push(("needs", Raw::list(&["stack".into()])));
    source
}

/// InfluxDB by its own tool, which writes a directory: a tar of it is what is stored. The status of each step counts.
fn influxdb() -> Vec<(&'static str, Raw)> {
    let run = |script: &str, input: &[&str]| {
        let words = [&["docker", "exec"][..], input, &["influxdb", "sh", "-ec", script]].concat();
        Raw::list(&words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let dump = "d=$(mktemp -d); trap 'rm -rf \"$d\"' EXIT; influxd backup -portable \"$d\" >&2; tar -C \"$d\" -cf - .";
    // A server that was started a moment ago is waited for.
    let load = "d=$(mktemp -d); trap 'rm -rf \"$d\"' EXIT; tar -C \"$d\" -xf -; \
        n=0; until influx -execute 'SHOW DATABASES' >/dev/null 2>&1 || [ $n -ge 90 ]; do n=$((n+1)); sleep 1; done; \
        for b in $(influx -execute 'SHOW DATABASES' -format csv | tail -n +2 | cut -d, -f2 | grep -v '^_internal$'); \
        do influx -execute \"DROP DATABASE \\\"$b\\\"\"; done; influxd restore -portable \"$d\" >&2";
    vec![
        ("name", Raw::text("influxdb")),
        ("driver", Raw::text("command")),
        ("phase", Raw::text("live")),
        ("dump", run(dump, &[])),
        ("load", run(load, &["-i"])),
        ("needs", Raw::list(&["stack".into()])),
    ]
}

/// The three scripts at their points: before anything is read, after the snapshot is there, after all files are written.
fn hooks(system: &System, dir: &Path, draft: &mut Draft, is_live: bool) {
    let script = |name: &str| {
        vec![("run", Raw::list(&["bash".into(), format!("./{name}")])), ("cwd", Raw::text("${STACK}"))]
    };
    let mut hooks = Vec::new();
    if system.has(dir.join("pre_backup.sh")) {
        let mut pre = script("pre_backup.sh");
        if is_live {
            // Before any database is dumped.
            pre.push(("phase", Raw::text("live")));
        }
        hooks.push(("backup_pre", Raw::table(&pre)));
    }
    if system.has(dir.join("post_backup.sh")) {
        let mut post = script("post_backup.sh");
        post.push(("phase", Raw::text("published")));
        hooks.push(("backup_post", Raw::table(&post)));
    }
    if system.has(dir.join("post_restore.sh")) {
        hooks.push(("restore_post", Raw::table(&script("post_restore.sh"))));
    }
    draft.tables.push(("hooks", hooks));
}

/// What a restore moves away first: what is below is as it was stored, nothing more. Not the files of databases that are
/// loaded.
fn delete_before(system: &System, dir: &Path, draft: &mut Draft, kept: &[&str]) {
    let at = |name: &str| format!("${{STACK}}/{name}");
    let mut paths = vec![at("services")];
    if kept.is_empty() {
        paths.push(at("volumes"));
    } else {
        let own = system.names(dir.join("volumes")).into_iter().filter(|name| !kept.contains(&name.as_str()));
        paths.extend(
            own.filter(|name| path_text(Path::new(&format!("/{name}"))).is_some())
                .map(|name| at(&format!("volumes/{name}"))),
        );
    }
    draft.tables.push(("restore", vec![("delete_before", Raw::list(&paths))]));
}

/// Returns the names of the services of a compose file: the keys one step below `services:`.
fn services(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut inside, mut step) = (false, None);
    for line in text.lines() {
        let bare = line.trim_end();
        let indent = bare.len() - bare.trim_start().len();
        if bare.trim_start().starts_with('#') || bare.is_empty() {
            continue;
        }
        if indent == 0 {
            inside = bare == "services:";
            continue;
        }
        if inside && indent == *step.get_or_insert(indent) {
            let name = bare.trim_start().split(':').next().unwrap_or_default().trim_matches(['"', '\'']);
            found.push(name.to_owned());
        }
    }
    found
}

/// Returns a job that keeps the snapshots of a stack as its own script did: 1 dated, 2 rolling by the day of the week, 3
/// both. `user`: to whom logs and exported archives are given.
pub fn job(kind: u8, user: Option<&str>) -> Option<String> {
    let word = match kind {
        1 => "dated",
        2 => "rolling",
        3 => "both",
        _ => return None,
    };
    let mut text = format!(
        "schema = 1\n[job]\nid = \"iotstack\"\nmodules = [\"iotstack\"]\n[schedule]\ntype = \"{word}\"\n"
    );
    if word != "dated" {
        text.push_str("rolling_slots = \"weekday\"\n");
    }
    if let Some(user) = user {
        text.push_str("[owner]\nuser = ");
        text.push_str(&toml::Value::from(user).to_string());
        text.push('\n');
    }
    Some(text)
}
