//! Where objects live: named byte strings that are written once and never changed.

pub mod local;
pub mod memory;
mod name;

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod fault;

pub use name::{Family, Name, Part};

use crate::error::Kind;
use std::fmt;
use std::io;
use std::ops::Range;

/// What became of a [`Storage::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object was stored by this call.
    Stored,
    /// An object of that name was there already and was left alone.
    Present,
}

/// Where objects live. Crash safety rests on this contract; `tests/engine/contract.rs` holds every
/// implementation to it.
///
/// Implementations know nothing of keys or formats. Calls may come from many threads, and from within
/// the callbacks of [`Storage::list`]. Names that are not [storable](Name::is_storable) name nothing.
pub trait Storage: Send + Sync {
    /// Stores the object, all of it or none.
    ///
    /// After `Ok` both bytes and name survive power loss. After `Err`, or if the process dies, readers
    /// find either no object or the whole one. A name already present is left alone: [`Put::Present`];
    /// of several writers of one name exactly one is told [`Put::Stored`]. What is present survives
    /// power loss as well once this returns, whoever stored it.
    ///
    /// A name that is not storable is refused: [`Trouble::Number`].
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError>;

    /// Returns exactly the bytes of `range`.
    ///
    /// A missing name is [`Trouble::Missing`], a too short object [`Trouble::Short`], a range that ends
    /// before it begins [`Trouble::Range`]; none is worth a retry. Memory for the range is taken once the
    /// object is known to be as long: who asks bounds the range.
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError>;

    /// Returns the whole object, which must not be longer than `max` bytes ([`Trouble::Long`]).
    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError>;

    /// Returns the object's length in bytes, or `None` when there is no such object.
    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError>;

    /// Calls `each` once per object of the family, in no particular order, with its length in bytes.
    ///
    /// Objects put or deleted meanwhile may or may not appear. Whatever else stands where the family's
    /// objects do goes to `foreign`, as its path in the repository; [`Family::Config`] covers everything
    /// outside the folders. An error, also one from `each`, ends the listing and is never "empty".
    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError>;

    /// Calls `each` once per object of the family, in no particular order: [`Storage::list`] for those who do not ask for
    /// lengths, which may cost a look at each object.
    fn list_names(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.list(family, &mut |name, _| each(name), &mut |_| {})
    }

    /// Stores the object in the place of one that has its name and is not what the name says: damaged bytes, which
    /// are no object of the repository. For nothing else: what an object's name names is never changed.
    ///
    /// After `Ok` both bytes and name survive power loss. After `Err`, or if the process dies, readers find what was
    /// there before, the new one whole, or, where a storage cannot do it in one step, nothing.
    fn replace(&self, name: &Name, bytes: &[u8]) -> Result<(), StorageError> {
        self.delete(name)?;
        self.put(name, bytes).map(drop)
    }

    /// Removes the object, durably. Removing what is not there is `Ok`.
    fn delete(&self, name: &Name) -> Result<(), StorageError>;

    /// Says where this is, for people.
    fn place(&self) -> String;
}

/// A storage call that failed: which call, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {call} {name} in {place}: {trouble}")]
pub struct StorageError {
    /// The call, as a verb: `store`, `replace`, `read`, `list`, `delete`, `create`, `open`.
    pub call: &'static str,
    /// Name of the object or family.
    pub name: String,
    /// Where the storage is.
    pub place: String,
    /// Why.
    pub trouble: Trouble,
}

/// Why a storage call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no such object.
    #[error("it is not there")]
    Missing,
    /// The object ends before the range asked for.
    #[error("it has {have} bytes, {need} are needed")]
    Short {
        /// Length found.
        have: u64,
        /// Length that the range needs.
        need: u64,
    },
    /// The object is longer than any of its kind may be.
    #[error("it has {have} bytes, at most {max} are allowed")]
    Long {
        /// Length found.
        have: u64,
        /// Most that is allowed.
        max: u64,
    },
    /// A range whose end is before its start.
    #[error("the range of bytes from {start} to {end} ends before it begins")]
    Range {
        /// First byte asked for.
        start: u64,
        /// Byte after the last one.
        end: u64,
    },
    /// The number in the name is none that the format has.
    #[error("its number is not between 1 and {}", Name::MAX_NUMBER)]
    Number,
    /// A folder, link, pipe or the like has the name of an object.
    #[error("what has this name is not a file; look at it, then move it away")]
    NotFile,
    /// The place holds no repository folder, or cannot be used as one.
    #[error("{0}")]
    Place(String),
    /// An earlier failed sync leaves the state of the disk unknown; nothing more is written.
    #[error(
        "an earlier write could not be made durable, so nothing more is written; \
         check the disk, then start again"
    )]
    Poisoned,
    /// The system said no.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl StorageError {
    /// Describes a call that failed; `call` is a verb.
    pub fn new(call: &'static str, name: impl fmt::Display, place: String, trouble: Trouble) -> Self {
        Self { call, name: name.to_string(), place, trouble }
    }

    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match &self.trouble {
            Trouble::Missing => Kind::Missing,
            Trouble::Short { .. } | Trouble::Long { .. } | Trouble::NotFile => Kind::Integrity,
            Trouble::Range { .. } | Trouble::Number => Kind::Refused,
            // Where one is to be made, nobody expects one.
            Trouble::Place(_) if self.call == "create" => Kind::Refused,
            Trouble::Place(_) => Kind::NoRepository,
            Trouble::Poisoned => Kind::Io,
            Trouble::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Permission,
                _ => Kind::Io,
            },
        }
    }

    /// Returns whether the object simply is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.trouble, Trouble::Missing)
    }
}
