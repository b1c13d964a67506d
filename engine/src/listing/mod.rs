//! Listings: the files of one module in one snapshot, as a map from path to node.
//!
//! Keys are [`StoredPath`]s: a directory comes just before its contents, the empty path is the root itself.
//! Values are [`Node`]s, written by [`encode_node`]: one encoding for each node, every invariant checked both ways,
//! so that a listing that was read can be trusted to be well formed, if not well meant. Content above 1,024
//! chunks and large sets of extended attributes stand in listing chunks of their own.
//!
//! This module turns nodes into bytes and back; [`map`](crate::map) keeps the entries. Normative text:
//! `engine/FORMAT.md`, section 10.

mod codec;
mod node;
mod path;
mod walk;
mod xattrs;

pub use codec::{MAX_NODE_VALUE, decode_node, encode_node};
pub use node::{Body, Node, Time, Xattrs};
pub use path::{StoredPath, is_component};
pub use walk::Walk;
pub use xattrs::{XattrSet, decode_xattrs, encode_xattrs, load_xattrs, save_xattrs};

pub use crate::map::{Content, ContentBuilder, ContentReader, Part};

/// Returns the range of keys of a path and everything below it, as [`Cursor::range`](crate::map::Cursor::range)
/// takes it: from the first, and below the second if there is one.
pub fn subtree(path: &StoredPath) -> (&[u8], Option<Vec<u8>>) {
    let key = path.as_key();
    // Whatever is below goes on with NUL; the next possible neighbour goes on with 1.
    let end = (!key.is_empty()).then(|| [key, &[1]].concat());
    (key, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::memory::MemoryChunks;
    use crate::map::{Builder, Cursor, LeafTarget};

    #[test]
    fn a_subtree_is_the_path_and_what_is_below_it() {
        let (store, target) = (MemoryChunks::new(), LeafTarget::new(1024).unwrap());
        let mut builder = Builder::new(&store, &[1; 32], target);
        let keys: [&[u8]; 8] = [b"", b"a", b"a\0b", b"a\0b\0c", b"a\0b\x01", b"a\0bb", b"a\x01", b"b"];
        keys.iter().for_each(|key| builder.push(key, b"").unwrap());
        let root = builder.finish().unwrap();
        for path in keys.iter().map(|key| StoredPath::from_key(key).unwrap()) {
            let mut cursor = Cursor::new(&store, root, target);
            let (start, end) = subtree(&path);
            cursor.range(start, end).unwrap();
            let mut found = Vec::new();
            while let Some(entry) = cursor.next().unwrap() {
                found.push(StoredPath::from_key(entry.key).unwrap());
            }
            let all = keys.iter().map(|key| StoredPath::from_key(key).unwrap());
            assert_eq!(found, all.filter(|other| other.is_within(&path)).collect::<Vec<_>>(), "{path:?}");
        }
    }
}
