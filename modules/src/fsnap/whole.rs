//! The whole system: a snapshot of the file system that `/` is on, with all its subvolumes.
//!
//! What the system makes up by itself (`/proc`, `/sys`, `/dev`, memory) is mounted over empty directories, and those are what a
//! snapshot holds. Other file systems are not in it, which is told; nor are subvolumes that are read-only and not mounted, since
//! they are snapshots that somebody else keeps.

use super::btrfs::Btrfs;
use super::mounts::{self, Mount};
use super::{FsSnapshotRef, FsnapError, PREFIX, SnapshotProvider, check_run, io_error};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A snapshot of the whole system that would be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholePlan {
    /// For the undo journal.
    pub reference: FsSnapshotRef,
    /// File systems with data of their own that it does not cover: where, and of what kind.
    pub elsewhere: Vec<(PathBuf, String)>,
    /// Subvolumes that are left out: read-only, and nowhere mounted.
    pub frozen: Vec<PathBuf>,
}

impl Btrfs {
    /// Says what a snapshot of the whole system would cover. Changes nothing.
    ///
    /// # Errors
    /// `/` is on no btrfs, or on none of its subvolumes.
    pub fn plan_whole(&self, run: &str) -> Result<WholePlan, FsnapError> {
        check_run(run)?;
        let root = Path::new("/");
        let all = mounts::read().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
        let top = mounts::of(&all, root);
        let Some(top) = top.filter(|mount| mount.kind == "btrfs") else {
            let kind = top.map_or("nothing that is known", |mount| &mount.kind[..]);
            let text = format!(
                "a whole system can only be read from a filesystem snapshot, and / is on {kind}, not on btrfs"
            );
            return Err(FsnapError::Refused(text));
        };
        let own: Vec<&Mount> = all.iter().filter(|mount| mount.device == top.device).collect();
        let places = self.subvolumes(&own)?;
        if !places.contains(root) {
            let text =
                "/ is a directory of a btrfs, and none of its subvolumes, of which alone there are snapshots";
            return Err(FsnapError::Refused(text.into()));
        }
        let read_only = self.read_only(&own)?;
        let (mut parts, mut frozen, mut seen) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        let mut by_depth: Vec<&PathBuf> = places.iter().collect();
        by_depth.sort_by_key(|at| at.components().count());
        for at in by_depth {
            let is_ours = at
                .components()
                .any(|name| name.as_os_str().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
            let is_mounted = own.iter().any(|mount| mount.point == *at);
            // What is mounted in two places is read once, where its path is shortest.
            if is_ours || !seen.insert(inner(&own, at)) {
                continue;
            }
            if read_only.contains(at) && !is_mounted {
                frozen.push(at.clone());
            } else if !frozen.iter().any(|above| at.starts_with(above)) {
                parts.insert(at.clone());
            }
        }
        frozen.sort();
        let elsewhere = elsewhere(&all, &top.device)?;
        let place = root.join(format!("{PREFIX}{run}"));
        let (provider, base, parts) =
            (self.name().to_owned(), place.join("root"), parts.into_iter().collect());
        let reference = FsSnapshotRef { provider, run: run.to_owned(), place, base, parts };
        Ok(WholePlan { reference, elsewhere, frozen })
    }
}

/// Returns the path of a place within its file system.
fn inner(own: &[&Mount], at: &Path) -> PathBuf {
    let mount = own.iter().filter(|mount| at.starts_with(&mount.point));
    let Some(mount) = mount.max_by_key(|mount| mount.point.components().count()) else {
        return at.to_owned();
    };
    mount.root.join(at.strip_prefix(&mount.point).unwrap_or(at))
}

/// Returns where other file systems are mounted that hold data of their own.
fn elsewhere(all: &[Mount], device: &str) -> Result<Vec<(PathBuf, String)>, FsnapError> {
    let known = Path::new("/proc/filesystems");
    let kinds = std::fs::read_to_string(known).map_err(io_error("read", known))?;
    // Those without `nodev` need a device, on which something may be kept.
    let on_devices: BTreeSet<&str> =
        kinds.lines().filter(|line| !line.starts_with("nodev")).map(str::trim).collect();
    let holds_data =
        |kind: &str| kind == "zfs" || kind != "iso9660" && kind != "squashfs" && on_devices.contains(kind);
    let others = all.iter().filter(|mount| mount.device != device && holds_data(&mount.kind));
    let mut found: Vec<(PathBuf, String)> =
        others.map(|mount| (mount.point.clone(), mount.kind.clone())).collect();
    found.sort();
    found.dedup();
    Ok(found)
}
