//! `dedup history`: what one row was in each snapshot.

use super::records::{find_row, shown, spec};
use super::{all_snapshots, records};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::section::SectionChoice;
use crate::select::Filter;
use crate::{escape, human};
use dedup_modules::records::text::json_value;
use dedup_modules::records::{RecordError, RecordSpec, Value};
use jiff::Zoned;
use serde_json::{Map, Value as Json, json};

/// Longest value that is shown to people.
const SHOWN: usize = 60;

/// Show what a row of a table was in each snapshot
///
/// The first line tells of the oldest snapshot that has the table; the others of those in which the row is another,
/// or is there no more.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup history -m wiki source:db:pages[17]
  dedup history -m pbx source:tables:asterisk.users[200] --within 30d --json")]
pub struct HistoryArgs {
    /// The row: its source, its table, its key
    #[arg(value_name = "source:NAME:TABLE[KEY]", value_parser = spec)]
    row: RecordSpec,
    #[command(flatten)]
    section: SectionChoice,
    #[command(flatten)]
    filter: Filter,
}

/// The names of a row's columns, and its values.
type Row = Vec<(String, Value)>;

pub fn run(ctx: &Context, args: &HistoryArgs) -> Result<Exit, Failure> {
    let (Some(table), [key]) = (&args.row.table, &args.row.keys[..]) else {
        return Err(Failure::refused("history is that of one row").hint("write source:NAME:TABLE[KEY]"));
    };
    let repo = ctx.open_indexed()?;
    let (all, mut exit) = all_snapshots(ctx, &repo)?;
    let mut snapshots = args.filter.apply(all, &Zoned::now())?;
    snapshots.sort_by_key(|(_, snapshot)| snapshot.time);
    ctx.progress.finish();
    let (mut versions, mut last): (Vec<Json>, Option<Option<Row>>) = (Vec::new(), None);
    for (id, snapshot) in &snapshots {
        // Snapshots of other modules, and of before there was this source, say nothing.
        let account = match &args.filter.module {
            Some(module) => snapshot.account(module),
            None => snapshot.accounts.iter().find(|account| account.dump(&args.row.source).is_some()),
        };
        let Some(account) = account.filter(|account| account.dump(&args.row.source).is_some()) else {
            continue;
        };
        let module = Some(&account.module[..]);
        let found = (|| {
            let (stored, _) = records::open(&repo, snapshot, module, args.section, &args.row.source)?;
            let Some(mut rows) = stored.reader().table(table).map_err(RecordError::from)? else {
                return Ok(None);
            };
            let stored_table = rows.table().clone();
            let names = stored_table.schema.row_columns().map(|column| column.name.clone());
            let row = find_row(&mut rows, &stored_table, key)?;
            Ok::<_, Failure>(Some(row.map(|values| names.zip(values).collect::<Row>())))
        })();
        let row = match found {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(failure) => {
                ctx.output.warning(&format!("snapshot {}: {}", id.short(), failure.message));
                exit = exit.merge(failure.exit);
                continue;
            }
        };
        if last.as_ref() == Some(&row) {
            continue;
        }
        let object = json!({
            "snapshot_id": id.to_hex(),
            "time": human::rfc3339(snapshot.time),
            "module": account.module,
            "state": if row.is_some() { "present" } else { "absent" },
            "row": row.as_ref().map(object),
        });
        if !ctx.output.json {
            let text = line(row.as_ref(), last.as_ref().and_then(Option::as_ref));
            ctx.output.line(format!("{}  {}  {text}", human::local_time(snapshot.time), id.short()))?;
        }
        versions.push(object);
        last = Some(row);
    }
    if versions.is_empty() {
        return Err(Failure::new(
            dedup_engine::error::Kind::Missing,
            format!("no snapshot has table {table} of source {}", escape::text(&args.row.source)),
        ));
    }
    if ctx.output.json {
        ctx.output.object(&json!({ "type": "history", "versions": versions }))?;
    }
    Ok(exit)
}

fn object(row: &Row) -> Json {
    Json::Object(row.iter().map(|(name, value)| (name.clone(), json_value(value))).collect::<Map<_, _>>())
}

/// Returns a version for people: all of the first, of the others what differs.
fn line(row: Option<&Row>, before: Option<&Row>) -> String {
    let Some(row) = row else { return "not there".into() };
    let is_new = |(name, value): &&(String, Value)| {
        before.is_none_or(|before| !before.iter().any(|(other, old)| other == name && old == value))
    };
    let cell = |(name, value): &(String, Value)| {
        let mut text = shown(value);
        if text.chars().count() > SHOWN {
            text = text.chars().take(SHOWN).collect::<String>() + "…";
        }
        format!("{}={}", escape::text(name), escape::text(&text))
    };
    row.iter().filter(is_new).map(cell).collect::<Vec<_>>().join(", ")
}
