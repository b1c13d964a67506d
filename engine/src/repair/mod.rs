//! Repair: what is sound of something damaged is kept, and whatever is lost is named. Nothing else.
//!
//! - [`packs`]: every sound chunk of a damaged pack is stored anew, durable and in a segment, *before* the pack goes, by the way
//!   of a prune and no other. What has a whole copy elsewhere is not lost. Packs that are not there at all go likewise.
//! - [`snapshots`]: a snapshot that lost something is made anew without it, and says so.
//! - [`segments`]: what tells where chunks lie, made anew from packs.
//! - `losses`: walks snapshots past whatever is damaged, and names it. `remains`: the same for one listing. `remake`: accounts
//!   without what they lost.
//! - `salvage`: chunks out of a damaged pack. `found`: which packs are damaged. `fetch`: what is lost, from another repository.
//!
//! On a healthy repository nothing is written, not even a session. Whatever a repair does can be broken off anywhere and be done
//! again: chunks that were saved are found in their new packs. It goes on beside backups and prunes.
//!
//! Memory: 40 bytes for each pack, the caches of listings, and what a backup takes to store. What is lost is in a scratch database.

mod fetch;
mod found;
mod losses;
pub mod packs;
mod remains;
mod remake;
mod salvage;
pub mod segments;
pub mod snapshots;

pub use fetch::Donor;
pub use losses::{Loss, Lost};

use crate::backup::BackupError;
use crate::copy::CopyError;
use crate::error::Kind;
use crate::listing::Time;
use crate::repo::RepoError;
use std::time::Duration;

/// Who repairs, and how it is stored.
pub struct How<'a> {
    /// Machine on which it runs.
    pub host: &'a str,
    /// When it began.
    pub now: Time,
    /// How hard to compress what is stored anew.
    pub level: crate::compress::Level,
    /// Threads that read and compress; at least 1, and fewer where memory is short.
    pub threads: usize,
    /// A monotonic clock.
    pub elapsed: &'a (dyn Fn() -> Duration + Sync),
    /// Only say what would be done.
    pub dry_run: bool,
    /// End the sessions of all runs that have not ended, also young ones: the caller knows that they are dead.
    pub fence_all: bool,
}

/// Why a repair could not be carried out; what it finds is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The repository could not be read or written.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// What is made anew could not be stored.
    #[error(transparent)]
    Store(#[from] BackupError),
    /// The other repository could not be read.
    #[error("the other repository: {0}")]
    Other(#[source] RepoError),
    /// So much is gone that the storage is to be looked at first.
    #[error("{missing} of {packs} packs are not there")]
    MostAreGone {
        /// Packs that are not there.
        missing: u64,
        /// Packs that segments name.
        packs: u64,
    },
    /// Packs are damaged, and something in them may be saved.
    #[error("{packs} packs are damaged or missing, and what is sound in them is not saved yet")]
    PacksFirst {
        /// How many there are.
        packs: u64,
    },
    /// Others prune or repair all the time.
    #[error("others change the repository all the time; what was saved so far is stored")]
    Overtaken,
}

impl RepairError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) | Self::Other(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::MostAreGone { .. } | Self::PacksFirst { .. } => Kind::Refused,
            Self::Overtaken => Kind::Busy,
        }
    }

    /// Returns what the person can do, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repo(error) | Self::Other(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::MostAreGone { .. } => Some(
                "is the storage there as a whole? What is given up is given up for good; if they are lost indeed, \
                 say --most-are-gone"
                    .into(),
            ),
            Self::PacksFirst { .. } => Some("`dedup repair packs` comes first".into()),
            Self::Overtaken => Some("run it again".into()),
        }
    }
}

impl From<CopyError> for RepairError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Target(error) => Self::Store(error),
            CopyError::Source(error) => Self::Other(error),
            other => Self::Repo(RepoError::Refused(other.to_string())),
        }
    }
}
