//! Directory trees: read by [`FilesSource`], written by [`FilesSink`].
//!
//! ```text
//! source.rs    FilesSource: roots, and what is asked of single entries
//!   options.rs   what a caller chooses about a walk
//!   layout.rs    the declared items of a module: where they are, which section has what; glob.rs: patterns
//!   roots.rs     where a walk begins, by which rules, and where it must not go
//!   outcomes.rs  what became of each declared item
//!   base.rs      the directory that stands for `/`
//!   walk.rs      the walk: depth first, in byte order, by handles; telling.rs: what it hands out and tells
//!   names.rs     the sorted names of one directory; spill.rs: of a huge one
//!   dirs.rs      directories of which only a few are open at a time
//!   excludes.rs  patterns, cache tags, inodes to leave out
//!   read.rs      regular files and their holes
//! sink.rs      FilesSink: the engine's calls; choices.rs: what a caller chooses about a restore
//!   publish.rs   where an entry goes, what becomes of what is there, how the new one gets its name
//!   room.rs      how much room is needed
//!   aside/       the way back: what is replaced is kept, and can be put back
//!   place.rs     directories of the target, never through a link; beneath.rs: how they are opened
//!   apply.rs     metadata, on open inodes only
//!   made.rs      links, special files, further names
//! compare.rs   CompareSink: a restore that only says what differs
//! meta.rs      what the system says of an inode; extended attributes
//! owners.rs    names of users and groups
//! temporary.rs names of temporary files
//! ```
//!
//! Everything here goes by directory handles and names of one component, so no length or depth of a path
//! matters and no symbolic link is ever followed.

mod allowed;
mod apply;
mod aside;
mod base;
mod beneath;
mod choices;
mod compare;
mod dirs;
mod excludes;
mod glob;
mod layout;
mod made;
mod meta;
mod names;
mod options;
mod outcomes;
mod owners;
mod place;
mod publish;
mod read;
mod room;
mod roots;
mod sink;
mod source;
mod spill;
mod telling;
mod temporary;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use meta::xattrs_by_path;
pub(crate) use spill::unlinked_file;

pub use allowed::Allowed;
pub use aside::{AsideError, Safety, TakenBack, aside_places, settle, take_back};
pub use choices::{OnConflict, OwnerChoice, SinkOptions, XattrChoice};
pub use compare::CompareSink;
pub use excludes::{Excludes, PatternError};
pub use layout::{Declared, Layout, Reach};
pub use options::{ElsewhereNotice, FilesOptions, SkipNotice};
pub use outcomes::ItemReport;
pub use room::{Room, RoomNeeded};
pub use roots::Rules;
pub use sink::{ExistingFile, FilesSink, NewFile};
pub use source::{FileHandle, FilesSource, RootError};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data is whole after every statement, so that a panic elsewhere changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
