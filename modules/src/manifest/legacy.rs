//! `[[legacy]]`: archives of other products and generations that a module can take.

use super::form::{ARGV, NAME, NamesTo, Parsed, Sub, Word, list};
use super::paths::ManifestPath;
use super::reader::Table;
use super::words::words;
use crate::id::ModuleId;
use crate::version::Version;

words! {
    /// A format of archives.
    pub enum LegacyFormat {
        /// FreePBX before generation 15.
        FreepbxLegacy = "freepbx-legacy",
        /// FreePBX 15 and later.
        Freepbx = "freepbx",
        /// FreedomBox.
        Freedombox = "freedombox",
        /// IOTstack.
        Iotstack = "iotstack",
        /// FirstAidKit.
        Firstaidkit = "firstaidkit",
        /// A plain tar.
        Tar = "tar",
        /// SQL text.
        SqlDump = "sql-dump",
    }
}

words! {
    /// A part of an old archive.
    pub enum LegacyPart {
        /// Settings.
        Settings = "settings",
        /// Feature codes.
        FeatureCodes = "feature-codes",
        /// Key-value stores.
        Kv = "kv",
        /// Tables.
        Tables = "tables",
        /// Files.
        Files = "files",
    }
}

/// By what an archive is known to be this module's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyMatch {
    /// Ids of modules in it.
    pub modules: Vec<ModuleId>,
    /// Tables in it.
    pub tables: Vec<String>,
    /// Patterns of files in it.
    pub files: Vec<String>,
    /// Only below this version.
    pub below: Option<Version>,
}

/// What is called otherwise there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyMap {
    /// Old table → new table.
    pub tables: Vec<(String, String)>,
    /// New table → (old column → new column).
    pub columns: Vec<(String, Vec<(String, String)>)>,
    /// Old key → new key.
    pub keys: Vec<(String, String)>,
    /// Old path → new path.
    pub paths: Vec<(String, ManifestPath)>,
}

/// An archive of another product that the module can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Its format.
    pub format: LegacyFormat,
    /// By what it is known.
    pub matches: LegacyMatch,
    /// What is called otherwise there.
    pub map: LegacyMap,
    /// What is taken.
    pub import: Vec<LegacyPart>,
    /// The program that takes it instead.
    pub command: Vec<String>,
}

/// The version of a module or product.
pub const VERSION: Parsed<Version> = Parsed {
    what: "a version, such as 4 or 16.0.27",
    pattern: "^[ -~]{1,64}$",
    read: Version::parse,
    show: ToString::to_string,
};

/// The id of a module.
pub const ID: Parsed<ModuleId> = Parsed {
    what: "an id: 1 to 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    read: |text| ModuleId::parse(text).map_err(|error| format!("{:?} is no id of a module", error.text)),
    show: ToString::to_string,
};

/// Reads `[[legacy]]`.
pub fn read_legacy(t: &mut Table<'_, '_>) -> Legacy {
    let format = t.required("format", Word::new(), "The format of the archive.").unwrap_or(LegacyFormat::Tar);
    let import = t.or("import", list(Word::new()), vec![], "What is taken from it.");
    let command = t.or(
        "command",
        ARGV,
        vec![],
        "A program that takes it instead; it speaks the line protocol, operation legacy.",
    );
    t.not_both("import", "command");
    if !t.has("import") && !t.has("command") {
        t.wrong(
            "",
            "nothing would be taken from such an archive",
            "write import = [\"tables\"], or a command",
        );
    }
    Legacy {
        format,
        matches: t
            .optional("match", Sub(read_match), "By what an archive is known to be this module's.")
            .unwrap_or_default(),
        map: t.optional("map", Sub(read_map), "What is called otherwise there.").unwrap_or_default(),
        import,
        command,
    }
}

fn read_match(t: &mut Table<'_, '_>) -> LegacyMatch {
    LegacyMatch {
        modules: t.or("module", list(ID), vec![], "Ids of modules in it."),
        tables: t.or("tables", list(NAME), vec![], "Tables in it."),
        files: t.or("files", list(super::paths::EXCLUDE), vec![], "Patterns of files in it."),
        below: t.optional("below", VERSION, "Only if the version in it is below this one."),
    }
}

fn read_map(t: &mut Table<'_, '_>) -> LegacyMap {
    let names = || NamesTo(NAME);
    LegacyMap {
        tables: t.optional("tables", names(), "Old table → new table.").unwrap_or_default(),
        columns: t
            .optional("columns", NamesTo(names()), "New table → (old column → new column).")
            .unwrap_or_default(),
        keys: t.optional("keys", names(), "Old key → new key.").unwrap_or_default(),
        paths: t
            .optional("paths", NamesTo(super::paths::PathForm), "Old path → new path.")
            .unwrap_or_default(),
    }
}
