//! What must be true of the rows of a table, whoever reads them: each in one encoding, long values behind their rows, keys
//! made of content where there are no others, in the end the count and the digest.

use super::content::ContentKeys;
use super::row::{Long, LongKind, wrong_kind};
use super::shape::Shape;
use super::write::RowDigest;
use dedup_engine::error::Corrupt;

/// Looks at rows and their long values, in the order of their keys.
pub(super) struct Checks {
    pub(super) shape: Shape,
    rows: u64,
    digest: RowDigest,
    /// The key of the row whose long values come next.
    key: Vec<u8>,
    /// Those, the next one last.
    longs: Vec<Long>,
    content: Option<ContentKeys>,
}

impl Checks {
    pub(super) fn new(shape: Shape) -> Self {
        let content = (!shape.has_key()).then(ContentKeys::default);
        Self { shape, rows: 0, digest: RowDigest::default(), key: Vec::new(), longs: Vec::new(), content }
    }

    /// Takes keys for what they are.
    pub(super) fn take_keys(&mut self) {
        self.content = None;
    }

    /// Takes a row that was read, and which of its values come next.
    pub(super) fn row(&mut self, key: &[u8], row: &[u8], mut longs: Vec<Long>) -> Result<(), Corrupt> {
        if !self.longs.is_empty() {
            return Err(not_there());
        }
        self.rows += 1;
        self.digest.row(key, row);
        if let Some(content) = &mut self.content {
            content.begin(key, row);
        }
        if !longs.is_empty() {
            self.key.clear();
            self.key.extend_from_slice(key);
            longs.reverse();
            self.longs = longs;
            return Ok(());
        }
        self.end_row()
    }

    /// Returns the length of the long value that must be next; none if a row is.
    pub(super) fn next_long(&self) -> Option<u64> {
        self.longs.last().map(|long| long.len)
    }

    /// Takes the next long value; returns which it is.
    pub(super) fn long(&mut self, key: &[u8], bytes: &[u8]) -> Result<Long, Corrupt> {
        let Some(long) = self.longs.pop() else { return Err(not_there()) };
        let at = key.strip_prefix(&self.key[..]).and_then(|rest| rest.strip_prefix(&[LONG]));
        if at != Some(&long.at.to_be_bytes()) || bytes.len() as u64 != long.len {
            return Err(not_there());
        }
        self.digest.bytes(bytes);
        if let Some(content) = &mut self.content {
            content.long(long.kind, bytes);
        }
        if self.longs.is_empty() {
            self.end_row()?;
        }
        Ok(long)
    }

    /// Takes an entry of the table, and makes nothing of it.
    pub(super) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Corrupt> {
        if self.next_long().is_some() {
            let long = self.long(key, value)?;
            return match (long.kind, std::str::from_utf8(value).is_ok()) {
                (LongKind::Bytes, _) | (LongKind::Text, true) | (LongKind::RawText, false) => Ok(()),
                _ => Err(wrong_kind()),
            };
        }
        let longs = self.shape.check(key, value)?;
        self.row(key, value, longs)
    }

    fn end_row(&mut self) -> Result<(), Corrupt> {
        let count = self.shape.width();
        self.content.as_mut().map_or(Ok(()), |content| content.end(count))
    }

    /// Ends the table, whose end says how many rows there are, and their digest.
    pub(super) fn finish(&mut self, rows: u64, digest: &[u8; 32]) -> Result<(), Corrupt> {
        if !self.longs.is_empty() {
            return Err(not_there());
        }
        if rows != self.rows || *digest != std::mem::take(&mut self.digest).finish() {
            return Err(Corrupt::new("table", "its rows are not those that were counted"));
        }
        Ok(())
    }
}

/// What stands between the key of a row and the number of a long value.
pub(super) const LONG: u8 = 0xff;

pub(super) fn not_there() -> Corrupt {
    Corrupt::new("row", "a long value is not where it should be")
}
