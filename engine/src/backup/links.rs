//! Inodes with several names: which group they have, until all their names were seen.

use super::source::Stat;
use crate::id::LinkGroup;
use crate::index::SpillMap;
use crate::repo::{RepoError, Repository};

/// Groups of inodes of which names are still to come; those that do not fit in memory are on disk.
pub(super) struct Links<'a>(SpillMap<'a>);

/// `group 16 ‖ names that are still to come u64`
fn encode(group: LinkGroup, names_left: u64) -> [u8; 24] {
    let mut value = [0; 24];
    value[..16].copy_from_slice(group.as_bytes());
    value[16..].copy_from_slice(&names_left.to_le_bytes());
    value
}

fn decode(value: &[u8]) -> Option<(LinkGroup, u64)> {
    let (group, names_left) = value.split_first_chunk()?;
    Some((LinkGroup::from_bytes(*group), u64::from_le_bytes(names_left.try_into().ok()?)))
}

fn key(stat: &Stat) -> [u8; 16] {
    (u128::from(stat.dev) << 64 | u128::from(stat.ino)).to_be_bytes()
}

impl<'a> Links<'a> {
    pub fn new(repo: &'a Repository) -> Result<Self, RepoError> {
        Ok(Self(repo.index()?.spill_map()))
    }

    /// Returns the group of an inode that was met before, if names of it were still to come.
    pub fn group(&self, stat: &Stat) -> Result<Option<LinkGroup>, RepoError> {
        Ok(self.0.get(&key(stat))?.and_then(|value| decode(&value)).map(|(group, _)| group))
    }

    /// Notes that a name of an inode was seen, and returns the inode's group: `first` if it is the first one.
    pub fn note(&mut self, stat: &Stat, first: LinkGroup) -> Result<LinkGroup, RepoError> {
        let known = self.0.get(&key(stat))?.and_then(|value| decode(&value));
        let (group, names_left) = known.unwrap_or((first, stat.nlink));
        match names_left.saturating_sub(1) {
            0 => self.0.remove(&key(stat))?,
            names_left => self.0.insert(&key(stat), &encode(group, names_left))?,
        }
        Ok(group)
    }
}
