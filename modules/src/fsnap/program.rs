//! Running a program that makes snapshots.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

/// A program failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{command}` failed: {wrong}")]
pub struct ProgramError {
    /// Program and arguments.
    pub command: String,
    /// What it said, or why it could not run.
    pub wrong: String,
}

/// Runs a program with this environment and nothing else, in `/`; returns what it printed.
pub(super) fn output<I, A>(
    env: &[(OsString, OsString)],
    program: &str,
    arguments: I,
) -> Result<String, ProgramError>
where
    I: IntoIterator<Item = A>,
    A: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").env_clear().envs(env.iter().cloned()).env("LC_ALL", "C");
    let shown = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let shown = shown();
    let failed = |wrong: String| ProgramError { command: shown.clone(), wrong };
    let done = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last: Vec<&str> = said.lines().rev().take(4).collect();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(failed(if said.is_empty() { done.status.to_string() } else { said }))
}
