//! Sites, configurations and modules of Apache, by Debian's `a2query`, `a2ensite`, `a2dissite` and their like.
//!
//! To stop one is to disable it and have the running server read its configuration again; modules need a restart, as
//! `a2enmod` says. A server that does not run is left alone.

use super::tool::{To, ask, program, said, tell};
use super::{Controller, LIMIT, Noted, ServiceError, ServiceSpec, Target, WebPart};
use crate::machine::Machine;
use std::path::Path;

/// The web server's unit.
const UNIT: &str = "apache2.service";

/// Parts of the web server's configuration.
pub(super) struct Web;

/// What one kind of part is handled with.
struct Tools {
    query: &'static str,
    enable: &'static str,
    disable: &'static str,
    /// Where its files lie, and how their names end.
    available: (&'static str, &'static str),
    /// How the server is told.
    reload: &'static str,
}

fn tools(service: &ServiceSpec) -> Tools {
    let reload = "try-reload-or-restart";
    match service.target {
        Target::Web(WebPart::Module) => Tools {
            query: "-m",
            enable: "a2enmod",
            disable: "a2dismod",
            available: ("mods-available", "load"),
            reload: "try-restart",
        },
        Target::Web(WebPart::Config) => Tools {
            query: "-c",
            enable: "a2enconf",
            disable: "a2disconf",
            available: ("conf-available", "conf"),
            reload,
        },
        _ => Tools {
            query: "-s",
            enable: "a2ensite",
            disable: "a2dissite",
            available: ("sites-available", "conf"),
            reload,
        },
    }
}

fn is_enabled(service: &ServiceSpec, machine: &Machine<'_>) -> Result<bool, ServiceError> {
    let program = program(["a2query", "-q", tools(service).query, &service.name]);
    let finished = ask(&program, machine)?.finished;
    match finished.ended {
        crate::child::Ended::Exit(0) => Ok(true),
        // Not known, disabled by the administrator, disabled by a package: a2query(1).
        crate::child::Ended::Exit(1 | 32 | 33) => Ok(false),
        _ => Err(finished.into_error(&program).into()),
    }
}

/// Has the web server read its configuration again, if it runs.
fn reload(service: &ServiceSpec, to: To, machine: &Machine<'_>) -> Result<(), ServiceError> {
    let verb = tools(service).reload;
    let program = program(["systemctl", verb, "--no-ask-password", "--no-pager", UNIT]);
    let finished = tell(&program, &service.name, to, Some(limit(service, to)), machine)?;
    if finished.is_success() {
        return Ok(());
    }
    Err(ServiceError::NotReloaded { name: service.name.clone(), said: said(&finished, &program) })
}

fn limit(service: &ServiceSpec, to: To) -> std::time::Duration {
    let own = if to == To::Stop { service.stop_limit } else { service.start_limit };
    own.unwrap_or(LIMIT)
}

impl Controller for Web {
    fn note(&self, service: &ServiceSpec, machine: &Machine<'_>) -> Result<Noted, ServiceError> {
        let running = is_enabled(service, machine)?;
        let (folder, ending) = tools(service).available;
        let place = machine.around.get("APACHE_CONFDIR").unwrap_or("/etc/apache2".as_ref());
        let file = Path::new(place).join(folder).join(format!("{}.{ending}", service.name));
        if !running && file.symlink_metadata().is_err() {
            return Err(ServiceError::Unknown(format!(
                "{} of the web server ({})",
                service.name,
                file.display()
            )));
        }
        Ok(Noted { running, parts: Vec::new() })
    }

    fn stop(&self, service: &ServiceSpec, _: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let program = program([tools(service).disable, "-q", &service.name]);
        let finished = tell(&program, &service.name, To::Stop, Some(limit(service, To::Stop)), machine)?;
        if !finished.is_success() || is_enabled(service, machine)? {
            let name = service.name.clone();
            return Err(ServiceError::NotStopped { name, said: said(&finished, &program) });
        }
        reload(service, To::Stop, machine)
    }

    fn start(&self, service: &ServiceSpec, _: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let program = program([tools(service).enable, "-q", &service.name]);
        let finished = tell(&program, &service.name, To::Start, Some(limit(service, To::Start)), machine)?;
        if !finished.is_success() || !is_enabled(service, machine)? {
            let name = service.name.clone();
            return Err(ServiceError::NotStarted { name, said: said(&finished, &program) });
        }
        reload(service, To::Start, machine)
    }
}
