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
    let mut snapshots = args.filter.apply(snapshots, &Zoned::now())?;
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
    lines(&stats).iter().try_for_each(|line| ctx.output.line(line))?;
    Ok(exit)
}

fn lines(stats: &Stats) -> [String; 5] {
    [
        format!("Snapshots:   {}", human::count(stats.snapshots)),
        format!("Source:      {} in all snapshots", human::bytes(stats.source_bytes)),
        format!(
            "Unique:      {} in {}, {}",
            human::bytes(stats.unique_bytes),
            human::counted(stats.chunks, "chunk", "chunks"),
            times(stats.source_bytes, stats.unique_bytes, "less by deduplication")
        ),
        format!(
            "Stored:      {} in {}, {}",
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

/// Says how many times smaller `small` is than `large`.
fn times(large: u64, small: u64, what: &str) -> String {
    if small == 0 { "-".into() } else { format!("{:.2} times {what}", large as f64 / small as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(times(10, 0, "less"), "-");
        assert_eq!(times(10, 4, "less"), "2.50 times less");
    }
}
