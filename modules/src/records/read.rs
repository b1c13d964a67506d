//! Tables out of a map, everything of them checked: order, counts, digest, one encoding.

use super::checks::{Checks, LONG, not_there};
use super::codec::{decode_end, decode_table};
use super::key::{EntryKind, put_table, read_table};
use super::row::{Long, of_long};
use super::shape::Shape;
use super::{LineForm, MAX_SCHEMA, StoredTable, TableEnd, TableName, Value};
use dedup_engine::error::Corrupt;
use dedup_engine::map::{Cursor, Entry, LeafTarget, LoadChunk, Root};
use dedup_engine::wire::Reader;
use std::borrow::Cow;

/// Longest value that is read whole where nothing else is said: what the clients of SQL engines take.
pub const MAX_LONG: u64 = 1 << 30;
/// Longest row.
pub(super) const MAX_ROW: u64 = super::row::MAX_ROW as u64;

/// A row as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRow {
    /// Its key, encoded; of a table without one, with the counter.
    pub key: Vec<u8>,
    /// Its values, as [`TableSchema::row_columns`](super::TableSchema::row_columns) has them.
    pub values: Vec<Value>,
}

/// Reads the tables of a source.
pub struct RecordReader<'a, L: LoadChunk> {
    loader: &'a L,
    root: Root,
    target: LeafTarget,
}

impl<'a, L: LoadChunk> RecordReader<'a, L> {
    /// Reads the map of a dump; loads nothing.
    pub fn new(loader: &'a L, root: Root, target: LeafTarget) -> Self {
        Self { loader, root, target }
    }

    fn cursor(&self) -> Cursor<'a, L> {
        Cursor::new(self.loader, self.root, self.target)
    }

    /// Hands out every table and its end, in the order of names, without reading rows; an error ends it.
    pub fn tables<E: From<L::Error>>(
        &self,
        mut each: impl FnMut(StoredTable, TableEnd) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut cursor, mut start) = (self.cursor(), Vec::new());
        loop {
            cursor.seek(&start)?;
            let Some(table) = header(&mut cursor)? else { return Ok(()) };
            start = of_kind(&table.schema.name, EntryKind::End);
            cursor.seek(&start)?;
            let (end, _) = end(&mut cursor, &start)?;
            // The next entry after the end.
            start.push(0);
            each(table, end)?;
        }
    }

    /// Returns what is known of a table, and how many rows it has; `None` if there is none of that name.
    pub fn about(&self, name: &TableName) -> Result<Option<(StoredTable, u64)>, L::Error> {
        let mut cursor = self.cursor();
        cursor.seek(&of_kind(name, EntryKind::Header))?;
        let Some(table) = header(&mut cursor)?.filter(|table| table.schema.name == *name) else {
            return Ok(None);
        };
        let key = of_kind(name, EntryKind::End);
        cursor.seek(&key)?;
        Ok(Some((table, end(&mut cursor, &key)?.0.rows)))
    }

    /// Opens a table; `None` if there is none of that name.
    pub fn table(&self, name: &TableName) -> Result<Option<TableReader<'a, L>>, L::Error> {
        let mut cursor = self.cursor();
        let start = of_kind(name, EntryKind::Header);
        cursor.seek(&start)?;
        let table = header(&mut cursor)?.filter(|table| table.schema.name == *name);
        Ok(table.map(|table| TableReader::new(cursor, table)).transpose()?)
    }
}

fn of_kind(name: &TableName, kind: EntryKind) -> Vec<u8> {
    let mut key = Vec::new();
    put_table(name, &mut key);
    key.push(kind as u8);
    key
}

/// Takes the next entry, which must be a header.
fn header<L: LoadChunk>(cursor: &mut Cursor<'_, L>) -> Result<Option<StoredTable>, L::Error> {
    let Some(key) = cursor.next()?.map(|entry| entry.key.to_vec()) else { return Ok(None) };
    let mut reader = Reader::new("key of a table", &key);
    let (name, kind) = read_table(&mut reader)?;
    if kind != EntryKind::Header {
        return Err(reader.corrupt(format!("table {name} has no header")).into());
    }
    reader.finish()?;
    let value = cursor.load(MAX_SCHEMA as u64)?.unwrap_or_default();
    Ok(Some(decode_table(name, &value)?))
}

/// Takes the next entry, which must be the end of that key.
fn end<L: LoadChunk>(cursor: &mut Cursor<'_, L>, key: &[u8]) -> Result<(TableEnd, [u8; 32]), L::Error> {
    if cursor.next()?.is_none_or(|entry| entry.key != key) {
        return Err(Corrupt::new("table", "it has no end: it was never whole").into());
    }
    let value = cursor.load(4096)?.unwrap_or_default();
    Ok(decode_end(&value)?)
}

/// Reads the rows of one table.
pub struct TableReader<'a, L: LoadChunk> {
    cursor: Cursor<'a, L>,
    table: StoredTable,
    checks: Checks,
    end: Option<TableEnd>,
}

impl<'a, L: LoadChunk> TableReader<'a, L> {
    fn new(cursor: Cursor<'a, L>, table: StoredTable) -> Result<Self, Corrupt> {
        let checks = Checks::new(shape(&table)?);
        Ok(Self { cursor, table, checks, end: None })
    }

    /// Returns what is known of the table.
    pub fn table(&self) -> &StoredTable {
        &self.table
    }

    /// Returns the end, once all rows were read.
    pub fn end(&self) -> Option<TableEnd> {
        self.end.clone()
    }

    /// Leaves out what a [`verify`](Self::verify) of the same map has found: that keys of rows without one are made of their
    /// content. Their digest, which was compared there as well, says at the end that these are the same rows.
    pub(super) fn verified(mut self) -> Self {
        self.checks.take_keys();
        self
    }

    /// Returns the next row; `None` at the end, when all of them were checked.
    #[expect(
        clippy::should_implement_trait,
        reason = "it can fail, and must be read to its end to be believed"
    )]
    pub fn next(&mut self) -> Result<Option<StoredRow>, L::Error> {
        let mut row = StoredRow::default();
        Ok(self.next_into(&mut row)?.then_some(row))
    }

    /// Reads the next row in place of another, whose room is used again; `false` at the end, when all of them were checked.
    pub fn next_into(&mut self, stored: &mut StoredRow) -> Result<bool, L::Error> {
        if self.end.is_some() {
            return Ok(false);
        }
        self.cursor.next()?;
        let Some((key, _)) = within(self.cursor.entry(), &self.checks.shape) else {
            let mut checks = self.take_checks()?;
            self.finish(&mut checks)?;
            return Ok(false);
        };
        let row = self.cursor.load(MAX_ROW)?.unwrap_or_default();
        let longs = self.checks.shape.decode_into(key, &row, &mut stored.values)?;
        self.checks.row(key, &row, longs)?;
        stored.key.clear();
        stored.key.extend_from_slice(key);
        drop(row);
        self.next_longs(&mut stored.values)?;
        Ok(true)
    }

    /// Writes the next row as a line, which must have been [verified](Self::verify): `None` at the end, `false` if it has a list or
    /// a map, which is left out. `room` is for rows that have long values.
    pub(super) fn next_line(
        &mut self,
        form: LineForm,
        out: &mut Vec<u8>,
        room: &mut StoredRow,
    ) -> Result<Option<bool>, L::Error> {
        self.cursor.next()?;
        let Some((key, _)) = within(self.cursor.entry(), &self.checks.shape) else {
            let mut checks = self.take_checks()?;
            self.finish(&mut checks)?;
            return Ok(None);
        };
        let (row, start) = (self.cursor.load(MAX_ROW)?.unwrap_or_default(), out.len());
        if self.checks.shape.put_line(key, &row, form, out)? {
            self.checks.row(key, &row, Vec::new())?;
            return Ok(Some(true));
        }
        out.truncate(start);
        let longs = self.checks.shape.decode_into(key, &row, &mut room.values)?;
        self.checks.row(key, &row, longs)?;
        drop(row);
        self.next_longs(&mut room.values)?;
        for (at, value) in room.values.iter().enumerate() {
            if at > 0 {
                out.push(form.between);
            }
            let Some(value) = value.plain() else {
                out.truncate(start);
                return Ok(Some(false));
            };
            (form.put)(value, out);
        }
        out.push(form.end);
        Ok(Some(true))
    }

    /// Puts the long values of a row, which come behind it, among the others.
    fn next_longs(&mut self, values: &mut [Value]) -> Result<(), L::Error> {
        while let Some(len) = self.checks.next_long() {
            self.cursor.next()?;
            let entry = within(self.cursor.entry(), &self.checks.shape);
            let (key, _) = entry.filter(|(_, size)| *size == len).ok_or_else(not_there)?;
            let bytes = self.cursor.load(MAX_LONG)?.unwrap_or_default().into_owned();
            let long = self.checks.long(key, &bytes)?;
            put_long(&self.checks.shape, values, &long, bytes)?;
        }
        Ok(())
    }

    /// Goes on to the next entry; `false` if it is none of a row.
    pub(super) fn step(&mut self) -> Result<bool, L::Error> {
        self.cursor.next()?;
        Ok(self.at().is_some())
    }

    /// Returns the key of the entry, without what all of them begin with, and the length of its value.
    pub(super) fn at(&self) -> Option<(&[u8], u64)> {
        within(self.cursor.entry(), &self.checks.shape)
    }

    /// Returns the value of the entry.
    pub(super) fn value(&self, max_bytes: u64) -> Result<Cow<'_, [u8]>, L::Error> {
        Ok(self.cursor.load(max_bytes)?.unwrap_or_default())
    }

    /// Hands out what looks at rows; a new one takes its place.
    pub(super) fn take_checks(&mut self) -> Result<Checks, Corrupt> {
        let new = Checks::new(shape(&self.table)?);
        Ok(std::mem::replace(&mut self.checks, new))
    }

    fn next_long(&mut self, key: &[u8], long: &Long) -> Result<Vec<u8>, L::Error> {
        let wanted = [&self.checks.shape.prefix[..], key, &[LONG], &long.at.to_be_bytes()].concat();
        match self.cursor.next()? {
            Some(entry) if entry.key == wanted && entry.value.size_bytes() == long.len => {}
            _ => return Err(not_there().into()),
        }
        Ok(self.cursor.load(MAX_LONG)?.unwrap_or_default().into_owned())
    }

    /// Ends the table, which the cursor must be at the end of.
    pub(super) fn finish(&mut self, checks: &mut Checks) -> Result<(), L::Error> {
        let key = of_kind(&self.table.schema.name, EntryKind::End);
        if self.cursor.entry().is_none_or(|entry| entry.key != key) {
            return Err(Corrupt::new("table", "it has no end: it was never whole").into());
        }
        let value = self.cursor.load(4096)?.unwrap_or_default();
        let (end, digest) = decode_end(&value)?;
        checks.finish(end.rows, &digest)?;
        self.end = Some(end);
        Ok(())
    }

    /// Looks up one row by the values of its key, in the order of [`TableSchema::key`](super::TableSchema::key).
    /// Rows that were to be read next are passed over or come again.
    pub fn get(&mut self, key: &[Value]) -> Result<Option<StoredRow>, L::Error> {
        let mut wanted = Vec::new();
        let shape = &self.checks.shape;
        let is_key = shape.has_key() && key.len() == self.table.schema.key.len();
        if !is_key || shape.put_key(key.iter(), &mut wanted).is_err() {
            return Ok(None);
        }
        let whole = [&shape.prefix[..], &wanted].concat();
        self.cursor.seek(&whole)?;
        if self.cursor.next()?.is_none_or(|entry| entry.key != whole) {
            return Ok(None);
        }
        let row = self.cursor.load(MAX_ROW)?.unwrap_or_default().into_owned();
        let (mut values, longs) = self.checks.shape.decode(&wanted, &row)?;
        for long in &longs {
            let bytes = self.next_long(&wanted, long)?;
            put_long(&self.checks.shape, &mut values, long, bytes)?;
        }
        Ok(Some(StoredRow { key: wanted, values }))
    }
}

pub(super) fn shape(table: &StoredTable) -> Result<Shape, Corrupt> {
    Shape::of(&table.schema).map_err(|error| Corrupt::new("table schema", error.to_string()))
}

/// Returns the key of an entry of a row without its table's beginning, and the length of its value.
fn within<'c>(entry: Option<Entry<'c>>, shape: &Shape) -> Option<(&'c [u8], u64)> {
    entry.and_then(|entry| Some((entry.key.strip_prefix(&shape.prefix[..])?, entry.value.size_bytes())))
}

fn put_long(shape: &Shape, values: &mut [Value], long: &Long, bytes: Vec<u8>) -> Result<(), Corrupt> {
    let value = of_long(long.kind, bytes)?;
    match shape.place(long.at).and_then(|place| values.get_mut(place)) {
        Some(place) => *place = value,
        None => return Err(Corrupt::new("row", "a long value has no place")),
    }
    Ok(())
}
