//! `dedup job`: the jobs of this machine.

mod list;
mod show;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::Subcommand;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::job::Job;
use dedup_modules::runlog::store::Kept;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// List and show jobs
///
/// A job says in a small TOML file which modules are backed up, where to, what runs before and after, how long snapshots are
/// kept and who is told. `dedup backup --job NAME` runs one. The guide is modules/MANIFEST.md.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup job list
  dedup job show nightly
  dedup backup --job nightly")]
pub struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Subcommand, Debug)]
enum JobCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
}

pub fn run(ctx: &Context, args: &JobArgs) -> Result<Exit, Failure> {
    match &args.command {
        JobCommand::List(args) => list::run(ctx, args),
        JobCommand::Show(args) => show::run(ctx, args),
    }
}

/// What is known of the runs of a job from the logs that are kept.
struct Runs {
    /// When the last one began.
    begun: Option<Timestamp>,
    /// How it ended, in a word.
    result: Option<String>,
    /// When the next one is due, local time; `None` for a job that runs only when it is asked for.
    next: Option<DateTime>,
}

impl Runs {
    fn of(id: &ModuleId, job: Option<&Job>, logs: &[Kept]) -> Self {
        let is_own = |kept: &&Kept| kept.head.as_ref().is_some_and(|head| head.job.as_ref() == Some(id));
        // Newest first.
        let last = logs.iter().find(is_own);
        let begun = last.and_then(|kept| kept.head.as_ref()).map(|head| head.time);
        let local = |time: Timestamp| time.to_zoned(TimeZone::system()).datetime();
        let schedule = job.and_then(|job| job.schedule.as_ref());
        let next =
            schedule.and_then(|schedule| schedule.next_after(local(Timestamp::now()), begun.map(local)));
        Self { begun, result: last.map(|kept| super::log::outcome(kept).0), next }
    }

    fn next_text(&self) -> Option<String> {
        self.next.map(|next| next.strftime("%Y-%m-%d %H:%M").to_string())
    }

    fn json(&self) -> Value {
        json!({
            "last_begun": self.begun.map(|begun| begun.to_string()),
            "last_result": self.result,
            "next": self.next_text(),
        })
    }
}
