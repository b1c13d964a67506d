//! What FreedomBox' applications say of themselves, as manifests.
//!
//! Three forms are read as they are: the file `manifest.py` of an application with `__init__.py` beside it, the JSON that
//! FreedomBox puts into its archives (a map with `apps`, in older ones a bare list), and a map from names to such entries.

use super::python::{Literal, Source};
use crate::discover::{Draft, Proposal, Raw, path_text};
use crate::id::ModuleId;
use crate::manifest::Manifest;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use serde_json::{Value as Json, json};
use std::path::Path;

/// Points at which FreedomBox calls an application.
const HOOKS: [&str; 4] = ["backup_pre", "backup_post", "restore_pre", "restore_post"];
/// Most applications of one file.
pub const MAX_APPS: usize = 2000;

/// An application as it declares itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct App {
    /// Its id.
    pub name: String,
    /// The version of its data.
    pub version: String,
    /// Applications that it needs.
    pub depends: Vec<String>,
    /// Whether FreedomBox cannot be without it.
    pub is_essential: bool,
    /// Points at which it has code of its own.
    pub hooks: Vec<String>,
    /// What it declares: sections, services, settings.
    pub backup: Json,
}

/// Reads the JSON of an archive or of facts. `stem` is the name of the file, for one that is an application's own.
///
/// # Errors
/// What is wrong, for people.
pub fn from_json(stem: &str, bytes: &[u8]) -> Result<Vec<App>, String> {
    let json: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let one = |name: &str, app: &Json| {
        let text = |key: &str| {
            app[key].as_str().map(str::to_owned).or_else(|| app[key].as_i64().map(|n| n.to_string()))
        };
        let list = |key: &str| match &app[key] {
            Json::Array(list) => list.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Json::Object(map) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let backup = app.get("backup").or_else(|| app.get("manifest")).cloned().unwrap_or_else(|| json!({}));
        App {
            name: name.to_owned(),
            version: text("version").unwrap_or_else(|| "0".into()),
            depends: list("depends"),
            is_essential: app["is_essential"].as_bool().unwrap_or(false),
            hooks: list("hooks"),
            backup,
        }
    };
    let listed = |list: &[Json]| {
        let named = |app: &Json| Some(one(app["name"].as_str().or_else(|| app["app_id"].as_str())?, app));
        let apps: Option<Vec<App>> = list.iter().take(MAX_APPS + 1).map(named).collect();
        apps.ok_or_else(|| "an application has no name".to_owned())
    };
    let apps = match &json {
        Json::Array(list) => listed(list)?,
        Json::Object(map) => match map.get("apps") {
            Some(Json::Array(list)) => listed(list)?,
            Some(Json::Object(apps)) => apps.iter().map(|(name, app)| one(name, app)).collect(),
            _ => vec![one(stem, &json!({ "backup": json }))],
        },
        _ => return Err("it is neither a map nor a list".into()),
    };
    if apps.len() > MAX_APPS { Err(format!("it has more than {MAX_APPS} applications")) } else { Ok(apps) }
}

/// Reads an application's `manifest.py`, and `__init__.py` if it is there. `stem` is the name of its directory.
///
/// # Errors
/// What is wrong, or cannot be known without running it, for people.
pub fn from_python(stem: &str, manifest: &[u8], init: Option<&[u8]>) -> Result<App, String> {
    let source = Source::read(manifest)?;
    let place = source.statements("backup").last();
    let backup = place.map(|place| source.value_here(place)).transpose()?;
    let mut app = App {
        name: stem.to_owned(),
        version: "0".into(),
        backup: backup.map_or_else(|| json!({}), |literal| as_json(&literal)),
        ..App::default()
    };
    let Some(init) = init.map(Source::read).transpose()? else { return Ok(app) };
    let first = |name: &str| init.given(name).find_map(|place| init.value(place).ok());
    if let Some(Literal::Text(id)) = first("app_id") {
        app.name = id;
    }
    if let Some(Literal::Int(version)) = first("_version") {
        app.version = version.to_string();
    }
    if let Some(Literal::List(depends)) = first("depends") {
        app.depends = depends
            .iter()
            .filter_map(|one| if let Literal::Text(text) = one { Some(text.clone()) } else { None })
            .collect();
    }
    app.is_essential = first("is_essential") == Some(Literal::Bool(true));
    app.hooks = HOOKS.iter().filter(|hook| init.defines(hook)).map(|hook| (*hook).to_owned()).collect();
    Ok(app)
}

fn as_json(literal: &Literal) -> Json {
    // At most as deep as the reader goes.
    match literal {
        Literal::None => Json::Null,
        Literal::Bool(yes) => (*yes).into(),
        Literal::Int(number) => (*number).into(),
        Literal::Text(text) => text.as_str().into(),
        Literal::List(items) => items.iter().map(as_json).collect(),
        Literal::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.clone(), as_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// Returns texts of a list; a key that is not there is an empty one.
///
/// # Errors
/// FreedomBox asserts the types too.
fn texts(backup: &Json, key: &str) -> Result<Vec<String>, String> {
    match &backup[key] {
        Json::Null => Ok(Vec::new()),
        Json::Array(list) => {
            let texts: Option<Vec<String>> =
                list.iter().map(|text| text.as_str().map(str::to_owned)).collect();
            texts.ok_or_else(|| format!("`{key}` has something that is no text"))
        }
        _ => Err(format!("`{key}` is no list")),
    }
}

impl App {
    /// Returns the paths of a section: directories, files.
    ///
    /// # Errors
    /// What is no list of texts.
    pub fn paths(&self, section: SectionKind) -> Result<(Vec<String>, Vec<String>), String> {
        let own = &self.backup[section.word()];
        if !own.is_null() && !own.is_object() {
            return Err(format!("`{}` is no map", section.word()));
        }
        Ok((texts(own, "directories")?, texts(own, "files")?))
    }

    /// Returns the keys of settings.
    ///
    /// # Errors
    /// They are no list of texts.
    pub fn settings(&self) -> Result<Vec<String>, String> {
        texts(&self.backup, "settings")
    }

    /// Makes a manifest of it. `program` is called at hooks, and to set the application up: `PROGRAM hook APP POINT`,
    /// `PROGRAM state APP`, `PROGRAM setup APP`.
    ///
    /// # Errors
    /// What is wrong with what it declares, for people.
    pub fn manifest(&self, program: Option<&str>) -> Result<Proposal, String> {
        let id = ModuleId::parse(&self.name.to_lowercase())
            .map_err(|_| format!("{:?} is no id of a module", self.name))?;
        let mut draft = Draft::new(id.as_str(), id.as_str());
        draft.found.push(format!("the application {id} of FreedomBox"));
        draft.module.push(("version", Raw::text(&self.version)));
        draft.module.push(("platform", Raw::text("freedombox")));
        if self.is_essential {
            draft.module.push(("essential", Raw::yes(true)));
        }
        if !self.depends.is_empty() {
            draft.tables.push(("depends", vec![("requires", Raw::list(&self.depends))]));
        }
        for (word, section) in SectionKind::WORDS.iter().map(|(_, section)| (section.word(), *section)) {
            let (directories, files) = self.paths(section)?;
            let own = match section {
                SectionKind::Config => &mut draft.config,
                SectionKind::Data => &mut draft.data,
                SectionKind::Secrets => &mut draft.secrets,
            };
            for (from, to) in [(directories, &mut own.directories), (files, &mut own.files)] {
                for path in from {
                    let text = path_text(Path::new(&path))
                        .ok_or_else(|| format!("`{word}` has the path {path:?}, which cannot be one"))?;
                    to.push(text);
                }
            }
        }
        let settings = self.settings()?;
        if !settings.is_empty() {
            draft.tables.push(("settings", vec![("keys", Raw::list(&settings))]));
        }
        let delete = texts(&self.backup, "delete_before_restore")?;
        if !delete.is_empty() {
            draft.tables.push(("restore", vec![("delete_before", Raw::list(&delete))]));
        }
        self.services(&mut draft)?;
        // Its own interface asks whether somebody may come in; who runs from outside leaves a mark.
        draft.tables.push(("lockdown", vec![("flag", Raw::text(id.as_str()))]));
        self.programs(&mut draft, program);
        let text = draft.text();
        let manifest = Manifest::parse("", text.as_bytes()).map_err(|wrong| wrong.to_string())?;
        Ok(Proposal { id: manifest.module.id, found: draft.found, text })
    }

    fn services(&self, draft: &mut Draft) -> Result<(), String> {
        let list = match &self.backup["services"] {
            Json::Null => return Ok(()),
            Json::Array(list) => list,
            _ => return Err("`services` is no list".into()),
        };
        for service in list {
            let kind = service["kind"].as_str().unwrap_or_default();
            let (name, kind) = match (service, service["type"].as_str()) {
                (Json::String(name), _) => (Some(name.as_str()), "system"),
                (_, Some("system")) => (service["name"].as_str(), "system"),
                (_, Some("apache")) => {
                    let kind = match kind {
                        "config" => "web-config",
                        "site" => "web-site",
                        "module" => "web-module",
                        other => return Err(format!("a service of the web server has the kind {other:?}")),
                    };
                    (service["name"].as_str(), kind)
                }
                (_, other) => return Err(format!("a service has the type {other:?}, which is not known")),
            };
            let name = name.ok_or("a service has no name")?;
            draft.services.push(vec![("name", Raw::text(name)), ("kind", Raw::text(kind))]);
        }
        Ok(())
    }

    fn programs(&self, draft: &mut Draft, program: Option<&str>) {
        let hooks = HOOKS.iter().filter(|hook| self.hooks.iter().any(|own| own == **hook));
        let Some(program) = program else {
            for hook in hooks {
                draft.notes.push(format!(
                    "its {hook} is code of FreedomBox, which nothing here calls: add [hooks] {hook}"
                ));
            }
            draft.notes.push(
                "whether it is set up only FreedomBox knows: add [setup] to have it set up before a restore"
                    .into(),
            );
            return;
        };
        let run = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Raw::list(&words)
        };
        let id = draft.id.clone();
        let hooks: Vec<(&'static str, Raw)> = hooks
            .map(|hook| {
                // Its way: an exception is noted, and the run goes on.
                let keys = [("run", run(&[program, "hook", &id, hook])), ("on_error", Raw::text("continue"))];
                (*hook, Raw::table(&keys))
            })
            .collect();
        draft.tables.push(("hooks", hooks));
        let setup = run(&[program, "setup", &id]);
        let setup =
            vec![("state", run(&[program, "state", &id])), ("install", setup.clone()), ("upgrade", setup)];
        draft.tables.push(("setup", setup));
    }
}
