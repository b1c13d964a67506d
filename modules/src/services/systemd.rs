//! Units of systemd, by `systemctl`.
//!
//! Stopping a unit stops those that need it; a socket, timer or path would start it again. So both are noted, stopped
//! with it and started with it. What starts others is stopped first, so that nothing comes back in between, and started
//! first, since a socket cannot be opened once its service runs without it; among the rest systemd itself keeps the
//! order.

use super::tool::{To, program, said, tell};
use super::units::{Unit, is_trigger, show, what_runs};
use super::{Controller, LIMIT, Noted, ServiceError, ServiceSpec};
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How long after a start it is looked whether the unit failed at once: of some types systemd only knows that a process
/// was made.
const SETTLE: Duration = Duration::from_millis(200);

/// Where control groups are seen: version 2, and the two places of version 1.
const CONTROL_GROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// The system's service manager.
pub(super) struct Systemd;

impl Controller for Systemd {
    fn note(&self, service: &ServiceSpec, machine: &Machine<'_>) -> Result<Noted, ServiceError> {
        let unit = one(&service.name, machine)?;
        let can_start = can_start(&unit);
        if unit.is_busy() || matches!(can_start, Err(ServiceError::Unknown(_))) {
            can_start?;
            if unit.is_transient {
                return Err(ServiceError::Fleeting(unit.id));
            }
        }
        Ok(Noted::parts(what_runs(&unit, machine)?))
    }

    fn stop(&self, service: &ServiceSpec, noted: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let names = noted.names(&service.name);
        let (triggers, mut others): (Vec<_>, Vec<_>) =
            names.iter().cloned().partition(|name| is_trigger(name));
        // Those that need others first.
        others.reverse();
        for names in [triggers, others].iter().filter(|names| !names.is_empty()) {
            let program = systemctl("stop", None, names);
            let finished = tell(&program, &service.name, To::Stop, service.stop_limit, machine)?;
            if !finished.is_success() {
                let name = service.name.clone();
                return Err(ServiceError::NotStopped { name, said: said(&finished, &program) });
            }
        }
        for unit in show_some(&names, machine)? {
            if unit.is_busy() {
                return Err(stubborn(&unit, "stop"));
            }
            if unit.result == "timeout" {
                if has_processes(&CONTROL_GROUPS, &unit.control_group) {
                    let state = "stopped by systemd's word, yet some of its processes run".to_owned();
                    return Err(ServiceError::Stubborn { name: unit.id, state, told: "stop" });
                }
                let text = format!("{} did not stop by itself and was killed by systemd", unit.id);
                machine.log.log(Severity::Warning, None, &text);
            }
        }
        Ok(())
    }

    fn start(&self, service: &ServiceSpec, noted: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        let names = noted.names(&service.name);
        let units = show_some(&names, machine)?;
        units.iter().try_for_each(can_start)?;
        // A unit that hangs in its stop would let a start wait for ever.
        let hangs = units.iter().any(|unit| unit.active == "deactivating");
        let limit = service.start_limit.or_else(|| hangs.then_some(LIMIT));
        let failed: Vec<_> =
            units.iter().filter(|unit| unit.active == "failed").map(|unit| unit.id.clone()).collect();
        if !failed.is_empty() {
            // It did not fail before we stopped it; and a unit that was started too often is not started otherwise.
            tell(&systemctl("reset-failed", None, &failed), &service.name, To::Start, Some(LIMIT), machine)?;
        }
        let (triggers, others): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| is_trigger(name));
        let (targets, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|name| name.ends_with(".target"));
        // A target would start everything it wants, whether it ran or not.
        let alone = Some("--job-mode=ignore-requirements");
        let mut problem = None;
        for (names, mode) in [(triggers, None), (others, None), (targets, alone)] {
            if names.is_empty() {
                continue;
            }
            let program = systemctl("start", mode, &names);
            let finished = tell(&program, &service.name, To::Start, limit, machine)?;
            if !finished.is_success() {
                let name = not_running(&names, machine).unwrap_or_else(|| service.name.clone());
                problem =
                    problem.or(Some(ServiceError::NotStarted { name, said: said(&finished, &program) }));
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        thread::sleep(SETTLE);
        let crashed = |unit: &Unit| unit.active == "failed" || unit.sub == "auto-restart";
        match show_some(&names, machine)?.into_iter().find(crashed) {
            None => Ok(()),
            Some(unit) => {
                let said = format!("it is {} right after its start", unit.state());
                Err(ServiceError::NotStarted { name: unit.id, said })
            }
        }
    }
}

fn systemctl(verb: &str, mode: Option<&str>, names: &[String]) -> crate::child::Program {
    let fixed = ["systemctl", verb, "--no-ask-password", "--no-pager"];
    program(fixed.into_iter().chain(mode).chain(["--"]).chain(names.iter().map(String::as_str)))
}

/// Asks for one unit.
fn one(name: &str, machine: &Machine<'_>) -> Result<Unit, ServiceError> {
    let units = show(&[name.to_owned()], machine)?;
    units.into_iter().next().ok_or_else(|| ServiceError::Unknown(name.to_owned()))
}

/// Asks for units, of which there may be none.
fn show_some(names: &[String], machine: &Machine<'_>) -> Result<Vec<Unit>, ServiceError> {
    if names.is_empty() { Ok(Vec::new()) } else { show(names, machine) }
}

/// Returns why a unit cannot be started, if so.
fn can_start(unit: &Unit) -> Result<(), ServiceError> {
    match &unit.load[..] {
        "not-found" => Err(ServiceError::Unknown(unit.id.clone())),
        "masked" => Err(ServiceError::Masked(unit.id.clone())),
        "error" | "bad-setting" => Err(ServiceError::Broken(unit.id.clone())),
        _ => Ok(()),
    }
}

/// Returns the first unit that does not run.
fn not_running(names: &[String], machine: &Machine<'_>) -> Option<String> {
    let units = show_some(names, machine).ok()?;
    units.into_iter().find(|unit| !unit.runs()).map(|unit| unit.id)
}

fn stubborn(unit: &Unit, told: &'static str) -> ServiceError {
    ServiceError::Stubborn { name: unit.id.clone(), state: unit.state(), told }
}

/// Returns whether processes are left in a control group that one of these places shows: units with `SendSIGKILL=no`, such
/// as databases, may "stop" so. Systemd 252 calls them failed then, with the result `timeout`, and keeps the group.
pub(super) fn has_processes(places: &[impl AsRef<Path>], group: &str) -> bool {
    let below = group.trim_start_matches('/');
    !below.is_empty()
        && places.iter().any(|place| {
            let file = place.as_ref().join(below).join("cgroup.procs");
            fs::read_to_string(file).is_ok_and(|processes| !processes.trim().is_empty())
        })
}
