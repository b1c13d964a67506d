//! Family `files`: the file cache, a bounded store of sealed pages.
//!
//! ```text
//! files  key 32 → run u32, the caller's bytes
//! ```
//!
//! The caller seals what it puts here and makes keys by a keyed hash; this module sees neither paths nor
//! contents. Each run has a number. A run may put half of the budget; when it begins, the oldest runs end
//! until half of the budget is free: their pages are no longer found, and compactions drop them. So that
//! pages in use survive, the caller puts a page again when [`CachedPage::is_ageing`] says so: it is when
//! a quarter of the budget was put after it. A budget of four times what one run uses avoids rewriting.
//! Nothing here is logged or synced: a page that is lost costs reading a file again.

use super::error::IndexError;
use super::options::{FILES, META};
use super::store::Store;
use super::{Index, lock};
use crate::wire::Put;
use rocksdb::{DBPinnableSlice, Direction, IteratorMode, WriteBatch, WriteOptions};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Key of one page: a keyed hash.
pub type PageKey = [u8; 32];

/// A page as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPage {
    /// The run that put it.
    pub run: u32,
    /// Whether it will end before long: put it again to keep it.
    pub is_ageing: bool,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// Which runs are kept, and what the present one put.
#[derive(Default)]
pub(super) struct Window {
    oldest: AtomicU32,
    newest: AtomicU32,
    /// Pages of runs before this one are ageing.
    ageing: AtomicU32,
    put_bytes: Mutex<u64>,
}

const RUN: &[u8] = b"run";

impl Window {
    /// Tells a compaction that a page is of a run that is no longer kept.
    pub(super) fn is_past(&self, key: &[u8], value: &[u8]) -> bool {
        key.len() == size_of::<PageKey>() && split(value).is_none_or(|(run, _)| run < self.oldest())
    }

    fn oldest(&self) -> u32 {
        self.oldest.load(Ordering::Acquire)
    }

    fn newest(&self) -> u32 {
        self.newest.load(Ordering::Acquire)
    }
}

fn split(value: &[u8]) -> Option<(u32, &[u8])> {
    let (run, sealed) = value.split_first_chunk()?;
    Some((u32::from_le_bytes(*run), sealed))
}

/// Returns the first of the newest runs that together stay within `bytes`.
fn first_within(sizes: &[(u32, u64)], bytes: u64) -> u32 {
    let mut left = bytes;
    let mut first = sizes.last().map_or(0, |(run, _)| run.saturating_add(1));
    for (run, size) in sizes.iter().rev() {
        let Some(rest) = left.checked_sub(*size) else { break };
        (left, first) = (rest, *run);
    }
    first
}

fn size_key(run: u32) -> Vec<u8> {
    [RUN, &run.to_be_bytes()].concat()
}

fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

impl Store {
    /// Reads which runs are kept.
    pub(super) fn load_window(&self, budget_bytes: u64) -> Result<(), IndexError> {
        let stored = self.record(META, RUN, |reader| Ok((reader.u32()?, reader.u32()?)))?;
        let (newest, oldest) = stored.unwrap_or_default();
        let sizes = self.run_sizes()?;
        self.window.newest.store(newest, Ordering::Release);
        self.window.oldest.store(oldest, Ordering::Release);
        self.window.ageing.store(first_within(&sizes, budget_bytes / 4), Ordering::Release);
        Ok(())
    }

    /// Returns the runs that put something, rising, with the bytes they put.
    pub(super) fn run_sizes(&self) -> Result<Vec<(u32, u64)>, IndexError> {
        let mut sizes = Vec::new();
        let from = size_key(0);
        for entry in self.db.iterator_cf(self.family(META)?, IteratorMode::From(&from, Direction::Forward)) {
            let (key, value) = entry.map_err(|error| self.failed(&error))?;
            let Some(run) = key.strip_prefix(RUN) else { break };
            let run = self.parse(run, |reader| reader.array().map(u32::from_be_bytes))?;
            sizes.push((run, self.parse(&value, |reader| reader.u64())?));
        }
        Ok(sizes)
    }

    /// Begins run `run`: the oldest runs end until half of the budget is free for it.
    fn begin_run(&self, run: u32, budget_bytes: u64) -> Result<(), IndexError> {
        let meta = self.family(META)?;
        let sizes = self.run_sizes()?;
        let oldest = first_within(&sizes, budget_bytes / 2).max(self.window.oldest());
        let mut batch = WriteBatch::default();
        for (past, _) in sizes.iter().filter(|(number, _)| *number < oldest) {
            batch.delete_cf(meta, size_key(*past));
        }
        let mut value = Vec::new();
        value.put_u32(run);
        value.put_u32(oldest);
        batch.put_cf(meta, RUN, value);
        self.db.write_opt(batch, &unlogged()).map_err(|error| self.failed(&error))?;
        self.window.newest.store(run, Ordering::Release);
        self.window.oldest.store(oldest, Ordering::Release);
        self.window.ageing.store(first_within(&sizes, budget_bytes / 4), Ordering::Release);
        *lock(&self.window.put_bytes) = 0;
        Ok(())
    }

    fn page(
        &self,
        value: Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>,
    ) -> Result<Option<CachedPage>, IndexError> {
        let Some(value) = value.map_err(|error| self.failed(&error))? else { return Ok(None) };
        let (run, sealed) = split(&value).ok_or_else(|| self.damaged("a page is too short"))?;
        let is_ageing = run < self.window.ageing.load(Ordering::Acquire);
        Ok((run >= self.window.oldest()).then(|| CachedPage { run, is_ageing, sealed: sealed.to_vec() }))
    }
}

impl Index {
    /// Begins a run that will put pages, and returns its number.
    pub fn begin_run(&self) -> Result<u32, IndexError> {
        let _writing = lock(&self.writing);
        let newest = self.stores().map(|store| store.window.newest()).max().unwrap_or_default();
        let run = newest.saturating_add(1);
        self.top.begin_run(run, self.settings.file_cache_bytes)?;
        Ok(run)
    }

    /// Puts pages of the present run. Returns false, and puts nothing, once the run has put half of the
    /// budget.
    pub fn put_pages<'a>(
        &self,
        pages: impl IntoIterator<Item = (&'a PageKey, &'a [u8])>,
    ) -> Result<bool, IndexError> {
        let store = &self.top;
        let run = store.window.newest();
        let files = store.family(FILES)?;
        let mut batch = WriteBatch::default();
        for (key, sealed) in pages {
            batch.put_cf(files, key, [&run.to_le_bytes(), sealed].concat());
        }
        // Held until the size is written, so that sizes are written in rising order.
        let mut put_bytes = lock(&store.window.put_bytes);
        let after = *put_bytes + batch.size_in_bytes() as u64;
        if after > self.settings.file_cache_bytes / 2 {
            return Ok(false);
        }
        batch.put_cf(store.family(META)?, size_key(run), after.to_le_bytes());
        store.db.write_opt(batch, &unlogged()).map_err(|error| store.failed(&error))?;
        *put_bytes = after;
        Ok(true)
    }

    /// Returns the pages under the keys, in their order.
    pub fn pages(&self, keys: &[PageKey]) -> Result<Vec<Option<CachedPage>>, IndexError> {
        let mut found = vec![None; keys.len()];
        for store in self.stores() {
            let missing: Vec<usize> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
            if missing.is_empty() {
                break;
            }
            let asked = missing.iter().map(|at| &keys[*at]);
            let values = store.db.batched_multi_get_cf(store.family(FILES)?, asked, false);
            for (at, value) in missing.iter().zip(values) {
                found[*at] = store.page(value)?;
            }
        }
        Ok(found)
    }

    /// Returns the page under a key.
    pub fn page(&self, key: &PageKey) -> Result<Option<CachedPage>, IndexError> {
        Ok(self.pages(std::slice::from_ref(key))?.pop().flatten())
    }
}
