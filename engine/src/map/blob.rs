//! Blobs: byte strings out of line, and values of maps, which are blobs above 1,024 bytes.
//!
//! ```text
//! length varint | if not 0: level u8 | id
//! ```
//!
//! A blob is cut into chunks of 256 KiB, the last one shorter. One chunk: level 0, its id. More: content
//! lists of them until one list is left; its id, and its level + 1. So whatever names a blob stays small.

use super::content::{Content, ContentBuilder, Part, put_content};
use super::content_reader::ContentReader;
use super::node::Value;
use super::store::{BuildError, LoadChunk, Refused, SaveChunk};
use crate::error::Corrupt;
use crate::format::{MAX_CONTENT_LEVEL, MAX_CONTENT_LIST, MAX_INLINE_VALUE, MAX_VALUE, VALUE_PIECE};
use crate::id::ChunkId;
use crate::wire::{Put, Reader};
use std::borrow::Cow;

const PIECE: u64 = VALUE_PIECE as u64;

/// A byte string out of line, of at most 16 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blob {
    /// Its length in bytes.
    pub len: u64,
    /// 0: `id` is the chunk that holds it; n: the content list of level n − 1 of its pieces.
    pub level: u8,
    /// The chunk or list; `None` if the length is 0.
    pub id: Option<ChunkId>,
}

impl Blob {
    /// The byte string without bytes.
    pub const EMPTY: Self = Self { len: 0, level: 0, id: None };

    /// Appends the blob.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Some(id) = self.id else { return out.put_varint(0) };
        out.put_varint(self.len);
        out.put_u8(self.level);
        out.put(id.as_bytes());
    }

    /// Reads a blob of at most `max_bytes`, and never above 16 GiB.
    pub fn decode(reader: &mut Reader<'_>, max_bytes: u64) -> Result<Self, Corrupt> {
        let len = reader.at_most(max_bytes.min(MAX_VALUE), "blob length")?;
        if len == 0 {
            return Ok(Self::EMPTY);
        }
        let (level, id) = (reader.u8()?, ChunkId::from_bytes(reader.array()?));
        let blob = Self { len, level, id: Some(id) };
        blob.part().map_err(|wrong| reader.corrupt(wrong))?;
        Ok(blob)
    }

    /// Returns the blob as one part of a list of its level; one whose level its length cannot have is an error.
    pub(super) fn part(&self) -> Result<Option<Part>, String> {
        let chunks = self.len.div_ceil(PIECE);
        let fits = match chunks {
            0 => *self == Self::EMPTY,
            1 => self.level == 0,
            pieces if pieces <= MAX_CONTENT_LIST as u64 => self.level == 1,
            _ => (2..=MAX_CONTENT_LEVEL + 1).contains(&self.level) && self.len <= MAX_VALUE,
        };
        if !fits || self.id.is_none() && self.len > 0 {
            return Err(format!("a blob of {} bytes has no level {}", self.len, self.level));
        }
        Ok(self.id.map(|id| Part { len: self.len, chunks, id }))
    }
}

/// A value of a map whose long form, if it has one, was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedValue {
    /// At most 1,024 bytes, to stand in the leaf.
    Inline(Vec<u8>),
    /// More.
    Blob(Blob),
}

impl SavedValue {
    /// Returns the value as a leaf takes it.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Inline(bytes) => Value::Inline(bytes),
            Self::Blob(blob) => Value::Blob(*blob),
        }
    }
}

/// Saves a byte string that comes in parts. Holds one piece of 256 KiB and the open lists.
pub struct BlobWriter<'a, S: SaveChunk> {
    saver: &'a S,
    piece: Vec<u8>,
    pieces: ContentBuilder<'a, S>,
    len: u64,
}

impl<'a, S: SaveChunk> BlobWriter<'a, S> {
    /// Starts an empty one.
    pub fn new(saver: &'a S) -> Self {
        Self { saver, piece: Vec::new(), pieces: ContentBuilder::new(saver), len: 0 }
    }

    /// Appends bytes; more than 16 GiB in all are refused.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), BuildError<S::Error>> {
        let len = self.len.saturating_add(bytes.len() as u64);
        if len > MAX_VALUE {
            return Err(Refused::ValueLength { len }.into());
        }
        self.len = len;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(VALUE_PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == VALUE_PIECE {
                self.save_piece()?;
            }
        }
        Ok(())
    }

    /// Appends a piece that was saved before: 256 KiB, or fewer bytes if it is the last one.
    ///
    /// # Errors
    /// Bytes were written since the last whole piece, or a piece of another length came before.
    pub fn saved_piece(&mut self, id: ChunkId, len: u32) -> Result<(), BuildError<S::Error>> {
        let total = self.len.saturating_add(u64::from(len));
        if !self.piece.is_empty()
            || !self.len.is_multiple_of(PIECE)
            || u64::from(len) > PIECE
            || total > MAX_VALUE
        {
            return Err(Refused::ValueLength { len: total }.into());
        }
        self.pieces.push(id, len)?;
        self.len = total;
        Ok(())
    }

    /// Saves what is left and returns the blob.
    pub fn finish(mut self) -> Result<Blob, BuildError<S::Error>> {
        if !self.piece.is_empty() {
            self.save_piece()?;
        }
        let Content { level, parts } = self.pieces.finish()?;
        let (level, id) = match (level, &parts[..]) {
            (_, []) => return Ok(Blob::EMPTY),
            (0, [piece]) => (0, piece.id),
            _ => {
                let mut list = Vec::new();
                put_content(&mut list, level, &parts);
                (level + 1, self.saver.save(&list).map_err(BuildError::Save)?)
            }
        };
        Ok(Blob { len: self.len, level, id: Some(id) })
    }

    /// Returns the bytes as the value of a map, which saves nothing up to 1,024 bytes.
    pub fn finish_value(self) -> Result<SavedValue, BuildError<S::Error>> {
        if self.len <= MAX_INLINE_VALUE as u64 {
            return Ok(SavedValue::Inline(self.piece));
        }
        self.finish().map(SavedValue::Blob)
    }

    fn save_piece(&mut self) -> Result<(), BuildError<S::Error>> {
        let id = self.saver.save(&self.piece).map_err(BuildError::Save)?;
        self.pieces.push(id, self.piece.len() as u32)?;
        self.piece.clear();
        Ok(())
    }
}

/// Reads a blob piece by piece. Holds one piece and a list of each level. After an error another call tries
/// the same piece again.
pub struct BlobReader<'a, L: LoadChunk> {
    loader: &'a L,
    pieces: ContentReader<'a, L>,
    /// A piece that could not be read yet.
    owed: Option<(u64, Part)>,
    len: u64,
}

impl<'a, L: LoadChunk> BlobReader<'a, L> {
    /// Starts before the first piece; loads nothing.
    pub fn new(loader: &'a L, blob: &Blob) -> Result<Self, L::Error> {
        let part = blob.part().map_err(|wrong| Corrupt::new("blob", wrong))?;
        Ok(Self { loader, pieces: ContentReader::below(loader, blob.level, part), owed: None, len: blob.len })
    }

    /// Returns the name of the next piece, which is not read; `None` after the last one.
    pub fn next_id(&mut self) -> Result<Option<ChunkId>, L::Error> {
        let next = match self.owed.take() {
            Some(owed) => Some(owed),
            None => self.pieces.next()?,
        };
        Ok(next.map(|(_, part)| part.id))
    }

    /// Returns the next piece, at most 256 KiB; `None` after the last one.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide the end after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, L::Error> {
        if self.owed.is_none() {
            self.owed = self.pieces.next()?;
        }
        let Some((offset, part)) = self.owed else { return Ok(None) };
        let expected = self.len.saturating_sub(offset).min(PIECE);
        let bytes = match u32::try_from(part.len) {
            Ok(len) if part.len == expected => self.loader.load(&part.id, len)?,
            _ => Vec::new(),
        };
        if bytes.len() as u64 != expected {
            let wrong =
                format!("{} bytes in piece {}, {expected} were expected", bytes.len(), part.id.short());
            return Err(Corrupt::new("blob", wrong).into());
        }
        self.owed = None;
        Ok(Some(bytes))
    }
}

/// Returns a whole value of a map, which must not be longer than `max_bytes`.
///
/// Grows with what was really read, never with what the leaf claims.
pub fn load_value<'a, L: LoadChunk>(
    loader: &L,
    value: Value<'a>,
    max_bytes: u64,
) -> Result<Cow<'a, [u8]>, L::Error> {
    let len = value.size_bytes();
    if len > max_bytes {
        return Err(
            Corrupt::new("map value", format!("{len} bytes, at most {max_bytes} are allowed here")).into()
        );
    }
    let blob = match value {
        Value::Inline(bytes) => return Ok(Cow::Borrowed(bytes)),
        Value::Blob(blob) => blob,
    };
    let mut pieces = BlobReader::new(loader, &blob)?;
    let mut whole = pieces.next()?.unwrap_or_default();
    while let Some(piece) = pieces.next()? {
        whole.extend_from_slice(&piece);
    }
    Ok(Cow::Owned(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::memory::MemoryChunks;

    fn value(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n / 251 + n) as u8).collect()
    }

    fn save(store: &MemoryChunks, bytes: &[u8], step: usize) -> SavedValue {
        let mut writer = BlobWriter::new(store);
        bytes.chunks(step).for_each(|part| writer.write(part).unwrap());
        writer.finish_value().unwrap()
    }

    #[test]
    fn values_of_every_class_come_back_whatever_the_steps() {
        // (length, chunks it takes): in the leaf, one chunk, pieces and their list.
        let classes =
            [(0, 0), (1024, 0), (1025, 1), (VALUE_PIECE, 1), (VALUE_PIECE + 1, 3), (3 * VALUE_PIECE, 4)];
        for (len, chunks) in classes {
            let (store, bytes) = (MemoryChunks::new(), value(len));
            let saved = save(&store, &bytes, 100_000);
            assert_eq!(store.len(), chunks, "{len}");
            assert_eq!(saved, save(&store, &bytes, 7_777), "{len}");
            assert_eq!(saved.as_value().size_bytes(), len as u64);
            assert_eq!(load_value(&store, saved.as_value(), len as u64).unwrap(), bytes, "{len}");
            if len > 0 {
                assert!(load_value(&store, saved.as_value(), len as u64 - 1).is_err(), "{len}");
            }
        }
    }

    #[test]
    fn long_blobs_have_lists_of_lists() {
        let store = MemoryChunks::new();
        let mut writer = BlobWriter::new(&store);
        let piece = value(VALUE_PIECE);
        let pieces = 1_100u64;
        (0..pieces).for_each(|_| writer.write(&piece).unwrap());
        let blob = writer.finish().unwrap();
        assert_eq!((blob.len, blob.level), (pieces * PIECE, 2));
        let mut reader = BlobReader::new(&store, &blob).unwrap();
        let mut count = 0;
        while let Some(read) = reader.next().unwrap() {
            assert_eq!(read, piece);
            count += 1;
        }
        assert_eq!(count, pieces);
    }

    #[test]
    fn a_missing_piece_is_never_passed_over() {
        let store = MemoryChunks::new();
        let SavedValue::Blob(blob) = save(&store, &value(3 * VALUE_PIECE), 50_000) else {
            panic!("it is long")
        };
        let mut reader = ContentReader::below(&store, blob.level, blob.part().unwrap());
        reader.next().unwrap();
        let second = reader.next().unwrap().unwrap().1.id;
        store.remove(&second);
        let mut reader = BlobReader::new(&store, &blob).unwrap();
        assert!(reader.next().is_ok_and(|piece| piece.is_some()));
        assert!(reader.next().is_err());
        assert!(reader.next().is_err());
    }

    #[test]
    fn a_length_that_the_chunks_do_not_have_is_refused() {
        let store = MemoryChunks::new();
        for len in [2_000, 2 * VALUE_PIECE + 9] {
            let SavedValue::Blob(blob) = save(&store, &value(len), 50_000) else {
                panic!("{len} in the leaf")
            };
            let len = blob.len;
            for wrong in [0, len - 1, len + 1, len + PIECE, MAX_VALUE, MAX_VALUE + 1, u64::MAX] {
                for level in 0..7 {
                    let lie = Value::Blob(Blob { len: wrong, level, ..blob });
                    assert!(load_value(&store, lie, u64::MAX).is_err(), "{len} as {wrong} of level {level}");
                }
            }
        }
    }

    #[test]
    fn each_length_has_one_level() {
        let decodes = |len: u64, level: u8| {
            let blob = Blob { len, level, id: Some(ChunkId::from_bytes([1; 32])) };
            let mut bytes = Vec::new();
            blob.encode(&mut bytes);
            let decoded = Blob::decode(&mut Reader::new("blob", &bytes), u64::MAX);
            assert!(decoded.is_err() || decoded == Ok(blob));
            assert!(Blob::decode(&mut Reader::new("blob", &bytes), len - 1).is_err());
            decoded.is_ok()
        };
        let levels = |len| (0..=255u8).filter(|level| decodes(len, *level)).collect::<Vec<_>>();
        assert_eq!(levels(1), [0]);
        assert_eq!(levels(PIECE), [0]);
        assert_eq!(levels(PIECE + 1), [1]);
        assert_eq!(levels(1024 * PIECE), [1]);
        assert_eq!(levels(1024 * PIECE + 1), [2, 3, 4, 5]);
        assert_eq!(levels(MAX_VALUE + 1), []);
        assert_eq!(Blob::decode(&mut Reader::new("blob", &[0]), 0), Ok(Blob::EMPTY));
    }

    #[test]
    fn an_empty_blob_needs_nothing() {
        let store = MemoryChunks::new();
        let blob = BlobWriter::new(&store).finish().unwrap();
        let mut bytes = Vec::new();
        blob.encode(&mut bytes);
        assert_eq!((blob, bytes, store.len()), (Blob::EMPTY, vec![0], 0));
        assert_eq!(BlobReader::new(&store, &blob).unwrap().next(), Ok(None));
    }

    #[test]
    fn more_than_the_limit_is_refused_before_it_is_kept() {
        let store = MemoryChunks::new();
        let mut writer = BlobWriter::new(&store);
        writer.len = MAX_VALUE - 1;
        assert!(writer.write(&[0]).is_ok());
        assert!(matches!(writer.write(&[0]), Err(BuildError::Refused(Refused::ValueLength { .. }))));
    }
}
