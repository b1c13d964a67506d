//! `dedup repair index`.

use super::{Common, host};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::complain;
use crate::{escape, human};
use dedup_engine::repair::segments;
use dedup_engine::storage::Name;
use serde_json::json;

/// Make anew what tells where data lie: segments from packs, and with them the local index
///
/// Packs describe themselves, so nothing is lost with a segment. Packs that no sound segment names are named by a new one; segments
/// that cannot be read are removed then. The local index of this machine needs no repair: it is brought up to date by every command,
/// and can be deleted at any time.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup repair index --dry-run
  dedup repair index
  dedup repair index --from-packs

Exit status 6: something could not be put right (with --dry-run: something is damaged).")]
pub struct IndexArgs {
    /// Believe no segment: compare each with what its packs say of themselves
    #[arg(long)]
    from_packs: bool,
    #[command(flatten)]
    common: Common,
}

pub fn run(ctx: &Context, args: &IndexArgs) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let (host, elapsed) = (host(), || ctx.elapsed());
    let how = args.common.how(ctx, &host, &elapsed);
    let report = {
        let _operation = ctx.operation();
        segments::run(&repo, &how, args.from_packs, ctx.events())?
    };
    ctx.progress.finish();
    let dry_run = args.common.dry_run;
    let is_healed = report.unreadable == 0 && report.spared == 0;
    let exit = match dry_run {
        true if report.is_sound() => Exit::Complete,
        false if is_healed => Exit::Complete,
        _ => Exit::Integrity,
    };
    for (id, wrong) in &report.damaged {
        let name = Name::segment(*id).to_string();
        match ctx.output.json {
            true => ctx.output.event(&json!({ "type": "segment", "segment": name, "message": wrong })),
            false => complain(&format!("damaged: {name}: {}", escape::text(wrong))),
        }
    }
    if ctx.output.json {
        ctx.output.object(&json!({
            "type": "summary",
            "dry_run": dry_run,
            "segments": report.segments,
            "packs": report.packs,
            "segments_damaged": report.damaged_total,
            "segments_removed": report.removed,
            "segments_spared": report.spared,
            "packs_unnamed": report.unnamed,
            "packs_unreadable": report.unreadable,
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
            "exit_code": exit.code(),
        }))?;
        return Ok(exit);
    }
    let packs = |count| human::counted(count, "pack", "packs");
    let segments = |count| human::counted(count, "segment", "segments");
    let output = ctx.output;
    output.summary_line(format!("Looked:  {}, {}", segments(report.segments), packs(report.packs)))?;
    output.summary_line(format!("Damaged: {}", segments(report.damaged_total)))?;
    output.summary_line(format!("Unnamed: {}", packs(report.unnamed)))?;
    match () {
        () if report.is_sound() => output.line("no damage was found")?,
        () if dry_run => output.line("nothing was changed")?,
        () => output.line(format!(
            "{} are in new segments, {} removed",
            packs(report.unnamed.saturating_sub(report.unreadable)),
            segments(report.removed)
        ))?,
    }
    if report.unreadable > 0 {
        let packs = packs(report.unreadable);
        output.line(format!("{packs} cannot be read: `dedup repair packs --read-data` says what is lost"))?;
    }
    if report.spared > 0 {
        let segments = segments(report.spared);
        output.line(format!("{segments} stay for a run that goes on: repair again when it has ended"))?;
    }
    Ok(exit)
}
