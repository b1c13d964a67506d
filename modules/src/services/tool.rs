//! Programs of service managers: asked, and told.

use super::ServiceError;
use crate::child::{Captured, Ended, Finished, Program, output};
use crate::machine::Machine;
use std::time::Duration;

/// How long a question may take.
pub(super) const ASK: Duration = Duration::from_secs(60);

/// Longest answer in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// What a call was for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Stop,
    Start,
}

/// Returns a program whose messages are in English, since some are looked into.
pub(super) fn program<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Program {
    let argv = argv.into_iter().map(|word| word.as_ref().to_owned());
    Program { env: vec![("LC_ALL".into(), "C".into())], ..Program::new(argv) }
}

/// Asks something; the answer may come with any status.
pub(super) fn ask(program: &Program, machine: &Machine<'_>) -> Result<Captured, ServiceError> {
    let captured = output(program, machine.around, Some(ASK), &|| false, MAX_ANSWER)?;
    match captured.finished.ended {
        Ended::Exit(_) => Ok(captured),
        _ => Err(captured.finished.into_error(program).into()),
    }
}

/// Has something done. Not cut short by a cancelled run.
pub(super) fn tell(
    program: &Program,
    name: &str,
    to: To,
    limit: Option<Duration>,
    machine: &Machine<'_>,
) -> Result<Finished, ServiceError> {
    let captured = output(program, machine.around, limit, &|| false, 0)?;
    match captured.finished.ended {
        Ended::Exit(_) => Ok(captured.finished),
        Ended::TimedOut(limit) => Err(late(name, to, limit)),
        _ => Err(captured.finished.into_error(program).into()),
    }
}

/// Tells that something took too long.
pub(super) fn late(name: &str, to: To, limit: Duration) -> ServiceError {
    let name = name.to_owned();
    match to {
        To::Stop => ServiceError::StopTimeout { name, limit },
        To::Start => ServiceError::StartTimeout { name, limit },
    }
}

/// Returns what a program said as the reason of its failure, on one line.
pub(super) fn said(finished: &Finished, program: &Program) -> String {
    if finished.stderr.is_empty() {
        finished.clone().into_error(program).to_string()
    } else {
        finished.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
    }
}
