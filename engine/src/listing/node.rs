//! What a listing says of one entry: kind, metadata, and where its content is.

use crate::id::{ChunkId, LinkGroup};
use crate::map::Content;
use std::ops::Range;

/// A moment as file systems keep it: seconds since 1970 (may be negative) and nanoseconds below 10^9.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds after that, below 10^9.
    pub nanos: u32,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is, with what only that kind has.
    pub body: Body,
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of owner and group on the machine it came from; an empty name was not known there.
    pub names: Option<(String, String)>,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode; kept to recognise unchanged files, cannot be restored.
    pub ctime: Time,
    /// Last access, where it was asked for.
    pub atime: Option<Time>,
    /// Birth, where it was asked for; cannot be restored.
    pub btime: Option<Time>,
    /// Extended attributes, POSIX ACLs and capabilities among them.
    pub xattrs: Xattrs,
    /// Hard-link group, if the inode had several names.
    pub link: Option<LinkGroup>,
    /// The entry changed while it was read: its content may be of several moments.
    pub suspect: bool,
}

/// What kind of entry a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A regular file.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Ordered, disjoint ranges without stored content, which read as zeros; at most 4,096.
        holes: Vec<Range<u64>>,
        /// Where the rest of the bytes is.
        content: Content,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target, as bytes.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Extended attributes of an entry: small sets stand in the node, larger ones in a listing chunk.
///
/// The set itself is encoded by [`encode_xattrs`](super::encode_xattrs).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Xattrs {
    /// There are none.
    #[default]
    None,
    /// The encoded set, at most 128 bytes.
    Inline(Vec<u8>),
    /// A listing chunk with the encoded set.
    Chunk {
        /// Length of the encoded set in bytes.
        len: u64,
        /// Its name.
        id: ChunkId,
    },
}

impl Node {
    /// Returns whether the node is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory)
    }

    /// Returns the size of a regular file, 0 for everything else.
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File { size, .. } => *size,
            _ => 0,
        }
    }
}
