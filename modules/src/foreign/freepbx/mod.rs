//! Archives of FreePBX.
//!
//! ```text
//! 15 and later  metadata.json, modulejson/MODULE.json, files/…, customfiles/…, customdir/…    module.rs
//! before        manifest and astdb of PHP, dumps of MySQL, files at their places              legacy.rs, owners.rs
//! ```

mod legacy;
mod module;
mod owners;
mod tables;

use super::archive::Archive;
use super::error::ForeignError;
use super::plan::Planned;
use crate::catalog::Catalog;
use crate::id::ModuleId;
use crate::manifest::Manifest;
use crate::manifest::legacy::{Legacy, LegacyFormat};
use crate::version::Version;
use std::path::Path;

/// The module of what belongs to no other: files and tables that nobody owns.
pub const LEGACY: &str = "freepbx";

pub(super) fn plan<'a>(
    archive: &'a Archive,
    catalog: &Catalog,
    scratch_dir: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Planned<'a>, ForeignError> {
    let is_new =
        archive.names_from(b"modulejson/").next().is_some() || archive.find("metadata.json").is_some();
    match is_new {
        true => module::plan(archive, catalog, scratch_dir),
        false => legacy::plan(archive, catalog, scratch_dir, cancelled),
    }
}

/// A module of an archive as it is here.
struct Here {
    id: ModuleId,
    manifest: Option<Manifest>,
    legacy: Option<Legacy>,
}

impl Here {
    /// Finds what a name of an archive is here: a module of this id or alias, or one whose manifest takes such archives.
    fn find(catalog: &Catalog, name: &str, version: &str, format: LegacyFormat) -> Option<Self> {
        let id = ModuleId::parse(&name.to_lowercase()).ok()?;
        let manifests = || catalog.entries.values().filter_map(|entry| entry.what.as_ref().ok());
        let matches = |legacy: &&Legacy| {
            let version = Version::parse(version).ok();
            let below = legacy.matches.below.as_ref();
            legacy.format == format
                && legacy.matches.modules.contains(&id)
                && below.is_none_or(|below| version.is_some_and(|version| version < *below))
        };
        let by_id = || manifests().find(|manifest| manifest.module.id == id);
        let by_legacy = || manifests().find(|manifest| manifest.legacy.iter().any(|legacy| matches(&legacy)));
        let by_alias = || manifests().find(|manifest| manifest.module.aliases.contains(&id));
        let manifest = by_id().or_else(by_legacy).or_else(by_alias).cloned();
        let legacy = manifest.as_ref().and_then(|manifest| {
            let of_format = |legacy: &&Legacy| {
                legacy.format == format && (legacy.matches.modules.is_empty() || matches(legacy))
            };
            manifest.legacy.iter().find(of_format).cloned()
        });
        let id = manifest.as_ref().map_or(id, |manifest| manifest.module.id.clone());
        Some(Self { id, manifest, legacy })
    }

    /// Returns how a table of an archive is called here.
    fn table(&self, name: &str) -> String {
        let maps = self.legacy.iter().flat_map(|legacy| &legacy.map.tables);
        let found = maps.into_iter().find(|(old, _)| old == name);
        found.map_or_else(|| name.to_owned(), |(_, new)| new.clone())
    }

    /// Returns how a column of a table is called here; the table's name is that of here.
    fn column(&self, table: &str, name: &str) -> String {
        let maps = self.legacy.iter().flat_map(|legacy| &legacy.map.columns);
        let of_table = maps.filter(|(of, _)| of == table).flat_map(|(_, columns)| columns);
        let found = of_table.into_iter().find(|(old, _)| old == name);
        found.map_or_else(|| name.to_owned(), |(_, new)| new.clone())
    }

    /// Returns how a key is called here.
    fn key(&self, name: &str) -> String {
        let maps = self.legacy.iter().flat_map(|legacy| &legacy.map.keys);
        let found = maps.into_iter().find(|(old, _)| old == name);
        found.map_or_else(|| name.to_owned(), |(_, new)| new.clone())
    }
}

/// Returns the name of the table that has a module's key-value store, as FreePBX 14 and later call it.
fn store_table(id: &ModuleId) -> String {
    let mut letters = id.as_str().chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let name: String = first.into_iter().chain(letters).collect();
    format!("kvstore_FreePBX_modules_{name}")
}
