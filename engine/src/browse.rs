//! Looking into snapshots without restoring them: list, find, compare, read one file.

use crate::error::{Corrupt, Kind};
use crate::format::{MAX_BODY, MAX_CHUNK};
use crate::listing::{
    Body, ContentReader, MAX_NODE_VALUE, Node, StoredPath, Walk, XattrSet, decode_node, load_xattrs, subtree,
};
use crate::map::{Blob, BlobReader, Change as MapChange, Class, Cursor, Diff, Root, Value, load_value};
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Listing, Outcome};
use crate::wire::Reader;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Why a snapshot could not be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowseError {
    /// The repository could not be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Where the bytes were to go did not take them.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl BrowseError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::Output(_) => Kind::Io,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) => error.hint(),
            Self::Output(_) => None,
        }
    }
}

impl From<Corrupt> for BrowseError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Repo(corrupt.into())
    }
}

/// Receives entries; [`ControlFlow::Break`] ends the walk.
pub type Each<'a> = dyn FnMut(StoredPath, Node) -> ControlFlow<()> + 'a;

/// One difference between two listings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "handed out one at a time, never stored")]
pub enum Change {
    /// Only the new listing has it.
    Added(Node),
    /// Only the old listing has it.
    Removed(Node),
    /// Both have it, and it differs.
    Modified {
        /// In the old listing.
        old: Node,
        /// In the new listing.
        new: Node,
    },
}

/// Makes a reader of maps, if the key in use opens that class.
pub fn maps(repo: &Repository, class: Class) -> Result<ChunkReader<'_>, BrowseError> {
    repo.assert_opens(class)?;
    Ok(ChunkReader::of_maps(repo, class))
}

/// Hands out `base` itself and everything below it, in order.
pub fn walk(
    repo: &Repository,
    root: &Root,
    base: &StoredPath,
    each: &mut Each<'_>,
) -> Result<(), BrowseError> {
    let reader = maps(repo, root.class)?;
    let mut walk = Walk::new(&reader, *root, repo.leaf_target(), base)?;
    while let Some((path, node)) = walk.next()? {
        if each(path, node).is_break() {
            break;
        }
    }
    Ok(())
}

fn next(cursor: &mut Cursor<'_, ChunkReader<'_>>) -> Result<Option<(StoredPath, Node)>, BrowseError> {
    let Some(path) = cursor.next()?.map(|entry| StoredPath::from_key(entry.key)).transpose()? else {
        return Ok(None);
    };
    let value = cursor.load(MAX_NODE_VALUE)?.unwrap_or_default();
    Ok(Some((path, decode_node(&value)?)))
}

/// Hands out the entries right below `dir`, in order, seeking over what is below them.
pub fn children(
    repo: &Repository,
    root: &Root,
    dir: &StoredPath,
    each: &mut Each<'_>,
) -> Result<(), BrowseError> {
    let reader = maps(repo, root.class)?;
    let mut cursor = Cursor::new(&reader, *root, repo.leaf_target());
    let (start, end) = subtree(dir);
    cursor.range(start, end.clone())?;
    let depth = dir.components().count();
    while let Some((path, node)) = next(&mut cursor)? {
        let below = path.components().count() - depth;
        if below == 1 && each(path.clone(), node.clone()).is_break() {
            break;
        }
        if below == 1
            && node.is_directory()
            && let (_, Some(after)) = subtree(&path)
        {
            cursor.range(&after, end.clone())?;
        }
    }
    Ok(())
}

/// Returns the entry at a path, if there is one.
pub fn find_entry(repo: &Repository, root: &Root, path: &StoredPath) -> Result<Option<Node>, BrowseError> {
    let reader = maps(repo, root.class)?;
    let mut cursor = Cursor::new(&reader, *root, repo.leaf_target());
    cursor.range(path.as_key(), None)?;
    Ok(next(&mut cursor)?.filter(|(found, _)| found == path).map(|(_, node)| node))
}

/// Reads contents and attributes of entries. One for many entries: files that are stored together are read
/// together.
pub struct Contents<'r> {
    listing: ChunkReader<'r>,
    data: ChunkReader<'r>,
}

impl<'r> Contents<'r> {
    /// Makes a reader for entries of listings of a class.
    pub fn new(repo: &'r Repository, class: Class) -> Result<Self, BrowseError> {
        let data = ChunkReader::new(repo, class.contents(), repo.budget.listing_bytes());
        Ok(Self { listing: maps(repo, class)?, data })
    }

    /// Returns the extended attributes of an entry.
    pub fn xattrs(&self, node: &Node) -> Result<XattrSet, BrowseError> {
        Ok(load_xattrs(&self.listing, &node.xattrs)?)
    }

    /// Writes the bytes of a file, holes as zeros; every chunk is verified before it is written.
    pub fn write(&self, node: &Node, out: &mut dyn Write) -> Result<(), BrowseError> {
        let Body::File { size, holes, content } = &node.body else { return Ok(()) };
        let mut parts = ContentReader::new(&self.listing, content);
        let (mut at, mut holes) = (0u64, holes.iter().peekable());
        let mut fill = |at: &mut u64, out: &mut dyn Write| -> io::Result<Option<u64>> {
            while let Some(hole) = holes.next_if(|hole| hole.start == *at) {
                write_zeros(out, hole.end - hole.start)?;
                *at = hole.end;
            }
            Ok(holes.peek().map(|hole| hole.start))
        };
        while let Some((_, part)) = parts.next()? {
            let chunk = self.data.read(&part.id, MAX_CHUNK)?;
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let until_hole = fill(&mut at, out)?.map_or(u64::MAX, |hole| hole - at);
                let len = rest.len().min(usize::try_from(until_hole).unwrap_or(usize::MAX));
                out.write_all(&rest[..len])?;
                rest = &rest[len..];
                at += len as u64;
            }
        }
        fill(&mut at, out)?;
        if at != *size {
            return Err(Corrupt::new("file", format!("{at} bytes came out instead of {size}")).into());
        }
        Ok(())
    }
}

/// Returns the bytes of a small thing that an account refers to: a manifest, the schema of a dump.
///
/// # Errors
/// It is longer than `max_bytes`, damaged, or of a class that the key in use does not open.
pub fn blob(repo: &Repository, class: Class, blob: &Blob, max_bytes: u64) -> Result<Vec<u8>, BrowseError> {
    if blob.len > max_bytes {
        return Err(Corrupt::new("blob", format!("{} bytes; {max_bytes} are allowed", blob.len)).into());
    }
    if blob.len == 0 {
        return Ok(Vec::new());
    }
    let reader = maps(repo, class)?;
    let mut pieces = BlobReader::new(&reader, blob)?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next()? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn write_zeros(out: &mut dyn Write, mut len: u64) -> io::Result<()> {
    let zeros = [0; 16 << 10];
    while len > 0 {
        let now = len.min(zeros.len() as u64);
        out.write_all(&zeros[..now as usize])?;
        len -= now;
    }
    Ok(())
}

/// Hands out the differences of two listings, in order; equal subtrees are not read.
pub fn diff(
    repo: &Repository,
    old: &Root,
    new: &Root,
    each: &mut dyn FnMut(StoredPath, Change) -> ControlFlow<()>,
) -> Result<(), BrowseError> {
    if old.class != new.class {
        let wrong = "secrets cannot be compared with what is none: other keys name what they consist of";
        return Err(RepoError::Refused(wrong.into()).into());
    }
    let reader = maps(repo, old.class)?;
    let mut diff = Diff::new((&reader, *old), (&reader, *new), repo.leaf_target());
    while let Some(change) = diff.next()? {
        let (key, change) = match change {
            MapChange::Added { key, new } => (key, Change::Added(load_node(&reader, new)?)),
            MapChange::Removed { key, old } => (key, Change::Removed(load_node(&reader, old)?)),
            MapChange::Changed { key, old, new } => {
                (key, Change::Modified { old: load_node(&reader, old)?, new: load_node(&reader, new)? })
            }
        };
        if each(StoredPath::from_key(key)?, change).is_break() {
            break;
        }
    }
    Ok(())
}

fn load_node(reader: &ChunkReader<'_>, value: Value<'_>) -> Result<Node, BrowseError> {
    Ok(decode_node(&load_value(reader, value, MAX_NODE_VALUE)?)?)
}

/// Hands out every entry of a listing that had a problem: listing key, outcome, text.
pub fn problems(
    repo: &Repository,
    listing: &Listing,
    each: &mut dyn FnMut(&[u8], Outcome, String),
) -> Result<(), BrowseError> {
    let reader = maps(repo, listing.problems.class)?;
    let mut cursor = Cursor::new(&reader, listing.problems, repo.leaf_target());
    while let Some(key) = cursor.next()?.map(|entry| entry.key.to_vec()) {
        let value = cursor.load(MAX_BODY.into())?.unwrap_or_default();
        let mut value = Reader::new("problem", &value);
        let code = value.u8()?;
        let outcome =
            Outcome::from_code(code).ok_or_else(|| value.corrupt(format!("outcome {code} is unknown")))?;
        let message = value.text(crate::format::MAX_LIST, "message")?;
        value.finish()?;
        each(&key, outcome, message);
    }
    Ok(())
}
