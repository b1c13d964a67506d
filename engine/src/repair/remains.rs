//! What is left of a listing that is damaged: entries in their order, each below directories that are there.

use crate::listing::{Body, MAX_NODE_VALUE, Node, StoredPath, Time, Xattrs, decode_node};
use crate::map::{LeafTarget, Remain, Remains, Root, load_value};
use crate::repo::RepoError;
use crate::repo::read::ChunkReader;
use std::collections::VecDeque;

/// What comes next in a listing.
#[derive(Debug)]
pub(super) enum Left {
    /// An entry.
    Entry(StoredPath, Node),
    /// A directory whose own entry is lost, and something in it is not: owned as what is in it, and for nobody else.
    Stead(StoredPath, Node),
    /// An entry whose place is known, and no more.
    Lost(StoredPath, String),
    /// So many entries between two places, as far as these are known.
    Gap { after: Option<StoredPath>, through: Option<StoredPath>, entries: u64 },
}

/// Walks a listing past whatever is damaged. Every entry comes after its directory.
pub(super) struct ListingRemains<'a> {
    loader: &'a ChunkReader<'a>,
    remains: Remains<'a, ChunkReader<'a>>,
    /// The innermost directory that entries may still come for.
    directory: StoredPath,
    /// The last key that was handed out.
    last: Option<Vec<u8>>,
    waiting: VecDeque<Left>,
}

impl<'a> ListingRemains<'a> {
    pub fn new(loader: &'a ChunkReader<'a>, root: Root, target: LeafTarget) -> Self {
        let (directory, last, waiting) = Default::default();
        let remains = Remains::new(loader, root, target, RepoError::is_damage);
        Self { loader, remains, directory, last, waiting }
    }

    /// Goes on; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Left>, RepoError> {
        if let Some(left) = self.waiting.pop_front() {
            return Ok(Some(left));
        }
        let entry = match self.remains.next()? {
            None => return Ok(None),
            Some(Remain::Gap(gap)) => {
                let path = |key: Option<Vec<u8>>| key.and_then(|key| StoredPath::from_key(&key).ok());
                let (after, through) = (path(gap.after), path(gap.through));
                return Ok(Some(Left::Gap { after, through, entries: gap.entries }));
            }
            Some(Remain::Entry(entry)) => entry,
        };
        let Ok(path) = StoredPath::from_key(entry.key) else {
            return Ok(Some(Left::Gap { after: None, through: None, entries: 1 }));
        };
        let node = match load_value(self.loader, entry.value, MAX_NODE_VALUE) {
            Ok(value) => decode_node(&value).map_err(RepoError::from),
            Err(error) => Err(error),
        };
        match node {
            Ok(node) => self.below(path, node),
            Err(error) if error.is_damage() => Ok(Some(Left::Lost(path, error.to_string()))),
            Err(error) => Err(error),
        }
    }

    /// Hands an entry out, after the directories above it that are lost.
    fn below(&mut self, path: StoredPath, node: Node) -> Result<Option<Left>, RepoError> {
        let mut missing = Vec::new();
        let mut above = path.parent();
        while let Some(parent) = above.filter(|parent| !self.directory.is_within(parent)) {
            above = parent.parent();
            missing.push(parent);
        }
        // What stands there and is no directory holds nothing.
        let is_after = |key: &[u8]| self.last.as_deref().is_none_or(|last| last < key);
        if missing.last().is_some_and(|first| !is_after(first.as_key())) {
            return Ok(Some(Left::Lost(path, "what it should be in is no directory".into())));
        }
        for parent in missing.into_iter().rev() {
            let stead = stead_of(&node);
            self.waiting.push_back(Left::Stead(parent, stead));
        }
        self.last = Some(path.as_key().to_vec());
        if node.is_directory() {
            self.directory = path.clone();
        } else if let Some(parent) = path.parent() {
            self.directory = parent;
        }
        self.waiting.push_back(Left::Entry(path, node));
        Ok(self.waiting.pop_front())
    }
}

/// Makes a directory in the stead of one that is lost, for something that is in it.
fn stead_of(node: &Node) -> Node {
    let time = Time { secs: node.mtime.secs, nanos: node.mtime.nanos };
    Node {
        body: Body::Directory,
        mode: 0o700,
        uid: node.uid,
        gid: node.gid,
        names: node.names.clone(),
        mtime: time,
        ctime: time,
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        suspect: false,
    }
}
