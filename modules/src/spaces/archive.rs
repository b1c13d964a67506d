//! A file or tree as one stream, and back.
//!
//! ```text
//! entry = key length u32 | key | node length u32 | node | attributes length u32 | attributes | is further name u8 | runs
//! runs, of a regular file = (offset u64 | length u32 | bytes)* | 0 u64 | 0 u32
//! end   = 0xffffffff | entries u64
//! ```
//!
//! Keys, nodes and attributes are those of a listing (`FORMAT.md` of the engine), in its order. A node's content
//! stands in the runs instead; in the node all of the file is a hole.

use super::SpaceError;
use crate::files::{FilesOptions, FilesSink, FilesSource, SinkOptions};
use dedup_engine::backup::source::{Details, EntryKind, Found, OpenFile, Source, Stat, Stop};
use dedup_engine::error::Corrupt;
use dedup_engine::id::LinkGroup;
use dedup_engine::listing::{
    Body, MAX_NODE_VALUE, Node, StoredPath, Xattrs, decode_node, decode_xattrs, encode_node, encode_xattrs,
};
use dedup_engine::map::Content;
use dedup_engine::restore::sink::{Item, Prepared, Sink, SinkError};
use dedup_engine::snapshot::Outcome;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How much of a file is read at a time.
const RUN: usize = 256 << 10;
const END: u32 = u32::MAX;
/// Longest key and longest set of attributes that a listing allows.
const MAX_KEY: u32 = 1 << 17;
const MAX_SET: u32 = 16 << 20;

/// What was put into a stream.
pub(super) struct Packed {
    pub(super) kind: EntryKind,
    pub(super) entries: u64,
}

/// Writes what lies at `root` into a stream: links as links, everything with its metadata. Names of huge directories
/// are sorted in a file without a name in `scratch`.
pub(super) fn pack(root: &Path, scratch: &Path, to: &mut dyn Write) -> Result<Packed, SpaceError> {
    let bad = |wrong: &str| SpaceError::BadPath { path: root.to_owned(), wrong: wrong.to_owned() };
    let source = FilesSource::new(&[root.to_owned()], FilesOptions::new(scratch.to_owned()))
        .map_err(|error| bad(error.wrong))?;
    let base = source.roots().first().cloned().ok_or_else(|| bad("it is no path"))?;
    let mut packed = Packed { kind: EntryKind::File, entries: 0 };
    let mut groups = HashMap::new();
    let mut failed = None;
    let walked = source.walk(&mut |found| {
        let result = match found {
            Found::Entry { path, .. } if !path.is_within(&base) => Ok(()),
            Found::Entry { path, stat, handle } => {
                if path == base {
                    packed.kind = stat.kind;
                }
                packed.entries += 1;
                pack_entry(&source, &path, &stat, &handle, &mut groups, to)
                    .map_err(|error| SpaceError::Unreadable { path: shown(&path), wrong: error.to_string() })
            }
            // Gone since its directory was read: as if it had never been there.
            Found::Problem { path, outcome: Outcome::Vanished, .. } if path != base => Ok(()),
            Found::Problem { path, outcome: Outcome::Absent | Outcome::Vanished, .. } if path == base => {
                Err(SpaceError::Absent(root.to_owned()))
            }
            Found::Problem { path, message, .. } => {
                Err(SpaceError::Unreadable { path: shown(&path), wrong: message })
            }
        };
        result.map_err(|error| {
            failed = Some(error);
            Stop
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if walked.is_err() || packed.entries == 0 {
        return Err(SpaceError::Absent(root.to_owned()));
    }
    let end = [&END.to_le_bytes()[..], &packed.entries.to_le_bytes()].concat();
    to.write_all(&end)
        .map_err(|error| SpaceError::Unreadable { path: root.to_owned(), wrong: error.to_string() })?;
    Ok(packed)
}

fn shown(path: &StoredPath) -> PathBuf {
    PathBuf::from(OsString::from_vec([b"/", &path.to_slashes()[..]].concat()))
}

fn pack_entry(
    source: &FilesSource,
    path: &StoredPath,
    stat: &Stat,
    handle: &<FilesSource as Source>::Handle,
    groups: &mut HashMap<(u64, u64), ()>,
    to: &mut dyn Write,
) -> io::Result<()> {
    let file = match stat.kind {
        EntryKind::File => Some(source.open(handle)?),
        _ => None,
    };
    let stat = file.as_ref().map_or_else(|| Ok(stat.clone()), |file| file.stat())?;
    let details = match &file {
        Some(file) => file.details(&stat)?,
        None => None,
    };
    let details = details.map_or_else(|| source.details(handle, &stat), Ok)?;
    let is_linked = stat.nlink > 1 && stat.kind != EntryKind::Directory;
    let is_further = is_linked && groups.insert((stat.dev, stat.ino), ()).is_some();
    let node = node_of(&stat, &details, is_linked);
    let node = encode_node(&node).map_err(|error| io::Error::other(error.to_string()))?;
    let xattrs = encode_xattrs(&details.xattrs);
    for bytes in [path.as_key(), &node, &xattrs] {
        let len = u32::try_from(bytes.len()).map_err(|_| io::Error::other("metadata too long"))?;
        to.write_all(&len.to_le_bytes())?;
        to.write_all(bytes)?;
    }
    to.write_all(&[u8::from(is_further)])?;
    match file {
        Some(file) if !is_further => pack_content(&*file, stat.size, to),
        _ => Ok(()),
    }
}

fn node_of(stat: &Stat, details: &Details, is_linked: bool) -> Node {
    let (major, minor) = stat.rdev;
    let body = match stat.kind {
        EntryKind::File => Body::File {
            size: stat.size,
            holes: if stat.size == 0 { vec![] } else { std::iter::once(0..stat.size).collect() },
            content: Content::default(),
        },
        EntryKind::Directory => Body::Directory,
        EntryKind::Symlink => Body::Symlink(details.target.clone()),
        EntryKind::Fifo => Body::Fifo,
        EntryKind::Socket => Body::Socket,
        EntryKind::CharDevice => Body::CharDevice { major, minor },
        EntryKind::BlockDevice => Body::BlockDevice { major, minor },
    };
    let group = [stat.dev.to_le_bytes(), stat.ino.to_le_bytes()].concat();
    let group = <[u8; 16]>::try_from(&group[..]).ok().map(LinkGroup::from_bytes);
    Node {
        body,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        names: Some(details.names.clone()),
        mtime: stat.mtime,
        ctime: stat.ctime,
        atime: None,
        btime: None,
        xattrs: Xattrs::None,
        link: if is_linked { group } else { None },
        suspect: false,
    }
}

fn pack_content(file: &dyn OpenFile, size: u64, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; RUN];
    for range in file.data_ranges(size)? {
        let mut at = range.start;
        while at < range.end {
            let want = usize::try_from(range.end - at).unwrap_or(RUN).min(RUN);
            let count = file.read_at(&mut buffer[..want], at)?;
            if count == 0 {
                return Err(io::Error::other("it became shorter while it was read; try again"));
            }
            to.write_all(&at.to_le_bytes())?;
            to.write_all(&u32::try_from(count).unwrap_or(0).to_le_bytes())?;
            to.write_all(&buffer[..count])?;
            at += count as u64;
        }
    }
    if file.stat()?.size != size {
        return Err(io::Error::other("its length changed while it was read; try again"));
    }
    to.write_all(&[0; 12])
}

/// Writes a stream below `target`, which is new; `strip` is the directory of the listing that it stands for. Returns
/// what metadata could not be set.
pub(super) fn unpack(
    from: &mut dyn Read,
    target: &Path,
    strip: StoredPath,
    is_tree: bool,
) -> Result<Vec<String>, io::Error> {
    let options = SinkOptions { strip, devices: true, root_metadata: is_tree, ..SinkOptions::default() };
    let sink = FilesSink::new(target, options).map_err(|error| io::Error::other(error.to_string()))?;
    let mut work = Unpack { sink: &sink, open: Vec::new(), firsts: HashMap::new(), notes: Vec::new() };
    let mut entries = 0u64;
    loop {
        let len = u32::from_le_bytes(array(from)?);
        if len == END {
            break;
        }
        work.entry(from, len)?;
        entries += 1;
    }
    if u64::from_le_bytes(array(from)?) != entries || from.read(&mut [0])? != 0 {
        return Err(wrong("it does not end where it should"));
    }
    work.close(None)?;
    sink.sync().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(work.notes)
}

type Directory = (StoredPath, Node, Vec<(Vec<u8>, Vec<u8>)>);

struct Unpack<'a> {
    sink: &'a FilesSink,
    /// Directories whose content is being written.
    open: Vec<Directory>,
    firsts: HashMap<LinkGroup, StoredPath>,
    notes: Vec<String>,
}

impl Unpack<'_> {
    fn entry(&mut self, from: &mut dyn Read, key_len: u32) -> io::Result<()> {
        let corrupt = |error: Corrupt| wrong(&error.to_string());
        let path = StoredPath::from_key(&bytes(from, key_len, MAX_KEY)?).map_err(corrupt)?;
        let most = u32::try_from(MAX_NODE_VALUE).unwrap_or(u32::MAX);
        let len = u32::from_le_bytes(array(from)?);
        let node = decode_node(&bytes(from, len, most)?).map_err(corrupt)?;
        let len = u32::from_le_bytes(array(from)?);
        let xattrs = decode_xattrs(&bytes(from, len, MAX_SET)?).map_err(corrupt)?;
        let [is_further] = array(from)?;
        self.close(Some(&path))?;
        let item = Item { path: &path, node: &node, xattrs: &xattrs };
        if is_further != 0 {
            let first = node.link.and_then(|group| self.firsts.get(&group));
            let first = first.ok_or_else(|| wrong("a further name comes before the first"))?;
            return match self.sink.link(first, &item) {
                Ok(true) => Ok(()),
                Ok(false) => Err(io::Error::other("a hard link could not be made")),
                Err(error) => self.note(&path, Err(error)),
            };
        }
        if let Some(group) = node.link {
            self.firsts.insert(group, path.clone());
        }
        match self.sink.prepare(&item) {
            Ok(Prepared::Done { .. }) => Ok(()),
            Ok(Prepared::Directory) => {
                self.open.push((path, node, xattrs));
                Ok(())
            }
            Ok(Prepared::Write | Prepared::Compare(_)) => self.content(from, &item),
            Err(error) => self.note(&path, Err(error)),
        }
    }

    fn content(&mut self, from: &mut dyn Read, item: &Item<'_>) -> io::Result<()> {
        let file = match self.sink.create(item, item.node.size()) {
            Ok(file) => file,
            Err(error) => return self.note(item.path, Err(error)),
        };
        let mut buffer = Vec::new();
        let written = loop {
            let offset = u64::from_le_bytes(array(from)?);
            let len = u32::from_le_bytes(array(from)?);
            if len == 0 {
                break Ok(());
            }
            if offset.checked_add(len.into()).is_none_or(|end| end > item.node.size()) {
                break Err(wrong("a run goes beyond its file"));
            }
            buffer = bytes_into(from, len, RUN as u32, buffer)?;
            if let Err(error) = self.sink.write_at(&file, &buffer, offset) {
                break Err(error);
            }
        };
        if let Err(error) = written {
            self.sink.abandon(file, item);
            return Err(error);
        }
        let finished = self.sink.finish(file, item);
        self.note(item.path, finished)
    }

    /// Completes the directories that `next` is not in.
    fn close(&mut self, next: Option<&StoredPath>) -> io::Result<()> {
        while let Some((path, node, xattrs)) =
            self.open.pop_if(|(path, ..)| !next.is_some_and(|next| next.is_within(path)))
        {
            let done = self.sink.finish_directory(&Item { path: &path, node: &node, xattrs: &xattrs });
            self.note(&path, done)?;
        }
        Ok(())
    }

    /// Notes what is there with other metadata than it had; anything else is the end.
    fn note(&mut self, path: &StoredPath, result: Result<(), SinkError>) -> io::Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(SinkError::Incomplete(text)) => {
                self.notes.push(format!("{}: {text}", shown(path).display()));
                Ok(())
            }
            Err(error) => Err(io::Error::other(format!("{}: {error}", shown(path).display()))),
        }
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bytes(from: &mut dyn Read, len: u32, most: u32) -> io::Result<Vec<u8>> {
    bytes_into(from, len, most, Vec::new())
}

/// Reads `len` bytes; the room for them grows as they come.
fn bytes_into(from: &mut dyn Read, len: u32, most: u32, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    buffer.clear();
    if len > most {
        return Err(wrong("a length is beyond its limit"));
    }
    from.take(len.into()).read_to_end(&mut buffer)?;
    if buffer.len() != len as usize {
        return Err(wrong("it was cut"));
    }
    Ok(buffer)
}
