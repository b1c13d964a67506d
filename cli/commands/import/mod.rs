//! `dedup import`: archives of others, and our own, as snapshots.

mod dedup;
mod foreign;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sizes;
use dedup_engine::compress::Level;
use dedup_modules::foreign::Product;
use foreign::ForeignArgs;
use std::path::PathBuf;

/// Make a snapshot of an archive
///
/// It is an ordinary one: it is listed, checked and restored like those that a backup made. Nothing of the archive is run.
///
/// Of archives of other products `dedup restore SNAPSHOT -m MODULE` puts a module back by the manifest that is installed for it. What
/// cannot be taken is told, and the exit status is 3. Such an archive is unpacked into a file without a name beside the local
/// index, which needs as much room.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup import wiki.tar
  dedup import --from dedup wiki.tar --tag moved
  dedup import --from freepbx 20261121-020000-1795226400-16.0.40-1234.tar.gz
  dedup import --from freepbx -m queues --dry-run backup.tgz
  dedup import --from iotstack --stack-dir ~/IOTstack backups/backup/backup_2026-11-21_0200.tar.gz
  dedup import --from freedombox freedombox.tar")]
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
    #[command(flatten)]
    foreign: ForeignArgs,
}

/// What an archive can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// `dedup export`
    Dedup,
    /// FreePBX 15 and later, and older ones
    Freepbx,
    /// The backup scripts of an IOTstack
    Iotstack,
    /// FreedomBox
    Freedombox,
}

pub fn run(ctx: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    match args.from {
        From::Dedup if args.foreign.is_used() => Err(Failure::refused(
            "--module, --dry-run and --stack-dir are for archives of other products: name it by --from",
        )),
        From::Dedup => dedup::run(ctx, args),
        From::Freepbx => foreign::run(ctx, Product::Freepbx, args),
        From::Iotstack => foreign::run(ctx, Product::Iotstack, args),
        From::Freedombox => foreign::run(ctx, Product::Freedombox, args),
    }
}
