//! FreedomBox: manifests of its applications as they are, and its archives.

use super::{Packing, declare, import, module, outcome};
use crate::modules::data;
use crate::runs::app::Machine;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::sections::SectionKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// Reads what `module import` prints.
fn imported(machine: &Machine, path: &str, more: &[&str], status: i32) -> Vec<(String, Manifest)> {
    let run = machine
        .dedup(&[&["module", "import", "--json", "--from", "freedombox", path], more].concat())
        .ends(status);
    let found = run.json();
    let proposals = found["proposals"].as_array().unwrap().clone();
    let read = |proposal: &Value| {
        let text = proposal["manifest"].as_str().unwrap();
        let manifest = Manifest::parse("", text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
        (proposal["id"].as_str().unwrap().to_owned(), manifest)
    };
    proposals.iter().map(read).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Facts of ten applications, each path of which must be declared in its section, and nothing else.
#[test]
fn ten_applications_are_read_as_they_are() {
    let machine = Machine::new();
    let file = data("freedombox.json");
    let facts: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let manifests = imported(&machine, file.to_str().unwrap(), &["--program", "freedombox-hook"], 0);
    assert_eq!(manifests.len(), 10);
    for (id, manifest) in &manifests {
        let app = &facts["apps"][id];
        let items = manifest.items(&manifest.paths).unwrap();
        let ours: BTreeSet<(String, String)> =
            items.iter().map(|item| (item.section.to_string(), item.path.display().to_string())).collect();
        let mut theirs = BTreeSet::new();
        for section in ["config", "data", "secrets"] {
            for key in ["directories", "files"] {
                let paths = texts(&app["backup"][section][key]);
                theirs.extend(
                    paths.iter().map(|path| (section.to_owned(), path.trim_end_matches('/').to_owned())),
                );
            }
        }
        assert_eq!(ours, theirs, "{id}");
        assert_eq!(manifest.settings, texts(&app["backup"]["settings"]), "{id}");
        assert_eq!(manifest.module.version.as_str(), app["version"].to_string(), "{id}");
        assert_eq!(manifest.module.essential, app["is_essential"].as_bool().unwrap(), "{id}");
        let requires: Vec<String> = manifest.depends.requires.iter().map(ToString::to_string).collect();
        assert_eq!(requires, texts(&app["depends"]), "{id}");
        assert_eq!(manifest.services.len(), app["backup"]["services"].as_array().map_or(0, Vec::len), "{id}");
        assert_eq!(manifest.hooks.all().count(), app["hooks"].as_object().unwrap().len(), "{id}");
        assert!(manifest.lockdown.is_some(), "{id}");
    }
    // Without a program that calls them, hooks are told and not invented.
    let run = machine.dedup(&["module", "import", "--from", "freedombox", file.to_str().unwrap()]).ok();
    assert!(run.out.contains("its backup_pre is code of FreedomBox"), "{}", run.out);
}

const PLAIN: &str = r#"
"""Application manifest for tests; what stands in a text is no code: backup = 'no'"""
from django.utils.translation import gettext_lazy as _
STATE = '/var/lib/app'
clients = [{'name': _('App'), 'platforms': [{'type': 'web', 'url': f'/{STATE}'}]}]
backup = {
    'config': {'files': ['/etc/app.conf']},
    'data': {'directories': [STATE,], 'files': ['/etc/secret/public']},
    'secrets': {'directories': ['/etc/secret']},
    'services': ['app', {'type': 'apache', 'kind': 'site', 'name': 'app-site'},
                 {'type': 'apache', 'kind': 'config', 'name': 'app-config'},
                 {'type': 'apache', 'kind': 'module', 'name': 'proxy'}, {'type': 'system', 'name': 'other'}],
    'settings': ['app_enabled'],
    'delete_before_restore': ['/var/lib/app/cache'],
}
"#;
const INIT: &str = "class AppApp(app.App):\n    app_id = 'App'\n    _version = 3\n    def __init__(self):\n        info = app.Info(app_id=self.app_id, version=self._version, depends=['names'], is_essential=True)\n\nclass AppBackup(BackupRestore):\n    def restore_post(self, packet):\n        raise SystemExit\n";

#[test]
fn manifests_in_python_are_read_and_never_run() {
    let machine = Machine::new();
    let mark = machine.place.path("ran");
    let packing = Packing::new(&machine);
    let modules = packing.dir.join("modules");
    packing
        .file("modules/app/manifest.py", PLAIN)
        .file("modules/app/__init__.py", INIT)
        .file("modules/nothing/manifest.py", "clients = []\n")
        .file("modules/code/manifest.py", format!("backup = {{'files': [open({mark:?}, 'w').name]}}\n"))
        .file("modules/odd/manifest.py", "backup = {'services': [{'type': 'magic', 'name': 'x'}]}\n")
        .file("modules/path/manifest.py", "backup = {'data': {'files': ['../etc/passwd']}}\n")
        .file("modules/no-module/readme", "");
    let run = machine
        .dedup(&[
            "module",
            "import",
            "--from",
            "freedombox",
            modules.to_str().unwrap(),
            "--program",
            "/bin/fb",
        ])
        .ends(3);
    for told in [
        "code: line 1: open is not known",
        "odd: a service has the type Some(\"magic\")",
        "path: `data` has the path",
    ] {
        assert!(run.err.contains(told), "{told}: {}", run.err);
    }
    assert!(!mark.exists(), "nothing was run");
    let manifests = imported(&machine, modules.to_str().unwrap(), &["--program", "/bin/fb"], 3);
    let ids: Vec<&str> = manifests.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["app", "nothing"], "one without data is listed too");
    let app = &manifests[0].1;
    let kinds: Vec<String> =
        app.services.iter().map(|service| format!("{} {}", service.kind, service.name)).collect();
    assert_eq!(
        kinds,
        ["system app", "web-site app-site", "web-config app-config", "web-module proxy", "system other"]
    );
    assert_eq!((app.module.version.as_str(), app.module.essential), ("3", true));
    assert_eq!(app.restore.delete_before.len(), 1);
    assert_eq!(app.hooks.restore_post[0].run, ["/bin/fb", "hook", "app", "restore_post"]);
    assert_eq!(app.settings, ["app_enabled"]);
    let section = |path: &str| {
        let items = app.items(&app.paths).unwrap();
        dedup_modules::manifest::items::section_of(&items, path.as_ref())
    };
    assert_eq!(section("/etc/secret/key"), Some(SectionKind::Secrets));
    assert_eq!(section("/etc/secret/public"), Some(SectionKind::Data));
}

/// The list of an older archive, and the map of a newer one.
#[test]
fn an_archive_comes_back_and_takes_nothing_of_its_neighbours() {
    for form in ["map", "list"] {
        let machine = Machine::new();
        let base = machine.place.path("box");
        let (foo, foobar) = (base.join("foo"), base.join("foobar"));
        let text = format!(
            "schema = 1\n[module]\nid = \"foo\"\nversion = \"2\"\n[data]\ndirectories = [{foo:?}]\n[secrets]\nfiles = [{:?}]\n",
            foo.join("key")
        );
        declare(&machine, "foo", &text);
        let app = json!({"name": "foo", "version": 2, "backup": {
            "data": {"directories": [foo, base.join("never")]}, "secrets": {"files": [foo.join("key")]}, "settings": ["a"]}});
        let apps = if form == "map" { json!({"apps": [app]}) } else { json!([app]) };
        let packing = Packing::new(&machine);
        packing
            .file("var/lib/plinth/backups-manifests/abc.json", apps.to_string())
            .file("var/lib/plinth/backups-data/foo-settings.json", json!({"a": {"deep": 1}}).to_string())
            .file(foo.join("mine").to_str().unwrap(), "mine")
            .file(foo.join("key").to_str().unwrap(), "key")
            .file(foobar.join("theirs").to_str().unwrap(), "theirs");
        let imported = import(&machine, "freedombox", &packing.tar_gz(), &[]).json();
        let own = module(&imported, "foo");
        assert_eq!(outcome(own, &format!("data:{}", base.join("never").display())), "absent");
        let snapshot = imported["snapshot_id"].as_str().unwrap().to_owned();
        machine.dedup(&["restore", &snapshot, "-m", "foo", "--yes"]);
        assert_eq!(fs::read(foo.join("mine")).unwrap(), b"mine", "{form}");
        assert_eq!(fs::read(foo.join("key")).unwrap(), b"key", "{form}");
        assert!(!foobar.exists(), "{form}: it begins with the same letters, and is somebody else's");
        let secret = machine.dedup(&["ls", &snapshot, "-m", "foo", "--section", "secrets"]).ok();
        assert!(secret.out.contains("key") && !secret.out.contains("mine"), "{form}: {}", secret.out);
        let data = machine.dedup(&["ls", "--recursive", &snapshot, "-m", "foo", "--section", "data"]).ok();
        assert!(data.out.contains("mine") && !data.out.contains("theirs"), "{form}: {}", data.out);
    }
}
