//! `dedup stats`: how much there is, and what deduplication and compression save.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::select::Filter;
use dedup_engine::stats::{self, Stats};
use jiff::Zoned;
use serde_json::json;

/// Show how much is stored, and what deduplication and compression save
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup stats
  dedup stats --host web1 --json")]
pub struct StatsArgs {
    #[command(flatten)]
    filter: Filter,
}

pub fn run(ctx: &Context, args: &StatsArgs) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let (snapshots, exit) = super::all_snapshots(ctx, &repo)?;
    let all = snapshots.len();
    let mut snapshots = args.filter.apply(snapshots, &Zoned::now())?;
    let is_of_all = snapshots.len() == all && args.filter.module.is_none();
    if let Some(module) = &args.filter.module {
        for (_, snapshot) in &mut snapshots {
            snapshot.totals = snapshot.account(module).map(|account| account.totals).unwrap_or_default();
        }
    }
    let stats = stats::run(&repo, &snapshots, ctx.events())?;
    ctx.progress.finish();
    if ctx.output.json {
        ctx.output.object(&json!({
            "type": "stats",
            "snapshots": stats.snapshots,
            "source_bytes": stats.source_bytes,
            "unique_bytes": stats.unique_bytes,
            "stored_bytes": stats.stored_bytes,
            "repository_bytes": stats.repository_bytes,
            "packs": stats.packs,
            "chunks": stats.chunks,
            "segments": stats.segments,
        }))?;
        return Ok(exit);
    }
    lines(&stats, is_of_all).iter().try_for_each(|line| ctx.output.line(line))?;
    Ok(exit)
}

/// Says it in words. What is stored is all there is, so it is compared with what all snapshots hold or with nothing.
fn lines(stats: &Stats, is_of_all: bool) -> [String; 5] {
    let (which, source) = if is_of_all { ("all", stats.source_bytes) } else { ("these", 0) };
    [
        format!("Snapshots:   {}", human::count(stats.snapshots)),
        format!("Source:      {} in {which} snapshots", human::bytes(stats.source_bytes)),
        format!(
            "Unique:      {} in {}{}",
            human::bytes(stats.unique_bytes),
            human::counted(stats.chunks, "chunk", "chunks"),
            times(source, stats.unique_bytes, "less by deduplication")
        ),
        format!(
            "Stored:      {} in {}{}",
            human::bytes(stats.stored_bytes),
            human::counted(stats.packs, "pack", "packs"),
            times(stats.unique_bytes, stats.stored_bytes, "less by compression")
        ),
        format!(
            "Repository:  {} in all, with {}",
            human::bytes(stats.repository_bytes),
            human::counted(stats.segments, "index segment", "index segments")
        ),
    ]
}

/// Says how many times smaller `small` is than `large`, if it is: what nobody needs any more is stored until a prune, and
/// listings are stored that no file's size tells of.
fn times(large: u64, small: u64, what: &str) -> String {
    match large as f64 / small as f64 {
        times if small > 0 && times >= 1.01 => format!(", {times:.2} times {what}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_became_less_is_called_less() {
        assert_eq!(times(10, 4, "less"), ", 2.50 times less");
        for (large, small) in [(10, 0), (10, 10), (9, 10), (0, 0), (0, 10)] {
            assert_eq!(times(large, small, "less"), "");
        }
        let stats = Stats { source_bytes: 100, unique_bytes: 50, stored_bytes: 10, ..Stats::default() };
        assert!(lines(&stats, true)[2].ends_with(", 2.00 times less by deduplication"));
        let [_, source, unique, stored, _] = lines(&stats, false);
        assert!(source.ends_with("in these snapshots") && unique.ends_with("chunks"), "{source}, {unique}");
        assert!(stored.ends_with(", 5.00 times less by compression"), "{stored}");
    }
}
