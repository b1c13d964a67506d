//! Where the subvolumes of a btrfs are, as the program `btrfs` lists them.
//!
//! The listing is made from one subvolume: the paths of those below it begin there, those of all others at the root of the file
//! system, and nothing in a line says which. Their parents do, by number.

use super::btrfs::{Btrfs, SUBVOLUME_INODE, is_subvolume, plain};
use super::mounts::{self, Mount};
use super::{FsnapError, io_error};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The number of the root of a file system.
const TOP: u64 = 5;

impl Btrfs {
    /// Returns where the subvolumes of a file system can be reached, by its mounts.
    pub(super) fn subvolumes(&self, mounts: &[&Mount]) -> Result<BTreeSet<PathBuf>, FsnapError> {
        let mut found = match mounts.first() {
            Some(any) => reached(self.paths(&any.point)?.values(), mounts),
            None => BTreeSet::new(),
        };
        found.extend(
            mounts.iter().filter(|mount| is_subvolume(&mount.point)).map(|mount| mount.point.clone()),
        );
        Ok(found)
    }

    /// Returns the same of a device that somebody may unmount meanwhile: then there are none.
    pub(super) fn subvolumes_now(
        &self,
        known: &[Mount],
        device: &str,
    ) -> Result<BTreeSet<PathBuf>, FsnapError> {
        let on = |all: &[Mount]| -> Vec<Mount> {
            all.iter().filter(|mount| mount.device == device && mount.kind == "btrfs").cloned().collect()
        };
        let mut own = on(known);
        loop {
            match self.subvolumes(&own.iter().collect::<Vec<_>>()) {
                Ok(found) => return Ok(found),
                Err(wrong) => {
                    let still =
                        on(&mounts::read().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?);
                    if still == own {
                        return Err(wrong);
                    }
                    own = still;
                }
            }
        }
    }

    /// Returns those of them that are read-only.
    pub(super) fn read_only(&self, mounts: &[&Mount]) -> Result<BTreeSet<PathBuf>, FsnapError> {
        let Some(any) = mounts.first() else { return Ok(BTreeSet::new()) };
        let words = ["subvolume", "list", "-r"].map(OsStr::new);
        let listing = self.run(words.into_iter().chain([any.point.as_os_str()]))?;
        let read_only: BTreeSet<u64> = listing.lines().filter_map(parse).map(|line| line.id).collect();
        let paths = self.paths(&any.point)?;
        Ok(reached(paths.iter().filter(|(id, _)| read_only.contains(id)).map(|(_, path)| path), mounts))
    }

    /// Returns the path of every subvolume from the root of the file system, by its number.
    fn paths(&self, point: &Path) -> Result<BTreeMap<u64, PathBuf>, FsnapError> {
        let own = ["inspect-internal", "rootid"].map(OsStr::new);
        let own = self.run(own.into_iter().chain([point.as_os_str()]))?;
        let own = own.trim().parse().map_err(|_| {
            FsnapError::Refused(format!("`btrfs inspect-internal rootid` says {own:?}, which is no number"))
        })?;
        let listing = self.run(["subvolume".as_ref(), "list".as_ref(), point.as_os_str()])?;
        Ok(resolve(&listing, own))
    }
}

/// One line of the listing: `ID 257 gen 7 top level 256 path a/b`.
struct Line<'l> {
    id: u64,
    parent: u64,
    path: &'l str,
}

fn parse(line: &str) -> Option<Line<'_>> {
    let (numbers, path) = line.split_once(" path ")?;
    let id = numbers.strip_prefix("ID ")?.split(' ').next()?.parse().ok()?;
    let parent = numbers.rsplit(' ').next()?.parse().ok()?;
    Some(Line { id, parent, path })
}

/// Finds the paths from the root of the file system, in a listing made from the subvolume `own`.
fn resolve(listing: &str, own: u64) -> BTreeMap<u64, PathBuf> {
    let lines: Vec<Line<'_>> = listing.lines().filter_map(parse).collect();
    let parents: BTreeMap<u64, u64> = lines.iter().map(|line| (line.id, line.parent)).collect();
    let root = PathBuf::from("/");
    let base = lines.iter().find(|line| line.id == own).map_or(root.clone(), |line| root.join(line.path));
    let is_below = |line: &Line<'_>| {
        let above = std::iter::successors(Some(line.parent), |id| parents.get(id).copied());
        // As many steps as there are subvolumes, should the listing run in circles.
        own != TOP && above.take(lines.len()).any(|id| id == own)
    };
    let path = |line: &Line<'_>| if is_below(line) { base.join(line.path) } else { root.join(line.path) };
    lines.iter().map(|line| (line.id, path(line))).collect()
}

/// Returns where these paths of the file system can be reached.
fn reached<'p>(paths: impl Iterator<Item = &'p PathBuf>, mounts: &[&Mount]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in paths {
        for mount in mounts {
            let Ok(below) = path.strip_prefix(&mount.root) else { continue };
            let at = mount.point.join(below);
            // Something else may be mounted over it.
            if fs::symlink_metadata(&at).is_ok_and(|at| at.ino() == SUBVOLUME_INODE) {
                found.insert(plain(&at));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_wherever_the_listing_was_made() {
        let listing = "ID 256 gen 8 top level 5 path @\nID 257 gen 7 top level 256 path home\n\
                       ID 258 gen 7 top level 257 path home/a path b\nID 259 gen 7 top level 5 path other\nrubbish\n";
        let found = resolve(listing, 256);
        let expected = [(256, "/@"), (257, "/@/home"), (258, "/@/home/a path b"), (259, "/other")];
        assert_eq!(found, expected.map(|(id, path)| (id, PathBuf::from(path))).into());
        let listing = "ID 256 gen 8 top level 5 path @\nID 257 gen 7 top level 256 path @/home\n";
        let found = resolve(listing, 5);
        assert_eq!(found, [(256, "/@"), (257, "/@/home")].map(|(id, path)| (id, PathBuf::from(path))).into());
        let circle = "ID 256 gen 8 top level 257 path a\nID 257 gen 7 top level 256 path b\n";
        assert_eq!(resolve(circle, 300).len(), 2);
    }
}
