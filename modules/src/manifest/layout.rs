//! The declared items of a manifest as the walk of files takes them.

use super::Manifest;
use super::items::{Extent, Item, ItemsError};
use super::paths::Variables;
use super::sections::{SectionKind, Special};
use crate::files::{Declared, Excludes, Layout, PatternError, Reach, RootError, Rules};
use dedup_engine::snapshot::Section;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Names of directories that hold nothing but caches, for `[exclude] caches`.
const CACHES: [&str; 3] = [".cache/", "Cache/", "__pycache__/"];

/// Why it is unknown what a manifest declares on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The paths themselves are unknown.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// Patterns that are right one by one are too many or too large together.
    #[error(transparent)]
    Excludes(#[from] PatternError),
    /// A path cannot be one, or the base directory cannot be opened.
    #[error(transparent)]
    Root(#[from] RootError),
}

impl From<SectionKind> for Section {
    fn from(kind: SectionKind) -> Self {
        match kind {
            SectionKind::Config => Self::Config,
            SectionKind::Data => Self::Data,
            SectionKind::Secrets => Self::Secrets,
        }
    }
}

impl Manifest {
    /// Looks up where everything declared is, below `base`: `/`, or the root of a filesystem snapshot.
    ///
    /// The numbers of the layout's items are those of [`Manifest::items`] with the same variables.
    pub fn layout(&self, variables: &Variables, base: &Path) -> Result<Layout, LayoutError> {
        let mut known: HashMap<(SectionKind, &[String]), Excludes> = HashMap::new();
        let mut declared = Vec::new();
        for item in self.items(variables)? {
            let own = item.entry.map_or(&[][..], |entry| &entry.exclude);
            let excludes = match known.get(&(item.section, own)) {
                Some(excludes) => excludes.clone(),
                None => {
                    let excludes = self.excludes(item.section, own)?;
                    known.insert((item.section, own), excludes.clone());
                    excludes
                }
            };
            declared.push(self.declare(&item, excludes));
        }
        Ok(Layout::new(base, declared)?)
    }

    /// Returns the patterns of an item: later ones win, so those of the item itself come last.
    fn excludes(&self, section: SectionKind, own: &[String]) -> Result<Excludes, PatternError> {
        let caches = if self.exclude.caches { &CACHES[..] } else { &[] };
        let all = caches.iter().copied().map(|pattern| ("caches", pattern));
        let all = all.chain(self.exclude.effective().map(|pattern| ("[exclude]", pattern)));
        let all =
            all.chain(self.section(section).exclude.iter().map(|pattern| ("exclude", pattern.as_str())));
        Excludes::parse(all.chain(own.iter().map(|pattern| ("exclude of an entry", pattern.as_str()))))
    }

    fn declare(&self, item: &Item<'_>, excludes: Excludes) -> Declared {
        let rules = Rules {
            excludes,
            exclude_caches: self.exclude.cachedir_tag,
            one_file_system: item.entry.is_none_or(|entry| entry.one_filesystem),
            larger_than_bytes: self.exclude.larger_than_bytes,
            follow_links: item.entry.is_some_and(|entry| entry.follow_symlinks),
            skip_special: self.exclude.special == Special::Skip,
        };
        let reach = match item.extent {
            Extent::File => Reach::File,
            Extent::Tree => Reach::Tree,
            Extent::DirectoryOnly => Reach::Entry,
            Extent::Pattern => Reach::Pattern,
        };
        let (section, path) = (item.section.into(), item.path.clone());
        Declared { section, path, reach, optional: item.optional, rules: Arc::new(rules) }
    }
}
