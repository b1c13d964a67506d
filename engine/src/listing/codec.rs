//! Nodes as the values of a listing.
//!
//! ```text
//! kind u8 | flags varint | mode | uid | gid varint | mtime | ctime | atime? | btime? | names? | link group? | xattrs?
//! then by kind: target | major, minor | size, holes?, content
//! ```
//!
//! mtime is zig-zag seconds and varint nanoseconds; the other times have their seconds as the difference to
//! mtime, modulo 2^64. Both ways every invariant of a [`Node`] is checked, so that accepted bytes are exactly what
//! [`encode_node`] makes of the node they decode to.

use super::node::{Body, Node, Time, Xattrs};
use super::xattrs::check_xattrs;
use crate::error::Corrupt;
use crate::format::{
    MAX_CONTENT_LIST, MAX_HOLES, MAX_INLINE_XATTRS, MAX_SYMLINK, MAX_VALUE, MAX_XATTRS, VALUE_PIECE,
};
use crate::id::{ChunkId, LinkGroup};
use crate::map::Content;
use crate::map::content::{put_content, read_content, sums};
use crate::wire::{Put, Reader};
use std::ops::Range;

/// No encoded node is longer, so that a reader may refuse a longer value: 256 KiB.
///
/// 4,096 holes of 20 bytes, 1,024 parts of at most 52, names of twice 255, and less than 1 KiB for the rest.
pub const MAX_NODE_VALUE: u64 = VALUE_PIECE as u64;
/// Longest name of an owner or a group in bytes.
const MAX_OWNER_NAME: usize = 255;

const _: () = assert!(MAX_HOLES * 20 + MAX_CONTENT_LIST * 52 + 2 * MAX_OWNER_NAME + 1024 <= VALUE_PIECE);
const _: () = assert!(MAX_SYMLINK + 2 * MAX_OWNER_NAME + 1024 <= VALUE_PIECE && MAX_NODE_VALUE <= MAX_VALUE);

const LINKED: u64 = 1;
const HOLES: u64 = 2;
const XATTRS: u64 = 4;
const ATIME: u64 = 8;
const SUSPECT: u64 = 16;
const NAMES: u64 = 32;
const BTIME: u64 = 64;
const ALL: u64 = 127;

const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 3;
const FIFO: u8 = 4;
const SOCKET: u8 = 5;
const CHAR_DEVICE: u8 = 6;
const BLOCK_DEVICE: u8 = 7;

/// Encodes a node; one that breaks an invariant of its type is refused, with the reason.
pub fn encode_node(node: &Node) -> Result<Vec<u8>, Corrupt> {
    check(node).map_err(|wrong| Corrupt::new("listing node", wrong))?;
    let mut out = Vec::with_capacity(128);
    let kind = match &node.body {
        Body::File { .. } => FILE,
        Body::Directory => DIRECTORY,
        Body::Symlink(_) => SYMLINK,
        Body::Fifo => FIFO,
        Body::Socket => SOCKET,
        Body::CharDevice { .. } => CHAR_DEVICE,
        Body::BlockDevice { .. } => BLOCK_DEVICE,
    };
    out.put_u8(kind);
    out.put_varint(flags(node));
    for number in [node.mode, node.uid, node.gid] {
        out.put_varint(u64::from(number));
    }
    put_time(&mut out, node.mtime, 0);
    for time in [Some(node.ctime), node.atime, node.btime].into_iter().flatten() {
        put_time(&mut out, time, node.mtime.secs);
    }
    if let Some((user, group)) = &node.names {
        out.put_bytes(user.as_bytes());
        out.put_bytes(group.as_bytes());
    }
    if let Some(link) = &node.link {
        out.put(link.as_bytes());
    }
    match &node.xattrs {
        Xattrs::None => {}
        Xattrs::Inline(set) => {
            out.put_u8(0);
            out.put_bytes(set);
        }
        Xattrs::Chunk { len, id } => {
            out.put_u8(1);
            out.put_varint(*len);
            out.put(id.as_bytes());
        }
    }
    match &node.body {
        Body::File { size, holes, content } => {
            out.put_varint(*size);
            if !holes.is_empty() {
                put_holes(&mut out, holes);
            }
            put_content(&mut out, content.level, &content.parts);
        }
        Body::Symlink(target) => out.put_bytes(target),
        Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
            out.put_varint(u64::from(*major));
            out.put_varint(u64::from(*minor));
        }
        Body::Directory | Body::Fifo | Body::Socket => {}
    }
    Ok(out)
}

/// Decodes a node and checks its invariants.
pub fn decode_node(value: &[u8]) -> Result<Node, Corrupt> {
    let mut reader = Reader::new("listing node", value);
    let kind = reader.u8()?;
    let flags = reader.varint()?;
    if flags & !ALL != 0 {
        return Err(reader.corrupt(format!("unknown flags {flags:#x}; a newer version wrote this")));
    }
    let has = |flag: u64| flags & flag != 0;
    let mode = number(&mut reader, "mode")?;
    let uid = number(&mut reader, "uid")?;
    let gid = number(&mut reader, "gid")?;
    let mtime = read_time(&mut reader, 0)?;
    let ctime = read_time(&mut reader, mtime.secs)?;
    let atime = if has(ATIME) { Some(read_time(&mut reader, mtime.secs)?) } else { None };
    let btime = if has(BTIME) { Some(read_time(&mut reader, mtime.secs)?) } else { None };
    let names = if has(NAMES) {
        Some((reader.text(MAX_OWNER_NAME, "user name")?, reader.text(MAX_OWNER_NAME, "group name")?))
    } else {
        None
    };
    let link = if has(LINKED) { Some(LinkGroup::from_bytes(reader.array()?)) } else { None };
    let xattrs = if has(XATTRS) { read_xattrs(&mut reader)? } else { Xattrs::None };
    let body = match kind {
        FILE => {
            let size = reader.varint()?;
            let holes = if has(HOLES) { read_holes(&mut reader)? } else { Vec::new() };
            Body::File { size, holes, content: read_content(&mut reader)? }
        }
        DIRECTORY => Body::Directory,
        SYMLINK => Body::Symlink(reader.bytes(MAX_SYMLINK, "link target")?.to_vec()),
        FIFO => Body::Fifo,
        SOCKET => Body::Socket,
        CHAR_DEVICE | BLOCK_DEVICE => {
            let (major, minor) = (number(&mut reader, "major")?, number(&mut reader, "minor")?);
            if kind == CHAR_DEVICE {
                Body::CharDevice { major, minor }
            } else {
                Body::BlockDevice { major, minor }
            }
        }
        _ => return Err(reader.corrupt(format!("unknown kind {kind}; a newer version wrote this"))),
    };
    let suspect = has(SUSPECT);
    let node = Node { body, mode, uid, gid, names, mtime, ctime, atime, btime, xattrs, link, suspect };
    check(&node).map_err(|wrong| reader.corrupt(wrong))?;
    if self::flags(&node) != flags {
        return Err(reader.corrupt("flags do not fit the kind"));
    }
    reader.finish()?;
    Ok(node)
}

fn flags(node: &Node) -> u64 {
    let holes = matches!(&node.body, Body::File { holes, .. } if !holes.is_empty());
    let when = |is: bool, flag: u64| if is { flag } else { 0 };
    when(node.link.is_some(), LINKED)
        | when(holes, HOLES)
        | when(node.xattrs != Xattrs::None, XATTRS)
        | when(node.atime.is_some(), ATIME)
        | when(node.suspect, SUSPECT)
        | when(node.names.is_some(), NAMES)
        | when(node.btime.is_some(), BTIME)
}

/// Checks what the type cannot say by itself.
fn check(node: &Node) -> Result<(), String> {
    if node.mode > 0o7777 {
        return Err(format!("mode {:o} has more than permission bits", node.mode));
    }
    let times = [Some(node.mtime), Some(node.ctime), node.atime, node.btime];
    if times.iter().flatten().any(|time| time.nanos >= 1_000_000_000) {
        return Err("a time with a second or more of nanoseconds".into());
    }
    if node.names.as_ref().is_some_and(|(user, group)| user.len().max(group.len()) > MAX_OWNER_NAME) {
        return Err("a name of owner or group of more than 255 bytes".into());
    }
    match &node.xattrs {
        Xattrs::None => {}
        Xattrs::Inline(set) if set.len() <= MAX_INLINE_XATTRS => {
            if check_xattrs(set).map_err(|damage| damage.to_string())? == 0 {
                return Err("an empty set of extended attributes".into());
            }
        }
        Xattrs::Chunk { len, .. } if (MAX_INLINE_XATTRS as u64 + 1..=MAX_XATTRS as u64).contains(len) => {}
        Xattrs::Inline(_) | Xattrs::Chunk { .. } => {
            return Err("a set of extended attributes whose length does not fit its place".into());
        }
    }
    match &node.body {
        Body::File { size, holes, content } => check_file(*size, holes, content),
        Body::Directory if node.link.is_some() => Err("a hard-linked directory".into()),
        Body::Symlink(target) if !(1..=MAX_SYMLINK).contains(&target.len()) => {
            Err(format!("a link target of {} bytes", target.len()))
        }
        _ => Ok(()),
    }
}

fn check_file(size: u64, holes: &[Range<u64>], content: &Content) -> Result<(), String> {
    if size > i64::MAX as u64 {
        return Err(format!("a file of {size} bytes; less than 2^63 are allowed"));
    }
    if holes.len() > MAX_HOLES {
        return Err(format!("{} holes, at most {MAX_HOLES} are allowed", holes.len()));
    }
    let (mut end, mut empty) = (0, 0);
    for hole in holes {
        let touches = end > 0 && hole.start == end;
        if hole.start < end || touches || hole.is_empty() || hole.end > size {
            return Err(format!("hole {hole:?} is empty, out of order, outside the file or touches another"));
        }
        end = hole.end;
        empty += hole.end - hole.start;
    }
    let (len, chunks) = sums(content.level, &content.parts)?;
    if Some(len) != size.checked_sub(empty) {
        return Err(format!("content of {len} bytes in a file of {size} with {empty} in holes"));
    }
    if content.level > 0 && (chunks <= MAX_CONTENT_LIST as u64 || content.parts.len() < 2) {
        return Err(format!("content of level {} for {chunks} chunks", content.level));
    }
    Ok(())
}

fn number(reader: &mut Reader<'_>, name: &str) -> Result<u32, Corrupt> {
    let value = reader.varint()?;
    u32::try_from(value).map_err(|_| reader.corrupt(format!("{name} {value} exceeds 32 bits")))
}

fn put_time(out: &mut Vec<u8>, time: Time, base_secs: i64) {
    out.put_zigzag(time.secs.wrapping_sub(base_secs));
    out.put_varint(u64::from(time.nanos));
}

fn read_time(reader: &mut Reader<'_>, base_secs: i64) -> Result<Time, Corrupt> {
    let secs = reader.zigzag()?.wrapping_add(base_secs);
    Ok(Time { secs, nanos: number(reader, "nanoseconds")? })
}

fn read_xattrs(reader: &mut Reader<'_>) -> Result<Xattrs, Corrupt> {
    match reader.u8()? {
        0 => Ok(Xattrs::Inline(reader.bytes(MAX_INLINE_XATTRS, "extended attributes")?.to_vec())),
        1 => Ok(Xattrs::Chunk { len: reader.varint()?, id: ChunkId::from_bytes(reader.array()?) }),
        tag => Err(reader.corrupt(format!("unknown place {tag} of extended attributes"))),
    }
}

fn put_holes(out: &mut Vec<u8>, holes: &[Range<u64>]) {
    out.put_varint(holes.len() as u64);
    let mut end = 0;
    for hole in holes {
        out.put_varint(hole.start - end);
        out.put_varint(hole.end - hole.start);
        end = hole.end;
    }
}

fn read_holes(reader: &mut Reader<'_>) -> Result<Vec<Range<u64>>, Corrupt> {
    let count = reader.count(MAX_HOLES, 2, "holes")?;
    let mut holes = Vec::with_capacity(count);
    let mut end = 0u64;
    for _ in 0..count {
        let (gap, len) = (reader.varint()?, reader.varint()?);
        let hole = end.checked_add(gap).and_then(|start| Some(start..start.checked_add(len)?));
        let Some(hole) = hole else { return Err(reader.corrupt("a hole beyond 64 bits")) };
        end = hole.end;
        holes.push(hole);
    }
    Ok(holes)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
