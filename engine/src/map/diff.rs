//! What differs between two maps, at the cost of what differs.
//!
//! Two positions move in step. Where both stand before a child of one name, both go past it: equal names
//! are equal subtrees, and all before them was compared. Else the higher one is entered, or both if they are
//! level, so that equal subtrees meet again after the shape has shifted. Both maps must be of one
//! repository: names and boundaries of others mean nothing here.

use super::descent::{At, Descent};
use super::node::Value;
use super::store::LoadChunk;
use super::{LeafTarget, Root};
use std::cmp::Ordering;

/// A difference between two maps, borrowed from the [`Diff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'d> {
    /// Only the new map has the key.
    Added {
        /// The key.
        key: &'d [u8],
        /// Its value.
        new: Value<'d>,
    },
    /// Only the old map has the key.
    Removed {
        /// The key.
        key: &'d [u8],
        /// Its value.
        old: Value<'d>,
    },
    /// Both have the key, with different values.
    Changed {
        /// The key.
        key: &'d [u8],
        /// The value in the old map.
        old: Value<'d>,
        /// The value in the new map.
        new: Value<'d>,
    },
}

/// Walks the differences of two maps in the order of keys. Memory: one node per level of each.
pub struct Diff<'a, A: LoadChunk, B: LoadChunk<Error = A::Error>> {
    old: Descent<'a, A>,
    new: Descent<'a, B>,
    /// Sides whose value was handed out and has to be passed.
    passed: (bool, bool),
}

impl<'a, A: LoadChunk, B: LoadChunk<Error = A::Error>> Diff<'a, A, B> {
    /// Starts before the first difference; loads nothing.
    pub fn new(old: (&'a A, Root), new: (&'a B, Root), target: LeafTarget) -> Self {
        let (old, new) = (Descent::new(old.0, old.1, target), Descent::new(new.0, new.1, target));
        Self { old, new, passed: (false, false) }
    }

    /// Goes on to the next difference; `None` after the last one. After an error another call
    /// tries the same node again.
    #[expect(clippy::should_implement_trait, reason = "the change is borrowed from the diff")]
    pub fn next(&mut self) -> Result<Option<Change<'_>>, A::Error> {
        self.pass();
        loop {
            match (self.old.at(), self.new.at()) {
                (At::Child { id: a, .. }, At::Child { id: b, .. }) if a == b => {
                    self.old.skip();
                    self.new.skip();
                }
                (At::Child { level: a, .. }, At::Child { level: b, .. }) => {
                    if a >= b {
                        self.old.enter()?;
                    }
                    if b >= a {
                        self.new.enter()?;
                    }
                }
                (At::Child { .. }, _) => self.old.enter()?,
                (_, At::Child { .. }) => self.new.enter()?,
                (At::End, At::End) => return Ok(None),
                (At::Value, At::End) => self.passed = (true, false),
                (At::End, At::Value) => self.passed = (false, true),
                (At::Value, At::Value) => {
                    let order = self.old.key().cmp(&self.new.key());
                    self.passed = (order != Ordering::Greater, order != Ordering::Less);
                    if order == Ordering::Equal && self.old.value() == self.new.value() {
                        self.pass();
                    }
                }
            }
            if self.passed != (false, false) {
                return Ok(self.change());
            }
        }
    }

    fn pass(&mut self) {
        let (old, new) = std::mem::take(&mut self.passed);
        if old {
            self.old.skip();
        }
        if new {
            self.new.skip();
        }
    }

    fn change(&self) -> Option<Change<'_>> {
        match self.passed {
            (true, true) => {
                Some(Change::Changed { key: self.old.key()?, old: self.old.value()?, new: self.new.value()? })
            }
            (true, false) => Some(Change::Removed { key: self.old.key()?, old: self.old.value()? }),
            (false, true) => Some(Change::Added { key: self.new.key()?, new: self.new.value()? }),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
