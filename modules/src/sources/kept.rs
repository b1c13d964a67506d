//! What a source has before a load: its own dump, sealed on this machine, and loaded again if the load must not stand.
//!
//! For drivers that keep nothing beside ([`WayBack::DumpFirst`]). The dump lies as one object of a space that has the run's name;
//! a space names an object only when it is whole, so whatever the moment of a death says: no object, nothing was loaded.

use super::{LoadOptions, Said, SourceError, SourceSpec, World, open_dump, open_load};
use crate::spaces::{SpaceError, Spaces};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A dump of what a source had, and how it is loaded again: everything another process needs to do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDump {
    /// The store of spaces.
    store: PathBuf,
    /// The space of the run.
    space: String,
    /// The object's name there.
    name: String,
    /// The source, as the load reaches it.
    spec: SourceSpec,
}

impl KeptDump {
    /// Says where the dump of a module's source will lie; changes nothing.
    pub fn new(store: &Path, run: &str, module: &str, spec: &SourceSpec) -> Self {
        let (store, space) = (store.to_owned(), format!("undo-{run}"));
        Self { store, space, name: format!("{module}:{}", spec.name), spec: spec.clone() }
    }

    /// Dumps what is there now. To be written down before, as a death may leave the object.
    ///
    /// # Errors
    /// Nothing is kept then, and nothing should be loaded. [`SourceError::Absent`]: there is nothing to keep.
    pub fn fill(&self, world: World<'_>, said: &mut Said<'_>) -> Result<(), SourceError> {
        let mut dump = open_dump(&self.spec, world, said)?;
        let space = Spaces::open(&self.store)?.get(&self.space, false)?;
        let put = space.put_stream(&self.name, &mut dump, "dump");
        // The source knows best why its stream broke off.
        let kept = dump.finish().map(drop).and(put.map_err(Into::into));
        if kept.is_err() {
            // What failed first is what is told; an object that is whole and void must not be loaded.
            let _ = self.discard();
        }
        kept
    }

    /// Loads what was kept. After success, or if nothing was kept, it does nothing.
    pub(super) fn put_back(&self, world: World<'_>) -> Result<(), SourceError> {
        let spaces = Spaces::open(&self.store)?;
        let kept = match spaces.existing(&self.space).and_then(|space| space.value_reader(&self.name)) {
            Err(SpaceError::NoSpace(_) | SpaceError::NoName { .. }) => None,
            kept => Some(kept?),
        };
        if let Some(mut kept) = kept {
            let mut said = |_: &str| {};
            let mut load = open_load(&self.spec, LoadOptions::default(), world, &mut said)?;
            load.prepare(&mut kept)?;
            load.put(&mut kept)?;
        }
        self.discard()
    }

    /// Removes what was kept, and the space with the last of it.
    pub(super) fn discard(&self) -> Result<(), SourceError> {
        // Where no store was made, nothing was kept.
        if !self.store.try_exists().map_err(|error| SourceError::io(&self.store, "examine", error))? {
            return Ok(());
        }
        let spaces = Spaces::open(&self.store)?;
        let space = match spaces.existing(&self.space) {
            Err(SpaceError::NoSpace(_)) => return Ok(()),
            space => space?,
        };
        match space.delete(&self.name) {
            Err(SpaceError::NoName { .. }) => {}
            deleted => deleted?,
        }
        match space.list()?.is_empty() {
            true => Ok(spaces.remove(&self.space)?),
            false => Ok(()),
        }
    }
}
