//! What can go wrong on the way to a server.

use crate::child::{ChildError, Ended};
use dedup_engine::error::Kind;
use std::io;

/// Why a server cannot be reached, or not be asked to let us in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The password is not where it should be.
    #[error("the password at {reference} cannot be used: {why}")]
    Secret {
        /// The reference; never the secret.
        reference: String,
        /// Why not, and what to do.
        why: String,
        /// Whether it simply is not there.
        is_missing: bool,
    },
    /// No program that handles containers.
    #[error("the container {name} cannot be looked for: there is neither docker nor podman on this machine")]
    NoEngine {
        /// The container.
        name: String,
    },
    /// No such container.
    #[error("there is no running container {name}{said}")]
    NoContainer {
        /// The container, or the service of a stack.
        name: String,
        /// What the engine says, after a colon; empty if nothing.
        said: String,
    },
    /// Several containers for one service.
    #[error("{count} containers run for the compose service {name}; name one of them by `container`")]
    Ambiguous {
        /// The service.
        name: String,
        /// How many.
        count: usize,
    },
    /// No address.
    #[error(
        "the container {name} has no address of its own; name host and port that lead to it, or leave `format = \"records\"` out"
    )]
    NoAddress {
        /// The container.
        name: String,
    },
    /// The system gives no memory that could be confided.
    #[error("the password cannot be handed to {program}: {source}")]
    Confide {
        /// The client.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ChildError),
}

impl EndpointError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Secret { is_missing: true, .. } | Self::NoEngine { .. } | Self::NoContainer { .. } => {
                Kind::Missing
            }
            Self::Secret { .. } | Self::Ambiguous { .. } | Self::NoAddress { .. } => Kind::Refused,
            Self::Program(ChildError::Failed { ended: Ended::Cancelled, .. }) => Kind::Cancelled,
            Self::Confide { .. } | Self::Program(_) => Kind::Io,
        }
    }
}
