//! A tar stream that somebody else wrote: ustar, GNU and pax, header by header.
//!
//! Nothing is believed: no length is allocated before it was read, names and extended headers are bounded, sums are
//! checked. What a name may be used for is the caller's to decide; here it is bytes.

use dedup_engine::listing::Time;
use std::io::{self, Read};

const BLOCK: usize = 512;
/// Longest name, link target or extended header.
const MAX_EXTENDED: u64 = 1 << 20;
/// Extended headers before one entry.
const MAX_BEFORE: usize = 16;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A further name of an earlier file.
    Link,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Something that is not known here, such as a sparse file of GNU tar.
    Other(u8),
}

/// One entry, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarHeader {
    /// Its name as it stands there.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: TarKind,
    /// Bytes of its content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name of the owner; may be empty.
    pub user: String,
    /// Name of the group; may be empty.
    pub group: String,
    /// Last change.
    pub mtime: Time,
    /// Target of a link.
    pub target: Vec<u8>,
    /// Numbers of a device.
    pub device: (u32, u32),
}

/// Reads entries one after another.
pub struct TarReader<R> {
    input: R,
    /// Content of the entry before that was not read yet, and the padding after it.
    left: u64,
    padding: u64,
    entries: u64,
}

/// What extended headers said of the entry after them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    mtime: Option<Time>,
    is_sparse: bool,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl<R: Read> TarReader<R> {
    /// Begins at the first header.
    pub fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, entries: 0 }
    }

    /// Goes to the next entry; what was not read of the one before is passed over. `None` at the end of the archive.
    ///
    /// # Errors
    /// `InvalidData` where it is no tar, `UnexpectedEof` where it is cut short: also without the block of zeros that
    /// ends every archive.
    pub fn next_entry(&mut self) -> io::Result<Option<TarHeader>> {
        let mut extended = Extended::default();
        for _ in 0..=MAX_BEFORE {
            self.pass_over()?;
            let mut block = [0; BLOCK];
            self.input.read_exact(&mut block)?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            self.entries += 1;
            let entries = self.entries;
            let header = Header(&block);
            header.check_sum().map_err(|error| wrong(format!("entry {entries}: {error}")))?;
            let size = header.number(124, 12)?;
            match header.0[156] {
                b'L' => extended.name = Some(self.text(size)?),
                b'K' => extended.target = Some(self.text(size)?),
                b'x' => {
                    let bytes = self.bytes(size)?;
                    extended.read_pax(&bytes)?;
                }
                // Of all entries after it: comments and the like.
                b'g' => drop(self.bytes(size)?),
                _ => return self.entry(&header, extended).map(Some),
            }
        }
        Err(wrong("too many extended headers before one entry"))
    }

    fn entry(&mut self, header: &Header<'_>, extended: Extended) -> io::Result<TarHeader> {
        let kind = match header.0[156] {
            _ if extended.is_sparse => TarKind::Other(b'S'),
            b'0' | 0 | b'7' => TarKind::File,
            b'1' => TarKind::Link,
            b'2' => TarKind::Symlink,
            b'3' => TarKind::CharDevice,
            b'4' => TarKind::BlockDevice,
            b'5' => TarKind::Directory,
            b'6' => TarKind::Fifo,
            other => TarKind::Other(other),
        };
        let name = extended.name.unwrap_or_else(|| header.name());
        // An old way to say that it is a directory.
        let kind = if kind == TarKind::File && name.ends_with(b"/") { TarKind::Directory } else { kind };
        let size = match kind {
            TarKind::File | TarKind::Other(_) => extended.size.map_or_else(|| header.number(124, 12), Ok)?,
            _ => header.number(124, 12)?,
        };
        self.expect(size)?;
        let id = |at| u32::try_from(header.number(at, 8)?).map_err(|_| wrong("an id is too large"));
        let device = |at| Ok::<_, io::Error>(u32::try_from(header.number(at, 8).unwrap_or(0)).unwrap_or(0));
        let is_ustar = &header.0[257..262] == b"ustar";
        let text = |at: usize| match is_ustar {
            true => String::from_utf8_lossy(until_nul(&header.0[at..at + 32])).into_owned(),
            false => String::new(),
        };
        let secs = header.signed(136, 12)?;
        Ok(TarHeader {
            name,
            kind,
            size: if kind == TarKind::File { size } else { 0 },
            mode: u32::try_from(header.number(100, 8)? & 0o7777).unwrap_or(0),
            uid: extended.uid.map_or_else(|| id(108), Ok)?,
            gid: extended.gid.map_or_else(|| id(116), Ok)?,
            user: extended.user.unwrap_or_else(|| text(265)),
            group: extended.group.unwrap_or_else(|| text(297)),
            mtime: extended.mtime.unwrap_or(Time { secs, nanos: 0 }),
            target: extended.target.unwrap_or_else(|| until_nul(&header.0[157..257]).to_vec()),
            device: if is_ustar { (device(329)?, device(337)?) } else { (0, 0) },
        })
    }

    /// Notes what is to come before the next header.
    fn expect(&mut self, size: u64) -> io::Result<()> {
        let padded =
            size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| wrong("a size is too large"))?;
        (self.left, self.padding) = (size, padded - size);
        Ok(())
    }

    fn pass_over(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let passed = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        if passed < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn bytes(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENDED {
            return Err(wrong(format!("an extended header of {size} bytes")));
        }
        self.expect(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn text(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let bytes = self.bytes(size)?;
        Ok(until_nul(&bytes).to_vec())
    }
}

/// The content of the present entry.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.input.read(&mut out[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

struct Header<'b>(&'b [u8; BLOCK]);

impl Header<'_> {
    fn check_sum(&self) -> io::Result<()> {
        let stated = self.number(148, 8)?;
        let byte = |at: usize| if (148..156).contains(&at) { b' ' } else { self.0[at] };
        let sum: u64 = (0..BLOCK).map(|at| u64::from(byte(at))).sum();
        // Old programs added bytes as signed ones.
        let signed: i64 = (0..BLOCK).map(|at| i64::from(byte(at).cast_signed())).sum();
        match stated == sum || i64::try_from(stated) == Ok(signed) {
            true => Ok(()),
            false => Err(wrong("its header is damaged, or this is no tar archive")),
        }
    }

    fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = until_nul(&self.0[345..500]);
        // GNU tar keeps other things there.
        match &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            true => [prefix, b"/", name].concat(),
            false => name.to_vec(),
        }
    }

    /// Octal digits, or for large numbers base 256 after a bit that is set.
    fn signed(&self, at: usize, len: usize) -> io::Result<i64> {
        let field = &self.0[at..at + len];
        if field[0] & 0x80 != 0 {
            let first = if field[0] & 0x40 == 0 {
                i128::from(field[0] & 0x3f)
            } else {
                i128::from(field[0].cast_signed())
            };
            let number = field[1..].iter().fold(first, |number, byte| (number << 8) | i128::from(*byte));
            return i64::try_from(number).map_err(|_| wrong("a number is too large"));
        }
        let digits = field.iter().skip_while(|byte| **byte == b' ');
        let mut number: i64 = 0;
        for byte in digits.take_while(|byte| !matches!(**byte, 0 | b' ')) {
            let digit = i64::from(byte.wrapping_sub(b'0'));
            let next = number.checked_mul(8).and_then(|number| number.checked_add(digit));
            number = next.filter(|_| digit < 8).ok_or_else(|| wrong("a number is none"))?;
        }
        Ok(number)
    }

    fn number(&self, at: usize, len: usize) -> io::Result<u64> {
        u64::try_from(self.signed(at, len)?).map_err(|_| wrong("a number is negative"))
    }
}

impl Extended {
    /// Records `LENGTH KEY=VALUE\n`, the length that of the whole record.
    fn read_pax(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bad = || wrong("an extended header is damaged");
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length: usize = std::str::from_utf8(&rest[..space])
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(bad)?;
            let record = rest.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n"));
            let record = record.ok_or_else(bad)?;
            rest = &rest[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let text = || std::str::from_utf8(value).map_err(|_| bad());
            let id = || text()?.parse().map_err(|_| bad());
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"size" => self.size = Some(text()?.parse().map_err(|_| bad())?),
                b"uid" => self.uid = Some(id()?),
                b"gid" => self.gid = Some(id()?),
                b"uname" => self.user = Some(text()?.to_owned()),
                b"gname" => self.group = Some(text()?.to_owned()),
                b"mtime" => self.mtime = Some(time(text()?).ok_or_else(bad)?),
                key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Seconds since 1970 with a fraction: `-1.25`.
fn time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let secs: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    match text.starts_with('-') && nanos > 0 {
        true => Some(Time { secs: secs.checked_sub(1)?, nanos: 1_000_000_000 - nanos }),
        false => Some(Time { secs, nanos }),
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
