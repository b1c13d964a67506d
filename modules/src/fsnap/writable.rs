//! A subvolume to restore into, which takes the place of the old one when everything is in it.

use super::btrfs::{Btrfs, is_subvolume};
use super::{
    FsSnapshotRef, FsnapError, PREFIX, SnapshotProvider, check_reference, check_run, io_error, mounts,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::path::{Path, PathBuf};

/// When a switch is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchEffect {
    /// At once; who has files of the old one open goes on with those.
    Now,
    /// When the file system is mounted again without a subvolume being named: for the root, at the next boot.
    AtNextMount,
}

impl Btrfs {
    /// Says where a subvolume that is to replace `subvolume` would lie; changes nothing. Its `base` stands for `subvolume` itself.
    ///
    /// [`delete`](SnapshotProvider::delete) removes it, after a switch at once what was replaced; nested subvolumes in that
    /// are never removed with it.
    pub fn plan_writable(&self, subvolume: &Path, run: &str) -> Result<FsSnapshotRef, FsnapError> {
        check_run(run)?;
        let at = fs::canonicalize(subvolume).map_err(io_error("use", subvolume))?;
        if !is_subvolume(&at) {
            return Err(FsnapError::Refused(format!("{} is no subvolume", at.display())));
        }
        let around = match at.parent() {
            Some(parent) if !is_mount_point(&at)? => parent,
            _ => &at,
        };
        let place = around.join(format!("{PREFIX}{run}"));
        let (provider, base, parts) = (self.name().to_owned(), place.join("root"), vec![PathBuf::from("/")]);
        Ok(FsSnapshotRef { provider, run: run.to_owned(), place, base, parts })
    }

    /// Makes the new subvolume: empty, or with everything that `subvolume` holds now.
    pub fn make_writable(
        &self,
        target: &FsSnapshotRef,
        subvolume: &Path,
        empty: bool,
    ) -> Result<(), FsnapError> {
        check_reference(target, self.name())?;
        fs::create_dir(&target.place).map_err(io_error("make", &target.place))?;
        match empty {
            true => self.run(["subvolume".as_ref(), "create".as_ref(), target.base.as_os_str()]).map(drop),
            false => self.snapshot(subvolume, &target.base),
        }
    }

    /// Puts the new subvolume in the place of `subvolume`, which is kept where the new one was until that is deleted.
    ///
    /// One that is mounted cannot be replaced while it is; then the new one becomes the default of the file system.
    pub fn switch_to(&self, target: &FsSnapshotRef, subvolume: &Path) -> Result<SwitchEffect, FsnapError> {
        check_reference(target, self.name())?;
        let at = fs::canonicalize(subvolume).map_err(io_error("use", subvolume))?;
        if !is_subvolume(&target.base) || !is_subvolume(&at) {
            let text = format!("{} or {} is no subvolume", target.base.display(), at.display());
            return Err(FsnapError::Refused(text));
        }
        self.run(["filesystem".as_ref(), "sync".as_ref(), target.base.as_os_str()])?;
        if is_mount_point(&at)? {
            self.run(["subvolume".as_ref(), "set-default".as_ref(), target.base.as_os_str()])?;
            return Ok(SwitchEffect::AtNextMount);
        }
        renameat_with(CWD, &target.base, CWD, &at, RenameFlags::EXCHANGE)
            .map_err(|errno| io_error("replace", &at)(errno.into()))?;
        Ok(SwitchEffect::Now)
    }
}

fn is_mount_point(at: &Path) -> Result<bool, FsnapError> {
    let all = mounts::read().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
    Ok(all.iter().any(|mount| mount.point == at))
}
