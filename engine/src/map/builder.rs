//! Building a map from sorted entries, in one pass.
//!
//! Every level has one open node; a boundary saves it and hands its name to the level above. Memory: one
//! node per level (at most [`LeafTarget::max_node`] each, usually about the target) and one being encoded.
//! The shape follows from the entries alone: whoever pushes the same ones gets the same root.

use super::Root;
use super::blob::BlobWriter;
use super::boundary::{Boundary, LeafTarget};
use super::node::{Child, NodeWriter, Value};
use super::store::{BuildError, Refused, SaveChunk};
use crate::format::{MAX_INLINE_VALUE, MAX_KEY, MAX_MAP_LEVEL, MAX_VALUE};
use crate::id::ChunkId;
use std::ops::Range;

type Built<S, T> = Result<T, BuildError<<S as SaveChunk>::Error>>;
type OnLeaf<'a> = Box<dyn FnMut(&ChunkId, Range<u64>) + Send + 'a>;

/// Builds one map. After an error of the [`SaveChunk`] it takes nothing more; after a refused entry it
/// goes on as if that had not been pushed.
pub struct Builder<'a, S: SaveChunk> {
    saver: &'a S,
    boundary: Boundary,
    levels: Vec<NodeWriter>,
    entries: u64,
    value_bytes: u64,
    failed: bool,
    encoded: Vec<u8>,
    on_leaf: Option<OnLeaf<'a>>,
}

impl<'a, S: SaveChunk> Builder<'a, S> {
    /// Starts an empty map whose boundaries follow the repository's boundary key and leaf target.
    pub fn new(saver: &'a S, boundary_key: &[u8; 32], target: LeafTarget) -> Self {
        Self {
            saver,
            boundary: Boundary::new(boundary_key, target),
            levels: vec![NodeWriter::new(0)],
            entries: 0,
            value_bytes: 0,
            failed: false,
            encoded: Vec::new(),
            on_leaf: None,
        }
    }

    /// Has `each` called for every leaf as it is saved: its name, and the numbers of its entries in the
    /// order of the map, from 0. So a caller can say later where each entry went.
    #[must_use]
    pub fn on_leaf(mut self, each: impl FnMut(&ChunkId, Range<u64>) + Send + 'a) -> Self {
        self.on_leaf = Some(Box::new(each));
        self
    }

    /// Returns how many entries were pushed.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Appends an entry. Keys must rise strictly; a value above 1,024 bytes is saved out of line.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Built<S, ()> {
        if value.len() <= MAX_INLINE_VALUE {
            return self.push_value(key, Value::Inline(value));
        }
        self.check(key, value.len() as u64)?;
        let mut writer = BlobWriter::new(self.saver);
        let saved = writer.write(value).and_then(|()| writer.finish_value());
        let saved = self.note_failure(saved)?;
        self.append(key, saved.as_value())
    }

    /// Appends an entry whose value was saved before, by a [`BlobWriter`] or as part of another map.
    pub fn push_value(&mut self, key: &[u8], value: Value<'_>) -> Built<S, ()> {
        self.check(key, value.size_bytes())?;
        match value {
            Value::Inline(bytes) if bytes.len() > MAX_INLINE_VALUE => self.push(key, bytes),
            Value::Blob(blob) if blob.len <= MAX_INLINE_VALUE as u64 || blob.part().is_err() => {
                Err(Refused::Blob { len: blob.len, level: blob.level }.into())
            }
            value => self.append(key, value),
        }
    }

    /// Saves the open nodes and returns the root.
    pub fn finish(mut self) -> Built<S, Root> {
        if self.failed {
            return Err(Refused::AfterFailure.into());
        }
        if self.entries == 0 {
            return Ok(Root::empty(self.saver.class()));
        }
        let mut level = 0;
        while level + 1 < self.levels.len() {
            if self.levels[level].count > 0 {
                self.close(level)?;
            }
            level += 1;
        }
        // The top never closed. If it has one child, that node is alone on its level: it is the root.
        let top = &self.levels[level];
        let (root, level) = match top.child {
            Some(child) if top.count == 1 => (child, top.level - 1),
            _ => {
                let level = top.level;
                (self.save(usize::from(level))?, level)
            }
        };
        let class = self.saver.class();
        Ok(Root { class, id: Some(root.id), level, entries: root.entries, value_bytes: root.value_bytes })
    }

    fn check(&self, key: &[u8], value_len: u64) -> Result<(), Refused> {
        if self.failed {
            return Err(Refused::AfterFailure);
        }
        if key.len() > MAX_KEY {
            return Err(Refused::KeyLength { len: key.len() });
        }
        if value_len > MAX_VALUE {
            return Err(Refused::ValueLength { len: value_len });
        }
        if self.entries > 0 && key <= &self.levels[0].key[..] {
            return Err(Refused::Order { key: key[..key.len().min(200)].escape_ascii().to_string() });
        }
        if self.value_bytes.checked_add(value_len).is_none() {
            return Err(Refused::TooLarge { what: "map" });
        }
        Ok(())
    }

    fn append(&mut self, key: &[u8], value: Value<'_>) -> Built<S, ()> {
        let leaf = &mut self.levels[0];
        leaf.push_value(key, value);
        self.entries += 1;
        self.value_bytes += value.size_bytes();
        if self.boundary.ends(0, key, leaf.count, leaf.weight) {
            self.close(0)?;
        }
        Ok(())
    }

    /// Ends the open node of `level`, and of the levels above as far as boundaries ask for it.
    fn close(&mut self, mut level: usize) -> Built<S, ()> {
        loop {
            let child = self.save(level)?;
            if level + 1 == self.levels.len() {
                self.levels.push(NodeWriter::new(self.levels[level].level + 1));
            }
            let (below, above) = self.levels.split_at_mut(level + 1);
            let (key, up) = (&below[level].key, &mut above[0]);
            if up.level > MAX_MAP_LEVEL && up.count > 0 {
                self.failed = true;
                return Err(Refused::TooLarge { what: "map" }.into());
            }
            up.push_child(key, child);
            if !self.boundary.ends(up.level, key, up.count, up.weight) {
                return Ok(());
            }
            level += 1;
        }
    }

    fn save(&mut self, level: usize) -> Built<S, Child> {
        let node = &mut self.levels[level];
        node.encode(&mut self.encoded);
        let saved = self.saver.save(&self.encoded).map_err(BuildError::Save);
        let (count, entries, value_bytes) = (node.count, node.entries, node.value_bytes);
        node.clear();
        let id = self.note_failure(saved)?;
        if let (0, Some(on_leaf)) = (level, &mut self.on_leaf) {
            on_leaf(&id, self.entries - count..self.entries);
        }
        Ok(Child { id, entries, value_bytes })
    }

    fn note_failure<T>(&mut self, result: Built<S, T>) -> Built<S, T> {
        self.failed |= matches!(result, Err(BuildError::Save(_)));
        result
    }
}
