//! `dedup restore --target` of whole modules: their data below a directory, and nothing else of the machine is touched.
//!
//! ```text
//! DIR/path/of/a/file            the module of plain paths
//! DIR/MODULE/path/of/a/file     any other module
//! DIR/MODULE/SOURCE.sql         what a source gave, as one file: by its kind .sql, .db, .rdb, … or .dump
//! DIR/MODULE/SOURCE/…           what a source gave as a tree
//! ```

use super::restore::{RestoreArgs, cannot_use, exit, sink_options};
use super::restore_tell::{show_plan, summary};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::problems;
use crate::select::{self, Chosen};
use dedup_engine::listing::{Node, StoredPath};
use dedup_engine::map::Root;
use dedup_engine::repo::{RepoError, Repository};
use dedup_engine::restore::{self, RestoreError, RestorePlan, RestoreReport, RestoreRequest};
use dedup_engine::snapshot::{Account, Dump};
use dedup_modules::files::{FilesSink, OwnerChoice, SinkOptions};
use std::path::{Path, PathBuf};

/// The module of plain paths, whose files lie in the target itself.
const FILES: &str = "files";

/// One listing, and where it goes.
struct Piece<'a> {
    /// What it is, for messages.
    what: String,
    root: &'a Root,
    target: PathBuf,
    options: SinkOptions,
}

/// Writes modules below a directory.
pub fn run(
    ctx: &Context,
    args: &RestoreArgs,
    repo: &Repository,
    chosen: &Chosen,
    target: &Path,
) -> Result<Exit, Failure> {
    let (mut pieces, mut whole) = (Vec::new(), true);
    for account in accounts(args, chosen)? {
        whole &= gather(ctx, args, account, target, &mut pieces);
    }
    let gaps = if whole { Exit::Complete } else { Exit::Partial };
    let everything = |_: &StoredPath, _: &Node| true;
    let request = RestoreRequest { base: StoredPath::root(), select: &everything, threads: ctx.threads() };
    if args.dry_run {
        let mut all = RestorePlan::default();
        for piece in &pieces {
            let plan = restore::plan(repo, piece.root, &request, ctx.events())?;
            all.entries += plan.entries;
            all.files += plan.files;
            all.directories += plan.directories;
            all.bytes = all.bytes.saturating_add(plan.bytes);
        }
        ctx.progress.finish();
        show_plan(ctx, args, chosen, &request.base, &all)?;
        if ctx.output.json {
            let (entries, files, bytes) = (all.entries, all.files, all.bytes);
            let report = RestoreReport { entries, files, bytes, ..RestoreReport::default() };
            summary(ctx, args, chosen, &report, gaps)?;
        }
        return Ok(gaps);
    }
    let mut all = RestoreReport::default();
    let mut end = gaps;
    for piece in &pieces {
        match put(ctx, repo, piece, &request) {
            Ok(report) => add(&mut all, report),
            // Whoever opens the repository without secrets gets everything else.
            Err(Put::Closed) => {
                ctx.output.warning(&format!("{} is left out: this key opens no secrets", piece.what));
                end = end.merge(Exit::Partial);
            }
            Err(Put::Failed(failure)) => return Err(*failure),
        }
    }
    ctx.progress.finish();
    problems::list(ctx.output, "not restored, or not as they were", &all.problems, all.problems_total);
    let end = end.merge(exit(&all));
    summary(ctx, args, chosen, &all, end)?;
    Ok(end)
}

/// Returns the accounts that are meant.
fn accounts<'a>(args: &RestoreArgs, chosen: &'a Chosen) -> Result<Vec<&'a Account>, Failure> {
    let named = &args.which.module;
    let ignored = |account: &&Account| !args.modules.ignore.iter().any(|id| id.as_str() == account.module);
    if named.is_empty() {
        return Ok(chosen.snapshot.accounts.iter().filter(ignored).collect());
    }
    named.iter().map(|name| select::account(&chosen.snapshot, Some(name))).collect()
}

/// Finds what a module has; `false` if something of it cannot be written.
fn gather<'a>(
    ctx: &Context,
    args: &RestoreArgs,
    account: &'a Account,
    target: &Path,
    pieces: &mut Vec<Piece<'a>>,
) -> bool {
    let own = if account.module == FILES { target.to_owned() } else { target.join(&account.module) };
    let mut whole = true;
    for listing in &account.listings {
        pieces.push(Piece {
            what: format!("section {} of {}", listing.section.word(), account.module),
            root: &listing.root,
            target: own.clone(),
            options: sink_options(args, StoredPath::root()),
        });
    }
    for dump in &account.dumps {
        let what = format!("source {} of {}", dump.name, account.module);
        if !dump.is_listing() {
            ctx.output.warning(&format!("{what} is left out: its records are no file"));
            whole = false;
            continue;
        }
        // Nobody but who restores it owns what came out of a program.
        let owner = OwnerChoice::Keep;
        let (target, moved) = match file_of(dump) {
            Some(moved) => (own.clone(), vec![moved]),
            None => (own.join(&dump.name), Vec::new()),
        };
        let options = SinkOptions { owner, moved, ..sink_options(args, StoredPath::root()) };
        pieces.push(Piece { what, root: &dump.root, target, options });
    }
    if account.listings.is_empty() && account.dumps.is_empty() {
        let reason = if account.reason.is_empty() { "nothing" } else { &account.reason };
        ctx.output.warning(&format!("the snapshot has no data of {}: {reason}", account.module));
        whole = false;
    }
    whole
}

/// Returns where the one file of a dump goes: it gets the ending that its kind of file has; `None` for a tree.
fn file_of(dump: &Dump) -> Option<(StoredPath, StoredPath)> {
    let ending = match &dump.kind[..] {
        "mariadb" | "mysql" => "sql",
        "postgresql" => "pgdump",
        "sqlite" => "db",
        "redis" => "rdb",
        _ => "dump",
    };
    let name = |name: &str| StoredPath::root().join(name.as_bytes());
    let from = name(&dump.name).filter(|_| dump.root.entries == 1)?;
    Some((from, name(&format!("{}.{ending}", dump.name))?))
}

/// Why a piece was not written.
enum Put {
    Closed,
    Failed(Box<Failure>),
}

fn put(
    ctx: &Context,
    repo: &Repository,
    piece: &Piece<'_>,
    request: &RestoreRequest<'_>,
) -> Result<RestoreReport, Put> {
    let failed = |failure: Failure| Put::Failed(Box::new(failure));
    let refused = |error: &_| failed(cannot_use(&piece.target, error));
    let sink = FilesSink::new(&piece.target, piece.options.clone()).map_err(|error| refused(&error))?;
    let restored = {
        let _operation = ctx.operation();
        restore::run(repo, piece.root, &sink, request, ctx.events())
    };
    let report = match restored {
        Err(RestoreError::Repo(RepoError::NoSecrets)) => return Err(Put::Closed),
        restored => restored.map_err(|error| failed(error.into()))?,
    };
    sink.sync().map_err(|error| refused(&error))?;
    Ok(report)
}

fn add(all: &mut RestoreReport, more: RestoreReport) {
    all.entries += more.entries;
    all.files += more.files;
    all.bytes = all.bytes.saturating_add(more.bytes);
    all.bytes_written = all.bytes_written.saturating_add(more.bytes_written);
    all.unchanged += more.unchanged;
    all.problems_total += more.problems_total;
    all.damaged += more.damaged;
    all.problems.extend(more.problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_all_is_the_sum() {
        let one = RestoreReport { entries: 2, files: 1, bytes: 5, damaged: 1, ..RestoreReport::default() };
        let mut all = one.clone();
        add(&mut all, one);
        assert_eq!((all.entries, all.files, all.bytes, all.damaged), (4, 2, 10, 2));
        assert_eq!(exit(&RestoreReport { problems_total: 1, ..all }), Exit::Integrity);
    }
}
