//! Packs: many sealed blocks in one stored object, which describes itself. Normative: `FORMAT.md` 6 and 7.
//!
//! ```text
//! header 80 | sealed block 0 | … | sealed directory | sealed directory length 20 | magic 8
//! ```
//!
//! - [`directory`](Directory): which chunk lies in which block, where.
//! - [`builder`]: coded blocks gathered until a pack is full; then everything is sealed at once.
//! - [`reader`]: opens directory and blocks, and re-hashes every chunk.
//!
//! This floor turns bytes into bytes. Where packs are kept is `storage`'s business.

pub mod builder;
mod directory;
pub mod reader;

pub use directory::{Block, Chunk, Directory, Place};

use crate::crypto::header::ObjectKind;
use crate::crypto::keyring::ChunkKind;
use crate::format::HEADER_LEN;

/// What a pack holds: kinds never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackKind {
    /// File contents and dumps.
    Data,
    /// Map nodes, lists and attribute sets.
    Listing,
    /// Everything of secret sections.
    Secrets,
}

impl PackKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Data, Self::Listing, Self::Secrets];

    /// Returns the kind of object that such a pack is.
    pub fn object(self) -> ObjectKind {
        match self {
            Self::Data => ObjectKind::DataPack,
            Self::Listing => ObjectKind::ListingPack,
            Self::Secrets => ObjectKind::SecretsPack,
        }
    }

    /// Returns the stored code.
    pub fn code(self) -> u8 {
        self.object().code()
    }

    /// Reads the kind from a pack's header.
    pub fn of_header(header: &[u8; HEADER_LEN]) -> Option<Self> {
        Self::from_code(header[7])
    }

    /// Reads a stored code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl PackKind {
    /// Returns the kind of the chunks in it.
    pub fn chunks(self) -> ChunkKind {
        match self {
            Self::Data => ChunkKind::Data,
            Self::Listing => ChunkKind::Listing,
            Self::Secrets => ChunkKind::Secrets,
        }
    }
}

impl From<ChunkKind> for PackKind {
    fn from(kind: ChunkKind) -> Self {
        match kind {
            ChunkKind::Data => Self::Data,
            ChunkKind::Listing => Self::Listing,
            ChunkKind::Secrets => Self::Secrets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds of packs, of objects and of chunks belong together one to one; the codes are those of `FORMAT.md` 3.
    #[test]
    fn each_kind_has_its_object_its_code_and_its_chunks() {
        let kinds = [
            (PackKind::Data, ObjectKind::DataPack, 3, ChunkKind::Data),
            (PackKind::Listing, ObjectKind::ListingPack, 4, ChunkKind::Listing),
            (PackKind::Secrets, ObjectKind::SecretsPack, 5, ChunkKind::Secrets),
        ];
        for (kind, object, code, chunks) in kinds {
            assert_eq!((kind.object(), kind.code(), kind.chunks()), (object, code, chunks));
            assert_eq!((PackKind::from(chunks), PackKind::from_code(code)), (kind, Some(kind)));
            let mut header = [0xAA; HEADER_LEN];
            header[7] = code;
            assert_eq!(PackKind::of_header(&header), Some(kind));
        }
        assert_eq!(PackKind::ALL.map(PackKind::code), [3, 4, 5]);
        for code in (0..3).chain(6..=u8::MAX) {
            assert_eq!(PackKind::from_code(code), None);
        }
    }
}
