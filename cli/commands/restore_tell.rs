//! What a restore of files would do, and what it did.

use super::restore::RestoreArgs;
use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::put_path;
use crate::select::Chosen;
use crate::{escape, human};
use dedup_engine::listing::StoredPath;
use dedup_engine::restore::{RestorePlan, RestoreReport};
use serde_json::json;
use std::path::Path;

/// Shows what a restore would do.
pub fn show_plan(
    ctx: &Context,
    args: &RestoreArgs,
    chosen: &Chosen,
    base: &StoredPath,
    plan: &RestorePlan,
) -> Result<(), Failure> {
    let target = args.target.as_deref();
    if ctx.output.json {
        let mut object = json!({
            "type": "plan",
            "snapshot_id": chosen.id.to_hex(),
            "host": chosen.snapshot.host,
            "target": target.map(Path::to_string_lossy),
            "entries": plan.entries,
            "files": plan.files,
            "directories": plan.directories,
            "restore_bytes": plan.bytes,
        });
        put_path(&mut object, "path", &[b"/", &base.to_slashes()[..]].concat());
        return Ok(ctx.output.object(&object)?);
    }
    let snapshot = &chosen.snapshot;
    let where_to = match target {
        Some(target) => format!("below {}", escape::text(&target.display().to_string())),
        None => format!("to where they came from, on this machine ({})", this_host()),
    };
    let host = escape::text(&snapshot.host);
    let (id, time) = (chosen.id.short(), human::local_time(snapshot.time));
    let what = if *base == StoredPath::root() {
        let sources = snapshot.accounts.iter().flat_map(|account| &account.sources);
        sources.map(|source| escape::name(source)).collect::<Vec<_>>().join(", ")
    } else {
        format!("/{}", escape::name(&base.to_slashes()))
    };
    ctx.output.line(format!("Plan:    snapshot {id} of {host}, {time}: {what}"))?;
    ctx.output.line(format!(
        "         {} with {}, {}, {where_to}",
        human::counted(plan.files, "file", "files"),
        human::bytes(plan.bytes),
        human::counted(plan.entries, "entry in all", "entries in all"),
    ))?;
    ctx.output.line("         files that differ are replaced, nothing is deleted")?;
    if target.is_none() && snapshot.host != this_host() {
        ctx.output.warning(&format!("the snapshot is of another machine, {host}"));
    }
    Ok(())
}

/// Tells what a restore did.
pub fn summary(
    ctx: &Context,
    args: &RestoreArgs,
    chosen: &Chosen,
    report: &RestoreReport,
    exit: Exit,
) -> Result<(), Failure> {
    let target = args.target.as_deref().unwrap_or(Path::new("/"));
    let elapsed = ctx.elapsed();
    if ctx.output.json {
        return Ok(ctx.output.object(&json!({
            "type": "summary",
            "snapshot_id": chosen.id.to_hex(),
            "target": args.target.as_deref().map(Path::to_string_lossy),
            "dry_run": args.dry_run,
            "entries": report.entries,
            "files": report.files,
            "entries_unchanged": report.unchanged,
            "restored_bytes": report.bytes,
            "written_bytes": report.bytes_written,
            "problems": report.problems_total,
            "elapsed_seconds": elapsed.as_secs_f64(),
            "exit_code": exit.code(),
        }))?);
    }
    let output = ctx.output;
    output.summary_line(format!(
        "Entries: {} in {}, {} of them right already",
        human::count(report.entries),
        escape::text(&target.display().to_string()),
        human::count(report.unchanged)
    ))?;
    output.summary_line(format!(
        "Files:   {} with {}, {} written",
        human::count(report.files),
        human::bytes(report.bytes),
        human::bytes(report.bytes_written)
    ))?;
    let rate = human::rate(report.bytes, elapsed);
    output.summary_line(format!("Time:    {}, {rate}", human::duration(elapsed)))?;
    output.summary_line(match report.problems_total {
        0 => format!("snapshot {} restored", chosen.id.short()),
        _ => format!("snapshot {} restored in part", chosen.id.short()),
    })?;
    Ok(())
}
