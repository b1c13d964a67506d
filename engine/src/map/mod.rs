//! Maps: sorted entries as a tree of chunks whose shape depends only on the contents.
//!
//! ```text
//!  level 2                  root
//!  level 1        node ─────────────── node           inner entry: last key below, child id, counts
//!  level 0   leaf  leaf  leaf     leaf  leaf  leaf    leaf entry: key, value
//! ```
//!
//! A Merkle search tree in the manner of Noms and Dolt ("prolly tree"; Auvolat and Taïani, 2019). Where a node ends
//! is decided by its keys alone. So equal maps have equal roots, whatever was edited before;
//! maps that differ in one place differ in one path of nodes; a value never moves a boundary.
//!
//! Invariants, kept by [`Builder`] and checked by whatever reads:
//! - keys rise strictly through the whole map and have at most 65,536 bytes;
//! - a node has at least one entry and at most [`LeafTarget::max_node`] bytes;
//! - a child is one level below its parent, and its last key and counts are what the parent says;
//! - a root above level 0 has at least two entries; no level is above 40.
//!
//! Beside maps it holds what they and listings keep long things in: [`Content`], a stream as a tree of lists of
//! chunks, and [`Blob`], a byte string out of line.
//!
//! This module turns entries into chunks and back. Where chunks are kept is up to [`LoadChunk`] and
//! [`SaveChunk`]. Normative text: `engine/FORMAT.md`, section 9.

mod blob;
mod boundary;
mod builder;
pub(crate) mod content;
mod content_reader;
mod cursor;
mod descent;
mod diff;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod node;
mod remains;
mod store;
#[cfg(test)]
mod tests;

pub use blob::{Blob, BlobReader, BlobWriter, SavedValue, load_value};
pub use boundary::LeafTarget;
pub use builder::Builder;
pub use content::{Content, ContentBuilder, Part};
pub use content_reader::ContentReader;
pub use cursor::{Cursor, Entry};
pub use diff::{Change, Diff};
pub use node::{Child, MapNode, Value};
pub use remains::{Gap, Remain, Remains};
pub use store::{BuildError, Class, LoadChunk, Refused, SaveChunk};

use crate::error::Corrupt;
use crate::format::MAX_MAP_LEVEL;
use crate::id::ChunkId;
use crate::wire::{Put, Reader};

/// Name and totals of a whole map: everything that has to be kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    /// Which chunks it is made of.
    pub class: Class,
    /// The topmost node; `None` for a map without entries.
    pub id: Option<ChunkId>,
    /// Its level.
    pub level: u8,
    /// Entries in the map.
    pub entries: u64,
    /// Bytes of all values.
    pub value_bytes: u64,
}

impl Root {
    /// The root of an open map without entries.
    pub const EMPTY: Self = Self::empty(Class::Open);

    /// Returns the root of a map without entries.
    pub const fn empty(class: Class) -> Self {
        Self { class, id: None, level: 0, entries: 0, value_bytes: 0 }
    }

    /// Appends the root: class u8 ‖ entries varint ‖ for a map with entries: value bytes varint ‖ level u8 ‖ id.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(match self.class {
            Class::Open => 1,
            Class::Secrets => 2,
        });
        let Some(id) = self.id else { return out.put_varint(0) };
        out.put_varint(self.entries);
        out.put_varint(self.value_bytes);
        out.put_u8(self.level);
        out.put(id.as_bytes());
    }

    /// Reads a root.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let class = match reader.u8()? {
            1 => Class::Open,
            2 => Class::Secrets,
            class => return Err(reader.corrupt(format!("unknown class {class} of a map"))),
        };
        let entries = reader.varint()?;
        if entries == 0 {
            return Ok(Self::empty(class));
        }
        let (value_bytes, level) = (reader.varint()?, reader.u8()?);
        if level > MAX_MAP_LEVEL {
            return Err(reader.corrupt(format!("map level {level}, at most {MAX_MAP_LEVEL} is allowed")));
        }
        Ok(Self { class, id: Some(ChunkId::from_bytes(reader.array()?)), level, entries, value_bytes })
    }
}
