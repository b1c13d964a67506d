//! Walking a listing: paths and nodes, with the rule that every parent is there before its entries.

use super::codec::{MAX_NODE_VALUE, decode_node};
use super::node::Node;
use super::path::StoredPath;
use super::subtree;
use crate::error::Corrupt;
use crate::map::{Cursor, LeafTarget, LoadChunk, Root};

/// Walks a path and everything below it, in the order of the listing.
///
/// Whatever it returns can be put back without asking again: paths are well formed, nodes keep their
/// invariants, and the parent of each entry, but for the root directory, was a directory of the same listing.
/// Memory: one node of the map per level, and the path of the last directory.
pub struct Walk<'a, L: LoadChunk> {
    cursor: Cursor<'a, L>,
    /// The innermost directory that entries may still come for.
    directory: StoredPath,
}

impl<'a, L: LoadChunk> Walk<'a, L> {
    /// Starts before the entry `base`, whose parents are looked up and must be directories.
    ///
    /// A base that is not in the listing has nothing to walk.
    pub fn new(loader: &'a L, root: Root, target: LeafTarget, base: &StoredPath) -> Result<Self, L::Error> {
        let mut cursor = Cursor::new(loader, root, target);
        let directory = base.parent().unwrap_or_default();
        let there = cursor.get(base.as_key())?.is_some();
        let key = directory.as_key();
        let ends = (0..=key.len()).filter(|end| *end > 0 && key.get(*end).is_none_or(|byte| *byte == 0));
        for end in ends.filter(|_| there) {
            cursor.get(&key[..end])?;
            let node = cursor.load(MAX_NODE_VALUE)?.map(|value| decode_node(&value)).transpose()?;
            let found = cursor.entry().is_some_and(|entry| entry.key == &key[..end]);
            if !found || !node.is_some_and(|node| node.is_directory()) {
                return Err(orphan(base).into());
            }
        }
        let (start, end) = subtree(base);
        cursor.range(start, end)?;
        Ok(Self { cursor, directory })
    }

    /// Returns the next path and its node; `None` after the last one.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide the end after an error"
    )]
    pub fn next(&mut self) -> Result<Option<(StoredPath, Node)>, L::Error> {
        let Some(path) = self.cursor.next()?.map(|entry| StoredPath::from_key(entry.key)).transpose()? else {
            return Ok(None);
        };
        let Some(value) = self.cursor.load(MAX_NODE_VALUE)? else { return Ok(None) };
        let node = decode_node(&value).map_err(|damage| damage.within(format!("{path:?}")))?;
        if let Some(parent) = path.parent() {
            // Contents come just after their directory, so the parent is the last directory or one above it.
            if !self.directory.is_within(&parent) {
                return Err(orphan(&path).into());
            }
            self.directory = parent;
        }
        if node.is_directory() {
            self.directory = path.clone();
        }
        Ok(Some((path, node)))
    }
}

fn orphan(path: &StoredPath) -> Corrupt {
    Corrupt::new("listing", format!("{path:?} has no parent directory in it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{Body, Time, Xattrs, encode_node};
    use crate::map::Builder;
    use crate::map::memory::{MemoryChunks, MemoryError};

    fn node(body: Body) -> Vec<u8> {
        let (time, names) = (Time { secs: 0, nanos: 0 }, None);
        let (mode, uid, gid, xattrs, link) = (0o755, 0, 0, Xattrs::None, None);
        encode_node(&Node {
            body,
            mode,
            uid,
            gid,
            names,
            mtime: time,
            ctime: time,
            atime: None,
            btime: None,
            xattrs,
            link,
            suspect: false,
        })
        .unwrap()
    }

    /// Walks below `base`; entries that end in a slash are directories, others pipes.
    fn walk(entries: &[&str], base: &str) -> Result<Vec<String>, MemoryError> {
        let (store, target) = (MemoryChunks::new(), LeafTarget::new(1024).unwrap());
        let mut builder = Builder::new(&store, &[1; 32], target);
        for entry in entries {
            let path = StoredPath::from_slashes(entry.as_bytes()).unwrap();
            let body = if entry.ends_with('/') { Body::Directory } else { Body::Fifo };
            builder.push(path.as_key(), &node(body)).unwrap();
        }
        let root = builder.finish().unwrap();
        let base = StoredPath::from_slashes(base.as_bytes()).unwrap();
        let mut walk = Walk::new(&store, root, target, &base)?;
        let mut found = Vec::new();
        while let Some((path, _)) = walk.next()? {
            found.push(String::from_utf8(path.to_slashes()).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn subtrees_are_walked_in_order() {
        let entries = ["/", "a/", "a/b/", "a/b/c", "a/b/d/", "a/b/d/e", "a/f", "a.b", "g/", "g/h"];
        assert_eq!(walk(&entries, "").unwrap().len(), entries.len());
        assert_eq!(walk(&entries, "a/b").unwrap(), ["a/b", "a/b/c", "a/b/d", "a/b/d/e"]);
        assert_eq!(walk(&entries, "a/f").unwrap(), ["a/f"]);
        assert_eq!(walk(&entries, "a/x").unwrap(), [""; 0]);
        assert_eq!(walk(&entries, "x/y/z").unwrap(), [""; 0]);
        assert_eq!(
            walk(&entries[1..], "").unwrap().len(),
            entries.len() - 1,
            "the root itself may be missing"
        );
    }

    #[test]
    fn entries_without_a_parent_directory_are_refused() {
        for (entries, base) in [
            (&["a/b"][..], ""),
            (&["a", "a/b"], ""),
            (&["a", "a/b"], "a"),
            (&["a", "a/b"], "a/b"),
            (&["a/b"], "a/b"),
            (&["a/", "a/b/c/"], "a"),
            (&["a/", "a/b/c/", "a/b/c/d"], "a/b/c"),
            (&["a/", "a/b/", "b/c"], ""),
            (&["a/", "a/b", "a/b/c"], ""),
            (&["", "a/b"], ""),
        ] {
            assert!(
                matches!(walk(entries, base), Err(MemoryError::Corrupt(_))),
                "{entries:?} below {base:?}"
            );
        }
    }
}
