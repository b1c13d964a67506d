//! `dedup restore --only`: single tables and rows, back into their database.

use super::records;
use super::restore::RestoreArgs;
use crate::context::Context;
use crate::declared;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::runs::ModuleRun;
use crate::select::{self, Chosen};
use dedup_engine::error::Kind;
use dedup_engine::repo::Repository;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::services::Operation;
use dedup_modules::member::Member;
use dedup_modules::restore::{OnlyError, OnlyJob, restore_rows};
use serde_json::json;
use std::time::Duration;

/// What to do with a row that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RowConflict {
    /// The row of the snapshot takes its place
    Replace,
    /// It stays as it is
    KeepExisting,
    /// Refused for rows: nothing in them says when they were written
    KeepNewer,
}

/// Puts back what `--only` names.
pub fn run(ctx: &Context, args: &RestoreArgs, repo: &Repository, chosen: &Chosen) -> Result<Exit, Failure> {
    if args.on_conflict == RowConflict::KeepNewer {
        return Err(Failure::refused("rows do not say when they were written, so none is newer")
            .hint("`dedup history` shows what a row was; choose replace or keep-existing"));
    }
    if !args.is_in_place() {
        return Err(Failure::refused("--only puts rows back where they were")
            .hint("leave --target and the patterns off; `dedup dump` writes rows elsewhere"));
    }
    for spec in &args.only {
        if spec.table.is_none() {
            return Err(Failure::refused(format!("no table of source {} is named", spec.source))
                .hint("write source:NAME:TABLE, or source:NAME:TABLE[KEY]"));
        }
    }
    let filter = args.which.filter();
    if !filter.also.is_empty() {
        return Err(Failure::refused("rows are restored of one module at a time"));
    }
    let account = select::account(&chosen.snapshot, filter.module.as_deref())?;
    let id = ModuleId::parse(&account.module).map_err(|error| Failure::of(Kind::Integrity, &error))?;
    let catalog = declared::catalog(&args.modules.dirs)?;
    declared::tell_faults(ctx, &catalog);
    let entry = catalog.find(&id).and_then(|entry| Some((entry.what.as_ref().ok()?, &entry.text[..])));
    let (manifest, text) = entry.ok_or_else(|| {
        Failure::new(
            Kind::Missing,
            format!("module {id} is not declared here, so nobody knows where its rows go"),
        )
    })?;
    let variables = ctx.config.paths.of(manifest);
    declared::assert_trusted(manifest, &variables)
        .map_err(|why| Failure::refused(format!("module {id} cannot be restored: {why}")))?;
    let member = Member::new(manifest, text, &variables, Operation::Restore)
        .map_err(|error| Failure::of(Kind::Refused, &error))?;
    let what: Vec<String> =
        args.only.iter().filter_map(|spec| Some(format!("{}", spec.table.as_ref()?))).collect();
    if args.dry_run {
        ctx.output.line(format!("would put back rows of {}", what.join(", ")))?;
        return Ok(Exit::Complete);
    }
    if !ctx.confirm(&format!("Put back rows of {}?", what.join(", ")))? {
        return Err(Failure::refused("nothing was restored: the answer was no"));
    }
    let module_run = ModuleRun::begin(ctx, "restore", Duration::ZERO)?;
    let machine = module_run.machine();
    let result = (|| {
        let (mut rows, mut kept, mut refused) = (0u64, 0u64, 0u64);
        module_run.carry_out(ctx, &machine, |undoing| {
            for spec in &args.only {
                let (_, dump) =
                    records::open(repo, &chosen.snapshot, Some(&account.module), args.section, &spec.source)?;
                let keep_existing = args.on_conflict == RowConflict::KeepExisting;
                let job = OnlyJob { repo, dump, member: &member, spec, keep_existing };
                let imported = restore_rows(&job, &machine, undoing).map_err(failure)?;
                for warning in &imported.warnings {
                    ctx.output.warning(warning);
                }
                rows += imported.rows;
                kept += imported.kept;
                refused += imported.refused;
            }
            Ok::<_, Failure>(())
        })??;
        let exit = if refused > 0 { Exit::Partial } else { Exit::Complete };
        if ctx.output.json {
            ctx.output.object(&json!({
                "type": "summary", "snapshot_id": chosen.id.to_hex(), "module": account.module,
                "rows": rows, "kept": kept, "refused": refused, "exit_code": exit.code(),
            }))?;
        } else {
            let kept =
                if kept > 0 { format!(", {} kept as they were", human::count(kept)) } else { String::new() };
            ctx.output.summary_line(format!("put back {}{kept}", human::counted(rows, "row", "rows")))?;
        }
        Ok::<_, Failure>(exit)
    })();
    module_run.finish(&result);
    result
}

fn failure(error: OnlyError) -> Failure {
    match error {
        OnlyError::Source(dedup_modules::sources::SourceError::Records(error)) => error.into(),
        error @ OnlyError::Exported { .. } => Failure::of(error.kind(), &error).hint(
            "`dedup dump` writes the rows; `dedup restore -m MODULE` gives the program all that it sent",
        ),
        error => Failure::of(error.kind(), &error),
    }
}
