//! The two traits through which maps and content lists read and write chunks, and why a build fails.
//!
//! Implementations decide the kind of chunk (listing or secrets), where it goes and how it is named.

use crate::crypto::keyring::ChunkKind;
use crate::error::{Corrupt, Kind};
use crate::id::ChunkId;
use crate::planted::{Bug, planted};

/// Where chunks are read from.
pub trait LoadChunk {
    /// Why a chunk could not be read; damage found in its plaintext by the caller becomes one too.
    type Error: From<Corrupt>;

    /// Returns the whole plaintext of the chunk, which was hashed again and has this name.
    ///
    /// A chunk longer than `max_len` bytes is an error, found before it is allocated.
    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, Self::Error>;

    /// Says that these chunks will probably be loaded soon, in this order. A hint: nothing may fail.
    fn prefetch(&self, _ids: &[ChunkId]) {}
}

/// Which chunks a map is made of, and so who can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nodes are listing chunks.
    Open,
    /// Nodes and whatever they name are secrets chunks.
    Secrets,
}

impl Class {
    /// Returns the kind of the chunks that are nodes, lists, attribute sets and pieces of blobs.
    pub fn nodes(self) -> ChunkKind {
        match self {
            Self::Open => ChunkKind::Listing,
            Self::Secrets if planted(Bug::SecretsInClear) => ChunkKind::Listing,
            Self::Secrets => ChunkKind::Secrets,
        }
    }

    /// Returns the kind of the chunks that files consist of.
    pub fn contents(self) -> ChunkKind {
        match self {
            Self::Open => ChunkKind::Data,
            Self::Secrets => ChunkKind::Secrets,
        }
    }
}

/// Where chunks are written to.
pub trait SaveChunk {
    /// Why a chunk could not be written.
    type Error;

    /// Returns the class that maps made of its chunks have.
    fn class(&self) -> Class {
        Class::Open
    }

    /// Stores the chunk, unless it is there already, and returns its name.
    ///
    /// It need not be durable on return; the caller's own barrier (the end of a session) sees to that.
    fn save(&self, plain: &[u8]) -> Result<ChunkId, Self::Error>;
}

impl<T: LoadChunk + ?Sized> LoadChunk for &T {
    type Error = T::Error;

    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, Self::Error> {
        (**self).load(id, max_len)
    }

    fn prefetch(&self, ids: &[ChunkId]) {
        (**self).prefetch(ids);
    }
}

impl<T: SaveChunk + ?Sized> SaveChunk for &T {
    type Error = T::Error;

    fn class(&self) -> Class {
        (**self).class()
    }

    fn save(&self, plain: &[u8]) -> Result<ChunkId, Self::Error> {
        (**self).save(plain)
    }
}

/// Why something cannot stand in a map or a content list. The structure is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Keys must rise strictly.
    #[error("map key {key:?} does not come after the one before it; keys must be sorted and unique")]
    Order {
        /// The key, escaped and cut to 200 bytes.
        key: String,
    },
    /// Keys have at most [`MAX_KEY`](crate::format::MAX_KEY) bytes.
    #[error("a map key of {len} bytes exceeds the 65536 that a key may have")]
    KeyLength {
        /// Its length in bytes.
        len: usize,
    },
    /// Values have at most [`MAX_VALUE`](crate::format::MAX_VALUE) bytes.
    #[error("a map value of {len} bytes exceeds the 16 GiB that a value may have; store it as a stream")]
    ValueLength {
        /// Its length in bytes.
        len: u64,
    },
    /// A value of at most 1,024 bytes stands in its leaf; of more, its length decides its level.
    #[error("a map value of {len} bytes was given as a blob of level {level}, which it cannot be")]
    Blob {
        /// Its length in bytes.
        len: u64,
        /// Its level.
        level: u8,
    },
    /// A data chunk has 1 byte to 8 MiB.
    #[error("a data chunk of {len} bytes cannot be listed; chunks have 1 byte to 8 MiB")]
    ChunkLength {
        /// Its length in bytes.
        len: u64,
    },
    /// More levels, entries or bytes than the format has room for.
    #[error("too much for one {what}; split it")]
    TooLarge {
        /// `map` or `content list`.
        what: &'static str,
    },
    /// An earlier chunk could not be saved; what was built is incomplete.
    #[error("an earlier chunk could not be saved; start again")]
    AfterFailure,
}

/// Why a map or a content list could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError<E> {
    /// The request is against the format. Nothing has changed; building may go on without it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A chunk could not be saved. Building cannot go on.
    #[error("cannot save a chunk of a map or a content list")]
    Save(#[source] E),
}

impl<E> BuildError<E> {
    /// Returns what kind of failure it was; `of` answers for the errors of the [`SaveChunk`].
    pub fn kind(&self, of: impl FnOnce(&E) -> Kind) -> Kind {
        match self {
            Self::Refused(Refused::Order { .. } | Refused::Blob { .. } | Refused::AfterFailure) => {
                Kind::Internal
            }
            Self::Refused(_) => Kind::Refused,
            Self::Save(error) => of(error),
        }
    }
}
