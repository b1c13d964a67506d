//! `dedup restore` of modules: back to where they came from, services and all.

use super::restore::RestoreArgs;
use super::restore_plan::{self, Plan};
use crate::context::Context;
use crate::declared;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::ModuleRun;
use crate::select::Chosen;
use crate::state_dir::state_dir;
use crate::{escape, human};
use dedup_engine::browse;
use dedup_engine::error::Kind;
use dedup_engine::map::Class;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::Account;
use dedup_modules::catalog::Catalog;
use dedup_modules::id::ModuleId;
use dedup_modules::machine::Machine;
use dedup_modules::manifest::job::Modules;
use dedup_modules::manifest::paths::Variables;
use dedup_modules::manifest::services::Operation;
use dedup_modules::manifest::{MAX_FILE_BYTES, Manifest};
use dedup_modules::member::{Member, halts};
use dedup_modules::restore::{
    End, Ended, RestoreError, RestoreJob, RestoreOutcome, Subject, exported_depends, room,
    run as restore_modules,
};
use dedup_modules::selection::{Candidate, Ready, Request, SelectError, select};
use dedup_modules::version::Requirement;
use serde_json::json;
use std::time::Duration;

/// The module of plain paths, which is restored as files.
const FILES: &str = "files";

/// A module of the snapshot: what it was, and what is installed here.
struct Found<'c> {
    account: &'c Account,
    stored: Manifest,
    installed: Option<(&'c Manifest, &'c [u8])>,
    variables: Variables,
    /// What its exporter named: what it requires, and what it only comes after.
    named: (Vec<Requirement>, Vec<ModuleId>),
}

/// Returns whether modules are meant, and not files of one.
pub fn is_meant(args: &RestoreArgs, chosen: &Chosen) -> bool {
    let is_one = |module: &str| module != FILES;
    args.is_whole()
        && match &args.which.module[..] {
            [] => chosen.snapshot.accounts.iter().any(|account| is_one(&account.module)),
            named => named.iter().any(|module| is_one(module)),
        }
}

/// Restores modules in place.
pub fn run(ctx: &Context, args: &RestoreArgs, repo: &Repository, chosen: &Chosen) -> Result<Exit, Failure> {
    let catalog = declared::catalog(&args.modules.dirs)?;
    declared::tell_faults(ctx, &catalog);
    let mut found = find(ctx, repo, chosen, &catalog)?;
    let order = order(ctx, args, &found, &catalog)?;
    found.retain(|found| order.contains(&found.stored.module.id));
    found.sort_by_key(|found| order.iter().position(|id| *id == found.stored.module.id));

    for found in &found {
        if let Some((manifest, _)) = found.installed {
            declared::assert_trusted(manifest, &found.variables).map_err(|why| {
                Failure::refused(format!("module {} cannot be restored: {why}", manifest.module.id))
            })?;
        }
    }
    let refused = |error: &(dyn std::error::Error + 'static)| Failure::of(Kind::Refused, error);
    let members = found
        .iter()
        .map(|found| {
            let (manifest, text) = found.installed.unwrap_or((&found.stored, &[]));
            Member::new(manifest, text, &found.variables, Operation::Restore)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&error))?;
    let mut subjects = found
        .iter()
        .zip(&members)
        .map(|(found, member)| Subject::new(found.account, &found.stored, member, found.installed.is_some()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(&error))?;
    for (at, subject) in subjects.iter_mut().enumerate() {
        subject.requires = required(&found, at);
    }
    let halts = halts(&members, Operation::Restore).map_err(|error| refused(&error))?;

    let safety = !args.modules.no_safety;
    let rooms = room(repo, &subjects, &members, safety, &state_dir()?);
    ctx.progress.finish();
    restore_plan::show(
        ctx,
        chosen,
        &Plan { subjects: &subjects, members: &members, halts: &halts, rooms: &rooms, safety },
    )?;
    if args.dry_run {
        return Ok(Exit::Complete);
    }
    if !ctx.confirm("Restore these modules, replacing what they have now?")? {
        return Err(Failure::refused("nothing was restored: the answer was no"));
    }
    let module_run = ModuleRun::begin(ctx, "restore", Duration::ZERO)?;
    let machine = module_run.machine();
    let job = RestoreJob {
        repo,
        subjects: &subjects,
        members: &members,
        halts: &halts,
        setup: !args.modules.no_setup,
        allow_partial: args.modules.allow_partial,
        strict: args.modules.strict,
        safety: !args.modules.no_safety,
        threads: ctx.threads(),
        events: ctx.events(),
    };
    let result = carry_out(ctx, chosen, &module_run, &machine, &job);
    module_run.expire(&ctx.output, &catalog);
    module_run.finish(&result);
    result
}

/// Does the restore, and tells what became of it.
fn carry_out<'a>(
    ctx: &Context,
    chosen: &Chosen,
    module_run: &ModuleRun<'_>,
    machine: &Machine<'a>,
    job: &RestoreJob<'a>,
) -> Result<Exit, Failure> {
    let done = module_run.carry_out(ctx, machine, |undoing| restore_modules(job, machine, undoing))?;
    let outcome = done.map_err(failure)?;
    for left in &outcome.left_undone {
        ctx.output.warning(left);
    }
    let exit = exit(&outcome);
    tell(ctx, chosen, &outcome, exit)?;
    Ok(exit)
}

/// Reads what the snapshot has of each module, and finds what is installed here.
fn find<'c>(
    ctx: &Context,
    repo: &Repository,
    chosen: &'c Chosen,
    catalog: &'c Catalog,
) -> Result<Vec<Found<'c>>, Failure> {
    let mut all = Vec::new();
    for account in chosen.snapshot.accounts.iter().filter(|account| account.module != FILES) {
        let text = browse::blob(repo, Class::Open, &account.manifest, MAX_FILE_BYTES as u64)?;
        let name = format!("the manifest of {} in the snapshot", account.module);
        let id = ModuleId::parse(&account.module).map_err(|error| Failure::of(Kind::Integrity, &error))?;
        let entry = catalog.find(&id);
        let installed = entry.and_then(|entry| Some((entry.what.as_ref().ok()?, &entry.text[..])));
        let stored = match Manifest::parse(&name, &text) {
            Ok(stored) if stored.module.id != id => {
                let whose = escape::text(stored.module.id.as_str());
                let message =
                    format!("{name} is that of {whose}: the snapshot was not made by an honest program");
                return Err(Failure::new(Kind::Integrity, message));
            }
            Ok(stored) if planted(Bug::ObeyStored) => stored,
            Ok(stored) => stored.data_only(),
            Err(problems) => {
                ctx.output.warning(&format!("{name} cannot be read: {problems}"));
                let Some((manifest, _)) = installed else { continue };
                manifest.clone().data_only()
            }
        };
        let variables = ctx.config.paths.of(installed.map_or(&stored, |(manifest, _)| manifest));
        let named = exported_depends(repo, account).unwrap_or_else(|why| {
            ctx.output.warning(&format!("{}: what it depends on cannot be read: {why}", account.module));
            Default::default()
        });
        all.push(Found { account, stored, installed, variables, named });
    }
    Ok(all)
}

/// Returns the modules to restore, in dependency order.
fn order(
    ctx: &Context,
    args: &RestoreArgs,
    found: &[Found<'_>],
    catalog: &Catalog,
) -> Result<Vec<ModuleId>, Failure> {
    let candidate = |found: &Found<'_>| {
        let manifest = found.installed.map_or(&found.stored, |(manifest, _)| manifest);
        let id = found.stored.module.id.clone();
        Candidate { id, enabled: true, ..Candidate::of(manifest, Ready::Ready) }
    };
    let declared: Vec<Candidate> = found.iter().map(candidate).collect();
    let mut candidates = declared.clone();
    for (candidate, found) in candidates.iter_mut().zip(found) {
        candidate.requires.extend(found.named.0.iter().cloned());
        candidate.after.extend(found.named.1.iter().cloned());
    }
    let named = args.which.module.iter().map(|name| ModuleId::parse(name)).collect::<Result<Vec<_>, _>>();
    let modules = match named.map_err(|error| Failure::of(Kind::Refused, &error))? {
        none if none.is_empty() => Modules::All,
        named => Modules::Named(named),
    };
    let installed =
        catalog.usable().map(|manifest| (manifest.module.id.clone(), manifest.module.version.clone()));
    let request = Request {
        unselected: if planted(Bug::IgnoreIgnored) { Vec::new() } else { args.modules.ignore.clone() },
        dependencies: args.modules.with_dependencies,
        installed: installed.collect(),
        ..Request::restore(modules)
    };
    let selection = match select(&candidates, &request) {
        // What programs said when they were backed up can be helped no more: manifests decide.
        Err(error @ SelectError::Circle { .. }) => {
            let selection = select(&declared, &request);
            if selection.is_ok() {
                ctx.output.warning(&format!("{error}; what their exporters named is not considered"));
            }
            selection
        }
        selection => selection,
    };
    let selection = selection.map_err(|error| Failure::of(Kind::Refused, &error))?;
    for remark in &selection.remarks {
        ctx.output.warning(&remark.to_string());
    }
    if selection.chosen.is_empty() {
        return Err(Failure::refused("no module of the snapshot is left to restore"));
    }
    Ok(selection.chosen.into_iter().map(|chosen| chosen.id).collect())
}

/// Returns the places of what a module requires.
fn required(found: &[Found<'_>], at: usize) -> Vec<usize> {
    let manifest = found[at].installed.map_or(&found[at].stored, |(manifest, _)| manifest);
    let place = |id: &ModuleId| {
        found
            .iter()
            .position(|other| other.stored.module.id == *id || other.stored.module.aliases.contains(id))
    };
    let requires = manifest.depends.requires.iter().chain(&found[at].named.0);
    requires.filter_map(|required| place(&required.module)).collect()
}

fn failure(error: RestoreError) -> Failure {
    let kind = error.kind();
    match error {
        RestoreError::Engine(error) => error.into(),
        error => Failure::of(kind, &error),
    }
}

fn exit(outcome: &RestoreOutcome) -> Exit {
    let of_module = |ended: &Ended| match ended.end {
        End::Restored => Exit::Complete,
        End::Warned | End::Untouched | End::Blocked => Exit::Partial,
        End::RolledBack => Exit::RolledBack,
        End::Broken => Exit::Failed,
    };
    let mut exit = outcome.modules.iter().map(of_module).fold(Exit::Complete, Exit::merge);
    if !outcome.left_undone.is_empty() {
        exit = exit.merge(Exit::Partial);
    }
    if outcome.cancelled {
        exit = exit.merge(Exit::Interrupted);
    }
    if outcome.damaged { exit.merge(Exit::Integrity) } else { exit }
}

fn word(end: End) -> &'static str {
    match end {
        End::Restored => "restored",
        End::Warned => "warned",
        End::Untouched => "untouched",
        End::Blocked => "blocked",
        End::RolledBack => "rolled-back",
        End::Broken => "broken",
    }
}

fn tell(ctx: &Context, chosen: &Chosen, outcome: &RestoreOutcome, exit: Exit) -> Result<(), Failure> {
    let output = ctx.output;
    if output.json {
        let module = |ended: &Ended| {
            json!({
                "module": ended.module,
                "state": word(ended.end),
                "reason": ended.reason,
                "entries": ended.entries,
                "restored_bytes": ended.bytes,
                "kept": ended.kept,
            })
        };
        return Ok(output.object(&json!({
            "type": "summary",
            "snapshot_id": chosen.id.to_hex(),
            "modules": outcome.modules.iter().map(module).collect::<Vec<_>>(),
            "downtimes": outcome.downtimes.iter().map(|downtime| json!({
                "name": downtime.name,
                "seconds": downtime.time.as_secs_f64(),
            })).collect::<Vec<_>>(),
            "left_undone": outcome.left_undone,
            "elapsed_seconds": ctx.elapsed().as_secs_f64(),
            "exit_code": exit.code(),
        }))?);
    }
    for ended in &outcome.modules {
        let reason = if ended.reason.is_empty() { String::new() } else { format!(": {}", ended.reason) };
        output.line(format!(
            "{:<20} {}, {} in {}{}",
            escape::text(&ended.module),
            word(ended.end),
            human::bytes(ended.bytes),
            human::counted(ended.entries, "entry", "entries"),
            escape::text(&reason),
        ))?;
    }
    for id in outcome.modules.iter().filter_map(|ended| ended.kept.as_ref()) {
        output.summary_line(format!(
            "Kept:    what {id} had before; `dedup space revert {id}` brings it back"
        ))?;
    }
    for downtime in &outcome.downtimes {
        output.summary_line(format!("Down:    {} for {}", downtime.name, human::duration(downtime.time)))?;
    }
    output.summary_line(format!("Time:    {}", human::duration(ctx.elapsed())))?;
    Ok(())
}
