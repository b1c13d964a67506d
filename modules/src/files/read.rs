//! Reading regular files: opened without side effects, with their holes.

use super::base::stat_open;
use super::meta::{ALWAYS, proc_path, stat_of, xattrs_of};
use super::owners::Owners;
use dedup_engine::backup::source::{Details, EntryKind, OpenFile, Stat};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, StatxFlags, openat, seek, statx};
use rustix::io::{Errno, pread};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Most holes that are told of one file; the smaller ones beyond count as data (`engine/FORMAT.md`).
const MAX_HOLES: usize = 4096;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A regular file of the source.
#[derive(Debug)]
pub(super) struct ReadFile {
    fd: OwnedFd,
    asked: StatxFlags,
    owners: Arc<Owners>,
}

impl ReadFile {
    /// Opens `name`. `InvalidInput` if it is no regular file (any more).
    pub(super) fn open(
        directory: impl AsFd,
        name: &[u8],
        asked: StatxFlags,
        owners: &Arc<Owners>,
    ) -> io::Result<Self> {
        Self::of(open_regular(directory, name)?, asked, owners)
    }

    /// Opens again for reading what was found with `O_PATH`. `InvalidInput` if it is no regular file.
    pub(super) fn reopen(found: &OwnedFd, asked: StatxFlags, owners: &Arc<Owners>) -> io::Result<Self> {
        // Before it is opened: opening a pipe or a device may do something.
        if stat_of(&stat_open(found, ALWAYS)?, ALWAYS).is_none_or(|stat| stat.kind != EntryKind::File) {
            return Err(changed_kind());
        }
        let flags = FLAGS.difference(OFlags::NOFOLLOW);
        let mut opened = openat(CWD, proc_path(found), flags | OFlags::NOATIME, Mode::empty());
        if matches!(opened, Err(Errno::PERM)) {
            opened = openat(CWD, proc_path(found), flags, Mode::empty());
        }
        Self::of(opened?, asked, owners)
    }

    fn of(fd: OwnedFd, asked: StatxFlags, owners: &Arc<Owners>) -> io::Result<Self> {
        let file = Self { fd, asked, owners: owners.clone() };
        if file.stat()?.kind != EntryKind::File {
            return Err(changed_kind());
        }
        Ok(file)
    }
}

/// Opens for reading without waiting and without following a link; access times stay where allowed.
pub(super) fn open_regular(directory: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let mut opened = openat(&directory, name, FLAGS | OFlags::NOATIME, Mode::empty());
    if matches!(opened, Err(Errno::PERM)) {
        opened = openat(&directory, name, FLAGS, Mode::empty());
    }
    match opened {
        // A symbolic link, a directory's or a socket's answer.
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::NODEV) => Err(changed_kind()),
        // Somebody holds a lease on it, which only a regular file can have: wait until it is given up.
        Err(Errno::AGAIN) => {
            let found =
                openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let stat = statx(&found, c"", AtFlags::EMPTY_PATH, ALWAYS)?;
            if stat_of(&stat, ALWAYS).is_none_or(|stat| stat.kind != EntryKind::File) {
                return Err(changed_kind());
            }
            Ok(openat(CWD, proc_path(&found), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
        }
        result => Ok(result?),
    }
}

fn changed_kind() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file any more")
}

impl OpenFile for ReadFile {
    fn stat(&self) -> io::Result<Stat> {
        let stat = statx(&self.fd, c"", AtFlags::EMPTY_PATH, self.asked)?;
        stat_of(&stat, self.asked).ok_or_else(changed_kind)
    }

    fn details(&self, stat: &Stat) -> io::Result<Option<Details>> {
        let (xattrs, names) = (xattrs_of(&self.fd)?, self.owners.names(stat.uid, stat.gid));
        Ok(Some(Details { xattrs, target: Vec::new(), names }))
    }

    fn data_ranges(&self, size: u64) -> io::Result<Vec<Range<u64>>> {
        if size == 0 {
            return Ok(Vec::new());
        }
        let stat = statx(&self.fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BLOCKS)?;
        if stat.stx_blocks.saturating_mul(512) >= size {
            return Ok(whole(size));
        }
        let mut holes = Holes::default();
        let mut at = 0;
        while at < size {
            let data = match seek(&self.fd, SeekFrom::Data(at)) {
                Ok(data) => data.min(size),
                // Nothing but a hole up to the end.
                Err(Errno::NXIO) => size,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(whole(size)),
                Err(errno) => return Err(errno.into()),
            };
            holes.push(at..data);
            if data >= size {
                break;
            }
            at = match seek(&self.fd, SeekFrom::Hole(data)) {
                Ok(hole) if hole > data => hole,
                // It shrinks at this moment: what is left is not there to be read.
                Ok(_) | Err(Errno::NXIO) => size,
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(holes.data(size))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match pread(&self.fd, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

#[expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
fn whole(size: u64) -> Vec<Range<u64>> {
    vec![0..size]
}

/// The largest holes of a file, found in order; memory for twice [`MAX_HOLES`].
#[derive(Debug, Default)]
struct Holes(Vec<Range<u64>>);

impl Holes {
    fn push(&mut self, hole: Range<u64>) {
        if hole.is_empty() {
            return;
        }
        self.0.push(hole);
        if self.0.len() >= 2 * MAX_HOLES {
            self.shrink();
        }
    }

    /// Keeps the largest, in order.
    fn shrink(&mut self) {
        if self.0.len() <= MAX_HOLES {
            return;
        }
        let surplus = self.0.len() - MAX_HOLES;
        self.0.select_nth_unstable_by_key(surplus, |hole| hole.end - hole.start);
        self.0.drain(..surplus);
        self.0.sort_unstable_by_key(|hole| hole.start);
    }

    /// Returns what lies between the holes, below `size`.
    fn data(mut self, size: u64) -> Vec<Range<u64>> {
        self.shrink();
        let mut data = Vec::with_capacity(self.0.len() + 1);
        let mut at = 0;
        for hole in self.0 {
            if at < hole.start {
                data.push(at..hole.start);
            }
            at = hole.end;
        }
        if at < size {
            data.push(at..size);
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::mknodat;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    fn open(directory: &std::path::Path, name: &str) -> io::Result<ReadFile> {
        ReadFile::open(File::open(directory).unwrap(), name.as_bytes(), ALWAYS, &Arc::default())
    }

    #[test]
    fn holes_are_found_and_bounded() {
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = scratch.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let read = open(scratch.path(), "sparse").unwrap();
        assert_eq!(read.data_ranges(1 << 40).unwrap(), []);
        file.write_at(b"x", 1 << 30).unwrap();
        file.write_at(b"x", (1 << 40) - 1).unwrap();
        let block = 4096;
        let expected = [1 << 30..(1 << 30) + block, (1 << 40) - block..1 << 40];
        assert_eq!(read.data_ranges(1 << 40).unwrap(), expected);
        assert_eq!(read.data_ranges(1 << 20).unwrap(), []);
        assert_eq!(read.data_ranges(0).unwrap(), []);

        // Every second block of 12,000: far more holes than are told.
        let many = File::create(scratch.path().join("many")).unwrap();
        many.set_len(12_000 * block).unwrap();
        (0..6_000).for_each(|i| assert_eq!(many.write_at(b"x", (2 * i + 1) * block).unwrap(), 1));
        let ranges = open(scratch.path(), "many").unwrap().data_ranges(12_000 * block).unwrap();
        assert!(ranges.len() <= 4097 && ranges.len() > 4000, "{}", ranges.len());
        let told: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        assert_eq!(told, (12_000 - MAX_HOLES as u64) * block);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let scratch = tempfile::tempdir().unwrap();
        let at = File::open(scratch.path()).unwrap();
        mknodat(&at, "fifo", rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::create_dir(scratch.path().join("directory")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", scratch.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(scratch.path().join("socket")).unwrap();
        for name in ["fifo", "directory", "link", "socket"] {
            assert_eq!(open(scratch.path(), name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(open(scratch.path(), "gone").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn data_and_holes_cover_the_file(cuts in proptest::collection::btree_set(0u64..100_000, 0..300)) {
            let cuts: Vec<_> = cuts.into_iter().collect();
            let mut holes = Holes::default();
            cuts.chunks_exact(2).for_each(|cut| holes.push(cut[0]..cut[1]));
            let data = holes.data(100_000);
            let is_hole = |at: u64| cuts.chunks_exact(2).any(|cut| (cut[0]..cut[1]).contains(&at));
            for at in (0..100_000).step_by(97) {
                prop_assert_eq!(data.iter().any(|range| range.contains(&at)), !is_hole(at));
            }
        }
    }
}
