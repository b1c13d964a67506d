//! A subvolume to restore into, which takes the place of the old one when everything is in it.

use super::btrfs::{Btrfs, is_subvolume};
use super::{
    FsSnapshotRef, FsnapError, PREFIX, SnapshotProvider, check_reference, check_run, io_error, mounts,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::OsString;
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

/// A subvolume that took the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// When it is seen.
    pub effect: SwitchEffect,
    /// Where the new one is.
    pub new: PathBuf,
    /// Where the old one is; nobody removes it.
    pub old: PathBuf,
}

impl Btrfs {
    /// Says where a subvolume that is to replace `subvolume` would lie; changes nothing. Its `base` stands for `subvolume` itself.
    ///
    /// [`delete`](SnapshotProvider::delete) removes it until [`finish_writable`](Self::finish_writable) has given it a name.
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

    /// Gives the new subvolume a name of its own beside its place, `NAME.restored-RUN`, so that nothing that removes what is half
    /// made can take it away; the reference is void then. Returns the name.
    pub fn finish_writable(&self, target: &FsSnapshotRef, subvolume: &Path) -> Result<PathBuf, FsnapError> {
        check_reference(target, self.name())?;
        self.run(["filesystem".as_ref(), "sync".as_ref(), target.base.as_os_str()])?;
        let around = target.place.parent().unwrap_or(Path::new("/"));
        let lasting = around.join(named(subvolume, "restored", &target.run));
        renameat_with(CWD, &target.base, CWD, &lasting, RenameFlags::NOREPLACE)
            .map_err(|errno| io_error("name", &lasting)(errno.into()))?;
        fs::remove_dir(&target.place).map_err(io_error("remove", &target.place))?;
        Ok(lasting)
    }

    /// Puts a subvolume in the place of another, which is kept beside as `NAME.before-RUN`.
    ///
    /// One that is mounted cannot be replaced while it is; then the new one becomes the default of the file system.
    pub fn switch(&self, new: &Path, subvolume: &Path, run: &str) -> Result<Switched, FsnapError> {
        check_run(run)?;
        let at = fs::canonicalize(subvolume).map_err(io_error("use", subvolume))?;
        if !is_subvolume(new) || !is_subvolume(&at) {
            let text = format!("{} or {} is no subvolume", new.display(), at.display());
            return Err(FsnapError::Refused(text));
        }
        if is_mount_point(&at)? {
            self.run(["subvolume".as_ref(), "set-default".as_ref(), new.as_os_str()])?;
            return Ok(Switched { effect: SwitchEffect::AtNextMount, new: new.to_owned(), old: at });
        }
        renameat_with(CWD, new, CWD, &at, RenameFlags::EXCHANGE)
            .map_err(|errno| io_error("replace", &at)(errno.into()))?;
        // Under either name it is the old one; this says so.
        let old = new.with_file_name(named(&at, "before", run));
        let old = match renameat_with(CWD, new, CWD, &old, RenameFlags::NOREPLACE) {
            Ok(()) => old,
            Err(_) => new.to_owned(),
        };
        Ok(Switched { effect: SwitchEffect::Now, new: at, old })
    }
}

/// Returns the name beside a subvolume.
fn named(subvolume: &Path, word: &str, run: &str) -> OsString {
    let mut name = subvolume.file_name().unwrap_or("system".as_ref()).to_owned();
    name.push(format!(".{word}-{run}"));
    name
}

fn is_mount_point(at: &Path) -> Result<bool, FsnapError> {
    let all = mounts::read().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
    Ok(all.iter().any(|mount| mount.point == at))
}
