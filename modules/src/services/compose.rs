//! Compose stacks: the containers that `docker compose`, `docker-compose` or `podman-compose` made of one file.
//!
//! They are found by the labels that all three give them, and stopped and started by the engine, one by one. The compose
//! program is not asked: it would read the file, which may have been edited since, or replaced by a restore; what was
//! edited must not take effect here, and what ran must be what is started.

use super::engine::{Container, Engine};
use super::{Controller, Noted, ServiceError, ServiceSpec, Target};
use crate::machine::Machine;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const FILES: &str = "com.docker.compose.project.config_files";
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
/// `db:service_started:false,cache:service_healthy:true`
const DEPENDS: &str = "com.docker.compose.depends_on";

/// A compose stack, or one service of it.
pub(super) struct Compose;

/// Returns the containers of a stack, in the order in which they are started: what others depend on comes first.
fn containers(
    service: &ServiceSpec,
    machine: &Machine<'_>,
) -> Result<Vec<(Engine, Container)>, ServiceError> {
    let Target::Compose { file, project, service: only, .. } = &service.target else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut silent = None;
    for engine in Engine::all(&service.name, machine)? {
        match engine.labelled(PROJECT, machine).and_then(|ids| engine.inspect(&ids, machine)) {
            Ok(of) => found.extend(of.into_iter().map(|container| (engine, container))),
            Err(error) => silent = silent.or(Some(error)),
        }
    }
    // Without a key that says which, the service's name is the project's.
    let project = project.as_deref().or_else(|| file.is_none().then_some(service.name.as_str()));
    found.retain(|(_, container)| {
        project.is_none_or(|project| container.label(PROJECT) == Some(project))
            && file.as_deref().is_none_or(|file| is_made_of(container, file))
            && only.as_deref().is_none_or(|only| container.label(SERVICE) == Some(only))
    });
    if found.is_empty() {
        if let Some(error) = silent {
            return Err(error);
        }
        // A stack that was never started has no containers, but its file; without one its name is wrong.
        if !file.as_deref().is_some_and(Path::exists) {
            return Err(ServiceError::Unknown(service.name.clone()));
        }
    }
    let depth = depths(&found);
    found.sort_by_key(|(_, container)| {
        (depth.get(of(container)).copied().unwrap_or(0), container.name().to_owned())
    });
    Ok(found)
}

/// Returns the service of a stack that a container is one of.
fn of(container: &Container) -> &str {
    container.label(SERVICE).unwrap_or_default()
}

/// Returns for each service how many others must be started before it, one after the other.
fn depths(found: &[(Engine, Container)]) -> BTreeMap<String, usize> {
    let needs: BTreeMap<&str, Vec<&str>> = found
        .iter()
        .map(|(_, container)| {
            let list = container.label(DEPENDS).unwrap_or_default();
            let names =
                list.split(',').filter_map(|one| one.split(':').next()).filter(|name| !name.is_empty());
            (of(container), names.collect())
        })
        .collect();
    let mut depth: BTreeMap<String, usize> = needs.keys().map(|name| ((*name).to_owned(), 0)).collect();
    // As often as the longest chain could be long; a circle, which compose refuses, does not go on for ever.
    for _ in 0..needs.len() {
        for (name, needed) in &needs {
            let below = needed.iter().filter_map(|name| depth.get(*name)).max().map_or(0, |below| below + 1);
            if let Some(own) = depth.get_mut(*name) {
                *own = below.min(needs.len());
            }
        }
    }
    depth
}

/// Returns whether a container was made of a compose file: by the label that lists the files, or the directory.
fn is_made_of(container: &Container, file: &Path) -> bool {
    let directory = Path::new(container.label(DIRECTORY).unwrap_or("/"));
    let same = |listed: &str| real(&directory.join(listed)) == real(file);
    match container.label(FILES) {
        Some(files) => files.split(',').any(same),
        None => file.parent().is_some_and(|parent| real(parent) == real(directory)),
    }
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.components().collect())
}

fn pauses(service: &ServiceSpec) -> bool {
    matches!(service.target, Target::Compose { pause: true, .. })
}

impl Controller for Compose {
    fn note(&self, service: &ServiceSpec, machine: &Machine<'_>) -> Result<Noted, ServiceError> {
        let found = containers(service, machine)?;
        found.iter().try_for_each(|(_, container)| container.must_outlive_its_stop(pauses(service)))?;
        let running = found.iter().filter(|(_, container)| container.runs());
        Ok(Noted::parts(running.map(|(_, container)| container.name().to_owned()).collect()))
    }

    fn stop(&self, service: &ServiceSpec, noted: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        for (engine, container) in containers(service, machine)?.iter().rev() {
            if noted.parts.iter().any(|name| name == container.name()) {
                engine.stop(container, pauses(service), service, machine)?;
            }
        }
        Ok(())
    }

    fn start(&self, service: &ServiceSpec, noted: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let mut first = None;
        if noted.parts.is_empty() {
            // All of it was asked for.
            for (engine, container) in containers(service, machine)? {
                let started = engine.start(container.name(), service, machine);
                first = first.or(started.err());
            }
        }
        // By their names alone: the labels' file may be gone by now.
        for name in &noted.parts {
            let started = Engine::having(name, machine)
                .and_then(|(engine, container)| engine.start(container.name(), service, machine));
            first = first.or(started.err());
        }
        first.map_or(Ok(()), Err)
    }
}
