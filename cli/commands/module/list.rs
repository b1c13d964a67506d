//! `dedup module list`: the modules of this machine, and which of them can take part.

use crate::context::Context;
use crate::declared::{self, ModuleDirs, State};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Table, put_path};
use dedup_modules::catalog::{Catalog, Entry, Rank};
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::lifecycle::Reset;
use dedup_modules::manifest::sections::Section;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

/// List the modules of this machine
///
/// Each with its state: ready, disabled (its manifest says so), needs-setup (never set up, so it has no data), unknown (only
/// a program of the module knows; none is run here), invalid (its manifest cannot be used, and why).
/// `--implemented` shows those that take part, with what each brings to a backup and a restore.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module list
  dedup module list --implemented
  dedup module list --json --modules-dir ./modules.d")]
pub struct ListArgs {
    /// Only modules that can take part, with what they implement
    #[arg(long)]
    implemented: bool,
    #[command(flatten)]
    dirs: ModuleDirs,
}

pub fn run(ctx: &Context, args: &ListArgs) -> Result<Exit, Failure> {
    let catalog = declared::catalog(&args.dirs)?;
    declared::tell_faults(ctx, &catalog);
    if ctx.output.json {
        let shown = catalog.entries.values().filter(|entry| !args.implemented || takes_part(ctx, entry));
        let modules: Vec<Value> = shown.map(|entry| as_json(ctx, entry)).collect();
        let faults = catalog.faults.iter().map(|fault| {
            let mut object = json!({ "reason": declared::reason(&fault.wrong), "hint": fault.wrong.hint() });
            put_path(&mut object, "path", fault.path.as_os_str().as_bytes());
            object
        });
        let faults: Vec<Value> = faults.collect();
        ctx.output.object(&json!({ "type": "modules", "modules": modules, "faults": faults }))?;
        return Ok(Exit::Complete);
    }
    if catalog.entries.is_empty() {
        ctx.output.note("no modules are declared; `dedup module discover` proposes some");
        return Ok(Exit::Complete);
    }
    if args.implemented { implemented(ctx, &catalog) } else { table(ctx, &catalog) }
}

/// Returns whether a run that nobody restricts would have it.
fn takes_part(ctx: &Context, entry: &Entry<Manifest>) -> bool {
    matches!(State::of(ctx, entry), State::Ready | State::Unknown(_))
}

/// Returns what a module brings to a backup and a restore, in words of its manifest.
fn implements(manifest: &Manifest) -> Vec<String> {
    let has = |section: &Section| {
        let Section { directories, files, entries, glob, .. } = section;
        !(directories.is_empty() && files.is_empty() && entries.is_empty() && glob.is_empty())
    };
    let Manifest { config, data, secrets, settings, services, hooks, exporter, importer, .. } = manifest;
    let parts = [
        ("config", has(config)),
        ("data", has(data)),
        ("secrets", has(secrets)),
        ("settings", !settings.is_empty()),
        ("services", !services.is_empty()),
        ("lockdown", manifest.lockdown.is_some()),
        ("exporter", exporter.is_some()),
        ("importer", importer.is_some()),
        ("reset", manifest.restore.reset != Reset::None),
        ("legacy", !manifest.legacy.is_empty()),
    ];
    let mut words: Vec<String> =
        parts.into_iter().filter(|(_, is)| *is).map(|(word, _)| word.to_owned()).collect();
    words.extend(manifest.sources.iter().map(|source| format!("source:{}", source.name)));
    let mut points: Vec<&str> = hooks.all().map(|(point, _)| point).collect();
    points.dedup();
    words.extend(points.into_iter().map(|point| format!("hook:{point}")));
    words
}

fn implemented(ctx: &Context, catalog: &Catalog) -> Result<Exit, Failure> {
    let mut table = Table::new(&["Module", "Version", "Implements"], &[]);
    for entry in catalog.entries.values().filter(|entry| takes_part(ctx, entry)) {
        let Ok(manifest) = &entry.what else { continue };
        let version = escape::text(&manifest.module.version.to_string());
        table.row(vec![entry.id.to_string(), version, implements(manifest).join(" ")]);
    }
    for line in table.lines() {
        ctx.output.line(line)?;
    }
    Ok(Exit::Complete)
}

fn table(ctx: &Context, catalog: &Catalog) -> Result<Exit, Failure> {
    let mut table = Table::new(&["Module", "Version", "State", "File"], &[]);
    for entry in catalog.entries.values() {
        let state = State::of(ctx, entry);
        let version = entry.what.as_ref().map(|manifest| manifest.module.version.to_string());
        let file = escape::name(entry.file.as_os_str().as_bytes());
        let why = state.why().map(|why| format!(": {}", escape::text(why))).unwrap_or_default();
        table.row(vec![
            entry.id.to_string(),
            version.map_or_else(|_| "-".into(), |version| escape::text(&version)),
            state.word().into(),
            format!("{file}{why}"),
        ]);
    }
    for line in table.lines() {
        ctx.output.line(line)?;
    }
    for entry in catalog.entries.values() {
        for path in &entry.replaces {
            ctx.output.detail(&format!("{} replaces {}", entry.file.display(), path.display()));
        }
    }
    Ok(Exit::Complete)
}

/// Returns an entry for programs.
pub fn as_json(ctx: &Context, entry: &Entry<Manifest>) -> Value {
    let state = State::of(ctx, entry);
    let module = entry.what.as_ref().ok().map(|manifest| &manifest.module);
    let rank = match entry.rank {
        Rank::System => "system",
        Rank::User => "user",
        Rank::Given => "given",
    };
    let replaces: Vec<_> = entry.replaces.iter().map(|path| path.display().to_string()).collect();
    let mut object = json!({
        "id": entry.id.as_str(),
        "name": module.map(|module| if module.name.is_empty() { entry.id.as_str() } else { &module.name }),
        "description": module.map(|module| &module.description),
        "version": module.map(|module| module.version.to_string()),
        "essential": module.map(|module| module.essential),
        "state": state.word(),
        "reason": state.why(),
        "implements": entry.what.as_ref().ok().map(implements),
        "directory": rank,
        "replaces": replaces,
    });
    put_path(&mut object, "file", entry.file.as_os_str().as_bytes());
    object
}
