//! `dedup diff` of records: tables, rows, columns.

use super::ls::Entries;
use super::records::shown_key;
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::section::SectionChoice;
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Dump, Form};
use dedup_modules::records::text::json_shown;
use dedup_modules::records::{RecordChange, StoredSource, diff};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// What was counted.
#[derive(Default)]
pub struct RowSums {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub tables: u64,
}

/// Returns the records of an account that are looked at.
pub fn of(account: &Account, section: SectionChoice) -> impl Iterator<Item = &Dump> {
    account.dumps.iter().filter(move |dump| dump.form == Form::Records && section.fits(dump.section))
}

/// Lists what differs between the records of two accounts.
pub fn run(
    ctx: &Context,
    repo: &Repository,
    (old, new): (&Account, &Account),
    section: SectionChoice,
    list: &mut Entries,
) -> Result<RowSums, Failure> {
    let mut sums = RowSums::default();
    let find = |account: &'_ Account, name: &str| of(account, section).any(|dump| dump.name == name);
    for dump in of(old, section).filter(|dump| !find(new, &dump.name)) {
        let _ = whole(ctx, list, '-', "removed", &dump.name);
    }
    for dump in of(new, section) {
        let Some(before) = of(old, section).find(|before| before.name == dump.name) else {
            let _ = whole(ctx, list, '+', "added", &dump.name);
            continue;
        };
        let (before, after) = (StoredSource::open(repo, before)?, StoredSource::open(repo, dump)?);
        diff(&before, &after, &mut |change| {
            sums.count(&change);
            entry(ctx, list, &dump.name, &change)
        })?;
        if list.has_failed() {
            break;
        }
    }
    Ok(sums)
}

fn whole(ctx: &Context, list: &mut Entries, sign: char, word: &str, source: &str) -> ControlFlow<()> {
    let output = ctx.output;
    list.entry(
        || json!({ "change": word, "source": source }),
        |out| {
            write!(out, "{sign} ")?;
            out.write_all(&output.name(format!("source:{source}").as_bytes()))?;
            out.write_all(b"\n")
        },
    )
}

fn entry(ctx: &Context, list: &mut Entries, source: &str, change: &RecordChange) -> ControlFlow<()> {
    let (sign, word, table) = match change {
        RecordChange::TableAdded { table, .. } => ('+', "added", table),
        RecordChange::TableRemoved { table, .. } => ('-', "removed", table),
        RecordChange::TableAltered { table } => ('M', "altered", table),
        RecordChange::Row { table, old: None, .. } => ('+', "added", table),
        RecordChange::Row { table, new: None, .. } => ('-', "removed", table),
        RecordChange::Row { table, .. } => ('M', "modified", table),
    };
    let object = || {
        let mut object: Value = json!({ "change": word, "source": source, "table": table.to_string() });
        match change {
            RecordChange::TableAdded { rows, .. } | RecordChange::TableRemoved { rows, .. } => {
                object["rows"] = (*rows).into();
            }
            RecordChange::TableAltered { .. } => {}
            RecordChange::Row { key, old, new, columns, .. } => {
                object["key"] = key.clone().into();
                object["columns"] = columns.clone().into();
                object["old"] = old.as_ref().map_or(Value::Null, json_shown);
                object["new"] = new.as_ref().map_or(Value::Null, json_shown);
            }
        }
        object
    };
    let output = ctx.output;
    list.entry(object, |out| {
        let mut name = format!("source:{source}:{table}");
        let mut rest = String::new();
        match change {
            RecordChange::TableAdded { rows, .. } | RecordChange::TableRemoved { rows, .. } => {
                rest = format!(" ({rows} rows)");
            }
            RecordChange::TableAltered { .. } => rest = " (its columns, keys or statements)".into(),
            RecordChange::Row { key, old, new, columns, .. } => {
                match new.as_ref().or(old.as_ref()) {
                    Some(row) if !key.is_empty() => name.push_str(&shown_key(row, key)),
                    _ => rest = " (a row without a key)".into(),
                }
                if !columns.is_empty() {
                    rest.push_str(&format!("  {}", escape::text(&columns.join(", "))));
                }
            }
        }
        write!(out, "{sign} ")?;
        out.write_all(&output.name(name.as_bytes()))?;
        writeln!(out, "{rest}")
    })
}

impl RowSums {
    fn count(&mut self, change: &RecordChange) {
        match change {
            RecordChange::TableAdded { rows, .. } => {
                self.tables += 1;
                self.added += rows;
            }
            RecordChange::TableRemoved { rows, .. } => {
                self.tables += 1;
                self.removed += rows;
            }
            RecordChange::TableAltered { .. } => self.tables += 1,
            RecordChange::Row { old: None, .. } => self.added += 1,
            RecordChange::Row { new: None, .. } => self.removed += 1,
            RecordChange::Row { .. } => self.changed += 1,
        }
    }
}
