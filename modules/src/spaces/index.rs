//! What a space holds: names, where things came from, where they lie.

use super::{MAX_OBJECTS, SpaceError};
use crate::folder::{Folder, Links};
use dedup_engine::backup::source::EntryKind;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A regular file.
    File,
    /// A directory with all below it.
    Directory,
    /// A symbolic link, itself.
    Symlink,
    /// A pipe, socket or device.
    Special,
    /// Plain data of a kind.
    Value(String),
}

/// One object of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceObject {
    /// Its name.
    pub name: String,
    /// The path it came from; none for a value.
    #[serde(with = "path_bytes")]
    pub origin: Option<PathBuf>,
    /// What it is.
    pub kind: ObjectKind,
    /// Its length in bytes, metadata included.
    pub bytes: u64,
    /// Files, directories and so on in it.
    pub entries: u64,
    /// The file it lies in: the keyed hash of its content.
    pub(super) address: String,
    /// Mode, owner and group of the directories above it, outermost first: for those that are gone.
    pub(super) parents: Vec<(u32, u32, u32)>,
}

/// What a space holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub(super) version: u32,
    pub(super) id: String,
    pub(super) persistent: bool,
    /// In the order of putting.
    pub(super) objects: Vec<SpaceObject>,
    /// Names beside the targets of a replay that may not have ended: directory and name.
    #[serde(with = "list_of_bytes")]
    pub(super) staged: Vec<PathBuf>,
}

/// Paths as bytes in hexadecimal: JSON has only text.
mod path_bytes {
    use super::{OsStrExt, OsString, OsStringExt, Path, PathBuf};
    use dedup_engine::id::to_hex;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn hex(path: &Path) -> String {
        to_hex(path.as_os_str().as_bytes())
    }

    pub(super) fn path(hex: &str) -> Option<PathBuf> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = hex.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?));
        bytes.collect::<Option<Vec<u8>>>().map(|bytes| OsString::from_vec(bytes).into())
    }

    pub(super) fn serialize<S: Serializer>(of: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        of.as_deref().map(hex).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let hex = Option::<String>::deserialize(from)?;
        hex.map(|hex| path(&hex).ok_or_else(|| Error::custom("no path"))).transpose()
    }
}

mod list_of_bytes {
    use super::{PathBuf, path_bytes};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(of: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        of.iter().map(|path| path_bytes::hex(path)).collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let all = Vec::<String>::deserialize(from)?;
        all.iter().map(|hex| path_bytes::path(hex).ok_or_else(|| Error::custom("no path"))).collect()
    }
}

impl ObjectKind {
    pub(super) fn of(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File => Self::File,
            EntryKind::Directory => Self::Directory,
            EntryKind::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }
}

impl SpaceObject {
    /// Begins an object that comes from `path`; looks at the directories above it.
    pub(super) fn of_path(name: &str, path: &Path) -> Result<Self, SpaceError> {
        let mut parents = Vec::new();
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for parent in above.into_iter().rev().skip(1) {
            let bad = |error: std::io::Error| SpaceError::BadPath {
                path: parent.to_owned(),
                wrong: error.to_string(),
            };
            let folder = match Folder::open(parent, Links::Refuse) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(SpaceError::Absent(path.to_owned()));
                }
                result => result.map_err(bad)?,
            };
            let stat = folder.stat(".").map_err(bad)?.ok_or_else(|| SpaceError::Absent(path.to_owned()))?;
            parents.push((u32::from(stat.stx_mode) & 0o7777, stat.stx_uid, stat.stx_gid));
        }
        let origin = Some(path.to_owned());
        Ok(Self {
            name: name.to_owned(),
            origin,
            kind: ObjectKind::File,
            bytes: 0,
            entries: 0,
            address: String::new(),
            parents,
        })
    }

    pub(super) fn of_value(name: &str, kind: &str) -> Self {
        let kind = ObjectKind::Value(kind.to_owned());
        Self {
            name: name.to_owned(),
            origin: None,
            kind,
            bytes: 0,
            entries: 0,
            address: String::new(),
            parents: vec![],
        }
    }
}

impl Index {
    pub(super) fn new(id: &str, persistent: bool) -> Self {
        Self { version: 1, id: id.to_owned(), persistent, objects: Vec::new(), staged: Vec::new() }
    }

    pub(super) fn named(&self, name: &str) -> Result<&SpaceObject, SpaceError> {
        let none = || SpaceError::NoName { space: self.id.clone(), name: name.to_owned() };
        self.objects.iter().find(|object| object.name == name).ok_or_else(none)
    }

    pub(super) fn from(&self, path: &Path) -> Result<&SpaceObject, SpaceError> {
        let none = || SpaceError::NoOrigin { space: self.id.clone(), path: path.to_owned() };
        self.objects.iter().find(|object| object.origin.as_deref() == Some(path)).ok_or_else(none)
    }

    pub(super) fn take(&mut self, name: &str) -> Result<SpaceObject, SpaceError> {
        let at = self.objects.iter().position(|object| object.name == name);
        let none = || SpaceError::NoName { space: self.id.clone(), name: name.to_owned() };
        at.map(|at| self.objects.remove(at)).ok_or_else(none)
    }

    /// Says whether an object may come in.
    pub(super) fn check_free(&self, new: &SpaceObject) -> Result<(), SpaceError> {
        if self.objects.iter().any(|object| object.name == new.name) {
            return Err(SpaceError::NameTaken { space: self.id.clone(), name: new.name.clone() });
        }
        if let Some(path) = &new.origin
            && self.objects.iter().any(|object| object.origin.as_ref() == Some(path))
        {
            return Err(SpaceError::PathTaken { space: self.id.clone(), path: path.clone() });
        }
        if self.objects.len() >= MAX_OBJECTS {
            return Err(SpaceError::Full(self.id.clone()));
        }
        Ok(())
    }
}

/// Returns the one way to write a path: absolute, without `.` and doubled slashes. `..` is refused: what it means
/// depends on links.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, SpaceError> {
    let bad = |wrong: &str| SpaceError::BadPath { path: path.to_owned(), wrong: wrong.to_owned() };
    if !path.is_absolute() {
        return Err(bad("it is not an absolute path"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(bad("a path must not go up by `..`"));
    }
    let clean: PathBuf = path.components().collect();
    match clean.file_name() {
        Some(_) => Ok(clean),
        None => Err(bad("the root directory itself is not kept; name what is below it")),
    }
}

/// Returns the name of a path for which none is given: the path, in which bytes that are no text are escaped.
pub(super) fn default_name(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => path.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

pub(super) fn check_name(name: &str) -> Result<(), SpaceError> {
    match name.is_empty() || name.len() > 16_384 || name.chars().any(char::is_control) {
        true => Err(SpaceError::BadName(name.chars().take(80).collect())),
        false => Ok(()),
    }
}

/// A kind is a word, and none of the forms whose reading runs what is in them.
pub(super) fn check_kind(kind: &str) -> Result<(), SpaceError> {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._+/-".contains(&byte);
    let runs = ["pickle", "marshal", "dill", "shelve", "executable", "program", "serialized", "serialised"];
    let is_right = (1..=64).contains(&kind.len()) && kind.bytes().all(ok);
    match is_right && !runs.iter().any(|word| kind.to_ascii_lowercase().contains(word)) {
        true => Ok(()),
        false => Err(SpaceError::BadKind(kind.chars().take(80).collect())),
    }
}
