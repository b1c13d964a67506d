//! Rows of a table from a source into the map, by two threads: the one reads and encodes them, the other sorts them or puts
//! them into the map. Either is about half of the work.

use super::driver::EachRow;
use super::lane::Lane;
use super::row::long_bytes;
use super::write::{Putting, TableWriter};
use super::{RecordError, Value};
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Bytes of rows that are handed over at once.
const BATCH: usize = 128 << 10;
/// Bytes of long values of one row that are not copied: the other thread waits for such a row.
const LONG: usize = 1 << 20;

/// Encoded rows, one behind the other.
#[derive(Default)]
struct Encoded {
    bytes: Vec<u8>,
    rows: Vec<Lengths>,
    /// Long values: number of the value in its row, and length.
    longs: Vec<(u16, usize)>,
}

struct Lengths {
    key: usize,
    row: usize,
    /// How many long values follow.
    longs: usize,
}

impl Encoded {
    fn push<'v>(&mut self, key: &[u8], row: &[u8], longs: impl Iterator<Item = (u16, &'v [u8])>) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(row);
        let before = self.longs.len();
        for (at, bytes) in longs {
            self.bytes.extend_from_slice(bytes);
            self.longs.push((at, bytes.len()));
        }
        self.rows.push(Lengths { key: key.len(), row: row.len(), longs: self.longs.len() - before });
    }

    fn put(&self, putting: &mut Putting<'_>) -> Result<(), RecordError> {
        let (mut rest, mut longs) = (&self.bytes[..], &self.longs[..]);
        for lengths in &self.rows {
            let (key, after) = rest.split_at(lengths.key);
            let (row, after) = after.split_at(lengths.row);
            let (of_row, later) = longs.split_at(lengths.longs);
            let mut values = after;
            putting.put(
                key,
                row,
                of_row.iter().map(|(at, len)| {
                    let (bytes, after) = values.split_at(*len);
                    values = after;
                    (*at, bytes)
                }),
            )?;
            let long: usize = of_row.iter().map(|(_, len)| len).sum();
            (rest, longs) = (after.split_at(long).1, later);
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.longs.clear();
    }
}

impl TableWriter<'_> {
    /// Takes the rows that `work` hands out.
    ///
    /// # Errors
    /// Of `work`, or of what became of its rows, which comes first: it may be found a little later than the row.
    pub fn fill(
        &mut self,
        work: impl FnOnce(&mut EachRow<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let (encoder, putting) = self.halves();
        let (lane, putting, mut some) = (Lane::<Encoded>::new(), Mutex::new(putting), Encoded::default());
        let lock = || putting.lock().unwrap_or_else(PoisonError::into_inner);
        let put_all = || {
            let _closing = lane.closing();
            while let Some((mut some, bytes)) = lane.take() {
                some.put(&mut lock())?;
                some.clear();
                // A row that was long leaves its memory.
                let is_usual = some.bytes.capacity() <= 2 * BATCH;
                lane.done(is_usual.then_some(some), bytes);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let (closing, mut beside) = (lane.closing(), None);
            // What ended it is told by the other thread.
            let ended = || RecordError::Cancelled;
            let worked = work(&mut |values| {
                encoder.encode(values)?;
                let longs = || {
                    let others = encoder.shape.others(values).enumerate();
                    others.filter_map(|(at, value): (usize, &Value)| {
                        long_bytes(value).map(|(_, bytes)| (at as u16, bytes))
                    })
                };
                let is_long = longs().map(|(_, bytes)| bytes.len()).sum::<usize>() > LONG;
                if !is_long {
                    some.push(&encoder.key, &encoder.row, longs());
                }
                if some.bytes.len() >= BATCH || is_long && !some.rows.is_empty() {
                    beside.get_or_insert_with(|| scope.spawn(put_all));
                    let full = std::mem::replace(&mut some, lane.spare().unwrap_or_default());
                    let bytes = full.bytes.len().max(1);
                    if !lane.send(full, bytes) {
                        return Err(ended());
                    }
                }
                if is_long {
                    if !lane.until_done() {
                        return Err(ended());
                    }
                    lock().put(&encoder.key, &encoder.row, longs())?;
                }
                Ok(())
            });
            drop(closing);
            match beside.map(|beside| beside.join().unwrap_or_else(|panic| resume_unwind(panic))) {
                Some(Err(error)) => Err(error),
                _ => worked,
            }
        })?;
        // The last ones; of a small table all.
        some.put(&mut lock())
    }
}
