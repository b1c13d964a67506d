//! What a walk hands out, leaves out and tells of, and for which declared items that counts.

use super::names::Listed;
use super::roots::Take;
use super::source::FileHandle;
use super::walk::{Scope, Walk};
use dedup_engine::backup::source::{EntryKind, Found, Stat, Stop};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Outcome;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

impl Walk<'_, '_> {
    /// Hands out an entry of the current directory.
    pub(super) fn hand_out(&mut self, path: StoredPath, stat: Stat, handle: FileHandle) -> Result<(), Stop> {
        let tallies = &self.source.tallies;
        if let Some(root) = handle.root {
            let root = self.root(root);
            tallies.found(&root.items, &stat);
            match (root.take, stat.kind) {
                (Take::File, EntryKind::Directory) => tallies.fault(
                    &root.items,
                    Outcome::Failed,
                    "a directory stands where a single file is declared; only the directory itself is stored",
                ),
                (Take::Tree, EntryKind::Symlink) => tallies.fault(
                    &root.items,
                    Outcome::Failed,
                    "it is a symbolic link that leads to no directory; only the link is stored",
                ),
                (Take::Entry, _) => tallies.complete(&root.items),
                _ => {}
            }
        }
        if let Some(around) = self.around() {
            tallies.below(&self.root(around).items);
        }
        (self.visit)(Found::Entry { path, stat, handle })
    }

    /// Counts what rules leave out, for the root whose rules they are.
    pub(super) fn leave_out(&self, root: Option<usize>, count: u64) {
        self.source.excluded.fetch_add(count, Ordering::Relaxed);
        if let Some(root) = root {
            self.source.tallies.excluded(&self.root(root).items, count);
        }
    }

    /// Returns whether the rules of the root around it leave out an entry of the current directory.
    pub(super) fn is_excluded(&mut self, whole: usize, name: &[u8], stat: &Stat) -> bool {
        let root = self.root(whole);
        if root.rules.leaves_out(stat) {
            return true;
        }
        if root.rules.excludes.is_empty() {
            return false;
        }
        let above = self.slashes.len();
        self.slashes.extend_from_slice(name);
        let path = self.slashes.get(root.anchor..).unwrap_or_default();
        let excluded = root.rules.excludes.excludes(path, stat.kind == EntryKind::Directory);
        self.slashes.truncate(above);
        excluded
    }

    /// Tells of an entry, and of the roots below it, that the system said no.
    pub(super) fn failed(
        &mut self,
        path: StoredPath,
        scope: &Scope,
        root: Option<usize>,
        error: &io::Error,
    ) -> Result<(), Stop> {
        let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        let elsewhere = root.is_some_and(|root| matches!(self.root(root).take, Take::Elsewhere(_)));
        if let Some(root) = root.filter(|_| !elsewhere) {
            let outcome = if missing { Outcome::Absent } else { Outcome::Unreadable };
            self.lost_root(root, outcome, &error.to_string())?;
        } else if scope.whole.is_some() && !elsewhere {
            let outcome = if missing { Outcome::Vanished } else { Outcome::Unreadable };
            self.tell_within(scope.whole.filter(|_| !missing), None);
            self.problem(path, outcome, error.to_string())?;
        }
        let outcome = if missing { Outcome::Absent } else { Outcome::Unreadable };
        self.lost_roots(scope.roots.clone(), outcome, &format!("a directory above it: {error}"))
    }

    /// Counts a problem for the root it is below, or is.
    pub(super) fn tell_within(&self, whole: Option<usize>, root: Option<usize>) {
        if let Some(root) = root.or(whole) {
            self.source.tallies.problem(&self.root(root).items);
        }
    }

    pub(super) fn lost_roots(
        &mut self,
        roots: Range<usize>,
        outcome: Outcome,
        message: &str,
    ) -> Result<(), Stop> {
        roots
            .into_iter()
            .filter(|root| !matches!(self.source.roots.get(*root).take, Take::Elsewhere(_)))
            .try_for_each(|root| self.lost_root(root, outcome, message))
    }

    fn lost_root(&mut self, root: usize, outcome: Outcome, message: &str) -> Result<(), Stop> {
        let root = self.root(root);
        self.source.tallies.fault(&root.items, outcome, message);
        if root.optional && outcome == Outcome::Absent {
            return Ok(());
        }
        self.problem(root.path.clone(), outcome, message.to_owned())
    }

    /// Tells, in the place of the directory itself, what cannot be told in a place of its own.
    pub(super) fn tell_losses(
        &mut self,
        path: &StoredPath,
        whole: usize,
        listed: &mut Listed,
    ) -> Result<(), Stop> {
        if let Some((count, example)) = listed.too_long.take() {
            let example = example.escape_ascii();
            let message = format!("{count} names in it are too long to be stored, among them {example}");
            self.tell_within(Some(whole), None);
            self.problem(path.clone(), Outcome::NotStorable, message)?;
        }
        if let Some(error) = listed.error.take() {
            let message = format!("it could not be listed to its end: {error}");
            self.tell_within(Some(whole), None);
            self.problem(path.clone(), Outcome::Unreadable, message)?;
        }
        Ok(())
    }

    pub(super) fn problem(
        &mut self,
        path: StoredPath,
        outcome: Outcome,
        message: String,
    ) -> Result<(), Stop> {
        (self.visit)(Found::Problem { path, outcome, message })
    }
}
