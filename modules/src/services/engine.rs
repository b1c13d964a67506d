//! Containers as docker and podman tell them; both understand the same words.

use super::tool::{To, ask, program, said, tell};
use super::{LIMIT, ServiceError, ServiceSpec};
use crate::child::{Ended, Finished};
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The programs that handle containers, in the order in which they are tried.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// How much longer than a container's own limit its engine may take.
const MARGIN: Duration = Duration::from_secs(10);

/// What of a container is looked at; both engines name it so.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    name: String,
    state: State,
    #[serde(default)]
    config: Config,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    auto_remove: bool,
}

impl Container {
    /// Returns its name; docker puts a slash before it.
    pub(super) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// Returns whether it runs; one that somebody paused does nothing, and is left paused.
    pub(super) fn runs(&self) -> bool {
        matches!(&self.state.status[..], "running" | "restarting")
    }

    /// Returns what a label says.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Returns why it could not be started again once it is stopped.
    pub(super) fn must_outlive_its_stop(&self, pause: bool) -> Result<(), ServiceError> {
        let gone = self.runs() && self.host_config.auto_remove && !pause;
        if gone { Err(ServiceError::Fleeting(self.name().to_owned())) } else { Ok(()) }
    }
}

/// The engine of this machine.
#[derive(Clone, Copy)]
pub(super) struct Engine(&'static str);

impl Engine {
    /// Returns its program.
    pub(super) fn program(self) -> &'static str {
        self.0
    }

    /// Returns those that are there.
    pub(super) fn all(name: &str, machine: &Machine<'_>) -> Result<Vec<Self>, ServiceError> {
        let there: Vec<_> = ENGINES.into_iter().filter(|name| machine.around.has(name)).map(Self).collect();
        if there.is_empty() { Err(ServiceError::NoEngine(name.to_owned())) } else { Ok(there) }
    }

    /// Looks at containers, named or numbered; of those that are not there nothing is returned.
    pub(super) fn inspect(
        self,
        names: &[String],
        machine: &Machine<'_>,
    ) -> Result<Vec<Container>, ServiceError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let fixed = [self.0, "container", "inspect", "--"];
        let program = program(fixed.into_iter().chain(names.iter().map(String::as_str)));
        let captured = ask(&program, machine)?;
        if !captured.finished.is_success() && !is_absence(&captured.finished) {
            return Err(ServiceError::NoManager { said: said(&captured.finished, &program) });
        }
        let text = captured.stdout.trim_ascii();
        let answer = |detail| ServiceError::Answer { program: self.0, name: names.join(" "), detail };
        if text.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(text).map_err(|error| answer(error.to_string()))
    }

    /// Lists the numbers of the containers that have a label, whether they run or not.
    pub(super) fn labelled(self, label: &str, machine: &Machine<'_>) -> Result<Vec<String>, ServiceError> {
        let filter = format!("label={label}");
        let program =
            program([self.0, "container", "ls", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        let captured = ask(&program, machine)?;
        if !captured.finished.is_success() {
            return Err(ServiceError::NoManager { said: said(&captured.finished, &program) });
        }
        Ok(String::from_utf8_lossy(&captured.stdout).split_whitespace().map(ToOwned::to_owned).collect())
    }

    /// Returns the first engine that has a container of exactly this name, with that container.
    pub(super) fn having(name: &str, machine: &Machine<'_>) -> Result<(Self, Container), ServiceError> {
        let mut silent = None;
        for engine in Self::all(name, machine)? {
            match engine.inspect(&[name.to_owned()], machine) {
                // The beginning of a number finds containers too; that is not what a manifest means.
                Ok(found) => match found.into_iter().find(|container| container.name() == name) {
                    Some(container) => return Ok((engine, container)),
                    None => continue,
                },
                Err(error) => silent = silent.or(Some(error)),
            }
        }
        Err(silent.unwrap_or_else(|| ServiceError::Unknown(name.to_owned())))
    }

    /// Stops, or pauses, a container that runs.
    pub(super) fn stop(
        self,
        container: &Container,
        pause: bool,
        service: &ServiceSpec,
        machine: &Machine<'_>,
    ) -> Result<(), ServiceError> {
        if !container.runs() {
            return Ok(());
        }
        let name = container.name();
        let secs = service.stop_limit.map(|limit| limit.as_secs().max(1).to_string());
        let mut words = vec![self.0, "container", if pause { "pause" } else { "stop" }];
        // The time after which the engine kills it.
        if let Some(secs) = secs.as_deref().filter(|_| !pause) {
            words.extend(["--time", secs]);
        }
        words.extend(["--", name]);
        let program = program(words);
        let limit = service.stop_limit.unwrap_or(LIMIT).saturating_add(MARGIN);
        let finished = tell(&program, name, To::Stop, Some(limit), machine)?;
        if !finished.is_success() {
            return Err(ServiceError::NotStopped { name: name.to_owned(), said: said(&finished, &program) });
        }
        let now = self.inspect(&[name.to_owned()], machine)?;
        match now.first() {
            Some(now) if now.runs() => {
                let (name, state) = (name.to_owned(), now.state.status.clone());
                Err(ServiceError::Stubborn { name, state, told: "stop" })
            }
            _ => Ok(()),
        }
    }

    /// Starts a container, or lets a paused one go on.
    pub(super) fn start(
        self,
        name: &str,
        service: &ServiceSpec,
        machine: &Machine<'_>,
    ) -> Result<(), ServiceError> {
        let found = self.inspect(&[name.to_owned()], machine)?;
        let container = found.iter().find(|container| container.name() == name);
        let container = container.ok_or_else(|| ServiceError::Unknown(name.to_owned()))?;
        if container.runs() {
            return Ok(());
        }
        let verb = if container.state.status == "paused" { "unpause" } else { "start" };
        let program = program([self.0, "container", verb, "--", name]);
        let limit = service.start_limit.unwrap_or(LIMIT);
        let finished = tell(&program, name, To::Start, Some(limit), machine)?;
        if finished.is_success() {
            return Ok(());
        }
        machine.log.log(Severity::Debug, None, &format!("{} {verb} {name} failed", self.0));
        Err(ServiceError::NotStarted { name: name.to_owned(), said: said(&finished, &program) })
    }
}

/// Returns whether an engine failed only because there is no such container.
fn is_absence(finished: &Finished) -> bool {
    let said = finished.stderr.to_lowercase();
    matches!(finished.ended, Ended::Exit(_))
        && (said.contains("no such container") || said.contains("no container with name"))
}
