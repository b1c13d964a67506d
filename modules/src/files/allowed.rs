//! Which places of this machine a manifest declares: a restore of its module touches no others, wherever a snapshot says
//! that its data were.

use super::glob::Pattern;
use super::layout::Reach;
use dedup_engine::listing::StoredPath;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a manifest declares, as paths here: as they stand there, and where links lead that are there already.
#[derive(Debug, Default)]
pub struct Allowed {
    /// With everything below.
    whole: Vec<StoredPath>,
    /// The entry only.
    single: Vec<StoredPath>,
    patterns: Vec<Pattern>,
}

impl Allowed {
    /// Allows a declared path and everything below it; of a pattern, whatever it could match.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, path: &Path, reach: Reach) -> Result<(), String> {
        if reach == Reach::Pattern {
            let pattern = Pattern::parse(path.as_os_str().as_bytes())?;
            let directory = resolved(Path::new(std::ffi::OsStr::from_bytes(
                &[b"/", &pattern.directory.to_slashes()[..]].concat(),
            )));
            if let Some(directory) = stored(&directory).filter(|directory| *directory != pattern.directory) {
                self.patterns.push(Pattern { directory, ..Pattern::parse(path.as_os_str().as_bytes())? });
            }
            self.patterns.push(pattern);
            return Ok(());
        }
        let places = if reach == Reach::Entry { &mut self.single } else { &mut self.whole };
        for path in [path, &resolved(path)] {
            let place = stored(path).ok_or_else(|| format!("{} is no path of files", path.display()))?;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Ok(())
    }

    /// Returns whether a place is declared, or below one that is.
    pub fn holds(&self, place: &StoredPath) -> bool {
        self.whole.iter().any(|whole| place.is_within(whole))
            || self.single.contains(place)
            || self.patterns.iter().any(|pattern| pattern.admits(place))
    }

    /// Returns whether only the entry itself is declared, and nothing below it.
    pub fn is_single(&self, place: &StoredPath) -> bool {
        self.single.contains(place) && !self.whole.iter().any(|whole| place.is_within(whole))
    }

    /// Returns the declared paths below a place; those that patterns could match are not known.
    pub fn below<'a>(&'a self, place: &'a StoredPath) -> impl Iterator<Item = &'a StoredPath> {
        self.whole.iter().chain(&self.single).filter(move |own| own.is_within(place) && *own != place)
    }
}

fn stored(path: &Path) -> Option<StoredPath> {
    StoredPath::from_slashes(path.as_os_str().as_bytes()).filter(|place| *place != StoredPath::root())
}

/// Returns where a path leads as far as it is there: links in it are resolved, what is missing is taken as it stands.
fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> StoredPath {
        StoredPath::from_slashes(path.as_bytes()).unwrap()
    }

    fn allowed(all: &[(&str, Reach)]) -> Allowed {
        let mut allowed = Allowed::default();
        all.iter().for_each(|(path, reach)| allowed.add(Path::new(path), *reach).unwrap());
        allowed
    }

    #[test]
    fn what_is_declared_is_allowed_and_nothing_else() {
        let allowed = allowed(&[
            ("/no/app", Reach::Tree),
            ("/no/file", Reach::File),
            ("/no/entry", Reach::Entry),
            ("/no/*.conf", Reach::Pattern),
            ("/no/deep/**/x-*", Reach::Pattern),
        ]);
        for path in [
            "/no/app",
            "/no/app/a/b",
            "/no/file",
            "/no/entry",
            "/no/a.conf",
            "/no/a.conf/below",
            "/no/deep/x-1",
            "/no/deep/1/2/x-1/y",
        ] {
            assert!(allowed.holds(&place(path)), "{path}");
        }
        for path in
            ["/no", "/no/apps", "/no/entry/below", "/no/a.config", "/no/sub/a.conf", "/no/deep/y", "/etc/x"]
        {
            assert!(!allowed.holds(&place(path)), "{path}");
        }
        assert!(allowed.is_single(&place("/no/entry")) && !allowed.is_single(&place("/no/file")));
        let above = place("/no");
        let below: Vec<_> = allowed.below(&above).cloned().collect();
        assert_eq!(below, [place("/no/app"), place("/no/file"), place("/no/entry")]);
    }

    /// What was stored of a declared link is where it leads; on a machine that has the link too that is the same place.
    #[test]
    fn links_that_are_there_lead_on() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        let (link, pattern) = (dir.join("link"), dir.join("link/*.conf"));
        for (path, reach) in [(&link, Reach::Tree), (&pattern, Reach::Pattern)] {
            let allowed = allowed(&[(path.to_str().unwrap(), reach)]);
            assert!(allowed.holds(&stored(&dir.join("real/a.conf")).unwrap()));
            assert!(allowed.holds(&stored(&dir.join("link/a.conf")).unwrap()));
            assert!(!allowed.holds(&stored(&dir.join("other/a.conf")).unwrap()));
        }
    }
}
