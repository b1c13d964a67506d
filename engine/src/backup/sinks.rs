//! Where the chunks of one part of a run go: sinks of its class, with its meter.

use crate::map::{BuildError, Class, SaveChunk};
use crate::repo::RepoError;
use crate::repo::write::{ChunkSink, Meter, Store, lock};
use std::sync::{Arc, Mutex};

/// Makes the sinks of one part of a run: no block holds chunks of two.
pub(crate) struct Sinks<'s> {
    store: &'s Store<'s>,
    class: Class,
    meter: Arc<Meter>,
}

impl<'s> Sinks<'s> {
    pub fn new(store: &'s Store<'s>, class: Class, meter: Arc<Meter>) -> Self {
        Self { store, class, meter }
    }

    pub fn store(&self) -> &'s Store<'s> {
        self.store
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Makes a sink for what files consist of.
    pub fn contents(&self) -> ChunkSink<'s> {
        self.store.sink(self.class.contents(), &self.meter)
    }

    /// Makes a saver of map nodes, lists and the like.
    pub fn saver(&self) -> ListingSaver<'s> {
        let sink = self.store.sink(self.class.nodes(), &self.meter);
        ListingSaver { class: self.class, sink: Mutex::new(sink) }
    }
}

/// Saves map nodes, lists and attribute sets through a sink of its own.
pub(crate) struct ListingSaver<'s> {
    class: Class,
    sink: Mutex<ChunkSink<'s>>,
}

impl ListingSaver<'_> {
    pub fn flush(&self) -> Result<(), RepoError> {
        lock(&self.sink).flush()
    }
}

impl SaveChunk for ListingSaver<'_> {
    type Error = RepoError;

    fn class(&self) -> Class {
        self.class
    }

    fn save(&self, plain: &[u8]) -> Result<crate::id::ChunkId, RepoError> {
        lock(&self.sink).put(plain).map(|(id, _)| id)
    }
}

/// Turns a builder's error into the repository's.
pub(crate) fn built<T>(result: Result<T, BuildError<RepoError>>) -> Result<T, RepoError> {
    result.map_err(|error| match error {
        BuildError::Save(error) => error,
        BuildError::Refused(refused) => RepoError::Refused(refused.to_string()),
    })
}
