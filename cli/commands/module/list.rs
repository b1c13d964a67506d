//! `dedup module list`: the modules of this machine, and which of them can take part.

use crate::context::Context;
use crate::declared::{self, ModuleDirs, State};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Table, put_path};
use dedup_modules::catalog::{Catalog, Entry, Rank};
use dedup_modules::manifest::Manifest;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

/// List the modules of this machine
///
/// Each with its state: ready, disabled (its manifest says so), needs-setup (never set up, so it has no data), unknown (only
/// a program of the module knows; none is run here), invalid (its manifest cannot be used, and why).
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module list
  dedup module list --json --modules-dir ./modules.d")]
pub struct ListArgs {
    #[command(flatten)]
    dirs: ModuleDirs,
}

pub fn run(ctx: &Context, args: &ListArgs) -> Result<Exit, Failure> {
    let catalog = declared::catalog(&args.dirs)?;
    declared::tell_faults(ctx, &catalog);
    if ctx.output.json {
        let modules: Vec<Value> = catalog.entries.values().map(|entry| as_json(ctx, entry)).collect();
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
    table(ctx, &catalog)
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
        "directory": rank,
        "replaces": replaces,
    });
    put_path(&mut object, "file", entry.file.as_os_str().as_bytes());
    object
}
