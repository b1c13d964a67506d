//! Why a repository could not be used.

use crate::crypto::CryptoError;
use crate::error::{Corrupt, Kind};
use crate::id::ChunkId;
use crate::index::IndexError;
use crate::log::LogError;
use crate::storage::StorageError;

/// Why a repository could not be used: what, where, and (by [`RepoError::hint`]) what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// There is none at that place.
    #[error("no repository at {place}")]
    Absent {
        /// The place.
        place: String,
    },
    /// There is one already.
    #[error("there is a repository at {place} already")]
    Exists {
        /// The place.
        place: String,
    },
    /// No slot opens.
    #[error("no slot of the repository at {place} opens with this {what}")]
    WrongKey {
        /// The place.
        place: String,
        /// `passphrase` or `key file`.
        what: &'static str,
    },
    /// Every slot that would fit asks for more memory than is allowed.
    #[error("opening needs {need_bytes} bytes of memory for the passphrase, {allowed_bytes} are allowed")]
    TooLittleMemory {
        /// What the key derivation needs.
        need_bytes: u64,
        /// What the caller allows.
        allowed_bytes: u64,
    },
    /// A stored object is not what it must be.
    #[error("{object}: {source}")]
    Object {
        /// Its name.
        object: String,
        /// What is wrong with it.
        source: CryptoError,
    },
    /// The storage does not show what it once held.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The storage said no.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The local index said no.
    #[error("the local index cannot be used: {0}")]
    Index(#[from] IndexError),
    /// A key or seal of our own could not be made.
    #[error(transparent)]
    Crypto(CryptoError),
    /// What is asked for is secret, and the key in use was made without the root of secrets.
    #[error("this key does not open secrets")]
    NoSecrets,
    /// What is asked for needs to be read, and the key in use was made to write only.
    #[error("this key can only write: it opens neither snapshots nor data")]
    WriteOnly,
    /// It is of an earlier key epoch than the newest, which does not name it: who was left out may have written it.
    #[error("{object} is of key epoch {epoch} and came after a newer one began: it does not count")]
    Void {
        /// Its name.
        object: String,
        /// Its epoch.
        epoch: u32,
    },
    /// The key in use was not taken along when a key epoch began.
    #[error(
        "this key was left out when key epoch {epoch} began: it opens what was stored before that, and stores nothing"
    )]
    LeftOut {
        /// The epoch.
        epoch: u32,
    },
    /// Something refers to a chunk that no pack is known to hold.
    #[error("chunk {id} is in no pack that the index knows")]
    MissingChunk {
        /// The chunk.
        id: ChunkId,
    },
    /// Decoded data does not fit together; the object is named where it is known.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The request is refused.
    #[error("{0}")]
    Refused(String),
    /// A prune has fenced this run; the run begins a new session by itself and only tells this if it
    /// cannot.
    #[error("a prune has ended this run's session")]
    Fenced,
    /// The person asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// What was stored before in the same run has failed meanwhile; the run ends with that error.
    #[error("storing has stopped: {why}")]
    Stopped {
        /// What kind of failure it was.
        kind: Kind,
        /// What failed.
        why: String,
    },
    /// A thread ended without a word, or another invariant broke.
    #[error("internal fault: {0}")]
    Internal(String),
}

impl RepoError {
    /// Returns whether it says that stored objects are damaged or gone: the local index is none of them.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Index(_))
            && matches!(self.kind(), Kind::Integrity | Kind::TooNew | Kind::Missing)
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Absent { .. } => Kind::NoRepository,
            Self::Exists { .. } => Kind::Exists,
            Self::WrongKey { .. } => Kind::WrongKey,
            Self::TooLittleMemory { .. }
            | Self::Refused(_)
            | Self::NoSecrets
            | Self::WriteOnly
            | Self::LeftOut { .. } => Kind::Refused,
            Self::Object { source, .. } => source.kind(),
            // An object that something refers to and that is not there is damage of the repository.
            Self::Storage(error) if error.is_missing() => Kind::Integrity,
            Self::Storage(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Crypto(error) => error.kind(),
            Self::MissingChunk { .. } | Self::Corrupt(_) | Self::Log(_) | Self::Void { .. } => {
                Kind::Integrity
            }
            Self::Fenced => Kind::Busy,
            Self::Cancelled => Kind::Cancelled,
            Self::Stopped { kind, .. } => *kind,
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// Returns what the person at the keyboard can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Absent { place } => Some(format!("check the place, or run `dedup init {place}`")),
            Self::Exists { .. } => Some("use it as it is, or choose another place".into()),
            Self::WrongKey { .. } => {
                Some("check the passphrase and the keyboard layout; `dedup key list` with another key shows the slots".into())
            }
            Self::TooLittleMemory { .. } => {
                Some("raise --max-memory, or use a key file (`dedup key add --new-key-file FILE`)".into())
            }
            Self::NoSecrets => {
                Some("use a key that was added without --no-secrets: `dedup key list` shows which are".into())
            }
            Self::WriteOnly => {
                Some("use a key that was added without --write-only, on a machine that may read the backups: `dedup key list` shows which are".into())
            }
            Self::LeftOut { .. } => {
                Some("use another key, or have this one added again with a key that was taken along: `dedup key add`".into())
            }
            Self::Index(error) if error.wants_rebuild() => {
                Some("run it again: the local index is made anew from the repository, which is not hit".into())
            }
            Self::Log(_) => Some(
                "ask who runs the storage, and look from another machine: `dedup witness`. If you put back a copy of the \
                 repository yourself, `dedup witness accept` says what is given up and goes on"
                    .into(),
            ),
            _ => match self.kind() {
                Kind::Integrity => Some("run `dedup check --read-data` to see what is hit".into()),
                Kind::TooNew => Some("install a newer dedup".into()),
                Kind::NoSpace => Some("free some room and run it again; nothing that was stored is lost".into()),
                Kind::Permission => Some("check who owns the repository".into()),
                _ => None,
            },
        }
    }

    /// Says which object an error of the crypto floor is about.
    pub(crate) fn of(object: impl ToString) -> impl FnOnce(CryptoError) -> Self {
        move |source| Self::Object { object: object.to_string(), source }
    }
}

impl From<CryptoError> for RepoError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Corrupt(corrupt) => Self::Corrupt(corrupt),
            other => Self::Crypto(other),
        }
    }
}
