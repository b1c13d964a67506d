//! The signed log: what each client says of its own work, so that a storage cannot hide, replay or fork it unnoticed.
//! Normative: `FORMAT.md` 15.
//!
//! - `entry`: one entry of the log of a client.
//! - `epoch`: new roots, and who goes on having rights.
//! - `rights`: who may do what, as the logs say it.
//! - `memory`, `file`: what a machine remembers of the logs, and the file it stands in.
//! - `complaint`: what is wrong with a log, for people.
//!
//! Here is what is known without a storage; `repo::history` reads logs on and writes them.
//!
//! Memory: about 40 bytes for each snapshot that is alive, 150 for each client.

mod complaint;
mod entry;
pub(crate) mod epoch;
mod file;
mod memory;
mod rights;

pub use complaint::{Complaint, LogError, Wrong};
pub use entry::{Act, Entry, Head, MAX_HEADS, MAX_MADE};
pub use file::{MemoryError, MemoryFile};
pub use memory::{Memory, Seen};
pub use rights::{Opening, Rights, Word};

use crate::id::ObjectId;

/// Writes backups.
pub const APPEND: u64 = 1;
/// Says which snapshots are forgotten and pinned.
pub const FORGET: u64 = 2;
/// Removes for good: signs generations.
pub const PRUNE: u64 = 4;
/// Gives others rights.
pub const ADMIT: u64 = 8;
/// Every right there is.
pub const ALL: u64 = APPEND | FORGET | PRUNE | ADMIT;

/// The end of a row of objects that are numbered and never changed, as somebody saw it: the last number, and BLAKE3 of
/// the stored bytes of that object. Number 0 and zeros where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Number of the last object.
    pub number: u64,
    /// Hash of its stored bytes.
    pub id: ObjectId,
}

impl Mark {
    /// Nothing was there.
    pub const NONE: Self = Self { number: 0, id: ObjectId::from_bytes([0; 32]) };
}
