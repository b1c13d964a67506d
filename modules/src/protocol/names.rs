//! Names, keys, paths and labels as they come over the wire.

use super::violation::shown;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Longest name of a stream in bytes.
pub const MAX_NAME_BYTES: usize = 200;
/// Longest key of the configuration in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest path in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// The name of a blob, of records, of a tree or of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let wrong = |why| Err(format!("the name \"{}\" {why}", shown(&name)));
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return wrong("must have 1 to 200 bytes");
        }
        if name.starts_with('.') || name.contains('/') || name.chars().any(char::is_control) {
            return wrong("must not begin with a dot, nor have a slash or control characters");
        }
        Ok(Self(name))
    }
}

/// A key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Key(String);

impl Key {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        match key.len() {
            1..=MAX_KEY_BYTES => Ok(Self(key)),
            _ => Err("a key must have 1 to 1024 bytes".into()),
        }
    }
}

/// A path: absolute, without `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WirePath(PathBuf);

impl WirePath {
    /// Checks a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        let shown = || shown(&String::from_utf8_lossy(&bytes));
        let is_part = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        let below = bytes.strip_prefix(b"/");
        let right =
            below.is_some_and(|rest| rest.is_empty() || rest.split(|byte| *byte == b'/').all(is_part));
        if !right || bytes.len() > MAX_PATH_BYTES {
            return Err(format!("the path \"{}\" must be absolute, without empty, . or .. parts", shown()));
        }
        Ok(Self(PathBuf::from(OsString::from_vec(bytes))))
    }

    /// Returns the path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Serialize for WirePath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        path_json(&self.0).serialize(to)
    }
}

/// Returns a path as it is written: as text, or as bytes where it is none.
pub fn path_json(path: &Path) -> serde_json::Value {
    match path.to_str() {
        Some(text) => text.into(),
        None => serde_json::json!({ "$b": STANDARD.encode(path.as_os_str().as_bytes()) }),
    }
}

impl<'de> Deserialize<'de> for WirePath {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct PathVisitor;
        impl<'de> Visitor<'de> for PathVisitor {
            type Value = WirePath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, as text or {\"$b\":…}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WirePath, E> {
                WirePath::new(text.as_bytes().to_vec()).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WirePath, A::Error> {
                let wrong = || de::Error::custom("a path is text or {\"$b\":…}");
                match map.next_entry::<String, String>()? {
                    Some((key, text)) if key == "$b" && map.next_key::<String>()?.is_none() => {
                        let bytes = STANDARD.decode(&text).map_err(|_| wrong())?;
                        if std::str::from_utf8(&bytes).is_ok() {
                            return Err(de::Error::custom("a path that is UTF-8 is written as text"));
                        }
                        WirePath::new(bytes).map_err(de::Error::custom)
                    }
                    _ => Err(wrong()),
                }
            }
        }
        reader.deserialize_any(PathVisitor)
    }
}

impl AsRef<OsStr> for WirePath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}
