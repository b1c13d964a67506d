//! The walk: depth first, children in byte order, by directory handles, without recursion.

use super::dirs::{Access, Dir, Identity, Opened};
use super::excludes::{Skipped, is_cache};
use super::meta::stat_of;
use super::names::{CACHE_TAG, Listed, Lister, MAX_GATHERED_BYTES, Names};
use super::source::{FileHandle, FilesSource};
use super::spill::Spill;
use dedup_engine::backup::source::{EntryKind, Found, Stat, Stop, Visit};
use dedup_engine::format::{MAX_COMPONENT, MAX_KEY};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Outcome;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, statx};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One walk over all roots.
pub(super) struct Walk<'a, 'v> {
    source: &'a FilesSource,
    visit: &'a mut Visit<'v, FileHandle>,
    skipped: Skipped,
    lister: Lister,
    levels: Vec<Level>,
    /// The directory of the last level.
    here: StoredPath,
    /// The same with slashes and one at the end, kept only if there are patterns to match.
    slashes: Vec<u8>,
    /// Its descriptor, in use as long as its children are looked at.
    top: Option<Arc<OwnedFd>>,
}

/// A directory on the way down to where the walk is.
struct Level {
    dir: Arc<Dir>,
    names: Names,
    scope: Scope,
}

/// What of a directory is walked.
#[derive(Clone)]
struct Scope {
    /// All of it, because it is a root or below one; else only what leads to roots.
    whole: bool,
    /// The roots that lie below it, by their numbers.
    roots: Range<usize>,
    /// The device that a walk of one file system stays on.
    device: u64,
}

impl<'a, 'v> Walk<'a, 'v> {
    pub(super) fn new(source: &'a FilesSource, visit: &'a mut Visit<'v, FileHandle>) -> Self {
        Self::with_limit(source, visit, MAX_GATHERED_BYTES)
    }

    /// As [`Self::new`], sorting outside of memory above `limit_bytes` of names.
    pub(super) fn with_limit(
        source: &'a FilesSource,
        visit: &'a mut Visit<'v, FileHandle>,
        limit_bytes: usize,
    ) -> Self {
        Self {
            source,
            visit,
            skipped: Skipped::find(&source.options.skip),
            lister: Lister::new(Spill::new(&source.options.scratch_dir), limit_bytes),
            levels: Vec::new(),
            here: StoredPath::root(),
            slashes: Vec::new(),
            top: None,
        }
    }

    /// Walks all roots.
    pub(super) fn run(&mut self) -> Result<(), Stop> {
        let roots = 0..self.source.roots.len();
        if roots.is_empty() {
            return Ok(());
        }
        self.start(roots)?;
        let mut name = Vec::new();
        while let Some(level) = self.levels.last_mut() {
            match self.lister.next(&mut level.names, &mut name) {
                Ok(true) => {
                    if let Some(path) = self.here.join(&name) {
                        self.child(path, &name)?;
                    }
                }
                Ok(false) => self.ascend(),
                Err(error) => {
                    let path = self.here.clone();
                    self.problem(
                        path,
                        Outcome::Unreadable,
                        format!("the rest of its names is lost: {error}"),
                    )?;
                    self.ascend();
                }
            }
        }
        Ok(())
    }

    /// Hands out `/` and goes into it.
    fn start(&mut self, mut roots: Range<usize>) -> Result<(), Stop> {
        let path = StoredPath::root();
        let whole = self.source.roots.first() == Some(&path);
        roots.start += usize::from(whole);
        let opened = Dir::root(if whole { Access::Read } else { Access::Look })
            .and_then(|opened| Ok((self.look(&opened.1, b"")?, opened)));
        let (stat, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.problem(path, Outcome::Unreadable, error.to_string()),
        };
        let handle = FileHandle { directory: opened.0.clone(), name: Box::default() };
        let scope = Scope { whole, roots, device: stat.dev };
        (self.visit)(Found::Entry { path: path.clone(), stat, handle })?;
        self.descend(path, opened, scope, true)
    }

    /// Asks the system about an entry; of the open directory itself if the name is empty.
    fn look(&self, at: &OwnedFd, name: &[u8]) -> io::Result<Stat> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let stat = statx(at, name, flags, self.source.asked)?;
        stat_of(&stat, self.source.asked).ok_or_else(|| io::Error::other("the system names no kind"))
    }

    /// Deals with one name of the current directory.
    fn child(&mut self, path: StoredPath, name: &[u8]) -> Result<(), Stop> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let (dir, mut scope) = (level.dir.clone(), level.scope.clone());
        let is_root = self.narrow(&mut scope, &path);
        if self.top.is_none() {
            match dir.fd() {
                Ok(top) => self.top = Some(top),
                Err(error) => return self.failed(path, &scope, is_root, &error),
            }
        }
        let Some(top) = &self.top else { return Ok(()) };
        let stat = match self.look(top, name) {
            Ok(stat) => stat,
            Err(error) => return self.failed(path, &scope, is_root, &error),
        };
        if self.skipped.contains((stat.dev, stat.ino)) {
            self.source.excluded.fetch_add(1, Ordering::Relaxed);
            if let Some(notice) = &self.source.options.on_skip {
                notice(&path);
            }
            return Ok(());
        }
        if is_root {
            scope = Scope { whole: true, device: stat.dev, ..scope };
        } else if scope.whole {
            if self.is_excluded(name, &stat) {
                self.source.excluded.fetch_add(1, Ordering::Relaxed);
                if scope.roots.is_empty() {
                    return Ok(());
                }
                scope.whole = false;
            }
            if self.source.options.one_file_system && stat.dev != scope.device {
                scope.whole = false;
            }
        }
        let inode = (stat.dev, stat.ino);
        let handle = FileHandle { directory: dir, name: name.into() };
        if stat.kind == EntryKind::Directory && (scope.whole || !scope.roots.is_empty()) {
            return self.directory(path, stat, handle, inode, scope, is_root);
        }
        let below = scope.roots;
        let is_directory = stat.kind == EntryKind::Directory;
        (self.visit)(Found::Entry { path, stat, handle })?;
        if is_directory {
            return Ok(());
        }
        let why = "a directory above it is no directory, or a symbolic link: name its real path";
        self.lost_roots(below, Outcome::Unreadable, why)
    }

    /// Hands out a directory and goes into it.
    fn directory(
        &mut self,
        path: StoredPath,
        stat: Stat,
        handle: FileHandle,
        inode: Identity,
        scope: Scope,
        is_root: bool,
    ) -> Result<(), Stop> {
        let access = if scope.whole { Access::Read } else { Access::Look };
        match handle.directory.child(&handle.name, inode, access) {
            Ok(opened) => {
                (self.visit)(Found::Entry { path: path.clone(), stat, handle })?;
                self.descend(path, opened, scope, is_root)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    (self.visit)(Found::Entry { path: path.clone(), stat, handle })?;
                }
                self.failed(path, &scope, is_root, &error)
            }
        }
    }

    /// Lists a directory and makes it the current one.
    fn descend(&mut self, path: StoredPath, opened: Opened, scope: Scope, is_root: bool) -> Result<(), Stop> {
        if let Some(level) = self.levels.last_mut() {
            Lister::park(&mut level.names);
        }
        let (dir, fd) = opened;
        let names = match self.names_of(&path, &fd, &scope, is_root)? {
            Ok(names) => names,
            Err(error) => return self.failed(path, &scope, is_root, &error),
        };
        if !self.source.options.excludes.is_empty() {
            self.slashes = path.to_slashes();
            if !self.slashes.is_empty() {
                self.slashes.push(b'/');
            }
        }
        self.here = path;
        self.top = Some(fd);
        self.levels.push(Level { dir, names, scope });
        Ok(())
    }

    /// Returns what is to be walked in a directory.
    fn names_of(
        &mut self,
        path: &StoredPath,
        fd: &OwnedFd,
        scope: &Scope,
        is_root: bool,
    ) -> Result<io::Result<Names>, Stop> {
        let source = self.source;
        let depth = path.components().count();
        let below = source.roots[scope.roots.clone()].iter().filter_map(|root| root.components().nth(depth));
        if !scope.whole {
            return Ok(self.lister.known(below));
        }
        // What is longer would have no place in a listing.
        let max_name = MAX_COMPONENT.min(MAX_KEY.saturating_sub(path.as_key().len() + 1));
        let mut listed = match self.lister.list(fd, max_name, below.clone()) {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error)),
        };
        self.tell_losses(path, &mut listed)?;
        if source.options.exclude_caches && !is_root && listed.tagged && is_cache(fd) {
            source.excluded.fetch_add(listed.count.saturating_sub(1), Ordering::Relaxed);
            self.lister.done(listed.names);
            return Ok(self.lister.known(below.chain([CACHE_TAG])));
        }
        Ok(Ok(listed.names))
    }

    /// Leaves the current directory.
    fn ascend(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        self.lister.done(level.names);
        if let Some(top) = self.top.take() {
            level.dir.reopen_parent(&top);
        }
        if let Some(parent) = self.here.parent() {
            self.here = parent;
        }
        if !self.slashes.is_empty() {
            self.slashes.pop();
            let end = self.slashes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            self.slashes.truncate(end);
        }
    }

    /// Keeps of `scope` only the roots within `path`; returns whether `path` is one itself.
    fn narrow(&self, scope: &mut Scope, path: &StoredPath) -> bool {
        if scope.roots.is_empty() {
            return false;
        }
        let roots = &self.source.roots[scope.roots.clone()];
        let start = roots.partition_point(|root| root < path);
        let within = roots[start..].iter().take_while(|root| root.is_within(path)).count();
        let is_root = roots.get(start) == Some(path);
        let first = scope.roots.start + start;
        scope.roots = first + usize::from(is_root)..first + within;
        is_root
    }

    fn is_excluded(&mut self, name: &[u8], stat: &Stat) -> bool {
        let options = &self.source.options;
        let is_file = stat.kind == EntryKind::File;
        if is_file && options.larger_than_bytes.is_some_and(|most| stat.size > most) {
            return true;
        }
        if options.excludes.is_empty() {
            return false;
        }
        let above = self.slashes.len();
        self.slashes.extend_from_slice(name);
        let excluded = options.excludes.excludes(&self.slashes, stat.kind == EntryKind::Directory);
        self.slashes.truncate(above);
        excluded
    }

    /// Tells of an entry, and of the roots below it, that the system said no.
    fn failed(
        &mut self,
        path: StoredPath,
        scope: &Scope,
        is_root: bool,
        error: &io::Error,
    ) -> Result<(), Stop> {
        let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if scope.whole || is_root {
            let outcome = match missing {
                true if is_root => Outcome::Absent,
                true => Outcome::Vanished,
                false => Outcome::Unreadable,
            };
            self.problem(path, outcome, error.to_string())?;
        }
        let outcome = if missing { Outcome::Absent } else { Outcome::Unreadable };
        self.lost_roots(scope.roots.clone(), outcome, &format!("a directory above it: {error}"))
    }

    fn lost_roots(&mut self, roots: Range<usize>, outcome: Outcome, message: &str) -> Result<(), Stop> {
        let source = self.source;
        roots
            .into_iter()
            .try_for_each(|root| self.problem(source.roots[root].clone(), outcome, message.to_owned()))
    }

    /// Tells, in the place of the directory itself, what cannot be told in a place of its own.
    fn tell_losses(&mut self, path: &StoredPath, listed: &mut Listed) -> Result<(), Stop> {
        if let Some((count, example)) = listed.too_long.take() {
            let example = example.escape_ascii();
            let message = format!("{count} names in it are too long to be stored, among them {example}");
            self.problem(path.clone(), Outcome::NotStorable, message)?;
        }
        if let Some(error) = listed.error.take() {
            let message = format!("it could not be listed to its end: {error}");
            self.problem(path.clone(), Outcome::Unreadable, message)?;
        }
        Ok(())
    }

    fn problem(&mut self, path: StoredPath, outcome: Outcome, message: String) -> Result<(), Stop> {
        (self.visit)(Found::Problem { path, outcome, message })
    }
}
