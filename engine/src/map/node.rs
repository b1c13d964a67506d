//! Nodes as bytes and in memory.
//!
//! ```text
//! level u8 | entry count varint | entry …
//! entry: shared varint | rest of key: bytes | payload
//! leaf payload:  0 | value: bytes (≤ 1,024)   or   1 | blob (> 1,024 bytes)
//! inner payload: child id | entries below varint | value bytes below varint
//! ```
//!
//! `shared` is the longest common prefix with the key before it in the node, 0 for the first. The key of
//! an inner entry is the last key below it. A decoded node keeps its bytes and a table of where things
//! stand in them; keys are put together one after the other while walking.

use super::blob::Blob;
use super::boundary::weight;
use crate::error::Corrupt;
use crate::format::{MAX_INLINE_VALUE, MAX_KEY, MAX_MAP_LEVEL, MAX_VALUE};
use crate::id::ChunkId;
use crate::planted::{Bug, planted};
use crate::wire::{Put, Reader};

const INLINE: u8 = 0;
const BLOB: u8 = 1;

/// A value as it stands in a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The bytes themselves, at most 1,024.
    Inline(&'a [u8]),
    /// More than that, in chunks of their own; [`load_value`](super::load_value) fetches them.
    Blob(Blob),
}

impl Value<'_> {
    /// Returns the length of the value in bytes.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.len,
        }
    }
}

/// What an inner node says of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub id: ChunkId,
    /// Map entries below it.
    pub entries: u64,
    /// Bytes of the values below it.
    pub value_bytes: u64,
}

/// Where the parts of an entry stand in the node's bytes.
#[derive(Clone, Debug)]
struct Slot {
    shared: u32,
    rest: (u32, u32),
    payload: Payload,
}

#[derive(Clone, Debug)]
enum Payload {
    Inline((u32, u32)),
    Blob(Blob),
    Child(Child),
}

/// A decoded, checked node.
#[derive(Clone, Debug)]
pub struct MapNode {
    bytes: Vec<u8>,
    level: u8,
    slots: Vec<Slot>,
    entries: u64,
    value_bytes: u64,
    last_key: Vec<u8>,
}

impl MapNode {
    /// Checks and takes the bytes of a node: encodings, order of keys, counts that add up.
    ///
    /// What a parent says of it is checked by who came from there. Memory: 72 bytes for each entry,
    /// which takes at least 4.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let mut reader = Reader::new("map node", &bytes);
        let level = reader.u8()?;
        if level > MAX_MAP_LEVEL {
            return Err(reader.corrupt(format!("level {level}, at most {MAX_MAP_LEVEL} is allowed")));
        }
        let least = if level == 0 { 4 } else { 36 };
        let count = reader.count(u32::MAX as usize, least, "entries")?;
        if count == 0 {
            return Err(reader.corrupt("no entries"));
        }
        let mut slots = Vec::with_capacity(count);
        let mut key = Vec::new();
        let (mut entries, mut value_bytes) = (0u64, 0u64);
        for _ in 0..count {
            let (shared, rest) = read_key(&mut reader, &mut key, slots.is_empty())?;
            let (payload, below, size) =
                if level == 0 { read_value(&mut reader)? } else { read_child(&mut reader)? };
            match (entries.checked_add(below), value_bytes.checked_add(size)) {
                (Some(sum), Some(bytes)) => (entries, value_bytes) = (sum, bytes),
                _ => return Err(reader.corrupt("counts exceed 64 bits")),
            }
            slots.push(Slot { shared, rest, payload });
        }
        reader.finish()?;
        Ok(Self { bytes, level, slots, entries, value_bytes, last_key: key })
    }

    /// Returns the level: 0 for a leaf.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Returns the number of entries in the node itself, at least 1.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of map entries in it and below.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns the bytes of all values in it and below.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// Returns its first key.
    pub fn first_key(&self) -> &[u8] {
        self.slots.first().map_or(&[], |slot| self.slice(slot.rest))
    }

    /// Returns its last key.
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Makes `key`, which must be that of the entry before, the key of entry `index`.
    pub(super) fn follow_key(&self, index: usize, key: &mut Vec<u8>) {
        if let Some(slot) = self.slots.get(index) {
            key.truncate(slot.shared as usize);
            key.extend_from_slice(self.slice(slot.rest));
        }
    }

    /// Returns the key of entry `index`, put together from those before it; `None` past the end.
    pub fn key(&self, index: usize) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        (0..=index).for_each(|before| self.follow_key(before, &mut key));
        (index < self.count()).then_some(key)
    }

    /// Returns the value of entry `index` of a leaf; `None` in inner nodes and past the end.
    pub fn value(&self, index: usize) -> Option<Value<'_>> {
        match &self.slots.get(index)?.payload {
            Payload::Inline(range) => Some(Value::Inline(self.slice(*range))),
            Payload::Blob(blob) => Some(Value::Blob(*blob)),
            Payload::Child(_) => None,
        }
    }

    /// Returns child `index` of an inner node; `None` in leaves and past the end.
    pub fn child(&self, index: usize) -> Option<Child> {
        match self.slots.get(index)?.payload {
            Payload::Child(child) => Some(child),
            _ => None,
        }
    }

    /// Writes the node again, entry by entry, as a builder would; for tests that a node has one encoding.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn written_again(&self) -> Vec<u8> {
        let mut writer = NodeWriter::new(self.level());
        let mut key = Vec::new();
        for index in 0..self.count() {
            self.follow_key(index, &mut key);
            match (self.value(index), self.child(index)) {
                (Some(value), _) => writer.push_value(&key, value),
                (None, Some(child)) => writer.push_child(&key, child),
                (None, None) => {}
            }
        }
        debug_assert_eq!((writer.entries, writer.value_bytes), (self.entries, self.value_bytes));
        let mut out = Vec::new();
        writer.encode(&mut out);
        out
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }
}

fn range(reader: &Reader<'_>, taken: &[u8]) -> (u32, u32) {
    let end = reader.position();
    ((end - taken.len()) as u32, end as u32)
}

/// Reads the key of an entry over the one before it.
fn read_key(reader: &mut Reader<'_>, key: &mut Vec<u8>, first: bool) -> Result<(u32, (u32, u32)), Corrupt> {
    let shared = reader.at_most(key.len() as u64, "shared length")? as usize;
    let rest = reader.bytes(MAX_KEY - shared, "rest of key")?;
    // One comparison tells order, uniqueness and that no more could have been shared.
    let follows = match (rest.first(), key.get(shared)) {
        (Some(new), Some(old)) => new > old,
        (Some(_), None) => true,
        (None, _) => first,
    };
    if !follows && !planted(Bug::AcceptUnsortedNode) {
        return Err(reader.corrupt("keys do not rise, or share more than they say"));
    }
    key.truncate(shared);
    key.extend_from_slice(rest);
    Ok((shared as u32, range(reader, rest)))
}

fn read_value(reader: &mut Reader<'_>) -> Result<(Payload, u64, u64), Corrupt> {
    match reader.u8()? {
        INLINE => {
            let value = reader.bytes(MAX_INLINE_VALUE, "value length")?;
            Ok((Payload::Inline(range(reader, value)), 1, value.len() as u64))
        }
        BLOB => match Blob::decode(reader, MAX_VALUE)? {
            blob if blob.len > MAX_INLINE_VALUE as u64 => Ok((Payload::Blob(blob), 1, blob.len)),
            _ => Err(reader.corrupt("a value is out of line, but fits the leaf")),
        },
        tag => Err(reader.corrupt(format!("unknown value tag {tag}"))),
    }
}

fn read_child(reader: &mut Reader<'_>) -> Result<(Payload, u64, u64), Corrupt> {
    let id = ChunkId::from_bytes(reader.array()?);
    let (entries, value_bytes) = (reader.varint()?, reader.varint()?);
    if entries == 0 {
        return Err(reader.corrupt("a child without entries"));
    }
    Ok((Payload::Child(Child { id, entries, value_bytes }), entries, value_bytes))
}

/// A node that is being written; keeps its last key over [`clear`](Self::clear).
#[derive(Debug)]
pub(super) struct NodeWriter {
    pub level: u8,
    pub count: u64,
    pub weight: u64,
    pub entries: u64,
    pub value_bytes: u64,
    pub key: Vec<u8>,
    /// The child pushed last.
    pub child: Option<Child>,
    body: Vec<u8>,
}

impl NodeWriter {
    /// Starts an empty node.
    pub fn new(level: u8) -> Self {
        let (key, body) = (Vec::new(), Vec::new());
        Self { level, count: 0, weight: 0, entries: 0, value_bytes: 0, key, child: None, body }
    }

    /// Appends an entry of a leaf, whose key is greater and whose counts were checked to fit.
    pub fn push_value(&mut self, key: &[u8], value: Value<'_>) {
        self.push_key(key);
        match value {
            Value::Inline(bytes) => {
                self.body.put_u8(INLINE);
                self.body.put_bytes(bytes);
            }
            Value::Blob(blob) => {
                self.body.put_u8(BLOB);
                blob.encode(&mut self.body);
            }
        }
        self.entries += 1;
        self.value_bytes += value.size_bytes();
    }

    /// Appends an entry of an inner node, likewise.
    pub fn push_child(&mut self, key: &[u8], child: Child) {
        self.push_key(key);
        self.body.put(child.id.as_bytes());
        self.body.put_varint(child.entries);
        self.body.put_varint(child.value_bytes);
        self.entries += child.entries;
        self.value_bytes += child.value_bytes;
        self.child = Some(child);
    }

    fn push_key(&mut self, key: &[u8]) {
        let shared = if self.count == 0 { 0 } else { common_prefix(&self.key, key) };
        self.body.put_varint(shared as u64);
        self.body.put_bytes(&key[shared..]);
        self.key.truncate(shared);
        self.key.extend_from_slice(&key[shared..]);
        self.count += 1;
        self.weight += weight(key.len());
    }

    /// Writes the node over `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.put_u8(self.level);
        out.put_varint(self.count);
        out.put(&self.body);
    }

    /// Starts the next node.
    pub fn clear(&mut self) {
        (self.count, self.weight, self.entries, self.value_bytes) = (0, 0, 0, 0);
        self.body.clear();
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count() * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
