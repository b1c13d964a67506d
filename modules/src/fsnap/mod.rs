//! Filesystem snapshots: what is read of files is of one moment, and nothing has to stand still while it is read.
//!
//! ```text
//! btrfs.rs     snapshots of btrfs subvolumes, by the program `btrfs`
//! subvolumes.rs where the subvolumes of a btrfs are
//! writable.rs  a subvolume to restore into, and the switch to it
//! whole.rs     a snapshot of the whole system
//! copy.rs      a copy in a directory, where nothing better is to be had
//! mounts.rs    what is mounted where
//! program.rs   running a program and taking what it says
//! ```
//!
//! A run first asks what would be covered ([`SnapshotProvider::plan`]); the answer goes to its undo journal before anything is
//! made, and is enough to remove everything later, whatever became of the run.

mod btrfs;
mod copy;
mod mounts;
mod program;
mod subvolumes;
#[cfg(test)]
mod tests;
mod whole;
mod writable;

pub use btrfs::Btrfs;
pub use copy::DirectoryCopy;
pub use program::ProgramError;
pub use whole::WholePlan;
pub use writable::{SwitchEffect, Switched};

use crate::child::Surroundings;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Beginning of the names of the directories in which snapshots lie; the name of the run follows.
pub const PREFIX: &str = ".dedup-fs-";

/// How much of what was asked for a snapshot covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    All,
    /// These paths, with everything below them.
    Some(Vec<PathBuf>),
    /// Nothing.
    None,
}

/// Everything that is needed to make a snapshot, and to remove it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsSnapshotRef {
    /// Which kind of provider made it.
    pub provider: String,
    /// The run it is for.
    pub run: String,
    /// The directory that holds nothing but it.
    pub place: PathBuf,
    /// The directory in it that looks like `/` for what is covered.
    pub base: PathBuf,
    /// What is copied or snapshotted, outermost first: subvolumes, or the paths themselves.
    pub parts: Vec<PathBuf>,
}

/// A snapshot that would be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it covers of what was asked for.
    pub coverage: Coverage,
    /// For the undo journal; nothing if nothing is covered.
    pub reference: Option<FsSnapshotRef>,
}

/// Makes and removes read-only snapshots of one kind.
pub trait SnapshotProvider {
    /// Its name: `btrfs`, `copy`.
    fn name(&self) -> &'static str;

    /// Says what of `paths` (absolute, they need not exist) a snapshot for the run would cover. Changes nothing.
    fn plan(&self, paths: &[PathBuf], run: &str) -> Result<Plan, FsnapError>;

    /// Takes the snapshot. If that fails, what was made of it is removed with [`delete`](Self::delete).
    fn take(&self, snapshot: &FsSnapshotRef) -> Result<(), FsnapError>;

    /// Removes a snapshot, whole or in part made; one that is not there is removed.
    fn delete(&self, snapshot: &FsSnapshotRef) -> Result<(), FsnapError>;

    /// Finds snapshots that are on this machine, of crashed runs and of those that are at work.
    fn leftovers(&self) -> Result<Vec<FsSnapshotRef>, FsnapError>;
}

/// Removes a snapshot, of whatever kind it is.
pub fn delete(around: &Surroundings, snapshot: &FsSnapshotRef) -> Result<(), FsnapError> {
    match copy::of(around, snapshot) {
        Some(copy) => copy.delete(snapshot),
        None => Btrfs::of(around).delete(snapshot),
    }
}

/// Finds the snapshots of every kind that are on this machine, of crashed runs and of those that are at work; `copies`: where
/// copies are made. What cannot be asked is left out: without btrfs there is nothing of it to be found.
pub fn leftovers(around: &Surroundings, copies: Option<&Path>) -> Vec<FsSnapshotRef> {
    let copy = copies.map(|directory| DirectoryCopy::of(around, directory));
    let copies = copy.and_then(|copy| copy.leftovers().ok()).unwrap_or_default();
    Btrfs::of(around).leftovers().unwrap_or_default().into_iter().chain(copies).collect()
}

/// Why a snapshot was not made or not removed.
#[derive(Debug, thiserror::Error)]
pub enum FsnapError {
    /// A program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The system.
    #[error("cannot {call} {}: {source}", path.display())]
    Io {
        /// What was tried.
        call: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The name of the run, or a reference, cannot be one.
    #[error("{0}")]
    Refused(String),
}

fn io_error<'a>(call: &'static str, path: &'a Path) -> impl Fn(io::Error) -> FsnapError + 'a {
    move |source| FsnapError::Io { call, path: path.to_owned(), source }
}

/// Checks that a run's name can be part of a name of a file.
fn check_run(run: &str) -> Result<(), FsnapError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if run.is_empty() || run.len() > 100 || !run.bytes().all(plain) {
        return Err(FsnapError::Refused(format!("{run:?} cannot be the name of a run")));
    }
    Ok(())
}

/// Checks that a reference, which may come from a journal on disk, names what a provider made.
fn check_reference(snapshot: &FsSnapshotRef, provider: &str) -> Result<(), FsnapError> {
    check_run(&snapshot.run)?;
    let name = format!("{PREFIX}{}", snapshot.run);
    let own = snapshot.place.is_absolute()
        && snapshot.place.file_name().is_some_and(|place| place == name.as_str())
        && snapshot.base == snapshot.place.join("root")
        && snapshot.provider == provider;
    if own {
        return Ok(());
    }
    Err(FsnapError::Refused(format!("{} is no snapshot of {provider}", snapshot.place.display())))
}

/// Returns the deepest directory at or above `path` that exists, links resolved, and what lies below it.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find_map(|at| at.canonicalize().ok()).unwrap_or_else(|| PathBuf::from("/"))
}
