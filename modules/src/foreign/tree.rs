//! Entries of an archive as a tree that can be stored.

use super::archive::{Archive, Packed, plain_name};
use super::tar::TarKind;
use dedup_engine::backup::source::{Details, EntryKind, Found, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::listing::{StoredPath, Time};
use dedup_engine::snapshot::Outcome;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// Mode of directories that the archive does not have, though it has what is in them.
const MADE_MODE: u32 = 0o755;

/// Most bytes of the places of such directories: a name of many parts asks for one of each.
const MAX_MADE_BYTES: usize = 64 << 20;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    /// An entry of the archive.
    Entry(usize),
    /// A directory that the archive has no entry of.
    Made,
}

/// A tree of entries of an archive.
#[derive(Debug)]
pub struct Tree<'a> {
    archive: &'a Archive,
    leaves: BTreeMap<StoredPath, Leaf>,
    /// What cannot be stored, by place, and why.
    problems: BTreeMap<StoredPath, String>,
    /// How many names a file has in this tree, by its place in the archive; of files that have several.
    names: BTreeMap<usize, u64>,
    made_time: Time,
    made_bytes: usize,
}

impl<'a> Tree<'a> {
    /// Begins an empty tree. `made_time` is the time of directories that the archive does not have.
    pub fn new(archive: &'a Archive, made_time: Time) -> Self {
        let (leaves, problems, names) = Default::default();
        Self { archive, leaves, problems, names, made_time, made_bytes: 0 }
    }

    /// Puts an entry of the archive to a place; the directories above it are made as far as they are not there. False if
    /// those would be too many, and then nothing is put.
    pub fn add(&mut self, place: StoredPath, at: usize) -> bool {
        let mut above = place.parent();
        while let Some(parent) = above.filter(|parent| *parent != StoredPath::root()) {
            if self.leaves.contains_key(&parent) {
                break;
            }
            self.made_bytes += parent.as_key().len();
            if self.made_bytes > MAX_MADE_BYTES {
                return false;
            }
            above = parent.parent();
            self.leaves.insert(parent, Leaf::Made);
        }
        self.leaves.insert(place, Leaf::Entry(at));
        true
    }

    /// Returns the places of what is in the archive, in order.
    pub fn places(&self) -> impl Iterator<Item = &StoredPath> {
        self.leaves.iter().filter(|(_, leaf)| matches!(leaf, Leaf::Entry(_))).map(|(place, _)| place)
    }

    /// Returns whether a directory is at a place.
    pub fn is_directory(&self, place: &StoredPath) -> bool {
        match self.leaves.get(place) {
            Some(Leaf::Entry(at)) => self.archive.entries[*at].header.kind == TarKind::Directory,
            Some(Leaf::Made) => true,
            None => false,
        }
    }

    /// Looks at the whole: nothing lies below what is no directory, links lead to files of the archive.
    ///
    /// An archive may say both that `a` is a link to `/etc` and that there is a file `a/passwd`: what would be written
    /// through a link is left out and told.
    pub fn settle(&mut self) {
        let mut closed: Option<StoredPath> = None;
        let (mut out, mut names) = (Vec::new(), BTreeMap::new());
        for (place, leaf) in &self.leaves {
            if let Some(closed) = closed.as_ref().filter(|closed| place.is_within(closed)) {
                let why = format!("it lies below {closed:?}, which is no directory in the archive");
                out.push((place.clone(), why));
                continue;
            }
            let Leaf::Entry(at) = leaf else { continue };
            let header = &self.archive.entries[*at].header;
            match header.kind {
                TarKind::Directory => continue,
                TarKind::Link | TarKind::File => match self.first_name(*at) {
                    Some(first) => *names.entry(first).or_insert(0) += 1,
                    None => {
                        out.push((place.clone(), "it is a link to a file that is not in the archive".into()))
                    }
                },
                TarKind::Other(kind) => {
                    let kind = char::from(kind).escape_default();
                    out.push((place.clone(), format!("it is of kind {kind:?}, which is not known here")));
                }
                _ => {}
            }
            closed = Some(place.clone());
        }
        for (place, why) in out {
            self.leaves.remove(&place);
            self.problems.insert(place, why);
        }
        names.retain(|_, count| *count > 1);
        self.names = names;
    }

    /// Returns the file that a hard link is a further name of.
    fn first_name(&self, at: usize) -> Option<usize> {
        let mut at = at;
        // Tools write links to files; a chain of links is nobody's, and a circle must end.
        for _ in 0..8 {
            let header = &self.archive.entries[at].header;
            match header.kind {
                TarKind::Link => at = self.archive.position(plain_name(&header.target))?,
                TarKind::File => return Some(at),
                _ => return None,
            }
        }
        None
    }

    fn stat(&self, leaf: Leaf) -> Stat {
        let Leaf::Entry(at) = leaf else {
            return Stat { mode: MADE_MODE, mtime: self.made_time, ..blank(EntryKind::Directory) };
        };
        let own = &self.archive.entries[at].header;
        let content = self.content(at);
        let kind = match own.kind {
            TarKind::Directory => EntryKind::Directory,
            TarKind::Symlink => EntryKind::Symlink,
            TarKind::Fifo => EntryKind::Fifo,
            TarKind::CharDevice => EntryKind::CharDevice,
            TarKind::BlockDevice => EntryKind::BlockDevice,
            TarKind::File | TarKind::Link | TarKind::Other(_) => EntryKind::File,
        };
        // A further name has what the file has: they are one inode.
        let header = content.map_or(own, |packed| &packed.header);
        let first = self.first_name(at).unwrap_or(at);
        let size = if kind == EntryKind::File { header.size } else { 0 };
        Stat {
            size,
            allocated: size,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            mtime: header.mtime,
            ino: first as u64 + 1,
            nlink: self.names.get(&first).copied().unwrap_or(1),
            rdev: header.device,
            ..blank(kind)
        }
    }

    /// Returns the file whose content an entry has.
    fn content(&self, at: usize) -> Option<&'a Packed> {
        self.archive.entries.get(self.first_name(at)?)
    }
}

fn blank(kind: EntryKind) -> Stat {
    let zero = Time { secs: 0, nanos: 0 };
    Stat {
        kind,
        size: 0,
        allocated: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: zero,
        ctime: zero,
        atime: None,
        btime: None,
        dev: 1,
        ino: 0,
        nlink: 1,
        rdev: (0, 0),
    }
}

impl Source for Tree<'_> {
    /// The place of the entry in the archive; none: a directory that was made.
    type Handle = Option<usize>;

    fn walk(&self, visit: &mut Visit<'_, Self::Handle>) -> Result<(), Stop> {
        let (mut leaves, mut problems) = (self.leaves.iter().peekable(), self.problems.iter().peekable());
        loop {
            let problem_first = match (leaves.peek(), problems.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some((place, _)), Some((problem, _))) => problem < place,
            };
            if problem_first {
                let Some((path, why)) = problems.next() else { continue };
                let (path, outcome, message) = (path.clone(), Outcome::NotStorable, why.clone());
                visit(Found::Problem { path, outcome, message })?;
            } else if let Some((path, leaf)) = leaves.next() {
                let handle = if let Leaf::Entry(at) = leaf { Some(*at) } else { None };
                visit(Found::Entry { path: path.clone(), stat: self.stat(*leaf), handle })?;
            }
        }
    }

    fn details(&self, handle: &Self::Handle, stat: &Stat) -> io::Result<Details> {
        let Some(at) = handle else { return Ok(Details::default()) };
        let own = &self.archive.entries[*at].header;
        let header = self.content(*at).map_or(own, |packed| &packed.header);
        let target = if stat.kind == EntryKind::Symlink { own.target.clone() } else { Vec::new() };
        Ok(Details { xattrs: Vec::new(), target, names: (header.user.clone(), header.group.clone()) })
    }

    fn open(&self, handle: &Self::Handle) -> io::Result<Box<dyn OpenFile>> {
        let at = handle.ok_or(io::ErrorKind::InvalidInput)?;
        let packed = self.content(at).ok_or(io::ErrorKind::NotFound)?;
        let whole = self.stat(Leaf::Entry(at));
        Ok(Box::new(Opened { file: self.archive.file()?, at: packed.at, stat: whole }))
    }
}

/// An open file: its part of the scratch file.
struct Opened {
    file: std::fs::File,
    at: u64,
    stat: Stat,
}

impl OpenFile for Opened {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.stat.clone())
    }

    fn data_ranges(&self, size: u64) -> io::Result<Vec<Range<u64>>> {
        Ok(Some(0..size).filter(|all| !all.is_empty()).into_iter().collect())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.stat.size.saturating_sub(offset);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        std::os::unix::fs::FileExt::read_at(&self.file, &mut buffer[..most], self.at + offset)
    }
}
