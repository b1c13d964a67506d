//! `dedup import`: archives of others, and our own, as snapshots.

mod dedup;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sizes;
use dedup_engine::compress::Level;
use std::path::PathBuf;

/// Make a snapshot of an archive
///
/// It is an ordinary one: it is listed, checked and restored like those that a backup made.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup import wiki.tar
  dedup import --from dedup wiki.tar --tag moved")]
pub struct ImportArgs {
    /// What wrote the archive
    #[arg(long, value_name = "KIND", default_value = "dedup")]
    from: From,
    /// The archive
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Give the snapshot this tag too (repeatable)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// How hard to compress: off, fast, default, better, best, or 1 to 22
    #[arg(long, value_name = "LEVEL", default_value = "default", value_parser = sizes::level)]
    compression: Level,
}

/// What an archive can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// `dedup export`
    Dedup,
}

/// Reads an archive of some kind into a snapshot.
type Importer = fn(&Context, &ImportArgs) -> Result<Exit, Failure>;

/// Who reads what.
const IMPORTERS: [(From, Importer); 1] = [(From::Dedup, dedup::run)];

pub fn run(ctx: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    match IMPORTERS.iter().find(|(kind, _)| *kind == args.from) {
        Some((_, importer)) => importer(ctx, args),
        None => Err(Failure::refused("nobody reads such archives")),
    }
}
