//! Step R13 with a module's own program: what it leaves of what was exported is told.

use super::app::Machine;
use std::fs;
use std::path::Path;

/// Exports two streams, and takes one of them back.
const HALF: &str = r#"
import os, sys
from dedup_module import Module, main

class Half(Module):
    name, version, needs = "app", "1", "live"

    def export(self, out):
        for name in ("taken", "left"):
            with out.blob(name) as to:
                to.write(name.encode())

    def import_(self, source):
        with open(os.path.join(sys.argv[1], "imported"), "wb") as to:
            for part in source.blob("taken"):
                to.write(part)

main(Half)
"#;

#[test]
fn step_r13_what_an_importer_leaves_is_told() {
    for strict in [false, true] {
        let machine = Machine::new();
        let (base, program) = (machine.place.path(""), machine.place.path("half.py"));
        fs::write(&program, HALF).unwrap();
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk/python");
        let external = format!(
            "command = [\"python3\", {program:?}, {base:?}]\nenv = {{ PYTHONPATH = {sdk:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n"
        );
        machine.module("app", &format!("[exporter]\n{external}[importer]\n{external}"));
        machine.dedup(&["backup"]).ok();
        fs::write(machine.data("app").join("file"), "wrecked").unwrap();
        let mut arguments = vec!["restore", "latest", "--yes"];
        arguments.extend(strict.then_some("--strict"));
        let run = machine.dedup(&arguments).says(&["did not take all that was exported", "left"]);
        assert_eq!(fs::read(machine.place.path("imported")).unwrap(), b"taken");
        // With --strict its files are as they were before.
        let (code, file) = if strict { (7, "wrecked") } else { (3, "what app has\n") };
        assert_eq!(run.code, code, "{}", run.err);
        assert_eq!(fs::read_to_string(machine.data("app").join("file")).unwrap(), file);
    }
}
