//! Walking what can still be loaded of a map that is damaged.

use super::descent::{At, Descent};
use super::store::LoadChunk;
use super::{Entry, LeafTarget, Root};

/// A part of a map that cannot be loaded: a node, and all that is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last key before it, of what is known.
    pub after: Option<Vec<u8>>,
    /// The last key in it; `None` if the root itself cannot be loaded.
    pub through: Option<Vec<u8>>,
    /// Entries in it.
    pub entries: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What comes next in a damaged map.
#[derive(Debug)]
pub enum Remain<'c> {
    /// An entry, as in a sound map.
    Entry(Entry<'c>),
    /// Entries that are lost.
    Gap(Gap),
}

/// Walks one map from its beginning, past whatever is damaged. Memory: one node for each level.
pub struct Remains<'a, L: LoadChunk> {
    descent: Descent<'a, L>,
    /// The value at the position was handed out.
    told: bool,
    damaged: fn(&L::Error) -> bool,
}

impl<'a, L: LoadChunk> Remains<'a, L> {
    /// Starts before the first entry. `damaged` says which errors mean that a node is lost; others end the walk.
    pub fn new(loader: &'a L, root: Root, target: LeafTarget, damaged: fn(&L::Error) -> bool) -> Self {
        Self { descent: Descent::new(loader, root, target), told: false, damaged }
    }

    /// Goes on; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "the entry is borrowed from the walk")]
    pub fn next(&mut self) -> Result<Option<Remain<'_>>, L::Error> {
        if std::mem::take(&mut self.told) {
            self.descent.skip();
        }
        while let At::Child { .. } = self.descent.at() {
            match self.descent.enter() {
                Ok(()) => {}
                Err(error) if (self.damaged)(&error) => {
                    let gap = self.descent.gap();
                    self.descent.skip();
                    return Ok(gap.map(Remain::Gap));
                }
                Err(error) => return Err(error),
            }
        }
        self.told = true;
        Ok(match (self.descent.key(), self.descent.value()) {
            (Some(key), Some(value)) => Some(Remain::Entry(Entry { key, value })),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{MemoryChunks, MemoryError};
    use super::super::{Builder, Cursor, MapNode};
    use super::*;
    use crate::id::ChunkId;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    /// Chunks of which some are lost; what is asked for is noted.
    struct Lossy {
        inner: MemoryChunks,
        lost: RefCell<BTreeSet<ChunkId>>,
    }

    impl LoadChunk for Lossy {
        type Error = MemoryError;

        fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, MemoryError> {
            if self.lost.borrow().contains(id) {
                return Err(crate::error::Corrupt::new("chunk", "lost").into());
            }
            self.inner.load(id, max_len)
        }
    }

    fn key(number: u32) -> Vec<u8> {
        format!("key {number:06}").into_bytes()
    }

    /// Collects all nodes of a map by their levels.
    fn nodes(loader: &MemoryChunks, root: Root, target: LeafTarget) -> Vec<(ChunkId, u8)> {
        let mut found = Vec::new();
        let mut waiting: Vec<_> = root.id.map(|id| (id, root.level)).into_iter().collect();
        while let Some((id, level)) = waiting.pop() {
            found.push((id, level));
            let node = MapNode::decode(loader.load(&id, target.max_node()).unwrap()).unwrap();
            waiting.extend((0..node.count()).filter_map(|at| Some((node.child(at)?.id, level - 1))));
        }
        found
    }

    #[test]
    fn every_node_may_be_lost_and_the_rest_is_walked_in_order() {
        const ENTRIES: u32 = 3000;
        let (store, target) = (MemoryChunks::new(), LeafTarget::new(1024).unwrap());
        let mut builder = Builder::new(&store, &[1; 32], target);
        (0..ENTRIES).for_each(|number| builder.push(&key(number), &[7; 40]).unwrap());
        let root = builder.finish().unwrap();
        let all = nodes(&store, root, target);
        assert!(root.level >= 2 && all.len() > 50, "{root:?}");
        let loader = Lossy { inner: store, lost: RefCell::default() };
        let mut cursor = Cursor::new(&loader, root, target);
        let mut count = 0;
        while cursor.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, ENTRIES);
        for (n, (id, _)) in all.iter().enumerate() {
            let second = all[(n * 7 + 3) % all.len()].0;
            loader.lost.replace([*id, second].into());
            let mut remains = Remains::new(&loader, root, target, |_| true);
            let (mut expected, mut gaps) = (0, 0);
            while let Some(remain) = remains.next().unwrap() {
                match remain {
                    Remain::Entry(entry) => {
                        assert_eq!(entry.key, key(expected));
                        expected += 1;
                    }
                    Remain::Gap(gap) => {
                        gaps += 1;
                        let before = expected.checked_sub(1).map(key);
                        assert_eq!(gap.after, before, "{gap:?}");
                        expected += gap.entries as u32;
                        let through = root.id != Some(*id) && root.id != Some(second);
                        assert_eq!(gap.through, through.then(|| key(expected - 1)));
                    }
                }
            }
            assert_eq!(expected, ENTRIES, "all entries are told of");
            assert!((1..=2).contains(&gaps), "{gaps} gaps");
        }
        // Another error ends the walk.
        let mut remains = Remains::new(&loader, root, target, |_| false);
        let ended = loop {
            match remains.next() {
                Ok(Some(_)) => {}
                end => break end.is_err(),
            }
        };
        assert!(ended);
    }
}
