//! The words every floor's errors share: what a caller can decide on, and how damage is told.
//!
//! Each floor has its own error enum, which wraps the enum of the floor below and answers `kind()`.
//! Only these words are shared, so this file knows nobody.

use std::fmt;

/// What kind of failure it was, for programs to decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The thing asked for is not there.
    Missing,
    /// There is no repository at the place.
    NoRepository,
    /// A repository, or another object that may be written only once, is there already.
    Exists,
    /// Stored bytes are damaged, forged or not what their name says.
    Integrity,
    /// No slot opens with this passphrase or key file.
    WrongKey,
    /// Written by a newer program, or needs a feature that this build does not know.
    TooNew,
    /// The request itself is refused: a bad argument, a limit, a missing right of the key in use.
    Refused,
    /// Something else uses it at this moment.
    Busy,
    /// No room is left: bytes, inodes or quota.
    NoSpace,
    /// The system refused access.
    Permission,
    /// Reading or writing failed.
    Io,
    /// The caller asked to stop.
    Cancelled,
    /// A fault of this program: an invariant did not hold.
    Internal,
}

/// Stored bytes that are not what they must be: what, where, and what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The object or structure, as a person would name it: `packs/ab/ab12…`, `map node`.
    pub what: String,
    /// Byte offset in it, where one is known.
    pub offset: Option<u64>,
    /// What is wrong, in a clause: `length 12 exceeds the 8 bytes left`.
    pub wrong: String,
}

impl Corrupt {
    /// Describes damage in `what`.
    pub fn new(what: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self { what: what.into(), offset: None, wrong: wrong.into() }
    }

    /// Adds the byte offset at which the damage shows.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Names the object that holds the structure; the structure stays in the text.
    #[must_use]
    pub fn within(mut self, object: impl fmt::Display) -> Self {
        self.what = format!("{object} ({})", self.what);
        self
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.wrong)
    }
}

impl std::error::Error for Corrupt {}
