//! Local pack numbers, and which of them may vouch: two bitmaps in memory, 2 bits per number.
//!
//! A number is *pending* while its segment is being applied, then *alive*, at last *dead*. It never
//! goes back and is never given twice, so whoever finds it dead may forget what it refers to.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Number of a pack in this index. It means nothing outside the running [`Index`](super::Index).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackNo(pub(super) u32);

/// First number of a scratch database: it shares lookups with the database of the owner, whose
/// numbers lie below.
pub(super) const FIRST_SCRATCH: u32 = 1 << 31;

#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn set(&mut self, at: u32, value: bool) {
        let word = at as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] = self.0[word] & !(1 << (at % 64)) | u64::from(value) << (at % 64);
    }
}

/// The states of the numbers of one database, as read and changed by many threads.
pub(super) struct Numbers {
    first: u32,
    states: RwLock<States>,
}

/// A look at the states that does not change while it is held.
pub(super) struct Look<'a> {
    first: u32,
    states: RwLockReadGuard<'a, States>,
}

#[derive(Default)]
struct States {
    alive: Bits,
    dead: Bits,
    alive_count: u64,
}

impl Numbers {
    pub(super) fn new(first: u32) -> Self {
        Self { first, states: RwLock::default() }
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Returns one more than the last number of this database.
    pub(super) fn end(&self) -> u32 {
        if self.first < FIRST_SCRATCH { FIRST_SCRATCH } else { u32::MAX }
    }

    pub(super) fn owns(&self, number: PackNo) -> bool {
        (self.first..self.end()).contains(&number.0)
    }

    pub(super) fn look(&self) -> Look<'_> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        Look { first: self.first, states }
    }

    pub(super) fn is_alive(&self, number: PackNo) -> bool {
        self.look().is_alive(number)
    }

    pub(super) fn alive_count(&self) -> u64 {
        self.look().states.alive_count
    }

    pub(super) fn make_alive(&self, numbers: impl IntoIterator<Item = PackNo>) {
        let mut states = self.write();
        for number in numbers.into_iter().filter(|number| self.owns(*number)) {
            let at = number.0 - self.first;
            if !states.alive.has(at) {
                states.alive.set(at, true);
                states.alive_count += 1;
            }
        }
    }

    pub(super) fn make_dead(&self, numbers: impl IntoIterator<Item = PackNo>) {
        let mut states = self.write();
        for number in numbers.into_iter().filter(|number| self.owns(*number)) {
            let at = number.0 - self.first;
            if states.alive.has(at) {
                states.alive.set(at, false);
                states.alive_count -= 1;
            }
            states.dead.set(at, true);
        }
    }

    /// Declares every number below `end` dead that is not alive: nothing is pending at open.
    pub(super) fn close_below(&self, end: u32) {
        let mut states = self.write();
        for at in 0..end.saturating_sub(self.first) {
            if !states.alive.has(at) {
                states.dead.set(at, true);
            }
        }
    }

    /// Returns the highest number that is alive.
    pub(super) fn last_alive(&self) -> Option<PackNo> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let (word, bits) = states.alive.0.iter().enumerate().rfind(|(_, bits)| **bits != 0)?;
        Some(PackNo(self.first + word as u32 * 64 + bits.ilog2()))
    }

    fn write(&self) -> RwLockWriteGuard<'_, States> {
        self.states.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look<'_> {
    pub(super) fn is_alive(&self, number: PackNo) -> bool {
        number.0.checked_sub(self.first).is_some_and(|at| self.states.alive.has(at))
    }

    pub(super) fn is_dead(&self, number: PackNo) -> bool {
        number.0.checked_sub(self.first).is_some_and(|at| self.states.dead.has(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn states_follow_two_sets(
            steps in proptest::collection::vec((any::<bool>(), 0u32..300), 0..80),
            first in prop::sample::select(vec![0, FIRST_SCRATCH]),
        ) {
            let numbers = Numbers::new(first);
            let (mut alive, mut dead) = (BTreeSet::new(), BTreeSet::new());
            for (up, at) in steps {
                let number = PackNo(first + at);
                if up {
                    numbers.make_alive([number]);
                    alive.insert(number);
                } else {
                    numbers.make_dead([number]);
                    alive.remove(&number);
                    dead.insert(number);
                }
                prop_assert_eq!(numbers.alive_count(), alive.len() as u64);
                prop_assert_eq!(numbers.last_alive(), alive.last().copied());
            }
            numbers.close_below(first + 150);
            for at in 0..300 {
                let number = PackNo(first + at);
                prop_assert_eq!(numbers.is_alive(number), alive.contains(&number));
                let closed = at < 150 && !alive.contains(&number);
                prop_assert_eq!(numbers.look().is_dead(number), closed || dead.contains(&number));
            }
        }
    }

    #[test]
    fn numbers_of_the_other_database_are_left_alone() {
        let numbers = Numbers::new(FIRST_SCRATCH);
        numbers.make_alive([PackNo(5)]);
        assert!(!numbers.is_alive(PackNo(5)) && numbers.alive_count() == 0);
        assert!(!Numbers::new(0).is_alive(PackNo(FIRST_SCRATCH + 5)));
    }
}
