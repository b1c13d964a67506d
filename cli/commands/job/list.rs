//! `dedup job list`: the jobs of this machine, how they last ended, and when they are due.

use super::Runs;
use crate::commands::log;
use crate::context::Context;
use crate::declared;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::jobs::{self, JobDirs};
use crate::output::{Table, put_path};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

/// List the jobs of this machine
///
/// Each with how its last run ended, as far as its log is kept, and when it is due by its schedule. This version starts no job
/// by itself: call `dedup backup --job NAME` from a timer.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup job list
  dedup job list --json --jobs-dir ./jobs.d")]
pub struct ListArgs {
    #[command(flatten)]
    dirs: JobDirs,
}

pub fn run(ctx: &Context, args: &ListArgs) -> Result<Exit, Failure> {
    let jobs = jobs::shelf(ctx, &args.dirs)?;
    let logs = log::logs()?;
    let mut table = Table::new(&["Job", "Last run", "Result", "Next", "File"], &[]);
    let mut all = Vec::new();
    for entry in jobs.entries.values() {
        let job = entry.what.as_ref().ok();
        let runs = Runs::of(&entry.id, job, &logs);
        let wrong = entry.what.as_ref().err().map(declared::reason);
        let mut object = runs.json();
        object["id"] = entry.id.as_str().into();
        object["name"] = job.map_or(Value::Null, |job| job.name.as_str().into());
        object["state"] = if wrong.is_none() { "ready" } else { "invalid" }.into();
        object["reason"] = json!(wrong);
        put_path(&mut object, "file", entry.file.as_os_str().as_bytes());
        all.push(object);
        let begun = runs.begun.map(|time| human::local_time(human::stored_time(time)));
        let why = wrong.map(|why| format!(": {}", escape::text(&why))).unwrap_or_default();
        table.row(vec![
            entry.id.to_string(),
            begun.unwrap_or_else(|| "-".into()),
            runs.result.as_ref().map_or_else(|| "-".into(), |result| escape::text(result)),
            runs.next_text().unwrap_or_else(|| "-".into()),
            format!("{}{why}", escape::name(entry.file.as_os_str().as_bytes())),
        ]);
    }
    if ctx.output.json {
        ctx.output.object(&json!({ "type": "jobs", "jobs": all }))?;
    } else if all.is_empty() {
        ctx.output.note("there are no jobs; modules/MANIFEST.md tells how to write one");
    } else {
        table.lines().iter().try_for_each(|line| ctx.output.line(line))?;
    }
    Ok(Exit::Complete)
}
