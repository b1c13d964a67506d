//! Planning: which entry, which chunks, from where. One thread, in listing order, in bounded windows.

use super::sink::{Item, Prepared, Sink, SinkError};
use super::{RestoreError, RestoreRequest, Tally};
use crate::id::ChunkId;
use crate::index::{Location, SpillMap};
use crate::listing::{Body, ContentReader, Node, StoredPath, Walk, load_xattrs};
use crate::map::Root;
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crossbeam::channel::Sender;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Most pieces in one window: 3 MiB of them.
pub(super) const WINDOW_PIECES: usize = 65_536;
/// Most entries in one window.
const WINDOW_ENTRIES: usize = 1024;
/// Most files of more than one piece in one window: each may be open at once.
const WINDOW_OPEN: usize = 256;
/// Most bytes of paths, attributes and lists in one window, but for its last entry: attributes alone may have 8 MiB,
/// and a hostile listing gives every entry the same ones.
const WINDOW_BYTES: usize = 4 << 20;

/// An entry on its way.
pub(super) struct Planned {
    pub path: StoredPath,
    pub node: Node,
    pub xattrs: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Planned {
    pub fn item(&self) -> Item<'_> {
        Item { path: &self.path, node: &self.node, xattrs: &self.xattrs }
    }

    /// Returns about how much memory it takes in bytes.
    fn weight(&self) -> usize {
        let body = match &self.node.body {
            Body::File { holes, content, .. } => size_of_val(&holes[..]) + size_of_val(&content.parts[..]),
            Body::Symlink(target) => target.len(),
            _ => 0,
        };
        let xattrs = self.xattrs.iter().map(|(name, value)| 48 + name.len() + value.len()).sum::<usize>();
        256 + self.path.as_key().len() + body + xattrs
    }
}

/// A file whose content is to be written; shared by the windows its pieces are in.
pub(super) struct FileTask<K: Sink> {
    pub entry: Planned,
    /// The file that was there, to be compared first.
    pub existing: std::sync::Mutex<Option<K::Existing>>,
    pub open: std::sync::Mutex<Option<K::File>>,
    /// Pieces not yet written, those not yet planned included.
    pub left: AtomicU64,
    pub failed: AtomicBool,
}

/// A chunk of a file: where it lies and where it goes.
pub(super) struct Piece {
    pub id: ChunkId,
    pub location: Location,
    pub file: usize,
    /// Offset in the stream of stored bytes; holes are left out of it.
    pub stream_offset: u64,
}

/// Work for the executor; each window is complete in itself but for files that go on in the next.
pub(super) struct Window<K: Sink> {
    pub files: Vec<Arc<FileTask<K>>>,
    pub pieces: Vec<Piece>,
    /// Further names of files, after these files are complete.
    pub links: Vec<(StoredPath, Planned)>,
    /// Directories that nothing more comes into, deepest first.
    pub left: Vec<Planned>,
    bytes: usize,
}

impl<K: Sink> Window<K> {
    fn new() -> Self {
        Self { files: Vec::new(), pieces: Vec::new(), links: Vec::new(), left: Vec::new(), bytes: 0 }
    }

    fn is_full(&self, open: usize) -> bool {
        let entries = self.files.len() + self.links.len() + self.left.len();
        self.pieces.len() >= WINDOW_PIECES
            || entries >= WINDOW_ENTRIES
            || open >= WINDOW_OPEN
            || self.bytes >= WINDOW_BYTES
    }
}

/// Calls `each` with every selected entry of the request's subtree, in order.
pub(super) fn each_selected(
    repo: &Repository,
    reader: &ChunkReader<'_>,
    root: &Root,
    request: &RestoreRequest<'_>,
    each: &mut dyn FnMut(StoredPath, Node) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let mut walk = Walk::new(reader, *root, repo.leaf_target(), &request.base)?;
    let mut any = false;
    while let Some((path, node)) = walk.next()? {
        any = true;
        if (request.select)(&path, &node) {
            each(path, node)?;
        }
    }
    if any || request.base == StoredPath::root() {
        Ok(())
    } else {
        Err(RestoreError::NoSuchPath(request.base.clone()))
    }
}

/// Plans the whole restore and sends it window by window.
pub(super) fn run<K: Sink>(
    repo: &Repository,
    reader: &ChunkReader<'_>,
    root: &Root,
    sink: &K,
    request: &RestoreRequest<'_>,
    tally: &Tally<'_>,
    windows: Sender<Window<K>>,
) -> Result<(), RestoreError> {
    let mut planner = Planner {
        repo,
        reader,
        sink,
        tally,
        windows,
        window: Window::new(),
        open: 0,
        directories: Vec::new(),
        here: Vec::new(),
        links: repo.index()?.spill_map(),
        gone: false,
    };
    let planned = each_selected(repo, reader, root, request, &mut |path, node| planner.entry(path, node));
    let left = planner.leave_until(|_| false);
    planner.send();
    if planner.gone { Ok(()) } else { planned.and(left) }
}

struct Planner<'a, K: Sink> {
    repo: &'a Repository,
    reader: &'a ChunkReader<'a>,
    sink: &'a K,
    tally: &'a Tally<'a>,
    windows: Sender<Window<K>>,
    window: Window<K>,
    open: usize,
    /// Directories that are being filled, from the root down: each by the length of its key in `here`, since a
    /// path of 32,768 names would take 1 GiB if each kept its own.
    directories: Vec<(usize, Node)>,
    /// Key of the last of them.
    here: Vec<u8>,
    /// First path of each hard-link group with the same content; what does not fit in memory is on disk.
    links: SpillMap<'a>,
    /// The executor is gone; it knows why.
    gone: bool,
}

impl<K: Sink> Planner<'_, K> {
    fn entry(&mut self, path: StoredPath, node: Node) -> Result<(), RestoreError> {
        if self.tally.events.cancelled() {
            return Err(RepoError::Cancelled.into());
        }
        self.leave_until(|here| {
            here.is_empty() || {
                path.as_key()
                    .strip_prefix(here)
                    .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == 0))
            }
        })?;
        self.tally.with(|report| {
            report.entries += 1;
            report.files += u64::from(matches!(node.body, Body::File { .. }));
            report.bytes = report.bytes.saturating_add(node.size());
        });
        // Those of a directory are not needed before all below it is done.
        let xattrs = if node.is_directory() { Arc::default() } else { self.xattrs(&path, &node) };
        let planned = Planned { path, node, xattrs };
        self.window.bytes += planned.weight();
        if let Some(group) = planned.node.link {
            // Names of one inode are read one after another. What changed in between, or was never one inode, is
            // restored as the listing has it: apart.
            let key = [&group.as_bytes()[..], hash_of_content(&planned.node.body).as_bytes()].concat();
            let first = self.links.get(&key).map_err(RepoError::from)?;
            if let Some(first) = first {
                self.window.links.push((StoredPath::from_key(&first).map_err(RepoError::from)?, planned));
                return self.send_if_full();
            }
            let kept = self.links.insert(&key, planned.path.as_key());
            kept.map_err(RepoError::from)?;
        }
        match self.sink.prepare(&planned.item()) {
            Ok(Prepared::Done { changed }) => {
                self.tally.with(|report| report.unchanged += u64::from(!changed));
                self.tally.done(&planned.path, 1, 0);
            }
            Ok(Prepared::Directory) => {
                self.here.clear();
                self.here.extend_from_slice(planned.path.as_key());
                self.directories.push((self.here.len(), planned.node));
            }
            Ok(Prepared::Write) => self.file(planned, None)?,
            Ok(Prepared::Compare(existing)) => self.file(planned, Some(existing))?,
            Err(error) => self.failed(&planned.path, error)?,
        }
        self.send_if_full()
    }

    fn xattrs(&self, path: &StoredPath, node: &Node) -> Arc<Vec<(Vec<u8>, Vec<u8>)>> {
        load_xattrs(self.reader, &node.xattrs).map(Arc::new).unwrap_or_else(|error| {
            self.tally.without_attributes(path, &error);
            Arc::default()
        })
    }

    /// Leaves directories, the innermost first, until one is to be stayed in.
    fn leave_until(&mut self, stay: impl Fn(&[u8]) -> bool) -> Result<(), RestoreError> {
        while let Some((len, _)) = self.directories.last()
            && !stay(&self.here[..*len])
        {
            let Some((len, node)) = self.directories.pop() else { break };
            self.here.truncate(len);
            let path = StoredPath::from_key(&self.here).map_err(RepoError::from)?;
            let xattrs = self.xattrs(&path, &node);
            let planned = Planned { path, node, xattrs };
            self.window.bytes += planned.weight();
            self.window.left.push(planned);
            self.send_if_full()?;
        }
        Ok(())
    }

    fn failed(&mut self, path: &StoredPath, error: SinkError) -> Result<(), RestoreError> {
        fatal(&error)?;
        self.tally.problem(path, error.to_string());
        Ok(())
    }

    /// Plans the content of a file: every chunk with its place, over as many windows as it takes.
    fn file(&mut self, planned: Planned, existing: Option<K::Existing>) -> Result<(), RestoreError> {
        let Body::File { content, .. } = &planned.node.body else { return Ok(()) };
        let content = content.clone();
        let task = Arc::new(FileTask::<K> {
            existing: existing.into(),
            open: None.into(),
            left: AtomicU64::new(content.chunks()),
            failed: AtomicBool::new(false),
            entry: planned,
        });
        self.window.files.push(task.clone());
        self.open += usize::from(content.chunks() > 1);
        let mut parts = ContentReader::new(self.reader, &content);
        loop {
            match self.piece(&mut parts) {
                Ok(None) => return Ok(()),
                Ok(Some(piece)) => {
                    self.window.pieces.push(piece);
                    if self.window.pieces.len() >= WINDOW_PIECES {
                        self.send();
                        self.window.files.push(task.clone());
                        self.open = 1;
                        if self.gone {
                            return Ok(());
                        }
                    }
                }
                // The index would fail for the next file as well.
                Err(error @ RepoError::Index(_)) => return Err(error.into()),
                Err(error) => {
                    task.failed.store(true, std::sync::atomic::Ordering::Relaxed);
                    self.tally.unread(&task.entry.path, &error);
                    return Ok(());
                }
            }
        }
    }

    fn piece(&self, parts: &mut ContentReader<'_, ChunkReader<'_>>) -> Result<Option<Piece>, RepoError> {
        let Some((stream_offset, part)) = parts.next()? else { return Ok(None) };
        let location = self.repo.index()?.lookup(&part.id)?;
        let location = location.ok_or(RepoError::MissingChunk { id: part.id })?;
        if u64::from(location.place.len) != part.len {
            let wrong = format!("{} bytes are listed, {} are stored", part.len, location.place.len);
            return Err(crate::error::Corrupt::new(format!("chunk {}", part.id), wrong).into());
        }
        Ok(Some(Piece { id: part.id, location, file: self.window.files.len() - 1, stream_offset }))
    }

    fn send_if_full(&mut self) -> Result<(), RestoreError> {
        if self.window.is_full(self.open) {
            self.send();
        }
        // The executor is gone: it has the error, and this one is not shown.
        if self.gone { Err(RepoError::Cancelled.into()) } else { Ok(()) }
    }

    fn send(&mut self) {
        let window = std::mem::replace(&mut self.window, Window::new());
        self.open = 0;
        self.gone |= self.windows.send(window).is_err();
    }
}

/// Returns what two names of one inode have in common: kind and content.
fn hash_of_content(body: &Body) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut numbers = |kind: u64, numbers: &[u64]| {
        for number in [kind].iter().chain(numbers) {
            hasher.update(&number.to_le_bytes());
        }
    };
    match body {
        Body::File { size, holes, content } => {
            numbers(1, &[*size, content.level.into()]);
            holes.iter().for_each(|hole| numbers(1, &[hole.start, hole.end]));
            for part in &content.parts {
                hasher.update(part.id.as_bytes());
            }
        }
        Body::Symlink(target) => {
            numbers(2, &[]);
            hasher.update(target);
        }
        Body::CharDevice { major, minor } => numbers(3, &[(*major).into(), (*minor).into()]),
        Body::BlockDevice { major, minor } => numbers(4, &[(*major).into(), (*minor).into()]),
        Body::Fifo => numbers(5, &[]),
        Body::Socket => numbers(6, &[]),
        Body::Directory => numbers(7, &[]),
    }
    hasher.finalize()
}

/// Returns the error as one that ends the restore, if going on is vain.
pub(super) fn fatal(error: &SinkError) -> Result<(), RestoreError> {
    match error {
        SinkError::Io { source, .. } => full(source),
        _ => Ok(()),
    }
}

/// A full target ends the restore: every further file would fail as well.
pub(super) fn full(error: &std::io::Error) -> Result<(), RestoreError> {
    match error.kind() {
        kind @ (std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
            Err(RestoreError::TargetFull(kind.into()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
