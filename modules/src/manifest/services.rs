//! `[[service]]`: what must not run while files are read or written, and in which order it stops and starts.

use super::Manifest;
use super::drivers::OnError;
use super::form::{ARGV, Count, Either, Flag, List, Mapped, NAME, Parsed, TEXT, Word, list};
use super::paths::{ManifestPath, PathForm};
use super::reader::Table;
use super::sources::LIMIT;
use super::words::words;
use crate::id::ModuleId;
use std::time::Duration;
use toml::de::DeValue;

words! {
    /// What a service is.
    pub enum ServiceKind {
        /// A unit of systemd.
        System = "system",
        /// A site of the web server.
        WebSite = "web-site",
        /// A configuration of the web server.
        WebConfig = "web-config",
        /// A module of the web server.
        WebModule = "web-module",
        /// A container.
        Container = "container",
        /// A compose stack, or one service of it.
        Compose = "compose",
        /// A process, found by its name.
        Process = "process",
        /// Whatever three programs say.
        Command = "command",
    }
}

words! {
    /// How a service is stopped.
    pub enum StopMethod {
        /// Stopped.
        Stop = "stop",
        /// Frozen; for containers and stacks.
        Pause = "pause",
        /// Disabled and the web server reloaded; for its sites, configurations and modules.
        Disable = "disable",
    }
}

words! {
    /// When a service is started again.
    pub enum Restart {
        /// If it ran when it was stopped.
        IfWasRunning = "if-was-running",
        /// Not.
        Never = "never",
        /// In any case.
        Always = "always",
    }
}

words! {
    /// What kind of run.
    pub enum Operation {
        /// A backup.
        Backup = "backup",
        /// A restore.
        Restore = "restore",
    }
}

/// The programs of a service of kind `command`. Status 0 of the first says that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCommands {
    /// Says whether it runs.
    pub status: Vec<String>,
    /// Stops it.
    pub stop: Vec<String>,
    /// Starts it.
    pub start: Vec<String>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name: of the unit, site, container, stack, process.
    pub name: String,
    /// What it is.
    pub kind: ServiceKind,
    /// Its place among the services of the module, lowest first; without one, its position in the file.
    pub order: Option<i32>,
    /// The runs that concern it.
    pub during: Vec<Operation>,
    /// Whether it goes on running if a filesystem snapshot is what a backup reads.
    pub not_with_snapshot: bool,
    /// Whether it is stopped at all.
    pub stops: bool,
    /// How.
    pub method: StopMethod,
    /// When it is started again.
    pub restart: Restart,
    /// How long stopping may take; none: the unit's own limit.
    pub stop_timeout: Option<Duration>,
    /// How long starting may take; none: the unit's own limit.
    pub start_timeout: Option<Duration>,
    /// What follows if it cannot be stopped.
    pub on_stop_error: OnError,
    /// What follows if it cannot be started.
    pub on_start_error: OnError,
    /// The compose file.
    pub file: Option<ManifestPath>,
    /// The compose project.
    pub project: Option<String>,
    /// The one service of the stack.
    pub compose_service: Option<String>,
    /// The programs of kind `command`.
    pub commands: ServiceCommands,
}

/// What stands at `stop`: whether, or by which program.
enum Stop {
    Whether(bool),
    By(Vec<String>),
}

type Switch = Mapped<super::form::Flag, bool, Stop>;
type Program = Mapped<List<Parsed<String>>, Vec<String>, Stop>;

const STOP: Either<Switch, Program> = Either {
    one: Mapped { form: Flag, map: Stop::Whether },
    other: Mapped { form: ARGV, map: Stop::By },
    is_one: |value| !matches!(value, DeValue::Array(_)),
};

/// Reads `[[service]]`.
pub fn read_service(t: &mut Table<'_, '_>) -> Service {
    use ServiceKind::{Command, Compose, Container, WebConfig, WebModule, WebSite};
    let name = t
        .required("name", NAME, "The name of the unit, site, container, stack or process.")
        .unwrap_or_default();
    let kind = t.required("kind", Word::<ServiceKind>::new(), "What it is.").unwrap_or(ServiceKind::System);
    let is_web = matches!(kind, WebSite | WebConfig | WebModule);
    let usual = if is_web { StopMethod::Disable } else { StopMethod::Stop };
    let (stops, stop) = match t.optional(
        "stop",
        STOP,
        "Whether it is stopped at all (default true); for kind command, the program that stops it.",
    ) {
        None => (true, Vec::new()),
        Some(Stop::Whether(stops)) => (stops, Vec::new()),
        Some(Stop::By(program)) => (true, program),
    };
    let service = Service {
        order: t.optional("order", Count(-1_000_000, 1_000_000), "Its place among the module's services, lowest started first; default: its position.")
            .and_then(|order| i32::try_from(order).ok()),
        during: t.or("during", list(Word::new()), vec![Operation::Backup, Operation::Restore], "The runs that concern it."),
        not_with_snapshot: t.or("not_with_snapshot", Flag, true, "Let it run if a backup reads a filesystem snapshot; false: it is stopped for the moment in which the snapshot is taken."),
        stops,
        method: t.optional("method", Word::new(), "How it is stopped: stop (default), pause (containers and stacks), disable (web kinds, their default).").unwrap_or(usual),
        restart: t.or("restart", Word::new(), Restart::IfWasRunning, "When it is started again."),
        stop_timeout: t.or("stop_timeout", LIMIT, None, "How long stopping may take; 0: the unit's own limit."),
        start_timeout: t.or("start_timeout", LIMIT, None, "How long starting may take; 0: the unit's own limit."),
        on_stop_error: t.or("on_stop_error", Word::new(), OnError::Fail, "What follows if it cannot be stopped."),
        on_start_error: t.or("on_start_error", Word::new(), OnError::Continue, "What follows if it cannot be started; either way it is an error of the run."),
        file: t.optional("file", PathForm, "The compose file; for kind compose."),
        project: t.optional("project", NAME, "The compose project; for kind compose."),
        compose_service: t.optional("service", TEXT, "The one service of the stack; default: all of them.").filter(|text| !text.is_empty()),
        commands: ServiceCommands {
            status: t.or("status", ARGV, vec![], "The program that says by status 0 that it runs; for kind command."),
            start: t.or("start", ARGV, vec![], "The program that starts it; for kind command."),
            stop,
        },
        name,
        kind,
    };
    if !t.has("kind") {
        return service;
    }
    for key in ["file", "project", "service"] {
        if t.has(key) && kind != Compose {
            t.wrong(key, format!("`{key}` is for kind compose, not for {kind}"), "");
        }
    }
    for (key, program) in [
        ("status", &service.commands.status),
        ("stop", &service.commands.stop),
        ("start", &service.commands.start),
    ] {
        if kind == Command && program.is_empty() {
            t.wrong(
                key,
                format!("a service of kind command lacks the program `{key}`"),
                format!("{key} = [\"program\", \"argument\"]"),
            );
        } else if kind != Command && !program.is_empty() {
            t.wrong(key, format!("the program `{key}` is for kind command, not for {kind}"), "");
        }
    }
    let fits = match service.method {
        StopMethod::Stop => !is_web,
        StopMethod::Pause => matches!(kind, Compose | Container),
        StopMethod::Disable => is_web,
    };
    if !fits {
        t.wrong(
            "method",
            format!("a service of kind {kind} cannot be stopped by {}", service.method),
            format!("leave it out: {usual} is meant"),
        );
    }
    service
}

/// A service of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnService<'m> {
    /// The module.
    pub module: &'m ModuleId,
    /// The service.
    pub service: &'m Service,
}

/// Returns the services that a run of `operation` over these modules starts, in the order in which it starts them:
/// modules as given, within a module by `order` and position. It stops them in reverse.
pub fn start_order<'m>(
    modules: impl IntoIterator<Item = &'m Manifest>,
    operation: Operation,
) -> Vec<OwnService<'m>> {
    let of_module = |manifest: &'m Manifest| {
        let mut own: Vec<(i64, &Service)> = (0..)
            .zip(&manifest.services)
            .map(|(position, service)| (service.order.map_or(position, i64::from), service))
            .collect();
        // Stable: among equals the position in the file decides.
        own.sort_by_key(|(order, _)| *order);
        own.into_iter()
            .filter(move |(_, service)| service.stops && service.during.contains(&operation))
            .map(|(_, service)| OwnService { module: &manifest.module.id, service })
    };
    modules.into_iter().flat_map(of_module).collect()
}
