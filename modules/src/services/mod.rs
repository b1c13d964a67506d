//! Services: what must not run while its data are read or replaced.
//!
//! A run notes what of a service runs, writes that down, stops it, and starts exactly that again:
//!
//! ```text
//! note ──► Noted (into the undo journal) ──► stop ──► … ──► start
//! ```
//!
//! | kind | file | what ran, and is started again |
//! |---|---|---|
//! | system | `systemd.rs`, `units.rs` | the unit; units that stop with it; sockets, timers, paths that would start it |
//! | web-site, web-config, web-module | `web.rs` | whether it was enabled |
//! | container | `container.rs`, `engine.rs` | the container |
//! | compose | `compose.rs`, `engine.rs` | containers of the stack, each by its name |
//! | process | `process.rs` | processes; they are ended, and cannot be started |
//! | command | `command.rs` | what the manifest's programs say |
//!
//! Nothing is cut short by a cancelled run: half a stop is neither. Where a manifest sets no limit, a service manager's
//! own limits hold; what has none gets [`LIMIT`].

mod command;
mod compose;
mod container;
mod engine;
mod error;
mod process;
mod spec;
mod systemd;
#[cfg(test)]
mod tests;
mod tool;
mod units;
mod web;

pub use error::ServiceError;
pub use spec::{ServiceSpec, Target, WebPart};

use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a stop or start may take if neither the manifest nor a service manager says: 5 minutes.
pub const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What of a service ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Whether anything of it did. Set without parts, it asks for the service itself to be started.
    pub running: bool,
    /// What did, by names: units, containers, processes; in the order in which it is started.
    pub parts: Vec<String>,
}

impl Noted {
    /// Returns what is noted if these parts run.
    fn parts(parts: Vec<String>) -> Self {
        Self { running: !parts.is_empty(), parts }
    }

    /// Returns what is to be stopped or started: the parts, or the service itself.
    fn names(&self, itself: &str) -> Vec<String> {
        match self.parts.is_empty() {
            true if self.running => vec![itself.to_owned()],
            _ => self.parts.clone(),
        }
    }
}

/// How one kind of service is handled.
trait Controller {
    /// Finds out what of it runs.
    fn note(&self, service: &ServiceSpec, machine: &Machine<'_>) -> Result<Noted, ServiceError>;

    /// Stops what ran; returns when it has stopped, and only then without an error.
    fn stop(&self, service: &ServiceSpec, noted: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError>;

    /// Starts what ran; returns when it runs. Once more does no harm.
    fn start(&self, service: &ServiceSpec, noted: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError>;
}

/// The services of a machine.
#[derive(Debug)]
pub struct Services<'m, 'a> {
    machine: &'m Machine<'a>,
}

impl<'m, 'a> Services<'m, 'a> {
    /// Returns those of this machine.
    pub fn new(machine: &'m Machine<'a>) -> Self {
        Self { machine }
    }

    /// Finds out what of a service runs. Changes nothing.
    ///
    /// What could be stopped but never be started again is an error here, before anything is done.
    pub fn note(&self, service: &ServiceSpec) -> Result<Noted, ServiceError> {
        service.controller().note(service, self.machine)
    }

    /// Stops what was noted. What was stopped by force is a warning of the log.
    ///
    /// After an error some of it may have stopped: it is to be started all the same.
    pub fn stop(&self, service: &ServiceSpec, noted: &Noted) -> Result<(), ServiceError> {
        service.controller().stop(service, noted, self.machine)
    }

    /// Starts exactly what was noted. Once more does no harm.
    pub fn start(&self, service: &ServiceSpec, noted: &Noted) -> Result<(), ServiceError> {
        if !noted.running {
            return Ok(());
        }
        service.controller().start(service, noted, self.machine)
    }
}

/// Returns the program, `docker` or `podman`, that has a container of exactly this name.
pub fn engine_of(container: &str, machine: &Machine<'_>) -> Result<&'static str, ServiceError> {
    engine::Engine::having(container, machine).map(|(engine, _)| engine.program())
}
