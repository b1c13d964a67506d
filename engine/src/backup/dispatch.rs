//! Walk, compare, hand out: everything before an entry's content is read.

use super::compare::{Known, Merge, Parent, Was};
use super::fold::{Fold, Folded, Item};
use super::links::Links;
use super::read::{Job, Task, read_jobs};
use super::remembered::{FileCache, Remembered};
use super::sinks::Sinks;
use super::source::{EntryKind, Found, Source, Stat, Stop};
use crate::id::{ChunkId, LinkGroup};
use crate::index::{CachedPage, PackNo};
use crate::listing::{Body, ContentReader, Node, StoredPath};
use crate::map::{Class, LoadChunk};
use crate::planted::{Bug, planted};
use crate::progress::Events;
use crate::repo::read::ChunkReader;
use crate::repo::write::{Failure, Store, lock};
use crate::repo::{RepoError, Repository};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::cell::RefCell;
use std::sync::{Condvar, Mutex};
use std::thread;

/// Entries of the walk that travel together.
const WALKED: usize = 256;
/// Entries of one job, unless they are large.
const JOB_ENTRIES: usize = 64;
/// Bytes of one job, unless a single file is larger.
const JOB_BYTES: u64 = 1 << 20;

/// A numbered run of entries for the fold.
pub(super) type Numbered = (u64, Vec<Item>);

/// How far the fold has come; dispatch waits when it is too far ahead.
pub(super) struct Pace {
    /// Most entries between dispatch and fold.
    window: u64,
    folded: Mutex<u64>,
    moved: Condvar,
}

impl Pace {
    fn new(window: u64) -> Self {
        Self { window, folded: Mutex::default(), moved: Condvar::new() }
    }

    /// Tells that all entries below `number` are folded.
    pub fn advance(&self, number: u64) {
        *lock(&self.folded) = number;
        self.moved.notify_all();
    }

    /// Waits until entry `number` is within the window.
    fn wait_for(&self, number: u64) {
        let mut folded = lock(&self.folded);
        while number.saturating_sub(*folded) > self.window {
            folded = self.moved.wait(folded).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// What entries are compared with.
#[derive(Clone, Copy)]
pub(super) enum Earlier<'e> {
    /// Nothing: everything is read.
    Nothing,
    /// A listing.
    Parent(&'e Parent),
    /// What is remembered, by a client that cannot read listings.
    Cache(&'e FileCache<'e>),
}

/// Runs walk, dispatch, readers and fold; returns what the fold made of it. What is read is remembered in `cache`.
pub(super) fn run<S: Source>(
    repo: &Repository,
    source: &S,
    sinks: &Sinks<'_>,
    earlier: Earlier<'_>,
    cache: Option<&FileCache<'_>>,
    readers: usize,
    events: &dyn Events,
) -> Result<Folded, RepoError> {
    let (chunker, store) = (&repo.chunker()?, sinks.store());
    let fold = Fold::new(repo, sinks, events)?;
    let failure = &Failure::default();
    let pace = &Pace::new(repo.budget.entries());
    let (walked, found) = bounded::<Vec<Found<S::Handle>>>(4);
    let (jobs, job_queue) = bounded::<Job<S::Handle>>(2 * readers);
    let (results, to_fold) = bounded::<Numbered>(4 * readers + 4);
    thread::scope(|scope| {
        scope.spawn(move || walk(source, &walked));
        for _ in 0..readers {
            let (job_queue, results) = (job_queue.clone(), results.clone());
            scope.spawn(move || {
                let read = read_jobs(source, sinks, chunker, cache, events, &job_queue, &results);
                read.unwrap_or_else(|error| failure.set(error));
            });
        }
        drop(job_queue);
        let folding = scope.spawn(move || {
            let folded = fold.run(&to_fold, pace);
            // Whoever waits for the fold must not wait for ever if it failed.
            pace.advance(u64::MAX);
            folded
        });
        let compared = matches!(earlier, Earlier::Parent(_)).then(|| sinks.class());
        let dispatched = Dispatch::new(repo, store, compared, events, pace, jobs, results)
            .and_then(|mut dispatch| dispatch.run(earlier, &found));
        drop(found);
        let folded = match folding.join() {
            Ok(folded) => folded,
            Err(_) => Err(RepoError::Internal("the folding thread panicked".into())),
        };
        // A reader's or the dispatcher's error is the cause; the fold only sees that entries are missing.
        if let Some(error) = failure.take() {
            return Err(error);
        }
        dispatched?;
        folded
    })
}

fn walk<S: Source>(source: &S, out: &Sender<Vec<Found<S::Handle>>>) {
    let mut batch = Vec::with_capacity(WALKED);
    let walked = source.walk(&mut |found| {
        batch.push(found);
        if batch.len() < WALKED {
            return Ok(());
        }
        out.send(std::mem::replace(&mut batch, Vec::with_capacity(WALKED))).map_err(|_| Stop)
    });
    if walked.is_ok() {
        // The receiver is gone only if it failed, and it knows why.
        let _ = out.send(batch);
    }
}

/// Loads the lists of a content, and remembers which: the snapshot will depend on their packs as well.
struct Lists<'a, 'r> {
    reader: &'a ChunkReader<'r>,
    loaded: RefCell<Vec<ChunkId>>,
}

impl LoadChunk for Lists<'_, '_> {
    type Error = RepoError;

    fn load(&self, id: &ChunkId, max_len: u32) -> Result<Vec<u8>, RepoError> {
        self.loaded.borrow_mut().push(*id);
        self.reader.load(id, max_len)
    }
}

/// What one entry is compared with.
enum Compared<'c, 'a, 'r> {
    Nothing,
    Merge(&'c mut Merge<'a, 'r>),
    Page(&'c FileCache<'c>, Option<CachedPage>),
}

struct Dispatch<'a, 's, H> {
    repo: &'a Repository,
    store: &'a Store<'s>,
    events: &'a dyn Events,
    pace: &'a Pace,
    jobs: Sender<Job<H>>,
    results: Sender<Numbered>,
    reader: Option<ChunkReader<'a>>,
    link_key: crate::crypto::Secret,
    next: u64,
    job: Vec<(StoredPath, Stat, Task<H>)>,
    job_bytes: u64,
    ready: Vec<Item>,
    links: Links<'a>,
    last_pack: Option<PackNo>,
}

impl<'a, 's, H: Send> Dispatch<'a, 's, H> {
    fn new(
        repo: &'a Repository,
        store: &'a Store<'s>,
        compared: Option<Class>,
        events: &'a dyn Events,
        pace: &'a Pace,
        jobs: Sender<Job<H>>,
        results: Sender<Numbered>,
    ) -> Result<Self, RepoError> {
        Ok(Self {
            repo,
            store,
            events,
            pace,
            jobs,
            results,
            reader: compared.map(|class| ChunkReader::of_maps(repo, class)),
            link_key: repo.objects.keyring.further("dedup 2026-11-21 hard link")?,
            next: 0,
            job: Vec::new(),
            job_bytes: 0,
            ready: Vec::new(),
            links: Links::new(repo)?,
            last_pack: None,
        })
    }

    fn run(&mut self, earlier: Earlier<'_>, found: &Receiver<Vec<Found<H>>>) -> Result<(), RepoError> {
        // The merge borrows the reader, and `self` is borrowed while it runs.
        let reader = self.reader.take();
        let mut merge = match (earlier, &reader) {
            (Earlier::Parent(parent), Some(reader)) => Some(parent.merge(self.repo, reader, self.events)?),
            _ => None,
        };
        let cache = if let Earlier::Cache(cache) = earlier { Some(cache) } else { None };
        for batch in found {
            if self.events.cancelled() {
                return Err(RepoError::Cancelled);
            }
            if self.store.has_failed() {
                return Ok(());
            }
            let pages = cache.map_or(Ok(Vec::new()), |cache| cache.pages(&batch))?;
            let mut pages = pages.into_iter();
            for entry in batch {
                let compared = match (&mut merge, cache) {
                    (Some(merge), _) => Compared::Merge(merge),
                    (None, Some(cache)) => Compared::Page(cache, pages.next().flatten()),
                    (None, None) => Compared::Nothing,
                };
                if !self.entry(entry, compared, reader.as_ref())? {
                    return Ok(());
                }
            }
        }
        self.send_job();
        self.send_ready();
        Ok(())
    }

    /// Takes one entry; `false` if a later stage is gone.
    fn entry(
        &mut self,
        found: Found<H>,
        compared: Compared<'_, '_, '_>,
        reader: Option<&ChunkReader<'_>>,
    ) -> Result<bool, RepoError> {
        let (path, stat, handle) = match found {
            Found::Problem { path, outcome, message } => {
                return Ok(self.ready(Item::Problem { path, outcome, message }));
            }
            Found::Entry { path, stat, handle } => (path, stat, handle),
        };
        let (known, remembered) = match compared {
            Compared::Merge(merge) => (merge.find(path.as_key(), &stat)?, None),
            Compared::Page(cache, page) => {
                let (known, remembered) = cache.find(&path, &stat, page);
                (known, remembered.map(|remembered| (cache, remembered)))
            }
            Compared::Nothing => (Known::New, None),
        };
        let was = match known {
            Known::New => None,
            Known::Changed(was) => Some(was),
            Known::Same(node, value) => {
                let is_as_it_was = (self.is_rightly_linked(&path, &stat, &node)?
                    || planted(Bug::ForgetLinkGroup))
                    && match &remembered {
                        None => planted(Bug::TrustParent) || self.is_stored(&node, reader)?,
                        Some(_) if planted(Bug::TrustFileCache) => true,
                        Some((cache, remembered)) => self.is_all_stored(&node, cache, remembered)?,
                    };
                if is_as_it_was {
                    if let Some((cache, remembered)) = remembered {
                        cache.keep(remembered)?;
                    }
                    if let Some(group) = node.link {
                        self.links.note(&stat, group)?;
                    }
                    return Ok(self.ready(Item::Kept { path, value, node: *node, inode: stat.ino }));
                }
                Some(Was::of(&value))
            }
        };
        let mut group = None;
        if stat.nlink > 1 && stat.kind != EntryKind::Directory {
            group = Some(self.links.note(&stat, self.group_of(&path))?);
        }
        Ok(self.task(path, stat, Task { handle, group, was }))
    }

    fn group_of(&self, path: &StoredPath) -> LinkGroup {
        let hash = blake3::keyed_hash(&self.link_key, path.as_key());
        let mut group = [0; 16];
        group.copy_from_slice(&hash.as_bytes()[..16]);
        LinkGroup::from_bytes(group)
    }

    /// Returns whether a node has the group that its inode has in this run: that of the first name met. A
    /// group is named for a path, and something else may be at that path by now.
    fn is_rightly_linked(&self, path: &StoredPath, stat: &Stat, node: &Node) -> Result<bool, RepoError> {
        let Some(group) = node.link else { return Ok(true) };
        Ok(group == self.links.group(stat)?.unwrap_or_else(|| self.group_of(path)))
    }

    /// Returns whether every chunk of an unchanged entry is known to be stored: the parent alone does not
    /// vouch for packs that were lost since.
    fn is_stored(&mut self, node: &Node, reader: Option<&ChunkReader<'_>>) -> Result<bool, RepoError> {
        if let crate::listing::Xattrs::Chunk { id, .. } = &node.xattrs
            && !self.store.knows(id, &mut self.last_pack)?
        {
            return Ok(false);
        }
        let Body::File { content, .. } = &node.body else { return Ok(true) };
        if content.level == 0 {
            for part in &content.parts {
                if !self.store.knows(&part.id, &mut self.last_pack)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let Some(reader) = reader else { return Ok(false) };
        let lists = Lists { reader, loaded: RefCell::default() };
        let mut parts = ContentReader::new(&lists, content);
        loop {
            let part = match parts.next() {
                Ok(part) => part,
                // A list that cannot be read any more: the file is read again instead, which heals it.
                Err(_) => return Ok(false),
            };
            for id in lists.loaded.take().iter().chain(part.as_ref().map(|(_, part)| &part.id)) {
                if !self.store.knows(id, &mut self.last_pack)? {
                    return Ok(false);
                }
            }
            if part.is_none() {
                return Ok(true);
            }
        }
    }

    /// The same for an entry that is remembered: its lists cannot be read, and their ids have pages of their own.
    fn is_all_stored(
        &mut self,
        node: &Node,
        cache: &FileCache<'_>,
        remembered: &Remembered,
    ) -> Result<bool, RepoError> {
        let Some(pages) = &remembered.pages else { return self.is_stored(node, None) };
        if let crate::listing::Xattrs::Chunk { id, .. } = &node.xattrs
            && !self.store.knows(id, &mut self.last_pack)?
        {
            return Ok(false);
        }
        let (store, last_pack) = (self.store, &mut self.last_pack);
        cache.each_id(pages, &mut |id| store.knows(id, last_pack))
    }

    fn ready(&mut self, item: Item) -> bool {
        let job_went = self.job.is_empty() || self.send_job();
        self.ready.push(item);
        job_went && (self.ready.len() < WALKED || self.send_ready())
    }

    fn task(&mut self, path: StoredPath, stat: Stat, task: Task<H>) -> bool {
        let ready_went = self.ready.is_empty() || self.send_ready();
        self.job_bytes = self.job_bytes.saturating_add(stat.size);
        self.job.push((path, stat, task));
        let full = self.job.len() >= JOB_ENTRIES || self.job_bytes >= JOB_BYTES;
        ready_went && (!full || self.send_job())
    }

    fn send_job(&mut self) -> bool {
        if self.job.is_empty() {
            return true;
        }
        let entries = std::mem::take(&mut self.job);
        let first = self.next;
        self.next += entries.len() as u64;
        self.job_bytes = 0;
        self.pace.wait_for(self.next);
        self.jobs.send(Job { first, entries }).is_ok()
    }

    fn send_ready(&mut self) -> bool {
        if self.ready.is_empty() {
            return true;
        }
        let items = std::mem::take(&mut self.ready);
        let first = self.next;
        self.next += items.len() as u64;
        self.pace.wait_for(self.next);
        self.results.send((first, items)).is_ok()
    }
}
