//! Stored paths: bytes, components joined by NUL, nothing that could leave a root.

use crate::error::Corrupt;
use crate::format::{MAX_COMPONENT, MAX_DEPTH, MAX_KEY};
use std::fmt;

/// A place in a listing: components joined by NUL; the empty path is the root directory itself.
///
/// Each component has 1 to 255 bytes, without NUL and `/`, and is neither `.` nor `..`. The order of
/// the bytes puts a directory just before its contents.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoredPath(Vec<u8>);

impl StoredPath {
    /// Returns the root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes a key of a listing, checking every component.
    pub fn from_key(key: &[u8]) -> Result<Self, Corrupt> {
        let corrupt = |wrong: &str| Corrupt::new("stored path", wrong);
        if key.is_empty() {
            return Ok(Self::root());
        }
        if key.len() > MAX_KEY {
            return Err(corrupt("longer than 65,536 bytes"));
        }
        let mut depth = 0usize;
        for component in key.split(|byte| *byte == 0) {
            depth += 1;
            if !is_component(component) {
                return Err(corrupt(&format!("bad component {:?}", component.escape_ascii().to_string())));
            }
        }
        if depth > MAX_DEPTH {
            return Err(corrupt("more than 32,768 components"));
        }
        Ok(Self(key.to_vec()))
    }

    /// Returns the path of `name` below this one, or `None` if the name is no component or the path
    /// would become longer than a key may be.
    pub fn join(&self, name: &[u8]) -> Option<Self> {
        if !is_component(name) || self.0.len() + 1 + name.len() > MAX_KEY {
            return None;
        }
        let mut key = Vec::with_capacity(self.0.len() + 1 + name.len());
        if !self.0.is_empty() {
            key.extend_from_slice(&self.0);
            key.push(0);
        }
        key.extend_from_slice(name);
        Some(Self(key))
    }

    /// Reads a path as people write it: components between slashes, leading and repeated slashes
    /// without meaning, `.` left out. `None` for `..` and for components that cannot be stored.
    pub fn from_slashes(path: &[u8]) -> Option<Self> {
        path.split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty() && component != b".")
            .try_fold(Self::root(), |path, component| path.join(component))
    }

    /// Returns the key in the listing.
    pub fn as_key(&self) -> &[u8] {
        &self.0
    }

    /// Returns the components, from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == 0).filter(|component| !component.is_empty())
    }

    /// Returns the last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// Returns the directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == 0).unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// Returns whether it is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.0.is_empty()
            || self.0.strip_prefix(&other.0[..]).is_some_and(|rest| rest.is_empty() || rest[0] == 0)
    }

    /// Returns the part below `base`, if it lies there.
    pub fn below(&self, base: &Self) -> Option<Self> {
        if !self.is_within(base) {
            return None;
        }
        let rest = &self.0[base.0.len()..];
        Some(Self(rest.strip_prefix(&[0]).unwrap_or(rest).to_vec()))
    }

    /// Returns the components joined by slashes, without a leading one.
    pub fn to_slashes(&self) -> Vec<u8> {
        self.0.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect()
    }
}

/// Returns whether `name` may be a component of a stored path.
pub fn is_component(name: &[u8]) -> bool {
    (1..=MAX_COMPONENT).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

impl fmt::Debug for StoredPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.to_slashes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> StoredPath {
        StoredPath::from_slashes(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_directory_comes_just_before_its_contents() {
        let mut paths = [path("a.b"), path("a/b/c"), path("a"), path("a!"), path("a/b"), path("")];
        paths.sort();
        let shown: Vec<_> = paths.iter().map(|p| String::from_utf8(p.to_slashes()).unwrap()).collect();
        assert_eq!(shown, ["", "a", "a/b", "a/b/c", "a!", "a.b"]);
    }

    #[test]
    fn names_that_could_escape_are_refused() {
        for bad in [&b".."[..], b"a\0..", b".", b"a/b", b"a\0", b"\0a", b"a\0\0b", &[b'x'; 256]] {
            assert!(StoredPath::from_key(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
        assert_eq!(StoredPath::from_slashes(b"/a/../b"), None);
        assert_eq!(path("//a/./b/"), path("a/b"));
    }

    #[test]
    fn below_and_within_respect_components() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
        assert_eq!(path("a/b/c").below(&path("a")), Some(path("b/c")));
        assert_eq!(path("a").below(&path("a")), Some(path("")));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(path("")));
        assert_eq!(path("").parent(), None);
    }

    proptest! {
        #[test]
        fn keys_round_trip(parts in proptest::collection::vec("[a-c.]{1,3}", 0..5)) {
            let joined = parts.iter().try_fold(StoredPath::root(), |p, c| p.join(c.as_bytes()));
            if let Some(path) = joined {
                prop_assert_eq!(&StoredPath::from_key(path.as_key()).unwrap(), &path);
                let back: Vec<_> = path.components().map(<[u8]>::to_vec).collect();
                prop_assert_eq!(back, parts.iter().map(|p| p.as_bytes().to_vec()).collect::<Vec<_>>());
            }
        }
    }
}
