//! Chooses between two levels, block by block: the fast one where the full one gains next to nothing.
//!
//! Now and then both levels compress the same block. When the full one gains less than a sixty-fourth twice in
//! a row, the blocks that follow get the fast one; when it gains more, the full one. The longer trials agree,
//! the rarer they become. A block that the fast level shrinks quite differently from those of the trials is
//! tried at once: other content has begun. Wrong choices cost space or time, never data.

use std::sync::{Mutex, PoisonError};

/// Blocks before the first trial: small runs need none.
const FIRST: u32 = 4;
/// Blocks between trials at first …
const SHORTEST: u32 = 8;
/// … and at last.
const LONGEST: u32 = 32;
/// Shorter blocks prove nothing.
const LEAST_BYTES: usize = 256 << 10;
/// The full level must save one part in so many of what the fast one leaves.
const GAIN: usize = 64;
/// Shrinking that differs by one part in so many is like what was tried.
const ALIKE: usize = 8;
/// What a ratio of 1 is expressed as.
const WHOLE: usize = 4096;

/// What to compress a block with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// The fast level, unless it shrinks the block differently from what was tried.
    Fast,
    /// The full level.
    Full,
    /// Both, to compare them.
    Both,
}

/// What is known of one stream of blocks.
#[derive(Clone, Debug)]
struct Choice {
    is_fast: bool,
    /// Blocks until the next trial, and between the trials after it.
    left: u32,
    period: u32,
    /// The last trial found the full level vain.
    was_vain: bool,
    /// Least and greatest ratio of the fast level in trials that found the full level vain.
    tried: Option<(usize, usize)>,
}

impl Choice {
    fn next(&mut self, plain_len: usize) -> Effort {
        if plain_len < LEAST_BYTES {
            return Effort::Full;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.left = self.period;
            return Effort::Both;
        };
        self.left = left;
        if self.is_fast { Effort::Fast } else { Effort::Full }
    }

    fn is_alike(&self, plain_len: usize, fast_len: usize) -> bool {
        let ratio = ratio(plain_len, fast_len);
        self.tried.is_some_and(|(least, most)| (least - least / ALIKE..=most + most / ALIKE).contains(&ratio))
    }

    fn compared(&mut self, plain_len: usize, fast_len: usize, full_len: usize) {
        let is_vain = full_len > fast_len - fast_len / GAIN;
        if is_vain {
            let ratio = ratio(plain_len, fast_len);
            let (least, most) = self.tried.unwrap_or((ratio, ratio));
            self.tried = Some((least.min(ratio), most.max(ratio)));
        } else {
            self.tried = None;
        }
        let is_fast = is_vain && self.was_vain;
        self.was_vain = is_vain;
        let agrees = is_fast == self.is_fast;
        self.is_fast = is_fast;
        self.period = if agrees { (self.period * 2).min(LONGEST) } else { SHORTEST };
        // One vain trial alone asks for another one.
        self.left = if is_vain && !is_fast { 0 } else { self.period };
    }
}

fn ratio(plain_len: usize, coded_len: usize) -> usize {
    coded_len.saturating_mul(WHOLE) / plain_len.max(1)
}

/// A stream of blocks that are likely to be alike, such as those of one reader. Many threads may compress it.
#[derive(Debug)]
pub struct Stream(Mutex<Choice>);

impl Default for Stream {
    fn default() -> Self {
        let choice = Choice { is_fast: false, left: FIRST, period: SHORTEST, was_vain: false, tried: None };
        Self(Mutex::new(choice))
    }
}

impl Stream {
    /// Returns what to compress the next block of `plain_len` bytes with.
    pub(super) fn next(&self, plain_len: usize) -> Effort {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next(plain_len)
    }

    /// Returns whether the fast level shrinks a block about as it shrank those of the trials.
    pub(super) fn is_alike(&self, plain_len: usize, fast_len: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_alike(plain_len, fast_len)
    }

    /// Takes the outcome of a trial.
    pub(super) fn compared(&self, plain_len: usize, fast_len: usize, full_len: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).compared(plain_len, fast_len, full_len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: usize = 1 << 20;

    /// How often each level ran over some blocks, and what was stored of each.
    #[derive(Default)]
    struct Outcome {
        fast: usize,
        full: usize,
        stored: Vec<usize>,
    }

    /// Compresses blocks with these lengths at the fast and the full level.
    fn run(blocks: impl IntoIterator<Item = (usize, usize)>) -> Outcome {
        let stream = Stream::default();
        let mut outcome = Outcome::default();
        for (fast, full) in blocks {
            let effort = stream.next(PLAIN);
            let both = effort == Effort::Both || effort == Effort::Fast && !stream.is_alike(PLAIN, fast);
            if both {
                stream.compared(PLAIN, fast, full);
            }
            outcome.fast += usize::from(both || effort == Effort::Fast);
            outcome.full += usize::from(both || effort == Effort::Full);
            outcome.stored.push(match (both, effort) {
                (true, _) => fast.min(full),
                (false, Effort::Fast) => fast,
                _ => full,
            });
        }
        outcome
    }

    #[test]
    fn where_the_full_level_is_vain_it_is_soon_left_out() {
        let outcome = run((0..2048).map(|n| (400_000 + n % 7 * 1000, 399_000 + n % 7 * 1000)));
        assert!(outcome.full < 80, "{} of 2048", outcome.full);
    }

    #[test]
    fn where_the_full_level_gains_it_stays_and_trials_are_rare() {
        let outcome = run([(400_000, 390_000); 2048]);
        assert_eq!((outcome.full, outcome.stored), (2048, vec![390_000; 2048]));
        assert!(outcome.fast < 70, "{} trials", outcome.fast);
    }

    #[test]
    fn one_vain_block_among_others_changes_nothing() {
        let outcome = run((0..2048).map(|n| (400_000, if n % 5 == 0 { 400_000 } else { 370_000 })));
        assert_eq!(outcome.full, 2048);
    }

    #[test]
    fn other_content_is_noticed_at_its_first_block_by_how_much_it_shrinks() {
        let rows = [(400_000, 399_999); 100];
        let outcome = run(rows.into_iter().chain([(300_000, 270_000); 100]).chain(rows));
        assert_eq!(outcome.stored[100..200], [270_000; 100]);
        assert!(outcome.stored[240..].iter().filter(|len| **len == 400_000).count() > 50, "fast again");
    }

    #[test]
    fn shrinking_that_varies_is_learnt() {
        let outcome = run((0..2048).map(|n| (400_000 + n % 9 * 40_000, 399_000 + n % 9 * 40_000)));
        assert!(outcome.full < 90, "{} of 2048", outcome.full);
    }

    #[test]
    fn short_blocks_get_the_full_level_and_count_for_nothing() {
        let stream = Stream::default();
        assert!((0..100).all(|_| stream.next(LEAST_BYTES - 1) == Effort::Full));
        assert!((0..FIRST).all(|_| stream.next(LEAST_BYTES) == Effort::Full));
        assert_eq!(stream.next(LEAST_BYTES), Effort::Both);
    }

    proptest! {
        #[test]
        fn whatever_comes_little_is_lost(
            runs in proptest::collection::vec((1usize..=PLAIN, 1usize..=PLAIN, 1usize..100), 0..40),
        ) {
            let blocks = || runs.iter().flat_map(|(fast, full, count)| vec![(*fast, *full); *count]);
            let outcome = run(blocks());
            let mut stored = outcome.stored.iter();
            for (fast, full, count) in &runs {
                let lost: usize = stored.by_ref().take(*count).map(|len| len.saturating_sub(*full)).sum();
                let vain = (count * fast / GAIN).max(LONGEST as usize * fast.saturating_sub(*full));
                prop_assert!(lost <= vain, "{lost} of {count} blocks of {fast} and {full}");
            }
            prop_assert!(outcome.full <= blocks().count() && outcome.full + outcome.fast >= blocks().count());
        }
    }
}
