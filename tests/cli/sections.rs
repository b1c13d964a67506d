//! `-m`, `--section` and `source:NAME`: what is chosen of a snapshot of several modules.

use super::support::Place;
use crate::support::parts::{run, store, stream};
use crate::support::trees;
use crate::support::world::open;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::progress::Silent;
use dedup_engine::repo::Repository;
use dedup_engine::repo::records::{RunRecord, RunVerdict};
use dedup_engine::snapshot::{Account, Section};
use dedup_engine::storage::local::LocalStorage;
use std::fs;
use std::sync::Arc;

const SQL: &[u8] = b"insert into pages values (1);\n";

fn repository(place: &Place) -> Repository {
    let unlock = Unlock::read_key_file(&fs::read_to_string(place.path("key")).unwrap()).unwrap();
    let storage = Arc::new(LocalStorage::open(place.path("repo")).unwrap());
    open(storage, &unlock, &place.path("other-index"), &Silent).unwrap()
}

/// Stores a snapshot of host `test`: module `wiki` with everything, module `chat` with one file.
fn snapshot(place: &Place, moment: i64) -> ObjectId {
    for (tree, name) in [("conf", "wiki.conf"), ("data", "page.txt"), ("keys", "token.pem")] {
        fs::create_dir_all(place.path(tree)).unwrap();
        trees::write(&place.path(tree).join(name), name.as_bytes(), moment);
    }
    let report = run(&repository(place), moment, |parts| {
        let (mut wiki, mut chat) = (Account::new("wiki"), Account::new("chat"));
        store(parts, "wiki", Section::Config, &place.path("conf"))?.enter(&mut wiki);
        store(parts, "wiki", Section::Data, &place.path("data"))?.enter(&mut wiki);
        store(parts, "wiki", Section::Secrets, &place.path("keys"))?.enter(&mut wiki);
        stream(parts, "wiki", Section::Data, &mut &SQL[..]).unwrap().enter(&mut wiki);
        wiki.dumps.push(store(parts, "wiki", Section::Data, &place.path("data"))?.as_dump("tree", "command"));
        store(parts, "chat", Section::Config, &place.path("conf"))?.enter(&mut chat);
        stream(parts, "chat", Section::Secrets, &mut &b"swordfish"[..]).unwrap().enter(&mut chat);
        Ok(vec![wiki, chat])
    });
    report.unwrap().snapshot.unwrap()
}

#[test]
fn a_module_and_a_section_are_chosen() {
    let place = Place::new();
    let id = snapshot(&place, 0).to_hex();
    place.run(["ls", &id]).ends(1).says(&["several modules", "chat, wiki", "-m"]);
    place.run(["ls", &id, "-m", "mail"]).ends(1).says(&["no snapshot"]);
    let ls = |more: &[&str]| place.run([&["ls", &id[..]], more].concat()).ok();
    let data = ls(&["-m", "wiki"]);
    assert!(data.out.contains("page.txt") && !data.out.contains("wiki.conf"), "{}", data.out);
    assert!(data.err.contains("config and secrets"), "{}", data.err);
    assert!(!data.out.contains("token.pem"));
    assert!(ls(&["-m", "wiki", "--section", "config"]).quiet().out.contains("wiki.conf"));
    assert!(ls(&["-m", "wiki", "--section", "secrets"]).quiet().out.contains("token.pem"));
    assert!(ls(&["-m", "chat"]).out.contains("wiki.conf"), "there is no data, so it is the configuration");
    place.run(["ls", &id, "-m", "chat", "--section", "data"]).ends(1).says(&[
        "no section data",
        "--section config",
        "source:db",
    ]);
    place.run(["ls", &id, "-m", "wiki", "--section", "private"]).ends(2).says(&["config, data and secrets"]);
}

#[test]
fn names_are_found_in_every_section_but_that_of_secrets() {
    let place = Place::new();
    snapshot(&place, 0);
    let find =
        |more: &[&str]| place.run([&["find", "*.txt", "*.conf", "*.pem", "--json"], more].concat()).ok();
    let found = |more: &[&str]| {
        let mut found: Vec<String> = find(more).json()["matches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                let name = entry["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
                format!("{} {} {name}", entry["module"].as_str().unwrap(), entry["section"].as_str().unwrap())
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(found(&[]), ["chat config wiki.conf", "wiki config wiki.conf", "wiki data page.txt"]);
    assert_eq!(found(&["-m", "wiki", "--section", "secrets"]), ["wiki secrets token.pem"]);
    assert_eq!(found(&["--section", "data"]), ["wiki data page.txt"]);
}

#[test]
fn what_a_source_gave_is_dumped() {
    let place = Place::new();
    let id = snapshot(&place, 0).to_hex();
    let dump = |more: &[&str]| place.run([&["dump", &id[..]], more].concat());
    assert_eq!(dump(&["-m", "wiki", "source:db"]).ok().out_bytes, SQL);
    let tar = dump(&["-m", "wiki", "source:tree"]).ok().out_bytes;
    assert!(tar.windows(8).any(|bytes| bytes == b"page.txt") && tar.len() % 512 == 0);
    dump(&["-m", "wiki", "source:gone"]).ends(1).says(&["source:db", "source:tree"]);
    dump(&["-m", "wiki", "db"]).ends(2).says(&["source:"]);
    dump(&["-m", "wiki"]).ends(2).says(&["no path"]);
    place.run(["dump", &format!("{id}:/"), "-m", "wiki", "source:db"]).ends(2).says(&["not both"]);
    // Secrets go nowhere by accident.
    dump(&["-m", "chat", "source:db"]).ends(2).says(&["secrets", "--section secrets"]);
    assert_eq!(dump(&["-m", "chat", "--section", "secrets", "source:db"]).ok().out, "swordfish");
}

#[test]
fn snapshots_tell_what_modules_have() {
    let place = Place::new();
    let (first, second) = (snapshot(&place, 0).to_hex(), snapshot(&place, 10).to_hex());
    let list = place.run(["snapshots", "-m", "wiki", "--json"]).ok().json();
    let wiki = &list["snapshots"][1]["modules"][1];
    assert_eq!(wiki["sections"], serde_json::json!(["config", "data", "secrets"]));
    assert_eq!(wiki["dumps"][0]["size_bytes"], SQL.len());
    assert_eq!((&wiki["dumps"][1]["name"], &wiki["dumps"][1]["form"]), (&"tree".into(), &"listing".into()));
    let diff = place.run(["diff", &first, &second, "-m", "wiki", "--section", "secrets"]).ok();
    assert!(diff.out.contains("token.pem") && !diff.out.contains("page.txt"), "{}", diff.out);
    let bytes = |more: &[&str]| {
        let stats = place.run([&["stats", "--json"], more].concat()).ok().json();
        stats["source_bytes"].as_u64().unwrap()
    };
    assert_eq!(bytes(&["-m", "wiki"]) + bytes(&["-m", "chat"]), bytes(&[]));
    let target = place.path("out");
    let arguments = ["restore", &second, "-m", "wiki", "--section", "secrets", "--target"];
    place.run(arguments.into_iter().chain([target.to_str().unwrap()])).ok();
    let restored = target.join(place.path("keys/token.pem").strip_prefix("/").unwrap());
    assert_eq!(fs::read(restored).unwrap(), b"token.pem");
}

/// The key that was made for looking around does not open secrets, and says so; a check does not call whole what it
/// could not see.
#[test]
fn a_key_without_secrets_says_what_it_does_not_open() {
    let place = Place::new();
    let id = snapshot(&place, 0).to_hex();
    place.run(["key", "add", "--new-key-file", "poor", "--no-secrets"]).ok();
    let poor = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("DEDUP_KEY_FILE", place.path("poor"));
        super::support::finish(command, b"")
    };
    assert!(poor(&["ls", &id, "-m", "wiki"]).ok().out.contains("page.txt"));
    poor(&["ls", &id, "-m", "wiki", "--section", "secrets"])
        .ends(2)
        .says(&["does not open secrets", "--no-secrets"]);
    let check = poor(&["check", "--read-data"]).ok();
    assert!(check.out.contains("secrets were not looked at"), "{}", check.out);
    assert!(check.err.contains("does not open secrets"), "{}", check.err);
    poor(&["check", "--strict"]).ends(4);
    assert!(place.run(["check"]).ok().out.ends_with("no damage was found\n"));
}

#[test]
fn latest_is_none_that_was_called_suspect() {
    let place = Place::new();
    let (first, second) = (snapshot(&place, 0), snapshot(&place, 10));
    let repo = repository(&place);
    let session = repo.snapshots().unwrap()[1].1.session;
    let record = RunRecord {
        number: 0,
        snapshot: second,
        verdict: RunVerdict::Suspect,
        text: "the wiki was running".into(),
        hooks: Vec::new(),
        time: Time { secs: 0, nanos: 0 },
    };
    repo.add_run_record(session, &record).unwrap();
    let ls = |word: &str| place.run(["ls", word, "--host", "test", "-m", "wiki", "--json"]).ok();
    let latest = ls("latest");
    assert_eq!(latest.json()["snapshot_id"], first.to_hex());
    let told = place.run(["ls", "latest", "--host", "test", "-m", "wiki"]).ok();
    assert!(told.err.contains(&second.short()) && told.err.contains("the wiki was running"), "{}", told.err);
    assert_eq!(ls("latest-any").json()["snapshot_id"], second.to_hex());
}
