//! Reads a manifest as a whole, and the tables that say who the module is and what it needs.

use super::form::{Flag, Form, NAME, NamesTo, Parsed, Sub, TEXT, list, tables};
use super::legacy::{ID, VERSION};
use super::paths::{VARIABLE, Variables, check_name};
use super::programs::Severity;
use super::reader::{At, Table};
use super::shape::Shape;
use super::{
    Depends, Manifest, Module, hooks, legacy, lifecycle, programs, read_schema, sections, services, sources,
};
use crate::version::{Condition, Requirement, Version};

const REQUIREMENT: Parsed<Requirement> = Parsed {
    what: "a module, perhaps with a condition on its version, such as \"core >= 13.0.22\"",
    pattern: "^\\s*[A-Za-z0-9][A-Za-z0-9._-]{0,63}\\s*((=|!=|<|<=|>|>=)\\s*[ -~]+)?$",
    read: Requirement::parse,
    show: ToString::to_string,
};

const CONDITION: Parsed<Condition> = Parsed {
    what: "a condition on a version, such as \">= 14.0.1\"",
    pattern: "^\\s*(=|!=|<|<=|>|>=)\\s*[ -~]+$",
    read: Condition::parse,
    show: ToString::to_string,
};

/// Reads a manifest.
pub fn read_manifest(t: &mut Table<'_, '_>) -> Manifest {
    read_schema(t);
    // First of all, so that every path can be looked at where it stands.
    let paths = t.optional("paths", PathsForm, "Path variables: NAME = \"/default/path\", written ${NAME} or __NAME__ at the beginning of any path.").unwrap_or_default();
    t.reader.set_variables(paths.names());
    let section = || Sub(sections::read_section);
    let module = t.required("module", Sub(read_module), "Who it is.").unwrap_or_default();
    let (settings, settings_store) =
        t.optional("settings", Sub(read_settings), "Keys of the platform's store.").unwrap_or_default();
    Manifest {
        module,
        depends: t.optional("depends", Sub(read_depends), "What it needs.").unwrap_or_default(),
        paths,
        config: t.optional("config", section(), "Configuration.").unwrap_or_default(),
        data: t.optional("data", section(), "What the module is for.").unwrap_or_default(),
        secrets: t
            .optional(
                "secrets",
                section(),
                "What is stored under a key of its own and shown nowhere unless asked for.",
            )
            .unwrap_or_default(),
        exclude: t
            .optional("exclude", Sub(sections::read_exclude_all), "What is left out of every section.")
            .unwrap_or_default(),
        settings,
        settings_store,
        sources: t.or(
            "source",
            tables(Sub(sources::read_source)),
            vec![],
            "What must be asked for its data: databases, stores, programs.",
        ),
        services: t.or(
            "service",
            tables(Sub(services::read_service)),
            vec![],
            "What must not run while files are read or written.",
        ),
        hooks: t
            .optional("hooks", Sub(hooks::read_hooks), "Programs at points of a run.")
            .unwrap_or_default(),
        lockdown: t
            .optional("lockdown", Sub(lifecycle::read_lockdown), "How users are kept out meanwhile.")
            .flatten(),
        setup: t.optional("setup", Sub(lifecycle::read_setup), "How it is made ready.").unwrap_or_default(),
        restore: t
            .optional("restore", Sub(lifecycle::read_restore), "How it is put back.")
            .unwrap_or_default(),
        legacy: t.or(
            "legacy",
            tables(Sub(legacy::read_legacy)),
            vec![],
            "Archives of other products and generations that it can take.",
        ),
        spaces: t
            .optional("spaces", Sub(lifecycle::read_spaces), "What it keeps for undoing.")
            .unwrap_or_default(),
        exporter: t.optional(
            "exporter",
            Sub(programs::read_exporter),
            "A program that exports what cannot be declared.",
        ),
        importer: t.optional("importer", Sub(programs::read_importer), "The program that takes it back."),
        log_level: t.optional("log", Sub(programs::read_log), "Its messages.").unwrap_or(Severity::Info),
        limits: t
            .optional("limits", Sub(programs::read_limits), "What it may use of the machine.")
            .unwrap_or_default(),
        free: t
            .optional("x", FreeForm, "Free for the host platform; nothing here is looked at.")
            .unwrap_or_default(),
    }
}

fn read_module(t: &mut Table<'_, '_>) -> Module {
    Module {
        id: t.required("id", ID, "Its id, by which everything else names it.").unwrap_or_default(),
        name: t.or("name", TEXT, String::new(), "Its name for people."),
        description: t.or("description", TEXT, String::new(), "What it is."),
        version: t.or("version", VERSION, Version::default(), "The version of its data."),
        platform: t.optional("platform", NAME, "The product it lives in."),
        platform_version: t.optional("platform_version", VERSION, "The version of that product."),
        aliases: t.or("aliases", list(ID), vec![], "Former ids, which an archive may use."),
        essential: t.or(
            "essential",
            Flag,
            false,
            "It comes before others, and cannot be left out of \"all\".",
        ),
        enabled: t.or("enabled", Flag, true, "Whether it takes part at all."),
    }
}

fn read_depends(t: &mut Table<'_, '_>) -> Depends {
    Depends {
        requires: t.or(
            "requires",
            list(REQUIREMENT),
            vec![],
            "Modules that must be there; selected with it, restored before it.",
        ),
        after: t.or("after", list(ID), vec![], "Modules that come before it if they are selected anyway."),
        platform: t.optional("platform", CONDITION, "What the version of the product must be."),
    }
}

fn read_settings(t: &mut Table<'_, '_>) -> (Vec<String>, Option<String>) {
    (
        t.or("keys", list(NAME), vec![], "Keys; one that is absent is recorded as absent."),
        t.optional("store", NAME, "The source of driver kv that holds them; default: the platform's store."),
    )
}

/// `[paths]`.
struct PathsForm;

impl Form for PathsForm {
    type Out = Variables;

    fn shape(&self) -> Shape {
        NamesTo(VARIABLE).shape()
    }

    fn read(&self, at: &At<'_, '_>) -> Option<Variables> {
        let mut variables = Variables::default();
        let mut right = true;
        for (name, value) in NamesTo(VARIABLE).read(at)? {
            if let Err(wrong) = check_name(&name) {
                at.reader.wrong_at(&format!("{}.{name}", at.key), wrong, "");
                right = false;
            }
            variables.set(name, value);
        }
        right.then_some(variables)
    }
}

/// `[x]`.
struct FreeForm;

impl Form for FreeForm {
    type Out = toml::Table;

    fn shape(&self) -> Shape {
        Shape::Free
    }

    fn read(&self, at: &At<'_, '_>) -> Option<toml::Table> {
        if !at.value.is_table() {
            return at.mismatch(&self.shape());
        }
        // Read anew from the text, since the parsed form cannot be converted; it is small and rare.
        at.reader.free(&at.key)
    }
}
