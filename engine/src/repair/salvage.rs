//! Chunks out of damaged packs. Each is compared with its name before it is believed, also where another pack has a copy.

use crate::id::{ChunkId, ObjectId};
use crate::index::{PackInfo, PackNo, ScratchTable};
use crate::pack::reader::BlockReader;
use crate::pack::{Directory, PackKind};
use crate::planted::{Bug, planted};
use crate::repo::read::ChunkReader;
use crate::repo::write::{Meter, Store};
use crate::repo::{RepoError, Repository};
use crate::storage::Name;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Opened blocks with other copies that are kept, in bytes.
const CACHE: usize = 4 << 20;

const LOST: &[u8] = &[0];

/// What became of a damaged pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFate {
    /// The pack.
    pub id: ObjectId,
    /// What is wrong with it.
    pub wrong: String,
    /// Its chunks, as far as that is known.
    pub chunks: u64,
    /// Those that are sound and stored anew.
    pub saved: u64,
    /// Those of which another pack has a whole copy.
    pub elsewhere: u64,
    /// Those that are lost.
    pub lost: u64,
    /// Plain bytes of those that are lost.
    pub lost_bytes: u64,
    /// Nothing tells what was in it: no segment names it, and what it says of itself cannot be read.
    pub is_unknown: bool,
}

/// Chunks that packs were asked for, and what became of them. Chunks in memory: one block.
pub(super) struct Salvage<'r> {
    repo: &'r Repository,
    others: [(PackKind, ChunkReader<'r>); 3],
    /// What became of each chunk of a damaged pack that no other pack has: [`LOST`], or in which attempt it was saved.
    fates: ScratchTable<'r>,
    attempt: u32,
    /// Chunks that are lost.
    pub lost: u64,
    /// Their plain bytes.
    pub lost_bytes: u64,
}

impl<'r> Salvage<'r> {
    pub fn new(repo: &'r Repository) -> Result<Self, RepoError> {
        let others = PackKind::ALL.map(|kind| (kind, ChunkReader::new(repo, kind.chunks(), CACHE)));
        let fates = repo.index()?.scratch_table();
        Ok(Self { repo, others, fates, attempt: 0, lost: 0, lost_bytes: 0 })
    }

    /// Begins anew with packs that were looked at before: what was saved then may be gone again.
    pub fn begin_attempt(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
    }

    /// Returns whether a chunk was in a damaged pack, and can be had all the same; nothing if it was in none, or is elsewhere.
    pub fn fate(&self, id: &ChunkId) -> Result<Option<bool>, RepoError> {
        Ok(self.fates.get(id.as_bytes())?.map(|fate| fate != LOST))
    }

    /// Notes that a chunk is lost, or was saved in this attempt; returns whether it is not lost.
    fn note(&mut self, id: &ChunkId, len: usize, is_sound: bool) -> Result<bool, RepoError> {
        let before = self.fates.get(id.as_bytes())?;
        let saved = self.attempt.to_le_bytes();
        let is_saved = is_sound || before.as_deref() == Some(&saved);
        let was_lost = before.as_deref() == Some(LOST);
        if is_saved && was_lost {
            self.lost -= 1;
            self.lost_bytes -= len as u64;
        } else if !is_saved && !was_lost {
            self.lost += 1;
            self.lost_bytes += len as u64;
        }
        self.fates.put(id.as_bytes(), if is_saved { &saved } else { LOST })?;
        Ok(is_saved)
    }

    /// Looks at every chunk of a damaged pack. What no pack but those that go has whole is put into the store, if there is one.
    pub fn pack(
        &mut self,
        id: &ObjectId,
        wrong: &str,
        going: &BTreeSet<ObjectId>,
        store: Option<&Store<'_>>,
    ) -> Result<PackFate, RepoError> {
        let (chunks, saved, elsewhere, lost, lost_bytes) = Default::default();
        let wrong = wrong.to_owned();
        let mut fate =
            PackFate { id: *id, wrong, chunks, saved, elsewhere, lost, lost_bytes, is_unknown: false };
        let number = self.repo.index()?.pack_number(id)?;
        let known = match number {
            Some(number) => self.repo.index()?.directory(number)?.map(|directory| (number, directory)),
            None => None,
        };
        let Some((number, directory)) = known else {
            fate.is_unknown = true;
            return Ok(fate);
        };
        let is_there = self.repo.storage().len(&Name::pack(*id))?.is_some();
        let info = self.repo.pack_info(number)?;
        let mut reader = BlockReader::new()?;
        let mut sink = store.map(|store| store.sink(info.kind.chunks(), &Arc::new(Meter::default())));
        for block in 0..directory.blocks().len() {
            let wanted = self.wanted(&directory, block, number, going, &mut fate)?;
            if wanted.is_empty() {
                continue;
            }
            let plain = match is_there {
                true => self.block(&info, block, &mut reader)?,
                false => None,
            };
            for Wanted { id, at, len } in wanted {
                let part = plain.and_then(|plain| plain.get(at..at + len));
                let sound = part.filter(|part| {
                    planted(Bug::RepairBelieves) || self.repo.namer.name(info.kind.chunks(), part) == id
                });
                match (sound, self.note(&id, len, sound.is_some())?) {
                    (Some(part), _) => {
                        fate.saved += 1;
                        if let Some(sink) = &mut sink {
                            sink.put(part)?;
                        }
                    }
                    // Another damaged pack had it.
                    (None, true) => fate.elsewhere += 1,
                    (None, false) => {
                        fate.lost += 1;
                        fate.lost_bytes += len as u64;
                    }
                }
            }
            // Every old block becomes one of its own: so chunks of two modules never come together.
            if let Some(sink) = &mut sink {
                sink.flush()?;
            }
        }
        Ok(fate)
    }

    /// Returns the chunks of a block that no pack has whole but those that go.
    fn wanted(
        &self,
        directory: &Directory,
        block: usize,
        own: PackNo,
        going: &BTreeSet<ObjectId>,
        fate: &mut PackFate,
    ) -> Result<Vec<Wanted>, RepoError> {
        let (mut wanted, mut at) = (Vec::new(), 0);
        for chunk in directory.chunks_of(block) {
            fate.chunks += 1;
            let len = chunk.len as usize;
            if self.is_elsewhere(&chunk.id, own, going)? {
                fate.elsewhere += 1;
            } else {
                wanted.push(Wanted { id: chunk.id, at, len });
            }
            at += len;
        }
        Ok(wanted)
    }

    /// Reads the copies of a chunk in other packs than those that go, until one is what its name says.
    fn is_elsewhere(&self, id: &ChunkId, own: PackNo, going: &BTreeSet<ObjectId>) -> Result<bool, RepoError> {
        for location in self.repo.index()?.copies(id)? {
            // A prune may have removed it meanwhile.
            let Some(info) = self.repo.index()?.pack(location.pack)? else { continue };
            if location.pack == own || going.contains(&info.id) {
                continue;
            }
            let Some((_, reader)) = self.others.iter().find(|(kind, _)| *kind == info.kind) else { continue };
            match reader.block(&location) {
                Ok(block) if reader.chunk_in(&block, id, &location).is_some() => return Ok(true),
                Ok(_) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Reads a block, if it opens.
    fn block<'b>(
        &self,
        info: &PackInfo,
        block: usize,
        reader: &'b mut BlockReader,
    ) -> Result<Option<&'b [u8]>, RepoError> {
        let number = u16::try_from(block).map_err(|_| RepoError::Internal(format!("block {block}")))?;
        match self.repo.read_block(info, number, reader) {
            Ok(plain) => Ok(Some(plain)),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A chunk that is to be had out of a block.
struct Wanted {
    id: ChunkId,
    at: usize,
    len: usize,
}
