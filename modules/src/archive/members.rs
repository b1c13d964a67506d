//! The entries of an archive, one after another.

use super::header::Header;
use super::pax::Extended;
use super::{ArchiveError, BLOCK, MAX_EXTENDED, ReadAt};
use dedup_engine::listing::{StoredPath, Time};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A further name of a file that came before, and the first name.
    HardLink(StoredPath),
    /// A named pipe.
    Fifo,
    /// A character device: major and minor.
    CharDevice(u32, u32),
    /// A block device: major and minor.
    BlockDevice(u32, u32),
}

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its place in the archive.
    pub path: StoredPath,
    /// What it is.
    pub kind: MemberKind,
    /// Permissions, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of owner and group, empty where there is none.
    pub names: (String, String),
    /// Last change.
    pub mtime: Time,
    /// Last access, where it is told.
    pub atime: Option<Time>,
    /// Extended attributes, sorted.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its content begins in the archive.
    pub at: u64,
    /// Length of its content in bytes, all of which are in the archive.
    pub size: u64,
}

/// Walks an archive. Memory: one extended header.
pub struct Members<'a, R: ReadAt + ?Sized> {
    archive: &'a R,
    len: u64,
    at: u64,
    global: Extended,
    ended: bool,
}

impl<'a, R: ReadAt + ?Sized> Members<'a, R> {
    /// Starts at the beginning of an archive of so many bytes.
    pub fn new(archive: &'a R, len: u64) -> Self {
        Self { archive, len, at: 0, global: Extended::default(), ended: false }
    }

    /// Returns the next entry; `None` after the block that ends the archive.
    ///
    /// # Errors
    /// An archive that breaks off without that block is none. Nothing follows an error.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide the end after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let found = self.read();
        self.ended = !matches!(found, Ok(Some(_)));
        found
    }

    fn read(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut extended = self.global.clone();
        loop {
            let (at, mut block) = (self.at, [0; BLOCK as usize]);
            let read = self.archive.read_exact_at(&mut block, at);
            read.map_err(|source| ArchiveError::Read { at, source })?;
            let wrong = |wrong: String| ArchiveError::wrong(at, wrong);
            let Some(header) = Header::new(&block).map_err(wrong)? else { return Ok(None) };
            let none = |what: &str| ArchiveError::wrong(at, format!("{what} of its header is none"));
            let size = header.size().ok_or_else(|| none("the size"))?;
            // Of a member the extended header wins; of an extended header itself nothing does.
            let is_special = matches!(header.kind(), b'x' | b'g' | b'L' | b'K');
            let size = if is_special { size } else { extended.size.unwrap_or(size) };
            let size = match header.kind() {
                b'0' | 0 | b'7' | b'x' | b'g' | b'L' | b'K' => size,
                // Links have the size of what they link to in some archives, and no content.
                _ => 0,
            };
            let content = at + BLOCK;
            let next = size.checked_next_multiple_of(BLOCK).and_then(|padded| content.checked_add(padded));
            let next = next.filter(|_| size <= self.len.saturating_sub(content));
            self.at =
                next.ok_or_else(|| ArchiveError::wrong(at, "what it says is longer than the archive"))?;
            if !is_special {
                return self.member(&header, extended, at, size).map(Some);
            }
            if size > MAX_EXTENDED {
                return Err(ArchiveError::wrong(at, "an extended header is too long"));
            }
            let mut bytes = vec![0; size as usize];
            let read = self.archive.read_exact_at(&mut bytes, content);
            read.map_err(|source| ArchiveError::Read { at: content, source })?;
            let long = || bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
            match header.kind() {
                b'x' => extended.read(&bytes).map_err(wrong)?,
                b'g' => {
                    self.global.read(&bytes).map_err(wrong)?;
                    extended.read(&bytes).map_err(wrong)?;
                }
                b'L' => extended.path = Some(long()),
                _ => extended.link = Some(long()),
            }
        }
    }

    fn member(
        &self,
        header: &Header<'_>,
        mut of: Extended,
        at: u64,
        size: u64,
    ) -> Result<Member, ArchiveError> {
        let wrong = |what: String| ArchiveError::wrong(at, what);
        let name = of.path.take().unwrap_or_else(|| header.name());
        let shown = String::from_utf8_lossy(&name).chars().take(200).collect::<String>();
        let place = |path: &[u8]| StoredPath::from_slashes(path);
        let path = place(&name).ok_or_else(|| wrong(format!("{shown:?} is no path that could be stored")))?;
        let link = of.link.take().unwrap_or_else(|| header.link().to_vec());
        let device = || {
            let of_header = header.device().unwrap_or_default();
            (of.devmajor.unwrap_or(of_header.0), of.devminor.unwrap_or(of_header.1))
        };
        let kind = match header.kind() {
            b'0' | 0 | b'7' if name.ends_with(b"/") => MemberKind::Directory,
            b'0' | 0 | b'7' => MemberKind::File,
            b'1' => MemberKind::HardLink(
                place(&link).ok_or_else(|| wrong(format!("{shown:?} links to no path")))?,
            ),
            b'2' if link.is_empty() || link.len() > 65_536 => {
                return Err(wrong(format!("{shown:?} links to nothing")));
            }
            b'2' => MemberKind::Symlink(link),
            b'3' => MemberKind::CharDevice(device().0, device().1),
            b'4' => MemberKind::BlockDevice(device().0, device().1),
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            other => {
                return Err(wrong(format!(
                    "{shown:?} is of the kind {:?}, which is not read",
                    char::from(other)
                )));
            }
        };
        let rights = header
            .rights()
            .ok_or_else(|| wrong(format!("mode, owner or group of {shown:?} is no number")))?;
        let (user, group) = header.names();
        let owner = |told: Option<String>, own: &[u8]| {
            let mut name = told.unwrap_or_else(|| String::from_utf8_lossy(own).into_owned());
            name.truncate(name.floor_char_boundary(255));
            name
        };
        let mut xattrs = std::mem::take(&mut of.xattrs);
        xattrs.sort();
        Ok(Member {
            path,
            kind,
            mode: rights.0,
            uid: of.uid.unwrap_or(rights.1),
            gid: of.gid.unwrap_or(rights.2),
            names: (owner(of.uname, user), owner(of.gname, group)),
            mtime: of.mtime.unwrap_or(Time { secs: header.mtime().unwrap_or(0), nanos: 0 }),
            atime: of.atime,
            xattrs,
            at: at + BLOCK,
            size,
        })
    }
}
