//! What chunks of another repository are called in this one, in the local file cache.
//!
//! ```text
//! H(file cache key, "copy" | repository | kind u8 | id) → id here | first 16 of H(file cache key, "copied" | page key | id here)
//! ```
//!
//! Names are a function of keys and bytes, so a page is true for ever; whether the chunk is still stored is asked of the
//! index every time. A page that is missing costs reading the chunk again. One that is damaged would put another chunk in
//! its place, so it is bound to what it is of.

use crate::crypto::Secret;
use crate::crypto::keyring::ChunkKind;
use crate::id::{ChunkId, RepoId};
use crate::index::PageKey;
use crate::repo::{RepoError, Repository};
use std::collections::HashMap;

/// Pages that are written together.
const PAGES: usize = 1024;
const MARK_LEN: usize = 16;

pub(crate) struct Memo<'m> {
    to: &'m Repository,
    of: RepoId,
    secret: Secret,
    waiting: HashMap<PageKey, Vec<u8>>,
}

impl<'m> Memo<'m> {
    pub fn new(to: &'m Repository, of: RepoId) -> Result<Self, RepoError> {
        let secret = to.objects.keyring.further("dedup 2026-11-21 file cache")?;
        Ok(Self { to, of, secret, waiting: HashMap::new() })
    }

    fn key(&self, kind: ChunkKind, id: &ChunkId) -> PageKey {
        let kind = match kind {
            ChunkKind::Data => 1,
            ChunkKind::Listing => 2,
            ChunkKind::Secrets => 3,
        };
        let of = [b"copy", &self.of.as_bytes()[..], &[kind], id.as_bytes()].concat();
        *blake3::keyed_hash(&self.secret, &of).as_bytes()
    }

    fn page(&self, key: &PageKey, here: &ChunkId) -> Vec<u8> {
        let mark = blake3::keyed_hash(&self.secret, &[b"copied", &key[..], here.as_bytes()].concat());
        [&here.as_bytes()[..], &mark.as_bytes()[..MARK_LEN]].concat()
    }

    /// Returns what a chunk is called here, if that is remembered.
    pub fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Option<ChunkId>, RepoError> {
        let key = self.key(kind, id);
        let page = match self.waiting.get(&key) {
            Some(page) => Some(page.clone()),
            None => self.to.index()?.page(&key)?.map(|page| page.sealed),
        };
        let here = page.as_ref().and_then(|page| page.first_chunk()).map(|id| ChunkId::from_bytes(*id));
        Ok(here.filter(|here| page == Some(self.page(&key, here))))
    }

    /// Remembers what a chunk is called here.
    pub fn put(&mut self, kind: ChunkKind, id: &ChunkId, here: &ChunkId) -> Result<(), RepoError> {
        let key = self.key(kind, id);
        let page = self.page(&key, here);
        self.waiting.insert(key, page);
        if self.waiting.len() >= PAGES { self.flush() } else { Ok(()) }
    }

    /// Writes what waits. Once a run has put its share of the cache, nothing more is remembered.
    pub fn flush(&mut self) -> Result<(), RepoError> {
        let pages = std::mem::take(&mut self.waiting);
        self.to.index()?.put_pages(pages.iter().map(|(key, page)| (key, &page[..])))?;
        Ok(())
    }
}
