//! What an operation tells while it runs: counters and things that went wrong without ending it.
//!
//! The engine returns values and sends [`Event`]s; words, rates and times are the caller's.

use std::sync::Arc;

/// Something worth telling while an operation runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A phase of the operation begins.
    Phase(Phase),
    /// The size of the work became known, or grew; `complete` once nothing can be added.
    Expect {
        /// Entries in all.
        entries: u64,
        /// Bytes in all.
        bytes: u64,
        /// Whether these are the final figures.
        complete: bool,
    },
    /// So much more is done. `path` is a sample of what is worked on, not every path.
    Done {
        /// Entries finished since the last such event.
        entries: u64,
        /// Bytes finished since the last such event.
        bytes: u64,
        /// Stored path (components joined by `/`) of one of them.
        path: Option<Vec<u8>>,
    },
    /// An entry had a problem, which is part of the report as well.
    Problem {
        /// Stored path, components joined by `/`.
        path: Vec<u8>,
        /// What went wrong.
        message: String,
        /// Whether it is only a notice (a file that vanished), not a gap.
        notice: bool,
    },
    /// Something the person should know that concerns no entry.
    Notice(String),
}

/// The phases an operation goes through; not every operation has every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Bringing the local index up to date.
    Index,
    /// Reading the source and storing what is new.
    Store,
    /// Making what was stored durable and committing it.
    Commit,
    /// Finding out what a restore has to do.
    Plan,
    /// Writing restored data.
    Restore,
    /// Setting times and modes that must come last.
    Finish,
    /// Walking structures.
    Structure,
    /// Reading and verifying stored data.
    Data,
    /// Comparing what is stored with what is there.
    Compare,
}

/// Receives events from any thread; must be quick.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);

    /// Answers whether the person asked to stop. Asked often; long operations end with
    /// [`Kind::Cancelled`](crate::error::Kind::Cancelled) soon after it turns true.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _: Event) {}
}

impl<T: Events + ?Sized> Events for Arc<T> {
    fn event(&self, event: Event) {
        (**self).event(event);
    }

    fn cancelled(&self) -> bool {
        (**self).cancelled()
    }
}
