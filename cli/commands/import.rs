//! `dedup import`: a snapshot of what something else stored.

use super::import_foreign::{self, ForeignArgs};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use dedup_modules::foreign::Product;
use std::path::PathBuf;

/// Make a snapshot of an archive that another product made
///
/// The snapshot is like any other: `dedup restore SNAPSHOT -m MODULE` puts a module back, by the manifest that is installed
/// for it. Nothing of the archive is run. What cannot be taken is told, and the exit status is 3.
///
/// The archive is unpacked into a file without a name beside the local index, which needs as much room.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup import --from freepbx 20261121-020000-1795226400-16.0.40-1234.tar.gz
  dedup import --from freepbx -m queues --dry-run backup.tgz
  dedup import --from iotstack --stack-dir ~/IOTstack backups/backup/backup_2026-11-21_0200.tar.gz
  dedup import --from freedombox freedombox.tar")]
pub struct ImportArgs {
    /// What made it
    #[arg(long, value_enum)]
    from: From,
    /// The archive
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    foreign: ForeignArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum From {
    Freepbx,
    Iotstack,
    Freedombox,
}

pub fn run(ctx: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    match args.from {
        From::Freepbx => import_foreign::run(ctx, Product::Freepbx, &args.file, &args.foreign),
        From::Iotstack => import_foreign::run(ctx, Product::Iotstack, &args.file, &args.foreign),
        From::Freedombox => import_foreign::run(ctx, Product::Freedombox, &args.file, &args.foreign),
    }
}
