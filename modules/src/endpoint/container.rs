//! The container that a server, or its client, is in.

use super::{Asking, ContainerName, EndpointError};
use crate::child::{Captured, Program, output};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// The programs that handle containers, in the order in which they are tried.
const ENGINES: [&str; 2] = ["docker", "podman"];
/// How long a question may take.
const ASK: Duration = Duration::from_secs(60);
/// Longest answer in bytes.
const MAX_ANSWER: usize = 4 << 20;
/// The label by which compose marks the containers of a service.
const SERVICE: &str = "com.docker.compose.service";

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    engine: &'static str,
    name: String,
    addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    state: State,
    #[serde(default)]
    network_settings: Option<Networks>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    #[serde(default)]
    networks: Option<BTreeMap<String, Network>>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress", default)]
    ip_address: String,
}

impl Container {
    /// Finds a container that runs.
    pub(super) fn find(name: &ContainerName, asking: Asking<'_>) -> Result<Self, EndpointError> {
        let (ContainerName::Name(shown) | ContainerName::ComposeService(shown)) = name;
        let engines = ENGINES.into_iter().filter(|engine| asking.around.has(engine));
        let mut said = None;
        let mut found = Vec::new();
        for engine in engines {
            let answer = match name {
                ContainerName::Name(name) => inspect(engine, std::slice::from_ref(name), asking),
                ContainerName::ComposeService(service) => match labelled(engine, service, asking)? {
                    Ok(ids) if ids.is_empty() => Ok(Ok(vec![])),
                    Ok(ids) => inspect(engine, &ids, asking),
                    Err(said) => Ok(Err(said)),
                },
            }?;
            match answer {
                Ok(containers) => found.extend(containers),
                Err(text) => said = Some(text),
            }
            said.get_or_insert_default();
        }
        // The beginning of a number finds containers too; that is not what a manifest means.
        if let ContainerName::Name(name) = name {
            found.retain(|container| container.name == *name);
        }
        match (found.len(), said) {
            (_, None) => Err(EndpointError::NoEngine { name: shown.clone() }),
            (0, Some(said)) => {
                let said = if said.is_empty() { said } else { format!(": {said}") };
                Err(EndpointError::NoContainer { name: shown.clone(), said })
            }
            (1, _) => Ok(found.remove(0)),
            (count, _) => Err(EndpointError::Ambiguous { name: shown.clone(), count }),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns an address by which this machine reaches it.
    pub fn address(&self) -> Result<&str, EndpointError> {
        let first = self.addresses.first().map(String::as_str);
        first.ok_or_else(|| EndpointError::NoAddress { name: self.name.clone() })
    }

    /// Returns a program that runs in it; `fed`: what it reads is handed on.
    pub fn exec<S: Into<OsString>>(&self, argv: impl IntoIterator<Item = S>, fed: bool) -> Program {
        let mut words: Vec<OsString> = vec![self.engine.into(), "exec".into()];
        if fed {
            words.push("--interactive".into());
        }
        words.push(self.name.clone().into());
        words.extend(argv.into_iter().map(Into::into));
        Program::new(words)
    }
}

/// What an engine answers, or why it does not: it may have no daemon here.
type Answer<T> = Result<Result<T, String>, EndpointError>;

fn ask(words: Vec<String>, asking: Asking<'_>) -> Result<Captured, EndpointError> {
    let mut program = Program::new(words);
    program.env.push(("LC_ALL".into(), "C".into()));
    Ok(output(&program, asking.around, Some(ASK), asking.cancelled, MAX_ANSWER)?)
}

/// Returns the containers of these names or numbers that run.
fn inspect(engine: &'static str, names: &[String], asking: Asking<'_>) -> Answer<Vec<Container>> {
    let mut words = ["container", "inspect", "--"].map(String::from).to_vec();
    words.insert(0, engine.into());
    words.extend(names.iter().cloned());
    let captured = ask(words, asking)?;
    if !captured.finished.is_success() {
        return Ok(Err(captured.finished.stderr));
    }
    let inspected: Vec<Inspected> = match serde_json::from_slice(&captured.stdout) {
        Ok(inspected) => inspected,
        Err(error) => return Ok(Err(format!("{engine} answers something unknown: {error}"))),
    };
    let running = inspected.into_iter().filter(|one| one.state.status == "running");
    Ok(Ok(running
        .map(|one| {
            let networks = one.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
            let addresses = networks.into_values().map(|network| network.ip_address);
            Container {
                engine,
                name: one.name.trim_start_matches('/').to_owned(),
                addresses: addresses.filter(|address| !address.is_empty()).collect(),
            }
        })
        .collect()))
}

/// Returns the numbers of the running containers of a compose service.
fn labelled(engine: &'static str, service: &str, asking: Asking<'_>) -> Answer<Vec<String>> {
    let filter = format!("label={SERVICE}={service}");
    let words = [engine, "container", "ls", "--quiet", "--no-trunc", "--filter", &filter];
    let captured = ask(words.map(String::from).to_vec(), asking)?;
    if !captured.finished.is_success() {
        return Ok(Err(captured.finished.stderr));
    }
    Ok(Ok(String::from_utf8_lossy(&captured.stdout).split_whitespace().map(ToOwned::to_owned).collect()))
}
