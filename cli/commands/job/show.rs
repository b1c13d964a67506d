//! `dedup job show`: what a job would do.

use super::Runs;
use crate::commands::log;
use crate::context::Context;
use crate::declared;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::jobs::{self, JobDirs};
use dedup_modules::catalog::commands_of_job;
use dedup_modules::id::ModuleId;
use dedup_modules::job::names;
use dedup_modules::job::retention::rules;
use dedup_modules::job::storages::Storages;
use dedup_modules::manifest::job::{Job, Modules};
use dedup_modules::manifest::paths::Variables;
use jiff::Zoned;
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show what a job would do
///
/// Which modules and paths, where to, under which labels if it began now, which programs it runs and whether they may be
/// started. Nothing is run and nothing is changed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup job show nightly
  dedup job show ./nightly.toml --json")]
pub struct ShowArgs {
    /// The job: its id, or the path of its file
    #[arg(value_name = "NAME|PATH")]
    job: OsString,

    #[command(flatten)]
    dirs: JobDirs,
}

pub fn run(ctx: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let job = jobs::find(ctx, &args.dirs, &args.job)?;
    let runs = Runs::of(&job.id, Some(&job), &log::logs()?);
    let object = describe(&job, &runs);
    if ctx.output.json {
        ctx.output.object(&object)?;
        return Ok(Exit::Complete);
    }
    for (key, value) in object.as_object().into_iter().flatten().filter(|(key, _)| *key != "type") {
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::Array(list) if list.is_empty() => continue,
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        ctx.output.line(format!("{:<16} {}", key.replace('_', " "), escape::text(&text)))?;
    }
    Ok(Exit::Complete)
}

/// A member of a list on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let parts = fields.values().filter(|value| !value.is_null());
            parts.map(cell).collect::<Vec<_>>().join(" ")
        }
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn describe(job: &Job, runs: &Runs) -> Value {
    let storages = Storages::of(job);
    let ids = |ids: &[ModuleId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let programs = declared::check_all(commands_of_job(job), &Variables::default());
    let programs = programs.into_iter().map(|(named, checked)| {
        json!({
            "at": named.at,
            "command": named.argv,
            "refused": checked.err().map(|error| error.to_string()),
        })
    });
    let rules = rules(job).map(|rules| {
        json!({
            "last": rules.last,
            "daily": rules.daily,
            "weekly": rules.weekly,
            "monthly": rules.monthly,
            "within": rules.within.map(|period| period.to_string()),
            "max_age": rules.max_age.map(|period| period.to_string()),
        })
    });
    let mut object = json!({
        "type": "job",
        "id": job.id.as_str(),
        "name": job.name,
        "modules": match &job.modules { Modules::All => vec!["all".to_owned()], Modules::Named(named) => ids(named) },
        "unselected": ids(&job.unselected),
        "paths": job.custom.iter().map(|custom| custom.path.to_string()).collect::<Vec<_>>(),
        "repository": storages.repository.map(|storage| &storage.address),
        "further_storages": storages.further.iter().map(|storage| &storage.address).collect::<Vec<_>>(),
        "labels": names::tags(job, Zoned::now().datetime()),
        "keeps": rules,
        "programs": programs.collect::<Vec<_>>(),
        "told": job.notify.as_ref().map(|notify| notify.to.clone()).unwrap_or_default(),
    });
    for (key, value) in runs.json().as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}
