//! Where restored entries go: the engine's side of a directory tree, or of anything like one.

use crate::listing::{Node, StoredPath};
use std::io;

/// What a sink wants to have done for an entry after [`Sink::prepare`].
#[derive(Debug)]
pub enum Prepared<E> {
    /// Nothing more: the entry is complete, or was left as it is because it is right already.
    Done {
        /// Whether anything was changed for it.
        changed: bool,
    },
    /// A regular file that does not exist yet, or differs in size: its content is to be written.
    Write,
    /// A regular file of the right size exists: compare first, write only if something differs.
    Compare(E),
    /// A directory that exists now; [`Sink::finish_directory`] is to be called when all below it is done.
    Directory,
}

/// What a restore writes to.
///
/// `prepare` and `finish_directory` are called on one thread, `prepare` in listing order. The others
/// are called from several threads at once, in any order, but for one file by one thread at a time.
/// Everything stays below the sink's root whatever the names are and whoever changes the tree
/// meanwhile. A file never shows under its final name before it is complete.
pub trait Sink: Sync {
    /// A file being written, not yet under its final name.
    type File: Send;
    /// A file that existed before.
    type Existing: Send;

    /// Makes ready for one entry: makes directories and everything that has no content.
    fn prepare(&self, entry: &Item<'_>) -> Result<Prepared<Self::Existing>, SinkError>;

    /// Reads from a file that existed before, as `pread` does.
    fn read_existing(&self, file: &Self::Existing, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns where the next byte at or after `offset` lies that may be another than zero; `None` if there
    /// is none. Comparing skips what lies before it, so that a huge hole is not read.
    fn next_data(&self, _file: &Self::Existing, offset: u64) -> Option<u64> {
        Some(offset)
    }

    /// Keeps a file whose content proved right; brings its metadata into line. Returns whether anything changed.
    fn keep(&self, file: Self::Existing, entry: &Item<'_>) -> Result<bool, SinkError>;

    /// Opens a new, empty file under a temporary name; its length is to be `size`.
    fn create(&self, entry: &Item<'_>, size: u64) -> Result<Self::File, SinkError>;

    /// Writes all of `bytes` at `offset`. Ranges never written are holes.
    fn write_at(&self, file: &Self::File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Gives the complete file its metadata, then its final name.
    fn finish(&self, file: Self::File, entry: &Item<'_>) -> Result<(), SinkError>;

    /// Removes a file that will not be completed.
    fn abandon(&self, file: Self::File, entry: &Item<'_>);

    /// Makes `entry` another name of what `first` already names, if both are below the root and the first
    /// one was made or kept by this sink; any kind but a directory. Called instead of `prepare`. Returns
    /// `false` if that cannot be; `prepare` is called then, and the content is written.
    fn link(&self, first: &StoredPath, entry: &Item<'_>) -> Result<bool, SinkError>;

    /// Gives a directory its metadata, after all below it is done, the directories below it included.
    fn finish_directory(&self, entry: &Item<'_>) -> Result<(), SinkError>;
}

/// An entry as a sink sees it.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its place in the listing.
    pub path: &'a StoredPath,
    /// What it is.
    pub node: &'a Node,
    /// Its extended attributes, decoded, sorted by name.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// Why an entry could not be restored; the restore goes on with the others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Writing is refused because it would leave the target or follow a link that somebody put there.
    #[error("{0}")]
    Refused(String),
    /// The entry is there, complete, but some metadata could not be set (named in the text).
    #[error("{0}")]
    Incomplete(String),
    /// The system said no. `StorageFull` and `QuotaExceeded` end the whole restore.
    #[error("cannot {call}: {source}")]
    Io {
        /// What was tried: `create the file`, `set the owner`.
        call: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
