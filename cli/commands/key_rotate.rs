//! `dedup key rotate`: a new key epoch.

use super::key::{resolve, table};
use super::witness::words;
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::repo::{Repository, SlotInfo};
use serde_json::json;
use std::collections::BTreeSet;

#[derive(clap::Args, Debug)]
pub struct RotateArgs {
    /// Take this key along, by the first digits of its id (repeatable); the one in use is taken along always
    #[arg(long, value_name = "ID")]
    keep: Vec<String>,
    /// Take along every key that `dedup key list` shows
    #[arg(long, conflicts_with = "keep")]
    keep_all: bool,
}

pub fn run(ctx: &Context, repo: &Repository, args: &RotateArgs) -> Result<(), Failure> {
    let (candidates, known): (Vec<SlotInfo>, Vec<bool>) = repo.epoch_candidates()?.into_iter().unzip();
    let strangers: Vec<&SlotInfo> =
        candidates.iter().zip(&known).filter(|(_, known)| !**known).map(|(slot, _)| slot).collect();
    let keep = chosen(ctx, &candidates, &strangers, args)?;
    let report = repo.open_epoch(&keep, ctx.now())?;
    if ctx.output.json {
        let kept = report.kept.iter().map(|slot| {
            json!({ "id": slot.id.to_hex(), "client": slot.client.to_hex(), "rights": words(slot.rights) })
        });
        return Ok(ctx.output.object(&json!({
            "type": "key_epoch",
            "epoch": report.number,
            "kept": kept.collect::<Vec<_>>(),
            "left_out": report.left_out.iter().map(ObjectId::to_hex).collect::<Vec<_>>(),
        }))?);
    }
    ctx.output.line(format!("key epoch {} has begun with {}", report.number, keys(report.kept.len())))?;
    for id in &report.left_out {
        let label = candidates.iter().find(|slot| slot.id == *id).map(|slot| slot.label.as_str());
        let label = label.filter(|label| !label.is_empty());
        let label = label.map_or(String::new(), |label| format!(" ({})", escape::name(label.as_bytes())));
        let what = "opens what was stored until now, and stores nothing any more";
        ctx.output.summary_line(format!("key {}{label} {what}", id.short()))?;
    }
    ctx.output.summary_line(
        "what is stored from now on does not open for anybody else; what was stored before stays as it is",
    )?;
    Ok(())
}

fn keys(count: usize) -> String {
    if count == 1 { "one key".into() } else { format!("{count} keys") }
}

/// Returns the keys that are to be taken along.
fn chosen(
    ctx: &Context,
    candidates: &[SlotInfo],
    strangers: &[&SlotInfo],
    args: &RotateArgs,
) -> Result<BTreeSet<ObjectId>, Failure> {
    let all = || candidates.iter().map(|slot| slot.id).collect();
    if !args.keep.is_empty() {
        return args.keep.iter().map(|text| resolve(candidates, text)).collect();
    }
    if !strangers.is_empty() {
        let ids: Vec<String> = strangers.iter().map(|slot| slot.id.short()).collect();
        return Err(Failure::refused(format!("the log does not say who added these keys: {}", ids.join(", ")))
            .hint("name each key that is to go on with --keep ID; remove those that are nobody's: `dedup key remove ID`"));
    }
    if args.keep_all {
        return Ok(all());
    }
    if candidates.len() == 1 {
        return Ok(BTreeSet::new());
    }
    ctx.can_confirm().map_err(|_| {
        Failure::refused("it is not said which keys are to go on")
            .hint("--keep ID for each of them, or --keep-all; `dedup key list` shows them")
    })?;
    table(candidates).lines().iter().try_for_each(|line| ctx.output.line(line))?;
    if ctx.confirm(&format!("Take these {} along into a new key epoch?", keys(candidates.len())))? {
        return Ok(all());
    }
    Err(Failure::new(Kind::Cancelled, "no key epoch was begun")
        .hint("name those that are to go on with --keep, or remove the others first: `dedup key remove ID`"))
}
