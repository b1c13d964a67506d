//! The declared items of all sections of one module, as they are on this machine at one moment.
//!
//! Patterns are expanded and links on the way are looked up once, before anything is read: what belongs to which
//! section is decided from all items together. The deepest declaration that is a path or holds it decides.

use super::base::Base;
use super::glob::{Expansion, Pattern};
use super::outcomes::{Tallies, Tally};
use super::roots::{Root, Roots, Rules, Take};
use super::source::{RootError, stored_root};
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::Section;
use rustix::fs::{OFlags, readlinkat};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most links on the way to one path, as the system has it.
const MOST_LINKS: usize = 40;

/// How much of a declared path is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A single file.
    File,
    /// A directory with everything below it.
    Tree,
    /// A directory itself.
    Entry,
    /// Whatever matches at this moment; directories with everything below them.
    Pattern,
}

/// One declared item.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Where it belongs.
    pub section: Section,
    /// An absolute path, or pattern.
    pub path: PathBuf,
    /// How much of it.
    pub reach: Reach,
    /// Whether its absence is nobody's concern.
    pub optional: bool,
    /// What is left out of it.
    pub rules: Arc<Rules>,
}

/// All declared items of a module on this machine; see the head of the module.
///
/// If a directory on the way to a declared path is a symbolic link, or a declared tree itself is one, the link is stored,
/// and what was declared is stored where it really is, so that both come back.
#[derive(Debug)]
pub struct Layout {
    pub(super) base: Arc<Base>,
    items: Vec<Known>,
}

/// A declared item, and where it was found.
#[derive(Debug)]
struct Known {
    section: Section,
    reach: Reach,
    optional: bool,
    rules: Arc<Rules>,
    links: Vec<StoredPath>,
    places: Vec<StoredPath>,
    anchor: usize,
    notes: Vec<String>,
    excluded: bool,
}

impl Layout {
    /// Looks up where everything is, below `base`: the directory that stands for `/`.
    pub fn new(base: &Path, declared: Vec<Declared>) -> Result<Self, RootError> {
        let open = |_| RootError { root: base.to_owned(), wrong: "the base directory cannot be opened" };
        let base = Arc::new(Base::open(base).map_err(open)?);
        let items = declared.into_iter().map(|item| Known::find(&base, item)).collect::<Result<_, _>>()?;
        let mut layout = Self { base, items };
        layout.settle_patterns();
        Ok(layout)
    }

    /// Returns the places of a declared item, by its number: where it really is, or what its pattern matched, in order.
    pub fn places(&self, declared: usize) -> &[StoredPath] {
        self.items.get(declared).map_or(&[], |item| &item.places)
    }

    /// Returns the section that a path belongs to.
    pub fn section_of(&self, path: &StoredPath) -> Option<Section> {
        let holding = self.items.iter().flat_map(|item| {
            item.places
                .iter()
                .filter(|place| item.holds(place, path))
                .map(|place| (place.as_key().len(), item.section))
        });
        holding
            .max_by_key(|(depth, section)| (*depth, *section == Section::Secrets))
            .map(|(_, section)| section)
    }

    /// A place has one section. What is declared outright wins over a match of a pattern; of several patterns one of the
    /// secrets wins, else the first.
    fn settle_patterns(&mut self) {
        let mut owner: HashMap<StoredPath, (bool, Section)> = HashMap::new();
        for item in &self.items {
            let outright = item.reach != Reach::Pattern;
            for place in &item.places {
                let known = owner.entry(place.clone()).or_insert((outright, item.section));
                if !known.0 && (outright || item.section == Section::Secrets) {
                    *known = (outright, item.section);
                }
            }
        }
        for item in self.items.iter_mut().filter(|item| item.reach == Reach::Pattern) {
            let before = item.places.len();
            item.places.retain(|place| owner.get(place).is_some_and(|(_, section)| *section == item.section));
            if item.places.len() < before {
                item.notes.push(format!("{} matches belong to another section", before - item.places.len()));
                item.excluded = true;
            }
        }
    }

    /// Returns where the walk of a section begins and where it must not go.
    pub(super) fn roots_of(&self, section: Section) -> (Roots, Tallies) {
        let (mut roots, mut tallies) = (Vec::new(), Vec::new());
        for (declared, item) in self.items.iter().enumerate().filter(|(_, item)| item.section == section) {
            item.add_to(declared, &mut roots);
            tallies.push((declared, Tally::noted(item.notes.join("; "), item.excluded)));
        }
        let trees: Vec<StoredPath> = roots
            .iter()
            .filter(|root| matches!(root.take, Take::Tree | Take::All))
            .map(|root| root.path.clone())
            .collect();
        let trees = Below::new(trees);
        for item in self.items.iter().filter(|item| item.section != section && item.reach != Reach::Entry) {
            let foreign = item.places.iter().filter(|place| trees.hold(place));
            roots.extend(foreign.map(|place| Root {
                path: place.clone(),
                take: Take::Elsewhere(item.section),
                rules: item.rules.clone(),
                anchor: 0,
                items: Vec::new(),
                optional: true,
            }));
        }
        (Roots::new(roots), Tallies::new(tallies))
    }
}

/// Directories, by which is asked what lies below one of them.
struct Below(HashSet<StoredPath>);

impl Below {
    fn new(trees: Vec<StoredPath>) -> Self {
        Self(trees.into_iter().collect())
    }

    fn hold(&self, path: &StoredPath) -> bool {
        let mut at = path.parent();
        while let Some(path) = at {
            if self.0.contains(&path) {
                return true;
            }
            at = path.parent();
        }
        false
    }
}

impl Known {
    fn find(base: &Base, item: Declared) -> Result<Self, RootError> {
        let Declared { section, path, reach, optional, rules } = item;
        let mut known = Self {
            section,
            reach,
            optional,
            rules,
            links: Vec::new(),
            places: Vec::new(),
            anchor: 0,
            notes: Vec::new(),
            excluded: false,
        };
        if reach != Reach::Pattern {
            let place = known.unlinked(base, stored_root(&path)?, reach == Reach::Tree);
            known.anchor = Root::anchor_below(&place);
            known.places.push(place);
            return Ok(known);
        }
        use std::os::unix::ffi::OsStrExt;
        let pattern = Pattern::parse(path.as_os_str().as_bytes())
            .map_err(|_| RootError { root: path.clone(), wrong: "it is no pattern" })?;
        let directory = known.unlinked(base, pattern.directory.clone(), true);
        known.anchor = Root::anchor_below(&directory);
        let Expansion { found, lost } = pattern.expand(base, &directory);
        known.notes = lost;
        let patterns = &known.rules.excludes;
        for place in found {
            let slashes = place.to_slashes();
            let below = slashes.get(known.anchor..).unwrap_or_default();
            // A trailing slash cannot be told from here; a pattern for directories only is met by the walk.
            if patterns.is_empty() || !patterns.excludes(below, false) {
                known.places.push(place);
            } else {
                known.excluded = true;
            }
        }
        if known.excluded && known.places.is_empty() {
            known.notes.push("rules leave out everything that it matches".to_owned());
        }
        Ok(known)
    }

    /// Returns the path without links on the way, which are noted; with `last` the last component is on the way too.
    fn unlinked(&mut self, base: &Base, path: StoredPath, last: bool) -> StoredPath {
        let mut path = path;
        for _ in 0..MOST_LINKS {
            let Some((link, real)) = first_link(base, &path, last && !self.rules.follow_links) else {
                return path;
            };
            let rest = path.components().skip(link.components().count());
            let Some(whole) = rest.map(<[u8]>::to_vec).try_fold(real, |at, name| at.join(&name)) else {
                return path;
            };
            self.links.push(link);
            path = whole;
        }
        path
    }

    fn holds(&self, place: &StoredPath, path: &StoredPath) -> bool {
        match self.reach {
            Reach::Tree | Reach::Pattern => path.is_within(place),
            Reach::File | Reach::Entry => path == place,
        }
    }

    fn add_to(&self, declared: usize, roots: &mut Vec<Root>) {
        let take = match self.reach {
            Reach::File => Take::File,
            Reach::Tree => Take::Tree,
            Reach::Entry => Take::Entry,
            Reach::Pattern => Take::All,
        };
        let root = |path: &StoredPath, take, items, optional| Root {
            path: path.clone(),
            take,
            rules: self.rules.clone(),
            anchor: self.anchor,
            items,
            optional,
        };
        roots.extend(self.places.iter().map(|place| root(place, take, vec![declared], self.optional)));
        roots.extend(self.links.iter().map(|link| root(link, Take::Entry, Vec::new(), true)));
    }
}

/// Returns the first component of a path that is a link to something, and where that is.
fn first_link(base: &Base, path: &StoredPath, last: bool) -> Option<(StoredPath, StoredPath)> {
    let mut at = StoredPath::root();
    let count = path.components().count();
    for (index, name) in path.components().enumerate() {
        at = at.join(name)?;
        if index + 1 == count && !last {
            return None;
        }
        let found = base.plain(&at, OFlags::PATH).ok()?;
        if readlinkat(&found, c"", Vec::new()).is_ok() {
            let real = base.real(&base.followed(&at, OFlags::PATH).ok()?)?;
            return Some((at, real));
        }
    }
    None
}
