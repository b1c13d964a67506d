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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Codec;
    use crate::id::ChunkId;
    use crate::pack::Chunk;

    /// A segment of packs of so many chunks of a byte each.
    fn segment(packs: impl IntoIterator<Item = usize>) -> Segment {
        let pack = |(number, chunks): (usize, usize)| {
            let kind = PackKind::ALL[number % 3];
            let mut header = [number as u8; HEADER_LEN];
            header[7] = kind.code();
            let mut directory = Directory::default();
            let chunk = Chunk { id: ChunkId::from_bytes([number as u8; 32]), len: 1 };
            directory.push(Codec::Zstd, 20, &vec![chunk; chunks]);
            let id = ObjectId::from_bytes([number as u8; 32]);
            SegmentPack { id, kind, header, stored_len: 1000 + number as u64, directory }
        };
        Segment {
            session: SessionId::from_bytes([9; 16]),
            packs: packs.into_iter().enumerate().map(pack).collect(),
        }
    }

    fn refused(segment: &Segment) -> String {
        Segment::decode(&segment.encode()).unwrap_err().to_string()
    }

    #[test]
    fn segments_come_back_up_to_their_limits() {
        for sound in [segment([]), segment([1]), segment([1; MAX_PACKS_PER_SEGMENT])] {
            assert_eq!(Segment::decode(&sound.encode()).unwrap(), sound);
        }
        refused(&segment([1; MAX_PACKS_PER_SEGMENT + 1]));
        let full = segment([65_536; MAX_CHUNKS_PER_SEGMENT / 65_536]);
        assert_eq!(Segment::decode(&full.encode()).unwrap(), full);
        let chunks = full.packs.iter().map(|pack| pack.directory.chunks().len()).chain([1]);
        assert!(refused(&segment(chunks)).contains("more than 262,144 chunks"));
        for (more, is_sound) in [(0, true), (1, false)] {
            let mut long = segment([1]);
            long.packs[0].stored_len = MAX_PACK + more;
            assert_eq!(Segment::decode(&long.encode()).is_ok(), is_sound);
        }
    }

    #[test]
    fn a_claimed_number_of_packs_must_fit_what_is_left() {
        // Each takes at least its name, its header, and a byte for each of two lengths.
        let with = |left: usize| {
            let mut bytes = vec![9; SessionId::LEN];
            bytes.put_varint(2);
            bytes.resize(bytes.len() + left, 0);
            Segment::decode(&bytes).unwrap_err().to_string()
        };
        let least = 2 * (32 + 80 + 2);
        assert!(with(least - 1).contains("do not fit"));
        assert!(!with(least).contains("do not fit"));
        let mut other = segment([1]);
        other.packs[0].header[7] = 1;
        assert!(refused(&other).contains("not a pack's header"));
    }
}
