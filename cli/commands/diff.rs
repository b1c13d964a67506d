//! `dedup diff`: what differs between two snapshots.

use super::diff_records::{self, of};
use super::ls::{Entries, object, shown_path};
use super::{choose, listing};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::complain;
use crate::section::SectionChoice;
use crate::select::{Filter, Selection, account};
use dedup_engine::browse::{self, Change};
use dedup_engine::listing::{Node, StoredPath};
use serde_json::{Value, json};
use std::ffi::OsString;

/// Show what differs between two snapshots
///
/// Lines begin with + for what only the second has, - for what only the first has, and M for what differs in
/// content or metadata. Of databases that are stored as records tables and rows are told in the same way.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup diff 1a2b3c4d latest
  dedup diff 1a2b3c4d 5e6f7a8b --json
  dedup diff 1a2b3c4d latest -m wiki")]
pub struct DiffArgs {
    /// The first snapshot
    #[arg(value_name = "SNAPSHOT")]
    old: OsString,
    /// The second snapshot
    #[arg(value_name = "SNAPSHOT")]
    new: OsString,
    #[command(flatten)]
    section: SectionChoice,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Default)]
struct Sums {
    added: u64,
    added_bytes: u64,
    removed: u64,
    removed_bytes: u64,
    modified: u64,
}

pub fn run(ctx: &Context, args: &DiffArgs) -> Result<Exit, Failure> {
    let (old, new) = (Selection::parse(&args.old)?, Selection::parse(&args.new)?);
    if old.path.is_some() || new.path.is_some() {
        return Err(Failure::refused("diff compares whole snapshots").hint("leave the paths off"));
    }
    let repo = ctx.open_indexed()?;
    let old = choose(ctx, &repo, &old.wanted, &args.filter)?;
    let new = choose(ctx, &repo, &new.wanted, &args.filter)?;
    let accounts = [&old, &new].map(|chosen| account(&chosen.snapshot, args.filter.module.as_deref()));
    let [old_account, new_account] = accounts;
    let (old_account, new_account) = (old_account?, new_account?);
    let roots = [&old, &new].map(|chosen| listing(ctx, &chosen.snapshot, &args.filter, args.section));
    let roots = match roots {
        [Ok(old), Ok(new)] => Some((old, new)),
        // A module may have nothing but tables.
        _ if [old_account, new_account].iter().any(|account| of(account, args.section).next().is_some()) => {
            None
        }
        [Err(failure), _] | [_, Err(failure)] => return Err(failure),
    };
    ctx.progress.finish();

    let head = json!({ "type": "diff", "old_id": old.id.to_hex(), "new_id": new.id.to_hex() });
    let mut list = Entries::new(ctx.output, head, "changes")?;
    let mut sums = Sums::default();
    if let Some((old_root, new_root)) = roots {
        browse::diff(&repo, old_root, new_root, &mut |path: StoredPath, change: Change| {
            let sign = sums.count(&change);
            list.entry(
                || change_object(&path, &change),
                |out| {
                    write!(out, "{sign} ")?;
                    out.write_all(&ctx.output.name(&shown_path(&path)))?;
                    out.write_all(b"\n")
                },
            )
        })?;
    }
    let rows = diff_records::run(ctx, &repo, (old_account, new_account), args.section, &mut list)?;
    list.end_with(&json!({
        "rows_added": rows.added,
        "rows_removed": rows.removed,
        "rows_modified": rows.changed,
        "added": sums.added,
        "added_bytes": sums.added_bytes,
        "removed": sums.removed,
        "removed_bytes": sums.removed_bytes,
        "modified": sums.modified,
    }))?;
    if !ctx.output.json && !ctx.output.quiet {
        complain(&format!(
            "{} added ({}), {} removed ({}), {} modified",
            human::count(sums.added),
            human::bytes(sums.added_bytes),
            human::count(sums.removed),
            human::bytes(sums.removed_bytes),
            human::count(sums.modified)
        ));
        if rows.added + rows.removed + rows.changed + rows.tables > 0 {
            complain(&format!(
                "rows: {} added, {} removed, {} modified",
                human::count(rows.added),
                human::count(rows.removed),
                human::count(rows.changed)
            ));
        }
    }
    Ok(Exit::Complete)
}

impl Sums {
    /// Counts a change and returns its sign.
    fn count(&mut self, change: &Change) -> char {
        match change {
            Change::Added(node) => {
                self.added += 1;
                self.added_bytes = self.added_bytes.saturating_add(node.size());
                '+'
            }
            Change::Removed(node) => {
                self.removed += 1;
                self.removed_bytes = self.removed_bytes.saturating_add(node.size());
                '-'
            }
            Change::Modified { .. } => {
                self.modified += 1;
                'M'
            }
        }
    }
}

fn change_object(path: &StoredPath, change: &Change) -> Value {
    let described = |word: &str, node: &Node| {
        let mut object = object(path, node);
        object["change"] = word.into();
        object
    };
    match change {
        Change::Added(node) => described("added", node),
        Change::Removed(node) => described("removed", node),
        Change::Modified { old, new } => {
            let mut object = described("modified", new);
            object["content_differs"] = (old.body != new.body).into();
            if old.size() != new.size() {
                object["old_size_bytes"] = old.size().into();
            }
            object
        }
    }
}
