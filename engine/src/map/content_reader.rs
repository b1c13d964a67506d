//! Reading content: the data chunks of a stream, in order or from any offset on.

use super::content::{Content, Part, read_content, sums};
use super::store::LoadChunk;
use crate::error::Corrupt;
use crate::format::MAX_CONTENT_LIST;
use crate::id::ChunkId;
use crate::wire::Reader;
use std::borrow::Cow;

/// Longest list as a chunk: level, count and 1,024 parts of two varints and an id, rounded up.
const MAX_LIST_CHUNK: u32 = 64 << 10;
/// So many lists are announced at a time.
const WINDOW: usize = 16;

const _: () = assert!(1 + 2 + MAX_CONTENT_LIST * (10 + 10 + ChunkId::LEN) <= MAX_LIST_CHUNK as usize);

struct Frame<'a> {
    level: u8,
    parts: Cow<'a, [Part]>,
    index: usize,
}

/// Walks the data chunks of a stream. Memory: one list of at most 1,024 parts per level.
///
/// Offsets count bytes of the stream, which is a file without its holes. Each list is checked against
/// the sums that its parent gives before anything in it is used. After an error of [`next`](Self::next) another
/// call tries the same list again; after one of a seek the position is undefined until the next seek.
pub struct ContentReader<'a, L: LoadChunk> {
    loader: &'a L,
    frames: Vec<Frame<'a>>,
    offset: u64,
}

impl<'a, L: LoadChunk> ContentReader<'a, L> {
    /// Starts before the first chunk; loads nothing.
    pub fn new(loader: &'a L, content: &'a Content) -> Self {
        let root = Frame { level: content.level, parts: Cow::Borrowed(&content.parts), index: 0 };
        Self { loader, frames: vec![root], offset: 0 }
    }

    /// Starts before the first chunk below one part of a list of `level`, or where there is nothing.
    pub(super) fn below(loader: &'a L, level: u8, part: Option<Part>) -> Self {
        Self { loader, frames: vec![Frame { level, parts: part.into_iter().collect(), index: 0 }], offset: 0 }
    }

    /// Returns the next data chunk and the offset of its first byte; `None` after the last one.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide the end after an error"
    )]
    pub fn next(&mut self) -> Result<Option<(u64, Part)>, L::Error> {
        self.next_unless(|_| false)
    }

    /// The same, passing over lists that the caller has seen: one may stand in a content a billion times.
    pub fn next_unless(
        &mut self,
        mut seen: impl FnMut(&Part) -> bool,
    ) -> Result<Option<(u64, Part)>, L::Error> {
        loop {
            match self.step() {
                Step::Chunk(part) => {
                    let offset = self.offset;
                    self.offset = offset.saturating_add(part.len);
                    return Ok(Some((offset, part)));
                }
                Step::List(part) if seen(&part) => self.offset = self.offset.saturating_add(part.len),
                Step::List(part) => self.enter(part)?,
                Step::End => return Ok(None),
            }
        }
    }

    /// Makes the chunk that holds the byte at `offset` the next one; past the end there is none.
    pub fn seek(&mut self, offset: u64) -> Result<(), L::Error> {
        self.frames.truncate(1);
        self.offset = 0;
        if let Some(root) = self.frames.first_mut() {
            root.index = 0;
        }
        while let Some(frame) = self.frames.last_mut() {
            while let Some(part) = frame.parts.get(frame.index) {
                match self.offset.checked_add(part.len) {
                    Some(end) if end <= offset => self.offset = end,
                    _ => break,
                }
                frame.index += 1;
            }
            if frame.level == 0 {
                break;
            }
            match self.step() {
                Step::List(part) => self.enter(part)?,
                Step::Chunk(_) | Step::End => break,
            }
        }
        Ok(())
    }

    /// Takes the next part of the lowest list that has one; the top list stays.
    fn step(&mut self) -> Step {
        while let Some(frame) = self.frames.last_mut() {
            if let Some(part) = frame.parts.get(frame.index) {
                let part = *part;
                if frame.level > 0 && frame.index.is_multiple_of(WINDOW) {
                    let ahead = frame.parts.iter().skip(frame.index).take(WINDOW);
                    self.loader.prefetch(&ahead.map(|part| part.id).collect::<Vec<_>>());
                }
                frame.index += 1;
                return if frame.level == 0 { Step::Chunk(part) } else { Step::List(part) };
            }
            if self.frames.len() == 1 {
                break;
            }
            self.frames.pop();
        }
        Step::End
    }

    fn enter(&mut self, part: Part) -> Result<(), L::Error> {
        let above = self.frames.last().map_or(0, |frame| frame.level);
        let loaded = self.loader.load(&part.id, MAX_LIST_CHUNK).and_then(|bytes| {
            Ok(read_list(&bytes, above, &part).map_err(|damage| damage.within(part.id.short()))?)
        });
        match loaded {
            Ok(list) => {
                self.frames.push(Frame { level: list.level, parts: Cow::Owned(list.parts), index: 0 });
                Ok(())
            }
            Err(error) => {
                // The list is still to be read: going on must not pass over it.
                if let Some(frame) = self.frames.last_mut() {
                    frame.index = frame.index.saturating_sub(1);
                }
                Err(error)
            }
        }
    }
}

enum Step {
    Chunk(Part),
    List(Part),
    End,
}

/// Decodes a list that stands in a chunk and checks it against what its parent says.
fn read_list(bytes: &[u8], above: u8, part: &Part) -> Result<Content, Corrupt> {
    let mut reader = Reader::new("content list", bytes);
    let list = read_content(&mut reader)?;
    if list.level.checked_add(1) != Some(above) {
        return Err(reader.corrupt("its level is not the one below its parent's"));
    }
    if sums(list.level, &list.parts) != Ok((part.len, part.chunks)) {
        return Err(reader.corrupt("its sums are not what its parent says"));
    }
    reader.finish()?;
    Ok(list)
}
