//! Whether every entry of a listing is in a directory of it, looked at only where it differs from one that is whole.

use crate::error::Corrupt;
use crate::listing::{MAX_NODE_VALUE, StoredPath, decode_node, subtree};
use crate::map::{Cursor, LeafTarget, LoadChunk, Root};

/// Follows the differences from a listing in which every entry has its directory to another one, in order.
///
/// What both have is not looked at: its directory is there as well, unless that is among the differences.
/// Memory: one node of the map per level, and a path.
pub(super) struct Parents<'a, L: LoadChunk> {
    cursor: Cursor<'a, L>,
    /// The last directory that was met or looked up: those above it are there, or are looked at themselves.
    directory: StoredPath,
}

impl<'a, L: LoadChunk> Parents<'a, L> {
    /// Starts at the beginning of the other listing.
    pub fn new(loader: &'a L, root: Root, target: LeafTarget) -> Self {
        Self { cursor: Cursor::new(loader, root, target), directory: StoredPath::root() }
    }

    /// Looks at an entry that only the other listing has, or has otherwise.
    pub fn came(&mut self, path: &StoredPath, is_directory: bool) -> Result<(), L::Error> {
        if let Some(parent) = path.parent().filter(|parent| !self.directory.is_within(parent)) {
            // From there on, without the end that an earlier look may have set.
            self.cursor.range(parent.as_key(), None)?;
            let found = self.cursor.next()?.is_some_and(|entry| entry.key == parent.as_key());
            let value = if found { self.cursor.load(MAX_NODE_VALUE)? } else { None };
            let is_there =
                value.map(|value| decode_node(&value)).transpose()?.is_some_and(|node| node.is_directory());
            if !is_there {
                return Err(orphan(path).into());
            }
            self.directory = parent;
        }
        if is_directory {
            self.directory.clone_from(path);
        }
        Ok(())
    }

    /// Looks whether something is left below a directory that the other listing does not have any more. The root itself need not
    /// be an entry (`FORMAT.md` 10).
    pub fn went(&mut self, path: &StoredPath) -> Result<(), L::Error> {
        if *path == StoredPath::root() {
            return Ok(());
        }
        let (start, end) = subtree(path);
        self.cursor.range(start, end)?;
        while let Some(entry) = self.cursor.next()? {
            if entry.key != path.as_key() {
                return Err(orphan(&StoredPath::from_key(entry.key)?).into());
            }
        }
        Ok(())
    }
}

fn orphan(path: &StoredPath) -> Corrupt {
    Corrupt::new("listing", format!("{path:?} has no parent directory in it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Body, Node, Time, Walk, Xattrs, encode_node};
    use crate::map::memory::{MemoryChunks, MemoryError};
    use crate::map::{Builder, Diff, load_value};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn node(is_directory: bool, mode: u32) -> Vec<u8> {
        let (time, names) = (Time { secs: 0, nanos: 0 }, None);
        let body = if is_directory { Body::Directory } else { Body::Fifo };
        let (uid, gid, xattrs, link, suspect) = (0, 0, Xattrs::None, None, false);
        let (mtime, ctime, atime, btime) = (time, time, None, None);
        encode_node(&Node { body, mode, uid, gid, names, mtime, ctime, atime, btime, xattrs, link, suspect })
            .unwrap()
    }

    /// Paths of up to three components of two names each: whether they are directories, and a mode.
    fn entries() -> impl Strategy<Value = BTreeMap<Vec<bool>, (bool, u32)>> {
        let path = proptest::collection::vec(any::<bool>(), 1..4);
        let is_directory = proptest::bool::weighted(0.7);
        proptest::collection::btree_map(path, (is_directory, 0..2u32), 0..14)
    }

    /// Takes out what has no directory.
    fn whole(all: BTreeMap<Vec<bool>, (bool, u32)>) -> BTreeMap<Vec<bool>, (bool, u32)> {
        let mut kept = BTreeMap::<Vec<bool>, (bool, u32)>::new();
        for (path, entry) in all {
            let parent = &path[..path.len() - 1];
            if parent.is_empty() || kept.get(parent).is_some_and(|(is_directory, _)| *is_directory) {
                kept.insert(path, entry);
            }
        }
        kept
    }

    fn store(chunks: &MemoryChunks, entries: &BTreeMap<Vec<bool>, (bool, u32)>) -> Root {
        let mut by_key = BTreeMap::new();
        for (path, (is_directory, mode)) in entries {
            let names: Vec<&str> = path.iter().map(|name| if *name { "a" } else { "b" }).collect();
            let path = StoredPath::from_slashes(names.join("/").as_bytes()).unwrap();
            by_key.insert(path.as_key().to_vec(), node(*is_directory, *mode));
        }
        let mut builder = Builder::new(chunks, &[1; 32], LeafTarget::new(1024).unwrap());
        by_key.iter().for_each(|(key, value)| builder.push(key, value).unwrap());
        builder.finish().unwrap()
    }

    fn follow(chunks: &MemoryChunks, old: Root, new: Root) -> Result<(), MemoryError> {
        let target = LeafTarget::new(1024).unwrap();
        let mut diff = Diff::new((chunks, old), (chunks, new), target);
        let mut parents = Parents::new(chunks, new, target);
        while let Some(change) = diff.next()? {
            super::super::maps::follow(&mut parents, &change, &mut |value| {
                Ok(decode_node(&load_value(chunks, value, MAX_NODE_VALUE)?)?)
            })?;
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        /// A walk, as a restore makes it, sees everything; the differences must tell the same.
        #[test]
        fn the_differences_tell_what_a_walk_would(old in entries(), new in entries(), keep in any::<u16>()) {
            let (chunks, target) = (MemoryChunks::new(), LeafTarget::new(1024).unwrap());
            let old = whole(old);
            // Much of the old one is in the new one.
            let mut new = new;
            new.extend(old.clone().into_iter().enumerate().filter(|(n, _)| keep >> n & 1 == 1).map(|(_, entry)| entry));
            let (old, new_root) = (store(&chunks, &old), store(&chunks, &new));
            let mut walk = Walk::new(&chunks, new_root, target, &StoredPath::root()).unwrap();
            let walked = loop {
                match walk.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            prop_assert_eq!(follow(&chunks, old, new_root).is_ok(), walked);
            prop_assert_eq!(walked, whole(new.clone()) == new);
            prop_assert_eq!(follow(&chunks, Root::EMPTY, new_root).is_ok(), walked);
        }
    }
}
