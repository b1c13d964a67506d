//! Streams: bytes of unknown number into a listing of one file, or of several.

use super::fold::assert_content_known;
use super::read::ReadError;
use super::sinks::{ListingSaver, Sinks, built};
use crate::error::Kind;
use crate::listing::{Body, ContentBuilder, Node, StoredPath, Time, Xattrs, encode_node};
use crate::map::{Blob, Builder, Content};
use crate::progress::{Event, Events};
use crate::repo::write::Meter;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Dump, Form, Section, Totals};
use std::fmt;
use std::io::{self, Read};

/// Mode of the file in a dump: whoever restores it as a file keeps it for himself.
const MODE: u32 = 0o600;
/// Bytes between two events.
const TOLD_BYTES: u64 = 1 << 20;

/// A stream to store.
#[derive(Clone, Copy, Debug)]
pub struct StreamRequest<'a> {
    /// Module it is of.
    pub module: &'a str,
    /// What it is for; secrets go under keys and into packs of their own.
    pub section: Section,
    /// Name of the source, unique in the account, and of the file in the dump: no `/`, at most 255 bytes.
    pub name: &'a str,
    /// Kind of the source.
    pub kind: &'a str,
    /// Moment of which the content is; `None`: 1970.
    pub mtime: Option<Time>,
}

/// What came of a stream.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// The dump.
    pub dump: Dump,
    /// Its figures; bytes stored are 0, as they are known only when the run ends.
    pub totals: Totals,
}

impl StreamReport {
    /// Adds dump and figures to the module's account.
    pub fn enter(&self, account: &mut Account) {
        account.dumps.push(self.dump.clone());
        account.totals.add(&self.totals);
    }
}

/// Why a stream was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream broke off. There is no dump; the run can go on.
    #[error("cannot read the stream: {0}")]
    Read(#[source] io::Error),
    /// The repository could not be read or written, or the request is refused.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

impl StreamError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read(_) => Kind::Refused,
            Self::Repo(error) => error.kind(),
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read(_) => None,
            Self::Repo(error) => error.hint(),
        }
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Source(error) => Self::Read(error),
            ReadError::Repo(error) => Self::Repo(error),
        }
    }
}

/// Takes streams, one after the other, each of which becomes a file of a dump.
pub struct Streams<'s> {
    repo: &'s Repository,
    sinks: &'s Sinks<'s>,
    saver: &'s ListingSaver<'s>,
    events: &'s dyn Events,
    mtime: Time,
    listing: Builder<'s, ListingSaver<'s>>,
    files: u64,
    bytes: u64,
}

impl Streams<'_> {
    /// Stores what `read` gives until its end, as a file of this name: no `/`, at most 255 bytes, and greater, byte by
    /// byte, than the one before. Returns the number of bytes.
    ///
    /// Takes as much memory as four of the longest chunks, however much comes.
    pub fn put(&mut self, name: &str, read: &mut dyn Read) -> Result<u64, StreamError> {
        let refused = || RepoError::Refused(format!("{name:?} cannot be the name of a stream"));
        let path = StoredPath::root().join(name.as_bytes());
        let path = path.filter(|path| path.as_key() == name.as_bytes()).ok_or_else(refused)?;
        let content = contents(self.repo, self.sinks, self.saver, read, &path, self.events);
        // Also of a stream that broke off: what was taken must not be missing where another part has it too.
        self.saver.flush()?;
        let content = content?;
        let bytes = content.len();
        let mut node = Node {
            body: Body::File { size: bytes, holes: Vec::new(), content },
            mode: MODE,
            uid: 0,
            gid: 0,
            names: None,
            mtime: self.mtime,
            ctime: self.mtime,
            atime: None,
            btime: None,
            xattrs: Xattrs::None,
            link: None,
            suspect: false,
        };
        assert_content_known(self.repo, self.sinks.store(), &mut node)?;
        let encoded = encode_node(&node).map_err(RepoError::from)?;
        built(self.listing.push(path.as_key(), &encoded))?;
        self.files += 1;
        self.bytes += bytes;
        Ok(bytes)
    }
}

impl fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("files", &self.files)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Stores the streams that `each` gives, and their listing.
pub(super) fn store(
    repo: &Repository,
    sinks: &Sinks<'_>,
    meter: &Meter,
    request: &StreamRequest<'_>,
    each: &mut dyn FnMut(&mut Streams<'_>) -> Result<(), StreamError>,
    events: &dyn Events,
) -> Result<StreamReport, StreamError> {
    let before = (meter.chunks_new(), meter.bytes_new());
    let saver = sinks.saver();
    let boundary = repo.objects.keyring.further("dedup 2026-11-21 boundary").map_err(RepoError::from)?;
    let listing = Builder::new(&saver, &boundary, repo.leaf_target());
    let mtime = request.mtime.unwrap_or(Time { secs: 0, nanos: 0 });
    let mut streams = Streams { repo, sinks, saver: &saver, events, mtime, listing, files: 0, bytes: 0 };
    let given = each(&mut streams);
    // Leaves that are closed already were taken, whatever comes of the rest.
    saver.flush()?;
    given?;
    let Streams { listing, files, bytes, .. } = streams;
    let root = built(listing.finish())?;
    saver.flush()?;
    let totals = Totals {
        entries: files,
        files,
        bytes,
        files_new: files,
        bytes_read: bytes,
        chunks_new: meter.chunks_new() - before.0,
        bytes_new: meter.bytes_new() - before.1,
        ..Totals::default()
    };
    let dump = Dump {
        name: request.name.to_owned(),
        section: request.section,
        kind: request.kind.to_owned(),
        form: Form::Listing,
        root,
        bytes,
        schema: Blob::EMPTY,
    };
    Ok(StreamReport { dump, totals })
}

/// Cuts the stream and stores what is new of it.
fn contents(
    repo: &Repository,
    sinks: &Sinks<'_>,
    saver: &ListingSaver<'_>,
    read: &mut dyn Read,
    path: &StoredPath,
    events: &dyn Events,
) -> Result<Content, StreamError> {
    let (chunker, mut sink) = (repo.chunker()?, sinks.contents());
    let (mut content, mut buffer) = (ContentBuilder::new(saver), Vec::new());
    let mut untold = 0;
    let mut each = |chunk: &[u8]| -> Result<(), ReadError> {
        if events.cancelled() {
            return Err(RepoError::Cancelled.into());
        }
        let (id, _) = sink.put(chunk)?;
        built(content.push(id, chunk.len() as u32))?;
        untold += chunk.len() as u64;
        if untold >= TOLD_BYTES {
            let path = Some(path.to_slashes());
            events.event(Event::Done { entries: 0, bytes: std::mem::take(&mut untold), path });
        }
        Ok(())
    };
    let cut = chunker.chunks(read, &mut buffer, &mut each);
    sink.flush()?;
    cut?;
    events.event(Event::Done { entries: 1, bytes: untold, path: Some(path.to_slashes()) });
    Ok(built(content.finish())?)
}
