//! The keys of rows that have none: their first values, then a hash of all of them. `engine/FORMAT.md` 11.

use super::Value;
use super::key::{PREFIX_BYTES, put_value};
use super::row::{LongKind, MAX_SHORT, long_bytes};
use super::row_values::first_values;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use dedup_engine::error::Corrupt;
use std::sync::LazyLock;

/// Bytes of the hash.
const HASH_BYTES: usize = 16;

/// The hash of the context is the same for every row.
static CONTEXT: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context("dedup 2026-11-21 row id"));

/// Returns the first 40 bytes of the key of a row without one, or fewer; of its values, and its encoding.
pub(super) fn content_key(values: &[Value], row: &[u8]) -> Vec<u8> {
    let mut prefix = Prefix::default();
    // Whoever wants no more is content.
    let _ = values.iter().all(|value| prefix.put(value));
    let mut hasher = hasher(row);
    for (_, bytes) in values.iter().filter_map(long_bytes) {
        hasher.update(bytes);
    }
    prefix.finish(&hasher)
}

fn hasher(row: &[u8]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT);
    hasher.update(row);
    hasher
}

/// What such a key begins with.
#[derive(Default)]
struct Prefix {
    key: Vec<u8>,
}

impl Prefix {
    /// Takes the next value; returns whether more are needed.
    fn put(&mut self, value: &Value) -> bool {
        // A long one is cut before it is encoded: its first bytes say enough.
        let put = match long_bytes(value) {
            Some((kind, bytes)) => put_value(&head(kind, bytes), &mut self.key),
            None => put_value(value, &mut self.key),
        };
        put.is_ok() && self.key.len() < PREFIX_BYTES
    }

    fn finish(mut self, hasher: &blake3::Hasher) -> Vec<u8> {
        self.key.truncate(PREFIX_BYTES);
        self.key.extend_from_slice(&hasher.finalize().as_bytes()[..HASH_BYTES]);
        self.key
    }
}

/// Returns as much of a long value as a key can begin with.
fn head(kind: LongKind, bytes: &[u8]) -> Value {
    let head = bytes.get(..MAX_SHORT.min(PREFIX_BYTES)).unwrap_or(bytes).to_vec();
    match kind {
        LongKind::Bytes => Value::Bytes(head),
        LongKind::Text | LongKind::RawText => Value::RawText(head),
    }
}

/// Looks at the keys of rows that have none, one after the other.
#[derive(Default)]
pub(super) struct ContentKeys {
    /// Key and encoding of the row before; none before the first.
    before: Option<(Vec<u8>, Vec<u8>)>,
    key: Vec<u8>,
    row: Vec<u8>,
    hasher: Option<blake3::Hasher>,
    /// How the long values of the row begin.
    heads: Vec<Value>,
    /// Room of the key that the row should have.
    wanted: Vec<u8>,
}

impl ContentKeys {
    /// Begins a row.
    pub(super) fn begin(&mut self, key: &[u8], row: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.row.clear();
        self.row.extend_from_slice(row);
        self.hasher = Some(hasher(row));
        self.heads.clear();
    }

    /// Takes a long value of the row.
    pub(super) fn long(&mut self, kind: LongKind, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.heads.push(head(kind, bytes));
    }

    /// Ends the row, of so many values: equal ones stand behind one another, and are counted.
    pub(super) fn end(&mut self, count: usize) -> Result<(), Corrupt> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let mut prefix = Prefix { key: std::mem::take(&mut self.wanted) };
        prefix.key.clear();
        first_values(&self.row, count, &self.heads, |value| prefix.put(value))?;
        let content = prefix.finish(&hasher);
        let counter = match &self.before {
            Some((key, row)) => match key.strip_prefix(&content[..]).map(<[u8; 4]>::try_from) {
                Some(Ok(before)) if row[..] <= self.row[..] => u32::from_be_bytes(before).checked_add(1),
                Some(Ok(_)) => None,
                _ => Some(0),
            },
            None => Some(0),
        };
        let is_counted = |counter: u32| self.key.strip_prefix(&content[..]) == Some(&counter.to_be_bytes());
        if !counter.is_some_and(is_counted) {
            return Err(Corrupt::new("row", "its key is not that of its content"));
        }
        let (key, row) = self.before.get_or_insert_default();
        std::mem::swap(key, &mut self.key);
        std::mem::swap(row, &mut self.row);
        self.wanted = content;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::put_row;
    use super::super::testing::any_value;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_found_again_in_what_was_encoded(values in proptest::collection::vec(any_value(), 1..6)) {
            let mut row = Vec::new();
            put_row(values.iter(), &mut row).unwrap();
            let content = content_key(&values, &row);
            let mut keys = ContentKeys::default();
            for (counter, is_right) in [(0u32, true), (1, true), (3, false)] {
                keys.begin(&[&content[..], &counter.to_be_bytes()].concat(), &row);
                values.iter().filter_map(long_bytes).for_each(|(kind, bytes)| keys.long(kind, bytes));
                prop_assert_eq!(keys.end(values.len()).is_ok(), is_right);
            }
        }
    }
}
