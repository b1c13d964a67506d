//! Why a backup of another product cannot be taken.

use dedup_engine::backup::BackupError;
use dedup_engine::error::Kind;
use std::io;

/// Why a foreign backup cannot be read or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// The file, or the scratch beside it, cannot be read or written.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was to be done.
        doing: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{what}: {wrong}")]
    Malformed {
        /// What was read: an archive, a file in it, a manifest.
        what: String,
        /// What is wrong with it, and where.
        wrong: String,
    },
    /// It asks for more than is given to any archive.
    #[error("the archive has more than {limit}")]
    TooMuch {
        /// The bound.
        limit: String,
    },
    /// Unpacking would fill the disk.
    #[error("there is no room to unpack the archive: less than {} MiB would be left in the scratch directory", left_bytes >> 20)]
    NoRoom {
        /// Bytes that stay free.
        left_bytes: u64,
    },
    /// It is not of the product that was named.
    #[error("this is no backup of {product}: {why}")]
    NotOf {
        /// The product.
        product: &'static str,
        /// What it lacks.
        why: String,
    },
    /// What was asked for is not in it.
    #[error("module {module} is not in the archive; it has {there}")]
    NoModule {
        /// The module.
        module: String,
        /// What there is.
        there: String,
    },
    /// The temporary database.
    #[error("the temporary database cannot {doing}: {source}")]
    Database {
        /// What was to be done.
        doing: String,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The repository.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl ForeignError {
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }

    pub(super) fn malformed(what: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), wrong: wrong.into() }
    }

    pub(super) fn database(doing: impl Into<String>) -> impl FnOnce(rusqlite::Error) -> Self {
        let doing = doing.into();
        |source| Self::Database { doing, source }
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } | Self::NoRoom { .. } | Self::Database { .. } => Kind::Io,
            Self::Malformed { .. } | Self::TooMuch { .. } | Self::NotOf { .. } | Self::NoModule { .. } => {
                Kind::Refused
            }
            Self::Backup(error) => error.kind(),
            Self::Cancelled => Kind::Cancelled,
        }
    }
}
