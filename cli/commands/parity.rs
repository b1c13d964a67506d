//! `dedup parity`: packs that are lost or damaged come back from the others.

use crate::context::{Context, this_host};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::{Table, complain};
use clap::Subcommand;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::parity::{self, AddOptions, AddReport, Doer, GroupKey, MendOptions, MendReport};
use dedup_engine::parity::{Outcome, Status, Wanted};
use serde_json::{Value, json};

/// Protect stored data against lost and damaged objects
///
/// Packs are put into groups, and shards are computed for each group (Reed-Solomon): any packs and shards of a group
/// may be lost, as many as it has shards, and everything comes back bit for bit. New packs are not protected before
/// `dedup parity add` runs again. A prune takes packs out of groups, and says which others are protected less by that.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup parity add
  dedup parity add --shards 4 --group 64
  dedup parity status
  dedup parity repair --dry-run")]
pub struct ParityArgs {
    #[command(subcommand)]
    command: ParityCommand,
}

#[derive(Subcommand, Debug)]
enum ParityCommand {
    /// Protect all packs that are not, and make groups anew that were weakened
    ///
    /// Every pack that comes into a group is read whole and compared with its name.
    #[command(after_help = "Examples:
  dedup parity add --dry-run
  dedup parity add --shards 2")]
    Add {
        /// How many packs or shards of a group may be lost
        #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
        shards: u8,
        /// Most packs of a group: more take less room, and more is read to rebuild one
        #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=128))]
        group: u16,
        /// Only say what would be done
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Show which packs are protected, how many losses each group stands, and the room it takes
    #[command(after_help = "Examples:
  dedup parity status
  dedup parity status --json")]
    Status,
    /// Read all groups, and rebuild what is lost or damaged
    ///
    /// Each pack that was rebuilt is compared with its name before it is stored. What cannot be rebuilt is left as it is.
    #[command(after_help = "Examples:
  dedup parity repair --dry-run
  dedup parity repair")]
    Repair {
        /// Read everything, and only say what would be done
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Remove parity; packs stay, without protection
    #[command(after_help = "Examples:
  dedup parity remove 1a2b3c4d
  dedup parity remove --all")]
    Remove {
        /// First digits of groups, as `dedup parity status` shows them
        #[arg(value_name = "GROUP", required_unless_present = "all")]
        groups: Vec<String>,
        /// All groups
        #[arg(long, conflicts_with = "groups")]
        all: bool,
        /// Only say what would be done
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
}

pub fn run(ctx: &Context, args: &ParityArgs) -> Result<Exit, Failure> {
    match &args.command {
        ParityCommand::Add { shards, group, dry_run } => {
            add(ctx, Wanted { shards: *shards, packs: usize::from(*group) }, *dry_run)
        }
        ParityCommand::Status => status(ctx),
        ParityCommand::Repair { dry_run } => repair(ctx, *dry_run),
        ParityCommand::Remove { groups, dry_run, .. } => remove(ctx, groups, *dry_run),
    }
}

fn doer(ctx: &Context) -> Doer {
    Doer { host: this_host(), time: ctx.now() }
}

fn packs(count: u64) -> String {
    human::counted(count, "pack", "packs")
}

fn objects(count: u64) -> String {
    human::counted(count, "object", "objects")
}

/// Makes a list of objects and what is wrong with them.
fn faults(list: &[(ObjectId, String)]) -> Vec<Value> {
    list.iter().map(|(id, why)| json!({ "id": id.to_hex(), "message": why })).collect()
}

fn add(ctx: &Context, wanted: Wanted, dry_run: bool) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let options = AddOptions { wanted, dry_run, threads: ctx.threads(), doer: doer(ctx) };
    let report = {
        let _operation = ctx.operation();
        parity::add(&repo, &options, ctx.events())?
    };
    ctx.progress.finish();
    let exit = if report.damaged.is_empty() { Exit::Complete } else { Exit::Integrity };
    for (id, why) in report.damaged.iter().filter(|_| !ctx.output.json) {
        complain(&format!("damage: packs/{}: {why}; it is in no new group", id.short()));
    }
    show_add(ctx, &report, dry_run, exit)?;
    if !report.damaged.is_empty() {
        ctx.output.note(
            "`dedup parity repair` rebuilds those that were in a group; `dedup check` says what is hit",
        );
    }
    Ok(exit)
}

fn show_add(ctx: &Context, report: &AddReport, dry_run: bool, exit: Exit) -> Result<(), Failure> {
    if ctx.output.json {
        return Ok(ctx.output.object(&json!({
            "type": "parity_add",
            "dry_run": dry_run,
            "packs": report.packs,
            "groups": report.groups,
            "grouped_packs": report.packs_grouped,
            "read_bytes": report.bytes_read,
            "objects": report.objects,
            "stored_bytes": report.bytes_stored,
            "removed_objects": report.objects_removed,
            "removed_bytes": report.bytes_removed,
            "damaged": faults(&report.damaged),
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
            "exit_code": exit.code(),
        }))?);
    }
    let output = ctx.output;
    if report.groups == 0 && report.damaged.is_empty() {
        output.summary_line(format!("all of {} are protected already", packs(report.packs)))?;
    } else {
        let groups = human::counted(report.groups, "new group", "new groups");
        output.summary_line(format!("Groups:  {groups} of {}", packs(report.packs_grouped)))?;
        output.summary_line(format!(
            "Stored:  {}, {}",
            objects(report.objects),
            human::bytes(report.bytes_stored)
        ))?;
    }
    if report.objects_removed > 0 {
        let bytes = human::bytes(report.bytes_removed);
        output
            .summary_line(format!("Removed: {} of older groups, {bytes}", objects(report.objects_removed)))?;
    }
    if dry_run {
        output.summary_line("Nothing was changed")?;
    }
    Ok(())
}

fn status(ctx: &Context) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let status = parity::status(&repo, ctx.events())?;
    ctx.progress.finish();
    let exit = if status.faults.is_empty() { Exit::Complete } else { Exit::Integrity };
    if ctx.output.json {
        ctx.output.object(&status_document(&status, exit))?;
        return Ok(exit);
    }
    for (id, why) in &status.faults {
        complain(&format!("damage: parity/{}: {why}", id.short()));
    }
    if !status.groups.is_empty() {
        let head = ["Group", "Packs", "Pruned", "Missing", "Shards", "More losses", "Size"];
        let mut table = Table::new(&head, &[1, 2, 3, 4, 5, 6]);
        for group in &status.groups {
            table.row(vec![
                group.first.short(),
                human::count(group.packs),
                human::count(group.removed),
                human::count(group.lost),
                format!("{} of {}", group.shards_there, group.shards),
                human::count(group.spare),
                human::bytes(group.stored_bytes),
            ]);
        }
        table.lines().iter().try_for_each(|line| ctx.output.line(line))?;
    }
    let (protected, all) = (human::count(status.packs_protected), packs(status.packs));
    ctx.output.line(format!("Protected: {protected} of {all}"))?;
    if status.packs_protected > 0 {
        ctx.output.line(format!("Stands:    any {} more lost", packs(status.least_spare)))?;
    }
    ctx.output.line(format!(
        "Room:      {}, {}",
        objects(status.objects),
        human::bytes(status.stored_bytes)
    ))?;
    Ok(exit)
}

fn status_document(status: &Status, exit: Exit) -> Value {
    let groups = status.groups.iter().map(|group| {
        json!({
            "group": group.first.to_hex(),
            "packs": group.packs,
            "pruned_packs": group.removed,
            "missing_packs": group.lost,
            "shards": group.shards,
            "shards_there": group.shards_there,
            "more_losses": group.spare,
            "stored_bytes": group.stored_bytes,
        })
    });
    json!({
        "type": "parity_status",
        "packs": status.packs,
        "packs_bytes": status.packs_bytes,
        "protected_packs": status.packs_protected,
        "least_more_losses": status.least_spare,
        "objects": status.objects,
        "stored_bytes": status.stored_bytes,
        "groups": groups.collect::<Vec<_>>(),
        "damaged": faults(&status.faults),
        "exit_code": exit.code(),
    })
}

fn repair(ctx: &Context, dry_run: bool) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let options = MendOptions { dry_run, threads: ctx.threads(), doer: doer(ctx) };
    let report = {
        let _operation = ctx.operation();
        parity::repair(&repo, &options, ctx.events())?
    };
    ctx.progress.finish();
    let exit = if report.is_whole() { Exit::Complete } else { Exit::Integrity };
    show_repair(ctx, &report, dry_run, exit)?;
    if report.packs_unread > 0 {
        ctx.output.note(&format!(
            "{} are in no group and were not looked at: `dedup parity add` protects them, `dedup check --read-data` reads them",
            packs(report.packs_unread)
        ));
    }
    if report.groups_weak > 0 {
        let groups = human::counted(report.groups_weak, "group", "groups");
        ctx.output.note(&format!(
            "{groups} cannot get their shards back, since packs are gone: `dedup parity add` makes new ones"
        ));
    }
    Ok(exit)
}

fn outcome(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Rebuilt => ("rebuilt", None),
        Outcome::Possible => ("possible", None),
        Outcome::Refused(why) => ("refused", Some(why)),
    }
}

fn show_repair(ctx: &Context, report: &MendReport, dry_run: bool, exit: Exit) -> Result<(), Failure> {
    if ctx.output.json {
        let bad = report.packs.iter().map(|pack| {
            let (word, why_not) = outcome(&pack.outcome);
            json!({ "id": pack.id.to_hex(), "message": pack.why, "outcome": word, "why_not": why_not })
        });
        return Ok(ctx.output.object(&json!({
            "type": "parity_repair",
            "dry_run": dry_run,
            "groups": report.groups,
            "packs_read": report.packs_read,
            "objects_read": report.objects_read,
            "read_bytes": report.bytes_read,
            "packs": bad.collect::<Vec<_>>(),
            "damaged_objects": faults(&report.objects_damaged),
            "stored_objects": report.objects_stored,
            "stored_bytes": report.bytes_stored,
            "removed_objects": report.objects_removed,
            "weak_groups": report.groups_weak,
            "unread_packs": report.packs_unread,
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
            "exit_code": exit.code(),
        }))?);
    }
    for pack in &report.packs {
        let what = match &pack.outcome {
            Outcome::Rebuilt => "rebuilt".to_owned(),
            Outcome::Possible => "can be rebuilt".to_owned(),
            Outcome::Refused(why) => format!("cannot be rebuilt and is left as it is: {why}"),
        };
        complain(&format!("damage: packs/{}: {}; {what}", pack.id.short(), pack.why));
    }
    for (id, why) in &report.objects_damaged {
        complain(&format!("damage: parity/{}: {why}", id.short()));
    }
    let output = ctx.output;
    output.summary_line(format!(
        "Read:    {} and {} of {}, {}",
        packs(report.packs_read),
        objects(report.objects_read),
        human::counted(report.groups, "group", "groups"),
        human::bytes(report.bytes_read)
    ))?;
    if report.packs.is_empty() && report.objects_damaged.is_empty() && report.objects_stored == 0 {
        output.summary_line("nothing is lost or damaged")?;
    } else {
        let is = if dry_run { "can be rebuilt" } else { "rebuilt" };
        let right = report.packs.iter().filter(|pack| !matches!(pack.outcome, Outcome::Refused(_))).count();
        let right = human::count(right as u64);
        output.line(format!("Packs:   {right} of {} {is}", human::count(report.packs.len() as u64)))?;
        output.line(format!(
            "Shards:  {} computed anew, {} damaged ones removed",
            objects(report.objects_stored),
            human::count(report.objects_removed)
        ))?;
    }
    if dry_run {
        output.summary_line("Nothing was changed")?;
    }
    Ok(())
}

fn remove(ctx: &Context, groups: &[String], dry_run: bool) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let there = parity::status(&repo, ctx.events())?;
    let mut chosen = Vec::new();
    for text in groups {
        let digits = crate::select::prefix(text.as_bytes()).ok_or_else(|| {
            Failure::refused(format!("{text:?} is no id of a group")).hint("`dedup parity status` shows them")
        })?;
        if !there.groups.iter().any(|group| group.first.to_hex().starts_with(&digits)) {
            return Err(Failure::new(Kind::Missing, format!("no group begins with {digits}"))
                .hint("`dedup parity status` shows them"));
        }
        chosen.push(digits);
    }
    let goes = |key: &GroupKey| {
        let first = key.packs.first().map(|(id, _)| id.to_hex()).unwrap_or_default();
        chosen.is_empty() || chosen.iter().any(|digits| first.starts_with(digits))
    };
    let report = {
        let _operation = ctx.operation();
        parity::remove(&repo, &goes, dry_run, ctx.events())?
    };
    ctx.progress.finish();
    if ctx.output.json {
        ctx.output.object(&json!({
            "type": "parity_remove",
            "dry_run": dry_run,
            "removed_objects": report.objects,
            "removed_bytes": report.bytes,
            "unprotected_packs": report.packs_unprotected,
        }))?;
        return Ok(Exit::Complete);
    }
    ctx.output.summary_line(format!(
        "Removed: {}, {}",
        objects(report.objects),
        human::bytes(report.bytes)
    ))?;
    ctx.output.summary_line(format!("Without parity now: {}", packs(report.packs_unprotected)))?;
    if dry_run {
        ctx.output.summary_line("Nothing was changed")?;
    }
    Ok(Exit::Complete)
}
