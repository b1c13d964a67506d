//! What a repair is asked for, and what it says.

use super::Doer;
use crate::id::ObjectId;

/// How a repair works.
#[derive(Clone, Debug)]
pub struct MendOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Threads that read and code.
    pub threads: usize,
    /// Who is at work.
    pub doer: Doer,
}

/// What became of a pack that is lost or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there again, bit for bit.
    Rebuilt,
    /// It would be: nothing was to be changed.
    Possible,
    /// It cannot be rebuilt, and why; it was left as it is.
    Refused(String),
}

/// A pack that is lost or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPack {
    /// Its name.
    pub id: ObjectId,
    /// What is wrong with it.
    pub why: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MendReport {
    /// Groups that were looked at.
    pub groups: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Parity objects that were read whole.
    pub objects_read: u64,
    /// Bytes of both.
    pub bytes_read: u64,
    /// Packs that are lost or damaged.
    pub packs: Vec<BadPack>,
    /// Parity objects that are damaged, and what is wrong with them.
    pub objects_damaged: Vec<(ObjectId, String)>,
    /// Parts of shards that were lacking, and were computed anew and stored; of a dry run that would be.
    pub objects_stored: u64,
    /// Their bytes; of a dry run without their heads.
    pub bytes_stored: u64,
    /// Damaged parity objects that were removed.
    pub objects_removed: u64,
    /// Groups that stand fewer losses than they were made for, after this.
    pub groups_weak: u64,
    /// Packs that are stored and in no group: they were not looked at.
    pub packs_unread: u64,
}

impl MendReport {
    /// Returns whether all that was wrong is right again, or would be.
    pub fn is_whole(&self) -> bool {
        self.packs.iter().all(|pack| !matches!(pack.outcome, Outcome::Refused(_)))
    }

    /// Returns how many packs are there again.
    pub fn packs_rebuilt(&self) -> u64 {
        self.packs.iter().filter(|pack| pack.outcome == Outcome::Rebuilt).count() as u64
    }
}
