//! Snapshots of btrfs subvolumes.
//!
//! A snapshot lies on the file system it is of, in `POINT/.dedup-fs-RUN/root`, where POINT is the uppermost of the mount points that
//! are covered. `root` looks like `/`: it is the snapshot of the subvolume that is mounted there, or it is a directory with
//! the directories above the subvolumes, with their owners, modes and times. Nothing has to be mounted.
//!
//! All subvolumes at and below the paths are snapshotted, one right after the other; only what lies in one subvolume is of one moment to the
//! last byte. Paths on another file system are not covered; of several btrfs file systems the one that most paths lie on is taken.

use super::mounts::{self, Mount};
use super::program::output;
use super::{
    Coverage, FsSnapshotRef, FsnapError, PREFIX, Plan, SnapshotProvider, check_reference, check_run,
    existing, io_error,
};
use crate::child::Surroundings;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The number of every subvolume's own directory.
pub(super) const SUBVOLUME_INODE: u64 = 256;

/// Snapshots by the program `btrfs`, which must be in the `PATH` of its environment; needs root's rights.
#[derive(Clone, Debug, Default)]
pub struct Btrfs {
    /// The environment of the program.
    pub env: Vec<(OsString, OsString)>,
}

impl Btrfs {
    /// Returns the provider that runs its program in these surroundings.
    pub fn of(around: &Surroundings) -> Self {
        Self { env: around.env.clone() }
    }

    pub(super) fn run<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<String, FsnapError> {
        Ok(output(&self.env, "btrfs", arguments)?)
    }

    pub(super) fn snapshot(&self, from: &Path, to: &Path) -> Result<(), FsnapError> {
        self.run(["subvolume".as_ref(), "snapshot".as_ref(), from.as_os_str(), to.as_os_str()]).map(drop)
    }

    fn set_read_only(&self, at: &Path, read_only: bool) -> Result<(), FsnapError> {
        let value = if read_only { "true" } else { "false" };
        let words = ["property", "set", "-f", "-t", "subvol"].map(OsStr::new);
        let words = words.into_iter().chain([at.as_os_str(), "ro".as_ref(), value.as_ref()]);
        self.run(words).map(drop)
    }
}

impl SnapshotProvider for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn plan(&self, paths: &[PathBuf], run: &str) -> Result<Plan, FsnapError> {
        check_run(run)?;
        let all = mounts::read().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
        let mut by_device: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
        for path in paths {
            if let Some(mount) = mounts::of(&all, &existing(path)).filter(|mount| mount.kind == "btrfs") {
                by_device.entry(&mount.device).or_default().push(path);
            }
        }
        let nothing = Plan { coverage: Coverage::None, reference: None };
        let Some((device, on)) = by_device.into_iter().max_by_key(|(_, on)| on.len()) else {
            return Ok(nothing);
        };
        let own: Vec<&Mount> = all.iter().filter(|mount| mount.device == device).collect();
        let subvolumes = self.subvolumes(&own)?;
        let (mut parts, mut covered) = (BTreeSet::new(), Vec::new());
        for path in on {
            let at = existing(path);
            // Of a directory that is mounted without being a subvolume nothing can be snapshotted by its path.
            let Some(around) = at.ancestors().find(|at| subvolumes.contains(*at)) else { continue };
            // A path that is reached through a link lies elsewhere, and what is mounted below it is of other file systems.
            let whole = at.starts_with(path) || path.starts_with(&at);
            let foreign = all.iter().any(|mount| mount.device != device && mount.point.starts_with(path));
            if whole && !foreign {
                parts.insert(around.to_owned());
                parts.extend(subvolumes.iter().filter(|at| at.starts_with(path)).cloned());
                covered.push(path.clone());
            }
        }
        parts.retain(|part| {
            !part.components().any(|name| name.as_os_str().as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        });
        let Some(first) = parts.first() else { return Ok(nothing) };
        let place = first.join(format!("{PREFIX}{run}"));
        let coverage = if covered.len() == paths.len() { Coverage::All } else { Coverage::Some(covered) };
        let (provider, base) = (self.name().to_owned(), place.join("root"));
        let parts = parts.into_iter().collect();
        let reference = FsSnapshotRef { provider, run: run.to_owned(), place, base, parts };
        Ok(Plan { coverage, reference: Some(reference) })
    }

    fn take(&self, snapshot: &FsSnapshotRef) -> Result<(), FsnapError> {
        check_reference(snapshot, self.name())?;
        let FsSnapshotRef { place, base, parts, .. } = snapshot;
        // Directories of the snapshot that are changed while it is made get the times back that they had.
        let mut times = BTreeMap::new();
        let around = place.parent().unwrap_or(place);
        let before = modified(around)?;
        fs::create_dir(place).map_err(io_error("make", place))?;
        let mut made = Vec::new();
        for part in parts {
            let to = below(base, part);
            if !made.iter().any(|(from, _): &(&PathBuf, PathBuf)| part.starts_with(from)) {
                above(base, part, &mut times)?;
            } else if let Some(outer) = to.parent().filter(|outer| !times.contains_key(*outer)) {
                times.insert(outer.to_owned(), modified(outer)?);
            }
            // In the snapshot of what is above an empty directory stands for what is mounted there, or for a subvolume.
            match fs::remove_dir(&to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("make room at", &to)(error));
                }
                _ => {}
            }
            self.snapshot(part, &to)?;
            // The snapshot holds the place itself, in which nothing is yet but empty directories.
            for at in plain_directories(snapshot).iter().rev() {
                if let Ok(inner) = at.strip_prefix(part) {
                    let _ = fs::remove_dir(to.join(inner));
                }
            }
            if part == around {
                times.insert(to.clone(), before);
            }
            made.push((part, to));
        }
        for (at, time) in &times {
            let same = fs::File::open(at).and_then(|open| open.set_modified(*time));
            same.map_err(io_error("give its time to", at))?;
        }
        made.iter().rev().try_for_each(|(_, at)| self.set_read_only(at, true))
    }

    fn delete(&self, snapshot: &FsSnapshotRef) -> Result<(), FsnapError> {
        check_reference(snapshot, self.name())?;
        let place = &snapshot.place;
        if fs::symlink_metadata(place).is_err() {
            return Ok(());
        }
        let made: Vec<PathBuf> = snapshot
            .parts
            .iter()
            .map(|part| below(&snapshot.base, part))
            .filter(|at| at.starts_with(place) && is_subvolume(at))
            .collect();
        // What lies in a read-only one cannot be removed either: from the outermost on they become writable.
        made.iter().try_for_each(|at| self.set_read_only(at, false))?;
        for at in made.iter().rev() {
            self.run(["subvolume".as_ref(), "delete".as_ref(), at.as_os_str()])?;
        }
        for at in plain_directories(snapshot).iter().rev() {
            match fs::remove_dir(at) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("remove", at)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn leftovers(&self) -> Result<Vec<FsSnapshotRef>, FsnapError> {
        let all = mounts::read().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
        let mut found: BTreeMap<PathBuf, FsSnapshotRef> = BTreeMap::new();
        let devices: BTreeSet<&str> =
            all.iter().filter(|mount| mount.kind == "btrfs").map(|mount| mount.device.as_str()).collect();
        for device in devices {
            let subvolumes = self.subvolumes_now(&all, device)?;
            for top in &subvolumes {
                for entry in fs::read_dir(top).into_iter().flatten().flatten() {
                    let (place, name) = (entry.path(), entry.file_name());
                    let Some(run) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                        continue;
                    };
                    if check_run(run).is_err() || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        continue;
                    }
                    let base = place.join("root");
                    let parts = subvolumes.iter().filter_map(|at| at.strip_prefix(&base).ok());
                    let parts = parts.map(|part| Path::new("/").join(part)).collect();
                    let (provider, run) = (self.name().to_owned(), run.to_owned());
                    found.insert(place.clone(), FsSnapshotRef { provider, run, place, base, parts });
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// Returns the directories of a snapshot that are none of its subvolumes, outermost first.
fn plain_directories(snapshot: &FsSnapshotRef) -> BTreeSet<PathBuf> {
    let FsSnapshotRef { place, base, parts, .. } = snapshot;
    let mut all = BTreeSet::from([place.clone(), base.clone()]);
    for part in parts {
        let to = below(base, part);
        all.extend(to.ancestors().skip(1).filter(|at| at.starts_with(base)).map(Path::to_owned));
    }
    all
}

pub(super) fn is_subvolume(at: &Path) -> bool {
    fs::symlink_metadata(at).is_ok_and(|at| at.is_dir() && at.ino() == SUBVOLUME_INODE)
}

/// Returns the place of an absolute path below a base.
fn below(base: &Path, path: &Path) -> PathBuf {
    plain(&base.join(path.strip_prefix("/").unwrap_or(path)))
}

/// Leaves out what means nothing: a slash at the end.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

fn modified(at: &Path) -> Result<SystemTime, FsnapError> {
    fs::metadata(at).and_then(|found| found.modified()).map_err(io_error("examine", at))
}

/// Makes the directories above a path below the base, like those they stand for; notes the times that they are to have.
fn above(base: &Path, path: &Path, times: &mut BTreeMap<PathBuf, SystemTime>) -> Result<(), FsnapError> {
    let mut outer: Vec<&Path> = path.ancestors().skip(1).collect();
    outer.reverse();
    for real in &outer {
        let at = below(base, real);
        match fs::create_dir(&at) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(io_error("make", &at)(error));
            }
            _ => {}
        }
    }
    for real in outer.iter().rev() {
        let at = below(base, real);
        let like = fs::metadata(real).map_err(io_error("examine", real))?;
        let same = chown(&at, Some(like.uid()), Some(like.gid()))
            .and_then(|()| fs::set_permissions(&at, like.permissions()))
            .and_then(|()| like.modified());
        let time = same.map_err(io_error("give its metadata to", &at))?;
        times.insert(at, time);
    }
    Ok(())
}
