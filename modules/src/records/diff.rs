//! What differs between two dumps of one source: tables, rows, columns; equal subtrees are not read.

use super::codec::StoredTable;
use super::key::{EntryKind, read_table, read_value};
use super::read::shape;
use super::row::{Long, LongKind, MAX_ROW};
use super::shape::Shape;
use super::{RecordError, RecordReader, StoredSource, TableName, Value};
use dedup_engine::error::Corrupt;
use dedup_engine::map::{self, Diff, LoadChunk, load_value};
use dedup_engine::wire::Reader;
use std::ops::ControlFlow;

/// A value in a difference: long ones are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The value.
    Value(Value),
    /// Text or bytes of so many bytes.
    Long {
        /// Whether it is text.
        is_text: bool,
        /// Its length in bytes.
        bytes: u64,
    },
}

/// A row in a difference: names of columns and values.
pub type ShownRow = Vec<(String, Shown)>;

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Only the new dump has the table.
    TableAdded {
        /// Its name.
        table: TableName,
        /// Its rows, which are not told one by one.
        rows: u64,
    },
    /// Only the old dump has the table.
    TableRemoved {
        /// Its name.
        table: TableName,
        /// Its rows, which are not told one by one.
        rows: u64,
    },
    /// Columns, keys or statements of the table differ. Of its rows those are told whose common columns differ.
    TableAltered {
        /// Its name.
        table: TableName,
    },
    /// A row differs.
    Row {
        /// Its table.
        table: TableName,
        /// The columns of its key; none: rows count by their whole content.
        key: Vec<String>,
        /// The row in the old dump; `None`: it was added.
        old: Option<ShownRow>,
        /// The row in the new dump; `None`: it was removed.
        new: Option<ShownRow>,
        /// The columns that differ, where both have the row.
        columns: Vec<String>,
    },
}

/// Hands out the differences, in the order of tables and keys.
pub fn diff(
    old: &StoredSource<'_>,
    new: &StoredSource<'_>,
    each: &mut dyn FnMut(RecordChange) -> ControlFlow<()>,
) -> Result<(), RecordError> {
    let ((a, old_root, target), (b, new_root, _)) = (old.map(), new.map());
    if old_root.class != new_root.class {
        return Err(RecordError::Unsupported { what: "a comparison of secrets with what is none".into() });
    }
    let walk = Diff::new((a, old_root), (b, new_root), target);
    diff_maps(walk, (a, b), (&old.reader(), &new.reader()), each)
}

/// The same over any maps.
pub(super) fn diff_maps<A: LoadChunk, B: LoadChunk<Error = A::Error>>(
    mut walk: Diff<'_, A, B>,
    (a, b): (&A, &B),
    (old, new): (&RecordReader<'_, A>, &RecordReader<'_, B>),
    each: &mut dyn FnMut(RecordChange) -> ControlFlow<()>,
) -> Result<(), RecordError>
where
    RecordError: From<A::Error>,
{
    let mut state = State { table: None, pending: None };
    while let Some(change) = walk.next()? {
        let (key, values) = match change {
            map::Change::Added { key, new } => (key, (None, Some(new))),
            map::Change::Removed { key, old } => (key, (Some(old), None)),
            map::Change::Changed { key, old, new } => (key, (Some(old), Some(new))),
        };
        let mut reader = Reader::new("key of a table", key);
        let (name, kind) = read_table(&mut reader)?;
        let rest = &key[reader.position()..];
        if state.table.as_ref().is_none_or(|table| table.name != name) {
            if state.flush(each).is_break() {
                return Ok(());
            }
            let table = Sides::of(&name, old, new)?;
            let told = table.told();
            state.table = Some(table);
            if told.is_some_and(|change| each(change).is_break()) {
                return Ok(());
            }
        }
        let Some(table) = &state.table else { continue };
        if kind != EntryKind::Row || !table.is_common() {
            continue;
        }
        if let Some((at, is_of_pending)) = table.long_of(rest, state.pending.as_ref())? {
            if !is_of_pending && state.flush(each).is_break() {
                return Ok(());
            }
            state.note_long(rest, at);
            continue;
        }
        if state.flush(each).is_break() {
            return Ok(());
        }
        let load = |value: Option<map::Value<'_>>, is_old: bool| -> Result<Option<Vec<u8>>, RecordError> {
            let Some(value) = value else { return Ok(None) };
            let bytes = match is_old {
                true => load_value(a, value, MAX_ROW as u64)?,
                false => load_value(b, value, MAX_ROW as u64)?,
            };
            Ok(Some(bytes.into_owned()))
        };
        let (old, new) = (load(values.0, true)?, load(values.1, false)?);
        state.pending = Some(Pending { key: rest.to_vec(), old, new, longs: Vec::new() });
        state.check()?;
    }
    let _ = state.flush(each);
    Ok(())
}

/// A table on both sides.
struct Sides {
    name: TableName,
    old: Option<(StoredTable, Shape, u64)>,
    new: Option<(StoredTable, Shape, u64)>,
}

impl Sides {
    fn of<A: LoadChunk, B: LoadChunk<Error = A::Error>>(
        name: &TableName,
        old: &RecordReader<'_, A>,
        new: &RecordReader<'_, B>,
    ) -> Result<Self, RecordError>
    where
        RecordError: From<A::Error>,
    {
        let side = |found: Option<(StoredTable, u64)>| {
            found.map(|(table, rows)| Ok::<_, Corrupt>((table.clone(), shape(&table)?, rows))).transpose()
        };
        let (old, new) = (side(old.about(name)?)?, side(new.about(name)?)?);
        Ok(Self { name: name.clone(), old, new })
    }

    fn is_common(&self) -> bool {
        self.old.is_some() && self.new.is_some()
    }

    /// Returns what there is to tell of the table itself.
    fn told(&self) -> Option<RecordChange> {
        let table = self.name.clone();
        match (&self.old, &self.new) {
            (None, Some((_, _, rows))) => Some(RecordChange::TableAdded { table, rows: *rows }),
            (Some((_, _, rows)), None) => Some(RecordChange::TableRemoved { table, rows: *rows }),
            (Some((old, ..)), Some((new, ..))) if old != new => Some(RecordChange::TableAltered { table }),
            _ => None,
        }
    }

    /// Returns the number of the long value that this entry is, and whether it is of the row before it.
    fn long_of(&self, key: &[u8], pending: Option<&Pending>) -> Result<Option<(u16, bool)>, RecordError> {
        let Some((row, [0xff, high, low])) = key.split_at_checked(key.len().saturating_sub(3)) else {
            return Ok(None);
        };
        let number = u16::from_be_bytes([*high, *low]);
        if pending.is_some_and(|pending| pending.key == row) {
            return Ok(Some((number, true)));
        }
        let Some((table, shape, _)) = self.new.as_ref().or(self.old.as_ref()) else { return Ok(None) };
        if !shape.has_key() {
            return Ok(None);
        }
        let mut reader = Reader::new("key of a row", key);
        for _ in &table.schema.key {
            read_value(&mut reader)?;
        }
        Ok((reader.left() == 3).then_some((number, false)))
    }

    fn show(&self, key: &[u8], row: &[u8], is_old: bool) -> Result<ShownRow, Corrupt> {
        let side = if is_old { &self.old } else { &self.new };
        let Some((table, shape, _)) = side else { return Ok(Vec::new()) };
        let (values, longs) = shape.decode(key, row)?;
        let mut shown: ShownRow = table
            .schema
            .row_columns()
            .map(|column| column.name.clone())
            .zip(values.into_iter().map(Shown::Value))
            .collect();
        for Long { at, kind, len } in longs {
            if let Some((_, value)) = shape.place(at).and_then(|place| shown.get_mut(place)) {
                *value = Shown::Long { is_text: kind != LongKind::Bytes, bytes: len };
            }
        }
        Ok(shown)
    }

    /// Returns the name of the column of a long value.
    fn column(&self, at: u16) -> Option<String> {
        let (table, shape, _) = self.new.as_ref()?;
        table.schema.row_columns().nth(shape.place(at)?).map(|column| column.name.clone())
    }
}

/// A row whose entries may not all have been seen.
struct Pending {
    key: Vec<u8>,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
    /// Numbers of the long values that differ.
    longs: Vec<u16>,
}

struct State {
    table: Option<Sides>,
    pending: Option<Pending>,
}

impl State {
    fn note_long(&mut self, key: &[u8], at: u16) {
        let row = &key[..key.len() - 3];
        let none = || Pending { key: row.to_vec(), old: None, new: None, longs: Vec::new() };
        self.pending.get_or_insert_with(none).longs.push(at);
    }

    /// Refuses a row that cannot be read, before it is told.
    fn check(&self) -> Result<(), RecordError> {
        let (Some(table), Some(pending)) = (&self.table, &self.pending) else { return Ok(()) };
        for (row, is_old) in [(&pending.old, true), (&pending.new, false)] {
            if let Some(row) = row {
                table.show(&pending.key, row, is_old)?;
            }
        }
        Ok(())
    }

    /// Tells the row that is pending.
    fn flush(&mut self, each: &mut dyn FnMut(RecordChange) -> ControlFlow<()>) -> ControlFlow<()> {
        let (Some(table), Some(pending)) = (&self.table, self.pending.take()) else {
            return ControlFlow::Continue(());
        };
        let show = |row: &Option<Vec<u8>>, is_old| {
            row.as_ref().and_then(|row| table.show(&pending.key, row, is_old).ok())
        };
        let (old, new) = (show(&pending.old, true), show(&pending.new, false));
        let mut columns: Vec<String> = pending.longs.iter().filter_map(|at| table.column(*at)).collect();
        let is_edit = old.is_some() == new.is_some();
        if let (Some(old), Some(new)) = (&old, &new) {
            for (name, value) in new {
                let before = old.iter().find(|(other, _)| other == name).map(|(_, value)| value);
                if before.is_some_and(|before| before != value) && !columns.contains(name) {
                    columns.push(name.clone());
                }
            }
        }
        if !is_edit {
            columns.clear();
        } else if columns.is_empty() {
            // Only columns that one side lacks: the table was altered, which was told.
            return ControlFlow::Continue(());
        }
        let (old, new) = match (old, new) {
            // Only a long value differs: the row itself is the same on both sides.
            (None, None) => {
                let key = table.key_of(&pending.key);
                (Some(key.clone()), Some(key))
            }
            both => both,
        };
        let key = table.new.as_ref().map(|(table, ..)| table.schema.key.clone()).unwrap_or_default();
        each(RecordChange::Row { table: table.name.clone(), key, old, new, columns })
    }
}

impl Sides {
    /// Returns the columns of a key.
    fn key_of(&self, key: &[u8]) -> ShownRow {
        let Some((table, ..)) = &self.new else { return Vec::new() };
        let mut reader = Reader::new("key of a row", key);
        let values = table.schema.key.iter().map_while(|name| {
            let value = read_value(&mut reader).ok()?;
            Some((name.clone(), Shown::Value(value)))
        });
        values.collect()
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
