//! Spaces: named stores for what is about to be changed, so that it can be put back.
//!
//! ```text
//! mod.rs      Spaces, Space: what a caller sees
//! store.rs    the store's directory: names, locks, the order of writing
//! index.rs    what a space holds
//! seal.rs     sealed files
//! archive.rs  a tree as one stream
//! replace.rs  written beside, then renamed, all or none
//! error.rs    SpaceError
//! ```
//!
//! ```text
//! DIR/                       mode 0700
//!   key                      32 random bytes and their BLAKE3 hash, mode 0600
//!   ID/                      one space
//!     lock                   held (flock) by whoever reads or changes the index
//!     index                  sealed JSON: replaced as a whole, after the object it names
//!     <64 hex>               a sealed object, named for its content by a keyed hash
//!     <16 hex>.new           one that is being written, held by its writer (flock); anything unheld is rubbish
//! ```
//!
//! A space is thread-safe and may be used by several processes at once; whoever dies leaves what was put, and
//! nothing of what was not. The key lies beside what it seals: it keeps the content from whoever gets hold of single
//! files, copies or disks of the objects, not from whoever can read the whole directory.
//!
//! No symbolic link is followed: one that is put is a link when it is restored, and a path whose parents are links is
//! refused.

mod archive;
mod error;
mod index;
mod replace;
mod seal;
mod store;
#[cfg(test)]
mod tests;

pub use error::SpaceError;
pub use index::{ObjectKind, SpaceObject};
pub use store::SpaceReader;

use crate::id::ModuleId;
use crate::planted::{Bug, planted};
use index::Index;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use store::Store;

/// Most bytes of a value that is read as a whole: 64 MiB.
pub const MAX_VALUE: u64 = 64 << 20;
/// Most objects of one space.
pub const MAX_OBJECTS: usize = 65_536;

/// The spaces of one machine, or one user.
#[derive(Clone, Debug)]
pub struct Spaces {
    store: Store,
}

/// One space. Clones are the same space.
#[derive(Clone, Debug)]
pub struct Space {
    store: Store,
    id: String,
}

/// What is known of a space without looking into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceInfo {
    /// Its id.
    pub id: String,
    /// Whether it stays until somebody removes it.
    pub is_persistent: bool,
    /// How many objects it holds.
    pub objects: usize,
    /// Their bytes, before sealing.
    pub bytes: u64,
    /// When something was last put or deleted, by the file system's clock.
    pub changed: Option<SystemTime>,
}

/// What there is to say of each of several spaces, by id.
pub type OfEach<T> = Vec<(String, Result<T, SpaceError>)>;

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The paths, in the order in which they were put back: the last that was put comes first.
    pub paths: Vec<PathBuf>,
    /// Metadata that could not be set.
    pub notes: Vec<String>,
}

impl Spaces {
    /// Opens the store in `dir`, which is made at first use with a key of its own.
    pub fn open(dir: &Path) -> Result<Self, SpaceError> {
        Ok(Self { store: Store::open(dir)? })
    }

    /// Returns the space `id`, made at first use. One that is persistent stays so.
    pub fn get(&self, id: &str, is_persistent: bool) -> Result<Space, SpaceError> {
        let space = self.space(id)?;
        self.store.make(&space.id, is_persistent)?;
        Ok(space)
    }

    /// Returns the space `id`, if it is there.
    pub fn existing(&self, id: &str) -> Result<Space, SpaceError> {
        let space = self.space(id)?;
        self.store.read(&space.id)?;
        Ok(space)
    }

    fn space(&self, id: &str) -> Result<Space, SpaceError> {
        // An id of a module is one of a space: the default is the module's own.
        match ModuleId::parse(id) {
            Ok(parsed) => Ok(Space { store: self.store.clone(), id: parsed.as_str().to_owned() }),
            Err(_) => Err(SpaceError::BadId(id.chars().take(80).collect())),
        }
    }

    /// Ends work with a space: a temporary one is removed. An unknown id is an error. Returns whether it stays.
    pub fn close(&self, id: &str) -> Result<bool, SpaceError> {
        let space = self.existing(id)?;
        let stays = self.store.read(&space.id)?.persistent;
        if !stays && !planted(Bug::CloseNothing) {
            self.store.remove(&space.id)?;
        }
        Ok(stays)
    }

    /// Lists the spaces there are, by id; one whose index cannot be read is listed with its error.
    pub fn list(&self) -> Result<OfEach<SpaceInfo>, SpaceError> {
        let ids = self.store.ids()?;
        Ok(ids.into_iter().map(|id| (id.clone(), self.info(&id))).collect())
    }

    fn info(&self, id: &str) -> Result<SpaceInfo, SpaceError> {
        let index = self.store.read(id)?;
        Ok(SpaceInfo {
            id: id.to_owned(),
            is_persistent: index.persistent,
            objects: index.objects.len(),
            bytes: index.objects.iter().fold(0, |sum: u64, object| sum.saturating_add(object.bytes)),
            changed: self.store.changed(id),
        })
    }

    /// Makes a space persistent.
    pub fn keep(&self, id: &str) -> Result<(), SpaceError> {
        let space = self.existing(id)?;
        self.store.change(&space.id, |index| {
            index.persistent = true;
            Ok(())
        })
    }

    /// Removes a space with all that is in it.
    pub fn remove(&self, id: &str) -> Result<(), SpaceError> {
        let space = self.existing(id)?;
        self.store.remove(&space.id)
    }

    /// Puts back what is in the named spaces, or in all persistent ones: each whole or not at all. A failure of one
    /// does not keep the others from it.
    pub fn revert(&self, ids: Option<&[&str]>) -> Result<OfEach<Replayed>, SpaceError> {
        let ids: Vec<String> = match ids {
            Some(ids) => ids.iter().map(ToString::to_string).collect(),
            None => {
                let all = self.list()?.into_iter();
                all.filter(|(_, info)| info.as_ref().map_or(true, |info| info.is_persistent))
                    .map(|(id, _)| id)
                    .collect()
            }
        };
        Ok(ids
            .into_iter()
            .map(|id| (id.clone(), self.existing(&id).and_then(|space| space.replay())))
            .collect())
    }
}

impl Space {
    /// Returns its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Puts a copy of a file, tree, link or special file into the space; the name is the path if none is given. A
    /// name or path that is there already is an error.
    pub fn put_path(&self, path: &Path, name: Option<&str>) -> Result<(), SpaceError> {
        let path = index::absolute(path)?;
        let name = name.map_or_else(|| index::default_name(&path), ToOwned::to_owned);
        index::check_name(&name)?;
        let object = SpaceObject::of_path(&name, &path)?;
        self.store.read(&self.id)?.check_free(&object)?;
        self.store.put(&self.id, object, |object, to| {
            let packed = archive::pack(&path, self.store.dir(), to)?;
            object.kind = ObjectKind::of(packed.kind);
            object.entries = packed.entries;
            Ok(())
        })
    }

    /// Puts a value under a name. `kind` says what it is, for whoever reads it: a word such as `text` or `json`.
    pub fn put_value(&self, name: &str, value: &[u8], kind: &str) -> Result<(), SpaceError> {
        self.put_stream(name, &mut &*value, kind)
    }

    /// Puts a value of any length under a name.
    pub fn put_stream(&self, name: &str, value: &mut dyn Read, kind: &str) -> Result<(), SpaceError> {
        index::check_name(name)?;
        index::check_kind(kind)?;
        let object = SpaceObject::of_value(name, kind);
        self.store.read(&self.id)?.check_free(&object)?;
        self.store.put(&self.id, object, |_, to| {
            std::io::copy(value, to).map(drop).map_err(|source| SpaceError::Io {
                doing: "copy into the space the value",
                path: name.into(),
                source,
            })
        })
    }

    /// Puts an object back to where it came from, or to `to`. What is there goes only when the copy is whole.
    pub fn restore_name(&self, name: &str, to: Option<&Path>) -> Result<Replayed, SpaceError> {
        let index = self.store.read(&self.id)?;
        let object = index.named(name)?;
        self.restore(object, to)
    }

    /// Puts the object back that came from `path`; with `name`, puts that object to `path`.
    pub fn restore_path(&self, path: &Path, name: Option<&str>) -> Result<Replayed, SpaceError> {
        match name {
            Some(name) => self.restore_name(name, Some(path)),
            None => {
                let index = self.store.read(&self.id)?;
                let object = index.from(&index::absolute(path)?)?;
                self.restore(object, None)
            }
        }
    }

    fn restore(&self, object: &SpaceObject, to: Option<&Path>) -> Result<Replayed, SpaceError> {
        let target = match to {
            Some(to) => index::absolute(to)?,
            None => object.origin.clone().ok_or_else(|| SpaceError::IsValue(object.name.clone()))?,
        };
        replace::replace(&self.store, &self.id, &[(object, target)])
    }

    /// Returns a value, if it is at most [`MAX_VALUE`] bytes.
    pub fn value(&self, name: &str) -> Result<Vec<u8>, SpaceError> {
        let mut value = Vec::new();
        let reader = self.value_reader(name)?;
        reader
            .take(MAX_VALUE + 1)
            .read_to_end(&mut value)
            .map_err(|error| self.store.unreadable(&self.id, error))?;
        match value.len() as u64 > MAX_VALUE {
            true => Err(SpaceError::TooLarge(name.to_owned())),
            false => Ok(value),
        }
    }

    /// Returns a value as a stream.
    pub fn value_reader(&self, name: &str) -> Result<SpaceReader, SpaceError> {
        let index = self.store.read(&self.id)?;
        let object = index.named(name)?;
        match object.kind {
            ObjectKind::Value(_) => self.store.reader(&self.id, object),
            _ if planted(Bug::ForgetKind) => self.store.reader(&self.id, object),
            _ => Err(SpaceError::IsPath(name.to_owned())),
        }
    }

    /// Returns whether there is an object of this name, or from this path; with both, whether that name holds that path.
    pub fn exists(&self, name: Option<&str>, path: Option<&Path>) -> Result<bool, SpaceError> {
        let path = path.map(index::absolute).transpose()?;
        if name.is_none() && path.is_none() {
            return Err(SpaceError::NothingAsked);
        }
        let index = self.store.read(&self.id)?;
        Ok(index.objects.iter().any(|object| {
            name.is_none_or(|name| object.name == name)
                && path.as_ref().is_none_or(|path| match planted(Bug::ExistsByName) {
                    true => Path::new(&object.name) == path,
                    false => object.origin.as_ref() == Some(path),
                })
        }))
    }

    /// Removes an object.
    pub fn delete(&self, name: &str) -> Result<(), SpaceError> {
        self.store.change(&self.id, |index| index.take(name).map(drop))?;
        self.store.clean(&self.id)
    }

    /// Returns what is in the space, in the order of putting.
    pub fn list(&self) -> Result<Vec<SpaceObject>, SpaceError> {
        Ok(self.store.read(&self.id)?.objects)
    }

    /// Puts every path back, in reverse order of putting: all of them or none. The space stays as it is, so that it
    /// may be repeated.
    pub fn replay(&self) -> Result<Replayed, SpaceError> {
        let Index { objects, .. } = self.store.read(&self.id)?;
        let back: Vec<_> =
            objects.iter().rev().filter_map(|object| Some((object, object.origin.clone()?))).collect();
        replace::replace(&self.store, &self.id, &back)
    }
}
