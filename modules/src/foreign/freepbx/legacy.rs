//! Archives of FreePBX before 15: dumps of MySQL, the tree of the switch, and files at their places.
//!
//! Who owns what is told by the manifests that are installed here, by name and never by a prefix that others share. Rows of
//! tables that all modules share are each module's by their column. What nobody owns is the module `freepbx`.

use super::super::archive::Archive;
use super::super::database::Database;
use super::super::error::ForeignError;
use super::super::mysql_text::load;
use super::super::php::{self, Php};
use super::super::plan::{Planned, PlannedModule};
use super::super::tar::TarKind;
use super::owners::{owns, section_by_place, wants};
use super::tables::need;
use super::{Here, LEGACY, store_table};
use crate::catalog::Catalog;
use crate::id::ModuleId;
use crate::manifest::legacy::{LegacyFormat, LegacyPart};
use crate::manifest::paths::Variables;
use crate::manifest::{Manifest, items::section_of};
use crate::records::Value;
use crate::version::Version;
use dedup_engine::snapshot::Outcome;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest manifest, largest tree of the switch.
const MAX_PHP_BYTES: u64 = 32 << 20;
/// Most modules.
const MAX_MODULES: usize = 2000;
/// Tables that have rows of all modules, and the column that says whose.
const SHARED: [(&str, &str); 2] = [("freepbx_settings", "module"), ("featurecodes", "modulename")];
/// The one store of all modules, before 14.
const OLD_STORE: &str = "kvstore";
/// Names of the stores of single modules begin so, since 14.
const STORES: &str = "kvstore_FreePBX_modules_";
/// Columns of such a store.
const STORE: [&str; 4] = ["key", "val", "type", "id"];
/// Where values too long for a store lie.
const BLOBS: &str = "kvblobstore";
/// Class names of modules in the old store begin so.
const CLASS: &str = "FreePBX\\modules\\";

pub(super) fn plan<'a>(
    archive: &'a Archive,
    catalog: &Catalog,
    scratch_dir: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Planned<'a>, ForeignError> {
    let dumps: Vec<String> = archive
        .names_from(b"")
        .filter(|(name, _)| !name.contains(&b'/') && (name.ends_with(b".sql") || name.ends_with(b".sql.gz")))
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect();
    let manifest = read_php(archive, "manifest")?;
    if manifest.is_none() && dumps.is_empty() {
        let why = "it has neither modulejson/ nor a manifest nor a dump of MySQL".into();
        return Err(ForeignError::NotOf { product: "FreePBX", why });
    }
    let manifest = manifest.unwrap_or(Php::Map(Vec::new()));
    let product_version = manifest.get("pbx_version").and_then(Php::text).unwrap_or_default();
    let mut planned = Planned {
        what: format!("FreePBX {product_version}").trim_end().to_owned(),
        modules: Vec::new(),
        database: None,
        time: manifest
            .get("ctime")
            .and_then(|time| if let Php::Int(time) = time { Some(*time) } else { None }),
        notes: Vec::new(),
    };
    let mut database = Database::new(scratch_dir)?;
    for name in &dumps {
        let Some(packed) = archive.find(name) else { continue };
        let content = archive.reader(packed);
        match name.ends_with(".gz") {
            true => load(name, MultiGzDecoder::new(content), &mut database, cancelled)?,
            false => load(name, content, &mut database, cancelled)?,
        };
    }
    let old_tree = read_php(archive, "astdb")?;
    if let Some(tree) = &old_tree {
        load_tree(tree, &mut database)?;
    }
    let mut work = Work { archive, catalog, modules: BTreeMap::new(), product_version, notes: Vec::new() };
    work.name_modules(&mut database)?;
    work.stores(&mut database)?;
    work.tables(&mut database)?;
    work.files(&dumps);
    work.tell_gates(&database, old_tree.is_some());
    planned.notes.append(&mut work.notes);
    planned.modules = work.modules.into_values().map(|(_, module)| module).collect();
    planned.database = Some(database);
    Ok(planned)
}

fn read_php(archive: &Archive, name: &str) -> Result<Option<Php>, ForeignError> {
    let Some(bytes) = archive.bytes(name, MAX_PHP_BYTES)? else { return Ok(None) };
    php::read(&bytes).map(Some).map_err(|wrong| ForeignError::malformed(name, wrong))
}

/// The tree: family → key → value, or path → value.
fn load_tree(tree: &Php, database: &mut Database) -> Result<(), ForeignError> {
    need(database, "astdb", &["key", "value"], &["key"])?;
    let row = |key: String, value: &Php| [Value::Text(key), value.text().map_or(Value::Null, Value::Text)];
    for (family, value) in tree.pairs() {
        let family = family.text().unwrap_or_default();
        let family = family.trim_matches('/');
        if !matches!(value, Php::Map(_)) {
            database.insert("astdb", &row(format!("/{family}"), value))?;
            continue;
        }
        for (key, value) in value.pairs() {
            let key = key.text().unwrap_or_default();
            database.insert("astdb", &row(format!("/{family}/{}", key.trim_start_matches('/')), value))?;
        }
    }
    Ok(())
}

struct Work<'a, 'c> {
    archive: &'a Archive,
    catalog: &'c Catalog,
    /// By id.
    modules: BTreeMap<ModuleId, (Here, PlannedModule<'a>)>,
    product_version: String,
    notes: Vec<String>,
}

impl<'a> Work<'a, '_> {
    /// Returns the module of a name in the archive; none if it is no id.
    fn module(&mut self, name: &str, version: &str) -> Option<&mut PlannedModule<'a>> {
        let here = Here::find(self.catalog, name, version, LegacyFormat::FreepbxLegacy)?;
        if self.modules.len() >= MAX_MODULES && !self.modules.contains_key(&here.id) {
            return None;
        }
        let product_version = self.product_version.clone();
        let (_, module) = self.modules.entry(here.id.clone()).or_insert_with(|| {
            let mut module = PlannedModule::new(here.id.clone());
            module.version = version.to_owned();
            module.platform = Some("freepbx");
            module.format = Some(LegacyFormat::FreepbxLegacy);
            module.platform_version = Some(product_version).filter(|version| !version.is_empty());
            module.installed.clone_from(&here.manifest);
            (here, module)
        });
        if module.version.is_empty() {
            module.version = version.to_owned();
        }
        Some(module)
    }

    /// The modules are those of the table `modules`; their rows in shared tables get the ids that they have here.
    fn name_modules(&mut self, database: &mut Database) -> Result<(), ForeignError> {
        let mut named: Vec<(String, String)> = Vec::new();
        if database.table("modules").is_some() {
            let read = database.rows("modules", &["modulename", "version"], None, &mut |row| {
                if let (Value::Text(name), version) = (&row[0], &row[1]) {
                    let version =
                        if let Value::Text(version) = version { version.clone() } else { String::new() };
                    named.push((name.clone(), version));
                }
                Ok(())
            });
            if let Err(error) = read {
                self.notes.push(format!("the versions of modules are not known: {error}"));
            }
        }
        for (table, column) in SHARED {
            for owner in database.distinct(table, column).unwrap_or_default() {
                if !named.iter().any(|(name, _)| name.eq_ignore_ascii_case(&owner)) {
                    named.push((owner, String::new()));
                }
            }
        }
        for (name, version) in named {
            if name.is_empty() || self.module(&name, &version).is_none() {
                self.notes
                    .push(format!("{name:?} is not taken: it is no id of a module, or one of too many"));
                continue;
            }
            let Some(here) = Here::find(self.catalog, &name, &version, LegacyFormat::FreepbxLegacy) else {
                continue;
            };
            for (table, column) in SHARED {
                let has_it = database.table(table).is_some();
                database.replace(table, column, &name, here.id.as_str())?;
                let takes = match table {
                    "featurecodes" => LegacyPart::FeatureCodes,
                    _ => LegacyPart::Settings,
                };
                if has_it
                    && wants(&here, takes)
                    && let Some((_, module)) = self.modules.get_mut(&here.id)
                {
                    module.tables.insert(table.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Before 14 there was one store with a column of classes: it becomes one for each module, as they are since.
    fn stores(&mut self, database: &mut Database) -> Result<(), ForeignError> {
        let mut sources: Vec<(String, String, Option<String>)> = Vec::new();
        for class in database.distinct(OLD_STORE, "module").unwrap_or_default() {
            if let Some(module) = class.strip_prefix(CLASS) {
                sources.push((module.to_owned(), OLD_STORE.to_owned(), Some(class.clone())));
            }
        }
        let since: Vec<String> =
            database.names().filter(|name| name.starts_with(STORES)).map(str::to_owned).collect();
        for (n, name) in since.into_iter().enumerate() {
            // Out of the way of the name that it will have.
            let aside = format!("{STORES}.{n}");
            let module = name[STORES.len()..].to_owned();
            database.rename(&name, &aside);
            sources.push((module, aside, None));
        }
        for (name, table, class) in &sources {
            let Some(module) = self.module(&name.to_lowercase(), "") else {
                self.notes
                    .push(format!("the key-value store of {name:?} is not taken: it is no id of a module"));
                continue;
            };
            let id = module.id.clone();
            let own = store_table(&id);
            need(database, &own, &STORE, &["id", "key"])?;
            let only = class.as_ref().map(|class| ("module", class.as_str()));
            match database.copy(table, only, &STORE, &own) {
                Ok(()) => {}
                Err(error @ ForeignError::Malformed { .. }) => {
                    module.gap("source:kv", Outcome::Failed, &error.to_string());
                }
                Err(error) => return Err(error),
            }
            if let Some((here, module)) = self.modules.get_mut(&id)
                && wants(here, LegacyPart::Kv)
            {
                module.tables.insert(own);
            }
        }
        let has_blobs = database.table(BLOBS).is_some();
        let owners: Vec<(ModuleId, String)> =
            self.modules.keys().map(|id| (id.clone(), store_table(id))).collect();
        for (id, own) in owners {
            if database.table(&own).is_none() {
                continue;
            }
            if !has_blobs {
                need(database, BLOBS, &["uuid", "type", "content"], &["uuid"])?;
            }
            // A long value is the name of its place.
            let of = (BLOBS, "uuid", ["content", "type"]);
            let lost = database.fetch(&own, ("type", "blob"), ["val", "type"], of)?;
            if lost > 0
                && let Some((_, module)) = self.modules.get_mut(&id)
            {
                let why = format!("the archive lacks {lost} long values of it");
                module.gap("source:kv", Outcome::Failed, &why);
            }
        }
        for (_, table, _) in &sources {
            database.remove(table);
        }
        database.remove(BLOBS);
        database.remove(OLD_STORE);
        Ok(())
    }

    /// Tables of modules' own, by the manifests here; the rest belongs to nobody.
    fn tables(&mut self, database: &mut Database) -> Result<(), ForeignError> {
        let names: Vec<String> = database.names().map(str::to_owned).collect();
        let is_shared = |name: &str| SHARED.iter().any(|(shared, _)| *shared == name) || name == "modules";
        let mut unowned = Vec::new();
        let manifests: Vec<Manifest> =
            self.catalog.entries.values().filter_map(|entry| entry.what.as_ref().ok()).cloned().collect();
        for name in names.iter().filter(|name| !is_shared(name) && !name.starts_with("kvstore_FreePBX_")) {
            let owner = manifests.iter().find(|manifest| owns(manifest, name));
            let Some(owner) = owner else {
                unowned.push(name.clone());
                continue;
            };
            let id = owner.module.id.clone();
            if self.module(id.as_str(), "").is_none() {
                continue;
            }
            let Some((here, module)) = self.modules.get_mut(&id) else { continue };
            if !wants(here, LegacyPart::Tables) {
                continue;
            }
            let new = here.table(name);
            if new != *name {
                database.rename(name, &new);
            }
            database.rename_columns(&new, |column| here.column(&new, column));
            module.tables.insert(new);
        }
        // Each module's tree source says by its condition which families are its own.
        if database.table("astdb").is_some() {
            for (_, module) in self.modules.values_mut() {
                let has_tree = module.installed.iter().flat_map(|manifest| &manifest.sources);
                let mut has_tree = has_tree.into_iter();
                if has_tree.any(|source| source.select.tables == ["astdb"]) || module.has_program() {
                    module.tables.insert("astdb".into());
                }
            }
        }
        unowned.retain(|name| {
            name != "astdb" || !self.modules.values().any(|(_, module)| module.tables.contains(name))
        });
        if !unowned.is_empty() {
            self.notes.push(format!("{} tables belong to no module that is installed here", unowned.len()));
            if let Some(module) = self.module(LEGACY, "") {
                module.tables.extend(unowned);
            }
        }
        Ok(())
    }

    /// Files by whoever declares their place; the rest belongs to nobody.
    fn files(&mut self, dumps: &[String]) {
        let own = ["manifest", "astdb", ""];
        let none = Variables::default();
        let manifests: Vec<Manifest> =
            self.catalog.entries.values().filter_map(|entry| entry.what.as_ref().ok()).cloned().collect();
        let declared: Vec<_> = manifests
            .iter()
            .filter_map(|manifest| {
                Some((manifest, manifest.items(&manifest.paths).or(manifest.items(&none)).ok()?))
            })
            .collect();
        let archive = self.archive;
        for (name, at) in archive.names_from(b"") {
            let is_own = own.iter().any(|own| own.as_bytes() == name)
                || dumps.iter().any(|dump| dump.as_bytes() == name);
            if is_own || archive.entries[at].header.kind == TarKind::Directory {
                continue;
            }
            let place = [b"/", name].concat();
            let path = Path::new(OsStr::from_bytes(&place));
            let owner = declared.iter().find_map(|(manifest, items)| {
                let section = section_of(items, path)?;
                Some((manifest.module.id.clone(), section))
            });
            let (id, section) = match owner {
                Some((id, section)) => (id.to_string(), section),
                None => (LEGACY.to_owned(), section_by_place(&place)),
            };
            if let Some(module) = self.module(&id, "") {
                module.put(archive, section, &place, at);
            }
        }
    }

    /// Says what archives of this generation cannot have, so that it is not taken for lost.
    fn tell_gates(&mut self, database: &Database, has_tree: bool) {
        let below = |version: &str| {
            let (here, gate) = (Version::parse(&self.product_version), Version::parse(version));
            matches!((here, gate), (Ok(here), Ok(gate)) if here < gate)
        };
        if below("12") {
            self.notes.push("FreePBX before 12 has no key-value store".into());
        }
        if below("11") {
            self.notes.push("FreePBX before 11 has no help texts of feature codes".into());
        }
        if database.table("freepbx_settings").is_none() {
            self.notes.push("the archive has no settings: its main dump is missing".into());
        }
        if !has_tree {
            self.notes.push("the archive has no tree of the switch (astdb)".into());
        }
    }
}
