//! `dedup module check DIR`: whether a module's own programs keep to the line protocol.

use crate::context::Context;
use crate::declared::{self, ModuleDirs};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::create_private_dir;
use crate::human;
use crate::runs::{new_id, surroundings};
use crate::state_dir::state_dir;
use dedup_modules::catalog::Entry;
use dedup_modules::conformance::{Check, Outcome, Suite, run as run_suite};
use dedup_modules::external::Spec;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::programs::{External, Severity};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Tries the programs of every manifest in a directory.
pub fn run(ctx: &Context, dir: &Path, changes: bool) -> Result<Exit, Failure> {
    let whole = fs::canonicalize(dir)
        .map_err(|error| Failure::io(format!("cannot look into {}", dir.display()), &error))?;
    let catalog = declared::catalog(&ModuleDirs { dirs: vec![whole.clone()] })?;
    let here: Vec<&Entry<Manifest>> =
        catalog.entries.values().filter(|entry| entry.file.starts_with(&whole)).collect();
    let scratch = state_dir()?.join("conformance").join(new_id());
    create_private_dir(&scratch)?;
    let tried = here.iter().try_fold(Vec::new(), |mut all, entry| {
        all.extend(module(ctx, entry, changes, &scratch)?);
        Ok::<_, Failure>(all)
    });
    let removed = fs::remove_dir_all(&scratch);
    let tried = tried?;
    removed.map_err(|error| Failure::io(format!("cannot remove {}", scratch.display()), &error))?;
    if tried.is_empty() {
        let what = "is a directory, and no manifest in it has [exporter] or [importer]";
        return Err(Failure::refused(format!("{} {what}", dir.display()))
            .hint("name the manifests in it to check these; `dedup module new` writes one with a program"));
    }
    let wrong = tried.iter().flat_map(|tried| &tried.checks).filter(|check| is_wrong(check)).count();
    if ctx.output.json {
        let programs: Vec<Value> = tried.iter().map(Tried::as_json).collect();
        ctx.output
            .object(&json!({ "type": "module_conformance", "programs": programs, "checks_wrong": wrong }))?;
    } else {
        let all: usize = tried.iter().map(|tried| tried.checks.len()).sum();
        let all = human::counted(all as u64, "check", "checks");
        ctx.output.summary_line(match wrong {
            0 => format!("{all}, nothing wrong"),
            n => format!("{all}, {n} wrong"),
        })?;
    }
    Ok(if wrong == 0 { Exit::Complete } else { Exit::Refused })
}

struct Tried {
    module: String,
    role: &'static str,
    checks: Vec<Check>,
}

impl Tried {
    fn as_json(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            let (outcome, why) = words(&check.outcome);
            json!({ "name": check.name, "outcome": outcome, "why": why })
        });
        json!({ "module": self.module, "role": self.role, "checks": checks.collect::<Vec<_>>() })
    }
}

fn is_wrong(check: &Check) -> bool {
    matches!(check.outcome, Outcome::Wrong(_))
}

fn words(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Right => ("right", None),
        Outcome::Wrong(why) => ("wrong", Some(why)),
        Outcome::Skipped(why) => ("skipped", Some(why)),
    }
}

fn module(
    ctx: &Context,
    entry: &Entry<Manifest>,
    changes: bool,
    scratch: &PathBuf,
) -> Result<Vec<Tried>, Failure> {
    let manifest = entry.what.as_ref().map_err(|wrong| Failure::refused(declared::reason(wrong)))?;
    let variables = ctx.config.paths.of(manifest);
    declared::assert_trusted(manifest, &variables).map_err(Failure::refused)?;
    let mut tried = Vec::new();
    for (role, external) in [("exporter", &manifest.exporter), ("importer", &manifest.importer)] {
        let Some(external) = external else { continue };
        // One program may have both parts.
        if role == "importer" && is_same(manifest.exporter.as_ref(), external) {
            continue;
        }
        let spec =
            Spec::of(external, manifest, &variables).map_err(|error| Failure::of(error.kind(), &error))?;
        if !ctx.output.json {
            ctx.output.line(format!("{}: {role}", entry.id))?;
        }
        let interrupt = ctx.interrupt();
        let (around, log) =
            (surroundings(), |_: Severity, text: &str| ctx.output.detail(&escape::text(text)));
        let suite = Suite {
            spec: &spec,
            changes,
            scratch,
            around: &around,
            cancelled: &|| interrupt.asked(),
            elapsed: &|| ctx.elapsed(),
            log: &log,
        };
        let mut told = Ok(());
        let checks = run_suite(&suite, &mut |check| {
            if !ctx.output.json && told.is_ok() {
                told = tell(ctx, check);
            }
        });
        told?;
        tried.push(Tried { module: entry.id.to_string(), role, checks });
    }
    Ok(tried)
}

fn is_same(exporter: Option<&External>, importer: &External) -> bool {
    exporter.is_some_and(|exporter| External { replaces_declared: false, ..exporter.clone() } == *importer)
}

fn tell(ctx: &Context, check: &Check) -> Result<(), Failure> {
    let (outcome, why) = words(&check.outcome);
    let why = why.map(|why| format!(": {}", escape::text(why))).unwrap_or_default();
    Ok(ctx.output.line(format!("  {outcome:7}  {}{why}", check.name))?)
}
