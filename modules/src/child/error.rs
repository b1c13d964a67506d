//! What can go wrong with a program.

use super::{CANNOT_RUN, Ended, NOT_FOUND};
use crate::units::show_duration;
use std::fmt::Write;
use std::io;

/// Why a program was not run, or how it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// Nothing to run.
    #[error("no program is named")]
    Empty,
    /// No such file.
    #[error("there is no program {path}")]
    Missing {
        /// The file.
        path: String,
    },
    /// No such name.
    #[error("there is no program {name:?} in PATH ({path}); install it, or name it by its full path")]
    NotInPath {
        /// The name.
        name: String,
        /// The directories that were looked at.
        path: String,
    },
    /// A path that depends on where one is, and nothing says where that is.
    #[error(
        "the program {path} is named relative to a directory; say which by `cwd`, or name it by its full path"
    )]
    Relative {
        /// The path.
        path: String,
    },
    /// It may not be run.
    #[error("{path} is not executable; `chmod +x` makes it so")]
    NotExecutable {
        /// The file.
        path: String,
    },
    /// It is there, but what its first line names is not.
    #[error(
        "{path} cannot be started: the interpreter of its first line is missing, or it is for another system"
    )]
    NoInterpreter {
        /// The file.
        path: String,
    },
    /// It is no program.
    #[error("{path} is no program: a script needs a first line such as #!/bin/sh")]
    NoFormat {
        /// The file.
        path: String,
    },
    /// The directory it is to run in.
    #[error("{program} cannot run in {path}: {source}")]
    Directory {
        /// The program.
        program: String,
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The user as whom it is to run.
    #[error("{program} cannot run as {user:?}: there is no such user")]
    NoUser {
        /// The program.
        program: String,
        /// The name.
        user: String,
    },
    /// We may not become that user.
    #[error("{program} cannot run as {user:?}: only root can run programs as somebody else")]
    NotRoot {
        /// The program.
        program: String,
        /// The name.
        user: String,
    },
    /// It could not be started.
    #[error("{program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It could not be watched.
    #[error("{program} was ended, since it cannot be watched: {source}")]
    Watch {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// What it was to be fed with.
    #[error("{program} was ended, since what it was to read failed: {source}")]
    Input {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It does not even end when killed.
    #[error(
        "{program} (process {pid}) does not end though it was killed; it waits for a device or a network file system"
    )]
    Stuck {
        /// The program.
        program: String,
        /// Its number.
        pid: u32,
    },
    /// It ended in another way than with status 0.
    #[error("{program} {}", how(*ended, stderr))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        ended: Ended,
        /// The last of what it wrote to standard error.
        stderr: String,
    },
}

/// Tells an end in a clause, with what the program said last.
fn how(ended: Ended, stderr: &str) -> String {
    let mut text = match ended {
        Ended::Exit(CANNOT_RUN) => "failed with status 126: something it calls is not executable".to_owned(),
        Ended::Exit(NOT_FOUND) => "failed with status 127: something it calls is not there".to_owned(),
        Ended::Exit(status) => format!("failed with status {status}"),
        Ended::Signal(number) => format!("was ended by signal {number}"),
        Ended::TimedOut(limit) => format!("was ended: it took longer than {}", show_duration(limit)),
        Ended::Silent(limit) => format!("was ended: it said nothing for {}", show_duration(limit)),
        Ended::Cancelled => "was ended: the run is cancelled".to_owned(),
    };
    let said = stderr.trim();
    if !said.is_empty() {
        let _ = write!(text, ": {said}");
    }
    text
}
