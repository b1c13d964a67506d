//! Rows of a dump read by a thread of their own, while those before them are written into the target: opening and decoding
//! take about as long as the target's part. Rows that were written leave their room to later ones.

use super::lane::Lane;
use super::read::{StoredRow, TableReader};
use super::{RecordError, Value};
use dedup_engine::map::LoadChunk;
use std::panic::resume_unwind;
use std::thread;

/// Bytes of values that are handed over at once.
const BATCH: usize = 128 << 10;

/// Rows that were read together, and behind them room that others had.
#[derive(Default)]
struct Rows {
    rows: Vec<StoredRow>,
    count: usize,
    bytes: usize,
}

impl Rows {
    /// Reads rows in place of those before, fewer if they are long.
    fn fill<L>(&mut self, from: &mut TableReader<'_, L>) -> Result<(), RecordError>
    where
        L: LoadChunk,
        RecordError: From<L::Error>,
    {
        (self.count, self.bytes) = (0, 0);
        while self.bytes < BATCH {
            if self.count == self.rows.len() {
                self.rows.push(StoredRow::default());
            }
            let Some(row) = self.rows.get_mut(self.count) else { break };
            if !from.next_into(row)? {
                break;
            }
            self.bytes += bytes_of(&row.values);
            self.count += 1;
        }
        Ok(())
    }

    fn hand_out(
        &mut self,
        each: &mut impl FnMut(&mut Vec<Value>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        self.rows.iter_mut().take(self.count).try_for_each(|row| each(&mut row.values))
    }
}

/// Returns about how many bytes of memory values take.
pub(super) fn bytes_of(values: &[Value]) -> usize {
    values.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum()
}

/// Hands out the rows of a table, in their order, up to an error of `each`, which may leave other values in their place: their
/// room is used again.
pub(super) fn read_ahead<L>(
    rows: &mut TableReader<'_, L>,
    mut each: impl FnMut(&mut Vec<Value>) -> Result<(), RecordError>,
) -> Result<(), RecordError>
where
    L: LoadChunk + Sync,
    RecordError: From<L::Error>,
{
    // Few rows need no thread.
    let mut first = Rows::default();
    first.fill(rows)?;
    let is_all = rows.end().is_some();
    first.hand_out(&mut each)?;
    if is_all {
        return Ok(());
    }
    let lane = Lane::<Rows>::new();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let _closing = lane.closing();
            while rows.end().is_none() {
                let mut some = lane.spare().unwrap_or_default();
                some.fill(rows)?;
                let bytes = some.bytes.max(1);
                if !lane.send(some, bytes) {
                    break;
                }
            }
            Ok(())
        });
        let closing = lane.closing();
        let mut put = Ok(());
        while put.is_ok() {
            let Some((mut some, bytes)) = lane.take() else { break };
            put = some.hand_out(&mut each);
            // Rows that were long leave no room.
            let is_usual = some.bytes <= 2 * BATCH;
            lane.done(is_usual.then_some(some), bytes);
        }
        drop(closing);
        let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        put.and(read)
    })
}
