//! `dedup backup --full`: the whole system, from a filesystem snapshot.

use super::{BackupArgs, modules, tell};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::ModuleRun;
use dedup_engine::backup::{Parent, RunRequest};
use dedup_engine::repo::Repository;
use dedup_modules::backup::{WholeJob, run_whole};
use dedup_modules::files::FilesOptions;
use dedup_modules::job::after::After;

pub fn run(
    ctx: &Context,
    args: &BackupArgs,
    repo: &Repository,
    request: &RunRequest<'_>,
    parent: Parent,
    options: FilesOptions,
) -> Result<Exit, Failure> {
    if args.dry_run {
        return Err(Failure::refused(
            "a dry run takes no filesystem snapshot, and without one there is no whole system to read",
        ));
    }
    let module_run = ModuleRun::begin(ctx, "backup", args.modules.lock_wait.unwrap_or_default())?;
    let machine = module_run.machine();
    let job = WholeJob { repo, request, parent, options, events: ctx.events() };
    let done = module_run.carry_out(ctx, &machine, |undoing| run_whole(&job, &machine, undoing));
    let result = done.and_then(|done| {
        let (outcome, missing) = done.map_err(modules::failure)?;
        for left in &outcome.left_undone {
            ctx.output.warning(left);
        }
        let exit = modules::exit(&outcome, missing.is_empty());
        if ctx.output.json {
            tell::json(ctx, args, &outcome, &After::default(), None, exit)?;
        } else {
            tell::text(ctx, args, &outcome, &After::default())?;
        }
        Ok(exit)
    });
    module_run.finish(&result);
    result
}
