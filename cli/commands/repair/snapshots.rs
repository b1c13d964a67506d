//! `dedup repair snapshots`.

use super::{Common, host, tell};
use crate::commands::{all_snapshots, choose};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::select::{Filter, Selection};
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::repair::snapshots::{self, Repaired, SnapshotOptions, SnapshotReport};
use jiff::Zoned;
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::OsString;

/// Make snapshots anew that lost something, without it
///
/// Time, host, labels and all else stay. What is lost is left out, named here and in the new snapshot, which counts as partial. Of a
/// damaged listing whatever can still be reached is kept. A dump that lost anything is left out as a whole.
///
/// The old snapshot stays, and is called suspect, unless --forget is given: other files of it may still be wanted, and what it lost
/// may yet be found in another repository.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup repair snapshots --dry-run
  dedup repair snapshots
  dedup repair snapshots 1a2b3c4d --forget

Exit status 6: of some snapshots nothing is left (with --dry-run: something is lost).")]
pub struct SnapshotsArgs {
    /// Which snapshots: first digits of ids, latest or latest-any [default: all that fit]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<OsString>,
    /// Forget the old ones, as far as something is left of them
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    common: Common,
}

pub fn run(ctx: &Context, args: &SnapshotsArgs) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let wanted = if args.snapshots.is_empty() {
        let (all, _) = all_snapshots(ctx, &repo)?;
        let count = all.len();
        let fitting: BTreeSet<_> =
            args.filter.apply(all, &Zoned::now())?.into_iter().map(|(id, _)| id).collect();
        // Those that cannot be read fit nothing, and are told of only where all are asked for.
        (fitting.len() < count).then_some(fitting)
    } else {
        let mut chosen = BTreeSet::new();
        for text in &args.snapshots {
            let selection = Selection::parse(text)?;
            if selection.path.is_some() {
                return Err(Failure::refused("a snapshot is repaired whole, not a path of it"));
            }
            chosen.insert(choose(ctx, &repo, &selection.wanted, &args.filter)?.id);
        }
        Some(chosen)
    };
    let (host, elapsed) = (host(), || ctx.elapsed());
    let options = SnapshotOptions { how: args.common.how(ctx, &host, &elapsed), wanted: wanted.as_ref() };
    let report = {
        let _operation = ctx.operation();
        snapshots::run(&repo, &options, ctx.events(), &mut |loss| {
            ctx.progress.beside(|| tell(ctx, &loss));
            Ok(())
        })?
    };
    ctx.progress.finish();
    let mut forgotten = BTreeSet::new();
    if args.forget && !args.common.dry_run {
        let pinned = repo.retention()?.pinned;
        let made = report.repaired.iter().filter(|repaired| repaired.made.is_some());
        for repaired in made {
            match pinned.contains(&repaired.id) {
                true => ctx.output.warning(&format!("{} is pinned and not forgotten", repaired.id.short())),
                false => drop(forgotten.insert(repaired.id)),
            }
        }
        if !forgotten.is_empty() {
            forget::forget(&repo, &forgotten, ctx.now())?;
        }
    }
    let is_left = |repaired: &Repaired| repaired.made.is_some();
    let exit = match args.common.dry_run {
        true if report.losses == 0 => Exit::Complete,
        false if report.unreadable.is_empty() && report.repaired.iter().all(is_left) => Exit::Complete,
        _ => Exit::Integrity,
    };
    show(ctx, args, &report, &forgotten, exit)?;
    Ok(exit)
}

fn show(
    ctx: &Context,
    args: &SnapshotsArgs,
    report: &SnapshotReport,
    forgotten: &BTreeSet<ObjectId>,
    exit: Exit,
) -> Result<(), Failure> {
    for repaired in &report.repaired {
        let Repaired { id, losses, kept_entries, made, was_there } = repaired;
        if ctx.output.json {
            ctx.output.event(&json!({
                "type": "repaired",
                "id": id.to_hex(),
                "new_id": made.map(|made| made.to_hex()),
                "was_there": was_there,
                "forgotten": forgotten.contains(id),
                "losses": losses,
                "entries": kept_entries,
            }));
            continue;
        }
        let lost = human::counted(*losses, "loss", "losses");
        let kept = human::counted(*kept_entries, "entry", "entries");
        ctx.output.line(match made {
            Some(made) => {
                let old = if forgotten.contains(id) { "; the old one is forgotten" } else { "" };
                format!("{} is {} now: {lost}, {kept} left{old}", id.short(), made.short())
            }
            None if args.common.dry_run => format!("{} has {lost}, {kept} left", id.short()),
            None => format!("of {} nothing is left: `dedup forget {}`", id.short(), id.short()),
        })?;
    }
    if ctx.output.json {
        return Ok(ctx.output.object(&json!({
            "type": "summary",
            "dry_run": args.common.dry_run,
            "snapshots": report.snapshots,
            "snapshots_repaired": report.repaired.iter().filter(|repaired| repaired.made.is_some()).count(),
            "snapshots_unreadable": report.unreadable.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
            "losses": report.losses,
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
            "exit_code": exit.code(),
        }))?);
    }
    for id in &report.unreadable {
        ctx.output.line(format!(
            "snapshot {} cannot be read at all: `dedup forget {}` if it is lost",
            id.short(),
            id.short()
        ))?;
    }
    let hit = (report.repaired.len() + report.unreadable.len()) as u64;
    let all = report.snapshots + report.unreadable.len() as u64;
    let told = human::counted(hit, "snapshot has", "snapshots have");
    ctx.output.summary_line(format!("{told} lost something, of {}", human::count(all)))?;
    if hit > 0 && !args.common.dry_run && forgotten.is_empty() {
        ctx.output.summary_line("the old ones stay and count as suspect: --forget forgets them")?;
    }
    Ok(())
}
