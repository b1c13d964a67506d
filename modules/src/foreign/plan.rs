//! What of an archive belongs to which module.

use super::archive::Archive;
use super::database::Database;
use super::error::ForeignError;
use super::tree::Tree;
use crate::discover::{Draft, Raw, path_text};
use crate::external::Collected;
use crate::id::ModuleId;
use crate::manifest::Manifest;
use crate::manifest::legacy::LegacyFormat;
use crate::manifest::sections::SectionKind;
use crate::version::Version;
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::{Item, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Places that an account names at most (`FORMAT.md` 12).
const MAX_PLACES: usize = 4000;
/// Longest path, which is what systems take in one piece.
const MAX_PATH_BYTES: usize = 4096;
/// Gaps of a module that are told one by one.
const MAX_TOLD: usize = 1000;

/// What a person chooses about an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'c> {
    /// Modules; empty: all.
    pub modules: &'c [ModuleId],
    /// Where the directory of a stack is, or will be; absolute.
    pub stack_dir: Option<&'c Path>,
}

/// An archive, as modules.
#[derive(Debug)]
pub struct Planned<'a> {
    /// What it is, for people: `FreePBX 16.0.40`.
    pub what: String,
    /// Its modules.
    pub modules: Vec<PlannedModule<'a>>,
    /// Its tables, of all modules.
    pub database: Option<Database>,
    /// When it was made, as it says itself: seconds since 1970.
    pub time: Option<i64>,
    /// What concerns no single module.
    pub notes: Vec<String>,
}

/// One module of an archive.
#[derive(Debug)]
pub struct PlannedModule<'a> {
    /// Its id here.
    pub id: ModuleId,
    /// Its version there.
    pub version: String,
    /// The version of the product there.
    pub platform_version: Option<String>,
    /// The product.
    pub platform: Option<&'static str>,
    /// Its files.
    pub trees: BTreeMap<SectionKind, Tree<'a>>,
    /// Tables of the archive that have rows of it, as they are called here.
    pub tables: BTreeSet<String>,
    /// The manifest that is installed here, if one is.
    pub installed: Option<Manifest>,
    /// Of what format the archive is, where a program of the module may take what it has.
    pub format: Option<LegacyFormat>,
    /// What its own program made of it, as an importer will be told.
    pub collected: Collected,
    /// What it must be restored after.
    pub requires: Vec<String>,
    /// What became of its parts.
    pub items: Vec<Item>,
    /// What is missing: the module is partial.
    pub gaps: Vec<String>,
    /// What is odd: the module is warned.
    pub doubts: Vec<String>,
}

impl<'a> Planned<'a> {
    /// Keeps the modules that are wanted; all if none is named.
    pub(super) fn only(mut self, wanted: &[ModuleId]) -> Result<Self, ForeignError> {
        for id in wanted {
            if !self.modules.iter().any(|module| module.id == *id) {
                let there: Vec<&str> = self.modules.iter().map(|module| module.id.as_str()).collect();
                return Err(ForeignError::NoModule { module: id.to_string(), there: there.join(", ") });
            }
        }
        if !wanted.is_empty() {
            self.modules.retain(|module| wanted.contains(&module.id));
        }
        self.modules.sort_by(|a, b| a.id.cmp(&b.id));
        for module in &mut self.modules {
            for tree in module.trees.values_mut() {
                tree.settle();
            }
        }
        Ok(self)
    }
}

impl<'a> PlannedModule<'a> {
    pub(super) fn new(id: ModuleId) -> Self {
        let (version, platform_version, platform, trees, tables, installed, format) = Default::default();
        let (collected, requires, items, gaps, doubts) = Default::default();
        Self {
            id,
            version,
            platform_version,
            platform,
            trees,
            tables,
            installed,
            format,
            collected,
            requires,
            items,
            gaps,
            doubts,
        }
    }

    /// Returns whether a program of the module takes such archives, in the place of its sources.
    pub(super) fn has_program(&self) -> bool {
        let legacy = self.installed.iter().flat_map(|manifest| &manifest.legacy);
        legacy.into_iter().any(|legacy| Some(legacy.format) == self.format && !legacy.command.is_empty())
    }

    /// Puts an entry of the archive to an absolute place. A name that leads elsewhere is told, and not taken.
    pub(super) fn put(&mut self, archive: &'a Archive, section: SectionKind, place: &[u8], at: usize) {
        let mut why = "its name leads out of the archive";
        if let Some(stored) = StoredPath::from_slashes(place).filter(|place| *place != StoredPath::root()) {
            let time = archive.entries[at].header.mtime;
            let tree = self.trees.entry(section).or_insert_with(|| Tree::new(archive, time));
            if stored.as_key().len() <= MAX_PATH_BYTES && tree.add(stored, at) {
                return;
            }
            why = "its name, or those of the directories above it, are too long";
        }
        let name: String = place.escape_ascii().to_string().chars().take(200).collect();
        self.gap(&format!("file:{name}"), Outcome::NotStorable, why);
    }

    /// Tells what is missing.
    pub(super) fn gap(&mut self, name: &str, outcome: Outcome, why: &str) {
        self.tell(name, outcome, why);
        if self.gaps.len() < MAX_TOLD {
            self.gaps.push(format!("{name}: {why}"));
        }
    }

    /// Tells what became of a part.
    pub(super) fn tell(&mut self, name: &str, outcome: Outcome, why: &str) {
        if self.items.len() < MAX_TOLD && !self.items.iter().any(|item| item.name == name) {
            self.items.push(Item { name: name.to_owned(), outcome, message: why.to_owned() });
        }
    }

    /// Returns the places that the module is about: its files, or the directories that hold them if there are many.
    pub fn places(&self) -> BTreeMap<SectionKind, Vec<StoredPath>> {
        let mut places = BTreeMap::new();
        let count: usize = self.trees.values().map(|tree| tree.places().count()).sum();
        for (section, tree) in &self.trees {
            let mut list: Vec<StoredPath> = tree.places().cloned().collect();
            let mut left = count;
            while left > MAX_PLACES {
                // A directory stands for what is in it, until few enough are left.
                let above: BTreeSet<StoredPath> = list
                    .iter()
                    .map(|place| {
                        place.parent().filter(|above| *above != StoredPath::root()).unwrap_or(place.clone())
                    })
                    .collect();
                if above.len() == list.len() {
                    list.truncate(MAX_PLACES);
                    break;
                }
                list = above.into_iter().collect();
                left = list.len() * self.trees.len();
            }
            // What lies below another place goes with it.
            let mut kept: Vec<StoredPath> = Vec::new();
            for place in list {
                if !kept.last().is_some_and(|last| place.is_within(last) && tree.is_directory(last)) {
                    kept.push(place);
                }
            }
            places.insert(*section, kept);
        }
        places
    }

    /// Returns the manifest that goes into the snapshot: what the archive has, and nothing that is run.
    pub fn manifest(&self) -> String {
        let mut draft = Draft::new(self.id.as_str(), self.id.as_str());
        let version = |text: &str| Version::parse(text).is_ok().then(|| Raw::text(text));
        draft.module.extend(version(&self.version).map(|version| ("version", version)));
        draft.module.extend(self.platform.map(|platform| ("platform", Raw::text(platform))));
        let platform_version = self.platform_version.as_deref().and_then(version);
        draft.module.extend(platform_version.map(|version| ("platform_version", version)));
        if !self.requires.is_empty() {
            draft.tables.push(("depends", vec![("requires", Raw::list(&self.requires))]));
        }
        for (section, places) in self.places() {
            let tree = &self.trees[&section];
            let into = match section {
                SectionKind::Config => &mut draft.config,
                SectionKind::Data => &mut draft.data,
                SectionKind::Secrets => &mut draft.secrets,
            };
            for place in places {
                let path = [b"/", &place.to_slashes()[..]].concat();
                let Some(text) = path_text(Path::new(std::ffi::OsStr::from_bytes(&path))) else { continue };
                let list = if tree.is_directory(&place) { &mut into.directories } else { &mut into.files };
                list.push(text);
            }
        }
        draft.text()
    }
}
