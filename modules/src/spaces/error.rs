//! What can go wrong with spaces.

use dedup_engine::error::{Corrupt, Kind};
use std::io;
use std::path::PathBuf;

/// Why a space did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// No id.
    #[error(
        "{0:?} is no id of a space: 1 to 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit"
    )]
    BadId(String),
    /// No name of an object.
    #[error("{0:?} is no name of an object: 1 to 16,384 bytes without control characters")]
    BadName(String),
    /// No kind of a value.
    #[error(
        "{0:?} is no kind of plain data: a word such as text, json or text/csv; programs and serialised objects are not kept"
    )]
    BadKind(String),
    /// A path that cannot be put or restored.
    #[error("{}: {wrong}", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        wrong: String,
    },
    /// There is no such space.
    #[error("there is no space {0}; `dedup space list` shows those there are")]
    NoSpace(String),
    /// There is no such object.
    #[error("nothing is named {name:?} in space {space}")]
    NoName {
        /// The space.
        space: String,
        /// The name.
        name: String,
    },
    /// Nothing came from there.
    #[error("nothing in space {space} came from {}", path.display())]
    NoOrigin {
        /// The space.
        space: String,
        /// The path.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("something is named {name:?} in space {space} already; delete it first, or give another name")]
    NameTaken {
        /// The space.
        space: String,
        /// The name.
        name: String,
    },
    /// The path is there.
    #[error("{} is in space {space} already", path.display())]
    PathTaken {
        /// The space.
        space: String,
        /// The path.
        path: PathBuf,
    },
    /// A value was asked for, and it is a path.
    #[error("{0:?} is a file or directory, no value; restore it instead")]
    IsPath(String),
    /// A path was asked for, and it is a value.
    #[error("{0:?} is a value, and has no place to be restored to")]
    IsValue(String),
    /// Neither name nor path.
    #[error("name or path must be given")]
    NothingAsked,
    /// A value that does not fit into memory.
    #[error("{0:?} has more than {most} bytes; read it as a stream", most = super::MAX_VALUE)]
    TooLarge(String),
    /// More objects than an index holds.
    #[error("space {0} has as many objects as one may have")]
    Full(String),
    /// Something to be put is not there.
    #[error("{} is not there", .0.display())]
    Absent(PathBuf),
    /// Something below what is put could not be read; a space holds things as a whole.
    #[error("{} could not be put into the space: {wrong}", path.display())]
    Unreadable {
        /// The entry.
        path: PathBuf,
        /// Why.
        wrong: String,
    },
    /// Something could not be put back; what was there is there, or the text says where it is.
    #[error("{} could not be restored, so what was there stays: {wrong}", path.display())]
    NotRestored {
        /// The path.
        path: PathBuf,
        /// Why.
        wrong: String,
    },
    /// Stored bytes are not what was stored.
    #[error("the store of spaces is damaged: {0}")]
    Damaged(#[from] Corrupt),
    /// The system says no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, before the path.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl SpaceError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSpace(_) | Self::NoName { .. } | Self::NoOrigin { .. } | Self::Absent(_) => Kind::Missing,
            Self::NameTaken { .. } | Self::PathTaken { .. } => Kind::Exists,
            Self::Damaged(_) => Kind::Integrity,
            Self::Unreadable { .. } | Self::NotRestored { .. } => Kind::Io,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Kind::Permission,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
                _ => Kind::Io,
            },
            _ => Kind::Refused,
        }
    }
}
