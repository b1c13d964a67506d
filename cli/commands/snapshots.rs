//! `dedup snapshots`: lists them.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::{Table, put_path};
use crate::record;
use crate::select::Filter;
use dedup_engine::id::ObjectId;
use dedup_engine::snapshot::{Account, Dump, Origin, Snapshot, State};
use jiff::Zoned;
use serde_json::{Value, json};

/// List snapshots, oldest first
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup snapshots
  dedup snapshots --host web1 --tag weekly --within 6mo
  dedup snapshots --json | jq '.snapshots[-1].id'")]
pub struct SnapshotsArgs {
    #[command(flatten)]
    filter: Filter,
    /// List those that are forgotten instead, as long as `dedup forget --undo` can take them back
    #[arg(long)]
    forgotten: bool,
}

pub fn run(ctx: &Context, args: &SnapshotsArgs) -> Result<Exit, Failure> {
    let repo = ctx.open()?;
    let (mut snapshots, exit) = super::all_snapshots(ctx, &repo)?;
    // What is forgotten and pinned is for show here: damage of it is told by `check`, and hides no snapshot.
    let retention = repo.retention().unwrap_or_default();
    if args.forgotten {
        snapshots = repo.catalog_with_forgotten()?.0;
        snapshots.retain(|(id, _)| retention.forgotten.contains(id));
    }
    let snapshots = args.filter.apply(snapshots, &Zoned::now())?;
    let records = repo.newest_records(&snapshots)?;
    if ctx.output.json {
        let describe = |(id, snapshot): &(ObjectId, Snapshot)| {
            let mut described = object(id, snapshot);
            described["pinned"] = retention.pinned.contains(id).into();
            described["run_record"] = records.get(id).map_or(Value::Null, record::json);
            described
        };
        let mut document = json!({ "type": "snapshots" });
        // Put there, not named within the macro, which would copy it.
        document["snapshots"] = snapshots.iter().map(describe).collect();
        ctx.output.object(&document)?;
        return Ok(exit);
    }
    let mut table = Table::new(&["ID", "Time", "Host", "Tags", "Size", "State", "Contents"], &[4]);
    for (id, snapshot) in &snapshots {
        let pinned = if retention.pinned.contains(id) { ", pinned" } else { "" };
        table.row(vec![
            id.short(),
            human::local_time(snapshot.time),
            shown(ctx, snapshot.host.as_bytes()),
            shown(ctx, snapshot.tags.join(",").as_bytes()),
            human::bytes(snapshot.totals.bytes),
            match records.get(id).and_then(record::doubt) {
                Some(doubt) => format!("{}, {doubt}{pinned}", state_word(snapshot.state())),
                None => format!("{}{pinned}", state_word(snapshot.state())),
            },
            snapshot.accounts.iter().map(|account| contents(ctx, account)).collect::<Vec<_>>().join(" "),
        ]);
    }
    if !snapshots.is_empty() {
        ctx.output.line(table.lines().join("\n"))?;
    }
    for (id, _) in &snapshots {
        if let Some(text) = records.get(id).and_then(record::told) {
            ctx.output.note(&format!("{}: {text}", id.short()));
        }
    }
    ctx.output.summary_line(human::counted(snapshots.len() as u64, "snapshot", "snapshots"))?;
    Ok(exit)
}

/// A table is for people, so its cells are always escaped.
fn shown(_: &Context, bytes: &[u8]) -> String {
    crate::escape::name(bytes)
}

/// Says what an account is of: the paths of plain files, else the name of the module.
pub(crate) fn contents(ctx: &Context, account: &Account) -> String {
    if account.module != "files" || account.sources.is_empty() {
        return shown(ctx, account.module.as_bytes());
    }
    account.sources.iter().map(|source| shown(ctx, source)).collect::<Vec<_>>().join(" ")
}

/// Describes a snapshot in JSON.
pub fn object(id: &ObjectId, snapshot: &Snapshot) -> Value {
    let accounts: Vec<Value> = snapshot.accounts.iter().map(account_object).collect();
    let totals = &snapshot.totals;
    json!({
        "id": id.to_hex(),
        "time": human::rfc3339(snapshot.time),
        "utc_offset_minutes": snapshot.utc_offset_minutes,
        "host": snapshot.host,
        "user": snapshot.user,
        "program": snapshot.program,
        "tags": snapshot.tags,
        "comment": snapshot.comment,
        "parents": snapshot.parents.iter().map(ObjectId::to_hex).collect::<Vec<_>>(),
        "state": state_word(snapshot.state()),
        "entries": totals.entries,
        "files": totals.files,
        "directories": totals.directories,
        "source_bytes": totals.bytes,
        "new_bytes": totals.bytes_new,
        "stored_bytes": totals.bytes_stored,
        "problems": totals.problems,
        "modules": accounts,
        "copy_of": snapshot.provenance.copy_of.as_ref().map(origin),
        "rewritten_from": snapshot.provenance.rewritten_from.as_ref().map(origin),
    })
}

fn origin(origin: &Origin) -> Value {
    json!({ "repository_id": origin.repo.to_hex(), "snapshot_id": origin.snapshot.to_hex() })
}

/// Describes an account in JSON.
pub(super) fn account_object(account: &Account) -> Value {
    let sources = account.sources.iter().map(|source| {
        let mut object = json!({});
        put_path(&mut object, "path", source);
        object
    });
    json!({
        "module": account.module,
        "state": state_word(account.state),
        "reason": account.reason,
        "sources": sources.collect::<Vec<_>>(),
        "entries": account.totals.entries,
        "source_bytes": account.totals.bytes,
        "stored_bytes": account.totals.bytes_stored,
        "problems": account.totals.problems,
        "sections": account.listings.iter().map(|listing| listing.section.word()).collect::<Vec<_>>(),
        "dumps": account.dumps.iter().map(dump_object).collect::<Vec<_>>(),
    })
}

/// Describes a dump in JSON.
pub(super) fn dump_object(dump: &Dump) -> Value {
    json!({
        "name": dump.name,
        "section": dump.section.word(),
        "kind": dump.kind,
        "form": if dump.is_listing() { "listing" } else { "records" },
        "size_bytes": dump.bytes,
    })
}

/// Names a state for people and programs.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::Warned => "warned",
        State::Partial => "partial",
        State::Failed => "failed",
        State::Skipped => "skipped",
    }
}
