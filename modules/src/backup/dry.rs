//! Dry runs: what a backup would store is read and counted, and what it would do on this machine is told. Nothing is run,
//! stopped, locked, dumped or noted: whoever asks what a run would do has not asked for it.

use super::account::{Known, tell};
use super::files::{Reading, paths};
use super::live::NO_SETTINGS;
use super::plan::steps;
use super::root::plan_root;
use super::{BackupJob, BackupOutcome, RunError};
use crate::conduct::{Cancelled, Standing, source_item};
use crate::machine::Machine;
use dedup_engine::backup::{Parts, run_parts};
use dedup_engine::snapshot::{Account, Outcome};
use std::path::Path;

/// What the account of a dry run says of what only a program could give.
const NOT_ASKED: &str = "not asked: a dry run starts no program and dumps nothing";

/// Finds out what a backup would store and do. The request must say that it is a dry run, so that the engine stores nothing.
///
/// # Errors
/// As of a run; what only fails while something is done cannot be known.
pub fn dry_run(job: &BackupJob<'_>, machine: &Machine<'_>) -> Result<BackupOutcome, RunError> {
    let members: Vec<usize> = (0..job.members.len()).collect();
    let root = plan_root(job, machine, &members)?;
    let plan = steps(job, &root);
    let report = run_parts(job.repo, job.request, job.events, |parts| read(job, machine, parts))?;
    Ok(BackupOutcome {
        report,
        downtimes: Vec::new(),
        left_undone: Vec::new(),
        from_snapshot: false,
        published_ends: Vec::new(),
        plan,
    })
}

fn read(job: &BackupJob<'_>, machine: &Machine<'_>, parts: &mut Parts<'_>) -> Result<Vec<Account>, RunError> {
    let mut standings = vec![Standing::default(); job.members.len()];
    let mut accounts: Vec<_> = job.members.iter().map(|member| Account::new(member.id().as_str())).collect();
    for (at, member) in job.members.iter().enumerate() {
        if (machine.cancelled)() {
            return Err(Cancelled.into());
        }
        let (manifest, standing) = (member.manifest, &mut standings[at]);
        let mut not_asked = |name| standing.item(name, Outcome::SkippedByChoice, NOT_ASKED);
        manifest.sources.iter().for_each(|source| not_asked(source_item(&source.name)));
        if manifest.exporter.is_some() {
            not_asked("exporter".into());
        }
        if !manifest.settings.is_empty() {
            standing.outcome("settings".into(), Outcome::Failed, NO_SETTINGS.into());
        }
        if manifest.exporter.as_ref().is_some_and(|exporter| exporter.replaces_declared) {
            continue;
        }
        let base = Path::new("/");
        let mut reading = Reading { job, machine, base, at, standing, account: &mut accounts[at] };
        reading.declared(parts, manifest, member.variables)?;
    }
    let paths = paths(job, parts)?;
    let requires = job.members.iter().map(|_| Vec::new()).collect();
    tell(job, machine, parts, Known { standings: &standings, accounts, requires, paths })
}
