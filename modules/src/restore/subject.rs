//! What is restored of one module: what the snapshot has, and where it goes on this machine.

use crate::files::{Allowed, OnConflict, OwnerChoice, Reach, SinkOptions};
use crate::id::ModuleId;
use crate::manifest::Manifest;
use crate::manifest::items::Extent;
use crate::manifest::lifecycle::{OnConflict as Word, Owners};
use crate::manifest::paths::Variables;
use crate::member::Member;
use crate::planted::{Bug, planted};
use crate::version::Version;
use dedup_engine::listing::StoredPath;
use dedup_engine::snapshot::{Account, State};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One module of a restore.
#[derive(Debug)]
pub struct Subject<'a> {
    /// What the snapshot has of it.
    pub account: &'a Account,
    /// What its manifest said then: data keys only.
    pub stored: &'a Manifest,
    /// Whether it is installed here: else nothing of this machine's own vouches for what it is.
    pub installed: bool,
    /// The modules of this restore that it requires, by their places.
    pub requires: Vec<usize>,
    /// Stored places that go elsewhere: path variables have other values here.
    pub moved: Vec<(StoredPath, StoredPath)>,
    /// The places that it is about, as stored.
    pub within: Vec<StoredPath>,
    /// Those of them of which only the entry is restored, and nothing below it.
    pub single: Vec<StoredPath>,
    /// Places of the snapshot that the manifest here does not declare: they are not restored, or only what is declared below
    /// them.
    pub undeclared: Vec<StoredPath>,
}

/// Why a module of a snapshot cannot be restored here; nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// It failed when it was backed up.
    #[error("the snapshot has no data of {module}: {reason}")]
    NoData {
        /// The module.
        module: String,
        /// Why.
        reason: String,
    },
    /// The data are of a later version.
    #[error(
        "{module} was version {there} when it was backed up, and here it is {here}: an older program may not understand its data"
    )]
    Newer {
        /// The module.
        module: ModuleId,
        /// The version of the data.
        there: Version,
        /// The version here.
        here: Version,
    },
    /// The data are of an earlier version, and the manifest says no to that.
    #[error(
        "{module} was version {there} when it was backed up, and its manifest takes no data older than its own version {here}"
    )]
    Older {
        /// The module.
        module: ModuleId,
        /// The version of the data.
        there: Version,
        /// The version here.
        here: Version,
    },
    /// What is installed here declares something that is no path.
    #[error("module {module}: {why}")]
    Declared {
        /// The module.
        module: ModuleId,
        /// What is wrong.
        why: String,
    },
    /// A part without which it must not be restored is missing.
    #[error("{module} may not be restored without {part}, which the snapshot does not have")]
    Lacks {
        /// The module.
        module: ModuleId,
        /// The part.
        part: String,
    },
}

impl<'a> Subject<'a> {
    /// Finds out what is restored of a module, and where to.
    pub fn new(
        account: &'a Account,
        stored: &'a Manifest,
        member: &Member<'_>,
        installed: bool,
    ) -> Result<Self, SubjectError> {
        if matches!(account.state, State::Failed | State::Skipped) {
            let (module, reason) = (account.module.clone(), account.reason.clone());
            return Err(SubjectError::NoData { module, reason });
        }
        if installed {
            fits(account, stored, member)?;
        }
        let within = account.sources.iter().filter_map(|source| StoredPath::from_slashes(source)).collect();
        let moved = moved(account, stored, member.variables);
        let (requires, single, undeclared) = Default::default();
        let mut subject = Self { account, stored, installed, requires, moved, within, single, undeclared };
        if installed {
            subject.keep_to(&allowed(member)?);
        }
        Ok(subject)
    }

    /// Keeps to what is allowed: a snapshot may say that its data were anywhere.
    fn keep_to(&mut self, allowed: &Allowed) {
        let stored_single = self.stored_single();
        for place in std::mem::take(&mut self.within) {
            let here = self.place_here(&place);
            if allowed.holds(&here) || planted(Bug::RestoreAnywhere) {
                if allowed.is_single(&here) {
                    self.single.push(place.clone());
                    self.undeclared.extend((!stored_single.contains(&place)).then(|| place.clone()));
                }
                self.within.push(place);
                continue;
            }
            for own in allowed.below(&here) {
                let rest = own.below(&here).unwrap_or_default();
                let Some(own_stored) = joined(&place, &rest) else { continue };
                if allowed.is_single(own) {
                    self.single.push(own_stored.clone());
                }
                self.within.push(own_stored);
            }
            self.undeclared.push(place);
        }
    }

    /// Returns the places of which only the entry was stored.
    fn stored_single(&self) -> Vec<StoredPath> {
        let items = self.stored.items(&self.stored.paths).unwrap_or_default();
        let single = items.iter().filter(|item| item.extent == Extent::DirectoryOnly);
        single.filter_map(|item| StoredPath::from_slashes(item.path.as_os_str().as_bytes())).collect()
    }

    /// Returns where a stored place is here.
    fn place_here(&self, place: &StoredPath) -> StoredPath {
        let moved = self.moved.iter().filter(|(from, _)| place.is_within(from));
        let moved = moved.max_by_key(|(from, _)| from.as_key().len());
        let here = moved.and_then(|(from, to)| joined(to, &place.below(from)?));
        here.unwrap_or_else(|| place.clone())
    }

    /// Returns how its files are restored.
    pub(super) fn sink_options(&self, member: &Member<'_>) -> SinkOptions {
        let restore = &member.manifest.restore;
        SinkOptions {
            owner: OwnerChoice::Restore,
            numeric_owner: restore.owner == Owners::Numeric,
            modes: restore.modes,
            times: restore.times,
            acls: restore.acls,
            xattrs: if restore.xattrs {
                crate::files::XattrChoice::All
            } else {
                crate::files::XattrChoice::None
            },
            devices: true,
            on_conflict: match restore.on_conflict {
                Word::Replace => OnConflict::Replace,
                Word::KeepExisting => OnConflict::KeepExisting,
                Word::KeepNewer => OnConflict::KeepNewer,
                Word::Rename => OnConflict::Rename,
            },
            moved: self.moved.clone(),
            within: self.within.clone(),
            ..SinkOptions::default()
        }
    }

    /// Returns whether an entry is what the restore is about, and not only on the way to it.
    pub(super) fn is_meant(&self, path: &StoredPath) -> bool {
        let deepest = |places: &[StoredPath]| {
            let around = places.iter().filter(|place| path.is_within(place));
            around.map(|place| place.as_key().len()).max()
        };
        match (deepest(&self.within), deepest(&self.single)) {
            (None, _) => false,
            (within, single) if single == within => self.single.contains(path),
            _ => true,
        }
    }
}

/// Returns what the manifest here declares.
fn allowed(member: &Member<'_>) -> Result<Allowed, SubjectError> {
    let mut allowed = Allowed::default();
    for item in &member.items {
        let reach = match item.extent {
            Extent::File => Reach::File,
            Extent::Tree => Reach::Tree,
            Extent::DirectoryOnly => Reach::Entry,
            Extent::Pattern => Reach::Pattern,
        };
        let module = || member.id().clone();
        allowed.add(&item.path, reach).map_err(|why| SubjectError::Declared { module: module(), why })?;
    }
    if member.manifest.exporter.is_some() {
        // An exporter names files as it finds them: below the places that the manifest has names for.
        for (_, place) in member.variables.iter() {
            let module = member.id().clone();
            allowed.add(place, Reach::Tree).map_err(|why| SubjectError::Declared { module, why })?;
        }
    }
    Ok(allowed)
}

fn joined(place: &StoredPath, rest: &StoredPath) -> Option<StoredPath> {
    rest.components().try_fold(place.clone(), |place, name| place.join(name))
}

/// Compares versions, and looks for the parts that the manifest here requires.
fn fits(account: &Account, stored: &Manifest, member: &Member<'_>) -> Result<(), SubjectError> {
    let (here, there) = (&member.manifest.module, &stored.module.version);
    let (module, version) = (here.id.clone(), here.version.clone());
    let restore = &member.manifest.restore;
    if *there > version && !restore.allow_newer && !planted(Bug::TakeNewer) {
        return Err(SubjectError::Newer { module, there: there.clone(), here: version });
    }
    if *there < version && !restore.allow_older {
        return Err(SubjectError::Older { module, there: there.clone(), here: version });
    }
    for part in &restore.require {
        let has = match part.strip_prefix("source:") {
            Some(name) => account.dump(name).is_some(),
            None => account.listings.iter().any(|listing| listing.section.word() == part),
        };
        if !has {
            return Err(SubjectError::Lacks { module, part: part.clone() });
        }
    }
    Ok(())
}

/// Returns where the values of path variables have gone: from those of the machine of the backup to those here.
fn moved(account: &Account, stored: &Manifest, here: &Variables) -> Vec<(StoredPath, StoredPath)> {
    let mut moved: Vec<(StoredPath, StoredPath)> = Vec::new();
    let Ok(items) = stored.items(&stored.paths) else { return moved };
    for item in items.iter().filter(|item| item.extent != Extent::Pattern) {
        let Some(name) = &item.declared.variable else { continue };
        let Some(value_here) = here.get(name) else { continue };
        let rest = Path::new(item.declared.rest.trim_start_matches('/'));
        // Its value there is what stands before the rest in the path that was stored.
        let value_there = account.sources.iter().find_map(|source| {
            let source = Path::new(std::ffi::OsStr::from_bytes(source));
            source.ends_with(rest).then(|| source.ancestors().nth(rest.components().count())).flatten()
        });
        let Some(value_there) = value_there else { continue };
        let place = |path: &Path| StoredPath::from_slashes(path.as_os_str().as_bytes());
        if let (Some(from), Some(to)) = (place(value_there), place(value_here))
            && from != to
            && !moved.iter().any(|(known, _)| *known == from)
        {
            moved.push((from, to));
        }
    }
    moved
}
