//! Segments: durable packs and what they hold, as stored objects. Normative: `FORMAT.md` 8.

use crate::error::Corrupt;
use crate::format::{
    HEADER_LEN, MAX_CHUNKS_PER_SEGMENT, MAX_PACK, MAX_PACK_DIRECTORY, MAX_PACKS_PER_SEGMENT,
};
use crate::id::{ObjectId, SessionId};
use crate::pack::{Directory, PackKind};
use crate::wire::{Put, Reader};

/// One pack as a segment tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPack {
    /// Its name.
    pub id: ObjectId,
    /// What it holds.
    pub kind: PackKind,
    /// Its first 80 bytes, so that one block is one range to read.
    pub header: [u8; HEADER_LEN],
    /// Its length in bytes.
    pub stored_len: u64,
    /// What lies where in it.
    pub directory: Directory,
}

/// A piece of the index: durable packs and what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Session that wrote it.
    pub session: SessionId,
    /// Its packs.
    pub packs: Vec<SegmentPack>,
}

impl Segment {
    /// Encodes the body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(self.session.as_bytes());
        out.put_varint(self.packs.len() as u64);
        for pack in &self.packs {
            out.put(pack.id.as_bytes());
            out.put(&pack.header);
            out.put_varint(pack.stored_len);
            out.put_bytes(&pack.directory.encode());
        }
        out.put_no_extensions();
        out
    }

    /// Decodes the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("segment", bytes);
        let session = SessionId::from_bytes(reader.array()?);
        let count = reader.count(MAX_PACKS_PER_SEGMENT, ObjectId::LEN + HEADER_LEN + 2, "packs")?;
        let (mut packs, mut chunks) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let id = ObjectId::from_bytes(reader.array()?);
            let header: [u8; HEADER_LEN] = reader.array()?;
            let kind = PackKind::of_header(&header).ok_or_else(|| reader.corrupt("not a pack's header"))?;
            let pack = SegmentPack {
                id,
                kind,
                header,
                stored_len: reader.at_most(MAX_PACK, "pack length")?,
                directory: Directory::decode(reader.bytes(MAX_PACK_DIRECTORY as usize, "directory")?)?,
            };
            chunks += pack.directory.chunks().len();
            if chunks > MAX_CHUNKS_PER_SEGMENT {
                return Err(reader.corrupt("more than 262,144 chunks"));
            }
            packs.push(pack);
        }
        reader.extensions()?;
        reader.finish()?;
        Ok(Self { session, packs })
    }
}
