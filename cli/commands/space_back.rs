//! `dedup space revert` and `remove`: spaces, and restores that were kept under the names of spaces.

use super::space::{spaces, tell_notes};
use crate::context::Context;
use crate::declared::{self, ModuleDirs};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::runs::ModuleRun;
use crate::state_dir::state_dir;
use dedup_engine::error::Kind;
use dedup_engine::planted::{Bug, planted};
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::services::Operation;
use dedup_modules::member::{Member, halts};
use dedup_modules::restore::{RevertJob, revert as revert_restore};
use dedup_modules::spaces::{Replayed, Space, SpaceError};
use dedup_modules::undo::{KeptRestore, kept as undo_kept};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Returns the restores that can be reverted, the oldest first.
pub fn kept() -> Result<Vec<KeptRestore>, Failure> {
    Ok(undo_kept::kept(&state_dir()?.join(undo_kept::DIR))?)
}

/// Returns the directories in which their files are kept, which are no data to be backed up.
pub fn aside_places() -> Vec<PathBuf> {
    // Where nothing can be read, nothing was kept.
    kept().unwrap_or_default().iter().flat_map(KeptRestore::places).collect()
}

/// Returns those of one name. Ids are compared without case, as those of spaces are.
pub fn kept_of(id: &str) -> Result<Vec<KeptRestore>, Failure> {
    let id = ModuleId::parse(id).map_or_else(|_| id.to_owned(), |id| id.as_str().to_owned());
    Ok(kept()?.into_iter().filter(|one| one.id == id).collect())
}

/// Returns what JSON has of one.
pub fn json(kept: &KeptRestore) -> Value {
    json!({
        "id": kept.id,
        "run": kept.header.run,
        "begun": kept.header.begun,
        "acts": kept.acts.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// What one id names.
enum Named {
    Space(Space),
    /// The newest restore of that name.
    Restore(Box<KeptRestore>),
}

fn find(id: &str) -> Result<Named, Failure> {
    let id = if planted(Bug::RevertByOtherId) { "an-id-of-its-own" } else { id };
    match kept_of(id)?.pop() {
        Some(newest) => Ok(Named::Restore(Box::new(newest))),
        None => Ok(Named::Space(spaces()?.existing(id)?)),
    }
}

pub fn revert(
    ctx: &Context,
    ids: &[String],
    all: bool,
    dry_run: bool,
    dirs: &ModuleDirs,
) -> Result<Exit, Failure> {
    let ids = if all { persistent()? } else { ids.to_vec() };
    // A wrong id is told before anything is changed.
    let chosen = ids.iter().map(|id| find(id)).collect::<Result<Vec<_>, _>>()?;
    let stops = !dry_run && chosen.iter().any(|named| matches!(named, Named::Restore(_)));
    let run = stops.then(|| ModuleRun::begin(ctx, "revert", Duration::ZERO)).transpose()?;
    let mut exit = Exit::Complete;
    let mut results = Vec::new();
    for named in &chosen {
        results.push(match (named, &run) {
            (Named::Space(space), _) => replay(ctx, space, dry_run, &mut exit)?,
            (Named::Restore(kept), Some(run)) => take_back(ctx, kept, run, dirs, &mut exit)?,
            (Named::Restore(kept), None) => would_take_back(ctx, kept)?,
        });
    }
    if let Some(run) = &run {
        run.finish(&Ok(exit));
    }
    if ctx.output.json {
        ctx.output.object(&json!({ "type": "space_revert", "dry_run": dry_run, "spaces": results }))?;
    }
    Ok(exit)
}

/// Returns the names of everything that outlives its run.
fn persistent() -> Result<Vec<String>, Failure> {
    let spaces = spaces()?.list()?.into_iter();
    let mut ids: Vec<String> = spaces
        .filter(|(_, info)| info.as_ref().map_or(true, |info| info.is_persistent))
        .map(|(id, _)| id)
        .chain(kept()?.into_iter().map(|one| one.id))
        .collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn replay(ctx: &Context, space: &Space, dry_run: bool, exit: &mut Exit) -> Result<Value, Failure> {
    let result = match dry_run {
        true => space.list().map(|objects| Replayed {
            paths: objects.into_iter().rev().filter_map(|object| object.origin).collect(),
            notes: vec![],
        }),
        false => space.replay(),
    };
    let mut line = json!({ "id": space.id(), "reverted": result.is_ok() && !dry_run, "paths": [], "acts": [], "message": null });
    match result {
        Ok(replayed) => {
            tell_notes(ctx, &replayed);
            let shown = replayed.paths.iter().map(|path| path.to_string_lossy());
            line["paths"] = shown.clone().collect::<Vec<_>>().into();
            let verb = if dry_run { "would be put back" } else { "put back" };
            if !ctx.output.json {
                for path in shown {
                    ctx.output.line(format!("{}: {} {verb}", space.id(), escape::text(&path)))?;
                }
            }
        }
        Err(error) => {
            ctx.output.warning(&format!("space {} was not put back: {error}", space.id()));
            line["message"] = error.to_string().into();
            *exit = exit.merge(error.kind().into());
        }
    }
    Ok(line)
}

/// Says what taking a restore back would do.
fn would_take_back(ctx: &Context, kept: &KeptRestore) -> Result<Value, Failure> {
    let (name, begun) = (escape::text(&kept.id), escape::text(&kept.header.begun));
    for act in kept.acts.iter().rev().filter(|_| !ctx.output.json) {
        let act = escape::text(&act.to_string());
        ctx.output.line(format!("{name}: restore of {begun}: would {act}"))?;
    }
    Ok(line(kept))
}

fn line(kept: &KeptRestore) -> Value {
    let acts: Vec<String> = kept.acts.iter().rev().map(ToString::to_string).collect();
    json!({ "id": kept.id, "reverted": false, "paths": [], "acts": acts, "message": null })
}

/// Takes a restore back; its services stand still meanwhile.
fn take_back(
    ctx: &Context,
    kept: &KeptRestore,
    run: &ModuleRun<'_>,
    dirs: &ModuleDirs,
    exit: &mut Exit,
) -> Result<Value, Failure> {
    let (name, begun) = (escape::text(&kept.id), escape::text(&kept.header.begun));
    let mut line = line(kept);
    let catalog = declared::catalog(dirs)?;
    let ids = kept.acts.iter().filter_map(|act| act.module());
    let entry = ids.into_iter().find_map(|id| catalog.find(id));
    let installed = entry.and_then(|entry| Some((entry.what.as_ref().ok()?, &entry.text[..])));
    let variables = installed.map(|(manifest, _)| ctx.config.paths.of(manifest)).unwrap_or_default();
    if let Some((manifest, _)) = installed {
        declared::assert_trusted(manifest, &variables).map_err(|why| {
            Failure::refused(format!("module {} cannot be reverted: {why}", manifest.module.id))
        })?;
    }
    let refused = |error: &(dyn std::error::Error + 'static)| Failure::of(Kind::Refused, error);
    let members = installed
        .map(|(manifest, text)| Member::new(manifest, text, &variables, Operation::Restore))
        .transpose()
        .map_err(|error| refused(&error))?;
    let members: Vec<Member<'_>> = members.into_iter().collect();
    let halts = halts(&members, Operation::Restore).map_err(|error| refused(&error))?;
    let machine = run.machine();
    let mut undoing = run.undoing(&machine)?;
    let job = RevertJob { kept, members: &members, halts: &halts };
    let reverted = {
        let _operation = ctx.operation();
        revert_restore(&job, &machine, &mut undoing)
    };
    let undone = undoing.finish()?;
    let reverted = reverted.map_err(|error| Failure::of(error.kind(), &error))?;
    let mut wrong = reverted.left_undone;
    wrong.extend(undone.iter().map(ToString::to_string));
    let end = if wrong.is_empty() { Exit::Complete } else { Exit::Failed };
    *exit = exit.merge(end);
    for text in &wrong {
        ctx.output.warning(&format!("{name}: {text}"));
    }
    line["reverted"] = wrong.is_empty().into();
    line["message"] = if wrong.is_empty() { Value::Null } else { wrong.join("; ").into() };
    if !ctx.output.json {
        if wrong.is_empty() {
            ctx.output.line(format!("{name}: the restore of {begun} is taken back"))?;
        }
        for downtime in &reverted.downtimes {
            let time = human::duration(downtime.time);
            ctx.output.summary_line(format!("Down:    {} for {time}", downtime.name))?;
        }
    }
    Ok(line)
}

pub fn remove(ctx: &Context, ids: &[String]) -> Result<Exit, Failure> {
    let spaces = spaces()?;
    let mut chosen = Vec::new();
    for id in ids {
        let kept = kept_of(id)?;
        match spaces.existing(id) {
            Err(SpaceError::NoSpace(_)) if !kept.is_empty() => chosen.push((id, None, kept)),
            space => chosen.push((id, Some(space?), kept)),
        }
    }
    let names: Vec<&str> = chosen.iter().map(|(id, ..)| id.as_str()).collect();
    if !ctx.confirm(&format!(
        "Remove {} with all that is in it? It cannot be put back then.",
        names.join(", ")
    ))? {
        return Err(Failure::refused("nothing was removed"));
    }
    let mut exit = Exit::Complete;
    for (id, space, kept) in &chosen {
        if let Some(space) = space {
            spaces.remove(space.id())?;
        }
        for one in kept {
            if let Err(why) = one.let_go() {
                ctx.output.warning(&format!("{id}: something is still there: {why}"));
                exit = exit.merge(Exit::Failed);
            }
        }
    }
    Ok(exit)
}
