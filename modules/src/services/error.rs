//! What can be wrong with a service, and what to do about it.

use crate::child::ChildError;
use crate::manifest::paths::UnknownVariable;
use crate::units::show_duration;
use std::io;
use std::time::Duration;

/// Why a service cannot be asked, stopped or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A path has no meaning here.
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ChildError),
    /// A name that stands for several services, or none.
    #[error("{name:?} is no name of a unit; name one unit, without wildcards, blanks or slashes")]
    BadName {
        /// The name.
        name: String,
    },
    /// There is no such service.
    #[error("there is no service {0} on this machine; install it, or correct its name in the manifest")]
    Unknown(String),
    /// Who would answer does not.
    #[error("the service manager does not answer: {said}")]
    NoManager {
        /// What its program said.
        said: String,
    },
    /// It may not be started.
    #[error("{0} is masked, so it could not be started again; `systemctl unmask {0}`")]
    Masked(String),
    /// It is only there while it runs.
    #[error(
        "{0} is there only while it runs and could not be started again; give it a definition that stays"
    )]
    Fleeting(String),
    /// Its definition is wrong.
    #[error("the definition of {0} is broken; `systemctl status {0}` tells more")]
    Broken(String),
    /// Everything would stop with it.
    #[error("{name} cannot be stopped: {vital} would stop with it")]
    Vital {
        /// The unit.
        name: String,
        /// What would stop with it.
        vital: String,
    },
    /// It took too long to stop.
    #[error(
        "{name} did not stop within {}; see what it waits for (`systemctl status {name}`), or raise stop_timeout",
        show_duration(*limit)
    )]
    StopTimeout {
        /// Its name.
        name: String,
        /// Its time.
        limit: Duration,
    },
    /// It took too long to start.
    #[error("{name} did not start within {}; it may still come up: look at it, or raise start_timeout", show_duration(*limit))]
    StartTimeout {
        /// Its name.
        name: String,
        /// Its time.
        limit: Duration,
    },
    /// It was refused to stop it.
    #[error("{name} cannot be stopped: {said}")]
    NotStopped {
        /// Its name.
        name: String,
        /// What was said.
        said: String,
    },
    /// It did not start.
    #[error("{name} does not start: {said}; find out why (`journalctl -u {name}`) and start it by hand")]
    NotStarted {
        /// Its name.
        name: String,
        /// What was said.
        said: String,
    },
    /// It did what was asked, by its own word, and is not in the state that follows.
    #[error(
        "{name} is {state} although it was told to {told}; is something starting or stopping it besides?"
    )]
    Stubborn {
        /// Its name.
        name: String,
        /// Its state.
        state: String,
        /// What it was told.
        told: &'static str,
    },
    /// The web server did not take its configuration.
    #[error(
        "the web server did not take up its configuration after {name} was changed: {said}; `apache2ctl configtest` tells more"
    )]
    NotReloaded {
        /// What was changed.
        name: String,
        /// What was said.
        said: String,
    },
    /// A process was ended, and nobody here knows how to start it.
    #[error(
        "the process {0} ran and was ended; start it by hand, or make it a service of kind system or command"
    )]
    CannotStart(String),
    /// Neither of the programs that handle containers is there.
    #[error("there is neither docker nor podman on this machine, which {0} needs")]
    NoEngine(String),
    /// What a program printed is not understood.
    #[error("what {program} said of {name} is not understood: {detail}")]
    Answer {
        /// The program.
        program: &'static str,
        /// The service.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// The system's list of processes cannot be read.
    #[error("the processes of this machine cannot be listed: {0}")]
    Processes(#[source] io::Error),
}
