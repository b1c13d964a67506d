//! What became of a backup of modules, for people and for programs.

use super::BackupArgs;
use super::finish;
use super::job::JobRun;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use dedup_engine::snapshot::{Account, Item};
use dedup_modules::backup::{Act, BackupOutcome, Step};
use dedup_modules::id::ModuleId;
use dedup_modules::job::after::After;
use dedup_modules::manifest::words::Words;
use serde_json::json;

/// Items of a module that are named at most.
const TOLD: usize = 20;
/// Bytes of a module's reason that are shown at most, if it is more than one sentence.
const REASON_BYTES: usize = 1000;

/// Says it to people.
pub fn text(ctx: &Context, args: &BackupArgs, outcome: &BackupOutcome, after: &After) -> Result<(), Failure> {
    let (output, elapsed) = (ctx.output, ctx.elapsed());
    for account in &outcome.report.accounts {
        let state = super::super::snapshots::state_word(account.state);
        let totals = &account.totals;
        let reason = shown(&account.reason);
        let told = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        output.line(format!(
            "{:<20} {state}, {} in {}{}",
            crate::escape::text(&account.module),
            human::bytes(totals.bytes),
            human::counted(totals.entries, "entry", "entries"),
            crate::escape::text(&told),
        ))?;
        for line in gaps(account, reason) {
            output.line(format!("    {}", crate::escape::text(&line)))?;
        }
    }
    for step in &outcome.plan {
        output.line(format!("would {}", crate::escape::text(&planned(step))))?;
    }
    for downtime in &outcome.downtimes {
        output.summary_line(format!("Down:    {} for {}", downtime.name, human::duration(downtime.time)))?;
    }
    let totals = &outcome.report.totals;
    output.summary_line(format!("Read:    {}", human::bytes(totals.bytes_read)))?;
    let stored = if args.dry_run { "would be stored" } else { "stored" };
    output.summary_line(format!(
        "New:     {} after deduplication, {} {stored} after compression",
        human::bytes(totals.bytes_new),
        human::bytes(totals.bytes_stored)
    ))?;
    let rate = human::rate(totals.bytes_read, elapsed);
    output.summary_line(format!("Time:    {}, {rate} read", human::duration(elapsed)))?;
    for note in &after.notes {
        output.summary_line(format!("After:   {}", crate::escape::text(note)))?;
    }
    match (&outcome.report.snapshot, &after.suspect) {
        (Some(id), Some(_)) => output.line(format!("snapshot {} saved, and suspect", id.short()))?,
        (Some(id), None) => output.line(format!("snapshot {} saved", id.short()))?,
        (None, _) => output.line("nothing was stored (dry run)")?,
    }
    Ok(())
}

/// Returns as much of a reason as fits into a few lines: whole sentences, and the first one in any case.
fn shown(reason: &str) -> &str {
    let ends = reason.match_indices("; ").map(|(at, _)| at).chain([reason.len()]);
    let fitting = ends.clone().take_while(|end| *end <= REASON_BYTES).last();
    fitting.or(ends.min()).and_then(|end| reason.get(..end)).unwrap_or(reason)
}

/// Names the items of a module that are not as they should be, as far as what is shown of its reason does not tell of them already.
fn gaps(account: &Account, reason: &str) -> Vec<String> {
    let untold = |item: &&Item| {
        item.outcome.is_gap()
            && !reason.contains(&format!("{}: {}", item.name, item.message))
            && !reason.contains(&format!("{} is not there", item.name))
    };
    let gaps: Vec<_> = account.items.iter().filter(untold).collect();
    let line = |item: &&Item| {
        format!("{}: {} {}", item.name, crate::output::outcome_word(item.outcome), item.message)
    };
    let mut lines: Vec<_> = gaps.iter().take(TOLD).map(line).collect();
    if gaps.len() > TOLD {
        lines.push(format!("and {} more; `dedup ls --parts` lists them", gaps.len() - TOLD));
    }
    lines
}

fn planned(step: &Step) -> String {
    let of = step.module.as_ref().map_or_else(|| "the job".to_owned(), ToString::to_string);
    let what = &step.what;
    match step.act {
        Act::Run => format!("run {what}, a hook of {of}"),
        Act::Export => format!("run {what}, the exporter of {of}"),
        Act::Dump => format!("dump {what} of {of}"),
        Act::Lock => format!("keep the users of {of} out"),
        Act::Unlock => format!("let the users of {of} in again"),
        Act::Stop => format!("stop {what} of {of}, if it runs"),
        Act::Start => format!("start {what} of {of}, if it ran"),
        Act::Snapshot => format!("take a filesystem snapshot: {what}"),
    }
}

/// Says it to programs.
pub fn json(
    ctx: &Context,
    args: &BackupArgs,
    outcome: &BackupOutcome,
    after: &After,
    job: Option<&JobRun>,
    exit: Exit,
) -> Result<(), Failure> {
    let report = &outcome.report;
    let totals = &report.totals;
    let module = |account: &Account| {
        json!({
            "module": account.module,
            "state": super::super::snapshots::state_word(account.state),
            "reason": account.reason,
            "entries": account.totals.entries,
            "source_bytes": account.totals.bytes,
            "stored_bytes": account.totals.bytes_stored,
            "items": account.items.iter().map(|item| json!({
                "name": item.name,
                "outcome": crate::output::outcome_word(item.outcome),
                "message": item.message,
            })).collect::<Vec<_>>(),
        })
    };
    let downtime = |downtime: &dedup_modules::conduct::Downtime| json!({ "name": downtime.name, "seconds": downtime.time.as_secs_f64() });
    Ok(ctx.output.object(&json!({
        "type": "summary",
        "snapshot_id": report.snapshot.map(|id| id.to_hex()),
        "state": super::super::snapshots::state_word(report.state),
        "dry_run": args.dry_run,
        "modules": report.accounts.iter().map(module).collect::<Vec<_>>(),
        "downtimes": outcome.downtimes.iter().map(downtime).collect::<Vec<_>>(),
        "from_filesystem_snapshot": outcome.from_snapshot,
        "left_undone": outcome.left_undone,
        "plan": outcome.plan.iter().map(|step| json!({
            "act": step.act.word(),
            "module": step.module.as_ref().map(ModuleId::as_str),
            "what": step.what,
        })).collect::<Vec<_>>(),
        "job": job.map(|job| job.job.id.as_str()),
        "record": finish::record_json(after),
        "entries": totals.entries,
        "source_bytes": totals.bytes,
        "read_bytes": totals.bytes_read,
        "new_bytes": totals.bytes_new,
        "stored_bytes": totals.bytes_stored,
        "problems": totals.problems,
        "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        "exit_code": exit.code(),
    }))?)
}
