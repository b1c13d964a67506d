//! Rows on their way from a dump into lines as a target takes them, without values being made of them: what was verified
//! as a whole is only put in another form. One thread opens and writes lines, another one sends them.

use super::driver::LineForm;
use super::lane::Lane;
use super::read::{StoredRow, TableReader};
use super::{RecordError, Value};
use dedup_engine::map::LoadChunk;
use std::panic::resume_unwind;
use std::thread;

/// Bytes of lines that are handed over at once.
const BATCH: usize = 128 << 10;
/// Room for lines that is kept for later ones.
const USUAL: usize = 2 * BATCH;

/// A value as it stands in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain<'v> {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// One above all of those.
    UInt(u64),
    /// A binary fraction.
    Float(f64),
    /// Text, a decimal, a date: whatever is told by text.
    Text(&'v [u8]),
    /// Bytes.
    Bytes(&'v [u8]),
}

impl Value {
    /// Returns it as it stands in a row; a list or a map does so in no one piece.
    pub fn plain(&self) -> Option<Plain<'_>> {
        Some(match self {
            Self::Null => Plain::Null,
            Self::Bool(value) => Plain::Bool(*value),
            Self::Int(number) => Plain::Int(*number),
            Self::UInt(number) => Plain::UInt(*number),
            Self::Float(number) => Plain::Float(*number),
            Self::Decimal(text) | Self::Text(text) | Self::Time(_, text) => Plain::Text(text.as_bytes()),
            Self::RawText(bytes) => Plain::Text(bytes),
            Self::Bytes(bytes) => Plain::Bytes(bytes),
            Self::List(_) | Self::Map(_) => return None,
        })
    }
}

/// Lines, one for each row.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    rows: u64,
}

impl Lines {
    /// Writes the next rows in place of those before. Returns why the row after them has no line, if it has none.
    fn fill<L>(
        &mut self,
        from: &mut TableReader<'_, L>,
        form: LineForm,
        room: &mut StoredRow,
    ) -> Result<Option<&'static str>, RecordError>
    where
        L: LoadChunk,
        RecordError: From<L::Error>,
    {
        self.bytes.clear();
        self.rows = 0;
        while self.bytes.len() < BATCH && from.end().is_none() {
            match from.next_line(form, &mut self.bytes, room)? {
                Some(true) => self.rows += 1,
                Some(false) => return Ok(Some(form.refusal)),
                None => break,
            }
        }
        Ok(None)
    }
}

/// Hands out the rows of a table as lines, some at a time with their number, up to an error of `each`. Returns how many.
/// They must have been [verified](TableReader::verify).
pub(super) fn send_lines<L>(
    rows: &mut TableReader<'_, L>,
    form: LineForm,
    mut each: impl FnMut(&[u8], u64) -> Result<(), RecordError>,
) -> Result<u64, RecordError>
where
    L: LoadChunk + Sync,
    RecordError: From<L::Error>,
{
    let (table, mut sent) = (rows.table().schema.name.to_string(), 0);
    let lane = Lane::<Lines>::new();
    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (_closing, mut room) = (lane.closing(), StoredRow::default());
            let mut refused = None;
            while refused.is_none() && rows.end().is_none() {
                let mut some = lane.spare().unwrap_or_default();
                refused = some.fill(rows, form, &mut room)?;
                let bytes = some.bytes.len().max(1);
                if !lane.send(some, bytes) {
                    break;
                }
            }
            Ok::<_, RecordError>(refused)
        });
        let closing = lane.closing();
        let mut put = Ok(());
        while put.is_ok() {
            let Some((some, bytes)) = lane.take() else { break };
            if some.rows > 0 {
                put = each(&some.bytes, some.rows);
                sent += some.rows;
            }
            // Rows that were long leave no room.
            let is_usual = some.bytes.capacity() <= USUAL;
            lane.done(is_usual.then_some(some), bytes);
        }
        drop(closing);
        let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        put.and(read)
    })?;
    match read {
        None => Ok(sent),
        Some(why) => Err(RecordError::Refused { table, row: sent + 1, why: why.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{MemoryDatabase, MemorySource};
    use super::super::testing::{Stored, any_scalar, build, leaf_target};
    use super::super::{Column, RecordReader, RowOrder, Selection, TableName, TableSchema, TypeClass};
    use super::*;
    use proptest::prelude::*;

    /// As Rust shows values.
    const FORM: LineForm = LineForm {
        put: |value, out| out.extend_from_slice(format!("{value:?}").as_bytes()),
        between: b';',
        end: b'\n',
        refusal: "no",
    };

    fn name() -> TableName {
        TableName::simple("t").unwrap()
    }

    /// A table whose key stands in its third and second column, or nowhere.
    fn stored(rows: Vec<Vec<Value>>, has_key: bool) -> Stored {
        let columns = ["a", "b", "c", "d"].map(|name| Column::new(name, TypeClass::Any, "x")).to_vec();
        let key = if has_key { &["c", "b"][..] } else { &[] };
        let mut database = MemoryDatabase::default();
        database.add(TableSchema::new(name(), columns, key), rows);
        Stored::of(Box::new(MemorySource::new(&database, RowOrder::Any)), &Selection::all()).unwrap()
    }

    /// All lines, and how many rows they were said to be.
    fn lines(
        reader: &RecordReader<'_, dedup_engine::map::memory::MemoryChunks>,
    ) -> Result<(Vec<u8>, u64), RecordError> {
        let (mut table, mut all, mut count) = (reader.table(&name())?.unwrap().verified(), Vec::new(), 0);
        let sent = send_lines(&mut table, FORM, |lines, rows| {
            all.extend_from_slice(lines);
            count += rows;
            Ok(())
        })?;
        assert_eq!(sent, count);
        Ok((all, sent))
    }

    /// The same by values.
    fn by_values(stored: &Stored) -> Vec<u8> {
        let (mut table, mut all) = (stored.reader().table(&name()).unwrap().unwrap(), Vec::new());
        while let Some(row) = table.next().unwrap() {
            let values: Vec<String> =
                row.values.iter().map(|value| format!("{:?}", value.plain().unwrap())).collect();
            all.extend_from_slice((values.join(";") + "\n").as_bytes());
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Long values among them, as text, as bytes that are none, and as bytes.
        #[test]
        fn lines_say_what_values_say(
            rows in proptest::collection::vec((any_scalar(), any_scalar(), 0..9_u8), 0..200),
            has_key in any::<bool>(),
        ) {
            let row = |(at, (a, b, kind)): (usize, (Value, Value, u8))| {
                let long = match kind {
                    0 => Value::Text("ü".repeat(3000)),
                    1 => Value::text(vec![0xff; 5000]),
                    2 => Value::Bytes(vec![7; 4097]),
                    _ => b,
                };
                vec![a, Value::Int(at as i64), Value::Text("key".into()), long]
            };
            let stored = stored(rows.into_iter().enumerate().map(row).collect(), has_key);
            let (sent, _) = lines(&stored.reader()).unwrap();
            prop_assert_eq!(sent, by_values(&stored));
        }
    }

    #[test]
    fn a_row_without_a_line_is_told_by_its_number() {
        let row = |at: i64, last| vec![Value::Null, Value::Int(at), Value::Text("k".into()), last];
        let mut rows: Vec<_> = (0..5000).map(|at| row(at, Value::Text("x".repeat(90)))).collect();
        rows[4200][3] = Value::List(vec![Value::Null]);
        let stored = stored(rows, true);
        let error = lines(&stored.reader()).unwrap_err();
        assert!(matches!(&error, RecordError::Refused { row: 4201, why, .. } if why == "no"), "{error}");
    }

    #[test]
    fn what_was_not_verified_does_not_pass_and_an_error_ends_it() {
        let row =
            |at: i64| vec![Value::Null, Value::Int(at), Value::Text("k".into()), Value::Bytes(vec![1; 200])];
        let whole = stored((0..3000).map(row).collect(), true);
        for at in [5, 1000, 2990] {
            let mut entries = whole.entries.clone();
            *entries[at].1.last_mut().unwrap() ^= 1;
            let root = build(&whole.chunks, &entries);
            let reader = RecordReader::new(&whole.chunks, root, leaf_target());
            assert!(matches!(lines(&reader), Err(RecordError::Corrupt(_))), "{at}");
        }
        let mut table = whole.reader().table(&name()).unwrap().unwrap();
        let stopped = send_lines(&mut table, FORM, |_, _| Err(RecordError::Cancelled));
        assert!(matches!(stopped, Err(RecordError::Cancelled)));
    }
}
