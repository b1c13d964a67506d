//! The whole system, read from a snapshot of its file system: one moment, nothing stands still, no module takes part.

use super::{BackupOutcome, RunError};
use crate::files::{Excludes, FilesOptions, FilesSource};
use crate::fsnap::{Btrfs, SnapshotProvider};
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::undo::{Undo, Undoing};
use dedup_engine::backup::{BackupError, Parent, PartRequest, RunRequest, run_parts};
use dedup_engine::progress::Events;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Section, State};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a backup of the whole system works with.
pub struct WholeJob<'a> {
    /// Where it goes.
    pub repo: &'a Repository,
    /// What goes with it.
    pub request: &'a RunRequest<'a>,
    /// What to compare with.
    pub parent: Parent,
    /// How it is walked; the snapshot becomes its base.
    pub options: FilesOptions,
    /// Receives progress.
    pub events: &'a dyn Events,
}

/// Runs it. What is told beside the outcome: the mount points of file systems with data that are not in the snapshot, and were
/// not excluded.
///
/// # Errors
/// Nothing was published then.
pub fn run_whole<'a>(
    job: &WholeJob<'_>,
    machine: &Machine<'a>,
    undoing: &mut Undoing<'a>,
) -> Result<(BackupOutcome, Vec<PathBuf>), RunError> {
    let log = |level, text: &str| machine.log.log(level, None, text);
    let btrfs = Btrfs::of(machine.around);
    let plan = btrfs.plan_whole(machine.run).map_err(|error| RunError::NoWholeSystem(error.to_string()))?;
    let mut missing = Vec::new();
    for (point, kind) in plan.elsewhere {
        let text =
            format!("{} is on a file system of its own ({kind}) and not in the snapshot", point.display());
        if is_excluded(&job.options.excludes, &point) {
            log(Severity::Info, &text);
        } else {
            log(Severity::Warning, &text);
            missing.push(point);
        }
    }
    for subvolume in &plan.frozen {
        let text =
            format!("{} is a read-only subvolume that is not mounted, and left out", subvolume.display());
        log(Severity::Notice, &text);
    }
    let snapshot = plan.reference;
    let ticket = undoing.note(Undo::DeleteSnapshot { snapshot: snapshot.clone() })?;
    btrfs.take(&snapshot).map_err(|error| RunError::NoSnapshot(error.to_string()))?;
    let options = FilesOptions { base: snapshot.base.clone(), ..job.options.clone() };
    let source = FilesSource::new(&[PathBuf::from("/")], options)
        .map_err(|error| RunError::NoWholeSystem(error.to_string()))?;
    let sources = vec![b"/".to_vec()];
    let mut left_undone = Vec::new();
    let stored = run_parts(job.repo, job.request, job.events, |parts| {
        let request = PartRequest {
            module: "files",
            section: Section::Data,
            parent: job.parent,
            sources: Some(&sources),
        };
        let stored = parts.store(&source, &request);
        // Whatever became of it, nothing is read any more.
        if let Err(error) = undoing.undo(ticket) {
            log(Severity::Warning, &error.to_string());
            left_undone.push(error.to_string());
        }
        let report = stored?;
        let mut account = Account { sources: sources.clone(), ..Account::new("files") };
        report.enter(&mut account);
        let problems = report.totals.problems;
        if problems > 0 || !missing.is_empty() {
            let elsewhere = missing.iter().map(|point| format!("{} is not in it", point.display()));
            let gaps = (problems > 0).then(|| super::files::gaps_text(problems));
            account.state = State::Warned;
            account.reason = gaps.into_iter().chain(elsewhere).collect::<Vec<_>>().join("; ");
        }
        Ok::<_, BackupError>(vec![account])
    });
    let report = stored?;
    if let Some(id) = &report.snapshot {
        log(Severity::Info, &format!("published snapshot {}", id.short()));
    }
    Ok((
        BackupOutcome {
            report,
            downtimes: Vec::new(),
            left_undone,
            from_snapshot: true,
            published_ends: Vec::new(),
            plan: Vec::new(),
        },
        missing,
    ))
}

fn is_excluded(excludes: &Excludes, point: &Path) -> bool {
    let path = point.as_os_str().as_bytes();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    // Whoever leaves out what is in it keeps the directory to mount it on.
    excludes.excludes(path, true) || excludes.excludes(&[path, b"/x"].concat(), false)
}
