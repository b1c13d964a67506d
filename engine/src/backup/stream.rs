//! Streams: bytes of unknown number into a listing of one file.

use super::fold::assert_content_known;
use super::read::ReadError;
use super::sinks::{Sinks, built};
use crate::error::Kind;
use crate::listing::{Body, ContentBuilder, Node, StoredPath, Time, Xattrs, encode_node};
use crate::map::{Blob, Builder, Content};
use crate::progress::{Event, Events};
use crate::repo::write::Meter;
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Dump, Form, Section, Totals};
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

/// Stores a stream and its listing.
pub(super) fn store(
    repo: &Repository,
    sinks: &Sinks<'_>,
    meter: &Meter,
    request: &StreamRequest<'_>,
    read: &mut dyn Read,
    events: &dyn Events,
) -> Result<StreamReport, StreamError> {
    let name = request.name.as_bytes();
    let refused = || RepoError::Refused(format!("{:?} cannot be the name of a dump", request.name));
    let path = StoredPath::root().join(name).filter(|path| path.as_key() == name).ok_or_else(refused)?;
    let before = (meter.chunks_new(), meter.bytes_new());
    let saver = sinks.saver();
    let content = contents(repo, sinks, &saver, read, &path, events);
    // Also of a stream that broke off: what was taken must not be missing where another part has it too.
    saver.flush()?;
    let content = content?;
    let bytes = content.len();
    let mtime = request.mtime.unwrap_or(Time { secs: 0, nanos: 0 });
    let mut node = Node {
        body: Body::File { size: bytes, holes: Vec::new(), content },
        mode: MODE,
        uid: 0,
        gid: 0,
        names: None,
        mtime,
        ctime: mtime,
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        suspect: false,
    };
    assert_content_known(repo, sinks.store(), &mut node)?;
    let boundary = repo.objects.keyring.further("dedup 2026-11-21 boundary").map_err(RepoError::from)?;
    let mut listing = Builder::new(&saver, &boundary, repo.leaf_target());
    let encoded = encode_node(&node).map_err(RepoError::from)?;
    built(listing.push(path.as_key(), &encoded))?;
    let root = built(listing.finish())?;
    saver.flush()?;
    let totals = Totals {
        entries: 1,
        files: 1,
        bytes,
        files_new: 1,
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
    saver: &super::sinks::ListingSaver<'_>,
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
