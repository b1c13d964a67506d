//! Everything that repair plugins of FirstAidKit do with spaces, by its own name, in Python.

use super::{program, sdk};
use crate::runs::app::Machine;
use serde_json::{Value, json};
use std::fs;

#[test]
fn every_name_of_spaces_does_what_it_says() {
    let machine = Machine::new();
    let path = program(&machine, "names.py", include_str!("space_names.py"));
    let (home, sdk) = (machine.place.path("data"), sdk());
    let command = format!(
        "command = [\"python3\", {path:?}, {home:?}]\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n"
    );
    machine.module("names", &format!("[importer]\n{command}"));
    machine.dedup(&["space", "run", "names"]).ok();
    let did: Value = serde_json::from_slice(&fs::read(home.join("did.json")).unwrap()).unwrap();
    let conf = home.join("conf").display().to_string();
    let expected = json!({
        "getBackup": [true, true, "names.passing"],
        "persistent": [false, true],
        "backupPath": [[conf, "the link"], true, true],
        "backupValue": [true, true],
        "restoreValue": [true, true],
        "exists": [true, true, true, false, false, false],
        "restorePath": ["as it was", true],
        "restoreName": ["conf", "as it was", true],
        "delete": [["value"], true],
        "names": ["conf", "the link"],
        "cleanup": [[], "as it was"],
        "closeBackup": [true, [], ["of"]],
        "not called": [],
    });
    for (name, expected) in expected.as_object().unwrap() {
        assert_eq!(&did[name], expected, "{name}");
    }
    assert_eq!(did.as_object().unwrap().len(), expected.as_object().unwrap().len());
    let left = || {
        let spaces = machine.dedup(&["space", "list", "--json"]).ok().json();
        let spaces = spaces["spaces"].as_array().unwrap().clone();
        spaces.iter().map(|space| space["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(left(), ["names.kept"], "what is persistent, and nothing else");
    assert!(!home.join("reverted").exists());

    // What fails is put back, and then the plugin's own `revert` is called: in that order.
    for name in ["conf", "link", "copy", "did.json"] {
        fs::remove_file(home.join(name)).unwrap();
    }
    machine.dedup(&["space", "remove", "names.kept", "--yes"]).ok();
    fs::write(home.join("break"), "").unwrap();
    machine.dedup(&["space", "run", "names"]).ends(1).says(&["broken on purpose", "were put back"]);
    assert_eq!(fs::read_to_string(home.join("reverted")).unwrap(), "names as it was");
    assert_eq!(fs::read_to_string(home.join("conf")).unwrap(), "as it was");
}
