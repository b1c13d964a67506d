//! A second repository on the command line: where a copy goes, and what opens it.

use crate::context::Context;
use crate::failure::Failure;
use crate::find_repo::{self, Place};
use crate::passphrase::Way;
use dedup_engine::error::Kind;
use dedup_engine::repo::{Budget, Repository};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments that name it.
#[derive(clap::Args, Debug, Clone)]
pub struct TargetArgs {
    /// The repository that the copies go to: a directory
    #[arg(long, value_name = "PATH")]
    pub to: OsString,
    /// Ask for its passphrase, or read one line of standard input if that is no terminal
    #[arg(long, group = "unlock_to")]
    to_passphrase: bool,
    /// Read its passphrase from a file
    ///
    /// Without any of these: DEDUP_TO_PASSPHRASE or DEDUP_TO_KEY_FILE, then a question on the terminal.
    #[arg(long, group = "unlock_to", value_name = "FILE")]
    to_passphrase_file: Option<PathBuf>,
    /// Run a command by the shell; its passphrase is what it prints
    #[arg(long, group = "unlock_to", value_name = "COMMAND")]
    to_passphrase_command: Option<OsString>,
    /// Open it with a key file
    #[arg(long, group = "unlock_to", value_name = "FILE")]
    to_key_file: Option<PathBuf>,
}

impl TargetArgs {
    /// Returns the place.
    pub fn place(&self) -> Result<Place, Failure> {
        find_repo::place(&self.to, "--to".into())
    }

    /// Returns what opens it.
    pub fn way(&self) -> Result<Way, Failure> {
        let file = self.to_passphrase_file.clone().map(Way::File);
        let command = self.to_passphrase_command.clone().map(Way::Command);
        let given = file.or(command).or(self.to_key_file.clone().map(Way::KeyFile));
        if let Some(way) = given.or(self.to_passphrase.then_some(Way::Ask)) {
            return Ok(way);
        }
        let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        match (set("DEDUP_TO_PASSPHRASE"), set("DEDUP_TO_KEY_FILE")) {
            (Some(_), Some(_)) => Err(Failure::refused("DEDUP_TO_PASSPHRASE and DEDUP_TO_KEY_FILE are both set")
                .hint("unset one of them, or name the way by an argument such as --to-key-file")),
            (Some(_), None) => Ok(Way::Variable("DEDUP_TO_PASSPHRASE")),
            (None, Some(file)) => Ok(Way::KeyFile(file.into())),
            (None, None) if std::io::stdin().is_terminal() => Ok(Way::Ask),
            (None, None) => Err(Failure::new(Kind::WrongKey, "nothing is given that opens the repository copied to")
                .hint("use --to-passphrase-file FILE, --to-passphrase-command COMMAND, --to-key-file FILE, DEDUP_TO_PASSPHRASE, DEDUP_TO_KEY_FILE, or --to-passphrase with a line on standard input")),
        }
    }
}

/// Returns how much of the memory each of two repositories that are open at a time may use.
pub fn half_memory(ctx: &Context) -> Result<u64, Failure> {
    let half = ctx.max_memory() / 2;
    if half < Budget::LEAST_BYTES {
        let least = (2 * Budget::LEAST_BYTES) >> 20;
        return Err(Failure::refused(format!(
            "too little memory is allowed for two repositories: {least}M are needed at least"
        ))
        .hint("raise --max-memory, or `max-memory` in the configuration file"));
    }
    Ok(half)
}

/// Opens the repository that copies go to, and brings its local index up to date.
pub fn open(ctx: &Context, place: &Place, way: &Way, max_memory_bytes: u64) -> Result<Repository, Failure> {
    ctx.indexed(ctx.open_at(place, way, max_memory_bytes)?)
}
