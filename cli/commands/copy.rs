//! `dedup copy`: snapshots into another repository.

use super::{all_snapshots, choose};
use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::passphrase::Way;
use crate::select::{Filter, Selection};
use crate::target::{self, TargetArgs};
use crate::{escape, sizes};
use dedup_engine::compress::Level;
use dedup_engine::copy::{CopyError, CopyReport, CopyRequest, Copying};
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::Snapshot;
use jiff::Zoned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// Copy snapshots into another repository
///
/// The other one has keys of its own: everything is read, verified, and stored under its keys. A snapshot is there whole or not
/// at all. What was copied before is neither read nor stored again, also after an interruption. Both repositories can be in use
/// meanwhile.
///
/// Copies keep host, time, labels and comment, have ids of their own, and remember whose copies they are.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup copy --to /mnt/usb/backups --to-key-file usb.key            everything
  dedup copy latest --to /mnt/usb/backups --to-passphrase
  dedup copy --within 7d --host web1 --to /mnt/nas/web1 --dry-run")]
pub struct CopyArgs {
    /// Which snapshots: first digits of ids, latest or latest-any [default: all that fit]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<OsString>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    filter: Filter,
    /// How hard to compress: off, fast, default, better, best, or 1 to 22
    #[arg(long, value_name = "LEVEL", default_value = "default", value_parser = sizes::level)]
    compression: Level,
    /// Only say what would be copied
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// What became of one.
enum Became {
    There(ObjectId),
    Copied(CopyReport),
    Waits,
    Failed(Failure),
}

pub fn run(ctx: &Context, args: &CopyArgs) -> Result<Exit, Failure> {
    let half = target::half_memory(ctx)?;
    let (place, way) = (args.target.place()?, args.target.way()?);
    let from = ctx.open_at(&ctx.place()?, &Way::choose(&ctx.global, &ctx.config)?, half)?;
    let to = ctx.open_at(&place, &way, half)?;
    let (wanted, listed) = wanted(ctx, args, &from)?;
    let (from, to) = match args.dry_run {
        true => (from, to),
        false => (ctx.indexed(from)?, ctx.indexed(to)?),
    };
    let mut copying = Copying::begin(&from, &to)?;
    let request = CopyRequest {
        now: ctx.now(),
        host: &this_host(),
        level: args.compression,
        threads: ctx.threads(),
        elapsed: &|| ctx.elapsed(),
    };
    let (mut ended, mut stopped, mut exit) = (Vec::new(), None, listed);
    {
        let _operation = ctx.operation();
        for (id, snapshot) in &wanted {
            if args.dry_run {
                ended.push((id, snapshot, copying.copy_of(id).map_or(Became::Waits, Became::There)));
                continue;
            }
            match copying.copy(id, &request, ctx.events()) {
                Ok(report) if report.was_there => ended.push((id, snapshot, Became::There(report.snapshot))),
                Ok(report) => ended.push((id, snapshot, Became::Copied(report))),
                Err(error) => {
                    let goes_on =
                        matches!(&error, CopyError::Source(error) if error.kind() != Kind::Cancelled);
                    let failure = Failure::from(error);
                    exit = exit.merge(failure.exit);
                    if !goes_on {
                        stopped = Some(failure);
                        break;
                    }
                    let told = format!("snapshot {} is not copied: {}", id.short(), failure.message);
                    ctx.output.warning(&told);
                    ended.push((id, snapshot, Became::Failed(failure)));
                }
            }
        }
    }
    ctx.progress.finish();
    match ctx.output.json {
        true => ctx.output.object(&document(ctx, args, &ended, exit))?,
        false => tell(ctx, &ended)?,
    }
    stopped.map_or(Ok(exit), Err)
}

/// Returns the snapshots that are meant, oldest first, and whether all could be read.
fn wanted(
    ctx: &Context,
    args: &CopyArgs,
    from: &Repository,
) -> Result<(Vec<(ObjectId, Snapshot)>, Exit), Failure> {
    let (all, faults) = all_snapshots(ctx, from)?;
    if args.snapshots.is_empty() {
        return Ok((args.filter.apply(all, &Zoned::now())?, faults));
    }
    let mut chosen = BTreeSet::new();
    for text in &args.snapshots {
        let selection = Selection::parse(text)?;
        if selection.path.is_some() {
            return Err(Failure::refused("a snapshot is copied whole, not a path of it"));
        }
        chosen.insert(choose(ctx, from, &selection.wanted, &args.filter)?.id);
    }
    let named = all.into_iter().filter(|(id, _)| chosen.contains(id)).collect();
    // What is not asked for may be damaged.
    Ok((named, Exit::Complete))
}

fn tell(ctx: &Context, ended: &[(&ObjectId, &Snapshot, Became)]) -> Result<(), Failure> {
    let (mut copied, mut there, mut waiting, mut failed) = (0, 0, 0, 0);
    for (id, snapshot, became) in ended {
        let of = format!(
            "{} ({}, {})",
            id.short(),
            escape::text(&snapshot.host),
            human::local_time(snapshot.time)
        );
        match became {
            Became::There(_) => there += 1,
            Became::Copied(report) => {
                copied += 1;
                ctx.output.line(format!(
                    "{of} copied as {}: {} read, {} there already, {} stored",
                    report.snapshot.short(),
                    human::bytes(report.bytes_read),
                    human::bytes(report.bytes_known),
                    human::bytes(report.totals.bytes_stored)
                ))?;
            }
            Became::Waits => {
                waiting += 1;
                ctx.output.line(format!("{of} would be copied: {}", human::bytes(snapshot.totals.bytes)))?;
            }
            Became::Failed(_) => failed += 1,
        }
    }
    let told =
        [(copied, "copied"), (waiting, "to be copied"), (there, "there already"), (failed, "not copied")];
    let told = told.iter().filter(|(count, word)| *count > 0 || *word == "copied");
    let told = told.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
    Ok(ctx.output.summary_line(format!("Snapshots: {told}"))?)
}

fn document(ctx: &Context, args: &CopyArgs, ended: &[(&ObjectId, &Snapshot, Became)], exit: Exit) -> Value {
    let one = |(id, _, became): &(&ObjectId, &Snapshot, Became)| match became {
        Became::There(copy) => json!({ "id": id.to_hex(), "outcome": "there", "copy_id": copy.to_hex() }),
        Became::Copied(report) => json!({
            "id": id.to_hex(),
            "outcome": "copied",
            "copy_id": report.snapshot.to_hex(),
            "read_bytes": report.bytes_read,
            "known_bytes": report.bytes_known,
            "new_bytes": report.totals.bytes_new,
            "stored_bytes": report.totals.bytes_stored,
        }),
        Became::Waits => json!({ "id": id.to_hex(), "outcome": "waits", "copy_id": null }),
        Became::Failed(failure) => {
            json!({ "id": id.to_hex(), "outcome": "failed", "copy_id": null, "message": failure.message })
        }
    };
    json!({
        "type": "copy",
        "dry_run": args.dry_run,
        "snapshots": ended.iter().map(one).collect::<Vec<_>>(),
        "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        "exit_code": exit.code(),
    })
}
