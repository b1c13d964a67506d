//! What a caller chooses about a restore.

use super::aside::joined;
use dedup_engine::listing::StoredPath;
use dedup_engine::restore::sink::SinkError;
use std::borrow::Cow;

/// What a restore does with owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerChoice {
    /// Sets them. Without root's rights, where only one's own groups can be set, the rest stays as it is,
    /// and setuid and setgid are left out where the owner is not right.
    Restore,
    /// Leaves everything to whoever runs the restore.
    Keep,
}

/// Which extended attributes a restore sets. Those that entries have in the target, but not in the backup,
/// are removed by the same choice; labels that the system sets by itself stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrChoice {
    /// All of them, capabilities and security labels included.
    All,
    /// `user.*` and access control lists: nothing that gives rights beyond those of the owner.
    UserOnly,
    /// None.
    None,
}

/// What a restore does where something else is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Replaces it.
    Replace,
    /// Leaves it.
    KeepExisting,
    /// Leaves it if it was changed later than what was stored.
    KeepNewer,
    /// Leaves it, and restores beside it: `NAME.restored`, `NAME.restored-2`, …
    Rename,
}

/// What a caller chooses about a restore.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The directory of the listing that the target stands for; the root for whole paths.
    pub strip: StoredPath,
    /// What to do with owners.
    pub owner: OwnerChoice,
    /// Take owners by their numbers even if their names are known here.
    pub numeric_owner: bool,
    /// Which extended attributes to set.
    pub xattrs: XattrChoice,
    /// Leave holes as holes; else all of a file is allocated.
    pub sparse: bool,
    /// Make device nodes, if root does the restore; else they are refused.
    pub devices: bool,
    /// Give the target directory itself the metadata of the entry it stands for, even if it existed.
    pub root_metadata: bool,
    /// Set modes. Without, what replaces a file takes its mode, and all else stays for its owner only.
    pub modes: bool,
    /// Set times of change, and of access where they were kept.
    pub times: bool,
    /// Set access control lists; [`xattrs`](Self::xattrs) must want them too.
    pub acls: bool,
    /// What to do where something else is already. Directories are merged in any case.
    pub on_conflict: OnConflict,
    /// Stored places that go elsewhere, with everything below: the longest that fits counts. The new place is below
    /// [`strip`](Self::strip) like any other.
    pub moved: Vec<(StoredPath, StoredPath)>,
    /// What a restore in place is about, as stored; empty for everything. Directories above are made only where something
    /// below them needs them, and get their metadata only if they were made.
    pub within: Vec<StoredPath>,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            strip: StoredPath::root(),
            owner: OwnerChoice::Restore,
            numeric_owner: false,
            xattrs: XattrChoice::All,
            sparse: true,
            devices: false,
            root_metadata: false,
            modes: true,
            times: true,
            acls: true,
            on_conflict: OnConflict::Replace,
            moved: Vec::new(),
            within: Vec::new(),
        }
    }
}

impl SinkOptions {
    /// Returns the key below the target of an entry.
    pub(super) fn key<'a>(&self, path: &'a StoredPath) -> Result<Cow<'a, [u8]>, SinkError> {
        let moved = self.moved.iter().filter(|(from, _)| path.is_within(from));
        let Some((from, to)) = moved.max_by_key(|(from, _)| from.as_key().len()) else {
            return self.stripped(path.as_key()).map(Cow::Borrowed);
        };
        let rest = path.below(from).unwrap_or_default();
        let key = joined(&[to.as_key(), rest.as_key()])?;
        self.stripped(&key).map(|key| Cow::Owned(key.to_vec()))
    }

    /// Returns whether an entry is what the restore is about, and not only on the way to it.
    pub(super) fn is_meant(&self, path: &StoredPath) -> bool {
        self.within.is_empty() || self.within.iter().any(|within| path.is_within(within))
    }

    fn stripped<'a>(&self, key: &'a [u8]) -> Result<&'a [u8], SinkError> {
        let strip = self.strip.as_key();
        let rest =
            key.strip_prefix(strip).filter(|rest| strip.is_empty() || matches!(rest.first(), None | Some(0)));
        let rest = rest.ok_or_else(|| {
            let shown = key.escape_ascii().to_string().replace("\\x00", "/");
            SinkError::Refused(format!("/{shown} is not below {:?}", self.strip))
        })?;
        Ok(rest.strip_prefix(&[0]).unwrap_or(rest))
    }
}
