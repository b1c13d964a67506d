//! Every path that a manifest declares, as it is on one machine.

use super::Manifest;
use super::paths::{ManifestPath, UnknownVariable, Variables};
use super::sections::{Entry, SectionKind};
use super::words::Words;
use crate::files::{Excludes, PatternError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How much of a path is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A single file.
    File,
    /// A directory with everything below it.
    Tree,
    /// A directory itself.
    DirectoryOnly,
    /// Whatever matches the pattern when the backup runs.
    Pattern,
}

/// A declared path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'m> {
    /// Where it belongs.
    pub section: SectionKind,
    /// Where it is on this machine.
    pub path: PathBuf,
    /// How much of it.
    pub extent: Extent,
    /// Whether its absence is not worth a warning.
    pub optional: bool,
    /// What the manifest says.
    pub declared: &'m ManifestPath,
    /// The long form, if that was used.
    pub entry: Option<&'m Entry>,
}

/// Why the paths of a manifest are unknown on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemsError {
    /// A variable has no value here.
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
    /// With the values of this machine, a pattern is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Manifest {
    /// Returns every declared path where the variables have these values, section by section in the order of the file.
    ///
    /// Pass [`Manifest::paths`], changed where this machine differs.
    pub fn items(&self, variables: &Variables) -> Result<Vec<Item<'_>>, ItemsError> {
        let mut items = Vec::new();
        for section in SectionKind::WORDS.iter().map(|(_, kind)| *kind) {
            let of = self.section(section);
            let mut optional = Vec::new();
            for path in &of.optional {
                optional.push(path.resolve(variables)?.display().to_string());
            }
            let patterns = Excludes::parse(optional.iter().map(|pattern| ("optional", pattern.as_str())))?;
            let long = of.entries.iter().map(|entry| {
                let extent = match (entry.is_directory, entry.entry_only) {
                    (false, _) => Extent::File,
                    (true, false) => Extent::Tree,
                    (true, true) => Extent::DirectoryOnly,
                };
                (&entry.path, extent, Some(entry))
            });
            let all = short(&of.directories, Extent::Tree)
                .chain(short(&of.files, Extent::File))
                .chain(long)
                .chain(short(&of.glob, Extent::Pattern));
            for (declared, extent, entry) in all {
                let path = declared.resolve(variables)?;
                let below = path.strip_prefix("/").unwrap_or(&path).as_os_str().as_bytes();
                let is_directory = matches!(extent, Extent::Tree | Extent::DirectoryOnly);
                let optional = entry.is_some_and(|entry| entry.optional)
                    || of.optional.contains(declared)
                    || patterns.excludes(below, is_directory);
                items.push(Item { section, path, extent, optional, declared, entry });
            }
        }
        Ok(items)
    }
}

/// Returns the section that a path belongs to: that of the deepest declared path that is it or holds it.
///
/// What patterns match is not looked at here: that is known when they are expanded ([`Layout`](crate::files::Layout), which
/// has a match belong to its pattern's section, as the deepest declaration there can be).
pub fn section_of(items: &[Item<'_>], path: &Path) -> Option<SectionKind> {
    let holds = |item: &&Item<'_>| match item.extent {
        Extent::Tree => path.starts_with(&item.path),
        Extent::File | Extent::DirectoryOnly => path == item.path,
        Extent::Pattern => false,
    };
    items.iter().filter(holds).max_by_key(|item| item.path.components().count()).map(|item| item.section)
}

/// Returns the short form of entries as the long one is: path, extent, no properties.
fn short(
    list: &[ManifestPath],
    extent: Extent,
) -> impl Iterator<Item = (&ManifestPath, Extent, Option<&Entry>)> {
    list.iter().map(move |path| (path, extent, None))
}
