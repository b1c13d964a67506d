//! `dedup repair packs`.

use super::other::OtherArgs;
use super::{Common, host, tell};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::complain;
use crate::passphrase::Way;
use crate::{escape, human, target};
use dedup_engine::check::ReadData;
use dedup_engine::id::ObjectId;
use dedup_engine::repair::Donor;
use dedup_engine::repair::packs::{self, Fate, PackOptions, PackReport};
use dedup_engine::storage::Name;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

const DAY_SECS: i64 = 86_400;

/// Store what is sound in damaged packs anew, name every file that lost something, and remove the packs
///
/// Names and lengths of all packs are looked at. What is rotten within is known only by reading: --read-data reads all packs, or a
/// share of them, and packs can be named, as `dedup check` names them. Of each damaged pack every chunk that still is what its name
/// says is stored anew before the pack goes, unless parity gives the pack back bit for bit. What another pack has too, or another repository (--from), is not lost.
///
/// Afterwards `dedup repair snapshots` makes snapshots that lost something whole again without it, and the next backup stores anew
/// what is still there.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup repair packs --read-data --dry-run
  dedup repair packs --read-data
  dedup check --read-data --json > report; dedup repair packs --report report
  dedup repair packs packs/1a/1a2b…
  dedup repair packs --read-data --from /mnt/usb/backups --from-key-file usb.key

Exit status 6: something is lost, or is damaged still (with --dry-run: something is damaged).")]
pub struct PacksArgs {
    /// Packs to read, by their names or ids
    #[arg(value_name = "PACK", value_parser = pack)]
    packs: Vec<ObjectId>,
    /// Read the packs as well that a check found damaged: what `dedup check --json` printed
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Read packs: a share in percent, those first that this machine has not read for longest; or ALL, which is also what no
    /// value means
    #[arg(long, value_name = "PERCENT|ALL", num_args = 0..=1, require_equals = true, default_missing_value = "all",
        value_parser = crate::commands::check::read_data)]
    read_data: Option<ReadData>,
    /// More than half of the packs are not there, and are lost indeed
    #[arg(long)]
    most_are_gone: bool,
    #[command(flatten)]
    other: OtherArgs,
    #[command(flatten)]
    common: Common,
}

pub fn run(ctx: &Context, args: &PacksArgs) -> Result<Exit, Failure> {
    let mut named: BTreeSet<ObjectId> = args.packs.iter().copied().collect();
    if let Some(report) = &args.report {
        named.extend(of_report(report)?);
    }
    let (repo, other) = match args.other.place()? {
        None => (ctx.open_indexed()?, None),
        Some((place, way)) => {
            let half = target::half_memory(ctx)?;
            let repo = ctx.open_at(&ctx.place()?, &Way::choose(&ctx.global, &ctx.config)?, half)?;
            let other = ctx.open_at(&place, &way, half)?;
            (ctx.indexed(repo)?, Some(ctx.indexed(other)?))
        }
    };
    let (now, host, elapsed) = (ctx.now(), host(), || ctx.elapsed());
    let options = PackOptions {
        how: args.common.how(ctx, &host, &elapsed),
        named,
        data: args.read_data.unwrap_or(ReadData::Nothing),
        today: u32::try_from(now.secs.div_euclid(DAY_SECS)).ok(),
        seed: now.secs.unsigned_abs().rotate_left(32) ^ u64::from(now.nanos) ^ u64::from(std::process::id()),
        most_are_gone: args.most_are_gone,
        donor: other.as_ref().map(|from| Donor { from }),
    };
    let report = {
        let _operation = ctx.operation();
        packs::run(&repo, &options, ctx.events(), &mut |loss| {
            ctx.progress.beside(|| tell(ctx, &loss));
            Ok(())
        })?
    };
    ctx.progress.finish();
    let exit = match args.common.dry_run {
        true if report.is_sound() => Exit::Complete,
        false if report.is_healed() => Exit::Complete,
        _ => Exit::Integrity,
    };
    show(ctx, args, &report, exit)?;
    Ok(exit)
}

fn show(ctx: &Context, args: &PacksArgs, report: &PackReport, exit: Exit) -> Result<(), Failure> {
    let dry_run = args.common.dry_run;
    for fate in &report.fates {
        let name = Name::pack(fate.id).to_string();
        if ctx.output.json {
            ctx.output.event(&json!({
                "type": "pack",
                "pack": name,
                "message": fate.wrong,
                "chunks": fate.chunks,
                "saved_chunks": fate.saved,
                "elsewhere_chunks": fate.elsewhere,
                "lost_chunks": fate.lost,
                "lost_bytes": fate.lost_bytes,
                "unknown": fate.is_unknown,
            }));
        } else {
            complain(&format!("damaged: {name}: {}; {}", escape::text(&fate.wrong), became(fate)));
        }
    }
    if ctx.output.json {
        return Ok(ctx.output.object(&summary(ctx, report, dry_run, exit))?);
    }
    let output = ctx.output;
    let packs = |count| human::counted(count, "pack", "packs");
    output.summary_line(format!(
        "Read:    {} of {}",
        human::count(report.packs_read),
        packs(report.packs)
    ))?;
    output.summary_line(format!("Damaged: {}", packs(report.damaged)))?;
    if report.given_back > 0 {
        output.summary_line(format!("Whole:   {} given back", packs(report.given_back)))?;
    }
    if report.damaged > 0 {
        let chunks = |count| human::counted(count, "chunk", "chunks");
        let mut saved = format!("Saved:   {}", chunks(report.chunks_saved));
        if report.chunks_elsewhere > 0 {
            saved += &format!(", {} are elsewhere too", human::count(report.chunks_elsewhere));
        }
        if report.chunks_fetched > 0 {
            saved += &format!(", {} from the other repository", human::count(report.chunks_fetched));
        }
        output.summary_line(saved)?;
        output.summary_line(format!(
            "Lost:    {} ({}): {} of {}",
            chunks(report.chunks_lost),
            human::bytes(report.bytes_lost),
            human::counted(report.losses, "entry or dump", "entries and dumps"),
            human::counted(report.snapshots_hit, "snapshot", "snapshots")
        ))?;
    }
    for line in next(report, args) {
        output.line(line)?;
    }
    Ok(())
}

fn became(fate: &Fate) -> String {
    match fate {
        Fate { is_unknown: true, .. } => "nothing tells what was in it".into(),
        Fate { chunks, lost: 0, .. } => format!("all {} chunks are safe", human::count(*chunks)),
        Fate { chunks, lost, .. } => {
            format!("{} of {} chunks are lost", human::count(*lost), human::count(*chunks))
        }
    }
}

/// Says what to do next.
fn next(report: &PackReport, args: &PacksArgs) -> Vec<String> {
    let mut lines = Vec::new();
    if report.is_sound() {
        lines.push("no damage was found".into());
        if args.read_data.is_none() && args.packs.is_empty() && args.report.is_none() {
            lines.push("only names and lengths were looked at: --read-data reads the packs".into());
        }
        return lines;
    }
    if report.segments_damaged > 0 {
        let segments = human::counted(report.segments_damaged, "segment", "segments");
        lines.push(format!("{segments} cannot be read: `dedup repair index` makes them anew"));
    }
    if args.common.dry_run {
        lines.push("nothing was changed".into());
        return lines;
    }
    if report.spared > 0 {
        let packs = human::counted(report.spared, "damaged pack stays", "damaged packs stay");
        lines
            .push(format!("{packs}, since a run that goes on depends on it: repair again when it has ended"));
    }
    if report.losses > 0 {
        lines
            .push("next: `dedup repair snapshots` makes these snapshots anew without what they lost,".into());
        lines.push("then a backup stores anew what is still there".into());
    } else if report.damaged > 0 {
        lines.push("nothing that a snapshot needs is lost".into());
    }
    lines
}

fn summary(ctx: &Context, report: &PackReport, dry_run: bool, exit: Exit) -> Value {
    json!({
        "type": "summary",
        "dry_run": dry_run,
        "packs": report.packs,
        "packs_read": report.packs_read,
        "read_bytes": report.bytes_read,
        "packs_damaged": report.damaged,
        "packs_missing": report.missing,
        "packs_given_back": report.given_back,
        "packs_removed": report.removed,
        "packs_spared": report.spared,
        "packs_unknown": report.unknown,
        "packs_strange": report.strange,
        "segments_damaged": report.segments_damaged,
        "saved_chunks": report.chunks_saved,
        "elsewhere_chunks": report.chunks_elsewhere,
        "fetched_chunks": report.chunks_fetched,
        "lost_chunks": report.chunks_lost,
        "lost_bytes": report.bytes_lost,
        "written_bytes": report.bytes_written,
        "losses": report.losses,
        "snapshots_hit": report.snapshots_hit,
        "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        "exit_code": exit.code(),
    })
}

/// Reads the name of a pack.
fn pack(text: &str) -> Result<ObjectId, String> {
    let wrong = || format!("{text:?} is no pack: give its name or its id, as `dedup check` prints it");
    let id = text.rsplit('/').next().and_then(ObjectId::from_hex).ok_or_else(wrong)?;
    if text.contains('/') && text != Name::pack(id).to_string() { Err(wrong()) } else { Ok(id) }
}

/// Reads which packs a check found damaged.
fn of_report(path: &std::path::Path) -> Result<BTreeSet<ObjectId>, Failure> {
    let io = |error| Failure::io(format!("cannot read {}", path.display()), &error);
    let mut found = BTreeSet::new();
    for line in BufReader::new(std::fs::File::open(path).map_err(io)?).lines() {
        let Ok(object) = serde_json::from_str::<Value>(&line.map_err(io)?) else {
            let wrong = format!("{} is not what `dedup check --json` prints", path.display());
            return Err(Failure::refused(wrong));
        };
        if object["type"] == "finding" && object["severity"] == "damage" {
            found.extend(object["object"].as_str().and_then(|name| pack(name).ok()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_named_as_a_check_names_them() {
        let hex = "1a".repeat(32);
        let id = ObjectId::from_hex(&hex);
        assert!(id.is_some());
        assert_eq!(pack(&hex).ok(), id);
        assert_eq!(pack(&format!("packs/1a/{hex}")).ok(), id);
        for text in ["", "1a2b", &format!("packs/1b/{hex}"), &format!("segments/{hex}")] {
            assert!(pack(text).is_err(), "{text}");
        }
    }
}
