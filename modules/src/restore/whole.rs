//! A whole system into an empty subvolume, which then takes the place of another: only when everything is in it.

use super::RestoreError;
use crate::files::{FilesSink, SinkOptions};
use crate::fsnap::{Btrfs, FsSnapshotRef, FsnapError, Switched};
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::undo::{JournalError, Undo, Undoing};
use dedup_engine::error::Kind;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::map::Root;
use dedup_engine::progress::Events;
use dedup_engine::repo::Repository;
use dedup_engine::restore::sink::SinkError;
use dedup_engine::restore::{RestoreReport, RestoreRequest, run as restore_files};
use std::path::Path;

/// What is restored, and where to.
pub struct WholeRestore<'a> {
    /// Where the data are.
    pub repo: &'a Repository,
    /// The listing of the whole system.
    pub root: &'a Root,
    /// The subvolume whose place the new one takes.
    pub subvolume: &'a Path,
    /// How entries are restored.
    pub options: SinkOptions,
    /// Threads that fetch and write.
    pub threads: usize,
    /// Receives progress.
    pub events: &'a dyn Events,
}

/// Why the subvolume is what it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WholeError {
    /// No subvolume can be made or switched there.
    #[error("{} stays as it is: {source}", subvolume.display())]
    Subvolume {
        /// Which should have been replaced.
        subvolume: std::path::PathBuf,
        /// Why not.
        source: FsnapError,
    },
    /// The new subvolume could not be written to.
    #[error(transparent)]
    Target(#[from] SinkError),
    /// It could not be read, or not be undone.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Not everything could be restored, so nothing was switched.
    #[error("nothing was switched, as {problems} entries cannot be restored, the first: {first}")]
    Incomplete {
        /// How many.
        problems: u64,
        /// The first.
        first: String,
        /// Whether it is damage of the repository.
        damaged: bool,
    },
}

impl From<JournalError> for WholeError {
    fn from(error: JournalError) -> Self {
        Self::Restore(error.into())
    }
}

impl WholeError {
    /// Returns what a caller can decide on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Subvolume { source: FsnapError::Refused(_), .. } => Kind::Refused,
            Self::Subvolume { .. } | Self::Target(_) | Self::Incomplete { damaged: false, .. } => Kind::Io,
            Self::Restore(error) => error.kind(),
            Self::Incomplete { damaged: true, .. } => Kind::Integrity,
        }
    }
}

/// Returns where the new subvolume would lie; changes nothing.
///
/// # Errors
/// Nothing there is a subvolume that could be replaced.
pub fn plan_whole(subvolume: &Path, machine: &Machine<'_>) -> Result<FsSnapshotRef, WholeError> {
    let failed = |source| WholeError::Subvolume { subvolume: subvolume.to_owned(), source };
    Btrfs::of(machine.around).plan_writable(subvolume, machine.run).map_err(failed)
}

/// Restores into a new subvolume, and lets it take the place of the other, which is kept.
///
/// # Errors
/// The subvolume is what it was; what was made is removed with the run's list.
pub fn run_whole<'a>(
    job: &WholeRestore<'_>,
    machine: &Machine<'a>,
    undoing: &mut Undoing<'a>,
) -> Result<(RestoreReport, Switched), WholeError> {
    let btrfs = Btrfs::of(machine.around);
    let failed = |source| WholeError::Subvolume { subvolume: job.subvolume.to_owned(), source };
    let target = plan_whole(job.subvolume, machine)?;
    let ticket = undoing.note(Undo::DeleteSnapshot { snapshot: target.clone() })?;
    btrfs.make_writable(&target, job.subvolume, true).map_err(failed)?;
    let everything = |_: &StoredPath, _: &Node| true;
    let request = RestoreRequest { base: StoredPath::root(), select: &everything, threads: job.threads };
    let options = SinkOptions { root_metadata: true, devices: true, ..job.options.clone() };
    let sink = FilesSink::new(&target.base, options)?;
    let report =
        restore_files(job.repo, job.root, &sink, &request, job.events).map_err(RestoreError::from)?;
    sink.sync()?;
    if let Some(problem) = report.problems.first() {
        let path = String::from_utf8_lossy(&problem.path.to_slashes()).into_owned();
        return Err(WholeError::Incomplete {
            problems: report.problems_total,
            first: format!("/{path}: {}", problem.message),
            damaged: report.damaged > 0,
        });
    }
    // It gets a name that no undoing knows, and only then is it off the list: whoever dies in between leaves a whole
    // subvolume more, never one less.
    let new = btrfs.finish_writable(&target, job.subvolume).map_err(failed)?;
    undoing.settle(ticket)?;
    machine.log.log(
        Severity::Info,
        None,
        &format!("everything is in {}, which is switched to", new.display()),
    );
    let switched = btrfs.switch(&new, job.subvolume, machine.run).map_err(failed)?;
    Ok((report, switched))
}
