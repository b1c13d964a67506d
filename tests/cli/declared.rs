//! `dedup module list`, `show`, `discover`: what is declared on this machine.

use super::support::{PermissionsExt, Place, Run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A place whose user has manifests in the usual directory.
struct Declared(Place);

impl Declared {
    fn new() -> Self {
        let place = Place::private();
        fs::create_dir_all(place.path("home/.config/dedup/modules.d")).unwrap();
        Self(place)
    }

    fn manifest(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path("home/.config/dedup/modules.d").join(name);
        fs::write(&path, format!("schema = 1\n{text}")).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.0.run([&["module"], arguments].concat())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_fresh_machine_has_none_and_is_told_what_to_do() {
    let place = Place::private();
    place.run(["module", "list"]).ok().says(&["no modules are declared", "dedup module discover"]);
    place.run(["module", "show", "wiki"]).ends(1).says(&["there is no module wiki", "dedup module list"]);
}

/// As `fwconsole bu --implemented` does: who takes part, and with what.
#[test]
fn modules_that_take_part_are_listed_with_what_they_implement() {
    let declared = Declared::new();
    declared.manifest(
        "app.toml",
        "[module]\nid = \"app\"\nversion = \"2.1\"\n[config]\nfiles = [\"/etc/app.conf\"]\n[secrets]\nglob = [\"/etc/app/*.key\"]\n\
         [[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = \"/var/lib/app.db\"\n\
         [hooks]\nbackup_pre = { run = [\"/bin/true\"] }\nreset = { run = [\"/bin/true\"] }\n[restore]\nreset = \"command\"\n\
         [exporter]\ncommand = [\"/bin/true\"]\n[[legacy]]\nformat = \"freepbx\"\nimport = [\"tables\"]\n",
    );
    declared.manifest("none.toml", "[module]\nid = \"none\"\n");
    declared
        .manifest("off.toml", "[module]\nid = \"off\"\nenabled = false\n[data]\ndirectories = [\"/srv\"]\n");
    declared.manifest("bad.toml", "[module]\nid = \"bad\"\ncolour = 1\n");
    let words = "config secrets exporter reset legacy source:db hook:backup_pre hook:reset";
    let list = declared.run(&["list", "--implemented"]).ok();
    let lines: Vec<Vec<&str>> = list.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let app: Vec<&str> = ["app", "2.1"].into_iter().chain(words.split(' ')).collect();
    assert!(lines.contains(&app), "{}", list.out);
    assert!(!list.out.contains("off") && !list.out.contains("bad"), "{}", list.out);
    let list = declared.run(&["list", "--implemented", "--json"]).ok().json();
    let ids: Vec<&str> =
        list["modules"].as_array().unwrap().iter().map(|module| module["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["app", "none"]);
    let expected: Vec<&str> = words.split(' ').collect();
    assert_eq!(list["modules"][0]["implements"], serde_json::json!(expected));
    assert_eq!(list["modules"][1]["implements"], serde_json::json!([]));
    let all = declared.run(&["list", "--json"]).ok().json();
    let of = |id: &str| all["modules"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone();
    assert_eq!(of("off")["implements"], serde_json::json!(["data"]));
    assert!(of("bad")["implements"].is_null(), "nobody knows");
}

#[test]
fn every_state_is_told_with_its_reason() {
    let declared = Declared::new();
    let mark = declared.0.path("mark");
    declared.manifest("app.toml", "[module]\nid = \"app\"\nversion = \"2.1\"\nname = \"App\"\n");
    declared.manifest("off.toml", "[module]\nid = \"off\"\nenabled = false\n");
    declared.manifest("new.toml", &format!("[module]\nid = \"new\"\n[setup]\nfile = \"{}\"\n", text(&mark)));
    declared
        .manifest("asks.toml", "[module]\nid = \"asks\"\n[setup]\nstate = [\"platformctl\", \"state\"]\n");
    let broken = declared.manifest("bad.toml", "[module]\nid = \"bad\"\ncolour = 1\n");
    let (one, two) = (
        declared.manifest("t1.toml", "[module]\nid = \"twice\"\n"),
        declared.manifest("t2.toml", "[module]\nid = \"twice\"\n"),
    );
    let list = declared.run(&["list", "--json"]).ok().quiet().json();
    assert_eq!(list["type"], "modules");
    let of = |id: &str| list["modules"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone();
    let states =
        ["app", "asks", "bad", "new", "off", "twice"].map(|id| of(id)["state"].as_str().unwrap().to_owned());
    assert_eq!(states, ["ready", "unknown", "invalid", "needs-setup", "disabled", "invalid"]);
    assert_eq!(
        (&of("app")["version"], &of("app")["name"], &of("app")["directory"]),
        (&"2.1".into(), &"App".into(), &"user".into())
    );
    assert_eq!(of("app")["reason"], Value::Null);
    for (id, words) in [
        ("bad", [text(&broken), ":4:1: "]),
        ("new", [text(&mark), "is not there"]),
        ("twice", [text(&one), text(&two)]),
        ("asks", ["platformctl", "knows"]),
    ] {
        let reason = of(id)["reason"].as_str().unwrap().to_owned();
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    }
    fs::write(&mark, "").unwrap();
    let lines = declared.run(&["list"]).ok().quiet().out;
    assert!(lines.lines().any(|line| line.starts_with("new ") && line.contains(" ready ")), "{lines}");
    declared.run(&["show", "bad"]).ends(2).says(&["cannot be used", ":4:1:", "dedup module check"]);
}

#[test]
fn a_directory_that_is_named_decides() {
    let declared = Declared::new();
    declared.manifest("app.toml", "[module]\nid = \"app\"\nversion = \"1\"\n");
    let dir = declared.0.path("more");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("mine.toml"), "schema = 1\n[module]\nid = \"app\"\nversion = \"2\"\n").unwrap();
    let run = declared.run(&["list", "--modules-dir", "more", "-v"]).ok().says(&["more/mine.toml replaces"]);
    assert!(run.out.contains("app     2"), "{}", run.out);
    let list = declared.run(&["list", "--modules-dir", "more", "--json"]).ok().json();
    assert_eq!(list["modules"][0]["replaces"].as_array().unwrap().len(), 1);
    declared.run(&["list", "--modules-dir", "nowhere"]).ok().says(&["warning", "nowhere"]);
}

#[test]
fn show_tells_what_a_run_would_do() {
    let declared = Declared::new();
    let data = declared.0.path("srv/app");
    fs::create_dir_all(data.join("cache")).unwrap();
    fs::create_dir_all(data.join("deep")).unwrap();
    fs::write(data.join("one"), vec![b'x'; 3000]).unwrap();
    fs::write(data.join("cache/left-out"), vec![b'x'; 9999]).unwrap();
    fs::write(data.join("deep/secret"), "s").unwrap();
    fs::write(declared.0.path("srv/a.conf"), "12345").unwrap();
    let program = declared.0.path("hook");
    fs::write(&program, "").unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let srv = declared.0.path("srv");
    declared.manifest("base.toml", "[module]\nid = \"base\"\n");
    declared.manifest("top.toml", "[module]\nid = \"top\"\n[depends]\nrequires = [\"App\"]\n");
    declared.manifest(
        "app.toml",
        &format!(
            "[module]\nid = \"app\"\n[depends]\nrequires = [\"base >= 1\"]\n[paths]\nSRV = \"/elsewhere\"\n\
             [config]\nglob = [\"${{SRV}}/*.conf\"]\nfiles = [\"${{SRV}}/none\"]\n\
             [data]\ndirectories = [\"${{SRV}}/app\"]\nexclude = [\"/cache\"]\nfiles = [\"${{SRV}}/app/deep\"]\n\
             [secrets]\nfiles = [\"${{SRV}}/app/deep/secret\"]\n\
             [[source]]\nname = \"db\"\ndriver = \"sqlite\"\npath = \"${{SRV}}/db\"\n\
             [[service]]\nname = \"first\"\nkind = \"system\"\n[[service]]\nname = \"second\"\nkind = \"system\"\n\
             [hooks]\nbackup_pre = {{ run = [\"{}\", \"x\"] }}\nbackup_post = {{ run = [\"/nowhere/hook\"] }}\n",
            text(&program)
        ),
    );
    // The variable is another path on this machine.
    fs::write(declared.0.path("dedup.toml"), format!("[paths]\nSRV = \"{}\"\nTYPO = \"/x\"\n", text(&srv)))
        .unwrap();
    let run = declared.run(&["show", "APP", "--json"]).ok().says(&["TYPO"]);
    let show = run.json();
    assert_eq!((&show["type"], &show["id"]), (&"module".into(), &"app".into()));
    let item = |path: &str| {
        let wanted = srv.join(path);
        let mut items = show["items"].as_array().unwrap().iter();
        items.find(|item| item["path"] == text(&wanted)).unwrap_or_else(|| panic!("{path}: {show}")).clone()
    };
    assert_eq!(
        (&item("app")["entries"], &item("app")["source_bytes"]),
        (&2.into(), &3000.into()),
        "{}",
        item("app")
    );
    assert_eq!(
        (&item("*.conf")["presence"], &item("*.conf")["source_bytes"]),
        (&"present".into(), &5.into())
    );
    assert_eq!(item("none")["presence"], "absent");
    assert_eq!(item("app/deep")["presence"], "wrong-kind");
    assert_eq!(
        (&item("app/deep/secret")["section"], &item("app/deep/secret")["source_bytes"]),
        (&"secrets".into(), &1.into())
    );
    let stops: Vec<_> =
        show["stops"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(stops, ["second", "first"], "in reverse");
    assert_eq!((&show["requires"][0], &show["required_by"][0]), (&"base >= 1".into(), &"top".into()));
    assert_eq!(show["programs"][0]["program"], text(&program));
    assert_eq!(show["programs"][0]["refused"], Value::Null);
    assert!(show["programs"][1]["refused"].as_str().unwrap().contains("/nowhere/hook"));
    let shown = declared.run(&["show", "app"]).ok().out;
    for word in [
        "app, version 0: ready",
        "absent",
        "is no file",
        "would not be started",
        "db: sqlite",
        "second (system)",
        "top",
    ] {
        assert!(shown.contains(word), "{word} is missing in\n{shown}");
    }
    let quick = declared.run(&["show", "app", "--no-size", "--json"]).ok().json();
    assert_eq!(quick["items"][0]["presence"], Value::Null);
    declared.run(&["show", "ap"]).ends(1).says(&["did you mean app?"]);
}

/// On the machine of the tests, whatever it has: what is proposed passes `check`, and nothing is written over.
#[test]
fn proposals_are_manifests_and_files_are_left_as_they_are() {
    let place = Place::private();
    let found = place.run(["module", "discover", "--json"]).ok().json();
    assert_eq!(found["type"], "discovered");
    let proposals = found["proposals"].as_array().unwrap();
    let ids: Vec<&str> = proposals.iter().map(|it| it["id"].as_str().unwrap()).collect();
    let Some(first) = ids.first() else {
        return super::support::skip("nothing is installed here that is known");
    };
    fs::create_dir(place.path("out")).unwrap();
    let mine = place.path("out").join(format!("{first}.toml"));
    fs::write(&mine, "mine").unwrap();
    place.run(["module", "discover", "--write", "out"]).ok().says(&["left as it is"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    fs::remove_file(&mine).unwrap();
    place.run(["module", "discover", "--write", "out"]).ok();
    let files: Vec<PathBuf> =
        fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), ids.len());
    for file in &files {
        place.run(["module", "check", text(file)]).ok();
    }
    let printed = place.run(["module", "discover"]).ok();
    assert!(
        ids.iter().all(|id| printed.out.contains(&format!("# ---- {id}.toml\nschema = 1\n"))),
        "{}",
        printed.out
    );
    // What is declared is proposed no more.
    let again = place.run(["module", "discover", "--modules-dir", "out", "--json"]).ok().json();
    assert_eq!(
        (again["proposals"].as_array().unwrap().len(), again["declared"].as_array().unwrap().len()),
        (0, ids.len())
    );
}
