//! The root of what is read: the running system, or a filesystem snapshot of it.

use super::{BackupJob, Run, RunError};
use crate::fsnap::{Btrfs, Coverage, DirectoryCopy, FsSnapshotRef, SnapshotProvider};
use crate::machine::Machine;
use crate::manifest::items::{Extent, Item};
use crate::manifest::job::UseSnapshot;
use crate::manifest::programs::Severity;
use crate::planted::{Bug, planted};
use crate::undo::{Ticket, Undo};
use std::path::{Path, PathBuf};

/// What is read.
pub(super) enum Root {
    /// The running system, which must stand still meanwhile.
    System,
    /// A filesystem snapshot that will be taken.
    Planned(FsSnapshotRef),
    /// A filesystem snapshot, and what deletes it.
    Snapshot(FsSnapshotRef, Ticket),
}

impl Root {
    /// Returns the directory that stands for `/`.
    pub fn base(&self) -> &Path {
        match self {
            Self::System | Self::Planned(_) => Path::new("/"),
            Self::Snapshot(snapshot, _) => &snapshot.base,
        }
    }

    /// Returns whether it stays as it is while the system goes on.
    pub fn is_snapshot(&self) -> bool {
        !matches!(self, Self::System)
    }

    /// Returns whether it is of one moment even if the system goes on while it is taken; a copy is not.
    pub fn is_of_one_moment(&self) -> bool {
        matches!(self, Self::Planned(snapshot) | Self::Snapshot(snapshot, _) if snapshot.provider == Btrfs::default().name())
    }
}

/// Chooses what will be read of these members; nothing is changed.
pub(super) fn plan_root(
    job: &BackupJob<'_>,
    machine: &Machine<'_>,
    members: &[usize],
) -> Result<Root, RunError> {
    if job.use_snapshot == UseSnapshot::Off {
        return Ok(Root::System);
    }
    let items = members.iter().flat_map(|at| &job.members[*at].items);
    let paths: Vec<PathBuf> = items.map(covered).collect();
    if paths.is_empty() {
        return Ok(Root::System);
    }
    let why = match Btrfs::of(machine.around).plan(&paths, machine.run) {
        Ok(plan) => match (plan.coverage, plan.reference) {
            (Coverage::All, Some(reference)) => return Ok(Root::Planned(reference)),
            (Coverage::Some(of), _) => format!("btrfs covers only a part of the declared paths: {of:?}"),
            _ => "no declared path lies on btrfs".into(),
        },
        Err(error) => error.to_string(),
    };
    let why = match plan_copy(job, machine, &paths) {
        Ok(Some(reference)) => return Ok(Root::Planned(reference)),
        Ok(None) => why,
        Err(error) => format!("{why}; {error}"),
    };
    if job.use_snapshot == UseSnapshot::Require && !planted(Bug::NeedNoSnapshot) {
        return Err(RunError::NoSnapshot(why));
    }
    machine.log.log(Severity::Debug, None, &format!("no filesystem snapshot: {why}"));
    Ok(Root::System)
}

/// Plans a copy, where somebody configured a directory for that.
fn plan_copy(
    job: &BackupJob<'_>,
    machine: &Machine<'_>,
    paths: &[PathBuf],
) -> Result<Option<FsSnapshotRef>, String> {
    let Some(copy) = copy_of(job, machine) else { return Ok(None) };
    let plan = copy.plan(paths, machine.run).map_err(|error| error.to_string())?;
    match (plan.coverage, plan.reference) {
        (Coverage::All, Some(reference)) => Ok(Some(reference)),
        _ => Err(format!(
            "{} is itself below what is declared, so it cannot hold a copy",
            copy.directory.display()
        )),
    }
}

fn copy_of(job: &BackupJob<'_>, machine: &Machine<'_>) -> Option<DirectoryCopy> {
    job.copies.map(|directory| DirectoryCopy::of(machine.around, directory))
}

impl Run<'_, '_> {
    /// Takes the snapshot, if one was chosen. If that fails, the running system is read instead, and must stand still.
    pub(super) fn take(&mut self, root: Root) -> Result<Root, RunError> {
        let Root::Planned(reference) = root else { return Ok(root) };
        let ticket = self.conduct.undoing.note(Undo::DeleteSnapshot { snapshot: reference.clone() })?;
        let btrfs = Btrfs::of(self.conduct.machine.around);
        let taken =
            match copy_of(self.job, self.conduct.machine).filter(|copy| copy.name() == reference.provider) {
                Some(copy) => copy.take(&reference),
                None => btrfs.take(&reference),
            };
        let why = match taken {
            Ok(()) => return Ok(Root::Snapshot(reference, ticket)),
            Err(error) => error.to_string(),
        };
        if let Err(error) = self.conduct.undoing.undo(ticket) {
            self.conduct.left_undone.push(error.to_string());
        }
        if self.job.use_snapshot == UseSnapshot::Require && !planted(Bug::NeedNoSnapshot) {
            return Err(RunError::NoSnapshot(why));
        }
        let notice = format!("the filesystem snapshot failed, the running system is read instead: {why}");
        self.conduct.log(Severity::Notice, None, &notice);
        let halts: Vec<usize> = (0..self.job.halts.len()).collect();
        self.conduct.stop(halts.iter())?;
        Ok(Root::System)
    }

    /// Lets go of it after the last read.
    pub(super) fn release(&mut self, root: Root) {
        if let Root::Snapshot(_, ticket) = root
            && let Err(error) = self.conduct.undoing.undo(ticket)
        {
            self.conduct.log(Severity::Warning, None, &error.to_string());
            self.conduct.left_undone.push(error.to_string());
        }
    }
}

/// Returns what a snapshot must cover for an item: of a pattern, the directories above its first wildcard.
fn covered(item: &Item<'_>) -> PathBuf {
    if item.extent != Extent::Pattern {
        return item.path.clone();
    }
    let plain = |part: &std::path::Component<'_>| {
        !part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[\\".contains(byte))
    };
    item.path.components().take_while(plain).collect()
}
