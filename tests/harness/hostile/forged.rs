//! Listings as a hostile client writes them: entry by entry, under keys and with metadata of its choice.

use dedup_engine::id::LinkGroup;
use dedup_engine::listing::{Body, Content, Node, Time, Xattrs, encode_node, encode_xattrs, save_xattrs};
use dedup_engine::map::Root;
use dedup_engine::testing::forge::Forge;
use dedup_engine::wire::Put;
use std::ops::Range;

/// What a forged entry holds.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    File(Vec<u8>),
    /// Nothing but a hole of so many bytes.
    Hole(u64),
    Directory,
    Link(Vec<u8>),
    Fifo,
    Socket,
    Char(u32, u32),
    Block(u32, u32),
}

/// A forged entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key in the listing: components joined by NUL, if the liar keeps to that.
    pub key: Vec<u8>,
    pub what: What,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: i64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Entries of the same number are said to be names of one inode.
    pub group: Option<u8>,
}

/// Makes an entry at a path with slashes.
pub fn entry(path: &str, what: What) -> Entry {
    raw(path.replace('/', "\0").as_bytes(), what)
}

/// Makes an entry under any key at all.
pub fn raw(key: &[u8], what: What) -> Entry {
    let mode = match what {
        What::Directory => 0o755,
        What::Link(_) => 0o777,
        _ => 0o640,
    };
    let (owner, xattrs) = ((0, 0), Vec::new());
    Entry { key: key.to_vec(), what, mode, owner, mtime: 1_600_000_000, xattrs, group: None }
}

pub fn dir(path: &str) -> Entry {
    entry(path, What::Directory)
}

pub fn file(path: &str, content: &[u8]) -> Entry {
    entry(path, What::File(content.to_vec()))
}

pub fn link(path: &str, target: &str) -> Entry {
    entry(path, What::Link(target.as_bytes().to_vec()))
}

impl Entry {
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    pub fn xattr(mut self, name: &[u8], value: &[u8]) -> Self {
        self.xattrs.push((name.to_vec(), value.to_vec()));
        self
    }

    pub fn group(self, group: u8) -> Self {
        Self { group: Some(group), ..self }
    }

    /// Returns the path with slashes.
    pub fn path(&self) -> Vec<u8> {
        self.key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect()
    }

    /// Encodes the node; chunks go to `forge`.
    pub fn encode(&self, forge: &Forge<'_>) -> Vec<u8> {
        let empty = Content { level: 0, parts: Vec::new() };
        let body = match &self.what {
            What::File(bytes) => {
                let content = forge.content(bytes, 4096).unwrap();
                Body::File { size: bytes.len() as u64, holes: Vec::new(), content }
            }
            What::Hole(size) => Body::File { size: *size, holes: holes(*size), content: empty },
            What::Directory => Body::Directory,
            What::Link(target) => Body::Symlink(target.clone()),
            What::Fifo => Body::Fifo,
            What::Socket => Body::Socket,
            What::Char(major, minor) => Body::CharDevice { major: *major, minor: *minor },
            What::Block(major, minor) => Body::BlockDevice { major: *major, minor: *minor },
        };
        let xattrs = match self.xattrs.is_empty() {
            true => Xattrs::None,
            false => save_xattrs(forge, encode_xattrs(&self.xattrs)).unwrap(),
        };
        let mtime = Time { secs: self.mtime, nanos: 7 };
        let node = Node {
            body,
            mode: self.mode,
            uid: self.owner.0,
            gid: self.owner.1,
            names: None,
            mtime,
            ctime: mtime,
            atime: None,
            btime: None,
            xattrs,
            link: self.group.map(|group| LinkGroup::from_bytes([group; 16])),
            suspect: false,
        };
        encode_node(&node).unwrap()
    }
}

#[expect(clippy::single_range_in_vec_init, reason = "one hole is what is meant")]
fn holes(size: u64) -> Vec<Range<u64>> {
    vec![0..size]
}

/// Builds the well-formed map of entries, sorted by key.
pub fn listing(forge: &Forge<'_>, entries: &[Entry]) -> Root {
    let mut encoded: Vec<_> = entries.iter().map(|entry| (entry.key.clone(), entry.encode(forge))).collect();
    encoded.sort();
    forge.map(encoded.iter().map(|(key, value)| (&key[..], &value[..]))).unwrap()
}

/// Encodes a leaf as it is given: unsorted, with equal keys, with any count.
pub fn raw_leaf(count: u64, entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut node = vec![0];
    node.put_varint(count);
    let mut last: &[u8] = b"";
    for (key, value) in entries {
        let shared = key.iter().zip(last).take_while(|(a, b)| a == b).count();
        node.put_varint(shared as u64);
        node.put_bytes(&key[shared..]);
        node.put_u8(0);
        node.put_bytes(value);
        last = key;
    }
    node
}
