//! `dedup repair`: what is sound of something damaged is kept, what is lost is named.

mod index;
mod other;
mod packs;
mod snapshots;

use crate::context::{Context, this_host};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{complain, put_path};
use clap::Subcommand;
use dedup_engine::compress::Level;
use dedup_engine::listing::StoredPath;
use dedup_engine::repair::{How, Loss, Lost};
use serde_json::{Value, json};
use std::time::Duration;

/// Keep what is sound of damaged packs, snapshots and segments, and name what is lost
///
/// `dedup check` says whether anything is damaged, and which of these helps. Nothing is written where nothing is damaged. Backups,
/// restores and prunes may run meanwhile; a repair that was interrupted is simply run again.
///
/// The order is: index, packs, snapshots; then a backup, which stores anew what is still there.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup repair index
  dedup repair packs --read-data --dry-run
  dedup repair packs --read-data
  dedup repair snapshots --forget")]
pub struct RepairArgs {
    #[command(subcommand)]
    command: RepairCommand,
}

#[derive(Subcommand, Debug)]
enum RepairCommand {
    Packs(packs::PacksArgs),
    Snapshots(snapshots::SnapshotsArgs),
    Index(index::IndexArgs),
}

pub fn run(ctx: &Context, args: &RepairArgs) -> Result<Exit, Failure> {
    match &args.command {
        RepairCommand::Packs(args) => packs::run(ctx, args),
        RepairCommand::Snapshots(args) => snapshots::run(ctx, args),
        RepairCommand::Index(args) => index::run(ctx, args),
    }
}

/// Arguments of every repair.
#[derive(clap::Args, Debug)]
struct Common {
    /// Only say what is damaged, what would be saved and what is lost
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// End runs that have not ended, also young ones: for when they are known to be dead (one that lives loses nothing,
    /// but may have to store things again)
    #[arg(long)]
    fence: bool,
}

impl Common {
    fn how<'a>(&self, ctx: &Context, host: &'a str, elapsed: &'a (dyn Fn() -> Duration + Sync)) -> How<'a> {
        How {
            host,
            now: ctx.now(),
            level: Level::Auto,
            threads: ctx.threads(),
            elapsed,
            dry_run: self.dry_run,
            fence_all: self.fence,
        }
    }
}

/// Returns the name of this machine, which sessions have.
fn host() -> String {
    this_host()
}

/// Tells of something that is lost.
fn tell(ctx: &Context, loss: &Loss) {
    if ctx.output.json {
        return ctx.output.event(&document(loss));
    }
    complain(&format!("lost: {}", sentence(loss)));
    if ctx.output.verbose > 0 {
        complain(&format!("  {}", escape::text(&loss.why)));
    }
}

fn shown(path: &StoredPath) -> String {
    format!("/{}", escape::name(&path.to_slashes()))
}

/// Says for people what is lost: `snapshot 1a2b3c4d: /home/ann/x`.
fn sentence(loss: &Loss) -> String {
    let of = match &loss.module[..] {
        "" | "files" => format!("snapshot {}: ", loss.snapshot.short()),
        module => format!("snapshot {}, {}: ", loss.snapshot.short(), escape::text(module)),
    };
    let what = match &loss.lost {
        Lost::Entry(_, path) => shown(path),
        Lost::Attributes(_, path) => format!("extended attributes of {}", shown(path)),
        Lost::Directory(_, path) => format!("owner, mode and times of {}", shown(path)),
        Lost::Range { after, through, entries, .. } => {
            let after = after.as_ref().map_or("the beginning".into(), shown);
            let through = through.as_ref().map_or("the end".into(), shown);
            format!("{} from {after} to {through}", crate::human::counted(*entries, "entry", "entries"))
        }
        Lost::Problems(_) => "what was said of entries that are not stored".into(),
        Lost::Dump(name) => format!("source:{}, as a whole", escape::text(name)),
        Lost::Manifest => "the manifest".into(),
        Lost::Snapshot => "everything".into(),
    };
    of + &what
}

fn document(loss: &Loss) -> Value {
    let mut object = json!({
        "type": "loss",
        "snapshot_id": loss.snapshot.to_hex(),
        "module": loss.module,
        "message": loss.why,
    });
    let mut put = |what: &str, section: Option<dedup_engine::snapshot::Section>| {
        object["what"] = what.into();
        object["section"] = section.map(|section| section.word()).into();
    };
    let slashes = |path: &StoredPath| [b"/", &path.to_slashes()[..]].concat();
    match &loss.lost {
        Lost::Entry(section, path) | Lost::Attributes(section, path) | Lost::Directory(section, path) => {
            let what = match &loss.lost {
                Lost::Entry(..) => "entry",
                Lost::Attributes(..) => "attributes",
                _ => "directory",
            };
            put(what, Some(*section));
            put_path(&mut object, "path", &slashes(path));
        }
        Lost::Range { section, after, through, entries } => {
            put("range", Some(*section));
            object["entries"] = (*entries).into();
            for (field, path) in [("after_path", after), ("through_path", through)] {
                match path {
                    Some(path) => put_path(&mut object, field, &slashes(path)),
                    None => object[field] = Value::Null,
                }
            }
        }
        Lost::Problems(section) => put("problems", Some(*section)),
        Lost::Dump(name) => {
            put("dump", None);
            object["dump"] = name.as_str().into();
        }
        Lost::Manifest => put("manifest", None),
        Lost::Snapshot => put("snapshot", None),
    }
    object
}
