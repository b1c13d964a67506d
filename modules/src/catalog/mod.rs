//! What is declared on this machine: manifests of `modules.d`, jobs of `jobs.d`, platforms of `platforms.d`, and the values
//! of path variables.
//!
//! ```text
//! directories, lowest first ─load─► shelf: one entry for each id, usable or with what is wrong, and what replaced what
//! ```
//!
//! - Of two directories with the same id the later one decides. As root the user's directory is the exception: it adds
//!   and never replaces what the system's directory declares, since a home may not be as well kept as `/etc`.
//! - The same id twice in one directory is an error that names both files; neither is used, for which one was meant
//!   nobody knows.
//! - A file that is broken, or that somebody else could have written (see [`trust`](crate::trust)), makes its own module
//!   unusable and hides no other. Its place is kept: what an earlier directory says of the same id does not come back.
//! - Whatever is wrong is in the shelf. A run of "all" with anything there ([`Shelf::is_whole`]) is partial.

mod commands;
mod load;
mod measure;
mod platforms;
#[cfg(test)]
mod tests;

pub use commands::{CommandError, Named, commands, commands_of_job};
pub use load::{Declared, MAX_FILES, load};
pub use measure::{MAX_MATCHES, MeasureError, Measured, Presence, measure};
pub use platforms::shipped;

use crate::id::ModuleId;
use crate::manifest::job::Job;
use crate::manifest::of_platform::OfPlatformError;
use crate::manifest::paths::Variables;
use crate::manifest::platform::Platform;
use crate::manifest::{Manifest, Problems};
use crate::selection::{Candidate, Ready};
use crate::trust::TrustError;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Whose directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The machine's: `/etc/dedup/modules.d`. It need not be there.
    System,
    /// The user's. It need not be there.
    User,
    /// Named for this run. It must be there.
    Given,
}

/// A directory of manifests or jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dir {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Whose it is.
    pub rank: Rank,
}

/// Why a file or directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read, or somebody else could have written it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It is read and makes no sense; each problem with its place.
    #[error("{0}")]
    Problems(Problems),
    /// Several files of one directory have the same id.
    #[error("{id} is declared by {}; an id is used once in a directory", files(of))]
    Twice {
        /// The id.
        id: ModuleId,
        /// The files, sorted.
        of: Vec<PathBuf>,
    },
    /// The user's directory would replace what the system's declares, and root is running.
    #[error("{} declares {id} already, and for root the user's directory replaces nothing", system.display())]
    OverSystem {
        /// The id.
        id: ModuleId,
        /// The file of the system.
        system: PathBuf,
    },
    /// It is a manifest among jobs, or a job among manifests.
    #[error("this is a {is}; it belongs into {into}")]
    Misplaced {
        /// What it is.
        is: &'static str,
        /// Which directory is right.
        into: &'static str,
    },
    /// Its sources mean nothing on its platform.
    #[error(transparent)]
    Platform(#[from] OfPlatformError),
    /// There are more files than anybody has.
    #[error("there are more than {MAX_FILES} files here; the others are not read")]
    TooMany,
}

impl Wrong {
    /// Says what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(error) => error.hint(),
            Self::Problems(_) => {
                Some("`dedup module check FILE` tells everything that is wrong with it".into())
            }
            Self::Twice { .. } => Some("remove one of them, or give it another id".into()),
            Self::OverSystem { .. } => {
                Some("change the file of the system, or name the directory by --modules-dir".into())
            }
            Self::Misplaced { .. } | Self::Platform(_) | Self::TooMany => None,
        }
    }
}

fn files(of: &[PathBuf]) -> String {
    of.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// What is declared under one id.
#[derive(Debug)]
pub struct Entry<T> {
    /// The id. Of a broken file the one it claims, else the name of the file.
    pub id: ModuleId,
    /// The file that decides.
    pub file: PathBuf,
    /// Whose directory it is in.
    pub rank: Rank,
    /// What it says, or why it is not used.
    pub what: Result<T, Wrong>,
    /// The text of the file, if that could be read.
    pub text: Vec<u8>,
    /// Files of earlier directories that it replaces, the lowest first.
    pub replaces: Vec<PathBuf>,
}

/// A file or directory that is not used and has no entry.
#[derive(Debug)]
pub struct Fault {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub wrong: Wrong,
}

/// Everything of one kind.
#[derive(Debug)]
pub struct Shelf<T> {
    /// By id.
    pub entries: BTreeMap<ModuleId, Entry<T>>,
    /// What is wrong beside, in the order in which it was found.
    pub faults: Vec<Fault>,
    /// What the system keeps to itself: files and directories of its own that an ordinary user may not read. They
    /// concern other users' runs, so they make none partial.
    pub hidden: Vec<PathBuf>,
}

/// The modules that are declared.
pub type Catalog = Shelf<Manifest>;
/// The platforms that are described.
pub type Platforms = Shelf<Platform>;
/// The jobs that are declared.
pub type Jobs = Shelf<Job>;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), faults: Vec::new(), hidden: Vec::new() }
    }
}

impl<T> Shelf<T> {
    /// Returns whether everything that was found can be used.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.unusable().next().is_none()
    }

    /// Returns what can be used, by id.
    pub fn usable(&self) -> impl Iterator<Item = &T> {
        self.entries.values().filter_map(|entry| entry.what.as_ref().ok())
    }

    /// Returns what cannot be used and has an id, by id.
    pub fn unusable(&self) -> impl Iterator<Item = (&Entry<T>, &Wrong)> {
        self.entries.values().filter_map(|entry| Some((entry, entry.what.as_ref().err()?)))
    }

    /// Returns what is declared under an id, usable or not.
    pub fn get(&self, id: &ModuleId) -> Option<&Entry<T>> {
        self.entries.get(id)
    }
}

impl Catalog {
    /// Finds a module by its id, else by a former one if that leads to one module only.
    pub fn find(&self, name: &ModuleId) -> Option<&Entry<Manifest>> {
        self.get(name).or_else(|| {
            let has = |entry: &&Entry<Manifest>| {
                entry.what.as_ref().is_ok_and(|manifest| manifest.module.aliases.contains(name))
            };
            let mut found = self.entries.values().filter(has);
            found.next().filter(|_| found.next().is_none())
        })
    }

    /// Returns what the selection chooses from, by id.
    ///
    /// `state` says whether a module is set up; it is asked of enabled ones only. Modules whose state it cannot tell
    /// are no candidates: they come back beside, with what it said.
    pub fn candidates<E>(
        &self,
        state: &mut dyn FnMut(&Manifest) -> Result<Ready, E>,
    ) -> (Vec<Candidate>, Vec<(ModuleId, E)>) {
        let (mut candidates, mut unknown) = (Vec::new(), Vec::new());
        for manifest in self.usable() {
            let ready = if manifest.module.enabled { state(manifest) } else { Ok(Ready::default()) };
            match ready {
                Ok(ready) => candidates.push(Candidate::of(manifest, ready)),
                Err(why) => unknown.push((manifest.module.id.clone(), why)),
            }
        }
        (candidates, unknown)
    }

    /// Returns the modules that require `id`, directly, by id.
    pub fn required_by<'c>(&'c self, id: &'c ModuleId) -> impl Iterator<Item = &'c ModuleId> {
        let names = move |name: &ModuleId| name == id || self.find(name).is_some_and(|entry| entry.id == *id);
        self.usable()
            .filter(move |manifest| manifest.depends.requires.iter().any(|required| names(&required.module)))
            .map(|manifest| &manifest.module.id)
    }
}

/// Values of path variables on this machine, where they are not those of the manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachinePaths {
    /// In every module.
    pub of_all: Variables,
    /// In one module; these win.
    pub of_module: BTreeMap<ModuleId, Variables>,
}

impl MachinePaths {
    /// Returns the variables of a manifest with the values they have here. Only what it declares counts.
    pub fn of(&self, manifest: &Manifest) -> Variables {
        let mut variables = manifest.paths.clone();
        let own = self.of_module.get(&manifest.module.id);
        for here in std::iter::once(&self.of_all).chain(own) {
            for (name, value) in here.iter().filter(|(name, _)| manifest.paths.get(name).is_some()) {
                variables.set(name, value);
            }
        }
        variables
    }

    /// Returns what no manifest declares, as it stands in the configuration: probably misspelt.
    pub fn unused(&self, catalog: &Catalog) -> Vec<String> {
        let unknown = |name: &str| !catalog.usable().any(|manifest| manifest.paths.get(name).is_some());
        let mut unused: Vec<String> =
            self.of_all.names().filter(|name| unknown(name)).map(Into::into).collect();
        for (id, variables) in &self.of_module {
            let entry = catalog.get(id).map(|entry| &entry.what);
            unused.extend(variables.names().filter_map(|name| match entry {
                // What a broken manifest declares is not known.
                Some(Err(_)) => None,
                Some(Ok(manifest)) if manifest.paths.get(name).is_some() => None,
                _ => Some(format!("{id}.{name}")),
            }));
        }
        unused
    }
}
