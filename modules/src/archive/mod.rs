//! Tar archives as a source of backups: read where they lie, without a copy, whatever is in them.
//!
//! ```text
//! header.rs   a header of 512 bytes: ustar, and what GNU tar makes of it
//! pax.rs      what stands in extended headers
//! members.rs  Members: one entry after another; their contents are passed over
//! source.rs   TarSource: the entries below a directory of the archive, for a backup
//! about.rs    About: what an archive that `dedup export` wrote says of itself
//! ```
//!
//! Nothing is believed: lengths are checked against the archive before anything is allocated, names are those that a listing
//! may have, and links lead to what came before them in the archive. Memory: one extended header, and the names that later
//! entries of the archive link to.

mod about;
mod header;
mod members;
mod pax;
mod source;
#[cfg(test)]
mod tests;

pub use about::{About, AboutDump, AboutItem, AboutListing, VERSION};
pub use members::{Member, MemberKind, Members};
pub use source::TarSource;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Longest extended header, in bytes: extended attributes are in it.
pub const MAX_EXTENDED: u64 = 16 << 20;
/// Bytes of names that later entries link to, at most.
pub const MAX_LINK_NAMES: usize = 64 << 20;
/// Length of a block.
const BLOCK: u64 = 512;

/// What an archive is read from.
pub trait ReadAt: Sync {
    /// Reads at an offset, as `pread` does: 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills the buffer, or says that the end came first.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let read = buffer.len().min(self.len() - from);
        buffer[..read].copy_from_slice(&self[from..from + read]);
        Ok(read)
    }
}

/// Why an archive cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive could not be read.
    #[error("cannot read the archive at byte {at}: {source}")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// It is not what it must be.
    #[error("the archive is wrong at byte {at}: {wrong}")]
    Wrong {
        /// Where.
        at: u64,
        /// What is wrong.
        wrong: String,
    },
}

impl ArchiveError {
    fn wrong(at: u64, wrong: impl Into<String>) -> Self {
        Self::Wrong { at, wrong: wrong.into() }
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> dedup_engine::error::Kind {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                dedup_engine::error::Kind::Refused
            }
            Self::Read { .. } => dedup_engine::error::Kind::Io,
            Self::Wrong { .. } => dedup_engine::error::Kind::Refused,
        }
    }
}

/// Reads any bytes as an archive, for fuzzing: nothing may panic, or take more memory than the archive has bytes.
#[cfg(any(test, feature = "testing"))]
pub fn fuzz_archive(bytes: &[u8]) {
    let archive = std::sync::Arc::new(bytes.to_vec());
    let mut members = Members::new(&*archive, archive.len() as u64);
    let mut last = 0;
    while let Ok(Some(member)) = members.next() {
        assert!(member.at >= last && member.at + member.size <= archive.len() as u64);
        last = member.at;
    }
    if let Ok(source) = TarSource::new(&archive, archive.len() as u64, b"files", true) {
        let mut before = None;
        let walked = dedup_engine::backup::source::Source::walk(&source, &mut |found| {
            if let dedup_engine::backup::source::Found::Entry { path, .. } = found {
                assert!(before.as_ref().is_none_or(|before| *before < path));
                before = Some(path);
            }
            Ok(())
        });
        assert!(walked.is_ok());
    }
    if let Ok(about) = About::parse(bytes) {
        assert_eq!(About::parse(about.to_text().as_bytes()).ok(), Some(about));
    }
}
