//! What concerns several tables of a manifest. Looked at only if each table is right by itself.

use super::Manifest;
use super::drivers::Driver;
use super::lifecycle::Reset;
use super::near::nearest;
use super::paths::ManifestPath;
use super::reader::Reader;
use super::sections::{Section, SectionKind};
use super::services::ServiceKind;
use super::sources::Source;
use super::words::Words;
use std::collections::{BTreeMap, BTreeSet};

/// Checks a manifest.
pub fn check(manifest: &Manifest, reader: &Reader<'_>) {
    dependencies(manifest, reader);
    paths(manifest, reader);
    sources(manifest, reader);
    services(manifest, reader);
    references(manifest, reader);
}

fn dependencies(manifest: &Manifest, reader: &Reader<'_>) {
    let module = &manifest.module;
    let own = |id: &crate::id::ModuleId| *id == module.id || module.aliases.contains(id);
    let mut seen = BTreeSet::new();
    for (n, requirement) in manifest.depends.requires.iter().enumerate() {
        let key = format!("depends.requires[{n}]");
        if own(&requirement.module) {
            reader.wrong_at(&key, "a module cannot require itself", "");
        } else if !seen.insert(&requirement.module) {
            reader.wrong_at(&key, format!("{} is required twice", requirement.module), "keep one of them");
        }
    }
    for (n, after) in manifest.depends.after.iter().enumerate() {
        if own(after) {
            reader.wrong_at(&format!("depends.after[{n}]"), "a module cannot come after itself", "");
        }
    }
    if manifest.depends.platform.is_some() && module.platform.is_none() {
        reader.wrong_at(
            "depends.platform",
            "a condition on the product, but no product is named",
            "add `platform` to [module]",
        );
    }
}

/// A path belongs to one section, or its data would lie under two keys.
fn paths(manifest: &Manifest, reader: &Reader<'_>) {
    let mut seen: BTreeMap<ManifestPath, String> = BTreeMap::new();
    for kind in SectionKind::WORDS.iter().map(|(_, kind)| *kind) {
        let Section { directories, files, entries, .. } = manifest.section(kind);
        let named = |key: &str, list: &[ManifestPath]| -> Vec<(String, ManifestPath)> {
            list.iter().enumerate().map(|(n, path)| (format!("{kind}.{key}[{n}]"), path.clone())).collect()
        };
        let mut all = named("directories", directories);
        all.extend(named("files", files));
        all.extend(
            (0..)
                .zip(entries)
                .map(|(n, entry): (usize, _)| (format!("{kind}.entries[{n}].path"), entry.path.clone())),
        );
        for (key, path) in all {
            if let Some(before) = seen.get(&path) {
                reader.wrong_at(
                    &key,
                    format!("{path} is declared twice, first as {before}"),
                    "keep one of them; within a directory, the deeper declaration wins",
                );
            } else {
                seen.insert(path, key);
            }
        }
    }
}

fn sources(manifest: &Manifest, reader: &Reader<'_>) {
    let services: Vec<&str> = manifest.services.iter().map(|service| service.name.as_str()).collect();
    let has_stack = manifest.services.iter().any(|service| service.kind == ServiceKind::Compose);
    let mut seen = BTreeSet::new();
    for (n, source) in manifest.sources.iter().enumerate() {
        let at = |key: &str| format!("source[{n}].{key}");
        if !seen.insert(&source.name) {
            reader.wrong_at(
                &at("name"),
                format!("there are two sources {:?}", source.name),
                "names are unique in a module",
            );
        }
        for (m, need) in source.needs.iter().enumerate() {
            if !services.contains(&need.as_str()) {
                unknown(reader, &at(&format!("needs[{m}]")), "service", need, &services);
            }
        }
        if source.driver == Driver::External && manifest.exporter.is_none() {
            reader.wrong_at(
                &at("driver"),
                "a source of driver external comes from the exporter, and there is none",
                "add [exporter]",
            );
        }
        if source.driver.is_of_platform() && source.endpoint.is_none() && manifest.module.platform.is_none() {
            let message =
                format!("driver {} asks the product's store, and no product is named", source.driver);
            reader.wrong_at(&at("driver"), message, "add `platform` to [module], or an `endpoint` here");
        }
        if lacks_databases(source) {
            let message = format!("nothing says which databases of {} are meant", source.driver);
            reader.wrong_at(&at("driver"), message, "select = { databases = [\"name\"] }, or [\"all\"]");
        }
        for (key, endpoint) in
            [("endpoint", &source.endpoint), ("restore_endpoint", &source.restore_endpoint)]
        {
            if !has_stack && endpoint.as_ref().is_some_and(|endpoint| endpoint.compose_service.is_some()) {
                let message = "compose_service names a service of a compose stack, and there is none";
                reader.wrong_at(
                    &at(&format!("{key}.compose_service")),
                    message,
                    "add a [[service]] of kind compose (stop = false leaves it running)",
                );
            }
        }
    }
}

/// Returns whether a server that has several databases is asked for none.
fn lacks_databases(source: &Source) -> bool {
    let several = matches!(source.driver, Driver::Mariadb | Driver::Mysql | Driver::Postgresql);
    let by_endpoint = source.endpoint.as_ref().is_some_and(|endpoint| endpoint.database.is_some());
    several && source.select.databases.is_empty() && !by_endpoint
}

fn services(manifest: &Manifest, reader: &Reader<'_>) {
    let mut seen = BTreeSet::new();
    for (n, service) in manifest.services.iter().enumerate() {
        if !seen.insert((service.kind, &service.name, &service.compose_service)) {
            let message = format!("there are two services {:?} of kind {}", service.name, service.kind);
            reader.wrong_at(&format!("service[{n}].name"), message, "keep one of them");
        }
    }
}

/// Names of other parts of the manifest.
fn references(manifest: &Manifest, reader: &Reader<'_>) {
    let sources: Vec<&str> = manifest.sources.iter().map(|source| source.name.as_str()).collect();
    for (n, part) in manifest.restore.require.iter().enumerate() {
        let key = format!("restore.require[{n}]");
        if let Some(name) = part.strip_prefix("source:") {
            if !sources.contains(&name) {
                unknown(reader, &key, "source", name, &sources);
            }
        } else if part != "settings" && SectionKind::from_word(part).is_none() {
            let words = ["settings", "config", "data", "secrets", "source:"];
            unknown(reader, &key, "part", part, &words);
        }
    }
    if let Some(store) = &manifest.settings_store {
        let stores: Vec<&str> = manifest
            .sources
            .iter()
            .filter(|source| source.driver == Driver::Kv)
            .map(|source| source.name.as_str())
            .collect();
        if !stores.contains(&store.as_str()) {
            unknown(reader, "settings.store", "source of driver kv", store, &stores);
        }
    } else if !manifest.settings.is_empty() && manifest.module.platform.is_none() {
        reader.wrong_at(
            "settings.keys",
            "these are keys of the product's store, and no product is named",
            "add `platform` to [module], or a `store`",
        );
    }
    if manifest.restore.reset == Reset::Command
        && manifest.hooks.reset.is_empty()
        && manifest.importer.is_none()
    {
        reader.wrong_at(
            "restore.reset",
            "reset = \"command\" needs the hook `reset`, or an importer",
            "add [hooks] reset = { run = [\"program\"] }",
        );
    }
}

fn unknown(reader: &Reader<'_>, key: &str, what: &str, name: &str, known: &[&str]) {
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "this manifest has none".into(),
        None => format!("there are: {}", known.join(", ")),
    };
    reader.wrong_at(key, format!("there is no {what} {name:?} in this manifest"), help);
}
