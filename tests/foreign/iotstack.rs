//! IOTstack: a stack made a module, backed up by its own scripts' rules, and its archives.

use super::{Packing, declare, import, module, outcome};
use crate::runs::app::Machine;
use crate::support::docker::Docker;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::job::Job;
use dedup_modules::manifest::schedule::NameType;
use std::fs;
use std::path::{Path, PathBuf};

const COMPOSE: &str = "version: '3.6'\nnetworks:\n  default:\n    driver: bridge\nservices:\n  # a comment\n  mariadb:\n    image: x\n    environment:\n      - MYSQL_ROOT_PASSWORD=geheim\n  influxdb:\n    image: y\n  redis:\n    image: r\n  postgres:\n    image: p\n  nodered:\n    image: z\n";

/// A stack on a machine.
pub(super) fn stack(machine: &Machine, scripts: bool) -> PathBuf {
    let dir = machine.place.path("IOTstack");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("docker-compose.yml", COMPOSE);
    file("menu.sh", "");
    file(".env", "TZ=UTC\n");
    file("services/nodered/env", "a=b\n");
    file("extra/notes", "mine\n");
    file("volumes/nodered/data/flows.json", "[]");
    file("volumes/mariadb/config/databases/ibdata1", "pages");
    let events = machine.place.path("events");
    if scripts {
        for name in ["pre_backup", "post_backup", "post_restore"] {
            // Each says what it finds: whether the container runs, whether a snapshot is there, what is restored.
            let text = format!(
                "#!/bin/bash\necho \"{name} $(cat volumes/nodered/data/flows.json) $(ls ../repo/snapshots | wc -l) ${{DEDUP_STATE:-}}\" >> {events:?}\n"
            );
            file(&format!("{name}.sh"), &text);
        }
    }
    dir
}

pub(super) fn manifest(machine: &Machine, dir: &Path, more: &[&str]) -> (String, Manifest) {
    let words = ["module", "import", "--json", "--from", "iotstack", dir.to_str().unwrap()];
    let found = machine.dedup(&[&words, more].concat()).ok().json();
    let text = found["proposals"][0]["manifest"].as_str().unwrap().to_owned();
    let manifest = Manifest::parse("", text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    (text, manifest)
}

/// Returns the options that make a container one of a stack's service, as compose does.
pub(super) fn labels(dir: &Path, service: &str) -> Vec<String> {
    let labels = [
        "project=iotstack".to_owned(),
        format!("service={service}"),
        format!("project.config_files={}", dir.join("docker-compose.yml").display()),
        format!("project.working_dir={}", dir.display()),
        "oneoff=False".to_owned(),
    ];
    labels.map(|label| format!("--label=com.docker.compose.{label}")).to_vec()
}

#[test]
fn a_stack_is_a_module_with_its_scripts_and_databases() {
    let machine = Machine::new();
    let dir = stack(&machine, true);
    let (text, plain) = manifest(&machine, &dir, &[]);
    assert_eq!(plain.module.id.as_str(), "iotstack");
    let items = plain.items(&plain.paths).unwrap();
    let has = |name: &str| items.iter().any(|item| item.path == dir.join(name));
    for name in [
        "docker-compose.yml",
        "docker-compose.override.yml",
        "compose-override.yml",
        ".env",
        "extra",
        "services",
        "volumes",
        "pre_backup.sh",
        "post_restore.sh",
    ] {
        assert!(has(name), "{name} is in the backup:\n{text}");
    }
    assert!(
        plain.sources.is_empty() && plain.data.exclude.is_empty(),
        "files stand still, so they are enough"
    );
    assert_eq!(plain.hooks.backup_pre[0].phase.to_string(), "stopped");
    assert_eq!(plain.hooks.backup_post[0].phase.to_string(), "published");
    assert_eq!(plain.hooks.restore_post.len(), 1);
    assert_eq!(plain.restore.delete_before.len(), 2);
    let service = &plain.services[0];
    assert_eq!((service.kind.to_string(), service.method.to_string()), ("compose".into(), "stop".into()));

    let (text, live) = manifest(&machine, &dir, &["--live"]);
    let sources: Vec<&str> = live.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(sources, ["mariadb", "postgres", "redis", "influxdb"]);
    assert!(
        live.sources.iter().all(|source| source.phase.to_string() == "live" && source.needs == ["stack"])
    );
    assert_eq!(live.hooks.backup_pre[0].phase.to_string(), "live", "before any database is dumped");
    assert_eq!(
        live.data.exclude,
        ["/mariadb/config/databases", "/postgres/data", "/redis/data", "/influxdb/data"]
    );
    let moved: Vec<String> = live.restore.delete_before.iter().map(ToString::to_string).collect();
    assert_eq!(
        moved,
        ["${STACK}/services", "${STACK}/volumes/nodered"],
        "not what a database is loaded into"
    );
    assert!(!text.contains("geheim"), "no password is read");
}

#[test]
fn types_are_references_of_a_job() {
    let machine = Machine::new();
    let dir = stack(&machine, false);
    let jobs = machine.place.path("made");
    for (number, kind) in [("1", NameType::Dated), ("2", NameType::Rolling), ("3", NameType::Both)] {
        let words = [
            "module",
            "import",
            "--from",
            "iotstack",
            dir.to_str().unwrap(),
            "--type",
            number,
            "--user",
            "nobody",
        ];
        let written = jobs.join(number);
        machine.dedup(&[&words[..], &["--write-job", written.to_str().unwrap()]].concat()).ok();
        let job = Job::parse("", &fs::read(written.join("iotstack.toml")).unwrap())
            .unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(job.schedule.unwrap().names, kind);
        assert_eq!(job.owner.as_deref(), Some("nobody"));
    }
    machine.dedup(&["module", "import", "--from", "iotstack", dir.to_str().unwrap(), "--type", "4"]).ends(2);
    let elsewhere = machine.place.path("");
    machine
        .dedup(&["module", "import", "--from", "iotstack", elsewhere.to_str().unwrap()])
        .ends(2)
        .says(&["no stack"]);
}

/// By a real daemon: one container runs, one does not, and both are the same ones afterwards.
#[test]
fn scripts_run_at_their_points_and_containers_are_not_made_again() {
    let docker = Docker::start();
    let machine = Machine::new();
    let dir = stack(&machine, true);
    let (text, _) = manifest(&machine, &dir, &[]);
    declare(&machine, "iotstack", &text);
    for service in ["nodered", "mariadb"] {
        let labels = labels(&dir, service);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        docker.container(service, &labels);
    }
    docker.call(&["stop", "--time", "0", "mariadb"]).unwrap();
    let ids = || docker.call(&["ps", "--all", "--quiet", "--no-trunc"]).unwrap();
    let before = ids();
    let run = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command.envs(docker.surroundings().env.into_iter().filter(|(name, _)| name == "DOCKER_HOST"));
        crate::cli::support::finish(command, b"")
    };
    run(&["backup", "-m", "iotstack"]).ok();
    assert_eq!((docker.state("nodered"), docker.state("mariadb")), ("running".into(), "exited".into()));
    assert_eq!(ids(), before, "no container was made again");
    let events = || {
        let text = fs::read_to_string(machine.place.path("events")).unwrap();
        fs::write(machine.place.path("events"), "").unwrap();
        text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        events(),
        ["pre_backup [] 0", "post_backup [] 1 finish"],
        "before anything is there, and after it is"
    );

    fs::write(dir.join("volumes/nodered/data/flows.json"), "broken").unwrap();
    fs::write(dir.join("volumes/nodered/data/stale"), "").unwrap();
    fs::remove_file(dir.join("extra/notes")).unwrap();
    // Without a terminal somebody must have said yes.
    run(&["restore", "latest", "-m", "iotstack"]).ends(2);
    assert_eq!(fs::read(dir.join("volumes/nodered/data/flows.json")).unwrap(), b"broken");
    run(&["restore", "latest", "-m", "iotstack", "--yes"]).ok();
    assert_eq!(events(), ["post_restore [] 1 finish"], "it sees what was restored");
    assert!(!dir.join("volumes/nodered/data/stale").exists(), "what was not stored is gone");
    assert_eq!(
        fs::read(dir.join("extra/notes")).unwrap(),
        b"mine\n",
        "the original never had it in its archive"
    );
    assert_eq!((docker.state("nodered"), docker.state("mariadb")), ("running".into(), "exited".into()));
    assert_eq!(ids(), before);
}

/// Both names of the original, the script that cannot run there since it is deleted first, and what it forgot.
#[test]
fn its_archives_are_taken() {
    let machine = Machine::new();
    let dir = stack(&machine, true);
    let (text, _) = manifest(&machine, &dir, &[]);
    let packing = Packing::new(&machine);
    packing
        .file("docker-compose.yml", COMPOSE)
        .file("services/nodered/env", "old=1\n")
        .file("volumes/nodered/data/flows.json", "[1]")
        .file("pre_backup.sh", "#!/bin/bash\n");
    let archive = packing.tar_gz();
    let stack_dir = dir.to_str().unwrap();
    let imported = import(&machine, "iotstack", &archive, &["--stack-dir", stack_dir]).ok().json();
    let own = module(&imported, "iotstack");
    assert_eq!(own["state"], "complete", "{own}");
    assert_eq!(outcome(own, &format!("config:{stack_dir}/pre_backup.sh")), "stored");
    assert_eq!(outcome(own, &format!("secrets:{stack_dir}/.env")), "absent", "the original does not save it");
    // Installed without its containers: there is no daemon in this test.
    let quiet = text.split("[[service]]").next().unwrap().replace("[restore]\n", "[x]\n");
    declare(&machine, "iotstack", &quiet);
    let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
    machine.dedup(&["restore", &snapshot, "-m", "iotstack", "--yes"]).ok();
    assert_eq!(fs::read(dir.join("services/nodered/env")).unwrap(), b"old=1\n");
    assert_eq!(fs::read(dir.join("volumes/nodered/data/flows.json")).unwrap(), b"[1]");
    assert_eq!(fs::read(dir.join(".env")).unwrap(), b"TZ=UTC\n", "what the archive lacks stays as it was");
    let dry = import(&machine, "iotstack", &archive, &["--dry-run"]).ok().json();
    assert!(dry["snapshot_id"].is_null());
}
