//! The command line as it was typed: the program and the arguments that mean the same everywhere.

use crate::commands::Command;
use crate::exit::Exit;
use crate::sizes;
use clap::{ArgAction, CommandFactory, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// Backs up files and applications: deduplicated, compressed, encrypted
#[derive(Parser, Debug)]
#[command(name = "dedup", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  dedup init /mnt/disk/backups
  dedup backup ~/Documents
  dedup snapshots
  dedup restore latest --target /tmp/restored

`dedup help COMMAND` explains a command, with examples.")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Arguments of every command.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The repository: a directory
    ///
    /// Otherwise DEDUP_REPO, then `repository` in the configuration file, then the repository that
    /// `dedup init` made the default.
    #[arg(short, long, global = true, value_name = "PATH")]
    pub repo: Option<OsString>,

    /// Read this configuration file
    ///
    /// Otherwise the first of ./dedup.toml, the user's dedup/dedup.toml and /etc/dedup/dedup.toml.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Ask for the passphrase, or read one line of standard input if that is no terminal
    #[arg(long, global = true, group = "unlock")]
    pub passphrase: bool,

    /// Read the passphrase from a file
    #[arg(long, global = true, group = "unlock", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// Run a command by the shell; the passphrase is what it prints
    #[arg(long, global = true, group = "unlock", value_name = "COMMAND")]
    pub passphrase_command: Option<OsString>,

    /// Open the repository with a key file instead of a passphrase
    #[arg(long, global = true, group = "unlock", value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Keep the local indexes of repositories below this directory
    ///
    /// Otherwise DEDUP_INDEX_DIR, then `index-dir` in the configuration file, then dedup in the user's
    /// cache directory. An index can be deleted at any time; it is built again from the repository.
    #[arg(long, global = true, value_name = "DIR")]
    pub index_dir: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Print only what was asked for and what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more: causes of errors, and what is chosen by default
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Draw no progress
    #[arg(long, global = true)]
    pub no_progress: bool,

    /// Use at most about this much memory: 64M or more [default: 256M]
    ///
    /// Caches, buffers, the length of packs and the number of threads follow from it. A quarter is for the
    /// local index: a large repository is faster with more. The highest levels of compression need 40 MiB for
    /// each thread.
    #[arg(long, global = true, value_name = "SIZE", value_parser = sizes::size)]
    pub max_memory: Option<u64>,

    /// Use this many threads [default: one per processor]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Answer every question with yes
    #[arg(long, global = true)]
    pub yes: bool,
}

/// Returns the whole command line as clap knows it, for help, completions and the manual.
pub fn command() -> clap::Command {
    Cli::command().after_long_help(format!(
        "Examples:
  dedup init /mnt/disk/backups
  dedup backup ~/Documents
  dedup snapshots
  dedup restore latest --target /tmp/restored

`dedup help COMMAND` explains a command, with examples.

Exit status:
{}",
        Exit::table()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::from_arg_matches(&command().try_get_matches_from(line.split_whitespace())?)
    }

    #[test]
    fn clap_finds_no_fault_and_every_command_has_examples() {
        command().debug_assert();
        for sub in command().get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n  dedup "), "{} has no examples", sub.get_name());
        }
    }

    #[test]
    fn the_words_that_are_fixed_are_understood() {
        assert!(parse("dedup init repo").is_ok());
        assert!(parse("dedup restore 1a2b3c4d").is_ok());
        let cli = parse("dedup backup --passphrase /home/ann").unwrap();
        assert!(cli.global.passphrase, "a flag without a value");
        let Command::Backup(args) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(args.paths, [PathBuf::from("/home/ann")]);
    }

    #[test]
    fn one_way_to_unlock_at_a_time() {
        assert!(parse("dedup snapshots --passphrase --key-file k").is_err());
        assert!(parse("dedup snapshots --passphrase-file a --passphrase-command b").is_err());
        assert!(parse("dedup snapshots --passphrase=secret").is_err(), "never a value in the arguments");
    }

    #[test]
    fn global_arguments_stand_anywhere() {
        let cli = parse("dedup -r one --max-memory 64M ls latest --json -vv").unwrap();
        assert_eq!(cli.global.repo.as_deref(), Some("one".as_ref()));
        assert_eq!((cli.global.json, cli.global.verbose, cli.global.max_memory), (true, 2, Some(64 << 20)));
        assert!(parse("dedup ls latest --max-memory 64").is_err());
    }
}
