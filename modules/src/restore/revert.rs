//! A restore that was kept is taken back later: services stand still meanwhile, as they did for it.

use super::RestoreError;
use crate::conduct::{Conduct, Downtime};
use crate::hooks::{HookEnd, ResolvedHook, run_hook};
use crate::machine::Machine;
use crate::manifest::lifecycle::Revert;
use crate::manifest::programs::Severity;
use crate::manifest::services::Operation;
use crate::member::{Halt, Member};
use crate::undo::{Carried, KeptRestore, Undoing};

/// What is reverted, and what must stand still for it.
pub struct RevertJob<'a> {
    /// The restore.
    pub kept: &'a KeptRestore,
    /// Its module as it is here; nothing if it is not installed any more.
    pub members: &'a [Member<'a>],
    /// Its services, in the order in which they start.
    pub halts: &'a [Halt],
}

/// What became of it.
#[derive(Debug)]
pub struct Reverted {
    /// Each act.
    pub acts: Vec<Carried>,
    /// How long what stood still.
    pub downtimes: Vec<Downtime>,
    /// What could not be done, and is tried again by the next revert; or not be brought back.
    pub left_undone: Vec<String>,
}

/// Takes the restore back, then runs the module's own program for it, if it names one.
///
/// # Errors
/// Nothing was taken back then.
pub fn revert<'a>(
    job: &RevertJob<'a>,
    machine: &Machine<'a>,
    undoing: &mut Undoing<'a>,
) -> Result<Reverted, RestoreError> {
    let mut conduct = Conduct::new(job.members, job.halts, Operation::Restore, machine, undoing);
    let taken = take_back(job, &mut conduct);
    conduct.bring_back();
    let (acts, mut left_undone) = taken?;
    left_undone.append(&mut conduct.left_undone);
    Ok(Reverted { acts, downtimes: conduct.downtimes, left_undone })
}

fn take_back<'a>(
    job: &RevertJob<'a>,
    conduct: &mut Conduct<'_, 'a>,
) -> Result<(Vec<Carried>, Vec<String>), RestoreError> {
    conduct.lock_all()?;
    let halts: Vec<usize> = (0..job.halts.len()).collect();
    conduct.stop(halts.iter())?;
    let still = conduct.members_in().len() == job.members.len();
    if !still {
        let why = conduct.standings.iter().map(|standing| standing.state().1).collect::<Vec<_>>().join("; ");
        return Ok((Vec::new(), vec![format!("nothing was reverted: {why}")]));
    }
    let acts = job.kept.take_back(conduct.machine)?;
    let mut failed: Vec<String> = acts
        .iter()
        .filter_map(|act| act.failed.as_ref().map(|why| format!("cannot {}: {why}", act.what)))
        .collect();
    for (at, member) in job.members.iter().enumerate() {
        let Revert::Command(argv) = &member.manifest.spaces.revert else { continue };
        if !failed.is_empty() {
            break;
        }
        let context = conduct.context(Some(at), None);
        if let HookEnd::Failed(why) = run_hook(&ResolvedHook::plain(argv), &context, conduct.machine) {
            let why = format!("its program to revert failed: {why}");
            conduct.log(Severity::Error, Some(member.id()), &why);
            failed.push(why);
        }
    }
    Ok((acts, failed))
}
