//! `dedup backup` of modules: chooses them, runs, and says what became of each.

use super::BackupArgs;
use crate::context::Context;
use crate::declared;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::runs::ModuleRun;
use crate::setup_state;
use dedup_engine::backup::{Parent, RunRequest};
use dedup_engine::error::Kind;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, State};
use dedup_modules::backup::{BackupJob, BackupOutcome, Paths, RunError, run};
use dedup_modules::catalog::Catalog;
use dedup_modules::files::FilesSource;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::job::{Modules, UseSnapshot};
use dedup_modules::manifest::paths::Variables;
use dedup_modules::manifest::services::Operation;
use dedup_modules::manifest::words::Words;
use dedup_modules::member::{Halt, Member, MemberError, halts};
use dedup_modules::selection::{Request, Selection, select};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments about modules.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Modules")]
pub struct ModuleArgs {
    /// Back up this module, and what it requires (repeatable)
    #[arg(long = "module", short, value_name = "MODULE")]
    pub modules: Vec<ModuleId>,
    /// Leave this module out of all, or of what others require (repeatable)
    #[arg(long, value_name = "MODULE")]
    pub ignore: Vec<ModuleId>,
    /// Take the named modules only, not what they require
    #[arg(long)]
    pub no_dependencies: bool,
    /// Whether to read a filesystem snapshot, so that services stand still only while it is taken
    ///
    /// auto: if one covers all paths; require: fail without; off: never.
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = when)]
    pub fs_snapshot: UseSnapshot,
    /// Wait so long for another run of modules on this machine
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = dedup_modules::units::duration)]
    pub lock_wait: Duration,
    #[command(flatten)]
    pub dirs: declared::ModuleDirs,
}

fn when(text: &str) -> Result<UseSnapshot, String> {
    UseSnapshot::from_word(text).ok_or_else(|| "it is auto, require or off".into())
}

/// What is asked for beside modules.
pub struct Beside<'a> {
    /// What the engine is asked for.
    pub request: RunRequest<'a>,
    /// What to compare with.
    pub parent: Parent,
    /// Plain paths, and how they were asked for.
    pub paths: Option<(&'a FilesSource, Vec<Vec<u8>>)>,
    /// Whether a path that was named is missing.
    pub missing: bool,
    /// What must not be stored.
    pub skip: Vec<PathBuf>,
    /// A directory for large sorts.
    pub scratch_dir: PathBuf,
}

/// The modules of a run.
pub struct Declared {
    catalog: Catalog,
    selection: Selection,
    /// Whether everything that should be among them is.
    whole: bool,
}

impl Declared {
    /// Reads what is declared and chooses from it.
    pub fn read(ctx: &Context, args: &ModuleArgs) -> Result<Self, Failure> {
        let catalog = declared::catalog(&args.dirs)?;
        declared::tell_faults(ctx, &catalog);
        let named = !args.modules.is_empty();
        if !named && catalog.entries.is_empty() && catalog.faults.is_empty() {
            return Err(Failure::refused("nothing is named that could be backed up, and no module is declared").hint(
                "name files or directories: `dedup backup PATH…`; `dedup module discover` finds modules of this machine",
            ));
        }
        let mut whole = named || catalog.is_whole();
        for (entry, wrong) in catalog.unusable() {
            let message = format!("module {} cannot be used: {}", entry.id, declared::reason(wrong));
            if args.modules.contains(&entry.id) {
                return Err(Failure::refused(message).hint(wrong.hint().unwrap_or_default()));
            }
            if !named {
                ctx.output.warning(&message);
            }
        }
        let (candidates, unknown) = catalog.candidates(&mut |manifest| setup_state::ready(ctx, manifest));
        for (id, why) in unknown {
            if args.modules.contains(&id) {
                return Err(Failure::refused(format!("module {id} cannot be backed up: {why}")));
            }
            whole &= named;
            ctx.output.warning(&format!("module {id} is left out: {why}"));
        }
        let modules = if named { Modules::Named(args.modules.clone()) } else { Modules::All };
        let request = Request {
            unselected: args.ignore.clone(),
            dependencies: !args.no_dependencies,
            ..Request::backup(modules)
        };
        let selection = select(&candidates, &request).map_err(|error| Failure::of(Kind::Refused, &error))?;
        for remark in &selection.remarks {
            ctx.output.warning(&remark.to_string());
        }
        for left in selection.left_out.iter().filter(|left| left.wanted) {
            ctx.output.warning(&format!("module {} is left out: {}", left.id, left.why));
            whole = false;
        }
        if selection.chosen.is_empty() {
            return Err(Failure::refused("no module takes part; see above")
                .hint("`dedup module list` tells the state of each"));
        }
        Ok(Self { catalog, selection, whole })
    }

    /// Runs the backup.
    pub fn backup(
        &self,
        ctx: &Context,
        args: &BackupArgs,
        repo: &Repository,
        beside: Beside<'_>,
    ) -> Result<Exit, Failure> {
        let refused = |error: &MemberError| Failure::of(Kind::Refused, error);
        let chosen: Vec<(&Manifest, &[u8], Variables)> = self
            .selection
            .chosen
            .iter()
            .filter_map(|chosen| self.catalog.get(&chosen.id))
            .filter_map(|entry| Some((entry.what.as_ref().ok()?, &entry.text[..])))
            .map(|(manifest, text)| (manifest, text, ctx.config.paths.of(manifest)))
            .collect();
        let members = chosen
            .iter()
            .map(|(manifest, text, variables)| Member::new(manifest, text, variables, Operation::Backup))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refused(&error))?;
        let halts = halts(&members, Operation::Backup).map_err(|error| refused(&error))?;
        let module_run = ModuleRun::begin(ctx, "backup", args.modules.lock_wait)?;
        let result = self.run(ctx, args, repo, beside, &members, &halts, &module_run);
        module_run.expire(&ctx.output, &self.catalog);
        module_run.finish(&result);
        result
    }

    #[expect(clippy::too_many_arguments, reason = "what one run works with, borrowed from its caller")]
    fn run(
        &self,
        ctx: &Context,
        args: &BackupArgs,
        repo: &Repository,
        beside: Beside<'_>,
        members: &[Member<'_>],
        halts: &[Halt],
        module_run: &ModuleRun<'_>,
    ) -> Result<Exit, Failure> {
        let machine = module_run.machine();
        let copies = declared::copies(&ctx.config)?;
        let mut undoing = module_run.undoing(&machine)?;
        let job = BackupJob {
            repo,
            request: &beside.request,
            parent: beside.parent,
            members,
            halts,
            left_out: &self.selection.left_out,
            paths: beside.paths.map(|(source, asked)| Paths { source, asked }),
            use_snapshot: args.modules.fs_snapshot,
            copies: copies.as_deref(),
            before: &[],
            skip: &beside.skip,
            scratch_dir: &beside.scratch_dir,
            events: ctx.events(),
        };
        let outcome = {
            let _operation = ctx.operation();
            run(&job, &machine, &mut undoing)
        };
        let undone = undoing.finish();
        ctx.progress.finish();
        for failed in undone? {
            ctx.output.warning(&format!("{failed}; `dedup recover` tries it again"));
        }
        let outcome = outcome.map_err(failure)?;
        for left in &outcome.left_undone {
            ctx.output.warning(left);
        }
        let exit = exit(&outcome, self.whole && !beside.missing);
        if ctx.output.json {
            print_json(ctx, args, &outcome, exit)?;
        } else {
            print_text(ctx, args, &outcome)?;
        }
        Ok(exit)
    }
}

pub(super) fn failure(error: RunError) -> Failure {
    match error {
        RunError::Engine(error) => error.into(),
        error => Failure::of(error.kind(), &error),
    }
}

pub(super) fn exit(outcome: &BackupOutcome, whole: bool) -> Exit {
    let is_right = |account: &Account| account.state == State::Complete;
    let exit = if outcome.report.accounts.iter().all(is_right) { Exit::Complete } else { Exit::Partial };
    let gaps = if whole && outcome.left_undone.is_empty() { Exit::Complete } else { Exit::Partial };
    exit.merge(gaps)
}

pub(super) fn print_text(ctx: &Context, args: &BackupArgs, outcome: &BackupOutcome) -> Result<(), Failure> {
    let (output, elapsed) = (ctx.output, ctx.elapsed());
    for account in &outcome.report.accounts {
        let state = super::super::snapshots::state_word(account.state);
        let totals = &account.totals;
        let reason = if account.reason.is_empty() { String::new() } else { format!(": {}", account.reason) };
        output.line(format!(
            "{:<20} {state}, {} in {}{}",
            crate::escape::text(&account.module),
            human::bytes(totals.bytes),
            human::counted(totals.entries, "entry", "entries"),
            crate::escape::text(&reason),
        ))?;
    }
    for downtime in &outcome.downtimes {
        output.summary_line(format!("Down:    {} for {}", downtime.name, human::duration(downtime.time)))?;
    }
    let totals = &outcome.report.totals;
    output.summary_line(format!("Read:    {}", human::bytes(totals.bytes_read)))?;
    let stored = if args.dry_run { "would be stored" } else { "stored" };
    output.summary_line(format!(
        "New:     {} after deduplication, {} {stored} after compression",
        human::bytes(totals.bytes_new),
        human::bytes(totals.bytes_stored)
    ))?;
    let rate = human::rate(totals.bytes_read, elapsed);
    output.summary_line(format!("Time:    {}, {rate} read", human::duration(elapsed)))?;
    match &outcome.report.snapshot {
        Some(id) => output.line(format!("snapshot {} saved", id.short()))?,
        None => output.line("nothing was stored (dry run)")?,
    }
    Ok(())
}

pub(super) fn print_json(
    ctx: &Context,
    args: &BackupArgs,
    outcome: &BackupOutcome,
    exit: Exit,
) -> Result<(), Failure> {
    let report = &outcome.report;
    let totals = &report.totals;
    let module = |account: &Account| {
        json!({
            "module": account.module,
            "state": super::super::snapshots::state_word(account.state),
            "reason": account.reason,
            "entries": account.totals.entries,
            "source_bytes": account.totals.bytes,
            "stored_bytes": account.totals.bytes_stored,
            "items": account.items.iter().map(|item| json!({
                "name": item.name,
                "outcome": crate::output::outcome_word(item.outcome),
                "message": item.message,
            })).collect::<Vec<_>>(),
        })
    };
    let downtime = |downtime: &dedup_modules::conduct::Downtime| json!({ "name": downtime.name, "seconds": downtime.time.as_secs_f64() });
    Ok(ctx.output.object(&json!({
        "type": "summary",
        "snapshot_id": report.snapshot.map(|id| id.to_hex()),
        "state": super::super::snapshots::state_word(report.state),
        "dry_run": args.dry_run,
        "modules": report.accounts.iter().map(module).collect::<Vec<_>>(),
        "downtimes": outcome.downtimes.iter().map(downtime).collect::<Vec<_>>(),
        "from_filesystem_snapshot": outcome.from_snapshot,
        "left_undone": outcome.left_undone,
        "entries": totals.entries,
        "source_bytes": totals.bytes,
        "read_bytes": totals.bytes_read,
        "new_bytes": totals.bytes_new,
        "stored_bytes": totals.bytes_stored,
        "problems": totals.problems,
        "elapsed_seconds": ctx.elapsed().as_secs_f64(),
        "exit_code": exit.code(),
    }))?)
}
