//! A plan into a snapshot: ordinary accounts of ordinary modules, which restores know nothing special of.

use super::error::ForeignError;
use super::plan::{Planned, PlannedModule};
use super::tables::ModuleTables;
use crate::conduct::source_item;
use crate::external::{EXPORTER, EXPORTER_SECRETS, KIND};
use crate::manifest::drivers::Format;
use crate::manifest::words::Words;
use crate::records::{Exported, RecordError, Selection, SortRoom, TableName, export};
use crate::sources::Head;
use dedup_engine::backup::{
    BackupError, Parent, PartRequest, Parts, RunReport, RunRequest, StreamError, StreamReport, StreamRequest,
    run_parts,
};
use dedup_engine::progress::Events;
use dedup_engine::repo::{RepoError, Repository};
use dedup_engine::snapshot::{Account, Item, Outcome, Section, State};
use std::collections::BTreeSet;
use std::path::Path;

/// Tables of a product that have rows of all modules, and the column that says whose.
const SHARED: [(&str, &str); 2] = [("freepbx_settings", "module"), ("featurecodes", "modulename")];

/// What an import works with.
pub struct StoreJob<'a> {
    /// Where it goes.
    pub repo: &'a Repository,
    /// What goes with it.
    pub request: &'a RunRequest<'a>,
    /// What to compare with.
    pub parent: Parent,
    /// A directory for large sorts.
    pub scratch_dir: &'a Path,
    /// Receives progress.
    pub events: &'a dyn Events,
}

/// Stores a plan as one snapshot.
///
/// # Errors
/// Nothing was published then.
pub fn store(job: &StoreJob<'_>, planned: &Planned<'_>) -> Result<RunReport, ForeignError> {
    run_parts(job.repo, job.request, job.events, |parts| {
        planned.modules.iter().map(|module| store_module(job, planned, module, parts)).collect()
    })
}

/// What a module lacks, and what is odd about it.
#[derive(Default)]
struct Told {
    gaps: Vec<String>,
    doubts: Vec<String>,
}

fn store_module(
    job: &StoreJob<'_>,
    planned: &Planned<'_>,
    module: &PlannedModule<'_>,
    parts: &mut Parts<'_>,
) -> Result<Account, ForeignError> {
    let mut account = Account::new(module.id.as_str());
    let mut told = Told { gaps: module.gaps.clone(), doubts: module.doubts.clone() };
    account.version.clone_from(&module.version);
    account.items.clone_from(&module.items);
    account.dependencies.clone_from(&module.requires);
    for (section, places) in module.places() {
        let places = places.iter().map(|place| [b"/", &place.to_slashes()[..]].concat());
        account.sources.extend(places);
        let request = PartRequest {
            module: module.id.as_str(),
            section: section.into(),
            parent: job.parent,
            sources: None,
        };
        let tree = &module.trees[&section];
        let report = parts.store(tree, &request)?;
        report.enter(&mut account);
        match report.totals.problems {
            0 => {}
            1 => told.gaps.push(format!("one entry of {} cannot be stored", section.word())),
            n => told.gaps.push(format!("{n} entries of {} cannot be stored", section.word())),
        }
    }
    account.sources.sort();
    account.sources.dedup();
    store_tables(job, planned, module, parts, &mut account, &mut told)?;
    store_collected(module, parts, &mut account)?;
    account.manifest = parts.blob(module.id.as_str(), Section::Config, module.manifest().as_bytes())?;
    account.items.sort_by(|a, b| a.name.cmp(&b.name));
    account.items.dedup_by(|a, b| a.name == b.name);
    let first = |list: &[String]| match list {
        [one] => one.clone(),
        [one, more @ ..] => format!("{one}; and {} more", more.len()),
        [] => String::new(),
    };
    (account.state, account.reason) = match (&told.gaps[..], &told.doubts[..]) {
        ([], []) => (State::Complete, String::new()),
        ([], doubts) => (State::Warned, first(doubts)),
        (gaps, _) => (State::Partial, first(gaps)),
    };
    Ok(account)
}

/// Stores the tables of a module by the sources of its manifest, as a backup would have done.
fn store_tables(
    job: &StoreJob<'_>,
    planned: &Planned<'_>,
    module: &PlannedModule<'_>,
    parts: &mut Parts<'_>,
    account: &mut Account,
    told: &mut Told,
) -> Result<(), ForeignError> {
    let Some(database) = &planned.database else { return Ok(()) };
    let tables: Vec<String> = module.tables.iter().cloned().collect();
    let mut left: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let sources = module.installed.iter().flat_map(|manifest| &manifest.sources);
    let has_program = module.has_program();
    for source in sources.filter(|source| source.format == Format::Records && !has_program) {
        let selection = Selection { select: source.select.clone(), ..Selection::default() };
        let takes = |name: &&String| TableName::simple(name).is_ok_and(|name| selection.takes(&name));
        let own: Vec<String> = tables.iter().filter(takes).cloned().collect();
        let item = source_item(&source.name);
        if own.is_empty() {
            tell(account, &item, Outcome::Absent, "the archive has nothing of it");
            continue;
        }
        for name in &own {
            left.remove(name.as_str());
        }
        let into = Into {
            name: &source.name,
            kind: &source.driver.to_string(),
            section: source.section.into(),
            selection: &selection,
        };
        match store_rows(job, module, &ModuleTables::new(database, &own, into.kind), &into, parts)? {
            Ok((report, exported)) => {
                let outcome = if exported.rows == 0 { Outcome::Empty } else { Outcome::Stored };
                report.enter(account);
                tell(account, &item, outcome, "");
            }
            Err(why) => {
                tell(account, &item, Outcome::Failed, &why);
                told.gaps.push(format!("{item}: {why}"));
            }
        }
    }
    if (module.installed.is_none() || has_program) && !left.is_empty() {
        // If nothing says yet what will take them, they are kept so that they can be looked at and put back later.
        let own: Vec<String> = left.iter().map(|name| (*name).to_owned()).collect();
        let select = crate::manifest::sources::Select {
            own_tables: true,
            rows_where: own_rows(module, &own),
            ..Default::default()
        };
        let selection = Selection { select, ..Selection::default() };
        let into = Into { name: "tables", kind: "mariadb", section: Section::Config, selection: &selection };
        let rows = ModuleTables::new(database, &own, into.kind).of_archive(module.format);
        match store_rows(job, module, &rows, &into, parts)? {
            Ok((report, _)) => {
                report.enter(account);
                let why = match has_program {
                    true => "for the module's own program",
                    false => "no manifest here names its tables",
                };
                tell(account, &source_item("tables"), Outcome::Stored, why);
            }
            Err(why) => told.gaps.push(format!("its tables: {why}")),
        }
        left.clear();
    }
    for name in left {
        let why = "the archive has it, and no source of the manifest here takes it";
        tell(account, &format!("table:{name}"), Outcome::SkippedByChoice, why);
        told.doubts.push(format!("table {name}: {why}"));
    }
    Ok(())
}

/// Returns the conditions of rows that are the module's, in tables that all modules share.
fn own_rows(module: &PlannedModule<'_>, tables: &[String]) -> Vec<(String, String)> {
    let text = module.id.as_str().replace('\'', "''");
    let owned = SHARED.iter().filter(|(table, _)| tables.iter().any(|own| own == table));
    owned.map(|(table, owner)| ((*table).to_owned(), format!("\"{owner}\" = '{text}'"))).collect()
}

/// Where rows are put.
struct Into<'i> {
    name: &'i str,
    kind: &'i str,
    section: Section,
    selection: &'i Selection,
}

/// Stores rows as one dump; the inner error voids only that.
fn store_rows(
    job: &StoreJob<'_>,
    module: &PlannedModule<'_>,
    rows: &ModuleTables<'_>,
    into: &Into<'_>,
    parts: &mut Parts<'_>,
) -> Result<Result<(StreamReport, Exported), String>, ForeignError> {
    let room = SortRoom { directory: job.scratch_dir.to_owned(), bytes: SortRoom::BYTES };
    let module = module.id.as_str();
    let request =
        StreamRequest { module, section: into.section, name: into.name, kind: into.kind, mtime: None };
    let mut exported = Exported::default();
    let stored = parts.records(&request, |entries| {
        exported = export(Box::new(rows.clone()), into.selection, entries, &room)?;
        Ok::<_, RecordError>(())
    });
    match stored {
        Ok(mut report) => {
            report.dump.schema = parts.blob(module, into.section, &exported.blob)?;
            Ok(Ok((report, exported)))
        }
        Err(RecordError::Backup(error)) => Err(error.into()),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Stores what an importer of the module's own will be told.
fn store_collected(
    module: &PlannedModule<'_>,
    parts: &mut Parts<'_>,
    account: &mut Account,
) -> Result<(), ForeignError> {
    let collected = &module.collected;
    let has_importer = module.installed.as_ref().is_none_or(|manifest| manifest.importer.is_some());
    // Labels of files and the like are for an importer; what nobody takes should not be there to be told of.
    let is_for_importer = !collected.items.is_empty() || collected.skip_reset;
    if collected.configs.is_empty() && !(has_importer && is_for_importer) {
        return Ok(());
    }
    let mut texts = vec![(EXPORTER, Section::Config, collected.to_text(false))];
    if collected.has_secrets() {
        texts.push((EXPORTER_SECRETS, Section::Secrets, collected.to_text(true)));
    }
    let id = module.id.as_str();
    for (name, section, text) in texts {
        let request = StreamRequest { module: id, section, name, kind: KIND, mtime: None };
        let stored = parts.stream(&request, &mut text.as_bytes());
        let mut report = stored.map_err(|error| match error {
            StreamError::Repo(error) => BackupError::from(error),
            error => BackupError::from(RepoError::Internal(error.to_string())),
        })?;
        let facts = vec![("shape".to_owned(), "exporter".to_owned())];
        let head = Head { kind: KIND.into(), facts, ..Head::default() };
        let about = serde_json::to_vec(&head).map_err(|error| RepoError::Internal(error.to_string()));
        report.dump.schema = parts.blob(id, section, &about.map_err(BackupError::from)?)?;
        report.enter(account);
    }
    Ok(())
}

fn tell(account: &mut Account, name: &str, outcome: Outcome, why: &str) {
    account.items.retain(|item| item.name != name);
    account.items.push(Item { name: name.to_owned(), outcome, message: why.to_owned() });
}
