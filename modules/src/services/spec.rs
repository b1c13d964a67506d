//! A service with everything resolved.

use super::{Controller, ServiceError, command, compose, container, process, systemd, web};
use crate::manifest::paths::Variables;
use crate::manifest::services::{Service, ServiceKind, StopMethod};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A service with everything resolved; it can stand in an undo journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) stop_limit: Option<Duration>,
    pub(super) start_limit: Option<Duration>,
}

/// What a service is, with what its kind needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A unit of systemd.
    System,
    /// A part of the web server's configuration.
    Web(WebPart),
    /// A container; paused instead of stopped, if so.
    Container {
        /// Whether it is only paused.
        pause: bool,
    },
    /// Containers of a compose stack.
    Compose {
        /// Its file.
        file: Option<PathBuf>,
        /// Its project.
        project: Option<String>,
        /// The one service of it.
        service: Option<String>,
        /// Whether its containers are only paused.
        pause: bool,
    },
    /// Processes of this name.
    Process,
    /// Whatever three programs say.
    Command {
        /// Says by status 0 that it runs.
        status: Vec<String>,
        /// Stops it.
        stop: Vec<String>,
        /// Starts it.
        start: Vec<String>,
    },
}

/// A part of the web server's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebPart {
    /// A site.
    Site,
    /// A configuration.
    Config,
    /// A module.
    Module,
}

impl ServiceSpec {
    /// Resolves what a manifest says.
    pub fn of(service: &Service, variables: &Variables) -> Result<Self, ServiceError> {
        let pause = service.method == StopMethod::Pause;
        let target = match service.kind {
            ServiceKind::System => Target::System,
            ServiceKind::WebSite => Target::Web(WebPart::Site),
            ServiceKind::WebConfig => Target::Web(WebPart::Config),
            ServiceKind::WebModule => Target::Web(WebPart::Module),
            ServiceKind::Container => Target::Container { pause },
            ServiceKind::Compose => Target::Compose {
                file: service.file.as_ref().map(|file| file.resolve(variables)).transpose()?,
                project: service.project.clone(),
                service: service.compose_service.clone(),
                pause,
            },
            ServiceKind::Process => Target::Process,
            ServiceKind::Command => Target::Command {
                status: service.commands.status.clone(),
                stop: service.commands.stop.clone(),
                start: service.commands.start.clone(),
            },
        };
        // `systemctl` takes names with wildcards for all units that match.
        let pattern = |name: &str| name.contains(['*', '?', '[']);
        if target == Target::System && (pattern(&service.name) || service.name.contains(['/', ' '])) {
            return Err(ServiceError::BadName { name: service.name.clone() });
        }
        Ok(Self {
            name: service.name.clone(),
            target,
            stop_limit: service.stop_timeout,
            start_limit: service.start_timeout,
        })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns whether both are the same thing, whatever is said of it.
    pub fn is_same_service(&self, other: &Self) -> bool {
        let same = match (&self.target, &other.target) {
            (
                Target::Compose { file, project, service, .. },
                Target::Compose { file: file2, project: project2, service: service2, .. },
            ) => (file, project, service) == (file2, project2, service2),
            (Target::System, Target::System) => return units_name(&self.name) == units_name(&other.name),
            (Target::Web(part), Target::Web(other)) => part == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        same && self.name == other.name
    }

    pub(super) fn controller(&self) -> &'static dyn Controller {
        match &self.target {
            Target::System => &systemd::Systemd,
            Target::Web(_) => &web::Web,
            Target::Container { .. } => &container::Container,
            Target::Compose { .. } => &compose::Compose,
            Target::Process => &process::Process,
            Target::Command { .. } => &command::Command,
        }
    }
}

/// Returns a unit's name as `systemctl` completes it.
pub(super) fn units_name(name: &str) -> String {
    if name.rsplit_once('.').is_some_and(|(_, suffix)| UNIT_TYPES.contains(&suffix)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// The types of units, from `systemd.unit(5)`.
const UNIT_TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
