//! A storage that lets a test act right after an object was stored or objects were listed: what another process might
//! do then.

use dedup_engine::storage::{Family, Name, Put, Storage, StorageError};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Called with the name of each object that was stored.
pub type AfterPut = Box<dyn Fn(&Name) + Send + Sync>;

/// A storage, and what happens after each put and after each listing.
pub struct Hooked {
    inner: Arc<dyn Storage>,
    after_put: AfterPut,
    after_list: Box<dyn Fn(Family) + Send + Sync>,
}

impl Hooked {
    /// Wraps a storage.
    pub fn new(inner: Arc<dyn Storage>, after_put: AfterPut) -> Arc<Self> {
        Arc::new(Self { inner, after_put, after_list: Box::new(|_| {}) })
    }

    /// Acts once, after the first put for which it is asked to.
    pub fn once(
        inner: Arc<dyn Storage>,
        at: impl Fn(&Name) -> bool + Send + Sync + 'static,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        let done = AtomicBool::new(false);
        let hook = move |name: &Name| {
            if at(name) && !done.swap(true, Ordering::Relaxed) {
                act();
            }
        };
        Self::new(inner, Box::new(hook))
    }

    /// Acts after each listing, told of what.
    pub fn listed(inner: Arc<dyn Storage>, after_list: impl Fn(Family) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { inner, after_put: Box::new(|_| {}), after_list: Box::new(after_list) })
    }
}

impl Storage for Hooked {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<Put, StorageError> {
        let put = self.inner.put(name, bytes)?;
        (self.after_put)(name);
        Ok(put)
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        self.inner.get(name, range)
    }

    fn get_all(&self, name: &Name, max: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.get_all(name, max)
    }

    fn len(&self, name: &Name) -> Result<Option<u64>, StorageError> {
        self.inner.len(name)
    }

    fn list(
        &self,
        family: Family,
        each: &mut dyn FnMut(Name, u64) -> Result<(), StorageError>,
        foreign: &mut dyn FnMut(&str),
    ) -> Result<(), StorageError> {
        self.inner.list(family, each, foreign)?;
        (self.after_list)(family);
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<(), StorageError> {
        self.inner.delete(name)
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}
