//! Services that are known by name, from the table `services.toml`.

use super::draft::{Draft, Raw};
use super::system::System;
use serde::Deserialize;

/// The table; what its keys mean stands at its head.
const TABLE: &str = include_str!("services.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) service: Vec<Known>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    pub(super) id: String,
    name: String,
    pub(super) marks: Vec<String>,
    #[serde(default)]
    units: Vec<String>,
    #[serde(default)]
    stop: bool,
    #[serde(default)]
    config: Vec<String>,
    #[serde(default)]
    data: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    note: Option<String>,
}

/// Returns the table; empty if it is broken, which a test excludes.
pub(super) fn table() -> Vec<Known> {
    toml::from_str::<Table>(TABLE).map_or_else(|_| Vec::new(), |table| table.service)
}

/// Finds the services of the table.
pub fn find(system: &System) -> Vec<Draft> {
    table().iter().filter_map(|known| draft(system, known)).collect()
}

fn draft(system: &System, known: &Known) -> Option<Draft> {
    let mark = known.marks.iter().find(|mark| system.has(mark))?;
    let mut draft = Draft::new(&known.id, &known.name);
    draft.found.push(mark.clone());
    let unit = system.unit(&known.units);
    draft.found.extend(unit.iter().map(|unit| format!("the unit {unit}")));
    draft.notes.extend(known.note.clone());
    let sections = [
        (&known.config, &mut draft.config),
        (&known.data, &mut draft.data),
        (&known.secrets, &mut draft.secrets),
    ];
    for (paths, section) in sections {
        // Only what is there: what is not would be warned of at every run.
        for path in paths.iter().filter(|path| system.has(path)) {
            let list = if system.is_dir(path) { &mut section.directories } else { &mut section.files };
            list.push(path.clone());
        }
    }
    if !draft.data.directories.is_empty() {
        draft.data.exclude.clone_from(&known.exclude);
    }
    if let Some(unit) = unit.filter(|_| known.stop) {
        draft.services.push(vec![("name", Raw::text(&unit)), ("kind", Raw::text("system"))]);
    }
    Some(draft)
}
