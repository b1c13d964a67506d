//! One position in a map, with the nodes above it: what cursors and diffs are made of.
//!
//! A position is before a *child* that was not loaded yet, at a *value*, or at the end. Each node is checked
//! against what its parent says before anything in it is used. Levels fall by one with every step down,
//! so that at most 41 nodes are held and no chain of nodes can go on for ever.

use super::node::{Child, MapNode, Value};
use super::remains::Gap;
use super::store::LoadChunk;
use super::{LeafTarget, Root};
use crate::error::Corrupt;
use crate::format::MAX_MAP_LEVEL;
use crate::id::ChunkId;

/// What is at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// A node that was not loaded.
    Child {
        /// Its name.
        id: ChunkId,
        /// Its level.
        level: u8,
    },
    /// An entry of the map.
    Value,
    /// Nothing more.
    End,
}

struct Frame {
    id: ChunkId,
    node: MapNode,
    index: usize,
    /// Key of entry `index`.
    key: Vec<u8>,
    /// Key before entry `index`, in this node or anywhere left of it.
    floor: Option<Vec<u8>>,
    /// Children before this index were announced for reading ahead.
    announced: usize,
}

impl Frame {
    fn new(id: ChunkId, node: MapNode, floor: Option<Vec<u8>>) -> Self {
        let key = node.first_key().to_vec();
        Self { id, node, index: 0, key, floor, announced: 0 }
    }

    fn step(&mut self) -> bool {
        if self.index + 1 >= self.node.count() {
            return false;
        }
        if self.node.level() > 0 {
            self.floor.get_or_insert_default().clone_from(&self.key);
        }
        self.index += 1;
        self.node.follow_key(self.index, &mut self.key);
        true
    }
}

/// A position in one map.
pub(super) struct Descent<'a, L: LoadChunk> {
    loader: &'a L,
    target: LeafTarget,
    root: Root,
    frames: Vec<Frame>,
    /// The root was not loaded yet.
    before_root: bool,
}

impl<'a, L: LoadChunk> Descent<'a, L> {
    /// Starts before the root; loads nothing.
    pub fn new(loader: &'a L, root: Root, target: LeafTarget) -> Self {
        Self { loader, target, root, frames: Vec::new(), before_root: true }
    }

    /// Returns where chunks are read from.
    pub fn loader(&self) -> &'a L {
        self.loader
    }

    /// Tells what is at the position.
    pub fn at(&self) -> At {
        if let Some((child, level)) = self.child() {
            return At::Child { id: child.id, level };
        }
        if self.frames.is_empty() { At::End } else { At::Value }
    }

    fn child(&self) -> Option<(Child, u8)> {
        if self.before_root {
            let Root { id, level, entries, value_bytes, .. } = self.root;
            return id.map(|id| (Child { id, entries, value_bytes }, level));
        }
        let top = self.frames.last()?;
        Some((top.node.child(top.index)?, top.node.level() - 1))
    }

    /// Returns the key at the position: of the value, or the last one below the child.
    pub fn key(&self) -> Option<&[u8]> {
        self.frames.last().map(|top| &top.key[..])
    }

    /// Returns the value at the position.
    pub fn value(&self) -> Option<Value<'_>> {
        self.frames.last().and_then(|top| top.node.value(top.index))
    }

    /// Returns the leaf of the value at the position, and the value's number in it.
    pub fn leaf(&self) -> Option<(ChunkId, usize)> {
        let top = self.frames.last()?;
        (top.node.level() == 0).then_some((top.id, top.index))
    }

    /// Returns what is lost if the child at the position cannot be loaded.
    pub fn gap(&self) -> Option<Gap> {
        let (child, _) = self.child()?;
        let top = self.frames.last();
        let (after, through) = (top.and_then(|top| top.floor.clone()), top.map(|top| top.key.clone()));
        Some(Gap { after, through, entries: child.entries, value_bytes: child.value_bytes })
    }

    /// Goes past what is at the position, without loading it.
    pub fn skip(&mut self) {
        if std::mem::take(&mut self.before_root) {
            return;
        }
        while let Some(top) = self.frames.last_mut() {
            if top.step() {
                return;
            }
            self.frames.pop();
        }
    }

    /// Loads the child at the position and goes to its first entry; elsewhere does nothing.
    pub fn enter(&mut self) -> Result<(), L::Error> {
        let Some((child, level)) = self.child() else {
            self.before_root = false;
            return Ok(());
        };
        let bytes = self.loader.load(&child.id, self.target.max_node())?;
        let node = self.check(bytes, child, level).map_err(|damage| damage.within(child.id.short()))?;
        let floor = self.frames.last().and_then(|top| top.floor.clone());
        self.before_root = false;
        self.frames.push(Frame::new(child.id, node, floor));
        Ok(())
    }

    fn check(&self, bytes: Vec<u8>, child: Child, level: u8) -> Result<MapNode, Corrupt> {
        let wrong = |wrong: &str| Err(Corrupt::new("map node", wrong));
        if bytes.len() > self.target.max_node() as usize || level > MAX_MAP_LEVEL {
            return wrong("too long, or too high");
        }
        let node = MapNode::decode(bytes)?;
        if node.level() != level {
            return wrong("its level is not the one below its parent's");
        }
        if (node.entries(), node.value_bytes()) != (child.entries, child.value_bytes) {
            return wrong("its counts are not what its parent says");
        }
        match self.frames.last() {
            None if level > 0 && node.count() < 2 => return wrong("a root above the leaves with one entry"),
            Some(parent) if parent.key != node.last_key() => {
                return wrong("its last key is not what its parent says");
            }
            Some(parent) if parent.floor.as_deref().is_some_and(|floor| node.first_key() <= floor) => {
                return wrong("its first key does not come after its left neighbour's last");
            }
            _ => {}
        }
        Ok(node)
    }

    /// Announces the children from the position on, at most `window`, unless they were already.
    ///
    /// Returns whether it did.
    pub fn announce(&mut self, window: usize) -> bool {
        let Some(top) = self.frames.last_mut() else { return false };
        if top.index < top.announced || top.node.level() == 0 {
            return false;
        }
        let ids: Vec<_> = (top.index..)
            .map_while(|index| top.node.child(index))
            .map(|child| child.id)
            .take(window)
            .collect();
        top.announced = top.index + ids.len();
        self.loader.prefetch(&ids);
        true
    }

    /// Goes to the first value whose key is not below `key`, or to the end.
    ///
    /// Forward it climbs only as far as it must; backward it starts again from the leaf or the root it holds.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), L::Error> {
        if self.before_root || self.frames.is_empty() {
            self.frames.clear();
            self.before_root = true;
            self.enter()?;
        } else if let Some(top) = self.frames.pop_if(|top| key <= &top.key[..]) {
            // Backward: within the leaf if it is there, else from the root.
            let in_leaf = top.node.level() == 0 && top.floor.as_deref().is_none_or(|floor| floor < key);
            self.frames.push(top);
            if !in_leaf {
                self.frames.truncate(1);
            }
            if let Some(Frame { id, node, floor, .. }) = self.frames.pop() {
                self.frames.push(Frame::new(id, node, if in_leaf { floor } else { None }));
            }
        }
        while self.frames.last().is_some_and(|top| top.node.last_key() < key) {
            self.frames.pop();
        }
        while let Some(top) = self.frames.last_mut() {
            while &top.key[..] < key && top.step() {}
            if top.node.level() == 0 {
                break;
            }
            self.enter()?;
        }
        Ok(())
    }
}
