//! A row of one table between values and bytes.

use super::content::content_key;
use super::key::{EntryKind, put_table, put_value, read_value};
use super::row::{Long, put_row};
use super::row_values::{PlainValues, check_row, read_row};
use super::{LineForm, RecordError, TableSchema, Value};
use dedup_engine::error::Corrupt;
use dedup_engine::format::MAX_KEY;
use dedup_engine::wire::Reader;

/// Which values of a row stand in its key.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// For each key column the place of its value.
    keys: Vec<usize>,
    /// Places of the other values.
    others: Vec<usize>,
    /// What the keys of rows begin with.
    pub prefix: Vec<u8>,
}

impl Shape {
    pub(super) fn of(table: &TableSchema) -> Result<Self, RecordError> {
        let (keys, count) = (table.key_places()?, table.row_columns().count());
        let others = (0..count).filter(|place| !keys.contains(place)).collect();
        let mut prefix = Vec::new();
        put_table(&table.name, &mut prefix);
        prefix.push(EntryKind::Row as u8);
        Ok(Self { keys, others, prefix })
    }

    pub(super) fn has_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Returns how many values a row has.
    pub(super) fn width(&self) -> usize {
        self.keys.len() + self.others.len()
    }

    /// Encodes a row: the key, of one without a key its first 40 bytes or fewer, and the row.
    pub(super) fn encode(
        &self,
        values: &[Value],
        key: &mut Vec<u8>,
        row: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        key.clear();
        row.clear();
        put_row(self.others(values), row)?;
        match self.has_key() {
            true => self.put_key(self.keys.iter().map(|place| &values[*place]), key)?,
            false => *key = content_key(values, row),
        }
        // Room for what follows: a counter, or the number of a long value.
        if self.prefix.len() + key.len() + 8 > MAX_KEY {
            let what = format!("a row whose key has {} bytes", key.len());
            return Err(RecordError::Unsupported { what });
        }
        Ok(())
    }

    /// Appends the key of values.
    pub(super) fn put_key<'v>(
        &self,
        values: impl Iterator<Item = &'v Value>,
        key: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let mut values = values;
        values.try_for_each(|value| put_value(value, key))
    }

    /// Returns the values that do not stand in the key.
    pub(super) fn others<'v>(&self, values: &'v [Value]) -> impl Iterator<Item = &'v Value> {
        self.others.iter().map(|place| &values[*place])
    }

    /// Returns the place in the row of a value outside the key.
    pub(super) fn place(&self, other: u16) -> Option<usize> {
        self.others.get(usize::from(other)).copied()
    }

    /// Decodes a row. Long values are NULL at first, and named beside.
    pub(super) fn decode(&self, key: &[u8], row: &[u8]) -> Result<(Vec<Value>, Vec<Long>), Corrupt> {
        let mut values = Vec::new();
        let longs = self.decode_into(key, row, &mut values)?;
        Ok((values, longs))
    }

    /// Decodes a row likewise, in place of another, whose room is used again.
    pub(super) fn decode_into(
        &self,
        key: &[u8],
        row: &[u8],
        values: &mut Vec<Value>,
    ) -> Result<Vec<Long>, Corrupt> {
        values.resize_with(self.width(), Value::default);
        let longs = read_row(row, &self.others, values)?;
        if !self.has_key() {
            return Ok(longs);
        }
        let mut reader = Reader::new("key of a row", key);
        for place in &self.keys {
            values[*place] = read_value(&mut reader)?;
        }
        reader.finish()?;
        Ok(longs)
    }

    /// Writes a row that was [looked at](Self::check) as a line; `false` if it has a long value, a list or a map, and part of a
    /// line stands there.
    pub(super) fn put_line(
        &self,
        key: &[u8],
        row: &[u8],
        form: LineForm,
        out: &mut Vec<u8>,
    ) -> Result<bool, Corrupt> {
        let mut of_key = Vec::new();
        if self.has_key() {
            let mut reader = Reader::new("key of a row", key);
            for _ in &self.keys {
                of_key.push(read_value(&mut reader)?);
            }
            reader.finish()?;
        }
        let mut others = PlainValues::new(row);
        for place in 0..self.width() {
            if place > 0 {
                out.push(form.between);
            }
            let value = match self.keys.iter().position(|key| *key == place) {
                Some(at) => of_key.get(at).and_then(Value::plain),
                None => others.next()?,
            };
            let Some(value) = value else { return Ok(false) };
            (form.put)(value, out);
        }
        others.finish()?;
        out.push(form.end);
        Ok(true)
    }

    /// Looks whether [`decode`](Self::decode) would decode a row, and makes nothing of it; names its long values.
    pub(super) fn check(&self, key: &[u8], row: &[u8]) -> Result<Vec<Long>, Corrupt> {
        let longs = check_row(row, self.others.len())?;
        if !self.has_key() {
            return Ok(longs);
        }
        let mut reader = Reader::new("key of a row", key);
        for _ in &self.keys {
            read_value(&mut reader)?;
        }
        reader.finish()?;
        Ok(longs)
    }
}
