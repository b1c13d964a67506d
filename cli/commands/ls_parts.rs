//! `dedup ls --parts` and `dedup ls SNAPSHOT source:NAME`: what modules stored beside files.

use super::records;
use super::snapshots::{account_object, state_word};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::outcome_word;
use crate::section::SectionChoice;
use crate::select::{self, Chosen};
use crate::{escape, human};
use dedup_engine::map::Root;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Dump};
use dedup_modules::records::{RecordError, RecordSpec};
use serde_json::{Value, json};

/// Lists what each module stored, or the one that is named.
pub fn parts(
    ctx: &Context,
    chosen: &Chosen,
    module: Option<&str>,
    section: SectionChoice,
) -> Result<Exit, Failure> {
    let accounts = &chosen.snapshot.accounts;
    let accounts: Vec<&Account> = match module {
        Some(_) => vec![select::account(&chosen.snapshot, module)?],
        None => accounts.iter().collect(),
    };
    ctx.progress.finish();
    // Here a section narrows only if one is named: that there are secrets is no secret.
    let fits = |of| section.section.is_none_or(|wanted| wanted == of);
    if ctx.output.json {
        let modules: Vec<Value> = accounts.iter().map(|account| parts_object(account, &fits)).collect();
        let all = json!({ "type": "parts", "snapshot_id": chosen.id.to_hex(), "modules": modules });
        ctx.output.object(&all)?;
        return Ok(Exit::Complete);
    }
    for account in accounts {
        let reason = if account.reason.is_empty() { String::new() } else { format!(": {}", account.reason) };
        ctx.output.line(escape::text(&format!(
            "{}: {}{reason}",
            account.module,
            state_word(account.state)
        )))?;
        for listing in account.listings.iter().filter(|listing| fits(listing.section)) {
            let entries = human::counted(listing.root.entries, "entry", "entries");
            ctx.output.line(format!("    --section {}: {entries}", listing.section.word()))?;
        }
        for dump in account.dumps.iter().filter(|dump| fits(dump.section)) {
            ctx.output.line(escape::text(&format!("    source:{}: {}", dump.name, about(dump))))?;
        }
        for item in &account.items {
            let why = if item.message.is_empty() { String::new() } else { format!(", {}", item.message) };
            let line = format!("    item {}: {}{why}", item.name, outcome_word(item.outcome));
            ctx.output.line(escape::text(&line))?;
        }
    }
    Ok(Exit::Complete)
}

fn about(dump: &Dump) -> String {
    let form = if dump.is_listing() { "as its program wrote it" } else { "records" };
    format!("{} of {}, {form}, {}", dump.section.word(), dump.kind, human::bytes(dump.bytes))
}

fn parts_object(account: &Account, fits: &dyn Fn(dedup_engine::snapshot::Section) -> bool) -> Value {
    let mut object = account_object(account);
    let listings = account.listings.iter().filter(|listing| fits(listing.section));
    object["listings"] = listings
        .map(|listing| json!({ "section": listing.section.word(), "entries": listing.root.entries }))
        .collect();
    object["dumps"] =
        account.dumps.iter().filter(|dump| fits(dump.section)).map(super::snapshots::dump_object).collect();
    let items = account.items.iter().map(
        |item| json!({ "name": item.name, "outcome": outcome_word(item.outcome), "message": item.message }),
    );
    object["items"] = items.collect();
    object["version"] = account.version.as_str().into();
    object["requires"] = json!(account.dependencies);
    object
}

/// Lists the tables of a source; of one that is no records returns what is to be listed as files are.
pub fn source<'c>(
    ctx: &Context,
    repo: &Repository,
    chosen: &'c Chosen,
    module: Option<&str>,
    section: SectionChoice,
    spec: &RecordSpec,
) -> Result<Option<&'c Root>, Failure> {
    if !spec.keys.is_empty() {
        return Err(Failure::refused("rows are not listed").hint("`dedup dump` writes them, with --format"));
    }
    let account = select::account(&chosen.snapshot, module)?;
    let dump = section.dump(account, &spec.source)?;
    if dump.is_listing() {
        if spec.table.is_some() {
            let message = format!("{:?} is no set of records: it has no tables", spec.source);
            return Err(Failure::refused(message));
        }
        return Ok(Some(&dump.root));
    }
    let (stored, _) = records::open(repo, &chosen.snapshot, module, section, &spec.source)?;
    let mut tables = Vec::new();
    stored.reader().tables(|table, end| {
        tables.push((table, end));
        Ok::<_, RecordError>(())
    })?;
    if let Some(wanted) = &spec.table {
        tables.retain(|(table, _)| table.schema.name == *wanted);
        if tables.is_empty() {
            return Err(RecordError::Absent { what: format!("table {wanted} in the snapshot") }.into());
        }
    }
    ctx.progress.finish();
    if ctx.output.json {
        let tables = tables.iter().map(|(table, end)| {
            let columns: Vec<_> = table.schema.row_columns().map(|column| column.name.as_str()).collect();
            json!({
                "table": table.schema.name.to_string(),
                "rows": end.rows,
                "columns": columns,
                "condition": table.condition,
            })
        });
        ctx.output.object(&json!({
            "type": "tables",
            "snapshot_id": chosen.id.to_hex(),
            "module": account.module,
            "source": spec.source,
            "tables": tables.collect::<Vec<_>>(),
        }))?;
        return Ok(None);
    }
    for (table, end) in &tables {
        let rows = human::counted(end.rows, "row", "rows");
        ctx.output.line(escape::text(&format!("source:{}:{}: {rows}", spec.source, table.schema.name)))?;
    }
    Ok(None)
}

/// Tells that a module has more than files.
pub fn tell_sources(ctx: &Context, account: &Account) {
    if !account.dumps.is_empty() {
        let sources = human::counted(account.dumps.len() as u64, "source", "sources");
        ctx.output.note(&format!(
            "module {} also has {sources}: `dedup ls --parts` lists them",
            escape::text(&account.module)
        ));
    }
}
