//! The walk: depth first, children in byte order, by directory handles, without recursion.

use super::base::stat_open;
use super::dirs::{Access, Dir, Opened};
use super::excludes::{Skipped, is_cache};
use super::meta::stat_of;
use super::names::{CACHE_TAG, Lister, MAX_GATHERED_BYTES, Names};
use super::roots::{Root, Take};
use super::source::{FileHandle, FilesSource};
use super::spill::Spill;
use dedup_engine::backup::source::{EntryKind, Stat, Stop, Visit};
use dedup_engine::format::{MAX_COMPONENT, MAX_KEY};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Outcome;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, statx};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// One walk over all roots.
pub(super) struct Walk<'a, 'v> {
    pub(super) source: &'a FilesSource,
    pub(super) visit: &'a mut Visit<'v, FileHandle>,
    skipped: Skipped,
    lister: Lister,
    levels: Vec<Level>,
    /// The directory of the last level.
    here: StoredPath,
    /// The same with slashes and one at the end, kept only if there are patterns to match.
    pub(super) slashes: Vec<u8>,
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
pub(super) struct Scope {
    /// All of it, by the rules of this root; else only what leads to roots.
    pub(super) whole: Option<usize>,
    /// The roots that lie below it, by their numbers.
    pub(super) roots: Range<usize>,
    /// The device that a walk of one file system stays on.
    device: u64,
    /// How many links were followed on the way.
    followed: u32,
}

/// One name that the walk looks at.
struct At<'n> {
    path: StoredPath,
    name: &'n [u8],
    dir: Arc<Dir>,
    scope: Scope,
    /// The root it is.
    root: Option<usize>,
}

/// Most links that are followed one below the other, so that links to each other cannot multiply without end.
const MOST_FOLLOWED: u32 = 8;

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
            skipped: Skipped::find(&source.options.skip, &source.base),
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
    fn start(&mut self, roots: Range<usize>) -> Result<(), Stop> {
        let path = StoredPath::root();
        let (root, roots) = self.source.roots.within(&roots, &path);
        let whole = root.filter(|root| matches!(self.root(*root).take, Take::All | Take::Tree));
        let access = if whole.is_some() { Access::Read } else { Access::Look };
        let opened =
            Dir::root(&self.source.base, access).and_then(|opened| Ok((self.look(&opened.1, b"")?, opened)));
        let (stat, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.problem(path, Outcome::Unreadable, error.to_string()),
        };
        let handle = FileHandle { directory: opened.0.clone(), name: Box::default(), followed: false, root };
        let scope = Scope { whole, roots, device: stat.dev, followed: 0 };
        self.hand_out(path.clone(), stat, handle)?;
        self.descend(path, opened, scope, root)
    }

    pub(super) fn root(&self, root: usize) -> &'a Root {
        self.source.roots.get(root)
    }

    /// Returns the root by whose rules all of the current directory is walked.
    pub(super) fn around(&self) -> Option<usize> {
        self.levels.last().and_then(|level| level.scope.whole)
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
        let root;
        (root, scope.roots) = self.source.roots.within(&scope.roots, &path);
        if self.top.is_none() {
            match dir.fd() {
                Ok(top) => self.top = Some(top),
                Err(error) => return self.failed(path, &scope, root, &error),
            }
        }
        let Some(top) = &self.top else { return Ok(()) };
        match self.look(top, name) {
            Ok(stat) => self.entry(At { path, name, dir, scope, root }, stat),
            Err(error) => self.failed(path, &scope, root, &error),
        }
    }

    /// Deals with one entry, of which the system knows.
    fn entry(&mut self, at: At<'_>, mut stat: Stat) -> Result<(), Stop> {
        let At { path, name, dir, mut scope, root } = at;
        let outer = scope.whole;
        if self.skipped.contains((stat.dev, stat.ino)) {
            self.leave_out(outer.or(root), 1);
            if let Some(notice) = &self.source.options.on_skip {
                notice(&path);
            }
            return Ok(());
        }
        let rules_of = match root.map(|root| self.root(root).take) {
            Some(Take::Elsewhere(section)) => {
                if outer.is_some()
                    && let Some(notice) = &self.source.options.on_elsewhere
                {
                    notice(&path, section);
                }
                scope.whole = None;
                if scope.roots.is_empty() {
                    return Ok(());
                }
                None
            }
            Some(Take::All | Take::Tree) => {
                (scope.whole, scope.device) = (root, stat.dev);
                root
            }
            Some(Take::File | Take::Entry) => root,
            None => {
                if outer.is_some_and(|outer| self.is_excluded(outer, name, &stat)) {
                    self.leave_out(outer, 1);
                    if scope.roots.is_empty() {
                        return Ok(());
                    }
                    scope.whole = None;
                }
                scope.whole
            }
        };
        let (mut followed, mut lost) = (false, None);
        if stat.kind == EntryKind::Symlink && rules_of.is_some_and(|root| self.root(root).rules.follow_links)
        {
            match self.follow(&path, &scope) {
                Ok(Some(found)) => {
                    (stat, followed) = (found, true);
                    scope.device = stat.dev;
                    scope.followed += 1;
                }
                // It leads nowhere, or in a circle: the link is all there is.
                Ok(None) => {}
                Err(error) => lost = Some(format!("what the link leads to: {error}")),
            }
        }
        if let Some(whole) = scope.whole
            && root.is_none()
            && self.root(whole).rules.one_file_system
            && stat.dev != scope.device
        {
            scope.whole = None;
        }
        let handle = FileHandle { directory: dir, name: name.into(), followed, root };
        if stat.kind == EntryKind::Directory && (scope.whole.is_some() || !scope.roots.is_empty()) {
            return self.directory(path, stat, handle, scope);
        }
        let is_directory = stat.kind == EntryKind::Directory;
        let below = scope.roots.clone();
        if !matches!(root.map(|root| self.root(root).take), Some(Take::Elsewhere(_))) {
            self.hand_out(path.clone(), stat, handle)?;
        }
        if let Some(message) = lost {
            self.tell_within(rules_of, root);
            self.problem(path, Outcome::Unreadable, message)?;
        }
        if is_directory {
            return Ok(());
        }
        let why = "a directory above it is no directory, or a symbolic link: name its real path";
        self.lost_roots(below, Outcome::Unreadable, why)
    }

    /// Asks what a link leads to; nothing if it leads nowhere, or back to a directory on the way to it.
    fn follow(&self, path: &StoredPath, scope: &Scope) -> io::Result<Option<Stat>> {
        let found = match self.source.base.followed(path, OFlags::PATH) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = stat_of(&stat_open(&found, self.source.asked)?, self.source.asked)
            .ok_or_else(|| io::Error::other("the system names no kind"))?;
        let inode = (stat.dev, stat.ino);
        let circle = self.levels.iter().any(|level| level.dir.identity() == inode);
        if circle || self.skipped.contains(inode) {
            return Ok(None);
        }
        if scope.followed >= MOST_FOLLOWED {
            return Err(io::Error::other("more than 8 links lead to it, one below the other"));
        }
        Ok(Some(stat))
    }

    /// Hands out a directory and goes into it.
    fn directory(
        &mut self,
        path: StoredPath,
        stat: Stat,
        handle: FileHandle,
        scope: Scope,
    ) -> Result<(), Stop> {
        let access = if scope.whole.is_some() { Access::Read } else { Access::Look };
        let inode = (stat.dev, stat.ino);
        let root = handle.root;
        let opened = match handle.followed {
            true => handle.directory.followed_child(&handle.name, inode, access),
            false => handle.directory.child(&handle.name, inode, access),
        };
        match opened {
            Ok(opened) => {
                self.hand_out(path.clone(), stat, handle)?;
                self.descend(path, opened, scope, root)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.hand_out(path.clone(), stat, handle)?;
                }
                self.failed(path, &scope, root, &error)
            }
        }
    }

    /// Lists a directory and makes it the current one.
    fn descend(
        &mut self,
        path: StoredPath,
        opened: Opened,
        scope: Scope,
        root: Option<usize>,
    ) -> Result<(), Stop> {
        if let Some(level) = self.levels.last_mut() {
            Lister::park(&mut level.names);
        }
        let (dir, fd) = opened;
        let names = match self.names_of(&path, &fd, &scope, root)? {
            Ok(names) => names,
            Err(error) => return self.failed(path, &scope, root, &error),
        };
        if scope.whole.is_some_and(|root| !self.root(root).rules.excludes.is_empty()) {
            self.slashes = path.to_slashes();
            if !self.slashes.is_empty() {
                self.slashes.push(b'/');
            }
        } else {
            self.slashes.clear();
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
        root: Option<usize>,
    ) -> Result<io::Result<Names>, Stop> {
        let source = self.source;
        let below = source.roots.names(&scope.roots, path.components().count());
        let Some(whole) = scope.whole else { return Ok(self.lister.known(below)) };
        // What is longer would have no place in a listing.
        let max_name = MAX_COMPONENT.min(MAX_KEY.saturating_sub(path.as_key().len() + 1));
        let mut listed = match self.lister.list(fd, max_name, below.clone()) {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error)),
        };
        self.tell_losses(path, whole, &mut listed)?;
        let is_root = root.is_some_and(|root| matches!(self.root(root).take, Take::All | Take::Tree));
        if self.root(whole).rules.exclude_caches && !is_root && listed.tagged && is_cache(fd) {
            self.leave_out(Some(whole), listed.count.saturating_sub(1));
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
        // Of the level above, whose rules may be others.
        if self.around().is_none_or(|root| self.root(root).rules.excludes.is_empty()) {
            self.slashes.clear();
        } else if self.slashes.is_empty() {
            self.slashes = self.here.to_slashes();
            if !self.slashes.is_empty() {
                self.slashes.push(b'/');
            }
        } else {
            self.slashes.pop();
            let end = self.slashes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            self.slashes.truncate(end);
        }
    }
}
