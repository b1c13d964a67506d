//! `dedup recover`: brings back what runs that died have left stopped, locked or half replaced.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs;
use serde_json::json;

/// Undo what runs that died have left
///
/// Services that were stopped are started, users let in, filesystem snapshots deleted, files of a half restored
/// module put back. A run that is killed does this by itself; so does the next one. This is for a machine that went
/// down meanwhile: run it when it has come up again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup recover
  dedup recover --json")]
pub struct RecoverArgs {}

pub fn run(ctx: &Context, _args: &RecoverArgs) -> Result<Exit, Failure> {
    let left = runs::recover(&ctx.output, None)?;
    let snapshots = runs::remove_snapshots(ctx)?;
    let settled = left.iter().all(dedup_modules::undo::Left::is_settled)
        && snapshots.iter().all(|(_, failed)| failed.is_none());
    if ctx.output.json {
        let run = |run: &dedup_modules::undo::Left| {
            json!({
                "run": run.header.run,
                "operation": run.header.operation,
                "begun": run.header.begun,
                "acts": run.carried.iter().map(|carried| json!({
                    "act": carried.what,
                    "error": carried.failed,
                })).collect::<Vec<_>>(),
                "damaged": run.damage.is_some(),
            })
        };
        let snapshot = |(place, failed): &(std::path::PathBuf, Option<String>)| json!({ "place": place.to_string_lossy(), "error": failed });
        ctx.output.object(&json!({
            "type": "recovered",
            "runs": left.iter().map(run).collect::<Vec<_>>(),
            "snapshots": snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        }))?;
    } else if left.is_empty() && snapshots.is_empty() {
        ctx.output.summary_line("no run has left anything behind")?;
    }
    Ok(if settled { Exit::Complete } else { Exit::Failed })
}
