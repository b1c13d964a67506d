//! `dedup man`: manual pages.

use crate::args;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use std::io::Write;
use std::path::PathBuf;

/// Print a manual page, or write all of them
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup man | man -l -
  dedup man backup | man -l -
  dedup man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The command [default: dedup itself]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write the pages of dedup and of all its commands into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub fn run(ctx: &Context, args: &ManArgs) -> Result<Exit, Failure> {
    let mut command = args::command();
    command.build();
    if let Some(dir) = &args.dir {
        clap_mangen::generate_to(command, dir)
            .map_err(|error| Failure::io(format!("cannot write to {}", dir.display()), &error))?;
        return Ok(Exit::Complete);
    }
    if let Some(name) = &args.command {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| Failure::refused(format!("there is no command {name:?}")))?;
    }
    let mut out = ctx.output.listing();
    clap_mangen::Man::new(command).render(&mut out)?;
    out.flush()?;
    Ok(Exit::Complete)
}
