//! All rows of a table looked at before any of them is used: one thread walks through the map and opens its chunks, another
//! looks at what stands there, and makes nothing of it.

use super::RecordError;
use super::checks::{Checks, LONG};
use super::lane::Lane;
use super::read::{MAX_LONG, MAX_ROW, TableReader};
use dedup_engine::error::Corrupt;
use dedup_engine::map::LoadChunk;
use std::borrow::Cow;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

/// Bytes of entries that are handed over at once.
const BATCH: usize = 128 << 10;
/// Bytes of a value above which it is handed over alone, and waited for.
const ALONE: usize = 1 << 20;
/// Entries between two questions whether to go on.
const TURN: u64 = 1024;

/// Entries as they stand in the map, one behind the other.
#[derive(Default)]
struct Entries {
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Lengths of key and value.
    lengths: Vec<(usize, usize)>,
}

impl Entries {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
        self.lengths.push((key.len(), value.len()));
    }

    fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    fn check(&self, checks: &mut Checks) -> Result<(), Corrupt> {
        let (mut keys, mut values) = (&self.keys[..], &self.values[..]);
        for (key, value) in &self.lengths {
            let ((key, later_keys), (value, later_values)) = (keys.split_at(*key), values.split_at(*value));
            checks.entry(key, value)?;
            (keys, values) = (later_keys, later_values);
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.lengths.clear();
    }
}

/// Who looks at entries: of a small table this thread, in the end; another one otherwise.
enum Beside<'s> {
    Here(Option<Box<Checks>>),
    There(ScopedJoinHandle<'s, Result<Box<Checks>, Corrupt>>),
}

/// Looks at what is handed over.
fn check_all(lane: &Lane<Entries>, mut checks: Box<Checks>) -> Result<Box<Checks>, Corrupt> {
    let _closing = lane.closing();
    while let Some((mut some, bytes)) = lane.take() {
        some.check(&mut checks)?;
        some.clear();
        // What was long leaves its memory.
        let is_usual = some.values.capacity() <= 2 * ALONE;
        lane.done(is_usual.then_some(some), bytes);
    }
    Ok(checks)
}

impl<L> TableReader<'_, L>
where
    L: LoadChunk,
    RecordError: From<L::Error>,
{
    /// Reads and checks every row; returns how many there are. To be called before any was read.
    pub fn verify(mut self, cancelled: &dyn Fn() -> bool) -> Result<u64, RecordError> {
        let (lane, checks) = (Lane::new(), Box::new(self.take_checks()?));
        let mut checks = thread::scope(|scope| {
            let (closing, mut some) = (lane.closing(), Entries::default());
            let mut beside = Beside::Here(Some(checks));
            // What ended it is told by the other thread.
            let mut hand_over = |entries: Entries| {
                if let Beside::Here(checks) = &mut beside
                    && let Some(checks) = checks.take()
                {
                    beside = Beside::There(scope.spawn(|| check_all(&lane, checks)));
                }
                let bytes = entries.bytes();
                if lane.send(entries, bytes) { Ok(()) } else { Err(RecordError::Cancelled) }
            };
            let walked = self.walk(cancelled, |key, value| {
                let is_alone = value.len() > ALONE;
                if some.bytes() >= BATCH || is_alone && !some.lengths.is_empty() {
                    hand_over(std::mem::replace(&mut some, lane.spare().unwrap_or_default()))?;
                }
                if !is_alone {
                    some.push(key, &value);
                    return Ok(());
                }
                // It is neither copied, nor kept beside the next one.
                let lengths = vec![(key.len(), value.len())];
                hand_over(Entries { keys: key.to_vec(), values: value.into_owned(), lengths })?;
                if lane.until_done() { Ok(()) } else { Err(RecordError::Cancelled) }
            });
            drop(closing);
            let checks = match beside {
                Beside::Here(checks) => checks,
                Beside::There(other) => Some(other.join().unwrap_or_else(|panic| resume_unwind(panic))?),
            };
            walked?;
            let mut checks = checks.ok_or(RecordError::Cancelled)?;
            some.check(&mut checks)?;
            Ok::<_, RecordError>(checks)
        })?;
        self.finish(&mut checks)?;
        Ok(self.end().map_or(0, |end| end.rows))
    }

    /// Hands out the entries between the header and the end, without what their keys begin with.
    fn walk(
        &mut self,
        cancelled: &dyn Fn() -> bool,
        mut each: impl FnMut(&[u8], Cow<'_, [u8]>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let (mut row, mut count) = (Vec::new(), 0u64);
        while self.step()? {
            let Some((key, size)) = self.at() else { return Ok(()) };
            // What stands behind a row and its mark may be as long as a value.
            let is_long = key.strip_prefix(&row[..]).is_some_and(|rest| rest.len() == 3 && rest[0] == LONG);
            let most = if is_long && count > 0 { MAX_LONG } else { MAX_ROW };
            if size > most {
                return Err(Corrupt::new("row", "it is longer than any may be").into());
            }
            let value = self.value(most)?;
            each(key, value)?;
            if !is_long {
                row.clear();
                row.extend_from_slice(key);
            }
            count += 1;
            if count.is_multiple_of(TURN) && cancelled() {
                return Err(RecordError::Cancelled);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{MemoryDatabase, MemorySource};
    use super::super::testing::{Stored, build, leaf_target};
    use super::super::{Column, RecordReader, RowOrder, Selection, TableName, TableSchema, TypeClass, Value};
    use super::*;
    use dedup_engine::map::memory::MemoryError;
    use std::cell::Cell;

    fn stored(key: &[&str]) -> Stored {
        let columns = [("id", TypeClass::Integer), ("text", TypeClass::Text), ("bytes", TypeClass::Bytes)];
        let columns = columns.map(|(name, class)| Column::new(name, class, "x")).to_vec();
        let table = TableSchema::new(TableName::simple("t").unwrap(), columns, key);
        let long = |id: i64| match id % 700 {
            3 => vec![id as u8; 6000],
            4 => vec![id as u8; ALONE + 1],
            _ => vec![id as u8],
        };
        let row = |id| {
            vec![Value::Int(id), Value::Text(format!("{id} {}", "x".repeat(300))), Value::Bytes(long(id))]
        };
        let mut database = MemoryDatabase::default();
        database.add(table, (0..3000).map(row).collect());
        Stored::of(Box::new(MemorySource::new(&database, RowOrder::Any)), &Selection::all()).unwrap()
    }

    #[test]
    fn what_is_wrong_anywhere_is_found_by_either_thread() {
        let name = TableName::simple("t").unwrap();
        for key in [&["id"][..], &[]] {
            let stored = stored(key);
            let table = || stored.reader().table(&name).unwrap().unwrap();
            assert_eq!(table().verify(&|| false).unwrap(), 3000);
            let asked = Cell::new(0);
            let cancelled = || asked.replace(asked.get() + 1) > 0;
            assert!(matches!(table().verify(&cancelled), Err(RecordError::Cancelled)));
            let longs = stored.entries.iter().enumerate().filter(|(_, (_, value))| value.len() > 5000);
            let mut places: Vec<usize> = longs.map(|(at, _)| at).collect();
            assert_eq!(places.len(), 10);
            places.extend([1, 700, 2900, stored.entries.len() - 2]);
            for at in places {
                let mut entries = stored.entries.clone();
                *entries[at].1.last_mut().unwrap() ^= 1;
                let root = build(&stored.chunks, &entries);
                let reader = RecordReader::new(&stored.chunks, root, leaf_target());
                let error = reader.table(&name).unwrap().unwrap().verify(&|| false).unwrap_err();
                assert!(matches!(error, RecordError::Corrupt(_)), "{at}: {error}");
                // Nor does it pass for a row that was verified.
                let mut table = reader.table(&name).unwrap().unwrap().verified();
                let read = (0..=3000).try_fold((), |(), _| table.next().map(drop));
                assert!(matches!(read, Err(MemoryError::Corrupt(_))), "{at}: {read:?}");
                // One entry less is noticed too.
                entries.remove(at);
                let root = build(&stored.chunks, &entries);
                let reader = RecordReader::new(&stored.chunks, root, leaf_target());
                reader.table(&name).unwrap().unwrap().verify(&|| false).unwrap_err();
            }
        }
    }
}
