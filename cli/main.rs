//! The program `dedup`: parse, run, report, exit.
//!
//! Everything a person reads is written here, under `cli/`; the libraries return values and events.

mod args;
mod commands;
mod config;
mod context;
mod declared;
mod escape;
mod exit;
mod export_tar;
mod failure;
mod find_repo;
mod guard;
mod human;
mod interrupt;
mod jobs;
mod memory;
mod output;
mod passphrase;
mod patterns;
mod problems;
mod progress;
mod record;
mod run_log;
mod runs;
mod section;
mod select;
mod setup_state;
mod sizes;
mod state_dir;
mod tar_stream;
mod target;
#[cfg(test)]
mod test_node;

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use clap::FromArgMatches;
use dedup_engine::error::Kind;
use dedup_engine::planted::{Bug, planted};
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "planted")]
    plant_what_was_asked_for();
    let parsed = args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) if cli.command.wants_guard() && guard::guarded_run().is_none() => guarded(&cli),
        Ok(cli) => run(cli).into(),
        Err(error) => refuse(&error).into(),
    }
}

/// Does the run in a child, and undoes what that leaves if it dies.
fn guarded(cli: &Cli) -> ExitCode {
    let global = &cli.global;
    let output = Output::new(global.json, global.quiet, global.verbose, cli.command.streams());
    let id = runs::new_id();
    let ended = match guard::watch(&id) {
        Ok(ended) => ended,
        Err(failure) => {
            output.failure(&failure);
            return failure.exit.into();
        }
    };
    let undo = || match planted(Bug::LeaveKilledRun) {
        true => Ok(Vec::new()),
        false => runs::recover(&output, Some(&id)),
    };
    match ended.code {
        Some(code) if code == Exit::Interrupted.code() => {
            // The second interruption ends the child at once, whatever it has stopped.
            match undo() {
                Ok(left) if left.is_empty() => {}
                Ok(_) => cli.command.died(global, output, &id, "the run was interrupted"),
                Err(failure) => output.failure(&failure),
            }
            Exit::Interrupted.into()
        }
        Some(code) if code != guard::PANICKED => ExitCode::from(code),
        _ => {
            let by = ended
                .signal
                .map_or_else(|| "by a bug of its own".into(), |number| format!("by signal {number}"));
            output.warning(&format!("the process that did the run was ended {by}"));
            let undone = undo();
            cli.command.died(global, output, &id, &format!("the process that did the run was ended {by}"));
            let failure =
                undone.err().unwrap_or_else(|| Failure::new(Kind::Internal, "the run was not finished"));
            output.failure(&failure);
            Exit::Failed.into()
        }
    }
}

fn run(cli: Cli) -> Exit {
    let global = &cli.global;
    let output = Output::new(global.json, global.quiet, global.verbose, cli.command.streams());
    let result = Context::new(cli.global.clone(), output).and_then(|ctx| {
        let result = cli.command.run(&ctx);
        ctx.progress.finish();
        result
    });
    match result {
        _ if planted(Bug::AlwaysZero) => Exit::Complete,
        Ok(exit) => exit,
        // `dedup ls latest | head` has done what was wanted.
        Err(failure) if failure.is_broken_pipe && cli.command.only_shows() => Exit::Complete,
        Err(failure) => {
            output.failure(&failure);
            failure.exit
        }
    }
}

/// Makes the bug active that `DEDUP_PLANTED` names: only in the program of `make planted`.
#[cfg(feature = "planted")]
fn plant_what_was_asked_for() {
    use dedup_engine::planted::{Bug, plant};
    let Ok(name) = std::env::var("DEDUP_PLANTED") else { return };
    match Bug::from_name(&name) {
        Some(bug) => plant(bug),
        None => {
            eprintln!("DEDUP_PLANTED={name} is no bug");
            std::process::exit(2);
        }
    }
}

/// Shows help and version, or says what is wrong with the arguments.
fn refuse(error: &clap::Error) -> Exit {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && json {
        let message = error.to_string();
        let failure = Failure::refused(message.trim_start_matches("error: ").trim_end());
        Output::new(true, false, 0, false).failure(&failure);
        return failure.exit;
    }
    // If nobody reads it, nobody needed it.
    let _ = error.print();
    if error.use_stderr() { Exit::Refused } else { Exit::Complete }
}
