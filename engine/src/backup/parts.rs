//! What a run is made of: trees, streams and small things, stored one after another in one session.

use super::compare::Parent as Compared;
use super::dispatch::Earlier;
use super::entries::Entries;
use super::remembered::FileCache;
use super::run::{Meters, Run};
use super::sinks::{Sinks, built};
use super::source::Source;
use super::stream::{self, StreamError, StreamReport, StreamRequest, Streams};
use super::{BackupError, Parent, Problem, dispatch};
use crate::error::Kind;
use crate::id::ObjectId;
use crate::listing::StoredPath;
use crate::map::{Blob, BlobWriter, Builder};
use crate::progress::Event;
use crate::repo::write::{Meter, Store};
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Dump, Form, Listing, Outcome, Section, Totals};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Snapshots that one is compared with at most (`FORMAT.md` 12).
const MAX_PARENTS: usize = 64;

/// A tree to store.
#[derive(Clone, Copy, Debug)]
pub struct PartRequest<'a> {
    /// Module it is of.
    pub module: &'a str,
    /// What it is for; secrets go under keys and into packs of their own.
    pub section: Section,
    /// What to compare with.
    pub parent: Parent,
    /// With [`Parent::Auto`]: only an account of exactly these sources will do. `None`: any of the module.
    pub sources: Option<&'a [Vec<u8>]>,
}

impl PartRequest<'_> {
    /// Returns the parent that is asked for by its name, if one is.
    pub(super) fn named_parent(&self, repo: &Repository) -> Result<Option<Compared>, BackupError> {
        match self.parent {
            Parent::Snapshot(id) => Compared::named(repo, id, self.module, self.section).map(Some),
            Parent::Auto | Parent::None => Ok(None),
        }
    }
}

/// What came of a tree.
#[derive(Clone, Debug)]
pub struct PartReport {
    /// Its entries and their problems.
    pub listing: Listing,
    /// Its figures; bytes stored are 0, as they are known only when the run ends.
    pub totals: Totals,
    /// The snapshot it was compared with.
    pub parent: Option<ObjectId>,
    /// The first [`REPORTED`](super::REPORTED) gaps; the listing's problems have all.
    pub problems: Vec<Problem>,
    /// The first [`REPORTED`](super::REPORTED) notices, such as files that vanished during the run.
    pub notices: Vec<Problem>,
    outcomes: BTreeMap<StoredPath, (Outcome, String)>,
}

impl PartReport {
    /// Returns what became of an entry that had a problem, if it is among the first.
    pub fn outcome(&self, path: &StoredPath) -> Option<(Outcome, &str)> {
        self.outcomes.get(path).map(|(outcome, message)| (*outcome, &message[..]))
    }

    /// Adds listing and figures to the module's account.
    pub fn enter(&self, account: &mut Account) {
        account.listings.push(self.listing);
        account.listings.sort_by_key(|listing| listing.section);
        account.totals.add(&self.totals);
    }

    /// Returns it as a dump of a source that gives a tree. Where its figures tell of problems, the dump is not
    /// whole: what to do with it is the caller's to decide.
    pub fn as_dump(&self, name: &str, kind: &str) -> Dump {
        Dump {
            name: name.to_owned(),
            section: self.listing.section,
            kind: kind.to_owned(),
            form: Form::Listing,
            root: self.listing.root,
            bytes: self.totals.bytes,
            schema: Blob::EMPTY,
        }
    }
}

/// The run as its body sees it. Parts are stored one after another; each is complete when its call returns.
pub struct Parts<'p> {
    run: &'p Run<'p>,
    store: &'p Store<'p>,
    pub(super) parents: Vec<ObjectId>,
    pub(super) meters: Meters,
    /// Kind of the last failure, which the body may have turned into an error of its own.
    pub(super) failed: Option<Kind>,
    expected: (u64, u64),
    told: BTreeSet<String>,
}

impl<'p> Parts<'p> {
    pub(super) fn new(run: &'p Run<'p>, store: &'p Store<'p>) -> Self {
        let (parents, meters, failed, expected, told) = Default::default();
        Self { run, store, parents, meters, failed, expected, told }
    }

    /// Stores a tree.
    ///
    /// Returns when every entry is in the listing: the source is not needed any more, but what is new may still
    /// be on its way into storage. What cannot be read is in the report.
    pub fn store<S: Source>(
        &mut self,
        source: &S,
        request: &PartRequest<'_>,
    ) -> Result<PartReport, BackupError> {
        let stored = self.store_tree(source, request);
        self.note(stored, BackupError::kind)
    }

    /// Stores what `read` gives until its end, as a file in a dump of its own, of the dump's name.
    ///
    /// Takes as much memory as four of the longest chunks, however much comes. A failure of `read` voids only
    /// this dump: the run can go on.
    pub fn stream(
        &mut self,
        request: &StreamRequest<'_>,
        read: &mut dyn std::io::Read,
    ) -> Result<StreamReport, StreamError> {
        self.streams(request, &mut |streams| streams.put(request.name, read).map(drop))
    }

    /// Stores a dump of several files: what `each` puts into it. A failure of `each` voids only this dump.
    pub fn streams(
        &mut self,
        request: &StreamRequest<'_>,
        each: &mut dyn FnMut(&mut Streams<'_>) -> Result<(), StreamError>,
    ) -> Result<StreamReport, StreamError> {
        let stored = self.sinks(request.module, request.section).map_err(StreamError::from).and_then(
            |(sinks, meter)| stream::store(self.run.repo, &sinks, &meter, request, each, self.run.events),
        );
        let stored = self.until_failure(stored);
        self.note(stored, StreamError::kind)
    }

    /// Stores the entries that `fill` gives, in the order of their keys, as a dump of records (`FORMAT.md` 11).
    ///
    /// If `fill` fails, or one entry is refused, this dump is void; the run can go on unless the repository failed.
    /// The schema is to be put into the dump by the caller ([`blob`](Self::blob)).
    pub fn records<E: From<BackupError>>(
        &mut self,
        request: &StreamRequest<'_>,
        fill: impl FnOnce(&mut Entries<'_>) -> Result<(), E>,
    ) -> Result<StreamReport, E> {
        let made = self.sinks(request.module, request.section).map_err(BackupError::from);
        let (sinks, meter) = self.note(made, BackupError::kind)?;
        let before = (meter.chunks_new(), meter.bytes_new());
        let (saver, target) = (sinks.saver(), self.run.repo.leaf_target());
        let boundary = self.run.repo.objects.keyring.further("dedup 2026-11-21 boundary");
        let boundary = boundary.map_err(|error| BackupError::from(RepoError::from(error)))?;
        let mut entries = Entries::new(Builder::new(&saver, &boundary, target), self.run.events);
        let filled = fill(&mut entries);
        self.failed = entries.failed.or(self.failed);
        let filled = filled.map(|()| entries.finish());
        // Also of what broke off: what was taken must not be missing where another part has it too.
        let flushed = self.until_failure(saver.flush()).map_err(BackupError::from);
        self.note(flushed, BackupError::kind)?;
        let root = filled.and_then(|root| Ok(self.note(root, BackupError::kind)?));
        let root = root?;
        let totals = Totals {
            entries: root.entries,
            bytes: root.value_bytes,
            bytes_read: root.value_bytes,
            chunks_new: meter.chunks_new() - before.0,
            bytes_new: meter.bytes_new() - before.1,
            ..Totals::default()
        };
        let dump = Dump {
            name: request.name.to_owned(),
            section: request.section,
            kind: request.kind.to_owned(),
            form: Form::Records,
            root,
            bytes: root.value_bytes,
            schema: Blob::EMPTY,
        };
        Ok(StreamReport { dump, totals })
    }

    /// Stores a small thing that an account refers to, such as a manifest, which belongs to [`Section::Config`],
    /// or the schema of a dump, which belongs to the dump's section.
    pub fn blob(&mut self, module: &str, section: Section, bytes: &[u8]) -> Result<Blob, BackupError> {
        let stored = self.sinks(module, section).and_then(|(sinks, _)| {
            let saver = sinks.saver();
            let mut writer = BlobWriter::new(&saver);
            let blob = built(writer.write(bytes).and_then(|()| writer.finish()));
            saver.flush()?;
            blob
        });
        let stored = self.until_failure(stored.map_err(BackupError::from));
        self.note(stored, BackupError::kind)
    }

    /// Notes why storing what somebody else read has failed.
    pub(crate) fn fails(&mut self, kind: Kind) {
        self.failed = Some(kind);
    }

    /// Returns how many chunks of a module were new so far, and their plain bytes.
    pub(crate) fn new_of(&self, module: &str) -> (u64, u64) {
        self.meters.get(module).map_or((0, 0), |meter| (meter.chunks_new(), meter.bytes_new()))
    }

    fn store_tree<S: Source>(
        &mut self,
        source: &S,
        request: &PartRequest<'_>,
    ) -> Result<PartReport, BackupError> {
        let (sinks, meter) = self.sinks(request.module, request.section)?;
        let parent = self.parent(request)?;
        if let Some(parent) = &parent
            && self.told.insert(request.module.to_owned())
        {
            let (totals, (entries, bytes)) = (parent.totals(), &mut self.expected);
            *entries = entries.saturating_add(totals.entries);
            *bytes = bytes.saturating_add(totals.bytes);
            self.run.events.event(Event::Expect { entries: *entries, bytes: *bytes, complete: false });
        }
        let (repo, asked) = (self.run.repo, self.run.request);
        let before = (meter.chunks_new(), meter.bytes_new());
        let threads = repo.budget.threads(asked.threads, asked.level);
        // Who cannot read has no parent, and remembers what it stored.
        let cache = match repo.can_read() {
            true => None,
            false => {
                let (host, began) = (&asked.host, asked.time);
                Some(FileCache::new(repo, host, request.module, request.section, began)?)
            }
        };
        let earlier = match (&parent, &cache) {
            (Some(parent), _) => Earlier::Parent(parent),
            (None, Some(cache)) if request.parent != Parent::None => Earlier::Cache(cache),
            (None, _) => Earlier::Nothing,
        };
        let folded = dispatch::run(repo, source, &sinks, earlier, cache.as_ref(), threads, self.run.events);
        let mut folded = self.until_failure(folded.map_err(BackupError::from))?;
        if let Some(cache) = &cache {
            cache.flush()?;
        }
        folded.totals.chunks_new = meter.chunks_new() - before.0;
        folded.totals.bytes_new = meter.bytes_new() - before.1;
        Ok(PartReport {
            listing: Listing { section: request.section, root: folded.root, problems: folded.problem_root },
            totals: folded.totals,
            parent: parent.map(|parent| parent.id),
            problems: folded.problems,
            notices: folded.notices,
            outcomes: folded.outcomes,
        })
    }

    /// Makes the sinks of a part, if the key in use can store what is in it.
    pub(crate) fn sinks(
        &mut self,
        module: &str,
        section: Section,
    ) -> Result<(Sinks<'p>, Arc<Meter>), RepoError> {
        self.run.repo.assert_stores(section.class())?;
        self.store.assert_storing()?;
        let meter = Arc::clone(self.meters.entry(module.to_owned()).or_default());
        Ok((Sinks::new(self.store, section.class(), Arc::clone(&meter)), meter))
    }

    /// Finds the parent of a part, and notes that the snapshot will depend on it.
    fn parent(&mut self, request: &PartRequest<'_>) -> Result<Option<Compared>, BackupError> {
        let run = self.run;
        let found = match request.parent {
            Parent::None => None,
            Parent::Snapshot(_) => request.named_parent(run.repo)?.filter(|parent| run.trusts(&parent.id)),
            Parent::Auto if !run.repo.can_read() => None,
            Parent::Auto => match run.parents()? {
                Some(known) => known.newest(run.repo, request.module, request.section, request.sources)?,
                None => None,
            },
        };
        let Some(parent) = found else { return Ok(None) };
        if !self.parents.contains(&parent.id) {
            if self.parents.len() == MAX_PARENTS {
                return Ok(None);
            }
            self.parents.push(parent.id);
        }
        Ok(Some(parent))
    }

    /// Returns why storing has stopped, if it has: what a part made of that is not the cause.
    fn until_failure<T, E: From<RepoError>>(&self, result: Result<T, E>) -> Result<T, E> {
        self.store.assert_storing()?;
        result
    }

    fn note<T, E>(&mut self, result: Result<T, E>, kind: impl FnOnce(&E) -> Kind) -> Result<T, E> {
        result.inspect_err(|error| self.failed = Some(kind(error)))
    }
}
