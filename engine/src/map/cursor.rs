//! Walking a map in order, from any key on.
//!
//! Entries are lent, not copied. Memory: one node per level. Walking on announces the next siblings to
//! the [`LoadChunk`]: two at first, then ever more up to 64, so that a single look-up announces nothing and a
//! long walk never waits.

use super::blob::load_value;
use super::descent::{At, Descent};
use super::node::Value;
use super::store::LoadChunk;
use super::{LeafTarget, Root};
use crate::id::ChunkId;
use std::borrow::Cow;

const FIRST_WINDOW: usize = 2;
const WIDEST_WINDOW: usize = 64;

/// An entry of a map, borrowed from the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'c> {
    /// The key.
    pub key: &'c [u8],
    /// The value as it stands in the leaf; [`Cursor::load`] fetches one that is out of line.
    pub value: Value<'c>,
}

/// Walks one map. After an error of [`next`](Self::next) another call tries the same node again; after one
/// of a seek the position is undefined until the next seek.
pub struct Cursor<'a, L: LoadChunk> {
    descent: Descent<'a, L>,
    /// The position was reached by a seek and not handed out yet.
    fresh: bool,
    end: Option<Vec<u8>>,
    window: usize,
}

impl<'a, L: LoadChunk> Cursor<'a, L> {
    /// Starts before the first entry; loads nothing. The target is that of the repository.
    pub fn new(loader: &'a L, root: Root, target: LeafTarget) -> Self {
        Self { descent: Descent::new(loader, root, target), fresh: false, end: None, window: FIRST_WINDOW }
    }

    /// Goes on to the next entry; `None` at the end of the map or of the range.
    #[expect(clippy::should_implement_trait, reason = "the entry is borrowed from the cursor")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, L::Error> {
        if !std::mem::take(&mut self.fresh) && self.descent.at() == At::Value {
            self.descent.skip();
        }
        while let At::Child { .. } = self.descent.at() {
            if self.descent.announce(self.window) {
                self.window = (self.window * 2).min(WIDEST_WINDOW);
            }
            self.descent.enter()?;
        }
        Ok(self.entry())
    }

    /// Returns the entry that [`next`](Self::next) returned last, while it is not past the end.
    pub fn entry(&self) -> Option<Entry<'_>> {
        let (key, value) = (self.descent.key()?, self.descent.value()?);
        let inside = self.end.as_deref().is_none_or(|end| key < end);
        (inside && !self.fresh).then_some(Entry { key, value })
    }

    /// Makes the first entry whose key is not below `key` the next one. The end of the range stays.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), L::Error> {
        self.window = FIRST_WINDOW;
        self.fresh = false;
        self.descent.seek(key)?;
        self.fresh = true;
        Ok(())
    }

    /// Walks only keys from `start` on and below `end`, from the beginning; no `end` means the map's.
    pub fn range(&mut self, start: &[u8], end: Option<Vec<u8>>) -> Result<(), L::Error> {
        self.end = end;
        self.seek(start)
    }

    /// Walks only keys that begin with `prefix`, from the beginning.
    pub fn prefix(&mut self, prefix: &[u8]) -> Result<(), L::Error> {
        // The first key after all of those: the last byte that can be raised, raised.
        let mut end = prefix.to_vec();
        while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.range(prefix, (!end.is_empty()).then_some(end))
    }

    /// Looks one key up; afterwards the walk goes on behind it.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Value<'_>>, L::Error> {
        self.seek(key)?;
        Ok(self.next()?.filter(|entry| entry.key == key).map(|entry| entry.value))
    }

    /// Returns the whole value of the entry that was returned last, at most `max_bytes`.
    pub fn load(&self, max_bytes: u64) -> Result<Option<Cow<'_, [u8]>>, L::Error> {
        self.entry().map(|entry| load_value(self.descent.loader(), entry.value, max_bytes)).transpose()
    }

    /// Returns the leaf of the entry that was returned last, and the entry's number in it, from 0.
    pub fn leaf(&self) -> Option<(ChunkId, usize)> {
        self.entry().and_then(|_| self.descent.leaf())
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
