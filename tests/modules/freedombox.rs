//! What FreedomBox' applications declare of themselves, turned into manifests by rules and nothing else.
//!
//! `tests/data/freedombox.json` holds facts only (paths, names of services, keys of settings) of ten of its
//! applications; where they are from and under which licence that is, its `_meta` says.

use super::data;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::job::Modules;
use dedup_modules::manifest::sections::SectionKind;
use dedup_modules::manifest::services::{Operation, ServiceKind, start_order};
use dedup_modules::manifest::words::Words;
use dedup_modules::selection::{Candidate, Ready, Request, select};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use toml::Table;

fn apps() -> BTreeMap<String, Value> {
    let facts: Value = serde_json::from_slice(&fs::read(data("freedombox.json")).unwrap()).unwrap();
    assert_eq!(facts["_meta"]["licence_of_source"], "AGPL-3.0-or-later");
    facts["apps"].as_object().unwrap().iter().map(|(name, app)| (name.clone(), app.clone())).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A service is a name, or a table that says of what kind.
fn service(fact: &Value) -> Table {
    let (name, kind) = match (fact.as_str(), fact["type"].as_str()) {
        (Some(name), _) => (name, "system".to_owned()),
        (None, Some("apache")) => {
            (fact["name"].as_str().unwrap(), format!("web-{}", fact["kind"].as_str().unwrap()))
        }
        (None, _) => (fact["name"].as_str().unwrap(), "system".to_owned()),
    };
    Table::from_iter([("name".to_owned(), name.into()), ("kind".to_owned(), kind.into())])
}

/// Turns the facts of an application into the text of a manifest.
fn convert(name: &str, app: &Value) -> String {
    let mut manifest = Table::new();
    manifest.insert("schema".into(), 1.into());
    let mut put = |table: &str, key: &str, value: toml::Value| {
        let empty = value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            let table = manifest.entry(table).or_insert_with(|| Table::new().into());
            table.as_table_mut().unwrap().insert(key.to_owned(), value);
        }
    };
    put("module", "id", name.into());
    put("module", "version", app["version"].to_string().into());
    put("module", "platform", "freedombox".into());
    put("module", "essential", app["is_essential"].as_bool().unwrap().into());
    put("depends", "requires", texts(&app["depends"]).into());
    let backup = &app["backup"];
    for (section, key) in
        SectionKind::WORDS.iter().flat_map(|(word, _)| [(*word, "directories"), (*word, "files")])
    {
        put(section, key, texts(&backup[section][key]).into());
    }
    put("settings", "keys", texts(&backup["settings"]).into());
    put("restore", "delete_before", texts(&backup["delete_before_restore"]).into());
    for point in app["hooks"].as_object().unwrap().keys() {
        // Its way: an exception is noted, and the run goes on.
        let hook = Table::from_iter([
            ("run".to_owned(), vec!["freedombox-hook".to_owned(), name.to_owned(), point.clone()].into()),
            ("on_error".to_owned(), "continue".into()),
        ]);
        put("hooks", point, hook.into());
    }
    let services: Vec<toml::Value> =
        backup["services"].as_array().into_iter().flatten().map(|fact| service(fact).into()).collect();
    if !services.is_empty() {
        manifest.insert("service".into(), services.into());
    }
    toml::to_string(&manifest).unwrap()
}

fn manifests() -> BTreeMap<String, Manifest> {
    let read = |(name, app): (String, Value)| {
        let text = convert(&name, &app);
        let manifest =
            Manifest::parse(&name, text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        (name, manifest)
    };
    apps().into_iter().map(read).collect()
}

#[test]
fn all_are_accepted_and_declare_the_right_paths() {
    let manifests = manifests();
    assert_eq!(manifests.len(), 10);
    let mut paths = 0;
    for (name, app) in apps() {
        let manifest = &manifests[&name];
        let items = manifest.items(&manifest.paths).unwrap();
        let ours: BTreeSet<(String, String)> =
            items.iter().map(|item| (item.section.to_string(), item.path.display().to_string())).collect();
        let mut theirs = BTreeSet::new();
        for section in ["config", "data", "secrets"] {
            for key in ["directories", "files"] {
                let named = texts(&app["backup"][section][key]);
                theirs.extend(
                    named.iter().map(|path| (section.to_owned(), path.trim_end_matches('/').to_owned())),
                );
            }
        }
        assert_eq!(ours, theirs, "{name}");
        paths += ours.len();
        assert_eq!(manifest.settings, texts(&app["backup"]["settings"]), "{name}");
        assert_eq!(manifest.stores_nothing(), app["backup"].as_object().unwrap().is_empty(), "{name}");
        assert_eq!(manifest.module.version.as_str(), app["version"].to_string());
    }
    assert_eq!(paths, 22, "paths in all");
    assert_eq!(manifests["wordpress"].hooks.all().count(), 2);
}

#[test]
fn they_run_in_the_right_order_and_services_stop_in_reverse_of_starting() {
    let manifests = manifests();
    // Read in the other direction: the order must not come from the input.
    let candidates: Vec<Candidate> =
        manifests.values().rev().map(|manifest| Candidate::of(manifest, Ready::Ready)).collect();
    let selection = select(&candidates, &Request::backup(Modules::All)).unwrap();
    let order: Vec<&str> = selection.chosen.iter().map(|chosen| chosen.id.as_str()).collect();
    // Essential ones first, then by name; coturn before ejabberd, which requires it.
    let expected = [
        "avahi",
        "dynamicdns",
        "bepasty",
        "coturn",
        "ejabberd",
        "mumble",
        "radicale",
        "roundcube",
        "syncthing",
        "wordpress",
    ];
    assert_eq!(order, expected);
    let remarks: Vec<String> = selection.remarks.iter().map(ToString::to_string).collect();
    let missing =
        ["avahi requires names, which is not there", "dynamicdns requires names, which is not there"];
    assert_eq!(remarks, missing, "that application is not in the sample");

    let start = start_order(order.iter().map(|id| &manifests[*id]), Operation::Backup);
    assert!(start.iter().all(|own| own.service.kind == ServiceKind::System));
    let start: Vec<&str> = start.iter().map(|own| own.service.name.as_str()).collect();
    let expected = [
        "uwsgi-app@bepasty-freedombox.socket",
        "coturn",
        "ejabberd",
        "mumble-server",
        "uwsgi-app@radicale.socket",
        "syncthing@syncthing",
    ];
    assert_eq!(start, expected);
    let mut stop = start;
    stop.reverse();
    assert_eq!((stop[0], stop[5]), ("syncthing@syncthing", "uwsgi-app@bepasty-freedombox.socket"));

    // One that is named takes along what it requires, and nothing else.
    let one = Request::backup(Modules::Named(vec![ModuleId::parse("ejabberd").unwrap()]));
    let one = select(&candidates, &one).unwrap();
    let one: Vec<String> =
        one.chosen.iter().map(|chosen| format!("{}: {}", chosen.id, chosen.reason)).collect();
    assert_eq!(one, ["coturn: required by ejabberd", "ejabberd: named"]);
}

/// Every form of a service that its manifests know, also those that the sample does not have.
#[test]
fn services_of_the_web_server_keep_their_kind() {
    let text = r#"{"version": 1, "is_essential": false, "depends": [], "hooks": {}, "backup": {"services": [
        "a", {"type": "system", "name": "b"}, {"type": "apache", "kind": "config", "name": "c"},
        {"type": "apache", "kind": "site", "name": "d"}, {"type": "apache", "kind": "module", "name": "e"}]}}"#;
    let app: Value = serde_json::from_str(text).unwrap();
    let manifest = Manifest::parse("x", convert("x", &app).as_bytes()).unwrap();
    let kinds: Vec<String> = manifest.services.iter().map(|service| service.kind.to_string()).collect();
    assert_eq!(kinds, ["system", "system", "web-config", "web-site", "web-module"]);
}
