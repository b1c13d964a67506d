//! Stacks of containers: what compose wrote on the containers it made, and compose files in the usual places.

use super::draft::{Draft, Raw, path_text, slug};
use super::iotstack::{self, StackChoice};
use super::system::{System, file_name};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where Docker keeps what it knows of a container: `ID/config.v2.json`.
const CONTAINERS: &str = "/var/lib/docker/containers";
/// Names of compose files, the preferred first (compose-spec, "Compose file").
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// Files beside it that belong to it.
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];
/// Directories that hold stacks, each in a directory of its own.
const PLACES: [&str; 5] = ["/opt", "/srv", "/root", "/opt/stacks", "/srv/docker"];
/// What containers are given of the machine, and which is no data of theirs.
const NO_DATA: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/etc"];

/// A stack.
#[derive(Default)]
struct Stack {
    found: Vec<String>,
    files: BTreeSet<PathBuf>,
    data: BTreeSet<PathBuf>,
}

/// Finds stacks.
pub fn find(system: &System) -> Vec<Draft> {
    let mut stacks: BTreeMap<String, Stack> = BTreeMap::new();
    for id in system.names(CONTAINERS) {
        let text = system.text(format!("{CONTAINERS}/{id}/config.v2.json")).unwrap_or_default();
        let Ok(config) = serde_json::from_str::<Value>(&text) else { continue };
        let label = |name: &str| config["Config"]["Labels"][format!("com.docker.compose.{name}")].as_str();
        let Some(project) = label("project") else { continue };
        let stack = stacks.entry(project.to_owned()).or_default();
        if let Some(service) = label("service") {
            stack.found.push(format!("the container of its service {service}"));
        }
        let dir = Path::new(label("project.working_dir").unwrap_or_default());
        let files =
            label("project.config_files").unwrap_or_default().split(',').filter(|file| !file.is_empty());
        stack.files.extend(files.map(|file| dir.join(file.trim())));
        let mounts = config["MountPoints"].as_object().into_iter().flat_map(|mounts| mounts.values());
        for mount in mounts.filter_map(|mount| mount["Source"].as_str()) {
            let path = PathBuf::from(mount);
            let is_data = !NO_DATA.iter().any(|dir| path.starts_with(dir)) && path.parent().is_some();
            if is_data && path.is_absolute() {
                stack.data.insert(path);
            }
        }
    }
    let homes = system.names("/home").into_iter().map(|name| format!("/home/{name}"));
    for place in PLACES.iter().map(ToString::to_string).chain(homes) {
        for name in system.names(&place) {
            let dir = Path::new(&place).join(&name);
            let Some(file) = FILES.iter().map(|file| dir.join(file)).find(|file| system.has(file)) else {
                continue;
            };
            if stacks.values().any(|stack| stack.files.contains(&file)) {
                continue;
            }
            let stack = stacks.entry(slug(&name)).or_default();
            stack.found.push(format!("the file {}", file.display()));
            stack.data.extend(
                ["volumes", "data"].map(|data| dir.join(data)).into_iter().filter(|dir| system.is_dir(dir)),
            );
            stack.files.insert(file);
        }
    }
    let mut drafts = Vec::new();
    for (project, stack) in stacks {
        // One that is known has rules of its own; a second one of them is as any other.
        let dir =
            stack.files.iter().filter_map(|file| file.parent()).find(|dir| iotstack::is_stack(system, dir));
        let known = dir.and_then(|dir| iotstack::draft(system, dir, StackChoice::default()));
        match known.filter(|known| drafts.iter().all(|draft: &Draft| draft.id != known.id)) {
            Some(known) => drafts.push(known),
            None => drafts.extend(draft(system, &project, stack)),
        }
    }
    drafts
}

fn draft(system: &System, project: &str, stack: Stack) -> Option<Draft> {
    let mut draft = Draft::new(project, project);
    let files: Vec<&PathBuf> = stack.files.iter().filter(|file| system.has(file)).collect();
    let first = files.iter().find(|file| FILES.contains(&file_name(file))).or(files.first())?;
    draft.found = stack.found;
    draft.config.files.extend(files.iter().filter_map(|file| path_text(file)));
    let beside = |name: &str| Some(first.parent()?.join(name)).filter(|file| system.has(file));
    for name in OVERRIDES {
        draft.config.files.extend(beside(name).and_then(|file| path_text(&file)));
    }
    draft.config.files.sort();
    draft.config.files.dedup();
    draft.secrets.files.extend(beside(".env").and_then(|file| path_text(&file)));
    for path in stack.data.iter().filter(|path| system.has(path)) {
        // What lies below another one goes with it.
        if stack.data.iter().any(|other| path != other && path.starts_with(other)) {
            continue;
        }
        let list = if system.is_dir(path) { &mut draft.data.directories } else { &mut draft.data.files };
        list.extend(path_text(path).filter(|path| !draft.config.files.contains(path)));
    }
    let mut service = vec![("name", Raw::text(&draft.id)), ("kind", Raw::text("compose"))];
    service.push(("file", Raw::text(&path_text(first)?)));
    if draft.id == project {
        service.push(("project", Raw::text(project)));
    }
    draft.services.push(service);
    draft
        .notes
        .push("databases in containers are better dumped while they run: add a [[source]] for each".into());
    Some(draft)
}
