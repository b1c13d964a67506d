//! A pack's directory: which chunks lie in which block, and where each block lies in the pack.
//!
//! ```text
//! blocks varint | per block: codec u8, plain length, sealed length, chunks (varints)
//!               | per chunk, block after block: id 32, length varint | extensions
//! ```
//!
//! Places are sums of lengths, so blocks and chunks touch and cannot overlap. Segments hold the same bytes.

use crate::compress::Codec;
use crate::error::Corrupt;
use crate::format::{
    HEADER_LEN, MAX_BLOCK, MAX_BLOCKS_PER_PACK, MAX_CHUNK, MAX_CHUNKS_PER_PACK, MAX_PACK, TAG_LEN,
};
use crate::id::ChunkId;
use crate::wire::{Put, Reader};
use std::ops::Range;

/// One block of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// How its plaintext is coded.
    pub codec: Codec,
    /// Length of its plaintext in bytes: the sum of its chunks' lengths.
    pub plain_len: u32,
    /// Length in the pack in bytes, authentication tag included.
    pub sealed_len: u32,
    /// Number of its chunks.
    pub chunks: u32,
}

/// One chunk of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its name.
    pub id: ChunkId,
    /// Its length in bytes.
    pub len: u32,
}

/// What a pack holds, in the order in which it lies there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    blocks: Vec<Block>,
    chunks: Vec<Chunk>,
}

/// Where a chunk lies within its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the block in the pack.
    pub block: u16,
    /// Offset in the block's plaintext in bytes.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Directory {
    /// Appends a block and its chunks. The caller keeps the limits; [`Directory::decode`] checks them.
    pub fn push(&mut self, codec: Codec, sealed_len: u32, chunks: &[Chunk]) {
        let plain_len = chunks.iter().map(|chunk| chunk.len).sum();
        self.blocks.push(Block { codec, plain_len, sealed_len, chunks: chunks.len() as u32 });
        self.chunks.extend_from_slice(chunks);
    }

    /// Returns the blocks in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Returns the chunks of all blocks in order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Returns the same, to be changed by [`crate::tamper`].
    pub(crate) fn chunks_mut(&mut self) -> &mut [Chunk] {
        &mut self.chunks
    }

    /// Returns every chunk with its place.
    pub fn places(&self) -> impl Iterator<Item = (ChunkId, Place)> + '_ {
        let mut chunks = self.chunks.iter();
        self.blocks.iter().enumerate().flat_map(move |(number, block)| {
            let mut offset = 0;
            let of_block: Vec<_> = chunks.by_ref().take(block.chunks as usize).collect();
            of_block.into_iter().map(move |chunk| {
                let place = Place { block: number as u16, offset, len: chunk.len };
                offset += chunk.len;
                (chunk.id, place)
            })
        })
    }

    /// Returns the chunks of one block.
    pub fn chunks_of(&self, block: usize) -> &[Chunk] {
        let first: usize = self.blocks.iter().take(block).map(|block| block.chunks as usize).sum();
        let count = self.blocks.get(block).map_or(0, |block| block.chunks as usize);
        &self.chunks[first..first + count]
    }

    /// Returns where a block lies in the pack, in bytes.
    pub fn range_of(&self, block: usize) -> Option<Range<u64>> {
        let len = u64::from(self.blocks.get(block)?.sealed_len);
        let before: u64 = self.blocks[..block].iter().map(|block| u64::from(block.sealed_len)).sum();
        let start = HEADER_LEN as u64 + before;
        Some(start..start + len)
    }

    /// Returns where the blocks end and the directory begins, in bytes.
    pub fn blocks_end(&self) -> u64 {
        HEADER_LEN as u64 + self.blocks.iter().map(|block| u64::from(block.sealed_len)).sum::<u64>()
    }

    /// Encodes the directory.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.blocks.len() * 12 + self.chunks.len() * 36);
        out.put_varint(self.blocks.len() as u64);
        for block in &self.blocks {
            out.put_u8(block.codec.code());
            out.put_varint(block.plain_len.into());
            out.put_varint(block.sealed_len.into());
            out.put_varint(block.chunks.into());
        }
        for chunk in &self.chunks {
            out.put(chunk.id.as_bytes());
            out.put_varint(chunk.len.into());
        }
        out.put_no_extensions();
        out
    }

    /// Decodes a directory, checking every sum and limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("pack directory", bytes);
        let count = reader.count(MAX_BLOCKS_PER_PACK, 4, "blocks")?;
        if count == 0 {
            return Err(reader.corrupt("a pack without blocks"));
        }
        let mut blocks = Vec::with_capacity(count);
        let (mut total_chunks, mut total_len) = (0usize, 0u64);
        for _ in 0..count {
            let code = reader.u8()?;
            let codec =
                Codec::from_code(code).ok_or_else(|| reader.corrupt(format!("unknown codec {code}")))?;
            let plain_len = reader.at_most(MAX_BLOCK.into(), "plain length")? as u32;
            let sealed_len = reader.at_most(u64::from(MAX_BLOCK) + TAG_LEN as u64, "sealed length")? as u32;
            let chunks = reader.at_most(MAX_CHUNKS_PER_PACK as u64, "chunks")? as u32;
            total_chunks += chunks as usize;
            total_len += u64::from(sealed_len);
            if chunks == 0 || (sealed_len as usize) < TAG_LEN {
                return Err(reader.corrupt("an empty block"));
            }
            if codec == Codec::Raw && sealed_len as usize != plain_len as usize + TAG_LEN {
                return Err(reader.corrupt("a raw block whose lengths differ"));
            }
            blocks.push(Block { codec, plain_len, sealed_len, chunks });
        }
        if total_chunks > MAX_CHUNKS_PER_PACK || total_len > MAX_PACK {
            return Err(reader.corrupt("more than a pack may hold"));
        }
        if total_chunks.saturating_mul(ChunkId::LEN + 1) > reader.left() {
            return Err(reader.corrupt(format!("{total_chunks} chunks do not fit")));
        }
        let mut chunks = Vec::with_capacity(total_chunks);
        for block in &blocks {
            let mut sum = 0u64;
            for _ in 0..block.chunks {
                let id = ChunkId::from_bytes(reader.array()?);
                let len = reader.at_most(MAX_CHUNK.into(), "chunk length")? as u32;
                if len == 0 {
                    return Err(reader.corrupt("an empty chunk"));
                }
                sum += u64::from(len);
                chunks.push(Chunk { id, len });
            }
            if sum != u64::from(block.plain_len) {
                return Err(
                    reader.corrupt(format!("chunks of {sum} bytes in a block of {}", block.plain_len))
                );
            }
        }
        reader.extensions()?;
        reader.finish()?;
        Ok(Self { blocks, chunks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn directories() -> impl Strategy<Value = Directory> {
        let chunk = (any::<[u8; 32]>(), 1u32..100_000);
        let block = (any::<bool>(), 16u32..70_000, proptest::collection::vec(chunk, 1..20));
        proptest::collection::vec(block, 1..10).prop_map(|blocks| {
            let mut directory = Directory::default();
            for (raw, sealed_len, chunks) in blocks {
                let chunks: Vec<_> =
                    chunks.into_iter().map(|(id, len)| Chunk { id: ChunkId::from_bytes(id), len }).collect();
                let plain_len: u32 = chunks.iter().map(|chunk| chunk.len).sum();
                if raw {
                    directory.push(Codec::Raw, plain_len + TAG_LEN as u32, &chunks);
                } else {
                    directory.push(Codec::Zstd, sealed_len, &chunks);
                }
            }
            directory
        })
    }

    /// A directory of blocks (codec, plain and sealed length, count of chunks), then lengths of chunks.
    fn encoded(blocks: &[(u8, u64, u64, u64)], chunks: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(blocks.len() as u64);
        for (codec, plain_len, sealed_len, chunks) in blocks {
            out.put_u8(*codec);
            [plain_len, sealed_len, chunks].into_iter().for_each(|number| out.put_varint(*number));
        }
        for len in chunks {
            out.put(&[7; 32]);
            out.put_varint(len);
        }
        out.put_no_extensions();
        out
    }

    /// Says why a directory is refused.
    fn refused(bytes: &[u8]) -> String {
        Directory::decode(bytes).unwrap_err().to_string()
    }

    #[test]
    fn each_limit_holds_exactly() {
        let (tag, block, chunk) = (TAG_LEN as u64, u64::from(MAX_BLOCK), u64::from(MAX_CHUNK));
        assert!(refused(&encoded(&[], [])).contains("without blocks"));
        // Raw blocks have the length of what they hold, and a tag.
        Directory::decode(&encoded(&[(0, 5, 5 + tag, 1)], [5])).unwrap();
        for wrong in [4 + tag, 6 + tag, 5 * tag] {
            assert!(refused(&encoded(&[(0, 5, wrong, 1)], [5])).contains("lengths differ"));
        }
        // Others at least a tag, at most the longest block and a tag.
        for sealed in [tag, block + tag] {
            Directory::decode(&encoded(&[(1, 5, sealed, 1)], [5])).unwrap();
        }
        assert!(refused(&encoded(&[(1, 5, tag - 1, 1)], [5])).contains("an empty block"));
        assert!(refused(&encoded(&[(1, 5, tag, 0)], [])).contains("an empty block"));
        refused(&encoded(&[(1, 5, block + tag + 1, 1)], [5]));
        // What a block holds is the sum of its chunks; none is empty or too long.
        Directory::decode(&encoded(&[(1, chunk + 5, 99, 2)], [chunk, 5])).unwrap();
        assert!(refused(&encoded(&[(1, 5, 99, 2)], [5, 0])).contains("an empty chunk"));
        assert!(refused(&encoded(&[(1, 12, 99, 2)], [5, 6])).contains("chunks of 11 bytes in a block of 12"));
        refused(&encoded(&[(1, chunk + 1, 99, 1)], [chunk + 1]));
    }

    #[test]
    fn a_pack_holds_no_more_than_it_may() {
        let longest = u64::from(MAX_BLOCK) + TAG_LEN as u64;
        let count = MAX_PACK / longest;
        for (more, is_sound) in [(0, true), (1, false)] {
            let mut blocks = vec![(1, 1, longest, 1); count as usize];
            blocks.push((1, 1, MAX_PACK - count * longest + more, 1));
            let decoded = Directory::decode(&encoded(&blocks, vec![1; blocks.len()]));
            assert_eq!(decoded.is_ok(), is_sound, "{more} bytes more: {decoded:?}");

            let most = MAX_CHUNKS_PER_PACK as u64;
            let blocks = [(1, most - 1, 99, most - 1), (1, 1 + more, 99, 1 + more)];
            let bytes = encoded(&blocks, vec![1; (most + more) as usize]);
            assert_eq!(Directory::decode(&bytes).is_ok(), is_sound, "{more} chunks more");
            assert!(is_sound || refused(&bytes).contains("more than a pack may hold"));
        }
        // Before anything is allocated for them.
        let cut = encoded(&[(1, 3, 99, 3)], [1, 1, 1]);
        assert!(refused(&cut[..cut.len() - 2]).contains("3 chunks do not fit"));
        assert!(!refused(&cut[..cut.len() - 1]).contains("do not fit"));
    }

    proptest! {
        #[test]
        fn round_trips(directory in directories()) {
            prop_assert_eq!(Directory::decode(&directory.encode()).unwrap(), directory);
        }

        #[test]
        fn what_is_accepted_has_one_encoding(directory in directories(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = directory.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = Directory::decode(&bytes) {
                prop_assert_eq!(other.encode(), bytes);
            }
        }

        #[test]
        fn places_tile_every_block(directory in directories()) {
            let mut expected = (0u16, 0u32);
            for (id, place) in directory.places() {
                if place.block != expected.0 {
                    prop_assert_eq!(expected.1, directory.blocks()[usize::from(expected.0)].plain_len);
                    expected = (expected.0 + 1, 0);
                }
                prop_assert_eq!((place.block, place.offset), expected);
                prop_assert!(directory.chunks_of(place.block.into()).iter().any(|chunk| chunk.id == id));
                expected.1 += place.len;
            }
            let last = directory.blocks().len() - 1;
            prop_assert_eq!(directory.range_of(last).unwrap().end, directory.blocks_end());
        }
    }
}
