//! What `dedup forget` prints: every snapshot, what becomes of it, and why.

use super::ForgetArgs;
use crate::commands::snapshots::contents;
use crate::context::Context;
use crate::failure::Failure;
use crate::human;
use crate::output::Table;
use dedup_engine::forget::rules::Period;
use dedup_engine::forget::{Candidate, Oddity, Plan, Reason};
use serde_json::json;

pub(super) fn show(ctx: &Context, args: &ForgetArgs, plan: &Plan, all: &[Candidate]) -> Result<(), Failure> {
    let forgotten = plan.decisions.iter().filter(|one| one.reasons.is_empty()).count() as u64;
    let kept = plan.decisions.len() as u64 - forgotten;
    if ctx.output.json {
        let decisions = plan.decisions.iter().rev().map(|one| {
            let snapshot = &all[one.at].snapshot;
            json!({
                "id": one.id.to_hex(),
                "time": human::rfc3339(snapshot.time),
                "host": snapshot.host,
                "action": if one.reasons.is_empty() { "forget" } else { "keep" },
                "reasons": one.reasons.iter().map(reason).collect::<Vec<_>>(),
                "good": one.is_good,
            })
        });
        return Ok(ctx.output.object(&json!({
            "type": "forget",
            "dry_run": args.dry_run,
            "snapshots": decisions.collect::<Vec<_>>(),
            "kept": kept,
            "forgotten": forgotten,
            "oddities": plan.oddities.iter().map(odd).collect::<Vec<_>>(),
        }))?);
    }
    let mut table = Table::new(&["ID", "Time", "Host", "Contents", "", "Why"], &[]);
    for one in plan.decisions.iter().rev() {
        let snapshot = &all[one.at].snapshot;
        let why = match one.reasons.is_empty() {
            false => one.reasons.iter().map(reason).collect::<Vec<_>>().join(", "),
            true if args.snapshots.is_empty() && one.is_good => "no rule keeps it".into(),
            true if args.snapshots.is_empty() => "not complete, and not the newest".into(),
            true => "named".into(),
        };
        table.row(vec![
            one.id.short(),
            human::local_time(snapshot.time),
            crate::escape::text(&snapshot.host),
            snapshot.accounts.iter().map(|account| contents(ctx, account)).collect::<Vec<_>>().join(" "),
            if one.reasons.is_empty() { "forget" } else { "keep" }.into(),
            crate::escape::text(&why),
        ]);
    }
    if !plan.decisions.is_empty() {
        table.lines().iter().try_for_each(|line| ctx.output.line(line))?;
    }
    let would = if args.dry_run { "would be forgotten" } else { "forgotten" };
    ctx.output.summary_line(format!(
        "{} {would}, {} kept",
        human::counted(forgotten, "snapshot", "snapshots"),
        human::count(kept)
    ))?;
    if forgotten > 0 && !args.dry_run {
        ctx.output.note("`dedup prune` frees the room; until then `dedup forget --undo` takes them back");
    }
    Ok(())
}

fn reason(reason: &Reason) -> String {
    let word = |period: &Period| match period {
        Period::Last => "last",
        Period::Hourly => "hourly",
        Period::Daily => "daily",
        Period::Weekly => "weekly",
        Period::Monthly => "monthly",
        Period::Yearly => "yearly",
    };
    match reason {
        Reason::Count(period) => word(period).into(),
        Reason::Within(Period::Last) => "within".into(),
        Reason::Within(period) => format!("within-{}", word(period)),
        Reason::Tag(tag) => format!("tag {tag}"),
        Reason::Slot(slot) => format!("slot {slot}"),
        Reason::Pinned => "pinned".into(),
        Reason::LastGood(group) => format!("the last good one: {group}"),
        Reason::NewestNotGood(group) => format!("not complete, but the newest: {group}"),
    }
}

/// Says what is odd about the snapshots.
pub fn odd(oddity: &Oddity) -> String {
    match oddity {
        Oddity::Future { snapshots } => format!(
            "{} lie in the future by the clock of this machine; they count as made now",
            human::counted(*snapshots, "snapshot", "snapshots")
        ),
        Oddity::OutOfOrder { snapshots } => format!(
            "the times of {} contradict the order in which they were made: some clock is or was wrong; each counts for a time between those around it",
            human::counted(*snapshots, "snapshot", "snapshots")
        ),
        Oddity::Burst { group, snapshots } => format!(
            "{} of {} were made within an hour: if that is not your doing, look at them before anything is pruned",
            human::counted(*snapshots, "snapshot", "snapshots"),
            crate::escape::text(&group.to_string())
        ),
        Oddity::MostGo { forgotten, of } => {
            format!("{} of {} snapshots go, more than stay", human::count(*forgotten), human::count(*of))
        }
    }
}
