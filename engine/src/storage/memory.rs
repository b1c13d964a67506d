//! Storage in memory: the reference that the others are compared with.

use super::local::check_range;
use super::{Family, Name, Put, Storage, StorageError, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Objects in a sorted map under one mutex, so that every call happens at one moment.
#[derive(Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    objects: BTreeMap<Name, Arc<[u8]>>,
    /// Names that are not the format's: in a directory others could put them there.
    foreign: BTreeSet<String>,
}

impl MemoryStorage {
    /// Makes an empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a storage with what this one holds now; neither sees what the other does later.
    pub fn fork(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()) }
    }

    /// Returns every object with its bytes, in the order of names.
    pub fn objects(&self) -> Vec<(Name, Arc<[u8]>)> {
        self.state().objects.iter().map(|(name, bytes)| (*name, bytes.clone())).collect()
    }

    /// Changes an object behind everybody's back, as a broken disk or an attacker would.
    pub fn overwrite(&self, name: Name, bytes: &[u8]) {
        self.state().objects.insert(name, bytes.into());
    }

    /// Puts something there whose name is not an object's; returns false if it is one.
    pub fn plant_foreign(&self, path: &str) -> bool {
        Name::parse(path).is_none() && self.state().foreign.insert(path.to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No call leaves the state half changed, so one that panicked did no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, call: &'static str, name: &Name, trouble: Trouble) -> StorageError {
        StorageError::new(call, name, self.place(), trouble)
    }

    fn read(&self, name: &Name) -> Result<Arc<[u8]>, Trouble> {
        self.state().objects.get(name).cloned().ok_or(Trouble::Missing)
    }
}

/// Returns the family in whose listing a foreign path shows.
fn neighbour(path: &str) -> Family {
    let top = path.split_once('/').map(|(top, _)| top);
    Family::ALL.into_iter().find(|family| top.is_some() && family.folder() == top).unwrap_or(Family::Config)
}

impl Storage for MemoryStorage {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        if !name.is_storable() {
            return Err(self.error("store", name, Trouble::Number));
        }
        let mut state = self.state();
        if state.objects.contains_key(name) {
            return Ok(Put::Present);
        }
        state.objects.insert(*name, bytes.into());
        Ok(Put::Stored)
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let read = || {
            let bytes = self.read(name)?;
            let have = bytes.len() as u64;
            check_range(&range, have)?;
            let slice = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let slice = slice.and_then(|(start, end)| bytes.get(start..end));
            Ok(slice.ok_or(Trouble::Short { have, need: range.end })?.to_vec())
        };
        read().map_err(|trouble| self.error("read", name, trouble))
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        let read = || {
            let bytes = self.read(name)?;
            let have = bytes.len() as u64;
            if have > max { Err(Trouble::Long { have, max }) } else { Ok(bytes.to_vec()) }
        };
        read().map_err(|trouble| self.error("read", name, trouble))
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        Ok(self.state().objects.get(name).map(|bytes| bytes.len() as u64))
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        // Copied, since the callbacks may call this storage.
        let state = self.state();
        let paths = state.foreign.iter().filter(|path| neighbour(path) == family);
        let paths: Vec<String> = paths.cloned().collect();
        let objects = state.objects.iter().filter(|(name, _)| name.family() == family);
        let objects: Vec<(Name, u64)> = objects.map(|(name, bytes)| (*name, bytes.len() as u64)).collect();
        drop(state);
        paths.iter().for_each(|path| foreign(path));
        objects.into_iter().try_for_each(|(name, len)| each(name, len))
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.state().objects.remove(name);
        Ok(())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        contract::holds(&|| Box::new(MemoryStorage::new()));
    }

    #[test]
    fn memory_tells_foreign_names() {
        let storage = MemoryStorage::new();
        contract::tells_foreign_names(&storage, &|path| assert!(storage.plant_foreign(path)));
    }

    #[test]
    fn a_fork_and_its_origin_part() {
        let origin = MemoryStorage::new();
        origin.put(&Name::config(), b"1").unwrap();
        let fork = origin.fork();
        origin.delete(&Name::config()).unwrap();
        fork.put(&Name::epoch(1), b"2").unwrap();
        assert_eq!(fork.get_all(&Name::config(), 9).unwrap(), b"1");
        assert!(origin.objects().is_empty());
        assert_eq!(fork.objects().len(), 2);
    }
}
