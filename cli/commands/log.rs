//! `dedup log`: what runs told.

use super::ls::Entries;
use crate::context::Context;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::{Table, put_path};
use crate::state_dir::{self, state_dir};
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use dedup_engine::error::Kind;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::manifest::words::Words;
use dedup_modules::runlog::store::{self, Kept, Outcome};
use dedup_modules::runlog::{Event, Line};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// List the logs of runs, or show one
///
/// Logs are kept in the state directory: /var/lib/dedup/logs as root, dedup/logs in the user's state directory otherwise;
/// DEDUP_STATE_DIR names another. The newest 100 are kept, for at most 90 days.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup log
  dedup log latest --level warning
  dedup log 3f2a --json")]
pub struct LogArgs {
    /// The run: its id, the beginning of it, or `latest`
    run: Option<String>,

    /// Show what matters at least this much
    #[arg(long, default_value = "info", value_parser = severity(), value_name = "LEVEL")]
    level: Severity,
}

fn severity() -> impl TypedValueParser<Value = Severity> {
    let words = Severity::WORDS.iter().map(|(word, _)| *word);
    // Only those words pass.
    PossibleValuesParser::new(words).map(|word| Severity::from_word(&word).unwrap_or(Severity::Info))
}

pub fn run(ctx: &Context, args: &LogArgs) -> Result<Exit, Failure> {
    let logs = logs()?;
    match &args.run {
        None => list(ctx, &logs),
        Some(wanted) => show(ctx, find(&logs, wanted)?, args.level),
    }
}

/// Returns the logs of this user, the newest first: also those that root wrote and gave to the user.
pub fn logs() -> Result<Vec<Kept>, Failure> {
    let own = state_dir()?.join("logs");
    let mut logs = store::list(&own)
        .map_err(|error| Failure::io(format!("cannot read the directory {}", own.display()), &error))?;
    let is_set = std::env::var_os("DEDUP_STATE_DIR").is_some_and(|dir| !dir.is_empty());
    let system = Path::new(state_dir::SYSTEM).join("logs");
    if !is_set && own != system {
        // Root may keep it closed: then nothing there is for this user.
        logs.extend(store::list(&system).unwrap_or_default());
    }
    let time = |kept: &Kept| kept.head.as_ref().map(|head| head.time);
    logs.sort_by_key(|kept| std::cmp::Reverse(time(kept)));
    Ok(logs)
}

fn find<'l>(logs: &'l [Kept], wanted: &str) -> Result<&'l Kept, Failure> {
    if wanted == "latest" {
        return logs.first().ok_or_else(|| Failure::new(Kind::Missing, "there are no logs"));
    }
    if let Some(kept) = logs.iter().find(|kept| kept.run.as_str() == wanted) {
        return Ok(kept);
    }
    let mut found = logs.iter().filter(|kept| !wanted.is_empty() && kept.run.as_str().starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(kept), None) => Ok(kept),
        (None, _) => {
            let failure = Failure::new(Kind::Missing, format!("there is no log of a run {wanted}"));
            Err(failure.hint("`dedup log` lists those that are kept"))
        }
        (Some(_), Some(_)) => {
            Err(Failure::refused(format!("several runs begin with {wanted}")).hint("give more of the id"))
        }
    }
}

/// Says how a run stands: a word, and when it ended.
pub fn outcome(kept: &Kept) -> (String, Option<String>, Option<u8>) {
    match &kept.outcome {
        Outcome::Ended(end) => (end.result.clone(), Some(end.time.to_string()), Some(end.exit_code)),
        Outcome::Running => ("running".into(), None, None),
        Outcome::Died => ("died".into(), None, None),
    }
}

fn as_json(kept: &Kept) -> Value {
    let (result, ended, exit_code) = outcome(kept);
    let mut object = json!({
        "run": kept.run.as_str(),
        "operation": kept.head.as_ref().map(|head| &head.operation),
        "job": kept.head.as_ref().and_then(|head| head.job.as_ref()).map(|job| job.as_str()),
        "begun": kept.head.as_ref().map(|head| head.time.to_string()),
        "ended": ended,
        "result": result,
        "exit_code": exit_code,
    });
    put_path(&mut object, "path", kept.path.as_os_str().as_bytes());
    object
}

fn list(ctx: &Context, logs: &[Kept]) -> Result<Exit, Failure> {
    if ctx.output.json {
        let logs: Vec<Value> = logs.iter().map(as_json).collect();
        ctx.output.object(&json!({ "type": "logs", "logs": logs }))?;
        return Ok(Exit::Complete);
    }
    if logs.is_empty() {
        ctx.output.note("there are no logs");
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&["Run", "Begun", "Operation", "Result"], &[]);
    for kept in logs {
        let begun = kept.head.as_ref().map(|head| human::local_time(human::stored_time(head.time)));
        let operation = kept.head.as_ref().map(|head| match &head.job {
            Some(job) => format!("{} {job}", escape::text(&head.operation)),
            None => escape::text(&head.operation),
        });
        let result = escape::text(&outcome(kept).0);
        table.row(vec![
            kept.run.to_string(),
            begun.unwrap_or_default(),
            operation.unwrap_or_default(),
            result,
        ]);
    }
    for line in table.lines() {
        ctx.output.line(line)?;
    }
    Ok(Exit::Complete)
}

fn show(ctx: &Context, kept: &Kept, level: Severity) -> Result<Exit, Failure> {
    let failed = |error| Failure::io(format!("cannot read {}", kept.path.display()), &error);
    let mut head = as_json(kept);
    head["type"] = "log".into();
    let mut entries = Entries::new(ctx.output, head, "events")?;
    let mut broken = 0_u64;
    for line in store::open(&kept.path).map_err(failed)? {
        match line.map_err(failed)? {
            Line::Event(event) if event.level <= level => {
                let shown = |out: &mut dyn std::io::Write| writeln!(out, "{}", line_of(&event));
                if entries.entry(|| event_json(&event), shown) == ControlFlow::Break(()) {
                    break;
                }
            }
            Line::Broken => broken += 1,
            Line::Head(_) | Line::Event(_) | Line::End(_) => {}
        }
    }
    entries.end_with(&json!({ "lines_broken": broken }))?;
    if broken > 0 {
        ctx.output.note(&format!("{} could not be read", human::counted(broken, "line", "lines")));
    }
    match &kept.outcome {
        Outcome::Ended(_) => {}
        Outcome::Running => ctx.output.note("this run still goes on"),
        Outcome::Died => ctx.output.warning("this run died: its log has no end"),
    }
    Ok(Exit::Complete)
}

fn event_json(event: &Event) -> Value {
    json!({
        "time": event.time.to_string(),
        "level": event.level.to_string(),
        "module": event.module.as_ref().map(|id| id.as_str()),
        "message": event.message,
    })
}

/// An event on one line; what programs said is escaped.
fn line_of(event: &Event) -> String {
    let time = human::local_time(human::stored_time(event.time));
    let module = event.module.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
    format!("{time} {:<9} {module}{}", event.level.to_string(), escape::text(&event.message))
}
