//! Inode numbers of the last run, in the local file cache: one page per leaf of the listing.
//!
//! ```text
//! H(file cache key, leaf id) → inode number u64 … in the order of the leaf's entries
//! ```
//!
//! A page is found by its leaf while the listings are merged, so that a run costs one lookup per leaf and not
//! one per file. It holds nothing but numbers, under a keyed hash: there is nothing to seal. A page that is
//! missing or wrong only means that inode numbers are not compared, or that a file is read once more.

use crate::crypto::Secret;
use crate::id::ChunkId;
use crate::index::PageKey;
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;

/// Pages that are written together.
const PAGES: usize = 256;

fn key_of(secret: &Secret, leaf: &ChunkId) -> PageKey {
    *blake3::keyed_hash(secret, leaf.as_bytes()).as_bytes()
}

/// Gathers the numbers of a run while its listing is built.
pub(super) struct Recorder<'a> {
    repo: &'a Repository,
    secret: Secret,
    /// Nobody asks for them without READ: what is remembered then has them.
    is_wanted: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of entries whose leaf is not finished; the first is of entry `first`.
    numbers: VecDeque<u64>,
    first: u64,
    pages: Vec<(PageKey, Vec<u8>)>,
    failed: Option<RepoError>,
}

impl<'a> Recorder<'a> {
    pub fn new(repo: &'a Repository) -> Result<Self, RepoError> {
        let secret = repo.objects.keyring.further("dedup 2026-11-21 file cache")?;
        Ok(Self { repo, secret, is_wanted: repo.can_read(), state: Mutex::default() })
    }

    /// Notes the inode number of the next entry.
    pub fn note(&self, inode: u64) {
        if self.is_wanted {
            lock(&self.state).numbers.push_back(inode);
        }
    }

    /// Makes the page of a finished leaf with these entries.
    pub fn leaf(&self, leaf: &ChunkId, entries: Range<u64>) {
        if !self.is_wanted {
            return;
        }
        let mut state = lock(&self.state);
        let mut page = Vec::with_capacity((entries.end - entries.start) as usize * 8);
        while state.first < entries.end {
            let Some(number) = state.numbers.pop_front() else { break };
            state.first += 1;
            page.extend_from_slice(&number.to_le_bytes());
        }
        state.pages.push((key_of(&self.secret, leaf), page));
        if state.pages.len() >= PAGES {
            self.write(&mut state);
        }
    }

    fn write(&self, state: &mut State) {
        let pages = std::mem::take(&mut state.pages);
        let put = self.repo.index().and_then(|index| {
            let pages = pages.iter().map(|(key, page)| (key, &page[..]));
            Ok(index.put_pages(pages)?)
        });
        if let Err(error) = put {
            state.failed.get_or_insert(error);
        }
    }

    /// Writes what is left.
    pub fn finish(&self) -> Result<(), RepoError> {
        let mut state = lock(&self.state);
        self.write(&mut state);
        state.failed.take().map_or(Ok(()), Err)
    }
}

/// Looks up the numbers of the parent's run.
pub(super) struct Recalled<'a> {
    repo: &'a Repository,
    secret: Secret,
    leaf: Option<ChunkId>,
    page: Vec<u8>,
}

impl<'a> Recalled<'a> {
    pub fn new(repo: &'a Repository) -> Result<Self, RepoError> {
        let secret = repo.objects.keyring.further("dedup 2026-11-21 file cache")?;
        Ok(Self { repo, secret, leaf: None, page: Vec::new() })
    }

    /// Returns the inode number that entry `at` of a leaf had, if it is remembered.
    pub fn number(&mut self, leaf: ChunkId, at: usize) -> Result<Option<u64>, RepoError> {
        if self.leaf != Some(leaf) {
            // An index that fails is made anew when it is opened next; a run need not end for what it can do without.
            let page = self.repo.index()?.page(&key_of(&self.secret, &leaf)).ok().flatten();
            self.page = page.map(|page| page.sealed).unwrap_or_default();
            self.leaf = Some(leaf);
        }
        let bytes = self.page.get(at * 8..).and_then(|rest| rest.first_chunk::<8>());
        Ok(bytes.map(|bytes| u64::from_le_bytes(*bytes)))
    }
}
