//! Tests of the index as a whole: beside a model, after crashes, on damaged folders, beside an owner, at scale.

mod cache;
mod crash;
mod damage;
mod failures;
mod limits;
mod model;
mod scale;
mod secondary;
mod settings;
mod spill;

use super::*;
use crate::compress::Codec;
use crate::format::HEADER_LEN;
use crate::pack::{Chunk, Directory, PackKind};

fn settings() -> Settings {
    Settings { repository: RepoId::from_bytes([7; 16]), memory_bytes: 8 << 20, file_cache_bytes: 1 << 20 }
}

fn chunk_id(number: u64) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn object_id(number: u64) -> ObjectId {
    ObjectId::from_bytes(*blake3::hash(&[&b"object"[..], &number.to_le_bytes()].concat()).as_bytes())
}

/// A pack whose id, lengths and chunks follow from numbers. Blocks of at most 25 chunks.
fn pack(id: u64, chunks: impl IntoIterator<Item = u64>) -> SegmentPack {
    let chunks: Vec<_> = chunks
        .into_iter()
        .map(|number| Chunk { id: chunk_id(number), len: 1 + number as u32 % 1000 })
        .collect();
    let mut directory = Directory::default();
    for block in chunks.chunks(25) {
        directory.push(Codec::Zstd, 1000 + block.len() as u32, block);
    }
    let kind = PackKind::ALL[id as usize % 3];
    let mut header = [id as u8; HEADER_LEN];
    header[7] = kind.code();
    SegmentPack { id: object_id(id), kind, header, stored_len: 20_000 + id, directory }
}

/// Asserts that a location is that of `chunk` in a pack, as the pack itself says.
fn assert_lies_there(index: &Index, pack: &SegmentPack, chunk: u64, location: Location) {
    let place = location.place;
    let expected = pack.directory.places().find(|(id, _)| *id == chunk_id(chunk)).expect("in the pack");
    assert_eq!(expected.1, place);
    let info = index.pack(location.pack).unwrap().expect("alive");
    assert_eq!((info.id, info.kind, info.stored_len), (pack.id, pack.kind, pack.stored_len));
    let block = &info.blocks[usize::from(place.block)];
    assert_eq!(Some(block.range.clone()), pack.directory.range_of(place.block.into()));
    assert!(place.offset + place.len <= block.plain_len);
}
