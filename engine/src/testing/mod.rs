//! What must hold for any bytes at all, parser by parser and part by part: the bodies of the fuzz targets.
//!
//! Three kinds. A *parser* gets the bytes as they are: whatever the bytes, it neither panics nor allocates more than
//! they could hold, and what it accepts has one encoding: written again it is the same, but for extensions that
//! this version does not know and skips. What is `written` is any structure, drawn from the bytes, that must be
//! read as it was. What a part `does` to data drawn from the bytes is held against the plainest way to do the same.
//!
//! `fuzz/` feeds these functions; `tests/format/corpus.rs` replays what was found on the stable toolchain.

pub mod bench;
mod draw;
pub mod forge;
mod machines;
mod seeds;
mod written;

pub use seeds::seeds;

use crate::compress::{Codec, Decompressor};
use crate::crypto::capsule;
use crate::crypto::header::{Header, ObjectKind};
use crate::crypto::paper::Paper;
use crate::crypto::roots::Bundle;
use crate::crypto::slot::Slot;
use crate::error::Corrupt;
use crate::format::{HEADER_LEN, MAX_GROUP_PACKS, MAX_NAMES, MAX_PACK, MAX_VALUE};
use crate::index::Segment;
use crate::listing::{StoredPath, decode_node, decode_xattrs, encode_node, encode_xattrs};
use crate::log::Entry;
use crate::log::epoch::Epoch;
use crate::map::content::{put_content, read_content};
use crate::map::{Blob, MapNode, Root};
use crate::pack::Directory;
use crate::parity::Head;
use crate::repo::control::{Condemned, Generation, Intent, Session, Verdict};
use crate::repo::key_changes::KeyChange;
use crate::repo::records::RunRecord;
use crate::repo::retention::Retention;
use crate::repo::{Config, control};
use crate::snapshot;
use crate::storage::Name;
use crate::wire::{Put, Reader};
use std::fmt::Debug;

/// One fuzz target: its name, which is that of its corpus too, and what must hold.
pub type Target = (&'static str, fn(&[u8]));

/// Every fuzz target: all parsers of stored bytes, then structures and parts.
pub const TARGETS: [Target; 44] = [
    ("blob", blob),
    ("bundle", bundle),
    ("capsule", capsule),
    ("condemned", condemned),
    ("config", config),
    ("content", content),
    ("end", end),
    ("epoch", epoch),
    ("generation", generation),
    ("header", header),
    ("intent", intent),
    ("key_change", key_change),
    ("listing_node", listing_node),
    ("log_entry", log_entry),
    ("map_node", map_node),
    ("map_root", map_root),
    ("name", name),
    ("pack_directory", pack_directory),
    ("page", page),
    ("paper", paper),
    ("parity", parity),
    ("retention", retention),
    ("run_record", run_record),
    ("segment", segment),
    ("session", session),
    ("slot", slot),
    ("snapshot", snapshot),
    ("stored_path", stored_path),
    ("wire", wire),
    ("xattrs", xattrs),
    ("does_chunker", machines::does_chunker),
    ("does_compress", machines::does_compress),
    ("does_content", machines::does_content),
    ("does_index_join", machines::does_index_join),
    ("does_map", machines::does_map),
    ("does_pack", machines::does_pack),
    ("written_control", written::written_control),
    ("written_name", written::written_name),
    ("written_node", written::written_node),
    ("written_path", written::written_path),
    ("written_segment", written::written_segment),
    ("written_slot", written::written_slot),
    ("written_snapshot", written::written_snapshot),
    ("written_wire", written::written_wire),
];

/// Largest plaintext that is decompressed here.
const MAX_PLAIN: u32 = 1 << 20;

/// Holds a parser to its encoder. `skips`: whether unknown extensions may stand in what was accepted.
fn holds<T: PartialEq + Debug>(
    bytes: &[u8],
    skips: bool,
    decode: impl Fn(&[u8]) -> Result<T, Corrupt>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let value = decode(bytes).ok()?;
    let again = encode(&value);
    if !skips || again.len() >= bytes.len() {
        assert_eq!(again, bytes, "a second encoding was accepted");
    } else {
        assert_eq!(decode(&again).as_ref(), Ok(&value), "what is written is not what was read");
    }
    Some(value)
}

/// Reads a structure that nothing may follow.
fn whole<T>(bytes: &[u8], read: impl Fn(&mut Reader<'_>) -> Result<T, Corrupt>) -> Result<T, Corrupt> {
    let mut reader = Reader::new("fuzz", bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

fn blob(bytes: &[u8]) {
    let encode = |blob: &Blob| {
        let mut out = Vec::new();
        blob.encode(&mut out);
        out
    };
    if let Some(blob) = holds(bytes, false, |bytes| whole(bytes, |r| Blob::decode(r, MAX_VALUE)), encode) {
        assert!(blob.len <= MAX_VALUE && blob.id.is_some() == (blob.len > 0));
    }
}

fn bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::decode(bytes) {
        // The padding is the writer's choice; what stands before it is not.
        let again = bundle.encode();
        let both = again.len().min(bytes.len());
        assert_eq!(again[..both], bytes[..both]);
        assert_eq!(
            bundle.checks(1),
            Bundle::decode(&again).map(|bundle| bundle.checks(1)).unwrap_or_default()
        );
    }
}

fn epoch(bytes: &[u8]) {
    if let Some(epoch) = holds(bytes, true, Epoch::decode, Epoch::encode) {
        assert!(
            epoch.number >= 2
                && !epoch.wrapped.is_empty()
                && epoch.opening().signers.len() <= epoch.signers.len()
        );
    }
}

fn key_change(bytes: &[u8]) {
    if let Some(change) = holds(bytes, true, KeyChange::decode, KeyChange::encode) {
        assert!(change.number > 0 && !change.stays.is_empty() && !change.stays.contains(&change.removed));
    }
}

/// Keys that were typed back.
fn paper(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(paper) = Paper::read(text)
    {
        assert_eq!(Paper::read(&paper.text()).ok(), Some(paper));
    }
}

/// A page of the file cache, as it is inside its seal.
fn page(bytes: &[u8]) {
    if let Ok((entry, node)) = crate::backup::CachedEntry::decode(bytes) {
        assert_eq!(entry.encode(), bytes, "a second encoding was accepted");
        assert!(crate::listing::encode_node(&node).is_ok_and(|value| bytes.ends_with(&value)));
    }
}

fn capsule(bytes: &[u8]) {
    if let Ok(plain) = capsule::empty(bytes, MAX_PLAIN, "fuzz") {
        assert!(plain.len() <= MAX_PLAIN as usize);
        let again = capsule::fill(&plain).and_then(|again| capsule::empty(&again, MAX_PLAIN, "fuzz"));
        assert_eq!(again.ok(), Some(plain));
    }
    // The same bytes as a bare frame that says how long it is.
    let claimed = bytes.first_chunk().map_or(0, |len| u32::from_le_bytes(*len) % MAX_PLAIN) as usize;
    for len in [claimed, bytes.len()] {
        let mut plain = Vec::new();
        let decoded = Decompressor::new().map(|mut zstd| zstd.decode(Codec::Zstd, bytes, len, &mut plain));
        assert!(decoded.is_ok_and(|decoded| plain.len() == if decoded.is_ok() { len } else { 0 }));
    }
}

fn condemned(bytes: &[u8]) {
    if let Some(set) = holds(bytes, true, Condemned::decode, Condemned::encode) {
        assert!(set.packs.len().max(set.segments.len()).max(set.snapshots.len()) <= MAX_NAMES);
    }
}

fn config(bytes: &[u8]) {
    if let Some(config) = holds(bytes, true, Config::decode, Config::encode) {
        assert!(config.settings.is_sound());
    }
    let _ = Config::repo_id(bytes);
}

fn content(bytes: &[u8]) {
    let decode = |bytes: &[u8]| whole(bytes, read_content);
    let encode = |content: &crate::map::Content| {
        let mut out = Vec::new();
        put_content(&mut out, content.level, &content.parts);
        out
    };
    if let Some(content) = holds(bytes, false, decode, encode) {
        // Both are sums that must not overflow.
        assert!(content.len() >= content.chunks());
    }
}

fn end(bytes: &[u8]) {
    holds(bytes, true, Verdict::decode, Verdict::encode);
}

fn generation(bytes: &[u8]) {
    if let Some(generation) = holds(bytes, true, Generation::decode, Generation::encode) {
        assert!(generation.encode().starts_with(&generation.encode_signed()));
    }
}

fn header(bytes: &[u8]) {
    let kinds: Vec<ObjectKind> = (0..=u8::MAX).filter_map(ObjectKind::from_code).collect();
    if let Ok(header) = Header::parse(bytes, &kinds) {
        assert_eq!(header.bytes()[..], bytes[..HEADER_LEN]);
        assert_eq!(header.kind().code(), bytes[7]);
        let others: Vec<ObjectKind> = kinds.into_iter().filter(|kind| *kind != header.kind()).collect();
        assert!(Header::parse(bytes, &others).is_err(), "taken for another kind");
    }
}

fn log_entry(bytes: &[u8]) {
    if let Some(entry) = holds(bytes, true, Entry::decode, Entry::encode) {
        assert!(entry.number > 0 && entry.encode().starts_with(&entry.encode_signed()));
    }
}

fn retention(bytes: &[u8]) {
    if let Some(retention) = holds(bytes, true, Retention::decode, Retention::encode) {
        assert!(retention.forgotten.is_disjoint(&retention.pinned));
        assert!(retention.encode().starts_with(&retention.encode_signed()));
    }
}

fn run_record(bytes: &[u8]) {
    holds(bytes, true, RunRecord::decode, RunRecord::encode);
}

fn intent(bytes: &[u8]) {
    holds(bytes, true, Intent::decode, Intent::encode);
}

fn listing_node(bytes: &[u8]) {
    let encode = |node: &crate::listing::Node| encode_node(node).unwrap_or_default();
    if let Some(node) = holds(bytes, false, decode_node, encode) {
        assert!(node.mode <= 0o7777 && node.size() <= i64::MAX as u64);
    }
}

fn map_node(bytes: &[u8]) {
    let Ok(node) = MapNode::decode(bytes.to_vec()) else { return };
    assert_eq!(node.written_again(), bytes, "a second encoding was accepted");
    // Few are enough, since keys are put together from the first one on.
    let keys: Vec<_> = (0..node.count().min(64)).map(|index| node.key(index)).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "keys do not rise");
    assert!(node.entries() >= node.count() as u64);
}

fn map_root(bytes: &[u8]) {
    let encode = |root: &Root| {
        let mut out = Vec::new();
        root.encode(&mut out);
        out
    };
    holds(bytes, false, |bytes| whole(bytes, Root::decode), encode);
}

fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(name) = Name::parse(text) {
        assert_eq!(name.to_string(), text);
        assert!(name.is_storable());
        assert!(!text.split('/').any(|part| part.is_empty() || part == ".." || part == "."));
    }
}

fn pack_directory(bytes: &[u8]) {
    let Some(directory) = holds(bytes, true, Directory::decode, Directory::encode) else { return };
    assert_eq!(directory.places().count(), directory.chunks().len());
    let blocks = directory.blocks();
    // Each lookup adds up the lengths before it: the first and the last are enough.
    for number in [0, blocks.len() - 1] {
        let range = directory.range_of(number).unwrap_or_default();
        assert_eq!(range.end - range.start, u64::from(blocks[number].sealed_len));
        assert!(range.start >= HEADER_LEN as u64 && range.end <= directory.blocks_end());
    }
}

fn parity(bytes: &[u8]) {
    if let Some(head) = holds(bytes, true, Head::decode, Head::encode) {
        let whole = head.group.shard_len();
        assert!(head.len > 0 && head.range().end <= whole && whole <= MAX_PACK);
        assert!(head.group.packs.len() <= MAX_GROUP_PACKS && head.number < head.group.shards);
    }
}

fn segment(bytes: &[u8]) {
    holds(bytes, true, Segment::decode, Segment::encode);
}

fn session(bytes: &[u8]) {
    holds(bytes, true, Session::decode, control::Session::encode);
}

fn slot(bytes: &[u8]) {
    let Ok(slot) = Slot::parse(bytes.to_vec()) else { return };
    // What a hostile slot may ask for (FORMAT.md 4.2).
    assert!(slot.work() <= 8 << 20 && slot.memory_bytes() <= 4 << 30);
    assert!(slot.header.label.len() <= crate::crypto::slot::MAX_LABEL);
}

fn snapshot(bytes: &[u8]) {
    if let Some(snapshot) = holds(bytes, true, snapshot::decode, snapshot::encode) {
        assert!(!snapshot.accounts.is_empty());
        let _ = snapshot.state();
    }
}

fn stored_path(bytes: &[u8]) {
    let Ok(path) = StoredPath::from_key(bytes) else { return };
    assert_eq!(path.as_key(), bytes);
    assert_eq!(StoredPath::from_slashes(&path.to_slashes()), Some(path.clone()));
    assert!(path.components().all(crate::listing::is_component));
    if let Some(parent) = path.parent() {
        assert!(path.is_within(&parent) && parent < path);
        assert_eq!(parent.join(path.name()), Some(path));
    }
}

fn wire(bytes: &[u8]) {
    let _ = Reader::new("fuzz", bytes).extensions();
    let _ = Reader::new("fuzz", bytes).text(bytes.len(), "text");
    let mut reader = Reader::new("fuzz", bytes);
    let mut again = Vec::new();
    while let Ok(value) = reader.varint() {
        again.put_varint(value);
    }
    assert!(bytes.starts_with(&again), "a second encoding of a number was accepted");
    let mut reader = Reader::new("fuzz", bytes);
    let mut again = Vec::new();
    while let Ok(value) = reader.zigzag() {
        again.put_zigzag(value);
    }
    assert!(bytes.starts_with(&again), "a second encoding of a signed number was accepted");
}

fn xattrs(bytes: &[u8]) {
    if let Some(set) = holds(bytes, false, decode_xattrs, |set| encode_xattrs(set)) {
        assert!(set.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
