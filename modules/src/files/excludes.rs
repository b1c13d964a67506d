//! What a walk leaves out: patterns as `gitignore` has them, and directories marked as caches.
//!
//! Patterns are matched against whole paths, as if one `.gitignore` lay in `/`: a pattern with a slash at
//! its beginning or in its middle is anchored there, any other one matches at every depth. The last pattern
//! that matches decides, `!` brings back, a slash at the end means directories only. As with git, nothing
//! can be brought back below a directory that is left out.

use super::base::Base;
use super::dirs::{Identity, identity};
use super::names::CACHE_TAG;
use dedup_engine::listing::StoredPath;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::read;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// First bytes of a `CACHEDIR.TAG` (<https://bford.info/cachedir/>).
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Patterns of paths to leave out; see the module's head for their meaning.
#[derive(Clone, Debug)]
pub struct Excludes {
    patterns: Gitignore,
}

/// A pattern that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exclude pattern {pattern:?} in {place} is not valid: {wrong}")]
pub struct PatternError {
    /// Where it stands, as the caller named it, with the number of its line.
    pub place: String,
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub wrong: String,
}

impl Default for Excludes {
    fn default() -> Self {
        Self { patterns: Gitignore::empty() }
    }
}

impl Excludes {
    /// Reads patterns, one a line, from texts that are named for messages (`--exclude`, a file's name).
    ///
    /// Empty lines and lines that begin with `#` mean nothing. Later texts win over earlier ones.
    pub fn parse<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, PatternError> {
        let mut builder = GitignoreBuilder::new("/");
        for (place, text) in texts {
            for (index, line) in text.lines().enumerate() {
                builder.add_line(None, line).map_err(|error| PatternError {
                    place: format!("{place}, line {}", index + 1),
                    pattern: line.to_owned(),
                    wrong: error.to_string(),
                })?;
            }
        }
        let patterns = builder.build().map_err(|error| PatternError {
            place: "all patterns together".to_owned(),
            pattern: String::new(),
            wrong: error.to_string(),
        })?;
        Ok(Self { patterns })
    }

    /// Returns whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns whether the entry at `path` (slashes between components, none in front) is left out.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        self.patterns.matched(Path::new(OsStr::from_bytes(path)), is_directory).is_ignore()
    }
}

/// Returns whether the directory holds a `CACHEDIR.TAG` with the right beginning.
pub(super) fn is_cache(directory: impl AsFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(tag) = openat(directory, CACHE_TAG, flags, Mode::empty()) else { return false };
    let mut beginning = [0; CACHE_SIGNATURE.len()];
    let mut filled = 0;
    while filled < beginning.len() {
        match read(&tag, &mut beginning[filled..]) {
            Ok(read) if read > 0 => filled += read,
            _ => return false,
        }
    }
    beginning == *CACHE_SIGNATURE
}

/// Inodes to leave out, such as the repository itself: few, so that a list is the quickest to search.
#[derive(Clone, Debug, Default)]
pub(super) struct Skipped(Vec<Identity>);

impl Skipped {
    /// Takes what is at `paths` at this moment, on this machine and below `base`; links are followed, what is missing
    /// means nothing. A filesystem snapshot holds copies of them.
    pub(super) fn find(paths: &[std::path::PathBuf], base: &Base) -> Self {
        use std::os::unix::fs::MetadataExt;
        let mut found: Vec<Identity> = Vec::new();
        for path in paths {
            found.extend(std::fs::metadata(path).ok().map(|at| (at.dev(), at.ino())));
            // As it is in the base: where it really is, since links may lead out of what was snapshotted.
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let copy = StoredPath::from_slashes(real.as_os_str().as_bytes())
                .and_then(|path| base.followed(&path, OFlags::PATH).ok());
            found.extend(copy.and_then(|copy| identity(copy).ok()));
        }
        Self(found)
    }

    /// Returns whether an inode is one of them.
    pub(super) fn contains(&self, inode: Identity) -> bool {
        self.0.contains(&inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_gitignore() {
        let text = "# nothing\n\n*.o\n!keep.o\n/top\nbuild/\na/b\n**/deep/*.c\n\\!odd\n";
        let excludes = Excludes::parse([("--exclude", text)]).unwrap();
        for (path, directory, expected) in [
            ("x/y.o", false, true),
            ("x/keep.o", false, false),
            ("top", true, true),
            ("x/top", false, false),
            ("x/build", true, true),
            ("x/build", false, false),
            ("a/b", false, true),
            ("x/a/b", false, false),
            ("q/deep/z.c", false, true),
            ("q/!odd", false, true),
            ("# nothing", false, false),
        ] {
            assert_eq!(excludes.excludes(path.as_bytes(), directory), expected, "{path}");
        }
        let odd = Excludes::parse([("--exclude", "*.o")]).unwrap();
        assert!(odd.excludes(b"\xff\n/\xfe.o", false), "names are bytes");
    }

    #[test]
    fn later_texts_win_and_a_bad_pattern_is_named() {
        let excludes = Excludes::parse([("a file", "*.log"), ("--exclude", "!my.log")]).unwrap();
        assert!(excludes.excludes(b"x.log", false) && !excludes.excludes(b"my.log", false));
        let error = Excludes::parse([("a file", "fine\n{a,b")]).unwrap_err();
        assert_eq!((&error.place[..], &error.pattern[..]), ("a file, line 2", "{a,b"));
    }

    #[test]
    fn only_the_signature_makes_a_cache() {
        let scratch = tempfile::tempdir().unwrap();
        let open = || std::fs::File::open(scratch.path()).unwrap();
        let tag = scratch.path().join("CACHEDIR.TAG");
        assert!(!is_cache(open()));
        std::fs::write(&tag, &CACHE_SIGNATURE[..42]).unwrap();
        assert!(!is_cache(open()));
        std::fs::write(&tag, [&CACHE_SIGNATURE[..], b"\nmore"].concat()).unwrap();
        assert!(is_cache(open()));
    }
}
