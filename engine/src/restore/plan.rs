//! Planning: which entry, which chunks, from where. One thread, in listing order, in bounded windows.

use super::sink::{Item, Prepared, Sink, SinkError};
use super::{RestoreError, RestoreRequest, Tally};
use crate::id::{ChunkId, LinkGroup};
use crate::index::Location;
use crate::listing::{Body, ContentReader, Node, StoredPath, Walk, load_xattrs};
use crate::map::Root;
use crate::repo::read::ChunkReader;
use crate::repo::{RepoError, Repository};
use crossbeam::channel::Sender;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Most pieces in one window: 3 MiB of them.
pub(super) const WINDOW_PIECES: usize = 65_536;
/// Most entries in one window.
const WINDOW_ENTRIES: usize = 1024;
/// Most files of more than one piece in one window: each may be open at once.
const WINDOW_OPEN: usize = 256;

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
}

impl<K: Sink> Window<K> {
    fn new() -> Self {
        Self { files: Vec::new(), pieces: Vec::new(), links: Vec::new(), left: Vec::new() }
    }

    fn is_full(&self, open: usize) -> bool {
        let entries = self.files.len() + self.links.len() + self.left.len();
        self.pieces.len() >= WINDOW_PIECES || entries >= WINDOW_ENTRIES || open >= WINDOW_OPEN
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
        links: HashMap::new(),
        gone: false,
    };
    let planned = each_selected(repo, reader, root, request, &mut |path, node| planner.entry(path, node));
    while let Some(directory) = planner.directories.pop() {
        planner.window.left.push(directory);
    }
    planner.send();
    if planner.gone { Ok(()) } else { planned }
}

struct Planner<'a, K: Sink> {
    repo: &'a Repository,
    reader: &'a ChunkReader<'a>,
    sink: &'a K,
    tally: &'a Tally<'a>,
    windows: Sender<Window<K>>,
    window: Window<K>,
    open: usize,
    /// Directories that are being filled, from the root down.
    directories: Vec<Planned>,
    /// First path of each hard-link group.
    links: HashMap<LinkGroup, StoredPath>,
    /// The executor is gone; it knows why.
    gone: bool,
}

impl<K: Sink> Planner<'_, K> {
    fn entry(&mut self, path: StoredPath, node: Node) -> Result<(), RestoreError> {
        if self.tally.events.cancelled() {
            return Err(RepoError::Cancelled.into());
        }
        while self.directories.last().is_some_and(|directory| !path.is_within(&directory.path)) {
            self.window.left.extend(self.directories.pop());
        }
        self.tally.with(|report| {
            report.entries += 1;
            report.files += u64::from(matches!(node.body, Body::File { .. }));
            report.bytes = report.bytes.saturating_add(node.size());
        });
        let xattrs = match load_xattrs(self.reader, &node.xattrs) {
            Ok(xattrs) => Arc::new(xattrs),
            Err(error) => {
                self.tally.without_attributes(&path, &error);
                Arc::default()
            }
        };
        let planned = Planned { path, node, xattrs };
        if let (Some(group), Body::File { .. }) = (planned.node.link, &planned.node.body) {
            match self.links.entry(group) {
                Slot::Occupied(first) => {
                    let first = first.get().clone();
                    self.window.links.push((first, planned));
                    return self.send_if_full();
                }
                Slot::Vacant(slot) => drop(slot.insert(planned.path.clone())),
            }
        }
        match self.sink.prepare(&planned.item()) {
            Ok(Prepared::Done { changed }) => {
                self.tally.with(|report| report.unchanged += u64::from(!changed));
                self.tally.done(&planned.path, 1, 0);
            }
            Ok(Prepared::Directory) => self.directories.push(planned),
            Ok(Prepared::Write) => self.file(planned, None)?,
            Ok(Prepared::Compare(existing)) => self.file(planned, Some(existing))?,
            Err(error) => self.failed(&planned.path, error)?,
        }
        self.send_if_full()
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

/// Splits a range of the stream of stored bytes at the file's holes: (offset in the file, range in the piece).
pub(super) fn places(holes: &[Range<u64>], stream_offset: u64, len: u64) -> Vec<(u64, Range<usize>)> {
    let mut places = Vec::with_capacity(1);
    // `skipped` is what the holes before `stream` take in the file.
    let (mut stream, end, mut skipped) = (stream_offset, stream_offset + len, 0);
    for hole in holes {
        let data_before_hole = hole.start - skipped;
        if stream < data_before_hole {
            let stop = end.min(data_before_hole);
            places
                .push((stream + skipped, (stream - stream_offset) as usize..(stop - stream_offset) as usize));
            stream = stop;
        }
        if stream >= end {
            return places;
        }
        skipped += hole.end - hole.start;
    }
    if stream < end {
        places.push((stream + skipped, (stream - stream_offset) as usize..len as usize));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Beside a naive model: expand the file with its holes and look where each stored byte is.
        #[test]
        fn places_leave_out_exactly_the_holes(
            gaps in proptest::collection::vec((1u64..5, 1u64..5), 0..6),
            tail in 0u64..5,
            at in 0u64..20,
            len in 1u64..20,
        ) {
            let (mut holes, mut data, mut pos) = (Vec::new(), Vec::new(), 0);
            for (gap, hole) in gaps {
                data.extend(pos..pos + gap);
                holes.push(pos + gap..pos + gap + hole);
                pos += gap + hole;
            }
            data.extend(pos..pos + tail);
            let at = at.min(data.len() as u64);
            let len = len.min(data.len() as u64 - at);
            let mut found = Vec::new();
            for (offset, range) in places(&holes, at, len) {
                prop_assert!(!range.is_empty());
                found.extend((0..range.len() as u64).map(|n| offset + n));
            }
            prop_assert_eq!(found, data[at as usize..(at + len) as usize].to_vec());
        }
    }
}
