//! `dedup module`: manifests and job files, checked by the real program.

use super::support::Place;
use serde_json::Value;
use std::fs;
use std::path::Path;

const WRONG: &str = "schema = 1\n[module]\nid = \"app\"\nvresion = \"3\"\n[data]\nfiles = [\"etc/x\"]\n[[source]]\nname = \"db\"\ndriver = \"postgres\"\n";

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).to_str().unwrap().to_owned()
}

#[test]
fn right_files_are_named_with_what_they_are() {
    let place = Place::empty();
    let (app, job) = (data("manifests/wordpress.toml"), data("jobs/nightly.toml"));
    let run = place.run(["module", "check", &app, &job]).ok().quiet();
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(
        lines,
        [format!("{app}: module wordpress, version 4: no errors"), format!("{job}: job nightly: no errors")]
    );
    assert_eq!(place.run(["module", "check", "-q", &app]).ok().quiet().out, "");
    fs::write(place.path("empty.toml"), "schema = 1\n[module]\nid = \"avahi\"\n").unwrap();
    assert!(place.run(["module", "check", "empty.toml"]).ok().out.contains("declares nothing to store"));
}

#[test]
fn every_error_of_every_file_is_told_at_once_with_its_place() {
    let place = Place::empty();
    fs::write(place.path("wrong.toml"), WRONG).unwrap();
    fs::write(place.path("job.toml"), "schema = 1\n[job]\nid = \"j\"\njitter = \"5m\"\n").unwrap();
    let run = place
        .run(["module", "check", "wrong.toml", &data("manifests/short.toml"), "job.toml"])
        .ends(2)
        .quiet();
    let places: Vec<&str> =
        run.out.lines().filter(|line| line.contains(".toml:") && line.matches(':').count() >= 3).collect();
    assert_eq!(places.len(), 4, "{}", run.out);
    for (line, begin) in
        places.iter().zip(["wrong.toml:4:1: ", "wrong.toml:6:10: ", "wrong.toml:9:10: ", "job.toml:4:1: "])
    {
        assert!(line.starts_with(begin), "{line}");
    }
    for word in [
        "did you mean `version`?",
        "\"etc/x\" is not absolute",
        "did you mean \"postgresql\"?",
        "3 errors",
        "1 error",
        "module notes",
    ] {
        assert!(run.out.contains(word), "{word} is missing in {}", run.out);
    }
    let newer = WRONG.replace("schema = 1", "schema = 2");
    fs::write(place.path("newer.toml"), newer).unwrap();
    let run = place.run(["module", "check", "newer.toml", "-q"]).ends(2);
    assert_eq!(run.out.lines().count(), 2, "{}", run.out);
    assert!(
        run.out.contains("schema 2")
            && run.out.contains("schema 1")
            && run.out.contains("install a newer dedup")
    );
}

#[test]
fn programs_are_told_the_same() {
    let place = Place::empty();
    fs::write(place.path("wrong.toml"), WRONG).unwrap();
    let check = place
        .run(["module", "check", "--json", "wrong.toml", &data("manifests/iotstack.toml")])
        .ends(2)
        .quiet()
        .json();
    assert_eq!((&check["type"], &check["files_wrong"]), (&"module_check".into(), &1.into()));
    let (wrong, right) = (&check["files"][0], &check["files"][1]);
    assert_eq!(
        (&wrong["path"], &wrong["kind"], &wrong["id"]),
        (&"wrong.toml".into(), &"manifest".into(), &Value::Null)
    );
    assert_eq!((&right["id"], right["problems"].as_array().unwrap().len()), (&"iotstack".into(), 0));
    let first = &wrong["problems"][0];
    let place_of = (first["line"].as_u64(), first["column"].as_u64(), first["key"].as_str());
    assert_eq!(place_of, (Some(4), Some(1), Some("module.vresion")));
    assert_eq!(wrong["problems"].as_array().unwrap().len(), 3);
}

/// What a file holds must not drive the terminal, nor fake a second line.
#[test]
fn hostile_files_are_refused_in_plain_words() {
    let place = Place::empty();
    fs::write(
        place.path("evil.toml"),
        "schema = 1\n\"\\u001b[2J\\nx:1:1: fine\" = 1\n[module]\nid = \"a\"\n",
    )
    .unwrap();
    let run = place.run(["module", "check", "evil.toml"]).ends(2);
    assert!(!run.out.contains('\u{1b}') && run.out.lines().count() == 3, "{:?}", run.out);
    fs::write(place.path("deep.toml"), format!("x{} = 1\n", ".x".repeat(100_000))).unwrap();
    fs::write(place.path("large.toml"), "#".repeat(300_000)).unwrap();
    fs::write(place.path("binary.toml"), [0xff; 64]).unwrap();
    for (file, word) in [("deep.toml", "16 levels"), ("large.toml", "256 KiB"), ("binary.toml", "UTF-8")] {
        let run = place.run(["module", "check", file]).ends(2);
        assert!(run.out.contains(word), "{}", run.out);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let place = Place::empty();
    fs::create_dir(place.path("dir")).unwrap();
    place.run(["module", "check", "dir"]).ends(2).says(&["dir is a directory", "name the manifests"]);
    place.run(["module", "check", "nowhere.toml"]).ends(2).says(&["nowhere.toml is not there"]);
    place.run(["module", "check", "/dev/zero"]).ends(2).says(&["no regular file"]);
    place.run(["module", "check"]).ends(2).says(&["FILE"]);
}

#[test]
fn the_schema_knows_the_keys() {
    let place = Place::empty();
    let schema = place.run(["module", "schema"]).ok().quiet().json();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["properties"]["data"]["properties"]["directories"]["type"], "array");
    let job = place.run(["module", "schema", "--job"]).ok().quiet().json();
    assert_eq!(job["properties"]["retain"]["properties"]["daily"]["default"], 5);
}
