//! `dedup completions`: completion for shells.

use crate::args;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap_complete::Shell;
use std::io::Write;

/// Print the completion script of a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup completions bash > ~/.local/share/bash-completion/completions/dedup
  dedup completions fish > ~/.config/fish/completions/dedup.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub fn run(ctx: &Context, args: &CompletionsArgs) -> Result<Exit, Failure> {
    // Made in memory first: the generator does not tell when writing fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "dedup", &mut script);
    let mut out = ctx.output.listing();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Complete)
}
