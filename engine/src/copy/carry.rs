//! Maps, contents and blobs of one class, from one repository into another or into the same one.
//!
//! Where data was cut stays: a chunk is read, verified by its name there, and named by the keys here. Lists and maps are
//! built anew, since their boundaries follow the keys of the repository. Memory: a chunk, and what maps, lists and readers
//! hold.

use super::CopyError;
use super::memo::Memo;
use crate::backup::{ListingSaver, Sinks, built};
use crate::crypto::Secret;
use crate::error::Corrupt;
use crate::format::{MAX_CHUNK, VALUE_PIECE};
use crate::id::{ChunkId, LinkGroup};
use crate::index::{PackNo, SpillMap};
use crate::listing::{Body, Node, StoredPath, Walk, Xattrs, encode_node};
use crate::map::{
    Blob, BlobReader, BlobWriter, Builder, Content, ContentBuilder, ContentReader, Cursor, Root, Value,
};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::read::ChunkReader;
use crate::repo::write::{ChunkSink, Store};
use crate::repo::{RepoError, Repository};
use crate::snapshot::Totals;
use std::cell::RefCell;

/// Bytes of maps between two events.
const TOLD_BYTES: u64 = 1 << 20;
/// Entries between two events.
const TOLD_ENTRIES: u64 = 64;

/// Decides by path and kind whether an entry stays; what is below a directory that goes is not asked for.
pub(crate) type Stays<'a> = dyn Fn(&StoredPath, bool) -> bool + 'a;

/// Figures of what was carried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub bytes_read: u64,
    pub bytes_known: u64,
}

/// What one section of an account goes through.
pub(crate) struct Carry<'c> {
    from: &'c Repository,
    to: &'c Repository,
    nodes: ChunkReader<'c>,
    contents: ChunkReader<'c>,
    store: &'c Store<'c>,
    saver: ListingSaver<'c>,
    boundary: Secret,
    link_key: Secret,
    events: &'c dyn Events,
    state: RefCell<State<'c>>,
}

struct State<'c> {
    sink: ChunkSink<'c>,
    last_pack: Option<PackNo>,
    figures: Figures,
}

/// What a listing became.
pub(crate) struct Listed {
    pub root: Root,
    /// Entries, files, directories and bytes that did not stay.
    pub gone: Totals,
}

impl<'c> Carry<'c> {
    pub fn new(
        from: &'c Repository,
        to: &'c Repository,
        sinks: &Sinks<'c>,
        events: &'c dyn Events,
    ) -> Result<Self, CopyError> {
        let class = sinks.class();
        from.assert_opens(class).map_err(CopyError::Source)?;
        let further = |context| to.objects.keyring.further(context).map_err(RepoError::from);
        let contents = ChunkReader::new(from, class.contents(), from.budget.listing_bytes());
        let state = State { sink: sinks.contents(), last_pack: None, figures: Figures::default() };
        Ok(Self {
            from,
            to,
            nodes: ChunkReader::of_maps(from, class),
            contents,
            store: sinks.store(),
            saver: sinks.saver(),
            boundary: further("dedup 2026-11-21 boundary").map_err(CopyError::target)?,
            link_key: further("dedup 2026-11-21 hard link").map_err(CopyError::target)?,
            events,
            state: RefCell::new(state),
        })
    }

    fn is_same_repository(&self) -> bool {
        self.from.id() == self.to.id()
    }

    /// Hands the open blocks on. To be called when no more comes.
    pub fn finish(self) -> Result<Figures, CopyError> {
        let mut state = self.state.into_inner();
        state.sink.flush().and_then(|()| self.saver.flush()).map_err(CopyError::target)?;
        Ok(state.figures)
    }

    /// Carries a chunk, unless it is here already, and returns what it is called here.
    fn chunk(
        &self,
        memo: &RefCell<Memo<'_>>,
        reader: &ChunkReader<'_>,
        id: &ChunkId,
        len: u64,
    ) -> Result<ChunkId, CopyError> {
        if self.events.cancelled() {
            return Err(CopyError::target(RepoError::Cancelled));
        }
        let kind = reader.kind();
        let known = match self.is_same_repository() {
            true => Some(*id),
            false => memo.borrow().get(kind, id).map_err(CopyError::target)?,
        };
        let mut state = self.state.borrow_mut();
        if let Some(known) = known
            && self.store.knows(&known, &mut state.last_pack).map_err(CopyError::target)?
        {
            state.figures.bytes_known += len;
            return Ok(known);
        }
        let plain = reader.read(id, MAX_CHUNK).map_err(CopyError::Source)?;
        if plain.len() as u64 != len {
            let wrong = format!("{} bytes; {len} were expected", plain.len());
            return Err(CopyError::Source(Corrupt::new(format!("chunk {id}"), wrong).into()));
        }
        state.figures.bytes_read += len;
        // Of secrets both are of one kind: nodes and contents share packs, never blocks.
        let put = match std::ptr::eq(reader, &self.nodes) {
            true => crate::map::SaveChunk::save(&self.saver, &plain),
            false => state.sink.put(&plain).map(|(id, _)| id),
        };
        let here = put.map_err(CopyError::target)?;
        if !self.is_same_repository() {
            memo.borrow_mut().put(kind, id, &here).map_err(CopyError::target)?;
        }
        Ok(here)
    }

    fn content(&self, memo: &RefCell<Memo<'_>>, content: &Content) -> Result<Content, CopyError> {
        let mut parts = ContentReader::new(&self.nodes, content);
        let mut made = ContentBuilder::new(&self.saver);
        let mut untold = 0;
        while let Some((_, part)) = parts.next().map_err(CopyError::Source)? {
            let id = self.chunk(memo, &self.contents, &part.id, part.len)?;
            let len = u32::try_from(part.len).unwrap_or(u32::MAX);
            built(made.push(id, len)).map_err(CopyError::target)?;
            untold += part.len;
            if untold >= TOLD_BYTES {
                self.events.event(Event::Done { entries: 0, bytes: std::mem::take(&mut untold), path: None });
            }
        }
        self.events.event(Event::Done { entries: 0, bytes: untold, path: None });
        built(made.finish()).map_err(CopyError::target)
    }

    /// Carries a blob.
    pub fn blob(&self, memo: &RefCell<Memo<'_>>, blob: &Blob) -> Result<Blob, CopyError> {
        let mut pieces = BlobReader::new(&self.nodes, blob).map_err(CopyError::Source)?;
        let (mut writer, mut left) = (BlobWriter::new(&self.saver), blob.len);
        while let Some(id) = pieces.next_id().map_err(CopyError::Source)? {
            let len = left.min(VALUE_PIECE as u64);
            left -= len;
            let here = self.chunk(memo, &self.nodes, &id, len)?;
            built(writer.saved_piece(here, len as u32)).map_err(CopyError::target)?;
        }
        if left > 0 {
            let wrong = format!("{left} bytes of {} are in no piece", blob.len);
            return Err(CopyError::Source(Corrupt::new("blob", wrong).into()));
        }
        built(writer.finish()).map_err(CopyError::target)
    }

    /// Carries a map whose values mean nothing here: records, problems. `stays` is asked for each entry.
    pub fn map(
        &self,
        memo: &RefCell<Memo<'_>>,
        root: &Root,
        stays: &mut dyn FnMut(&[u8], Value<'_>) -> bool,
    ) -> Result<Root, CopyError> {
        let mut cursor = Cursor::new(&self.nodes, *root, self.from.leaf_target());
        let mut made = Builder::new(&self.saver, &self.boundary, self.to.leaf_target());
        let mut untold = 0;
        while let Some(entry) = cursor.next().map_err(CopyError::Source)? {
            if self.events.cancelled() {
                return Err(CopyError::target(RepoError::Cancelled));
            }
            if !stays(entry.key, entry.value) {
                continue;
            }
            untold += entry.value.size_bytes();
            let pushed = match entry.value {
                Value::Inline(_) => made.push_value(entry.key, entry.value),
                Value::Blob(blob) => made.push_value(entry.key, Value::Blob(self.blob(memo, &blob)?)),
            };
            built(pushed).map_err(CopyError::target)?;
            if untold >= TOLD_BYTES {
                self.events.event(Event::Done { entries: 0, bytes: std::mem::take(&mut untold), path: None });
            }
        }
        self.events.event(Event::Done { entries: 0, bytes: untold, path: None });
        built(made.finish()).map_err(CopyError::target)
    }

    /// Carries a listing, but for entries that do not stay.
    pub fn listing(
        &self,
        memo: &RefCell<Memo<'_>>,
        root: &Root,
        stays: &Stays<'_>,
    ) -> Result<Listed, CopyError> {
        let mut out = Totals::default();
        if root.entries == 0 {
            return Ok(Listed { root: *root, gone: out });
        }
        let target = self.from.leaf_target();
        let mut walk =
            Walk::new(&self.nodes, *root, target, &StoredPath::root()).map_err(CopyError::Source)?;
        let mut made = Builder::new(&self.saver, &self.boundary, self.to.leaf_target());
        let mut groups = self.to.index().map_err(CopyError::target)?.spill_map();
        let (mut gone, mut untold): (Option<StoredPath>, u64) = (None, 0);
        while let Some((path, mut node)) = walk.next().map_err(CopyError::Source)? {
            if gone.as_ref().is_some_and(|gone| path.is_within(gone)) {
                count(&mut out, &node);
                continue;
            }
            if !stays(&path, node.is_directory()) {
                count(&mut out, &node);
                gone = Some(path);
                continue;
            }
            match self.node(memo, &path, &mut node, &mut groups) {
                Err(CopyError::Source(_)) if planted(Bug::CopyGaps) => continue,
                carried => carried?,
            }
            let encoded = encode_node(&node).map_err(|corrupt| CopyError::Source(corrupt.into()))?;
            built(made.push(path.as_key(), &encoded)).map_err(CopyError::target)?;
            untold += 1;
            if untold == TOLD_ENTRIES {
                let path = Some(path.to_slashes());
                self.events.event(Event::Done { entries: std::mem::take(&mut untold), bytes: 0, path });
            }
        }
        self.events.event(Event::Done { entries: untold, bytes: 0, path: None });
        let root = built(made.finish()).map_err(CopyError::target)?;
        Ok(Listed { root, gone: out })
    }

    fn group_of(&self, path: &StoredPath) -> LinkGroup {
        let hash = blake3::keyed_hash(&self.link_key, path.as_key());
        let mut group = [0; LinkGroup::LEN];
        group.copy_from_slice(&hash.as_bytes()[..LinkGroup::LEN]);
        LinkGroup::from_bytes(group)
    }

    /// Puts what a node refers to in terms of this repository.
    pub fn node(
        &self,
        memo: &RefCell<Memo<'_>>,
        path: &StoredPath,
        node: &mut Node,
        groups: &mut SpillMap<'_>,
    ) -> Result<(), CopyError> {
        if let Xattrs::Chunk { len, id } = &mut node.xattrs {
            *id = self.chunk(memo, &self.nodes, id, *len)?;
        }
        if let Body::File { content, .. } = &mut node.body {
            *content = self.content(memo, content)?;
        }
        // Last: a group is named for an entry that is there.
        if let Some(group) = node.link {
            // The first name of a group in a listing is its smallest.
            let known = groups.get(group.as_bytes()).map_err(|error| CopyError::target(error.into()))?;
            let known = known.and_then(|known| known.try_into().ok()).map(LinkGroup::from_bytes);
            let here = known.unwrap_or_else(|| self.group_of(path));
            if known.is_none() {
                let put = groups.insert(group.as_bytes(), here.as_bytes());
                put.map_err(|error| CopyError::target(error.into()))?;
            }
            node.link = Some(here);
        }
        Ok(())
    }
}

impl Figures {
    /// Adds those of another part.
    pub fn add(&mut self, other: Self) {
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
        self.bytes_known = self.bytes_known.saturating_add(other.bytes_known);
    }
}

/// Adds an entry to the figures of a listing.
pub(crate) fn count(totals: &mut Totals, node: &Node) {
    totals.entries += 1;
    totals.bytes = totals.bytes.saturating_add(node.size());
    match node.body {
        Body::File { .. } => totals.files += 1,
        Body::Directory => totals.directories += 1,
        _ => {}
    }
}
