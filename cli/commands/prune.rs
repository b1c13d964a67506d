//! `dedup prune`: removes what no snapshot needs.

use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{human, sizes};
use dedup_engine::compress::Level;
use dedup_engine::prune::plan::{Limits, Unused};
use dedup_engine::prune::{self, PruneOptions, PruneReport};
use serde_json::json;

/// Remove what no snapshot needs any more, and free its room
///
/// Forgotten snapshots go for good. Packs of which nothing is needed are deleted; of others what is needed is
/// written anew, as far as --max-unused and --max-repack say. Backups, restores and other prunes may run
/// meanwhile, on any machine. An interrupted prune loses nothing, and the next one goes on.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup prune --dry-run
  dedup prune
  dedup prune --max-unused 0 --max-repack 10G")]
pub struct PruneArgs {
    /// Show what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// A repository without any snapshot is meant to be one: remove everything
    #[arg(long)]
    allow_empty: bool,
}

/// What bounds a prune.
#[derive(clap::Args, Debug, Default)]
pub struct LimitArgs {
    /// How much may stay though nobody needs it: a share of what is needed (5%), a size (2G) or `unlimited`
    #[arg(long, value_name = "SHARE|SIZE", value_parser = unused)]
    max_unused: Option<Unused>,
    /// Write at most so much anew
    #[arg(long, value_name = "SIZE", value_parser = sizes::size)]
    max_repack: Option<u64>,
    /// End runs that have not ended, also young ones: for when they are known to be dead (one that lives loses nothing,
    /// but may have to store things again)
    #[arg(long)]
    fence: bool,
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            max_unused: self.max_unused.unwrap_or(default.max_unused),
            max_repack_bytes: self.max_repack,
        }
    }
}

pub fn run(ctx: &Context, args: &PruneArgs) -> Result<Exit, Failure> {
    let report = carry_out(ctx, &args.limits, args.dry_run, args.allow_empty)?;
    show(ctx, &report, args.dry_run)?;
    Ok(exit(&report))
}

/// Prunes for a `forget` that has told what it did. Its JSON is a second document.
pub fn run_after_forget(ctx: &Context, limits: &LimitArgs, allow_empty: bool) -> Result<Exit, Failure> {
    let report = carry_out(ctx, limits, false, allow_empty)?;
    show(ctx, &report, false)?;
    Ok(exit(&report))
}

/// Prunes.
fn carry_out(
    ctx: &Context,
    limits: &LimitArgs,
    dry_run: bool,
    allow_empty: bool,
) -> Result<PruneReport, Failure> {
    let repo = ctx.open_indexed()?;
    let elapsed = || ctx.elapsed();
    let options = PruneOptions {
        limits: limits.limits(),
        dry_run,
        fence_all: limits.fence,
        allow_empty,
        host: this_host(),
        time: ctx.now(),
        level: Level::Auto,
        threads: ctx.threads(),
        elapsed: &elapsed,
    };
    let report = {
        let _operation = ctx.operation();
        prune::run(&repo, &options, ctx.events())?
    };
    ctx.progress.finish();
    if report.chunks_missing > 0 {
        ctx.output.warning(&format!(
            "{} that snapshots need are in no pack: `dedup check` says which files are hit",
            human::counted(report.chunks_missing, "chunk", "chunks")
        ));
    }
    tell_parity(ctx, &report, dry_run);
    Ok(report)
}

/// Says what became of parity. Nothing that was protected is left without protection in silence.
fn tell_parity(ctx: &Context, report: &PruneReport, dry_run: bool) {
    let packs = |count| human::counted(count, "pack", "packs");
    let (parity, is) = (&report.parity, if dry_run { "would be" } else { "are" });
    if parity.packs_spared > 0 {
        ctx.output.warning(&format!(
            "{} are left alone: others of their parity groups are missing and can be rebuilt from them; \
             run `dedup parity repair`, then prune again",
            packs(parity.packs_spared)
        ));
    }
    if parity.packs_unprotected > 0 {
        ctx.output.warning(&format!(
            "{} {is} without parity now, since packs of their groups went: run `dedup parity add`",
            packs(parity.packs_unprotected)
        ));
    }
    if parity.packs_weakened > 0 {
        ctx.output.note(&format!(
            "{} {is} protected against fewer losses than before: `dedup parity add` makes new groups",
            packs(parity.packs_weakened)
        ));
    }
}

fn exit(report: &PruneReport) -> Exit {
    if report.chunks_missing + report.packs_damaged > 0 { Exit::Integrity } else { Exit::Complete }
}

/// Shows what was done, or would be.
fn show(ctx: &Context, report: &PruneReport, dry_run: bool) -> Result<(), Failure> {
    let plan = &report.plan;
    if ctx.output.json {
        return Ok(ctx.output.object(&json!({
            "type": "prune",
            "dry_run": dry_run,
            "snapshots_removed": report.snapshots.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
            "snapshots_kept": report.snapshots_kept,
            "packs": plan.packs,
            "stored_bytes": plan.stored_bytes,
            "needed_bytes": plan.live_bytes,
            "remove_packs": plan.remove.len(),
            "remove_bytes": plan.remove_bytes,
            "repack_packs": plan.repack.len(),
            "repack_bytes": plan.repack_bytes,
            "repack_frees_bytes": plan.repack_frees_bytes,
            "unused_bytes": plan.unused_bytes,
            "spared_packs": plan.spared,
            "removed_packs": report.packs_removed,
            "removed_bytes": report.bytes_removed,
            "written_bytes": report.bytes_written,
            "rescued_packs": report.packs_rescued,
            "damaged_packs": report.packs_damaged,
            "missing_chunks": report.chunks_missing,
            "fenced_sessions": report.fenced,
            "parity_objects_removed": report.parity.objects_removed,
            "parity_bytes_removed": report.parity.bytes_removed,
            "unprotected_packs": report.parity.packs_unprotected,
            "weakened_packs": report.parity.packs_weakened,
            "parity_spared_packs": report.parity.packs_spared,
            "restarts": report.restarts,
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        }))?);
    }
    lines(report, dry_run).iter().try_for_each(|line| ctx.output.summary_line(line))?;
    let spared = plan.spared.saturating_sub(report.parity.packs_spared);
    if spared > 0 {
        ctx.output.note(&format!(
            "{} are left alone: they may be of runs that have not ended; --fence ends those that are dead",
            human::counted(spared, "pack", "packs")
        ));
    }
    Ok(())
}

fn lines(report: &PruneReport, dry_run: bool) -> Vec<String> {
    let plan = &report.plan;
    let packs = |count: usize| human::counted(count as u64, "pack", "packs");
    let mut lines = vec![
        format!(
            "Snapshots: {} removed, {} stay",
            human::count(report.snapshots.len() as u64),
            human::count(report.snapshots_kept)
        ),
        format!(
            "Stored:    {} in {}, of which {} are needed",
            human::bytes(plan.stored_bytes),
            human::counted(plan.packs, "pack", "packs"),
            human::bytes(plan.live_bytes)
        ),
        format!("Removed:   {}, {}", packs(plan.remove.len()), human::bytes(plan.remove_bytes)),
        format!(
            "Repacked:  {}, {} written anew, {} freed",
            packs(plan.repack.len()),
            human::bytes(plan.repack_bytes),
            human::bytes(plan.repack_frees_bytes)
        ),
        format!("Unused:    {} stay", human::bytes(plan.unused_bytes)),
    ];
    if dry_run {
        lines.push("Nothing was changed".into());
    } else {
        let freed = report.bytes_removed.saturating_sub(report.bytes_written);
        lines.push(format!("Freed:     {}", human::bytes(freed)));
    }
    lines
}

/// Reads how much may stay unused.
fn unused(text: &str) -> Result<Unused, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(Unused::Any);
    }
    if text == "0" {
        return Ok(Unused::Bytes(0));
    }
    match text.strip_suffix('%') {
        Some(share) => {
            let share: f64 = share.trim().parse().map_err(|_| format!("{text:?} is no share"))?;
            if !(0.0..=100_000.0).contains(&share) {
                return Err(format!("{text:?} is no share from 0% on"));
            }
            Ok(Unused::Thousandths((share * 10.0).round() as u32))
        }
        None => sizes::size(text).map(Unused::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stay_is_a_share_or_a_size() {
        assert_eq!(unused("5%"), Ok(Unused::Thousandths(50)));
        assert_eq!(unused("0.5%"), Ok(Unused::Thousandths(5)));
        assert_eq!(unused("2G"), Ok(Unused::Bytes(2 << 30)));
        assert_eq!(unused("0"), Ok(Unused::Bytes(0)));
        assert_eq!(unused("Unlimited"), Ok(Unused::Any));
        for text in ["", "%", "-1%", "x", "nan%"] {
            assert!(unused(text).is_err(), "{text}");
        }
    }
}
