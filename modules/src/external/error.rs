//! How an operation of a module's own program fails.

use crate::child::{ChildError, Ended};
use crate::manifest::paths::UnknownVariable;
use crate::protocol::{Failure, Violation};
use crate::units::show_duration;
use dedup_engine::error::Kind;
use std::time::Duration;

/// Why an operation did not succeed; what it did counts for nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// It could not be started or watched.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// It was ended, since it did what it must not do.
    #[error("{program}: {violation}")]
    Violation {
        /// The program.
        program: String,
        /// What it did.
        violation: Violation,
    },
    /// It says that it has failed.
    #[error("{program} says: {} ({})", failure.message, failure.code)]
    Failed {
        /// The program.
        program: String,
        /// What it says.
        failure: Failure,
        /// How it ended after that.
        ended: Ended,
    },
    /// It said no hello.
    #[error("{program} was ended: it said no hello within {}; does it speak the protocol?", show_duration(*limit))]
    NoHello {
        /// The program.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It said that it was done, and did not end.
    #[error("{program} was ended: it said that it was done, and did not exit within {}", show_duration(*grace))]
    NoExit {
        /// The program.
        program: String,
        /// How long it had.
        grace: Duration,
    },
    /// It ended without having said that it was done.
    #[error("{program} {}, without having said that it was done{}", how(*ended), said(stderr))]
    NotDone {
        /// The program.
        program: String,
        /// How it ended.
        ended: Ended,
        /// The last of what it wrote to standard error.
        stderr: String,
    },
    /// It was told to stop.
    #[error("{program} was told to stop: {why}")]
    Stopped {
        /// The program.
        program: String,
        /// Why: the run is cancelled, its time was over.
        why: String,
        /// Whether that was the person's wish.
        cancelled: bool,
        /// Whether it answered and exited with 0, as it should.
        answered: bool,
    },
    /// A part of what it sent could not be stored, or read.
    #[error("{0}")]
    Data(String),
    /// A part of this program of that name.
    #[error("there is no part of this program named {0:?} that could speak for the module")]
    Builtin(String),
    /// A path variable without a value.
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
    /// What surrounds it is at fault: the caller knows more.
    #[error("it was broken off")]
    Aborted,
}

fn how(ended: Ended) -> String {
    match ended {
        Ended::Exit(status) => format!("exited with status {status}"),
        Ended::Signal(number) => format!("was ended by signal {number}"),
        Ended::Silent(limit) => format!("was ended: it said nothing for {}", show_duration(limit)),
        Ended::TimedOut(limit) => format!("was ended: it took longer than {}", show_duration(limit)),
        Ended::Cancelled => "was ended".into(),
    }
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

impl ExternalError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Stopped { cancelled: true, .. } => Kind::Cancelled,
            Self::Failed { failure, .. } => match &failure.code[..] {
                "absent" => Kind::Missing,
                "auth" => Kind::Permission,
                "busy" => Kind::Busy,
                "no-space" => Kind::NoSpace,
                "integrity" => Kind::Integrity,
                "version" | "unsupported" | "conflict" => Kind::Refused,
                "cancelled" => Kind::Cancelled,
                _ => Kind::Io,
            },
            Self::Builtin(_) | Self::Variable(_) => Kind::Refused,
            Self::Aborted => Kind::Internal,
            _ => Kind::Io,
        }
    }
}
