//! Blocks of a pack are opened by several threads ahead of who hands them on, and handed on in their order.

use crate::compress::Codec;
use crate::error::Corrupt;
use crate::index::PackInfo;
use crate::pack::Chunk;
use crate::pack::reader::BlockReader;
use crate::repo::{RepoError, Repository};
use crossbeam::channel::{Receiver, bounded};
use std::collections::VecDeque;
use std::ops::Range;

/// A block, and what is needed of it: chunks, and where they lie in its plaintext.
pub(super) struct Block {
    pub number: u16,
    pub codec: Codec,
    /// How many chunks it has in all.
    pub chunks: u32,
    pub needed: Vec<(Chunk, Range<usize>)>,
}

/// Threads that open blocks, and a reader for each block that is open at a time.
pub(super) struct Openers {
    pool: rayon::ThreadPool,
    idle: Vec<BlockReader>,
    /// How many blocks are open at a time.
    ahead: usize,
}

/// What comes back of a block.
type Opened = (Block, BlockReader, Result<(), RepoError>);

impl Openers {
    /// Starts threads, each of which may have a block open.
    pub fn new(threads: usize) -> Result<Self, RepoError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| RepoError::Internal(format!("threads: {error}")))?;
        Ok(Self { pool, idle: Vec::new(), ahead: threads })
    }

    /// Opens blocks of one pack, compares what is needed with its name, and hands them on in their order.
    /// The first error ends it: its own, that of `blocks`, or that of `hand_on`.
    pub fn each(
        &mut self,
        repo: &Repository,
        info: &PackInfo,
        blocks: impl Iterator<Item = Result<Block, RepoError>>,
        mut hand_on: impl FnMut(Block, &mut BlockReader) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        let Self { pool, idle, ahead } = self;
        // Waits for a block, hands it on, and gives its reader back.
        let mut end = |open: Receiver<Opened>| -> Result<BlockReader, RepoError> {
            let lost = |_| RepoError::Internal("a thread that opens blocks panicked".into());
            let (block, mut reader, opened) = open.recv().map_err(lost)?;
            opened?;
            hand_on(block, &mut reader)?;
            Ok(reader)
        };
        pool.in_place_scope(|scope| {
            let mut open = VecDeque::new();
            for block in blocks {
                let block = block?;
                let reader = match open.len() == *ahead {
                    true => open.pop_front().map(&mut end).transpose()?,
                    false => idle.pop(),
                };
                let mut reader = reader.map_or_else(BlockReader::new, Ok)?;
                let (tell, told) = bounded(1);
                open.push_back(told);
                scope.spawn(move |_| {
                    let opened = open_block(repo, info, &block, &mut reader);
                    // Nobody listens when another block has ended it.
                    drop(tell.send((block, reader, opened)));
                });
            }
            for last in open {
                idle.push(end(last)?);
            }
            Ok(())
        })
    }
}

/// Opens a block and compares what is needed of it with its name.
fn open_block(
    repo: &Repository,
    info: &PackInfo,
    block: &Block,
    reader: &mut BlockReader,
) -> Result<(), RepoError> {
    let plain = repo.read_block(info, block.number, reader)?;
    for (chunk, range) in &block.needed {
        let wrong = || Corrupt::new(format!("chunk {}", chunk.id), "it is not what its name says");
        let part = plain.get(range.clone()).ok_or_else(wrong)?;
        if repo.namer.name(info.kind.chunks(), part) != chunk.id {
            return Err(wrong().into());
        }
    }
    Ok(())
}
