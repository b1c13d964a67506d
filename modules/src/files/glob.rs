//! Patterns of paths, expanded when a backup runs: what is there that matches.

use super::base::Base;
use super::excludes::Excludes;
use dedup_engine::listing::StoredPath;
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, StatxFlags, statx};
use std::collections::BTreeSet;
use std::io;

/// Most matches of one pattern, and most directories that are looked into at once.
pub(super) const MOST_MATCHES: usize = 65_536;
/// How much of a directory is asked for at once.
const LIST_BYTES: usize = 32 << 10;

/// What a pattern matched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) found: BTreeSet<StoredPath>,
    /// What may be missing from it, for people.
    pub(super) lost: Vec<String>,
}

/// A pattern: the directory above its first wildcard, and the components from there on.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) directory: StoredPath,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) enum Part {
    /// `**`: any number of directories.
    Any,
    Like(Excludes),
}

impl Pattern {
    /// Reads a pattern of components between slashes; `*`, `?`, `[]`, `{}` do not cross a slash, `**` as a whole component does.
    pub(super) fn parse(pattern: &[u8]) -> Result<Self, String> {
        let mut directory = StoredPath::root();
        let mut parts = Vec::new();
        let components = pattern.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        for component in components {
            let wild = component.iter().any(|byte| b"*?[]{}\\".contains(byte));
            if parts.is_empty() && !wild {
                directory = directory.join(component).ok_or("a component of the pattern is too long")?;
            } else if component == b"**" {
                parts.push(Part::Any);
            } else {
                let text = std::str::from_utf8(component).map_err(|_| "a pattern is UTF-8".to_owned())?;
                let like = Excludes::parse([("a pattern", format!("/{text}").as_str())]);
                parts.push(Part::Like(like.map_err(|error| error.wrong)?));
            }
        }
        if matches!(parts.last(), Some(Part::Any)) {
            parts.push(Part::Like(Excludes::parse([("", "/*")]).map_err(|error| error.wrong)?));
        }
        Ok(Self { directory, parts })
    }

    /// Returns whether a path is what could match, or lies below that.
    pub(super) fn admits(&self, path: &StoredPath) -> bool {
        let Some(below) = path.below(&self.directory) else { return false };
        // The parts that may come next, each with those that `**` before them lets come too.
        let beyond = |part: usize, next: &mut BTreeSet<usize>| {
            let skipped = self.parts[part.min(self.parts.len())..].iter();
            let skipped = skipped.take_while(|part| matches!(part, Part::Any)).count();
            next.extend(part..=part + skipped);
        };
        let mut at = BTreeSet::new();
        beyond(0, &mut at);
        for name in below.components() {
            if at.contains(&self.parts.len()) {
                break;
            }
            let mut next = BTreeSet::new();
            for part in at {
                match &self.parts[part] {
                    Part::Any => beyond(part, &mut next),
                    Part::Like(like) if like.excludes(name, false) || like.excludes(name, true) => {
                        beyond(part + 1, &mut next);
                    }
                    Part::Like(_) => {}
                }
            }
            at = next;
        }
        at.contains(&self.parts.len())
    }

    /// Looks for everything that matches, starting at `directory`; links are matched and never followed.
    pub(super) fn expand(&self, base: &Base, directory: &StoredPath) -> Expansion {
        let mut all = Expansion::default();
        if self.parts.is_empty() {
            if base.plain(directory, OFlags::PATH).is_ok() {
                all.found.insert(directory.clone());
            }
            return all;
        }
        let mut pending = vec![(directory.clone(), 0)];
        while let Some((directory, part)) = pending.pop() {
            let step = self.step(base, &directory, part, &mut |path, next| {
                if next < self.parts.len() {
                    pending.push((path, next));
                } else {
                    all.found.insert(path);
                }
                pending.len() < MOST_MATCHES && all.found.len() < MOST_MATCHES
            });
            match step {
                Ok(true) => {}
                Ok(false) => {
                    all.lost.push(format!(
                        "it matches more than {MOST_MATCHES} paths; declare a directory and exclude patterns"
                    ));
                    return all;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if all.lost.len() < 8 => all.lost.push(format!("{directory:?}: {error}")),
                Err(_) => {}
            }
        }
        all
    }

    /// Tells every name of a directory that the pattern admits there, with the number of the part that comes next.
    fn step(
        &self,
        base: &Base,
        directory: &StoredPath,
        part: usize,
        tell: &mut dyn FnMut(StoredPath, usize) -> bool,
    ) -> io::Result<bool> {
        if matches!(self.parts[part], Part::Any) && !tell(directory.clone(), part + 1) {
            return Ok(false);
        }
        let fd = base.plain(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = Vec::with_capacity(LIST_BYTES);
        let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let Some(path) = directory.join(name.to_bytes()) else { continue };
            let is_directory = match entry.file_type() {
                FileType::Unknown => statx(&fd, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.stx_mode.into()).is_dir()),
                kind => kind.is_dir(),
            };
            let is_last = part + 1 == self.parts.len();
            let goes_on = match &self.parts[part] {
                Part::Any => !is_directory || tell(path, part),
                Part::Like(like) if like.excludes(name.to_bytes(), is_directory) => {
                    !(is_last || is_directory) || tell(path, part + 1)
                }
                Part::Like(_) => true,
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
