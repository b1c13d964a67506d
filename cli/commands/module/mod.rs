//! `dedup module`: what applications say of themselves.

mod check;
mod conform;
mod discover;
mod import;
mod list;
mod new;
mod show;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::Subcommand;
use dedup_modules::manifest::job::Job;
use dedup_modules::manifest::platform::Platform;
use dedup_modules::manifest::{Manifest, json_schema};
use std::path::PathBuf;

/// List, show, find and check modules
///
/// A module is described by a manifest: a small TOML file that says what an application owns: files, databases,
/// services. The guide is modules/MANIFEST.md.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module list
  dedup module show wordpress
  dedup module discover
  dedup module check /etc/dedup/modules.d/*.toml")]
pub struct ModuleArgs {
    #[command(subcommand)]
    command: ModuleCommand,
}

#[derive(Subcommand, Debug)]
enum ModuleCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Discover(discover::DiscoverArgs),
    Import(import::ImportArgs),
    /// Say everything that is wrong with manifests and job files, with line and column
    ///
    /// A file with a table `job` is a job file, any other one a manifest. Nothing is run and nothing is changed. Of a directory
    /// the programs are tried that its manifests name as exporter and importer: whether they keep to the line protocol
    /// (modules/PROTOCOL.md), by the operations that change nothing. The exit status is 2 if anything is wrong.
    #[command(after_help = "Examples:
  dedup module check wordpress.toml
  dedup module check ./ringqueue
  dedup module check --json /etc/dedup/modules.d/*.toml")]
    Check {
        /// The files, or one directory
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<PathBuf>,
        /// Of a directory: also try import, reset and revert, which change this machine
        #[arg(long)]
        all_operations: bool,
    },
    New(new::NewArgs),
    /// Print the JSON schema of manifests, for editors that complete and check TOML
    #[command(after_help = "Examples:
  dedup module schema > manifest.schema.json
  dedup module schema --job > job.schema.json")]
    Schema {
        /// The schema of descriptions of platforms instead
        #[arg(long, conflicts_with = "job")]
        platform: bool,
        /// The schema of job files instead
        #[arg(long)]
        job: bool,
    },
}

pub fn run(ctx: &Context, args: &ModuleArgs) -> Result<Exit, Failure> {
    match &args.command {
        ModuleCommand::List(args) => list::run(ctx, args),
        ModuleCommand::Show(args) => show::run(ctx, args),
        ModuleCommand::Discover(args) => discover::run(ctx, args),
        ModuleCommand::Import(args) => import::run(ctx, args),
        ModuleCommand::Check { files, all_operations } => match &files[..] {
            [dir] if dir.is_dir() => conform::run(ctx, dir, *all_operations),
            _ if *all_operations => Err(Failure::refused("--all-operations is for one directory")),
            files => check::run(ctx, files),
        },
        ModuleCommand::New(args) => new::run(ctx, args),
        ModuleCommand::Schema { job, platform } => schema(ctx, *job, *platform),
    }
}

fn schema(ctx: &Context, job: bool, platform: bool) -> Result<Exit, Failure> {
    let schema = if platform {
        json_schema(&Platform::shape(), "dedup description of a platform")
    } else if job {
        json_schema(&Job::shape(), "dedup job file")
    } else {
        json_schema(&Manifest::shape(), "dedup manifest of a module")
    };
    // Pretty, since people look at it too.
    ctx.output.line(serde_json::to_string_pretty(&schema).map_err(std::io::Error::from)?)?;
    Ok(Exit::Complete)
}
