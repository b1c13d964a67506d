//! Rows of a dump read by a thread of their own, while those before them are written into the target: opening and decoding
//! take about as long as the target's part.

use super::lane::Lane;
use super::read::{StoredRow, TableReader};
use super::{RecordError, Value};
use dedup_engine::map::LoadChunk;
use std::panic::resume_unwind;
use std::thread;

/// Bytes of values that are handed over at once.
const BATCH: usize = 128 << 10;

/// Hands out the rows of a table, in their order, up to an error of `each`.
pub(super) fn read_ahead<L>(
    rows: &mut TableReader<'_, L>,
    mut each: impl FnMut(StoredRow) -> Result<(), RecordError>,
) -> Result<(), RecordError>
where
    L: LoadChunk + Sync,
    RecordError: From<L::Error>,
{
    // Few rows need no thread.
    let (first, _) = batch(rows)?;
    let is_all = rows.end().is_some();
    first.into_iter().try_for_each(&mut each)?;
    if is_all {
        return Ok(());
    }
    let lane = Lane::new();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let _closing = lane.closing();
            while rows.end().is_none() {
                let (some, bytes) = batch(rows)?;
                if !lane.send(some, bytes.max(1)) {
                    break;
                }
            }
            Ok(())
        });
        let closing = lane.closing();
        let mut put = Ok(());
        while put.is_ok() {
            let Some((some, bytes)) = lane.take() else { break };
            put = some.into_iter().try_for_each(&mut each);
            lane.done(None, bytes);
        }
        drop(closing);
        let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        put.and(read)
    })
}

/// Reads some rows, fewer if they are long.
fn batch<L>(rows: &mut TableReader<'_, L>) -> Result<(Vec<StoredRow>, usize), RecordError>
where
    L: LoadChunk,
    RecordError: From<L::Error>,
{
    let (mut some, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH {
        let Some(row) = rows.next()? else { break };
        bytes += row.values.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum::<usize>();
        some.push(row);
    }
    Ok((some, bytes))
}
