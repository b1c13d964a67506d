//! Services that programs of the manifest handle.

use super::tool::{To, ask, late};
use super::{Controller, LIMIT, Noted, ServiceError, ServiceSpec, Target};
use crate::child::{ChildError, Ended, Program, launch};
use crate::machine::{ACTING_VARIABLE, Machine};
use crate::manifest::programs::Severity;

/// Programs named by the manifest: status 0 of the first says that it runs.
pub(super) struct Command;

/// What stands where another kind of service does.
const NOTHING: &[String] = &[];

fn programs(service: &ServiceSpec) -> [&[String]; 3] {
    match &service.target {
        Target::Command { status, stop, start } => [status, stop, start],
        _ => [NOTHING; 3],
    }
}

fn runs(service: &ServiceSpec, machine: &Machine<'_>) -> Result<bool, ServiceError> {
    let program = Program::new(programs(service)[0]);
    let finished = ask(&program, machine)?.finished;
    match finished.ended {
        Ended::Exit(0) => Ok(true),
        // "Cannot be run" and "not there" are no answer.
        Ended::Exit(126 | 127) => Err(finished.into_error(&program).into()),
        _ => Ok(false),
    }
}

/// Has a program do its work. What it leaves running goes on: a start exists for that, and a stop may start what waits.
fn call(argv: &[String], service: &ServiceSpec, to: To, machine: &Machine<'_>) -> Result<(), ServiceError> {
    let mut program = Program::new(argv);
    if to == To::Stop {
        program.env.push((ACTING_VARIABLE.into(), machine.run.into()));
    }
    let limit = if to == To::Stop { service.stop_limit } else { service.start_limit };
    let mut line = |_, text: &str| machine.log.log(Severity::Info, None, text);
    let finished = launch(&program, machine.around, Some(limit.unwrap_or(LIMIT)), &|| false, &mut line)?;
    match finished.ended {
        Ended::TimedOut(limit) => Err(late(&service.name, to, limit)),
        _ => finished.success(&program).map_err(ChildError::into),
    }
}

impl Controller for Command {
    fn note(&self, service: &ServiceSpec, machine: &Machine<'_>) -> Result<Noted, ServiceError> {
        Ok(Noted { running: runs(service, machine)?, parts: Vec::new() })
    }

    fn stop(&self, service: &ServiceSpec, _: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        call(programs(service)[1], service, To::Stop, machine)?;
        let state = || "running".to_owned();
        match runs(service, machine)? {
            false => Ok(()),
            true => Err(ServiceError::Stubborn { name: service.name.clone(), state: state(), told: "stop" }),
        }
    }

    fn start(&self, service: &ServiceSpec, _: &Noted, machine: &Machine<'_>) -> Result<(), ServiceError> {
        if runs(service, machine)? {
            return Ok(());
        }
        call(programs(service)[2], service, To::Start, machine)?;
        let said = || "its status program still says so".to_owned();
        match runs(service, machine)? {
            true => Ok(()),
            false => Err(ServiceError::NotStarted { name: service.name.clone(), said: said() }),
        }
    }
}
