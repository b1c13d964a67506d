//! Entries as a tar stream in the pax interchange format (POSIX.1-2001, "pax").
//!
//! Every entry is a ustar header and its content; what that header cannot hold stands in an extended header
//! before it: long or non-ASCII names, sizes from 8 GiB, large ids, times with fractions or before 1970, and
//! extended attributes as `SCHILY.xattr.*`, which GNU tar, bsdtar and star read. Holes become zeros.
//!
//! The second and later members of a hard-link group become links to the first, as long as the names of the
//! first ones fit [`MAX_LINK_NAMES`] bytes; beyond that they are written with their content, so memory is
//! bounded and nothing is lost but the link.

use dedup_engine::id::LinkGroup;
use dedup_engine::listing::{Body, Node, StoredPath, Time};
use std::collections::HashMap;
use std::io::{self, Write};
use tar::{Builder, EntryType, Header};

/// Bytes of names of hard-linked files that are remembered: 16 MiB.
const MAX_LINK_NAMES: usize = 16 << 20;
/// Largest size of a ustar header: eleven octal digits.
const MAX_SIZE: u64 = 0o77777777777;
/// Largest id of a ustar header: seven octal digits.
const MAX_ID: u32 = 0o7777777;
/// Longest name and link target of a ustar header, without its prefix field.
const MAX_NAME: usize = 100;
/// Longest user or group name of a ustar header; a NUL follows.
const MAX_OWNER: usize = 31;
const BLOCK: u64 = 512;

/// Writes a tar stream.
pub struct TarStream<W: Write> {
    tar: Builder<W>,
    links: HashMap<LinkGroup, Vec<u8>>,
    link_bytes: usize,
}

impl<W: Write> TarStream<W> {
    /// Begins a stream.
    pub fn new(out: W) -> Self {
        Self { tar: Builder::new(out), links: HashMap::new(), link_bytes: 0 }
    }

    /// Writes one entry under `name`; `content` is called for the bytes of a regular file.
    ///
    /// Returns `false` for a socket, which a tar cannot hold. After an error the stream is of no use; content
    /// of another length than the entry says is `InvalidData`.
    pub fn entry(
        &mut self,
        name: &StoredPath,
        node: &Node,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut path = name.to_slashes();
        if path.is_empty() {
            path.push(b'.');
        }
        let mut entry = Entry::new(node);
        let link = node.link.and_then(|group| self.links.get(&group)).filter(|_| !node.is_directory());
        let mut size = 0;
        match (&node.body, link) {
            (Body::Socket, _) => return Ok(false),
            (_, Some(first)) => {
                entry.header.set_entry_type(EntryType::Link);
                entry.link_name(first);
            }
            (Body::File { size: length, .. }, None) => {
                entry.header.set_entry_type(EntryType::Regular);
                size = *length;
            }
            (Body::Directory, None) => {
                entry.header.set_entry_type(EntryType::Directory);
                path.push(b'/');
            }
            (Body::Symlink(target), None) => {
                entry.header.set_entry_type(EntryType::Symlink);
                entry.link_name(target);
            }
            (Body::Fifo, None) => entry.header.set_entry_type(EntryType::Fifo),
            (Body::CharDevice { major, minor }, None) => entry.device(EntryType::Char, *major, *minor)?,
            (Body::BlockDevice { major, minor }, None) => entry.device(EntryType::Block, *major, *minor)?,
        }
        if link.is_none()
            && let Some(group) = node.link
        {
            self.remember(group, &path);
        }
        entry.name(&path);
        entry.size(size);
        for (name, value) in xattrs {
            // A keyword of pax is text without `=`; the rest of the names cannot be told.
            if let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.contains('=')) {
                entry.extended.push((format!("SCHILY.xattr.{name}"), value.clone()));
            }
        }
        self.write(entry, size, content)?;
        Ok(true)
    }

    fn remember(&mut self, group: LinkGroup, path: &[u8]) {
        let bytes = path.len() + 128;
        if self.link_bytes + bytes <= MAX_LINK_NAMES {
            self.link_bytes += bytes;
            self.links.insert(group, path.to_vec());
        }
    }

    fn write(
        &mut self,
        mut entry: Entry,
        size: u64,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if !entry.extended.is_empty() {
            let extended = entry.extended.iter().map(|(key, value)| (&key[..], &value[..]));
            self.tar.append_pax_extensions(extended)?;
        }
        entry.header.set_cksum();
        let out = self.tar.get_mut();
        out.write_all(entry.header.as_bytes())?;
        if size > 0 {
            let mut exact = Exact { out: &mut *out, left: size };
            content(&mut exact)?;
            if exact.left > 0 {
                return Err(wrong_length());
            }
        }
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        out.write_all(&[0; BLOCK as usize][..padding as usize])
    }

    /// Forgets what links could lead to: what comes is another tree.
    pub fn forget_links(&mut self) {
        self.links.clear();
        self.link_bytes = 0;
    }

    /// Ends the stream.
    pub fn finish(self) -> io::Result<()> {
        self.finish_into().map(drop)
    }

    /// Ends the stream, and returns where it went.
    pub fn finish_into(self) -> io::Result<W> {
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(out)
    }
}

fn wrong_length() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the content of a file is longer or shorter than its entry says",
    )
}

/// Lets through exactly as many bytes as the header promised.
struct Exact<'a, W> {
    out: &'a mut W,
    left: u64,
}

impl<W: Write> Write for Exact<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(wrong_length());
        }
        let written = self.out.write(&bytes[..fits])?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A header and what it cannot hold.
struct Entry {
    header: Header,
    extended: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// Begins with what every kind of entry has.
    fn new(node: &Node) -> Self {
        let mut entry = Self { header: Header::new_ustar(), extended: Vec::new() };
        entry.header.set_mode(node.mode);
        entry.header.set_uid(node.uid.min(MAX_ID).into());
        entry.header.set_gid(node.gid.min(MAX_ID).into());
        for (key, id) in [("uid", node.uid), ("gid", node.gid)] {
            if id > MAX_ID {
                entry.extended.push((key.into(), id.to_string().into_bytes()));
            }
        }
        if let Some((user, group)) = &node.names {
            entry.owner("uname", user, Header::set_username);
            entry.owner("gname", group, Header::set_groupname);
        }
        let whole = u64::try_from(node.mtime.secs).unwrap_or(0).min(MAX_SIZE);
        entry.header.set_mtime(whole);
        if node.mtime.nanos > 0 || u64::try_from(node.mtime.secs) != Ok(whole) {
            entry.extended.push(("mtime".into(), decimal(node.mtime).into_bytes()));
        }
        if let Some(atime) = node.atime {
            entry.extended.push(("atime".into(), decimal(atime).into_bytes()));
        }
        entry
    }

    fn owner(&mut self, key: &str, name: &str, set: fn(&mut Header, &str) -> io::Result<()>) {
        let fits = name.is_ascii() && name.len() <= MAX_OWNER && set(&mut self.header, name).is_ok();
        if !fits {
            self.extended.push((key.into(), name.as_bytes().to_vec()));
        }
    }

    /// Sets the name; a long one is cut in the header and whole in the extended one.
    fn name(&mut self, name: &[u8]) {
        if let Some(ustar) = self.header.as_ustar_mut() {
            put(&mut ustar.name, name);
        }
        self.text("path", name);
    }

    fn link_name(&mut self, target: &[u8]) {
        if let Some(ustar) = self.header.as_ustar_mut() {
            put(&mut ustar.linkname, target);
        }
        self.text("linkpath", target);
    }

    /// Adds a name to the extended header if a plain one cannot hold it. Names that are not UTF-8 are
    /// announced as binary, as the format demands.
    fn text(&mut self, key: &str, name: &[u8]) {
        if name.len() <= MAX_NAME && name.is_ascii() {
            return;
        }
        let announced = self.extended.iter().any(|(key, _)| key == "hdrcharset");
        if std::str::from_utf8(name).is_err() && !announced {
            self.extended.insert(0, ("hdrcharset".into(), b"BINARY".to_vec()));
        }
        self.extended.push((key.into(), name.to_vec()));
    }

    fn size(&mut self, size: u64) {
        self.header.set_size(size.min(MAX_SIZE));
        if size > MAX_SIZE {
            self.extended.push(("size".into(), size.to_string().into_bytes()));
        }
    }

    fn device(&mut self, kind: EntryType, major: u32, minor: u32) -> io::Result<()> {
        self.header.set_entry_type(kind);
        self.header.set_device_major(major.min(MAX_ID))?;
        self.header.set_device_minor(minor.min(MAX_ID))?;
        for (key, number) in [("SCHILY.devmajor", major), ("SCHILY.devminor", minor)] {
            if number > MAX_ID {
                self.extended.push((key.into(), number.to_string().into_bytes()));
            }
        }
        Ok(())
    }
}

/// Copies as much as fits; fields that are full have no NUL at their end.
fn put(field: &mut [u8; MAX_NAME], name: &[u8]) {
    let fits = name.len().min(MAX_NAME);
    field[..fits].copy_from_slice(&name[..fits]);
}

/// Writes a moment as pax wants it: seconds since 1970 with a decimal fraction, perhaps negative.
fn decimal(time: Time) -> String {
    let nanos = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    let sign = if nanos < 0 { "-" } else { "" };
    let (secs, fraction) = (nanos.abs() / 1_000_000_000, nanos.abs() % 1_000_000_000);
    let text = format!("{sign}{secs}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "tar_stream_tests.rs"]
mod tests;
