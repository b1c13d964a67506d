//! Chunks out of packs, each verified: by the seal, by its length, and by its name.
//!
//! Blocks that were opened are kept for a while: neighbours are asked for next. Local reads are of the
//! block's own range; remote storages read aligned windows (`FORMAT.md` 3, lengths stay invisible).

use super::{RepoError, Repository};
use crate::crypto::keyring::ChunkKind;
use crate::error::Corrupt;
use crate::id::ChunkId;
use crate::index::{Location, PackInfo, PackNo};
use crate::map::{Class, LoadChunk};
use crate::pack::reader::{BlockReader, PackKey};
use crate::planted::{Bug, planted};
use crate::storage::Name;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

type BlockKey = (PackNo, u16);

/// Opened blocks, bounded in bytes; the oldest goes first.
struct BlockCache {
    blocks: HashMap<BlockKey, Arc<Vec<u8>>>,
    order: VecDeque<BlockKey>,
    bytes: usize,
    capacity: usize,
}

impl BlockCache {
    fn insert(&mut self, key: BlockKey, block: Arc<Vec<u8>>) {
        self.bytes += block.len();
        if self.blocks.insert(key, block).is_none() {
            self.order.push_back(key);
        }
        while self.bytes > self.capacity && self.order.len() > 1 {
            let oldest = self.order.pop_front();
            if let Some(block) = oldest.and_then(|key| self.blocks.remove(&key)) {
                self.bytes -= block.len();
            }
        }
    }
}

/// Reads chunks of one kind; keeps opened blocks up to a bound.
pub struct ChunkReader<'r> {
    repo: &'r Repository,
    kind: ChunkKind,
    cache: Mutex<BlockCache>,
}

impl<'r> ChunkReader<'r> {
    /// Makes a reader that keeps at most about `cache_bytes` of opened blocks.
    pub fn new(repo: &'r Repository, kind: ChunkKind, cache_bytes: usize) -> Self {
        let cache =
            BlockCache { blocks: HashMap::new(), order: VecDeque::new(), bytes: 0, capacity: cache_bytes };
        Self { repo, kind, cache: Mutex::new(cache) }
    }

    /// Makes a reader of the maps of a class with the share of the memory that is theirs.
    pub fn of_maps(repo: &'r Repository, class: Class) -> Self {
        Self::new(repo, class.nodes(), repo.budget.listing_bytes())
    }

    /// Returns the kind of the chunks it reads.
    pub(crate) fn kind(&self) -> ChunkKind {
        self.kind
    }

    /// Returns the plaintext of a chunk; its name was compared.
    ///
    /// Where several packs hold it, a damaged copy does not hide a good one.
    /// One whose packs are gone may be in others by now: a prune has written it anew.
    pub fn read(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, RepoError> {
        match self.read_any(id, max_len) {
            Err(error) if is_gone(&error) && self.repo.learn_segments()? => self.read_any(id, max_len),
            read => read,
        }
    }

    fn read_any(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, RepoError> {
        let mut failed = None;
        for location in self.repo.index()?.copies(id)? {
            match self.read_at(id, &location, max_len) {
                Ok(plain) => return Ok(plain),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or(RepoError::MissingChunk { id: *id }))
    }

    fn read_at(&self, id: &ChunkId, location: &Location, max_len: u32) -> Result<Vec<u8>, RepoError> {
        let place = &location.place;
        if place.len > max_len {
            let wrong = format!("{} bytes, at most {max_len} are allowed", place.len);
            return Err(Corrupt::new(format!("chunk {id}"), wrong).into());
        }
        let block = self.block(location)?;
        self.chunk_in(&block, id, location).map(<[u8]>::to_vec).ok_or_else(|| {
            let object = self.repo.pack_info(location.pack);
            let what = object.map_or_else(|_| "pack".into(), |info| Name::pack(info.id).to_string());
            let wrong = format!("chunk {id} in block {} is not what its name says", place.block);
            Corrupt::new(what, wrong).into()
        })
    }

    /// Returns the opened block that a chunk lies in.
    pub(crate) fn block(&self, location: &Location) -> Result<Arc<Vec<u8>>, RepoError> {
        let key = (location.pack, location.place.block);
        let known = self.cache.lock().unwrap_or_else(PoisonError::into_inner).blocks.get(&key).cloned();
        if let Some(block) = known {
            return Ok(block);
        }
        let info = self.repo.pack_info(location.pack)?;
        let mut reader = BlockReader::new()?;
        let block = Arc::new(self.repo.read_block(&info, location.place.block, &mut reader)?.to_vec());
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(key, block.clone());
        Ok(block)
    }

    /// Returns the chunk's part of its opened block, if that is what its name says.
    pub(crate) fn chunk_in<'b>(
        &self,
        block: &'b [u8],
        id: &ChunkId,
        location: &Location,
    ) -> Option<&'b [u8]> {
        let start = location.place.offset as usize;
        let plain = block.get(start..start + location.place.len as usize)?;
        (planted(Bug::SkipChunkName) || self.repo.namer.name(self.kind, plain) == *id).then_some(plain)
    }
}

/// Returns whether an error says that a pack is not there, or not any more.
fn is_gone(error: &RepoError) -> bool {
    match error {
        RepoError::MissingChunk { .. } | RepoError::Refused(_) => true,
        RepoError::Storage(error) => error.is_missing(),
        _ => false,
    }
}

impl LoadChunk for ChunkReader<'_> {
    type Error = RepoError;

    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, RepoError> {
        self.read(id, max_len)
    }
}

impl Repository {
    /// Returns what is known of a pack that the index named a moment ago.
    pub(crate) fn pack_info(&self, number: PackNo) -> Result<Arc<PackInfo>, RepoError> {
        let gone = || RepoError::Refused("a prune removed a pack meanwhile; run it again".into());
        self.index()?.pack(number)?.ok_or_else(gone)
    }

    /// Reads and opens one block of a pack. The ids of its chunks are the caller's to check.
    pub(crate) fn read_block<'b>(
        &self,
        info: &PackInfo,
        number: u16,
        reader: &'b mut BlockReader,
    ) -> Result<&'b [u8], RepoError> {
        let name = Name::pack(info.id);
        let Some(block) = info.blocks.get(usize::from(number)) else {
            return Err(Corrupt::new(name.to_string(), format!("there is no block {number}")).into());
        };
        let start = block.range.start;
        let sealed = self.objects.storage.get(&name, block.range.clone())?;
        let key =
            PackKey::open(&self.objects.keyring, &info.header, info.kind).map_err(RepoError::of(&name))?;
        reader.open_owned(&key, number.into(), block.codec, block.plain_len, sealed).map_err(|error| {
            match error {
                crate::crypto::CryptoError::Corrupt(corrupt) => {
                    RepoError::Corrupt(corrupt.within(format!("{name}, block {number}")).at(start))
                }
                other => RepoError::of(&name)(other),
            }
        })
    }
}
