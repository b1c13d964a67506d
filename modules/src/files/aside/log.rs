//! The log of what a restore does: one record before each act, appended, never changed.
//!
//! ```text
//! log    := "dedup-aside-1\n" record*
//! record := len u32 | payload (len bytes) | FNV-1a of the payload u64 | len u32        little endian
//! ```
//!
//! The length stands at both ends, so that the log is read backwards as well. What follows the first record that is torn or
//! does not sum up counts for nothing.

use dedup_engine::restore::sink::SinkError;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const HEAD: &[u8] = b"dedup-aside-1\n";
/// No record is longer: attributes of one inode are at most 8 MiB, a path 64 KiB.
const MOST_BYTES: u32 = 16 << 20;
/// What surrounds a payload.
const AROUND: u64 = 4 + 8 + 4;

/// What is about to be done, or was. Paths are keys below the target; `inode` is what proves that it is
/// still the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::files) enum Act {
    /// Metadata of something that stays, before they change.
    Noted(Noted),
    /// An aside directory of this name is made in the directory `place`.
    Root { place: Vec<u8>, name: Vec<u8> },
    /// Something that is no directory goes to `aside`, and `inode` gets its name.
    Replaced { path: Vec<u8>, aside: Vec<u8>, inode: u64 },
    /// Something goes to `aside` as a whole.
    Moved { path: Vec<u8>, aside: Vec<u8> },
    /// A directory is made.
    Making { path: Vec<u8> },
    /// The directory that was made.
    Made { path: Vec<u8>, inode: u64 },
    /// An inode that is no directory gets a name that was free.
    Created { path: Vec<u8>, inode: u64 },
    /// The record at this offset, and all after it, were undone.
    Undone { offset: u64 },
}

/// Metadata of an inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::files) struct Noted {
    pub(in crate::files) path: Vec<u8>,
    pub(in crate::files) inode: u64,
    /// With the bits of the kind.
    pub(in crate::files) mode: u32,
    pub(in crate::files) uid: u32,
    pub(in crate::files) gid: u32,
    pub(in crate::files) mtime: (i64, u32),
    pub(in crate::files) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The log, open for appending.
#[derive(Debug)]
pub(in crate::files) struct Log {
    file: File,
}

/// The log, open for reading.
#[derive(Debug)]
pub(in crate::files) struct Records {
    file: File,
    /// Where the last whole record ends.
    pub(in crate::files) end: u64,
}

impl Log {
    /// Opens a log, or makes it, readable for its owner only; a torn end is cut off.
    pub(in crate::files) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
        if file.metadata()?.len() < HEAD.len() as u64 {
            file.set_len(0)?;
            file.write_all(HEAD)?;
        } else {
            let end = Records::open(path)?.end;
            file.set_len(end)?;
        }
        Ok(Self { file })
    }

    /// Appends a record: one call, so that it is there whatever becomes of this process.
    pub(in crate::files) fn write(&self, act: &Act) -> io::Result<()> {
        let payload = act.encode();
        let len = u32::try_from(payload.len()).ok().filter(|len| *len <= MOST_BYTES);
        let len = len.ok_or_else(|| io::Error::other("too many attributes to be noted"))?.to_le_bytes();
        let sum = sum(&payload).to_le_bytes();
        (&self.file).write_all(&[&len[..], &payload, &sum, &len].concat())
    }

    /// Writes it to disk.
    pub(in crate::files) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Records {
    /// Opens a log and finds its end.
    pub(in crate::files) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut reader = BufReader::new(&file);
        let mut head = [0; HEAD.len()];
        reader.read_exact(&mut head)?;
        if head != HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no log of a restore"));
        }
        let mut end = HEAD.len() as u64;
        let mut payload = Vec::new();
        while let Some(len) = next(&mut reader, &mut payload)? {
            end += AROUND + u64::from(len);
        }
        Ok(Self { file, end })
    }

    /// Reads the record that ends at `end`, and tells where it begins; nothing at the beginning of the log.
    pub(in crate::files) fn before(&self, end: u64) -> io::Result<Option<(u64, Act)>> {
        if end <= HEAD.len() as u64 {
            return Ok(None);
        }
        let torn = || io::Error::new(io::ErrorKind::InvalidData, "the log changed while it was read");
        let mut len = [0; 4];
        self.file.read_exact_at(&mut len, end.checked_sub(4).ok_or_else(torn)?)?;
        let whole = AROUND + u64::from(u32::from_le_bytes(len));
        let start = end.checked_sub(whole).filter(|start| *start >= HEAD.len() as u64).ok_or_else(torn)?;
        let (mut payload, mut reader) = (Vec::new(), At { file: &self.file, at: start });
        next(&mut reader, &mut payload)?.ok_or_else(torn)?;
        Act::decode(&payload).map(|act| Some((start, act))).ok_or_else(torn)
    }
}

struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads one record; nothing if it is not whole.
fn next(reader: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Option<u32>> {
    let mut word = [0; 4];
    let mut whole = |buffer: &mut [u8]| match reader.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    };
    if !whole(&mut word)? {
        return Ok(None);
    }
    let len = u32::from_le_bytes(word);
    if len > MOST_BYTES {
        return Ok(None);
    }
    let mut tail = [0; 12];
    // Piece by piece, since the length may be anything.
    payload.clear();
    while payload.len() < len as usize {
        let (start, piece) = (payload.len(), (len as usize - payload.len()).min(64 << 10));
        payload.resize(start + piece, 0);
        if !whole(&mut payload[start..])? {
            return Ok(None);
        }
    }
    if !whole(&mut tail)? {
        return Ok(None);
    }
    let right =
        tail[..8] == sum(payload).to_le_bytes() && tail[8..] == word && Act::decode(payload).is_some();
    Ok(right.then_some(len))
}

/// FNV-1a, 64 bits: it finds what a crash leaves torn; nobody else writes to the log.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Act {
    fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(128);
        match self {
            Self::Noted(noted) => {
                to.push(1);
                put(&mut to, &noted.path);
                to.extend(noted.inode.to_le_bytes());
                for number in [noted.mode, noted.uid, noted.gid, noted.mtime.1] {
                    to.extend(number.to_le_bytes());
                }
                to.extend(noted.mtime.0.to_le_bytes());
                for (name, value) in &noted.xattrs {
                    put(&mut to, name);
                    put(&mut to, value);
                }
            }
            Self::Root { place, name } => pair(&mut to, 2, place, name),
            Self::Replaced { path, aside, inode } => {
                pair(&mut to, 3, path, aside);
                to.extend(inode.to_le_bytes());
            }
            Self::Moved { path, aside } => pair(&mut to, 4, path, aside),
            Self::Making { path } => pair(&mut to, 5, path, b""),
            Self::Made { path, inode } => {
                pair(&mut to, 6, path, b"");
                to.extend(inode.to_le_bytes());
            }
            Self::Created { path, inode } => {
                pair(&mut to, 7, path, b"");
                to.extend(inode.to_le_bytes());
            }
            Self::Undone { offset } => {
                to.push(8);
                to.extend(offset.to_le_bytes());
            }
        }
        to
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let (tag, mut rest) = payload.split_first()?;
        let from = &mut rest;
        let act = match tag {
            1 => {
                let (path, inode) = (bytes(from)?, u64::from_le_bytes(fixed(from)?));
                let mut number = || fixed(from).map(u32::from_le_bytes);
                let (mode, uid, gid, nanos) = (number()?, number()?, number()?, number()?);
                let mtime = (i64::from_le_bytes(fixed(from)?), nanos);
                let mut xattrs = Vec::new();
                while !from.is_empty() {
                    xattrs.push((bytes(from)?, bytes(from)?));
                }
                Self::Noted(Noted { path, inode, mode, uid, gid, mtime, xattrs })
            }
            2 => Self::Root { place: bytes(from)?, name: bytes(from)? },
            3 => {
                let (path, aside) = (bytes(from)?, bytes(from)?);
                Self::Replaced { path, aside, inode: u64::from_le_bytes(fixed(from)?) }
            }
            4 => Self::Moved { path: bytes(from)?, aside: bytes(from)? },
            tag @ 5..=7 => {
                let path = bytes(from)?;
                bytes(from)?;
                match tag {
                    5 => Self::Making { path },
                    6 => Self::Made { path, inode: u64::from_le_bytes(fixed(from)?) },
                    _ => Self::Created { path, inode: u64::from_le_bytes(fixed(from)?) },
                }
            }
            8 => Self::Undone { offset: u64::from_le_bytes(fixed(from)?) },
            _ => return None,
        };
        from.is_empty().then_some(act)
    }
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(bytes);
}

fn pair(to: &mut Vec<u8>, tag: u8, one: &[u8], other: &[u8]) {
    to.push(tag);
    put(to, one);
    put(to, other);
}

fn fixed<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*head)
}

fn bytes(from: &mut &[u8]) -> Option<Vec<u8>> {
    let len = u32::from_le_bytes(fixed(from)?) as usize;
    let (head, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(head.to_vec())
}

/// Says what the log has to do with a restore that goes no further.
pub(in crate::files) fn log_error(source: io::Error) -> SinkError {
    SinkError::Io { call: "note what is about to be changed", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acts() -> Vec<Act> {
        let (path, aside) = (b"a\0b".to_vec(), b".dedup-aside-r\0tree\0a\0b".to_vec());
        let xattrs = vec![(b"user.x".to_vec(), vec![7; 300]), (b"user.y".to_vec(), vec![])];
        let mtime = (-5, 999_999_999);
        vec![
            Act::Noted(Noted {
                path: path.clone(),
                inode: 9,
                mode: 0o100_644,
                uid: 1,
                gid: 2,
                mtime,
                xattrs,
            }),
            Act::Root { place: vec![], name: b"n".to_vec() },
            Act::Replaced { path: path.clone(), aside: aside.clone(), inode: u64::MAX },
            Act::Moved { path: path.clone(), aside },
            Act::Making { path: path.clone() },
            Act::Made { path: path.clone(), inode: 1 },
            Act::Created { path, inode: 2 },
            Act::Undone { offset: 77 },
        ]
    }

    fn backwards(path: &Path) -> Vec<Act> {
        let records = Records::open(path).unwrap();
        let (mut end, mut found) = (records.end, Vec::new());
        while let Some((start, act)) = records.before(end).unwrap() {
            found.push(act);
            end = start;
        }
        found.reverse();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn a_torn_end_costs_what_was_torn_and_nothing_else(cut in 0usize..900, flip in 0u8..3) {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("log");
            let log = Log::open(&path).unwrap();
            acts().iter().for_each(|act| log.write(act).unwrap());
            prop_assert_eq!(backwards(&path), acts());
            let whole = std::fs::read(&path).unwrap();
            let cut = HEAD.len() + cut % (whole.len() - HEAD.len());
            let mut torn = whole.clone();
            match flip {
                0 => torn.truncate(cut),
                1 => torn[cut..].fill(0),
                _ => torn[cut] ^= 0x40,
            }
            std::fs::write(&path, &torn).unwrap();
            let left = backwards(&path);
            prop_assert!(left.len() < 8 || torn == whole);
            prop_assert_eq!(&left[..], &acts()[..left.len()]);
            let log = Log::open(&path).unwrap();
            log.write(&acts()[3]).unwrap();
            prop_assert_eq!(backwards(&path), [&left[..], &acts()[3..4]].concat());
        }
    }
}
