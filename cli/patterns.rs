//! Patterns of paths that arguments give: which entries are meant.

use crate::failure::Failure;
use dedup_engine::listing::{Node, StoredPath};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What `--include` and `--exclude` let through.
pub struct Patterns {
    include: Gitignore,
    exclude: Gitignore,
}

impl Patterns {
    /// Reads both lists.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, Failure> {
        Ok(Self { include: patterns("--include", include)?, exclude: patterns("--exclude", exclude)? })
    }

    /// Decides on one entry. An include counts for all below it, and so does an exclude.
    pub fn select(&self, path: &StoredPath, node: &Node) -> bool {
        let slashes = path.to_slashes();
        // The root directory itself has no name that a pattern could match.
        if slashes.is_empty() {
            return self.include.is_empty();
        }
        let matches = |patterns: &Gitignore| {
            let path = Path::new(OsStr::from_bytes(&slashes));
            !patterns.is_empty()
                && patterns.matched_path_or_any_parents(path, node.is_directory()).is_ignore()
        };
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

/// Reads patterns in the manner of .gitignore, as if the file lay in the root of the listing.
pub fn patterns(option: &str, patterns: &[String]) -> Result<Gitignore, Failure> {
    let mut builder = GitignoreBuilder::new("/");
    let refused = |error: ignore::Error| Failure::refused(format!("{option}: {error}"));
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(refused)?;
    }
    builder.build().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::test_node::test_node;
    use dedup_engine::listing::Body;

    fn selects(include: &[&str], exclude: &[&str], path: &str) -> bool {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let patterns = Patterns::new(&owned(include), &owned(exclude)).unwrap();
        let body = if path.ends_with('/') { Body::Directory } else { Body::Symlink(b"x".to_vec()) };
        let node = test_node(body);
        patterns.select(&StoredPath::from_slashes(path.as_bytes()).unwrap(), &node)
    }

    #[test]
    fn everything_is_selected_unless_something_is_said() {
        assert!(selects(&[], &[], "") && selects(&[], &[], "home/ann/x"));
        assert!(!selects(&["*.odt"], &[], ""));
    }

    #[test]
    fn patterns_count_for_all_below() {
        assert!(selects(&["/home/ann"], &[], "home/ann/a/b.txt"));
        assert!(!selects(&["/home/ann"], &[], "home/bob/a"));
        assert!(selects(&["*.odt"], &[], "home/ann/a.odt"));
        assert!(!selects(&[], &["cache/"], "home/cache/x"));
        assert!(selects(&[], &["cache/"], "home/cache"), "a file is no directory");
        assert!(!selects(&["/home"], &["*.o"], "home/a.o"));
        assert!(
            selects(&["/home", "!/home/bob"], &[], "home/ann")
                && !selects(&["/home", "!/home/bob"], &[], "home/bob")
        );
    }

    #[test]
    fn bad_patterns_are_refused() {
        assert_eq!(
            Patterns::new(&["{a,b".into()], &[]).err().map(|failure| failure.exit),
            Some(Exit::Refused)
        );
    }
}
