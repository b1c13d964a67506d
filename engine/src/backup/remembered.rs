//! What a client that cannot read remembers of its files, in the local file cache: it has no parent to compare with.
//!
//! ```text
//! key of a file:  H(names key, path)             names key = H(file cache key, "files" | host | module | section)
//! key of a list:  H(lists key, nonce | number u32)
//! page:           nonce 24 | sealed (XChaCha20-Poly1305; bound to its key)
//! a file's:       began i64 s, u32 ns | inode u64 | ids varint | nonce 16 if there are ids | the node as in a listing
//! a list's:       ids, at most 1,024
//! ```
//!
//! `began` is the beginning of the run that read the file, which decides whether its times can be trusted. A file whose
//! content has lists (more than 1,024 chunks) has its chunks and lists in pages of their own, since lists cannot be read
//! back: every chunk is asked for, because a prune must know the packs that a snapshot relies on.
//! A page is never believed further than that: what is not stored is read again, and so is what is missing or damaged.
//! Memory: the pages of the entries that walk together, one list, and what waits to be written.

use super::compare::{Known, Was, is_same};
use super::source::{Found, Stat};
use crate::crypto::{Secret, random};
use crate::error::Corrupt;
use crate::id::ChunkId;
use crate::index::{CachedPage, PageKey};
use crate::listing::{Node, StoredPath, Time, decode_node, encode_node};
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository};
use crate::snapshot::Section;
use crate::wire::{Put, Reader};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Ids in one page of a list.
const IDS: usize = 1024;
/// Bytes of pages that are written together.
const BATCH_BYTES: usize = 256 << 10;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// The pages of one part of a run: those of the runs before, and those it writes.
pub(super) struct FileCache<'a> {
    repo: &'a Repository,
    names: Secret,
    lists: Secret,
    cipher: XChaCha20Poly1305,
    began: Time,
    nonces: Secret,
    /// What nonces of this run alone depend on.
    drawn: [u8; 16],
    count: AtomicU64,
    waiting: Mutex<Waiting>,
    /// The run has put its share.
    is_full: AtomicBool,
}

/// Pages that are not written yet.
#[derive(Default)]
struct Waiting {
    pages: Vec<(PageKey, Vec<u8>)>,
    bytes: usize,
}

/// The chunks and lists of a content that is too long for one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdPages {
    nonce: [u8; 16],
    ids: u64,
}

/// A file's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    began: Time,
    inode: u64,
    pages: Option<IdPages>,
    value: Vec<u8>,
}

impl Entry {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + self.value.len());
        out.put_i64(self.began.secs);
        out.put_u32(self.began.nanos);
        out.put_u64(self.inode);
        out.put_varint(self.pages.map_or(0, |pages| pages.ids));
        if let Some(pages) = &self.pages {
            out.put(&pages.nonce);
        }
        out.put(&self.value);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<(Self, Node), Corrupt> {
        let mut reader = Reader::new("page of the file cache", bytes);
        let began = Time { secs: reader.i64()?, nanos: reader.u32()? };
        let inode = reader.u64()?;
        let pages = match reader.varint()? {
            0 => None,
            ids => Some(IdPages { nonce: reader.array()?, ids }),
        };
        let value = reader.take(reader.left())?.to_vec();
        let node = decode_node(&value)?;
        Ok((Self { began, inode, pages, value }, node))
    }
}

/// What is remembered of an entry that is the same.
pub(super) struct Remembered {
    pub pages: Option<IdPages>,
    /// The page, to be put again lest it ends.
    ageing: Option<(PageKey, Vec<u8>)>,
}

impl<'a> FileCache<'a> {
    pub fn new(
        repo: &'a Repository,
        host: &str,
        module: &str,
        section: Section,
        began: Time,
    ) -> Result<Self, RepoError> {
        let secret = repo.objects.keyring.further("dedup 2026-11-21 file cache")?;
        let derived = |of: &[u8]| Zeroizing::new(*blake3::keyed_hash(&secret, of).as_bytes());
        let mut part = b"files".to_vec();
        part.put_bytes(host.as_bytes());
        part.put_bytes(module.as_bytes());
        part.put_bytes(section.word().as_bytes());
        let seal = derived(b"seal of files");
        Ok(Self {
            repo,
            names: derived(&part),
            lists: derived(b"lists of files"),
            cipher: XChaCha20Poly1305::new(&(*seal).into()),
            began,
            nonces: derived(b"nonces of files"),
            drawn: random()?,
            count: AtomicU64::new(0),
            waiting: Mutex::default(),
            is_full: AtomicBool::new(false),
        })
    }

    /// Looks up the pages of entries that walk together: one for each, if there is one.
    pub fn pages<H>(&self, found: &[Found<H>]) -> Result<Vec<Option<CachedPage>>, RepoError> {
        let path = |found: &Found<H>| match found {
            Found::Entry { path, .. } | Found::Problem { path, .. } => self.key(path),
        };
        let keys: Vec<PageKey> = found.iter().map(path).collect();
        Ok(self.repo.index()?.pages(&keys)?)
    }

    /// Compares an entry with its page.
    pub fn find(
        &self,
        path: &StoredPath,
        stat: &Stat,
        page: Option<CachedPage>,
    ) -> (Known, Option<Remembered>) {
        let Some(page) = page else { return (Known::New, None) };
        let key = self.key(path);
        let opened = self.open(&key, &page.sealed).and_then(|plain| Entry::decode(&plain).ok());
        let Some((entry, node)) = opened else { return (Known::New, None) };
        if entry.inode != stat.ino || !is_same(&node, stat, entry.began) {
            return (Known::Changed(Was::of(&entry.value)), None);
        }
        let ageing = page.is_ageing.then_some((key, page.sealed));
        (Known::Same(Box::new(node), entry.value), Some(Remembered { pages: entry.pages, ageing }))
    }

    /// Hands out every id of a content's pages until `each` says no; `false` as well if a page is not there any more.
    pub fn each_id(
        &self,
        pages: &IdPages,
        each: &mut dyn FnMut(&ChunkId) -> Result<bool, RepoError>,
    ) -> Result<bool, RepoError> {
        let mut left = pages.ids;
        let mut number = 0;
        while left > 0 {
            let key = self.list_key(&pages.nonce, number);
            let Some(page) = self.repo.index()?.page(&key)? else { return Ok(false) };
            let Some(plain) = self.open(&key, &page.sealed) else { return Ok(false) };
            let (ids, rest) = plain.as_chunks::<{ ChunkId::LEN }>();
            if ids.is_empty() || !rest.is_empty() || ids.len() as u64 > left {
                return Ok(false);
            }
            for id in ids {
                if !each(&ChunkId::from_bytes(*id))? {
                    return Ok(false);
                }
            }
            left -= ids.len() as u64;
            number += 1;
            if page.is_ageing {
                self.put(key, page.sealed)?;
            }
        }
        Ok(true)
    }

    /// Keeps a page that is used and would end before long.
    pub fn keep(&self, remembered: Remembered) -> Result<(), RepoError> {
        remembered.ageing.map_or(Ok(()), |(key, sealed)| self.put(key, sealed))
    }

    /// Remembers an entry that was read.
    pub fn note(
        &self,
        path: &StoredPath,
        inode: u64,
        node: &Node,
        pages: Option<IdPages>,
    ) -> Result<(), RepoError> {
        let entry = Entry { began: self.began, inode, pages, value: encode_node(node)? };
        self.seal(self.key(path), &entry.encode())
    }

    /// Begins to gather the ids of a content.
    pub fn ids(&self) -> Result<Ids<'_>, RepoError> {
        Ok(Ids { cache: self, nonce: random()?, number: 0, written: 0, waiting: Vec::new() })
    }

    /// Writes what waits.
    pub fn flush(&self) -> Result<(), RepoError> {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let pages = waiting.pages.iter().map(|(key, page)| (key, &page[..]));
        if !self.repo.index()?.put_pages(pages)? {
            self.is_full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn key(&self, path: &StoredPath) -> PageKey {
        *blake3::keyed_hash(&self.names, path.as_key()).as_bytes()
    }

    fn list_key(&self, nonce: &[u8; 16], number: u32) -> PageKey {
        *blake3::keyed_hash(&self.lists, &[&nonce[..], &number.to_le_bytes()].concat()).as_bytes()
    }

    fn seal(&self, key: PageKey, plain: &[u8]) -> Result<(), RepoError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        // It depends on what is sealed, so that a machine cloned in the middle of a run repeats none.
        let count = self.count.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let mut hasher = blake3::Hasher::new_keyed(&self.nonces);
        hasher.update(&self.drawn).update(&count).update(&key).update(plain);
        let mut nonce = [0; NONCE_LEN];
        hasher.finalize_xof().fill(&mut nonce);
        let mut page = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
        page.put(&nonce);
        page.put(plain);
        let sealed = (&mut page[NONCE_LEN..]).into();
        let tag = self.cipher.encrypt_inout_detached(&XNonce::from(nonce), &key, sealed);
        let tag = tag.map_err(|_| RepoError::Internal("a page that is too long to seal".into()))?;
        page.put(&tag);
        self.put(key, page)
    }

    fn open(&self, key: &PageKey, page: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = page.split_first_chunk::<NONCE_LEN>()?;
        let (data, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let mut plain = data.to_vec();
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
        self.cipher.decrypt_inout_detached(&nonce, key, plain.as_mut_slice().into(), &tag).ok()?;
        Some(plain)
    }

    fn put(&self, key: PageKey, page: Vec<u8>) -> Result<(), RepoError> {
        let is_due = {
            let mut waiting = lock(&self.waiting);
            waiting.bytes += page.len();
            waiting.pages.push((key, page));
            waiting.bytes >= BATCH_BYTES
        };
        if is_due { self.flush() } else { Ok(()) }
    }
}

/// Gathers the ids of a content while it is read.
pub(super) struct Ids<'c> {
    cache: &'c FileCache<'c>,
    nonce: [u8; 16],
    number: u32,
    written: u64,
    waiting: Vec<ChunkId>,
}

impl Ids<'_> {
    pub fn push(&mut self, id: ChunkId) -> Result<(), RepoError> {
        if self.waiting.len() == IDS {
            self.write()?;
        }
        self.waiting.push(id);
        Ok(())
    }

    /// Writes what is left of a content that has lists; of others their node tells all.
    pub fn finish(mut self, has_lists: bool) -> Result<Option<IdPages>, RepoError> {
        if !has_lists {
            return Ok(None);
        }
        self.write()?;
        Ok(Some(IdPages { nonce: self.nonce, ids: self.written }))
    }

    fn write(&mut self) -> Result<(), RepoError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let plain: Vec<u8> = self.waiting.iter().flat_map(|id| *id.as_bytes()).collect();
        self.cache.seal(self.cache.list_key(&self.nonce, self.number), &plain)?;
        self.number += 1;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
