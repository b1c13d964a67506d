//! Where a walk begins, by which rules, and where it must not go.

use super::excludes::Excludes;
use dedup_engine::backup::source::{EntryKind, Stat};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Section;
use std::ops::Range;
use std::sync::Arc;

/// What of a tree is left out, and how links and mount points in it are taken.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Patterns of what is left out, anchored at the declared directory (of a pattern: at its part before the first wildcard).
    pub excludes: Excludes,
    /// Of a directory with a valid `CACHEDIR.TAG`, keep only the directory and that file.
    pub exclude_caches: bool,
    /// Store mount points, but nothing that is mounted there.
    pub one_file_system: bool,
    /// Leave out regular files with more bytes than this.
    pub larger_than_bytes: Option<u64>,
    /// Store what a link leads to in place of the link, for the declared path itself and below it. Nothing is followed in a circle;
    /// a link that leads nowhere stays a link.
    pub follow_links: bool,
    /// Leave out devices, sockets and pipes.
    pub skip_special: bool,
}

impl Rules {
    /// Returns whether an entry is left out for what it is, whatever its name.
    pub(super) fn leaves_out(&self, stat: &Stat) -> bool {
        match stat.kind {
            EntryKind::File => self.larger_than_bytes.is_some_and(|most| stat.size > most),
            EntryKind::Directory | EntryKind::Symlink => false,
            EntryKind::Fifo | EntryKind::Socket | EntryKind::CharDevice | EntryKind::BlockDevice => {
                self.skip_special
            }
        }
    }
}

/// What is walked of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// It with everything below it, whatever it is.
    All,
    /// The directory with everything below it; that it is none is worth saying.
    Tree,
    /// Only itself, which should be no directory.
    File,
    /// Only itself.
    Entry,
    /// Nothing: it belongs to another section, with everything below it.
    Elsewhere(Section),
}

/// A place where the walk changes its rules.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) path: StoredPath,
    pub(super) take: Take,
    pub(super) rules: Arc<Rules>,
    /// How many bytes of a path with slashes lie above the place at which patterns are anchored.
    pub(super) anchor: usize,
    /// The declared items it belongs to.
    pub(super) items: Vec<usize>,
    /// Whether its absence is nobody's concern.
    pub(super) optional: bool,
}

impl Root {
    /// Returns the bytes above the children of `directory` in a path with slashes.
    pub(super) fn anchor_below(directory: &StoredPath) -> usize {
        let len = directory.as_key().len();
        len + usize::from(len > 0)
    }
}

/// The roots of one walk, sorted, each place once.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots(Vec<Root>);

impl Roots {
    /// Sorts roots; of several at one place the first one given counts, for the items of all of them.
    pub(super) fn new(mut roots: Vec<Root>) -> Self {
        roots.sort_by(|a, b| a.path.cmp(&b.path));
        roots.dedup_by(|later, first| {
            let same = later.path == first.path;
            if same && matches!(first.take, Take::Elsewhere(_)) == matches!(later.take, Take::Elsewhere(_)) {
                first.items.append(&mut later.items);
                first.optional &= later.optional;
            }
            same
        });
        Self(roots)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, root: usize) -> &Root {
        &self.0[root]
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &StoredPath> {
        self.0.iter().map(|root| &root.path)
    }

    /// Returns which of `among` is at `path`, and which lie below it.
    pub(super) fn within(&self, among: &Range<usize>, path: &StoredPath) -> (Option<usize>, Range<usize>) {
        let roots = &self.0[among.clone()];
        let start = roots.partition_point(|root| root.path < *path);
        let count = roots[start..].partition_point(|root| root.path.is_within(path));
        let first = among.start + start;
        let here = roots.get(start).is_some_and(|root| root.path == *path);
        (here.then_some(first), first + usize::from(here)..first + count)
    }

    /// Returns the names at `depth` of the ways that lead to `among`.
    pub(super) fn names(&self, among: &Range<usize>, depth: usize) -> impl Iterator<Item = &[u8]> + Clone {
        self.0[among.clone()].iter().filter_map(move |root| root.path.components().nth(depth))
    }
}
