//! How much lies in what a manifest declares, counted without reading it.

use crate::files::{Excludes, FilesOptions, FilesSource, PatternError, RootError};
use crate::manifest::Manifest;
use crate::manifest::items::{Extent, Item};
use dedup_engine::backup::source::{EntryKind, Found, Source, Stop};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Outcome;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most paths that a pattern may expand to.
pub const MAX_MATCHES: usize = 10_000;

/// What was counted of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What became of it.
    pub presence: Presence,
    /// Entries, directories among them.
    pub entries: u64,
    /// Bytes of regular files; each name of a hard link counts.
    pub bytes: u64,
    /// Entries that cannot be read.
    pub problems: u64,
    /// The first of them, with why.
    pub first_problem: Option<String>,
}

/// Whether an item is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    #[default]
    Present,
    /// It is not, or no path matches the pattern.
    Absent,
    /// It cannot be looked at.
    Unreadable,
    /// It is something else than declared.
    WrongKind,
}

/// Why nothing can be counted.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A pattern of the manifest is none here.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The path cannot be walked.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A pattern expands to more than [`MAX_MATCHES`] paths.
    #[error("{} expands to more than {MAX_MATCHES} paths", .0.display())]
    TooMany(PathBuf),
    /// The caller said stop.
    #[error("stopped")]
    Stopped,
}

/// Counts an item of `items`, which are those of the manifest on this machine. What a deeper item declares is counted
/// there and not here. `scratch_dir` is for directories with very many names; `stop` is asked at every entry.
pub fn measure(
    manifest: &Manifest,
    items: &[Item<'_>],
    item: &Item<'_>,
    scratch_dir: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Measured, MeasureError> {
    let mut measured = Measured::default();
    if let Some(wrong) = at_first_glance(item) {
        measured.presence = wrong;
        return Ok(measured);
    }
    let roots = match item.extent {
        Extent::Pattern => expand(&item.path)?,
        Extent::DirectoryOnly => {
            measured.entries = 1;
            return Ok(measured);
        }
        Extent::File | Extent::Tree => vec![item.path.clone()],
    };
    if roots.is_empty() {
        measured.presence = Presence::Absent;
        return Ok(measured);
    }
    let source = FilesSource::new(&roots, options(manifest, items, item, scratch_dir)?)?;
    let mut visit = |found: Found<_>| {
        if stop() {
            return Err(Stop);
        }
        match found {
            // What leads to the item is stored with it and is none of it.
            Found::Entry { path, .. } if !is_below(&roots, &path) => {}
            Found::Entry { stat, .. } => {
                measured.entries = measured.entries.saturating_add(1);
                if stat.kind == EntryKind::File {
                    measured.bytes = measured.bytes.saturating_add(stat.size);
                }
            }
            Found::Problem { outcome: Outcome::Absent, .. } => {}
            Found::Problem { path, message, .. } => {
                measured.problems += 1;
                let shown = || format!("/{}: {message}", String::from_utf8_lossy(&path.to_slashes()));
                measured.first_problem.get_or_insert_with(shown);
            }
        }
        Ok(())
    };
    source.walk(&mut visit).map_err(|_| MeasureError::Stopped)?;
    if measured.entries == 0 {
        measured.presence = if measured.problems > 0 { Presence::Unreadable } else { Presence::Absent };
    }
    Ok(measured)
}

/// Returns whether a stored path is one of these, or lies below one.
fn is_below(roots: &[PathBuf], path: &StoredPath) -> bool {
    let path = Path::new("/").join(OsStr::from_bytes(&path.to_slashes()));
    roots.iter().any(|root| path.starts_with(root))
}

/// Says what is wrong with an item itself.
fn at_first_glance(item: &Item<'_>) -> Option<Presence> {
    if item.extent == Extent::Pattern {
        return None;
    }
    let is_tree = matches!(item.extent, Extent::Tree | Extent::DirectoryOnly);
    match item.path.metadata() {
        Ok(stat) if stat.is_dir() != is_tree => Some(Presence::WrongKind),
        Ok(_) => None,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                // A link to nothing is there, and is stored as what it is.
                item.path.symlink_metadata().is_err().then_some(Presence::Absent)
            }
            _ => Some(Presence::Unreadable),
        },
    }
}

fn options(
    manifest: &Manifest,
    items: &[Item<'_>],
    item: &Item<'_>,
    scratch_dir: &Path,
) -> Result<FilesOptions, MeasureError> {
    let all = &manifest.exclude;
    let own = item.entry.map_or(&[][..], |entry| &entry.exclude);
    let deeper = items.iter().filter(|other| other.path != item.path && other.path.starts_with(&item.path));
    let mut lines = Vec::new();
    for pattern in all.effective().chain(manifest.section(item.section).exclude.iter().map(String::as_str)) {
        lines.push(below(&item.path, pattern));
    }
    lines.extend(own.iter().map(|pattern| below(&item.path, pattern)));
    let is_set = |extent| matches!(extent, Extent::File | Extent::Tree);
    lines.extend(deeper.filter(|other| is_set(other.extent)).map(|other| literal(&other.path)));
    let text = lines.join("\n");
    Ok(FilesOptions {
        excludes: Excludes::parse([("the manifest", text.as_str())])?,
        exclude_caches: all.cachedir_tag,
        one_file_system: item.entry.is_none_or(|entry| entry.one_filesystem),
        larger_than_bytes: all.larger_than_bytes,
        ..FilesOptions::new(scratch_dir.to_owned())
    })
}

/// Returns a pattern of a manifest as one of the whole system: what is anchored, is so at the item.
fn below(path: &Path, pattern: &str) -> String {
    let (not, rest) = pattern.strip_prefix('!').map_or(("", pattern), |rest| ("!", rest));
    let anchored = rest.trim_end_matches('/').contains('/') && !rest.starts_with("**/");
    if anchored {
        format!("{not}{}/{}", literal(path), rest.trim_start_matches('/'))
    } else {
        pattern.to_owned()
    }
}

/// Returns a path as a pattern that matches nothing else.
fn literal(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!' | '#' | ' ') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Expands a pattern, in which `*` does not cross a slash; sorted.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, MeasureError> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.iter().skip(1) {
        let text = component.to_string_lossy();
        if !text.contains(['*', '?', '[', '{']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let matches = Excludes::parse([("glob", text.as_ref())])?;
        let mut next = Vec::new();
        for dir in &found {
            // What cannot be listed matches nothing; the run itself tells of it.
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if !matches.excludes(name.as_encoded_bytes(), false) {
                    continue;
                }
                if next.len() >= MAX_MATCHES {
                    return Err(MeasureError::TooMany(pattern.to_owned()));
                }
                next.push(dir.join(name));
            }
        }
        found = next;
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort_unstable();
    Ok(found)
}
