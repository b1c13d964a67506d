//! The conformance suite: skeletons pass it, and it finds what is broken in them.

use crate::cli::support::{Place, Run, finish};
use std::fs;
use std::process::Command;

fn dedup(place: &Place, arguments: &[&str]) -> Run {
    finish(place.command(arguments), b"")
}

#[test]
fn the_skeleton_in_python_runs_and_passes() {
    assert_passes("python");
}

/// Once an export that was cancelled within a stream wrote into what the import was then given: in one run of three.
#[test]
fn the_skeleton_in_shell_runs_and_passes() {
    assert_passes("sh");
}

#[test]
fn the_skeleton_in_php_runs_and_passes() {
    assert_passes("php");
}

#[test]
fn the_skeleton_in_rust_runs_and_passes() {
    assert_passes("rust");
}

fn assert_passes(lang: &str) {
    let place = Place::private();
    {
        dedup(&place, &["module", "new", lang, "--lang", lang]).ok();
        if lang == "rust" {
            // As `cargo build --release` would; no crate is needed, so the compiler alone can.
            fs::create_dir_all(place.path("rust/program/target/release")).unwrap();
            let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let built = Command::new(rustc)
                .args(["--edition", "2024", "-D", "warnings", "-O", "-o"])
                .args([
                    place.path("rust/program/target/release/module"),
                    place.path("rust/program/src/main.rs"),
                ])
                .output()
                .unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        // Where modules in shell find the program: it need not be in PATH.
        let program = place.command(["help"]).get_program().to_owned();
        let manifest = place.path(format!("{lang}/{lang}.toml"));
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("cwd =", &format!("env = {{ DEDUP = {program:?} }}\ncwd =")))
            .unwrap();
        let run = dedup(&place, &["module", "check", "--all-operations", lang]);
        assert_eq!(run.code, 0, "{lang}: {}{}", run.out, run.err);
        assert!(run.out.contains("nothing wrong"), "{}", run.out);
        for check in ["import: takes what was exported", "export without raw frames gives the same"] {
            assert!(run.out.contains(&format!("right    {check}")), "{lang}: {}", run.out);
        }
        dedup(&place, &["module", "new", lang]).ends(2).says(&["is there already"]);
    }
    assert!(fs::read_dir(place.path("state/conformance")).unwrap().next().is_none(), "nothing is left");
}

#[test]
fn what_is_broken_is_found_and_named() {
    let place = Place::private();
    let cases = [
        // What is changed in the skeleton, and the check that says so.
        ("link.send({\"t\": \"done\"})", "pass", "describe: says hello"),
        ("return VERSION", "return 1", "an unknown version"),
        ("\"sha256\": self._digest.hexdigest()", "\"sha256\": \"0\" * 64", "export: every stream ends"),
        (
            "out.config(\"greeting\", \"hello\")",
            "out.config(\"pid\", __import__(\"os\").getpid())",
            "gives the same",
        ),
        (
            "features = hello[\"op\"], [feature",
            "features = hello[\"op\"], [\"raw\"] or [feature",
            "without raw frames",
        ),
        (
            "\"code\": \"unsupported\", \"msg\": \"there is",
            "\"code\": \"internal\", \"msg\": \"there is",
            "refused as unsupported",
        ),
        ("source.take(\"records\")", "pass", "import: takes what"),
    ];
    for (n, (from, to, check)) in cases.iter().enumerate() {
        let name = format!("broken{n}");
        dedup(&place, &["module", "new", &name]).ok();
        let files = ["module.py", "dedup_module/module.py", "dedup_module/wire.py"];
        let found = files.iter().find(|file| {
            let path = place.path(format!("{name}/{file}"));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace(from, to)).unwrap();
            text.contains(from)
        });
        assert!(found.is_some(), "{from} is nowhere in the skeleton");
        if *check == "import: takes what" {
            let path = place.path(format!("{name}/module.py"));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("queues = list(source.records(\"queues\"))", "queues = []"))
                .unwrap();
        }
        let run = dedup(&place, &["module", "check", "--all-operations", &name]).ends(2);
        let wrong: Vec<&str> =
            run.out.lines().filter(|line| line.trim_start().starts_with("wrong")).collect();
        assert!(wrong.iter().any(|line| line.contains(check)), "{from}: {}", run.out);
    }
}

#[test]
fn the_verdict_is_there_for_programs_too() {
    let place = Place::private();
    dedup(&place, &["module", "new", "app"]).ok();
    let json = dedup(&place, &["module", "check", "--json", "app"]).ok().json();
    assert_eq!((&json["type"], &json["checks_wrong"]), (&"module_conformance".into(), &0.into()));
    let checks = json["programs"][0]["checks"].as_array().unwrap();
    assert!(
        checks
            .iter()
            .any(|check| check["outcome"] == "skipped" && check["why"] == "it would change this machine")
    );
    fs::create_dir(place.path("none")).unwrap();
    dedup(&place, &["module", "check", "none"]).ends(2).says(&["no manifest in it"]);
}
