//! FreedomBox: manifests of its applications, and the tar that its interface exports.

pub mod apps;
pub mod python;

use super::archive::Archive;
use super::database::Database;
use super::error::ForeignError;
use super::plan::{Planned, PlannedModule};
use super::tar::TarKind;
use crate::catalog::Catalog;
use crate::id::ModuleId;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use crate::planted::{Bug, planted};
use crate::records::Value;
use apps::{App, from_json};
use dedup_engine::snapshot::Outcome;
use serde_json::Value as Json;
use std::path::Path;

/// Where an archive says what is in it.
const MANIFESTS: &[u8] = b"var/lib/plinth/backups-manifests/";
/// Where settings lie until they are written back.
const SETTINGS: &str = "var/lib/plinth/backups-data/";
/// Largest of either.
const MAX_JSON_BYTES: u64 = 16 << 20;
/// The table in which FreedomBox keeps settings.
const TABLE: &str = "plinth_kvstore";

pub(super) fn plan<'a>(
    archive: &'a Archive,
    catalog: &Catalog,
    scratch_dir: &Path,
) -> Result<Planned<'a>, ForeignError> {
    let product = "FreedomBox";
    let found = archive.names_from(MANIFESTS).filter(|(name, _)| name.ends_with(b".json")).last();
    let Some((name, at)) = found else {
        let why = "it has no file below /var/lib/plinth/backups-manifests".into();
        return Err(ForeignError::NotOf { product, why });
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let bytes = archive.bytes(&name, MAX_JSON_BYTES)?.unwrap_or_default();
    let apps = from_json("", &bytes).map_err(|wrong| ForeignError::malformed(&name, wrong))?;
    let mut database = Database::new(scratch_dir)?;
    database.create(TABLE, &["key".to_owned(), "value".to_owned()], &["key".to_owned()])?;
    let mut planned = Planned {
        what: product.into(),
        modules: Vec::new(),
        database: None,
        time: Some(archive.entries[at].header.mtime.secs),
        notes: Vec::new(),
    };
    for app in &apps {
        let Ok(id) = ModuleId::parse(&app.name.to_lowercase()) else {
            planned.notes.push(format!("{:?} is no id of a module", app.name));
            continue;
        };
        if planned.modules.iter().any(|module| module.id == id) {
            planned.notes.push(format!("{id} is in the archive twice"));
            continue;
        }
        let mut module = PlannedModule::new(id);
        module.version.clone_from(&app.version);
        module.platform = Some("freedombox");
        let installed = catalog.entries.values().filter_map(|entry| entry.what.as_ref().ok());
        module.installed = installed.into_iter().find(|manifest| manifest.module.id == module.id).cloned();
        take(&mut module, app, archive);
        settings(&mut module, app, archive, &mut database)?;
        planned.modules.push(module);
    }
    planned.database = Some(database);
    Ok(planned)
}

/// Takes what lies at the places that an application declares: whole parts of a path, so `/var/lib/foo` has nothing of
/// `/var/lib/foobar`, and of two declarations the deeper one decides.
fn take<'a>(module: &mut PlannedModule<'a>, app: &App, archive: &'a Archive) {
    let mut declared: Vec<(String, SectionKind)> = Vec::new();
    for section in SectionKind::WORDS.iter().map(|(_, section)| *section) {
        match app.paths(section) {
            Ok((directories, files)) => {
                let paths = directories.into_iter().chain(files);
                declared.extend(paths.map(|path| (path, section)));
            }
            Err(why) => module.gap(section.word(), Outcome::Failed, &why),
        }
    }
    let is_at = |name: &[u8], path: &str| {
        let rest = name.strip_prefix(path.trim_matches('/').as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || planted(Bug::PartsOfNames))
    };
    for (path, section) in &declared {
        let begin = path.trim_matches('/');
        let mut found = false;
        for (name, at) in archive.names_from(begin.as_bytes()) {
            if begin.is_empty() || !is_at(name, path) {
                continue;
            }
            found = true;
            let is_deeper = |other: &str| other.trim_matches('/').len() > begin.len() && is_at(name, other);
            if !declared.iter().any(|(other, _)| is_deeper(other)) {
                module.put(archive, *section, name, at);
            }
        }
        let item = format!("{section}:{path}");
        match found {
            true => module.tell(&item, Outcome::Stored, ""),
            // What was not there is not in its archives.
            false => module.tell(&item, Outcome::Absent, "the archive does not have it"),
        }
    }
}

/// Takes settings: a file of keys and values, which become rows.
fn settings(
    module: &mut PlannedModule<'_>,
    app: &App,
    archive: &Archive,
    database: &mut Database,
) -> Result<(), ForeignError> {
    let keys = match app.settings() {
        Ok(keys) if keys.is_empty() => return Ok(()),
        Ok(keys) => keys,
        Err(why) => {
            module.gap("settings", Outcome::Failed, &why);
            return Ok(());
        }
    };
    let name = format!("{SETTINGS}{}-settings.json", app.name);
    let is_file = archive.find(&name).is_some_and(|packed| packed.header.kind == TarKind::File);
    let Some(bytes) = archive.bytes(&name, MAX_JSON_BYTES)?.filter(|_| is_file) else {
        module.gap("settings", Outcome::Absent, "the archive has no file of them");
        return Ok(());
    };
    let Ok(Json::Object(map)) = serde_json::from_slice(&bytes) else {
        module.gap("settings", Outcome::Failed, "the file of them is no JSON object");
        return Ok(());
    };
    for key in &keys {
        match map.get(key) {
            // Values are kept as JSON.
            Some(value) => {
                database.insert(TABLE, &[Value::Text(key.clone()), Value::Text(value.to_string())])?
            }
            None => module.tell(&format!("settings:{key}"), Outcome::Absent, "it had no value"),
        }
    }
    module.tables.insert(TABLE.into());
    Ok(())
}
