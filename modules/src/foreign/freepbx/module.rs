//! Archives of FreePBX 15 and later: one JSON file for each module, and files.

use super::super::archive::{Archive, plain_name};
use super::super::database::Database;
use super::super::error::ForeignError;
use super::super::plan::{Planned, PlannedModule};
use super::tables::{self, Told};
use super::{Here, LEGACY};
use crate::catalog::Catalog;
use crate::id::ModuleId;
use crate::manifest::legacy::LegacyFormat;
use crate::manifest::sections::SectionKind;
use crate::planted::{Bug, planted};
use crate::protocol::{Item as Named, Key, Message, Value as Sent, WirePath};
use dedup_engine::snapshot::Outcome;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::path::Path;

/// Largest JSON of a module.
const MAX_JSON_BYTES: u64 = 64 << 20;
/// Most values in it: each takes some dozens of bytes of memory.
const MAX_JSON_VALUES: usize = 8_000_000;
/// Largest description of the archive.
const MAX_METADATA_BYTES: u64 = 16 << 20;
/// Most modules.
const MAX_MODULES: usize = 2000;

pub(super) fn plan<'a>(
    archive: &'a Archive,
    catalog: &Catalog,
    scratch_dir: &Path,
) -> Result<Planned<'a>, ForeignError> {
    let metadata = match archive.bytes("metadata.json", MAX_METADATA_BYTES)? {
        Some(bytes) => parse("metadata.json", &bytes)?,
        None => Map::new(),
    };
    let mut database = Database::new(scratch_dir)?;
    let mut planned = Planned {
        what: "FreePBX".into(),
        modules: Vec::new(),
        database: None,
        time: metadata.get("date").and_then(Json::as_i64),
        notes: Vec::new(),
    };
    let mut claimed: BTreeSet<usize> = BTreeSet::new();
    let names: Vec<(Vec<u8>, usize)> =
        archive.names_from(b"modulejson/").map(|(name, at)| (name.to_vec(), at)).collect();
    let mut taken: BTreeSet<ModuleId> = BTreeSet::new();
    for (name, _) in &names {
        let Some(stem) = name.strip_prefix(b"modulejson/").and_then(|name| name.strip_suffix(b".json"))
        else {
            continue;
        };
        if planned.modules.len() == MAX_MODULES {
            return Err(ForeignError::TooMuch { limit: format!("{MAX_MODULES} modules") });
        }
        let file = String::from_utf8_lossy(name).into_owned();
        let stem = String::from_utf8_lossy(stem).into_owned();
        let json = match archive
            .bytes(&file, MAX_JSON_BYTES)
            .and_then(|bytes| parse(&file, &bytes.unwrap_or_default()))
        {
            Ok(json) => json,
            Err(error @ ForeignError::Malformed { .. }) => {
                broken(&mut planned, &stem, &error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        match module(archive, catalog, &stem, &json, &mut database, &mut claimed)? {
            Some(module) if taken.insert(module.id.clone()) => planned.modules.push(module),
            Some(module) => {
                planned.notes.push(format!("{file} is of {}, which another file is of already", module.id))
            }
            None => planned.notes.push(format!("{file} is not taken: its name is no id of a module")),
        }
    }
    // An archive of a single module has its JSON in the description.
    if let (Some(Json::Object(json)), Some(Json::String(name))) =
        (metadata.get("moddata"), metadata.get("module"))
    {
        let single = module(archive, catalog, name, json, &mut database, &mut claimed)?;
        planned.modules.extend(single.filter(|module| taken.insert(module.id.clone())));
    }
    rest(archive, &mut planned, &claimed);
    for skipped in
        metadata.get("skipped").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
    {
        planned.notes.push(format!("{skipped} was skipped when the archive was made"));
    }
    if planned.modules.is_empty() {
        let why = "no file of modulejson/ has a module".into();
        return Err(ForeignError::NotOf { product: "FreePBX", why });
    }
    if let Some(version) = planned.modules.iter().find_map(|module| module.platform_version.as_ref()) {
        planned.what = format!("FreePBX {version}");
    }
    planned.database = Some(database);
    Ok(planned)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Map<String, Json>, ForeignError> {
    let values = bytes.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    if values > MAX_JSON_VALUES {
        return Err(ForeignError::malformed(name, format!("it has more than {MAX_JSON_VALUES} values")));
    }
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(map)) => Ok(map),
        Ok(_) => Err(ForeignError::malformed(name, "it is no JSON object")),
        Err(error) => Err(ForeignError::malformed(name, error.to_string())),
    }
}

/// A module whose file makes no sense is in the snapshot too: as one that is missing.
fn broken(planned: &mut Planned<'_>, stem: &str, why: &str) {
    match ModuleId::parse(&stem.to_lowercase()) {
        Ok(id) => {
            let mut module = PlannedModule::new(id);
            module.gap("configs", Outcome::Failed, why);
            planned.modules.push(module);
        }
        Err(_) => planned.notes.push(why.to_owned()),
    }
}

fn string(json: &Map<String, Json>, key: &str) -> String {
    match json.get(key) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn module<'a>(
    archive: &'a Archive,
    catalog: &Catalog,
    stem: &str,
    json: &Map<String, Json>,
    database: &mut Database,
    claimed: &mut BTreeSet<usize>,
) -> Result<Option<PlannedModule<'a>>, ForeignError> {
    let named = string(json, "module");
    let name = if named.is_empty() { stem } else { &named };
    let version = string(json, "version");
    let Some(here) = Here::find(catalog, name, &version, LegacyFormat::Freepbx) else { return Ok(None) };
    let mut module = PlannedModule::new(here.id.clone());
    module.version = version;
    module.platform = Some("freepbx");
    module.platform_version = Some(string(json, "pbx_version")).filter(|version| !version.is_empty());
    module.installed.clone_from(&here.manifest);
    module.collected.skip_reset = matches!(json.get("skip_reset"), Some(Json::Bool(true)));
    for wanted in
        json.get("dependencies").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
    {
        match ModuleId::parse(&wanted.to_lowercase()) {
            // It is the product itself.
            Ok(id) if id.as_str() == "framework" || id == here.id => {}
            Ok(id) => module.requires.push(id.to_string()),
            Err(_) => module.doubts.push(format!("it depends on {wanted:?}, which is no id of a module")),
        }
    }
    module.requires.sort();
    module.requires.dedup();
    if let Some(configs) = json.get("configs") {
        take_configs(&mut module, &here, configs, database)?;
    }
    files(&mut module, archive, json, claimed);
    Ok(Some(module))
}

/// Takes what is known by its shape as rows; the rest is what the module's own importer is told.
fn take_configs(
    module: &mut PlannedModule<'_>,
    here: &Here,
    configs: &Json,
    database: &mut Database,
) -> Result<(), ForeignError> {
    let configs = match tables::map("configs", configs) {
        Ok(configs) => configs,
        Err(_) => {
            // A list, or a single value: nothing is known of its shape.
            return keep(module, "configs", configs);
        }
    };
    let has_importer = here.manifest.as_ref().is_none_or(|manifest| manifest.importer.is_some());
    for (key, value) in configs.into_iter().flatten() {
        if planted(Bug::EmptyIsAbsent) && matches!(value, Json::Array(list) if list.is_empty()) {
            continue;
        }
        let taken = match key.as_str() {
            "settings" => Some(tables::settings(here, value, database).map(|table| vec![table])),
            // What one half of the product writes as `features`, the other reads as `codes`.
            "features" if planted(Bug::LoseFeatureCodes) => None,
            "features" | "codes" | "featurecodes" => {
                Some(tables::codes(here, value, database).map(|table| vec![table]))
            }
            "kvstore" => Some(tables::store(here, value, database).map(|table| vec![table])),
            "astdb" => Some(tables::tree(value, database).map(|table| vec![table])),
            "tables" => Some(own_tables(module, here, value, database)),
            _ => None,
        };
        match taken {
            Some(Ok(found)) => module.tables.extend(found),
            Some(Err(Told::All(error))) => return Err(error),
            Some(Err(Told::Part(why))) => module.gap(&format!("configs:{key}"), Outcome::Failed, &why),
            None => {
                keep(module, key, value)?;
                continue;
            }
        }
        if has_importer {
            keep(module, key, value)?;
        }
    }
    Ok(())
}

fn own_tables(
    module: &mut PlannedModule<'_>,
    here: &Here,
    value: &Json,
    database: &mut Database,
) -> Result<Vec<String>, Told> {
    let mut found = Vec::new();
    for (name, rows) in tables::map("tables", value)?.into_iter().flatten() {
        match tables::table(here, name, rows, database) {
            Ok(table) => found.push(table),
            Err(Told::Part(why)) => module.gap(&format!("table:{name}"), Outcome::Failed, &why),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Keeps a value for the module's own importer.
fn keep(module: &mut PlannedModule<'_>, key: &str, value: &Json) -> Result<(), ForeignError> {
    let kept = Key::try_from(key.to_owned()).and_then(|key| {
        let value = Sent::parse(&value.to_string()).map_err(|error| error.to_string())?;
        let message = Message::Config(SectionKind::Config, key, Some(value));
        module.collected.take(message, &[]).map(drop).map_err(|wrong| wrong.to_string())
    });
    if let Err(why) = kept {
        let short: String = key.chars().take(100).collect();
        module.gap(&format!("configs:{short}"), Outcome::NotStorable, &why);
    }
    Ok(())
}

/// Files by their type: what holds keys and certificates is secret, and configuration is configuration.
fn section_of(kind: &str) -> SectionKind {
    match kind.to_ascii_lowercase().as_str() {
        "conf" | "config" | "cfg" | "ini" => SectionKind::Config,
        "key" | "pem" | "cert" | "certificate" | "crt" | "csr" => SectionKind::Secrets,
        _ => SectionKind::Data,
    }
}

fn files<'a>(
    module: &mut PlannedModule<'a>,
    archive: &'a Archive,
    json: &Map<String, Json>,
    claimed: &mut BTreeSet<usize>,
) {
    for file in json.get("files").and_then(Json::as_array).into_iter().flatten() {
        let Some(file) = file.as_object() else {
            module.gap("files", Outcome::Failed, "an entry of its list of files is none");
            continue;
        };
        let (dir, name, kind) = (string(file, "pathto"), string(file, "filename"), string(file, "type"));
        let path = format!("{}/{name}", dir.trim_end_matches('/'));
        take(module, archive, &path, &kind, claimed);
    }
    for dir in json.get("dirs").and_then(Json::as_array).into_iter().flatten() {
        let path =
            dir.as_str().map(str::to_owned).or_else(|| dir.as_object().map(|dir| string(dir, "pathto")));
        let Some(path) = path.filter(|path| !path.is_empty()) else { continue };
        let name = [b"files/", plain_name(path.as_bytes())].concat();
        match archive.position(&name) {
            Some(at) => {
                claimed.insert(at);
                module.put(archive, SectionKind::Data, path.as_bytes(), at);
            }
            // An archive of the product has only directories with something in them.
            None => module.tell(&format!("data:{path}"), Outcome::Absent, "the archive has no entry of it"),
        }
    }
}

fn take<'a>(
    module: &mut PlannedModule<'a>,
    archive: &'a Archive,
    path: &str,
    kind: &str,
    claimed: &mut BTreeSet<usize>,
) {
    let section = section_of(kind);
    let name = [b"files/", plain_name(path.as_bytes())].concat();
    let Some(at) = archive.position(&name) else {
        let short: String = path.chars().take(200).collect();
        module.gap(
            &format!("file:{short}"),
            Outcome::Absent,
            "it is listed, and the archive does not have it",
        );
        return;
    };
    claimed.insert(at);
    module.put(archive, section, path.as_bytes(), at);
    let absolute = [b"/", plain_name(path.as_bytes())].concat();
    if let Ok(path) = WirePath::new(absolute) {
        let kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        let (base, optional, recurse, exclude) = Default::default();
        let item = Named {
            path,
            kind,
            base,
            section: Some(section),
            optional,
            is_directory: false,
            recurse,
            exclude,
        };
        // More than an importer is told of are restored all the same.
        let _ = module.collected.take(Message::Item(item), &[]);
    }
}

/// Files that no module named: the person's own, and what lies beside those of modules.
fn rest<'a>(archive: &'a Archive, planned: &mut Planned<'a>, claimed: &BTreeSet<usize>) {
    let Ok(id) = ModuleId::parse(&format!("custom-{LEGACY}")) else { return };
    let mut custom = PlannedModule::new(id);
    custom.version = "0".into();
    for begin in [&b"customfiles/"[..], b"customdir/", b"files/"] {
        for (name, at) in archive.names_from(begin) {
            let is_directory = archive.entries[at].header.kind == super::super::tar::TarKind::Directory;
            let is_anyway = is_directory && begin == b"files/";
            if !claimed.contains(&at) && !is_anyway {
                custom.put(archive, SectionKind::Data, &name[begin.len()..], at);
            }
        }
    }
    if !custom.trees.is_empty() || !custom.gaps.is_empty() {
        planned.modules.push(custom);
    }
}
