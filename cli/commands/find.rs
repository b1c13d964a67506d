//! `dedup find`: looks for names in snapshots.

use super::ls::{Entries, object, shown_path};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::patterns::patterns;
use crate::section::SectionChoice;
use crate::select::{Filter, prefix};
use dedup_engine::browse;
use dedup_engine::listing::{Node, StoredPath};
use ignore::gitignore::Gitignore;
use jiff::Zoned;
use serde_json::json;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Look for files in all snapshots, oldest first
///
/// Patterns are those of .gitignore: `*.odt` matches a name at every depth, `/etc/*.conf` a whole path,
/// `cache/` directories only.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup find '*.odt' --within 6mo
  dedup find /etc/nginx/nginx.conf --host web1
  dedup find thesis.tex --snapshot 1a2b3c4d --json")]
pub struct FindArgs {
    /// What to look for; several: what matches any of them
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
    /// Look only in the snapshots whose id begins so (repeatable)
    #[arg(long, short, value_name = "ID")]
    snapshot: Vec<String>,
    #[command(flatten)]
    section: SectionChoice,
    #[command(flatten)]
    filter: Filter,
}

pub fn run(ctx: &Context, args: &FindArgs) -> Result<Exit, Failure> {
    let wanted = patterns("PATTERN", &args.patterns)?;
    let prefixes = args.snapshot.iter().map(|text| {
        prefix(text.as_bytes())
            .ok_or_else(|| Failure::refused(format!("{text:?} does not begin a snapshot's id")))
    });
    let prefixes = prefixes.collect::<Result<Vec<_>, _>>()?;
    let repo = ctx.open_indexed()?;
    let (snapshots, exit) = super::all_snapshots(ctx, &repo)?;
    let mut snapshots = args.filter.apply(snapshots, &Zoned::now())?;
    if !prefixes.is_empty() {
        snapshots.retain(|(id, _)| prefixes.iter().any(|prefix| id.to_hex().starts_with(prefix)));
    }
    ctx.progress.finish();

    let mut list =
        Entries::new(ctx.output, json!({ "type": "find", "snapshots": snapshots.len() }), "matches")?;
    let module = args.filter.module.as_deref();
    for (id, snapshot) in &snapshots {
        let accounts =
            snapshot.accounts.iter().filter(|account| module.is_none_or(|module| account.module == module));
        let mut heading = (!ctx.output.quiet).then(|| {
            let host = crate::escape::name(snapshot.host.as_bytes());
            format!("snapshot {} of {host}, {}\n", id.short(), human::local_time(snapshot.time))
        });
        let listings =
            accounts.flat_map(|account| account.listings.iter().map(move |listing| (account, listing)));
        for (account, listing) in listings.filter(|(_, listing)| args.section.fits(listing.section)) {
            let mut each = |path: StoredPath, node: Node| {
                if !matches(&wanted, &path, &node) {
                    return ControlFlow::Continue(());
                }
                let describe = || {
                    let mut object = object(&path, &node);
                    object["snapshot_id"] = id.to_hex().into();
                    object["module"] = account.module.as_str().into();
                    object["section"] = listing.section.word().into();
                    object
                };
                list.entry(describe, |out| {
                    out.write_all(heading.take().unwrap_or_default().as_bytes())?;
                    out.write_all(&ctx.output.name(&shown_path(&path)))?;
                    out.write_all(b"\n")
                })
            };
            browse::walk(&repo, &listing.root, &StoredPath::root(), &mut each)?;
            if list.has_failed() {
                return Ok(list.end().map(|()| Exit::Failed)?);
            }
        }
    }
    list.end()?;
    Ok(exit)
}

fn matches(wanted: &Gitignore, path: &StoredPath, node: &Node) -> bool {
    let slashes = path.to_slashes();
    !slashes.is_empty()
        && wanted.matched(Path::new(OsStr::from_bytes(&slashes)), node.is_directory()).is_ignore()
}
