//! Reading entries: content into chunks, everything else into the node.

use super::compare::Was;
use super::dispatch::Numbered;
use super::fold::Item;
use super::remembered::{FileCache, IdPages, Ids};
use super::sinks::{ListingSaver, Sinks, built};
use super::source::{Details, EntryKind, OpenFile, Source, Stat};
use crate::chunker::Chunker;
use crate::format::{MAX_SYMLINK, MAX_XATTRS};
use crate::id::{ChunkId, LinkGroup};
use crate::listing::{Body, Content, ContentBuilder, Node, StoredPath, Xattrs, encode_xattrs, save_xattrs};
use crate::map::{Class, SaveChunk};
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events};
use crate::repo::RepoError;
use crate::repo::write::ChunkSink;
use crate::snapshot::Outcome;
use crossbeam::channel::{Receiver, Sender};
use std::cell::RefCell;
use std::io::{self, Read};
use std::ops::Range;

/// A file that changed while it was read is read again at most so often …
const TRIES: usize = 3;
/// … and only if it has no more bytes than this: a growing log is not chased for ever.
const RETRY_BYTES: u64 = 16 << 20;

/// What is to be done with one entry.
pub(super) struct Task<H> {
    pub handle: H,
    pub group: Option<LinkGroup>,
    /// What the parent has of that name.
    pub was: Option<Was>,
}

/// A numbered run of entries that must be read.
pub(super) struct Job<H> {
    pub first: u64,
    pub entries: Vec<(StoredPath, Stat, Task<H>)>,
}

/// Works on jobs until there are no more.
pub(super) fn read_jobs<S: Source>(
    source: &S,
    sinks: &Sinks<'_>,
    chunker: &Chunker,
    cache: Option<&FileCache<'_>>,
    events: &dyn Events,
    jobs: &Receiver<Job<S::Handle>>,
    results: &Sender<Numbered>,
) -> Result<(), RepoError> {
    let mut reader = EntryReader {
        source,
        chunker,
        cache,
        events,
        data: sinks.contents(),
        saver: sinks.saver(),
        buffer: Vec::new(),
        pages: None,
    };
    for job in jobs {
        let mut items = Vec::with_capacity(job.entries.len());
        for (path, stat, task) in job.entries {
            if events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            items.push(reader.entry(path, stat, task)?);
        }
        if results.send((job.first, items)).is_err() {
            break;
        }
    }
    reader.data.flush()?;
    reader.saver.flush()
}

struct EntryReader<'a, 's, S: Source> {
    source: &'a S,
    chunker: &'a Chunker,
    /// Where entries are remembered that cannot be read back.
    cache: Option<&'a FileCache<'a>>,
    events: &'a dyn Events,
    data: ChunkSink<'s>,
    saver: ListingSaver<'s>,
    buffer: Vec<u8>,
    /// The ids of the content that was read last, if it has lists.
    pages: Option<IdPages>,
}

/// Why an entry could not be read: a fault of the source, which is told, or of the repository, which ends the run.
pub(super) enum ReadError {
    Source(io::Error),
    Repo(RepoError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<RepoError> for ReadError {
    fn from(error: RepoError) -> Self {
        Self::Repo(error)
    }
}

/// A file's content as it was read once.
struct ReadOnce {
    stat: Stat,
    size: u64,
    holes: Vec<Range<u64>>,
    content: Content,
    bytes_read: u64,
    /// What the open file itself says; `None` if the source has to be asked.
    details: io::Result<Option<Details>>,
    /// Why the content may be of several moments.
    changed: Option<&'static str>,
}

impl<S: Source> EntryReader<'_, '_, S> {
    fn entry(&mut self, path: StoredPath, stat: Stat, task: Task<S::Handle>) -> Result<Item, RepoError> {
        match self.node(&stat, &task) {
            Ok((node, bytes_read, problem)) => {
                let (inode, was) = (stat.ino, task.was);
                // What had a problem is looked at again by the next run, which tells it again.
                if let Some(cache) = self.cache.filter(|_| problem.is_none()) {
                    cache.note(&path, inode, &node, self.pages.take())?;
                }
                Ok(Item::Made { path, node, inode, was, bytes_read, problem })
            }
            Err(ReadError::Source(error)) => {
                let outcome = match error.kind() {
                    io::ErrorKind::NotFound => Outcome::Vanished,
                    _ => Outcome::Unreadable,
                };
                Ok(Item::Problem { path, outcome, message: error.to_string() })
            }
            Err(ReadError::Repo(error)) => Err(error),
        }
    }

    /// Makes the node; the problem is one that leaves the entry stored.
    #[expect(clippy::type_complexity, reason = "node, bytes read, problem")]
    fn node(
        &mut self,
        stat: &Stat,
        task: &Task<S::Handle>,
    ) -> Result<(Node, u64, Option<(Outcome, String)>), ReadError> {
        self.pages = None;
        let (mut stat, mut bytes_read, mut suspect, mut problem) = (stat.clone(), 0, false, None);
        let (mut file, mut details) = (None, None);
        if stat.kind == EntryKind::File {
            let read = self.file(&task.handle)?;
            bytes_read = read.bytes_read;
            if let Some(why) = read.changed {
                suspect = true;
                problem = Some((Outcome::ChangedWhileRead, why.to_owned()));
            }
            let atime = stat.atime;
            stat = read.stat;
            // Reading may have moved the access time; the one before is the one to keep.
            stat.atime = atime;
            file = Some(Body::File { size: read.size, holes: read.holes, content: read.content });
            details = read.details.transpose();
        }
        let details = details.unwrap_or_else(|| self.source.details(&task.handle, &stat));
        let details = match details {
            Ok(details) => details,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error.into()),
            Err(error) if stat.kind == EntryKind::Symlink => return Err(error.into()),
            Err(error) => {
                let why = format!("its attributes cannot be read: {error}");
                problem = problem.or(Some((Outcome::Unreadable, why)));
                Details::default()
            }
        };
        let body = match stat.kind {
            EntryKind::File => file.ok_or_else(|| io::Error::other("it is no regular file any more"))?,
            EntryKind::Directory => Body::Directory,
            EntryKind::Symlink if (1..=MAX_SYMLINK).contains(&details.target.len()) => {
                Body::Symlink(details.target)
            }
            EntryKind::Symlink => {
                return Err(
                    io::Error::new(io::ErrorKind::InvalidData, "a link without a usable target").into()
                );
            }
            EntryKind::Fifo => Body::Fifo,
            EntryKind::Socket => Body::Socket,
            EntryKind::CharDevice => Body::CharDevice { major: stat.rdev.0, minor: stat.rdev.1 },
            EntryKind::BlockDevice => Body::BlockDevice { major: stat.rdev.0, minor: stat.rdev.1 },
        };
        let encoded = encode_xattrs(&details.xattrs);
        let xattrs = if details.xattrs.is_empty() {
            Xattrs::None
        } else if encoded.len() > MAX_XATTRS {
            problem = Some((Outcome::NotStorable, "more than 8 MiB of attributes, left out".into()));
            Xattrs::None
        } else {
            built(save_xattrs(&self.saver, encoded))?
        };
        let node = Node {
            body,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            names: Some(details.names).filter(|(user, group)| !user.is_empty() || !group.is_empty()),
            mtime: stat.mtime,
            ctime: stat.ctime,
            atime: stat.atime,
            btime: stat.btime,
            xattrs,
            link: task.group,
            suspect,
        };
        Ok((node, bytes_read, problem))
    }

    /// Reads a file until it holds still, or a few times.
    fn file(&mut self, handle: &S::Handle) -> Result<ReadOnce, ReadError> {
        let mut tries = 1;
        loop {
            let file = self.source.open(handle)?;
            let read = self.read_once(&*file)?;
            if read.changed.is_none() || tries >= TRIES || read.size > RETRY_BYTES {
                return Ok(read);
            }
            tries += 1;
        }
    }

    fn read_once(&mut self, file: &dyn OpenFile) -> Result<ReadOnce, ReadError> {
        let stat = file.stat()?;
        if stat.kind != EntryKind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file any more").into());
        }
        let size = stat.size;
        let mut data = Vec::new();
        if stat.allocated < size {
            data = file.data_ranges(size)?;
        } else if size > 0 {
            data.push(0..size);
        }
        let mut stream = Ranges::new(file, data);
        let (sink, events) = (&mut self.data, self.events);
        let ids = RefCell::new(self.cache.map(FileCache::ids).transpose()?);
        let saver = Noting { saver: &self.saver, ids: &ids };
        let mut content = ContentBuilder::new(&saver);
        let mut each = |chunk: &[u8]| -> Result<(), ReadError> {
            if events.cancelled() {
                return Err(RepoError::Cancelled.into());
            }
            let (id, _) = sink.put(chunk)?;
            note(&ids, id)?;
            built(content.push(id, chunk.len() as u32))?;
            if chunk.len() > 64 << 10 {
                events.event(Event::Done { entries: 0, bytes: chunk.len() as u64, path: None });
            }
            Ok(())
        };
        let bytes_read = self.chunker.chunks(&mut stream, &mut self.buffer, &mut each)?;
        let (size, holes) = stream.shape(size);
        let content = built(content.finish())?;
        let pages = ids.take().map(|ids| ids.finish(content.level > 0)).transpose()?;
        self.pages = pages.flatten();
        // Between the two looks at the times: what changes them changes with them.
        let details = file.details(&stat);
        let after = file.stat()?;
        let changed = if planted(Bug::KeepTornRead) {
            None
        } else if stream.ended_early.is_some() {
            Some("it became shorter while it was read")
        } else if after.size != stat.size {
            Some("its length changed while it was read")
        } else if (after.mtime, after.ctime) != (stat.mtime, stat.ctime) {
            Some("it changed while it was read")
        } else {
            None
        };
        Ok(ReadOnce { stat, size, holes, content, bytes_read, details, changed })
    }
}

/// Saves the lists of a content, and notes their names.
struct Noting<'a, 's, 'i> {
    saver: &'a ListingSaver<'s>,
    ids: &'a RefCell<Option<Ids<'i>>>,
}

impl SaveChunk for Noting<'_, '_, '_> {
    type Error = RepoError;

    fn class(&self) -> Class {
        self.saver.class()
    }

    fn save(&self, plain: &[u8]) -> Result<ChunkId, RepoError> {
        let id = self.saver.save(plain)?;
        note(self.ids, id)?;
        Ok(id)
    }
}

fn note(ids: &RefCell<Option<Ids<'_>>>, id: ChunkId) -> Result<(), RepoError> {
    ids.borrow_mut().as_mut().map_or(Ok(()), |ids| ids.push(id))
}

/// A file's data ranges as one stream.
struct Ranges<'f> {
    file: &'f dyn OpenFile,
    ranges: Vec<Range<u64>>,
    current: usize,
    offset: u64,
    /// Where the file ended before its ranges did.
    ended_early: Option<u64>,
}

impl<'f> Ranges<'f> {
    fn new(file: &'f dyn OpenFile, ranges: Vec<Range<u64>>) -> Self {
        let offset = ranges.first().map_or(0, |range| range.start);
        Self { file, ranges, current: 0, offset, ended_early: None }
    }

    /// Returns size and holes of what was really read, given the size that was expected.
    fn shape(&self, size: u64) -> (u64, Vec<Range<u64>>) {
        let size = self.ended_early.unwrap_or(size);
        let (mut holes, mut at) = (Vec::new(), 0);
        for range in self.ranges.iter().filter(|range| range.start < size) {
            if at < range.start {
                holes.push(at..range.start);
            }
            at = range.end;
        }
        if at < size {
            holes.push(at..size);
        }
        (size, holes)
    }
}

impl Read for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(range) = self.ranges.get(self.current) {
            if self.ended_early.is_some() {
                break;
            }
            let left = range.end.saturating_sub(self.offset);
            if left == 0 {
                self.current += 1;
                self.offset = self.ranges.get(self.current).map_or(self.offset, |next| next.start);
                continue;
            }
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let len = self.file.read_at(&mut buffer[..want], self.offset)?;
            if len == 0 && want > 0 {
                self.ended_early = Some(self.offset);
                break;
            }
            self.offset += len as u64;
            return Ok(len);
        }
        Ok(0)
    }
}
