//! `dedup import` of archives that other products made.

use super::ImportArgs;
use crate::commands::snapshots::state_word;
use crate::context::{Context, this_host, this_user};
use crate::declared::{self, ModuleDirs};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human::{self, stored_time};
use dedup_engine::backup::{Parent, RunReport, RunRequest};
use dedup_engine::snapshot::{Account, State};
use dedup_modules::foreign::{Archive, Choice, ForeignError, Planned, Product, StoreJob, plan, store};
use dedup_modules::id::ModuleId;
use jiff::{Timestamp, Zoned};
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;

/// What is chosen about an archive of another product.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Archives of other products")]
pub struct ForeignArgs {
    /// Take only this module of the archive (repeatable)
    #[arg(long = "module", short = 'm', value_name = "ID")]
    modules: Vec<ModuleId>,
    /// Only say what the archive has
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// iotstack: where the directory of the stack is, or will be [default: /home/pi/IOTstack]
    #[arg(long, value_name = "DIR")]
    stack_dir: Option<PathBuf>,
    #[command(flatten)]
    dirs: ModuleDirs,
}

impl ForeignArgs {
    /// Returns whether anything was chosen that only archives of other products have.
    pub fn is_used(&self) -> bool {
        !self.modules.is_empty() || self.dry_run || self.stack_dir.is_some()
    }
}

/// Takes an archive into a snapshot.
pub fn run(ctx: &Context, product: Product, import: &ImportArgs) -> Result<Exit, Failure> {
    let (file, args) = (&import.file, &import.foreign);
    let failed = |error: ForeignError| Failure::of(error.kind(), &error);
    let stack_dir = args.stack_dir.as_deref().map(std::path::absolute).transpose()?;
    let catalog = declared::catalog(&args.dirs)?;
    declared::tell_faults(ctx, &catalog);
    let input =
        File::open(file).map_err(|error| Failure::io(format!("cannot read {}", file.display()), &error))?;
    if !input.metadata()?.is_file() {
        return Err(Failure::refused(format!("{} is no regular file", file.display())));
    }
    let repo = ctx.open_indexed()?;
    let index_dir = ctx.index_dir(&repo)?;
    let scratch_dir = index_dir.parent().unwrap_or(&index_dir).to_owned();
    let interrupt = ctx.interrupt();
    let cancelled = || interrupt.asked();
    let _operation = ctx.operation();
    let archive = Archive::unpack(input, &scratch_dir, &cancelled).map_err(failed)?;
    let choice = Choice { modules: &args.modules, stack_dir: stack_dir.as_deref() };
    let planned = plan(product, &archive, &choice, &catalog, &scratch_dir, &cancelled).map_err(failed)?;
    for note in &planned.notes {
        ctx.output.note(&escape::text(note));
    }
    let made = planned.time.and_then(|secs| Timestamp::from_second(secs).ok());
    let time = made.map_or_else(Zoned::now, |made| made.to_zoned(jiff::tz::TimeZone::system()));
    let mut tags = import.tag.clone();
    tags.push(format!("imported:{}", product.name().to_lowercase()));
    tags.sort();
    tags.dedup();
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let request = RunRequest {
        time: stored_time(time.timestamp()),
        utc_offset_minutes: i16::try_from(time.offset().seconds() / 60).unwrap_or(0),
        host: this_host(),
        user: this_user(),
        program: concat!("dedup ", env!("CARGO_PKG_VERSION")).into(),
        tags,
        comment: format!("{} from {name}", planned.what).chars().take(500).collect(),
        level: import.compression,
        threads: ctx.threads(),
        dry_run: args.dry_run,
        elapsed: &|| ctx.elapsed(),
    };
    let job = StoreJob {
        repo: &repo,
        request: &request,
        parent: Parent::Auto,
        scratch_dir: &scratch_dir,
        events: ctx.events(),
    };
    let report = store(&job, &planned).map_err(failed)?;
    ctx.progress.finish();
    let whole = report.accounts.iter().all(|account| account.state == State::Complete);
    let exit = if whole { Exit::Complete } else { Exit::Partial };
    tell(ctx, &planned, &report, args.dry_run, exit)?;
    Ok(exit)
}

fn tell(
    ctx: &Context,
    planned: &Planned<'_>,
    report: &RunReport,
    dry_run: bool,
    exit: Exit,
) -> Result<(), Failure> {
    let output = ctx.output;
    if output.json {
        let module = |account: &Account| {
            json!({
                "module": account.module,
                "version": account.version,
                "state": state_word(account.state),
                "reason": account.reason,
                "entries": account.totals.entries,
                "source_bytes": account.totals.bytes,
                "requires": account.dependencies,
                "dumps": account.dumps.iter().map(|dump| &dump.name).collect::<Vec<_>>(),
                "items": account.items.iter().map(|item| json!({
                    "name": item.name,
                    "outcome": crate::output::outcome_word(item.outcome),
                    "message": item.message,
                })).collect::<Vec<_>>(),
            })
        };
        return Ok(output.object(&json!({
            "type": "imported",
            "what": planned.what,
            "snapshot_id": report.snapshot.map(|id| id.to_hex()),
            "state": state_word(report.state),
            "dry_run": dry_run,
            "modules": report.accounts.iter().map(module).collect::<Vec<_>>(),
            "notes": planned.notes,
            "exit_code": exit.code(),
        }))?);
    }
    for account in &report.accounts {
        let reason = if account.reason.is_empty() { String::new() } else { format!(": {}", account.reason) };
        output.line(format!(
            "{:<20} {}, {} in {}, {}{}",
            escape::text(&account.module),
            state_word(account.state),
            human::bytes(account.totals.bytes),
            human::counted(account.totals.entries, "entry", "entries"),
            human::counted(account.dumps.len() as u64, "dump", "dumps"),
            escape::text(&reason),
        ))?;
    }
    match &report.snapshot {
        Some(id) => {
            output.line(format!("snapshot {} saved, from {}", id.short(), escape::text(&planned.what)))?
        }
        None => output.line("nothing was stored (dry run)")?,
    }
    Ok(())
}
