//! `dedup rewrite`: snapshots made anew without some paths.

use super::choose;
use crate::context::{Context, this_host};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::select::{Filter, Selection};
use dedup_engine::compress::Level;
use dedup_engine::copy::{CopyRequest, RewriteReport, RewriteRequest, removed, rewrite};
use dedup_engine::error::Kind;
use dedup_engine::forget;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_modules::files::Excludes;
use jiff::Zoned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// Paths that are shown of each snapshot.
const SHOWN: usize = 20;

/// Take paths out of snapshots
///
/// Each snapshot that has such paths is made anew without them, with its time, host and labels. The old one stays unless --forget
/// is given, and its data until `dedup prune`. Dumps of modules are not changed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup rewrite --all --exclude '/home/*/.cache' --dry-run
  dedup rewrite latest --exclude '*.iso' --forget
  dedup rewrite 1a2b3c4d 5e6f7a8b --exclude /srv/private --forget")]
pub struct RewriteArgs {
    /// Which snapshots: first digits of ids, latest or latest-any
    #[arg(value_name = "SNAPSHOT", required_unless_present = "all")]
    snapshots: Vec<OsString>,
    /// All snapshots that fit
    #[arg(long, conflicts_with = "snapshots")]
    all: bool,
    /// Take out what matches, in the manner of .gitignore (repeatable)
    #[arg(long, value_name = "PATTERN", required_unless_present = "exclude_file")]
    exclude: Vec<String>,
    /// Take out what matches a pattern of this file, one on each line (repeatable)
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Forget the old ones
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only say what would go
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub fn run(ctx: &Context, args: &RewriteArgs) -> Result<Exit, Failure> {
    let excludes = excludes(args)?;
    let repo = ctx.open_indexed()?;
    let (all, faults) = super::all_snapshots(ctx, &repo)?;
    let mut exit = Exit::Complete;
    let wanted = if args.all {
        exit = faults;
        let fitting = args.filter.apply(all, &Zoned::now())?;
        // What one was made from before stays as it is, or every run would make it anew.
        let made: BTreeSet<ObjectId> = fitting
            .iter()
            .filter_map(|(_, one)| one.provenance.rewritten_from)
            .map(|of| of.snapshot)
            .collect();
        fitting.into_iter().filter(|(id, _)| !made.contains(id) || args.forget).collect()
    } else {
        let mut chosen = BTreeSet::new();
        for text in &args.snapshots {
            let selection = Selection::parse(text)?;
            if selection.path.is_some() {
                return Err(Failure::refused("name whole snapshots; --exclude says which paths go"));
            }
            chosen.insert(choose(ctx, &repo, &selection.wanted, &args.filter)?.id);
        }
        all.into_iter().filter(|(id, _)| chosen.contains(id)).collect::<Vec<_>>()
    };
    let pinned = repo.retention()?.pinned;
    if let Some((id, _)) = wanted.iter().find(|(id, _)| args.forget && !args.dry_run && pinned.contains(id)) {
        return Err(Failure::refused(format!("snapshot {} is pinned, and would be forgotten", id.short()))
            .hint("take its pin off with `dedup forget --unpin`, or leave --forget out"));
    }
    let goes = |path: &StoredPath, is_directory: bool| {
        *path != StoredPath::root() && excludes.excludes(&path.to_slashes(), is_directory)
    };
    let mut done = Vec::new();
    {
        let _operation = ctx.operation();
        for (id, snapshot) in &wanted {
            let report = if args.dry_run {
                let removed = removed(&repo, snapshot, &goes, ctx.events())?;
                RewriteReport { snapshot: None, was_there: false, removed }
            } else {
                let how = CopyRequest {
                    now: ctx.now(),
                    host: &this_host(),
                    level: Level::Auto,
                    threads: ctx.threads(),
                    elapsed: &|| ctx.elapsed(),
                };
                rewrite(&repo, &RewriteRequest { snapshot: *id, goes: &goes, how }, ctx.events())?
            };
            // At once: an interrupted run goes on where it was.
            if args.forget && report.snapshot.is_some() {
                forget::forget(&repo, &BTreeSet::from([*id]), ctx.now())?;
            }
            done.push((*id, report));
        }
    }
    ctx.progress.finish();
    if ctx.output.json {
        ctx.output.object(&document(ctx, args, &done, exit))?;
    } else {
        tell(ctx, args, &done)?;
    }
    Ok(exit)
}

fn excludes(args: &RewriteArgs) -> Result<Excludes, Failure> {
    let mut texts = Vec::new();
    for file in &args.exclude_file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::io(format!("cannot read {}", file.display()), &error))?;
        texts.push((file.display().to_string(), text));
    }
    texts.extend(args.exclude.iter().map(|pattern| ("--exclude".to_owned(), pattern.clone())));
    let texts = texts.iter().map(|(place, text)| (&place[..], &text[..]));
    let excludes = Excludes::parse(texts).map_err(|error| Failure::of(Kind::Refused, &error))?;
    if excludes.is_empty() {
        return Err(Failure::refused("there is no pattern of what is to go"));
    }
    Ok(excludes)
}

fn tell(ctx: &Context, args: &RewriteArgs, done: &[(ObjectId, RewriteReport)]) -> Result<(), Failure> {
    let mut changed = 0;
    for (id, report) in done {
        let removed = &report.removed;
        if removed.paths_total == 0 {
            ctx.output.detail(&format!("{} has nothing of it", id.short()));
            continue;
        }
        changed += 1;
        let entries = human::counted(removed.totals.entries, "entry", "entries");
        let size = human::bytes(removed.totals.bytes);
        let old = if args.forget { "; the old one is forgotten" } else { "" };
        ctx.output.line(match &report.snapshot {
            Some(new) => format!("{} is {} now, without {entries} ({size}){old}", id.short(), new.short()),
            None => format!("{} would lose {entries} ({size}):", id.short()),
        })?;
        let show = if args.dry_run || ctx.output.verbose > 0 { SHOWN } else { 0 };
        for (module, path) in removed.paths.iter().take(show) {
            let of = if module == "files" { String::new() } else { format!("{}: ", escape::text(module)) };
            ctx.output.line(format!("  {of}/{}", escape::name(&path.to_slashes())))?;
        }
        let more = removed.paths_total.saturating_sub(show as u64);
        if show > 0 && more > 0 {
            ctx.output.line(format!("  and {more} more"))?;
        }
    }
    let told = human::counted(changed, "snapshot has", "snapshots have");
    Ok(ctx.output.summary_line(format!("{told} something of it, of {}", done.len()))?)
}

fn document(ctx: &Context, args: &RewriteArgs, done: &[(ObjectId, RewriteReport)], exit: Exit) -> Value {
    let one = |(id, report): &(ObjectId, RewriteReport)| {
        let path = |(module, path): &(String, StoredPath)| {
            let mut object = json!({ "module": module });
            crate::output::put_path(&mut object, "path", &[b"/", &path.to_slashes()[..]].concat());
            object
        };
        json!({
            "id": id.to_hex(),
            "new_id": report.snapshot.map(|id| id.to_hex()),
            "was_there": report.was_there,
            "forgotten": args.forget && report.snapshot.is_some(),
            "entries": report.removed.totals.entries,
            "source_bytes": report.removed.totals.bytes,
            "paths": report.removed.paths.iter().map(path).collect::<Vec<_>>(),
            "paths_total": report.removed.paths_total,
        })
    };
    json!({
        "type": "rewrite",
        "dry_run": args.dry_run,
        "snapshots": done.iter().map(one).collect::<Vec<_>>(),
        "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        "exit_code": exit.code(),
    })
}
