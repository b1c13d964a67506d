//! A copy of a tree through the engine's traits: source, nodes, sink, without anything between them.

use super::*;
use crate::files::{FilesSink, SinkOptions};
use dedup_engine::backup::source::EntryKind;
use dedup_engine::id::LinkGroup;
use dedup_engine::listing::{Body, Content, Node, StoredPath, Time, Xattrs};
use dedup_engine::restore::sink::{Item, Prepared, Sink, SinkError};
use std::collections::HashMap;
use std::ops::Range;

/// An entry with everything that a backup would keep of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) path: StoredPath,
    pub(super) node: Node,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The data between the holes.
    pub(super) data: Vec<(u64, Vec<u8>)>,
    /// Of a further name: the first one.
    pub(super) first: Option<StoredPath>,
}

/// Reads everything below `base`; paths are relative to it, times of change are left out.
pub(super) fn read_tree(base: &Path) -> Vec<Kept> {
    read_tree_with(base, options())
}

pub(super) fn read_tree_with(base: &Path, options: FilesOptions) -> Vec<Kept> {
    use std::os::unix::ffi::OsStrExt;
    let base_path = StoredPath::from_slashes(base.as_os_str().as_bytes()).unwrap();
    let source = FilesSource::new(&[base.to_owned()], options).unwrap();
    let (mut kept, mut firsts) = (Vec::new(), HashMap::new());
    let mut visit = |found: Found<FileHandle>| {
        let Found::Entry { path, stat, handle } = found else { panic!("{found:?}") };
        if let Some(path) = path.below(&base_path) {
            kept.push(read_entry(&source, path, &stat, &handle, &mut firsts));
        }
        Ok(())
    };
    source.walk(&mut visit).unwrap();
    kept
}

fn read_entry(
    source: &FilesSource,
    path: StoredPath,
    stat: &Stat,
    handle: &FileHandle,
    firsts: &mut HashMap<(u64, u64), StoredPath>,
) -> Kept {
    let details = source.details(handle, stat).unwrap();
    let (major, minor) = stat.rdev;
    let mut data = Vec::new();
    let body = match stat.kind {
        EntryKind::File => {
            let file = source.open(handle).unwrap();
            let ranges = file.data_ranges(stat.size).unwrap();
            for range in &ranges {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                let mut filled = 0;
                while filled < bytes.len() {
                    filled += file.read_at(&mut bytes[filled..], range.start + filled as u64).unwrap();
                }
                data.push((range.start, bytes));
            }
            Body::File { size: stat.size, holes: holes(&ranges, stat.size), content: Content::default() }
        }
        EntryKind::Directory => Body::Directory,
        EntryKind::Symlink => Body::Symlink(details.target),
        EntryKind::Fifo => Body::Fifo,
        EntryKind::Socket => Body::Socket,
        EntryKind::CharDevice => Body::CharDevice { major, minor },
        EntryKind::BlockDevice => Body::BlockDevice { major, minor },
    };
    let shared = stat.nlink > 1 && stat.kind != EntryKind::Directory;
    let first = shared.then(|| firsts.entry((stat.dev, stat.ino)).or_insert_with(|| path.clone()).clone());
    let node = Node {
        body,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        names: Some(details.names),
        mtime: stat.mtime,
        ctime: Time { secs: 0, nanos: 0 },
        atime: stat.atime,
        btime: None,
        xattrs: Xattrs::None,
        link: shared.then_some(LinkGroup::from_bytes([7; 16])),
        suspect: false,
    };
    let first = first.filter(|first| *first != path);
    Kept { path, node, xattrs: details.xattrs, data, first }
}

fn holes(data: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let starts = data.iter().map(|range| range.start).chain([size]);
    let ends = [0].into_iter().chain(data.iter().map(|range| range.end));
    ends.zip(starts).filter(|(end, start)| end < start).map(|(end, start)| end..start).collect()
}

/// What became of the entries of one restore, as `path outcome`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    pub(super) changed: Vec<String>,
    pub(super) errors: Vec<String>,
}

/// Restores entries as the engine does: in order, directories' metadata last.
pub(super) fn write_tree(kept: &[Kept], target: &Path, options: SinkOptions) -> Report {
    let sink = FilesSink::new(target, options).unwrap();
    let report = write_to(kept, &sink);
    sink.sync().unwrap();
    report
}

pub(super) fn write_to(kept: &[Kept], sink: &FilesSink) -> Report {
    let mut report = Report::default();
    let mut note = |kept: &Kept, result: Result<bool, SinkError>| {
        let path = String::from_utf8_lossy(&kept.path.to_slashes()).into_owned();
        match result {
            Ok(true) => report.changed.push(path),
            Ok(false) => {}
            Err(error) => report.errors.push(format!("{path}: {error}")),
        }
    };
    for kept in kept {
        let result = write_entry(kept, sink);
        note(kept, result);
    }
    for kept in kept.iter().rev().filter(|kept| kept.node.is_directory()) {
        if let Err(error) = sink.finish_directory(&kept.item()) {
            note(kept, Err(error));
        }
    }
    report
}

impl Kept {
    pub(super) fn item(&self) -> Item<'_> {
        Item { path: &self.path, node: &self.node, xattrs: &self.xattrs }
    }
}

fn write_entry(kept: &Kept, sink: &FilesSink) -> Result<bool, SinkError> {
    let item = kept.item();
    if let Some(first) = &kept.first
        && sink.link(first, &item)?
    {
        return Ok(false);
    }
    match sink.prepare(&item)? {
        Prepared::Done { changed } => return Ok(changed),
        Prepared::Directory => return Ok(false),
        Prepared::Compare(file) => {
            let mut same = true;
            for (offset, data) in &kept.data {
                let mut buffer = vec![0; data.len()];
                let read = sink.read_existing(&file, &mut buffer, *offset).unwrap();
                same &= buffer[..read] == data[..];
            }
            if same {
                return sink.keep(file, &item);
            }
        }
        Prepared::Write => {}
    }
    let file = sink.create(&item, kept.node.size())?;
    for (offset, data) in &kept.data {
        sink.write_at(&file, data, *offset).unwrap();
    }
    sink.finish(file, &item).map(|()| true)
}
