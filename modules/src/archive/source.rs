//! The entries below a directory of an archive, for a backup.

use super::{ArchiveError, MAX_LINK_NAMES, Member, MemberKind, Members, ReadAt};
use dedup_engine::backup::source::{Details, EntryKind, Found, OpenFile, Source, Stat, Stop, Visit};
use dedup_engine::listing::StoredPath;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What a walk finds below a directory of an archive, which lies there in the order of listings: every directory just before
/// what is in it, names in the order of their bytes, as `dedup export` and `tar --sort=name` write it.
pub struct TarSource<R: ReadAt> {
    archive: Arc<R>,
    len: u64,
    below: StoredPath,
    keeps_root: bool,
    /// What further names link to.
    firsts: HashMap<StoredPath, Member>,
    /// Entries there are.
    entries: u64,
}

/// Where a file's content is, and what is known of the entry beside its stat.
#[derive(Debug)]
pub struct TarHandle {
    at: u64,
    stat: Stat,
    details: Details,
}

impl<R: ReadAt> TarSource<R> {
    /// Looks through an archive of so many bytes: everything below the directory must be something that can be stored. The
    /// directory itself is an entry only if it is to be kept.
    ///
    /// # Errors
    /// Entries out of order or without their directory, links to what did not come before, and what [`Members`] refuses.
    pub fn new(archive: &Arc<R>, len: u64, below: &[u8], keeps_root: bool) -> Result<Self, ArchiveError> {
        let wrong_base = || ArchiveError::wrong(0, "no directory of an archive is meant");
        let below = StoredPath::from_slashes(below).ok_or_else(wrong_base)?;
        let archive = Arc::clone(archive);
        let mut source = Self { archive, len, below, keeps_root, firsts: HashMap::new(), entries: 0 };
        let (mut targets, mut bytes) = (HashSet::new(), 0usize);
        source.each(&mut |_, member| {
            if let MemberKind::HardLink(first) = member.kind
                && !targets.contains(&first)
            {
                bytes = bytes.saturating_add(first.as_key().len() + 256);
                if bytes > MAX_LINK_NAMES {
                    return Err(ArchiveError::wrong(member.at, "too many files have further names"));
                }
                targets.insert(first);
            }
            Ok(())
        })?;
        let (mut firsts, mut entries) = (HashMap::new(), 0);
        let mut last: Option<StoredPath> = None;
        let mut directory = StoredPath::root();
        source.each(&mut |path, member| {
            let wrong = |what: &str| {
                let shown = String::from_utf8_lossy(&member.path.to_slashes()).into_owned();
                ArchiveError::wrong(member.at, format!("{shown:?} {what}"))
            };
            if last.as_ref().is_some_and(|last| *last >= path) {
                return Err(wrong("is not in the order of names; `tar --sort=name` packs them so"));
            }
            if let Some(parent) = path.parent().filter(|parent| *parent != StoredPath::root())
                && !directory.is_within(&parent)
            {
                return Err(wrong("comes without its directory"));
            }
            let is_directory = member.kind == MemberKind::Directory;
            directory = if is_directory { path.clone() } else { path.parent().unwrap_or_default() };
            if let MemberKind::HardLink(first) = &member.kind
                && !firsts.contains_key(first)
            {
                return Err(wrong("links to nothing that came before it"));
            }
            if targets.contains(&member.path) && member.kind == MemberKind::File {
                // Attributes are those of the first name; they are read again when it is stored.
                firsts.insert(member.path.clone(), Member { xattrs: Vec::new(), ..member });
            }
            last = Some(path);
            entries += 1;
            Ok(())
        })?;
        (source.firsts, source.entries) = (firsts, entries);
        Ok(source)
    }

    /// Returns how many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Hands out what is below the directory, by its place there.
    fn each(
        &self,
        each: &mut dyn FnMut(StoredPath, Member) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut members = Members::new(&*self.archive, self.len);
        while let Some(member) = members.next()? {
            let Some(path) = member.path.below(&self.below) else { continue };
            if path != StoredPath::root() || self.keeps_root && member.kind == MemberKind::Directory {
                each(path, member)?;
            }
        }
        Ok(())
    }

    fn found(&self, path: StoredPath, member: Member) -> Found<TarHandle> {
        let linked = match &member.kind {
            MemberKind::HardLink(first) => self.firsts.get(first),
            MemberKind::File => self.firsts.get(&member.path),
            _ => None,
        };
        let of = linked.unwrap_or(&member);
        let (kind, rdev, target) = match &of.kind {
            MemberKind::File | MemberKind::HardLink(_) => (EntryKind::File, (0, 0), Vec::new()),
            MemberKind::Directory => (EntryKind::Directory, (0, 0), Vec::new()),
            MemberKind::Symlink(target) => (EntryKind::Symlink, (0, 0), target.clone()),
            MemberKind::Fifo => (EntryKind::Fifo, (0, 0), Vec::new()),
            MemberKind::CharDevice(major, minor) => (EntryKind::CharDevice, (*major, *minor), Vec::new()),
            MemberKind::BlockDevice(major, minor) => (EntryKind::BlockDevice, (*major, *minor), Vec::new()),
        };
        let size = if kind == EntryKind::File { of.size } else { 0 };
        let stat = Stat {
            kind,
            size,
            allocated: size,
            mode: of.mode,
            uid: of.uid,
            gid: of.gid,
            mtime: of.mtime,
            ctime: of.mtime,
            atime: of.atime,
            btime: None,
            dev: 1,
            // Its place in the archive tells a file apart; how many names it has is not known before the end.
            ino: of.at,
            nlink: if linked.is_some() { u64::MAX } else { 1 },
            rdev,
        };
        let details = Details { xattrs: member.xattrs.clone(), target, names: of.names.clone() };
        Found::Entry { path, stat: stat.clone(), handle: TarHandle { at: of.at, stat, details } }
    }
}

impl<R: ReadAt + Send + 'static> Source for TarSource<R> {
    type Handle = TarHandle;

    fn walk(&self, visit: &mut Visit<'_, TarHandle>) -> Result<(), Stop> {
        let mut stopped = false;
        let walked = self.each(&mut |path, member| {
            let at = member.at;
            visit(self.found(path, member)).map_err(|Stop| {
                stopped = true;
                ArchiveError::wrong(at, "nobody wants more")
            })
        });
        match walked {
            Ok(()) => Ok(()),
            Err(_) if stopped => Err(Stop),
            // It was looked through before: it has changed since, and nothing of it is to be believed.
            Err(error) => visit(Found::Problem {
                path: StoredPath::root(),
                outcome: dedup_engine::snapshot::Outcome::Unreadable,
                message: error.to_string(),
            }),
        }
    }

    fn details(&self, handle: &TarHandle, _: &Stat) -> io::Result<Details> {
        Ok(handle.details.clone())
    }

    fn open(&self, handle: &TarHandle) -> io::Result<Box<dyn OpenFile>> {
        if handle.stat.kind != EntryKind::File {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(TarFile { archive: Arc::clone(&self.archive), at: handle.at, stat: handle.stat.clone() }))
    }
}

/// A file in an archive.
struct TarFile<R> {
    archive: Arc<R>,
    at: u64,
    stat: Stat,
}

impl<R: ReadAt + Send> OpenFile for TarFile<R> {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.stat.clone())
    }

    fn data_ranges(&self, size: u64) -> io::Result<Vec<Range<u64>>> {
        Ok(Some(0..size).filter(|range| !range.is_empty()).into_iter().collect())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.stat.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        match self.archive.read_at(&mut buffer[..wanted], self.at + offset)? {
            // It was whole when it was looked through.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}
