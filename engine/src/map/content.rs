//! Content: the chunks of a stream in order, as a list or, above 1,024, a tree of lists.
//!
//! ```text
//! level u8 | list of parts
//! part at level 0:  length varint | data chunk id
//! part above:       bytes below varint | chunks below varint | id of a listing chunk with a list one level lower
//! ```
//!
//! A level of more than 1,024 parts is cut: after a part whose id begins with a zero byte, once the list has
//! 64 parts, and at 1,024. Cuts follow the ids, so that an edit in a long file changes one list of each level.
//! A stream is a file without its holes.

use super::store::{BuildError, Refused, SaveChunk};
use crate::error::Corrupt;
use crate::format::{MAX_CHUNK, MAX_CONTENT_LEVEL, MAX_CONTENT_LIST, MIN_CONTENT_LIST};
use crate::id::ChunkId;
use crate::wire::{Put, Reader};

/// Where the bytes of a stream are: chunks in order, or lists of such, with their lengths.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Content {
    /// 0: `parts` are data chunks; n: they are listing chunks holding lists of level n − 1.
    pub level: u8,
    /// At most 1,024, in order.
    pub parts: Vec<Part>,
}

/// One entry of a content list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Data bytes below it.
    pub len: u64,
    /// Data chunks below it; 1 at level 0.
    pub chunks: u64,
    /// The data chunk, or the listing chunk that holds the list below.
    pub id: ChunkId,
}

impl Content {
    /// Returns the number of data bytes.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// Returns whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the number of data chunks.
    pub fn chunks(&self) -> u64 {
        self.parts.iter().map(|part| part.chunks).sum()
    }
}

/// Appends level and list.
pub(crate) fn put_content(out: &mut Vec<u8>, level: u8, parts: &[Part]) {
    out.put_u8(level);
    out.put_varint(parts.len() as u64);
    for part in parts {
        out.put_varint(part.len);
        if level > 0 {
            out.put_varint(part.chunks);
        }
        out.put(part.id.as_bytes());
    }
}

/// Reads level and list, each part within its limits.
pub(crate) fn read_content(reader: &mut Reader<'_>) -> Result<Content, Corrupt> {
    let level = reader.u8()?;
    if level > MAX_CONTENT_LEVEL {
        return Err(reader.corrupt(format!("content level {level}, at most {MAX_CONTENT_LEVEL} is allowed")));
    }
    let least = if level == 0 { 33 } else { 34 };
    let count = reader.count(MAX_CONTENT_LIST, least, "content parts")?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let len = reader.varint()?;
        let chunks = if level == 0 { 1 } else { reader.varint()? };
        parts.push(Part { len, chunks, id: ChunkId::from_bytes(reader.array()?) });
    }
    sums(level, &parts).map_err(|wrong| reader.corrupt(wrong))?;
    Ok(Content { level, parts })
}

/// Returns the data bytes and chunks of a list; parts outside their limits are an error.
pub(crate) fn sums(level: u8, parts: &[Part]) -> Result<(u64, u64), &'static str> {
    if level > MAX_CONTENT_LEVEL || parts.len() > MAX_CONTENT_LIST {
        return Err("content has too many levels or parts");
    }
    let (mut len, mut chunks) = (0u64, 0u64);
    for part in parts {
        if level == 0 && part.chunks != 1 {
            return Err("a data chunk counts as one");
        }
        // Each chunk below has 1 byte to 8 MiB.
        if part.chunks == 0 || part.len < part.chunks || part.len.div_ceil(u64::from(MAX_CHUNK)) > part.chunks
        {
            return Err("content of a length that its chunks cannot have");
        }
        match (len.checked_add(part.len), chunks.checked_add(part.chunks)) {
            (Some(a), Some(b)) => (len, chunks) = (a, b),
            _ => return Err("content exceeds 64 bits"),
        }
    }
    Ok((len, chunks))
}

/// Makes content of chunks in order. Memory: at most 2 · 1,024 parts per level.
pub struct ContentBuilder<'a, S: SaveChunk> {
    saver: &'a S,
    levels: Vec<Vec<Part>>,
    /// Levels below this one exceeded 1,024 parts; the one of this number is the last that there is.
    cut: usize,
    len: u64,
    encoded: Vec<u8>,
    failed: bool,
}

impl<'a, S: SaveChunk> ContentBuilder<'a, S> {
    /// Starts an empty stream.
    pub fn new(saver: &'a S) -> Self {
        Self { saver, levels: vec![Vec::new()], cut: 0, len: 0, encoded: Vec::new(), failed: false }
    }

    /// Returns the bytes pushed so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a data chunk of `len` bytes, 1 to 8 MiB.
    pub fn push(&mut self, id: ChunkId, len: u32) -> Result<(), BuildError<S::Error>> {
        let total = self.len.checked_add(u64::from(len));
        let (false, 1..=MAX_CHUNK, Some(total)) = (self.failed, len, total) else {
            let refused = match total {
                _ if self.failed => Refused::AfterFailure,
                None => Refused::TooLarge { what: "stream" },
                Some(_) => Refused::ChunkLength { len: u64::from(len) },
            };
            return Err(refused.into());
        };
        self.len = total;
        let pushed = self.append(0, Part { len: u64::from(len), chunks: 1, id });
        self.failed |= pushed.is_err();
        pushed
    }

    fn append(&mut self, level: usize, part: Part) -> Result<(), BuildError<S::Error>> {
        let mut waiting = vec![(level, part)];
        while let Some((level, part)) = waiting.pop() {
            let parts = &mut self.levels[level];
            parts.push(part);
            if level == self.cut {
                if parts.len() > MAX_CONTENT_LIST {
                    // Now it is known that the level must be cut: its parts go in again, first one on top.
                    let parts = std::mem::take(parts);
                    waiting.extend(parts.into_iter().rev().map(|part| (level, part)));
                    self.raise()?;
                }
            } else if ends(parts) {
                let list = self.save(level)?;
                waiting.push((level + 1, list));
            }
        }
        Ok(())
    }

    fn raise(&mut self) -> Result<(), Refused> {
        if self.cut >= usize::from(MAX_CONTENT_LEVEL) {
            return Err(Refused::TooLarge { what: "stream" });
        }
        self.cut += 1;
        self.levels.push(Vec::new());
        Ok(())
    }

    fn save(&mut self, level: usize) -> Result<Part, BuildError<S::Error>> {
        let parts = &mut self.levels[level];
        self.encoded.clear();
        put_content(&mut self.encoded, level as u8, parts);
        let id = self.saver.save(&self.encoded).map_err(BuildError::Save)?;
        let list = Part {
            len: parts.iter().map(|part| part.len).sum(),
            chunks: parts.iter().map(|part| part.chunks).sum(),
            id,
        };
        parts.clear();
        Ok(list)
    }

    /// Saves the open lists and returns the content.
    pub fn finish(mut self) -> Result<Content, BuildError<S::Error>> {
        if self.failed {
            return Err(Refused::AfterFailure.into());
        }
        let mut level = 0;
        while level < self.cut {
            if !self.levels[level].is_empty() {
                let list = self.save(level)?;
                self.append(level + 1, list)?;
            }
            level += 1;
        }
        Ok(Content { level: level as u8, parts: std::mem::take(&mut self.levels[level]) })
    }
}

fn ends(parts: &[Part]) -> bool {
    parts.len() >= MAX_CONTENT_LIST
        || parts.len() >= MIN_CONTENT_LIST && parts.last().is_some_and(|part| part.id.as_bytes()[0] == 0)
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
