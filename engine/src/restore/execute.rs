//! Executing windows: compare what is there, fetch blocks in the order of the packs, verify, write, finish.

use super::places::places;
use super::plan::{FileTask, Piece, Planned, Window, fatal, full};
use super::sink::{Sink, SinkError};
use super::{RestoreError, RestoreRequest, Tally};
use crate::format::MAX_CHUNK;
use crate::listing::{Body, ContentReader, Part, StoredPath};
use crate::map::Class;
use crate::pack::reader::BlockReader;
use crate::planted::{Bug, planted};
use crate::repo::read::ChunkReader;
use crate::repo::write::lock;
use crate::repo::{RepoError, Repository};
use crossbeam::channel::Receiver;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// Executes windows until there are no more.
pub(super) fn run<K: Sink>(
    repo: &Repository,
    (reader, class): (&ChunkReader<'_>, Class),
    sink: &K,
    request: &RestoreRequest<'_>,
    tally: &Tally<'_>,
    windows: Receiver<Window<K>>,
) -> Result<(), RestoreError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(repo.budget.openers(request.threads)).build();
    let pool = pool.map_err(|error| RepoError::Internal(format!("threads: {error}")))?;
    let data = ChunkReader::new(repo, class.contents(), 4 << 20);
    let executor = Executor { repo, reader, data, sink, tally };
    for window in windows {
        pool.install(|| executor.window(window))?;
    }
    Ok(())
}

struct Executor<'a, K: Sink> {
    repo: &'a Repository,
    reader: &'a ChunkReader<'a>,
    /// For what does not come in the order of the packs: copies of damaged chunks, links that cannot be made.
    data: ChunkReader<'a>,
    sink: &'a K,
    tally: &'a Tally<'a>,
}

impl<K: Sink> Executor<'_, K> {
    fn window(&self, mut window: Window<K>) -> Result<(), RestoreError> {
        let kept: Vec<bool> =
            window.files.par_iter().map(|task| self.begin(task)).collect::<Result<_, RestoreError>>()?;
        window.pieces.retain(|piece| !kept[piece.file]);
        window.pieces.sort_by_key(|piece| (piece.location.pack, piece.location.place.block));
        let groups: Vec<&[Piece]> = window
            .pieces
            .chunk_by(|a, b| {
                (a.location.pack, a.location.place.block) == (b.location.pack, b.location.place.block)
            })
            .collect();
        groups.par_iter().try_for_each_init(BlockReader::new, |block_reader, group| {
            if self.tally.events.cancelled() {
                return Err(RestoreError::from(RepoError::Cancelled));
            }
            let Ok(block_reader) = block_reader else {
                return Err(RepoError::Internal("no memory for decompression".into()).into());
            };
            self.block(group, &window.files, block_reader)
        })?;
        for task in window.files.iter().filter(|task| task.failed.load(Relaxed)) {
            if let Some(file) = lock(&task.open).take() {
                self.sink.abandon(file, &task.entry.item());
            }
        }
        for (first, planned) in window.links.drain(..) {
            self.link(&first, planned)?;
        }
        for directory in &window.left {
            match self.sink.finish_directory(&directory.item()) {
                Ok(()) => {}
                Err(error) => self.failed(&directory.path, &error)?,
            }
            self.tally.done(&directory.path, 1, 0);
        }
        Ok(())
    }

    fn failed(&self, path: &StoredPath, error: &SinkError) -> Result<(), RestoreError> {
        fatal(error)?;
        self.tally.problem(path, error.to_string());
        Ok(())
    }

    /// Compares a file that was there and finishes empty ones; `true` if its pieces need not be fetched.
    fn begin(&self, task: &FileTask<K>) -> Result<bool, RestoreError> {
        if task.failed.load(Relaxed) {
            return Ok(true);
        }
        if let Some(existing) = lock(&task.existing).take()
            && self.is_equal(&task.entry, &existing)
        {
            task.left.store(0, Relaxed);
            match self.sink.keep(existing, &task.entry.item()) {
                Ok(changed) => self.tally.with(|report| report.unchanged += u64::from(!changed)),
                Err(error) => self.failed(&task.entry.path, &error)?,
            }
            self.tally.done(&task.entry.path, 1, task.entry.node.size());
            return Ok(true);
        }
        let Body::File { content, .. } = &task.entry.node.body else { return Ok(true) };
        if content.is_empty() && lock(&task.open).is_none() {
            match self.sink.create(&task.entry.item(), task.entry.node.size()) {
                Ok(file) => self.finish(task, file)?,
                Err(error) => self.failed(&task.entry.path, &error)?,
            }
        }
        // A file kept in an earlier window goes on here without anything left to write.
        Ok(task.left.load(Relaxed) == 0)
    }

    /// Reads the file that is there and compares every chunk by its name.
    fn is_equal(&self, entry: &Planned, existing: &K::Existing) -> bool {
        let Body::File { content, holes, size } = &entry.node.body else { return false };
        let mut parts = ContentReader::new(self.reader, content);
        let mut buffer = Vec::new();
        while let Ok(next) = parts.next() {
            let Some((offset, part)) = next else { return self.are_zero(existing, holes, *size) };
            buffer.resize(part.len as usize, 0);
            let filled = places(holes, offset, part.len)
                .into_iter()
                .all(|(at, range)| self.read_exact(existing, &mut buffer[range], at));
            if !filled || self.repo.namer.name(self.data.kind(), &buffer) != part.id {
                return false;
            }
        }
        false
    }

    fn are_zero(&self, existing: &K::Existing, holes: &[Range<u64>], size: u64) -> bool {
        let mut buffer = vec![0; 64 << 10];
        for hole in holes {
            let (mut at, end) = (hole.start, hole.end.min(size));
            while at < end {
                match self.sink.next_data(existing, at) {
                    Some(data) if data < end => at = at.max(data),
                    _ => break,
                }
                let len = buffer.len().min((end - at) as usize);
                if !self.read_exact(existing, &mut buffer[..len], at)
                    || buffer[..len].iter().any(|byte| *byte != 0)
                {
                    return false;
                }
                at += len as u64;
            }
        }
        true
    }

    fn read_exact(&self, existing: &K::Existing, mut buffer: &mut [u8], mut at: u64) -> bool {
        while !buffer.is_empty() {
            match self.sink.read_existing(existing, buffer, at) {
                Ok(0) => return false,
                Ok(len) => {
                    buffer = &mut buffer[len..];
                    at += len as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Fetches one block and writes every piece of it.
    fn block(
        &self,
        pieces: &[Piece],
        files: &[Arc<FileTask<K>>],
        block_reader: &mut BlockReader,
    ) -> Result<(), RestoreError> {
        let place = pieces[0].location;
        let info = self.repo.pack_info(place.pack);
        let plain = info.and_then(|info| self.repo.read_block(&info, place.place.block, block_reader));
        for piece in pieces {
            let task = &files[piece.file];
            if task.failed.load(Relaxed) {
                continue;
            }
            let start = piece.location.place.offset as usize;
            let end = start + piece.location.place.len as usize;
            let chunk = plain.as_ref().ok().and_then(|plain| plain.get(start..end));
            let is_named = |chunk: &&[u8]| self.repo.namer.name(self.data.kind(), chunk) == piece.id;
            let chunk = chunk.filter(|chunk| planted(Bug::SkipChunkName) || is_named(chunk));
            let written = match chunk {
                Some(chunk) => self.write(task, piece, chunk),
                // Damaged here: another pack may hold the chunk.
                None => match self.data.read(&piece.id, MAX_CHUNK) {
                    Ok(chunk) => self.write(task, piece, &chunk),
                    Err(error) => {
                        if !task.failed.swap(true, AcqRel) {
                            self.tally.unread(&task.entry.path, plain.as_ref().err().unwrap_or(&error));
                        }
                        Ok(())
                    }
                },
            };
            written?;
        }
        Ok(())
    }

    fn give_up(&self, task: &FileTask<K>, message: String) {
        if !task.failed.swap(true, AcqRel) {
            self.tally.problem(&task.entry.path, message);
        }
    }

    fn write(&self, task: &FileTask<K>, piece: &Piece, chunk: &[u8]) -> Result<(), RestoreError> {
        let Body::File { holes, size, .. } = &task.entry.node.body else { return Ok(()) };
        let item = task.entry.item();
        let mut open = lock(&task.open);
        // Whoever waited for one that failed must not begin the file anew.
        if task.failed.load(Acquire) {
            return Ok(());
        }
        let file = match open.take() {
            Some(file) => file,
            None => match self.sink.create(&item, *size) {
                Ok(file) => file,
                Err(error) => {
                    fatal(&error)?;
                    self.give_up(task, error.to_string());
                    return Ok(());
                }
            },
        };
        for (offset, range) in places(holes, piece.stream_offset, chunk.len() as u64) {
            if let Err(error) = self.sink.write_at(&file, &chunk[range], offset) {
                self.sink.abandon(file, &item);
                full(&error)?;
                self.give_up(task, format!("cannot write: {error}"));
                return Ok(());
            }
        }
        self.tally.with(|report| report.bytes_written += chunk.len() as u64);
        if task.left.fetch_sub(1, AcqRel) == 1 {
            drop(open);
            return self.finish(task, file);
        }
        *open = Some(file);
        Ok(())
    }

    fn finish(&self, task: &FileTask<K>, file: K::File) -> Result<(), RestoreError> {
        if let Err(error) = self.sink.finish(file, &task.entry.item()) {
            fatal(&error)?;
            self.give_up(task, error.to_string());
        }
        self.tally.done(&task.entry.path, 1, task.entry.node.size());
        Ok(())
    }

    /// Makes a further name of a file, or writes the content again where that cannot be.
    fn link(&self, first: &StoredPath, planned: Planned) -> Result<(), RestoreError> {
        match self.sink.link(first, &planned.item()) {
            Ok(true) => {
                self.tally.done(&planned.path, 1, 0);
                return Ok(());
            }
            Ok(false) => {}
            Err(error) => return self.failed(&planned.path, &error),
        }
        if let Err(error) = self.sink.prepare(&planned.item()) {
            return self.failed(&planned.path, &error);
        }
        self.copy(&planned)?;
        self.tally.done(&planned.path, 1, planned.node.size());
        Ok(())
    }

    /// Writes a file chunk by chunk; the rare way.
    fn copy(&self, planned: &Planned) -> Result<(), RestoreError> {
        let Body::File { content, holes, size } = &planned.node.body else { return Ok(()) };
        let item = planned.item();
        let file = match self.sink.create(&item, *size) {
            Ok(file) => file,
            Err(error) => return self.failed(&planned.path, &error),
        };
        let mut parts = ContentReader::new(self.reader, content);
        loop {
            let next = parts.next().and_then(|next| {
                let chunk = |(offset, part): (u64, Part)| Ok((offset, self.data.read(&part.id, MAX_CHUNK)?));
                next.map(chunk).transpose()
            });
            match next {
                Ok(Some((offset, chunk))) => {
                    for (at, range) in places(holes, offset, chunk.len() as u64) {
                        if let Err(error) = self.sink.write_at(&file, &chunk[range], at) {
                            self.sink.abandon(file, &item);
                            full(&error)?;
                            self.tally.problem(&planned.path, format!("cannot write: {error}"));
                            return Ok(());
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.sink.abandon(file, &item);
                    self.tally.unread(&planned.path, &error);
                    return Ok(());
                }
            }
        }
        match self.sink.finish(file, &item) {
            Ok(()) => Ok(()),
            Err(error) => self.failed(&planned.path, &error),
        }
    }
}
