//! What a tree is, read with nothing of the engine: so that a fault of the engine cannot hide itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What an entry holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Holds {
    /// A file: its bytes, and whether less is allocated than they take.
    File(Vec<u8>, bool),
    /// A file of zeros only, with its length; kept short since it may be long.
    Zeros(u64),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Link(PathBuf),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device: whether of characters, and its number.
    Device(bool, u64),
}

/// An entry with everything that a backup is to keep.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub holds: Holds,
    /// Permissions; of a link always 0o777.
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: BTreeMap<OsString, Vec<u8>>,
    /// The smallest path in the tree with the same inode, if it is another one.
    first_name: Option<PathBuf>,
}

impl std::fmt::Debug for Holds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(bytes, sparse) => {
                write!(f, "file of {} bytes, {:08x}…, sparse {sparse}", bytes.len(), sum(bytes))
            }
            Self::Zeros(len) => write!(f, "{len} zeros"),
            Self::Directory => write!(f, "directory"),
            Self::Link(target) => write!(f, "link to {target:?}"),
            Self::Fifo => write!(f, "pipe"),
            Self::Socket => write!(f, "socket"),
            Self::Device(character, number) => write!(f, "device {character} {number:x}"),
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { holds, mode, owner, mtime, xattrs, first_name } = self;
        write!(f, "{holds:?} mode {mode:o} owner {owner:?} mtime {mtime:?} {xattrs:?} first {first_name:?}")
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(7, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte).wrapping_mul(0x9E37_79B9))
}

/// A tree by paths relative to its root; the root itself is the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Entry>);

impl Tree {
    /// Reads the tree below `root`, which is included.
    pub fn read(root: &Path) -> Self {
        let (mut entries, mut inodes) = (BTreeMap::new(), BTreeMap::<_, Vec<PathBuf>>::new());
        let mut left = vec![root.to_owned()];
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            let below = path.strip_prefix(root).unwrap().to_owned();
            if !metadata.is_dir() {
                inodes.entry((metadata.dev(), metadata.ino())).or_default().push(below.clone());
            }
            entries.insert(below, read_entry(&path, &metadata));
        }
        for names in inodes.values() {
            let first = names.iter().min().unwrap();
            for name in names.iter().filter(|name| *name != first) {
                entries.get_mut(name).unwrap().first_name = Some(first.clone());
            }
        }
        Self(entries)
    }

    /// Returns what differs, one line each; nothing if the trees are the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("{path:?} is missing, was {entry:?}")),
                Some(found) if found != entry => {
                    lines.push(format!("{path:?}\n    was {entry:?}\n    is  {found:?}"));
                }
                Some(_) => {}
            }
        }
        let extra = other.0.iter().filter(|(path, _)| !self.0.contains_key(*path));
        lines.extend(extra.map(|(path, entry)| format!("{path:?} was not there, is {entry:?}")));
        lines
    }

    /// Refuses trees that differ.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, context: &str) {
        let lines = self.differences(other);
        assert!(lines.is_empty(), "{context}: the restored tree differs:\n{}", lines.join("\n"));
    }
}

fn read_entry(path: &Path, metadata: &fs::Metadata) -> Entry {
    let kind = metadata.file_type();
    let holds = if kind.is_dir() {
        Holds::Directory
    } else if kind.is_symlink() {
        Holds::Link(fs::read_link(path).unwrap())
    } else if kind.is_fifo() {
        Holds::Fifo
    } else if kind.is_socket() {
        Holds::Socket
    } else if kind.is_char_device() || kind.is_block_device() {
        Holds::Device(kind.is_char_device(), metadata.rdev())
    } else if metadata.blocks() == 0 && metadata.len() > 1 << 20 {
        Holds::Zeros(metadata.len())
    } else {
        Holds::File(fs::read(path).unwrap(), is_sparse(path, metadata))
    };
    Entry {
        holds,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs: read_xattrs(path),
        first_name: None,
    }
}

/// Returns whether a file has fewer blocks than bytes. A file system that allocates late counts none for a moment,
/// so it is asked again once it has written them.
fn is_sparse(path: &Path, metadata: &fs::Metadata) -> bool {
    let is_short = |metadata: &fs::Metadata| metadata.blocks() * 512 < metadata.len();
    is_short(metadata) && {
        let file = fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        is_short(&file.metadata().unwrap())
    }
}

fn read_xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0u8; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let read = |name: &[u8]| {
        let mut value = vec![0u8; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(len);
        (OsString::from_vec(name.to_vec()), value)
    };
    names.map(read).collect()
}

#[test]
fn the_comparison_notices_every_kind_of_difference() {
    use super::trees;
    let scratch = super::Scratch::new();
    let root = scratch.dir("tree");
    trees::build_all_kinds(&root, 1);
    let before = Tree::read(&root);
    before.assert_same(&Tree::read(&root), "the same tree");
    let set_mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(root.join("docs/05.txt"), fs::Permissions::from_mode(mode)).unwrap();
    };
    type Change<'a> = &'a dyn Fn();
    let changes: [(&str, Change<'_>); 7] = [
        ("a byte", &|| trees::write(&root.join("setuid"), b"#!/bin/zh\n", 3)),
        ("a mode", &|| set_mode(0o4644)),
        ("a nanosecond", &|| trees::set_mtime(&root.join("docs"), 1_234_567_890, 2)),
        ("an owner", &|| std::os::unix::fs::lchown(root.join("links/soft"), Some(3), Some(3)).unwrap()),
        ("a link made a copy", &|| {
            let content = fs::read(root.join("links/hard")).unwrap();
            fs::remove_file(root.join("links/hard")).unwrap();
            trees::write(&root.join("links/hard"), &content, 1_600_000_001);
        }),
        ("an attribute", &|| {
            rustix::fs::lremovexattr(root.join("attributes"), "user.empty").unwrap();
        }),
        ("an entry", &|| fs::remove_dir(root.join("empty")).unwrap()),
    ];
    let mut last = before;
    for (what, change) in changes {
        change();
        let now = Tree::read(&root);
        assert!(!last.differences(&now).is_empty(), "{what} is not noticed");
        last = now;
    }
}
