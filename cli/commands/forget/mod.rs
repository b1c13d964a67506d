//! `dedup forget`: says which snapshots are not needed any more, and takes that back.

mod show;

pub use show::odd;

use super::prune::LimitArgs;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human::stored_time;
use crate::select::{self, Filter};
use crate::{human, sizes};
use dedup_engine::error::Kind;
use dedup_engine::forget::rules::{GroupBy, Rules, may_go, plan};
use dedup_engine::forget::{self, Candidate, ForgetError, Plan};
use dedup_engine::id::ObjectId;
use dedup_engine::repo::Repository;
use jiff::{Span, Zoned};
use serde_json::json;
use std::collections::BTreeSet;

/// Forget snapshots: those that are named, or all that no rule keeps
///
/// Nothing is deleted: `dedup prune` does that, and until then --undo takes a snapshot back. Rules work for
/// every machine and every module apart (of plain files, for every set of paths), so a snapshot of several modules
/// stays as long as one of them keeps it. What is not complete counts for no rule, and the last good one always stays.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  dedup forget --keep-within 30d --keep-monthly all
  dedup forget 1a2b3c4d
  dedup forget --undo 1a2b3c4d
  dedup forget --pin 1a2b3c4d")]
pub struct ForgetArgs {
    /// Snapshots, by the first digits of their ids
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    filter: Filter,
    /// What makes snapshots one group: host, modules and tags, joined by commas, or none
    #[arg(long, value_name = "LIST", default_value = "host,modules", value_parser = group_by)]
    group_by: GroupBy,
    /// Also the last good snapshot of a group may go
    #[arg(long)]
    allow_empty: bool,
    /// Show what would be forgotten, and why the rest is kept
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Prune right afterwards; if something is odd, only with --yes or after a question
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// Take back what was forgotten: the snapshots named, or all
    #[arg(long, conflicts_with_all = ["dry_run", "prune", "allow_empty", "pin", "unpin"])]
    undo: bool,
    /// Pin the snapshots named: nobody forgets them until the pin is off
    #[arg(long, requires = "snapshots", conflicts_with_all = ["dry_run", "allow_empty", "unpin"])]
    pin: bool,
    /// Take the pins off the snapshots named
    #[arg(long, requires = "snapshots", conflicts_with_all = ["dry_run", "allow_empty"])]
    unpin: bool,
}

/// What to keep.
#[derive(clap::Args, Debug)]
#[command(
    next_help_heading = "What to keep (N: a number or `all`; TIME: such as 12h, 7d or 6mo, before the newest good snapshot)"
)]
struct KeepArgs {
    /// The newest N
    #[arg(long, value_name = "N", value_parser = count)]
    keep_last: Option<u32>,
    /// The newest of each of the last N hours that have one
    #[arg(long, value_name = "N", value_parser = count)]
    keep_hourly: Option<u32>,
    /// … days
    #[arg(long, value_name = "N", value_parser = count)]
    keep_daily: Option<u32>,
    /// … weeks, from Monday on
    #[arg(long, value_name = "N", value_parser = count)]
    keep_weekly: Option<u32>,
    /// … months
    #[arg(long, value_name = "N", value_parser = count)]
    keep_monthly: Option<u32>,
    /// … years
    #[arg(long, value_name = "N", value_parser = count)]
    keep_yearly: Option<u32>,
    /// All that are not older
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    keep_within: Option<Span>,
    /// The newest of each hour that is not older
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    keep_within_hourly: Option<Span>,
    /// … of each day
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    keep_within_daily: Option<Span>,
    /// … of each week
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    keep_within_weekly: Option<Span>,
    /// … of each month
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    keep_within_monthly: Option<Span>,
    /// … of each year
    #[arg(long, value_name = "TIME", value_parser = sizes::span)]
    keep_within_yearly: Option<Span>,
    /// All with this tag (repeatable)
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<String>,
}

impl ForgetArgs {
    fn rules(&self, now: &Zoned) -> Result<Rules, Failure> {
        let keep = &self.keep;
        let counts = [
            keep.keep_last,
            keep.keep_hourly,
            keep.keep_daily,
            keep.keep_weekly,
            keep.keep_monthly,
            keep.keep_yearly,
        ];
        let spans = [
            keep.keep_within,
            keep.keep_within_hourly,
            keep.keep_within_daily,
            keep.keep_within_weekly,
            keep.keep_within_monthly,
            keep.keep_within_yearly,
        ];
        let mut within = [None; 6];
        for (seconds, span) in within.iter_mut().zip(spans) {
            // Months and years as they are before today.
            let moment = span.map(|span| now.checked_sub(span)).transpose();
            let moment = moment.map_err(|_| Failure::refused("a rule reaches back before the year -9999"))?;
            *seconds = moment.map(|then| now.timestamp().as_second().abs_diff(then.timestamp().as_second()));
        }
        let counts = counts.map(|count| count.unwrap_or(0));
        let (tags, group_by) = (keep.keep_tag.clone(), self.group_by);
        Ok(Rules { counts, within, tags, group_by, allow_empty: self.allow_empty })
    }

    fn has_rules(&self) -> bool {
        self.rules(&Zoned::now()).is_ok_and(|rules| !rules.is_empty())
    }
}

pub fn run(ctx: &Context, args: &ForgetArgs) -> Result<Exit, Failure> {
    let names_some = !args.snapshots.is_empty();
    if args.has_rules() && (names_some || args.undo) {
        return Err(Failure::refused("either name snapshots, or say by rules what to keep"));
    }
    let repo = ctx.open()?;
    if args.undo {
        return undo(ctx, &repo, args);
    }
    if args.pin || args.unpin {
        return pin(ctx, &repo, args);
    }
    if !names_some && !args.has_rules() && !args.allow_empty {
        return Err(ForgetError::NoRules.into());
    }
    let now = Zoned::now();
    let (plan, all) = match names_some {
        false => by_rules(&repo, args, &now)?,
        true => match named(ctx, &repo, args)? {
            Ok(plan) => plan,
            Err(damaged) => return tell(ctx, "forgotten_unread", &damaged, "forgotten"),
        },
    };
    let forgotten = plan.forgotten();
    for oddity in &plan.oddities {
        ctx.output.warning(&show::odd(oddity));
    }
    if !args.dry_run && !forgotten.is_empty() {
        forget::forget(&repo, &forgotten, ctx.now())?;
    }
    show::show(ctx, args, &plan, &all)?;
    if !args.prune || args.dry_run {
        return Ok(Exit::Complete);
    }
    if !plan.oddities.is_empty() && !ctx.confirm("Something is odd. Remove what is forgotten for good?")? {
        return Ok(Exit::Complete);
    }
    drop(repo);
    super::prune::run_after_forget(ctx, &args.limits, args.allow_empty)
}

/// What becomes of each snapshot, and the snapshots.
type Chosen = (Plan, Vec<Candidate>);

/// Decides by rules.
fn by_rules(repo: &Repository, args: &ForgetArgs, now: &Zoned) -> Result<Chosen, Failure> {
    let mut all = forget::candidates(repo)?;
    let passing = args.filter.apply(all.iter().map(|one| (one.id, one.snapshot.clone())).collect(), now)?;
    let passing: BTreeSet<ObjectId> = passing.into_iter().map(|(id, _)| id).collect();
    all.retain(|one| passing.contains(&one.id));
    Ok((plan(&all, &args.rules(now)?, stored_time(now.timestamp())), all))
}

/// Takes the snapshots that are named; all others stay. If one of them cannot be read, nobody can tell what would be
/// left: then they are forgotten as they are named, and returned as the error.
fn named(
    ctx: &Context,
    repo: &Repository,
    args: &ForgetArgs,
) -> Result<Result<Chosen, BTreeSet<ObjectId>>, Failure> {
    let (known, faults) = repo.catalog()?;
    let ids: Vec<ObjectId> =
        known.iter().map(|(id, _)| *id).chain(faults.iter().map(|(id, _)| *id)).collect();
    let retention = repo.retention()?;
    let mut wanted = resolve(&args.snapshots, &ids, &retention.forgotten)?;
    // Whoever was interrupted says it again, and is not told that it went wrong.
    for done in wanted.extract_if(.., |id| retention.forgotten.contains(id)) {
        ctx.output.note(&format!("{} was forgotten before", done.short()));
    }
    if let Some((damaged, _)) = faults.iter().find(|(id, _)| wanted.contains(id)) {
        ctx.output.note(&format!("{} cannot be read; it is forgotten all the same", damaged.short()));
        if !args.dry_run {
            forget::forget(repo, &wanted, ctx.now())?;
        }
        return Ok(Err(wanted));
    }
    let mut all = forget::candidates(repo)?;
    may_go(&all, &wanted, args.group_by, args.allow_empty, ctx.now())?;
    all.retain(|one| wanted.contains(&one.id));
    Ok(Ok((plan(&all, &Rules { allow_empty: true, ..Rules::default() }, ctx.now()), all)))
}

fn undo(ctx: &Context, repo: &Repository, args: &ForgetArgs) -> Result<Exit, Failure> {
    let wanted = match args.snapshots.is_empty() {
        true => None,
        false => {
            let known: Vec<ObjectId> = repo.retention()?.forgotten.into_iter().collect();
            let back = repo.catalog()?.0.into_iter().map(|(id, _)| id).collect();
            Some(resolve(&args.snapshots, &known, &back)?)
        }
    };
    let back = forget::take_back(repo, wanted.as_ref(), ctx.now())?;
    tell(ctx, "taken_back", &back, "taken back")
}

fn pin(ctx: &Context, repo: &Repository, args: &ForgetArgs) -> Result<Exit, Failure> {
    let known: Vec<ObjectId> = repo.catalog_with_forgotten()?.0.into_iter().map(|(id, _)| id).collect();
    let wanted = resolve(&args.snapshots, &known, &BTreeSet::new())?;
    let changed = forget::pin(repo, &wanted, args.pin, ctx.now())?;
    match args.pin {
        true => tell(ctx, "pinned", &changed, "pinned"),
        false => tell(ctx, "unpinned", &changed, "not pinned any more"),
    }
}

fn tell(ctx: &Context, field: &str, ids: &BTreeSet<ObjectId>, words: &str) -> Result<Exit, Failure> {
    if ctx.output.json {
        let all: Vec<String> = ids.iter().map(ObjectId::to_hex).collect();
        ctx.output.object(&json!({ "type": "forget", field: all }))?;
        return Ok(Exit::Complete);
    }
    for id in ids {
        ctx.output.line(format!("{} is {words}", id.short()))?;
    }
    ctx.output
        .summary_line(format!("{} {words}", human::counted(ids.len() as u64, "snapshot", "snapshots")))?;
    Ok(Exit::Complete)
}

/// Finds the snapshots that are meant by the first digits of their ids, among those with which it is done already
/// if no other is meant.
fn resolve(
    words: &[String],
    known: &[ObjectId],
    done: &BTreeSet<ObjectId>,
) -> Result<BTreeSet<ObjectId>, Failure> {
    let mut found = BTreeSet::new();
    for word in words {
        let prefix = select::prefix(word.as_bytes()).ok_or_else(|| {
            Failure::refused(format!("{:?} is no snapshot's id", crate::escape::text(word)))
                .hint("`dedup snapshots` lists the ids; their first digits are enough")
        })?;
        let mut fitting: Vec<_> = known.iter().filter(|id| id.to_hex().starts_with(&prefix)).collect();
        if fitting.is_empty() {
            fitting.extend(done.iter().filter(|id| id.to_hex().starts_with(&prefix)));
        }
        match fitting[..] {
            [id] => found.insert(*id),
            [] => {
                return Err(Failure::new(Kind::Missing, format!("no snapshot begins with {prefix}")).hint(
                    "`dedup snapshots` lists them, `dedup snapshots --forgotten` those that are forgotten",
                ));
            }
            _ => {
                return Err(Failure::refused(format!(
                    "{prefix} could be any of {} snapshots",
                    fitting.len()
                )));
            }
        };
    }
    Ok(found)
}

fn count(text: &str) -> Result<u32, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(u32::MAX);
    }
    text.parse().map_err(|_| format!("{text:?} is neither a number nor `all`"))
}

fn group_by(text: &str) -> Result<GroupBy, String> {
    let mut by = GroupBy { host: false, modules: false, tags: false };
    for word in text.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "none")) {
        match word {
            "host" => by.host = true,
            "modules" => by.modules = true,
            "tags" => by.tags = true,
            _ => return Err(format!("{word:?} is none of host, modules, tags and none")),
        }
    }
    Ok(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_mean_what_they_say() {
        assert_eq!(["7", "0", "ALL"].map(count), [Ok(7), Ok(0), Ok(u32::MAX)]);
        assert!(["", "-1", "x", "4294967296"].map(count).iter().all(Result::is_err));
        assert_eq!(group_by("host,modules"), Ok(GroupBy::default()));
        assert_eq!(group_by("none"), Ok(GroupBy { host: false, modules: false, tags: false }));
        assert!(group_by("paths").is_err());
    }
}
