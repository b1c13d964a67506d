//! Why the local index could not be used, and which failures a fresh one heals.

use crate::error::{Corrupt, Kind};
use std::io;
use std::path::Path;

/// Why the local index could not be used. None of these says anything about the repository itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The database is damaged. It is marked, and replaced when it is opened next.
    #[error("the local index in {place} is damaged: {wrong}")]
    Damaged {
        /// Folder of the database.
        place: String,
        /// What was found.
        wrong: String,
    },
    /// The index followed another history of deletions than the storage shows: the repository was
    /// rolled back, or is another copy.
    #[error(
        "the local index has seen generation {index}, the repository shows {stored}: it was rolled back or exchanged"
    )]
    OtherHistory {
        /// Number of the newest generation that the index applied.
        index: u64,
        /// What the storage shows, in words.
        stored: String,
    },
    /// All local pack numbers are used up.
    #[error("the local index in {place} has used up its pack numbers")]
    Exhausted {
        /// Folder of the database.
        place: String,
    },
    /// Generations must be applied one after another, all of them, before segments are compared.
    #[error("generation {given} cannot follow generation {applied} in the local index")]
    GenerationGap {
        /// Number of the newest generation that the index applied; 0 for none.
        applied: u64,
        /// Number that was given.
        given: u64,
    },
    /// A list that must rise strictly did not.
    #[error("the listed segments do not rise at {at}")]
    Unsorted {
        /// The segment that is not above the one before it.
        at: String,
    },
    /// No room is left on the file system of the index.
    #[error("no room is left for the local index in {place}: {wrong}")]
    NoSpace {
        /// Folder of the database.
        place: String,
        /// The system's words.
        wrong: String,
    },
    /// The database failed otherwise.
    #[error("the local index in {place} failed: {wrong}")]
    Database {
        /// Folder of the database.
        place: String,
        /// The database's words.
        wrong: String,
    },
    /// A file or folder beside the database could not be used.
    #[error("cannot {doing} {place}")]
    Files {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or folder.
        place: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl IndexError {
    /// Returns what kind of failure it was.
    pub fn kind(&self) -> Kind {
        match self {
            // Nothing of the repository is damaged: whoever backs up must not be told so.
            Self::Damaged { .. } => Kind::Io,
            Self::OtherHistory { .. } => Kind::Integrity,
            Self::GenerationGap { .. } | Self::Unsorted { .. } => Kind::Refused,
            Self::NoSpace { .. } => Kind::NoSpace,
            Self::Exhausted { .. } | Self::Database { .. } => Kind::Io,
            Self::Files { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Permission,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
                _ => Kind::Io,
            },
        }
    }

    /// Tells whether a fresh index, filled again from the repository, is the way on
    /// ([`Index::rebuild`](super::Index::rebuild)).
    pub fn wants_rebuild(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::OtherHistory { .. } | Self::Exhausted { .. })
    }

    pub(super) fn damaged(place: &Path, wrong: impl Into<String>) -> Self {
        Self::Damaged { place: place.display().to_string(), wrong: wrong.into() }
    }

    pub(super) fn corrupt(place: &Path, corrupt: &Corrupt) -> Self {
        Self::damaged(place, corrupt.to_string())
    }

    pub(super) fn files(doing: &'static str, place: &Path) -> impl FnOnce(io::Error) -> Self {
        let place = place.display().to_string();
        move |source| Self::Files { doing, place, source }
    }

    /// A scratch database's error: whatever it is, it says nothing about the index.
    pub(super) fn scratch(place: &Path, error: &rocksdb::Error) -> Self {
        match Self::database(place, error) {
            Self::Damaged { place, wrong } => Self::Database { place, wrong },
            other => other,
        }
    }

    /// Sorts a database error. RocksDB tells kinds only by the first words of its message, and a full
    /// file system only by the text of `strerror`.
    pub(super) fn database(place: &Path, error: &rocksdb::Error) -> Self {
        let wrong = error.as_ref().to_owned();
        let place = place.display().to_string();
        if wrong.contains("No space left on device") || wrong.contains("quota exceeded") {
            return Self::NoSpace { place, wrong };
        }
        let lost = wrong.contains("No such file") || wrong.contains("Input/output error");
        match error.kind() {
            rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::NotFound => Self::Damaged { place, wrong },
            rocksdb::ErrorKind::IOError if lost => Self::Damaged { place, wrong },
            _ => Self::Database { place, wrong },
        }
    }
}
