//! `dedup restore --full --into-subvolume`: a whole system into an empty subvolume, and a switch to it.

use super::restore::{RestoreArgs, sink_options};
use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::{self, ModuleRun};
use crate::select::Chosen;
use crate::{escape, human};
use dedup_engine::error::Kind;
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::map::Root;
use dedup_engine::repo::Repository;
use dedup_engine::restore::{self, RestorePlan, RestoreReport, RestoreRequest};
use dedup_engine::snapshot::Section;
use dedup_modules::fsnap::{FsSnapshotRef, SwitchEffect, Switched};
use dedup_modules::machine::Machine;
use dedup_modules::restore::{WholeError, WholeRestore, plan_whole, run_whole};
use rustix::fs::statvfs;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

pub fn run(
    ctx: &Context,
    args: &RestoreArgs,
    repo: &Repository,
    chosen: &Chosen,
    subvolume: &Path,
) -> Result<Exit, Failure> {
    let root = system(chosen)?;
    let target =
        runs::beside(ctx.output, |machine| plan_whole(subvolume, &Machine { run: "plan", ..*machine }))?
            .map_err(failure)?;
    let everything = |_: &StoredPath, _: &Node| true;
    let request = RestoreRequest { base: StoredPath::root(), select: &everything, threads: ctx.threads() };
    let plan = restore::plan(repo, root, &request, ctx.events())?;
    ctx.progress.finish();
    show_plan(ctx, chosen, subvolume, &target, &plan)?;
    let around = target.place.parent().unwrap_or(Path::new("/"));
    let free = statvfs(around).map_err(|error| {
        Failure::io(format!("cannot examine the file system of {}", around.display()), &error.into())
    })?;
    let free_bytes = free.f_bavail.saturating_mul(free.f_frsize);
    if plan.bytes > free_bytes {
        let message = format!(
            "nothing was touched, as there is not enough room: {} bytes are needed at {}, and {free_bytes} are free",
            plan.bytes,
            around.display()
        );
        return Err(Failure::new(Kind::NoSpace, message));
    }
    if args.dry_run {
        return Ok(Exit::Complete);
    }
    if !ctx.confirm("Restore the whole system into a new subvolume, and switch to it?")? {
        return Err(Failure::refused("nothing was restored: the answer was no"));
    }
    let module_run = ModuleRun::begin(ctx, "restore", Duration::ZERO)?;
    let machine = module_run.machine();
    let job = WholeRestore {
        repo,
        root,
        subvolume,
        options: sink_options(args, StoredPath::root()),
        threads: ctx.threads(),
        events: ctx.events(),
    };
    let done = module_run.carry_out(ctx, &machine, |undoing| run_whole(&job, &machine, undoing));
    let result = done.and_then(|done| {
        let (report, switched) = done.map_err(failure)?;
        tell(ctx, chosen, &report, &switched)?;
        Ok(Exit::Complete)
    });
    module_run.finish(&result);
    result
}

fn failure(error: WholeError) -> Failure {
    Failure::of(error.kind(), &error)
}

/// Returns the listing of a whole system.
fn system(chosen: &Chosen) -> Result<&Root, Failure> {
    let account = chosen.snapshot.account("files");
    let whole = account.filter(|account| account.sources.iter().any(|source| source == b"/"));
    let listing = whole.and_then(|account| account.listing(Section::Data));
    listing.map(|listing| &listing.root).ok_or_else(|| {
        Failure::refused(format!("snapshot {} is not of a whole system", chosen.id.short()))
            .hint("`dedup backup --full` makes such snapshots")
    })
}

fn show_plan(
    ctx: &Context,
    chosen: &Chosen,
    subvolume: &Path,
    target: &FsSnapshotRef,
    plan: &RestorePlan,
) -> Result<(), Failure> {
    let output = ctx.output;
    // Beside one that is not mounted, within one that is.
    let is_mounted = subvolume.canonicalize().is_ok_and(|at| target.place.parent() == Some(&at));
    if output.json {
        return Ok(output.object(&json!({
            "type": "plan",
            "snapshot_id": chosen.id.to_hex(),
            "host": chosen.snapshot.host,
            "subvolume": subvolume.to_string_lossy(),
            "mounted": is_mounted,
            "entries": plan.entries,
            "files": plan.files,
            "directories": plan.directories,
            "restore_bytes": plan.bytes,
        }))?);
    }
    let (id, time) = (chosen.id.short(), human::local_time(chosen.snapshot.time));
    let host = escape::text(&chosen.snapshot.host);
    let at = escape::text(&subvolume.display().to_string());
    output.line(format!("Plan:    snapshot {id}, the whole system of {host}, {time}"))?;
    output.line(format!(
        "         {} with {} in an empty subvolume, which then takes the place of {at}",
        human::counted(plan.entries, "entry", "entries"),
        human::bytes(plan.bytes),
    ))?;
    output.line(format!(
        "         whatever was written to {at} after {time} is lost to it: it is only in the old subvolume, which stays beside it"
    ))?;
    if is_mounted {
        output.line(format!(
            "         {at} is mounted: the new one is seen when the file system is mounted without a subvolume being named (fstab, rootflags)"
        ))?;
    }
    if chosen.snapshot.host != this_host() {
        output.warning(&format!("the snapshot is of another machine, {host}"));
    }
    Ok(())
}

fn tell(ctx: &Context, chosen: &Chosen, report: &RestoreReport, switched: &Switched) -> Result<(), Failure> {
    let output = ctx.output;
    let now = switched.effect == SwitchEffect::Now;
    if output.json {
        return Ok(output.object(&json!({
            "type": "summary",
            "snapshot_id": chosen.id.to_hex(),
            "subvolume": switched.new.to_string_lossy(),
            "old_subvolume": switched.old.to_string_lossy(),
            "switched": if now { "now" } else { "at-next-mount" },
            "entries": report.entries,
            "files": report.files,
            "restored_bytes": report.bytes,
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
            "exit_code": Exit::Complete.code(),
        }))?);
    }
    output.summary_line(format!(
        "Entries: {} with {}",
        human::count(report.entries),
        human::bytes(report.bytes)
    ))?;
    output.summary_line(format!("Time:    {}", human::duration(ctx.elapsed())))?;
    let shown = |path: &Path| escape::text(&path.display().to_string());
    output.line(match now {
        true => format!(
            "snapshot {} restored as {}; the old subvolume is {}",
            chosen.id.short(),
            shown(&switched.new),
            shown(&switched.old)
        ),
        false => format!(
            "snapshot {} restored in {}, which is mounted next; {} stays as it is",
            chosen.id.short(),
            shown(&switched.new),
            shown(&switched.old)
        ),
    })?;
    Ok(())
}
