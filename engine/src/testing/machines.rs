//! What the parts do to data, held against the plainest way to do the same: any input, cut, compressed, packed,
//! mapped, joined.

use super::draw::Draw;
use crate::chunker::{ChunkSizes, Chunker};
use crate::compress::{Codec, Compressor, Decompressor, Level, Stream};
use crate::crypto::keyring::{ChunkKind, Keyring};
use crate::crypto::roots::Bundle;
use crate::id::{ChunkId, RepoId, SessionId};
use crate::index::joined;
use crate::map::memory::MemoryChunks;
use crate::map::{
    Builder, Change, Content, ContentBuilder, ContentReader, Cursor, Diff, LeafTarget, Root, Value,
    load_value,
};
use crate::pack::builder::{CodedBlock, PackBuilder};
use crate::pack::reader::{BlockReader, PackKey};
use crate::pack::{Chunk, PackKind, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Hands out at most as many bytes per read as it was told, from 1.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.0.len().min(self.1.max(1)).min(buffer.len());
        let (taken, rest) = self.0.split_at(len);
        buffer[..len].copy_from_slice(taken);
        self.0 = rest;
        Ok(len)
    }
}

/// The chunks of a stream are the stream, and depend on nothing but it.
pub(super) fn does_chunker(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let (step, skipped) = (1 + usize::from(draw.byte()) * 17, usize::from(draw.byte()));
    let repeats = 1 + usize::from(draw.byte() % 32);
    let stream = draw.0.repeat(repeats);
    let gear = (0..256u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n << 40)).collect();
    let chunker = Chunker::new(ChunkSizes::around(256), Zeroizing::new(gear));
    let sizes = *chunker.sizes();
    let cut = |bytes: &[u8], step| {
        let (mut chunks, mut joined) = (Vec::new(), Vec::new());
        let total = chunker.chunks::<io::Error>(&mut Dribble(bytes, step), &mut Vec::new(), |chunk| {
            chunks.push(chunk.len());
            joined.extend_from_slice(chunk);
            Ok(())
        });
        assert!(total.is_ok_and(|total| total == bytes.len() as u64) && joined == bytes, "a stream changed");
        chunks
    };
    let whole = cut(&stream, usize::MAX);
    assert_eq!(cut(&stream, step), whole, "cuts follow the reads");
    for (number, len) in whole.iter().enumerate() {
        assert!(*len >= 1 && *len <= sizes.max as usize);
        assert!(number + 1 == whole.len() || *len >= sizes.min as usize);
    }
    // After any of its own cuts the rest is cut as the whole was.
    let first: usize = whole.iter().take(skipped % (whole.len() + 1)).sum();
    assert!(whole.ends_with(&cut(&stream[first..], usize::MAX)));
}

/// What is compressed comes back, at its own length and at no other; nothing gets longer.
pub(super) fn does_compress(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let level = match draw.byte() % 6 {
        0 => Level::Off,
        level => Level::Zstd(i32::from(level)),
    };
    let repeats = 1 + usize::from(draw.byte()) * usize::from(draw.flag());
    let plain = draw.0.repeat(repeats);
    let plain = &plain[..plain.len().min(1 << 20)];
    let Ok(mut compressor) = Compressor::new(level) else { return };
    let (codec, coded) = compressor.code(plain, &Stream::default()).expect("memory");
    assert!(coded.len() <= plain.len() && (codec == Codec::Zstd || coded == plain));
    let mut back = Vec::new();
    let mut decode = |len| {
        let decoded = Decompressor::new().map(|mut zstd| zstd.decode(codec, coded, len, &mut back));
        decoded.is_ok_and(|decoded| decoded.is_ok()) && back == plain
    };
    assert!(decode(plain.len()), "it does not come back");
    assert!(!decode(plain.len() + 1) && (plain.is_empty() || !decode(plain.len() - 1)), "of another length");
}

/// A pack holds what was put in; whatever byte of it changes, nothing else comes out for what was put in.
pub(super) fn does_pack(bytes: &[u8]) {
    static KEYS: OnceLock<Option<Keyring>> = OnceLock::new();
    let make = || Keyring::new(RepoId::from_bytes([5; 16]), Bundle::generate().ok()?).ok();
    let Some(keyring) = KEYS.get_or_init(make) else { return };
    let (Ok(namer), Ok(mut compressor)) = (keyring.namer(), Compressor::new(Level::Zstd(1))) else { return };
    let mut draw = Draw(bytes);
    let (at, mask) = (draw.number(), 1 << (draw.byte() % 8));
    let mut builder = PackBuilder::new(PackKind::Data, 1 << 20);
    let mut put = Vec::new();
    while (put.is_empty() || !draw.is_over()) && put.len() < 64 {
        let (mut plain, mut chunks) = (Vec::new(), Vec::new());
        for _ in 0..1 + draw.byte() % 4 {
            let repeats = 1 + usize::from(draw.byte() % 9);
            let chunk = [&draw.bytes(400)[..], &[1]].concat().repeat(repeats);
            let id = namer.name(ChunkKind::Data, &chunk);
            chunks.push(Chunk { id, len: chunk.len() as u32 });
            plain.extend_from_slice(&chunk);
            put.push((id, chunk));
        }
        builder.push(CodedBlock::code(plain, chunks, &mut compressor, &Stream::default()).expect("memory"));
    }
    let pack = builder.finish(keyring, &namer, SessionId::from_bytes([6; 16])).expect("what was just named");
    let read = |bytes: &[u8]| -> Option<Vec<(ChunkId, Vec<u8>)>> {
        let key = PackKey::open(keyring, bytes, PackKind::Data).ok()?;
        let directory = key.directory_of(bytes).ok()?;
        let (mut reader, mut all) = (BlockReader::new().ok()?, Vec::new());
        for (number, block) in directory.blocks().iter().enumerate() {
            let range = directory.range_of(number)?;
            let sealed = bytes.get(range.start as usize..range.end as usize)?;
            let plain = reader.open(&key, number as u32, block.codec, block.plain_len, sealed).ok()?;
            let mut at = 0;
            for chunk in directory.chunks_of(number) {
                all.push((chunk.id, plain[at..at + chunk.len as usize].to_vec()));
                at += chunk.len as usize;
            }
        }
        Some(all)
    };
    assert!(read(&pack.bytes).is_some_and(|read| read == put), "not what was put in");
    let mut changed = pack.bytes.clone();
    let at = (at % changed.len() as u64) as usize;
    changed[at] ^= mask;
    assert_eq!(read(&changed), None, "byte {at} of {} can be changed", changed.len());
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn entry(draw: &mut Draw<'_>) -> (Vec<u8>, Vec<u8>) {
    // Few letters, so that keys share prefixes; now and then a value too long for its leaf.
    let key = draw.bytes(12).into_iter().map(|byte| byte % 4).collect();
    let value = draw.bytes(40).repeat(1 + 40 * usize::from(draw.byte().is_multiple_of(16)));
    (key, value)
}

fn build(store: &MemoryChunks, target: LeafTarget, model: &Model) -> Root {
    let mut builder = Builder::new(store, &[7; 32], target);
    for (key, value) in model {
        builder.push(key, value).expect("keys rise");
    }
    builder.finish().expect("a store in memory")
}

/// Maps are sorted maps: walked, searched and compared; what holds the same has the same root.
pub(super) fn does_map(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let old: Model = draw.list(120, entry).into_iter().collect();
    let mut new = old.clone();
    for _ in 0..draw.byte() % 8 {
        let (key, value) = entry(&mut draw);
        let near = old.range(key.clone()..).next().map_or(key, |(near, _)| near.clone());
        if draw.flag() {
            new.remove(&near).map(drop)
        } else {
            new.insert(near, value).map(drop)
        };
    }
    let (store, Ok(target)) = (MemoryChunks::new(), LeafTarget::new(1024)) else { return };
    let [old_root, new_root] = [&old, &new].map(|model| build(&store, target, model));
    assert_eq!(old_root == new_root, old == new);
    assert_eq!(old_root.entries, old.len() as u64);

    let mut cursor = Cursor::new(&store, old_root, target);
    let mut walked = Model::new();
    while let Some(key) = cursor.next().expect("sound").map(|entry| entry.key.to_vec()) {
        assert!(walked.last_key_value().is_none_or(|(last, _)| *last < key));
        let value = cursor.load(1 << 20).expect("sound").map(std::borrow::Cow::into_owned);
        walked.insert(key, value.unwrap_or_default());
    }
    assert_eq!(walked, old);
    for _ in 0..4 {
        let key = entry(&mut draw).0;
        let found = cursor.get(&key).expect("sound").map(|value| value.size_bytes());
        assert_eq!(found, old.get(&key).map(|value| value.len() as u64));
    }

    let bytes_of = |value: Value<'_>| load_value(&store, value, 1 << 20).expect("sound").into_owned();
    let mut diff = Diff::new((&store, old_root), (&store, new_root), target);
    let mut changed = BTreeMap::new();
    while let Some(change) = diff.next().expect("sound") {
        let (key, was, is) = match change {
            Change::Added { key, new } => (key, None, Some(bytes_of(new))),
            Change::Removed { key, old } => (key, Some(bytes_of(old)), None),
            Change::Changed { key, old, new } => (key, Some(bytes_of(old)), Some(bytes_of(new))),
        };
        assert!(changed.insert(key.to_vec(), (was, is)).is_none(), "told twice");
    }
    let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differs = all.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let expected: BTreeMap<_, _> =
        differs.map(|key| (key.clone(), (old.get(key).cloned(), new.get(key).cloned()))).collect();
    assert_eq!(changed, expected);
}

/// Lists of chunks, however long, come back in order, and from any offset on.
pub(super) fn does_content(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let store = MemoryChunks::new();
    let mut builder = ContentBuilder::new(&store);
    let mut pushed = Vec::new();
    let (count, cuts) = (draw.below(6000), draw.byte());
    for number in 0..count {
        let drawn = draw.byte();
        let mut id = [drawn; 32];
        id[24..].copy_from_slice(&number.to_le_bytes());
        // Ids that begin with zero end a list.
        id[0] = if drawn % 16 < cuts % 16 { 0 } else { 1 };
        let (id, len) = (ChunkId::from_bytes(id), 1 + u32::from(drawn) * 999);
        builder.push(id, len).expect("a chunk of a fitting length");
        pushed.push((id, len));
    }
    let content: Content = builder.finish().expect("a store in memory");
    let total: u64 = pushed.iter().map(|(_, len)| u64::from(*len)).sum();
    assert_eq!((content.len(), content.chunks()), (total, count));
    let mut reader = ContentReader::new(&store, &content);
    for from in [0, draw.below(total + 1), total] {
        reader.seek(from).expect("sound");
        let (mut offset, mut expected) = (0, pushed.iter().peekable());
        while let Some((_, len)) = expected.next_if(|(_, len)| offset + u64::from(*len) <= from) {
            offset += u64::from(*len);
        }
        for (id, len) in expected {
            let next = reader.next().expect("sound").map(|(at, part)| (at, part.id, part.len));
            assert_eq!(next, Some((offset, *id, u64::from(*len))));
            offset += u64::from(*len);
        }
        assert_eq!(reader.next().expect("sound"), None);
    }
}

/// The index joins the copies of a chunk in any order and grouping to the same: newest pack first, each once, none
/// that is dead.
pub(super) fn does_index_join(bytes: &[u8]) {
    let mut draw = Draw(bytes);
    let dead: Vec<u32> = draw.list(6, |draw| u32::from(draw.byte() % 32));
    let copy = |draw: &mut Draw<'_>| {
        let pack = u32::from(draw.byte() % 32);
        // A pack holds a chunk at one place.
        (pack, Place { block: pack as u16 * 3, offset: pack << 9, len: 77 })
    };
    let mut values = draw.list(8, |draw| draw.list(6, copy));
    let alive: BTreeMap<u32, Place> =
        values.iter().flatten().copied().filter(|(pack, _)| !dead.contains(pack)).collect();
    let expected: Vec<_> = alive.into_iter().rev().collect();
    assert_eq!(joined(&values, &dead).as_ref(), Some(&expected));
    let cut = draw.below(values.len() as u64 + 1) as usize;
    let (first, second) = values.split_at(cut);
    let parts: Option<Vec<_>> = [first, second].into_iter().map(|part| joined(part, &dead)).collect();
    assert_eq!(parts.and_then(|parts| joined(&parts, &dead)).as_ref(), Some(&expected));
    values.reverse();
    assert_eq!(joined(&values, &dead), Some(expected));
}
