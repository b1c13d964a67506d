//! An archive, unpacked into one file that has no name: whatever names it holds, none of them becomes a path of this
//! machine.

use super::error::ForeignError;
use super::tar::{TarHeader, TarKind, TarReader};
use crate::files::unlinked_file;
use flate2::read::MultiGzDecoder;
use rustix::fs::fstatvfs;
use rustix::io::{pread, pwrite};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Most entries.
const MAX_ENTRIES: usize = 1_000_000;
/// Most bytes of names and targets in all.
const MAX_NAMES_BYTES: usize = 256 << 20;
/// What stays free on the file system of the scratch directory.
const LEFT_BYTES: u64 = 256 << 20;
/// Bytes after which free room is looked at.
const LOOK_BYTES: u64 = 32 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An archive: its entries in memory, their content in scratch.
#[derive(Debug)]
pub struct Archive {
    file: OwnedFd,
    /// Every entry, in the order of the archive.
    pub entries: Vec<Packed>,
    /// Name as people write it, without `./` before it and `/` behind → place of the last entry of this name.
    by_name: BTreeMap<Vec<u8>, usize>,
}

/// An entry, and where its content begins in the scratch file.
#[derive(Debug)]
pub struct Packed {
    /// What stands in the archive.
    pub header: TarHeader,
    /// Where its content begins.
    pub at: u64,
}

/// Returns a name without what does not belong to it: `./` and slashes before it, slashes behind.
pub fn plain_name(name: &[u8]) -> &[u8] {
    let mut name = name;
    loop {
        name = match name {
            [b'.', b'/', rest @ ..] | [b'/', rest @ ..] => rest,
            _ => break,
        };
    }
    while let [rest @ .., b'/'] = name {
        name = rest;
    }
    if name == b"." { b"" } else { name }
}

impl Archive {
    /// Reads a tar, compressed by gzip or not, to its end.
    ///
    /// `cancelled` is asked now and then. Every byte of content is in the scratch file when this returns.
    pub fn unpack(
        input: impl Read,
        scratch_dir: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, ForeignError> {
        let mut input = BufReader::with_capacity(128 << 10, input);
        let mut magic = [0; 2];
        let known = read_up_to(&mut input, &mut magic).map_err(ForeignError::io("read the archive"))?;
        let whole = io::Cursor::new(magic).take(known as u64).chain(input);
        match magic == GZIP {
            true => {
                Self::read(BufReader::new(MultiGzDecoder::new(BufReader::new(whole))), scratch_dir, cancelled)
            }
            false => Self::read(whole, scratch_dir, cancelled),
        }
    }

    fn read(
        input: impl Read,
        scratch_dir: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, ForeignError> {
        let file = unlinked_file(scratch_dir)
            .map_err(ForeignError::io(format!("make a scratch file in {}", scratch_dir.display())))?;
        let mut archive = Self { file, entries: Vec::new(), by_name: BTreeMap::new() };
        let mut reader = TarReader::new(input);
        let (mut end, mut looked, mut names) = (0, u64::MAX, 0);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let broken = |error: io::Error| {
                let entries = archive.entries.len();
                ForeignError::malformed("the archive", format!("after {entries} entries: {error}"))
            };
            let Some(header) = reader.next_entry().map_err(broken)? else { break };
            names += header.name.len() + header.target.len();
            if archive.entries.len() == MAX_ENTRIES || names > MAX_NAMES_BYTES {
                let limit = match names > MAX_NAMES_BYTES {
                    true => format!("{MAX_NAMES_BYTES} bytes of names"),
                    false => format!("{MAX_ENTRIES} entries"),
                };
                return Err(ForeignError::TooMuch { limit });
            }
            let (at, mut left) = (end, header.size);
            while left > 0 {
                if cancelled() {
                    return Err(ForeignError::Cancelled);
                }
                if looked >= LOOK_BYTES {
                    assert_room(&archive.file)?;
                    looked = 0;
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let count = reader.read(&mut buffer[..most]).map_err(broken)?;
                write_at(&archive.file, &buffer[..count], end)
                    .map_err(ForeignError::io("write the scratch file"))?;
                (end, left, looked) = (end + count as u64, left - count as u64, looked + count as u64);
            }
            archive.by_name.insert(plain_name(&header.name).to_vec(), archive.entries.len());
            archive.entries.push(Packed { header, at });
        }
        Ok(archive)
    }

    /// Returns the entry of a name.
    pub fn find(&self, name: &str) -> Option<&Packed> {
        self.entries.get(*self.by_name.get(name.as_bytes())?)
    }

    /// Returns the place of the entry of a name.
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Returns the names that begin so, in order, with the places of their entries.
    pub fn names_from<'a>(&'a self, begin: &'a [u8]) -> impl Iterator<Item = (&'a [u8], usize)> {
        let from = self.by_name.range(begin.to_vec()..);
        from.take_while(move |(name, _)| name.starts_with(begin)).map(|(name, at)| (&name[..], *at))
    }

    /// Returns the whole content of a file of at most so many bytes.
    pub fn bytes(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, ForeignError> {
        let Some(packed) = self.find(name).filter(|packed| packed.header.kind == TarKind::File) else {
            return Ok(None);
        };
        if packed.header.size > most {
            return Err(ForeignError::malformed(name, format!("it has more than {most} bytes")));
        }
        let mut bytes = Vec::new();
        let read = self.reader(packed).read_to_end(&mut bytes);
        read.map_err(ForeignError::io("read the scratch file"))?;
        Ok(Some(bytes))
    }

    /// Returns the content of an entry, to be read from its begin.
    pub fn reader<'a>(&'a self, packed: &'a Packed) -> Content<'a> {
        Content { archive: self, packed, at: 0 }
    }

    /// Returns a handle of its own of the scratch file.
    pub(super) fn file(&self) -> io::Result<std::fs::File> {
        Ok(self.file.try_clone()?.into())
    }

    /// Reads content at a place, as `pread` does.
    pub fn read_at(&self, packed: &Packed, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = packed.header.size.saturating_sub(offset);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        Ok(pread(&self.file, &mut buffer[..most], packed.at + offset)?)
    }
}

/// The content of an entry.
#[derive(Debug)]
pub struct Content<'a> {
    archive: &'a Archive,
    packed: &'a Packed,
    at: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read_at(self.packed, out, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn read_up_to(input: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match input.read(&mut out[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

fn write_at(file: &OwnedFd, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match pwrite(file, &bytes[done..], at + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => done += count,
        }
    }
    Ok(())
}

fn assert_room(file: &OwnedFd) -> Result<(), ForeignError> {
    let stat = fstatvfs(file).map_err(io::Error::from).map_err(ForeignError::io("look for free room"))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < LEFT_BYTES { Err(ForeignError::NoRoom { left_bytes: LEFT_BYTES }) } else { Ok(()) }
}
