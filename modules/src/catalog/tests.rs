//! Directories that agree, that differ, that are broken, and that others may write.

use super::{Catalog, Dir, Entry, Jobs, MachinePaths, Rank, Wrong, load};
use crate::id::ModuleId;
use crate::manifest::Manifest;
use crate::manifest::paths::Variables;
use crate::selection::Ready;
use crate::trust::{Trust, TrustError};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Directories `system`, `user` and `given`, where nobody else may write.
struct Machine(#[expect(dead_code, reason = "removes the directory")] tempfile::TempDir, PathBuf);

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(std::env::var("HOME").expect("a home directory")).unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        for dir in ["system", "user", "given"] {
            fs::create_dir(path.join(dir)).unwrap();
        }
        Self(directory, path)
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.1.join(file);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a module whose description tells the file it came from.
    fn module(&self, file: &str, id: &str) -> PathBuf {
        let about = format!("schema = 1\n[module]\nid = \"{id}\"\ndescription = \"{file}\"\n");
        self.write(file, &format!("{about}[data]\nfiles = [\"/srv/{id}\"]\n"))
    }

    fn dirs(&self) -> [Dir; 3] {
        [("system", Rank::System), ("user", Rank::User), ("given", Rank::Given)]
            .map(|(name, rank)| Dir { path: self.1.join(name), rank })
    }

    fn load(&self) -> Catalog {
        load(me(), &self.dirs())
    }
}

fn me() -> Trust {
    Trust::of(rustix::process::geteuid().as_raw())
}

fn id(text: &str) -> ModuleId {
    ModuleId::parse(text).unwrap()
}

fn ids(catalog: &Catalog) -> Vec<&str> {
    catalog.entries.keys().map(ModuleId::as_str).collect()
}

fn about(entry: &Entry<Manifest>) -> &str {
    &entry.what.as_ref().unwrap().module.description
}

#[test]
fn the_later_directory_decides() {
    let machine = Machine::new();
    machine.module("system/a.toml", "app");
    machine.module("system/b.toml", "base");
    machine.module("given/z.toml", "App");
    machine.module("user/own.toml", "own");
    machine.write("system/notes.txt", "no manifest");
    machine.write("system/.#a.toml", "of an editor");
    let catalog = machine.load();
    assert_eq!(ids(&catalog), ["app", "base", "own"]);
    let app = catalog.get(&id("app")).unwrap();
    assert_eq!((about(app), app.rank), ("given/z.toml", Rank::Given));
    assert_eq!(app.replaces, [machine.1.join("system/a.toml")]);
    assert!(catalog.is_whole(), "{:?}", catalog.faults);
}

#[test]
fn for_root_the_users_directory_only_adds() {
    let machine = Machine::new();
    let system = machine.module("system/app.toml", "app");
    let user = machine.module("user/app.toml", "app");
    let catalog = machine.load();
    let app = catalog.get(&id("app")).unwrap();
    if !me().is_root() {
        assert_eq!((about(app), &app.replaces[..]), ("user/app.toml", &[system][..]));
        return;
    }
    assert_eq!((about(app), app.replaces.len()), ("system/app.toml", 0));
    assert!(!catalog.is_whole());
    let [fault] = &catalog.faults[..] else { panic!("{:?}", catalog.faults) };
    assert_eq!(fault.path, user);
    assert!(matches!(&fault.wrong, Wrong::OverSystem { system: file, .. } if *file == system));
}

#[test]
fn the_same_id_twice_is_nobodys() {
    let machine = Machine::new();
    let (one, two) = (machine.module("system/1.toml", "app"), machine.module("system/2.toml", "APP"));
    machine.module("system/3.toml", "other");
    let catalog = machine.load();
    let (_, wrong) = catalog.unusable().next().unwrap();
    assert!(matches!(wrong, Wrong::Twice { of, .. } if *of == [one.clone(), two.clone()]));
    let text = wrong.to_string();
    assert!(text.contains(one.to_str().unwrap()) && text.contains(two.to_str().unwrap()), "{text}");
    assert_eq!(catalog.usable().count(), 1);
    // A later directory settles it.
    machine.module("given/app.toml", "app");
    let catalog = machine.load();
    assert!(catalog.is_whole());
    assert_eq!(about(catalog.get(&id("app")).unwrap()), "given/app.toml");
}

#[test]
fn a_broken_file_spoils_its_own_module_only() {
    let machine = Machine::new();
    machine.module("system/good.toml", "good");
    machine.module("system/app.toml", "app");
    // Broken in its meaning: its id can still be told. Then in its TOML, and beyond that.
    machine.write("given/x.toml", "schema = 1\n[module]\nid = \"app\"\ncolour = 1\n");
    machine.write("given/wiki.toml", "schema = = 1\n[");
    machine.write("given/no id.toml", "schema = = 1\n[");
    machine.write("given/large.toml", &"#".repeat(300_000));
    machine.write("given/deep.toml", &format!("x{} = 1\n", ".x".repeat(100_000)));
    fs::create_dir(machine.1.join("given/dir.toml")).unwrap();
    symlink("nowhere", machine.1.join("given/dangling.toml")).unwrap();
    let catalog = machine.load();
    assert_eq!(ids(&catalog), ["app", "dangling", "deep", "dir", "good", "large", "wiki"]);
    let app = catalog.get(&id("app")).unwrap();
    // What the system says of it must not come back in silence.
    assert_eq!(app.replaces, [machine.1.join("system/app.toml")]);
    let text = app.what.as_ref().unwrap_err().to_string();
    assert!(text.contains("given/x.toml:4:1: "), "file, line and column: {text}");
    assert_eq!(catalog.usable().map(|manifest| manifest.module.id.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(catalog.faults.len(), 1);
    assert!(catalog.faults[0].path.ends_with("no id.toml"));
    assert!(!catalog.is_whole());
}

#[test]
fn what_others_may_write_is_not_used() {
    let machine = Machine::new();
    let app = machine.module("system/app.toml", "app");
    machine.module("system/good.toml", "good");
    let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    set(&app, 0o646);
    let catalog = machine.load();
    assert_eq!(catalog.usable().count(), 1);
    let (entry, wrong) = catalog.unusable().next().unwrap();
    assert_eq!(entry.id, id("app"));
    assert!(matches!(wrong, Wrong::Trust(TrustError::Untrusted { at, .. }) if *at == app));
    // A directory in which anybody may put a file: nothing of it.
    set(&app, 0o644);
    set(&machine.1.join("given"), 0o777);
    machine.module("given/evil.toml", "evil");
    let catalog = machine.load();
    assert_eq!(ids(&catalog), ["app", "good"]);
    assert!(matches!(&catalog.faults[..], [fault] if fault.path == machine.1.join("given")));
}

#[test]
fn directories_that_are_not_there() {
    let machine = Machine::new();
    fs::remove_dir(machine.1.join("system")).unwrap();
    fs::remove_dir(machine.1.join("user")).unwrap();
    assert!(machine.load().is_whole());
    fs::remove_dir(machine.1.join("given")).unwrap();
    assert!(matches!(&machine.load().faults[..], [_]), "it was named for this run");
}

#[test]
fn jobs_and_manifests_are_told_apart() {
    let machine = Machine::new();
    machine.write("system/nightly.toml", "schema = 1\n[job]\nid = \"nightly\"\n");
    machine.module("system/app.toml", "app");
    let catalog = machine.load();
    assert_eq!(ids(&catalog), ["app"]);
    assert!(matches!(&catalog.faults[..], [fault] if fault.wrong.to_string().contains("jobs.d")));
    let jobs: Jobs = load(me(), &machine.dirs());
    assert_eq!(jobs.usable().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["nightly"]);
    assert!(matches!(&jobs.faults[..], [fault] if fault.wrong.to_string().contains("modules.d")));
}

#[test]
fn more_files_than_anybody_has_are_told() {
    let machine = Machine::new();
    for n in 0..super::MAX_FILES + 3 {
        machine.write(&format!("given/{n}.toml"), "");
    }
    let catalog = machine.load();
    assert_eq!(catalog.entries.len(), super::MAX_FILES);
    assert!(matches!(&catalog.faults[..], [fault] if matches!(fault.wrong, Wrong::TooMany)));
}

#[test]
fn candidates_are_what_can_be_used_and_asked() {
    let machine = Machine::new();
    machine.write("system/a.toml", "schema = 1\n[module]\nid = \"a\"\naliases = [\"old\"]\n");
    machine.write("system/b.toml", "schema = 1\n[module]\nid = \"b\"\n[depends]\nrequires = [\"old\"]\n");
    machine.write("system/c.toml", "schema = 1\n[module]\nid = \"c\"\nenabled = false\n");
    machine.write("system/d.toml", "schema = 1\n[module]\nid = \"d\"\n");
    machine.write("system/e.toml", "schema = 1\n[module]\nid = \"e\"\nwrong = 1\n");
    let catalog = machine.load();
    let mut asked = Vec::new();
    let (candidates, unknown) = catalog.candidates(&mut |manifest| {
        let id = manifest.module.id.as_str();
        asked.push(id.to_owned());
        match id {
            "d" => Err("no answer"),
            "b" => Ok(Ready::NeedsSetup),
            _ => Ok(Ready::Ready),
        }
    });
    assert_eq!(asked, ["a", "b", "d"], "nothing is asked of what is disabled or broken");
    let seen: Vec<_> = candidates.iter().map(|it| (it.id.as_str(), it.enabled, it.ready)).collect();
    let (ready, needs_setup) = (Ready::Ready, Ready::NeedsSetup);
    assert_eq!(seen, [("a", true, ready), ("b", true, needs_setup), ("c", false, ready)]);
    assert_eq!(unknown, [(id("d"), "no answer")]);
    assert_eq!(catalog.find(&id("old")).unwrap().id, id("a"));
    assert_eq!(catalog.required_by(&id("a")).collect::<Vec<_>>(), [&id("b")]);
}

#[test]
fn paths_of_this_machine_replace_those_of_the_manifests() {
    let machine = Machine::new();
    machine
        .write("system/a.toml", "schema = 1\n[module]\nid = \"a\"\n[paths]\nDATA = \"/a\"\nLOG = \"/l\"\n");
    machine.write("system/b.toml", "schema = 1\n[module]\nid = \"b\"\n[paths]\nDATA = \"/b\"\n");
    let catalog = machine.load();
    let variables = |list: &[(&str, &str)]| {
        let mut variables = Variables::default();
        list.iter().for_each(|(name, value)| variables.set(*name, *value));
        variables
    };
    let here = MachinePaths {
        of_all: variables(&[("DATA", "/here"), ("DTAA", "/typo")]),
        of_module: [
            (id("b"), variables(&[("DATA", "/own"), ("LOG", "/none")])),
            (id("gone"), variables(&[("X", "/x")])),
        ]
        .into(),
    };
    let of = |name| here.of(catalog.get(&id(name)).unwrap().what.as_ref().unwrap());
    assert_eq!(of("a"), variables(&[("DATA", "/here"), ("LOG", "/l")]));
    assert_eq!(of("b"), variables(&[("DATA", "/own")]));
    assert_eq!(here.unused(&catalog), ["DTAA", "b.LOG", "gone.X"]);
}
