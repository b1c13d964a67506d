//! Rows in the order of their keys, where the engine's order is another: a merge sort in encrypted scratch.
//!
//! Memory: [`SortRoom::bytes`] for rows that come, or one block of 64 KiB and one row for each of at most
//! [`FAN_IN`] runs that are merged; long values go to scratch at once, and come back one at a time.
//! Scratch: the rows once, and once more for each pass beyond the first (with the default room: above 2 GiB).

use super::scratch::{Reader, Scratch, Stream, Writer};
use rayon::slice::ParallelSliceMut;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;

/// Runs that are merged at once.
const FAN_IN: usize = 64;

/// Where and in how much memory is sorted.
#[derive(Clone, Debug)]
pub struct SortRoom {
    /// Directory of the scratch file.
    pub directory: PathBuf,
    /// Bytes of memory for rows.
    pub bytes: usize,
}

impl SortRoom {
    /// What is used where nothing is said.
    pub const BYTES: usize = 32 << 20;
}

/// Takes rows in any order.
pub(super) struct Sorter {
    room: SortRoom,
    rows: Vec<Entry>,
    held: usize,
    scratch: Option<Scratch>,
    runs: Vec<Stream>,
}

/// A row: ordered by its key, then by its bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub key: Box<[u8]>,
    pub row: Box<[u8]>,
    /// Start and length of each long value.
    longs: Box<[(u64, u64)]>,
}

impl Sorter {
    pub(super) fn new(room: &SortRoom) -> Self {
        Self { room: room.clone(), rows: Vec::new(), held: 0, scratch: None, runs: Vec::new() }
    }

    fn scratch(&mut self) -> io::Result<&mut Scratch> {
        match &mut self.scratch {
            Some(scratch) => Ok(scratch),
            none => Ok(none.insert(Scratch::new(&self.room.directory)?)),
        }
    }

    /// Takes a row.
    pub(super) fn push<'b>(
        &mut self,
        key: &[u8],
        row: &[u8],
        longs: impl Iterator<Item = &'b [u8]>,
    ) -> io::Result<()> {
        let mut kept = Vec::new();
        for bytes in longs {
            let stream = self.scratch()?.append(bytes)?;
            kept.push((stream.start, stream.len));
        }
        self.held += key.len() + row.len() + 16 * kept.len() + size_of::<Entry>() + 32;
        self.rows.push(Entry { key: key.into(), row: row.into(), longs: kept.into() });
        match self.held > self.room.bytes {
            true => self.spill(),
            false => Ok(()),
        }
    }

    /// Writes the rows in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        let mut rows = std::mem::take(&mut self.rows);
        self.held = 0;
        rows.par_sort_unstable();
        let (scratch, mut head) = (self.scratch()?, Vec::new());
        let mut writer = Writer::new(scratch);
        for entry in rows.drain(..) {
            put(&mut writer, scratch, &entry, &mut head)?;
        }
        let run = writer.finish(scratch)?;
        // The room of the list is used again.
        self.rows = rows;
        self.runs.push(run);
        Ok(())
    }

    /// Ends taking; the rows come from the result.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if self.runs.is_empty() {
            self.rows.par_sort_unstable();
            let rows = std::mem::take(&mut self.rows).into_iter();
            return Ok(Sorted { scratch: self.scratch, rows, merge: None });
        }
        if !self.rows.is_empty() {
            self.spill()?;
        }
        self.rows = Vec::new();
        let Some(mut scratch) = self.scratch.take() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        while self.runs.len() > FAN_IN {
            let mut fewer = Vec::new();
            for some in self.runs.chunks(FAN_IN) {
                fewer.push(merge_into_one(&mut scratch, some)?);
            }
            self.runs = fewer;
        }
        let merge = Merge::new(&scratch, &self.runs)?;
        Ok(Sorted { scratch: Some(scratch), rows: Vec::new().into_iter(), merge: Some(merge) })
    }
}

fn put(writer: &mut Writer, scratch: &mut Scratch, entry: &Entry, head: &mut Vec<u8>) -> io::Result<()> {
    head.clear();
    for len in [entry.key.len(), entry.row.len(), entry.longs.len()] {
        let len = u32::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        head.extend_from_slice(&len.to_le_bytes());
    }
    for (start, len) in &entry.longs {
        head.extend_from_slice(&start.to_le_bytes());
        head.extend_from_slice(&len.to_le_bytes());
    }
    for part in [&head[..], &entry.key, &entry.row] {
        writer.write(scratch, part)?;
    }
    Ok(())
}

fn take(reader: &mut Reader, scratch: &Scratch) -> io::Result<Option<Entry>> {
    if reader.left() == 0 {
        return Ok(None);
    }
    let mut read = |len: usize| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        reader.read(scratch, len, &mut bytes)?;
        Ok(bytes)
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let head = read(12)?;
    let [keys, rows, count] = [0, 4, 8].map(|at| number(&head[at..at + 4]) as usize);
    let longs = read(16 * count)?;
    let longs = longs.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect();
    Ok(Some(Entry { key: read(keys)?.into(), row: read(rows)?.into(), longs }))
}

fn merge_into_one(scratch: &mut Scratch, runs: &[Stream]) -> io::Result<Stream> {
    let (mut merge, mut writer, mut head) = (Merge::new(scratch, runs)?, Writer::new(scratch), Vec::new());
    while let Some(entry) = merge.next(scratch)? {
        put(&mut writer, scratch, &entry, &mut head)?;
    }
    writer.finish(scratch)
}

/// The first row of each run that is not at its end, the least of them first.
struct Merge {
    runs: Vec<Reader>,
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl Merge {
    fn new(scratch: &Scratch, runs: &[Stream]) -> io::Result<Self> {
        let mut runs: Vec<Reader> = runs.iter().map(|run| Reader::new(*run)).collect();
        let mut heads = BinaryHeap::new();
        for (at, run) in runs.iter_mut().enumerate() {
            heads.extend(take(run, scratch)?.map(|entry| Reverse((entry, at))));
        }
        Ok(Self { runs, heads })
    }

    fn next(&mut self, scratch: &Scratch) -> io::Result<Option<Entry>> {
        let Some(Reverse((entry, at))) = self.heads.pop() else { return Ok(None) };
        self.heads.extend(take(&mut self.runs[at], scratch)?.map(|entry| Reverse((entry, at))));
        Ok(Some(entry))
    }
}

/// Rows in their order.
pub(super) struct Sorted {
    scratch: Option<Scratch>,
    rows: std::vec::IntoIter<Entry>,
    merge: Option<Merge>,
}

impl Sorted {
    /// Returns the next row.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        match (&mut self.merge, &self.scratch) {
            (Some(merge), Some(scratch)) => merge.next(scratch),
            _ => Ok(self.rows.next()),
        }
    }

    /// Returns how many long values a row has.
    pub(super) fn longs(entry: &Entry) -> usize {
        entry.longs.len()
    }

    /// Returns a long value of a row.
    pub(super) fn long(&self, entry: &Entry, at: usize) -> io::Result<Vec<u8>> {
        let (Some(scratch), Some((start, len))) = (&self.scratch, entry.longs.get(at)) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let len = usize::try_from(*len).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bytes = Vec::with_capacity(len);
        Reader::new(Stream { start: *start, len: len as u64 }).read(scratch, len, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_come_back_in_order_with_their_long_values(
            rows in proptest::collection::vec(("[a-c]{0,3}", "[a-b]{0,40}", 0usize..3), 0..700),
            // Down to a run for each row, so that there are passes beyond the first.
            bytes in prop_oneof![Just(1usize), Just(500), Just(4000), Just(1 << 20)],
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(&SortRoom { directory: dir.path().to_owned(), bytes });
            for (key, row, longs) in &rows {
                let long = row.repeat(2000).into_bytes();
                sorter.push(key.as_bytes(), row.as_bytes(), std::iter::repeat_n(&long[..], *longs)).unwrap();
            }
            let (mut sorted, mut found) = (sorter.finish().unwrap(), Vec::new());
            while let Some(entry) = sorted.next().unwrap() {
                let [key, row] = [&entry.key, &entry.row].map(|part| String::from_utf8(part.to_vec()).unwrap());
                for at in 0..Sorted::longs(&entry) {
                    prop_assert_eq!(sorted.long(&entry, at).unwrap(), row.repeat(2000).into_bytes());
                }
                found.push((key, row, Sorted::longs(&entry)));
            }
            let pairs = |rows: &[(String, String, usize)]| -> Vec<_> {
                rows.iter().map(|(key, row, _)| (key.clone(), row.clone())).collect()
            };
            prop_assert!(pairs(&found).is_sorted());
            let mut expected = rows;
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
