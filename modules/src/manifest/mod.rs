//! Manifests: what a module says of itself, and job files: what is done with which modules, when and where to.
//!
//! A manifest is a TOML file; [`Manifest::parse`] makes it a value, or tells everything that is wrong with it, each
//! with line and column ([`Problems`]). It is strict: an unknown key is an error that names the nearest known one.
//! `modules/MANIFEST.md` is the guide; every key is declared once, in the function that reads its table:
//!
//! ```text
//! text.rs      limits, places, TOML               problem.rs   what is wrong, and where
//! reader.rs    tables, asked key by key           near.rs      the word that was meant
//! form.rs      what a value may be                words.rs     closed sets of words
//! shape.rs     the same as data: JSON schema      paths.rs     paths with variables
//!
//! whole.rs     [module] [depends] [paths] [settings]
//! sections.rs  [config] [data] [secrets] [exclude]
//! sources.rs   [[source]]; drivers.rs: what it can be; endpoint.rs, secret.rs: where it is and how to get in
//! services.rs  [[service]], and the order in which they start
//! hooks.rs     [hooks] of manifests and jobs
//! lifecycle.rs [lockdown] [setup] [restore] [spaces]
//! programs.rs  [exporter] [importer] [log] [limits]
//! legacy.rs    [[legacy]]
//! rules.rs     what concerns several tables
//! items.rs     every path a manifest declares, on one machine
//! stored.rs    manifests out of snapshots: only their data keys count
//! platform.rs  products that keep the data of modules; of_platform.rs: their sources as rows of tables
//! job.rs       job files; schedule.rs, cron.rs: when, and the names of what a run makes
//! job.rs       job files; schedule.rs, cron.rs: when, and the names of what a run makes; retain.rs: how long it is kept;
//!              notify.rs: who is told
//! ```
//!
//! Nothing here reads a file, a clock or the environment.

pub mod cron;
pub mod drivers;
pub mod endpoint;
mod form;
pub mod hooks;
pub mod items;
pub mod job;
pub mod layout;
pub mod legacy;
pub mod lifecycle;
mod near;
pub mod notify;
pub mod of_platform;
pub mod paths;
pub mod platform;
pub mod problem;
pub mod programs;
mod reader;
pub mod retain;
mod rules;
pub mod schedule;
pub mod secret;
pub mod sections;
pub mod services;
pub mod shape;
pub mod sources;
mod stored;
#[cfg(test)]
mod tests;
mod text;
mod whole;
pub mod words;

pub use near::nearest;
pub use problem::{Place, Problem, Problems};
pub use text::{MAX_DEPTH, MAX_FILE_BYTES};

use crate::id::ModuleId;
use crate::version::{Condition, Requirement, Version};
use form::Count;
use hooks::Hooks;
use legacy::Legacy;
use lifecycle::{Lockdown, Restore, Setup, Spaces};
use paths::Variables;
use programs::{External, Limits, Severity};
use reader::{Reader, Table};
use sections::{ExcludeAll, Section, SectionKind};
use services::Service;
use shape::Shape;
use sources::Source;
use text::Text;
use whole::read_manifest;

/// The schema that this program knows.
pub const SCHEMA: i64 = 1;

/// `[module]`: who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its id.
    pub id: ModuleId,
    /// Its name for people; empty: the id.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The version of its data.
    pub version: Version,
    /// The product it lives in.
    pub platform: Option<String>,
    /// The version of that product.
    pub platform_version: Option<Version>,
    /// Former ids, which an archive may use.
    pub aliases: Vec<ModuleId>,
    /// Whether it comes before others, and cannot be left out of "all".
    pub essential: bool,
    /// Whether it takes part at all.
    pub enabled: bool,
}

/// `[depends]`: what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depends {
    /// Modules that must be there, are selected with it, and are restored before it.
    pub requires: Vec<Requirement>,
    /// Modules that come before it if they are selected.
    pub after: Vec<ModuleId>,
    /// What the version of the product must be.
    pub platform: Option<Condition>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Who it is.
    pub module: Module,
    /// What it needs.
    pub depends: Depends,
    /// Default values of its path variables.
    pub paths: Variables,
    /// Configuration.
    pub config: Section,
    /// Data.
    pub data: Section,
    /// Secrets.
    pub secrets: Section,
    /// What is left out of every section.
    pub exclude: ExcludeAll,
    /// Keys of the platform's store.
    pub settings: Vec<String>,
    /// The source of driver `kv` that holds them; none: the platform's own store.
    pub settings_store: Option<String>,
    /// What must be asked for its data.
    pub sources: Vec<Source>,
    /// What must not run meanwhile.
    pub services: Vec<Service>,
    /// Programs at points of a run.
    pub hooks: Hooks,
    /// How users are kept out.
    pub lockdown: Option<Lockdown>,
    /// How it is made ready.
    pub setup: Setup,
    /// How it is put back.
    pub restore: Restore,
    /// Archives of other products that it can take.
    pub legacy: Vec<Legacy>,
    /// What it keeps for undoing.
    pub spaces: Spaces,
    /// Its exporter.
    pub exporter: Option<External>,
    /// Its importer.
    pub importer: Option<External>,
    /// The least severity that is kept of its messages.
    pub log_level: Severity,
    /// What it may use of the machine.
    pub limits: Limits,
    /// What the host platform put there.
    pub free: toml::Table,
}

impl Manifest {
    /// Reads a manifest. `file` is its name for messages.
    ///
    /// Of a manifest of a later schema nothing but that is told.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Problems> {
        parse(file, bytes, read_manifest, rules::check)
    }

    /// Returns what may stand in a manifest.
    pub fn shape() -> Shape {
        reader::describe(read_manifest)
    }

    /// Returns a section.
    pub fn section(&self, kind: SectionKind) -> &Section {
        match kind {
            SectionKind::Config => &self.config,
            SectionKind::Data => &self.data,
            SectionKind::Secrets => &self.secrets,
        }
    }

    /// Returns whether nothing is declared that could be stored.
    pub fn stores_nothing(&self) -> bool {
        let empty = |section: &Section| {
            section.directories.is_empty()
                && section.files.is_empty()
                && section.entries.is_empty()
                && section.glob.is_empty()
        };
        [&self.config, &self.data, &self.secrets].into_iter().all(empty)
            && self.settings.is_empty()
            && self.sources.is_empty()
            && self.exporter.is_none()
    }
}

/// Returns the JSON schema (draft 7) of a shape, for editors.
pub fn json_schema(shape: &Shape, title: &str) -> serde_json::Value {
    let mut schema = shape.json();
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = title.into();
    schema
}

/// Says whether a file looks like a job's rather than a module's; only for choosing how to read it.
pub fn looks_like_job(bytes: &[u8]) -> bool {
    let Ok(text) = Text::new("", bytes) else { return false };
    let (table, _) = text.parse();
    table.contains_key("job") && !table.contains_key("module")
}

/// Returns the id that `[module]`, or `[job]`, claims in a file whatever else is wrong with it.
pub fn claimed_id(bytes: &[u8], table: &str) -> Option<ModuleId> {
    let text = Text::new("", bytes).ok()?;
    let (top, _) = text.parse();
    let id = top.get(table)?.get_ref().as_table()?.get("id")?.get_ref().as_str()?;
    ModuleId::parse(id).ok()
}

/// Reads a file of either kind.
fn parse<T>(
    file: &str,
    bytes: &[u8],
    read: fn(&mut Table<'_, '_>) -> T,
    check: fn(&T, &Reader<'_>),
) -> Result<T, Problems> {
    let text = Text::new(file, bytes)?;
    let (table, broken) = text.parse();
    let reader = Reader::new(&text, !broken.is_empty());
    let mut top = Table::top(&reader, &table);
    if let Some(newer) = newer_schema(&top) {
        return Err(text.refused(vec![], vec![newer]));
    }
    let value = read(&mut top);
    top.finish();
    if broken.is_empty() && !reader.has_problems() {
        // What concerns several tables makes sense only if each of them does.
        check(&value, &reader);
    }
    let problems = reader.into_problems();
    if broken.is_empty() && problems.is_empty() { Ok(value) } else { Err(text.refused(broken, problems)) }
}

/// Returns the only problem of a file whose schema is higher than ours.
fn newer_schema(top: &Table<'_, '_>) -> Option<Problem> {
    let (number, place) = top.integer("schema")?;
    // However many digits it has.
    let newer = number.parse::<i64>().map_or(!number.starts_with('-'), |number| number > SCHEMA);
    newer.then(|| Problem {
        place,
        key: "schema".into(),
        message: format!("schema {number} is newer than this program knows; it knows schema {SCHEMA}"),
        help: Some("install a newer dedup".into()),
    })
}

fn read_schema(t: &mut Table<'_, '_>) {
    t.required("schema", Count(1, SCHEMA), "The version of this format: schema = 1.");
    t.must_be_first("schema");
}
