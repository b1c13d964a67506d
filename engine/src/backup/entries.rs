//! Records: entries of a map whose keys and values mean nothing here.

use super::BackupError;
use super::sinks::{ListingSaver, built};
use crate::error::Kind;
use crate::map::{Builder, Root};
use crate::progress::{Event, Events};
use crate::repo::RepoError;

/// Bytes between two events.
const TOLD_BYTES: u64 = 1 << 20;

/// Takes the entries of a map, keys rising strictly.
///
/// Memory: that of a [`Builder`]; a value is not copied, only its pieces of 256 KiB are.
pub struct Entries<'e> {
    builder: Builder<'e, ListingSaver<'e>>,
    events: &'e dyn Events,
    untold: (u64, u64),
    /// Kind of the last failure, which the caller may have turned into an error of his own.
    pub(super) failed: Option<Kind>,
}

impl<'e> Entries<'e> {
    pub(super) fn new(builder: Builder<'e, ListingSaver<'e>>, events: &'e dyn Events) -> Self {
        Self { builder, events, untold: (0, 0), failed: None }
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// The key does not rise, or is too long; the repository takes no more; the run is cancelled.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        let pushed = match self.events.cancelled() {
            true => Err(RepoError::Cancelled),
            false => built(self.builder.push(key, value)),
        };
        pushed.inspect_err(|error| self.failed = Some(error.kind()))?;
        let (entries, bytes) = &mut self.untold;
        *entries += 1;
        *bytes += value.len() as u64;
        if *bytes >= TOLD_BYTES {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        let (entries, bytes) = std::mem::take(&mut self.untold);
        self.events.event(Event::Done { entries, bytes, path: None });
    }

    pub(super) fn finish(mut self) -> Result<Root, BackupError> {
        self.tell();
        Ok(built(self.builder.finish())?)
    }
}
